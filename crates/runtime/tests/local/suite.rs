//! What every driver must do, asked through the port. Another driver takes this file into its tests beside a `fixture` of its own.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use lockstep_domain::InstanceState;
use lockstep_domain::preparation::Preparation;
use lockstep_domain::run::{Port, Probe};
use lockstep_runtime::{Follow, InstanceSpec, RemoveError, StartError, StopError, Unpacked};

use crate::common::{eventually, get, kill, pid_of, runs};
use crate::fixture::Fixture;

#[tokio::test]
async fn an_instance_becomes_healthy_and_stopping_it_leaves_no_process() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    assert!(runs(pid_of(&instance)));
    assert_eq!(instance.restarts, 0);
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
    eventually("the supervisor ends too", || fixture.supervisors().is_empty()).await;
}

#[tokio::test]
async fn the_process_runs_in_a_folder_of_its_own_with_the_variables_of_the_specification_and_few_others() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.run.variables.insert("LEVEL".to_owned(), "info".to_owned());
    spec.run.variables.insert("REGION".to_owned(), "north".to_owned());
    spec.variables.insert("LEVEL".to_owned(), "debug".to_owned());
    let id = fixture.start(spec).await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    let answer = get(instance.address.unwrap());
    let port = format!("PORT={}", instance.address.unwrap().port());
    for wanted in ["LEVEL=debug", "REGION=north", "HOST=127.0.0.1", &port, &format!("LOCKSTEP_INSTANCE={id}")]
    {
        assert!(answer.lines().any(|line| line == wanted), "{wanted} is missing in {answer}");
    }
    assert!(
        answer
            .lines()
            .any(|line| line.starts_with("cwd=") && line.ends_with(&format!("/instances/{id}/work")))
    );
    assert!(!answer.contains("CARGO"), "variables of this process must not be handed on: {answer}");
}

#[tokio::test]
async fn an_instance_listens_on_the_address_that_its_host_has_for_that() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.listen = Some("127.0.0.9".parse().unwrap());
    let id = fixture.start(spec).await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    let address = instance.address.unwrap();
    assert_eq!(address.ip().to_string(), "127.0.0.9");
    assert!(get(address).lines().any(|line| line == "HOST=127.0.0.9"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", address.port())).is_err());
}

#[tokio::test]
async fn secrets_are_readable_by_the_owner_only() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.variables.insert("PASSWORD".to_owned(), "correct horse".to_owned());
    let id = fixture.start(spec).await;
    let mode = |name: &str| fixture.folder(&id).join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("spec.json")), (0o700, 0o600));
}

#[tokio::test]
async fn an_instance_that_never_becomes_healthy_fails_and_says_what_the_check_said() {
    for (mode, wanted) in [
        ("unhealthy", "answered with status 503"),
        ("deaf", "nothing listens on port"),
        ("garbage", "was answered with `\\x16\\x03\\x01\\x02 this is not HTTP at all\\r`, which is not HTTP"),
    ] {
        let fixture = Fixture::new().await;
        let mut spec = fixture.spec(&[mode]);
        spec.run.health.start_timeout_ms = 300;
        let id = fixture.start(spec).await;
        let reason = fixture.wait_failed(&id).await;
        assert!(reason.starts_with("not healthy within 300 ms: ") && reason.contains(wanted), "{reason}");
        assert!(reason.contains("the end of its log:") && reason.contains(" out begins as "), "{reason}");
        assert!(fixture.processes().is_empty(), "{mode}");
    }
}

#[tokio::test]
async fn an_instance_that_dies_again_and_again_fails_with_its_exit_code_and_the_end_of_its_log() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&["die=1", "deaf"]);
    spec.run.restart.max_restarts = 2;
    let id = fixture.start(spec).await;
    let reason = fixture.wait_failed(&id).await;
    assert!(reason.starts_with("ended 3 times in a row, the last time with exit code 3\n"), "{reason}");
    assert!(reason.contains(" err dies as it was told"), "{reason}");
    assert_eq!(fixture.port().instance(&id).unwrap().restarts, 2);
}

#[tokio::test]
async fn an_instance_that_is_killed_is_unhealthy_and_then_runs_again() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let before = pid_of(&instance);
    let mut watch = fixture.port().watch();
    kill(before);
    let is_unhealthy = |state: &InstanceState| match state {
        InstanceState::Unhealthy { reason } => {
            reason.starts_with("ended with signal 9 (KILL); restart 1 of 5")
        }
        _ => false,
    };
    watch.wait_for(|all| is_unhealthy(&all[&instance.id].state)).await.unwrap();
    let after = fixture.wait_until(&instance.id, |instance| instance.state.is_healthy()).await;
    assert_eq!(after.restarts, 1);
    assert_eq!(after.address, instance.address);
    assert_ne!(pid_of(&after), before);
}

