//! Webhooks: a CloudEvent of version 1.0 in JSON, signed as Standard Webhooks says. Pure.
//!
//! Sources: github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md (attributes `specversion`, `id`, `source`, `type`; 64 KiB) and
//! formats/json-format.md (`application/cloudevents+json`); github.com/standard-webhooks/webhooks/blob/main/spec/standard-webhooks.md (fields
//! `webhook-id`, `webhook-timestamp`, `webhook-signature`; several signatures with a space between, for the time of a rotation).
//!
//! The data is the notice itself, with fewer alerts where it is too large; `more` says how many. Programs read texts as they are, so
//! nothing is escaped but what JSON escapes.

use lockstep_monitor::{Notice, NoticeAlert, NoticeChange};
use serde_json::{Value, json};

use super::{place, reveal};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::target::{Kind, Webhook};
use crate::text::{line, rfc3339};
use crate::{digest, sign};

/// What events of ours are called; a change of their form is another number.
const TYPE: &str = "lockstep.notice.v1";
/// Texts and numbers of alerts, from all to hardly anything.
const ROOMS: [(usize, usize); 5] = [(20, 4_000), (20, 1_000), (10, 500), (3, 200), (0, 100)];
/// Most facts and owners that are told.
const MAX_NAMES: usize = 30;

pub(crate) fn post(notice: &Notice, target: &Webhook, now_ms: u64) -> Result<Post, RenderError> {
    let path = place(&target.url)?.path;
    let id = id(notice);
    let body = event(notice, &id);
    let at_s = now_ms / 1_000;
    let mut fields = vec![
        ("content-type", "application/cloudevents+json; charset=utf-8".to_owned()),
        ("webhook-id", id.clone()),
        ("webhook-timestamp", at_s.to_string()),
    ];
    let mut signatures = Vec::new();
    for (field, secret) in [("secret", &target.secret), ("previous", &target.previous)] {
        let Some(secret) = secret else { continue };
        let signed = sign::standard(reveal(field, secret)?, &id, at_s, &body);
        signatures.push(signed.ok_or_else(|| no_key(field))?);
    }
    if !signatures.is_empty() {
        fields.push(("webhook-signature", signatures.join(" ")));
    }
    Ok(Post { path, fields, body })
}

fn no_key(field: &'static str) -> RenderError {
    RenderError::Target { field, why: "write whsec_ and 24 to 64 bytes in Base64".to_owned() }
}

/// Returns the id of a notice as it may stand in a field of a head, and without the dots that a signature parts by.
fn id(notice: &Notice) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    let is_sound = (1..=128).contains(&notice.id.len()) && notice.id.chars().all(is_plain);
    if is_sound { notice.id.clone() } else { digest::hex(&notice.id) }
}

fn event(notice: &Notice, id: &str) -> Vec<u8> {
    let most = limits(Kind::Webhook).body_bytes;
    let mut bodies =
        ROOMS.iter().map(|(alerts, chars)| envelope(notice, id, *alerts, *chars).to_string().into_bytes());
    let smallest = envelope(notice, id, 0, 100).to_string().into_bytes();
    bodies.find(|body| body.len() <= most).unwrap_or(smallest)
}

fn envelope(notice: &Notice, id: &str, alerts: usize, chars: usize) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/lockstep",
        "type": TYPE,
        "subject": digest::or_itself(&notice.group, chars),
        "time": rfc3339(notice.at_ms),
        "datacontenttype": "application/json",
        "data": shortened(notice, alerts, chars),
    })
}

/// Returns a notice with so many alerts, and texts of so many characters.
fn shortened(notice: &Notice, alerts: usize, chars: usize) -> Notice {
    let text = |it: &String| line(it, chars);
    let texts = |it: &Option<String>| it.as_ref().map(text);
    let hidden = u32::try_from(notice.alerts.len().saturating_sub(alerts)).unwrap_or(u32::MAX);
    Notice {
        id: id(notice),
        group: digest::or_itself(&notice.group, chars),
        environment: texts(&notice.environment),
        service: texts(&notice.service),
        title: text(&notice.title),
        alerts: notice.alerts.iter().take(alerts).map(|alert| shortened_alert(alert, chars)).collect(),
        more: notice.more.saturating_add(hidden),
        change: notice.change.as_ref().map(|it| shortened_change(it, chars)),
        owners: notice.owners.iter().take(MAX_NAMES).map(text).collect(),
        link: notice.link.as_deref().and_then(crate::text::link).map(ToOwned::to_owned),
        ..*notice
    }
}

fn shortened_alert(alert: &NoticeAlert, chars: usize) -> NoticeAlert {
    let text = |it: &String| line(it, chars);
    NoticeAlert {
        fingerprint: digest::or_itself(&alert.fingerprint, chars),
        rule: text(&alert.rule),
        subject: alert
            .subject
            .iter()
            .take(MAX_NAMES)
            .map(|(name, value)| (line(name, 60), text(value)))
            .collect(),
        summary: text(&alert.summary),
        detail: alert.detail.as_ref().map(text),
        hint: alert.hint.as_ref().map(text),
        ..*alert
    }
}

fn shortened_change(change: &NoticeChange, chars: usize) -> NoticeChange {
    let text = |it: &String| line(it, chars);
    NoticeChange {
        what: text(&change.what),
        who: change.who.as_ref().map(text),
        at_ms: change.at_ms,
        undo: change.undo.as_ref().map(text),
    }
}
