//! Layers made by hand, most of them hostile.

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;

fn raw(kind: EntryType, name: &str, link: &str, mode: u32, owner: u64, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(7);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let padding = data.len().next_multiple_of(512) - data.len();
    [&header.as_bytes()[..], data, &vec![0; padding]].concat()
}

fn file(name: &str, data: &str) -> Vec<u8> {
    raw(EntryType::Regular, name, "", 0o644, 0, data.as_bytes())
}

fn folder(name: &str) -> Vec<u8> {
    raw(EntryType::Directory, name, "", 0o755, 0, b"")
}

fn link(name: &str, target: &str) -> Vec<u8> {
    raw(EntryType::Symlink, name, target, 0o777, 0, b"")
}

fn hard(name: &str, target: &str) -> Vec<u8> {
    raw(EntryType::Link, name, target, 0o644, 0, b"")
}

/// A root of these layers, or the first refusal.
fn root(layers: &[&[Vec<u8>]]) -> (tempfile::TempDir, Result<Root, UnpackError>) {
    limited(layers, UnpackLimits::default())
}

fn limited(layers: &[&[Vec<u8>]], limits: UnpackLimits) -> (tempfile::TempDir, Result<Root, UnpackError>) {
    let top = tempfile::tempdir().unwrap();
    let contents = top.path().join("contents");
    fs::create_dir(&contents).unwrap();
    let mut root = Root::new(contents.clone(), limits);
    let applied = layers.iter().try_for_each(|entries| {
        let tar = [entries.concat(), vec![0; 1024]].concat();
        root.apply(&tar[..], Compression::Plain, |_| {})
    });
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1, "something was written outside");
    let plain = |entry: fs::DirEntry| entry.file_type().unwrap().is_file();
    assert!(fs::read_dir(&contents).unwrap().all(|entry| plain(entry.unwrap())));
    (top, applied.map(|()| root))
}

/// What a root has, a line a name.
fn shown(root: &Root) -> Vec<String> {
    let show = |(path, named): (&Path, &Named)| match &named.node {
        Node::Folder => format!("{}/", path.display()),
        Node::Link(target) => format!("{} -> {}", path.display(), target.display()),
        Node::File { content, .. } => {
            format!("{} = {}", path.display(), fs::read_to_string(content).unwrap())
        }
    };
    root.names().map(show).collect()
}

fn good(layers: &[&[Vec<u8>]]) -> Vec<String> {
    let (_top, root) = root(layers);
    shown(&root.unwrap())
}

