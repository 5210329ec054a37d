//! Answers of the relay itself, as `application/problem+json` (RFC 9457): that the other side is not there, and why.

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

/// What answers are made of.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// The field in which the relay says why, for checks of its health; an answer of the other side never has it.
pub(crate) const REASON: HeaderName = HeaderName::from_static(lockstep_domain::external::REASON_FIELD);
/// Longest reason in it.
const MAX_REASON: usize = 500;

/// Why the relay answers in the place of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// The other side is not there, or does not answer rightly.
    pub(crate) fn bad_gateway(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "other_side", detail)
    }

    /// The other side takes too long.
    pub(crate) fn too_late(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "other_side_late", detail)
    }

    /// Returns what is wrong at the other side, where it is that.
    pub(crate) fn trouble(&self) -> Option<&str> {
        let of_other_side = [StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT].contains(&self.status);
        of_other_side.then_some(self.detail.as_str())
    }

    pub(crate) fn answer(&self) -> Response<Body> {
        let document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let body = Full::new(Bytes::from(document.to_string())).map_err(|never| match never {});
        let mut response = Response::new(UnsyncBoxBody::new(body));
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(REASON, reason(&self.detail));
        response
    }
}

fn reason(detail: &str) -> HeaderValue {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let text: String = detail.chars().take(MAX_REASON).map(plain).collect();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("?"))
}
