//! `lockstep check --run`: services that are started once, before anything of them is released.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::support::eventually;
use super::support::processes;
use super::support::repository::{Repository, manifest, misbehaving, service};

/// A work tree, and a folder of temporary files of its own.
struct Bench {
    folder: TempDir,
    repository: Repository,
}

impl Bench {
    fn begin(manifest: &str, program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let repository = Repository::begin(folder.path().join("shop"));
        repository.write("lockstep.toml", manifest);
        repository.write("service.py", program);
        Self { folder, repository }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(["check", "--run"]).args(arguments).current_dir(self.repository.folder());
        command.env("TMPDIR", self.folder.path().join("tmp")).env_remove("LOCKSTEP_TOKEN");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn check(&self, arguments: &[&str], expected: i32) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(expected), "{text}");
        text
    }

    /// What trials have left behind.
    fn left(&self) -> usize {
        fs::read_dir(self.folder.path().join("tmp")).unwrap().count()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        processes::end_all(self.folder.path().to_str().unwrap());
    }
}

#[test]
fn a_service_that_is_right_runs_and_leaves_nothing_behind_also_when_nothing_was_committed() {
    let bench = Bench::begin(&manifest("shop", "env = { GREETING = \"hi\" }", ""), &service("one"));
    let text = bench.check(&[], 0);
    assert!(text.starts_with("ran: shop healthy after") && text.contains("listened on 127.0.0.1:"), "{text}");
    assert!(!text.contains("problem:") && !text.contains("note:"), "{text}");
    assert_eq!(bench.left(), 0);
    let json: Value = serde_json::from_str(&bench.check(&["--json"], 0)).unwrap();
    assert_eq!(json["processes"][0]["listens"].as_array().unwrap().len(), 1);
    assert!(json["findings"].as_array().unwrap().is_empty());
}

#[test]
fn what_keeps_it_from_running_is_named_with_what_helps() {
    let wrong_port =
        service("one").replace("int(os.environ['PORT'])", "0").replace("os.environ['HOST']", "''");
    let short = manifest("shop", "", "").replace("start_timeout = \"20s\"", "start_timeout = \"2s\"");
    let bench = Bench::begin(&short, &wrong_port);
    let text = bench.check(&[], 1);
    assert!(text.contains("problem: it listens on 0.0.0.0:"), "{text}");
    assert!(text.contains("and not on the port in PORT"), "{text}");
    assert!(text.contains("can call it past the gateway"), "{text}");
    let needs = misbehaving("one", "os.environ['SHOP_KEY']", "pass");
    bench.repository.write("service.py", &needs);
    let text = bench.check(&[], 1);
    assert!(text.contains("its log names `SHOP_KEY`, which it was not given"), "{text}");
    assert!(text.contains("KeyError: 'SHOP_KEY'"), "the end of its log: {text}");
    assert!(bench.check(&["--set", "SHOP_KEY=1"], 0).starts_with("ran: shop"));
    let writes = "open('state', 'w').close(); signal.signal(signal.SIGTERM, signal.SIG_IGN)";
    bench.repository.write("service.py", &misbehaving("one", writes, "pass"));
    bench.repository.write("lockstep.toml", &manifest("shop", "stop = { timeout = \"500ms\" }", ""));
    let text = bench.check(&[], 1);
    assert!(text.contains("it made `state` in its working folder"), "{text}");
    assert!(text.contains("it did not end within 500ms of SIGTERM, and was killed"), "{text}");
    bench.repository.write("service.py", "open('service.py', 'w')");
    assert!(bench.check(&[], 1).contains("it was kept from something"), "its code is read-only");
    assert_eq!(bench.left(), 0);
}

#[test]
fn what_a_trial_that_was_killed_left_behind_is_ended_by_the_next_one() {
    let bench = Bench::begin(&manifest("shop", "", ""), &misbehaving("one", "time.sleep(30)", "pass"));
    let mut killed = bench.command(&[]).spawn().unwrap();
    let folder = bench.folder.path().join("tmp");
    let folder = folder.to_str().unwrap();
    eventually("its process runs", || (!processes::of_instances(folder).is_empty()).then_some(()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(bench.left() > 0);
    bench.repository.write("service.py", &service("one"));
    bench.check(&[], 0);
    assert_eq!(bench.left(), 0);
    assert!(processes::of_folder(folder).is_empty(), "nothing of it runs any more");
}

#[test]
fn one_that_still_builds_is_left_alone_and_one_that_is_told_to_end_leaves_nothing() {
    let build = "[build]\nsteps = [[\"sh\", \"-c\", \"touch $BEGUN; while ! test -e $GO; do sleep 0.05; done\"]]\n\
                 optional_variables = [\"BEGUN\", \"GO\"]\n[package]\ninclude = [\"service.py\"]";
    let slow = Bench::begin(&manifest("shop", "", build), &service("one"));
    let (begun, go) = (slow.folder.path().join("begun"), slow.folder.path().join("go"));
    let building = slow.command(&[]).env("BEGUN", &begun).env("GO", &go).spawn().unwrap();
    eventually("it builds", || begun.exists().then_some(()));
    let other = Bench::begin(&manifest("shop", "", ""), &service("two"));
    let output = other.command(&[]).env("TMPDIR", slow.folder.path().join("tmp")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::write(&go, "").unwrap();
    let output = building.wait_with_output().unwrap();
    assert!(output.status.success(), "the other one left it alone: {output:?}");
    assert_eq!(slow.left(), 0);

    let bench = Bench::begin(&manifest("shop", "", ""), &misbehaving("one", "time.sleep(30)", "pass"));
    let folder = bench.folder.path().join("tmp");
    let running = bench.command(&[]).spawn().unwrap();
    eventually("its process runs", || {
        (!processes::of_instances(folder.to_str().unwrap()).is_empty()).then_some(())
    });
    let process = i32::try_from(running.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(bench.left(), 0);
}

#[test]
fn each_process_is_tried_and_what_is_not_there_is_said() {
    let processes = "[process.web]\ncommand = \"PYTHON service.py\"\nhealth = { http = \"/\" }\n\
                     [process.worker]\ncommand = \"sh -c 'exec sleep 60'\"\nhealth = { lives = \"200ms\" }\n\
                     [requires]\nstock = \"*\"\n[resource.db]\nkind = \"postgresql\"\n\
                     [[job]]\nname = \"migrate\"\nwhen = \"before-switch\"\ncommand = \"./migrate\"\n";
    let processes = processes.replace("PYTHON", &super::support::repository::python());
    let bench = Bench::begin(&format!("name = \"shop\"\n{processes}"), &service("one"));
    bench.repository.write("migrate", "#!/bin/sh\n");
    let text = bench.check(&[], 0);
    assert!(text.contains("ran: web healthy") && text.contains("ran: worker healthy"), "{text}");
    assert!(text.contains("was not there: service stock (--service stock=URL)"), "{text}");
    assert!(text.contains("was not there: resource db (--resource db=URL)"), "{text}");
    assert!(text.contains("not run: job migrate"), "{text}");
    let given = ["--service", "stock=http://127.0.0.1:1", "--resource", "db=postgres://me@localhost/shop"];
    assert!(!bench.check(&given, 0).contains("was not there"));
    assert!(bench.check(&["--resource", "db=redis://localhost"], 2).contains("does not begin with"));
    assert!(bench.check(&["--service", "other=http://x"], 2).contains("does not require `other`"));
}
