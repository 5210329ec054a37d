//! A temporary folder with a git repository and a server. Everything in it ends with the test, however that ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Place {
    folder: TempDir,
    repository: String,
    server: Child,
    url: String,
}

impl Place {
    pub(crate) fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("hello").to_str().unwrap().to_owned();
        fs::create_dir(&repository).unwrap();
        git(&repository, &["init", "--quiet", "--initial-branch", "main"]);
        let (server, url) = start_server(folder.path());
        Self { folder, repository, server, url }
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn data(&self) -> String {
        self.path("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(Path::new(&self.repository).join(name), text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) {
        git(&self.repository, &["add", "--all"]);
        git(&self.repository, &["commit", "--quiet", "--message", message]);
    }

    /// Runs a command that must succeed, and returns what it wrote to standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.ended(arguments);
        assert_eq!(code, 0, "lockstep {}\n{out}\n{err}", arguments.join(" "));
        out
    }

    /// Runs a command that must end with an exit code, and returns what it wrote to standard error.
    pub(crate) fn fail(&self, arguments: &[&str], expected: i32) -> String {
        let (code, out, err) = self.ended(arguments);
        assert_eq!(code, expected, "lockstep {}\n{out}\n{err}", arguments.join(" "));
        err
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let out = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    fn ended(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
            .args(arguments)
            .env("LOCKSTEP_SERVER", &self.url)
            .env("LOCKSTEP_ACTOR", "ann@example.org")
            .env_remove("LOCKSTEP_TOKEN")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Asks for /hello through the gateway of an environment.
    pub(crate) fn get(&self, environment: &str) -> String {
        let view = self.json(&["status", environment]);
        let gateway = view["gateway"].as_str().unwrap();
        let address = gateway.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /hello HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
    }
}

fn git(repository: &str, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(repository)
        .status()
        .unwrap();
    assert!(status.success(), "git {}", arguments.join(" "));
}

fn start_server(folder: &Path) -> (Child, String) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["server", "--listen", "127.0.0.1:0", "--first-gateway-port", "0", "--no-token", "--data"])
        .arg(folder.join("data"))
        .env_remove("LOCKSTEP_TOKEN")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let rest = line.strip_prefix("lockstep server listens on ")?;
        Some(rest.split(',').next()?.to_owned())
    });
    // The pipe is read to its end, so that the server never waits for us; its log shows when the test fails.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("server: {line}")));
    (server, url.expect("the server says where it listens"))
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        // Instances outlive their server on purpose: supervisors first, or they would start their process again.
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let supervisors = processes(|process| is_supervisor(process, &folder));
        supervisors.into_iter().for_each(end);
        processes(|process| works_in(process, &folder)).into_iter().for_each(end);
    }
}

fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbered = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        wanted(&entry.path()).then_some(pid)
    });
    numbered.collect()
}

fn is_supervisor(process: &Path, folder: &str) -> bool {
    let command = fs::read(process.join("cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    command.contains(" supervisor ") && command.contains(folder)
}

fn works_in(process: &Path, folder: &str) -> bool {
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
}

fn end(process: Pid) {
    let _ = kill_process(process, Signal::KILL);
}
