//! Applies a policy to this process, as far as the kernel can.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use crate::policy::{Access, Entry, Kind, Policy, Reached, Rule};

/// What is asked of the kernel. Newer ones could do more, but what they would refuse was not tried here.
const ASKED: ABI = ABI::V8;
/// The first version that keeps files from being cut short by those who may not write them.
const WITH_TRUNCATE: i32 = 3;
/// The first version that keeps signals and abstract sockets apart.
const WITH_SCOPES: i32 = 6;

/// The rights of root that a confined process keeps: over the files that its rules leave to it, its own users, and ports. With any other one it
/// could read the memory of others, disks, or what goes over the network, or change what belongs to the whole machine.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SETFCAP);

/// File systems of pipes and sockets without names, as `statfs` tells them.
const WITHOUT_NAMES: [u64; 2] = [0x5049_5045, 0x534F_434B];

/// How far a process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// Not at all: the kernel does not offer it. Modes of files are all there is.
    Nothing,
    /// Files are kept apart, but those that may be read may be cut short too, and signals reach everybody.
    Partly,
    /// Files are kept apart; signals and abstract sockets are not.
    Files,
    /// Files, signals and abstract sockets are kept apart.
    Whole,
}

impl Confinement {
    const fn of(abi: i32) -> Self {
        match abi {
            ..=0 => Self::Nothing,
            1..WITH_TRUNCATE => Self::Partly,
            WITH_TRUNCATE..WITH_SCOPES => Self::Files,
            WITH_SCOPES.. => Self::Whole,
        }
    }
}

/// What a process of the same user is kept from by Landlock alone.
const FILES: [&str; 3] = [
    "a service or build can read Lockstep's data folder: secrets and data of other services, and the keys (no Landlock: needs Linux \
     5.13)",
    "a service or build can write what the server's user can: its own code until its next start, and data of other services (no Landlock)",
    "a service or build can look into other instances, their environment and secrets included (no Landlock)",
];
/// What needs [`WITH_TRUNCATE`].
const TRUNCATE: &str =
    "a service or build can cut short what it can read and the server's user can write (needs Linux 6.2)";
/// What needs [`WITH_SCOPES`].
const SCOPES: &str = "a service or build can send signals to the server, supervisors and other instances, and connect to their abstract \
                      sockets (needs Linux 6.12)";

impl Confinement {
    /// Says in sentences what a process that is confined so far is not kept from; nothing where it is confined wholly.
    #[must_use]
    pub const fn unprotected(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[FILES[0], FILES[1], FILES[2], SCOPES],
            Self::Partly => &[TRUNCATE, SCOPES],
            Self::Files => &[SCOPES],
            Self::Whole => &[],
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => {
                "not confined, because this kernel has no Landlock: it can read what the user of the server can read"
            }
            Self::Partly => {
                "confined in part, because this kernel is older than 6.2: it can cut files short, and signal others"
            }
            Self::Files => "confined, but for signals, which need Linux 6.12: it can signal processes of the same user",
            Self::Whole => "confined",
        })
    }
}

/// Returns how far this kernel can confine. Must not be called by a process that goes on to confine others' threads:
/// the answer is found on a thread of its own, which is confined and ends.
#[must_use]
pub fn available() -> Confinement {
    static AVAILABLE: OnceLock<Confinement> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let tried =
            std::thread::spawn(|| restrict(Vec::new(), Reached::Own).map(|status| confinement(&status)));
        tried.join().ok().and_then(Result::ok).unwrap_or(Confinement::Nothing)
    })
}

/// Confines this process, and everything that it starts, for good.
pub(crate) fn confine(policy: &Policy) -> io::Result<Confinement> {
    let policy = on_this_host(policy);
    let status = restrict(policy.rules(&list), policy.reached)?;
    let confinement = confinement(&status);
    if confinement != Confinement::Nothing {
        give_up_rights()?;
    }
    Ok(confinement)
}

