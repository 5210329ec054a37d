//! Notices that wait are made fewer: what is not so any more is left out, and when too many wait for a person they become one.
//!
//! Only what waits and is not being tried is changed. What was tried and failed may have come through after all: a recovery takes its place
//! all the same, because it says all that the fault said; a change waits behind it.

use std::collections::BTreeMap;

use super::{DIGEST_ABOVE, Entry, Outbox};
use crate::notice::{MAX_ALERTS, Notice, NoticeAlert, NoticeKind};

/// The group of digests.
const DIGEST: &str = "digest";

impl Outbox {
    /// Puts a notice together with the last ones of its group that wait, where one message can tell them. Returns it where none can.
    pub(super) fn fold(&mut self, target: &str, notice: Notice) -> Option<Notice> {
        let same = |entry: &&Entry| entry.target == target && entry.notice.group == notice.group;
        let last = self.entries.iter().rev().find(|(_, entry)| same(entry)).map(|(number, _)| *number);
        let Some(number) = last else { return Some(notice) };
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| !entry.is_sending) else {
            return Some(notice);
        };
        let Some(kind) = together(entry, notice.kind) else { return Some(notice) };
        // Under the id of the later: whoever got the earlier one after all must not drop this one as its copy.
        let merged = merge(kind, &entry.notice, notice);
        if kind != NoticeKind::Recovered {
            (entry.notice, entry.tries) = (merged, 0);
            return None;
        }
        // What waits before it may have become one with it, too: what came and went and came and went is over.
        let since_ms = entry.since_ms;
        self.entries.remove(&number);
        if let Some(notice) = self.fold(target, merged) {
            self.insert(target, notice, since_ms);
        }
        None
    }

    /// Makes one of all that waits for a target when that is too much.
    pub(super) fn digest(&mut self, target: &str, now_ms: u64) {
        let is_of_target = |entry: &Entry| entry.target == target && !entry.is_sending;
        let waiting = self.entries.iter().filter(|(_, entry)| is_of_target(entry));
        let numbers: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        // A digest that waits tells how things were, so nothing newer may go before it.
        let is_digest = |entry: &Entry| entry.notice.kind == NoticeKind::Digest;
        let has_digest = numbers.iter().any(|number| self.entries.get(number).is_some_and(is_digest));
        if numbers.len() <= DIGEST_ABOVE && !(has_digest && numbers.len() > 1) {
            return;
        }
        let entries: Vec<Entry> = numbers.iter().filter_map(|number| self.entries.remove(number)).collect();
        self.last += 1;
        let entry = digest_of(target, &entries, self.last, now_ms);
        self.entries.insert(self.last, entry);
    }
}

/// Returns what one notice says that says two.
fn together(earlier: &Entry, later: NoticeKind) -> Option<NoticeKind> {
    match (earlier.notice.kind, later) {
        // Nobody knows of the fault yet, so it is told as one, as it is now. Where a try of it may have come through, it would be told twice.
        (NoticeKind::Fault, NoticeKind::Fault | NoticeKind::Changed) => {
            (earlier.tries == 0).then_some(NoticeKind::Fault)
        }
        (NoticeKind::Changed, NoticeKind::Fault | NoticeKind::Changed) => Some(NoticeKind::Changed),
        // It began and ended: one message with both times.
        (NoticeKind::Fault | NoticeKind::Changed | NoticeKind::Recovered, NoticeKind::Recovered) => {
            Some(NoticeKind::Recovered)
        }
        // What recovered and came again is two messages; so is what a person asked for.
        _ => None,
    }
}

