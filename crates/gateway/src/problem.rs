//! Answers the gateway gives itself, as `application/problem+json` (RFC 9457).

use lockstep_domain::routes::actions::stands_once;
use serde::Serialize;

use crate::answer::Asked;
use crate::framing::Recode;
use crate::grpc::{self, GrpcStatus};
use crate::outgoing::{HeadEnd, Pieces};
use crate::request_id;

/// The code of an answer to what a version has no room for.
pub(crate) const OVERLOADED: &str = "overloaded";
/// The code of an answer to what is too much at once.
pub(crate) const BUSY: &str = "busy";

/// Why the gateway answers itself instead of passing an answer on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: Status,
    code: &'static str,
    detail: Box<str>,
    hint: Option<&'static str>,
    /// The version that was asked, `orders@1.4.0`.
    version: Option<Box<str>>,
    /// Where it is to be asked instead.
    location: Option<Box<str>>,
    /// When it may be asked again, and why not before.
    later: Option<Box<Later>>,
    /// What a route answers instead of a document.
    own: Option<Box<Own>>,
}

/// Why something may only be asked again later.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Later {
    /// Its route takes so much over time.
    Quota(Quota),
    /// The version is left alone for so many seconds.
    LeftAlone { version: String, wait_s: u64 },
}

/// How much a route takes over time, and when there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) requests: u32,
    /// In so many seconds.
    pub(crate) seconds: u64,
    pub(crate) wait_s: u64,
}

impl Quota {
    /// Returns the fields of `draft-ietf-httpapi-ratelimit-headers-10`, and the one of RFC 9110 that all clients know.
    fn fields(self) -> [(&'static str, String); 3] {
        let Self { requests, seconds, wait_s } = self;
        [
            ("ratelimit-policy", format!("\"route\";q={requests};w={seconds}")),
            ("ratelimit", format!("\"route\";r=0;t={wait_s}")),
            ("retry-after", wait_s.to_string()),
        ]
    }
}

/// An answer that a route has the gateway give: nothing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) body: String,
    pub(crate) content_type: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Own {
    /// Makes one without a body.
    pub(crate) const fn empty(status: u16, code: &'static str) -> Self {
        Self { status, code, body: String::new(), content_type: String::new(), fields: Vec::new() }
    }

    pub(crate) fn into_problem(self) -> Problem {
        let code = self.code;
        Problem { own: Some(Box::new(self)), ..Problem::new(Status::BadRequest, code, "a route answers it") }
    }

    fn add(&mut self, name: String, value: String) {
        let says_kind = name == "content-type" && !self.body.is_empty();
        let is_said = || stands_once(&name) && self.fields.iter().any(|(known, _)| *known == name);
        if !says_kind && !is_said() {
            self.fields.push((name, value));
        }
    }

    fn write(&self, output: &mut impl Pieces, ending: HeadEnd, marks: Marks<'_>) {
        let status = http::StatusCode::from_u16(self.status).ok();
        output.status(self.status, status.and_then(|it| it.canonical_reason()).unwrap_or_default());
        if !self.body.is_empty() {
            output.field("content-type", self.content_type.as_bytes());
        }
        if !matches!(self.status, 204 | 304) {
            output.field("content-length", itoa::Buffer::new().format(self.body.len()).as_bytes());
        }
        for (name, value) in &self.fields {
            output.field(name, value.as_bytes());
        }
        let has_id = self.fields.iter().any(|(name, _)| name == request_id::FIELD);
        Marks { request_id: if has_id { "" } else { marks.request_id }, ..marks }.write(output);
        output.end_head(ending);
        if !ending.asked.is_head && !self.body.is_empty() {
            output.piece(self.body.clone().into(), Recode::Plain);
        }
        output.whole();
    }
}

/// What every answer says of its request, whoever made it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks<'a> {
    /// What it is found by in logs; one that could not be read has nothing.
    pub(crate) request_id: &'a str,
    /// The lane that it is in, and what of that does not serve.
    pub(crate) lane: Option<&'a str>,
}

impl Marks<'_> {
    fn write(self, output: &mut impl Pieces) {
        if !self.request_id.is_empty() {
            output.field(request_id::FIELD, self.request_id.as_bytes());
        }
        if let Some(lane) = self.lane {
            output.field(crate::lanes::HEADER, lane.as_bytes());
        }
    }
}

