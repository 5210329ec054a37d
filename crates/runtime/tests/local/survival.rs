//! What dies and what goes on: the server, supervisors and processes are killed at bad moments.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use lockstep_domain::preparation::Preparation;
use lockstep_domain::{Instance, InstanceState};
use lockstep_runtime::{LocalDriver, OpenError, RemoveError, StartError, SupervisorCommand};
use rustix::process::{Pid, Signal, getsid};

use crate::common::{eventually, get, kill, pid_of, runs, signal};
use crate::fixture::{Fixture, open};

/// Where the process that is to be killed finds the folder of its driver.
const OWNER_ROOT: &str = "LOCKSTEP_TEST_OWNER_ROOT";

#[tokio::test]
async fn instances_outlive_the_driver_and_are_adopted_without_a_restart() {
    let mut fixture = Fixture::new().await;
    let before = fixture.start_healthy(&[]).await;
    let (pid, supervisors) = (pid_of(&before), fixture.supervisors());
    fixture.driver = None;
    assert_eq!(pid_of(&before), pid);
    fixture.reopen().await;
    assert_eq!(fixture.driver().instance(&before.id).as_ref(), Some(&before));
    assert_eq!((pid_of(&before), fixture.supervisors()), (pid, supervisors));
    fixture.stop(&before.id).await;
    assert!(fixture.processes().is_empty());
}

/// Not a test: the process that the next one kills.
#[tokio::test]
async fn owner_process() {
    let Some(root) = std::env::var_os(OWNER_ROOT) else { return };
    let _driver = open(&PathBuf::from(root)).await;
    println!("owner is ready");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn killing_the_server_leaves_every_instance_serving() {
    let mut fixture = Fixture::new().await;
    let instances = [fixture.start_healthy(&[]).await, fixture.start_healthy(&["fork"]).await];
    let pids = instances.each_ref().map(pid_of);
    // A supervisor that belongs to the process to be killed, and one that does not.
    kill(fixture.supervisors()[0]);
    fixture.driver = None;
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.args(["--exact", "survival::owner_process", "--nocapture"]).env(OWNER_ROOT, fixture.root());
    let mut owner = owner.stdout(Stdio::piped()).spawn().unwrap();
    let said = std::io::BufReader::new(owner.stdout.take().unwrap());
    assert!(std::io::BufRead::lines(said).map_while(Result::ok).any(|line| line.contains("owner is ready")));
    eventually("both are supervised", || fixture.supervisors().len() == 2).await;
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(instances.each_ref().map(pid_of), pids);
    fixture.reopen().await;
    for instance in &instances {
        let again = fixture.driver().instance(&instance.id).unwrap();
        assert_eq!((again.state, again.restarts), (InstanceState::Healthy, 0));
    }
    assert_eq!(instances.each_ref().map(pid_of), pids);
}

#[tokio::test]
async fn a_supervisor_is_in_a_session_of_its_own() {
    let fixture = Fixture::new().await;
    fixture.start_healthy(&[]).await;
    for supervisor in fixture.supervisors() {
        let supervisor = Pid::from_raw(supervisor).unwrap();
        assert_eq!(getsid(Some(supervisor)).unwrap(), supervisor);
    }
}

#[tokio::test]
async fn a_killed_supervisor_is_replaced_and_its_process_goes_on() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["fork"]).await;
    let pid = pid_of(&instance);
    for _ in 0..5 {
        let old = fixture.supervisors();
        kill(old[0]);
        eventually(
            "there is a new supervisor",
            || matches!(fixture.supervisors()[..], [new] if new != old[0]),
        )
        .await;
    }
    let after = fixture.wait_until(&instance.id, |instance| instance.state.is_healthy()).await;
    assert_eq!((pid_of(&after), after.restarts), (pid, 0));
    // The new one watches: an end is noticed, and stopping ends everything.
    kill(pid);
    fixture.wait_until(&instance.id, |instance| instance.restarts == 1 && instance.state.is_healthy()).await;
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_of_a_start_leaves_one_healthy_process() {
    let fixture = Fixture::new().await;
    // The pauses are the moments to be tried, not something that is waited for.
    for moment in 0..12 {
        let id = fixture.start(fixture.spec(&[])).await;
        tokio::time::sleep(Duration::from_millis(moment * 2)).await;
        fixture.supervisors().into_iter().for_each(kill);
        let healthy = |instance: &Instance| instance.state.is_healthy();
        fixture.wait_until(&id, healthy).await;
        eventually("it is the only one", || fixture.processes().len() == 1).await;
        fixture.stop(&id).await;
        assert!(fixture.processes().is_empty(), "killed after {} ms", moment * 2);
    }
}

