//! Gateways on hosts: they come in over the connection that the server has to their host, and by no port.
//!
//! Who somebody is, is decided by the host that they come from: a gateway called `host-NAME`, with the environments that it is for, and
//! nothing else, whatever token or key comes along. Invariant: a host is believed in nothing. A connection has one request and an end; what
//! is read of it and how much at once is bounded for each host, so that one that means harm holds up itself alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lockstep_domain::GatewayName;
use lockstep_hosts::gateway::name_of;
use lockstep_hosts::{Duplex, FromHost};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use crate::connections::GRACE;

/// Longest body: a receipt with as many answers as one may have, in the longest way to write them.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// Bodies of a host that are read at the same time.
const BODIES_AT_ONCE: usize = 4;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection may take: a table may be waited for a minute, and the answer is small.
const LIFE: Duration = Duration::from_secs(150);

/// Where a request came from, when it came from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfHost(pub(crate) GatewayName);

/// Where gateways of hosts come in. Until the server answers, whoever comes is sent away, and comes again.
#[derive(Debug, Default)]
pub struct HostDoor {
    inside: Mutex<Option<Inside>>,
    bodies: Mutex<BTreeMap<GatewayName, Arc<Semaphore>>>,
}

#[derive(Debug, Clone)]
struct Inside {
    app: Router,
    stop: CancellationToken,
}

impl HostDoor {
    /// Begins to answer.
    pub(crate) fn open(&self, app: Router, stop: CancellationToken) {
        *self.inside() = Some(Inside { app, stop });
    }

    /// Ceases to answer. What answers knows who connects to hosts, which knows the door: without this, neither would ever go.
    pub(crate) fn close(&self) {
        *self.inside() = None;
    }

    fn inside(&self) -> MutexGuard<'_, Option<Inside>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bodies_of(&self, gateway: &GatewayName) -> Arc<Semaphore> {
        let mut all = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(gateway.clone()).or_insert_with(|| Arc::new(Semaphore::new(BODIES_AT_ONCE))))
    }
}

impl FromHost for HostDoor {
    fn serve(&self, host: &str, stream: Box<dyn Duplex>) {
        let inside = self.inside().clone();
        let (Some(Inside { app, stop }), Some(gateway)) = (inside, name_of(host)) else { return };
        let visit = Visit { app, bodies: self.bodies_of(&gateway), gateway };
        tokio::spawn(visit.attend(stream, stop));
    }
}

/// One connection.
#[derive(Debug, Clone)]
struct Visit {
    app: Router,
    gateway: GatewayName,
    bodies: Arc<Semaphore>,
}

impl Visit {
    /// Answers one request, until the server stops.
    async fn attend(self, stream: Box<dyn Duplex>, stop: CancellationToken) {
        let gateway = self.gateway.clone();
        let service = service_fn(move |request| self.clone().answer(request));
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
        let mut connection = std::pin::pin!(protocol.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = tokio::time::timeout(LIFE, connection.as_mut()) => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(GRACE, connection).await
            }
        };
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!(%gateway, ?ended, "a connection from a host broke off");
        }
    }

    async fn answer(mut self, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        let has_body = !hyper::body::Body::is_end_stream(request.body());
        // Held until the answer is made, and so until the body was read: it is made of that.
        let _one_of_few = if has_body { self.bodies.acquire().await.ok() } else { None };
        let mut request: Request = request.map(|body| Body::new(Limited::new(body, MAX_BODY_BYTES)));
        request.extensions_mut().insert(OfHost(self.gateway));
        self.app.call(request).await
    }
}

#[cfg(test)]
mod tests;
