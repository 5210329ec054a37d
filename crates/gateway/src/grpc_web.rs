//! gRPC-Web: calls of browsers, which can neither send nor read trailers, for instances that speak gRPC.
//!
//! What is said behind a body there comes as its last message, with a flag that no message has; and a body may be text, in
//! base64, piece by piece. Source: `PROTOCOL-WEB.md` of gRPC. Messages themselves are the same, so they pass as they come.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::chunked::ChunkError;

/// The kind of body of such a call, up to `-text` and `+proto`.
const KIND: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"-text";
/// That of a call of gRPC.
const CALL: &[u8] = b"application/grpc";
/// The flag of the message that holds what stands behind the others.
const TRAILERS: u8 = 0x80;
/// The field by which clients say what they are.
const MARK: HeaderName = HeaderName::from_static("x-grpc-web");

/// How the bodies of a call are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebForm {
    Binary,
    /// In base64; each piece may be padded.
    Text,
}

impl WebForm {
    /// Recognises a call by its `content-type`; returns what follows the kind, such as `+proto`, too.
    pub(crate) fn read(content_type: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = content_type.split_at_checked(KIND.len())?;
        let (text, after) = rest.split_at_checked(TEXT.len()).unwrap_or_default();
        let (form, suffix) =
            if text.eq_ignore_ascii_case(TEXT) { (Self::Text, after) } else { (Self::Binary, rest) };
        let ends = matches!(suffix.first(), None | Some(b'+' | b';' | b' '));
        (kind.eq_ignore_ascii_case(KIND) && ends).then_some((form, suffix))
    }

    /// Returns the `content-type` of an answer, from that of the answer to a call of gRPC.
    pub(crate) fn answer_to(self, call: &[u8]) -> Vec<u8> {
        let text: &[u8] = if self == Self::Text { TEXT } else { b"" };
        [KIND, text, call.get(CALL.len()..).unwrap_or_default()].concat()
    }

    /// Writes a piece of a body.
    pub(crate) fn encode(self, piece: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Binary => piece.into(),
            Self::Text => STANDARD.encode(piece).into_bytes().into(),
        }
    }
}

/// Turns the fields of such a call into those of a call of gRPC.
pub(crate) fn as_call(fields: &mut HeaderMap) {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| WebForm::read(kind.as_bytes()));
    let kind = kind.map(|(_, suffix)| [CALL, suffix].concat());
    if let Some(Ok(kind)) = kind.as_deref().map(HeaderValue::from_bytes) {
        fields.insert(CONTENT_TYPE, kind);
    }
    fields.remove(ACCEPT);
    fields.remove(MARK);
}

/// Returns the message that holds what stands behind a body; `None` where nothing does.
pub(crate) fn trailers<'t>(fields: impl Iterator<Item = (&'t str, &'t [u8])>) -> Option<Vec<u8>> {
    let mut message = vec![TRAILERS, 0, 0, 0, 0];
    for (name, value) in fields {
        message.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    let length = u32::try_from(message.len() - 5).ok().filter(|&length| length > 0)?;
    message[1..5].copy_from_slice(&length.to_be_bytes());
    Some(message)
}

/// Reads a body of base64 as it arrives, also where its pieces are padded.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextDecoder {
    /// What is no group of four yet.
    rest: Vec<u8>,
}

impl TextDecoder {
    pub(crate) fn decode(&mut self, piece: &[u8]) -> Result<Vec<u8>, ChunkError> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() / 4 * 4;
        let mut bytes = Vec::with_capacity(whole / 4 * 3);
        // Only what has no padding can be read in one go.
        let mut start = 0;
        while start < whole {
            let padded = self.rest[start..whole].iter().position(|&byte| byte == b'=');
            let end = padded.map_or(whole, |at| start + at / 4 * 4 + 4);
            STANDARD.decode_vec(&self.rest[start..end], &mut bytes).map_err(|_| ChunkError::Text)?;
            start = end;
        }
        self.rest.drain(..whole);
        Ok(bytes)
    }

    /// Tells whether nothing is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn calls_are_known_by_their_content_type() {
        let read = |kind: &'static str| WebForm::read(kind.as_bytes());
        assert_eq!(read("application/grpc-web"), Some((WebForm::Binary, &b""[..])));
        assert_eq!(read("application/grpc-web+proto"), Some((WebForm::Binary, &b"+proto"[..])));
        assert_eq!(read("Application/gRPC-web-text+proto"), Some((WebForm::Text, &b"+proto"[..])));
        assert_eq!(read("application/grpc-web-text; a=b"), Some((WebForm::Text, &b"; a=b"[..])));
        for other in ["application/grpc", "application/grpc+proto", "application/grpc-webx", "text/html", ""]
        {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(WebForm::Text.answer_to(b"application/grpc+proto"), b"application/grpc-web-text+proto");
    }

    #[test]
    fn what_stands_behind_a_body_is_its_last_message() {
        let fields = [("grpc-status", &b"5"[..]), ("grpc-message", b"no")];
        let message = trailers(fields.into_iter()).unwrap();
        assert_eq!(message, b"\x80\0\0\0\x22grpc-status: 5\r\ngrpc-message: no\r\n");
        assert_eq!(trailers(std::iter::empty()), None);
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for bad in ["====", "a===", "ab=c", "\r\n\r\n", "a b "] {
            assert_eq!(TextDecoder::default().decode(bad.as_bytes()), Err(ChunkError::Text), "{bad:?}");
        }
        let mut decoder = TextDecoder::default();
        assert_eq!(decoder.decode(b"YWI").unwrap(), b"");
        assert!(!decoder.is_whole());
    }

    proptest! {
        #[test]
        fn a_text_is_read_however_it_was_cut(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            every in 1_usize..9,
        ) {
            let text: Vec<u8> = pieces.iter().flat_map(|it| WebForm::Text.encode(it).into_owned()).collect();
            let mut decoder = TextDecoder::default();
            let read: Vec<u8> = text.chunks(every).flat_map(|it| decoder.decode(it).unwrap()).collect();
            prop_assert!(decoder.is_whole());
            prop_assert_eq!(read, pieces.concat());
        }
    }
}