#[tokio::test]
async fn a_server_and_a_supervisor_killed_at_any_moment_of_a_preparation_leave_one_healthy_process() {
    let mut fixture = Fixture::new().await;
    for moment in 0..12 {
        let mut spec = fixture.spec(&[]);
        let command = ["sh", "-c", "sleep 0.01; (sleep 1000 &) ; sleep 0.01"].map(str::to_owned).to_vec();
        spec.run.prepare = Some(Preparation { command, timeout_ms: 60_000 });
        let id = fixture.start(spec).await;
        tokio::time::sleep(Duration::from_millis(moment * 4)).await;
        fixture.driver = None;
        fixture.supervisors().into_iter().for_each(kill);
        fixture.reopen().await;
        let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
        eventually("it is the only one", || fixture.processes() == [pid_of(&instance)]).await;
        fixture.stop(&id).await;
        assert!(fixture.processes().is_empty(), "killed after {} ms", moment * 4);
    }
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_of_a_stop_leaves_nothing() {
    let fixture = Fixture::new().await;
    for moment in 0..12 {
        let mut spec = fixture.spec(&["stubborn", "fork"]);
        spec.run.stop.timeout_ms = 10;
        let id = fixture.start(spec).await;
        fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
        fixture.driver().stop(&id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(moment * 2)).await;
        fixture.supervisors().into_iter().for_each(kill);
        fixture.wait_until(&id, |instance| instance.state == InstanceState::Stopped).await;
        assert!(fixture.processes().is_empty(), "killed after {} ms", moment * 2);
    }
}

#[tokio::test]
async fn output_written_while_nobody_supervises_reaches_the_log() {
    let mut fixture = Fixture::new().await;
    let mut spec = fixture.spec(&["moody", "say=MOOD_FILE"]);
    spec.run.health.probe = lockstep_domain::run::Probe::Tcp;
    spec.variables.insert("MOOD_FILE".to_owned(), "mood".to_owned());
    let id = fixture.start(spec).await;
    let mood = fixture.folder(&id).join("work/mood");
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    let pid = pid_of(&instance);
    fixture.driver = None;
    fixture.supervisors().into_iter().for_each(kill);
    eventually("no supervisor is left", || fixture.supervisors().is_empty()).await;
    std::fs::write(&mood, "said to nobody").unwrap();
    eventually("it was said", || !mood.exists()).await;
    fixture.reopen().await;
    let log = fixture.driver().log_path(&id).join("current");
    eventually("it is in the log", || std::fs::read_to_string(&log).unwrap().contains(" out said to nobody"))
        .await;
    assert_eq!(pid_of(&instance), pid);
}

#[tokio::test]
async fn a_process_that_dies_while_nobody_watches_is_started_again() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["fork"]).await;
    let pid = pid_of(&instance);
    fixture.driver = None;
    fixture.supervisors().into_iter().for_each(kill);
    kill(pid);
    eventually("it is dead", || !runs(pid)).await;
    fixture.reopen().await;
    let again = fixture
        .wait_until(&instance.id, |instance| instance.restarts == 1 && instance.state.is_healthy())
        .await;
    assert_eq!(again.address, instance.address);
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn a_port_taken_by_another_before_a_restart_fails_the_instance_and_names_the_holder() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.run.restart.backoff_ms = 1_000;
    let id = fixture.start(spec).await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    kill(pid_of(&instance));
    fixture.wait_until(&id, |instance| instance.restarts == 1).await;
    let listener = TcpListener::bind(instance.address.unwrap()).unwrap();
    let reason = fixture.wait_failed(&id).await;
    let port = listener.local_addr().unwrap().port();
    assert!(reason.starts_with(&format!("port {port} is in use by `")), "{reason}");
    assert!(reason.contains(&format!("(pid {})", std::process::id())), "{reason}");
}

#[tokio::test]
async fn a_frozen_supervisor_keeps_its_instance_and_takes_requests_up_again() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let supervisor = fixture.supervisors()[0];
    signal(supervisor, Signal::STOP);
    fixture.driver().stop(&instance.id).await.unwrap();
    get(instance.address.unwrap());
    signal(supervisor, Signal::CONT);
    fixture.wait_until(&instance.id, |instance| instance.state == InstanceState::Stopped).await;
}

#[tokio::test]
async fn what_was_told_to_end_is_stopping_before_its_supervisor_knows_and_after_the_server_died() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let supervisor = fixture.supervisors()[0];
    signal(supervisor, Signal::STOP);
    fixture.driver().stop(&instance.id).await.unwrap();
    let state = |fixture: &Fixture| fixture.driver().instance(&instance.id).unwrap().state;
    assert_eq!(state(&fixture), InstanceState::Stopping);
    fixture.reopen().await;
    assert_eq!(state(&fixture), InstanceState::Stopping);
    get(instance.address.unwrap());
    signal(supervisor, Signal::CONT);
    fixture.wait_until(&instance.id, |instance| instance.state == InstanceState::Stopped).await;
}

