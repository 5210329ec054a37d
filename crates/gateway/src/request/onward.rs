//! Writing the head of a request anew for an instance: without what ends at the gateway, with what the gateway adds.

use std::borrow::Cow;

use super::{PSEUDONYM, Request};
use crate::field::Field;
use crate::key::write_baggage;

/// What the head for an instance has that the client's had not.
#[derive(Debug)]
pub(crate) struct Onward<'a> {
    /// How many bytes of the path are taken off.
    pub(crate) strip: usize,
    /// The client's address without port.
    pub(crate) client: &'a str,
    /// The key that goes into `baggage`.
    pub(crate) key: &'a [u8],
    /// For a request that came without a valid one.
    pub(crate) new_traceparent: Option<&'a str>,
}

impl<'b> Request<'b> {
    /// Writes the head for an instance.
    pub(crate) fn write(&self, output: &mut Vec<u8>, onward: &Onward<'_>) {
        let rest = &self.target[onward.strip..];
        let slash = if rest.starts_with('/') || self.target == "*" { "" } else { "/" };
        put(
            output,
            &[
                self.method,
                " ",
                slash,
                rest,
                " HTTP/1.1\r\nhost: ",
                self.authority.unwrap_or_default(),
                "\r\n",
            ],
        );
        for (header, &kind) in self.headers.iter().zip(&self.kinds) {
            if self.passes(kind, header.name) {
                put(output, &[header.name, ": "]);
                output.extend_from_slice(header.value);
                output.extend_from_slice(b"\r\n");
            }
        }
        self.write_forwarded(output, onward.client);
        output.extend_from_slice(b"baggage: ");
        write_baggage(output, onward.key, self.values(Field::Baggage));
        if let Some(traceparent) = onward.new_traceparent {
            put(output, &["\r\ntraceparent: ", traceparent]);
        }
        output.extend_from_slice(self.framing().as_bytes());
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

    fn write_forwarded(&self, output: &mut Vec<u8>, client: &str) {
        output.extend_from_slice(b"x-forwarded-for: ");
        self.write_list(output, Field::ForwardedFor);
        put(output, &[client, "\r\nvia: "]);
        self.write_list(output, Field::Via);
        put(output, &["1.1 ", PSEUDONYM, "\r\n"]);
        if !self.seen.forwarded_proto {
            output.extend_from_slice(b"x-forwarded-proto: http\r\n");
        }
        if let (false, Some(authority)) = (self.seen.forwarded_host, self.authority) {
            put(output, &["x-forwarded-host: ", authority, "\r\n"]);
        }
    }

    /// Writes what was given of a list, so that one more member can follow.
    fn write_list(&self, output: &mut Vec<u8>, kind: Field) {
        for value in self.values(kind).filter(|value| !value.is_empty()) {
            put(output, &[value, ", "]);
        }
    }

    fn values(&self, kind: Field) -> impl Iterator<Item = &'b str> {
        let given = self.headers.iter().zip(&self.kinds).filter(move |&(_, &it)| it == kind);
        given.filter_map(|(header, _)| std::str::from_utf8(header.value).ok())
    }

    fn passes(&self, kind: Field, name: &str) -> bool {
        let kept = match kind {
            Field::Other | Field::Cookie | Field::Key | Field::ForwardedProto | Field::ForwardedHost => true,
            // A tracestate belongs to its traceparent.
            Field::Traceparent | Field::Tracestate => self.traced,
            _ => false,
        };
        kept && !(kind.is_removable() && self.dropped.iter().any(|it| it.eq_ignore_ascii_case(name)))
    }
}

fn put(output: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        output.extend_from_slice(text.as_bytes());
    }
}
