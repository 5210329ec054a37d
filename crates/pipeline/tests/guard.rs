//! The guard with real processes: whatever a command does, its bounds hold and nothing of it is left.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_pipeline::CancelToken;
use lockstep_pipeline::guard::{End, GuardError, GuardReport, GuardSpec};
use support::{guard, is_alive, processes_with, wait_until};
use tempfile::TempDir;

struct Run {
    folder: TempDir,
    spec: GuardSpec,
}

impl Run {
    fn new(command: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("LOCKSTEP_BUILD".to_owned(), folder.path().to_str().unwrap().to_owned()),
        ]);
        let spec = GuardSpec {
            output: None,
            command: command.iter().map(ToString::to_string).collect(),
            folder: folder.path().to_owned(),
            env,
            log: folder.path().join("log"),
            log_limit_bytes: 1_000_000,
            disk: folder.path().to_owned(),
            disk_limit_bytes: 100_000_000,
            time_limit_ms: 60_000,
            confine: None,
            secrets: Vec::new(),
        };
        Self { folder, spec }
    }

    fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    fn python(script: &str) -> Self {
        Self::new(&["python3", "-c", script])
    }

    fn run(&self) -> GuardReport {
        guard().run(&self.spec, &CancelToken::new()).unwrap()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> String {
        String::from_utf8(std::fs::read(&self.spec.log).unwrap()).unwrap()
    }

    fn nothing_is_left(&self) -> bool {
        processes_with(self.path().to_str().unwrap()).is_empty()
    }
}

#[test]
fn exit_code_signal_and_output_are_reported() {
    let run = Run::shell("echo out; echo err >&2; exit 7");
    assert_eq!(run.run().end, End::Exited { code: 7 });
    assert_eq!(run.log(), "out\nerr\n");
    assert_eq!(Run::shell("kill -SEGV $$").run().end, End::Signalled { signal: 11 });
}

#[test]
fn environment_is_only_what_was_given() {
    let run = Run::new(&["env"]);
    run.run();
    let mut names: Vec<String> =
        run.log().lines().map(|line| line.split('=').next().unwrap().into()).collect();
    names.sort();
    assert_eq!(names, ["LOCKSTEP_BUILD", "PATH"]);
    let run = Run::shell("wc -c < /proc/$PPID/environ");
    run.run();
    assert_eq!(run.log().trim(), "0", "the guard itself has nothing to read");
}

#[test]
fn unknown_program_and_missing_folder_are_named() {
    let End::NotStarted { reason } = Run::new(&["no-such-program"]).run().end else { panic!() };
    assert_eq!(reason, "the program `no-such-program` was not found");
    let mut run = Run::new(&["true"]);
    run.spec.folder = run.path().join("gone");
    let End::NotStarted { reason } = run.run().end else { panic!() };
    assert!(reason.ends_with("gone` does not exist"), "{reason}");
}

