//! Packages with real files: the same bytes wherever and whenever, and no surprises inside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lockstep_manifest::Package;
use lockstep_pipeline::package::{
    EntryKind, ManifestReadError, Mode, PackageError, PackageFacts, PackageProblem, package,
};
use lockstep_pipeline::{CancelToken, PackagedArtifact, read_package_manifest};
use tempfile::{TempDir, tempdir};

fn selection(include: &[&str], exclude: &[&str]) -> Package {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Package { root: None, include: patterns(include), exclude: patterns(exclude) }
}

fn facts() -> PackageFacts {
    PackageFacts {
        service: "orders".parse().unwrap(),
        changed_seconds: 1_700_000_000,
        builder: "lockstep 0 (test)".into(),
        tools: BTreeMap::from([("node".into(), "20.1.0".into())]),
    }
}

fn write(root: &Path, path: &str, content: &[u8], mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn make(root: &Path, package_spec: &Package) -> Result<PackagedArtifact, PackageError> {
    let output = root.with_extension("tar.zst");
    package(root, package_spec, &facts(), &output, &CancelToken::new())
}

fn problems(root: &Path, package_spec: &Package) -> Vec<String> {
    match make(root, package_spec) {
        Err(PackageError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

/// Path, kind, mode, owner and time of all entries.
fn entries(path: &Path) -> Vec<(String, tar::EntryType, u32, u64, u64)> {
    let decoder = zstd::Decoder::new(fs::File::open(path).unwrap()).unwrap();
    let mut archive = tar::Archive::new(decoder);
    let entry = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let entry = entry.unwrap();
        let header = entry.header();
        let owner = header.uid().unwrap() + header.gid().unwrap();
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        let path = entry.path().unwrap().display().to_string();
        (path, header.entry_type(), header.mode().unwrap(), owner, header.mtime().unwrap())
    };
    archive.entries().unwrap().map(entry).collect()
}

fn tree(modes: [u32; 2], reversed: bool) -> TempDir {
    let parent = tempdir().unwrap();
    let root = parent.path().join("tree");
    let mut files: Vec<(String, u32)> = (0..40).map(|n| (format!("lib/{n}.js"), modes[0])).collect();
    files.push(("bin/start".into(), modes[1]));
    files.push((format!("deep/{}/file", "long-folder-name/".repeat(12)), modes[0]));
    if reversed {
        files.reverse();
    }
    for (path, mode) in files {
        write(&root, &path, path.as_bytes(), mode);
    }
    symlink("../lib/1.js", root.join("bin/main.js")).unwrap();
    parent
}

#[test]
fn a_list_of_the_first_format_is_read() {
    let list = r#"{"format": 1, "service": "orders", "commit": "0123", "builder": "lockstep", "tools": {}, "files": []}"#;
    let read: lockstep_pipeline::PackageManifest = serde_json::from_str(list).unwrap();
    assert_eq!((read.format, read.commit.as_deref()), (1, Some("0123")));
}

#[test]
fn folder_clock_umask_and_order_do_not_change_the_bytes() {
    let first = tree([0o644, 0o755], false);
    let second = tree([0o600, 0o700], true);
    let old = SystemTime::now() - Duration::from_secs(100_000);
    fs::File::open(second.path().join("tree/lib/3.js")).unwrap().set_modified(old).unwrap();
    let [first, second] =
        [&first, &second].map(|t| make(&t.path().join("tree"), &Package::default()).unwrap());
    assert_eq!(fs::read(&first.path).unwrap(), fs::read(&second.path).unwrap());
    assert_eq!((first.digest, first.bytes), (second.digest, fs::metadata(&second.path).unwrap().len()));
}

#[test]
fn entries_are_sorted_normalised_and_listed_first() {
    let parent = tree([0o640, 0o711], false);
    let made = make(&parent.path().join("tree"), &Package::default()).unwrap();
    let entries = entries(&made.path);
    assert_eq!(entries[0].0, "lockstep-package.json");
    let paths: Vec<&str> = entries[1..].iter().map(|entry| entry.0.as_str()).collect();
    assert!(paths.is_sorted(), "{paths:?}");
    assert!(entries.iter().all(|(_, _, _, owner, time)| (*owner, *time) == (0, 1_700_000_000)));
    let modes: Vec<u32> = entries
        .iter()
        .filter(|entry| entry.0.starts_with("bin/s") || entry.0 == "lib/1.js")
        .map(|e| e.2)
        .collect();
    assert_eq!(modes, [0o755, 0o644]);
    assert!(entries.iter().any(|(path, kind, ..)| path == "bin/main.js" && kind.is_symlink()));
}

#[test]
fn list_of_files_can_be_read_back() {
    let parent = tree([0o644, 0o755], false);
    let made = make(&parent.path().join("tree"), &selection(&["bin", "lib/1.js"], &[])).unwrap();
    let read = read_package_manifest(fs::File::open(&made.path).unwrap()).unwrap();
    assert_eq!(read, made.contents);
    assert_eq!(
        read.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["bin/main.js", "bin/start", "lib/1.js"]
    );
    assert!(matches!(read.files[1].kind, EntryKind::File { size: 9, mode: Mode::Executable, .. }));
    assert_eq!(read.files[0].kind, EntryKind::Link { target: "../lib/1.js".into() });
}

#[test]
fn what_is_not_a_package_is_refused() {
    assert!(matches!(read_package_manifest(&b"not zstd"[..]), Err(ManifestReadError::Io(_))));
    let other = zstd::encode_all(&[0_u8; 1024][..], 1).unwrap();
    assert!(matches!(read_package_manifest(other.as_slice()), Err(ManifestReadError::Missing { .. })));
    let mut builder = tar::Builder::new(Vec::new());
    let list = br#"{"format": 99, "anything": true}"#;
    let mut header = tar::Header::new_gnu();
    header.set_size(list.len() as u64);
    builder.append_data(&mut header, "lockstep-package.json", &list[..]).unwrap();
    let newer = zstd::encode_all(builder.into_inner().unwrap().as_slice(), 1).unwrap();
    assert!(matches!(read_package_manifest(newer.as_slice()), Err(ManifestReadError::Newer { format: 99 })));
}

#[test]
fn patterns_without_a_match_name_what_is_similar() {
    let parent = tree([0o644, 0o755], false);
    let found = problems(&parent.path().join("tree"), &selection(&["lip/**", "bin", "nothing-like-it"], &[]));
    assert_eq!(found[0], "package pattern `lip/**` matches no file; similar: `lib`");
    assert_eq!(found[1], "package pattern `nothing-like-it` matches no file");
    assert_eq!(found.len(), 2);
    let excluded = problems(&parent.path().join("tree"), &selection(&["bin"], &["bin/*"]));
    assert_eq!(excluded, ["package pattern `bin` matches no file"]);
}

#[test]
fn links_that_lead_out_and_special_files_are_reported_together() {
    let parent = tempdir().unwrap();
    let root = parent.path().join("tree");
    write(&root, "file", b"x", 0o644);
    write(&root, "lockstep-package.json", b"{}", 0o644);
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../outside", root.join("outside")).unwrap();
    let fifo = root.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let mut found = problems(&root, &Package::default());
    found.sort();
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[0].starts_with("`fifo` is a named pipe"));
    assert!(found[1].starts_with("`lockstep-package.json` is the name of"));
    assert!(found[2].starts_with("`socket` is a socket"));
    assert!(found[3].starts_with("the link `absolute` -> `/etc/passwd` leads out"));
    let clean = selection(&["file"], &[]);
    assert_eq!(make(&root, &clean).unwrap().contents.files.len(), 1);
}

#[test]
fn a_failure_leaves_no_file() {
    let parent = tree([0o644, 0o755], false);
    let root = parent.path().join("tree");
    let cancel = CancelToken::new();
    cancel.cancel();
    let output = parent.path().join("artifact.tar.zst");
    let error = package(&root, &Package::default(), &facts(), &output, &cancel).unwrap_err();
    assert!(matches!(error, PackageError::Cancelled), "{error}");
    let error =
        package(&root, &selection(&["none"], &[]), &facts(), &output, &CancelToken::new()).unwrap_err();
    assert!(
        matches!(&error, PackageError::Problems(p) if matches!(p[0], PackageProblem::NothingMatches { .. }))
    );
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}
