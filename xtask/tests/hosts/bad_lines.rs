//! Versions over a line that is slow and loses packets, and over one that hangs without closing.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::set::Set;
use super::wait_until;

const ENVIRONMENT: &str = "development";
const MANIFEST: &str = r#"name = "hello"
owner = "tests"

[package]
include = ["service.py", "data"]

[run]
command = ["/usr/bin/python3", "service.py"]
health = { http = "/", interval = "200ms", start_timeout = "60s" }

[[route]]
path = "/"
"#;
const SERVICE: &str = r#"import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"#;
/// Large enough for a transfer that takes a while on such a line.
const DATA: usize = 2 * 1024 * 1024;

/// A server that ends with the test, with a service that has two versions.
struct Server {
    folder: tempfile::TempDir,
    address: String,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program is built with the tests of the workspace, beside this one.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("lockstep");
    assert!(program.exists(), "`{}` is built with `cargo test --workspace`", program.display());
    program
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Server {
    fn begin() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command.args(["server", "--no-token", "--listen", &address, "--first-gateway-port", "0", "--data"]);
        command.arg(folder.path().join("data")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Self { process: command.spawn().unwrap(), folder, address };
        wait_until("the server answers", || {
            server.command(&["environments"]).output().unwrap().status.success()
        });
        server
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).current_dir(self.folder.path()).env_remove("LOCKSTEP_TOKEN");
        command.env("LOCKSTEP_SERVER", format!("http://{}", self.address));
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[words, &["--json"]].concat())).unwrap()
    }

    fn add_host(&self, set: &Set) {
        let host = set.host("web1");
        let text = |name: &str| host[name].as_str().unwrap().to_owned();
        let login = format!("{}@{}", text("user"), text("address"));
        self.run(&["host", "add", "web1", "--ssh", &login, "--key", &text("key_file"), "--env", ENVIRONMENT]);
    }

    fn release(&self, number: u8) {
        let repository = self.folder.path().join("hello");
        fs::create_dir_all(&repository).unwrap();
        let git = |words: &[&str]| {
            let mut command = Command::new("git");
            command.arg("-C").arg(&repository).args(["-c", "user.name=t", "-c", "user.email=t@shop.example"]);
            assert!(command.args(words).output().unwrap().status.success(), "{words:?}");
        };
        let data: Vec<u8> = (0..DATA as u64)
            .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8 ^ number)
            .collect();
        for (name, content) in
            [("lockstep.toml", MANIFEST.as_bytes()), ("service.py", SERVICE.as_bytes()), ("data", &data)]
        {
            fs::write(repository.join(name), content).unwrap();
        }
        if number == 0 {
            git(&["init", "--quiet", "--initial-branch", "main"]);
        }
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "feat: another"]);
        if number == 0 {
            self.run(&["service", "add", "hello"]);
        }
        self.run(&["release", "hello"]);
    }

    fn connection(&self) -> String {
        self.json(&["host", "show", "web1"])["connection"].as_str().unwrap().to_owned()
    }
}

#[test]
fn versions_go_over_a_slow_line_that_loses_packets_there_and_back() {
    let set = Set::of("slow");
    if !set.is_up(&["1"]) {
        return;
    }
    let server = Server::begin();
    server.release(0);
    server.release(1);
    server.add_host(&set);
    set.run(&["netem", "web1", "--delay", "200ms", "--loss", "2%"]);
    for version in ["hello@1.0.0", "hello@1.1.0"] {
        server.run(&["deploy", version, "--env", ENVIRONMENT, "--prefetch"]);
        server.run(&["deploy", version, "--env", ENVIRONMENT]);
    }
    server.run(&["rollback", "hello", "--to", "1.0.0", "--env", ENVIRONMENT]);
    let status = server.json(&["status", ENVIRONMENT]);
    assert_eq!(status["services"][0]["entry"]["version"], "1.0.0", "{status}");
    assert_eq!(server.connection(), "here", "packets that are lost are no connection that is lost");
}

#[test]
fn a_line_that_hangs_in_the_middle_of_a_transfer_is_given_up_and_the_transfer_goes_on_after_it() {
    let set = Set::of("hang");
    if !set.is_up(&["1"]) {
        return;
    }
    let server = Server::begin();
    server.release(0);
    server.add_host(&set);
    // So slow that it is cut long before the artifact is there.
    set.run(&["netem", "web1", "--delay", "2s", "--loss", "0%"]);
    let mut waiting = server.command(&["deploy", "hello@1.0.0", "--env", ENVIRONMENT, "--prefetch"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    set.run(&["cut", "web1"]);
    wait_until("silence ends the connection", || server.connection() == "away");
    assert_eq!(waiting.wait().unwrap().code(), Some(1), "who waits is told that the host is away");
    set.run(&["mend", "web1"]);
    set.run(&["netem", "web1", "off"]);
    wait_until("the host is back", || server.connection() == "here");
    server.run(&["deploy", "hello@1.0.0", "--env", ENVIRONMENT, "--prefetch"]);
    server.run(&["deploy", "hello@1.0.0", "--env", ENVIRONMENT]);
}
