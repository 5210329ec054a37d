//! What Slack and Teams answer. Pure.
//!
//! Sources: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors (words of Slack);
//! learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using (429 within a 200).

use super::{Answer, too_fast};
use crate::outcome::Outcome;
use crate::target::Kind;

/// Slack answers `ok`; what else comes with 200 is of something else that stands there.
pub(super) fn slack_success(answer: &Answer) -> Outcome {
    match (answer.text().as_str(), answer.is_whole) {
        ("ok", _) => Outcome::Sent { note: None },
        (_, false) => Outcome::unknown("Slack answered 200, and the answer broke off"),
        _ => Outcome::never(
            "it answered 200 in other words than Slack's",
            "look whether the address of the target is one of Slack",
        ),
    }
}

pub(super) fn slack_failure(answer: &Answer) -> Option<Outcome> {
    let word = answer.text();
    let todo = match word.as_str() {
        "no_service" | "no_service_id" | "no_active_hooks" | "invalid_token" | "no_team"
        | "team_disabled" => {
            "the webhook was removed or switched off: make a new one, and write its address into the target"
        }
        "channel_not_found" | "channel_is_archived" => {
            "its channel is gone or archived: make a webhook for another one"
        }
        "user_not_found" => "who is to be told is gone: make a webhook for a channel",
        "action_prohibited" | "posting_to_general_channel_denied" => {
            "an administrator of Slack forbids it: ask there, or take another channel"
        }
        "invalid_payload"
        | "no_text"
        | "invalid_blocks"
        | "invalid_blocks_format"
        | "too_many_attachments" => {
            "Slack does not take the message: this is a fault of Lockstep, please report it"
        }
        "rollup_error" => return Some(Outcome::later("Slack answered rollup_error")),
        _ => return None,
    };
    Some(Outcome::never(format!("Slack answered {word}"), todo))
}

/// Workflows answer 202 and nothing; connectors and some gateways say in a 200 what failed behind them.
pub(super) fn teams_success(answer: &Answer, now_ms: u64) -> Outcome {
    let text = String::from_utf8_lossy(&answer.body);
    let Some((_, status)) = text.split_once("returned HTTP error ") else {
        return Outcome::Sent { note: None };
    };
    let status: String = status.chars().take_while(char::is_ascii_digit).take(3).collect();
    let why = format!("what stands before Teams answered that Teams answered {status}");
    match status.as_bytes() {
        b"429" => too_fast(Kind::Teams, answer, now_ms, why),
        [b'5', ..] => Outcome::later(why),
        _ => Outcome::never(
            why,
            "make a new workflow in Teams (\"Send webhook alerts to a channel\"), and write its address into the target",
        ),
    }
}
