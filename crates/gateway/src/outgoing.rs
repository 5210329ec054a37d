//! What goes to one side next, in the form of its wire: bytes of HTTP/1.1, or what becomes frames of HTTP/2.
//!
//! Whatever is read from the other side is written through [`Pieces`], so that which fields pass, and how a body is framed,
//! is decided once.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::Header;

use crate::answer::Asked;
use crate::buffers::Output;
use crate::chunked::passes;
use crate::framing::{Recode, put};
use crate::grpc_web::{self, WebForm};
use crate::head;
use crate::problem::Next;
use crate::trial::Tap;

/// From this size on a piece of a body is handed on without being copied.
const HANDED_ON: usize = 4 * 1_024;

/// Something that header fields are written to.
pub(crate) trait Fields {
    fn field(&mut self, name: &str, value: &[u8]);

    /// Writes a field whose value `write` writes behind what is there.
    fn field_by(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>));

    /// Writes a field of HTTP/2 as it came.
    fn pass(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.field(name.as_str(), value.as_bytes());
    }

    /// Writes a field whose value is the same for all requests of a connection.
    fn constant(&mut self, name: HeaderName, value: &HeaderValue) {
        self.field(name.as_str(), value.as_bytes());
    }

    /// Makes room for so many fields, and so many bytes of those that are not passed on as they came.
    fn expect(&mut self, _fields: usize, _bytes: usize) {}
}

/// The pieces of a message.
pub(crate) trait Pieces: Fields {
    /// Begins an answer.
    fn status(&mut self, status: u16, reason: &str);

    /// Ends the head of an answer; a wire without connections of its own says nothing of them.
    fn end_head(&mut self, ending: HeadEnd);

    /// Takes so many bytes of a body.
    fn data(&mut self, input: &mut BytesMut, length: usize, recode: Recode);

    /// Takes a piece of a body.
    fn piece(&mut self, piece: Bytes, recode: Recode);

    /// Ends a body that says itself where it ends.
    fn trailers<'t>(&mut self, fields: impl Iterator<Item = (&'t str, &'t [u8])>, recode: Recode);

    /// Ends it with what stood behind it in HTTP/2, as far as that is passed on.
    fn pass_trailers(&mut self, fields: HeaderMap, recode: Recode) {
        let passing = fields.iter().filter(|(name, _)| passes(name.as_str()));
        self.trailers(passing.map(|(name, value)| (name.as_str(), value.as_bytes())), recode);
    }

    /// Takes fields out of a head of which nothing but status and fields is written.
    fn drop_fields(&mut self, drops: &dyn Fn(&str) -> bool);

    /// Returns the values of a field of such a head, one for each line.
    fn values_of(&self, name: &str) -> Vec<Vec<u8>>;

    /// Notes that nothing follows.
    fn whole(&mut self);

    /// Begins to copy an answer, of which the head is written.
    fn tap(&self, recode: Recode) -> Option<Tap>;

    /// Returns how much of a body is here.
    fn mark(&self) -> usize;

    /// Copies what came after a mark.
    fn copy_since(&self, mark: usize, tap: &mut Tap);
}

/// How the head of an answer ends on HTTP/1.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadEnd {
    pub(crate) recode: Recode,
    pub(crate) is_switch: bool,
    pub(crate) next: Next,
    pub(crate) asked: Asked,
}

/// A place for pieces, lent when it is needed.
pub(crate) trait Outgoing: Default + Send {
    type Pieces: Pieces;

    fn lend(&mut self) -> &mut Self::Pieces;

    fn seen(&self) -> &Self::Pieces;

    fn give_back(&mut self);
}

impl Fields for Vec<u8> {
    #[inline]
    fn field(&mut self, name: &str, value: &[u8]) {
        head::put_field(self, &Header { name, value });
    }

    #[inline]
    fn field_by(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.len();
        head::put(self, &[name, ": "]);
        let value = self.len();
        write(self);
        if self.len() == value { self.truncate(start) } else { self.extend_from_slice(b"\r\n") }
    }
}

impl Pieces for Vec<u8> {
    #[inline]
    fn status(&mut self, status: u16, reason: &str) {
        head::put(self, &["HTTP/1.1 ", itoa::Buffer::new().format(status), " ", reason, "\r\n"]);
    }

    fn end_head(&mut self, HeadEnd { recode, is_switch, next, asked }: HeadEnd) {
        if recode.has_chunks() {
            self.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        self.extend_from_slice(match (is_switch, next, asked.minor) {
            (true, ..) if asked.upgrade.is_some() => b"connection: upgrade\r\n\r\n",
            (true, ..) => b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
            (false, Next::Close, _) => b"connection: close\r\n\r\n",
            (false, Next::Keep, 0) => b"connection: keep-alive\r\n\r\n",
            (false, Next::Keep, _) => b"\r\n",
        });
    }

    #[inline]
    fn data(&mut self, input: &mut BytesMut, length: usize, recode: Recode) {
        put(self, &input[..length], recode);
        input.advance(length);
    }

    fn piece(&mut self, piece: Bytes, recode: Recode) {
        put(self, &piece, recode);
    }

    fn trailers<'t>(&mut self, fields: impl Iterator<Item = (&'t str, &'t [u8])>, recode: Recode) {
        if let Some((_, framing)) = recode.of_web() {
            put(self, &grpc_web::trailers(fields).unwrap_or_default(), recode);
            self.trailers(std::iter::empty(), framing);
        } else if recode == Recode::Chunks {
            self.extend_from_slice(b"0\r\n");
            fields.for_each(|(name, value)| self.field(name, value));
            self.extend_from_slice(b"\r\n");
        }
    }

