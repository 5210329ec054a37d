//! The folder of a host: one agent works in it at a time, and the one that came last.
//!
//! | name | what |
//! | --- | --- |
//! | `lease.json`, `lease.lock` | who has the host, see [`crate::lease`] |
//! | `agent.lock` | held by the agent, and says which process it is |
//! | `programs/DIGEST/lockstep` | programs of releases, see [`crate::program`] |
//! | `incoming/DIGEST` | artifacts that have not come whole |
//! | `way/socket` | where gateways of this host reach the server, while an agent works |
//! | `runtime/` | the folder of the driver |

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use thiserror::Error;
use tokio::time::sleep;

use crate::lease::{Claim, LeaseError};

/// How often it is looked whether the agent before has ended.
const PAUSE: Duration = Duration::from_millis(5);
/// How long it may take to end: the connection of a server that was killed is closed at once, and what starts instances again after a
/// boot asks every supervisor once.
const PATIENCE: Duration = Duration::from_secs(6);

/// The folder of the socket by which gateways reach the server.
pub(crate) const WAY: &str = "way";
/// The socket in it.
pub(crate) const WAY_SOCKET: &str = "socket";

/// The folder of a host.
#[derive(Debug, Clone)]
pub(crate) struct HostFolder(PathBuf);

/// Held as long as an agent works in a folder.
#[derive(Debug)]
pub(crate) struct Alone {
    _lock: File,
}

impl HostFolder {
    /// Opens a folder, and makes it where it is not there yet.
    ///
    /// # Errors
    /// When it cannot be made or used.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        for folder in [path.to_owned(), path.join("incoming"), path.join("programs")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            check_ours(&folder)?;
        }
        Ok(Self(path.canonicalize()?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }

    pub(crate) fn way(&self) -> PathBuf {
        self.0.join(WAY)
    }

    /// Works here alone from then on. An agent that the same process of a server has left, or that a person took the host from, is
    /// ended; that of another ends when its connection does.
    ///
    /// # Errors
    /// When another server's agent works here, or the lock cannot be used.
    pub(crate) async fn alone(&self, claim: &Claim) -> Result<Alone, AloneError> {
        let mut lock = self.open_lock()?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            let holder = Holder::read(&mut lock);
            let may_end = claim.take_over || holder.as_ref().is_some_and(|holder| holder.run == claim.run);
            match holder {
                _ if error != rustix::io::Errno::WOULDBLOCK => return Err(io::Error::from(error).into()),
                _ if tokio::time::Instant::now() > deadline => return Err(LeaseError::InUse.into()),
                Some(holder) if may_end => holder.end(&self.0),
                _ => {}
            }
            sleep(PAUSE).await;
        }
        // Written over what is there: a full disk has room for that.
        let text = format!("{} {} {}", std::process::id(), boot(), claim.run);
        let written = lock.rewind().and_then(|()| lock.write_all(text.as_bytes()));
        // What cannot be written is not known by the next one, which waits then.
        let _ = written.and_then(|()| lock.set_len(text.len() as u64));
        Ok(Alone { _lock: lock })
    }
}

impl HostFolder {
    /// Works here alone, unless somebody does already.
    ///
    /// # Errors
    /// When the lock cannot be used.
    pub(crate) fn alone_if_free(&self) -> io::Result<Option<Alone>> {
        let lock = self.open_lock()?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => lock.set_len(0).map(|()| Some(Alone { _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_lock(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed()).open(self.0.join("agent.lock"))
    }
}

/// Checks that nobody else owns a folder, or may write in it: whatever lies there is run.
pub(crate) fn check_ours(folder: &Path) -> io::Result<()> {
    let found = std::fs::metadata(folder)?;
    let (owner, others) = (found.uid(), found.mode() & 0o022);
    if owner == rustix::process::geteuid().as_raw() && others == 0 {
        return Ok(());
    }
    let (folder, mode) = (folder.display(), found.mode() & 0o777);
    Err(io::Error::other(format!(
        "`{folder}` belongs to user {owner} and has the mode {mode:o}: others could change what runs; name another folder"
    )))
}

/// Why an agent does not work alone.
#[derive(Debug, Error)]
pub(crate) enum AloneError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("the lock of the host's folder cannot be used")]
    Lock(#[from] io::Error),
}

/// The agent that holds a lock.
struct Holder {
    process: Pid,
    run: String,
}

impl Holder {
    fn read(lock: &mut File) -> Option<Self> {
        let mut text = String::new();
        lock.rewind().and_then(|()| io::Read::by_ref(lock).take(256).read_to_string(&mut text)).ok()?;
        let mut words = text.splitn(3, ' ');
        let process = Pid::from_raw(words.next()?.parse().ok()?)?;
        // A number of another boot, or of another machine with the same home, says nothing here.
        if words.next()? != boot() {
            return None;
        }
        Some(Self { process, run: words.next()?.to_owned() })
    }

    /// Kills it, when it is an agent of this folder: that may be done at any moment.
    fn end(&self, folder: &Path) {
        // Opened first: the process that is asked for its name is the one that is killed.
        let Ok(held) = rustix::process::pidfd_open(self.process, PidfdFlags::empty()) else { return };
        if is_agent(self.process, folder) {
            let _ = rustix::process::pidfd_send_signal(&held, Signal::KILL);
        }
    }
}

fn boot() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Tells whether a process is an agent of a folder: its program, its word, a digest, the folder, and no more.
fn is_agent(process: Pid, folder: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let [_, word, _, place, _] = words[..] else { return false };
    word == crate::agent::WORD && Path::new(place).canonicalize().is_ok_and(|place| place == folder)
}
