//! The place of an agent among the control groups of its host: a part of the tree that systemd hands over, so that instances are held to
//! their limits, and end with nobody's login.
//!
//! The agent becomes part of a scope of its folder, which the systemd of its user makes (of the system for root) with `Delegate=yes`, and puts
//! itself into the group `server` there; so do its supervisors, because they are started by it, and the groups of instances lie beside.
//! A scope stays as long as something is in it, and the next agent joins it. Invariant: without systemd, or where it refuses, nothing
//! changes but that it is said.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_domain::Digest;
use lockstep_runtime::{GROUP_OF_SERVER, own_group};
use sha2::{Digest as _, Sha256};

use super::boot;

/// What makes scopes.
const PROGRAM: &str = "systemd-run";
/// How long what is in it has when the host shuts down: a supervisor ends with its host and not before, so systemd would wait for 90 s, in which
/// nobody there serves and the host is not away yet. What an instance gets is its signal, and so long to end.
const STOPS_WITHIN_SECONDS: u32 = 2;
/// Says which process has gone into a scope, and for the folder of which unit: so nobody goes twice, and no child takes it for its own.
const ENTERED: &str = "LOCKSTEP_HOST_SCOPE";

/// Goes into the scope of a folder: becomes this program again in it. Returns where it has come to be there.
///
/// # Errors
/// Says why there is none.
pub(super) fn enter(folder: &Path) -> Result<(), String> {
    let unit = unit_of(folder);
    let mark = OsString::from(format!("{unit} {}", std::process::id()));
    if std::env::var_os(ENTERED).is_some_and(|entered| entered == mark) {
        return settle(&unit).map_err(|error| format!("the scope `{unit}` cannot be used: {error}"));
    }
    let manager = boot::manager()?;
    let error = Command::new(PROGRAM)
        .args(manager.arguments())
        .args(scope(&manager, &unit)?)
        .arg("--")
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .args(std::env::args_os().skip(1))
        .env(ENTERED, mark)
        .envs(manager.runtime_folder())
        .exec();
    Err(format!("`{PROGRAM}` cannot be started: {error}"))
}

fn unit_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let digest = Digest::from_bytes(Sha256::digest(folder.as_os_str().as_encoded_bytes()).into());
    format!("lockstep-{}.scope", digest.short())
}

/// Which scope is asked for: that of the folder, or, where it is there, any one, because only from beside it can be joined. Tries it
/// first, so that no connection is lost to a systemd that refuses.
fn scope(manager: &boot::Manager, unit: &str) -> Result<Vec<String>, String> {
    let any = ["--scope", "--quiet", "--collect"].map(str::to_owned).to_vec();
    let tried = [&any[..], &["--".to_owned(), "cat".to_owned(), "/proc/self/cgroup".to_owned()]].concat();
    let said = manager.run(PROGRAM, &tried).ok_or("systemd makes no scope for it")?;
    let group = said
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or("systemd uses no control groups (version 2)")?;
    let beside = Path::new(group).parent().ok_or("the scope is not below a slice")?;
    let own = own_group().ok_or("this host has no control groups (version 2)")?;
    match mount_of(&own.0, &own.1).join(beside.strip_prefix("/").unwrap_or(beside)).join(unit).is_dir() {
        true => Ok(any),
        false => {
            let own = [format!("--unit={unit}"), "--property=Delegate=yes".to_owned(), stops_within()];
            Ok([&any[..], &own].concat())
        }
    }
}

fn stops_within() -> String {
    format!("--property=TimeoutStopSec={STOPS_WITHIN_SECONDS}s")
}

/// Where the tree of groups is mounted: the folder of a group without the group's own path.
fn mount_of(folder: &Path, group: &Path) -> PathBuf {
    let depth = group.components().filter(|part| matches!(part, std::path::Component::Normal(_))).count();
    folder.ancestors().nth(depth).unwrap_or(folder).to_owned()
}

/// Goes into the group of what decides, beside those of instances.
fn settle(unit: &str) -> io::Result<()> {
    let (own, _) = own_group().ok_or_else(|| io::Error::other("it has no control group"))?;
    let server = own.with_file_name(unit).join(GROUP_OF_SERVER);
    match fs::create_dir(&server) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(server.join("cgroup.procs"), std::process::id().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_found_from_any_group_in_it() {
        let of = |folder: &str, group: &str| mount_of(Path::new(folder), Path::new(group));
        assert_eq!(
            of("/sys/fs/cgroup/user.slice/a.scope", "/user.slice/a.scope"),
            Path::new("/sys/fs/cgroup")
        );
        assert_eq!(of("/sys/fs/cgroup/unified", "/"), Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn each_folder_has_a_scope_of_its_own() {
        assert_ne!(unit_of(Path::new("/a")), unit_of(Path::new("/b")));
        assert!(unit_of(Path::new("/a")).ends_with(".scope"));
    }
}
