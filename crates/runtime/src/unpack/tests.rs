//! Artifacts that are refused leave nothing. What is refused in them is tested where it is read, in `lockstep-archive`.

use std::io::Cursor;

use super::*;

fn artifact(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn unpack(bytes: &[u8], limits: &UnpackLimits) -> (usize, Result<(), UnpackError>) {
    let releases = tempfile::tempdir().unwrap();
    let target = releases.path().join("target");
    let result =
        unpack_to((Cursor::new(bytes), Compression::Zstd), &target, releases.path(), limits, |_| Ok(()));
    (fs::read_dir(releases.path()).unwrap().count(), result)
}

#[test]
fn of_what_is_refused_nothing_is_left() {
    let whole = artifact(&[(PACKAGE_FILE, b"{}"), ("a", &[1; 2_000])]);
    assert!(matches!(unpack(&whole, &UnpackLimits::default()), (1, Ok(()))));
    for length in 0..whole.len() {
        let (left, result) = unpack(&whole[..length], &UnpackLimits::default());
        assert!(left == 0 && matches!(result, Err(UnpackError::Read { .. })), "{length}: {result:?}");
    }
    let small = UnpackLimits { bytes: 1_000, ..UnpackLimits::default() };
    assert!(matches!(unpack(&whole, &small), (0, Err(UnpackError::TooLarge { .. }))));
    let other = artifact(&[("a", b"x"), (PACKAGE_FILE, b"{}")]);
    let refused = unpack(&other, &UnpackLimits::default());
    assert!(matches!(refused, (0, Err(UnpackError::NotAPackage { .. }))), "{refused:?}");
}

#[test]
fn what_must_come_first_and_fails_leaves_nothing() {
    let releases = tempfile::tempdir().unwrap();
    let whole = artifact(&[(PACKAGE_FILE, b"{}")]);
    let target = releases.path().join("target");
    let failing =
        |path: &Path| Err(UnpackError::Write { path: path.to_owned(), source: io::Error::other("full") });
    unpack_to(
        (Cursor::new(whole), Compression::Zstd),
        &target,
        releases.path(),
        &UnpackLimits::default(),
        failing,
    )
    .unwrap_err();
    assert_eq!(fs::read_dir(releases.path()).unwrap().count(), 0);
}
