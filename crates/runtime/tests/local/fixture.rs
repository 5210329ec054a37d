//! A driver in a folder of its own, with the test service as an artifact, that leaves no process behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lockstep_domain::run::{HealthCheck, Probe, RunSpec};
use lockstep_domain::{Arm, ConfigRevision, Digest, Instance, InstanceId, InstanceState};
use lockstep_runtime::{
    Follow, InstanceSpec, LocalDriver, LocalDriverOptions, LogLimits, LogReader, SupervisorCommand,
};
use tempfile::TempDir;

/// Far above what anything here takes, also on a busy machine; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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
        driver.unpack(release, std::io::Cursor::new(service_artifact())).await.unwrap();
        Self { driver: Some(driver), root, release, next: AtomicU32::new(1) }
    }

    /// Unpacks the test service, unless it is there and unchanged.
    pub(crate) async fn unpack(&self) {
        self.driver().unpack(self.release, std::io::Cursor::new(service_artifact())).await.unwrap();
    }

    /// Returns the driver.
    pub(crate) fn driver(&self) -> &LocalDriver {
        self.driver.as_ref().unwrap()
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
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut command = vec!["./service".to_owned()];
        command.extend(modes.iter().map(|mode| (*mode).to_owned()));
        let mut health = HealthCheck::new(Probe::Http { path: "/health".to_owned() });
        health.interval_ms = 50;
        InstanceSpec {
            data_of: None,
            resources: BTreeMap::new(),
            resource: None,
            job: None,
            id: format!("orders-1.4.0-{number}").parse().unwrap(),
            environment: "testing".parse().unwrap(),
            arm: Arm {
                service: "orders".parse().unwrap(),
                version: "1.4.0".parse().unwrap(),
                config: ConfigRevision(2),
                process: None,
            },
            run: RunSpec {
                work: Default::default(),
                protocol: Default::default(),
                gateway: None,
                approach: Default::default(),
                kind: Default::default(),
                command,
                variables: BTreeMap::new(),
                port: lockstep_domain::run::Port::Assigned,
                health,
                stop: lockstep_domain::run::Stop::default(),
                restart: lockstep_domain::run::Restart { backoff_ms: 1, ..Default::default() },
                data: Vec::new(),
                files: Vec::new(),
                values: lockstep_domain::run::Values::Verbatim,
                replace: lockstep_domain::run::Replace::NewFirst,
                replace_after: lockstep_domain::run::ReplaceAfter::Never,
                static_files: None,
                external: None,
                limits: lockstep_domain::limits::Limits::default(),
                image: None,
                user: lockstep_domain::run::RunUser::Own,
            },
            variables: BTreeMap::new(),
            filled: BTreeMap::new(),
            urls: BTreeMap::new(),
            calls: None,
            ports: lockstep_domain::instance_ports::InstancePorts::Server,
            release: self.release,
        }
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

fn service_artifact() -> Vec<u8> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let service = fs::read(env!("CARGO_BIN_EXE_lockstep-test-service")).unwrap();
    for (path, bytes, mode) in
        [("lockstep-package.json", &b"{}"[..], 0o644), ("service", &service[..], 0o755)]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        builder.append_data(&mut header, path, bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Waits for a condition that nothing tells of.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks an instance and returns the body of its answer.
pub(crate) fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Returns the process id that an instance says it has.
pub(crate) fn pid_of(instance: &Instance) -> i32 {
    let body = get(instance.address.unwrap());
    body.lines().find_map(|line| line.strip_prefix("pid=")).unwrap().parse().unwrap()
}

/// Kills a process.
pub(crate) fn kill(pid: i32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

/// Tells whether a process runs, and is not only waiting to be reaped.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn pids_where(wanted: impl Fn(i32) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| wanted(*pid)).collect()
}

fn contains(path: &str, text: &[u8]) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
}
