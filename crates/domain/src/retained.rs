//! Messages that outlive the version that wrote them: what is still kept in an environment, and whether a version reads it.
//!
//! A version that ran within the retention of its contract may have written messages that are still there, whatever
//! runs now; that holds for one that was gone back from as well, and for one that only ever took a part of the requests.
//! Going back asks about the messages of the newer version, which the older one finds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compat::{Pair, Relation, counterpart, judge};
use crate::contract::{Answer, ContractKind, MessageRole, OfferedContract, Verdict};
use crate::environment::Environment;
use crate::name::ServiceName;
use crate::service::Version;
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};
use crate::world::World;

/// Whether a version reads what another has left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retained {
    /// Who reads.
    pub reader: VersionRef,
    /// Who wrote; for a topic that the reader owns, under which version of it others wrote.
    pub writer: VersionRef,
    /// When it ceased to run.
    pub until: Timestamp,
    /// How long its messages are kept from then on, in milliseconds.
    pub retention_ms: u64,
    /// Whether they are read.
    pub verdict: Verdict,
    /// What breaks or could not be told, the worst first.
    pub reasons: Vec<String>,
}

impl Retained {
    /// Says it for people: `a message written by orders@1.2.0, which ran until 24 Nov 14:05, may still be there`.
    #[must_use]
    pub fn text(&self) -> String {
        let why = self.reasons.first().map(String::as_str).unwrap_or_default();
        let what = match self.verdict {
            Verdict::Compatible => "is read",
            Verdict::Breaking => "is not read",
            Verdict::NotChecked => "may not be read",
        };
        format!(
            "a message of the time of `{}`, which ran until {}, is kept for {} and {what} by `{}`: {why}",
            self.writer,
            self.until.day(),
            span(self.retention_ms),
            self.reader
        )
    }

    /// True when both speak of the same messages and the same break, whoever reads.
    fn is_like(&self, other: &Self) -> bool {
        self.writer == other.writer && self.verdict == other.verdict && self.reasons == other.reasons
    }
}

fn span(ms: u64) -> String {
    let hours = ms / 3_600_000;
    match (hours, ms) {
        (0, ms) => format!("{} minutes", ms / 60_000),
        (hours, _) if hours % 24 == 0 => format!("{} days", hours / 24),
        (hours, _) => format!("{hours} hours"),
    }
}

/// When each version of a service last ran in an environment; those that run, or are about to, run now.
fn last_ran(
    environment: &Environment,
    service: &ServiceName,
    now: Timestamp,
) -> BTreeMap<VersionNumber, Timestamp> {
    let mut ran: BTreeMap<VersionNumber, Timestamp> = BTreeMap::new();
    let mut note = |version: &VersionNumber, until: Timestamp| {
        let known = ran.entry(version.clone()).or_insert(until);
        *known = (*known).max(until);
    };
    let mut until = now;
    for baseline in environment.baselines.newest_first() {
        if let Some(entry) = baseline.entries.get(service) {
            note(&entry.version, until);
        }
        until = baseline.at;
    }
    // What was tried and given up never became a baseline, and may have written as well.
    for operation in environment.under_way().chain(&environment.operations) {
        if let Some(entry) = operation.plan.target.get(service) {
            note(&entry.version, operation.phase.settled_at().unwrap_or(now));
        }
    }
    ran
}

/// Lists the versions of a service whose messages may still be kept, with when they ceased to run and how long messages are kept.
#[must_use]
pub fn leaves_messages<'a>(
    world: &'a World,
    environment: &Environment,
    service: &ServiceName,
    now: Timestamp,
) -> Vec<(&'a Version, Timestamp, u64)> {
    // Most services keep no messages, and need not be looked for in the whole history.
    let versions = world.known_service(service).into_iter().flat_map(|service| service.versions.values());
    if versions.into_iter().all(|version| retention(version).is_none()) {
        return Vec::new();
    }
    let ran = last_ran(environment, service, now);
    let kept = ran.into_iter().filter_map(|(number, until)| {
        let version: &Version = world.find_version(service, &number)?;
        let retention = retention(version)?;
        (now.since_ms(until) < retention).then_some((version, until, retention))
    });
    kept.collect()
}

