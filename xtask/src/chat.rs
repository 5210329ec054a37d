//! A program on this machine that takes notices as a chat would: it notes each with the moment at which it had come as a whole.
//!
//! It says of each that it has it, so whatever comes twice was sent twice.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Largest notice that is taken; a webhook has at most 64 KiB.
const MAX_BODY: usize = 256 * 1024;
/// How long somebody who connected may take to tell.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

/// Something that was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// When it had come.
    pub(crate) at: Instant,
    /// The notice.
    pub(crate) notice: Value,
}

impl Told {
    /// Returns a text of the notice, such as its `title`; nothing where it has none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.notice[field].as_str().unwrap_or_default()
    }

    /// Tells whether an alert of a rule is in it.
    pub(crate) fn has_rule(&self, rule: &str) -> bool {
        let alerts = self.notice["alerts"].as_array();
        alerts.into_iter().flatten().any(|alert| alert["rule"] == rule)
    }
}

/// The program; it takes notices until this process ends.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chat {
    /// Begins to take notices.
    pub(crate) fn begin() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the chat cannot listen")?;
        let chat = Self { address: listener.local_addr()?, told: Arc::default() };
        let told = Arc::clone(&chat.told);
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| take(&stream, &told)));
        Ok(chat)
    }

    /// Writes the file that makes it a target of `lockstep notify add`.
    pub(crate) fn write_target(&self, file: &Path) -> Result<()> {
        let target = format!("kind = \"webhook\"\nurl = \"http://{}/chat\"\n", self.address);
        std::fs::write(file, target).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Returns everything that was told, in the order in which it came.
    pub(crate) fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }
}

/// Takes one notice. Who tells nothing, or no notice, is not noted, and gets no word that it was.
fn take(mut stream: &TcpStream, told: &Mutex<Vec<Told>>) {
    if let Ok(event) = read(stream) {
        let notice = event["data"].clone();
        lock(told).push(Told { at: Instant::now(), notice });
        // Whoever is gone by now tells it again, and that is seen.
        let _ = stream.write_all(ANSWER);
    }
}

fn read(stream: &TcpStream) -> io::Result<Value> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        line.clear();
    }
    if length > MAX_BODY {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use crate::http;

    use super::*;

    fn tell(chat: &Chat, body: &str) -> io::Result<u16> {
        let request = http::request("POST", "/chat", chat.address, &[], body);
        Ok(http::Connection::open(chat.address, PATIENCE)?.exchange(&request)?.status)
    }

    #[test]
    fn a_notice_is_noted_once_and_what_is_none_is_not() {
        let chat = Chat::begin().unwrap();
        let body = r#"{"data":{"kind":"fault","title":"orders fails","alerts":[{"rule":"failing"}]}}"#;
        assert_eq!(tell(&chat, body).unwrap(), 204);
        assert!(tell(&chat, "no notice").is_err());
        let told = chat.told();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].text("kind"), told[0].text("title")), ("fault", "orders fails"));
        assert!(told[0].has_rule("failing") && !told[0].has_rule("all-down"));
    }
}
