//! The gate of a release: its contracts against those of earlier versions, and the number that they owe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_contract::{Acceptance, Change, Options, Report};
use lockstep_domain::branch::{Line, NextNumber, Shortfall, shortfall, softened};
use lockstep_domain::commits::Bump;
use lockstep_domain::compat::{Basis, Pair, judge};
use lockstep_domain::contract::{
    AcceptedChange, ContractKind, Finding, OfferedContract, Requirement, UsedContract, Verdict,
};
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{ServiceName, Timestamp, VersionNumber, VersionRef, World};
use lockstep_manifest::{AcceptedBreak, Manifest};
use lockstep_pipeline::{Contracts, TakenContract};

use super::number::{Standing, number};
use crate::contracts::reasons;
use crate::instances::with_sources;
use crate::{Control, internal};

/// Breaks that a refusal shows; `lockstep contract diff` shows all.
const SHOWN_BREAKS: usize = 20;
/// Longest witness that is shown, in characters.
const SHOWN_WITNESS: usize = 400;

/// What the gate decided about a release.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) next: NextNumber,
    pub(super) contracts: Vec<OfferedContract>,
    pub(super) requires: BTreeMap<ServiceName, Requirement>,
    pub(super) warnings: Vec<String>,
}

/// The comparison with one earlier version.
struct Compared {
    version: Arc<Version>,
    /// The index of the offered contract, and what comparing it found.
    reports: Vec<(usize, Report)>,
    /// Contracts that the earlier version has and the new one has not.
    gone: Vec<String>,
}

impl Compared {
    fn owed(&self) -> Bump {
        self.reports.iter().map(|(_, report)| report.bump).max().unwrap_or_default()
    }
}

/// An offered contract with its place in the blob store.
struct Kept {
    taken: TakenContract,
    offered: OfferedContract,
}

impl Control {
    /// Decides the number of a version by its commits and contracts, or refuses it.
    pub(super) fn decide(
        &self,
        world: &World,
        service: &Service,
        manifest: &Manifest,
        standing: &Standing,
        contracts: &Contracts,
    ) -> Result<Decided, Problem> {
        let now = self.ledger.now();
        let kept = contracts.offered.iter().map(|taken| self.keep(taken)).collect::<Result<Vec<_>, _>>()?;
        let acceptances = acceptances(&manifest.accepts)?;
        let mut compared = Vec::new();
        for version in earlier(world, service, standing.follows.as_ref()) {
            compared.push(self.compare(&version, &kept, &acceptances, now)?);
        }
        let owed = compared.iter().filter(|one| Some(&one.version.number) == standing.follows.as_ref());
        let owed = owed.map(Compared::owed).max().unwrap_or_default();
        let next = number(standing, owed)?;
        let short: Vec<_> = compared
            .iter()
            .filter(|one| !one.version.number.is_pre_release() && one.version.number < next.number)
            .filter_map(|one| {
                Some((one, shortfall(&one.version.number, &next.number.release(), one.owed())?))
            })
            .collect();
        if !short.is_empty() {
            return Err(self.too_small(world, service, &next.number, standing, &short, &kept));
        }
        let (requires, mut warnings) = self.requirements(world, manifest, contracts)?;
        warnings.extend(raised(standing, owed, &next.number));
        warnings.extend(compared.iter().flat_map(worth_knowing));
        let contracts = self.with_findings(kept, &compared)?;
        Ok(Decided { next, contracts, requires, warnings })
    }

    fn keep(&self, taken: &TakenContract) -> Result<Kept, Problem> {
        let bytes = taken.snapshot.to_bytes();
        let stored = self.blobs.put(bytes.as_slice()).map_err(|error| internal(with_sources(&error)))?;
        let offered = OfferedContract {
            kind: taken.snapshot.kind,
            name: taken.name.clone(),
            digest: stored.digest,
            bytes: bytes.len() as u64,
            findings: Vec::new(),
        };
        Ok(Kept { taken: taken.clone(), offered })
    }

    fn compare(
        &self,
        version: &Arc<Version>,
        kept: &[Kept],
        acceptances: &[Acceptance],
        now: Timestamp,
    ) -> Result<Compared, Problem> {
        let mut compared = Compared { version: Arc::clone(version), reports: Vec::new(), gone: Vec::new() };
        for before in &version.contracts {
            let Some(index) = counterpart(before, &version.contracts, kept) else {
                compared.gone.push(before.name.clone());
                continue;
            };
            let snapshot = self.stored_contracts().snapshot(&before.digest).map_err(internal)?;
            let taken = &kept[index].taken.snapshot;
            let options = Options {
                acceptances: acceptances.to_vec(),
                today: day(now),
                ..Options::from(taken.settings)
            };
            let report = lockstep_contract::diff_as(taken.kind, &snapshot.source, &taken.source, &options);
            let report = report.map_err(|errors| {
                let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
                internal(format!(
                    "the contracts of {} cannot be compared: {}",
                    version.number,
                    words.join("; ")
                ))
            })?;
            compared.reports.push((index, report));
        }
        Ok(compared)
    }

