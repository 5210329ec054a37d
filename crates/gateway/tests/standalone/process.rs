//! The gateway as a process of its own, ended by real signals.
//!
//! The test binary starts itself again as the gateway: `run` ends on signals, so it cannot share a process with tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use lockstep_gateway::follow::TableStore;
use lockstep_gateway::standalone::{StandaloneConfig, TableSource, run};
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, GatewayConfig};
use rustix::process::{Pid, Signal, kill_process};

use crate::{FakeServer, ask, environment, follow_server, instance, table, wait_until};

/// Says to the test binary that it is the gateway: a table file, or a folder of stored tables.
const ROLE: &str = "LOCKSTEP_TEST_GATEWAY";
/// The server that it follows.
const SERVER: &str = "LOCKSTEP_TEST_SERVER";
/// The addresses, for clients and for operators, of the gateway that it takes over.
pub(crate) const TAKES_OVER: &str = "LOCKSTEP_TEST_TAKES_OVER";
/// How long it stays after the signal, in milliseconds.
pub(crate) const LAME_DUCK: &str = "LOCKSTEP_TEST_LAME_DUCK";
/// Where it writes a line for each request.
const ACCESS_LOG: &str = "LOCKSTEP_TEST_ACCESS_LOG";

#[test]
fn gateway_process() {
    let Some(path) = std::env::var_os(ROLE) else { return };
    let (path, any) = (Path::new(&path), SocketAddr::from(([127, 0, 0, 1], 0)));
    let before = std::env::var(TAKES_OVER).ok();
    let mut before = before.iter().flat_map(|both| both.split(' ')).map(|at| at.parse().unwrap());
    let takes_over = std::env::var_os(TAKES_OVER).is_some();
    let (listen, admin) = (before.next().unwrap_or(any), before.next().unwrap_or(any));
    let source = if path.is_dir() {
        // Nobody listens on the discard port.
        let server = std::env::var(SERVER).unwrap_or_else(|_| "http://127.0.0.1:9".into());
        let server = follow_server(&server);
        let store = TableStore::new(path.to_path_buf());
        TableSource::Server { server, store, environments: vec![(environment(), listen)] }
    } else {
        TableSource::File { path: path.to_path_buf(), listen }
    };
    let lame_duck =
        std::env::var(LAME_DUCK).map_or(Duration::ZERO, |ms| Duration::from_millis(ms.parse().unwrap()));
    let config = StandaloneConfig {
        gateway: GatewayConfig {
            access_log: std::env::var_os(ACCESS_LOG)
                .map(|path| AccessLogConfig::new(AccessLogTarget::File(path.into()))),
            ..GatewayConfig::new(format!("process-{}", std::process::id()))
        },
        source,
        lame_duck,
        grace: Duration::from_secs(10),
        takes_over,
        admin: Some(admin),
        metrics: None,
        between: None,
        key_life: lockstep_gateway::KEY_LIFE,
        listen_tls: None,
        certificates: None,
        visit_keys: Vec::new(),
    };
    run(config, |listening| {
        println!("\nlistening on {} admin {}", listening.environments[0].1, listening.admin.unwrap());
    })
    .unwrap();
}

pub(crate) struct Process {
    pub(crate) child: Child,
    /// Open until the process has ended, or it could not write any more.
    _output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Process {
    pub(crate) fn start(path: &Path) -> Self {
        Self::start_with(path, &[])
    }

    pub(crate) fn start_with(path: &Path, variables: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::gateway_process", "--nocapture"])
            .env(ROLE, path)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with("listening on ")).unwrap();
        let (address, admin) = line.trim_start_matches("listening on ").split_once(" admin ").unwrap();
        let (address, admin) = (address.parse().unwrap(), admin.parse().unwrap());
        Self { child, _output: output, address, admin }
    }

    /// Returns the bytes of memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
    }

    pub(crate) fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET /-/metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
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
    let refused = |count| {
        process
            .metrics()
            .contains(&format!("table_refused{{deployment_environment_name=\"production\"}} {count}\n"))
    };
    wait_until("it is said", || refused(1));
    // What would be waited for without end is no table either.
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    process.signal(Signal::HUP);
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.1"));
    assert!(refused(1));
    write(serde_json::to_string(&table(2, instance)).unwrap());
    wait_until("the change is noticed", || ask(process.address).as_deref() == Some("shop@1.0.2"));
    assert!(refused(0));
    assert!(process.end().success());
}

