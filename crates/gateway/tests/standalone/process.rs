//! The gateway as a process of its own, ended by real signals.
//!
//! The test binary starts itself again as the gateway: `run` ends on signals, so it cannot share a process with tests.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use lockstep_gateway::GatewayConfig;
use lockstep_gateway::follow::{Server, TableStore};
use lockstep_gateway::standalone::{StandaloneConfig, TableSource, run};
use rustix::process::{Pid, Signal, kill_process};

use crate::{ask, environment, instance, table, wait_until};

/// Says to the test binary that it is the gateway: a table file, or a folder of stored tables.
const ROLE: &str = "LOCKSTEP_TEST_GATEWAY";

#[test]
fn gateway_process() {
    let Some(path) = std::env::var_os(ROLE) else { return };
    let (path, listen) = (Path::new(&path), SocketAddr::from(([127, 0, 0, 1], 0)));
    let source = if path.is_dir() {
        // Nobody listens on the discard port.
        let server = Server::new("http://127.0.0.1:9", None).unwrap();
        let store = TableStore::new(path.to_path_buf());
        TableSource::Server { server, store, environments: vec![(environment(), listen)] }
    } else {
        TableSource::File { path: path.to_path_buf(), listen }
    };
    let config =
        StandaloneConfig { gateway: GatewayConfig::new("process"), source, grace: Duration::from_secs(10) };
    run(config, |listening| println!("\nlistening on {}", listening[0].1)).unwrap();
}

pub(crate) struct Process {
    child: Child,
    /// Open until the process has ended, or it could not write any more.
    _output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::gateway_process", "--nocapture"])
            .env(ROLE, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with("listening on ")).unwrap();
        let address = line.trim_start_matches("listening on ").parse().unwrap();
        Self { child, _output: output, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_table_file_is_served_and_read_again_when_it_changes_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    let write = |text: String| {
        std::fs::write(folder.path().join("new"), text).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
    };
    let instance = instance();
    write(serde_json::to_string(&table(1, instance)).unwrap());
    let mut process = Process::start(&path);
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.1"));
    write("{".into());
    process.signal(Signal::HUP);
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.1"));
    write(serde_json::to_string(&table(2, instance)).unwrap());
    wait_until("the change is noticed", || ask(process.address).as_deref() == Some("shop@1.0.2"));
    assert!(process.end().success());
}

#[test]
fn a_restarted_gateway_serves_the_stored_table_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    TableStore::new(folder.path().to_path_buf()).save(&table(7, instance())).unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.7"));
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.7"));
    assert!(process.end().success());
}
