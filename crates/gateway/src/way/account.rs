//! What is noted of a request when it is over: counters, and a line in the access log where there is one.

use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::Arm;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::CALLER_PATH_PREFIX;

use super::{Desk, Notes, Rare};
use crate::access::{Asked, Parties};
use crate::asking::Asking;
use crate::glimpse::Glimpse;
use crate::leaving::Delivery;
use crate::peer::Origin;
use crate::problem::Problem;
use crate::recent::Chosen;
use crate::report::{End, Report};
use crate::request::Request;
use crate::seat::Seat;
use crate::trace::{made_id, new_traceparent, trace_id};

impl Asked {
    /// Keeps what the access log says of a request.
    pub(super) fn remember(
        &mut self,
        request: &Request<'_>,
        origin: Result<&Origin, &Problem>,
        made: &str,
        queries: bool,
    ) {
        let keep = |field: &mut String, text: &str| {
            field.clear();
            field.push_str(text);
        };
        keep(&mut self.method, request.method);
        keep(&mut self.host, request.authority.as_str());
        keep(&mut self.path, shown_path(request, origin));
        keep(&mut self.query, if queries { request.query } else { "" });
        keep(&mut self.trace, request.trace_id().or_else(|| trace_id(made)).unwrap_or_default());
    }

    /// Keeps what could be seen of a request whose head is refused.
    fn remember_refused(&mut self, seen: &Glimpse<'_>, made: &str) {
        let trace = trace_id(made).unwrap_or_default().to_owned();
        let Glimpse { method, host, path } = seen;
        let (method, host, path) = ((*method).to_owned(), (*host).to_owned(), path.to_string());
        *self = Self { method, host, path, trace, ..Self::default() };
    }
}

/// Returns the path of a request as others may see it: without a token.
pub(super) fn shown_path<'a>(request: &'a Request<'_>, origin: Result<&Origin, &Problem>) -> &'a str {
    let path = match origin {
        Ok(Origin { caller: Caller::Instance, token }) if *token > 0 => &request.path[*token..],
        // A token that is wrong here may be right elsewhere.
        _ if request.path.starts_with(CALLER_PATH_PREFIX) => CALLER_PATH_PREFIX,
        _ => &request.path,
    };
    if path.is_empty() { "/" } else { path }
}

impl Desk {
    /// Counts a request that is over, and logs it.
    pub(crate) fn account(&self, notes: &mut Notes, report: &mut Report) {
        let took = report.began.elapsed();
        let Rare { met, turned_by, priority, lane, request_id, .. } =
            notes.rare.take().map(|rare| *rare).unwrap_or_default();
        (report.priority, report.is_turned_away) = (priority.0, turned_by.is_some());
        // One that is to wait may be refused before.
        report.fault = met.filter(|met| met.delay().is_none() || report.delayed);
        if report.arm.is_none() {
            report.arm = turned_by.map(|(counts, _)| counts);
        }
        report.lane = lane;
        let seat = notes.seat.take();
        if !notes.is_of_check() {
            self.count(notes, (seat.as_deref(), report), took);
        }
        if let Some(noted) = notes.span.take() {
            self.end_span(noted, seat.clone(), report, took);
        }
        if let Some(ring) = self.worker.recent.as_ref().filter(|_| notes.kept > 0) {
            ring.end(std::mem::take(&mut notes.kept), report, took);
        }
        let request_id = request_id.as_deref().unwrap_or_else(|| made_id(&notes.traceparent));
        self.log(notes, (seat.as_deref(), request_id), report, took);
        notes.asked.iter_mut().for_each(|asked| **asked = Asked::default());
        // What cannot be read next has nothing of this one.
        notes.traceparent.clear();
        notes.rules.clear();
        notes.chosen = None;
    }

