//! Writing the head of a request anew for an instance: without what ends at the gateway, with what the gateway adds.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::header::{HeaderName, HeaderValue, VIA};
use http::uri::{PathAndQuery, Scheme};
use lockstep_domain::gateway_rules::{Caller, ViaField};
use lockstep_domain::priority::Priority;
use lockstep_domain::visit::Entered;

use super::{ASTERISK, Request};
use crate::changes::Changes;
use crate::field::Field;
use crate::grpc_web::as_call;
use crate::head::put;
use crate::key::write_baggage;
use crate::outgoing::{Fields, Frames};
use crate::peer::Peer;
use crate::priority;
use crate::random::Random;
use crate::request_id;
use crate::trace::made_id;
use crate::tracestate::write_tracestate;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Counts the gateways that did not add themselves to `via`.
const HOPS: &str = "lockstep-hops";
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How many fields the gateway adds to most requests, and how long their values are.
const OWN_FIELDS: usize = 11;
const OWN_BYTES: usize = 512;

/// What the head for an instance has that the client's had not.
#[derive(Debug)]
pub(crate) struct Onward<'a> {
    /// How many bytes of the path are taken off.
    pub(crate) strip: usize,
    /// Who is at the other end of the client's connection.
    pub(crate) peer: &'a Peer,
    /// Who sent the request, as far as it is known.
    pub(crate) caller: Caller,
    /// Whether the gateway adds itself to `via`.
    pub(crate) via: ViaField,
    /// The key that goes into `baggage` and `tracestate`.
    pub(crate) key: &'a [u8],
    /// The rules that take it, which go there too.
    pub(crate) rules: &'a [u64],
    /// How important it is, which goes there too.
    pub(crate) priority: Priority,
    /// What its visit sees, which goes there too.
    pub(crate) visit: Option<&'a Entered>,
    /// What it was admitted under, which goes into `baggage`.
    pub(crate) admission: &'a str,
    /// Whether that goes into `tracestate` as well.
    pub(crate) switching: bool,
    /// What its route changes.
    pub(crate) changes: Option<&'a Changes>,
    pub(crate) random: &'a Random,
    /// Instead of the one that it came with, if with any.
    pub(crate) new_traceparent: Option<&'a str>,
    /// What it is found by in logs.
    pub(crate) request_id: &'a str,
    /// Whether a trace that a stranger began as Zipkin does goes on: not where the gateway decides which are recorded.
    pub(crate) passes_b3: bool,
}

/// Makes what a client of HTTP/1.1 asks for a WebSocket with, and one of HTTP/2 does not.
fn nonce(random: &Random) -> String {
    STANDARD.encode([random.draw().to_ne_bytes(), random.draw().to_ne_bytes()].concat())
}

impl<'b> Request<'b> {
    /// Writes the head for an instance that speaks HTTP/1.1.
    pub(crate) fn write(&self, output: &mut Vec<u8>, onward: &Onward<'_>) {
        let (slash, rest) = self.rest(onward);
        put(output, &[self.method, " ", slash, rest, self.query]);
        put(output, &[" HTTP/1.1\r\nhost: ", self.host(onward), "\r\n"]);
        self.write_fields(output, onward);
        output.extend_from_slice(self.framing().as_bytes());
        if self.waits_to_go_on() {
            output.extend_from_slice(b"expect: 100-continue\r\n");
        }
        if self.websocket {
            output.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
            if self.minor == 2 {
                output.field("sec-websocket-key", nonce(onward.random).as_bytes());
            }
        }
        if let Some(name) = self.switches {
            put(output, &["connection: upgrade\r\nupgrade: ", name, "\r\n"]);
        }
        output.extend_from_slice(b"\r\n");
    }

