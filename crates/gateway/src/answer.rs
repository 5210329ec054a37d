//! Reading the head of an instance's answer, and writing it anew for the client.

use std::num::NonZeroU32;

use bytes::BytesMut;
use http::header::CONTENT_TYPE;
use httparse::{Header, ParserConfig, Status as Parsed};
use thiserror::Error;

use crate::changes::AnswerEdit;
use crate::chunked::{ChunkDecoder, ChunkError};
use crate::field::{Field, members};
use crate::framing::{Body, Recode};
use crate::grpc::{GrpcStatus, is_call};
use crate::grpc_web::WebForm;
use crate::head::{Kinds, kinds_of};
use crate::outgoing::{HeadEnd, Pieces};
use crate::problem::Next;
use crate::request::{MAX_FIELDS, MAX_HEAD, fields, parse_length};
use crate::request_id;

/// The type of a stream of events.
const EVENTS: &[u8] = b"text/event-stream";

/// Why an answer cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BadAnswer {
    #[error("its head is not valid HTTP/1.1")]
    Head,
    #[error("its head is longer than {MAX_HEAD} bytes")]
    TooLarge,
    #[error("its length is given in two ways or not valid")]
    Length,
    #[error("its transfer encoding is not `chunked`")]
    Encoding,
    #[error("it switches protocols without being asked")]
    Switch,
    #[error("it says nothing but what comes before an answer")]
    Interim,
    #[error("its body is not valid: {0}")]
    Body(#[from] ChunkError),
}

/// What was asked, as far as it decides how an answer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) is_head: bool,
    pub(crate) websocket: bool,
    /// The protocol beside WebSocket that its connection may switch to.
    pub(crate) upgrade: Option<Upgrade>,
    /// Minor version of HTTP/1 that the client speaks; 2 is HTTP/2.
    pub(crate) minor: u8,
    /// Whether it is a call of gRPC.
    pub(crate) is_call: bool,
    /// How its answer is written, where it is one of gRPC-Web.
    pub(crate) web: Option<WebForm>,
    /// Whether its body is to be sent only when the instance says so.
    pub(crate) waits_to_go_on: bool,
}

/// The name of a protocol in four bytes, so that it takes no room in every request: an instance may switch to what its client named, and to nothing
/// else. It is a check of what both say, and not of who lies: an instance that wants to say other bytes can do so in the right protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Upgrade(NonZeroU32);

impl Upgrade {
    /// Marks a name, whatever its case (FNV-1a).
    pub(crate) fn of(name: &[u8]) -> Self {
        let mix =
            |mixed: u32, byte: &u8| (mixed ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
        Self(NonZeroU32::MIN | name.iter().fold(0x811c_9dc5, mix))
    }
}

impl Asked {
    /// Returns the status of an answer for the client. One that asks for a tunnel in HTTP/2 would take any success for it.
    fn status(self, status: u16) -> u16 {
        match status {
            200..=299 if self.websocket && self.minor == 2 => 400,
            _ => status,
        }
    }
}

/// The head of an answer; its status line and fields are written, [`AnswerHead::finish`] adds the rest.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// Whether the instance leaves the connection open.
    pub(crate) reusable: bool,
    /// How many bytes the head takes.
    pub(crate) length: usize,
    /// Whether it begins a stream, which may be silent for long.
    pub(crate) is_stream: bool,
    /// How the call ended, where the head says so.
    pub(crate) grpc: Option<GrpcStatus>,
    /// How the body is written, where it is that of a call of gRPC-Web.
    pub(crate) web: Option<WebForm>,
    /// Whether the body is compressed on its way, so that its length is not known.
    pub(crate) packed: bool,
}

impl AnswerHead {
    /// Tells whether another head follows this one.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Tells whether the connection speaks another protocol from here on.
    pub(crate) fn is_switch(&self) -> bool {
        self.status == 101
    }

    /// Tells whether the arm failed.
    pub(crate) fn is_failure(&self) -> bool {
        is_failure(self.counted())
    }

    /// Tells how the body is framed for the client.
    pub(crate) fn recode(&self, asked: Asked) -> Recode {
        let chunks = self.is_open() && asked.minor == 1;
        match self.web.filter(|_| !self.body.is_done()) {
            Some(form) => Recode::Web { form, chunks },
            None if chunks => Recode::Chunks,
            None => Recode::Plain,
        }
    }

    /// Tells whether only the end of the connection ends the body for this client.
    pub(crate) fn needs_close(&self, asked: Asked) -> bool {
        asked.minor == 0 && self.is_open()
    }