    /// Keeps the reports and writes down what they found.
    fn with_findings(&self, kept: Vec<Kept>, compared: &[Compared]) -> Result<Vec<OfferedContract>, Problem> {
        let mut contracts: Vec<_> = kept.into_iter().map(|kept| kept.offered).collect();
        for one in compared {
            for (index, report) in &one.reports {
                let body = serde_json::to_vec(report).map_err(internal)?;
                let stored =
                    self.blobs.put(body.as_slice()).map_err(|error| internal(with_sources(&error)))?;
                contracts[*index].findings.push(Finding {
                    against: one.version.number.clone(),
                    verdict: report.verdict,
                    bump: report.bump,
                    may_deploy: report.may_deploy,
                    may_roll_back: report.may_roll_back,
                    reasons: reasons(&report.changes, &report.not_checked),
                    accepted: report.changes.iter().filter_map(accepted_change).collect(),
                    report: stored.digest,
                });
            }
        }
        Ok(contracts)
    }

    fn too_small(
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
        let acceptable = if changes.clone().any(Change::breaks) {
            "; or accept each break, with the reason, in [[contract.accept]] of lockstep.toml"
        } else {
            ""
        };
        let mut parts: Vec<_> = changes.clone().take(SHOWN_BREAKS).map(change_part).collect();
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
            let Some(requirement) = version.requires.get(&service.name) else { continue };
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

    /// What the version needs of others, with the contracts it was built against in the blob store.
    fn requirements(
        &self,
        world: &World,
        manifest: &Manifest,
        contracts: &Contracts,
    ) -> Result<(BTreeMap<ServiceName, Requirement>, Vec<String>), Problem> {
        let (mut requires, mut warnings, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (provider, needed) in &manifest.requires {
            let mut requirement = Requirement {
                range: needed.range.clone(),
                contract: None,
                operations: needed.operations.clone(),
            };
            match contracts.used.get(provider) {
                Some(taken) => {
                    let kept = self.keep(taken)?.offered;
                    let OfferedContract { kind, name, digest, bytes, .. } = kept;
                    requirement.contract = Some(UsedContract { kind, name, digest, bytes });
                }
                None if !needed.operations.is_empty() => {
                    match self.contract_with(world, provider, &requirement) {
                        Ok(Some(contract)) => requirement.contract = Some(contract),
                        Ok(None) => warnings.push(format!(
                            "what it needs of {provider} cannot be checked: no version of it that fits has a contract"
                        )),
                        Err(problems) => wrong.extend(problems),
                    }
                }
                None => {}
            }
            requires.insert(provider.clone(), requirement);
        }
        if wrong.is_empty() {
            return Ok((requires, warnings));
        }
        let detail = "operations of other services are named that they do not offer";
        Err(Problem::new(ErrorCode::Refused, detail)
            .with_problems(wrong)
            .with_hint("mend [requires] in lockstep.toml, commit, and release again"))
    }

    /// The contract that operations mean when no file says it: that of the newest version of the provider that fits.
    fn contract_with(
        &self,
        world: &World,
        provider: &ServiceName,
        requirement: &Requirement,
    ) -> Result<Option<UsedContract>, Vec<ProblemPart>> {
        let versions = world.services.get(provider).map(|service| &service.versions);
        let fits = |version: &&Arc<Version>| {
            requirement.range.as_ref().is_none_or(|range| range.contains(&version.number))
                && version.contracts.iter().any(|contract| contract.kind != ContractKind::Sql)
        };
        let newest = versions.into_iter().flat_map(|versions| versions.values().rev()).find(fits);
        let Some(version) = newest else { return Ok(None) };
        let mut problems = Vec::new();
        for contract in &version.contracts {
            let unknown = self.unknown_operations(contract, &requirement.operations);
            if unknown.is_empty() {
                return Ok(Some(UsedContract {
                    kind: contract.kind,
                    name: format!("{provider}@{}", version.number),
                    digest: contract.digest,
                    bytes: contract.bytes,
                }));
            }
            problems = unknown;
        }
        let of = format!("{provider} {}", version.number);
        for part in &mut problems {
            part.detail = format!("{} of {of}", part.detail);
            part.field = Some(format!("requires.{provider}.operations"));
        }
        Err(problems)
    }

    fn unknown_operations(&self, contract: &OfferedContract, names: &[String]) -> Vec<ProblemPart> {
        let part = |detail: String| ProblemPart { detail, ..ProblemPart::default() };
        let snapshot = match self.stored_contracts().snapshot(&contract.digest) {
            Ok(snapshot) => snapshot,
            Err(why) => return vec![part(why)],
        };
        match lockstep_contract::Parsed::read(&snapshot.source, snapshot.kind) {
            Ok(parsed) => lockstep_contract::unknown_operations(&parsed, names)
                .into_iter()
                .map(|unknown| ProblemPart {
                    hint: unknown.nearest.map(|nearest| format!("did you mean `{nearest}`?")),
                    ..part(format!("`{}` is no operation", unknown.name))
                })
                .collect(),
            Err(errors) => errors.iter().map(|error| part(error.to_string())).collect(),
        }
    }
}

/// The versions that a new one is compared with: the release it follows, and every one that is live.
fn earlier(world: &World, service: &Service, follows: Option<&VersionNumber>) -> Vec<Arc<Version>> {
    let live = world.environments.values().filter_map(|environment| environment.entries().get(&service.name));
    let numbers: BTreeSet<_> = follows.into_iter().chain(live.map(|entry| &entry.version)).collect();
    numbers.into_iter().filter_map(|number| service.versions.get(number).cloned()).collect()
}

/// Finds the new contract that goes on with an old one: of the same name, or the only one of its kind on both sides.
fn counterpart(before: &OfferedContract, all: &[OfferedContract], kept: &[Kept]) -> Option<usize> {
    let of_kind = |kept: &Kept| kept.offered.kind == before.kind;
    let named = kept.iter().position(|kept| of_kind(kept) && kept.offered.name == before.name);
    let alone = || {
        let mut of_this_kind = kept.iter().enumerate().filter(|(_, kept)| of_kind(kept));
        let (index, _) = of_this_kind.next()?;
        let only = of_this_kind.next().is_none();
        let was_only = all.iter().filter(|other| other.kind == before.kind).count() == 1;
        (only && was_only).then_some(index)
    };
    named.or_else(alone)
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

fn change_part(change: &Change) -> ProblemPart {
    let location = change.new.as_ref().or(change.old.as_ref());
    let witness = change.witness.as_ref().map(ToString::to_string).map_or(String::new(), |text| {
        let cut: String = text.chars().take(SHOWN_WITNESS).collect();
        let more = if cut.len() < text.len() { "..." } else { "" };
        format!("\n      for example {cut}{more}")
    });
    ProblemPart {
        detail: format!("{}{witness}", change.message),
        file: location.map(|location| location.file.clone()),
        line: location.map(|location| location.line as usize),
        hint: change
            .breaks()
            .then(|| format!("to accept it: rule = {:?}, place = {:?}", change.rule.id, change.place)),
        ..ProblemPart::default()
    }
}

fn acceptances(accepts: &[AcceptedBreak]) -> Result<Vec<Acceptance>, Problem> {
    let unknown: Vec<_> = accepts
        .iter()
        .filter(|accepted| lockstep_contract::rule(&accepted.rule).is_none())
        .map(|accepted| ProblemPart {
            detail: format!("`{}` is not a rule", accepted.rule),
            file: Some("lockstep.toml".into()),
            field: Some("contract.accept.rule".into()),
            hint: Some("lockstep contract rules".into()),
            ..ProblemPart::default()
        })
        .collect();
    if !unknown.is_empty() {
        return Err(
            Problem::new(ErrorCode::Refused, "breaks of unknown rules are accepted").with_problems(unknown)
        );
    }
    let acceptance = |accepted: &AcceptedBreak| {
        Ok(Acceptance {
            rule: accepted.rule.clone(),
            place: accepted.place.clone(),
            reason: accepted.reason.clone(),
            until: accepted.until.as_deref().map(str::parse).transpose().map_err(internal)?,
        })
    };
    accepts.iter().map(acceptance).collect()
}

fn accepted_change(change: &Change) -> Option<AcceptedChange> {
    let accepted = change.accepted.as_ref()?;
    Some(AcceptedChange {
        rule: change.rule.id.to_owned(),
        place: change.place.clone(),
        reason: accepted.reason.clone(),
    })
}

/// The day of a time, in UTC.
fn day(now: Timestamp) -> Option<jiff::civil::Date> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(time).date())
}

/// Says that contracts made the number larger than commits alone would have.
fn raised(standing: &Standing, owed: Bump, number: &VersionNumber) -> Option<String> {
    let follows = standing.follows.as_ref()?;
    let (owed, said) = (softened(owed, follows), softened(standing.owed, follows));
    let by_contract = standing.wanted.is_none() && owed > said.max(Bump::Patch);
    by_contract.then(|| format!("{number} is a {owed} step because of its contracts; its commits say {said}"))
}

/// What a person should know of a comparison although it stops nothing.
fn worth_knowing(compared: &Compared) -> Vec<String> {
    let against = &compared.version.number;
    let gone = compared.gone.iter().map(|name| {
        format!("the contract {name} of {against} is gone: its consumers cannot be checked any more")
    });
    let told = compared.reports.iter().filter_map(|(_, report)| match report.verdict {
        Verdict::NotChecked => Some(format!(
            "whether consumers of {against} fit was not fully checked: {}",
            reasons(&report.changes, &report.not_checked).first().map(String::as_str).unwrap_or_default()
        )),
        Verdict::Compatible | Verdict::Breaking => None,
    });
    let accepted = compared.reports.iter().flat_map(|(_, report)| &report.changes).filter_map(|change| {
        let accepted = change.accepted.as_ref()?;
        Some(format!("an accepted break since {against}: {} ({})", change.message, accepted.reason))
    });
    gone.chain(told).chain(accepted).collect()
}
