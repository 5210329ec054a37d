//! The one folder of this machine that has the cached roots and the disks of all hosts, and its lock.
//!
//! It is the same for everybody, because namespaces and networks are: two folders would not know what the other has.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The folder.
pub(crate) const BASE: &str = "/var/cache/lockstep-hosts";
/// How long another command may take: making a root is the longest, a few minutes on a slow line.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// When it is worth a word that one waits.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// Where roots are.
pub(crate) fn roots() -> PathBuf {
    Path::new(BASE).join("roots")
}

/// Where the sets are.
pub(crate) fn sets() -> PathBuf {
    Path::new(BASE).join("sets")
}

/// Waits until no other command works on hosts of this machine; others wait until what is returned is dropped, or this process ends.
pub(crate) fn lock() -> Result<File> {
    fs::create_dir_all(BASE).with_context(|| format!("cannot make {BASE}"))?;
    let path = Path::new(BASE).join("lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let begin = Instant::now();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).context("cannot lock the hosts of this machine");
            }
            Err(TryLockError::WouldBlock) if begin.elapsed() > PATIENCE => {
                bail!("another command holds {} since {} s", path.display(), PATIENCE.as_secs())
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_EVERY),
        }
        if !said && begin.elapsed() > SAY_AFTER {
            eprintln!("another command works on hosts; waiting for its end");
            said = true;
        }
    }
}

/// Writes a file so that a reader sees the old or the new one whole.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