    /// Tells whether the body says itself where it ends; what stands behind it in gRPC-Web is part of it.
    fn is_open(&self) -> bool {
        let framed = matches!(self.body, Body::Chunked(_) | Body::UntilClose | Body::Framed(_));
        framed || self.packed || (self.web.is_some() && !self.body.is_done())
    }

    /// Tells whether it begins a stream of events whose body can end at any time: clients come again, and say which event was the last.
    pub(crate) fn is_of_events(&self, fields: &impl Pieces) -> bool {
        let is_events =
            |kind: &Vec<u8>| kind.get(..EVENTS.len()).is_some_and(|it| it.eq_ignore_ascii_case(EVENTS));
        self.is_stream && self.is_open() && fields.values_of("content-type").iter().any(is_events)
    }

    /// Writes what the gateway adds, and the end of the head.
    pub(crate) fn finish(&self, output: &mut impl Pieces, asked: Asked, next: Next, verdict: Verdict<'_>) {
        output.field(request_id::FIELD, verdict.request_id.as_bytes());
        if let Some(edit) = verdict.edit {
            edit.apply(output);
        }
        output.field("lockstep-version", verdict.version.as_bytes());
        if let Some(shielded) = verdict.shielded {
            output.field("lockstep-shielded", shielded.as_bytes());
        }
        if let Some(degraded) = verdict.degraded {
            output.field("lockstep-degraded", degraded.as_bytes());
        }
        if verdict.delayed {
            output.field(crate::injection::HEADER, b"delay");
        }
        if let Some(lane) = verdict.lane {
            output.field(crate::lanes::HEADER, lane.as_bytes());
        }
        if let Some(cookie) = verdict.cookie {
            output.field("set-cookie", cookie.as_bytes());
        }
        output.end_head(HeadEnd { recode: self.recode(asked), is_switch: self.is_switch(), next, asked });
    }

    /// Tells whether only the end of the answer says whether the call went well.
    pub(crate) fn is_open_call(&self, asked: Asked) -> bool {
        asked.is_call && self.grpc.is_none() && self.status == 200
    }

    /// Returns the status that counts for the arm.
    pub(crate) fn counted(&self) -> u16 {
        self.grpc.filter(|_| self.status == 200).map_or(self.status, GrpcStatus::as_http)
    }
}

/// Tells whether an arm failed that answers so.
pub(crate) const fn is_failure(status: u16) -> bool {
    status >= 500
}

/// Who answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict<'a> {
    /// `orders@1.4.0`.
    pub(crate) version: &'a str,
    /// What the request is found by in logs.
    pub(crate) request_id: &'a str,
    /// The version on trial that failed before.
    pub(crate) shielded: Option<&'a str>,
    /// The version that is left alone, and for which this one answers.
    pub(crate) degraded: Option<&'a str>,
    /// The cookie that the client gets.
    pub(crate) cookie: Option<&'a str>,
    /// What its route changes.
    pub(crate) edit: Option<&'a AnswerEdit>,
    /// Whether it came later on purpose.
    pub(crate) delayed: bool,
    /// The lane that the request is in, and what of that does not serve.
    pub(crate) lane: Option<&'a str>,
}

/// Reads a head from the beginning of `input` and writes its status line and fields to `output`.
///
/// Returns `None` while the head is not complete. The bytes stay in `input`.
pub(crate) fn read(
    input: &BytesMut,
    asked: Asked,
    output: &mut impl Pieces,
) -> Result<Option<AnswerHead>, BadAnswer> {
    let mut room = fields();
    let mut raw = httparse::Response::new(&mut []);
    let mut parser = ParserConfig::default();
    parser.allow_multiple_spaces_in_response_status_delimiters(true);
    let length = match parser.parse_response_with_uninit_headers(&mut raw, input, &mut room) {
        Ok(Parsed::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Parsed::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer::TooLarge),
        Err(_) => return Err(BadAnswer::Head),
    };
    let (Some(status), Some(minor)) = (raw.code, raw.version) else { return Err(BadAnswer::Head) };
    if !(100..=999).contains(&status) {
        return Err(BadAnswer::Head);
    }
    let status = asked.status(status);
    let kinds = kinds_of(raw.headers);
    let facts = Facts::gather(raw.headers, &kinds)?;
    let body = facts.body(status, asked)?;
    let switched = facts.upgrade.filter(|name| asked.upgrade == Some(Upgrade::of(name)));
    if status == 101 && !(asked.websocket && facts.websocket) && switched.is_none() {
        return Err(BadAnswer::Switch);
    }
    if status == 101 && asked.minor == 2 {
        // There it is an answer like others, and nothing is proved by a key.
        output.status(200, "OK");
        let stays = |header: &Header<'_>| !header.name.eq_ignore_ascii_case("sec-websocket-accept");
        let headers: Vec<Header<'_>> = raw.headers.iter().filter(|it| stays(it)).copied().collect();
        facts.write(&headers, &kinds_of(&headers), status, output);
    } else {
        output.status(status, raw.reason.unwrap_or_default());
        facts.write(raw.headers, &kinds, status, output);
        switched.filter(|_| status == 101).iter().for_each(|name| output.field("upgrade", name));
    }
    let persistent = !facts.close && (minor == 1 || facts.keep_alive);
    let reusable =
        persistent && !facts.odd && !matches!(body, Body::UntilClose) && !facts.may_have_more(status, asked);
    let is_stream = facts.streams || asked.is_call;
    let grpc = facts.grpc(asked, &body);
    Ok(Some(AnswerHead { status, body, reusable, length, is_stream, grpc, web: None, packed: false }))
}

