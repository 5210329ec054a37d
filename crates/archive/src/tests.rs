//! Archives made by hand, most of them hostile: each as a package of ours and as an archive that was made elsewhere, in every
//! compression.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;

const PACKAGE_FILE: &str = "lockstep-package.json";

/// What an archive is taken for.
#[derive(Debug, Clone, Copy)]
struct Form {
    compression: Compression,
    begins: Begins,
}

const PACKAGE: Form = Form { compression: Compression::Zstd, begins: Begins::With(PACKAGE_FILE) };

const FORMS: [Form; 4] = [
    PACKAGE,
    Form { compression: Compression::Plain, begins: Begins::Anyhow },
    Form { compression: Compression::Gzip, begins: Begins::Anyhow },
    Form { compression: Compression::Zstd, begins: Begins::Anyhow },
];

impl Form {
    fn compressed(self, tar: &[u8]) -> Vec<u8> {
        match self.compression {
            Compression::Plain => tar.to_owned(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(tar).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(Cursor::new(tar), 1).unwrap(),
        }
    }

    /// An archive with these entries and a proper end.
    fn archive(self, entries: &[Vec<u8>]) -> Vec<u8> {
        self.compressed(&tar_of(entries))
    }
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [file(PACKAGE_FILE, b"{}"), entries.concat(), vec![0; 1024]].concat()
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

fn unpack_bytes(
    form: Form,
    bytes: impl Read,
    limits: &UnpackLimits,
) -> (TempDir, Result<PathBuf, UnpackError>) {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("inside");
    fs::create_dir(&folder).unwrap();
    let result = unpack(bytes, form.compression, form.begins, &folder, limits);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "something was written outside");
    (outside, result.map(|_| folder))
}

/// Unpacks it in every form.
fn unpack_entries(entries: &[Vec<u8>]) -> Vec<(TempDir, PathBuf)> {
    let unpacked = FORMS.map(|form| {
        let archive = form.archive(entries);
        assert_eq!(Compression::of(&archive[..]).unwrap(), Ok(form.compression));
        let (outside, result) = unpack_bytes(form, &archive[..], &UnpackLimits::default());
        (outside, result.unwrap())
    });
    unpacked.into()
}

fn refusal(form: Form, bytes: &[u8], limits: &UnpackLimits) -> UnpackError {
    unpack_bytes(form, bytes, limits).1.unwrap_err()
}

/// The errors that entries give in every form.
fn refusals(entries: &[Vec<u8>], limits: &UnpackLimits) -> Vec<UnpackError> {
    FORMS.map(|form| refusal(form, &form.archive(entries), limits)).into()
}

/// Returns what is wrong with entries, which is the same in every form.
fn problem(entries: &[Vec<u8>]) -> Problem {
    let problems = refusals(entries, &UnpackLimits::default()).into_iter().map(|error| match error {
        UnpackError::Refused { problem, .. } => problem,
        other => panic!("{other:?}"),
    });
    let problems: Vec<_> = problems.collect();
    assert!(problems.iter().all(|problem| *problem == problems[0]), "{problems:?}");
    problems[0]
}

#[test]
fn unpacks_files_folders_and_links_without_special_rights() {
    let entries = [
        folder("./"),
        folder("./bin/"),
        file("./bin/run", b"program"),
        file("deep/er/data", b"text"),
        // The oldest form of tar knows no kind for a folder.
        file("old/", b""),
        file("old/file", b"text"),
        link("current", "bin/../bin/run"),
        hard_link("same", "bin/run"),
        // Two names: the file system tells them apart, as that of the repository does.
        file("README", b"one"),
        file("readme", b"other"),
    ];
    for (_outside, release) in unpack_entries(&entries) {
        assert_eq!(fs::read(release.join("current")).unwrap(), b"program");
        assert_eq!(fs::read(release.join("deep/er/data")).unwrap(), b"text");
        assert_eq!(fs::read(release.join("readme")).unwrap(), b"other");
        let of = |name: &str| release.join(name).metadata().unwrap();
        assert!(of("old").is_dir() && of("old/file").is_file());
        assert_eq!(of("bin/run").ino(), of("same").ino());
        assert_eq!(of("bin/run").permissions().mode() & 0o7777, 0o555, "no setuid, and nobody can write");
    }
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
        for (_outside, release) in unpack_entries(&entries) {
            assert_eq!(fs::read(release.join(&long)).unwrap(), b"x");
        }
    }
    let links = [extension(EntryType::XHeader, &pax("linkpath")), link("link", "short")];
    for (_outside, release) in unpack_entries(&links) {
        assert_eq!(fs::read_link(release.join("link")).unwrap(), Path::new(&long));
    }
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
fn a_package_begins_with_its_list_and_what_was_made_elsewhere_as_it_likes() {
    let tar = [file("a", b"x"), vec![0; 1024]].concat();
    for (form, tar, expected) in [(PACKAGE, &tar, "a"), (PACKAGE, &vec![0; 1024], "nothing")] {
        let error = refusal(form, &form.compressed(tar), &UnpackLimits::default());
        assert!(matches!(&error, UnpackError::NotAPackage { found, .. } if found == expected), "{error:?}");
    }
    for form in FORMS.into_iter().skip(1) {
        let (_outside, result) = unpack_bytes(form, &form.compressed(&tar)[..], &UnpackLimits::default());
        assert_eq!(fs::read(result.unwrap().join("a")).unwrap(), b"x");
    }
}

#[test]
fn too_many_and_too_large_are_refused() {
    let limits = UnpackLimits { bytes: 10_000, entries: 5, ratio: 250 };
    let all = |errors: Vec<UnpackError>, is: fn(&UnpackError) -> bool| {
        errors.iter().for_each(|error| assert!(is(error), "{error:?}"));
    };
    let many: Vec<_> = (0..5).map(|number| file(&number.to_string(), b"")).collect();
    all(refusals(&many, &limits), |error| matches!(error, UnpackError::TooManyEntries { limit: 5 }));
    let large = refusals(&[file("a", &[7; 9_000])], &limits);
    all(large, |error| matches!(error, UnpackError::TooLarge { limit: 10_000 }));
    // The size alone is enough: nothing of it has to be read.
    let boast = [raw(EntryType::Regular, b"a", b"", 1 << 32, b"")];
    all(refusals(&boast, &UnpackLimits::default()), |error| matches!(error, UnpackError::TooLarge { .. }));
    let tail = [vec![0; 20_000]];
    all(refusals(&tail, &limits), |error| matches!(error, UnpackError::TooLarge { .. }));
}

#[test]
fn long_names_do_not_fill_the_memory() {
    let bomb = [extension(EntryType::GNULongName, &vec![b'a'; 10_000_000])];
    let endless: Vec<_> = (0..100).map(|_| extension(EntryType::XHeader, b"5 k=\n")).collect();
    for entries in [&bomb[..], &endless] {
        let errors = refusals(entries, &UnpackLimits::default());
        assert!(errors.iter().all(|error| matches!(error, UnpackError::Read { .. })), "{errors:?}");
    }
}

#[test]
fn files_with_holes_are_refused_whoever_wrote_them() {
    let pax = [extension(EntryType::XHeader, b"22 GNU.sparse.major=1\n"), file("a", b"x")];
    let errors = refusals(&pax, &UnpackLimits::default());
    assert!(errors.iter().all(|error| matches!(error, UnpackError::Read { .. })), "{errors:?}");
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
    assert!(matches!(refusal(PACKAGE, &bomb, &UnpackLimits::default()), UnpackError::TooLarge { .. }));
    // With all the room in the world it is still a bomb, and found to be one after a few megabytes.
    let roomy = UnpackLimits { bytes: u64::MAX, ..UnpackLimits::default() };
    let mut archive = Counting { inner: Cursor::new(bomb), read: 0 };
    let error = unpack_bytes(PACKAGE, &mut archive, &roomy).1.unwrap_err();
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
    for form in FORMS {
        let whole = form.compressed(&[tar_of(&[file("a", &[1; 2_000]), link("b", "a")]).as_slice()].concat());
        // The end of a tar that is not compressed is two empty blocks, of which the second one says nothing new.
        let end = if form.compression == Compression::Plain { whole.len() - 512 } else { whole.len() };
        for length in 0..end {
            let error = refusal(form, &whole[..length], &UnpackLimits::default());
            assert!(matches!(error, UnpackError::Read { .. }), "{form:?} {length}: {error:?}");
        }
    }
}

#[test]
fn a_tar_without_its_end_is_refused() {
    let tar = [file(PACKAGE_FILE, b"{}"), file("a", b"x")].concat();
    for form in FORMS {
        let error = refusal(form, &form.compressed(&tar), &UnpackLimits::default());
        assert!(matches!(error, UnpackError::Read { .. }), "{error:?}");
    }
}

#[test]
fn what_comes_after_the_end_of_the_compression_is_refused() {
    for form in FORMS.into_iter().filter(|form| form.compression != Compression::Plain) {
        let archive = [form.archive(&[file("a", b"x")]), b"more".to_vec()].concat();
        let error = refusal(form, &archive, &UnpackLimits::default());
        assert!(matches!(error, UnpackError::Read { .. }), "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// A changed byte in the tar stream is refused, or changes only what is inside.
    #[test]
    fn a_changed_byte_never_escapes(at in 0_usize..4_096, value in any::<u8>()) {
        let mut tar = tar_of(&[file("dir/a", &[1; 600]), link("b", "dir/a"), hard_link("c", "dir/a")]);
        let at = at % tar.len();
        tar[at] = value;
        for form in FORMS {
            // Looks itself whether something is outside.
            let _ = unpack_bytes(form, &form.compressed(&tar)[..], &UnpackLimits::default());
        }
    }

    /// Whatever stands there: it is refused or unpacked, and never more than that.
    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        for form in FORMS {
            let _ = unpack_bytes(form, &noise[..], &UnpackLimits::default());
            let _ = unpack_bytes(form, &form.compressed(&noise)[..], &UnpackLimits::default());
        }
        let _ = Compression::of(&noise[..]).unwrap();
    }
}
