//! What goes over the wire for one notice, made without a socket. Pure.

use lockstep_monitor::Notice;

use crate::render::{alertmanager, dingtalk, feishu, mail, pagerduty, slack, teams, webhook, wecom};
use crate::target::Target;

/// What is sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// A request of HTTP.
    Post(Post),
    /// A letter.
    Letter(Letter),
}

/// A request of HTTP. Its path and fields may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Path and query.
    pub path: String,
    /// Fields of the head, beside those that every request has.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who it is from, as an address alone.
    pub from: String,
    /// Who gets it, as addresses alone.
    pub to: Vec<String>,
    /// Head and body, lines ended by CRLF.
    pub bytes: Vec<u8>,
}

/// Why a notice cannot be made into a message for a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A secret is only a name.
    #[error("the secret in `{0}` is not at hand")]
    NoSecret(&'static str),
    /// What is written in the target cannot be used.
    #[error("`{field}` of the target: {why}")]
    Target {
        /// Which field.
        field: &'static str,
        /// Why.
        why: String,
    },
}

impl Post {
    /// Makes a request with a body of JSON.
    pub(crate) fn json(path: String, body: Vec<u8>) -> Self {
        Self { path, fields: vec![("content-type", "application/json; charset=utf-8".to_owned())], body }
    }
}

/// Makes what a target is sent for a notice. The same notice, target and time give the same bytes.
///
/// # Errors
/// When the target cannot be used as it is.
pub fn render(notice: &Notice, target: &Target, now_ms: u64) -> Result<Message, RenderError> {
    match target {
        Target::Slack(it) => slack::post(notice, it),
        Target::Dingtalk(it) => dingtalk::post(notice, it, now_ms),
        Target::Feishu(it) => feishu::post(notice, it, now_ms),
        Target::Wecom(it) => wecom::post(notice, it),
        Target::Teams(it) => teams::post(notice, it),
        Target::Pagerduty(it) => pagerduty::post(notice, it),
        Target::Alertmanager(it) => alertmanager::post(notice, it, now_ms),
        Target::Webhook(it) => webhook::post(notice, it, now_ms),
        Target::Mail(it) => return mail::letter(notice, it, now_ms).map(Message::Letter),
    }
    .map(Message::Post)
}
