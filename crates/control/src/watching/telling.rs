//! Sending what is to be told. What is tried is kept before it is tried and what came of it after, so a server that is killed in between tries
//! again, with the same id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::{WatchingName, World};
use lockstep_monitor::outbox::{Answer, Due};
use lockstep_monitor::target;
use lockstep_notify::{Outcome, Sender};

use super::targets::TargetSettings;
use crate::random::random_hex;
use crate::{Control, lock};

/// How long it is waited at most before it is looked again what is due.
const LOOK: Duration = Duration::from_secs(1);

impl Control {
    /// Sends what is due again and again.
    pub(crate) async fn keep_telling(self: Arc<Self>) {
        let sender = Arc::new(Sender::new());
        loop {
            for due in tokio::task::block_in_place(|| self.take_due()) {
                let (control, sender) = (Arc::clone(&self), Arc::clone(&sender));
                self.spawn(async move {
                    tokio::select! {
                        () = control.stop.cancelled() => {}
                        () = control.tell(&sender, due) => {}
                    }
                });
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.watching.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Takes what is due. What could not be kept before it is tried is tried all the same: that a disk is full is what has to be told, and
    /// a server that is killed meanwhile sends it once more, with the same id.
    pub(super) fn take_due(&self) -> Vec<Due> {
        let (due, is_kept) = self.watching.change(|known| {
            // Read under the lock: nobody puts something here for a target that is not known yet.
            let (now, world) = self.ledger.look();
            let targets = targets(&world);
            let is_empty = known.state.outbox.entries().next().is_none();
            let due = if is_empty { Vec::new() } else { known.state.outbox.take_due(&targets, now.0) };
            let is_news = !due.is_empty();
            (due, is_news)
        });
        if !is_kept {
            tracing::warn!(notices = due.len(), "what is sent could not be kept: it may come twice");
        }
        due
    }

    pub(super) async fn tell(&self, sender: &Sender, due: Due) {
        let unsettled = Unsettled { control: self, entry: Some(due.entry) };
        let answer = self.try_to_tell(sender, &due).await;
        if let Answer::Failed { why, .. } | Answer::Refused { why } = &answer {
            tracing::warn!(target = due.target, why, "a notice was not sent");
        }
        tokio::task::block_in_place(|| unsettled.settle(&answer));
        self.watching.wake.notify_one();
    }

    fn was_sent_since(&self, due: &Due) -> bool {
        let known = lock(&self.watching.known);
        let sent = known.state.outbox.sending(&due.target).and_then(|it| it.sent_ms);
        sent.is_some_and(|sent_ms| sent_ms > due.notice.at_ms)
    }

    fn note_told(&self, entry: u64, answer: &Answer) {
        let jitter = random_hex(2).ok().and_then(|hex| u16::from_str_radix(&hex, 16).ok());
        let jitter = f64::from(jitter.unwrap_or(u16::MAX / 2)) / f64::from(u16::MAX);
        self.watching.change(|known| {
            known.state.outbox.settle(entry, answer, self.ledger.now().0, jitter);
            ((), true)
        });
    }

    async fn try_to_tell(&self, sender: &Sender, due: &Due) -> Answer {
        let (now, world) = self.ledger.look();
        let kept =
            due.target.parse().ok().and_then(|name: WatchingName| world.watching.targets.get(&name).cloned());
        let Some(settings) = kept.and_then(|kept| TargetSettings::read(&kept)) else {
            return Answer::Refused { why: "there is no such target any more".to_owned() };
        };
        match self.with_secrets(settings.way) {
            Ok(target) => match sender.send(&due.notice, &target, now.0).await {
                // What came after it was taken: it is this one that the target does not bear.
                Outcome::Never { why, .. } if self.was_sent_since(due) => Answer::Refused { why },
                outcome => of(outcome, now.0),
            },
            Err(why) => Answer::Failed { why, again_in_ms: None },
        }
    }
}

/// What is known of all targets.
pub(super) fn targets(world: &World) -> Vec<target::Target> {
    let owners: BTreeSet<&str> = world.services.values().filter_map(|it| it.owner.as_deref()).collect();
    let all = world.watching.targets.iter();
    let read = all.filter_map(|(name, kept)| {
        let is_owner = owners.contains(name.as_str());
        Some(TargetSettings::read(kept)?.target(name, is_owner))
    });
    read.collect()
}

fn of(outcome: Outcome, now_ms: u64) -> Answer {
    let again = |at_ms: u64| Some(at_ms.saturating_sub(now_ms));
    match outcome {
        Outcome::Sent { .. } => Answer::Sent,
        Outcome::Later { why, not_before_ms } => {
            Answer::Failed { why, again_in_ms: not_before_ms.and_then(again) }
        }
        Outcome::TooFast { why, not_before_ms } => Answer::Failed { why, again_in_ms: again(not_before_ms) },
        Outcome::Unknown { why } => Answer::Failed { why, again_in_ms: None },
        // A person mends the target within a day, and what waits is sent then.
        Outcome::Never { why, todo } => {
            Answer::Failed { why: format!("{why}; {todo}"), again_in_ms: Some(NEVER_AGAIN_MS) }
        }
    }
}

/// How long a target rests that a person has to mend.
const NEVER_AGAIN_MS: u64 = 10 * 60_000;

/// A try of which nobody knows yet what came of it; where it ends before that, by the end of the server or a defect, it is tried again.
struct Unsettled<'a> {
    control: &'a Control,
    entry: Option<u64>,
}

impl Unsettled<'_> {
    fn settle(mut self, answer: &Answer) {
        if let Some(entry) = self.entry.take() {
            self.control.note_told(entry, answer);
        }
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            let why = "it was broken off".to_owned();
            self.control.note_told(entry, &Answer::Failed { why, again_in_ms: None });
        }
    }
}
