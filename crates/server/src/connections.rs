//! The connections of the API: accepted, bounded in number and in time, and ended when the server stops.
//!
//! Invariant: nobody can hold a connection by doing nothing, and when the server stops nobody can hold the server: a
//! connection that waits for its client ends at once, a request under way has [`GRACE`].

mod activity;
mod room;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lockstep_api::problem::PROBLEM_MEDIA_TYPE;
use lockstep_api::{ErrorCode, Problem};
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use activity::{Activity, Answering, Watched};
pub(crate) use room::Limits;
use room::{Room, Seat};

/// How long requests under way may take once the server stops: all but exports of large journals take far less, and
/// for as long nobody else is served.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Longest time from the begin of a connection, or the last answer on it, to the end of the head of a request. Clients keep
/// an idle connection for up to 15 seconds, and should be the ones to close it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take nothing of an answer, or be silent when the kernel asks whether it is there.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may be silent before the kernel asks.
const ASK_AFTER: Duration = Duration::from_secs(30);
/// How long accepting rests after an error such as too many open files, unless a connection ends before.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Clients that are told at once that there is no room; more are not told, so that telling takes no room.
const MOST_TOLD: usize = 16;
/// Time to tell one.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `stop`, then ends every connection within [`GRACE`].
pub(crate) async fn serve(listener: TcpListener, app: Router, limits: Limits, stop: CancellationToken) {
    let mut door = Door::new(listener, limits);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            (stream, peer) = door.accept() => match door.admit(peer, &stop) {
                Some(guest) => drop(connections.spawn(guest.attend(stream, app.clone()))),
                None => door.turn_away(stream, &mut connections),
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(door);
    finish(connections).await;
}

async fn finish(mut connections: JoinSet<()>) {
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!(requests = connections.len(), "requests were cut off");
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    room: Arc<Mutex<Room>>,
    telling: Arc<Semaphore>,
    /// Whether nobody could come in lately: told once, not each time.
    trouble: Trouble,
}

#[derive(PartialEq, Eq)]
enum Trouble {
    Nothing,
    CannotAccept,
    Full,
}

impl Door {
    fn new(listener: TcpListener, limits: Limits) -> Self {
        let telling = Arc::new(Semaphore::new(MOST_TOLD));
        Self { listener, room: Room::new(limits), telling, trouble: Trouble::Nothing }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if self.notice(Trouble::CannotAccept) {
                        tracing::warn!(%error, "no connection can be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Tells whether a trouble is new.
    fn notice(&mut self, trouble: Trouble) -> bool {
        std::mem::replace(&mut self.trouble, trouble) != self.trouble
    }

    fn admit(&mut self, peer: SocketAddr, stop: &CancellationToken) -> Option<Guest> {
        let (activity, leave) = (Activity::begin(Instant::now()), stop.child_token());
        let seat = Room::enter(&self.room, peer.ip(), &activity, &leave);
        match &seat {
            Some(_) => self.trouble = Trouble::Nothing,
            None if self.notice(Trouble::Full) => tracing::warn!(%peer, "too many requests are under way"),
            None => {}
        }
        Some(Guest { peer, activity, leave, _seat: seat? })
    }

    fn turn_away(&self, stream: TcpStream, connections: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(&self.telling).try_acquire_owned() else { return };
        connections.spawn(async move {
            // Whoever does not listen is not told.
            let _ = tokio::time::timeout(TELL_TIMEOUT, tell_full(stream)).await;
            drop(permit);
        });
    }
}

/// A connection that came and went; the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn tell_full(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::new(ErrorCode::Unavailable, "too many requests are under way")
        .with_hint("try again in a moment");
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with something unread would take the answer away again.
    let mut scratch = [0; 1_024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

/// A connection that was let in.
struct Guest {
    peer: SocketAddr,
    activity: Arc<Activity>,
    leave: CancellationToken,
    _seat: Seat,
}

impl Guest {
    /// Answers its requests until it leaves, has to leave, or lets itself be waited for too long.
    async fn attend(self, stream: TcpStream, app: Router) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(peer = %self.peer, %error, "a connection could not be prepared");
        }
        let stream = TokioIo::new(Watched::new(stream, Arc::clone(&self.activity)));
        let (activity, peer) = (Arc::clone(&self.activity), self.peer);
        let service = service_fn(move |request| answer(app.clone(), request, peer, activity.answer()));
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let mut connection = pin!(protocol.serve_connection(stream, service));
        tokio::select! {
            ended = connection.as_mut() => return self.note(ended),
            () = self.leave.cancelled() => {}
        }
        if self.activity.waits_since().is_none() {
            connection.as_mut().graceful_shutdown();
            self.note(connection.await);
        }
    }

    fn note(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection broke off");
        }
    }
}

/// Has the kernel end a connection whose client is gone without a word, or takes nothing of its answer.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ASK_AFTER)?;
    let millis = u32::try_from(SILENCE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, millis)?)
}

/// Answers one request; it is under way until its body has been sent or given up.
async fn answer(
    mut app: Router,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    under_way: Answering,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = app.call(request).await?;
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ends_with_the_body = &under_way;
            frame
        }))
    }))
}

#[cfg(test)]
mod tests;
