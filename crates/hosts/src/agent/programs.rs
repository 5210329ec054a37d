//! Programs of other releases on a host: one that nothing runs any more goes.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lockstep_domain::Digest;
use lockstep_files::tree;

/// What was changed since is perhaps being brought.
const BROUGHT_WITHIN: Duration = Duration::from_secs(3600);

/// Removes the programs that no process runs, apart from this one and those that came within the hour. One that cannot be removed is left
/// for the next time.
pub(super) fn clean(folder: &Path) {
    if let Err(error) = clean_below(&folder.join("programs")) {
        tracing::warn!(%error, "programs of other releases cannot be removed");
    }
}

/// Lets every user run this program where it is root's: services with a user of their own whose program it is. Who may not pass to its
/// folder does not come to it otherwise.
pub(super) fn open_for_services() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let opened =
        std::env::current_exe().and_then(|own| fs::set_permissions(own, Permissions::from_mode(0o755)));
    if let Err(error) = opened {
        tracing::warn!(%error, "services with users of their own cannot run the program");
    }
}

fn clean_below(programs: &Path) -> io::Result<()> {
    // As `/proc` names what runs, whatever links lead here.
    let programs = programs.canonicalize()?;
    let kept = running_below(&programs)?;
    for entry in fs::read_dir(&programs)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.parse::<Digest>().is_ok() && !kept.contains(&path) && !is_new(&path) {
            tree::remove(&path)?;
        }
    }
    Ok(())
}

/// Tells whether something came into a folder of a program lately; what lies in the future did, too.
fn is_new(folder: &Path) -> bool {
    let changed = [folder.to_owned(), folder.join("part")].map(|path| fs::metadata(path)?.modified());
    let is_new = |changed: SystemTime| changed.elapsed().is_ok_and(|age| age < BROUGHT_WITHIN);
    changed.into_iter().flatten().any(|changed| is_new(changed) || changed > SystemTime::now())
}

/// The folders of programs that run, whoever runs them, as far as this user sees; this one in any case.
fn running_below(programs: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let running = processes.filter_map(|process| fs::read_link(process.path().join("exe")).ok());
    let below = running.chain(std::env::current_exe()).filter_map(|program| {
        let first = program.strip_prefix(programs).ok()?.components().next()?;
        Some(programs.join(first))
    });
    Ok(below.collect())
}
