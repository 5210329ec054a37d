//! Build steps that fail, hang, flood or leave something behind.

use std::fs;
use std::time::{Duration, Instant};

use lockstep_pipeline::BuildFault;
use lockstep_pipeline::guard::End;

use crate::bench::Bench;
use crate::support::{processes_with, wait_until};

#[test]
fn a_failing_step_says_which_how_and_its_last_lines() {
    let bench = Bench::new(
        "[build]\nsteps = [[\"true\"], [\"sh\", \"-c\", \"echo compiling; echo no such file; exit 3\"], [\"true\"]]\n[package]\ninclude = [\"**\"]\n",
    );
    let failure = bench.failure();
    let text = failure.to_string();
    assert!(text.starts_with("build failed: build step 2 of 3, `sh -c "), "{text}");
    assert!(text.ends_with("ended with exit code 3"), "{text}");
    assert_eq!(failure.last_lines.last().unwrap(), "no such file");
    assert_eq!(failure.hint(), "the whole log: `lockstep logs b1`");
}

#[test]
fn a_step_that_hangs_is_killed_with_everything_it_started() {
    let bench = Bench::step("setsid sleep 1000 & sleep 1000", "timeout = \"1s\"\n");
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::Step { end: End::TimedOut, .. }), "{failure}");
    assert!(failure.to_string().ends_with("did not end within 1000 ms and was killed"), "{failure}");
}

#[test]
fn a_flood_fails_the_step_and_keeps_the_beginning() {
    let bench = Bench::step("echo first; exec yes", "log_limit = \"64KiB\"\n");
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::Step { end: End::LogLimit, .. }), "{failure}");
    let log = bench.log();
    assert!(log.contains("\nfirst\ny\n") && log.len() < 128 * 1024, "{}", log.len());
}

#[test]
fn a_filled_disk_quota_fails_the_step() {
    let bench =
        Bench::step("while :; do i=x$i; head -c 1000000 /dev/zero > f$i; done", "disk_limit = \"20MiB\"\n");
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::Step { end: End::DiskLimit { .. }, .. }), "{failure}");
}

#[test]
fn a_daemon_of_a_step_is_killed_and_mentioned() {
    let bench = Bench::step("(setsid sleep 1000 >/dev/null 2>&1 &) ; echo done", "");
    bench.run().unwrap();
    assert!(bench.log().contains("was still running and has been killed"), "{}", bench.log());
    assert!(processes_with(bench.folder.path().to_str().unwrap()).is_empty());
}

#[test]
fn an_unknown_program_is_told_from_a_failing_one() {
    let failure =
        Bench::new("[build]\nsteps = [\"no-such-compiler -x\"]\n[package]\ninclude = [\"**\"]\n").failure();
    let text = failure.to_string();
    assert!(text.ends_with("could not be started: the program `no-such-compiler` was not found"), "{text}");
}

#[test]
fn cancelling_leaves_no_process_and_no_half_result() {
    let bench = Bench::step("setsid sleep 1000 & echo $$ > started; sleep 1000", "");
    let started = bench.request.work_folder.join("source/started");
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| bench.run().map(|_| ()).unwrap_err());
        wait_until("the step starts", || started.exists());
        let asked = Instant::now();
        bench.cancel.cancel();
        let failure = handle.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(matches!(failure.fault, BuildFault::Cancelled), "{failure}");
    });
    bench.nothing_is_left();
    assert!(matches!(bench.failure().fault, BuildFault::Cancelled));
}

#[test]
fn a_build_reaches_nothing_of_lockstep_and_of_other_builds() {
    if lockstep_confine::available() != lockstep_confine::Confinement::Whole {
        eprintln!("this kernel cannot confine: nothing was tried");
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let bench = Bench::step(
        "try() { name=$1; shift; if sh -c \"$*\" >/dev/null 2>&1; then echo \"$name works\"; else echo \"$name fails\"; fi; }
         try 'read a secret' cat ../../secrets/password
         try 'read the journal' cat ../../journal.db
         try 'read another build' cat ../../other/source/file
         try 'list the data folder' ls ../..
         try 'write the journal' 'echo x >> ../../journal.db'
         try 'write its log' 'echo x >> ../log'
         try 'read the environment of the server' cat /proc/$SERVER/environ
         try 'signal the server' kill -0 $SERVER
         try 'write into /etc' 'echo x > /etc/lockstep-test'
         echo -- what an ordinary build does
         try 'write its checkout' 'mkdir -p target/a && echo x > target/a/b && ln target/a/b target/c'
         try 'write temporary files' 'echo x > $(mktemp)'
         try 'write a cache in the home folder' 'mkdir -p $HOME/.cache/x && echo x > $HOME/.cache/x/y'
         try 'make a cache in the home folder' 'mkdir -p $HOME/.new/x'
         try 'move from the cache' 'mv $HOME/.cache/x/y target/y'
         try 'read the system' cat /etc/passwd
         try 'signal itself' 'sleep 100 & kill $!'
         try 'throw away' 'echo x > /dev/null'
",
        "variables = [\"SERVER\"]\n",
    );
    let data = bench.folder.path();
    for (file, text) in [("secrets/password", "horse"), ("journal.db", "records"), ("other/source/file", "x")]
    {
        fs::create_dir_all(data.join(file).parent().unwrap()).unwrap();
        fs::write(data.join(file), text).unwrap();
    }
    let mut bench = bench;
    let host = std::mem::take(&mut bench.request.host);
    let home = outside.path().to_str().unwrap();
    bench.request.host = host.with("SERVER", &std::process::id().to_string()).with("HOME", home);
    bench.run().unwrap();
    let log = bench.log();
    let log: Vec<&str> = log.lines().filter(|line| !line.starts_with("==>")).collect();
    let middle = log.iter().position(|line| line.starts_with("--")).unwrap();
    let wrong = |lines: &[&str], end: &str| {
        lines.iter().filter(|line| !line.ends_with(end)).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((middle, log.len()), (9, 18), "{log:#?}");
    assert_eq!(wrong(&log[..middle], " fails"), Vec::<String>::new());
    assert_eq!(wrong(&log[middle + 1..], " works"), Vec::<String>::new());
}