    /// Counts a request of a customer for its version, its route and its caller.
    fn count(&self, notes: &mut Notes, (seat, report): (Option<&Seat>, &Report), took: Duration) {
        let served = report.arm.as_ref().and_then(|counts| counts.arm.as_ref());
        if let (Some(lane), Some(_)) = (&report.lane, served) {
            lane.count(lane.served_by(served));
        }
        match &report.arm {
            Some(counts) => counts.count(report, took),
            None => self.environment.own(self.worker.index).count(report, took),
        }
        if let Some(seat) = seat {
            seat.counts.count(report, took);
        }
        if let Some(call) = &mut notes.call
            && let Some(calling) = call.calling.take()
        {
            self.account_call(&calling, call.asking.take(), report);
        }
        if let (Some(operation), Some(callee)) = (notes.visited.take(), served_by(report)) {
            let operations = self.environment.operations(self.worker.index);
            operations.count_client(callee, &operation, (report.status, report.is_failure()));
        }
    }

    /// Notes what can be said of a request whose head is refused, and gives it an id, by which it is found like any other.
    pub(crate) fn note_refused(&self, notes: &mut Notes, seen: &Glimpse<'_>) {
        notes.traceparent.clear();
        new_traceparent(&self.worker.random, &mut notes.traceparent);
        if let Some(asked) = &mut notes.asked {
            asked.remember_refused(seen, &notes.traceparent);
        }
    }

    /// Counts a call of a version that is known.
    fn account_call(&self, calling: &Arc<Arm>, asking: Option<Asking>, report: &Report) {
        let callee = served_by(report);
        let calls = self.environment.calls(self.worker.index);
        if let Some(service) = callee.map(|arm| &arm.service).or(self.peer.calls()) {
            calls.count(calling, service, callee, report.status);
        }
        if let (Some(callee), Some(asking)) = (callee, asking) {
            let operations = self.environment.operations(self.worker.index);
            operations.count(calling, callee, asking, report.is_failure());
        }
    }

    /// Writes the line of a request, where there is a log.
    fn log(&self, notes: &Notes, (seat, request_id): (Option<&Seat>, &str), report: &Report, took: Duration) {
        let (Some(log), Some(asked)) = (&self.worker.access, &notes.asked) else { return };
        let instance = report.instance.as_ref().map(|instance| instance.name());
        let environment = self.environment.name().as_str();
        let caller = self.peer.point().map(|point| point.instance.as_str());
        let tls = self.peer.secure.as_ref().map(|secure| secure.version);
        let client = self.peer.text();
        let instance = instance.as_deref();
        let route = seat.map(|seat| seat.label.as_str());
        let why = notes.chosen.map(Chosen::word);
        let parties = Parties { environment, client, caller, tls, instance, route, why, request_id };
        log.note(parties, asked, report, took, self.worker.random.draw());
    }
}

/// The version that answered a request.
fn served_by(report: &Report) -> Option<&Arm> {
    report.arm.as_ref().and_then(|counts| counts.arm.as_ref())
}

/// What becomes of a request while it is served. Where the gateway ends before it does it is logged all the same.
#[derive(Debug)]
pub(crate) struct Reporting<'d> {
    desk: &'d Desk,
    notes: &'d Notes,
    delivery: &'d Delivery,
    report: Option<Report>,
}

impl<'d> Reporting<'d> {
    pub(crate) fn begin(desk: &'d Desk, notes: &'d Notes, delivery: &'d Delivery, report: Report) -> Self {
        Self { desk, notes, delivery, report: Some(report) }
    }

    /// Returns the report that is written.
    pub(crate) fn report(&mut self) -> &mut Report {
        self.report.get_or_insert_with(Report::begin)
    }

    /// Ends with the request.
    pub(crate) fn over(mut self) -> Report {
        self.report.take().unwrap_or_else(Report::begin)
    }
}

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            let report = Report { end: End::Cut, bytes: self.delivery.bytes(), ..report };
            let seat = self.notes.seat.as_deref();
            let about = (seat, self.notes.request_id());
            self.desk.log(self.notes, about, &report, report.began.elapsed());
        }
    }
}
