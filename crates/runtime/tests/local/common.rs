//! What the tests of every driver share: the test service as an artifact, what is said of it, and processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_domain::run::{HealthCheck, Probe, RunSpec};
use lockstep_domain::{Arm, ConfigRevision, Digest, Instance};
use lockstep_runtime::InstanceSpec;

/// Far above what anything here takes, also on a busy machine; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a specification of the test service in some modes, with short times.
pub(crate) fn spec(number: u32, release: Digest, modes: &[&str]) -> InstanceSpec {
    let mut command = vec!["./service".to_owned()];
    command.extend(modes.iter().map(|mode| (*mode).to_owned()));
    let mut health = HealthCheck::new(Probe::Http { path: "/health".to_owned() });
    health.interval_ms = 50;
    InstanceSpec {
        data_of: None,
        listen: None,
        resources: BTreeMap::new(),
        resource: None,
        own: None,
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
            prepare: None,
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
            hosts: Default::default(),
        },
        variables: BTreeMap::new(),
        filled: BTreeMap::new(),
        urls: BTreeMap::new(),
        calls: None,
        ports: lockstep_domain::instance_ports::InstancePorts::Server,
        release,
    }
}

/// Packs the test service, a program, as an artifact.
pub(crate) fn service_artifact(program: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let service = fs::read(program).unwrap();
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

/// Returns the processes that something holds for.
pub(crate) fn pids_where(wanted: impl Fn(i32) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| wanted(*pid)).collect()
}

/// Tells whether a file holds a text.
pub(crate) fn contains(path: &str, text: &[u8]) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
}
