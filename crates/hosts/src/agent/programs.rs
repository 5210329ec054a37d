//! Programs of other releases on a host: one that nothing runs any more goes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use lockstep_files::tree;

/// Removes the programs that no process runs, apart from this one. One that cannot be removed is left for the next time.
pub(super) fn clean(folder: &Path) {
    if let Err(error) = clean_below(&folder.join("programs")) {
        tracing::warn!(%error, "programs of other releases cannot be removed");
    }
}

fn clean_below(programs: &Path) -> io::Result<()> {
    let running = running_below(programs)?;
    for entry in fs::read_dir(programs)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.parse::<Digest>().is_ok() && !running.contains(&path) {
            tree::remove(&path)?;
        }
    }
    Ok(())
}

/// The folders of programs that run, whoever runs them, as far as this user sees. A process that is not seen may be another user's who
/// was given the program: a supervisor is of this user, and is seen.
fn running_below(programs: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let programs_of = processes.filter_map(|process| fs::read_link(process.path().join("exe")).ok());
    let below = programs_of.filter_map(|program| {
        let first = program.strip_prefix(programs).ok()?.components().next()?;
        Some(programs.join(first))
    });
    Ok(below.collect())
}
