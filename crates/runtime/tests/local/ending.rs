//! What is left of an instance that has ended, and what one that runs can put in the way.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use lockstep_domain::InstanceState;
use lockstep_domain::run::Probe;
use lockstep_runtime::Follow;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{eventually, kill, pid_of, runs};
use crate::fixture::Fixture;

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_instance_leaves_its_log_and_nothing_else_also_for_the_next_server() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["fork"]).await;
    let folder = fixture.folder(&instance.id);
    fs::create_dir_all(folder.join("work/deep/er")).unwrap();
    fs::write(folder.join("work/deep/er/large"), vec![0; 1_000_000]).unwrap();
    pipe(&folder.join("tmp/pipe"));
    symlink("/etc", folder.join("tmp/link")).unwrap();
    let mut followed = fixture.log(&instance.id, Follow::Yes);
    fixture.stop(&instance.id).await;
    eventually("its folder is gone", || !folder.exists()).await;
    let kept = fixture.root().join("ended/testing/orders").join(instance.id.as_str());
    eventually("only the log is left", || {
        let places = fs::read_dir(&kept).into_iter().flatten().flatten();
        let mut names: Vec<_> = places
            .flat_map(|place| fs::read_dir(place.path()).unwrap().flatten())
            .map(|e| e.file_name())
            .collect();
        names.sort();
        names == ["ended.json", "log", "status.json"]
    })
    .await;
    let mut last = String::new();
    while let Some(line) = followed.next_line().await.unwrap() {
        last = line;
    }
    assert!(last.ends_with("lockstep stopped"), "{last}");
    for _ in 0..2 {
        assert_eq!(fixture.driver().instance(&instance.id).unwrap().state, InstanceState::Stopped);
        assert!(fixture.log(&instance.id, Follow::Yes).next_line().await.unwrap().is_some());
        fixture.reopen().await;
    }
    fixture.driver().remove(&instance.id).await.unwrap();
    assert!(fixture.driver().instance(&instance.id).is_none());
    assert!(fixture.log(&instance.id, Follow::No).next_line().await.unwrap().is_some());
    let of_another = fixture.driver().log(&"production".parse().unwrap(), &instance.id, Follow::No);
    assert!(of_another.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_ended_while_no_server_ran_is_put_away_by_the_next() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let folder = fixture.folder(&instance.id);
    fixture.driver = None;
    fs::write(folder.join("stop"), "").unwrap();
    fixture.supervisors().into_iter().for_each(kill);
    fixture.reopen().await;
    eventually("its folder is gone", || !folder.exists()).await;
    assert!(fixture.processes().is_empty());
    assert!(fixture.log(&instance.id, Follow::No).next_line().await.unwrap().is_some());
}

/// An instance on a kernel without Landlock can write to its folder.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_instance_puts_in_its_folder_the_server_waits_for_none_of_it() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let folder = fixture.folder(&instance.id);
    let pid = pid_of(&instance);
    for name in [
        "status.json",
        "status.json.new",
        "told/routed",
        "told/routed.new",
        "supervisor.log",
        "lock",
        "log/1",
        "log/lost",
    ] {
        pipe(&folder.join(name));
    }
    let _ = fs::remove_file(folder.join("control"));
    let full = UnixListener::bind(folder.join("control")).unwrap();
    let mut reader = fixture.log(&instance.id, Follow::No);
    tokio::time::timeout(Duration::from_secs(60), async {
        while reader.next_line().await.unwrap().is_some() {}
    })
    .await
    .expect("the log is read without waiting");
    fixture.driver().tell_routed(&instance.id, true).unwrap();
    assert_eq!(fs::read(folder.join("told/routed")).unwrap(), b"yes\n");
    // The next server finds no supervisor and a socket at which nobody answers.
    fixture.driver = None;
    fixture.supervisors().into_iter().for_each(kill);
    eventually("no supervisor is left", || fixture.supervisors().is_empty()).await;
    tokio::time::timeout(Duration::from_secs(60), fixture.reopen()).await.expect("it opens without waiting");
    assert!(runs(pid), "nothing of it ended the process");
    drop(full);
    fs::remove_file(folder.join("control")).unwrap();
    for name in ["supervisor.log", "lock"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    fixture.driver().stop(&instance.id).await.unwrap();
    fixture.wait_until(&instance.id, |instance| instance.state == InstanceState::Stopped).await;
    eventually("its folder is gone", || !folder.exists()).await;
    assert!(fixture.processes().is_empty());
}

/// Goes on until a file is there, and says that it is through.
const WORKS: &str = "while [ ! -e go ]; do sleep 0.01; done; echo through";

/// Runs a shell that starts others, asks it to end, and lets them finish when this is in its log; returns the log.
async fn told_to_end(program: &str, until: &str) -> Vec<String> {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.run.command = ["sh", "-c", &program.replace("WORKS", WORKS)].map(str::to_owned).to_vec();
    spec.run.health.probe = Probe::Command { command: ["test", "-e", "up"].map(str::to_owned).to_vec() };
    let id = fixture.start(spec).await;
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    let mut log = fixture.log(&id, Follow::Yes);
    fixture.driver().stop(&id).await.unwrap();
    let mut said = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        if line.ends_with(until) {
            fs::write(fixture.folder(&id).join("work/go"), "").unwrap();
        }
        said.push(line);
    }
    fixture.wait_until(&id, |instance| instance.state == InstanceState::Stopped).await;
    assert!(fixture.processes().is_empty());
    said
}

fn has(said: &[String], words: &str) -> bool {
    said.iter().any(|line| line.ends_with(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_its_own_processes_is_asked_alone() {
    let said = told_to_end(
        "trap 'echo asked; wait; echo finished' TERM; (WORKS) & touch up; wait; wait",
        "out asked",
    )
    .await;
    assert!(has(&said, "out through") && has(&said, "out finished"), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_launcher_has_left_is_asked_after_it_and_may_finish() {
    let said = told_to_end(
        "(trap 'WORKS; exit' TERM; touch up; while :; do sleep 0.01; done) & wait",
        "asked to end as well",
    )
    .await;
    assert!(has(&said, "asked to end as well") && has(&said, "out through"), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_and_does_not_end_is_killed_when_the_time_is_over() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    let program = "(trap '' TERM; touch up; while :; do sleep 0.01; done) & wait";
    spec.run.command = ["sh", "-c", program].map(str::to_owned).to_vec();
    spec.run.health.probe = Probe::Command { command: ["test", "-e", "up"].map(str::to_owned).to_vec() };
    spec.run.stop.timeout_ms = 300;
    let id = fixture.start(spec).await;
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    fixture.stop(&id).await;
    assert!(fixture.processes().is_empty());
}
