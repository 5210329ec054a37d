//! Mirrors after a crash, a power cut or on a bad disk: the next builds make them whole, whatever is missing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lockstep_pipeline::mirrors;

use crate::bench::Bench;

type Inflict = fn(&Path);

/// What a crash or a disk may have done to a mirror, or to what lies beside it.
const DAMAGES: &[(&str, Inflict)] = &[
    ("nothing", |_| {}),
    ("HEAD is gone", |mirror| gone(&mirror.join("HEAD"))),
    ("HEAD is empty", |mirror| empty(&mirror.join("HEAD"))),
    ("HEAD is half", |mirror| halve(&mirror.join("HEAD"))),
    ("config is gone", |mirror| gone(&mirror.join("config"))),
    ("config is empty", |mirror| empty(&mirror.join("config"))),
    ("config is half", |mirror| halve(&mirror.join("config"))),
    ("branches are gone", |mirror| gone(&mirror.join("refs"))),
    ("names are gone", |mirror| gone(&mirror.join("packed-refs"))),
    ("names are empty", |mirror| empty(&mirror.join("packed-refs"))),
    ("names are half", |mirror| halve(&mirror.join("packed-refs"))),
    ("a branch is empty", |mirror| empty(&mirror.join("refs/heads/main"))),
    ("a branch leads nowhere", |mirror| {
        fs::write(mirror.join("refs/heads/main"), format!("{}\n", "1".repeat(40))).unwrap();
    }),
    ("objects are gone", |mirror| gone(&mirror.join("objects"))),
    ("objects are empty", |mirror| files(&mirror.join("objects")).iter().for_each(|file| empty(file))),
    ("objects are half", |mirror| files(&mirror.join("objects")).iter().for_each(|file| halve(file))),
    ("everything is gone", |mirror| gone(mirror)),
    ("it is a file", |mirror| {
        gone(mirror);
        fs::write(mirror, "").unwrap();
    }),
    ("a clone was not finished", |mirror| {
        let partial = mirror.with_added_extension("partial");
        fs::create_dir_all(partial.join("objects/pack")).unwrap();
        fs::write(partial.join("HEAD"), "").unwrap();
        gone(mirror);
    }),
    ("a fetch was not finished", |mirror| {
        fs::create_dir_all(mirror.join("objects/tmp_objdir-incoming-x")).unwrap();
        fs::create_dir_all(mirror.join("objects/pack")).unwrap();
        fs::write(mirror.join("objects/pack/tmp_pack_x"), "PACK").unwrap();
        for lock in ["packed-refs.lock", "HEAD.lock", "config.lock", "shallow.lock", "refs/heads/main.lock"] {
            fs::write(mirror.join(lock), "").unwrap();
        }
    }),
];

/// Removes what may have gone already.
fn gone(path: &Path) {
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
}

/// Empties a file as a file system does that had made its name durable and not its content.
fn empty(path: &Path) {
    cut(path, 0);
}

fn halve(path: &Path) {
    cut(path, fs::metadata(path).map_or(0, |metadata| metadata.len() / 2));
}

fn cut(path: &Path, length: u64) {
    // Git makes its objects read-only; what is not there cannot be damaged.
    let _ = fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644));
    File::options().write(true).create(true).truncate(false).open(path).unwrap().set_len(length).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_damaged_mirror_stops_one_build_at_most() {
    for (damage, inflict) in DAMAGES {
        let bench = Bench::new("");
        bench.run().unwrap();
        let name = mirrors::name_of(&bench.request.repository);
        let mirror = bench.request.mirror_folder.join(format!("{name}.git"));
        inflict(&mirror);
        // Once with nothing to fetch and once with a new commit: git looks at different things.
        let _ = bench.run();
        bench.run().unwrap_or_else(|failure| panic!("{damage}: {failure}\n{}", bench.log()));
        inflict(&mirror);
        bench.repository.write("more", "");
        let next = bench.repository.commit("fix: more");
        let _ = bench.run();
        let (prepared, _) = bench.run().unwrap_or_else(|failure| panic!("{damage}: {failure}"));
        assert_eq!(prepared.checked.commit.as_str(), next, "{damage}");
        let left = files(&mirror);
        assert!(!left.iter().any(|file| file.to_string_lossy().contains("tmp_")), "{damage}: {left:#?}");
    }
}

#[test]
fn a_sound_mirror_is_not_cloned_again_because_a_fetch_failed() {
    let bench = Bench::new("");
    bench.run().unwrap();
    let name = mirrors::name_of(&bench.request.repository);
    let kept = bench.request.mirror_folder.join(format!("{name}.git/kept"));
    fs::write(&kept, "").unwrap();
    let (there, away) = (&bench.repository.folder, bench.folder.path().join("away"));
    fs::rename(there, &away).unwrap();
    assert!(bench.run().is_err());
    fs::rename(&away, there).unwrap();
    bench.run().unwrap();
    assert!(kept.exists());
}
