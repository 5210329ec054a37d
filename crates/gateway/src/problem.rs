//! Answers the gateway gives itself, as `application/problem+json` (RFC 9457).

use serde::Serialize;

/// Why the gateway answers itself instead of passing an answer on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: Status,
    code: &'static str,
    detail: String,
    hint: Option<&'static str>,
    /// The version that was asked, `orders@1.4.0`.
    version: Option<String>,
    /// Where it is to be asked instead.
    location: Option<String>,
}

/// The statuses the gateway answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    PermanentRedirect,
    BadRequest,
    Forbidden,
    NotFound,
    RequestTimeout,
    UriTooLong,
    ExpectationFailed,
    FieldsTooLarge,
    NotImplemented,
    BadGateway,
    Unavailable,
    GatewayTimeout,
    VersionNotSupported,
    LoopDetected,
}

impl Status {
    const fn parts(self) -> (u16, &'static str) {
        match self {
            Self::PermanentRedirect => (308, "Permanent Redirect"),
            Self::BadRequest => (400, "Bad Request"),
            Self::Forbidden => (403, "Forbidden"),
            Self::NotFound => (404, "Not Found"),
            Self::RequestTimeout => (408, "Request Timeout"),
            Self::UriTooLong => (414, "URI Too Long"),
            Self::ExpectationFailed => (417, "Expectation Failed"),
            Self::FieldsTooLarge => (431, "Request Header Fields Too Large"),
            Self::NotImplemented => (501, "Not Implemented"),
            Self::BadGateway => (502, "Bad Gateway"),
            Self::Unavailable => (503, "Service Unavailable"),
            Self::GatewayTimeout => (504, "Gateway Timeout"),
            Self::VersionNotSupported => (505, "HTTP Version Not Supported"),
            Self::LoopDetected => (508, "Loop Detected"),
        }
    }
}

/// What happens to the client's connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next request may come.
    Keep,
    /// It is closed.
    Close,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(status: Status, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None, version: None, location: None }
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn location(mut self, to: String) -> Self {
        self.location = Some(to);
        self
    }

    pub(crate) fn of_version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.status.parts().0
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Writes the whole answer; a `HEAD` request gets it without the body.
    pub(crate) fn write(&self, output: &mut Vec<u8>, is_head: bool, next: Next) {
        let (status, title) = self.status.parts();
        let (detail, version) = (self.detail.as_str(), self.version.as_deref());
        let document = Document {
            r#type: "about:blank",
            title,
            status,
            code: self.code,
            detail,
            hint: self.hint,
            version,
        };
        let body = serde_json::to_string(&document).unwrap_or_default();
        let retry = if self.status == Status::Unavailable { "retry-after: 1\r\n" } else { "" };
        let version = version.map(|it| format!("lockstep-version: {it}\r\n")).unwrap_or_default();
        let location = self.location.as_deref().map(|it| format!("location: {it}\r\n")).unwrap_or_default();
        let close = if next == Next::Close { "connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             {version}{location}{retry}{close}\r\n",
            body.len()
        );
        output.extend_from_slice(head.as_bytes());
        if !is_head {
            output.extend_from_slice(body.as_bytes());
        }
    }
}
