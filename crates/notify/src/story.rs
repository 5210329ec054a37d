//! What a notice says, in lines and in an order that every target shares. Pure.
//!
//! Targets differ in markup and size alone. A story is told with so much room ([`Room`]); where a body is too large, it is told
//! again with less ([`fitting`]): fewer alerts, shorter lines, and words that say how much is left out. Invariant: each text in a
//! story is one line ([`text::line`]) and not escaped yet.

use lockstep_monitor::{Notice, NoticeAlert, NoticeChange, NoticeKind, Severity};

use crate::text::{self, line};

/// Most owners that are named.
const MAX_OWNERS: usize = 10;
/// Most facts of what an alert is about that are named.
const MAX_SUBJECTS: usize = 12;
/// Longest title: what a header of Slack holds.
const MAX_TITLE: usize = 150;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// How many alerts.
    pub(crate) alerts: usize,
    /// How many characters a text has.
    pub(crate) chars: usize,
}

/// From all to hardly anything; the last fits into 4,096 bytes however many bytes its characters have.
const ROOMS: [Room; 8] = [
    Room { alerts: 20, chars: 700 },
    Room { alerts: 20, chars: 300 },
    Room { alerts: 12, chars: 300 },
    Room { alerts: 8, chars: 200 },
    Room { alerts: 5, chars: 160 },
    Room { alerts: 3, chars: 120 },
    Room { alerts: 1, chars: 80 },
    Room { alerts: 0, chars: 60 },
];

/// What is told.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    /// What happened, and how bad it is: `FAULT (critical)`.
    pub(crate) mark: String,
    pub(crate) title: String,
    pub(crate) look: Look,
    /// Where, whose, when.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) alerts: Vec<Item>,
    /// How many more alerts there are.
    pub(crate) left_out: Option<String>,
    pub(crate) change: Option<Change>,
    pub(crate) link: Option<String>,
}

/// How it looks at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Bad,
    Poor,
    Plain,
    Good,
}

/// An alert.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) head: String,
    pub(crate) lines: Vec<String>,
    /// The command to run next.
    pub(crate) command: Option<String>,
}

/// The change that came before.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) what: String,
    /// The command that takes it back.
    pub(crate) undo: Option<String>,
}

impl Story {
    /// Returns mark and title as one line.
    pub(crate) fn headline(&self) -> String {
        line(&format!("{}: {}", self.mark, self.title), MAX_TITLE)
    }
}

/// Tells a notice with so much room.
pub(crate) fn tell(notice: &Notice, room: Room) -> Story {
    let shown = notice.alerts.len().min(room.alerts);
    let hidden = notice.alerts.len() - shown + usize::try_from(notice.more).unwrap_or(usize::MAX);
    Story {
        mark: mark(notice),
        title: line(&notice.title, room.chars.min(MAX_TITLE)),
        look: look(notice),
        facts: facts(notice, room),
        alerts: notice.alerts.iter().take(shown).map(|alert| item(alert, room)).collect(),
        left_out: left_out(hidden, shown),
        change: notice.change.as_ref().map(|it| change(it, notice, room)),
        link: notice.link.as_deref().and_then(text::link).map(ToOwned::to_owned),
    }
}

/// Makes a body with as much in it as fits.
pub(crate) fn fitting<T>(notice: &Notice, make: impl Fn(&Story) -> T, is_fit: impl Fn(&T) -> bool) -> T {
    let tries = ROOMS.iter().map(|room| make(&tell(notice, *room)));
    let mut last = None;
    for body in tries {
        if is_fit(&body) {
            return body;
        }
        last = Some(body);
    }
    // The smallest has a bound of its own, which tests hold each target to.
    last.unwrap_or_else(|| make(&tell(notice, ROOMS[ROOMS.len() - 1])))
}

