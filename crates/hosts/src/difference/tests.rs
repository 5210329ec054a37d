//! Archives that differ a little, a lot, and not at all, put together out of what is there.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::{NamedTempFile, TempDir, tempfile};

use super::*;

/// Bytes that no two files have in common, unless they are the same.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

type Files = Vec<(String, Vec<u8>)>;

fn artifact(files: &Files) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let mut builder = tar::Builder::new(zstd::Encoder::new(file.reopen().unwrap(), 1).unwrap());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
    file
}

fn unpacked(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// Sends what a host lacks, and puts it together there; returns how many bytes were sent.
fn send(artifact: &Path, folders: &[PathBuf]) -> std::io::Result<u64> {
    let recipe = Recipe::of(artifact).unwrap();
    let recipe: Recipe = serde_json::from_str(&serde_json::to_string(&recipe).unwrap()).unwrap();
    let known = Known::of(&recipe, folders);
    let lacking = Lacking::of(&recipe, &known).keys(&recipe);
    let mut rest = tempfile().unwrap();
    write_rest(artifact, &recipe, |key| lacking.contains(key), &rest).unwrap();
    let bytes = rest.metadata().unwrap().len();
    rest.rewind().unwrap();
    let mut whole = put_together(&recipe, &known, rest, tempfile().unwrap())?;
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    std::io::copy(&mut whole, &mut found).unwrap();
    zstd::stream::copy_decode(fs::File::open(artifact).unwrap(), &mut expected).unwrap();
    assert_eq!(recipe.bytes(), expected.len() as u64);
    assert!(found == expected, "another archive was put together");
    Ok(bytes)
}

fn files() -> impl Strategy<Value = Files> {
    let file = (0_u64..6, prop_oneof![0_usize..200, 1_000_usize..100_000]);
    let file = file.prop_map(|(seed, length)| noise(seed, length));
    prop::collection::vec(file, 0..8)
        .prop_map(|all| all.into_iter().enumerate().map(|(at, it)| (format!("folder/{at}"), it)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_there_the_archive_is_what_it_was(sent in files(), here in files()) {
        let (artifact, folder) = (artifact(&sent), unpacked(&here));
        send(artifact.path(), &[folder.path().to_owned()]).unwrap();
    }

    #[test]
    fn whatever_is_there_says_it_lacks_something_of_the_recipe(said in "[A-Za-z0-9+/=]{0,40}", sent in files()) {
        let artifact = artifact(&sent);
        let recipe = Recipe::of(artifact.path()).unwrap();
        let lacking: Lacking = serde_json::from_value(said.into()).unwrap();
        prop_assert!(recipe.bytes_of(&lacking.keys(&recipe)) <= recipe.bytes());
    }
}

#[test]
fn what_was_inserted_into_a_large_file_and_moved_among_others_is_sent_alone() {
    let large = noise(1, 2_000_000);
    let before: Files = (0..50)
        .map(|at| (format!("lib/{at}"), noise(100 + at, 3_000)))
        .chain([("program".to_owned(), large.clone())])
        .collect();
    let inserted = [&large[..700_000], &noise(2, 1_000), &large[700_000..]].concat();
    let after: Files = before[..50]
        .iter()
        .map(|(path, bytes)| (format!("moved/{path}"), bytes.clone()))
        .chain([("program".to_owned(), inserted)])
        .collect();
    let (folder, artifact) = (unpacked(&before), artifact(&after));
    let whole = artifact.as_file().metadata().unwrap().len();
    let sent = send(artifact.path(), &[folder.path().to_owned()]).unwrap();
    assert!(sent < 50_000 && whole > 2_000_000, "{sent} bytes of {whole} were sent");
}

#[test]
fn a_file_that_was_changed_after_it_was_looked_at_makes_no_other_archive() {
    let files: Files = vec![("program".to_owned(), noise(1, 100_000))];
    let (folder, artifact) = (unpacked(&files), artifact(&files));
    let recipe = Recipe::of(artifact.path()).unwrap();
    let known = Known::of(&recipe, &[folder.path().to_owned()]);
    let lacking = Lacking::of(&recipe, &known).keys(&recipe);
    assert!(lacking.is_empty());
    let rest = || {
        let mut rest = tempfile().unwrap();
        write_rest(artifact.path(), &recipe, |_| false, &rest).unwrap();
        rest.rewind().unwrap();
        rest
    };
    put_together(&recipe, &known, rest(), tempfile().unwrap()).unwrap();
    let mut program = fs::OpenOptions::new().write(true).open(folder.path().join("program")).unwrap();
    program.write_all(b"another").unwrap();
    let error = put_together(&recipe, &known, rest(), tempfile().unwrap()).unwrap_err();
    assert!(error.to_string().contains("digest"), "{error}");
    fs::remove_file(folder.path().join("program")).unwrap();
    put_together(&recipe, &known, rest(), tempfile().unwrap()).unwrap_err();
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("program")).unwrap();
    put_together(&recipe, &known, rest(), tempfile().unwrap()).unwrap_err();
}

#[test]
fn what_is_no_archive_is_cut_all_the_same() {
    let file = NamedTempFile::new().unwrap();
    for content in [noise(1, 100_000), Vec::new(), vec![0; 3_000], noise(3, 511)] {
        file.as_file().set_len(0).unwrap();
        zstd::stream::copy_encode(&content[..], file.reopen().unwrap(), 1).unwrap();
        send(file.path(), &[]).unwrap();
    }
    fs::write(file.path(), b"not compressed").unwrap();
    Recipe::of(file.path()).unwrap_err();
}

#[test]
fn pieces_that_nobody_sends_are_refused() {
    let files: Files = vec![("program".to_owned(), noise(1, 10_000))];
    let sent = serde_json::to_value(Recipe::of(artifact(&files).path()).unwrap()).unwrap();
    serde_json::from_value::<Recipe>(sent.clone()).unwrap();
    for text in ["AAAA", "%", "AAAAAQ=="] {
        let mut broken = sent.clone();
        broken["pieces"] = text.into();
        serde_json::from_value::<Recipe>(broken).unwrap_err();
    }
}
