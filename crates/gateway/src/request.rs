//! Reading the head of a request strictly; [`onward`] writes it anew for an instance.
//!
//! What is not clear is refused rather than repaired: a request that two programs could read differently is how one
//! client's bytes end up in another's answer.

mod onward;
mod parts;

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::time::Duration;

use httparse::{Header, ParserConfig, Status as Parsed};
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::request_host::{Authority, HostProblem};
use lockstep_domain::request_path::{PathProblem, PathReading, RequestPath};
use lockstep_domain::routes::policy::Policy;

use crate::chunked::ChunkDecoder;
use crate::field::{Field, members};
use crate::framing::{Body, Recode};
use crate::grpc::{is_call, read_timeout};
use crate::grpc_web::{TextDecoder, WebForm};
use crate::head::{Kinds, kinds_of};
use crate::key::{KeySource, in_baggage, in_cookie, valid};
use crate::problem::{Problem, Status};
use crate::trace::{TraceContext, trace_id};
use crate::tracestate::in_tracestate;

pub(crate) use onward::Onward;
pub(crate) use parts::join_cookies;

/// Longest head of a request or an answer.
pub(crate) const MAX_HEAD: usize = 32 * 1_024;
/// Header fields in a head. nginx has no bound but the length, HAProxy and Envoy one of 100, which some services pass.
pub(crate) const MAX_FIELDS: usize = 256;
/// How often a request may pass a gateway before it is taken for a loop.
const MAX_HOPS: usize = 16;
/// The name under which the gateway adds itself to `via`.
const PSEUDONYM: &str = "lockstep";

/// The target of a request about the server itself.
pub(crate) const ASTERISK: &str = "*";

/// Room for the header fields of one head.
pub(crate) type Fields<'b> = [MaybeUninit<Header<'b>>; MAX_FIELDS];

/// Makes room for the header fields of one head.
pub(crate) const fn fields<'b>() -> Fields<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// A call of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Call {
    /// How long it may take as a whole.
    pub(crate) timeout: Option<Duration>,
    /// How its bodies are written, where it is one of gRPC-Web.
    pub(crate) web: Option<WebForm>,
}

/// A request as its head describes it.
#[derive(Debug)]
pub(crate) struct Request<'b> {
    pub(crate) method: &'b str,
    /// The host that was asked for in its one form, with its port.
    pub(crate) authority: Authority<'b>,
    /// The path in its one form, and as it is sent on; `*` asks the gateway itself.
    pub(crate) path: RequestPath<'b>,
    /// The query with its question mark, or nothing.
    pub(crate) query: &'b str,
    pub(crate) minor: u8,
    pub(crate) body: Body,
    /// Whether the client can use its connection again.
    pub(crate) persistent: bool,
    /// Where it is a call of gRPC.
    pub(crate) call: Option<Call>,
    /// Whether the client says that it takes trailers.
    takes_trailers: bool,
    expects_continue: bool,
    pub(crate) websocket: bool,
    /// The protocol that the client would switch to, where that is no WebSocket.
    wishes: Option<&'b str>,
    /// The same where its route passes it.
    pub(crate) switches: Option<&'b str>,
    /// The key that an earlier hop decided, in `baggage`. Anybody can write it, so it counts only from those who are trusted.
    carried_key: Option<Cow<'b, [u8]>>,
    /// The same in `tracestate`.
    traced_key: Option<Cow<'b, [u8]>>,
    own_key: Option<(KeySource, Cow<'b, [u8]>)>,
    /// Whether it came with one valid `traceparent`.
    pub(crate) traced: bool,
    trace: Option<&'b str>,
    headers: &'b [Header<'b>],
    /// What the fields and the target were read from in HTTP/2; the fields are in the same order.
    parts: Option<&'b http::request::Parts>,
    kinds: Kinds,
    /// Fields that a `Connection` header takes off.
    dropped: Vec<&'b str>,
    seen: Seen,
    length: Option<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    transfer_encoding: bool,
    upgrades: usize,
    upgrade_websocket: bool,
    connection_upgrade: bool,
    connection_close: bool,
    connection_keep_alive: bool,
    hops: usize,
    /// Those of them that are not in `via`.
    unseen_hops: usize,
    traces: usize,
    tracestate: bool,
}

