//! The service that is rolled back: as little as possible, so that Lockstep is measured and not it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Its name.
pub(super) const NAME: &str = "echo";

/// Its manifest.
const MANIFEST: &str = r#"name = "echo"
owner = "bench"

[build]
tools = { rustc = ">=1.85" }
optional_variables = ["CARGO_HOME", "RUSTUP_HOME"]
steps = ["rustc --edition 2024 -O main.rs -o echo"]

[package]
include = ["echo"]

[run]
command = "./echo"
health = { http = "/health" }

[[route]]
path = "/"
"#;

/// Its source: HTTP/1.1 with keep-alive, a thread a connection, and an answer of 100 bytes.
const SOURCE: &str = r#"use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let variable = |name| std::env::var(name).expect("Lockstep sets HOST and PORT");
    let listener = TcpListener::bind(format!("{}:{}", variable("HOST"), variable("PORT"))).expect("a free port");
    for stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || serve(stream));
    }
}

fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let body = "x".repeat(100);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{body}");
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }
}
"#;

/// Makes its repository with the first commit.
pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("lockstep.toml"), MANIFEST)?;
    fs::write(folder.join("main.rs"), SOURCE)?;
    git(folder, &["init", "--quiet", "--initial-branch", "main"])?;
    commit(folder, "feat: answer")
}

/// Adds a commit that changes nothing that runs.
pub(super) fn commit(folder: &Path, message: &str) -> Result<()> {
    fs::write(folder.join("NOTES"), message)?;
    git(folder, &["add", "--all"])?;
    git(folder, &["commit", "--quiet", "--message", message])
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=bench", "-c", "user.email=bench@shop.example"]);
    command.args(["-c", "commit.gpgsign=false"]).args(arguments);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let status = command.status().context("cannot run git; on Debian: apt-get install git")?;
    ensure!(status.success(), "git {} failed", arguments.join(" "));
    Ok(())
}
