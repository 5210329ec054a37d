//! Bodies as each service wants them: a file each, with the sources of format and limits. Pure.

pub(crate) mod alertmanager;
pub(crate) mod dingtalk;
pub(crate) mod feishu;
pub(crate) mod mail;
pub(crate) mod pagerduty;
pub(crate) mod slack;
pub(crate) mod teams;
pub(crate) mod webhook;
pub(crate) mod wecom;

use lockstep_monitor::{Notice, NoticeKind};
use serde_json::Value;

use crate::Secret;
use crate::message::RenderError;
use crate::target::Place;

/// Parts the address of a target that is used.
pub(crate) fn place(url: &Secret) -> Result<Place, RenderError> {
    let url = reveal("url", url)?;
    Place::parse(url).map_err(|why| RenderError::Target { field: "url", why })
}

/// Returns a secret itself.
pub(crate) fn reveal<'a>(field: &'static str, secret: &'a Secret) -> Result<&'a str, RenderError> {
    secret.reveal().ok_or(RenderError::NoSecret(field))
}

/// Tells whether a notice calls the people that a target names: what got better, and what is only tried, calls nobody.
pub(crate) fn calls(notice: &Notice) -> bool {
    matches!(notice.kind, NoticeKind::Fault | NoticeKind::Changed | NoticeKind::Digest)
}

/// Writes JSON, which a value without odd keys always can.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
