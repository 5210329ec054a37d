//! Which versions work together: by contracts where both sides have one, else by the ranges that people declare.
//!
//! A consumer that was built against a contract fits a provider when nothing that it uses of it breaks. Where that cannot be
//! told, the declared range counts, and the answer says so. What is not checked never passes as compatible: a plan accepts
//! it only when a range promises it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineEntry, Entries};
use crate::contract::{
    Answer, ContractKind, Contracts, DatabaseWay, OfferedContract, Requirement, UsedContract, Verdict,
};
use crate::name::ServiceName;
use crate::plan::is_moved_folder;
use crate::seen_use;
use crate::service::Version;
use crate::version::{VersionNumber, VersionRef};
use crate::world::World;

/// What the answers to questions of compatibility are made of.
#[derive(Clone, Copy)]
pub struct Relation<'a> {
    /// The versions there are.
    pub world: &'a World,
    /// What compares their contracts.
    pub contracts: &'a dyn Contracts,
}

impl fmt::Debug for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relation").field("seq", &self.world.seq).finish_non_exhaustive()
    }
}

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Contracts were compared.
    Contract,
    /// A declared range of versions: a promise of people.
    Range,
}

/// Whether a version of a consumer works with a version of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// The answer.
    pub verdict: Verdict,
    /// What it rests on.
    pub basis: Basis,
    /// What breaks or could not be told, the worst first; on a range, why it was left to the range.
    pub reasons: Vec<String>,
    /// True when the declared range contains the provider's version.
    pub promised: bool,
}

impl Pair {
    /// True when a plan may rely on it: it is proved, or it is not disproved and a range promises it.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.verdict {
            Verdict::Compatible => true,
            Verdict::Breaking => false,
            Verdict::NotChecked => self.promised,
        }
    }
}

/// Judges what a consumer needs of a provider against one version of it.
#[must_use]
pub fn judge(contracts: &dyn Contracts, requirement: &Requirement, provider: &Version) -> Pair {
    let promised = requirement.range.as_ref().map(|range| range.contains(&provider.number));
    match compared(contracts, requirement, provider) {
        Ok(answer) if answer.verdict != Verdict::NotChecked || promised != Some(false) => Pair {
            verdict: answer.verdict,
            basis: Basis::Contract,
            reasons: answer.reasons,
            promised: promised == Some(true),
        },
        Ok(answer) => by_range(requirement, promised, answer.reasons),
        Err(why) => by_range(requirement, promised, why.into_iter().collect()),
    }
}

/// Compares the contract that a consumer was built against with what a provider offers, or says why that is not possible.
fn compared(
    contracts: &dyn Contracts,
    requirement: &Requirement,
    provider: &Version,
) -> Result<Answer, Option<String>> {
    let Some(used) = &requirement.contract else {
        let why = (!requirement.operations.is_empty()).then(|| "no contract says what they take".to_owned());
        return Err(why);
    };
    let offered: Vec<_> = provider.contracts_of(used.kind).collect();
    let fit = |offered: &OfferedContract| contracts.fit(used, &requirement.operations, offered);
    match (offered.as_slice(), meant(used, &offered)) {
        ([], _) => Err(Some(format!("{} has no {} contract", provider.number, used.kind))),
        (_, Some(meant)) => Ok(fit(meant)),
        (several, None) => Ok(agreed(several.iter().map(|offered| fit(offered)).collect(), provider)),
    }
}

/// The contract that a consumer means: the only one, or else the only one with the same name or the same file name.
fn meant<'o>(used: &UsedContract, offered: &[&'o OfferedContract]) -> Option<&'o OfferedContract> {
    let file = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let only = |same: &dyn Fn(&OfferedContract) -> bool| {
        let mut found = offered.iter().filter(|offered| same(offered));
        found.next().filter(|_| found.next().is_none()).copied()
    };
    only(&|_| true)
        .or_else(|| only(&|offered| offered.name == used.name))
        .or_else(|| only(&|offered| file(&offered.name) == file(&used.name)))
}

/// The answer where any of several contracts may be meant: what all of them say, and nothing where they differ.
fn agreed(answers: Vec<Answer>, provider: &Version) -> Answer {
    let first = answers.first().map(|answer| answer.verdict);
    if answers.iter().all(|answer| Some(answer.verdict) == first) {
        return answers.into_iter().next().unwrap_or_else(Answer::compatible);
    }
    Answer::not_checked(format!(
        "{} has several contracts of this kind, and which one is used cannot be told",
        provider.number
    ))
}

