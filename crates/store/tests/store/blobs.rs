//! Blobs on real files: storing, reading back, damage, leftovers, a full disk and collecting.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::{Digest, Timestamp};
use lockstep_store::blobs::{BlobError, Blobs, GcMode};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::disk_full::SmallDisk;

const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOUR: Duration = Duration::from_secs(3600);

fn store() -> (TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    (folder, blobs)
}

fn path(folder: &TempDir, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    folder.path().join("blobs/sha256").join(&name[..2]).join(&name[2..])
}

fn temporary_files(folder: &TempDir) -> usize {
    fs::read_dir(folder.path().join("blobs/temporary")).unwrap().count()
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_stored_is_read_back(content in prop::collection::vec(any::<u8>(), 0..300_000)) {
        let (folder, blobs) = store();
        let stored = blobs.put(content.as_slice()).unwrap();
        prop_assert_eq!(stored.bytes, content.len() as u64);
        prop_assert_eq!(blobs.size(&stored.digest).unwrap(), Some(stored.bytes));
        prop_assert_eq!(&blobs.read_to_vec(&stored.digest, stored.bytes).unwrap(), &content);
        let copy = folder.path().join("copy");
        blobs.copy_verified_to(&stored.digest, &copy).unwrap();
        prop_assert_eq!(fs::read(&copy).unwrap(), content);
        prop_assert_eq!(blobs.put_file(&copy).unwrap(), stored);
        prop_assert_eq!(blobs.list().unwrap(), vec![stored.digest]);
        prop_assert_eq!(temporary_files(&folder), 0);
    }

    #[test]
    fn changed_byte_is_found_at_read(size in 1..300_000_usize, position in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let (folder, blobs) = store();
        let mut content = vec![7; size];
        let digest = blobs.put(content.as_slice()).unwrap().digest;
        content[position.index(size)] ^= mask;
        fs::write(path(&folder, &digest), &content).unwrap();
        let error = blobs.read_to_vec(&digest, u64::MAX).unwrap_err();
        prop_assert!(matches!(error, BlobError::Damaged { .. }), "{}", error);
    }
}

#[test]
fn empty_blob_has_the_well_known_digest() {
    let (_folder, blobs) = store();
    assert_eq!(blobs.put(io::empty()).unwrap().digest.to_string(), NOTHING);
}

#[test]
fn damaged_blob_is_moved_away_and_can_be_stored_again() {
    let (folder, blobs) = store();
    let digest = blobs.put(b"package".as_slice()).unwrap().digest;
    fs::write(path(&folder, &digest), b"pAckage").unwrap();
    let mut content = Vec::new();
    let error = blobs.reader(&digest).unwrap().read_to_end(&mut content).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let quarantined = folder.path().join("blobs/quarantine").join(digest.to_string());
    assert!(error.to_string().ends_with(&format!("it is now at `{}`", quarantined.display())), "{error}");
    assert_eq!(fs::read(quarantined).unwrap(), b"pAckage");
    assert!(!blobs.contains(&digest));
    assert!(matches!(blobs.reader(&digest), Err(BlobError::Missing { .. })));
    assert_eq!(blobs.put(b"package".as_slice()).unwrap().digest, digest);
    assert_eq!(blobs.read_to_vec(&digest, 7).unwrap(), b"package");
}

#[test]
fn damaged_blob_leaves_no_copy() {
    let (folder, blobs) = store();
    let digest = blobs.put(b"package".as_slice()).unwrap().digest;
    fs::write(path(&folder, &digest), b"package and more").unwrap();
    let copy = folder.path().join("copy");
    assert!(matches!(blobs.copy_verified_to(&digest, &copy), Err(BlobError::Damaged { .. })));
    assert!(!copy.exists());
}

#[test]
fn storing_again_heals_a_damaged_blob() {
    let (folder, blobs) = store();
    let digest = blobs.put(b"package".as_slice()).unwrap().digest;
    fs::write(path(&folder, &digest), b"").unwrap();
    blobs.put(b"package".as_slice()).unwrap();
    assert_eq!(blobs.read_to_vec(&digest, 7).unwrap(), b"package");
}

#[test]
fn copy_never_overwrites() {
    let (folder, blobs) = store();
    let digest = blobs.put(b"package".as_slice()).unwrap().digest;
    let target = folder.path().join("precious");
    fs::write(&target, "mine").unwrap();
    assert!(matches!(blobs.copy_verified_to(&digest, &target), Err(BlobError::File { .. })));
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
}

