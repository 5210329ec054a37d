//! Hosts that another command boots for itself: they are there for as long as the value is, and no longer than its process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::name::{Host, SetName};
use super::set::{Place, Set};
use super::{Up, alone_and_able, boot, boot_all, change, login, tool};

/// Booted hosts, web1 to webN.
pub(crate) struct Fleet {
    set: Set,
    count: u8,
}

impl Fleet {
    /// Checks whether this machine can boot hosts.
    pub(crate) fn check() -> Result<()> {
        alone_and_able().map(drop)
    }

    /// Boots them and waits until one can log in.
    pub(crate) fn boot(name: SetName, count: u8) -> Result<Self> {
        let fleet = Self { set: Set::new(name), count };
        boot_all(&fleet.set, &Up { count, no_linger: None, for_process: Some(std::process::id()) })?;
        Ok(fleet)
    }

    /// All of them, up or off.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        (1..=self.count).map(Host::numbered).collect()
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: Host) -> Result<Ipv4Addr> {
        Ok(host.address(self.set.subnet()?))
    }

    /// Where one logs in to a host.
    pub(crate) fn login(&self, host: Host) -> Result<String> {
        Ok(format!("{}@{}", login::USER, self.address(host)?))
    }

    /// The key with which one does.
    pub(crate) fn key(&self) -> PathBuf {
        self.set.key()
    }

    /// The network of a host, for a thread of this process that is to be a client there.
    pub(crate) fn network(&self, host: Host) -> Result<Arc<File>> {
        let path = Path::new("/run/netns").join(host.on_machine(self.set.name()));
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Arc::new(file))
    }

    /// Powers a host off at once.
    pub(crate) fn stop(&self, host: Host) -> Result<()> {
        self.say("stop", host);
        change(&self.set, host, boot::stop)
    }

    /// Boots a host that is off, and waits until one can log in.
    pub(crate) fn start(&self, host: Host) -> Result<()> {
        self.say("start", host);
        change(&self.set, host, |place| boot::start(place).and_then(|()| login::wait(place)))
    }

    /// Lets a host boot again, and waits until one can log in.
    pub(crate) fn reboot(&self, host: Host) -> Result<()> {
        self.say("reboot", host);
        change(&self.set, host, |place| boot::reboot(place).and_then(|()| login::wait(place)))
    }

    fn say(&self, verb: &str, host: Host) {
        println!("$ cargo xtask hosts --set {} {verb} {host}", self.set.name());
    }

    /// What the processes of a host were given for an option on their command lines.
    pub(crate) fn given(&self, host: Host, option: &str) -> Result<BTreeSet<String>> {
        let machine = host.on_machine(self.set.name());
        let processes = tool::run(&["ip", "netns", "pids", &machine])?;
        Ok(processes.split_whitespace().filter_map(|process| value(process, option)).collect())
    }

    /// Runs a program of this machine that asks something on a host's own loopback address, and returns what it writes.
    pub(crate) fn ask_on_loopback(&self, host: Host, program: &Path, arguments: &[&str]) -> Result<String> {
        let Place { set, host } = self.set.place(host);
        let program = program.to_str().context("the program has a name that is no text")?;
        let machine = host.on_machine(set.name());
        tool::run(&[&["ip", "netns", "exec", &machine, program], arguments].concat())
    }
}

/// A process that is over was given nothing.
fn value(process: &str, option: &str) -> Option<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    line.split('\0').skip_while(|word| *word != option).nth(1).map(str::to_owned)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !self.set.is_there() {
            return;
        }
        if let Err(why) = alone_and_able().and_then(|_lock| self.set.tear_down()) {
            eprintln!("warning: set `{}` cannot be taken down: {why:#}", self.set.name());
        }
    }
}

/// Begins to take a set down in a process of its own, when this one is about to end and another of its threads may be working on the set.
pub(crate) fn take_down_after_us(set: &SetName) {
    // This very program, also where another one was built in its place meanwhile.
    let mut command = Command::new("/proc/self/exe");
    let begun = command.args(["hosts", "--set", &set.to_string(), "down"]).stdin(Stdio::null()).spawn();
    if let Err(error) = begun {
        eprintln!("warning: `cargo xtask hosts --set {set} down` did not start: {error}");
    }
}
