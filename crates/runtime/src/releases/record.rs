//! What a release looked like when it was unpacked, and the comparison with what it looks like now.
//!
//! The record has two digests. `seen` is of names, modes, sizes, links, inode numbers and the times of the last change
//! (ctime), which the kernel sets and no program can: when it is the same, nothing was written, and no content has to
//! be read. `content` is of names, modes, sizes, links and the content of every file: it decides when `seen` differs,
//! as it does after a copy or a restore. The lines below the digests only name what differs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The format of a record that this version writes.
const FORMAT: u32 = 1;
/// Ending of the name of a record.
const ENDING: &str = "tree";
/// Content is read in pieces of this size.
const READ_BYTES: usize = 128 * 1024;
/// Most of a record that is read: 200,000 names of the longest kind.
const MAX_RECORD_BYTES: u64 = 512 * 1024 * 1024;

/// The first line of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: u32,
    content: Digest,
    seen: Digest,
}

/// How a tree compares with its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Same {
    /// Nothing was written since the record was made.
    Untouched,
    /// It was written anew with the same content, for example by a restore.
    Content,
}

/// Returns where the record of a release is.
pub(super) fn path_of(release: &Path) -> PathBuf {
    let mut name = release.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ENDING);
    release.with_file_name(name)
}

/// Makes the record of a release, whose tree lies at a path: the release's own, or where it waits to become the release.
pub(super) fn write(release: &Path, tree: &Path) -> io::Result<()> {
    let lines = content_lines(tree)?;
    let head = Head { format: FORMAT, content: digest_of(lines.concat().as_bytes()), seen: seen(tree)? };
    let path = path_of(release);
    let folder = release.parent().unwrap_or(release);
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    writeln!(file, "{}", serde_json::to_string(&head)?)?;
    lines.iter().try_for_each(|line| file.write_all(line.as_bytes()))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Compares a release with its record. An error says what is different.
pub(crate) fn check(release: &Path) -> Result<Same, String> {
    let unreadable = |error: io::Error| format!("it cannot be looked at: {error}");
    let record = match File::open(path_of(release)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("nothing tells what it looked like when it was unpacked".to_owned());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut record = BufReader::new(record.take(MAX_RECORD_BYTES));
    let mut line = String::new();
    record.read_line(&mut line).map_err(unreadable)?;
    let head: Head =
        serde_json::from_str(&line).map_err(|error| format!("its record is damaged: {error}"))?;
    if head.format != FORMAT {
        return Err(format!("its record has format {}, and this program knows {FORMAT}", head.format));
    }
    if seen(release).map_err(unreadable)? == head.seen {
        return Ok(Same::Untouched);
    }
    let lines = content_lines(release).map_err(unreadable)?;
    if digest_of(lines.concat().as_bytes()) == head.content {
        return Ok(Same::Content);
    }
    let before: Vec<String> = record.lines().collect::<io::Result<_>>().map_err(unreadable)?;
    Err(difference(&before, &lines))
}

/// Compares like [`check`], and notes the new look of a tree that was only written anew.
pub(super) fn check_and_renew(release: &Path) -> Result<(), String> {
    match check(release)? {
        Same::Untouched => Ok(()),
        // When it cannot be noted, the content is read again the next time.
        Same::Content => write(release, release).or(Ok(())),
    }
}

/// Returns which release a file is the record of, by its name.
pub(super) fn release_of(record: &Path) -> Option<PathBuf> {
    (record.extension()? == ENDING).then(|| record.with_extension(""))
}

fn difference(before: &[String], now: &[String]) -> String {
    let now: Vec<&str> = now.iter().map(|line| line.trim_end_matches('\n')).collect();
    let name = |line: &str| line.split_once('\t').map(|(name, _)| name.to_owned()).unwrap_or_default();
    let added = now.iter().find(|line| !before.iter().any(|known| name(known) == name(line)));
    let changed = before.iter().find(|line| !now.contains(&line.as_str()));
    match (changed, added) {
        (Some(line), _) if now.iter().any(|known| name(known) == name(line)) => {
            format!("{} was changed", name(line))
        }
        (Some(line), _) => format!("{} is missing", name(line)),
        (None, Some(line)) => format!("{} was added", name(line)),
        (None, None) => "it was changed".to_owned(),
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// What can be seen of a tree without reading a file.
fn seen(release: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    walk(release, &mut |path, metadata| {
        hasher.update(name_of(release, path));
        hasher.update([0]);
        let numbers = [
            u64::from(metadata.mode()),
            metadata.size(),
            metadata.ino(),
            metadata.ctime().cast_unsigned(),
            metadata.ctime_nsec().cast_unsigned(),
        ];
        numbers.iter().for_each(|number| hasher.update(number.to_le_bytes()));
        Ok(())
    })?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// A line for each name: the name, its mode, its size, and the digest of its content or the target of the link.
fn content_lines(release: &Path) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    walk(release, &mut |path, metadata| {
        let mut line = format!("{:?}\t{:o}\t", path.strip_prefix(release).unwrap_or(path), metadata.mode());
        if metadata.is_symlink() {
            let _ = write!(line, "{:?}", fs::read_link(path)?);
        } else if metadata.is_file() {
            let _ = write!(line, "{}\t{}", metadata.size(), digest_of_file(path)?);
        }
        line.push('\n');
        lines.push(line);
        Ok(())
    })?;
    Ok(lines)
}

fn digest_of_file(path: &Path) -> io::Result<Digest> {
    let file = File::open(path)?;
    // No more than it has now: whoever makes it grow would be read without end.
    let bytes = file.metadata()?.len();
    let mut file = file.take(bytes);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            length => hasher.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}

fn name_of<'a>(release: &Path, path: &'a Path) -> &'a [u8] {
    path.strip_prefix(release).unwrap_or(path).as_os_str().as_bytes()
}

/// Visits everything below a folder in the order of names, folders before what is in them. No link is followed.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if path != folder {
            visit(&path, &metadata)?;
        }
        if metadata.is_dir() {
            let entries = fs::read_dir(&path)?.map(|entry| Ok(entry?.path()));
            let mut entries: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
            entries.sort_unstable_by(|one, other| other.cmp(one));
            left.append(&mut entries);
        }
    }
    Ok(())
}
