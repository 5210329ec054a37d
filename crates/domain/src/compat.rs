//! Which versions work together: by contracts where both sides have one, else by the ranges that people declare.
//!
//! A consumer that was built against a contract fits a provider when nothing that it uses of it breaks. Where that cannot be
//! told, the declared range counts, and the answer says so. What is not checked never passes as compatible: a plan accepts
//! it only when a range promises it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineEntry, Entries};
use crate::contract::{Answer, ContractKind, Contracts, DatabaseWay, OfferedContract, Requirement, Verdict};
use crate::name::ServiceName;
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
    let fits = |offered: &OfferedContract| contracts.fit(used, &requirement.operations, offered);
    let answers: Vec<Answer> = provider.contracts_of(used.kind).map(fits).collect();
    let best = answers.iter().position(|answer| answer.verdict == Verdict::Compatible);
    let same_name = || provider.contracts_of(used.kind).position(|offered| offered.name == used.name);
    let index = best.or_else(same_name).unwrap_or(0);
    let missing = || Some(format!("{} has no {} contract", provider.number, used.kind));
    answers.into_iter().nth(index).ok_or_else(missing)
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
        let requirement = self.world.find_version(consumer, &entry.version)?.requires.get(provider)?;
        let found = offered.and_then(|offered| self.world.find_version(provider, &offered.version));
        let pair = found.map(|found| judge(self.contracts, requirement, found));
        if pair.as_ref().is_some_and(Pair::is_met) {
            return None;
        }
        Some(Unmet {
            consumer: VersionRef { service: consumer.clone(), version: entry.version.clone() },
            provider: provider.clone(),
            requirement: requirement.clone(),
            found: offered.map(|offered| offered.version.clone()),
            verdict: pair.as_ref().map_or(Verdict::Breaking, |pair| pair.verdict),
            basis: pair.as_ref().map_or(Basis::Range, |pair| pair.basis),
            reasons: pair.map(|pair| pair.reasons).unwrap_or_default(),
        })
    }

    /// Lists what an entry requires of other services.
    pub fn providers(
        self,
        consumer: &ServiceName,
        entry: &BaselineEntry,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Requirement)> + use<'a> {
        let version = self.world.find_version(consumer, &entry.version);
        version.into_iter().flat_map(|version| version.requires.iter())
    }

    /// Lists every requirement that a set leaves unmet.
    #[must_use]
    pub fn unmet_in(self, entries: &Entries) -> Vec<Unmet> {
        let of = |consumer, entry| {
            self.providers(consumer, entry).filter_map(move |(provider, _)| {
                self.unmet((consumer, Some(entry)), (provider, entries.get(provider)))
            })
        };
        entries.iter().flat_map(|(consumer, entry)| of(consumer, entry)).collect()
    }

    /// Lists what a set relies on although it is not proved: a range promises it where contracts could not tell.
    #[must_use]
    pub fn promised_in(self, entries: &Entries) -> Vec<(VersionRef, VersionRef, Vec<String>)> {
        let mut promised = Vec::new();
        for (consumer, entry) in entries {
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

    /// Judges the move of a service between two versions by what they do to its database; `None` when neither has one.
    ///
    /// The schema of the newer version stays, whichever way the move goes, so the question is always about the older one.
    #[must_use]
    pub fn database(self, from: &Version, to: &Version) -> Option<Answer> {
        let forward = (from.recorded, &from.number) <= (to.recorded, &to.number);
        let (older, newer, way) = match forward {
            true => (from, to, DatabaseWay::Beside),
            false => (to, from, DatabaseWay::After),
        };
        let after: Vec<_> = newer.contracts_of(ContractKind::Sql).collect();
        let answers = older.contracts_of(ContractKind::Sql).map(|before| {
            let same = after.iter().find(|other| other.name == before.name);
            match same.or(after.first()) {
                Some(after) => self.contracts.database(before, after, way),
                None => Answer::not_checked(format!("{} has no sql contract", newer.number)),
            }
        });
        answers.max_by_key(|answer| match answer.verdict {
            Verdict::Compatible => 0,
            Verdict::NotChecked => 1,
            Verdict::Breaking => 2,
        })
    }
}
