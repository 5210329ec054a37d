//! Artifacts made by hand, most of them hostile.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

use lockstep_domain::Digest;

use super::*;

const DIGEST: Digest = Digest::from_bytes([9; 32]);

fn unpack(
    artifact: impl Read,
    release: &Digest,
    releases: &Path,
    limits: &UnpackLimits,
) -> Result<PathBuf, UnpackError> {
    let target = releases.join(release.to_string());
    unpack_to(artifact, &target, releases, limits, |_| Ok(())).map(|()| target)
}

/// One entry with a name and a link exactly as given, which the builder of the `tar` crate would refuse to write.
fn raw(kind: EntryType, name: &[u8], link: &[u8], size: u64, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_size(size);
    header.set_cksum();
    let padding = data.len().next_multiple_of(512) - data.len();
    [&header.as_bytes()[..], data, &vec![0; padding]].concat()
}

fn file(name: &str, data: &[u8]) -> Vec<u8> {
    raw(EntryType::Regular, name.as_bytes(), b"", data.len() as u64, data)
}

fn link(name: &str, target: &str) -> Vec<u8> {
    raw(EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0, b"")
}

fn hard_link(name: &str, target: &str) -> Vec<u8> {
    raw(EntryType::Link, name.as_bytes(), target.as_bytes(), 0, b"")
}

fn folder(name: &str) -> Vec<u8> {
    raw(EntryType::Directory, name.as_bytes(), b"", 0, b"")
}

/// A GNU long name, or a pax header.
fn extension(kind: EntryType, data: &[u8]) -> Vec<u8> {
    raw(kind, b"extension", b"", data.len() as u64, data)
}

/// An artifact with a package file, these entries and a proper end.
fn artifact(entries: &[Vec<u8>]) -> Vec<u8> {
    let tar = [file(PACKAGE_FILE, b"{}"), entries.concat(), vec![0; 1024]].concat();
    zstd::encode_all(Cursor::new(tar), 1).unwrap()
}

fn unpack_bytes(bytes: &[u8], limits: &UnpackLimits) -> (TempDir, Result<PathBuf, UnpackError>) {
    let releases = tempfile::tempdir().unwrap();
    let result = unpack(Cursor::new(bytes), &DIGEST, releases.path(), limits);
    (releases, result)
}

fn unpack_entries(entries: &[Vec<u8>]) -> (TempDir, Result<PathBuf, UnpackError>) {
    unpack_bytes(&artifact(entries), &UnpackLimits::default())
}

/// Unpacks what must be refused, checks that nothing is left, and returns the error.
fn refusal(bytes: &[u8], limits: &UnpackLimits) -> UnpackError {
    let (releases, result) = unpack_bytes(bytes, limits);
    assert_eq!(fs::read_dir(releases.path()).unwrap().count(), 0, "something is left");
    result.unwrap_err()
}

