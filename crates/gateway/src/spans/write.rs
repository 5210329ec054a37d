//! Writing what was noted as spans, by the semantic conventions of OpenTelemetry 1.45 for HTTP and gRPC.
//!
//! Names of spans are few, whatever clients send: a method that is not known is `HTTP`, a path is never part of a name, and a call is
//! named only where an instance knew its method.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::{Arm, EnvironmentName, InstanceId};

use super::message::{Attributes, Kind, Span};
use super::noted::{Connection, Ended, Hop, Noted, Record};
use crate::answer::is_failure;
use crate::counts::Counts;
use crate::grpc::GrpcStatus;
use crate::policy::Hedged;
use crate::recent::{Chosen, word};
use crate::report::End;
use crate::trace::TraceContext;

/// The conventions that attributes are named by.
pub(super) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.45.0";
/// Methods that the conventions know.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// What stands for a value that is none of a list.
const OTHER: &str = "_OTHER";
/// In the flags of a span: that it is known whether its parent is of another process, and that it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Writes the spans of a record.
pub(super) fn write(record: &Record, into: &mut Vec<Vec<u8>>) {
    match record {
        Record::Request(noted, hops, ended) => {
            into.push(request(noted, ended).write());
            let hops = hops.0.iter().enumerate();
            into.extend(hops.map(|(number, hop)| asking(noted, (number, hop), ended).write()));
        }
        Record::Connection(one) => into.push(connection(one).write()),
    }
}

/// Tells how asking an instance went.
fn seen(ended: &Ended, hop: &Hop) -> Seen {
    match hop.failed {
        Some((at, status, error)) => Seen { at: Some(at), status, grpc: None, error },
        // The last one: its answer is what the client got, unless the gateway answered for it.
        None => match ended.code {
            Some(code) => Seen { at: None, status: 0, grpc: None, error: Some(code) },
            None => Seen { at: None, status: ended.status, grpc: ended.grpc, error: broken(ended) },
        },
    }
}

/// How asking an instance went.
struct Seen {
    /// When it was over; nothing for the end of the request.
    at: Option<std::time::Instant>,
    status: u16,
    grpc: Option<GrpcStatus>,
    error: Option<&'static str>,
}

fn broken(ended: &Ended) -> Option<&'static str> {
    (ended.end == End::BrokenOff || ended.end == End::OutOfTime).then(|| ended.end.word())
}

/// Writes the span of a request as the gateway served it.
fn request(noted: &Noted, ended: &Ended) -> Span {
    let mut attributes = Attributes::of_span();
    method(noted, ended.grpc, &mut attributes);
    let scheme = if noted.is_https { "https" } else { "http" };
    attributes.text("url.scheme", scheme);
    attributes.text("url.path", &noted.path);
    attributes.some("url.query", noted.query.strip_prefix('?').filter(|query| !query.is_empty()));
    let (host, port) = host_and_port(&noted.host);
    attributes.some("server.address", Some(host).filter(|host| !host.is_empty()));
    attributes.number("server.port", port.unwrap_or(noted.port));
    peer(noted.peer, &mut attributes);
    attributes.some("client.address", noted.client.or(noted.peer.map(|it| it.ip())).map(|it| it.to_string()));
    attributes.text("network.protocol.version", protocol(noted.minor));
    attributes.some("http.route", ended.seat.as_ref().map(|seat| seat.path.as_str()));
    let error = outcome(ended, &mut attributes);
    let is_error = error.is_some();
    attributes.some("error.type", error);
    own(noted, ended, &mut attributes);
    Span {
        name: name(noted, ended),
        kind: Kind::Server,
        parent: noted.parent,
        flags: u32::from(noted.span.flags)
            | KNOWS_REMOTE
            | if noted.parent.is_some() { IS_REMOTE } else { 0 },
        ..span(noted.span, noted.span.parent, (ended.at, ended.took), attributes, is_error)
    }
}

/// Says what the client got; returns the kind of error that it is on the side of the server.
fn outcome(ended: &Ended, attributes: &mut Attributes) -> Option<String> {
    if ended.status > 0 {
        attributes.number("http.response.status_code", ended.status);
    }
    if let Some(grpc) = ended.grpc {
        attributes.text("rpc.status_code", grpc.name());
    }
    let by_status = || match ended.grpc {
        Some(grpc) if ended.status == 200 => is_failure(grpc.as_http()).then(|| grpc.name().to_owned()),
        _ => is_failure(ended.status).then(|| ended.status.to_string()),
    };
    let own = || {
        ended
            .code
            .filter(|_| is_failure(ended.status) || ended.grpc.is_some_and(|it| is_failure(it.as_http())))
    };
    let left = || (ended.end == End::ClientLeft).then(|| ended.end.word());
    own()
        .or_else(|| broken(ended))
        .map(str::to_owned)
        .or_else(by_status)
        .or_else(|| left().map(str::to_owned))
}