/// Confines this process in a root of its own, where everything is its own: what remains is to keep it apart from other processes.
pub(crate) fn confine_in_root() -> io::Result<Confinement> {
    let root = (File::open("/")?.into(), Access::Write);
    let outputs = [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().filter(is_in_files);
    let outputs = outputs.map(|output| Ok((output.try_clone_to_owned()?, Access::Write)));
    let places = std::iter::once(Ok(root)).chain(outputs).collect::<io::Result<Vec<_>>>()?;
    let status = restrict_to(places, Reached::Own)?;
    give_up_rights()?;
    Ok(confinement(&status))
}

/// What a process writes to lies outside of its root, and it may open that again by its number. A pipe without a name needs no rule.
fn is_in_files(output: &BorrowedFd<'_>) -> bool {
    let kind = rustix::fs::fstatfs(output).map(|place| u64::try_from(place.f_type).unwrap_or_default());
    kind.is_ok_and(|kind| !WITHOUT_NAMES.contains(&kind))
}

/// Gives up the rights of root that lead around the rules. Nothing can bring them back: `no_new_privs` is set.
fn give_up_rights() -> io::Result<()> {
    let mut rights = rustix::thread::capabilities(None)?;
    let around = CapabilitySet::all().difference(KEPT);
    for right in around.iter() {
        // Needs a right itself; without it there is nothing to give up.
        let _ = rustix::thread::remove_capability_from_bounding_set(right);
    }
    if rights.permitted.intersects(around) || rights.inheritable.intersects(around) {
        let _ = rustix::thread::clear_ambient_capability_set();
        rights.effective.remove(around);
        rights.permitted.remove(around);
        rights.inheritable.remove(around);
        rustix::thread::set_capabilities(None, rights)?;
    }
    Ok(())
}

/// Links on the way to a folder would make its rule miss.
fn on_this_host(policy: &Policy) -> Policy {
    let real = |paths: &[PathBuf]| {
        paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect()
    };
    Policy {
        hidden: real(&policy.hidden),
        shared: real(&policy.shared),
        readable: real(&policy.readable),
        writable: real(&policy.writable),
        reached: policy.reached,
    }
}

const fn confinement(status: &RestrictionStatus) -> Confinement {
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Confinement::of(effective_abi as i32),
        _ => Confinement::Nothing,
    }
}

fn restrict(rules: Vec<Rule>, reached: Reached) -> io::Result<RestrictionStatus> {
    restrict_to(rules.into_iter().filter_map(|rule| Some((open(&rule.path)?, rule.access))), reached)
}

/// Takes one place after the other: how many files may be open can be limited.
fn restrict_to(
    places: impl IntoIterator<Item = (OwnedFd, Access)>,
    reached: Reached,
) -> io::Result<RestrictionStatus> {
    let apart = |ruleset: Ruleset| match reached {
        Reached::Own => ruleset.scope(Scope::from_all(ASKED)),
        Reached::Everybody => Ok(ruleset),
    };
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))
        .and_then(apart)
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for (place, access) in places {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
        let rule = PathBeneath::new(place, rights(access, kind));
        ruleset = ruleset.add_rule(rule).map_err(io::Error::other)?;
    }
    ruleset.restrict_self().map_err(io::Error::other)
}

/// Opens what a rule is for. What has gone meanwhile, and what has become a link, gets none.
fn open(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&place).ok()?.st_mode);
    (kind != FileType::Symlink).then_some(place)
}

fn rights(access: Access, kind: FileType) -> BitFlags<AccessFs> {
    let rights = match access {
        Access::List => AccessFs::ReadDir.into(),
        Access::Read => AccessFs::from_read(ASKED),
        Access::Write => AccessFs::from_all(ASKED) & !(AccessFs::MakeBlock | AccessFs::MakeChar),
    };
    if kind == FileType::Directory { rights } else { rights & AccessFs::from_file(ASKED) }
}

fn list(folder: &Path) -> Vec<Entry> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(Entry { kind: kind(entry.file_type().ok()?), name: entry.file_name() }))
        .collect()
}

fn kind(file: fs::FileType) -> Kind {
    match file {
        file if file.is_symlink() => Kind::Link,
        file if file.is_dir() => Kind::Folder,
        file if file.is_block_device() => Kind::Disk,
        _ => Kind::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_a_kernel_can_the_more_is_said_to_be_open() {
        let open = |abi| Confinement::of(abi).unprotected();
        assert!(open(0).iter().any(|open| open.contains("read Lockstep's data folder")));
        assert!(
            open(0).len() > open(1).len() && open(1).len() > open(3).len() && open(3).len() > open(6).len()
        );
        assert!(open(5).iter().all(|open| open.contains("6.12")), "signals alone: {:?}", open(5));
        assert!(open(6).is_empty());
    }
}
