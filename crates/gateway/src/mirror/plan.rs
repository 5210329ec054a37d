//! A copy while its original is under way: what is sent, and what the client was answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use lockstep_domain::mirror::{Seen, told_path};

use super::HEADER;
use crate::answer::Asked;
use crate::exchange::{Facts, Head};
use crate::framing::Recode;
use crate::grpc::GrpcStatus;
use crate::outgoing::{Fields as _, Pieces};
use crate::request::{Onward, Request};
use crate::table::ServiceTargets;
use crate::trial::Tap;
use crate::waits::Waits;
use crate::way::{Desk, Notes, Routed};

/// Longest time that a copy may take as a whole.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest path that is told of a copy.
const MAX_PATH: usize = 160;
/// Fields that a copy has not: with the key of its original, a service would take the one for the other.
const LEFT_OUT: [&str; 3] = ["idempotency-key", "x-idempotency-key", "expect"];

/// A copy whose original is under way.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) service: Arc<ServiceTargets>,
    pub(super) head: Head,
    pub(super) asked: Asked,
    pub(super) operation: String,
    /// Whether it can be sent again when an instance closed a connection that it had kept.
    pub(super) is_safe: bool,
    pub(super) connect: Duration,
    pub(super) limit: Duration,
    pub(super) body: Bytes,
    /// Whether that is all of the body.
    is_whole: bool,
    pub(super) before: Option<Before>,
}

/// What the client was answered.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) seen: Seen,
    /// How long that took to begin.
    pub(super) took: Duration,
}

impl Plan {
    /// Makes a copy of a request that has a way, where it is one of those that are copied. `has_body` says whether it has, here or still
    /// on its way.
    pub(crate) fn of(
        request: &Request<'_>,
        routed: &Routed,
        (desk, notes): (&Desk, &Notes),
        has_body: bool,
    ) -> Option<Box<Self>> {
        let mirror = routed.service.mirror.as_ref()?;
        let is_call = request.call.is_some();
        let is_meant = !routed.ruled
            && routed.pick.target != mirror.target
            && !request.websocket
            && request.switches.is_none()
            && mirror.which.takes(request.method, is_call)
            && desk.worker.random.below(lockstep_domain::routes::FULL_WEIGHT as usize)
                < mirror.which.share as usize;
        if !is_meant {
            return None;
        }
        let target = &routed.service.targets[mirror.target];
        let is_web = request.call.is_some_and(|call| call.web.is_some());
        if is_web || (has_body && target.protocol != routed.target().protocol) {
            mirror.state.count_uncopied();
            return None;
        }
        let rules: Vec<u64> = notes.rules.iter().copied().chain([mirror.state.id]).collect();
        let onward = Onward { rules: &rules, ..desk.onward(routed, notes) };
        let head = if is_call || target.speaks_h2c() {
            Head::streams(request, &onward, Bytes::new()).ok()?
        } else {
            let mut head = Vec::with_capacity(1_024);
            request.write(&mut head, &onward);
            Head::Bytes(head)
        };
        let path = notes.changes.as_ref().and_then(|changes| changes.path());
        let path = path.unwrap_or(&request.path[routed.strip..]);
        let path = told_path(if path.is_empty() { "/" } else { &path[..path.floor_char_boundary(MAX_PATH)] });
        let Waits { answer, connect, .. } = routed.waits;
        Some(Box::new(Self {
            service: Arc::clone(&routed.service),
            head: marked(head),
            asked: Asked {
                is_head: request.method == "HEAD",
                websocket: false,
                upgrade: None,
                minor: 1,
                is_call,
                web: None,
                waits_to_go_on: request.waits_to_go_on(),
            },
            operation: format!("{} {path}", request.method),
            is_safe: matches!(request.method, "GET" | "HEAD" | "OPTIONS") && !has_body,
            connect,
            limit: answer.min(LONGEST),
            body: Bytes::new(),
            is_whole: !has_body,
            before: None,
        }))
    }

    /// Takes what is here of the body.
    pub(crate) fn take_body(&mut self, body: &[u8], is_all: bool) {
        (self.body, self.is_whole) = (Bytes::copy_from_slice(body), is_all);
    }

    /// Takes the rest of the body; returns whether it is here as a whole now.
    pub(crate) fn end_body(&mut self, rest: Option<Bytes>) -> bool {
        if let (false, Some(rest), Head::Parts(..)) = (self.is_whole, rest, &self.head) {
            self.body = [&self.body[..], &rest].concat().into();
            self.is_whole = true;
        }
        self.is_whole
    }

    /// Counts that it is not sent.
    pub(crate) fn give_up(self: Box<Self>) {
        self.service.mirror.iter().for_each(|mirror| mirror.state.count_uncopied());
    }

    /// Tells whether the answer of the original is to be copied for it.
    pub(crate) fn tap(&self, written: &impl Pieces, recode: Recode) -> Option<Tap> {
        tap(self.asked, written, recode)
    }

    /// Notes what the client was answered.
    pub(crate) fn answered(
        &mut self,
        status: u16,
        grpc: Option<GrpcStatus>,
        took: Duration,
        tap: Option<Tap>,
    ) {
        self.before = Some(Before { seen: seen(status, grpc, tap), took });
    }
}

/// Begins to copy an answer whose head is written, where it has a body that can be compared.
pub(super) fn tap(asked: Asked, written: &impl Pieces, recode: Recode) -> Option<Tap> {
    (!asked.is_head && !asked.is_call).then(|| written.tap(recode)).flatten()
}

/// Puts what is compared of an answer together.
pub(super) fn seen(status: u16, grpc: Option<GrpcStatus>, tap: Option<Tap>) -> Seen {
    let (media_type, is_json) = tap.as_ref().map_or((None, false), |tap| {
        (Some(tap.media_type.clone()).filter(|it| !it.is_empty()), tap.is_json())
    });
    let json = tap.filter(|_| is_json).and_then(Tap::body).filter(|body| !body.is_empty());
    Seen { status, grpc: grpc.map(GrpcStatus::code), media_type, json }
}

/// Says in a head that it is a copy, and takes out what would make it more than that.
fn marked(head: Head) -> Head {
    let is_left_out = |name: &str| LEFT_OUT.iter().any(|it| it.eq_ignore_ascii_case(name));
    match head {
        Head::Bytes(mut bytes) => {
            bytes.drop_fields(&is_left_out);
            bytes.truncate(bytes.len() - 2);
            bytes.field(HEADER, b"1");
            bytes.extend_from_slice(b"\r\n");
            Head::Bytes(bytes)
        }
        Head::Parts(mut parts, early) => {
            LEFT_OUT.iter().for_each(|name| drop(parts.headers.remove(*name)));
            parts.headers.insert(HeaderName::from_static(HEADER), HeaderValue::from_static("1"));
            Head::Parts(parts, early)
        }
    }
}

/// Gives a request its copy, now that it is known how its body comes.
pub(crate) fn settle(facts: &mut Facts, body: Option<(&[u8], bool)>) {
    match (facts.copy.as_mut(), body) {
        (Some(plan), Some((body, is_all))) => plan.take_body(body, is_all),
        (Some(plan), None) if !plan.is_whole => facts.copy.take().into_iter().for_each(Plan::give_up),
        _ => {}
    }
}