/// Says what only the gateway knows.
fn own(noted: &Noted, ended: &Ended, attributes: &mut Attributes) {
    attributes.text("lockstep.environment", ended.environment.as_str());
    if noted.baseline > 0 {
        attributes.number("lockstep.baseline", noted.baseline);
    }
    attributes.some("lockstep.route", ended.seat.as_ref().map(|seat| seat.label.as_str()));
    let arm = ended.arm.as_ref().and_then(|counts| counts.arm.as_ref());
    let by_route = || ended.seat.as_ref().map(|seat| seat.service.to_string());
    attributes.some("lockstep.service", arm.map(|arm| arm.service.to_string()).or_else(by_route));
    attributes.some("lockstep.version", arm.map(|arm| arm.version.to_string()));
    attributes.some("lockstep.why", noted.chosen.map(Chosen::word));
    attributes.some("lockstep.lane", ended.lane.as_deref());
    attributes.some("lockstep.from", noted.caller.map(word));
    attributes.some("lockstep.caller", noted.point.as_ref().map(InstanceId::as_str));
    attributes.some("lockstep.code", ended.code);
    attributes.some("lockstep.retried", ended.retried.map(|cause| cause.to_string()));
    attributes.some("lockstep.hedged", ended.hedged.map(Hedged::word));
    attributes.flag("lockstep.shielded", ended.is_shielded);
    attributes.flag("lockstep.degraded", ended.is_degraded);
    attributes.flag("lockstep.mirrored", ended.is_mirrored);
    if !ended.priority.is_usual() {
        attributes.text("lockstep.priority", ended.priority.word());
    }
    if let Some(met) = ended.fault {
        attributes.number("lockstep.fault", met.number);
        met.delay().into_iter().for_each(|delay| attributes.number("lockstep.delay_ms", delay.as_millis()));
    }
}

/// Writes the span of asking one instance.
fn asking(noted: &Noted, (number, hop): (usize, &Hop), ended: &Ended) -> Span {
    let (mut attributes, seen) = (Attributes::of_span(), seen(ended, hop));
    method(noted, seen.grpc, &mut attributes);
    let address = hop.instance.address;
    let ip = address.ip().to_string();
    attributes.text("server.address", &ip);
    attributes.number("server.port", address.port());
    attributes.text("network.peer.address", &ip);
    attributes.number("network.peer.port", address.port());
    let path = noted.sent.as_deref().unwrap_or(&noted.path);
    attributes.text("url.full", &format!("http://{address}{path}{}", noted.query));
    attributes.text("network.protocol.version", if hop.by_streams { "2" } else { "1.1" });
    if number > 0 {
        attributes.number("http.request.resend_count", number as u64);
    }
    if seen.status > 0 {
        attributes.number("http.response.status_code", seen.status);
    }
    if let Some(grpc) = seen.grpc {
        attributes.text("rpc.status_code", grpc.name());
    }
    let by_status = || match seen.grpc {
        Some(grpc) if seen.status == 200 => (grpc.code() != 0).then(|| grpc.name().to_owned()),
        _ => (seen.status >= 400).then(|| seen.status.to_string()),
    };
    let error = seen.error.map(str::to_owned).or_else(by_status);
    let is_error = error.is_some();
    attributes.some("error.type", error);
    of_arm(&hop.arm, &ended.environment, &mut attributes);
    attributes.some("lockstep.instance", hop.instance.id().map(InstanceId::as_str));
    let began = hop.at.saturating_duration_since(ended.began);
    let over = seen.at.map_or(ended.took, |at| at.saturating_duration_since(ended.began));
    let name = if noted.is_call {
        call_name(noted, seen.grpc)
    } else {
        known_method(noted).unwrap_or("HTTP").to_owned()
    };
    let at = ended.at - (ended.took - over.min(ended.took));
    Span {
        name,
        kind: Kind::Client,
        parent: Some(noted.span.parent),
        ..span(noted.span, hop.span, (at, over.saturating_sub(began)), attributes, is_error)
    }
}