impl Relation<'_> {
    /// Judges whether a version reads the messages that are kept in an environment: of topics that it owns and reads, and of
    /// those of its providers. What is read is left out.
    #[must_use]
    pub fn unread_messages(
        self,
        environment: &Environment,
        (service, version): (&ServiceName, &Version),
        now: Timestamp,
    ) -> Vec<Retained> {
        let reader = VersionRef { service: service.clone(), version: version.number.clone() };
        let mut found = Vec::new();
        let mut file = |service: &ServiceName,
                        (writer, until, retention_ms): (&Version, Timestamp, u64),
                        answer: Answer| {
            if answer.verdict != Verdict::Compatible {
                found.push(Retained {
                    reader: reader.clone(),
                    writer: VersionRef { service: service.clone(), version: writer.number.clone() },
                    until,
                    retention_ms,
                    verdict: answer.verdict,
                    reasons: answer.reasons,
                });
            }
        };
        for left in leaves_messages(self.world, environment, service, now) {
            if left.0.number != version.number {
                self.own(left.0, version).into_iter().for_each(|answer| file(service, left, answer));
            }
        }
        for (provider, needed) in self.world.requirements(version) {
            if !needed.contract.as_ref().is_some_and(|used| used.kind.is_of_events()) {
                continue;
            }
            let running = environment.entries().get(provider).map(|entry| &entry.version);
            for left in leaves_messages(self.world, environment, provider, now) {
                // What runs is judged as every provider is.
                let writes = needed.contract.as_ref().is_some_and(|used| writes(left.0, used.kind));
                if writes && running != Some(&left.0.number) {
                    file(provider, left, answer(judge(self.contracts, needed, left.0)));
                }
            }
        }
        found
    }

    /// What a version makes of messages that were written under another version of its own contracts.
    fn own(self, written: &Version, read: &Version) -> Vec<Answer> {
        let mut answers = Vec::new();
        for kind in ContractKind::ALL.iter().copied().filter(|kind| kind.is_of_events()) {
            let before: Vec<_> = written.contracts_of(kind).collect();
            let after: Vec<_> = read.contracts_of(kind).collect();
            for one in before.iter().filter(|one| reads(one)) {
                answers.push(match counterpart(one, &before, &after) {
                    Some(other) => self.contracts.messages(one, other),
                    None => Answer::not_checked(format!("{} has no contract of {}", read.number, one.name)),
                });
            }
        }
        answers
    }

    /// Those of [`Self::unread_messages`] that a version which runs does not leave unread already.
    #[must_use]
    pub fn newly_unread_messages(
        self,
        environment: &Environment,
        (service, version): (&ServiceName, &Version),
        now: Timestamp,
    ) -> Vec<Retained> {
        let live = environment.entries().get(service);
        let live = live.and_then(|entry| self.world.find_version(service, &entry.version));
        let before =
            live.map(|live| self.unread_messages(environment, (service, live), now)).unwrap_or_default();
        let mut unread = self.unread_messages(environment, (service, version), now);
        unread.retain(|one| !before.iter().any(|other| other.is_like(one)));
        unread
    }
}

/// The longest time that a contract of a version says its messages are kept.
fn retention(version: &Version) -> Option<u64> {
    let of_events = version.contracts.iter().filter(|contract| contract.kind.is_of_events());
    of_events.filter_map(|contract| contract.settings.retention_ms).max()
}

/// True when the owner of a contract reads messages of it; an AsyncAPI document says itself which.
fn reads(contract: &OfferedContract) -> bool {
    contract.kind == ContractKind::AsyncApi
        || contract.settings.role.unwrap_or_default() == MessageRole::Reader
}

/// True when a version writes messages of a kind.
fn writes(version: &Version, kind: ContractKind) -> bool {
    version
        .contracts_of(kind)
        .any(|contract| kind == ContractKind::AsyncApi || contract.settings.role == Some(MessageRole::Writer))
}

fn answer(pair: Pair) -> Answer {
    let verdict = if pair.is_met() { Verdict::Compatible } else { pair.verdict };
    Answer { verdict, reasons: pair.reasons, one_way: Vec::new() }
}