fn problem(entries: &[Vec<u8>]) -> Problem {
    match refusal(&artifact(entries), &UnpackLimits::default()) {
        UnpackError::Refused { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unpacks_files_folders_and_links_without_special_rights() {
    let (_releases, release) = unpack_entries(&[
        folder("./"),
        folder("./bin/"),
        file("./bin/run", b"program"),
        file("deep/er/data", b"text"),
        link("current", "bin/../bin/run"),
        hard_link("same", "bin/run"),
    ]);
    let release = release.unwrap();
    assert!(release.ends_with("09".repeat(32)));
    assert_eq!(fs::read(release.join("current")).unwrap(), b"program");
    assert_eq!(fs::read(release.join("deep/er/data")).unwrap(), b"text");
    let (run, same) = (release.join("bin/run").metadata().unwrap(), release.join("same").metadata().unwrap());
    assert_eq!(run.ino(), same.ino());
    assert_eq!(run.permissions().mode() & 0o7777, 0o555, "no setuid, and nobody can write");
}

#[test]
fn unpacks_long_names_as_gnu_and_pax_write_them() {
    let long = format!("{}/{}", "a".repeat(200), "b".repeat(200));
    let pax = |key: &str| {
        let length = key.len() + long.len() + 6;
        format!("{length} {key}={long}\n").into_bytes()
    };
    for entries in [
        [extension(EntryType::GNULongName, format!("{long}\0").as_bytes()), file("short", b"x")],
        [extension(EntryType::XHeader, &pax("path")), file("short", b"x")],
    ] {
        let (_releases, release) = unpack_entries(&entries);
        assert_eq!(fs::read(release.unwrap().join(&long)).unwrap(), b"x");
    }
    let links = [extension(EntryType::XHeader, &pax("linkpath")), link("link", "short")];
    let (_releases, release) = unpack_entries(&links);
    assert_eq!(fs::read_link(release.unwrap().join("link")).unwrap(), Path::new(&long));
}

#[test]
fn paths_that_lead_out_are_refused() {
    assert_eq!(problem(&[file("/etc/passwd", b"x")]), Problem::Absolute);
    assert_eq!(problem(&[file("../evil", b"x")]), Problem::Parent);
    assert_eq!(problem(&[file("a/../../evil", b"x")]), Problem::Parent);
    assert_eq!(problem(&[folder("a/..")]), Problem::Parent);
    let long = extension(EntryType::GNULongName, b"/etc/passwd");
    assert_eq!(problem(&[long, file("harmless", b"x")]), Problem::Absolute);
    let pax = extension(EntryType::XHeader, b"16 path=../evil\n");
    assert_eq!(problem(&[pax, file("harmless", b"x")]), Problem::Parent);
}

#[test]
fn links_that_lead_out_are_refused() {
    assert_eq!(problem(&[link("a", "/etc/passwd")]), Problem::LeadsOut);
    assert_eq!(problem(&[link("a", "../b")]), Problem::LeadsOut);
    assert_eq!(problem(&[folder("x"), link("x/a", "../../b")]), Problem::LeadsOut);
    assert_eq!(problem(&[link("a", "a")]), Problem::Circle);
    // Each link alone stays inside; together they leave.
    let chain = [folder("x/y"), link("x/y/top", "../.."), link("b", "x/y/top/..")];
    assert_eq!(problem(&chain), Problem::LeadsOut);
    assert_eq!(problem(&[hard_link("a", "/etc/passwd")]), Problem::LeadsOut);
    assert_eq!(problem(&[hard_link("a", "../b")]), Problem::LeadsOut);
    assert_eq!(problem(&[hard_link("a", "missing")]), Problem::HardLinkTarget);
    assert_eq!(problem(&[link("l", "bin"), hard_link("a", "l")]), Problem::HardLinkTarget);
}

#[test]
fn nothing_is_written_through_a_link() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    assert_eq!(problem(&[link("a", target), file("a/evil", b"x")]), Problem::BelowNonFolder);
    assert_eq!(problem(&[folder("real"), link("a", "real"), file("a/x", b"x")]), Problem::BelowNonFolder);
    assert_eq!(problem(&[link("a", target), file("a", b"x")]), Problem::Duplicate);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn names_that_come_twice_are_refused() {
    assert_eq!(problem(&[file("a", b"1"), file("a", b"2")]), Problem::Duplicate);
    assert_eq!(problem(&[file("a", b"1"), file("./a", b"2")]), Problem::Duplicate);
    assert_eq!(problem(&[file("a/b", b"1"), file("a", b"2")]), Problem::Duplicate);
    assert_eq!(problem(&[file(PACKAGE_FILE, b"{}")]), Problem::Duplicate);
    assert_eq!(problem(&[file("a", b"1"), file("a/b", b"2")]), Problem::BelowNonFolder);
}

#[test]
fn devices_pipes_and_strange_names_are_refused() {
    for kind in
        [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse, EntryType::new(b'Z')]
    {
        assert_eq!(problem(&[raw(kind, b"a", b"", 0, b"")]), Problem::Special, "{kind:?}");
    }
    assert_eq!(problem(&[file(".", b"x")]), Problem::NotAPath);
    assert_eq!(problem(&[raw(EntryType::Symlink, b"a", b"", 0, b"")]), Problem::NotAPath);
    let long = |name: &str| [extension(EntryType::GNULongName, name.as_bytes()), file("a", b"x")];
    assert_eq!(problem(&long(&"a/".repeat(600))), Problem::TooLong);
    assert_eq!(problem(&long(&"a".repeat(256))), Problem::TooLong);
    assert_eq!(problem(&long("a\0b")), Problem::NotAPath);
}

#[test]
fn the_package_file_must_come_first() {
    let tar = [file("a", b"x"), file(PACKAGE_FILE, b"{}"), vec![0; 1024]].concat();
    let error = refusal(&zstd::encode_all(Cursor::new(tar), 1).unwrap(), &UnpackLimits::default());
    assert!(matches!(&error, UnpackError::NotAPackage { found } if found == "a"), "{error:?}");
    let error = refusal(&zstd::encode_all(Cursor::new([0; 1024]), 1).unwrap(), &UnpackLimits::default());
    assert!(matches!(&error, UnpackError::NotAPackage { found } if found == "nothing"), "{error:?}");
}

#[test]
fn too_many_and_too_large_are_refused() {
    let limits = UnpackLimits { bytes: 10_000, entries: 5, ratio: 250 };
    let many: Vec<_> = (0..5).map(|number| file(&number.to_string(), b"")).collect();
    assert!(matches!(refusal(&artifact(&many), &limits), UnpackError::TooManyEntries { limit: 5 }));
    let large = artifact(&[file("a", &[7; 9_000])]);
    assert!(matches!(refusal(&large, &limits), UnpackError::TooLarge { limit: 10_000 }));
    // The size alone is enough: nothing of it has to be read.
    let boast = artifact(&[raw(EntryType::Regular, b"a", b"", 1 << 32, b"")]);
    assert!(matches!(refusal(&boast, &UnpackLimits::default()), UnpackError::TooLarge { .. }));
    let tail = [file(PACKAGE_FILE, b"{}"), vec![0; 20_000]].concat();
    let tail = zstd::encode_all(Cursor::new(tail), 1).unwrap();
    assert!(matches!(refusal(&tail, &limits), UnpackError::TooLarge { .. }));
}

#[test]
fn long_names_do_not_fill_the_memory() {
    let names = vec![b'a'; 10_000_000];
    let bomb = artifact(&[extension(EntryType::GNULongName, &names)]);
    assert!(matches!(refusal(&bomb, &UnpackLimits::default()), UnpackError::Read { .. }));
    let endless: Vec<_> = (0..100).map(|_| extension(EntryType::XHeader, b"5 k=\n")).collect();
    assert!(matches!(refusal(&artifact(&endless), &UnpackLimits::default()), UnpackError::Read { .. }));
}

/// 10 GB of zeros in under a megabyte, as the header of one file announces or hides it.
fn ten_gigabytes(announced: u64) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&file(PACKAGE_FILE, b"{}")).unwrap();
    encoder.write_all(&raw(EntryType::Regular, b"zeros", b"", announced, b"")).unwrap();
    let zeros = vec![0; 1 << 20];
    // The same frame again and again: writing 10 GB would take most of the time of this test.
    let mut bomb = encoder.finish().unwrap();
    let mut frame = zstd::Encoder::new(Vec::new(), 1).unwrap();
    (0..100).for_each(|_| frame.write_all(&zeros).unwrap());
    let frame = frame.finish().unwrap();
    (0..100).for_each(|_| bomb.extend_from_slice(&frame));
    bomb
}

#[test]
fn ten_gigabytes_of_zeros_are_refused_early() {
    let announced = 100 * 100 * (1 << 20);
    let bomb = ten_gigabytes(announced);
    assert!(bomb.len() < 1_500_000, "{}", bomb.len());
    assert!(matches!(refusal(&bomb, &UnpackLimits::default()), UnpackError::TooLarge { .. }));
    // With all the room in the world it is still a bomb, and found to be one after a few megabytes.
    let roomy = UnpackLimits { bytes: u64::MAX, ..UnpackLimits::default() };
    let releases = tempfile::tempdir().unwrap();
    let mut archive = Counting { inner: Cursor::new(bomb), read: 0 };
    let error = unpack(&mut archive, &DIGEST, releases.path(), &roomy).unwrap_err();
    assert!(matches!(error, UnpackError::Bomb { limit: 250 }));
    assert!(archive.read < 1_000_000, "{} bytes were read before it was refused", archive.read);
}

struct Counting<R> {
    inner: R,
    read: usize,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    let whole = artifact(&[file("a", &[1; 2_000]), link("b", "a")]);
    for length in 0..whole.len() {
        let error = refusal(&whole[..length], &UnpackLimits::default());
        assert!(matches!(error, UnpackError::Read { .. }), "{length}: {error:?}");
    }
}

#[test]
fn a_tar_without_its_end_is_refused() {
    let tar = [file(PACKAGE_FILE, b"{}"), file("a", b"x")].concat();
    let error = refusal(&zstd::encode_all(Cursor::new(tar), 1).unwrap(), &UnpackLimits::default());
    assert!(matches!(error, UnpackError::Read { .. }), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// A changed byte in the tar stream is refused, or changes only what is inside.
    #[test]
    fn a_changed_byte_never_escapes(at in 0_usize..4_096, value in any::<u8>()) {
        let mut tar = [file(PACKAGE_FILE, b"{}"), file("dir/a", &[1; 600]), link("b", "dir/a"), vec![0; 1024]].concat();
        let at = at % tar.len();
        tar[at] = value;
        let outside = tempfile::tempdir().unwrap();
        let releases = outside.path().join("releases");
        fs::create_dir(&releases).unwrap();
        let bytes = zstd::encode_all(Cursor::new(tar), 1).unwrap();
        let unpacked = unpack(Cursor::new(bytes), &DIGEST, &releases, &UnpackLimits::default());
        prop_assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        prop_assert_eq!(fs::read_dir(&releases).unwrap().count(), usize::from(unpacked.is_ok()));
    }
}
