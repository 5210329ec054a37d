//! What an answer of HTTP means, by service. Pure.
//!
//! Chats say no with 200 and a number in the body, so a body that says nothing is no success. What a service says is shown only in the
//! form that the service is known to speak, shortened: whoever may set a target must not read other services of the network by
//! our errors.

mod chats;
mod numbers;

use crate::limits::limits;
use crate::outcome::Outcome;
use crate::target::Kind;
use crate::text::{line, span};

/// From this difference on a clock is said to be wrong; services refuse an hour, Standard Webhooks five minutes.
const WRONG_CLOCK_MS: u64 = 4 * 60_000;
/// Longest words of a service that are shown.
const MAX_SAID: usize = 200;

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The time that the other side has.
    pub(crate) date_ms: Option<u64>,
    /// How long it asks to wait.
    pub(crate) pause_ms: Option<u64>,
    pub(crate) body: Vec<u8>,
    /// Whether all of the body came.
    pub(crate) is_whole: bool,
}

impl Answer {
    fn text(&self) -> String {
        line(&String::from_utf8_lossy(&self.body), MAX_SAID)
    }

    /// Says how far our clock is from that of the other side, where it is far.
    fn wrong_clock(&self, now_ms: u64) -> Option<String> {
        let date_ms = self.date_ms?;
        let (ahead, behind) = (now_ms.saturating_sub(date_ms), date_ms.saturating_sub(now_ms));
        match (ahead > WRONG_CLOCK_MS, behind > WRONG_CLOCK_MS) {
            (true, _) => {
                Some(format!("the clock of this machine is {} ahead of that of the other side", span(ahead)))
            }
            (_, true) => {
                Some(format!("the clock of this machine is {} behind that of the other side", span(behind)))
            }
            _ => None,
        }
    }
}

/// Says what an answer means.
pub(crate) fn meaning(kind: Kind, answer: &Answer, now_ms: u64) -> Outcome {
    match (answer.status, kind) {
        (200..=299, Kind::Dingtalk | Kind::Feishu | Kind::Wecom) => numbers::meaning(kind, answer, now_ms),
        (200..=299, Kind::Slack) => chats::slack_success(answer),
        (200..=299, Kind::Teams) => chats::teams_success(answer, now_ms),
        (200..=299, _) => Outcome::Sent { note: None },
        (429, _) => too_fast(kind, answer, now_ms, format!("{kind} answered 429")),
        (status, _) => by_status(kind, status, answer, now_ms),
    }
}

fn by_status(kind: Kind, status: u16, answer: &Answer, now_ms: u64) -> Outcome {
    // Some answer 4xx with the words that decide.
    match kind {
        Kind::Slack => chats::slack_failure(answer).unwrap_or_else(|| plain(kind, status, answer, now_ms)),
        Kind::Feishu | Kind::Dingtalk | Kind::Wecom if numbers::has_number(answer) => {
            numbers::meaning(kind, answer, now_ms)
        }
        _ => plain(kind, status, answer, now_ms),
    }
}

fn plain(kind: Kind, status: u16, answer: &Answer, now_ms: u64) -> Outcome {
    let why = format!("{kind} answered {status}{}", said(kind, answer));
    let todo = match status {
        300..=399 => "it leads elsewhere, where nothing is sent: write the last address into the target",
        401 | 403 => return refused(kind, why, answer, now_ms),
        404 | 410 => "nothing takes notices there any more: make a new address, and write it into the target",
        413 => "the message is too long for it",
        408 | 425 | 500..=599 => return later(why, answer, now_ms),
        _ => "look at the address and the keys of the target",
    };
    Outcome::never(why, todo)
}

fn refused(kind: Kind, why: String, answer: &Answer, now_ms: u64) -> Outcome {
    match (kind, answer.wrong_clock(now_ms)) {
        // A signature of a wrong time is none; with the clock set it goes by itself.
        (Kind::Webhook, Some(clock)) => Outcome::later(format!("{why}; {clock}: set it (timedatectl)")),
        _ => Outcome::never(
            why,
            "it does not believe who asks: look at the keys of the target, and at who may send",
        ),
    }
}

fn later(why: String, answer: &Answer, now_ms: u64) -> Outcome {
    Outcome::Later { why, not_before_ms: answer.pause_ms.map(|pause| now_ms.saturating_add(pause)) }
}

/// Says that more came than is taken; the pause is the one that was asked for, or the usual one.
fn too_fast(kind: Kind, answer: &Answer, now_ms: u64, why: String) -> Outcome {
    let pause = answer.pause_ms.unwrap_or(limits(kind).pause_ms);
    Outcome::TooFast { why, not_before_ms: now_ms.saturating_add(pause) }
}

/// Returns what a service said, for those whose words are known to be about the message.
fn said(kind: Kind, answer: &Answer) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let words = match (kind, &json) {
        (Kind::Pagerduty, Some(json)) => json["errors"]
            .as_array()
            .map(|all| words(all))
            .or_else(|| json["message"].as_str().map(ToOwned::to_owned)),
        (Kind::Alertmanager, Some(json)) => json.as_str().or(json["message"].as_str()).map(ToOwned::to_owned),
        _ => None,
    };
    words.map(|it| format!(": {}", line(&it, MAX_SAID))).unwrap_or_default()
}

fn words(all: &[serde_json::Value]) -> String {
    all.iter().filter_map(|it| it.as_str()).take(5).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