fn refused(layers: &[&[Vec<u8>]]) -> Problem {
    match root(layers).1.unwrap_err() {
        UnpackError::Refused { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_layer_replaces_adds_and_hides() {
    let lower = [file("a/old", "1"), file("a/kept", "2"), file("b", "3"), folder("c"), file("c/d", "4")];
    let upper = [file("a/old", "new"), file("a/.wh.kept", ""), file(".wh.c", ""), file("e", "5")];
    assert_eq!(good(&[&lower, &upper]), ["a/", "a/old = new", "b = 3", "e = 5"]);
}

#[test]
fn a_whiteout_hides_what_is_below_its_layer_and_nothing_of_its_own_whatever_the_order() {
    let lower = [file("a/x", "1"), file("a/y", "2")];
    for upper in [
        [file("a/z", "3"), file("a/.wh..wh..opq", ""), file(".wh.q", "")],
        [file("a/.wh..wh..opq", ""), file("a/z", "3"), file(".wh.q", "")],
        [file("a/z", "3"), file(".wh.a", ""), file(".wh.q", "")],
    ] {
        assert_eq!(good(&[&lower, &upper]), ["a/", "a/z = 3"]);
    }
}

#[test]
fn links_on_the_way_are_followed_inside_the_root_and_never_out_of_it() {
    let lower = [folder("usr/lib"), link("lib", "usr/lib"), link("up", "../../../etc"), link("abs", "/etc")];
    let upper = [file("lib/x", "1"), file("up/passwd", "2"), file("abs/group", "3"), file("lib/.wh.y", "")];
    assert_eq!(
        good(&[&lower, &upper]),
        [
            "abs -> /etc",
            "etc/",
            "etc/group = 3",
            "etc/passwd = 2",
            "lib -> usr/lib",
            "up -> ../../../etc",
            "usr/",
            "usr/lib/",
            "usr/lib/x = 1",
        ]
    );
}

#[test]
fn a_folder_that_is_named_takes_the_place_of_a_link_and_a_file_that_of_a_folder() {
    let lower = [link("a", "/b"), file("b/x", "1"), file("c/d/e", "2")];
    let upper = [folder("a"), file("a/y", "2"), file("c", "3")];
    assert_eq!(good(&[&lower, &upper]), ["a/", "a/y = 2", "b/", "b/x = 1", "c = 3"]);
}

#[test]
fn hard_links_are_the_file_that_they_name_in_any_layer_below() {
    let lower = [file("a", "1"), link("l", "/etc/shadow")];
    let upper = [hard("b", "a"), hard("c", "./b"), hard("m", "l"), hard("d", "/a")];
    assert_eq!(
        good(&[&lower, &upper]),
        ["a = 1", "b = 1", "c = 1", "d = 1", "l -> /etc/shadow", "m -> /etc/shadow"]
    );
    for target in ["../../etc/passwd", "missing", "f", ".."] {
        let problem = refused(&[&[folder("f"), hard("b", target)]]);
        assert!(matches!(problem, Problem::LeadsOut | Problem::HardLinkTarget), "{target}: {problem}");
    }
    assert_eq!(refused(&[&[link("out", "/"), hard("b", "out/etc/passwd")]]), Problem::HardLinkTarget);
}

#[test]
fn paths_that_lead_out_whiteouts_of_nothing_and_names_that_come_twice_are_refused() {
    for (entry, problem) in [
        (file("../x", "1"), Problem::Parent),
        (file("a/../../x", "1"), Problem::Parent),
        (file(".wh...", ""), Problem::NotAPath),
        (file(".wh..", ""), Problem::NotAPath),
        (file(".wh.", ""), Problem::NotAPath),
        (raw(EntryType::GNUSparse, "s", "", 0o644, 0, b""), Problem::Special),
    ] {
        assert_eq!(refused(&[&[file("y", "1")], &[entry]]), problem);
    }
    assert_eq!(refused(&[&[file("a", "1"), file("a", "2")]]), Problem::Duplicate);
    assert_eq!(refused(&[&[file("a/b", "1"), link("a", "/etc")]]), Problem::Duplicate);
    assert_eq!(refused(&[&[file("a", "1")], &[file("a/b", "2")]]), Problem::BelowNonFolder);
    assert_eq!(refused(&[&[link("a", "b"), link("b", "a"), file("a/x", "")]]), Problem::Circle);
}

#[test]
fn a_layer_may_end_after_any_entry_and_nowhere_else() {
    let top = tempfile::tempdir().unwrap();
    let entries = [file("a", "1"), file("b", "2")].concat();
    let mut root = Root::new(top.path().to_owned(), UnpackLimits::default());
    root.apply(&entries[..], Compression::Plain, |_| {}).unwrap();
    assert_eq!(shown(&root), ["a = 1", "b = 2"]);
    // Programs that forget to finish a tar leave out what fills its last block, too.
    root.apply(&entries[..513 + 1024], Compression::Plain, |_| {}).unwrap();
    for length in [1, 511, 512, 1025, 1024 + 512] {
        let cut = &entries[..length];
        assert!(root.apply(cut, Compression::Plain, |_| {}).is_err(), "{length}");
    }
}

#[test]
fn devices_and_pipes_are_left_out_and_counted() {
    let device = raw(EntryType::Char, "dev/null", "", 0o666, 0, b"");
    let pipe = raw(EntryType::Fifo, "run/pipe", "", 0o666, 0, b"");
    let (_top, root) = root(&[&[device, pipe, file("x", "1")]]);
    let root = root.unwrap();
    assert_eq!((shown(&root), root.left_out()), (vec!["x = 1".to_owned()], 2));
}

#[test]
fn who_may_write_is_told_by_owner_group_and_mode() {
    let of = |name: &str, mode, owner| raw(EntryType::Directory, name, "", mode, owner, b"");
    let (_top, root) = root(&[&[of("own", 0o700, 7), of("root", 0o755, 0), of("tmp", 0o1777, 0)]]);
    let root = root.unwrap();
    let writable = |path: &str| root.find(Path::new(path)).unwrap().is_writable_for(7, 7);
    assert_eq!(["own", "root", "tmp"].map(writable), [true, false, true]);
}

#[test]
fn a_root_is_bounded_over_all_layers() {
    let small = UnpackLimits { bytes: 16 * 1024, entries: 3, ratio: 250 };
    let large = "x".repeat(8 * 1024);
    let (one, other) = ([file("a", &large)], [file("a", &large)]);
    assert!(matches!(
        limited(&[&one, &other], small).1.unwrap_err(),
        UnpackError::TooLarge { limit: 16_384 }
    ));
    let many: Vec<_> = (0..4).map(|name| file(&name.to_string(), "")).collect();
    assert!(matches!(limited(&[&many], small).1.unwrap_err(), UnpackError::TooManyEntries { limit: 3 }));
    // What is hidden again counts too: otherwise a layer could go on for ever.
    let roomy = UnpackLimits { bytes: 1 << 20, ..small };
    let hiding: Vec<_> = (0..16).map(|name| file(&format!(".wh.{name}"), "")).collect();
    assert!(matches!(limited(&[&hiding], roomy).1.unwrap_err(), UnpackError::TooManyEntries { limit: 15 }));
}

#[test]
fn small_texts_are_found_through_links() {
    let (_top, root) =
        root(&[&[link("etc", "/conf"), file("conf/passwd", "app:x:7:8::/home/app:/bin/sh\n")]]);
    let root = root.unwrap();
    let text = read_text(&root, Path::new("/etc/passwd"), 1_000).unwrap();
    assert_eq!(text.as_deref(), Some("app:x:7:8::/home/app:/bin/sh\n"));
    assert_eq!(read_text(&root, Path::new("/etc/group"), 1_000).unwrap(), None);
}

proptest! {
    /// Whatever layers hold, everything above a name is a folder, and nothing is written but contents.
    #[test]
    fn everything_above_a_name_is_a_folder(
        layers in prop::collection::vec(prop::collection::vec((0_u8..6, "(/|\\./)?[ab](/(\\.wh\\.)?[abc]){0,3}", "(/|\\.\\./)?[abc](/[abc]){0,2}"), 0..8), 1..4),
    ) {
        let made: Vec<Vec<Vec<u8>>> = layers.iter().map(|entries| entries.iter().map(|(kind, name, target)| match kind {
            0 | 1 => file(name, "x"),
            2 => folder(name),
            3 => link(name, target),
            4 => hard(name, target),
            _ => raw(EntryType::Fifo, name, "", 0o644, 0, b""),
        }).collect()).collect();
        let layers: Vec<&[Vec<u8>]> = made.iter().map(Vec::as_slice).collect();
        if let (_top, Ok(root)) = root(&layers) {
            for (path, _) in root.names() {
                prop_assert!(path.is_relative());
                for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                    prop_assert_eq!(&root.nodes.get(above).unwrap().node, &Node::Folder, "{:?}", path);
                }
            }
        }
    }
}