fn mark(notice: &Notice) -> String {
    match notice.kind {
        NoticeKind::Fault => format!("FAULT ({})", notice.severity),
        NoticeKind::Changed => format!("CHANGED ({})", notice.severity),
        NoticeKind::Recovered => "RECOVERED".to_owned(),
        NoticeKind::Digest => format!("DIGEST ({})", notice.severity),
        NoticeKind::Test => "TEST".to_owned(),
    }
}

fn look(notice: &Notice) -> Look {
    match (notice.kind, notice.severity) {
        (NoticeKind::Recovered, _) => Look::Good,
        (NoticeKind::Test, _) | (_, Severity::Info) => Look::Plain,
        (_, Severity::Warning) => Look::Poor,
        (_, Severity::Critical) => Look::Bad,
    }
}

fn facts(notice: &Notice, room: Room) -> Vec<(&'static str, String)> {
    let named = [("environment", &notice.environment), ("service", &notice.service)];
    let named = named.into_iter().filter_map(|(label, it)| Some((label, line(it.as_deref()?, room.chars))));
    let owners =
        (!notice.owners.is_empty()).then(|| ("owners", list(&notice.owners, MAX_OWNERS, room.chars)));
    named.chain(owners).chain([("time", text::moment(notice.at_ms))]).collect()
}

fn list(all: &[String], most: usize, chars: usize) -> String {
    let shown: Vec<String> = all.iter().take(most).map(|it| line(it, chars)).collect();
    let more = all.len() - shown.len();
    let text = shown.join(", ");
    line(&if more == 0 { text } else { format!("{text} and {more} more") }, chars)
}

fn item(alert: &NoticeAlert, room: Room) -> Item {
    let detail = alert.detail.as_deref().map(|it| line(it, room.chars));
    Item {
        head: line(&format!("{}: {}", alert.severity, alert.summary), room.chars),
        lines: [Some(subject(alert, room)), detail, Some(since(alert))]
            .into_iter()
            .flatten()
            .filter(|it| !it.is_empty())
            .collect(),
        command: alert.hint.as_deref().map(|it| line(it, room.chars)).filter(|it| !it.is_empty()),
    }
}

fn subject(alert: &NoticeAlert, room: Room) -> String {
    let pairs: Vec<String> = alert
        .subject
        .iter()
        .map(|(name, value)| format!("{}={}", line(name, 40), line(value, room.chars)))
        .collect();
    let rule = format!("rule {}", line(&alert.rule, 80));
    line(&format!("{} ({rule})", list(&pairs, MAX_SUBJECTS, room.chars)), room.chars)
}

fn since(alert: &NoticeAlert) -> String {
    let began = text::moment(alert.since_ms);
    match alert.ended_ms {
        Some(ended) => format!("from {began}, for {}", text::span(ended.saturating_sub(alert.since_ms))),
        None => format!("since {began}"),
    }
}

fn left_out(hidden: usize, shown: usize) -> Option<String> {
    match (hidden, shown) {
        (0, _) => None,
        (1, 0) => Some("1 alert".to_owned()),
        (_, 0) => Some(format!("{hidden} alerts")),
        (1, _) => Some("and 1 more alert".to_owned()),
        _ => Some(format!("and {hidden} more alerts")),
    }
}

fn change(change: &NoticeChange, notice: &Notice, room: Room) -> Change {
    let who = change.who.as_deref().map(|who| format!(" by {}", line(who, 80))).unwrap_or_default();
    let began = notice.alerts.iter().map(|alert| alert.since_ms).min();
    let ago = began.and_then(|began| began.checked_sub(change.at_ms));
    let ago = ago.map(|ms| format!(", {} before it began", text::span(ms))).unwrap_or_default();
    let tail = format!("{who}, {}{ago}", text::moment(change.at_ms));
    let what = line(&change.what, room.chars.saturating_sub(tail.chars().count()).max(40));
    Change {
        what: format!("{what}{tail}"),
        undo: change.undo.as_deref().map(|it| line(it, room.chars)).filter(|it| !it.is_empty()),
    }
}