    fn drop_fields(&mut self, drops: &dyn Fn(&str) -> bool) {
        let mut kept = Vec::with_capacity(self.len());
        for (index, line) in self.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            if index == 0 || !std::str::from_utf8(name).is_ok_and(drops) {
                kept.extend_from_slice(line);
            }
        }
        *self = kept;
    }

    fn values_of(&self, name: &str) -> Vec<Vec<u8>> {
        let lines = self.split(|&byte| byte == b'\n').skip(1);
        let values = lines.filter_map(|line| {
            let (is, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":").filter(|_| is.eq_ignore_ascii_case(name.as_bytes()))?;
            Some(value.trim_ascii().to_vec())
        });
        values.collect()
    }

    fn whole(&mut self) {}

    fn tap(&self, recode: Recode) -> Option<Tap> {
        Tap::of(self, recode)
    }

    fn mark(&self) -> usize {
        self.len()
    }

    fn copy_since(&self, mark: usize, tap: &mut Tap) {
        tap.copy(&self[mark..]);
    }
}

impl Outgoing for Output {
    type Pieces = Vec<u8>;

    #[inline]
    fn lend(&mut self) -> &mut Vec<u8> {
        Self::lend(self)
    }

    fn seen(&self) -> &Vec<u8> {
        self.written()
    }

    #[inline]
    fn give_back(&mut self) {
        Self::give_back(self);
    }
}

/// What becomes frames of one stream.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The head of an answer that was not sent yet.
    pub(crate) status: Option<StatusCode>,
    pub(crate) fields: HeaderMap,
    pub(crate) data: Vec<Bytes>,
    /// Small pieces, which are sent as one.
    small: BytesMut,
    pub(crate) trailers: Option<HeaderMap>,
    /// Whether nothing follows.
    pub(crate) ends: bool,
    scratch: Vec<u8>,
    /// Values that are not passed on as they came lie here one behind the other, so that each is no allocation of its own.
    values: BytesMut,
}

impl Frames {
    /// Hands out the pieces of a body that are here.
    pub(crate) fn pieces(&mut self) -> Vec<Bytes> {
        self.settle();
        std::mem::take(&mut self.data)
    }

    /// Hands out what stands behind a body, where anything does.
    pub(crate) fn end(&mut self) -> HeaderMap {
        self.trailers.take().unwrap_or_default()
    }

    /// Puts small pieces behind what came before them.
    pub(crate) fn settle(&mut self) {
        if !self.small.is_empty() {
            self.data.push(self.small.split().freeze());
        }
    }
}

/// Adds a field; what cannot be one in HTTP/2 either was refused before, or is left out.
pub(crate) fn add(fields: &mut HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
        fields.append(name, value);
    }
}

/// Returns a name; those that the gateway writes itself are there already.
fn name_of(name: &str) -> Option<HeaderName> {
    macro_rules! known {
        ($($text:literal),*) => {
            match name {
                $($text => {
                    const NAME: HeaderName = HeaderName::from_static($text);
                    Some(NAME)
                })*
                _ => HeaderName::from_bytes(name.as_bytes()).ok(),
            }
        };
    }
    known!(
        "baggage",
        "content-length",
        "content-type",
        "lockstep-version",
        "te",
        "traceparent",
        "tracestate",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id"
    )
}

impl Fields for Frames {
    fn field(&mut self, name: &str, value: &[u8]) {
        self.values.extend_from_slice(value);
        let value = HeaderValue::from_maybe_shared(self.values.split().freeze());
        if let (Some(known), Ok(mut value)) = (name_of(name), value) {
            // What no other request has would only push out what others have of what the other side keeps.
            value.set_sensitive(matches!(name, "traceparent" | "tracestate" | "baggage" | "x-request-id"));
            self.fields.append(known, value);
        }
    }

    fn pass(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.fields.append(name.clone(), value.clone());
    }

    fn constant(&mut self, name: HeaderName, value: &HeaderValue) {
        self.fields.append(name, value.clone());
    }

    fn expect(&mut self, fields: usize, bytes: usize) {
        self.fields.reserve(fields);
        self.values.reserve(bytes);
    }

    fn field_by(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut value = std::mem::take(&mut self.scratch);
        value.clear();
        write(&mut value);
        if !value.is_empty() {
            self.field(name, &value);
        }
        self.scratch = value;
    }
}