    /// Writes the head for an instance that speaks HTTP/2; `None` when it cannot be said there.
    pub(crate) fn write_parts(&self, onward: &Onward<'_>) -> Option<http::request::Parts> {
        let mut frames = Frames::default();
        frames.expect(self.headers.len() + OWN_FIELDS, OWN_BYTES);
        self.write_fields(&mut frames, onward);
        if let Some(length) = self.length.filter(|_| !self.is_text()) {
            frames.field("content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        if self.waits_to_go_on() {
            frames.field("expect", b"100-continue");
        }
        if self.takes_trailers || self.call.is_some() {
            frames.field("te", b"trailers");
        }
        let mut parts = http::Request::new(()).into_parts().0;
        parts.method = self.method.parse().ok()?;
        parts.uri = self.uri(onward)?;
        parts.headers = frames.fields;
        if self.call.is_some_and(|call| call.web.is_some()) {
            as_call(&mut parts.headers);
        }
        Some(parts)
    }

    /// Returns the target for the instance; what stays as it came is not read again.
    fn uri(&self, onward: &Onward<'_>) -> Option<Uri> {
        let (slash, rest) = self.rest(onward);
        let authority = Some(self.host(onward)).filter(|it| !it.is_empty()).unwrap_or("localhost");
        let came = self.parts.map(|parts| &parts.uri);
        let same = came.and_then(Uri::authority).filter(|it| it.as_str() == authority).cloned();
        let is_same =
            |it: &&PathAndQuery| slash.is_empty() && it.as_str().strip_prefix(rest) == Some(self.query);
        let same_path = came.and_then(Uri::path_and_query).filter(is_same).cloned();
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(same.map_or_else(|| authority.parse(), Ok).ok()?);
        let anew = || format!("{slash}{rest}{}", self.query).try_into();
        parts.path_and_query = Some(same_path.map_or_else(anew, Ok).ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Returns the path for the instance, and what has to stand before it.
    fn rest<'o>(&'o self, onward: &Onward<'o>) -> (&'static str, &'o str) {
        let kept = || self.path.spelled().sent_after(onward.strip);
        let rest = onward.changes.and_then(Changes::path).unwrap_or_else(kept);
        (if rest.starts_with('/') || &*self.path == ASTERISK { "" } else { "/" }, rest)
    }

    /// Returns the host for the instance, with its port.
    fn host<'o>(&'o self, onward: &Onward<'o>) -> &'o str {
        onward.changes.and_then(Changes::host).unwrap_or(self.authority.as_str())
    }

    fn write_fields(&self, output: &mut impl Fields, onward: &Onward<'_>) {
        let (trusted, changes) = (onward.caller.is_trusted(), onward.changes);
        let traced = self.traced && onward.new_traceparent.is_none();
        let passes = |kind, name: &str| {
            (kind != Field::B3 || trusted || onward.passes_b3)
                && self.passes(kind, name, (trusted, traced))
                && !changes.is_some_and(|it| it.drops(name))
        };
        match self.parts {
            None => self.headers.iter().zip(&self.kinds).for_each(|(header, &kind)| {
                if passes(kind, header.name) {
                    output.field(header.name, header.value);
                }
            }),
            Some(parts) => parts.headers.iter().zip(&self.kinds).for_each(|((name, value), &kind)| {
                if passes(kind, name.as_str()) {
                    output.pass(name, value);
                }
            }),
        }
        let has = |name: &str| self.fields_named(name).next().is_some();
        for (name, value) in changes.iter().flat_map(|changes| changes.gives(has)) {
            output.field(name, value.as_bytes());
        }
        if !changes.is_some_and(|it| it.drops(request_id::FIELD)) {
            output.field(request_id::FIELD, onward.request_id.as_bytes());
        }
        self.write_forwarded(output, (onward.peer, onward.via), trusted);
        output.field_by("baggage", |value| {
            let ours = (onward.key, onward.rules, onward.visit, onward.priority);
            write_baggage(value, ours, onward.admission, self.values(Field::Baggage));
        });
        if !onward.priority.is_usual() {
            output.field(priority::FIELD, onward.priority.word().as_bytes());
        }
        if let Some(traceparent) = onward.new_traceparent {
            output.field("traceparent", traceparent.as_bytes());
        }
        self.write_tracestate(output, onward);
    }

    fn framing(&self) -> Cow<'static, str> {
        match (self.length, self.is_open()) {
            (Some(length), _) => format!("content-length: {length}\r\n").into(),
            (None, true) => "transfer-encoding: chunked\r\n".into(),
            (None, false) => "".into(),
        }
    }

    /// Writes what the gateway saw, behind or instead of what the client says.
    fn write_forwarded(&self, output: &mut impl Fields, (peer, via): (&Peer, ViaField), trusted: bool) {
        let is_first = |kind| self.values(kind).next().is_none();
        if !trusted || is_first(Field::ForwardedFor) {
            output.constant(FORWARDED_FOR, &peer.text);
        } else {
            output.field_by("x-forwarded-for", |value| {
                self.write_list(value, Field::ForwardedFor);
                put(value, &[peer.text()]);
            });
        }
        let hop = if self.minor == 2 { "2 lockstep" } else { "1.1 lockstep" };
        match (is_first(Field::Via), via) {
            (true, ViaField::Add) => output.constant(VIA, &HeaderValue::from_static(hop)),
            (true, ViaField::Omit) => {}
            (false, ViaField::Add) => output.field_by("via", |value| {
                self.write_list(value, Field::Via);
                put(value, &[hop]);
            }),
            (false, ViaField::Omit) => {
                self.values(Field::Via).for_each(|value| output.field("via", value.as_bytes()));
            }
        }
        let unseen = self.seen.unseen_hops + usize::from(!via.is_added());
        if unseen > 0 {
            output.field(HOPS, itoa::Buffer::new().format(unseen).as_bytes());
        }
        let said = |kind| trusted && self.has(kind);
        if !said(Field::ForwardedProto) {
            output.constant(FORWARDED_PROTO, &HeaderValue::from_static(peer.scheme()));
        }
        if !said(Field::ForwardedHost) && self.authority.host().is_some() {
            output.field("x-forwarded-host", self.authority.as_str().as_bytes());
        }
        if !said(Field::ForwardedPort) {
            output.field("x-forwarded-port", itoa::Buffer::new().format(peer.port).as_bytes());
        }
        if !said(Field::RealIp) {
            output.constant(REAL_IP, &peer.text);
        }
        if let Some(identity) = peer.secure.as_ref().and_then(|secure| secure.identity.as_deref()) {
            output.field("x-forwarded-client-cert", identity.as_bytes());
        }
        if self.has(Field::Forwarded) {
            self.write_rfc_7239(output, peer, trusted);
        }
    }

    /// Writes `forwarded` where the request has one: whoever reads it must find the truth, and few do.
    fn write_rfc_7239(&self, output: &mut impl Fields, peer: &Peer, trusted: bool) {
        let text = peer.text();
        let node = if text.contains(':') { format!("\"[{text}]\"") } else { text.to_owned() };
        output.field_by("forwarded", |value| {
            if trusted {
                self.write_list(value, Field::Forwarded);
            }
            put(value, &["for=", &node, ";host=\"", self.authority.as_str(), "\";proto=", peer.scheme()]);
        });
    }

    /// Writes `tracestate`. A key that is the trace's id goes on in `traceparent` already.
    fn write_tracestate(&self, output: &mut impl Fields, onward: &Onward<'_>) {
        let trace = onward.new_traceparent.map(made_id).or(self.trace_id());
        let key = Some(onward.key).filter(|key| trace.map(str::as_bytes) != Some(*key));
        // A tracestate belongs to its traceparent.
        let stays =
            self.seen.tracestate && self.traced && self.passes(Field::Other, "tracestate", (false, true));
        let admission = if onward.switching { onward.admission } else { "" };
        let has_ours = key.is_some() || !onward.rules.is_empty() || onward.visit.is_some();
        if stays || has_ours || !onward.priority.is_usual() || !admission.is_empty() {
            let given = self.values(Field::Tracestate).filter(move |_| stays);
            let ours = (key, onward.rules, onward.visit, onward.priority);
            output.field_by("tracestate", |value| write_tracestate(value, ours, admission, given));
        }
    }

    fn has(&self, kind: Field) -> bool {
        self.kinds[..self.headers.len()].contains(&kind)
    }

    /// Writes what was given of a list, so that one more member can follow.
    fn write_list(&self, output: &mut Vec<u8>, kind: Field) {
        for value in self.values(kind).filter(|value| !value.is_empty()) {
            put(output, &[value, ", "]);
        }
    }

    pub(crate) fn values(&self, kind: Field) -> impl Iterator<Item = &'b str> + Clone {
        let given = self.headers.iter().zip(&self.kinds).filter(move |&(_, &it)| it == kind);
        given.filter_map(|(header, _)| std::str::from_utf8(header.value).ok())
    }

    fn passes(&self, kind: Field, name: &str, (trusted, traced): (bool, bool)) -> bool {
        let kept = match kind {
            Field::Other | Field::Cookie | Field::Key | Field::B3 => true,
            // Lists are written anew with one more member; of these there is one value.
            Field::ForwardedProto
            | Field::ForwardedHost
            | Field::ForwardedPort
            | Field::RealIp
            | Field::Claim
            | Field::Identity => trusted,
            Field::Traceparent => traced,
            _ => false,
        };
        kept && !(kind.is_removable() && self.dropped.iter().any(|it| it.eq_ignore_ascii_case(name)))
    }
}