#[tokio::test]
async fn an_instance_that_loses_and_regains_its_health_is_not_restarted() {
    let fixture = Fixture::new().await;
    let mood = fixture.root().join("mood");
    std::fs::write(&mood, "").unwrap();
    let mut spec = fixture.spec(&["moody"]);
    spec.variables.insert("MOOD_FILE".to_owned(), mood.display().to_string());
    let id = fixture.start(spec).await;
    let healthy = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    std::fs::remove_file(&mood).unwrap();
    let unhealthy = fixture.wait_until(&id, |instance| !instance.state.is_healthy()).await;
    let InstanceState::Unhealthy { reason } = unhealthy.state else { panic!("{:?}", unhealthy.state) };
    assert!(reason.ends_with("answered with status 503"), "{reason}");
    std::fs::write(&mood, "").unwrap();
    let again = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    assert_eq!((again.restarts, pid_of(&again)), (0, pid_of(&healthy)));
}

#[tokio::test]
async fn an_instance_that_ignores_the_signal_is_killed() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&["stubborn"]);
    spec.run.stop.timeout_ms = 100;
    let id = fixture.start(spec).await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    let pid = pid_of(&instance);
    fixture.stop(&id).await;
    assert!(!runs(pid));
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn processes_that_left_the_group_and_the_session_are_killed_too() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["fork"]).await;
    eventually("the stray process runs", || fixture.processes().len() >= 2).await;
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn a_restart_clears_what_the_process_before_has_left() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["fork"]).await;
    eventually("the stray process runs", || fixture.processes().len() >= 2).await;
    let before = fixture.processes();
    kill(pid_of(&instance));
    fixture.wait_until(&instance.id, |instance| instance.restarts == 1 && instance.state.is_healthy()).await;
    assert!(before.into_iter().all(|pid| !runs(pid)));
}

/// Lets a shell run before each start, for a minute at most.
fn prepared(fixture: &Fixture, script: &str) -> InstanceSpec {
    let mut spec = fixture.spec(&[]);
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    spec.run.prepare = Some(Preparation { command, timeout_ms: 60_000 });
    spec
}

#[tokio::test]
async fn what_comes_before_runs_like_the_instance_before_each_start_and_is_marked_in_the_log() {
    let fixture = Fixture::new().await;
    let script = "echo warming $LEVEL for $LOCKSTEP_INSTANCE; pwd; echo no trouble >&2; \
                  (sleep 1000 &); echo x >> warm; env | grep -c ^PORT=";
    let mut spec = prepared(&fixture, script);
    spec.variables.insert("LEVEL".to_owned(), "north".to_owned());
    let id = fixture.start(spec).await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    let work = fixture.folder(&id).join("work");
    assert_eq!(std::fs::read_to_string(work.join("warm")).unwrap(), "x\n");
    assert_eq!(fixture.processes(), [pid_of(&instance)], "what it has left is ended");
    let log = std::fs::read_to_string(fixture.folder(&id).join("log/current")).unwrap();
    let of =
        |line: &str| log.lines().position(|it| it.ends_with(line)).unwrap_or_else(|| panic!("{line}: {log}"));
    assert!(
        of(&format!(" out prepare: warming north for {id}"))
            < of(&format!(" out prepare: {}", work.display()))
    );
    assert!(
        of(" err prepare: no trouble") < of(" out listens") && of(" out prepare: 1") < of(" out listens")
    );
    kill(pid_of(&instance));
    fixture.wait_until(&id, |instance| instance.restarts == 1 && instance.state.is_healthy()).await;
    assert_eq!(std::fs::read_to_string(work.join("warm")).unwrap(), "x\nx\n");
}