/// Takes in a head of HTTP/2, and writes its status and fields to `output`; `ends` tells whether no body follows.
pub(crate) fn read_parts(
    parts: &http::response::Parts,
    ends: bool,
    asked: Asked,
    output: &mut impl Pieces,
) -> Result<AnswerHead, BadAnswer> {
    let status = asked.status(parts.status.as_u16());
    if parts.headers.len() > MAX_FIELDS {
        return Err(BadAnswer::TooLarge);
    }
    if status == 101 {
        return Err(BadAnswer::Switch);
    }
    let fields = parts.headers.iter();
    let headers: Vec<Header<'_>> =
        fields.map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() }).collect();
    let kinds = kinds_of(&headers);
    let facts = Facts::gather(&headers, &kinds)?;
    if facts.chunked || facts.identity {
        return Err(BadAnswer::Encoding);
    }
    output.status(status, parts.status.canonical_reason().unwrap_or_default());
    output.expect(headers.len() + 2, 32);
    let call = asked.web.and_then(|form| Some((form, parts.headers.get(CONTENT_TYPE)?.as_bytes())));
    let web = call.filter(|(_, kind)| is_call(kind)).map(|(form, _)| form);
    if web.is_none() {
        facts.write_length(status, output);
    }
    for ((name, value), &kind) in parts.headers.iter().zip(&kinds) {
        if let Some(form) = web.filter(|_| *name == CONTENT_TYPE) {
            output.field(name.as_str(), &form.answer_to(value.as_bytes()));
        } else if facts.passes(kind, name.as_str()) {
            output.pass(name, value);
        }
    }
    let bodiless = asked.is_head || status < 200 || status == 204 || status == 304;
    if ends && !bodiless && asked.minor < 2 && facts.length.is_none() {
        // HTTP/1 tells that there is no body by its length alone.
        output.field("content-length", b"0");
    }
    let body = match facts.length {
        _ if ends || bodiless => Body::Done,
        Some(length) => Body::Length(length),
        None => Body::Framed(u64::MAX),
    };
    let is_stream = facts.streams || asked.is_call;
    let grpc = facts.grpc(asked, &body);
    Ok(AnswerHead { status, body, reusable: true, length: 0, is_stream, grpc, web, packed: false })
}

/// Tells whether an answer of this type may be silent for long: an event stream, and a call of gRPC-Web that its service answers itself.
fn is_stream(kind: &[u8]) -> bool {
    let essence = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(EVENTS) || WebForm::read(essence).is_some()
}

#[derive(Debug, Default)]
struct Facts<'b> {
    length: Option<u64>,
    chunked: bool,
    identity: bool,
    /// Whether the framing is said in a way that not everybody reads alike. What it says is passed on in ours, and the
    /// connection is not used again.
    odd: bool,
    close: bool,
    keep_alive: bool,
    websocket: bool,
    upgrade: Option<&'b [u8]>,
    streams: bool,
    grpc: Option<&'b [u8]>,
    dropped: Vec<&'b str>,
}

