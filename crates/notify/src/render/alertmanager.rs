//! Alertmanager, API v2. Pure.
//!
//! Sources: prometheus.io/docs/alerting/latest/alerts_api and api/v2/openapi.yaml of prometheus/alertmanager (`POST /api/v2/alerts` takes a
//! list of `labels`, `annotations`, `startsAt`, `endsAt`, `generatorURL`; an alert is known by its labels and is over when `endsAt` is;
//! without one it ends after `resolve_timeout`, five minutes).
//!
//! We say once that something began and once that it is over, so what lasts gets an end a day ahead, not five minutes; each further
//! notice of the group moves it on. A group that is too large for a notice is one alert, `alertname="lockstep"`. Labels are what never changes of an alert; what may, its severity aside, is an annotation.

use std::collections::BTreeMap;

use lockstep_monitor::{Notice, NoticeAlert, NoticeKind};
use serde_json::{Value, json};

use super::{bytes, place, reveal};
use crate::digest;
use crate::limits::limits;
use crate::message::{Post, RenderError};
use crate::story::{Item, Story, fitting};
use crate::target::{Alertmanager, Kind};
use crate::text::{line, link, rfc3339, wide};

/// How long an alert lasts at Alertmanager without another word of us.
const LASTS_MS: u64 = 24 * 3_600_000;
/// How long a test lasts.
const TEST_LASTS_MS: u64 = 60_000;
/// Longest value of a label.
const MAX_LABEL: usize = 256;

pub(crate) fn post(notice: &Notice, target: &Alertmanager, now_ms: u64) -> Result<Post, RenderError> {
    let path = place(&target.url)?.path_with("/api/v2/alerts");
    let most = limits(Kind::Alertmanager).body_bytes;
    let body =
        fitting(notice, |story| bytes(&alerts(notice, story, target, now_ms)), |body| body.len() <= most);
    let mut post = Post::json(path, body);
    if let Some(bearer) = &target.bearer {
        post.fields.push(("authorization", format!("Bearer {}", reveal("bearer", bearer)?)));
    }
    Ok(post)
}

fn alerts(notice: &Notice, story: &Story, target: &Alertmanager, now_ms: u64) -> Value {
    // Which alerts of a large group are named is not the same each time, so what is named may never be said to be over.
    let names_all = notice.more == 0 && !notice.alerts.is_empty();
    let is_over = notice.kind == NoticeKind::Recovered;
    let each = notice.alerts.iter().zip(&story.alerts);
    let each = each
        .filter(|_| names_all || is_over)
        .map(|(alert, item)| one_alert(notice, story, target, (alert, item), now_ms));
    each.chain((!names_all || is_over).then(|| of_group(notice, story, target, now_ms))).collect()
}

fn one_alert(
    notice: &Notice,
    story: &Story,
    target: &Alertmanager,
    (alert, item): (&NoticeAlert, &Item),
    now_ms: u64,
) -> Value {
    let mut annotations =
        BTreeMap::from([("summary", item.head.clone()), ("description", item.lines.join("\n"))]);
    annotations.extend(item.command.clone().map(|it| ("run", it)));
    let span = (alert.since_ms, end(notice, alert, now_ms));
    one(notice, story, &labels(notice, Some(alert), target), annotations, span)
}

fn of_group(notice: &Notice, story: &Story, target: &Alertmanager, now_ms: u64) -> Value {
    let named = story.alerts.iter().map(|it| it.head.clone()).chain(story.left_out.clone());
    let annotations = BTreeMap::from([
        ("summary", story.headline()),
        ("description", named.collect::<Vec<_>>().join("\n")),
    ]);
    let began = notice.alerts.iter().map(|it| it.since_ms).min().unwrap_or(notice.at_ms);
    one(notice, story, &labels(notice, None, target), annotations, (began, end_of_group(notice, now_ms)))
}

fn one(
    notice: &Notice,
    story: &Story,
    labels: &BTreeMap<String, String>,
    mut annotations: BTreeMap<&'static str, String>,
    (starts_ms, ends_ms): (u64, u64),
) -> Value {
    annotations.insert("title", story.title.clone());
    if let Some(change) = &story.change {
        annotations.insert("changed_before", change.what.clone());
        annotations.extend(change.undo.clone().map(|it| ("takes_it_back", it)));
    }
    // Alertmanager puts them into chats and mails as they are.
    annotations.values_mut().for_each(|text| *text = wide(text));
    annotations.retain(|_, text| !text.is_empty());
    let mut alert = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(starts_ms.min(ends_ms)),
        "endsAt": rfc3339(ends_ms),
    });
    if let Some(link) = notice.link.as_deref().and_then(link) {
        alert["generatorURL"] = json!(link);
    }
    alert
}

fn labels(notice: &Notice, alert: Option<&NoticeAlert>, target: &Alertmanager) -> BTreeMap<String, String> {
    let subject = alert.map(|it| it.subject.clone()).unwrap_or_default();
    let own = [("environment", &notice.environment), ("service", &notice.service)];
    let own = own.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it.clone()?)));
    let mut labels: BTreeMap<String, String> =
        own.chain(subject).map(|(name, value)| (label_name(&name), line(&value, MAX_LABEL))).collect();
    labels.extend(target.labels.clone());
    labels.retain(|_, value| !value.is_empty());
    // The rule and the name last: nothing that a service says takes their place.
    let rule = alert.map(|it| line(&it.rule, MAX_LABEL)).unwrap_or_default();
    labels.insert("alertname".to_owned(), if rule.is_empty() { "lockstep".to_owned() } else { rule });
    labels
        .insert("lockstep_alert".to_owned(), digest::hex(alert.map_or(&notice.group, |it| &it.fingerprint)));
    labels
}

/// Makes the name of a label of any text: letters, digits and `_`, no digit first.
fn label_name(name: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() { it } else { '_' };
    let name: String = name.chars().take(64).map(plain).collect();
    if name.starts_with(|it: char| it.is_ascii_digit()) || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}

fn end(notice: &Notice, alert: &NoticeAlert, now_ms: u64) -> u64 {
    // An end ahead of now would say that it lasts.
    alert.ended_ms.map_or_else(|| end_of_group(notice, now_ms), |ended| ended.min(now_ms))
}

fn end_of_group(notice: &Notice, now_ms: u64) -> u64 {
    match notice.kind {
        NoticeKind::Recovered => now_ms,
        NoticeKind::Test => now_ms.saturating_add(TEST_LASTS_MS),
        NoticeKind::Fault | NoticeKind::Changed | NoticeKind::Digest => now_ms.saturating_add(LASTS_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels_are_made_of_anything() {
        assert_eq!(["service.name", "1x", "", "a-b"].map(label_name), ["service_name", "_1x", "_", "a_b"]);
    }
}