/// The statuses the gateway answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    PermanentRedirect,
    BadRequest,
    Forbidden,
    NotFound,
    RequestTimeout,
    ContentTooLarge,
    UriTooLong,
    ExpectationFailed,
    TooManyRequests,
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
            Self::ContentTooLarge => (413, "Content Too Large"),
            Self::UriTooLong => (414, "URI Too Long"),
            Self::ExpectationFailed => (417, "Expectation Failed"),
            Self::TooManyRequests => (429, "Too Many Requests"),
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
        Self {
            status,
            code,
            detail: detail.into().into_boxed_str(),
            hint: None,
            version: None,
            location: None,
            later: None,
            own: None,
        }
    }

    /// Says for which version it stands, and for how long that is left alone.
    pub(crate) fn degraded(mut self, version: &str, wait_s: u64) -> Self {
        self.later = Some(Box::new(Later::LeftAlone { version: version.to_owned(), wait_s }));
        self
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn location(mut self, to: String) -> Self {
        self.location = Some(to.into());
        self
    }

    pub(crate) fn with_quota(mut self, quota: Quota) -> Self {
        self.later = Some(Box::new(Later::Quota(quota)));
        self
    }

    pub(crate) fn of_version(mut self, version: &str) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Says what it is, to whom it is not shown by its body.
    pub(crate) fn says(self, detail: String) -> Self {
        Self { detail: detail.into_boxed_str(), ..self }
    }

    /// Adds fields to what a route answers. What can stand once stays as it was said first, and the body is what it says itself.
    pub(crate) fn with_fields(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        if let Some(own) = &mut self.own {
            more.into_iter().for_each(|(name, value)| own.add(name, value));
        }
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.own.as_ref().map_or(self.status.parts().0, |own| own.status)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns where the client is sent, if it is.
    pub(crate) fn sends_to(&self) -> Option<&str> {
        let fields = self.own.iter().flat_map(|own| &own.fields);
        let given = fields.filter(|(name, _)| name == "location").map(|(_, value)| value.as_str()).next();
        given.or(self.location.as_deref())
    }

    /// Tells whether nothing went wrong: a route answers, or the client is sent elsewhere.
    pub(crate) fn is_wanted(&self) -> bool {
        self.own.is_some() || self.location.is_some()
    }

    /// Writes the whole answer; a `HEAD` request gets it without the body, and who calls by gRPC as a status of that.
    pub(crate) fn write(&self, output: &mut impl Pieces, asked: Asked, next: Next, marks: Marks<'_>) {
        let ending = HeadEnd { recode: Recode::Plain, is_switch: false, next, asked };
        if asked.is_call {
            self.write_call(output, asked);
            marks.write(output);
            output.end_head(ending);
            return output.whole();
        }
        if let Some(own) = &self.own {
            return own.write(output, ending, marks);
        }
        let body = self.document();
        let (status, title) = self.status.parts();
        output.status(status, title);
        output.field("content-type", b"application/problem+json");
        output.field("content-length", itoa::Buffer::new().format(body.len()).as_bytes());
        if let Some(version) = &self.version {
            output.field("lockstep-version", version.as_bytes());
        }
        if let Some(location) = &self.location {
            output.field("location", location.as_bytes());
        }
        let mut wait_s = 1;
        match self.later.as_deref() {
            Some(Later::Quota(quota)) => {
                quota.fields().iter().for_each(|(name, value)| output.field(name, value.as_bytes()));
            }
            Some(Later::LeftAlone { version, wait_s: until }) => {
                output.field("lockstep-degraded", version.as_bytes());
                wait_s = *until;
            }
            None => {}
        }
        if self.status == Status::Unavailable {
            output.field("retry-after", itoa::Buffer::new().format(wait_s).as_bytes());
        }
        marks.write(output);
        output.end_head(ending);
        if !asked.is_head {
            output.piece(body.into(), Recode::Plain);
        }
        output.whole();
    }

    /// Returns what a client of gRPC is told.
    pub(crate) fn grpc(&self) -> GrpcStatus {
        GrpcStatus::of_http(self.status())
    }

    /// Returns the fields that end a call.
    pub(crate) fn end_of_call(&self) -> [(&'static str, String); 2] {
        let message = format!("{} ({})", self.detail, self.code);
        [("grpc-status", self.grpc().code().to_string()), ("grpc-message", grpc::message(&message))]
    }

    fn write_call(&self, output: &mut impl Pieces, asked: Asked) {
        output.status(200, "OK");
        let kind = b"application/grpc";
        output.field("content-type", &asked.web.map_or(kind.to_vec(), |form| form.answer_to(kind)));
        for (name, value) in self.end_of_call() {
            output.field(name, value.as_bytes());
        }
        output.field("content-length", b"0");
        // What 503 says by `retry-after`: a call is not asked again at once (gRFC A6).
        if matches!(self.code, OVERLOADED | BUSY) {
            output.field("grpc-retry-pushback-ms", b"1000");
        }
        // What a route says of its answer is for calls as well.
        let own = self.own.iter().flat_map(|own| &own.fields);
        let marks = own.filter(|(name, _)| name.starts_with("lockstep-"));
        marks.for_each(|(name, value)| output.field(name, value.as_bytes()));
        if let Some(version) = &self.version {
            output.field("lockstep-version", version.as_bytes());
        }
        if let Some(Later::LeftAlone { version, .. }) = self.later.as_deref() {
            output.field("lockstep-degraded", version.as_bytes());
        }
    }

    fn document(&self) -> String {
        let (status, title) = self.status.parts();
        let document = Document {
            r#type: "about:blank",
            title,
            status,
            code: self.code,
            detail: &self.detail,
            hint: self.hint,
            version: self.version.as_deref(),
        };
        serde_json::to_string(&document).unwrap_or_default()
    }
}