impl Pieces for Frames {
    fn status(&mut self, status: u16, _reason: &str) {
        self.status = StatusCode::from_u16(status).ok();
        self.fields.clear();
    }

    fn end_head(&mut self, _ending: HeadEnd) {}

    fn data(&mut self, input: &mut BytesMut, length: usize, recode: Recode) {
        if recode.of_web().is_some() {
            self.piece(input.split_to(length).freeze(), recode);
        } else if length >= HANDED_ON {
            self.settle();
            self.data.push(input.split_to(length).freeze());
        } else {
            self.small.extend_from_slice(&input[..length]);
            input.advance(length);
        }
    }

    fn piece(&mut self, piece: Bytes, recode: Recode) {
        self.settle();
        self.data.push(match recode {
            Recode::Web { form: WebForm::Text, .. } => WebForm::Text.encode(&piece).into_owned().into(),
            _ => piece,
        });
    }

    fn trailers<'t>(&mut self, fields: impl Iterator<Item = (&'t str, &'t [u8])>, recode: Recode) {
        self.ends = true;
        if recode.of_web().is_some() {
            return grpc_web::trailers(fields).into_iter().for_each(|end| self.piece(end.into(), recode));
        }
        let mut trailers = HeaderMap::new();
        fields.for_each(|(name, value)| add(&mut trailers, name, value));
        self.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
    }

    fn pass_trailers(&mut self, mut fields: HeaderMap, recode: Recode) {
        let stay = |name: &&HeaderName| !passes(name.as_str());
        let dropped: Vec<HeaderName> = fields.keys().filter(stay).cloned().collect();
        dropped.iter().for_each(|name| drop(fields.remove(name)));
        if recode.of_web().is_some() {
            let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            return self.trailers(fields, recode);
        }
        self.trailers = Some(fields).filter(|trailers| !trailers.is_empty());
        self.ends = true;
    }

    fn drop_fields(&mut self, drops: &dyn Fn(&str) -> bool) {
        let gone: Vec<HeaderName> = self.fields.keys().filter(|name| drops(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| drop(self.fields.remove(name)));
    }

    fn values_of(&self, name: &str) -> Vec<Vec<u8>> {
        self.fields.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    fn whole(&mut self) {
        self.ends = true;
    }

    fn tap(&self, recode: Recode) -> Option<Tap> {
        // Only two fields are looked at.
        let mut head = Vec::new();
        for name in ["content-type", "content-encoding"] {
            self.fields.get_all(name).iter().for_each(|value| head.field(name, value.as_bytes()));
        }
        Tap::of(&head, recode)
    }

    fn mark(&self) -> usize {
        self.data.len() + usize::from(!self.small.is_empty())
    }

    fn copy_since(&self, mark: usize, tap: &mut Tap) {
        self.data.get(mark..).unwrap_or_default().iter().for_each(|piece| tap.copy(piece));
        tap.copy(&self.small);
    }
}

impl Outgoing for Frames {
    type Pieces = Self;

    fn lend(&mut self) -> &mut Self {
        self
    }

    fn seen(&self) -> &Self {
        self
    }

    fn give_back(&mut self) {
        self.status = None;
        self.fields.clear();
        self.data.clear();
        self.small.clear();
        self.trailers = None;
        self.ends = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_as_it_came_is_what_would_be_written_anew() {
        let came: [(&'static str, &[u8]); 5] =
            [("via", b"2 a"), ("x-user", b"ann"), ("x-user", b"bob"), ("x y", b"no"), ("x-odd", b"a\xff b")];
        let (mut passed, mut written) = (Frames::default(), Frames::default());
        passed.expect(came.len(), 4);
        for (name, value) in came {
            written.field(name, value);
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                passed.pass(&name, &HeaderValue::from_bytes(value).unwrap());
            }
        }
        assert_eq!(passed.fields, written.fields);
        assert_eq!(written.fields.len(), 4);
        written.field("x-user", b"a\r\nb: c");
        written.field_by("via", |value| value.extend_from_slice(b"2 b"));
        written.field_by("via", |_| {});
        assert_eq!(written.fields.len(), 5);
        assert_eq!(written.fields.get_all("via").iter().collect::<Vec<_>>(), ["2 a", "2 b"]);
    }

    #[test]
    fn trailers_lose_what_does_not_pass_on_both_wires() {
        let mut came = HeaderMap::new();
        for (name, value) in [("grpc-status", "0"), ("content-length", "5"), ("x-end", "a"), ("x-end", "b")] {
            add(&mut came, name, value.as_bytes());
        }
        let (mut frames, mut bytes) = (Frames::default(), Vec::new());
        frames.pass_trailers(came.clone(), Recode::Plain);
        bytes.pass_trailers(came.clone(), Recode::Chunks);
        came.remove("content-length");
        assert_eq!((frames.trailers, frames.ends), (Some(came), true));
        assert_eq!(bytes, b"0\r\ngrpc-status: 0\r\nx-end: a\r\nx-end: b\r\n\r\n");
    }
}
