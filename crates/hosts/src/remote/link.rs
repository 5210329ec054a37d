//! A connection to an agent that has greeted.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use super::log::RemoteLog;
use super::transfer::Progress;
use super::{ConnectError, ConnectFault, Connection, Holds};
use crate::protocol::{ARTIFACT_FIELD, Artifact, LogRequest, Said};
use crate::refusal::Refusal;
use crate::wire::{self, Heard, Lines};

/// How long an agent may take to greet: it may have to end the one before, and asks every supervisor of its host.
const GREETING: Duration = Duration::from_secs(30);
/// How long a host may take to take a piece: one that takes none holds up what others are to be sent.
const STALLED: Duration = Duration::from_secs(60);
/// How much of an artifact is read at a time.
const PIECE: usize = 256 * 1024;

/// A connection to an agent that has greeted. Its clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Link {
    requests: SendRequest<Bytes>,
    held: Arc<Ends>,
}

/// Ends a connection with the last who has it.
#[derive(Debug)]
struct Ends {
    driving: AbortHandle,
    pinging: AbortHandle,
    held: Box<dyn Holds>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.driving.abort();
        self.pinging.abort();
    }
}

impl Link {
    /// Begins to speak with an agent.
    pub(super) async fn open(connection: Connection) -> Result<Self, ConnectError> {
        let held = connection.held;
        let broken = |error: &io::Error, said: &str| {
            ConnectError::new(ConnectFault::Broken, format!("{error} {said}").trim_end().to_owned())
        };
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(wire::STREAM_WINDOW)
            .initial_connection_window_size(wire::CONNECTION_WINDOW);
        builder.max_concurrent_streams(0).enable_push(false);
        let begun = builder.handshake::<_, Bytes>(Heard::new(connection.streams)).await;
        let (requests, mut driven) = begun.map_err(|error| broken(&wire::as_io(error), &held.said()))?;
        let pings = driven.ping_pong();
        let driving = tokio::spawn(async move { drop(driven.await) }).abort_handle();
        let pinging = tokio::spawn(ping(pings, driving.clone())).abort_handle();
        Ok(Self { requests, held: Arc::new(Ends { driving, pinging, held }) })
    }

    /// Asks the first question of a connection, which may be refused.
    pub(super) async fn first<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> Result<A, ConnectError> {
        match timeout(GREETING, self.ask_first(path, question)).await.map_err(io::Error::from).flatten() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(ConnectError::new(ConnectFault::Refused, refusal.text)),
            Err(error) => Err(ConnectError::new(ConnectFault::Broken, self.explain(&error))),
        }
    }

    async fn ask_first<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> io::Result<Result<A, Refusal>> {
        let response = self.send(path, wire::message(question)?).await?;
        match response.status() {
            StatusCode::OK => wire::read(response.into_body()).await.map(Ok),
            _ => wire::read(response.into_body()).await.map(Err),
        }
    }

    /// Asks for a message with a message.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> io::Result<A> {
        let asked = async { wire::read(self.send(path, wire::message(question)?).await?.into_body()).await };
        timeout(wire::ANSWER, asked).await.map_err(io::Error::from).flatten()
    }

    /// Tells whether it is the same connection as another.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held, &other.held)
    }

    /// Begins to watch the instances there.
    pub(super) async fn watch(&self) -> io::Result<Lines> {
        Ok(Lines::of(self.send("/watch", Bytes::new()).await?.into_body()))
    }

    /// Begins to read a log; `None` when there is none.
    pub(super) async fn log(&self, wanted: &LogRequest) -> io::Result<Option<RemoteLog>> {
        let response = self.send("/log", wire::message(wanted)?).await?;
        let is_there = response.status() == StatusCode::OK;
        Ok(is_there.then(|| RemoteLog(Lines::of(response.into_body()))))
    }

    /// Waits until a gateway of the host wants to say something; returns what it says, and where it hears.
    pub(super) async fn way(&self) -> io::Result<(RecvStream, SendStream<Bytes>)> {
        let request = Request::post(uri("/way")).body(()).map_err(io::Error::other)?;
        let (response, to) = self.begin(request).await?;
        let response = response.await.map_err(wire::as_io)?;
        match response.status() {
            StatusCode::OK => Ok((response.into_body(), to)),
            _ => Err(io::Error::other(wire::read::<Refusal>(response.into_body()).await?.text)),
        }
    }

    /// Sends a file that belongs to an artifact, from its offset on.
    pub(super) async fn send_file(
        &self,
        to: &str,
        artifact: &Artifact,
        path: &Path,
        progress: &Progress,
    ) -> io::Result<Said> {
        let announced = serde_json::to_string(artifact)?;
        let request = Request::post(uri(to)).header(ARTIFACT_FIELD, announced);
        let (response, mut body) = self.begin(request.body(()).map_err(io::Error::other)?).await?;
        let sending = send_file(path, artifact.offset, &mut body, progress);
        tokio::pin!(response);
        // An agent that cannot take it says so before all of it was sent, and its words say more than that it was not taken.
        let answered = tokio::select! {
            answered = &mut response => answered.map_err(wire::as_io),
            sent = sending => {
                let answered = response.await.map_err(wire::as_io);
                answered.map_err(|error| sent.err().unwrap_or(error))
            }
        };
        wire::read(answered?.into_body()).await
    }

    async fn send(&self, path: &str, message: Bytes) -> io::Result<Response<RecvStream>> {
        let request = Request::post(uri(path)).body(()).map_err(io::Error::other)?;
        let (response, mut body) = self.begin(request).await?;
        wire::send(&mut body, message).await?;
        wire::end(&mut body)?;
        response.await.map_err(wire::as_io)
    }

    async fn begin(&self, request: Request<()>) -> io::Result<(ResponseFuture, SendStream<Bytes>)> {
        let mut requests = self.requests.clone().ready().await.map_err(wire::as_io)?;
        requests.send_request(request, false).map_err(wire::as_io)
    }

    /// Says why something on this connection failed: in the words of whoever made it, if it has any.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let said = self.held.held.said();
        if said.is_empty() { error.to_string() } else { format!("{error}; it said: {said}") }
    }
}

fn uri(path: &str) -> String {
    format!("http://host{path}")
}

/// Asks again and again whether the other side is there; silence ends the connection, also one that waits to send.
async fn ping(pings: Option<PingPong>, driving: AbortHandle) {
    let Some(mut pings) = pings else { return };
    let mut every = interval(wire::PING_EVERY);
    loop {
        every.tick().await;
        match timeout(wire::SILENCE, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => return driving.abort(),
        }
    }
}

async fn send_file(
    path: &Path,
    offset: u64,
    body: &mut SendStream<Bytes>,
    progress: &Progress,
) -> io::Result<()> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    loop {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        if file.read_buf(&mut piece).await? == 0 {
            return wire::end(body);
        }
        let sent = piece.len() as u64;
        timeout(STALLED, wire::send(body, piece.freeze())).await??;
        progress.add(sent);
    }
}
