//! Passes requests to a service that somebody else runs: the program that instances of an external service run.
//!
//! To the gateway it is an instance like any other, so a share of the requests, a verdict, draining and going back hold for what is
//! behind it. Invariants: it listens on loopback only; a request reaches the other side at most once, unless it may be repeated and a
//! connection that was used before brought no answer; what it answers itself says why, and nothing that the other side sends looks like it.

mod answer;
mod fields;
mod other_side;
mod refusal;
mod way;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lockstep_domain::external::{External, VARIABLE};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::other_side::{OtherSide, Unusable};

/// Most connections at a time. The gateway has as many as requests are under way; who has more waits.
const MAX_CONNECTIONS: u64 = 8_192;
/// Files that are no connections of requests: what is kept for later, and what every program has open.
const OTHER_FILES: u64 = 128;
/// How long a head may take, and how long a connection may be idle before it.
const HEAD_LIMIT: Duration = Duration::from_secs(75);
/// Most fields of a head.
pub(crate) const MAX_FIELDS: usize = 256;

/// Passes what is asked on `HOST` and `PORT` to what the variable of relays says, until it is told to end.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let passed = match arguments.next() {
        Some(_) => Err(io::Error::other("a relay takes no arguments")),
        None => read().and_then(run),
    };
    match passed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("requests cannot be passed on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read() -> io::Result<OtherSide> {
    let external: External = serde_json::from_str(&variable(VARIABLE)?)?;
    OtherSide::new(&external, Path::new(".")).map_err(io::Error::other)
}

fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|error| io::Error::other(format!("the variable {name}: {error}")))
}

fn run(other_side: OtherSide) -> io::Result<()> {
    let text = format!("{}:{}", variable("HOST")?, variable("PORT")?);
    let address: SocketAddr =
        text.parse().map_err(|error| io::Error::other(format!("`{text}` is no address: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        let mut ends = signal(SignalKind::terminate())?;
        println!("requests on {address} go to {other_side}");
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::spawn(async move {
            ends.recv().await;
            told.cancel();
        });
        serve(listener, Arc::new(other_side), stop).await;
        Ok(())
    })
}

/// Passes on what comes, until it is stopped and what was begun has ended.
pub async fn serve(listener: TcpListener, other_side: Arc<OtherSide>, stop: CancellationToken) {
    let (tasks, room) = (TaskTracker::new(), Arc::new(Semaphore::new(connections())));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&other_side), tasks.clone(), stop.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // Out of files, or somebody who went away at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// How many connections there may be at a time: each takes another one to the other side.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What cannot be raised is enough for fewer.
    let most = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let files = most.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES) / 2;
    usize::try_from(files.clamp(1, MAX_CONNECTIONS)).unwrap_or(1)
}

async fn connection(
    stream: TcpStream,
    other_side: Arc<OtherSide>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (other_side, tasks) = (Arc::clone(&other_side), tasks.clone());
        async move { Ok::<_, Infallible>(answer::answer(&other_side, request, &tasks).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_headers(MAX_FIELDS);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // Whoever asked learns an error by the end of the connection.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