/// The example of the guide, with the places of real instances.
fn example_of_the_guide(new: SocketAddr, old: SocketAddr) -> String {
    let guide = include_str!("../../../../docs/guides/gateway.md");
    let blocks = guide.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let example = blocks.into_iter().find(|block| block.starts_with("environment = ")).unwrap();
    let real =
        example.replace("127.0.0.1:9001", &new.to_string()).replace("127.0.0.1:9000", &old.to_string());
    assert!(real.contains(&new.to_string()) && real.contains(&old.to_string()), "{example}");
    real
}

#[test]
fn the_table_of_the_guide_is_served_and_one_with_a_mistake_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.toml");
    let write = |text: &str| {
        std::fs::write(folder.path().join("new"), text).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
    };
    let example = example_of_the_guide(instance(), instance());
    write(&example);
    let checked = lockstep_gateway::check::check_file(&path).unwrap();
    assert_eq!(checked.doubts, []);
    let mut process = Process::start(&path);
    let get = |head: &str| {
        let mut stream = TcpStream::connect(process.address).unwrap();
        write!(stream, "GET {head}connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.to_ascii_lowercase()
    };
    let ann = "/hello HTTP/1.1\r\nhost: shop.test\r\nx-user: ann\r\n";
    assert!(get(ann).contains("lockstep-version: hello@1.1.0"), "{}", get(ann));
    let old = get("/old HTTP/1.1\r\nhost: shop.test\r\n");
    assert!(old.starts_with("http/1.1 308") && old.contains("location: /hello"), "{old}");
    write(&example.replace("[[route]]", "[[rout]]"));
    process.signal(Signal::HUP);
    assert!(get(ann).contains("lockstep-version: hello@1.1.0"));
    write(&example.replace("1.1.0", "1.2.0"));
    wait_until("the change is noticed", || get(ann).contains("lockstep-version: hello@1.2.0"));
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

#[test]
fn a_restarted_gateway_serves_no_older_table_than_its_server_has() {
    let folder = tempfile::tempdir().unwrap();
    TableStore::new(folder.path().to_path_buf()).save(&table(7, instance())).unwrap();
    let server = FakeServer::start(TcpListener::bind("127.0.0.1:0").unwrap());
    server.publish(table(9, instance()));
    let mut process = Process::start_with(folder.path(), &[(SERVER, format!("http://{}", server.address))]);
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.9"), "the very first request");
    assert!(
        server.has_receipt_of(7),
        "it reports before it takes the table, so that the server waits for it"
    );
    server.stop();
    assert!(process.end().success());
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_does_not_keep_a_gateway_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    TableStore::new(folder.path().to_path_buf()).save(&table(7, instance())).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let mut process = Process::start_with(folder.path(), &[(SERVER, address)]);
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.7"));
    assert!(process.end().success());
}

/// The status of a question to the admin address.
pub(crate) fn status(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1).map(str::to_owned)
}

#[test]
fn a_gateway_that_is_told_to_end_says_so_before_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    std::fs::write(&path, serde_json::to_string(&table(1, instance())).unwrap()).unwrap();
    let mut process = Process::start_with(&path, &[(LAME_DUCK, "4000".into())]);
    assert_eq!(status(process.admin, "/-/ready").as_deref(), Some("200"));
    process.signal(Signal::TERM);
    wait_until("it is not ready any more", || status(process.admin, "/-/ready").as_deref() == Some("503"));
    assert_eq!(status(process.admin, "/-/health").as_deref(), Some("200"));
    assert_eq!(
        ask(process.address).as_deref(),
        Some("shop@1.0.1"),
        "clients that come nevertheless are served"
    );
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn a_second_signal_ends_a_gateway_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    std::fs::write(&path, serde_json::to_string(&table(1, instance())).unwrap()).unwrap();
    let mut process = Process::start_with(&path, &[(LAME_DUCK, "600000".into())]);
    process.signal(Signal::TERM);
    wait_until("it is not ready any more", || status(process.admin, "/-/ready").as_deref() == Some("503"));
    process.signal(Signal::INT);
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn what_a_second_signal_cuts_off_has_a_line_in_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("table.json"), folder.path().join("access.log"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let served = table(1, silent.local_addr().unwrap());
    std::fs::write(&path, serde_json::to_string(&served).unwrap()).unwrap();
    let mut process = Process::start_with(&path, &[(ACCESS_LOG, log.to_str().unwrap().to_owned())]);
    let mut client = TcpStream::connect(process.address).unwrap();
    client.write_all(b"GET /waits HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let mut asked = silent.accept().unwrap().0;
    asked.read_exact(&mut [0; 10]).unwrap();
    process.signal(Signal::TERM);
    wait_until("it is not ready any more", || status(process.admin, "/-/ready").as_deref() == Some("503"));
    process.signal(Signal::INT);
    assert!(process.child.wait().unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("\"/waits\"") && log.contains("\"cut\""), "{log}");
}
