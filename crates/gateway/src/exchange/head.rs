//! The head of a request for an instance, in the form that the first instance takes; the other one is made when an instance of
//! another version takes only that.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;

use crate::framing::{Recode, put};
use crate::head;
use crate::outgoing::{Fields as _, Frames};
use crate::problem::{Problem, Status};
use crate::request::{Onward, Request};

/// The head of a request for an instance, with what was here of its body.
#[derive(Debug)]
pub(crate) enum Head {
    /// For HTTP/1.1, with the body behind it.
    Bytes(Vec<u8>),
    /// For HTTP/2.
    Parts(Box<Parts>, Bytes),
}

impl Head {
    /// Writes it for HTTP/2.
    pub(crate) fn streams(request: &Request<'_>, onward: &Onward<'_>, early: Bytes) -> Result<Self, Problem> {
        let unsaid = || Problem::new(Status::BadRequest, "bad_request", "the head cannot be said in HTTP/2");
        Ok(Self::Parts(Box::new(request.write_parts(onward).ok_or_else(unsaid)?), early))
    }

    /// Writes it for HTTP/1.1; `early` is what is here of the body, and maybe all of it.
    pub(crate) fn bytes(
        request: &Request<'_>,
        onward: &Onward<'_>,
        early: &[u8],
        recode: Recode,
        is_all: bool,
    ) -> Result<Self, Problem> {
        let mut bytes = Vec::with_capacity(1_024 + early.len());
        request.write(&mut bytes, onward);
        put(&mut bytes, early, recode);
        if is_all && recode == Recode::Chunks {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(Self::Bytes(bytes))
    }

    /// Returns it with another span of the same trace in `traceparent`.
    pub(super) fn under(&self, trace: u128, before: u64, span: u64) -> Self {
        let text = |span: u64| format!("{trace:032x}-{span:016x}-");
        let (before, after) = (text(before), text(span));
        match self {
            Self::Bytes(bytes) => {
                let mut bytes = bytes.clone();
                let found = bytes.windows(before.len()).position(|it| it == before.as_bytes());
                if let Some(at) = found {
                    bytes[at..at + after.len()].copy_from_slice(after.as_bytes());
                }
                Self::Bytes(bytes)
            }
            Self::Parts(parts, early) => {
                let mut parts = parts.clone();
                let written = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
                let value = written.and_then(|value| value.replace(&before, &after).try_into().ok());
                value.into_iter().for_each(|value: http::HeaderValue| {
                    parts.headers.insert("traceparent", value);
                });
                Self::Parts(parts, early.clone())
            }
        }
    }

    /// Returns it for HTTP/1.1; `recode` is how what follows of the body is framed, if anything.
    pub(super) fn as_bytes(&self, recode: Recode, is_all: bool) -> Cow<'_, [u8]> {
        let (parts, early) = match self {
            Self::Bytes(bytes) => return bytes.into(),
            Self::Parts(parts, early) => (parts, early),
        };
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let host = parts.uri.authority().map_or("", http::uri::Authority::as_str);
        let mut bytes = Vec::with_capacity(1_024 + early.len());
        head::put(&mut bytes, &[parts.method.as_str(), " ", path, " HTTP/1.1\r\nhost: ", host, "\r\n"]);
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "te") {
            bytes.field(name.as_str(), value.as_bytes());
        }
        head::put(
            &mut bytes,
            &[if recode == Recode::Chunks { "transfer-encoding: chunked\r\n\r\n" } else { "\r\n" }],
        );
        put(&mut bytes, early, recode);
        if is_all && recode == Recode::Chunks {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        bytes.into()
    }

    /// Returns it for HTTP/2, with what is here of the body; `None` when it cannot be said there.
    pub(super) fn as_parts(&self) -> Option<(Parts, Bytes)> {
        let bytes = match self {
            Self::Parts(parts, early) => return Some(((**parts).clone(), early.clone())),
            Self::Bytes(bytes) => bytes,
        };
        let mut fields = [httparse::EMPTY_HEADER; 2 * crate::request::MAX_FIELDS];
        let mut raw = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = raw.parse(bytes).ok()? else { return None };
        let mut frames = Frames::default();
        let mut host = "localhost";
        let is_framed = |field: &httparse::Header<'_>| field.name.eq_ignore_ascii_case("transfer-encoding");
        if bytes.len() > length && raw.headers.iter().any(is_framed) {
            // What is here of the body lies in chunks.
            return None;
        }
        for field in raw.headers.iter() {
            match field.name {
                "host" if !field.value.is_empty() => host = std::str::from_utf8(field.value).ok()?,
                "host" | "transfer-encoding" | "connection" | "upgrade" => {}
                name => frames.field(name, field.value),
            }
        }
        let uri = http::Uri::builder().scheme("http").authority(host).path_and_query(raw.path?);
        let request = http::Request::builder().method(raw.method?).uri(uri.build().ok()?).body(()).ok()?;
        let mut parts = request.into_parts().0;
        parts.headers = frames.fields;
        Some((parts, Bytes::copy_from_slice(&bytes[length..])))
    }
}