impl<'b> Facts<'b> {
    fn gather(headers: &[Header<'b>], kinds: &Kinds) -> Result<Self, BadAnswer> {
        let mut facts = Self::default();
        for (header, kind) in headers.iter().zip(kinds) {
            match kind {
                Field::ContentLength => facts.note_length(header.value)?,
                Field::TransferEncoding => facts.note_encoding(header.value)?,
                Field::Upgrade => {
                    facts.websocket |= header.value.eq_ignore_ascii_case(b"websocket");
                    facts.upgrade = Some(header.value);
                }
                Field::Connection => {
                    facts.note_connection(std::str::from_utf8(header.value).unwrap_or("close"));
                }
                Field::Other if header.name.eq_ignore_ascii_case("grpc-status") => {
                    facts.grpc = Some(header.value);
                }
                Field::Other if header.name.eq_ignore_ascii_case("content-type") => {
                    facts.streams = is_stream(header.value);
                }
                _ => {}
            }
        }
        if facts.chunked && facts.identity {
            return Err(BadAnswer::Encoding);
        }
        if facts.chunked && facts.length.is_some() {
            return Err(BadAnswer::Length);
        }
        Ok(facts)
    }

    /// Takes a length, also one that is repeated: what is the same everywhere can be read in one way only.
    fn note_length(&mut self, value: &[u8]) -> Result<(), BadAnswer> {
        for one in value.split(|&byte| byte == b',') {
            let length = parse_length(one.trim_ascii()).ok_or(BadAnswer::Length)?;
            match self.length.replace(length) {
                Some(before) if before != length => return Err(BadAnswer::Length),
                before => self.odd |= before.is_some(),
            }
        }
        Ok(())
    }

    /// Takes `chunked`, also when programs behind each other repeat it, and `identity`, which means nothing.
    fn note_encoding(&mut self, value: &[u8]) -> Result<(), BadAnswer> {
        for one in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if one.eq_ignore_ascii_case(b"chunked") {
                self.odd |= self.chunked;
                self.chunked = true;
            } else if one.eq_ignore_ascii_case(b"identity") {
                (self.identity, self.odd) = (true, true);
            } else {
                return Err(BadAnswer::Encoding);
            }
        }
        Ok(())
    }

    fn note_connection(&mut self, value: &'b str) {
        for option in members(value) {
            match option {
                _ if option.eq_ignore_ascii_case("close") => self.close = true,
                _ if option.eq_ignore_ascii_case("keep-alive") => self.keep_alive = true,
                _ => self.dropped.push(option),
            }
        }
    }

    fn body(&self, status: u16, asked: Asked) -> Result<Body, BadAnswer> {
        let bodiless = asked.is_head || status < 200 || status == 204 || status == 304;
        Ok(match (bodiless, self.chunked, self.length) {
            (true, ..) | (false, false, Some(0)) => Body::Done,
            (false, true, _) => Body::Chunked(ChunkDecoder::default()),
            (false, false, Some(length)) => Body::Length(length),
            (false, false, None) => Body::UntilClose,
        })
    }

    /// Tells whether there is no body only because of the method or the status, and the head does not say so itself.
    ///
    /// An instance that is wrong about this may send a body nevertheless, maybe later, and the next answer on the
    /// connection would begin with it.
    fn may_have_more(&self, status: u16, asked: Asked) -> bool {
        let announced = self.chunked || self.length.is_some_and(|length| length > 0);
        match status {
            204 | 304 => announced,
            _ => asked.is_head && (announced || self.length.is_none()),
        }
    }

    /// Returns how a call ended whose answer is nothing but its head; where more follows, its end says so, and the head nothing.
    fn grpc(&self, asked: Asked, body: &Body) -> Option<GrpcStatus> {
        self.grpc.filter(|_| asked.is_call && body.is_done()).map(GrpcStatus::read)
    }

    fn write(&self, headers: &[Header<'_>], kinds: &Kinds, status: u16, output: &mut impl Pieces) {
        self.write_length(status, output);
        for (header, &kind) in headers.iter().zip(kinds) {
            if self.passes(kind, header.name) {
                output.field(header.name, header.value);
            }
        }
    }

    fn write_length(&self, status: u16, output: &mut impl Pieces) {
        // What has no body by its status says no length (RFC 9110, 8.6), and what comes before an answer might be taken for it by its length.
        if let Some(length) = self.length.filter(|_| status >= 200 && status != 204) {
            output.field("content-length", itoa::Buffer::new().format(length).as_bytes());
        }
    }

    fn passes(&self, kind: Field, name: &str) -> bool {
        match kind {
            Field::ContentLength
            | Field::TransferEncoding
            | Field::Connection
            | Field::Upgrade
            | Field::HopByHop
            | Field::RequestId
            | Field::Verdict => false,
            _ => !self.dropped.iter().any(|it| it.eq_ignore_ascii_case(name)),
        }
    }
}