#[tokio::test]
async fn a_server_that_died_between_the_mark_and_the_word_to_the_supervisor_has_told_it_all_the_same() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    fixture.driver = None;
    std::fs::write(fixture.folder(&instance.id).join("stop"), "").unwrap();
    fixture.reopen().await;
    fixture.wait_until(&instance.id, |instance| instance.state == InstanceState::Stopped).await;
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn what_was_half_made_or_half_removed_is_gone_after_opening() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    fixture.driver = None;
    let rests = [".new-orders-9", ".old-orders-8"].map(|name| fixture.root().join("instances").join(name));
    let unpacking = fixture.root().join("releases/.new-abc");
    for rest in rests.iter().chain([&unpacking]) {
        std::fs::create_dir_all(rest.join("log")).unwrap();
    }
    fixture.reopen().await;
    assert!(rests.iter().chain([&unpacking]).all(|rest| !rest.exists()));
    assert_eq!(fixture.driver().list(), [instance]);
}

#[tokio::test]
async fn a_damaged_status_is_made_anew_and_leaves_one_process() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["fork"]).await;
    fixture.driver = None;
    fixture.supervisors().into_iter().for_each(kill);
    eventually("no supervisor is left", || fixture.supervisors().is_empty()).await;
    std::fs::write(fixture.folder(&instance.id).join("status.json"), "{\"format\":1,\"sta").unwrap();
    fixture.reopen().await;
    fixture.wait_until(&instance.id, |instance| instance.state.is_healthy()).await;
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn a_second_driver_in_the_same_folder_is_refused() {
    let fixture = Fixture::new().await;
    let second = LocalDriver::open(fixture.root(), crate::fixture::supervisor()).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn a_supervisor_that_cannot_be_started_leaves_nothing() {
    let mut fixture = Fixture::new().await;
    fixture.driver = None;
    let missing = SupervisorCommand(vec!["/no/such/supervisor".into()]);
    fixture.driver = Some(LocalDriver::open(fixture.root(), missing).await.unwrap());
    let spec = fixture.spec(&[]);
    let error = fixture.driver().start(spec.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Supervisor { .. }));
    assert!(!fixture.folder(&spec.id).exists() && fixture.driver().list().is_empty());
}

#[tokio::test]
async fn a_supervisor_that_only_dies_fails_the_instance_with_what_it_said() {
    let mut fixture = Fixture::new().await;
    fixture.driver = None;
    let words = ["sh", "-c", "echo no such luck >&2; exit 1"].map(Into::into).to_vec();
    fixture.driver = Some(LocalDriver::open(fixture.root(), SupervisorCommand(words)).await.unwrap());
    let id = fixture.start(fixture.spec(&[])).await;
    assert_eq!(fixture.wait_failed(&id).await, "its supervisor does not work: no such luck");
}

#[tokio::test]
async fn an_instance_that_was_only_written_down_is_started_after_opening() {
    let mut fixture = Fixture::new().await;
    fixture.driver = None;
    let silent = SupervisorCommand(vec!["true".into()]);
    fixture.driver = Some(LocalDriver::open(fixture.root(), silent).await.unwrap());
    let id = fixture.start(fixture.spec(&[])).await;
    fixture.reopen().await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    assert_eq!(instance.restarts, 0);
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_told_and_written_later() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let folder = fixture.folder(&instance.id);
    // As on a full disk: the next status has no place.
    std::fs::create_dir(folder.join("status.json.new")).unwrap();
    kill(pid_of(&instance));
    let again = fixture
        .wait_until(&instance.id, |instance| instance.restarts == 1 && instance.state.is_healthy())
        .await;
    let stored = || std::fs::read_to_string(folder.join("status.json")).unwrap();
    assert!(stored().contains("\"restarts\":0"), "{}", stored());
    std::fs::remove_dir(folder.join("status.json.new")).unwrap();
    eventually("it is written", || stored().contains("\"restarts\":1")).await;
    assert!(runs(pid_of(&again)));
}

#[tokio::test]
async fn a_start_given_up_half_way_is_taken_up_by_the_next_and_never_removed_while_it_runs() {
    let fixture = Fixture::new().await;
    let spec = fixture.spec(&[]);
    {
        let mut start = std::pin::pin!(fixture.driver().start(spec.clone()));
        let begun = std::future::poll_fn(|context| Poll::Ready(start.as_mut().poll(context))).await;
        assert!(begun.is_pending());
    }
    assert!(fixture.driver().list().is_empty());
    eventually("it was written down all the same", || fixture.folder(&spec.id).exists()).await;
    assert!(matches!(fixture.driver().remove(&spec.id).await, Err(RemoveError::Runs { .. })));
    let id = fixture.start(spec).await;
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    assert_eq!(fixture.processes().len(), 1);
    fixture.stop(&id).await;
}

#[tokio::test]
async fn an_instance_whose_folder_is_deleted_ends_and_one_whose_folder_is_renamed_does_not() {
    let fixture = Fixture::new().await;
    let (deleted, renamed) = (fixture.start_healthy(&["fork"]).await, fixture.start_healthy(&[]).await);
    let pid = pid_of(&renamed);
    std::fs::rename(fixture.folder(&renamed.id), fixture.root().join("elsewhere")).unwrap();
    std::fs::remove_dir_all(fixture.folder(&deleted.id)).unwrap();
    fixture.wait_until(&deleted.id, |instance| instance.state == InstanceState::Stopped).await;
    assert_eq!((fixture.processes(), pid_of(&renamed)), (vec![pid], pid));
}
