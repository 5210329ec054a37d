//! What is to be sent, to whom, and when: as data. Who sends does what it is told and says what came of it.
//!
//! Each notice is an entry for each target that takes it. For one target one is sent at a time, those of a group in their order, so a
//! recovery never comes before its fault. The outbox is stored with the state of alerts, in one transaction, before ([`Outbox::take_due`]) and
//! after ([`Outbox::settle`]) each try: killed in between, it tries again, with the same id. So a notice is sent at least once,
//! unless it is given up, which is seen.
//!
//! What was not sent and is not so any more is not sent: of a fault that recovered before it could be sent, one message tells both.

mod fold;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::notice::Notice;
use crate::target::{Reader, Target};

/// A minute: what limits are for.
const MINUTE_MS: u64 = 60_000;
const SECOND_MS: u64 = 1_000;
/// The pause after the first failure of a target; it doubles with each.
const FIRST_PAUSE_MS: u64 = 1_000;
/// The longest pause: a target that is back is noticed within it.
const MAX_PAUSE_MS: u64 = 300_000;
/// The longest pause that a target may ask for.
const MAX_ASKED_PAUSE_MS: u64 = 3_600_000;
/// After so long nobody needs it any more.
pub const GIVES_UP_AFTER_MS: u64 = 24 * 3_600_000;
/// One notice that a target does not bear must not be tried for ever while others go through.
pub const MAX_TRIES: u32 = 400;
/// More than so many that wait for a person are told as one.
pub const DIGEST_ABOVE: usize = 5;
/// Entries of one target; what is beyond is given up, the oldest first.
pub const MAX_WAITING: usize = 1_000;
/// Entries that were given up and are still shown.
pub const MAX_GIVEN_UP: usize = 100;

/// All that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outbox {
    #[serde(default)]
    entries: BTreeMap<u64, Entry>,
    #[serde(default)]
    targets: BTreeMap<String, Sending>,
    #[serde(default)]
    given_up: Vec<GivenUp>,
    /// How many were given up in all.
    #[serde(default)]
    pub given_up_count: u64,
    #[serde(default)]
    last: u64,
}

/// A notice for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The target.
    pub target: String,
    /// What is sent.
    pub notice: Notice,
    /// When it was put here, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was tried.
    #[serde(default)]
    pub tries: u32,
    /// Whether a try is under way.
    #[serde(default)]
    pub is_sending: bool,
    /// Why the last try failed.
    #[serde(default)]
    pub error: Option<String>,
    /// How many notices it stands for, when it is a digest.
    #[serde(default)]
    pub stands_for: u32,
}

/// How sending to a target goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sending {
    /// When tries of the last minute were answered; of one that was not, when it was begun.
    #[serde(default)]
    pub tried_ms: Vec<u64>,
    /// Failures since the last success.
    #[serde(default)]
    pub failures: u32,
    /// Nothing is tried before, in milliseconds since 1970.
    #[serde(default)]
    pub not_before_ms: u64,
    /// Why the last try failed, until one succeeds.
    #[serde(default)]
    pub error: Option<String>,
    /// When the last try succeeded, in milliseconds since 1970.
    #[serde(default)]
    pub sent_ms: Option<u64>,
}

/// What was not sent, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The target.
    pub target: String,
    /// What was to be sent.
    pub title: String,
    /// When it was given up, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why.
    pub why: String,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The target has it.
    Sent,
    /// It may be had later.
    Failed {
        /// Why.
        why: String,
        /// Not before, in milliseconds from now, where the target said so.
        #[serde(default)]
        again_in_ms: Option<u64>,
    },
    /// The target will never take this one.
    Refused {
        /// Why.
        why: String,
    },
}

/// What is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The number of the entry, for [`Outbox::settle`].
    pub entry: u64,
    /// The target.
    pub target: String,
    /// What is sent.
    pub notice: Notice,
}

impl Outbox {
    /// Adds a notice for each target that takes it.
    pub fn add(&mut self, notice: &Notice, targets: &[Target], now_ms: u64) {
        for target in targets.iter().filter(|target| target.takes(notice)) {
            self.add_to(&target.name, notice.clone(), now_ms);
        }
    }

    /// Adds a notice for one target, whatever it takes.
    pub fn add_to(&mut self, target: &str, notice: Notice, now_ms: u64) {
        if let Some(notice) = self.fold(target, notice) {
            self.insert(target, notice, now_ms);
        }
        self.bound(target, now_ms);
    }

