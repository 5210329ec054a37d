//! PagerDuty, Events API v2. Pure.
//!
//! Sources: developer.pagerduty.com/docs/events-api-v2-overview (512 KB, answers), /docs/trigger-events (fields: `summary` of 1,024
//! characters, `dedup_key` of 255, severities critical, error, warning, info; what `resolve` needs), /docs/send-change-event.
//!
//! A fault, a change of it and a digest trigger with the group as key, a recovery resolves it. A test is a change event, which is seen
//! at the service and wakes nobody.

use lockstep_monitor::{Notice, NoticeKind};
use serde_json::{Value, json};

use super::{bytes, place, reveal};
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::story::{Item, Story, fitting};
use crate::target::{Kind, Pagerduty};
use crate::text::{line, rfc3339, unlinked};
use crate::{Secret, digest};

/// Longest `summary`, in characters.
const MAX_SUMMARY: usize = 1_024;
/// Longest `dedup_key`, in characters.
const MAX_KEY: usize = 255;

pub(crate) fn post(notice: &Notice, target: &Pagerduty) -> Result<Post, RenderError> {
    let key = reveal("routing_key", &target.routing_key)?;
    let path = place(&Secret::Value(target.url.clone()))?.path;
    let most = limits(Kind::Pagerduty).body_bytes;
    let body = |story: &Story| {
        bytes(&match notice.kind {
            NoticeKind::Test => change_event(notice, story, key),
            NoticeKind::Recovered => resolve(notice, key),
            NoticeKind::Fault | NoticeKind::Changed | NoticeKind::Digest => trigger(notice, story, key),
        })
    };
    let path = if notice.kind == NoticeKind::Test { path_of_changes(&path) } else { path };
    Ok(Post::json(path, fitting(notice, body, |body| body.len() <= most)))
}

fn path_of_changes(path: &str) -> String {
    path.strip_suffix("/enqueue").map_or_else(|| path.to_owned(), |base| format!("{base}/change/enqueue"))
}

fn trigger(notice: &Notice, story: &Story, key: &str) -> Value {
    json!({
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": dedup_key(notice),
        "client": "Lockstep",
        "links": links(story),
        "payload": {
            "summary": summary(story),
            "source": source(notice),
            "severity": notice.severity.to_string(),
            "timestamp": rfc3339(notice.at_ms),
            "component": notice.service.as_deref().map(|it| line(it, MAX_KEY)),
            "group": notice.environment.as_deref().map(|it| line(it, MAX_KEY)),
            "class": notice.alerts.first().map(|it| line(&it.rule, MAX_KEY)),
            "custom_details": details(story),
        },
    })
}

fn resolve(notice: &Notice, key: &str) -> Value {
    json!({ "routing_key": key, "event_action": "resolve", "dedup_key": dedup_key(notice) })
}

fn change_event(notice: &Notice, story: &Story, key: &str) -> Value {
    let payload =
        json!({ "summary": summary(story), "source": source(notice), "timestamp": rfc3339(notice.at_ms) });
    json!({ "routing_key": key, "payload": payload, "links": links(story) })
}

fn dedup_key(notice: &Notice) -> String {
    digest::or_itself(&notice.group, MAX_KEY)
}

fn summary(story: &Story) -> String {
    line(&unlinked(&format!("{}: {}", story.mark, story.title)), MAX_SUMMARY)
}

fn source(notice: &Notice) -> String {
    let parts = [&notice.environment, &notice.service].into_iter().flatten().map(|it| line(it, 120));
    let source = parts.filter(|it| !it.is_empty()).collect::<Vec<_>>().join("/");
    if source.is_empty() { "lockstep".to_owned() } else { source }
}

fn links(story: &Story) -> Vec<Value> {
    story.link.iter().map(|it| json!({ "href": it, "text": "Open in Lockstep" })).collect()
}

fn details(story: &Story) -> Value {
    let change = story.change.as_ref();
    json!({
        "alerts": story.alerts.iter().map(detail).collect::<Vec<_>>(),
        "more": story.left_out,
        "changed_before": change.map(|it| unlinked(&it.what)),
        "takes_it_back": change.and_then(|it| it.undo.as_deref().map(unlinked)),
        "owners": story.facts.iter().find(|(label, _)| *label == "owners").map(|(_, it)| unlinked(it)),
    })
}

fn detail(item: &Item) -> Value {
    let lines: Vec<String> = item.lines.iter().map(|it| unlinked(it)).collect();
    json!({ "what": unlinked(&item.head), "details": lines, "run": item.command.as_deref().map(unlinked) })
}