#[tokio::test]
async fn what_comes_before_and_fails_or_takes_too_long_fails_the_instance_with_what_it_said() {
    let fixture = Fixture::new().await;
    let mut spec = prepared(&fixture, "echo no cache at all; exit 7");
    spec.run.restart.max_restarts = 1;
    let id = fixture.start(spec).await;
    let reason = fixture.wait_failed(&id).await;
    let wanted = "ended 2 times in a row, the last time with exit code 7 of its `prepare` command\n";
    assert!(reason.starts_with(wanted) && reason.contains(" out prepare: no cache at all"), "{reason}");
    let mut spec = prepared(&fixture, "echo looks for it; sleep 1000");
    spec.run.prepare.as_mut().unwrap().timeout_ms = 300;
    let id = fixture.start(spec).await;
    let reason = fixture.wait_failed(&id).await;
    assert!(reason.starts_with("its `prepare` command had not ended after 300 ms\n"), "{reason}");
    assert!(reason.contains(" out prepare: looks for it"), "{reason}");
    let mut spec = prepared(&fixture, "");
    spec.run.prepare.as_mut().unwrap().command = vec!["./is-not-there".to_owned()];
    let id = fixture.start(spec).await;
    let reason = fixture.wait_failed(&id).await;
    assert!(reason.starts_with("`./is-not-there` cannot be started: "), "{reason}");
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn a_stop_while_something_comes_before_ends_it_and_starts_nothing() {
    let fixture = Fixture::new().await;
    let mut spec = prepared(&fixture, "trap '' TERM; echo begun > begun; while :; do sleep 0.05; done");
    spec.run.stop.timeout_ms = 100;
    let id = fixture.start(spec).await;
    let begun = fixture.folder(&id).join("work/begun");
    eventually("it has begun", || begun.exists()).await;
    fixture.stop(&id).await;
    assert!(fixture.processes().is_empty());
    let (mut lines, mut seen) = (fixture.lines(&id, Follow::No).await, 0);
    while let Some(line) = lines.next_line().await.unwrap() {
        assert!(!line.contains("started process"), "{line}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn a_supervisor_killed_while_something_comes_before_leaves_none_of_it_and_begins_anew() {
    let fixture = Fixture::new().await;
    // What leaves its mark behind is found by its group.
    let script =
        "echo x >> begun; [ -e goes ] || exec env -i sh -c 'echo $$ > bare; while :; do sleep 0.05; done'";
    let id = fixture.start(prepared(&fixture, script)).await;
    let work = fixture.folder(&id).join("work");
    let bare = || std::fs::read_to_string(work.join("bare")).ok().filter(|it| it.ends_with('\n'));
    eventually("it has begun", || bare().is_some()).await;
    let first = bare().unwrap().trim().parse().unwrap();
    std::fs::write(work.join("goes"), "").unwrap();
    fixture.supervisors().into_iter().for_each(kill);
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    assert!(!runs(first));
    assert_eq!(instance.restarts, 0, "no process has ended");
    assert_eq!(std::fs::read_to_string(work.join("begun")).unwrap(), "x\nx\n");
    assert_eq!(fixture.processes(), [pid_of(&instance)]);
}

#[tokio::test]
async fn a_fixed_port_in_use_is_refused_with_its_holder() {
    let fixture = Fixture::new().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut spec = fixture.spec(&[]);
    spec.run.port = Port::Fixed(port);
    let error = fixture.port().start(spec.clone()).await.unwrap_err();
    let wanted = format!("(pid {})", std::process::id());
    assert!(error.to_string().starts_with(&format!("port {port} is in use by `")), "{error}");
    assert!(error.to_string().ends_with(&wanted), "{error}");
    assert!(!fixture.folder(&spec.id).exists() && fixture.port().list().is_empty());

    drop(listener);
    let first = fixture.start(spec).await;
    let mut second = fixture.spec(&[]);
    second.run.port = Port::Fixed(port);
    let error = fixture.port().start(second).await.unwrap_err();
    assert_eq!(error.to_string(), format!("port {port} is in use by instance `{first}`"));
}

#[tokio::test]
async fn instances_started_at_once_get_different_ports() {
    let fixture = Fixture::new().await;
    let start = || fixture.start(fixture.spec(&[]));
    let ids = tokio::join!(start(), start(), start(), start());
    let ids = [ids.0, ids.1, ids.2, ids.3];
    let mut ports = Vec::new();
    for id in &ids {
        let instance = fixture.wait_until(id, |instance| instance.state.is_healthy()).await;
        ports.push(instance.address.unwrap().port());
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), ids.len());
    assert!(ports.iter().all(|port| (20_000..30_000).contains(port)));
}

#[tokio::test]
async fn starting_stopping_and_removing_twice_is_the_same_as_once() {
    let fixture = Fixture::new().await;
    let spec = fixture.spec(&[]);
    let id = fixture.start(spec.clone()).await;
    let instance = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    fixture.port().start(spec.clone()).await.unwrap();
    assert_eq!(fixture.port().list(), [instance]);

    let mut other = spec;
    other.run.command.push("hang".to_owned());
    assert!(matches!(fixture.port().start(other).await, Err(StartError::IdTaken { .. })));

    assert!(matches!(fixture.port().remove(&id).await, Err(RemoveError::Runs { .. })));
    fixture.stop(&id).await;
    fixture.stop(&id).await;
    fixture.port().remove(&id).await.unwrap();
    fixture.port().remove(&id).await.unwrap();
    assert!(fixture.port().list().is_empty());
    eventually("its folder is put away", || !fixture.folder(&id).exists()).await;
    assert!(matches!(fixture.port().stop(&id).await, Err(StopError::Unknown { .. })));
}

#[tokio::test]
async fn a_command_that_does_not_exist_fails_at_once() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.run.command = vec!["./no-such-program".to_owned()];
    let id = fixture.start(spec).await;
    let reason = fixture.wait_failed(&id).await;
    assert_eq!(reason, "`./no-such-program` cannot be started: No such file or directory (os error 2)");
    assert_eq!(fixture.port().instance(&id).unwrap().restarts, 0);
}

#[tokio::test]
async fn what_is_missing_is_refused_before_anything_is_made() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.run.command.clear();
    assert!(matches!(fixture.port().start(spec).await, Err(StartError::EmptyCommand { .. })));
    let mut spec = fixture.spec(&[]);
    spec.release = lockstep_domain::Digest::from_bytes([8; 32]);
    assert!(matches!(fixture.port().start(spec).await, Err(StartError::ReleaseMissing { .. })));
    assert!(fixture.port().list().is_empty());
}