    /// Returns what is to be sent now, at most one for each target, and notes that it is being tried. What it returns must be stored before it
    /// is sent.
    pub fn take_due(&mut self, targets: &[Target], now_ms: u64) -> Vec<Due> {
        self.give_up_old(now_ms);
        self.forget_targets(targets, now_ms);
        targets.iter().filter_map(|target| self.take(target, now_ms)).collect()
    }

    /// Notes what came of a try. `jitter` is a random number from 0 to 1, so that many who failed at once do not try again at once.
    pub fn settle(&mut self, entry: u64, answer: &Answer, now_ms: u64, jitter: f64) {
        let Some(mut tried) = self.entries.remove(&entry) else { return };
        tried.is_sending = false;
        let sending = self.targets.entry(tried.target.clone()).or_default();
        sending.settle(answer, now_ms, jitter);
        match answer {
            Answer::Sent => {}
            Answer::Refused { why } => self.give_up(tried, now_ms, why),
            Answer::Failed { why, .. } if tried.tries >= MAX_TRIES => {
                self.give_up(tried, now_ms, &format!("tried {MAX_TRIES} times: {why}"));
            }
            Answer::Failed { why, .. } => {
                tried.error = Some(why.clone());
                self.entries.insert(entry, tried);
            }
        }
    }

    /// Tries a target again at once, whatever it answered before: somebody mended it.
    pub fn release(&mut self, target: &str) {
        if let Some(sending) = self.targets.get_mut(target) {
            (sending.failures, sending.not_before_ms, sending.error) = (0, 0, None);
        }
    }

    /// Takes over what another process left: what it was trying is tried again.
    pub fn resume(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.is_sending = false);
    }

    /// Returns when something is due next, in milliseconds since 1970; `None` when nothing waits.
    #[must_use]
    pub fn next_ms(&self, targets: &[Target], now_ms: u64) -> Option<u64> {
        let waits = |target: &&Target| {
            let mut own = self.entries.values().filter(|entry| entry.target == target.name).peekable();
            own.peek().is_some() && own.all(|entry| !entry.is_sending)
        };
        let at = |target: &Target| {
            let sending = self.targets.get(&target.name);
            sending.map_or(now_ms, |sending| sending.may_begin_ms(target, now_ms).max(now_ms))
        };
        targets.iter().filter(waits).map(at).min()
    }

    /// Returns what waits or is being tried, in order.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(number, entry)| (*number, entry))
    }

    /// Returns how sending to a target goes.
    #[must_use]
    pub fn sending(&self, target: &str) -> Option<&Sending> {
        self.targets.get(target)
    }

    /// Returns what was given up lately, the oldest first.
    #[must_use]
    pub fn given_up(&self) -> &[GivenUp] {
        &self.given_up
    }

    fn insert(&mut self, target: &str, notice: Notice, since_ms: u64) {
        let target = target.to_owned();
        let entry =
            Entry { target, notice, since_ms, tries: 0, is_sending: false, error: None, stands_for: 1 };
        self.last += 1;
        self.entries.insert(self.last, entry);
    }

    fn take(&mut self, target: &Target, now_ms: u64) -> Option<Due> {
        let sending = self.targets.entry(target.name.clone()).or_default();
        let is_busy = self.entries.values().any(|entry| entry.target == target.name && entry.is_sending);
        if is_busy || sending.may_begin_ms(target, now_ms) > now_ms {
            return None;
        }
        if target.reader == Reader::Person {
            self.digest(&target.name, now_ms);
        }
        let number = self.next_of(&target.name)?;
        let entry = self.entries.get_mut(&number)?;
        (entry.is_sending, entry.tries) = (true, entry.tries.saturating_add(1));
        let notice = entry.notice.clone();
        self.targets.entry(target.name.clone()).or_default().tried_ms.push(now_ms);
        Some(Due { entry: number, target: target.name.clone(), notice })
    }

    /// The first of each group may go; of those what was tried least, so that one that never goes through holds up no other.
    fn next_of(&self, target: &str) -> Option<u64> {
        let mut first = BTreeMap::<&str, (u32, u64)>::new();
        for (number, entry) in self.entries.iter().filter(|(_, entry)| entry.target == target) {
            first.entry(&entry.notice.group).or_insert((entry.tries, *number));
        }
        first.into_values().min().map(|(_, number)| number)
    }

    fn give_up(&mut self, entry: Entry, now_ms: u64, why: &str) {
        let Entry { target, notice, .. } = entry;
        self.given_up.push(GivenUp { target, title: notice.title, at_ms: now_ms, why: why.to_owned() });
        self.given_up_count += 1;
        let excess = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..excess);
    }

    fn give_up_all(&mut self, now_ms: u64, is: impl Fn(&Entry) -> Option<String>) {
        let mut lost = Vec::new();
        for (number, entry) in self.entries.iter().filter(|(_, entry)| !entry.is_sending) {
            lost.extend(is(entry).map(|why| (*number, why)));
        }
        for (number, why) in lost {
            if let Some(entry) = self.entries.remove(&number) {
                self.give_up(entry, now_ms, &why);
            }
        }
    }

    fn give_up_old(&mut self, now_ms: u64) {
        self.give_up_all(now_ms, |entry| {
            let is_old = now_ms.saturating_sub(entry.since_ms) >= GIVES_UP_AFTER_MS;
            let why = || entry.error.clone().unwrap_or_else(|| "it was never its turn".to_owned());
            is_old.then(|| format!("it could not be sent in a day: {}", why()))
        });
    }

    fn forget_targets(&mut self, targets: &[Target], now_ms: u64) {
        let is_known = |name: &str| targets.iter().any(|target| target.name == name);
        self.targets.retain(|name, _| is_known(name));
        self.give_up_all(now_ms, |entry| {
            (!is_known(&entry.target)).then(|| "there is no such target any more".to_owned())
        });
    }

    fn bound(&mut self, target: &str, now_ms: u64) {
        let waiting = self.entries.iter().filter(|(_, entry)| entry.target == target && !entry.is_sending);
        let numbers: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        let excess = numbers.len().saturating_sub(MAX_WAITING);
        for number in &numbers[..excess] {
            if let Some(entry) = self.entries.remove(number) {
                self.give_up(entry, now_ms, &format!("more than {MAX_WAITING} wait for this target"));
            }
        }
    }
}