fn by_range(requirement: &Requirement, promised: Option<bool>, why: Vec<String>) -> Pair {
    let (verdict, reasons) = match (promised, &requirement.range) {
        (Some(true), _) => (Verdict::Compatible, why),
        (Some(false), Some(range)) => {
            (Verdict::Breaking, std::iter::once(format!("not in {range}")).chain(why).collect())
        }
        _ => (Verdict::NotChecked, why),
    };
    Pair { verdict, basis: Basis::Range, reasons, promised: promised == Some(true) }
}

/// A requirement that a set of versions leaves unmet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Who requires.
    pub consumer: VersionRef,
    /// What is required of whom.
    pub provider: ServiceName,
    /// What of it.
    pub requirement: Requirement,
    /// What is there instead; `None` for nothing.
    pub found: Option<VersionNumber>,
    /// Whether that is disproved, or only not proved.
    pub verdict: Verdict,
    /// What the answer rests on.
    pub basis: Basis,
    /// What breaks, the worst first.
    pub reasons: Vec<String>,
}

impl<'a> Relation<'a> {
    /// Finds the requirement of one service on another that two entries leave unmet.
    #[must_use]
    pub fn unmet(
        self,
        (consumer, entry): (&ServiceName, Option<&BaselineEntry>),
        (provider, offered): (&ServiceName, Option<&BaselineEntry>),
    ) -> Option<Unmet> {
        let entry = entry?;
        let version = self.world.find_version(consumer, &entry.version)?;
        let mut needed = self.world.requirements_on(version, provider);
        needed.find_map(|requirement| self.lacks((consumer, entry), requirement, (provider, offered)))
    }

    fn lacks(
        self,
        (consumer, entry): (&ServiceName, &BaselineEntry),
        requirement: &Requirement,
        (provider, offered): (&ServiceName, Option<&BaselineEntry>),
    ) -> Option<Unmet> {
        let found = offered.and_then(|offered| self.world.find_version(provider, &offered.version));
        let consumer_ref = VersionRef { service: consumer.clone(), version: entry.version.clone() };
        let pair = found.map(|found| self.pair(&consumer_ref, requirement, (provider, found)));
        if pair.as_ref().is_some_and(Pair::is_met) {
            return None;
        }
        Some(Unmet {
            consumer: consumer_ref,
            provider: provider.clone(),
            requirement: requirement.clone(),
            found: offered.map(|offered| offered.version.clone()),
            verdict: pair.as_ref().map_or(Verdict::Breaking, |pair| pair.verdict),
            basis: pair.as_ref().map_or(Basis::Range, |pair| pair.basis),
            reasons: pair.map(|pair| pair.reasons).unwrap_or_default(),
        })
    }

    /// Judges what a consumer needs of a provider against one version of it, and by what it was seen to call where it says nothing of that.
    #[must_use]
    pub fn pair(
        self,
        consumer: &VersionRef,
        requirement: &Requirement,
        (provider, offered): (&ServiceName, &Version),
    ) -> Pair {
        let pair = judge(self.contracts, requirement, offered);
        let is_proved = pair.basis == Basis::Contract && pair.verdict == Verdict::Compatible;
        if is_proved || !requirement.operations.is_empty() {
            return pair;
        }
        if pair.verdict == Verdict::Breaking {
            let uses_all = pair.basis == Basis::Contract;
            let told = uses_all.then(|| seen_use::told(self, consumer, provider)).flatten();
            return Pair { reasons: pair.reasons.into_iter().chain(told).collect(), ..pair };
        }
        let lost = seen_use::lost(self, consumer, (provider, offered));
        if lost.is_empty() {
            return pair;
        }
        let reasons = seen_use::reasons(consumer, offered, &lost);
        Pair { verdict: Verdict::Breaking, basis: Basis::Contract, reasons, ..pair }
    }

