//! The disk of a host: an overlay over the shared root, with what makes one host another: its name, address, keys, and who may log in.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::able::Impossible;
use super::name::Host;
use super::root::{DEPLOY_ID, Root};
use super::set::{self, Place};
use super::subnet::{LENGTH, Subnet};
use super::tool;

/// The host key, where sshd looks for it.
const HOST_KEY: &str = "etc/ssh/ssh_host_ed25519_key";
/// What says that a user's services run without a login.
const LINGER: &str = "var/lib/systemd/linger/deploy";
/// Written last: a disk without it was not finished, and is made anew.
const FINISHED: &str = "finished";
/// Which root the disk lies over.
const LOWER: &str = "lower";

/// Whether services of `deploy` run while nobody is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lingering {
    On,
    Off,
}

/// A file that a host has for itself.
struct Own {
    path: &'static str,
    text: String,
}

/// Makes the disk of a host, unless it has one.
pub(crate) fn make(place: &Place, root: &Root, lingering: Lingering) -> Result<()> {
    let folder = place.folder();
    if folder.join(FINISHED).is_file() {
        return Ok(());
    }
    super::mounts::remove_folder(&folder)?;
    for part in ["upper", "work", "root"] {
        make_folder(&folder.join(part))?;
    }
    let upper = place.upper();
    own_files(place)?.iter().try_for_each(|own| write(&upper, own))?;
    if lingering == Lingering::On {
        write(&upper, &Own { path: LINGER, text: String::new() })?;
    }
    make_folder(&upper.join("etc/ssh"))?;
    set::make_key(&upper.join(HOST_KEY).to_string_lossy(), &place.host.to_string())?;
    let_in(place)?;
    fs::write(folder.join(LOWER), root.folder().to_string_lossy().as_bytes())?;
    fs::write(folder.join(FINISHED), "").with_context(|| format!("cannot write to {}", folder.display()))
}

fn own_files(place: &Place) -> Result<Vec<Own>> {
    let subnet = place.set.subnet()?;
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random number is to be had")?;
    Ok(vec![
        Own { path: "etc/hostname", text: format!("{}\n", place.host) },
        Own { path: "etc/hosts", text: names(subnet) },
        Own { path: "etc/machine-id", text: uuid.replace('-', "") },
        Own {
            path: "etc/lockstep-address",
            text: format!("ADDRESS={}/{LENGTH}\n", place.host.address(subnet)),
        },
    ])
}

/// All hosts know each other by name, and this machine as `machine`.
fn names(subnet: Subnet) -> String {
    let hosts = Host::all().map(|host| format!("{} {host}\n", host.address(subnet)));
    let first = [format!("127.0.0.1 localhost\n::1 localhost\n{} machine\n", subnet.of_machine())];
    first.into_iter().chain(hosts).collect()
}

fn write(upper: &Path, own: &Own) -> Result<()> {
    let path = upper.join(own.path);
    let parents: Vec<&Path> =
        path.ancestors().skip(1).take_while(|parent| parent.starts_with(upper)).collect();
    parents.into_iter().rev().try_for_each(make_folder)?;
    fs::write(&path, &own.text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(&path, Permissions::from_mode(0o644))?)
}

/// Makes a folder that everybody may enter: what is above in an overlay is what counts there.
fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}

/// Lets the key of the set in as `deploy`.
fn let_in(place: &Place) -> Result<()> {
    let key = fs::read_to_string(place.set.key().with_extension("pub")).context("the set has no key")?;
    let upper = place.upper();
    write(&upper, &Own { path: "home/deploy/.ssh/authorized_keys", text: key })?;
    for (path, mode) in
        [("home/deploy", 0o755), ("home/deploy/.ssh", 0o700), ("home/deploy/.ssh/authorized_keys", 0o600)]
    {
        fs::set_permissions(upper.join(path), Permissions::from_mode(mode))?;
        chown(upper.join(path), Some(DEPLOY_ID), Some(DEPLOY_ID))
            .with_context(|| format!("cannot give {path} to deploy"))?;
    }
    Ok(())
}

/// The public host key, as a line of `known_hosts` has it.
pub(crate) fn host_key(place: &Place) -> Result<String> {
    let path = place.upper().join(HOST_KEY).with_extension("pub");
    let line = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// Says whether services of `deploy` outlive a login there.
pub(crate) fn lingering(place: &Place) -> Lingering {
    if place.upper().join(LINGER).is_file() { Lingering::On } else { Lingering::Off }
}

/// Mounts the disk.
pub(crate) fn mount(place: &Place) -> Result<()> {
    let folder = place.folder();
    let lower = fs::read_to_string(folder.join(LOWER))
        .with_context(|| format!("the disk of {} is not whole", place.host))?;
    let options = options(&lower, &folder);
    let root = place.root();
    let mounted =
        tool::run(&["mount", "-t", "overlay", "-o", &options, &place.machine(), &root.to_string_lossy()]);
    mounted.map(drop).map_err(|why| cannot_lie_over(&why))
}

fn options(lower: &str, folder: &Path) -> String {
    format!("lowerdir={lower},upperdir={0}/upper,workdir={0}/work", folder.display())
}

fn cannot_lie_over(why: &anyhow::Error) -> anyhow::Error {
    let base = super::folder::BASE;
    Impossible(vec![format!(
        "no overlay can be mounted in {base} ({why}); a disk mounted there (ext4, xfs) can carry one"
    )])
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_find_each_other_and_the_machine_by_name() {
        let names = names(Subnet::numbered(5));
        for line in ["127.0.0.1 localhost", "10.213.5.1 machine", "10.213.5.11 web1", "10.213.5.74 web64"] {
            assert!(names.lines().any(|one| one == line), "{line}");
        }
    }

    #[test]
    fn the_disk_lies_over_the_root_that_it_was_made_for() {
        let options = options("/r/one", Path::new("/s/try/web1"));
        assert_eq!(options, "lowerdir=/r/one,upperdir=/s/try/web1/upper,workdir=/s/try/web1/work");
    }
}
