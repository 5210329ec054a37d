//! Opens files that somebody else may have made: regular ones only, without ever waiting for one.
//!
//! Invariant: whatever lies at the path (a pipe, a socket, a device, a link, a folder), the call returns at once, and what
//! comes back is a regular file.

use std::fs::{File, FileType};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fcntl_getfl, fcntl_setfl, openat2};
use rustix::io::Errno;

/// The system says "try again" when the folder changes while it is searched; a hostile neighbour could do so for ever.
const SEARCHES: usize = 16;
/// Where the pipes and terminals lie that a shell gives to a command: `/dev/stdin`, `<(...)`.
const OF_THE_SHELL: [&str; 3] = ["/dev/fd", "/dev/stdin", "/proc/self/fd"];

/// Opens a regular file for reading; links to it are followed.
///
/// # Errors
/// When it is not there, is something else, or cannot be read.
pub fn open(path: &Path) -> io::Result<File> {
    regular(File::options().read(true).custom_flags(flags(OFlags::NONBLOCK)).open(path)?)
}

/// Opens a regular file for reading that is not a link.
///
/// # Errors
/// As [`open`], and when it is a link.
pub fn open_no_link(path: &Path) -> io::Result<File> {
    regular(File::options().read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOFOLLOW)).open(path)?)
}

/// Opens a regular file below a folder for reading; links are followed as long as they stay below it.
///
/// # Errors
/// As [`open`], and when the path or a link leads out of the folder.
pub fn open_below(root: &Path, below: &Path) -> io::Result<File> {
    let opened = match search_below(root, below) {
        // A kernel before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_resolved(root, below),
        Err(Errno::XDEV) => Err(leads_out()),
        found => found.map_err(io::Error::from),
    };
    regular(opened?)
}

/// Opens a file that a person named on the command line: a regular one, or what the shell put in its place.
///
/// # Errors
/// As [`open`].
pub fn open_named(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(flags(OFlags::NONBLOCK)).open(path)?;
    if !OF_THE_SHELL.iter().any(|place| path.starts_with(place)) {
        return regular(file);
    }
    // The other end is a program that this person started, and may be slow.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Opens a regular file that is not a link for adding to its end, and makes it when it is not there.
///
/// # Errors
/// When it is something else, or cannot be written.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    regular(
        options
            .create(true)
            .append(true)
            .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOFOLLOW))
            .open(path)?,
    )
}

/// Opens a regular file that is not a link for writing over what is in it, and makes it when it is not there.
///
/// # Errors
/// When it is something else, or cannot be written.
pub fn open_to_overwrite(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    regular(options.custom_flags(flags(OFlags::NONBLOCK | OFlags::NOFOLLOW)).open(path)?)
}

/// Reads a file to its end if it has at most `limit` bytes.
///
/// # Errors
/// When it has more (`FileTooLarge`), or cannot be read.
pub fn read(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let why = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(content)
}

/// Reads a file as text if it has at most `limit` bytes.
///
/// # Errors
/// As [`read`], and when it is not UTF-8 (`InvalidData`).
pub fn read_text(file: File, limit: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read(file, limit)?).map_err(not_text)
}

fn regular(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is a {}, not a file", word(kind))))
}

fn word(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "folder"
    } else if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

/// A terminal that is opened by mistake must not become ours.
fn flags(flags: OFlags) -> i32 {
    (flags | OFlags::NOCTTY).bits().cast_signed()
}

fn leads_out() -> io::Error {
    io::Error::other("it leads out of its folder")
}

fn search_below(root: &Path, below: &Path) -> Result<File, Errno> {
    let folder = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut found = Err(Errno::AGAIN);
    for _ in 0..SEARCHES {
        found = openat2(&folder, below, how, Mode::empty(), resolve);
        if !matches!(found, Err(Errno::AGAIN)) {
            break;
        }
    }
    found.map(File::from)
}

/// The same without help of the kernel: a link that is put in place between the two steps is not followed.
fn open_resolved(root: &Path, below: &Path) -> io::Result<File> {
    let real: PathBuf = root.join(below).canonicalize()?;
    if !real.starts_with(root.canonicalize()?) {
        return Err(leads_out());
    }
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, &real, how, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::fs::{FileType as Kind, mknodat};

    use super::*;

    /// A folder with everything that can lie in the place of a file, and a secret outside of it.
    fn zoo() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::write(place.path().join("secret"), "s3cret").unwrap();
        fs::write(root.join("file"), "text").unwrap();
        mknodat(CWD, root.join("pipe"), Kind::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        drop(UnixListener::bind(root.join("socket")).unwrap());
        for (link, target) in [
            ("inside", "file"),
            ("around", "folder/../file"),
            ("out", "../secret"),
            ("far", "/dev/zero"),
            ("terminal", "/dev/tty"),
            ("loop", "loop"),
            ("to-pipe", "pipe"),
            ("magic", "/proc/self/root/etc/passwd"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink("..", root.join("folder/up")).unwrap();
        place
    }

    /// What each way to open says of a name; a way that waits fails the test.
    fn each_way(root: &Path, name: &'static str) -> Vec<(&'static str, io::Result<String>)> {
        let (sender, receiver) = mpsc::channel();
        let (root, all) = (root.to_owned(), root.join(name));
        std::thread::spawn(move || {
            let ways = [
                ("open", open(&all)),
                ("no link", open_no_link(&all)),
                ("below", open_below(&root, Path::new(name))),
                ("resolved", open_resolved(&root, Path::new(name)).and_then(regular)),
                ("named", open_named(&all)),
                ("append", open_to_append(&all).and_then(|_| open_no_link(&all))),
                ("overwrite", open_to_overwrite(&all).and_then(|_| open_no_link(&all))),
            ];
            let read = |(way, file): (_, io::Result<File>)| (way, file.and_then(|file| read_text(file, 100)));
            sender.send(ways.map(read)).unwrap();
        });
        receiver.recv_timeout(Duration::from_secs(60)).expect("it must not wait").into()
    }

    #[test]
    fn nothing_but_a_file_is_opened_and_nothing_is_waited_for() {
        let place = zoo();
        let root = place.path().join("root");
        for name in ["pipe", "socket", "folder", "far", "loop", "to-pipe", "terminal", "missing/x"] {
            for (way, result) in each_way(&root, name) {
                assert!(result.is_err(), "{name} by {way}: {result:?}");
            }
        }
        for (way, result) in each_way(&root, "file") {
            assert_eq!(result.unwrap(), "text", "{way}");
        }
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "text");
    }

    #[test]
    fn links_are_followed_inside_and_never_out() {
        let place = zoo();
        let root = place.path().join("root");
        let below = |name: &str| {
            let both = [open_below(&root, Path::new(name)), open_resolved(&root, Path::new(name))];
            both.map(|file| file.and_then(|file| read_text(file, 100)).ok())
        };
        for inside in ["inside", "around", "folder/up/file", "folder/../file"] {
            assert_eq!(below(inside), [Some("text".to_owned()), Some("text".to_owned())], "{inside}");
        }
        for out in ["out", "../secret", "magic", "folder/up/../secret", "/etc/passwd"] {
            assert_eq!(below(out), [None, None], "{out}");
        }
        assert!(open_no_link(&root.join("inside")).is_err());
        let error = open_below(&root, Path::new("out")).unwrap_err();
        assert_eq!(error.to_string(), "it leads out of its folder");
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(open(&path).unwrap(), 1_000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(open(&path).unwrap(), 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
