//! A set of hosts: its folder, whom it belongs to, and how all of it goes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::name::{Host, SetName};
use super::subnet::Subnet;
use super::{control_group, folder, mounts, network, process, tool};

/// The form of what a set says of itself.
const FORMAT: u64 = 1;

/// A set, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    name: SetName,
}

/// A host of a set, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) set: Set,
    pub(crate) host: Host,
}

/// A process that a set lives no longer than.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    process: u32,
    began: u64,
}

impl Set {
    pub(crate) fn new(name: SetName) -> Self {
        Self { name }
    }

    pub(crate) fn name(&self) -> &SetName {
        &self.name
    }

    pub(crate) fn folder(&self) -> PathBuf {
        folder::sets().join(self.name.to_string())
    }

    /// The key of `deploy`, made for this set alone.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder().join("key")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.folder().join("known_hosts")
    }

    /// The description that tests read.
    pub(crate) fn description(&self) -> PathBuf {
        self.folder().join("hosts.json")
    }

    fn settings(&self) -> PathBuf {
        self.folder().join("set.json")
    }

    pub(crate) fn is_there(&self) -> bool {
        self.settings().is_file()
    }

    pub(crate) fn place(&self, host: Host) -> Place {
        Place { set: self.clone(), host }
    }

    /// The hosts that have a disk.
    pub(crate) fn hosts(&self) -> Vec<Place> {
        Host::all().map(|host| self.place(host)).filter(|place| place.folder().is_dir()).collect()
    }

    /// A host that was made.
    pub(crate) fn found(&self, host: Host) -> Result<Place> {
        let place = self.place(host);
        if !self.is_there() || !place.folder().is_dir() {
            bail!(
                "set `{}` has no host `{host}`; `cargo xtask hosts list` shows those that it has",
                self.name
            );
        }
        Ok(place)
    }

    /// The network that the set has.
    pub(crate) fn subnet(&self) -> Result<Subnet> {
        let number = self.read()?["network"].as_u64().and_then(|number| u8::try_from(number).ok());
        number
            .map(Subnet::numbered)
            .with_context(|| format!("{} names no network", self.settings().display()))
    }

    fn read(&self) -> Result<Value> {
        let path = self.settings();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
    }

    fn owner(&self) -> Option<Owner> {
        let settings = self.read().ok()?;
        let process = settings["process"].as_u64().and_then(|id| u32::try_from(id).ok())?;
        Some(Owner { process, began: settings["began"].as_u64()? })
    }

    /// Makes the set, or what of it is missing: a name for its network, its key, its bridge.
    pub(crate) fn prepare(&self, for_process: Option<u32>) -> Result<()> {
        let subnet = if self.is_there() { self.subnet()? } else { network::free_subnet(&all())? };
        let owner = for_process.map(owner).transpose()?.or_else(|| self.owner());
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        folder::replace(&self.settings(), &settings(subnet, owner))?;
        self.make_key()?;
        if !network::is_whole(&self.name, subnet) {
            self.switch_off()?;
            network::make(&self.name, subnet)?;
        }
        Ok(())
    }

    fn make_key(&self) -> Result<()> {
        let key = self.key();
        if key.with_extension("pub").is_file() {
            return Ok(());
        }
        let _ = fs::remove_file(&key);
        make_key(&key.to_string_lossy(), "made for the hosts of Lockstep's tests")
    }

    /// Takes everything of the set from the machine but its folder.
    fn switch_off(&self) -> Result<()> {
        network::unplug_all(&self.name)?;
        process::kill(&self.machines()?)?;
        control_group::names(Some(&self.name))?.iter().try_for_each(|name| control_group::remove(name))?;
        network::remove(&self.name)?;
        mounts::end_below(&self.folder())
    }

    fn machines(&self) -> Result<Vec<String>> {
        let running = process::all().into_iter().map(|process| process.machine);
        let ours = running.filter(|machine| SetName::of(machine).as_ref() == Some(&self.name));
        Ok(ours.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Takes everything of the set from the machine.
    pub(crate) fn tear_down(&self) -> Result<()> {
        self.switch_off()?;
        mounts::remove_folder(&self.folder())
    }
}

impl Place {
    pub(crate) fn folder(&self) -> PathBuf {
        self.set.folder().join(self.host.to_string())
    }

    /// Where its whole file system is, while it is up.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// What it wrote, over the root that it shares.
    pub(crate) fn upper(&self) -> PathBuf {
        self.folder().join("upper")
    }

    /// What its systemd says before there is a journal.
    pub(crate) fn console(&self) -> PathBuf {
        self.folder().join("console")
    }

    /// What its machine, its namespace and its control group are called.
    pub(crate) fn machine(&self) -> String {
        self.host.on_machine(&self.set.name)
    }
}

/// Makes a pair of keys without a passphrase.
pub(crate) fn make_key(path: &str, comment: &str) -> Result<()> {
    tool::run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path]).map(drop)
}

fn owner(process: u32) -> Result<Owner> {
    let stat = process::alive(process).with_context(|| format!("no process has the number {process}"))?;
    Ok(Owner { process, began: stat.began })
}

fn settings(subnet: Subnet, owner: Option<Owner>) -> String {
    let mut settings = json!({ "format": FORMAT, "network": subnet.number() });
    if let Some(Owner { process, began }) = owner {
        settings["process"] = json!(process);
        settings["began"] = json!(began);
    }
    format!("{settings}\n")
}

/// Every set that this machine has something of.
pub(crate) fn all() -> Vec<Set> {
    let folders = fs::read_dir(folder::sets()).into_iter().flatten().flatten();
    let with_folder = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let running = process::all().into_iter().map(|process| process.machine);
    let groups = control_group::names(None).unwrap_or_default();
    let on_machine = network::namespaces().into_iter().chain(running).chain(groups);
    let names: BTreeSet<SetName> =
        with_folder.chain(on_machine.filter_map(|name| SetName::of(&name))).collect();
    names.into_iter().map(Set::new).collect()
}

/// Takes down what commands left behind that were killed, and sets whose process has ended. One that cannot be is named, and stops nobody else.
pub(crate) fn sweep() {
    for set in all().iter().filter(|set| is_left_over(set)) {
        eprintln!("set `{}` is left over; taking it down", set.name);
        if let Err(why) = set.tear_down() {
            eprintln!("warning: set `{}` cannot be taken down: {why:#}", set.name);
        }
    }
}

fn is_left_over(set: &Set) -> bool {
    let owner_is_gone =
        |owner: Owner| process::alive(owner.process).is_none_or(|stat| stat.began != owner.began);
    set.subnet().is_err() || set.owner().is_some_and(owner_is_gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_says_which_process_it_belongs_to() {
        let text = settings(Subnet::numbered(3), Some(Owner { process: 7, began: 9 }));
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({ "format": 1, "network": 3, "process": 7, "began": 9 }));
        assert_eq!(settings(Subnet::numbered(0), None), "{\"format\":1,\"network\":0}\n");
    }

    #[test]
    fn a_process_that_is_not_there_cannot_own_a_set() {
        assert!(owner(std::process::id()).is_ok());
        assert!(owner(u32::MAX).is_err());
    }
}
