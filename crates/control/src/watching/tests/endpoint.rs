//! What listens where chats and webhooks are: real HTTP, which may hear, answer, or not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::lock;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// It is kept and answered.
    All,
    /// It is kept, and the connection ends without an answer.
    AndSaysNothing,
    /// The connection ends before anything is read.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    address: String,
    hears: Arc<Mutex<Hears>>,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Endpoint {
    pub(super) async fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (hears, heard) = (Arc::new(Mutex::new(Hears::All)), Arc::<Mutex<Vec<_>>>::default());
        let (does, keeps) = (Arc::clone(&hears), Arc::clone(&heard));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let does = *lock(&does);
                if does != Hears::Nothing {
                    // Who breaks off says nothing that is to be kept.
                    let _ = take(stream, does, &keeps).await;
                }
            }
        });
        Self { address, hears, heard }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(super) fn hears(&self, hears: Hears) {
        *lock(&self.hears) = hears;
    }

    /// All that was heard: paths and bodies.
    pub(super) fn heard(&self) -> Vec<(String, String)> {
        lock(&self.heard).clone()
    }

    /// The bodies that came to a path.
    pub(super) fn of(&self, path: &str) -> Vec<String> {
        let heard = self.heard().into_iter();
        heard.filter(|(to, _)| to.trim_start_matches('/') == path).map(|(_, body)| body).collect()
    }

    /// What kinds of notices came to a webhook.
    pub(super) fn kinds(&self, path: &str) -> Vec<String> {
        self.events(path).iter().map(kind).collect()
    }

    /// The same, of those whose id had not come before.
    pub(super) fn once(&self, path: &str) -> Vec<String> {
        let mut known = BTreeSet::new();
        let events = self.events(path);
        events.iter().filter(|it| known.insert(it["id"].as_str().unwrap())).map(kind).collect()
    }

    fn events(&self, path: &str) -> Vec<Value> {
        self.of(path).iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }
}

fn kind(event: &Value) -> String {
    event["data"]["kind"].as_str().unwrap().to_owned()
}

async fn take(
    mut stream: TcpStream,
    does: Hears,
    keeps: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let (mut reader, mut line, mut path, mut length) =
        (BufReader::new(read), String::new(), String::new(), 0);
    while reader.read_line(&mut line).await? > 2 {
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    lock(keeps).push((path, String::from_utf8_lossy(&body).into_owned()));
    match does {
        Hears::All => {
            write.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await
        }
        Hears::AndSaysNothing | Hears::Nothing => Ok(()),
    }
}