    /// Lists what an entry requires of other services.
    pub fn providers(
        self,
        consumer: &ServiceName,
        entry: &BaselineEntry,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Requirement)> + use<'a> {
        let version = self.world.find_version(consumer, &entry.version);
        version.into_iter().flat_map(move |version| self.world.requirements(version))
    }

    /// Lists every requirement that a set leaves unmet.
    #[must_use]
    pub fn unmet_in(self, entries: &Entries) -> Vec<Unmet> {
        self.unmet_of(entries.iter(), entries)
    }

    /// Lists the requirements of some services of a set that it leaves unmet.
    #[must_use]
    pub fn unmet_of<'e>(
        self,
        consumers: impl Iterator<Item = (&'e ServiceName, &'e BaselineEntry)>,
        entries: &Entries,
    ) -> Vec<Unmet> {
        let of = |consumer, entry| {
            self.providers(consumer, entry).filter_map(move |(provider, _)| {
                self.unmet((consumer, Some(entry)), (provider, entries.get(provider)))
            })
        };
        consumers.flat_map(|(consumer, entry)| of(consumer, entry)).collect()
    }

    /// Lists what some services of a set rely on although it is not proved: a range promises it where contracts could not tell.
    #[must_use]
    pub fn promised_of<'e>(
        self,
        consumers: impl Iterator<Item = (&'e ServiceName, &'e BaselineEntry)>,
        entries: &Entries,
    ) -> Vec<(VersionRef, VersionRef, Vec<String>)> {
        let mut promised = Vec::new();
        for (consumer, entry) in consumers {
            for (provider, requirement) in self.providers(consumer, entry) {
                let offered = entries
                    .get(provider)
                    .and_then(|offered| self.world.find_version(provider, &offered.version));
                let Some(offered) = offered else { continue };
                let pair = judge(self.contracts, requirement, offered);
                if pair.verdict == Verdict::NotChecked && pair.promised {
                    let consumer = VersionRef { service: consumer.clone(), version: entry.version.clone() };
                    let provider = VersionRef { service: provider.clone(), version: offered.number.clone() };
                    promised.push((consumer, provider, pair.reasons));
                }
            }
        }
        promised
    }

    /// Judges the move of a service between two versions by what they do to its database; `None` when the older one has
    /// none.
    ///
    /// The schema of the version with the higher number stays, whichever way the move goes, so the question is always
    /// about the other one.
    #[must_use]
    pub fn database(self, from: &Version, to: &Version) -> Option<DatabaseAnswer> {
        let (older, newer, way) = if from.number <= to.number {
            (from, to, DatabaseWay::Beside)
        } else {
            (to, from, DatabaseWay::After)
        };
        // Of a folder that Lockstep moves it is observed what ran; comparing what is written there says nothing of that.
        let is_observed = |one: &&OfferedContract| is_moved_folder(newer, &one.name);
        let before: Vec<_> = older.contracts_of(ContractKind::Sql).filter(|one| !is_observed(one)).collect();
        let after: Vec<_> = newer.contracts_of(ContractKind::Sql).collect();
        let mut one_way = Vec::new();
        let answers = before.iter().map(|one| match counterpart(one, &before, &after) {
            Some(other) => self.contracts.database(one, other, way),
            None => Answer::not_checked(format!("{} has no migrations in {}", newer.number, one.name)),
        });
        let told = answers.inspect(|answer| one_way.extend(answer.one_way.iter().cloned()));
        let worst = told.max_by_key(|answer| match answer.verdict {
            Verdict::Compatible => 0,
            Verdict::NotChecked => 1,
            Verdict::Breaking => 2,
        })?;
        let answer = Answer { one_way, ..worst };
        Some(DatabaseAnswer { older: older.number.clone(), newer: newer.number.clone(), way, answer })
    }
}

/// Whether the older of two versions works on the schema that the newer one leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAnswer {
    /// The older version.
    pub older: VersionNumber,
    /// The newer version, whose schema it is.
    pub newer: VersionNumber,
    /// When the older version meets it.
    pub way: DatabaseWay,
    /// The answer.
    pub answer: Answer,
}

/// Finds what became of a contract in a later version: the contract of the same name, or the only one of the kind when it
/// was the only one before. `before` and `after` are the contracts of its kind.
#[must_use]
pub fn counterpart<'a>(
    one: &OfferedContract,
    before: &[&OfferedContract],
    after: &[&'a OfferedContract],
) -> Option<&'a OfferedContract> {
    let named = after.iter().find(|other| other.name == one.name).copied();
    match (before, after) {
        _ if named.is_some() => named,
        ([_], [only]) => Some(*only),
        _ => None,
    }
}
