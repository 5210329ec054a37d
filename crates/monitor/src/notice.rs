//! What a person is told: one message of a group of alerts, as data.
//!
//! Words of each target (cards, mails, pages) are made elsewhere; here is what they are made of. A notice is stored in the
//! outbox as JSON, so fields are only added, with a default, and a reader passes over what it does not know.
//!
//! Invariant: `id` is the same at each try, so a receiver can drop a second copy; `group` is the same for a fault and for its
//! recovery, so a receiver can put them together.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How many alerts a notice names; of the others it says how many there are. More than twenty lines nobody reads in a chat,
/// and bodies of chats end at 4 to 20 kB.
pub const MAX_ALERTS: usize = 20;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its name, the same at each try: what a receiver may drop a second copy by.
    pub id: String,
    /// When it was decided, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it tells.
    pub kind: NoticeKind,
    /// The worst of what it tells.
    pub severity: Severity,
    /// The same for a fault and its recovery: the key of a page, of a thread.
    pub group: String,
    /// The environment it is about, when it is one.
    #[serde(default)]
    pub environment: Option<String>,
    /// The service it is about, when it is one.
    #[serde(default)]
    pub service: Option<String>,
    /// One line that says what and where.
    pub title: String,
    /// The first alerts, at most [`MAX_ALERTS`].
    #[serde(default)]
    pub alerts: Vec<NoticeAlert>,
    /// How many alerts there are beyond those.
    #[serde(default)]
    pub more: u32,
    /// The change that came before.
    #[serde(default)]
    pub change: Option<NoticeChange>,
    /// Who owns what it is about.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Where a person sees more.
    #[serde(default)]
    pub link: Option<String>,
}

/// What a notice tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Something is wrong.
    Fault,
    /// Something was wrong and is so otherwise: more, less, or worse.
    Changed,
    /// Nothing is wrong any more.
    Recovered,
    /// Many notices in one, because they could not be sent one by one.
    Digest,
    /// Asked for by a person who wants to see one.
    Test,
}

/// How bad it is; the order is from mild to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look today.
    #[default]
    Warning,
    /// Somebody should look now.
    Critical,
}

/// One alert in a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeAlert {
    /// The same for one rule and one subject, always.
    pub fingerprint: String,
    /// Name of the rule.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `environment`, `service`, `version`, `instance`, `host` and the like.
    #[serde(default)]
    pub subject: BTreeMap<String, String>,
    /// One line that says what is wrong.
    pub summary: String,
    /// Numbers, a reason, a last line of a log.
    #[serde(default)]
    pub detail: Option<String>,
    /// The command to run next.
    #[serde(default)]
    pub hint: Option<String>,
    /// Since when it is so, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it ended, in milliseconds since 1970; `None` while it lasts.
    #[serde(default)]
    pub ended_ms: Option<u64>,
}

/// The change that came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeChange {
    /// What was changed, in one line.
    pub what: String,
    /// Who changed it.
    #[serde(default)]
    pub who: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The command that takes it back.
    #[serde(default)]
    pub undo: Option<String>,
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "fault",
            Self::Changed => "changed",
            Self::Recovered => "recovered",
            Self::Digest => "digest",
            Self::Test => "test",
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_of_an_older_or_newer_release_is_read() {
        let text = r#"{"id":"1","at_ms":5,"kind":"fault","severity":"critical","group":"g","title":"t","not_known":{"a":1}}"#;
        let notice: Notice = serde_json::from_str(text).unwrap();
        assert_eq!((notice.kind, notice.severity, notice.more), (NoticeKind::Fault, Severity::Critical, 0));
        let again: Notice = serde_json::from_str(&serde_json::to_string(&notice).unwrap()).unwrap();
        assert_eq!(again, notice);
    }

    #[test]
    fn severity_goes_from_mild_to_bad() {
        assert!(Severity::Info < Severity::Warning && Severity::Warning < Severity::Critical);
    }
}
