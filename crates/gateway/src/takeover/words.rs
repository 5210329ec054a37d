//! What the two processes say to each other: lines of JSON, in turn.
//!
//! ```text
//! new: Ask       old: Given (or why not)
//! new: "go"      old: the sockets
//! new: "serving" old: "leaving"
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use lockstep_domain::EnvironmentName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// The form of these words; another one is refused.
pub(super) const FORM: u32 = 1;
/// Longest line: each of some thousand sockets takes about 60 bytes.
const MAX_LINE: usize = 1024 * 1024;

/// What a process says that wants to take over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The form of the words.
    pub(super) takeover: u32,
    /// Its run.
    pub(super) run: String,
    /// What it serves.
    pub(super) environments: Vec<EnvironmentName>,
    /// The socket by which it follows its server, where it is one: two servers may have gateways on one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<PathBuf>,
}

impl Ask {
    /// Asks for a run that serves these environments, and follows its server by a socket or otherwise.
    pub(crate) fn new(run: &str, environments: Vec<EnvironmentName>, socket: Option<PathBuf>) -> Self {
        Self { takeover: FORM, run: run.to_owned(), environments, socket }
    }
}

/// What the process that listens answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Given {
    /// Its run.
    pub(super) run: String,
    /// Why it gives nothing.
    #[serde(default)]
    pub(super) refused: Option<String>,
    /// Where the sockets are listening that follow, in their order.
    #[serde(default)]
    pub(super) sockets: Vec<Place>,
}

/// Where one socket listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    /// Whether it is the one that operators ask.
    pub(super) is_admin: bool,
}

/// A word without more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Go,
    Serving,
    Leaving,
}

pub(super) async fn say(stream: &mut UnixStream, word: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// Reads the next line. The other side says nothing more before it is answered.
pub(super) async fn hear<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        if line.len() > MAX_LINE {
            return Err(io::Error::other("what it says is too long"));
        }
        if stream.read_buf(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

pub(super) async fn expect(stream: &mut UnixStream, word: Word) -> io::Result<()> {
    let heard: Word = hear(stream).await?;
    if heard == word {
        Ok(())
    } else {
        Err(io::Error::other(format!("it said {heard:?} instead of {word:?}")))
    }
}
