//! Releases that are changed in every way, on a real disk.

use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const DIGEST: Digest = Digest::from_bytes([9; 32]);

fn artifact() -> Cursor<Vec<u8>> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (path, bytes) in [("lockstep-package.json", &b"{}"[..]), ("app.py", b"clean"), ("lib/a.py", b"one")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).unwrap();
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "link", "app.py").unwrap();
    Cursor::new(builder.into_inner().unwrap().finish().unwrap())
}

fn unpacked() -> (tempfile::TempDir, Releases, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let releases = Releases::at(folder.path().to_owned(), Readers::Server, Writers::KeptElsewhere);
    let release = releases.unpack(artifact(), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap();
    (folder, releases, release)
}

fn changed(change: impl FnOnce(&Path)) -> String {
    let (_folder, releases, release) = unpacked();
    change(&release);
    match releases.look(&DIGEST) {
        Unpacked::Changed(why) => why,
        other => panic!("the change was not seen: {other:?}"),
    }
}

/// Writes as somebody who may: the mode of the file does not stop its owner for long.
fn overwrite(path: &Path, text: &str) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn what_was_unpacked_is_good_again_and_again() {
    let (_folder, releases, release) = unpacked();
    assert_eq!(releases.look(&DIGEST), Unpacked::Good(release.clone()));
    assert_eq!(
        releases.unpack(Cursor::new(""), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap(),
        release
    );
    assert_eq!(releases.list().unwrap().len(), 1);
}

#[test]
fn every_change_is_found_and_named() {
    assert_eq!(changed(|release| overwrite(&release.join("app.py"), "CLEAN")), "\"app.py\" was changed");
    assert_eq!(
        changed(|release| fs::remove_file(release.join("lib/a.py")).unwrap()),
        "\"lib/a.py\" is missing"
    );
    assert_eq!(changed(|release| fs::write(release.join("lib/b.py"), "").unwrap()), "\"lib/b.py\" was added");
    assert_eq!(changed(|release| fs::create_dir(release.join("new")).unwrap()), "\"new\" was added");
    let mode = |release: &Path| {
        fs::set_permissions(release.join("app.py"), Permissions::from_mode(0o755)).unwrap();
    };
    assert_eq!(changed(mode), "\"app.py\" was changed");
    let relink = |release: &Path| {
        fs::remove_file(release.join("link")).unwrap();
        symlink("lib/a.py", release.join("link")).unwrap();
    };
    assert_eq!(changed(relink), "\"link\" was changed");
    let damage = |release: &Path| fs::write(record::path_of(release), "").unwrap();
    assert!(changed(damage).contains("damaged"));
}

#[test]
fn a_change_that_hides_behind_the_old_size_and_the_old_time_is_found() {
    let found = changed(|release| {
        let path = release.join("app.py");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        overwrite(&path, "CLEAN");
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    });
    assert_eq!(found, "\"app.py\" was changed");
}

#[test]
fn a_tree_that_was_written_anew_with_the_same_content_is_good() {
    let (_folder, releases, release) = unpacked();
    overwrite(&release.join("app.py"), "clean");
    assert_eq!(check(&release), Ok(record::Same::Content));
    assert_eq!(releases.look(&DIGEST), Unpacked::Good(release.clone()));
    assert_eq!(check(&release), Ok(record::Same::Untouched));
}

#[test]
fn a_changed_release_is_unpacked_beside_and_goes_when_nobody_runs_it() {
    let (_folder, releases, release) = unpacked();
    overwrite(&release.join("app.py"), "CHANGED");
    let anew = releases.unpack(artifact(), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap();
    assert_ne!(anew, release);
    assert_eq!(fs::read_to_string(release.join("app.py")).unwrap(), "CHANGED");
    assert_eq!(fs::read_to_string(anew.join("app.py")).unwrap(), "clean");
    assert_eq!(releases.look(&DIGEST), Unpacked::Good(anew.clone()));
    releases.clean(&[release.clone()].into()).unwrap();
    assert!(release.is_dir());
    releases.clean(&BTreeSet::new()).unwrap();
    assert!(!release.exists() && !record::path_of(&release).exists() && anew.is_dir());
    releases.remove(&DIGEST).unwrap();
    assert_eq!(releases.look(&DIGEST), Unpacked::Missing);
}

#[test]
fn a_release_of_an_older_lockstep_has_no_record_and_is_unpacked_anew() {
    let (_folder, releases, release) = unpacked();
    fs::remove_file(record::path_of(&release)).unwrap();
    assert!(matches!(releases.look(&DIGEST), Unpacked::Changed(_)));
    assert_ne!(
        releases.unpack(artifact(), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap(),
        release
    );
}

#[test]
fn a_release_is_never_seen_without_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let releases = Releases::at(folder.path().to_owned(), Readers::Server, Writers::KeptElsewhere);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                seen.push(releases.look(&DIGEST));
            }
            seen
        });
        for _ in 0..50 {
            releases.unpack(artifact(), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap();
            unpack::remove(&releases.current(&DIGEST)).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = looker.join().unwrap();
        let nothing_tells =
            |look: &&Unpacked| matches!(look, Unpacked::Changed(why) if why.contains("nothing tells"));
        assert_eq!(seen.iter().find(nothing_tells), None);
    });
}

#[test]
fn many_who_unpack_at_once_get_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let releases = Releases::at(folder.path().to_owned(), Readers::Server, Writers::KeptElsewhere);
    for _ in 0..20 {
        let together = std::sync::Barrier::new(4);
        let unpack_together = || {
            together.wait();
            releases.unpack(artifact(), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap()
        };
        let folders: BTreeSet<PathBuf> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(unpack_together)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(folders.into_iter().collect::<Vec<_>>(), [folder.path().join(DIGEST.to_string())]);
        assert!(matches!(releases.look(&DIGEST), Unpacked::Good(_)));
        releases.remove(&DIGEST).unwrap();
    }
}

#[test]
fn a_record_that_was_made_for_nothing_goes() {
    let (_folder, releases, release) = unpacked();
    fs::remove_dir_all(&release).unwrap();
    assert_eq!(releases.look(&DIGEST), Unpacked::Missing);
    releases.clean(&BTreeSet::new()).unwrap();
    assert!(!record::path_of(&release).exists());
}

#[test]
fn a_release_is_read_only_where_nothing_else_keeps_a_service_from_writing_there() {
    let folder = tempfile::tempdir().unwrap();
    let releases = Releases::at(folder.path().to_owned(), Readers::Server, Writers::ByMode);
    let unpack =
        || releases.unpack(artifact(), Compression::Zstd, &DIGEST, &UnpackLimits::default()).unwrap();
    let release = unpack();
    let mode = |path: &str| fs::metadata(release.join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode(""), mode("lib"), mode("lib/a.py")), (0o555, 0o555, 0o444));
    assert_eq!(releases.look(&DIGEST), Unpacked::Good(release.clone()));
    assert_eq!(unpack(), release);
    releases.clean(&BTreeSet::new()).unwrap();
    releases.remove(&DIGEST).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
