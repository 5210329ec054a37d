//! Writing the head of a request anew for an instance: without what ends at the gateway, with what the gateway adds.

use std::borrow::Cow;

use lockstep_domain::gateway_rules::Caller;

use super::{ASTERISK, PSEUDONYM, Request};
use crate::field::Field;
use crate::head::{put, put_field};
use crate::key::write_baggage;
use crate::peer::Peer;
use crate::trace::made_id;
use crate::tracestate::write_tracestate;

/// What the head for an instance has that the client's had not.
#[derive(Debug)]
pub(crate) struct Onward<'a> {
    /// How many bytes of the path are taken off.
    pub(crate) strip: usize,
    /// Who is at the other end of the client's connection.
    pub(crate) peer: &'a Peer,
    /// Who sent the request, as far as it is known.
    pub(crate) caller: Caller,
    /// The key that goes into `baggage` and `tracestate`.
    pub(crate) key: &'a [u8],
    /// The rules that take it, which go there too.
    pub(crate) rules: &'a [u64],
    /// For a request that came without a valid one.
    pub(crate) new_traceparent: Option<&'a str>,
}

impl<'b> Request<'b> {
    /// Writes the head for an instance.
    pub(crate) fn write(&self, output: &mut Vec<u8>, onward: &Onward<'_>) {
        let rest = &self.path[onward.strip..];
        let slash = if rest.starts_with('/') || self.path == ASTERISK { "" } else { "/" };
        put(output, &[self.method, " ", slash, rest, self.query]);
        put(output, &[" HTTP/1.1\r\nhost: ", self.authority.as_str(), "\r\n"]);
        let trusted = onward.caller.is_trusted();
        for (header, &kind) in self.headers.iter().zip(&self.kinds) {
            if self.passes(kind, header.name, trusted) {
                put_field(output, header);
            }
        }
        self.write_forwarded(output, onward.peer, trusted);
        output.extend_from_slice(b"baggage: ");
        write_baggage(output, (onward.key, onward.rules), self.values(Field::Baggage));
        if let Some(traceparent) = onward.new_traceparent {
            put(output, &["\r\ntraceparent: ", traceparent]);
        }
        self.write_tracestate(output, onward);
        output.extend_from_slice(self.framing().as_bytes());
        if self.waits_to_go_on() {
            output.extend_from_slice(b"\r\nexpect: 100-continue");
        }
        if self.websocket {
            output.extend_from_slice(b"\r\nconnection: upgrade\r\nupgrade: websocket");
        }
        output.extend_from_slice(b"\r\n\r\n");
    }

    fn framing(&self) -> Cow<'static, str> {
        match (self.length, self.seen.transfer_encoding) {
            (Some(length), _) => format!("\r\ncontent-length: {length}").into(),
            (None, true) => "\r\ntransfer-encoding: chunked".into(),
            (None, false) => "".into(),
        }
    }

    /// Writes what the gateway saw, behind or instead of what the client says.
    fn write_forwarded(&self, output: &mut Vec<u8>, peer: &Peer, trusted: bool) {
        output.extend_from_slice(b"x-forwarded-for: ");
        if trusted {
            self.write_list(output, Field::ForwardedFor);
        }
        put(output, &[&peer.text, "\r\nvia: "]);
        self.write_list(output, Field::Via);
        put(output, &["1.1 ", PSEUDONYM, "\r\n"]);
        let said = |kind| trusted && self.has(kind);
        if !said(Field::ForwardedProto) {
            put(output, &["x-forwarded-proto: ", peer.scheme(), "\r\n"]);
        }
        if !said(Field::ForwardedHost) && self.authority.host().is_some() {
            put(output, &["x-forwarded-host: ", self.authority.as_str(), "\r\n"]);
        }
        if !said(Field::ForwardedPort) {
            put(output, &["x-forwarded-port: ", &peer.port, "\r\n"]);
        }
        if !said(Field::RealIp) {
            put(output, &["x-real-ip: ", &peer.text, "\r\n"]);
        }
        if let Some(identity) = peer.secure.as_ref().and_then(|secure| secure.identity.as_deref()) {
            put(output, &["x-forwarded-client-cert: ", identity, "\r\n"]);
        }
        if self.has(Field::Forwarded) {
            self.write_rfc_7239(output, peer, trusted);
        }
    }

    /// Writes `forwarded` where the request has one: whoever reads it must find the truth, and few do.
    fn write_rfc_7239(&self, output: &mut Vec<u8>, peer: &Peer, trusted: bool) {
        output.extend_from_slice(b"forwarded: ");
        if trusted {
            self.write_list(output, Field::Forwarded);
        }
        let node = if peer.text.contains(':') { format!("\"[{}]\"", peer.text) } else { peer.text.clone() };
        put(
            output,
            &["for=", &node, ";host=\"", self.authority.as_str(), "\";proto=", peer.scheme(), "\r\n"],
        );
    }

    /// Writes `tracestate`. A key that is the trace's id goes on in `traceparent` already.
    fn write_tracestate(&self, output: &mut Vec<u8>, onward: &Onward<'_>) {
        let trace = onward.new_traceparent.map(made_id).or(self.trace_id());
        let key = Some(onward.key).filter(|key| trace.map(str::as_bytes) != Some(*key));
        // A tracestate belongs to its traceparent.
        let stays = self.seen.tracestate && self.traced && self.passes(Field::Other, "tracestate", false);
        if stays || key.is_some() || !onward.rules.is_empty() {
            write_tracestate(
                output,
                (key, onward.rules),
                self.values(Field::Tracestate).filter(move |_| stays),
            );
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

    fn passes(&self, kind: Field, name: &str, trusted: bool) -> bool {
        let kept = match kind {
            Field::Other | Field::Cookie | Field::Key => true,
            // Lists are written anew with one more member; of these there is one value.
            Field::ForwardedProto
            | Field::ForwardedHost
            | Field::ForwardedPort
            | Field::RealIp
            | Field::Claim => trusted,
            Field::Traceparent => self.traced,
            _ => false,
        };
        kept && !(kind.is_removable() && self.dropped.iter().any(|it| it.eq_ignore_ascii_case(name)))
    }
}
