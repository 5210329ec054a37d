//! A driver over SSH to this machine, with the test service as an artifact, that leaves no process behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use lockstep_domain::{Digest, Instance, InstanceId, InstanceState};
use lockstep_hosts::{
    ClaimFile, ConnectError, FromHost, HostFacts, HostOptions, HostState, Program, RemoteDriver, Ssh,
};
use lockstep_runtime::{Driver, Follow, InstanceSpec, LogLimits, LogLines};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::common::{PATIENCE, contains, kill, pids_where, service_artifact, spec};
use crate::server::SshServer;

/// The program of the other side, without what only debuggers read: made once for all tests, which may run in processes of their own.
pub(crate) static PROGRAM: LazyLock<Arc<Program>> = LazyLock::new(|| {
    let built = Path::new(env!("CARGO_BIN_EXE_lockstep-host"));
    let modified = fs::metadata(built).unwrap().modified().unwrap();
    let stamp = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lockstep-host-{stamp}"));
    if !path.exists() {
        let new = path.with_extension(std::process::id().to_string());
        let stripped = std::process::Command::new("strip").arg("-o").arg(&new).arg(built).status();
        assert!(stripped.expect("strip is needed; on Debian: apt-get install binutils").success());
        fs::rename(&new, &path).unwrap();
    }
    Arc::new(Program::of(&path).unwrap())
});

static ARTIFACT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // It is built with the tests of the workspace, beside this one.
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("lockstep-test-service");
    assert!(program.exists(), "`{}` is built with `cargo test --workspace`", program.display());
    service_artifact(&program)
});

/// A small log, and nothing that outlasts a test.
pub(crate) const OPTIONS: HostOptions =
    HostOptions { log: LogLimits { file_bytes: 64 * 1024, files: 3 }, starts_at_boot: false };

/// A host over SSH, which is this machine.
pub(crate) struct Fixture {
    /// The driver, until a test takes it away.
    pub(crate) driver: Option<RemoteDriver>,
    /// The server of SSH.
    pub(crate) server: SshServer,
    /// Who answers gateways of the host.
    pub(crate) from_host: Option<Arc<dyn FromHost>>,
    root: TempDir,
    next: AtomicU32,
}

impl Fixture {
    /// Opens a driver for a new folder, with the test service unpacked.
    pub(crate) async fn new() -> Self {
        let mut fixture = Self::empty("");
        fixture.bring_program();
        fixture.open().await;
        fixture.unpack().await;
        fixture
    }

    /// Makes a host without anything on it. `extra` are lines of the configuration of its server of SSH.
    pub(crate) fn empty(extra: &str) -> Self {
        let server = SshServer::begin(extra);
        let root = tempfile::tempdir().unwrap();
        Self { driver: None, server, from_host: None, root, next: AtomicU32::new(1) }
    }

    /// Has the program there already: what bringing it needs is a test of its own.
    pub(crate) fn bring_program(&self) {
        let place = self.host().join("programs").join(PROGRAM.digest().to_string());
        fs::create_dir_all(&place).unwrap();
        fs::hard_link(PROGRAM.path(), place.join("lockstep"))
            .or_else(|_| fs::copy(PROGRAM.path(), place.join("lockstep")).map(|_| ()))
            .unwrap();
    }

    /// Opens the driver, and waits until the host is there.
    pub(crate) async fn open(&mut self) {
        self.begin("run");
        let state = self.settled().await;
        assert!(matches!(state, HostState::Here(_)), "{state:?}");
    }

    /// Waits until the host is there, and says what it is like.
    pub(crate) async fn facts(&self) -> Arc<HostFacts> {
        match self.state_where(|state| matches!(state, HostState::Here(_))).await {
            HostState::Here(facts) => facts,
            other => panic!("{other:?}"),
        }
    }

    /// Opens the driver.
    pub(crate) fn begin(&mut self, run: &str) {
        self.driver = Some(self.driver_of("claim.json", run));
    }

    /// Makes a driver with a claim in a file.
    pub(crate) fn driver_of(&self, claim: &str, run: &str) -> RemoteDriver {
        let claim = ClaimFile::at(self.server.file(claim), "testing", run);
        RemoteDriver::open(
            "web1",
            Arc::new(self.ssh()),
            claim,
            OPTIONS,
            Arc::default(),
            self.from_host.clone(),
        )
    }

    /// How it is connected to.
    pub(crate) fn ssh(&self) -> Ssh {
        Ssh {
            target: self.server.target().parse().unwrap(),
            key: Some(self.server.key()),
            known_hosts: self.server.file("known_hosts"),
            alias: "lockstep-web1".to_owned(),
            folder: Some(self.host().display().to_string()),
            program: Arc::clone(&PROGRAM),
            configuration: Some("/dev/null".into()),
        }
    }

    /// Waits until it is known whether the host is there.
    pub(crate) async fn settled(&self) -> HostState {
        self.state_where(|state| *state != HostState::Connecting).await
    }

