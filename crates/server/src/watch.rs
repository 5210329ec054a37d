//! Server-sent events of operations and builds, which a client can resume where it was cut off, and of readiness.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use lockstep_api::types::{BuildView, ReadinessView};
use lockstep_api::{ErrorCode, Problem};
use lockstep_control::Control;
use lockstep_domain::{EnvironmentName, OperationId, Recorded, World};
use serde::Serialize;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::answer::{At, Failure, UNBUFFERED};
use crate::handlers::App;

/// Events that may wait for a slow reader before the sender waits for it.
pub(crate) const QUEUE: usize = 64;

/// What handlers can ask for.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    pub(crate) control: Arc<Control>,
    /// Ends streams when the server stops.
    pub(crate) stop: CancellationToken,
}

impl FromRef<AppState> for Arc<Control> {
    fn from_ref(state: &AppState) -> Self {
        Self::clone(&state.control)
    }
}

impl FromRef<AppState> for CancellationToken {
    fn from_ref(state: &AppState) -> Self {
        state.stop.clone()
    }
}

/// Sends all events of an operation, from the first or from after `Last-Event-ID`, until it is over.
pub(crate) async fn operation(
    State(control): App,
    State(stop): State<CancellationToken>,
    At(id): At<OperationId>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    control.operation(id)?;
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
    let mut follower = Follower { seq: last_event_id(&headers), control, id, waiting: VecDeque::new() };
    tokio::spawn(async move {
        let send = async {
            while let Some(recorded) = follower.next().await {
                let event = event(recorded.seq, &recorded);
                if sender.send(Ok::<_, Infallible>(event)).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = send => {}
            () = stop.cancelled() => {}
            () = sender.closed() => {}
        }
    });
    Ok((UNBUFFERED, Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())).into_response())
}

struct Follower {
    control: Arc<Control>,
    id: OperationId,
    seq: u64,
    waiting: VecDeque<Recorded>,
}

impl Follower {
    async fn next(&mut self) -> Option<Recorded> {
        let mut world = self.control.ledger().follow();
        loop {
            if let Some(recorded) = self.waiting.pop_front() {
                return Some(recorded);
            }
            let settled = is_settled(&world.borrow_and_update(), self.id);
            let found = tokio::task::block_in_place(|| self.control.ledger().events_of(self.id, self.seq));
            let found =
                found.inspect_err(|error| tracing::error!(%error, "events could not be read")).ok()?;
            self.seq = found.last().map_or(self.seq, |last| last.seq);
            self.waiting.extend(found);
            if self.waiting.is_empty() && (settled || world.changed().await.is_err()) {
                return None;
            }
        }
    }
}

fn is_settled(world: &World, id: OperationId) -> bool {
    world.find_operation(id).is_none_or(|operation| operation.phase.is_settled())
}

/// Sends where an environment can go back to, and again whenever something of it changes, until it is removed or the server stops. Each event
/// is the whole of it, so who comes back needs nothing of before.
pub(crate) async fn readiness(
    State(control): App,
    State(stop): State<CancellationToken>,
    At(name): At<EnvironmentName>,
) -> Result<Response, Failure> {
    tokio::task::block_in_place(|| control.readiness(&name, None))?;
    let view = control.follow_readiness(&name);
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = send_readiness(view, &sender) => {}
            () = stop.cancelled() => {}
            () = sender.closed() => {}
        }
    });
    Ok((UNBUFFERED, Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())).into_response())
}

async fn send_readiness(
    mut view: watch::Receiver<Option<ReadinessView>>,
    sender: &tokio::sync::mpsc::Sender<Result<Event, Infallible>>,
) {
    loop {
        let newest = view.borrow_and_update().clone();
        if let Some(newest) = newest
            && sender.send(Ok(event(newest.revision, &newest))).await.is_err()
        {
            return;
        }
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Sends the view of a build whenever it changes, until it is over.
pub(crate) async fn build(
    State(control): App,
    State(stop): State<CancellationToken>,
    At(id): At<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let view = control.follow_build(&id)?;
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
    let seen = last_event_id(&headers);
    tokio::spawn(async move {
        tokio::select! {
            () = send_views(view, seen, &sender) => {}
            () = stop.cancelled() => {}
            () = sender.closed() => {}
        }
    });
    Ok((UNBUFFERED, Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())).into_response())
}

async fn send_views(
    mut view: watch::Receiver<BuildView>,
    mut seen: u64,
    sender: &tokio::sync::mpsc::Sender<Result<Event, Infallible>>,
) {
    loop {
        let newest = view.borrow_and_update().clone();
        if newest.revision > seen || newest.state.is_over() {
            seen = newest.revision;
            if sender.send(Ok(event(newest.revision, &newest))).await.is_err() {
                return;
            }
        }
        if newest.state.is_over() || view.changed().await.is_err() {
            return;
        }
    }
}

pub(crate) fn event(id: u64, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).unwrap_or_else(|error| {
        serde_json::to_string(&Problem::new(ErrorCode::Internal, error.to_string())).unwrap_or_default()
    });
    Event::default().id(id.to_string()).data(text)
}

pub(crate) fn last_event_id(headers: &HeaderMap) -> u64 {
    headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok()).unwrap_or(0)
}