#[test]
fn secrets_do_not_reach_the_log() {
    let mut run = Run::shell("printf 'token=s3cr3t-'; printf 'value.\\n'");
    run.spec.secrets = vec!["s3cr3t-value".into()];
    run.run();
    assert_eq!(run.log(), "token=***.\n");
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children() {
    let mut run = Run::shell("trap '' TERM INT HUP; sleep 1000 & echo waiting; sleep 1000");
    run.spec.time_limit_ms = 300;
    let report = run.run();
    assert_eq!((report.end, report.clean), (End::TimedOut, true));
    assert_eq!(run.log(), "waiting\n");
    assert!(run.nothing_is_left());
}

#[test]
fn a_flood_is_cut_and_its_beginning_stays() {
    let mut run = Run::shell("echo first; exec yes");
    run.spec.log_limit_bytes = 10_000;
    assert_eq!(run.run().end, End::LogLimit);
    let log = run.log();
    assert!(log.len() == 10_000 && log.starts_with("first\ny\n"), "{}", log.len());
    assert!(run.nothing_is_left());
}

/// A file system on which nothing more can be written; only root can make one.
struct FullDisk(TempDir);

impl FullDisk {
    fn mount() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "lockstep-test"]).arg(disk.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(())?;
        std::fs::write(disk.path().join("filler"), vec![1; 1 << 20]).unwrap_err();
        Some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_the_command() {
    let Some(disk) = FullDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let mut run = Run::shell("echo first; exec sleep 1000");
    run.spec.log = disk.path().join("log");
    let End::LogBroken { reason } = run.run().end else { panic!() };
    assert!(reason.starts_with("No space left on device"), "{reason}");
    assert!(run.nothing_is_left());
}

#[test]
fn a_full_disk_quota_ends_the_command() {
    let mut run = Run::shell("i=0; while :; do i=$((i+1)); head -c 100000 /dev/zero > file$i; done");
    run.spec.disk_limit_bytes = 5_000_000;
    let End::DiskLimit { bytes } = run.run().end else { panic!() };
    assert!(bytes > 5_000_000);
    assert!(run.nothing_is_left());
}

#[test]
fn one_file_cannot_grow_past_the_quota() {
    let mut run = Run::shell("exec cat /dev/zero > file");
    run.spec.disk_limit_bytes = 5_000_000;
    let end = run.run().end;
    assert!(matches!(end, End::Signalled { signal: 25 } | End::DiskLimit { .. }), "{end:?}");
    assert!(std::fs::metadata(run.path().join("file")).unwrap().len() <= 5_000_000);
}

#[test]
fn background_processes_are_killed_and_named() {
    let run = Run::shell("setsid sleep 1000 & sleep 1000 & echo done");
    let report = run.run();
    assert_eq!(report.end, End::Exited { code: 0 });
    let names: Vec<&str> = report.leftovers.iter().map(|leftover| leftover.name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(run.nothing_is_left());
}

#[test]
fn a_daemon_cannot_escape() {
    let run = Run::python(
        "import os, time\n\
         if os.fork() == 0:\n\
         \tos.setsid()\n\
         \tif os.fork() == 0:\n\
         \t\tos.closerange(0, 100)\n\
         \t\topen('daemon', 'w').write(str(os.getpid()))\n\
         \t\ttime.sleep(1000)\n\
         \tos._exit(0)\n\
         while not (os.path.exists('daemon') and os.path.getsize('daemon')): time.sleep(0.001)\n",
    );
    let report = run.run();
    assert_eq!((report.end, report.clean), (End::Exited { code: 0 }, true));
    let daemon = std::fs::read_to_string(run.path().join("daemon")).unwrap();
    assert!(!is_alive(&daemon) && run.nothing_is_left());
}

#[test]
fn a_chain_of_processes_that_keep_changing_is_ended() {
    let mut run = Run::python(
        "import os\n\
         while True:\n\
         \tif os.fork() != 0: os._exit(0)\n\
         \tos.setsid()\n",
    );
    run.spec.time_limit_ms = 10_000;
    let report = run.run();
    assert_eq!((report.end, report.clean), (End::Exited { code: 0 }, true));
    assert!(run.nothing_is_left());
}

#[test]
fn a_crowd_of_forking_processes_is_ended() {
    let mut run = Run::python(
        "import os\n\
         for _ in range(5): os.fork()\n\
         while True:\n\
         \tif os.fork() == 0: os._exit(0)\n\
         \tos.wait()\n",
    );
    run.spec.time_limit_ms = 1_000;
    let report = run.run();
    assert_eq!((report.end, report.clean), (End::TimedOut, true));
    assert!(run.nothing_is_left());
}

#[test]
fn cancelling_ends_the_command_soon() {
    let run = Run::shell("sleep 1000 & echo $$ > started; sleep 1000");
    let cancel = CancelToken::new();
    let started = run.path().join("started");
    let report = std::thread::scope(|scope| {
        let handle = scope.spawn(|| guard().run(&run.spec, &cancel).unwrap());
        wait_until("the command starts", || started.exists());
        let asked = Instant::now();
        cancel.cancel();
        let report = handle.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        report
    });
    assert_eq!((report.end, report.clean), (End::Abandoned, true));
    assert!(run.nothing_is_left());
    assert!(matches!(guard().run(&run.spec, &cancel), Err(GuardError::Cancelled)));
}

#[test]
fn the_death_of_the_server_ends_the_tree() {
    let run = Run::shell("setsid sleep 1000 & echo $$ > started; sleep 1000");
    let mut server = Command::new("sh")
        .args(["-c", "printf '%s\\n' \"$SPEC\"; exec sleep 1000"])
        .env("SPEC", serde_json::to_string(&run.spec).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = server.stdout.take().unwrap();
    let mut child = Command::new(&guard().0[0]).stdin(pipe).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the command starts", || run.path().join("started").exists());
    server.kill().unwrap();
    server.wait().unwrap();
    child.wait().unwrap();
    assert!(run.nothing_is_left());
}

#[test]
fn closing_the_pipe_ends_the_tree_and_the_report_says_so() {
    let run = Run::shell("setsid sleep 1000 & echo $$ > started; sleep 1000");
    let mut child = Command::new(&guard().0[0]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    writeln!(pipe, "{}", serde_json::to_string(&run.spec).unwrap()).unwrap();
    wait_until("the command starts", || run.path().join("started").exists());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let report: GuardReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.end, report.clean), (End::Abandoned, true));
    assert!(run.nothing_is_left());
}

#[test]
fn a_command_that_kills_its_guard_is_swept_away() {
    let run = Run::shell("setsid sleep 1000 & sleep 1000 & kill -KILL $PPID; sleep 1000");
    let error = guard().run(&run.spec, &CancelToken::new()).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "the build guard ended without a report; its processes have been killed");
    assert!(run.nothing_is_left());
}

#[test]
fn a_guard_without_a_task_says_so() {
    let output = Command::new(&guard().0[0]).stdin(Stdio::null()).output().unwrap();
    let report: GuardReport = serde_json::from_slice(&output.stdout).unwrap();
    assert!(matches!(report.end, End::NotStarted { .. }), "{report:?}");
}
