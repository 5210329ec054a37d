//! Limits on a host that systemd runs, where the login is not root: of one that a person names, because this machine may have none.
//!
//! `LOCKSTEP_TEST_HOST=deploy@10.213.1.11 LOCKSTEP_TEST_KEY=FILE` names one, such as `cargo xtask hosts up 1` boots, with control groups of version 2 that have
//! controllers, and a user that lingers. Without it there is nothing to be seen here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::run::{HealthCheck, Kind, Probe};
use lockstep_domain::{Digest, InstanceState};
use lockstep_hosts::{ClaimFile, HostFacts, HostState, RemoteDriver, Ssh};
use lockstep_runtime::{Driver as _, InstanceSpec};
use sha2::{Digest as _, Sha256};

use crate::common::{service_artifact, spec};
use crate::fixture::{OPTIONS, PROGRAM};

/// A virtual machine without help of the processor takes its time.
const PATIENCE: Duration = Duration::from_secs(240);
const OWN_GROUP: &str = "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)";

struct Host {
    driver: RemoteDriver,
    release: Digest,
    facts: Arc<HostFacts>,
}

impl Host {
    async fn open(target: &str, place: &Path, run: &str) -> Self {
        let ssh = Ssh {
            target: target.parse().unwrap(),
            key: std::env::var_os("LOCKSTEP_TEST_KEY").map(Into::into),
            known_hosts: place.join("known_hosts"),
            alias: "lockstep-limits".to_owned(),
            folder: None,
            program: Arc::clone(&PROGRAM),
            configuration: Some("/dev/null".into()),
        };
        let claim = ClaimFile::at(place.join("claim.json"), "limits", run);
        // Of an earlier run of this test, if of anybody.
        claim.take_over().unwrap();
        let driver = RemoteDriver::open("limits", Arc::new(ssh), claim, OPTIONS, Arc::default(), None);
        let mut states = driver.state();
        let here = states.wait_for(|state| matches!(state, HostState::Here(_)));
        let state = tokio::time::timeout(PATIENCE, here).await.expect("it is reached").unwrap().clone();
        let HostState::Here(facts) = state else { panic!("{state:?}") };
        let artifact = service_artifact(Path::new("/bin/true"));
        let (release, path) = (Digest::from_bytes(Sha256::digest(&artifact).into()), place.join("artifact"));
        std::fs::write(&path, artifact).unwrap();
        driver.unpack(release, &path, &[]).await.unwrap();
        Self { driver, release, facts }
    }

    /// A worker that is a shell, and is started once.
    fn worker(&self, script: &str) -> InstanceSpec {
        let number = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let mut spec = spec(number, self.release, &[]);
        spec.run.command = ["sh", "-c", script].map(str::to_owned).to_vec();
        (spec.run.kind, spec.run.restart.max_restarts) = (Kind::Worker, 0);
        spec.run.health = HealthCheck::new(Probe::Lives { for_ms: 60_000 });
        spec.run.health.start_timeout_ms = 120_000;
        spec
    }

    /// Starts it and says how it failed.
    async fn failed(&self, spec: InstanceSpec) -> String {
        let id = spec.id.clone();
        let mut watch = self.driver.watch();
        self.driver.start(spec).await.unwrap();
        let over = watch.wait_for(|all| all.get(&id).is_some_and(|it| it.state.is_over()));
        let state = tokio::time::timeout(PATIENCE, over).await.expect("it ends").unwrap()[&id].state.clone();
        match state {
            InstanceState::Failed { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn limits_of_memory_cpu_and_processes_hold_where_the_login_is_not_root() {
    let Ok(target) = std::env::var("LOCKSTEP_TEST_HOST") else {
        return eprintln!("left out: LOCKSTEP_TEST_HOST names no host");
    };
    let place = tempfile::tempdir().unwrap();
    let host = Host::open(&target, place.path(), "first").await;
    assert_ne!(host.facts.user, 0);
    assert_eq!(host.facts.means.what_is_open(), None);

    let mut spec =
        host.worker("python3 -c 'x = bytearray(b\"x\") * 300_000_000; import time; time.sleep(60)'");
    spec.run.limits.memory_bytes = Some(64_000_000);
    let reason = host.failed(spec).await;
    assert!(reason.contains("signal 9 (KILL): it needed more than its limit, memory 64 MB"), "{reason}");

    let mut spec = host.worker("for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; wait");
    spec.run.limits.processes = Some(8);
    let reason = host.failed(spec).await;
    assert!(
        reason.contains("it was refused another process") && reason.contains("its limit is 8"),
        "{reason}"
    );

    // Another connection, as after an upgrade of the server, joins the scope while something is in it.
    let mut stays = host.worker("sleep 1000");
    stays.run.health = HealthCheck::new(Probe::Lives { for_ms: 10 });
    stays.run.limits.cpu_thousandths = Some(500);
    let id = stays.id.clone();
    let mut watch = host.driver.watch();
    host.driver.start(stays).await.unwrap();
    let healthy = watch.wait_for(|all| all.get(&id).is_some_and(|it| it.state.is_healthy()));
    tokio::time::timeout(PATIENCE, healthy).await.expect("it lives").unwrap();
    let (held, _) = host.driver.held_of(&id).unwrap();
    assert_eq!(held.held, ["cpu 0.5, by control group"]);
    drop((watch, host));
    let host = Host::open(&target, place.path(), "second").await;
    assert_eq!(host.facts.means.what_is_open(), None);
    assert!(host.driver.held_of(&id).is_some());
    let mut spec = host.worker(&format!("cat {OWN_GROUP}/cpu.max; echo {OWN_GROUP}; exit 3"));
    spec.run.limits.cpu_thousandths = Some(1_500);
    let reason = host.failed(spec).await;
    assert!(reason.contains(" out 150000 100000\n"), "{reason}");
    assert!(reason.contains("/user@") && reason.contains(".scope/lockstep/"), "{reason}");
    host.driver.stop(&id).await.unwrap();
    let mut watch = host.driver.watch();
    let stopped = watch.wait_for(|all| all.get(&id).is_none_or(|it| it.state.is_over()));
    tokio::time::timeout(PATIENCE, stopped).await.expect("it ends").unwrap();
}