fn bad(detail: &'static str) -> Problem {
    Problem::new(Status::BadRequest, "bad_request", detail)
}

impl<'b> Request<'b> {
    /// Reads a head from the beginning of `bytes`; returns it with its length, or `None` while it is not complete. `reading` is asked where
    /// its path can be read in more than one way.
    pub(crate) fn read(
        bytes: &'b [u8],
        room: &'b mut Fields<'b>,
        reading: impl FnOnce() -> PathReading,
    ) -> Result<Option<(usize, Request<'b>)>, Problem> {
        let mut raw = httparse::Request::new(&mut []);
        let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut raw, bytes, room);
        let length = match parsed {
            Ok(Parsed::Complete(length)) if length <= MAX_HEAD => length,
            Ok(Parsed::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) => return Err(too_large(bytes)),
            Err(error) => return Err(refusal(error)),
        };
        let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
            return Err(bad("the request line is not complete"));
        };
        let mut request = Self::new((method, target), minor, raw.headers, reading)?;
        for (index, header) in raw.headers.iter().enumerate() {
            request.note(request.kinds[index], header.value)?;
        }
        request.settle()?;
        Ok(Some((length, request)))
    }

    fn new(
        (method, target): (&'b str, &'b str),
        minor: u8,
        headers: &'b [Header<'b>],
        reading: impl FnOnce() -> PathReading,
    ) -> Result<Self, Problem> {
        let (authority, target) = split_target(method, target)?;
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        // `http://shop.test?a=b` asks for `/?a=b` (RFC 9110, 4.2.3).
        let path = if path.is_empty() { "/" } else { path };
        if query.contains('#') {
            return Err(bad("a fragment is no part of a request"));
        }
        Ok(Self {
            method,
            authority: authority.map(read_authority).transpose()?.unwrap_or_default(),
            path: match path {
                ASTERISK => RequestPath::none(path),
                path => RequestPath::read(path, reading).map_err(bad_path)?,
            },
            query,
            minor,
            body: Body::Done,
            persistent: false,
            call: None,
            takes_trailers: false,
            expects_continue: false,
            websocket: false,
            wishes: None,
            switches: None,
            carried_key: None,
            traced_key: None,
            own_key: None,
            traced: false,
            trace: None,
            headers,
            parts: None,
            kinds: kinds_of(headers),
            dropped: Vec::new(),
            seen: Seen::default(),
            length: None,
        })
    }

    fn note(&mut self, kind: Field, value: &'b [u8]) -> Result<(), Problem> {
        // Fields that the gateway reads are texts; in all others any byte may stand.
        let text = || {
            std::str::from_utf8(value).map_err(|_| bad("a header field that routes or frames is not text"))
        };
        match kind {
            Field::ContentLength => self.note_length(value)?,
            Field::TransferEncoding => self.note_encoding(value)?,
            Field::Connection => self.note_connection(text()?),
            Field::Upgrade => {
                self.seen.upgrades += 1;
                self.seen.upgrade_websocket |= value.eq_ignore_ascii_case(b"websocket");
                self.wishes = std::str::from_utf8(value).ok();
            }
            Field::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.expects_continue = true,
            Field::Expect => {
                return Err(Problem::new(
                    Status::ExpectationFailed,
                    "expectation_failed",
                    "only `100-continue` is known",
                ));
            }
            Field::Baggage if self.carried_key.is_none() => {
                self.carried_key = in_baggage(text().unwrap_or_default());
            }
            Field::Tracestate => {
                self.seen.tracestate = true;
                let key = || in_tracestate(text().unwrap_or_default());
                self.traced_key = self.traced_key.take().or_else(key);
            }
            Field::Cookie => {
                self.note_key(KeySource::Cookie, in_cookie(text().unwrap_or_default()).map(Cow::Borrowed));
            }
            Field::Key => self.note_key(KeySource::Header, Some(Cow::Borrowed(value)).filter(|it| valid(it))),
            Field::Traceparent => self.note_trace(text().unwrap_or_default()),
            Field::Via => self.seen.hops += members(text()?).filter(|hop| hop.ends_with(PSEUDONYM)).count(),
            Field::Hops => self.seen.unseen_hops += text()?.trim().parse().unwrap_or(0).min(MAX_HOPS),
            Field::Host
            | Field::HopByHop
            | Field::Baggage
            | Field::Forwarded
            | Field::ForwardedFor
            | Field::ForwardedProto
            | Field::ForwardedHost
            | Field::ForwardedPort
            | Field::RealIp
            | Field::RequestId
            | Field::B3
            | Field::Priority
            | Field::Claim
            | Field::Identity
            | Field::Shadow
            | Field::Verdict
            | Field::Other => {}
        }
        Ok(())
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Problem> {
        let length = parse_length(value).ok_or_else(|| bad("`content-length` is not a number"))?;
        if self.length.replace(length).is_some() {
            return Err(bad("`content-length` is given twice"));
        }
        Ok(())
    }

    fn note_encoding(&mut self, value: &[u8]) -> Result<(), Problem> {
        if self.seen.transfer_encoding {
            return Err(bad("`transfer-encoding` is given twice"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let detail = "only the transfer encoding `chunked` is known";
            return Err(Problem::new(Status::NotImplemented, "transfer_encoding", detail));
        }
        self.seen.transfer_encoding = true;
        Ok(())
    }

    fn note_connection(&mut self, value: &'b str) {
        for option in members(value) {
            match option {
                _ if option.eq_ignore_ascii_case("close") => self.seen.connection_close = true,
                _ if option.eq_ignore_ascii_case("keep-alive") => self.seen.connection_keep_alive = true,
                _ if option.eq_ignore_ascii_case("upgrade") => self.seen.connection_upgrade = true,
                _ => self.dropped.push(option),
            }
        }
    }

    fn note_key(&mut self, source: KeySource, key: Option<Cow<'b, [u8]>>) {
        let better = self.own_key.as_ref().is_none_or(|(known, _)| source < *known);
        if let (Some(key), true) = (key, better) {
            self.own_key = Some((source, key));
        }
    }

    fn note_trace(&mut self, value: &'b str) {
        self.seen.traces += 1;
        let id = trace_id(value);
        (self.trace, self.traced) = (id, id.is_some());
        self.note_key(KeySource::Trace, id.map(|id| Cow::Borrowed(id.as_bytes())));
    }

    /// Whoever gets two traces begins a new one, as W3C wants it.
    fn settle_trace(&mut self) {
        self.traced &= self.seen.traces == 1;
        if !self.traced {
            self.own_key.take_if(|(source, _)| *source == KeySource::Trace);
            // A tracestate belongs to its traceparent.
            self.traced_key = None;
        }
    }

    /// Recognises a call of gRPC. Both fields have the same length, and few others do.
    fn settle_call(&mut self) {
        let is_kind = |name: &str| name.eq_ignore_ascii_case("content-type");
        for header in self.headers.iter().filter(|header| matches!(header.name.len(), 2 | 12)) {
            if is_kind(header.name) && is_call(header.value) {
                self.call.get_or_insert_default();
            }
            if let Some((form, _)) = WebForm::read(header.value).filter(|_| is_kind(header.name)) {
                self.call.get_or_insert_default().web = Some(form);
            }
            let trailers = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"trailers");
            let mut codings = header.value.split(|&byte| byte == b',');
            self.takes_trailers |= header.name.eq_ignore_ascii_case("te") && codings.any(trailers);
        }
        if let Some(call) = &mut self.call {
            let mut timeouts = self.headers.iter().filter(|it| it.name.eq_ignore_ascii_case("grpc-timeout"));
            call.timeout = timeouts.next().and_then(|header| read_timeout(header.value));
        }
    }

    /// Returns the protocol that its connection may switch to by its route, beside WebSocket.
    pub(crate) fn permitted(&self, policy: Option<&Policy>) -> Option<&'b str> {
        let wishes = self.wishes?;
        policy?.upgrades.iter().any(|name| name.is(wishes.as_bytes())).then_some(wishes)
    }

    /// Notes whether the instance speaks the wire of gRPC; one that does not gets a call of gRPC-Web as it came, and may know it.
    /// A WebSocket is none of what such an instance understands, and asking it would only look like its failure.
    ///
    /// # Errors
    /// The answer of the gateway to a request that the instance cannot be asked.
    pub(crate) fn is_for(&mut self, h2c: bool) -> Result<(), Problem> {
        if self.websocket && h2c {
            let detail =
                "the service speaks HTTP/2 (`protocol = \"h2c\"`), and WebSockets pass to HTTP/1.1 alone";
            return Err(Problem::new(Status::NotImplemented, "no_websocket", detail));
        }
        if self.switches.is_some() && h2c {
            let detail =
                "the service speaks HTTP/2 (`protocol = \"h2c\"`), and connections switch in HTTP/1.1 alone";
            return Err(Problem::new(Status::NotImplemented, "no_upgrade", detail));
        }
        self.call.take_if(|call| call.web.is_some() && !h2c);
        if self.is_text() && !self.body.is_done() {
            let body = std::mem::replace(&mut self.body, Body::Done);
            self.body = Body::Text(Box::new((body, TextDecoder::default())));
        }
        Ok(())
    }

    fn is_text(&self) -> bool {
        self.call.is_some_and(|call| call.web == Some(WebForm::Text))
    }

    /// Tells how the body is framed for an instance that speaks HTTP/1.1.
    pub(crate) fn recode(&self) -> Recode {
        if self.is_open() { Recode::Chunks } else { Recode::Plain }
    }

    /// Says how long a body is that is here as a whole.
    pub(crate) fn announce(&mut self, length: u64) {
        self.length = Some(length);
        self.body = Body::Length(length);
    }

    /// Tells whether the body says itself where it ends.
    fn is_open(&self) -> bool {
        matches!(self.body, Body::Chunked(_) | Body::Framed(_))
    }

    /// Draws the conclusions that need all fields.
    fn settle(&mut self) -> Result<(), Problem> {
        self.settle_authority()?;
        self.settle_rest()
    }

    /// Draws those that do not depend on how a host is named.
    fn settle_rest(&mut self) -> Result<(), Problem> {
        self.settle_trace();
        self.settle_call();
        self.body = match (self.seen.transfer_encoding, self.length) {
            (true, Some(_)) => return Err(bad("both `content-length` and `transfer-encoding` are given")),
            (true, None) if self.minor == 0 => return Err(bad("HTTP/1.0 knows no `transfer-encoding`")),
            (true, None) => Body::Chunked(ChunkDecoder::default()),
            (false, None | Some(0)) => Body::Done,
            (false, Some(length)) => Body::Length(length),
        };
        let seen = &self.seen;
        self.persistent = !seen.connection_close && (self.minor >= 1 || seen.connection_keep_alive);
        let may_switch = seen.connection_upgrade && self.minor == 1 && self.body.is_done();
        self.websocket = seen.upgrade_websocket && may_switch && self.method == "GET";
        // Of several it would be the instance's choice, which nobody has permitted.
        self.wishes.take_if(|_| !may_switch || seen.upgrades > 1 || seen.upgrade_websocket);
        if seen.hops + seen.unseen_hops >= MAX_HOPS {
            let detail = format!("the request passed gateways {MAX_HOPS} times");
            return Err(Problem::new(Status::LoopDetected, "loop", detail));
        }
        Ok(())
    }

    /// The authority of an absolute target wins over `Host`, as RFC 9112 wants it; `Host` is written anew.
    fn settle_authority(&mut self) -> Result<(), Problem> {
        let kinds = &self.kinds;
        let mut hosts = self.headers.iter().zip(kinds).filter(|(_, kind)| **kind == Field::Host);
        let host = hosts.next().map(|(header, _)| header.value);
        if hosts.next().is_some() {
            return Err(bad("`host` is given twice"));
        }
        if host.is_none() && self.minor == 1 {
            return Err(bad("`host` is missing"));
        }
        let host = host.map(|host| std::str::from_utf8(host).map_err(|_| bad_host(HostProblem)));
        let host = host.transpose()?.map(read_authority).transpose()?;
        if let (None, Some(host)) = (self.authority.host(), host) {
            self.authority = host;
        }
        Ok(())
    }

    /// Returns the values of all cookies of a name, those for longer paths first where the client keeps to the rules.
    pub(crate) fn cookies(&self, name: &str) -> impl Iterator<Item = &'b str> {
        let fields = self.headers.iter().zip(&self.kinds).filter(|&(_, &kind)| kind == Field::Cookie);
        let texts = fields.filter_map(|(header, _)| std::str::from_utf8(header.value).ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(move |&(known, _)| known == name).map(|(_, value)| value)
    }

    /// Returns the values of all fields of a name, which is in lower case.
    pub(crate) fn fields_named(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        let fields = self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        fields.map(|header| header.value)
    }

    /// Returns the values of all cookies of a name as browsers send them, with quotes where they have some.
    pub(crate) fn raw_cookies(&self, name: &[u8]) -> impl Iterator<Item = &'b [u8]> {
        let fields = self.headers.iter().zip(&self.kinds).filter(|&(_, &kind)| kind == Field::Cookie);
        let pairs = fields.flat_map(|(header, _)| header.value.split(|&byte| byte == b';'));
        pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
    }

    /// Tells whether a proxy that is believed was asked by https.
    pub(crate) fn came_by_https(&self, caller: Caller) -> bool {
        let fields = self.headers.iter().zip(&self.kinds);
        let mut schemes = fields.filter(|&(_, &kind)| kind == Field::ForwardedProto);
        let is_https = |(header, _): (&Header<'_>, _)| header.value.eq_ignore_ascii_case(b"https");
        // Two that contradict each other say nothing.
        caller.is_trusted() && schemes.next().is_some_and(is_https) && schemes.all(is_https)
    }

    /// Returns the id of the trace that the request belongs to, if it came with one.
    pub(crate) fn trace_id(&self) -> Option<&'b str> {
        self.trace.filter(|_| self.traced)
    }

    /// Returns what the request says of its trace, where it came with one.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        let value = self.values(Field::Traceparent).next().filter(|_| self.traced)?;
        TraceContext::read(value)
    }

    /// Tells whether it says for whom it is made: in `baggage`, else in `tracestate`, else whether it has a trace.
    pub(crate) fn says_for_whom(&self) -> [bool; 3] {
        let in_baggage = self.carried_key.is_some();
        let in_tracestate = !in_baggage && self.traced_key.is_some();
        [in_baggage, in_tracestate, !in_baggage && !in_tracestate && self.traced]
    }

    /// Tells whether it came with a key that its next requests will have too.
    pub(crate) fn has_lasting_key(&self, caller: Caller) -> bool {
        let carried = caller.is_trusted() && (self.carried_key.is_some() || self.traced_key.is_some());
        carried || self.own_key.as_ref().is_some_and(|(source, _)| *source != KeySource::Trace)
    }

    /// Tells whether it comes from somebody whom a visit can keep: not from a program that says its key or calls by gRPC, which keeps no cookies, as
    /// browsers do that call by gRPC-Web; nor for a client of an earlier hop.
    pub(crate) fn is_of_visitor(&self, caller: Caller) -> bool {
        let carried = caller.is_trusted() && (self.carried_key.is_some() || self.traced_key.is_some());
        let says = self.own_key.as_ref().is_some_and(|(source, _)| *source == KeySource::Header);
        let is_program = self.call.is_some_and(|call| call.web.is_none());
        caller != Caller::Instance && !is_program && !carried && !says
    }

    /// Tells whether the client sends its body only when it is told to.
    pub(crate) fn waits_to_go_on(&self) -> bool {
        self.expects_continue && self.minor >= 1 && !self.body.is_done()
    }

    /// Says where the key was that [`Self::key`] returns.
    pub(crate) fn key_place(&self, caller: Caller) -> Option<&'static str> {
        let own = self.own_key.as_ref().map(|(source, _)| match source {
            KeySource::Cookie => "the cookie lockstep_key",
            KeySource::Header => "the header x-lockstep-key",
            KeySource::Trace => "the trace id of traceparent",
        });
        match (&self.carried_key, &self.traced_key) {
            (Some(_), _) if caller.is_trusted() => Some("lockstep.key in baggage"),
            (None, Some(_)) if caller.is_trusted() => Some("lockstep in tracestate"),
            _ => own,
        }
    }

    /// Returns the key that the request came with, as far as its caller is believed.
    ///
    /// `baggage` comes before `tracestate`: a program may say in it for whom it calls, and gateways of earlier releases
    /// decide by it alone.
    pub(crate) fn key(&self, caller: Caller) -> Option<&[u8]> {
        let carried = self.carried_key.as_deref().or(self.traced_key.as_deref());
        let carried = carried.filter(|_| caller.is_trusted());
        carried.or(self.own_key.as_ref().map(|(_, key)| &**key))
    }
}