fn of_arm(counts: &Counts, environment: &EnvironmentName, attributes: &mut Attributes) {
    let arm: Option<&Arm> = counts.arm.as_ref();
    attributes.text("lockstep.environment", environment.as_str());
    attributes.some("lockstep.service", arm.map(|arm| arm.service.to_string()));
    attributes.some("lockstep.version", arm.map(|arm| arm.version.to_string()));
}

/// Writes the span of a connection to a service that speaks TCP.
fn connection(one: &Connection) -> Span {
    let mut attributes = Attributes::of_span();
    attributes.text("network.transport", "tcp");
    attributes.some("server.address", one.name.as_deref());
    attributes.number("server.port", one.port);
    peer(Some(one.client), &mut attributes);
    attributes.text("client.address", &one.client.ip().to_canonical().to_string());
    attributes.some("error.type", one.failed.then_some(one.end));
    match &one.arm {
        Some(arm) => of_arm(arm, &one.environment, &mut attributes),
        None => attributes.text("lockstep.environment", one.environment.as_str()),
    }
    if one.arm.is_none() {
        attributes.some("lockstep.service", one.service.as_ref().map(ToString::to_string));
    }
    attributes
        .some("lockstep.instance", one.instance.as_ref().and_then(|it| it.id()).map(InstanceId::as_str));
    attributes.some("lockstep.caller", one.point.as_ref().map(InstanceId::as_str));
    attributes.number("lockstep.bytes_up", one.bytes.0);
    attributes.number("lockstep.bytes_down", one.bytes.1);
    attributes.number("lockstep.tries", one.tries);
    attributes.text("lockstep.end", one.end);
    let service = one.service.as_ref().map(|service| format!(" {service}")).unwrap_or_default();
    Span {
        name: format!("tcp{service}"),
        ..span(one.span, one.span.parent, (one.at, one.took), attributes, one.failed)
    }
}

fn peer(peer: Option<SocketAddr>, attributes: &mut Attributes) {
    let Some(peer) = peer else { return };
    attributes.text("network.peer.address", &peer.ip().to_canonical().to_string());
    attributes.number("network.peer.port", peer.port());
}

/// Makes a span that ended at a time after so long.
fn span(
    of: TraceContext,
    id: u64,
    (at, took): (SystemTime, Duration),
    attributes: Attributes,
    is_error: bool,
) -> Span {
    let end = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Span {
        trace: of.trace,
        id,
        parent: None,
        name: String::new(),
        kind: Kind::Server,
        start: nanos(end.saturating_sub(took)),
        end: nanos(end),
        attributes,
        is_error,
        flags: u32::from(of.flags) | KNOWS_REMOTE,
    }
}

fn method(noted: &Noted, grpc: Option<GrpcStatus>, attributes: &mut Attributes) {
    attributes.text("http.request.method", known_method(noted).unwrap_or(OTHER));
    if known_method(noted).is_none() {
        attributes.text("http.request.method_original", &noted.method);
    }
    if noted.is_call {
        attributes.text("rpc.system.name", "grpc");
        let (called, known) = (noted.path.trim_start_matches('/'), call(noted, grpc));
        attributes.text("rpc.method", known.unwrap_or(OTHER));
        if known.is_none() {
            attributes.text("rpc.method_original", called);
        }
    }
}

fn known_method(noted: &Noted) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == noted.method)
}

/// Returns the method of a call, where an instance knew it.
fn call(noted: &Noted, grpc: Option<GrpcStatus>) -> Option<&str> {
    let called = noted.sent.as_deref().unwrap_or(&noted.path).trim_start_matches('/');
    let is_one = called.split('/').count() == 2 && !called.starts_with('/') && !called.ends_with('/');
    Some(called).filter(|_| is_one && grpc.is_some_and(|status| status != GrpcStatus::UNIMPLEMENTED))
}

fn call_name(noted: &Noted, grpc: Option<GrpcStatus>) -> String {
    call(noted, grpc).unwrap_or("grpc").to_owned()
}

fn name(noted: &Noted, ended: &Ended) -> String {
    if noted.is_call {
        return call_name(noted, ended.grpc);
    }
    let method = known_method(noted).unwrap_or("HTTP");
    match &ended.seat {
        Some(seat) => format!("{method} {}", seat.path),
        None => method.to_owned(),
    }
}

const fn protocol(minor: u8) -> &'static str {
    match minor {
        0 => "1.0",
        1 => "1.1",
        _ => "2",
    }
}

fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, None),
    }
}