#[tokio::test]
async fn health_can_be_a_connection_or_a_command() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&["garbage"]);
    spec.run.health.probe = Probe::Tcp;
    let id = fixture.start(spec).await;
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;

    let shell = |text: &str| Probe::Command { command: ["sh", "-c", text].map(str::to_owned).to_vec() };
    let mut spec = fixture.spec(&["deaf"]);
    spec.run.health.probe = shell("test -x ./service && test -n \"$PORT\"");
    let id = fixture.start(spec).await;
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;

    for (text, wanted) in
        [("echo too cold; exit 7", "ended with exit code 7: too cold"), ("sleep 600", "took longer")]
    {
        let mut spec = fixture.spec(&["deaf"]);
        spec.run.health.probe = shell(text);
        spec.run.health.timeout_ms = 100;
        spec.run.health.start_timeout_ms = 400;
        let id = fixture.start(spec).await;
        let reason = fixture.wait_failed(&id).await;
        assert!(reason.contains(wanted), "{reason}");
    }
}

#[tokio::test]
async fn a_flooded_log_stays_bounded_and_the_instance_healthy() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&["flood"]).await;
    let log = fixture.folder(&instance.id).join("log");
    eventually("the log has been put aside twice", || log.join("2").exists()).await;
    for _ in 0..20 {
        let sizes: Vec<u64> = std::fs::read_dir(&log)
            .unwrap()
            .flatten()
            .filter(|file| file.file_name() != "lost")
            .flat_map(|file| file.metadata())
            .map(|data| data.len())
            .collect();
        assert!(sizes.len() <= 3 && sizes.iter().all(|size| *size <= 64 * 1024), "{sizes:?}");
        get(instance.address.unwrap());
    }
    fixture.stop(&instance.id).await;
}

#[tokio::test]
async fn the_log_is_followed_in_order_across_files_until_the_instance_is_over() {
    let fixture = Fixture::new().await;
    let id = fixture.start(fixture.spec(&["count=4000"])).await;
    let mut log = fixture.lines(&id, Follow::Yes).await;
    let mut next = 0;
    while next < 4_000 {
        let line = log.next_line().await.unwrap().unwrap();
        if line.contains(" out line ") {
            assert!(line.ends_with(&format!(" out line {next}")), "{next} is missing before {line}");
            next += 1;
        }
    }
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    fixture.stop(&id).await;
    let mut last = String::new();
    while let Some(line) = log.next_line().await.unwrap() {
        last = line;
    }
    assert!(last.ends_with("lockstep stopped"), "{last}");
    assert!(fixture.lines(&id, Follow::No).await.next_line().await.unwrap().is_some());
}

#[tokio::test]
async fn an_artifact_is_removed_only_when_nothing_runs_it() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let [release] = fixture.port().releases().await.unwrap()[..] else { panic!("there is one artifact") };
    let error = fixture.port().remove_release(&release).await.unwrap_err();
    assert!(matches!(error, RemoveError::ReleaseRuns { id, .. } if id == instance.id));
    fixture.stop(&instance.id).await;
    fixture.port().remove_release(&release).await.unwrap();
    fixture.port().remove_release(&release).await.unwrap();
    assert!(fixture.port().unpacked(&release).await.unwrap() == Unpacked::Missing);
    assert!(fixture.port().releases().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_longest_id_works() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.spec(&[]);
    spec.id = "a".repeat(250).parse().unwrap();
    let id = fixture.start(spec).await;
    fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
    fixture.stop(&id).await;
    fixture.port().remove(&id).await.unwrap();
}
