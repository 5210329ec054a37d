//! What happened and what happens: a list, and a stream that goes on where it was cut off.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use lockstep_api::Problem;
use lockstep_api::types::EventView;
use lockstep_control::{Control, EventFilter};
use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};
use serde::Deserialize;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Asked, Failure, Json, UNBUFFERED};
use crate::handlers::App;
use crate::watch::{QUEUE, event, last_event_id};

/// How many events of before are shown to whoever does not say.
const USUAL: usize = 50;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Of {
    environment: Option<EnvironmentName>,
    service: Option<ServiceName>,
    within_ms: Option<u64>,
    newest: Option<usize>,
    after: Option<u64>,
}

impl Of {
    fn filter(&self, control: &Control) -> Result<EventFilter, Problem> {
        control.event_filter(self.environment.clone(), self.service.as_ref())
    }

    fn past(&self, control: &Control, filter: &EventFilter) -> Result<(Vec<EventView>, u64), Problem> {
        let newest = self.newest.unwrap_or(USUAL);
        let now = control.ledger().now();
        let since = self.within_ms.map_or(0, |ms| now.0.saturating_sub(ms));
        tokio::task::block_in_place(|| control.past_events(filter, Timestamp(since), newest))
    }
}

pub(crate) async fn list(State(control): App, Asked(of): Asked<Of>) -> Answer<Vec<EventView>> {
    let filter = of.filter(&control)?;
    let found = match of.after {
        Some(seq) => tokio::task::block_in_place(|| control.events_after(&filter, seq)),
        None => of.past(&control, &filter),
    };
    Ok(Json(found?.0))
}

/// Sends what happened, or what happened after a record (`Last-Event-ID`, or `after`), and goes on with what happens until the server stops.
pub(crate) async fn live(
    State(control): App,
    State(stop): State<CancellationToken>,
    Asked(of): Asked<Of>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let filter = of.filter(&control)?;
    // Who comes back has seen more than they asked for at first.
    let (past, seq) = match of.after.unwrap_or(0).max(last_event_id(&headers)) {
        0 => of.past(&control, &filter)?,
        last => (Vec::new(), last),
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = send(control, filter, past, seq, &sender) => {}
            () = stop.cancelled() => {}
            () = sender.closed() => {}
        }
    });
    Ok((UNBUFFERED, Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())).into_response())
}

type Sent = Sender<Result<Event, Infallible>>;

async fn send(control: Arc<Control>, filter: EventFilter, past: Vec<EventView>, mut seq: u64, sender: &Sent) {
    let mut recorded = control.ledger().follow();
    let mut waiting = past;
    loop {
        for view in waiting {
            if sender.send(Ok(event(view.seq, &view))).await.is_err() {
                return;
            }
        }
        recorded.borrow_and_update();
        let found = tokio::task::block_in_place(|| control.events_after(&filter, seq));
        let Ok((views, last)) =
            found.inspect_err(|error| tracing::error!(%error, "events could not be read"))
        else {
            return;
        };
        waiting = views;
        if last == seq && recorded.changed().await.is_err() {
            return;
        }
        seq = last;
    }
}
