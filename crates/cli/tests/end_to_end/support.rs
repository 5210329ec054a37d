//! What the tests with real processes share. Whatever a test starts ends with it, however it ends.

pub(crate) mod acme;
pub(crate) mod callers;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod place;
pub(crate) mod processes;
pub(crate) mod repository;
pub(crate) mod secure;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ChildStderr;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a condition that nobody announces.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until `look` returns something; panics with `what` when it does not in time.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits for what a schedule of every minute brings.
pub(crate) fn next_minute<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(60) + PATIENCE, what, look)
}

fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// Asks for a path on a connection of its own; returns status and body.
pub(crate) fn get(address: &str, path: &str, key: u64) -> Result<(u16, String), String> {
    let answer = exchange(address, path, key).map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| format!("not an answer: {answer:?}"))
}

fn exchange(address: &str, path: &str, key: u64) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: lockstep_key={key}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Reads the log of a server or gateway up to the address that it announces; the rest of the log is shown when the test
/// fails. `None` when it ends before.
fn announced(stderr: ChildStderr, who: &'static str) -> Result<String, String> {
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let mut log = String::new();
    let address = lines.by_ref().find_map(|line| {
        log += &format!("{line}\n");
        let (_, rest) = line.strip_prefix("lockstep ")?.split_once(" listens on http://")?;
        Some(rest.split(',').next()?.to_owned())
    });
    // The pipe is read to its end, so that the process never waits for us.
    std::thread::spawn(move || lines.for_each(|line| eprintln!("{who}: {line}")));
    address.ok_or(log)
}