#[test]
fn bounds_hold_when_storing_and_reading() {
    let (folder, blobs) = store();
    assert!(
        matches!(blobs.put_at_most(io::repeat(1), 1 << 20), Err(BlobError::TooLarge { limit }) if limit == 1 << 20)
    );
    assert_eq!(temporary_files(&folder), 0);
    assert_eq!(blobs.list().unwrap(), []);
    let digest = blobs.put_at_most(b"1234".as_slice(), 4).unwrap().digest;
    assert!(matches!(blobs.read_to_vec(&digest, 3), Err(BlobError::TooLarge { limit: 3 })));
}

#[test]
fn source_that_breaks_off_stores_nothing() {
    let (folder, blobs) = store();
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(matches!(blobs.put(b"abc".chain(Broken)), Err(BlobError::Source { .. })));
    assert_eq!((blobs.list().unwrap().len(), temporary_files(&folder)), (0, 0));
    assert!(matches!(blobs.put_file(&folder.path().join("absent")), Err(BlobError::Source { .. })));
}

#[test]
fn leftovers_of_a_crash_go_and_those_of_a_living_writer_stay() {
    let (folder, blobs) = store();
    let dead = folder.path().join("blobs/temporary/1-1");
    fs::write(&dead, "half a blo").unwrap();
    struct Reopening(PathBuf, io::Cursor<&'static [u8]>);
    impl Read for Reopening {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Blobs::open(&self.0).unwrap();
            self.1.read(buffer)
        }
    }
    let source = Reopening(folder.path().to_owned(), io::Cursor::new(b"whole"));
    let stored = blobs.put(source).unwrap();
    assert!(!dead.exists());
    assert_eq!(blobs.read_to_vec(&stored.digest, 5).unwrap(), b"whole");
}

#[test]
fn full_disk_stores_nothing_and_works_again_later() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let blobs = Blobs::open(disk.path()).unwrap();
    let error = blobs.put(io::repeat(1).take(4 << 20)).unwrap_err();
    assert!(matches!(error, BlobError::Full { .. }), "{error:?}");
    assert_eq!(blobs.list().unwrap(), []);
    assert_eq!(blobs.put(io::repeat(1).take(500_000)).unwrap().bytes, 500_000);
}

#[test]
fn files_are_for_their_owner_only() {
    let (folder, blobs) = store();
    let digest = blobs.put(b"package".as_slice()).unwrap().digest;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path(&folder, &digest)), 0o600);
    assert_eq!(mode(folder.path().join("blobs")), 0o700);
}

#[test]
fn what_is_named_or_new_stays_and_the_rest_goes() {
    let (folder, blobs) = store();
    let put = |text: &str, age: Duration| {
        let digest = blobs.put(text.as_bytes()).unwrap().digest;
        let file = File::options().write(true).open(path(&folder, &digest)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        digest
    };
    let needed = put("needed", 100 * HOUR);
    let old = put("old", 2 * HOUR);
    let new = put("new", Duration::ZERO);
    let future = blobs.put(b"from the future".as_slice()).unwrap().digest;
    File::options()
        .write(true)
        .open(path(&folder, &future))
        .unwrap()
        .set_modified(SystemTime::now() + HOUR)
        .unwrap();
    let absent: Digest = NOTHING.parse().unwrap();
    let reasons = vec!["baseline 17 of production".to_owned(), "orders@1.4.0".to_owned()];
    let keep = BTreeMap::from([(needed, reasons.clone()), (absent, vec!["orders@1.3.0".to_owned()])]);
    fs::write(folder.path().join("blobs/sha256/README"), "not a blob").unwrap();

    let dry = blobs.gc(&keep, now(), HOUR, GcMode::DryRun).unwrap();
    assert_eq!(dry.collected.iter().map(|blob| (blob.digest, blob.bytes)).collect::<Vec<_>>(), [(old, 3)]);
    assert!(dry.collected[0].age_ms >= 7_200_000, "{dry:?}");
    assert_eq!((dry.collected_bytes(), dry.missing.as_slice()), (3, [absent].as_slice()));
    let kept: BTreeMap<_, _> = dry.kept.iter().map(|blob| (blob.digest, blob.reasons.clone())).collect();
    let only_new = vec!["new".to_owned()];
    assert_eq!(kept, BTreeMap::from([(needed, reasons), (new, only_new.clone()), (future, only_new)]));
    assert_eq!(blobs.list().unwrap().len(), 4, "a dry run changes nothing");

    let report = blobs.gc(&keep, now(), HOUR, GcMode::Collect).unwrap();
    assert_eq!((report.collected.len(), blobs.contains(&old)), (1, false));
    assert_eq!(blobs.list().unwrap().len(), 3);
    assert!(!blobs.remove(&old).unwrap());
}
