//! What is no file lies where a file is expected: every build ends, says so, and reads nothing from outside.

use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::Duration;

use lockstep_pipeline::{BuildEvent, BuildFailure, run};

use crate::bench::Bench;

/// Runs a build that must end; returns what it says against itself.
fn ended(bench: &Bench) -> Result<(), Box<BuildFailure>> {
    let (sender, receiver) = mpsc::channel();
    let (request, cancel) = (bench.request.clone(), bench.cancel.clone());
    std::thread::spawn(move || sender.send(run(&request, &|_: &BuildEvent| {}, &cancel).map(|_| ())));
    receiver.recv_timeout(Duration::from_secs(120)).expect("the build hangs")
}

#[test]
fn a_manifest_that_is_a_link_or_a_folder_is_told() {
    let bench = Bench::new("");
    let manifest = bench.repository.folder.join("lockstep.toml");
    std::fs::remove_file(&manifest).unwrap();
    symlink("/etc/hostname", &manifest).unwrap();
    bench.repository.commit("feat: link");
    assert_eq!(bench.problems(), ["`lockstep.toml` is a link; commit the manifest itself in its place"]);
    bench.repository.git(&["rm", "--quiet", "lockstep.toml"]);
    bench.repository.write("lockstep.toml/readme", "");
    bench.repository.commit("feat: folder");
    assert_eq!(bench.problems(), ["`lockstep.toml` is a folder; commit the manifest itself in its place"]);
}

#[test]
fn a_build_that_puts_a_pipe_in_the_place_of_its_log_ends() {
    let bench = Bench::step("rm ../log; mkfifo ../log", "");
    // Whether it can go on without a log is not the point here.
    let _ = ended(&bench);
    let bench = Bench::suite("rm ../log; mkfifo ../log; exit 1", "");
    assert!(ended(&bench).is_err());
}

#[test]
fn pipes_and_links_in_a_checkout_are_named_and_never_read() {
    for (what, script, settings, said) in [
        ("package", "mkfifo pipe", "[package]\ninclude = [\"**\"]\n", "`pipe` is a "),
        (
            "contract",
            "mkdir -p api && mkfifo api/v1.yaml",
            "[contract]\nopenapi = { command = \"cat api/none\" }\njson_schema = \"api/v1.yaml\"\n",
            "it is a pipe, not a file",
        ),
        (
            "contract that leads out",
            "ln -s /etc/passwd out.yaml",
            "[contract]\nopenapi = { command = \"true\" }\njson_schema = \"out.yaml\"\n",
            "out.yaml: it leads out of",
        ),
    ] {
        let text = ended(&Bench::step(script, settings)).unwrap_err().to_string();
        assert!(text.contains(said), "{what}: {text}");
    }
}