impl Sending {
    /// Returns when the next try may begin: after the pause, and when fewer than the limits were begun in the minute and the second before. Times that lie
    /// ahead, because the clock went back, count as now, and no pause is longer than the longest.
    fn may_begin_ms(&self, target: &Target, now_ms: u64) -> u64 {
        let of_minute = self.free_ms(target.limit_per_minute, MINUTE_MS, now_ms);
        let of_second = target.limit_per_second.map(|limit| self.free_ms(limit, SECOND_MS, now_ms));
        of_minute.max(of_second.unwrap_or_default()).max(self.not_before_ms.min(now_ms + MAX_ASKED_PAUSE_MS))
    }

    /// Returns from when on fewer than the limit were begun in the time before.
    fn free_ms(&self, limit: u32, within_ms: u64, now_ms: u64) -> u64 {
        let lately = self.tried_ms.iter().map(|tried_ms| (*tried_ms).min(now_ms));
        let mut lately: Vec<u64> = lately.filter(|tried_ms| tried_ms + within_ms > now_ms).collect();
        lately.sort_unstable();
        let excess = lately.len().checked_sub(limit.max(1) as usize);
        excess.map_or(0, |excess| lately[excess] + within_ms)
    }

    fn settle(&mut self, answer: &Answer, now_ms: u64, jitter: f64) {
        // It arrived at some time until now, and the target counts from then.
        self.tried_ms.pop();
        self.tried_ms.push(now_ms);
        self.tried_ms.iter_mut().for_each(|tried_ms| *tried_ms = (*tried_ms).min(now_ms));
        self.tried_ms.retain(|tried_ms| tried_ms + MINUTE_MS > now_ms);
        match answer {
            Answer::Sent => {
                (self.failures, self.not_before_ms, self.error, self.sent_ms) = (0, 0, None, Some(now_ms));
            }
            Answer::Refused { why } => self.error = Some(why.clone()),
            Answer::Failed { why, again_in_ms } => {
                let asked_ms = again_in_ms.unwrap_or_default().min(MAX_ASKED_PAUSE_MS);
                self.failures = self.failures.saturating_add(1);
                self.not_before_ms = now_ms.saturating_add(pause_ms(self.failures, jitter).max(asked_ms));
                self.error = Some(why.clone());
            }
        }
    }
}

/// Returns how long to wait after so many failures: from half of the pause to one and a half, so that many do not try at once.
fn pause_ms(failures: u32, jitter: f64) -> u64 {
    let doublings = failures.saturating_sub(1).min(20);
    let pause_ms = (FIRST_PAUSE_MS << doublings).min(MAX_PAUSE_MS);
    let part = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    (pause_ms as f64 * (0.5 + part)) as u64
}

#[cfg(test)]
mod tests;
