//! Why a number is too small: what broke, what is owed, and who would be hurt.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_contract::Change;
use lockstep_domain::branch::{Line, Shortfall};
use lockstep_domain::commits::Bump;
use lockstep_domain::compat::{Basis, Pair, judge};
use lockstep_domain::contract::{Requirement, Verdict};
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{VersionNumber, VersionRef, World};

use super::gate::{Compared, Kept};
use super::number::Standing;
use crate::Control;

/// Breaks that a refusal shows; `lockstep contract diff` shows all.
const SHOWN_BREAKS: usize = 20;
/// Longest witness that is shown, in characters.
const SHOWN_WITNESS: usize = 400;

impl Control {
    /// Makes the refusal of a number that grows less than its contracts owe.
    pub(super) fn too_small(
        &self,
        world: &World,
        service: &Service,
        number: &VersionNumber,
        standing: &Standing,
        short: &[(&Compared, Shortfall)],
        kept: &[Kept],
    ) -> Problem {
        let (worst, Shortfall { owed, given }) = short
            .iter()
            .max_by_key(|(one, shortfall)| (shortfall.owed, one.version.number.clone()))
            .map(|(one, shortfall)| (*one, *shortfall))
            .expect("it is called with at least one");
        let against = &worst.version.number;
        let detail = format!(
            "{} {number} would be too small a number: it is a {given} step from {against}, and its contracts owe a {owed} one",
            service.name
        );
        let changes = worst.reports.iter().flat_map(|(_, report)| &report.changes);
        let changes = changes.filter(|change| change.owed() >= owed);
        // An accepted break owes a minor step, so accepting helps nobody who wants less, or for whom that is all there is.
        let helps = owed > Bump::Minor && given >= Bump::Minor;
        let acceptable = if helps && changes.clone().any(Change::breaks) {
            "; or accept each break, with the reason, in [[contract.accept]] of lockstep.toml"
        } else {
            ""
        };
        let mut parts: Vec<_> =
            changes.clone().take(SHOWN_BREAKS).map(|change| change_part(change, helps)).collect();
        let more = changes.count().saturating_sub(SHOWN_BREAKS);
        if more > 0 {
            parts.push(ProblemPart { detail: format!("and {more} more"), ..ProblemPart::default() });
        }
        parts.extend(self.hurt(world, service, number, kept));
        let place = if standing.cut.line == Line::Free {
            format!("release it as what it is: lockstep release {} --bump {owed}", service.name)
        } else {
            format!(
                "release it from another branch than `{}`, which is bound to its numbers",
                standing.cut.branch
            )
        };
        let hint = format!("{place}{acceptable}");
        Problem::new(ErrorCode::Refused, detail).with_problems(parts).with_hint(hint)
    }

    /// Who would be hurt: live and newest versions of consumers that would take the number and do not fit.
    fn hurt(
        &self,
        world: &World,
        service: &Service,
        number: &VersionNumber,
        kept: &[Kept],
    ) -> Vec<ProblemPart> {
        let Some(like) = service.newest() else { return Vec::new() };
        let mut imagined = Version::clone(like);
        imagined.number = number.clone();
        imagined.contracts = kept.iter().map(|kept| kept.offered.clone()).collect();
        let mut parts = Vec::new();
        for (consumer, version, live) in consumers(world, service) {
            let Some(requirement) = world.requirements_on(&version, &service.name).next() else { continue };
            let pair = judge(&self.stored_contracts(), requirement, &imagined);
            let place = if live.is_empty() { String::new() } else { format!(" in {}", live.join(" and ")) };
            if let Some(why) = hurt_by(&pair, requirement) {
                parts.push(ProblemPart {
                    detail: format!("`{consumer}`{place} {why}"),
                    ..ProblemPart::default()
                });
            }
        }
        parts
    }
}

/// Live versions of the services that require this one, and their newest, with the environments they are live in.
fn consumers(world: &World, service: &Service) -> Vec<(VersionRef, Arc<Version>, Vec<String>)> {
    let mut found: BTreeMap<VersionRef, Vec<String>> = BTreeMap::new();
    for other in world.services.values().filter(|other| other.name != service.name) {
        let reference =
            |version: &VersionNumber| VersionRef { service: other.name.clone(), version: version.clone() };
        if let Some(newest) = other.newest() {
            found.entry(reference(&newest.number)).or_default();
        }
        for environment in world.environments.values() {
            if let Some(entry) = environment.entries().get(&other.name) {
                found.entry(reference(&entry.version)).or_default().push(environment.name.to_string());
            }
        }
    }
    let with_version = |(reference, live): (VersionRef, Vec<String>)| {
        let version = Arc::clone(world.version(&reference)?);
        Some((reference, version, live))
    };
    found.into_iter().filter_map(with_version).collect()
}

/// Why a consumer would be hurt, when it would.
fn hurt_by(pair: &Pair, requirement: &Requirement) -> Option<String> {
    let first = pair.reasons.first().map(String::as_str).unwrap_or_default();
    match (pair.verdict, pair.basis) {
        (Verdict::Breaking, Basis::Contract) => Some(format!("would break: {first}")),
        (Verdict::Compatible, Basis::Range) | (Verdict::NotChecked, _) if pair.promised => {
            Some(format!("would take it, because it requires {requirement}, and may break"))
        }
        _ => None,
    }
}

fn change_part(change: &Change, may_be_accepted: bool) -> ProblemPart {
    let location = change.new.as_ref().or(change.old.as_ref());
    let witness = change.shown().map(ToString::to_string).map_or(String::new(), |text| {
        let cut: String = text.chars().take(SHOWN_WITNESS).collect();
        let more = if cut.len() < text.len() { "..." } else { "" };
        format!("\n      for example {cut}{more}")
    });
    ProblemPart {
        detail: format!("{}{witness}", change.message),
        file: location.map(|location| location.file.clone()),
        line: location.map(|location| location.line as usize),
        hint: (may_be_accepted && change.breaks())
            .then(|| format!("to accept it: rule = {:?}, place = {:?}", change.rule.id, change.place)),
        ..ProblemPart::default()
    }
}