    /// Waits until the host is in some state.
    pub(crate) async fn state_where(&self, wanted: impl Fn(&HostState) -> bool) -> HostState {
        let mut state = self.driver.as_ref().unwrap().state();
        let settled = tokio::time::timeout(PATIENCE, state.wait_for(wanted)).await;
        settled.expect("the host comes into this state").unwrap().clone()
    }

    /// Waits until the host is away, and says why.
    pub(crate) async fn away(&self) -> ConnectError {
        match self.state_where(|state| matches!(state, HostState::Away { .. })).await {
            HostState::Away { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    /// The digest of the artifact.
    pub(crate) fn release(&self) -> Digest {
        Digest::from_bytes(Sha256::digest(&*ARTIFACT).into())
    }

    /// Brings the test service, unless it is there.
    pub(crate) async fn unpack(&self) {
        let path = self.artifact();
        self.port().unpack(self.release(), &path, &[]).await.unwrap();
    }

    /// The artifact as a file of this machine.
    pub(crate) fn artifact(&self) -> PathBuf {
        let path = self.server.file("artifact");
        fs::write(&path, &*ARTIFACT).unwrap();
        path
    }

    /// Returns the driver as every other one is used.
    pub(crate) fn port(&self) -> &dyn Driver {
        self.driver.as_ref().unwrap()
    }

    /// Opens the log of an instance.
    pub(crate) async fn lines(&self, id: &InstanceId, follow: Follow) -> Box<dyn LogLines> {
        self.port().log(&"testing".parse().unwrap(), id, follow).await.unwrap().unwrap()
    }

    /// The folder of the host.
    pub(crate) fn host(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("host")
    }

    /// Returns the folder of the driver there.
    pub(crate) fn root(&self) -> PathBuf {
        self.host().join("runtime")
    }

    /// Returns the folder of an instance.
    pub(crate) fn folder(&self, id: &InstanceId) -> PathBuf {
        self.root().join("instances").join(id.as_str())
    }

    /// Makes a specification of the test service in some modes, with short times.
    pub(crate) fn spec(&self, modes: &[&str]) -> InstanceSpec {
        spec(self.next.fetch_add(1, Ordering::Relaxed), self.release(), modes)
    }

    /// Starts an instance and returns its id.
    pub(crate) async fn start(&self, spec: InstanceSpec) -> InstanceId {
        let id = spec.id.clone();
        self.port().start(spec).await.unwrap();
        id
    }

    /// Starts an instance and waits until it is healthy.
    pub(crate) async fn start_healthy(&self, modes: &[&str]) -> Instance {
        let id = self.start(self.spec(modes)).await;
        self.wait_until(&id, |instance| instance.state.is_healthy()).await
    }

    /// Waits until an instance is as wanted.
    pub(crate) async fn wait_until(&self, id: &InstanceId, wanted: impl Fn(&Instance) -> bool) -> Instance {
        let mut watch = self.port().watch();
        let found =
            tokio::time::timeout(PATIENCE, watch.wait_for(|all| all.get(id).is_some_and(&wanted))).await;
        match found {
            Ok(all) => all.unwrap()[id].clone(),
            Err(_) => panic!("not seen in time; the instance is {:?}", self.port().instance(id)),
        }
    }

    /// Waits until an instance has failed, and returns why.
    pub(crate) async fn wait_failed(&self, id: &InstanceId) -> String {
        match self.wait_until(id, |instance| instance.state.is_over()).await.state {
            InstanceState::Failed { reason, .. } => reason,
            other => panic!("it has not failed but is {other:?}"),
        }
    }

    /// Stops an instance and waits until it has stopped.
    pub(crate) async fn stop(&self, id: &InstanceId) {
        self.port().stop(id).await.unwrap();
        self.wait_until(id, |instance| instance.state == InstanceState::Stopped).await;
    }

    /// Returns every process that belongs to an instance of this driver, except supervisors.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let marker = format!("LOCKSTEP_INSTANCE_FOLDER={}/", self.root().display());
        pids_where(|pid| contains(&format!("/proc/{pid}/environ"), marker.as_bytes()))
    }

    /// Returns the supervisors of this driver.
    pub(crate) fn supervisors(&self) -> Vec<i32> {
        let marker = format!("\0supervisor\0{}/instances/", self.root().display());
        pids_where(|pid| contains(&format!("/proc/{pid}/cmdline"), marker.as_bytes()))
    }

    /// Returns the agents of this host.
    pub(crate) fn agents(&self) -> Vec<i32> {
        let marker = format!("\0host-agent\0{}\0{}", PROGRAM.digest(), self.host().display());
        pids_where(|pid| contains(&format!("/proc/{pid}/cmdline"), marker.as_bytes()))
    }
}

impl Drop for Fixture {
    /// Kills whatever a test has left, so that a failed one disturbs no other. Supervisors first: they restart things.
    fn drop(&mut self) {
        self.driver = None;
        self.server.end();
        self.agents().into_iter().for_each(kill);
        self.supervisors().into_iter().for_each(kill);
        self.processes().into_iter().for_each(kill);
    }
}
