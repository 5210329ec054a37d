//! Bad days of a host over SSH: what ends, lies, changes or is lost, and what a person is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_hosts::{ClaimFile, ConnectFault, HostState, Program, pinned};

use crate::common::{eventually, kill, pid_of, runs};
use crate::fixture::{Fixture, OPTIONS, PROGRAM};
use crate::server::make_key;

#[tokio::test]
async fn instances_outlive_the_connection_and_the_server_and_are_known_again() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let pid = pid_of(&instance);
    for agent in fixture.agents() {
        kill(agent);
    }
    fixture.away().await;
    assert!(runs(pid));
    assert_eq!(fixture.port().instance(&instance.id), Some(instance.clone()), "shown as it was last seen");
    fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    assert_eq!(pid_of(&fixture.port().instance(&instance.id).unwrap()), pid);

    // The server dies, and another process of it comes.
    fixture.driver = None;
    eventually("the agent ends with its connection", || fixture.agents().is_empty()).await;
    assert!(runs(pid));
    fixture.begin("another run");
    fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    assert_eq!(pid_of(&fixture.port().instance(&instance.id).unwrap()), pid);
    fixture.stop(&instance.id).await;
    assert!(fixture.processes().is_empty());
}

#[tokio::test]
async fn a_server_of_ssh_that_is_away_is_told_and_found_again() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let pid = pid_of(&instance);
    fixture.server.end();
    fixture.away().await;
    assert!(runs(pid));
    let error = fixture.port().stop(&instance.id).await.unwrap_err().to_string();
    assert!(error.contains("host `web1`"), "{error}");
    let is_unreachable = |state: &HostState| matches!(state, HostState::Away { error, .. } if error.fault == ConnectFault::Unreachable);
    fixture.state_where(is_unreachable).await;
    fixture.server.start();
    fixture.driver.as_ref().unwrap().try_again();
    fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    assert_eq!(pid_of(&fixture.port().instance(&instance.id).unwrap()), pid);
    fixture.stop(&instance.id).await;
}

#[tokio::test]
async fn the_program_is_brought_whole_also_after_a_beginning_of_it_and_after_one_that_is_none() {
    let mut fixture = Fixture::empty("");
    let place = fixture.host().join("programs").join(PROGRAM.digest().to_string());
    fs::create_dir_all(&place).unwrap();
    let whole = fs::read(PROGRAM.path()).unwrap();
    fs::write(place.join("part"), &whole[..whole.len() / 2]).unwrap();
    fixture.open().await;
    assert_eq!(fs::read(place.join("lockstep")).unwrap(), whole);
    assert!(!place.join("part").exists());

    // What is no beginning of it makes another program, and what a power cut left of it is none: each is brought anew.
    let mut other = whole[..whole.len() / 2].to_vec();
    other[100] ^= 1;
    let damaged = [whole[..whole.len() / 3].to_vec(), Vec::new(), vec![0; whole.len()]];
    fs::write(place.join("part"), other).unwrap();
    for left in damaged {
        fixture.driver = None;
        eventually("the agent ends", || fixture.agents().is_empty()).await;
        fs::remove_file(place.join("lockstep")).unwrap();
        fs::write(place.join("lockstep"), left).unwrap();
        fs::set_permissions(place.join("lockstep"), fs::Permissions::from_mode(0o700)).unwrap();
        fixture.begin("run");
        fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
        assert_eq!(fs::read(place.join("lockstep")).unwrap(), whole);
        assert!(!place.join("part").exists());
    }
}