/// Reads a `content-length`: digits only, no sign, no list.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

fn read_authority(text: &str) -> Result<Authority<'_>, Problem> {
    Authority::read(text).map_err(bad_host)
}

fn bad_host(problem: HostProblem) -> Problem {
    Problem::new(Status::BadRequest, "bad_host", problem.to_string())
}

fn bad_path(problem: PathProblem) -> Problem {
    Problem::new(Status::BadRequest, "bad_path", problem.to_string())
}

fn split_target<'b>(method: &str, target: &'b str) -> Result<(Option<&'b str>, &'b str), Problem> {
    if method == "CONNECT" {
        let detail = "the gateway opens no tunnels";
        return Err(Problem::new(Status::NotImplemented, "connect", detail));
    }
    if method == "PRI" {
        // An instance could take it for the beginning of HTTP/2, for which it is kept (RFC 9113, 3.4).
        return Err(Problem::new(Status::NotImplemented, "method", "`PRI` is no method"));
    }
    if target.starts_with('/') || (target == ASTERISK && method == "OPTIONS") {
        return Ok((None, target));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = rest.ok_or_else(|| bad("the target is neither a path nor an http address"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() {
        return Err(bad("the target names no host"));
    }
    Ok((Some(authority), path))
}

fn too_large(bytes: &[u8]) -> Problem {
    if bytes[..bytes.len().min(MAX_HEAD)].contains(&b'\n') {
        let detail = format!("the head is longer than {MAX_HEAD} bytes");
        Problem::new(Status::FieldsTooLarge, "head_too_large", detail)
    } else {
        Problem::new(
            Status::UriTooLong,
            "uri_too_long",
            format!("the request line is longer than {MAX_HEAD} bytes"),
        )
    }
}

fn refusal(error: httparse::Error) -> Problem {
    match error {
        httparse::Error::TooManyHeaders => {
            let detail = format!("there are more than {MAX_FIELDS} header fields");
            Problem::new(Status::FieldsTooLarge, "too_many_fields", detail)
        }
        httparse::Error::Version => Problem::new(
            Status::VersionNotSupported,
            "http_version",
            "only HTTP/1.0 and HTTP/1.1 are spoken here",
        ),
        other => Problem::new(Status::BadRequest, "bad_request", format!("the head is not valid: {other}")),
    }
}
