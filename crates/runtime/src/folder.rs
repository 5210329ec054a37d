//! The folder of one instance: the only thing that a driver and a supervisor share.
//!
//! | name | what |
//! | --- | --- |
//! | `spec.json` | what to run; written once, before the folder gets its name; readable by the owner only |
//! | `status.json` | what was last seen; replaced in one step |
//! | `stop` | present when the instance has been asked to end |
//! | `told/routed` | `yes` while requests are routed to the instance, else `no`; replaced in one step, for the service to read |
//! | `lock` | held with `flock` by the supervisor as long as it lives |
//! | `control` | the supervisor's socket |
//! | `stdout`, `stderr` | pipes with a name, into which the process writes |
//! | `work/` | where the process runs: links to its release, and what it writes |
//! | `tmp/` | its temporary files |
//! | `log/` | the log of the instance, see [`crate::logs`] |
//! | `supervisor.log` | what the supervisor itself says when it cannot work |

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use lockstep_confine::User;
use lockstep_domain::InstanceId;
use lockstep_files::{foreign, tree};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::logs::LOST;
use crate::logs::lost::Lost;
use crate::spec::{FORMAT, SpecFile};
use crate::status::Status;

/// Longest `spec.json` that is read: far above any real configuration.
const MAX_SPEC_BYTES: u64 = 16 * 1024 * 1024;
/// Start of the name of a folder that is being made. An instance id cannot begin with a dot, and the longest one has
/// room for five more characters in a file name.
const NEW_PREFIX: &str = ".new-";
/// Start of the name of a folder that is being removed.
const OLD_PREFIX: &str = ".old-";

/// What `told/routed` is written to before it is renamed.
const NEXT: &str = ".next";
/// What `routed` says while requests are routed to the instance.
const ROUTED: &str = "yes\n";
/// What it says otherwise.
const NOT_ROUTED: &str = "no\n";

/// The folder of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstanceFolder {
    path: PathBuf,
}

impl InstanceFolder {
    /// Names the folder at a path, which must be absolute and need not exist.
    #[must_use]
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Names the folder of an instance below the folder of all instances.
    #[must_use]
    pub(crate) fn of(instances: &Path, id: &InstanceId) -> Self {
        Self { path: instances.join(id.as_str()) }
    }

    /// Makes the folder with everything that a supervisor needs in it. It appears under its name when it is complete.
    ///
    /// # Errors
    ///
    /// When it cannot be written; nothing is left then.
    pub(crate) fn create(instances: &Path, spec: &SpecFile) -> io::Result<Self> {
        let new = Self { path: instances.join(format!("{NEW_PREFIX}{}", spec.id)) };
        let folder = Self::of(instances, &spec.id);
        let made = new.fill(spec).and_then(|()| fs::rename(&new.path, &folder.path));
        if let Err(error) = made {
            let _ = tree::remove(&new.path);
            return Err(error);
        }
        File::open(instances)?.sync_all()?;
        Ok(folder)
    }

    /// Lets the user of the instance pass to its folders, read what it is told, and open its output again.
    fn open_to(&self, user: User) -> io::Result<()> {
        for pipe in [self.stdout(), self.stderr()] {
            lchown(pipe, Some(user.id), Some(user.group))?;
        }
        set_mode(&self.routed(), 0o644)?;
        set_mode(&self.told(), 0o755)?;
        set_mode(&self.path, 0o711)
    }