fn merge(kind: NoticeKind, earlier: &Notice, later: Notice) -> Notice {
    let known: Vec<&String> = later.alerts.iter().map(|alert| &alert.fingerprint).collect();
    let over = |alert: &&NoticeAlert| alert.ended_ms.is_some() || kind == NoticeKind::Recovered;
    let missed = earlier.alerts.iter().filter(|alert| !known.contains(&&alert.fingerprint)).filter(over);
    let missed: Vec<NoticeAlert> = missed.cloned().map(|alert| ended(alert, later.at_ms)).collect();
    let count = later.alerts.len() + missed.len();
    let beyond = u32::try_from(count.saturating_sub(MAX_ALERTS)).unwrap_or(u32::MAX);
    let alerts = later.alerts.iter().cloned().chain(missed).take(MAX_ALERTS).collect();
    Notice {
        kind,
        alerts,
        more: later.more.saturating_add(beyond),
        severity: later.severity.max(earlier.severity),
        change: later.change.clone().or_else(|| earlier.change.clone()),
        ..later
    }
}

/// What is over with its group ended at the latest when that did.
fn ended(alert: NoticeAlert, at_ms: u64) -> NoticeAlert {
    NoticeAlert { ended_ms: alert.ended_ms.or(Some(at_ms)), ..alert }
}

fn digest_of(target: &str, entries: &[Entry], number: u64, now_ms: u64) -> Entry {
    let count: u32 = entries.iter().map(|entry| entry.stands_for.max(1)).sum();
    let since_ms = entries.iter().map(|entry| entry.since_ms).min().unwrap_or(now_ms);
    let notice = Notice {
        id: format!("{now_ms:x}-digest-{number}"),
        at_ms: now_ms,
        kind: NoticeKind::Digest,
        severity: entries.iter().map(|entry| entry.notice.severity).max().unwrap_or_default(),
        group: DIGEST.to_owned(),
        environment: the_one(entries, |notice| notice.environment.as_ref()),
        service: the_one(entries, |notice| notice.service.as_ref()),
        title: title(count, entries),
        alerts: alerts(entries),
        more: more(entries),
        change: None,
        owners: owners(entries),
        link: entries.iter().find_map(|entry| entry.notice.link.clone()),
    };
    Entry {
        target: target.to_owned(),
        notice,
        since_ms,
        tries: 0,
        is_sending: false,
        error: entries.iter().rev().find_map(|entry| entry.error.clone()),
        stands_for: count,
    }
}

fn the_one<'a>(entries: &'a [Entry], of: impl Fn(&'a Notice) -> Option<&'a String>) -> Option<String> {
    let first = of(&entries.first()?.notice)?;
    entries.iter().all(|entry| of(&entry.notice) == Some(first)).then(|| first.clone())
}

/// The last of each alert counts: a digest tells how things are, and what came and went.
fn last_of_each(entries: &[Entry]) -> Vec<&NoticeAlert> {
    let mut last = BTreeMap::<&str, &NoticeAlert>::new();
    for alert in entries.iter().flat_map(|entry| &entry.notice.alerts) {
        last.insert(&alert.fingerprint, alert);
    }
    let mut alerts: Vec<&NoticeAlert> = last.into_values().collect();
    alerts.sort_by_key(|alert| {
        (alert.ended_ms.is_some(), std::cmp::Reverse(alert.severity), alert.since_ms, &alert.fingerprint)
    });
    alerts
}

fn title(count: u32, entries: &[Entry]) -> String {
    let alerts = last_of_each(entries);
    let over = alerts.iter().filter(|alert| alert.ended_ms.is_some()).count();
    format!("{count} messages in one: {} faults go on, {over} are over", alerts.len() - over)
}

fn alerts(entries: &[Entry]) -> Vec<NoticeAlert> {
    last_of_each(entries).into_iter().take(MAX_ALERTS).cloned().collect()
}

fn more(entries: &[Entry]) -> u32 {
    let beyond = u32::try_from(last_of_each(entries).len().saturating_sub(MAX_ALERTS)).unwrap_or(u32::MAX);
    entries.iter().map(|entry| entry.notice.more).fold(beyond, u32::saturating_add)
}

fn owners(entries: &[Entry]) -> Vec<String> {
    let all = entries.iter().flat_map(|entry| entry.notice.owners.iter().cloned());
    all.collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}
