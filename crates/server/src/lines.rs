//! Logs and exports as streams of lines.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use lockstep_api::types::LogQuery;
use lockstep_control::Follow;
use lockstep_domain::{EnvironmentName, InstanceId};
use lockstep_files::foreign;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::answer::{Asked, At, Failure, UNBUFFERED};
use crate::handlers::App;

/// Chunks that may wait for a slow reader.
const QUEUE: usize = 16;
/// How much of a log is sent at once.
const CHUNK: usize = 64 * 1024;
/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Deserialize)]
pub(crate) struct Following {
    #[serde(default)]
    follow: bool,
}

type Chunks = Sender<io::Result<Bytes>>;

pub(crate) async fn build_log(
    State(control): App,
    State(stop): State<CancellationToken>,
    At(id): At<String>,
    Asked(following): Asked<Following>,
) -> Result<Response, Failure> {
    let log = control.build_log(&id)?;
    let over = move || !following.follow || log.view.borrow().state.is_over();
    Ok(streamed(stop, |sender| send_file(log.path, over, sender)))
}

/// Answers with what `send` sends, until it is through, the reader leaves or the server stops.
fn streamed<F: Future<Output = ()> + Send + 'static>(
    stop: CancellationToken,
    send: impl FnOnce(Chunks) -> F,
) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
    let sends = send(sender.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = sends => {}
            () = stop.cancelled() => {}
            () = sender.closed() => {}
        }
    });
    text(Body::from_stream(ReceiverStream::new(receiver)))
}

/// Sends a file that may still grow, until `over` says that it does not.
async fn send_file(path: PathBuf, over: impl Fn() -> bool, sender: Chunks) {
    let mut file = None;
    let mut buffer = vec![0; CHUNK];
    loop {
        // Asked before reading: what was written before the end is read after it.
        let last_round = over();
        if file.is_none() {
            file = open(path.clone()).await;
        }
        while let Some(open) = &mut file {
            match open.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    if sender.send(Ok(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                        return;
                    }
                }
            }
        }
        if last_round {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = sender.closed() => return,
        }
    }
}

/// Opens a log in a folder that a build can write to: anything but a file is not there.
async fn open(path: PathBuf) -> Option<tokio::fs::File> {
    let opened = tokio::task::spawn_blocking(move || foreign::open_no_link(&path)).await;
    opened.ok()?.ok().map(tokio::fs::File::from_std)
}

pub(crate) async fn instance_log(
    State(control): App,
    State(stop): State<CancellationToken>,
    At((environment, id)): At<(EnvironmentName, InstanceId)>,
    Asked(following): Asked<Following>,
) -> Result<Response, Failure> {
    let follow = if following.follow { Follow::Yes } else { Follow::No };
    let mut log = control.instance_log(&environment, &id, follow).await?;
    Ok(streamed(stop, |sender| async move {
        while let Ok(Some(mut line)) = log.next_line().await {
            line.push('\n');
            if sender.send(Ok(Bytes::from(line))).await.is_err() {
                return;
            }
        }
    }))
}

pub(crate) async fn logs(
    State(control): App,
    State(stop): State<CancellationToken>,
    At(environment): At<EnvironmentName>,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, Failure> {
    let mut entries = control.logs(&environment, &query).await?;
    Ok(streamed(stop, |sender| async move {
        while let Some(entry) = entries.recv().await {
            let Ok(mut line) = serde_json::to_vec(&entry) else { continue };
            line.push(b'\n');
            if sender.send(Ok(Bytes::from(line))).await.is_err() {
                return;
            }
        }
    }))
}

pub(crate) async fn export_journal(State(control): App) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let writer = io::BufWriter::with_capacity(CHUNK, ChannelWriter(sender.clone()));
        if let Err(problem) = control.export_journal(writer) {
            // The stream breaks off, so that nobody takes a part for the whole.
            let _ = sender.blocking_send(Err(io::Error::other(problem.to_string())));
        }
    });
    text(Body::from_stream(ReceiverStream::new(receiver)))
}

struct ChannelWriter(Chunks);

impl io::Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn text(body: Body) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, UNBUFFERED, body).into_response()
}
