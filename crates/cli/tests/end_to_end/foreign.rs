//! What is no file lies where a command or the server expects one: it is named, nothing is read from elsewhere, and nobody
//! waits for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::eventually;
use super::support::place::Place;
use super::support::repository::{manifest, service};

/// Puts something in the place of a file.
type Make = fn(&Path);

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Runs a command that must end by itself; returns its exit code and what it said.
fn ended(place: &Place, arguments: &[&str]) -> (i32, String) {
    let mut command = place.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let what = format!("lockstep {} ends", arguments.join(" "));
    let status = eventually(&what, || child.try_wait().unwrap());
    let mut text = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut text).unwrap();
    (status.code().unwrap(), text)
}

#[test]
fn no_command_waits_for_what_lies_in_the_place_of_a_file() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.commit("feat: begin");
    let folder = Path::new(repository.folder());
    let file = folder.join("lockstep.toml");
    let kinds: &[(&str, Make)] = &[
        ("it is a pipe, not a file", pipe),
        ("Too many levels of symbolic links", |path| symlink("lockstep.toml", path).unwrap()),
        ("it is a device, not a file", |path| symlink("/dev/zero", path).unwrap()),
        ("it is a folder, not a file", |path| fs::create_dir(path).unwrap()),
        ("No such device or address", |path| drop(UnixListener::bind(path).unwrap())),
    ];
    for (said, make) in kinds {
        let _ = fs::remove_dir(&file).or_else(|_| fs::remove_file(&file));
        make(&file);
        let path = file.to_str().unwrap();
        for arguments in
            [&["check", path][..], &["contract", "diff", path, path], &["lifecycle", "define", "x", path]]
        {
            let (code, text) = ended(&place, arguments);
            assert!(code == 2 || code == 4, "{arguments:?}: {code}: {text}");
        }
        let (code, text) = ended(&place, &["check", repository.folder()]);
        assert!(code == 2 && (text.contains(said) || said.contains("folder")), "{said}: {text}");
        let (code, text) = ended(&place, &["service", "add", repository.folder()]);
        assert!(code != 0 && (text.contains(said) || text.contains("leads out")), "{code}: {said}: {text}");
        // A folder is looked at as a whole; what is no file is passed over.
        assert_eq!(ended(&place, &["init", repository.folder(), "--print"]).0, 0, "{said}");
    }
    assert_eq!(place.json(&["services"]), serde_json::Value::Array(vec![]));
}

#[test]
fn a_manifest_is_replaced_whole_and_never_written_through_a_link() {
    let place = Place::begin();
    let repository = place.repository("pages");
    repository.write("index.html", "pages");
    let file = format!("{}/lockstep.toml", repository.folder());
    let elsewhere = place.path("elsewhere");
    fs::write(&elsewhere, "theirs").unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert_eq!(ended(&place, &["init", repository.folder()]).0, 2);
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink(), "without --force what is there stays");
    assert_eq!(ended(&place, &["init", repository.folder(), "--force"]).0, 0);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert!(fs::read_to_string(&file).unwrap().contains("name = \"pages\""));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs");
}

#[test]
fn a_manifest_that_leads_out_of_the_repository_is_not_read() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("readme", "");
    repository.commit("feat: begin");
    let outside = place.path("secret.toml");
    fs::write(&outside, "hunter2 = \"hunter3\"\n").unwrap();
    symlink(&outside, Path::new(repository.folder()).join("lockstep.toml")).unwrap();
    let (code, text) = ended(&place, &["service", "add", repository.folder()]);
    assert!(code != 0 && text.contains("leads out of its folder") && !text.contains("hunter"), "{text}");
    symlink("..", Path::new(repository.folder()).join("up")).unwrap();
    let (code, text) = ended(&place, &["service", "add", repository.folder(), "--folder", "up"]);
    assert!(code != 0 && !text.contains("hunter"), "{text}");
}

#[test]
fn a_shell_may_give_a_command_what_another_one_writes() {
    let place = Place::begin();
    let script = format!(
        "{} contract diff <(echo '{{\"type\":\"string\"}}') <(sleep 0.1; echo '{{\"type\":\"string\"}}')",
        env!("CARGO_BIN_EXE_lockstep")
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!err.contains("cannot be read") && !err.contains("pipe"), "{out}\n{err}");
    drop(place);
}

#[test]
fn a_build_that_replaces_its_log_by_a_pipe_stops_neither_its_readers_nor_the_server() {
    let mut place = Place::begin();
    let repository = place.repository("store");
    let steps = "[build]\nsteps = [[\"sh\", \"-c\", \"rm ../log ../build.json; mkfifo ../log ../build.json; exit 1\"]]\n[package]\ninclude = [\"service.py\"]\n";
    repository.write("lockstep.toml", &manifest("store", "", steps));
    repository.write("service.py", &service("one"));
    repository.commit("feat: begin");
    place.run(&["service", "add", repository.folder()]);
    assert_eq!(ended(&place, &["release", "store"]).0, 1);
    assert_eq!(ended(&place, &["logs", "b1"]).0, 0);
    place.kill_server();
    place.start_server();
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.commit("fix: leave the log");
    place.release("store");
}
