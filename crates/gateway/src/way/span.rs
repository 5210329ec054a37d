//! The span of a request: what is noted of it at its beginning, and whether it is sent at its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::conditions::RequestView as _;

use super::account::shown_path;
use super::{Desk, Notes};
use crate::peer::Origin;
use crate::problem::Problem;
use crate::report::Report;
use crate::request::Request;
use crate::request_view::View;
use crate::seat::Seat;
use crate::spans::{Ended, Noted, Record, Spans};

impl Desk {
    /// Decides whether a request has a span, and what of its trace goes on.
    pub(super) fn begin_span(
        &self,
        spans: &Spans,
        request: &Request<'_>,
        origin: Result<&Origin, &Problem>,
        notes: &mut Notes,
    ) {
        notes.span = None;
        let caller = origin.map_or(Caller::Outside, |origin| origin.caller);
        let begun = spans.begin(&self.worker.random, request.trace(), caller.is_trusted());
        let Some(begun) = begun else { return };
        begun.onward.write(&mut notes.traceparent);
        notes.span = begun.noted.map(|noted| self.note(noted, spans, request, (origin, caller)));
    }

    fn note(
        &self,
        noted: Box<Noted>,
        spans: &Spans,
        request: &Request<'_>,
        (origin, caller): (Result<&Origin, &Problem>, Caller),
    ) -> Box<Noted> {
        let table = self.environment.table(self.worker.index).load();
        let routes = table.as_ref().map(|table| &table.routes);
        let behind = routes
            .filter(|_| caller == Caller::Proxy)
            .and_then(|routes| View { request, peer: &self.peer, caller, rules: routes.rules() }.client());
        let query = if spans.has_queries() { Noted::text(request.query) } else { String::new() };
        Box::new(Noted {
            method: Noted::text(request.method),
            host: Noted::text(request.authority.as_str()),
            path: Noted::text(shown_path(request, origin)),
            query,
            minor: request.minor,
            is_https: self.is_https(request, caller),
            is_call: request.call.is_some(),
            port: self.peer.port,
            peer: Some(self.peer.told().client),
            client: behind,
            caller: Some(caller),
            point: self.peer.point().map(|point| point.instance.clone()),
            baseline: routes.map_or(0, |routes| routes.baseline),
            ..*noted
        })
    }

    /// Sends the span of a request that is over, where it is wanted.
    pub(super) fn end_span(
        &self,
        noted: Box<Noted>,
        seat: Option<Arc<Seat>>,
        report: &mut Report,
        took: Duration,
    ) {
        let Some(spans) = &self.worker.spans else { return };
        let hops = *report.hops.take().unwrap_or_default();
        if !spans.wants(&noted, report.is_failed(), took) {
            return;
        }
        let ended = Ended {
            at: SystemTime::now(),
            began: report.began,
            took,
            environment: self.environment.name().clone(),
            seat,
            arm: report.arm.clone(),
            status: report.status,
            code: report.code,
            grpc: report.grpc,
            end: report.end,
            retried: report.retried,
            hedged: report.hedged,
            is_shielded: report.shielded,
            is_degraded: report.degraded,
            is_mirrored: report.mirrored,
            fault: report.fault,
            priority: report.priority,
            lane: report.lane.as_ref().map(|lane| lane.name().to_owned()),
        };
        spans.send(Box::new(Record::Request(noted, hops, ended)));
    }
}
