//! A driver in a folder of its own, with the test service as an artifact, that leaves no process behind.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lockstep_domain::{Digest, Instance, InstanceId, InstanceState};
use lockstep_runtime::{
    Driver, Follow, InstanceSpec, LocalDriver, LocalDriverOptions, LogLimits, LogLines, LogReader,
    SupervisorCommand,
};
use tempfile::TempDir;

use crate::common::{PATIENCE, contains, kill, pids_where, service_artifact, spec};

/// A driver and what is needed to use it.
pub(crate) struct Fixture {
    /// The driver, until a test takes it away.
    pub(crate) driver: Option<LocalDriver>,
    root: TempDir,
    release: Digest,
    next: AtomicU32,
}

impl Fixture {
    /// Opens a driver in a new folder, with the test service unpacked.
    pub(crate) async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let release = Digest::from_bytes([7; 32]);
        let driver = open(root.path()).await;
        driver.unpack(release, std::io::Cursor::new(artifact())).await.unwrap();
        Self { driver: Some(driver), root, release, next: AtomicU32::new(1) }
    }

    /// Unpacks the test service, unless it is there and unchanged.
    pub(crate) async fn unpack(&self) {
        self.driver().unpack(self.release, std::io::Cursor::new(artifact())).await.unwrap();
    }

    /// Returns the driver.
    pub(crate) fn driver(&self) -> &LocalDriver {
        self.driver.as_ref().unwrap()
    }

    /// Returns the driver as every other one is used.
    pub(crate) fn port(&self) -> &dyn Driver {
        self.driver()
    }

    /// Opens the log of an instance, as every driver does.
    pub(crate) async fn lines(&self, id: &InstanceId, follow: Follow) -> Box<dyn LogLines> {
        let shown = self.port().instance(id).map(|instance| instance.environment);
        let environment = shown.unwrap_or_else(|| "testing".parse().unwrap());
        self.port().log(&environment, id, follow).await.unwrap().unwrap()
    }

    /// Opens the driver again, after the old one has gone.
    pub(crate) async fn reopen(&mut self) {
        self.driver = None;
        self.driver = Some(open(self.root.path()).await);
    }

    /// Returns the folder of the driver.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns the folder of an instance.
    pub(crate) fn folder(&self, id: &InstanceId) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("instances").join(id.as_str())
    }

    /// Makes a specification of the test service in some modes, with short times.
    pub(crate) fn spec(&self, modes: &[&str]) -> InstanceSpec {
        spec(self.next.fetch_add(1, Ordering::Relaxed), self.release, modes)
    }

    /// Starts an instance and returns its id.
    pub(crate) async fn start(&self, spec: InstanceSpec) -> InstanceId {
        let id = spec.id.clone();
        self.driver().start(spec).await.unwrap();
        id
    }

    /// Starts an instance and waits until it is healthy.
    pub(crate) async fn start_healthy(&self, modes: &[&str]) -> Instance {
        let id = self.start(self.spec(modes)).await;
        self.wait_until(&id, |instance| instance.state.is_healthy()).await
    }

    /// Waits until an instance is as wanted.
    pub(crate) async fn wait_until(&self, id: &InstanceId, wanted: impl Fn(&Instance) -> bool) -> Instance {
        let mut watch = self.driver().watch();
        let found =
            tokio::time::timeout(PATIENCE, watch.wait_for(|all| all.get(id).is_some_and(&wanted))).await;
        match found {
            Ok(all) => all.unwrap()[id].clone(),
            Err(_) => panic!("not seen in time; the instance is {:?}", self.driver().instance(id)),
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
        self.driver().stop(id).await.unwrap();
        self.wait_until(id, |instance| instance.state == InstanceState::Stopped).await;
    }

    /// Opens the log of an instance.
    pub(crate) fn log(&self, id: &InstanceId, follow: Follow) -> LogReader {
        let shown = self.driver().instance(id).map(|instance| instance.environment);
        let environment = shown.unwrap_or_else(|| "testing".parse().unwrap());
        self.driver().log(&environment, id, follow).unwrap()
    }

    /// Returns every process that belongs to an instance of this driver, except supervisors.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let marker =
            format!("LOCKSTEP_INSTANCE_FOLDER={}/", self.root.path().canonicalize().unwrap().display());
        pids_where(|pid| contains(&format!("/proc/{pid}/environ"), marker.as_bytes()))
    }

    /// Returns the supervisors of this driver.
    pub(crate) fn supervisors(&self) -> Vec<i32> {
        let marker = format!("{}/instances/", self.root.path().canonicalize().unwrap().display());
        pids_where(|pid| {
            contains(&format!("/proc/{pid}/cmdline"), b"lockstep-supervisor\0")
                && contains(&format!("/proc/{pid}/cmdline"), marker.as_bytes())
        })
    }
}

impl Drop for Fixture {
    /// Kills whatever a test has left, so that a failed one disturbs no other. Supervisors first: they restart things.
    fn drop(&mut self) {
        self.driver = None;
        self.supervisors().into_iter().for_each(kill);
        self.processes().into_iter().for_each(kill);
    }
}

/// Opens a driver with a small log.
pub(crate) async fn open(root: &Path) -> LocalDriver {
    let mut options = LocalDriverOptions::new(supervisor());
    options.log = LogLimits { file_bytes: 64 * 1024, files: 3 };
    LocalDriver::open_with(root, options).await.unwrap()
}

/// Returns what starts a supervisor.
pub(crate) fn supervisor() -> SupervisorCommand {
    SupervisorCommand(vec![env!("CARGO_BIN_EXE_lockstep-supervisor").into()])
}

fn artifact() -> Vec<u8> {
    service_artifact(Path::new(env!("CARGO_BIN_EXE_lockstep-test-service")))
}
