//! The step between a supervisor and a database: makes the data where there is none yet, and becomes the database.
//!
//! It is confined already, runs as the user of the database, and works in the folder of the data, which that user may not be able
//! to reach by its path: everything is named by the open folder.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::resource::ResourceKind;
use lockstep_files::whole;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::FdFlags;

use super::{EMPTY, FILES, GONE, PASSWORD, SECRET, postgresql, redis};
use crate::process::MARKER;

/// The first argument that makes a program the step; it has to call [`main`] then.
pub const WORD: &str = "become-resource";
/// How long what is left of a database that was killed may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What the step was told.
pub(super) struct Task {
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) password: String,
    /// The name of the password.
    pub(super) secret: String,
    /// The folder of the data, by a path that leads there whoever may see what is above it.
    pub(super) folder: PathBuf,
    /// Held open as long as the database lives: the path above goes through it.
    _held: OwnedFd,
    /// Held by the database and everything that it starts.
    _lock: File,
}

/// Runs the step. Returns only when the database could not be started; why is said on standard error.
#[must_use]
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.filter_map(|word| word.into_string().ok()).collect();
    let Err(why) = become_database(&arguments);
    eprintln!("lockstep: {why}");
    ExitCode::FAILURE
}

fn become_database(arguments: &[String]) -> Result<std::convert::Infallible, String> {
    let [kind, port, database] = arguments else {
        return Err("this is a step between Lockstep and a database that it runs, and no command".to_owned());
    };
    let kind: ResourceKind = kind.parse()?;
    let task = Task::begin(port.parse().map_err(|_| "the port is no number")?, database)?;
    let mut command = match kind {
        ResourceKind::Postgresql => postgresql::prepare(&task)?,
        ResourceKind::Redis => redis::prepare(&task)?,
        ResourceKind::Mysql | ResourceKind::Other => return Err(format!("Lockstep runs no {kind}")),
    };
    let program = command.get_program().to_owned();
    let error = command.exec();
    Err(format!("`{}` cannot be started: {error}", program.display()))
}

impl Task {
    fn begin(port: u16, database: &str) -> Result<Self, String> {
        let told = |name: &str| env::var(name).map_err(|_| format!("`{name}` is not set"));
        let words = |error: io::Error| format!("the folder of the data cannot be used: {error}");
        let (held, folder) = hold().map_err(words)?;
        let lock = lock(&folder).map_err(words)?;
        // Programs of PostgreSQL go back to where they came from, which they may not be able to.
        env::set_current_dir("/").map_err(words)?;
        let (password, secret) = (told(PASSWORD)?, told(SECRET)?);
        Ok(Self { port, database: database.to_owned(), password, secret, folder, _held: held, _lock: lock })
    }

    /// Returns where the files of the database are.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(FILES)
    }

    /// Starts a command with nothing but what a database needs.
    pub(super) fn command(program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear();
        for name in ["PATH", "TZ", MARKER] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Makes the files of the database, unless they are there: `fill` makes them under another name.
    pub(super) fn make(&self, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
        let (data, new, empty) = (self.data(), self.folder.join("new"), self.folder.join(EMPTY));
        if !data.exists() {
            if !empty.exists() {
                return Err(GONE.to_owned());
            }
            let words = |error: io::Error| format!("the files of the database cannot be made: {error}");
            lockstep_files::tree::remove(&new).map_err(words)?;
            fill(&new)?;
            fs::rename(&new, &data).map_err(words)?;
            whole::sync_folder_of(&data).map_err(words)?;
        }
        // From here on the files are expected to be there.
        let _ = fs::remove_file(&empty);
        Ok(())
    }
}

/// Opens the folder in which this process is, for it and for what it becomes.
fn hold() -> io::Result<(OwnedFd, PathBuf)> {
    let held = rustix::fs::openat(CWD, ".", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    rustix::io::fcntl_setfd(held.as_fd(), FdFlags::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    Ok((held, path))
}

/// Takes the lock of the folder, once whatever held it has ended.
fn lock(folder: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(folder.join("lock"))?;
    rustix::io::fcntl_setfd(file.as_fd(), FdFlags::empty())?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(io::Error::other("another database works with it, which does not end"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
