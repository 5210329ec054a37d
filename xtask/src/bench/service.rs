//! The service that is rolled back: as little as possible, so that Lockstep is measured and not it.

/// Its name.
pub(super) const NAME: &str = "echo";

/// Its manifest.
pub(super) const MANIFEST: &str = r#"name = "echo"
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
pub(super) const SOURCE: &str = r#"use std::io::{BufRead, BufReader, Write};
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