#[tokio::test]
async fn a_folder_behind_a_link_keeps_the_program_that_runs_and_loses_those_that_do_not() {
    let mut fixture = Fixture::empty("");
    let elsewhere = fixture.server.file("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir_all(fixture.host()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, fixture.host().join("programs")).unwrap();
    let old = elsewhere.join("07".repeat(32));
    fs::create_dir(&old).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
    fixture.open().await;
    assert!(elsewhere.join(PROGRAM.digest().to_string()).join("lockstep").exists());
    eventually("the old program goes", || !old.exists()).await;
}

#[tokio::test]
async fn a_folder_that_others_may_write_is_no_place_for_what_runs() {
    let mut fixture = Fixture::empty("");
    fs::create_dir_all(fixture.host()).unwrap();
    fs::set_permissions(fixture.host(), fs::Permissions::from_mode(0o777)).unwrap();
    fixture.begin("run");
    let error = fixture.away().await;
    assert!(error.to_string().contains("others could change what runs"), "{error}");
}

#[tokio::test]
async fn an_artifact_that_two_send_at_once_is_sent_once_and_readers_who_read_nothing_hold_up_nobody() {
    let fixture = Fixture::new().await;
    let (path, release) = (fixture.artifact(), fixture.release());
    fixture.port().remove_release(&release).await.unwrap();
    let unpack = || fixture.port().unpack(release, &path, &[]);
    let (one, two, three) = tokio::join!(unpack(), unpack(), unpack());
    for sent in [one, two, three] {
        sent.unwrap();
    }
    let instance = fixture.start_healthy(&["count=200000"]).await;
    let mut readers = Vec::new();
    for _ in 0..40 {
        readers.push(fixture.lines(&instance.id, lockstep_runtime::Follow::Yes).await);
    }
    fixture.stop(&instance.id).await;
    let line = readers[0].next_line().await.unwrap();
    assert!(line.is_some());
}

#[tokio::test]
async fn an_artifact_goes_on_where_it_broke_off_and_is_never_what_it_is_not() {
    let mut fixture = Fixture::empty("");
    fixture.open().await;
    let (artifact, part) =
        (fixture.artifact(), fixture.host().join("incoming").join(fixture.release().to_string()));
    let whole = fs::read(&artifact).unwrap();
    fs::write(&part, &whole[..whole.len() / 2]).unwrap();
    fixture.unpack().await;
    assert!(!part.exists());
    let instance = fixture.start_healthy(&[]).await;
    fixture.stop(&instance.id).await;
    fixture.port().remove_release(&fixture.release()).await.unwrap();

    fs::write(&part, vec![7; whole.len() / 2]).unwrap();
    let error = fixture.port().unpack(fixture.release(), &artifact, &[]).await.unwrap_err().to_string();
    assert!(error.contains("what came has the digest"), "{error}");
    fixture.unpack().await;
}

#[tokio::test]
async fn a_key_that_changed_is_refused_and_the_pinned_one_stays() {
    let mut fixture = Fixture::new().await;
    let file = fixture.server.file("known_hosts");
    let before = pinned(&file, "lockstep-web1").unwrap();
    assert!(before.is_some());
    fixture.driver = None;
    fixture.server.end();
    fs::remove_file(fixture.server.file("host")).unwrap();
    make_key(&fixture.server.file("host"));
    fixture.server.start();
    fixture.begin("run");
    let error = fixture.away().await;
    assert_eq!(error.fault, ConnectFault::HostKey, "{error}");
    assert_eq!(pinned(&file, "lockstep-web1").unwrap(), before);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    let mut fixture = Fixture::empty("");
    fs::write(fixture.server.file("client.pub"), "").unwrap();
    fixture.begin("run");
    let error = fixture.away().await;
    assert_eq!(error.fault, ConnectFault::Login, "{error}");
}

#[tokio::test]
async fn a_shell_that_talks_is_passed_over_and_one_that_only_talks_is_refused() {
    let talks = r#"ForceCommand echo "Welcome to web1!"; echo; printf "lockstep-1 run\n"; exec sh -c "$SSH_ORIGINAL_COMMAND""#;
    let mut fixture = Fixture::empty(talks);
    fixture.open().await;
    for (command, wanted) in [
        ("yes", ConnectFault::Garbage),
        ("head -c 70000 /dev/zero", ConnectFault::Garbage),
        ("/usr/sbin/nologin", ConnectFault::NoShell),
        ("true", ConnectFault::Broken),
    ] {
        let mut fixture = Fixture::empty(&format!("ForceCommand {command}"));
        fixture.begin("run");
        let error = fixture.away().await;
        assert_eq!(error.fault, wanted, "{command}: {error}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told() {
    let fixture = Fixture::empty("");
    let mut ssh = fixture.ssh();
    ssh.folder = Some("/proc/none".to_owned());
    let claim = ClaimFile::at(fixture.server.file("claim.json"), "testing", "run");
    let mut fixture = fixture;
    fixture.driver =
        Some(lockstep_hosts::RemoteDriver::open("web1", Arc::new(ssh), claim, OPTIONS, Arc::default(), None));
    let error = fixture.away().await;
    assert_eq!(error.fault, ConnectFault::Folder, "{error}");
    assert!(error.text.contains("/proc/none"), "{error}");
}

#[tokio::test]
async fn a_program_that_does_not_run_there_is_told_in_its_words() {
    let mut fixture = Fixture::empty("");
    let path: PathBuf = fixture.server.file("program");
    fs::write(&path, "#!/bin/sh\necho 'version GLIBC_9.9 not found' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut ssh = fixture.ssh();
    ssh.program = Arc::new(Program::of(&path).unwrap());
    let claim = ClaimFile::at(fixture.server.file("claim.json"), "testing", "run");
    fixture.driver =
        Some(lockstep_hosts::RemoteDriver::open("web1", Arc::new(ssh), claim, OPTIONS, Arc::default(), None));
    let error = fixture.away().await;
    assert_eq!(error.fault, ConnectFault::Program, "{error}");
    assert!(error.text.contains("GLIBC_9.9"), "{error}");
}

#[tokio::test]
async fn of_two_servers_that_own_a_host_one_is_refused_until_a_person_decides() {
    let mut fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let first = fixture.driver.take();

    // A copy of the first one's folder, while the first works.
    fs::copy(fixture.server.file("claim.json"), fixture.server.file("copy.json")).unwrap();
    fixture.driver = Some(fixture.driver_of("copy.json", "copy"));
    let error = fixture.away().await;
    assert_eq!(error.fault, ConnectFault::Refused);
    assert!(error.text.contains("another server works with the host"), "{error}");

    // Another one, also when nobody works there.
    fixture.driver = Some(fixture.driver_of("other.json", "other"));
    let error = fixture.away().await;
    assert!(error.text.contains("belongs to the server `testing`"), "{error}");
    assert!(
        matches!(*first.as_ref().unwrap().state().borrow(), HostState::Here(_)),
        "nobody disturbs the first"
    );

    fixture.driver.as_ref().unwrap().take_over().unwrap();
    fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    assert_eq!(fixture.port().instance(&instance.id).unwrap().state, instance.state);
    let mut state = first.as_ref().unwrap().state();
    let is_refused = |state: &HostState| matches!(state, HostState::Away { error, .. } if error.fault == ConnectFault::Refused);
    tokio::time::timeout(crate::common::PATIENCE, state.wait_for(is_refused)).await.unwrap().unwrap();
}

#[tokio::test]
async fn after_a_boot_instances_start_again_with_no_server_in_sight_and_what_was_told_to_end_does_not() {
    let mut fixture = Fixture::new().await;
    let [kept, ended] = [fixture.start_healthy(&[]).await, fixture.start_healthy(&[]).await];
    fixture.stop(&ended.id).await;
    fixture.driver = None;
    fixture.server.end();
    eventually("the agent ends", || fixture.agents().is_empty()).await;
    // As a boot does: everything is gone at once.
    fixture.supervisors().into_iter().for_each(kill);
    fixture.processes().into_iter().for_each(kill);
    eventually("nothing runs", || fixture.processes().is_empty() && fixture.supervisors().is_empty()).await;

    let program = fixture.host().join("programs").join(PROGRAM.digest().to_string()).join("lockstep");
    let revive =
        || std::process::Command::new(&program).arg("host-revive").arg(fixture.host()).status().unwrap();
    assert!(revive().success());
    let serves = || std::net::TcpStream::connect(kept.address.unwrap()).is_ok();
    eventually("the instance serves again", serves).await;
    assert!(revive().success(), "twice is as once");
    assert_eq!(fixture.supervisors().len(), 1);

    fixture.server.start();
    fixture.begin("after the boot");
    fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    let again = fixture.wait_until(&kept.id, |instance| instance.state.is_healthy()).await;
    assert_eq!(again.address, kept.address);
    assert!(fixture.port().instance(&ended.id).is_none_or(|instance| instance.state.is_over()));
}
