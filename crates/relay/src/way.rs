//! Ways to the other side: opened within a limit, kept for a moment, and used again for what may be asked twice.
//!
//! A connection that was idle may be closed by the other side while a request is on its way, and nobody knows whether it arrived. So
//! only requests that may be repeated go there, and are asked once more on a fresh one; all others get a fresh one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lockstep_reach::Witness;
use tokio::time::timeout;

use crate::MAX_FIELDS;
use crate::other_side::{OtherSide, words};
use crate::refusal::Refusal;

/// What requests are made of.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, hyper::Error>;

/// How long a connection is kept without a request: many servers close theirs after 5 s.
const KEPT: Duration = Duration::from_secs(4);
/// Most connections that are kept: more than are needed where one host answers.
const MAX_KEPT: usize = 64;

/// Connections that wait for a request.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Vec<(Instant, Way)>>);

impl Ways {
    /// Takes the one that was used last.
    pub(crate) fn take(&self) -> Option<Way> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clear(&mut kept);
        kept.pop().map(|(_, way)| way)
    }

    fn put(&self, way: Way) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clear(&mut kept);
        if kept.len() < MAX_KEPT {
            kept.push((Instant::now(), way));
        }
    }
}

fn clear(kept: &mut Vec<(Instant, Way)>) {
    kept.retain(|(since, way)| since.elapsed() < KEPT && way.sender.is_ready() && !way.sender.is_closed());
}

/// A connection to the other side.
#[derive(Debug)]
pub(crate) struct Way {
    sender: SendRequest<Outgoing>,
    witness: Witness,
}

impl Way {
    /// Opens a connection.
    pub(crate) async fn open(other_side: &OtherSide) -> Result<Self, Refusal> {
        let late = || {
            let limit = other_side.connect.as_millis();
            Refusal::too_late(format!("{other_side} was not reached within {limit} ms"))
        };
        let dialled = timeout(other_side.connect, other_side.reach.dial()).await.map_err(|_| late())?;
        let dialled = dialled.map_err(|error| Refusal::bad_gateway(words(&error)))?;
        let opened = Builder::new().max_headers(MAX_FIELDS).handshake(TokioIo::new(dialled.stream)).await;
        let witness = dialled.witness;
        let (sender, connection) =
            opened.map_err(|error| Refusal::bad_gateway(words(&witness.explain(error))))?;
        // Ends by itself; an error of it reaches the sender or the body too.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender, witness })
    }

    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, Refusal> {
        let sent = self.sender.send_request(request).await;
        sent.map_err(|error| Refusal::bad_gateway(words(&self.witness.explain(error))))
    }

    /// Keeps it for the next request, once its answer is over.
    pub(crate) fn keep(mut self, other_side: &Arc<OtherSide>) {
        let other_side = Arc::clone(other_side);
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                other_side.ways.put(self);
                tokio::time::sleep(KEPT).await;
                let mut kept = other_side.ways.0.lock().unwrap_or_else(PoisonError::into_inner);
                clear(&mut kept);
            }
        });
    }
}