    fn fill(&self, spec: &SpecFile) -> io::Result<()> {
        tree::remove(&self.path)?;
        DirBuilder::new().mode(0o700).create(&self.path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.spec())?;
        file.write_all(&serde_json::to_vec(spec)?)?;
        file.sync_all()?;
        fs::create_dir(self.log())?;
        // Made while there is room, so that a full disk does not stop the account of what it stops.
        fs::write(self.log().join(LOST), Lost::default().text())?;
        fs::create_dir(self.told())?;
        fs::write(self.routed(), NOT_ROUTED)?;
        for pipe in [self.stdout(), self.stderr()] {
            rustix::fs::mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        spec.user().map_or(Ok(()), |user| self.open_to(user))
    }

    /// Removes the folder: first its name, then what is in it, so that nothing half-removed has the name.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let removed = self.path.with_file_name(format!("{OLD_PREFIX}{name}"));
        match fs::rename(&self.path, &removed) {
            Ok(()) => tree::remove(&removed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells whether a folder name is that of a folder half-made or half-removed.
    #[must_use]
    pub(crate) fn is_rest(name: &str) -> bool {
        name.starts_with(NEW_PREFIX) || name.starts_with(OLD_PREFIX)
    }

    /// Reads `spec.json`.
    ///
    /// # Errors
    ///
    /// When it cannot be read or has a format that this version does not know.
    pub(crate) fn read_spec(&self) -> io::Result<SpecFile> {
        let file = foreign::open_no_link(&self.spec())?;
        let spec: SpecFile = serde_json::from_slice(&foreign::read(file, MAX_SPEC_BYTES)?)?;
        if (1..=FORMAT).contains(&spec.format) {
            Ok(spec)
        } else {
            let text = format!("format {} is newer than this program, which knows {FORMAT}", spec.format);
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }

    /// Marks the instance as asked to end, durably.
    ///
    /// # Errors
    ///
    /// When the mark cannot be written.
    pub(crate) fn mark_stop(&self) -> io::Result<()> {
        let marked = foreign::open_to_append(&self.stop_mark());
        // Whatever lies there marks it.
        marked.map(drop).or_else(|error| if self.is_marked_stop() { Ok(()) } else { Err(error) })?;
        open_folder(&self.path, OFlags::RDONLY)?.sync_all()
    }

    /// Tells whether the instance has been asked to end.
    #[must_use]
    pub(crate) fn is_marked_stop(&self) -> bool {
        self.stop_mark().symlink_metadata().is_ok()
    }

    /// Tells the instance whether requests are routed to it.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was there stays.
    pub(crate) fn tell_routed(&self, routed: bool) -> io::Result<()> {
        // An instance of an older release has no such folder.
        fs::create_dir_all(self.told())?;
        let text = if routed { ROUTED } else { NOT_ROUTED };
        let told = fs::metadata(self.told())?.permissions();
        let next = self.told().join(NEXT);
        fs::write(&next, text)?;
        // As open as the folder, whatever the umask of the server is.
        set_mode(&next, told.mode() & 0o644)?;
        fs::rename(next, self.routed())
    }

    /// Returns the path of what tells the instance whether requests are routed to it.
    #[must_use]
    pub(crate) fn routed(&self) -> PathBuf {
        self.told().join("routed")
    }

    /// Returns the path of the folder with what the instance is told: it may read there and not write.
    #[must_use]
    pub(crate) fn told(&self) -> PathBuf {
        self.path.join("told")
    }

    /// Tells whether the instance has ended for good, as far as its supervisor has written it down.
    pub(crate) fn is_over(&self) -> bool {
        matches!(Status::read(self), Ok(Some(status)) if status.state.is_over())
    }

    /// Returns the path of the folder.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of `spec.json`.
    #[must_use]
    pub(crate) fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    /// Returns the path of `status.json`.
    #[must_use]
    pub(crate) fn status(&self) -> PathBuf {
        self.path.join("status.json")
    }

    /// Returns the path of the working folder.
    #[must_use]
    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Returns the path of the folder for temporary files.
    #[must_use]
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Returns the path of its home folder.
    #[must_use]
    pub(crate) fn home(&self) -> PathBuf {
        self.scratch().join("home")
    }

    /// Returns the path of the supervisor's lock.
    #[must_use]
    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Returns the path of the pipe for standard output.
    #[must_use]
    pub(crate) fn stdout(&self) -> PathBuf {
        self.path.join("stdout")
    }

    /// Returns the path of the pipe for standard error.
    #[must_use]
    pub(crate) fn stderr(&self) -> PathBuf {
        self.path.join("stderr")
    }

    /// Returns the path of the folder of the log.
    #[must_use]
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Returns the path of what the supervisor itself says.
    #[must_use]
    pub(crate) fn supervisor_log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// Calls `with` with a path of the supervisor's socket that is short enough for a socket address (108 bytes).
    ///
    /// # Errors
    ///
    /// When the folder cannot be opened, or what `with` fails with.
    pub(crate) fn with_socket<T>(&self, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let (_held, folder) = self.hold()?;
        with(&folder.path.join("control"))
    }

    /// Connects to the supervisor's socket without waiting for anybody: whoever listens there may never accept.
    ///
    /// # Errors
    ///
    /// When nobody listens, or too many wait.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        self.with_socket(|path| Ok(rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?))?;
        Ok(socket.into())
    }

    /// Opens the folder, and names it by what was opened: it stays the same one wherever it is moved.
    ///
    /// # Errors
    ///
    /// When it is not there, or is no folder.
    pub(crate) fn hold(&self) -> io::Result<(File, Self)> {
        let held = open_folder(&self.path, OFlags::PATH)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        Ok((held, Self { path }))
    }

    fn stop_mark(&self) -> PathBuf {
        self.path.join("stop")
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn open_folder(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}
