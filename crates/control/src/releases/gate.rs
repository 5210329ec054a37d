//! The gate of a release: its contracts against those of earlier versions, and the number that they owe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_contract::{
    Acceptance, Change, InputError, Options, Parsed, Report, Snapshot, diff_parsed, sql,
};
use lockstep_domain::branch::{NextNumber, shortfall, softened};
use lockstep_domain::commits::Bump;
use lockstep_domain::compat::counterpart;
use lockstep_domain::contract::{AcceptedChange, Finding, OfferedContract, Requirement, Verdict};
use lockstep_domain::retained::leaves_messages;
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{ServiceName, Timestamp, VersionNumber, World};
use lockstep_manifest::{AcceptedBreak, Manifest};
use lockstep_pipeline::{Contracts, TakenContract};

use super::number::{Standing, Wish, number};
use crate::contracts::reasons;
use crate::instances::with_sources;
use crate::{Control, internal};

/// Most contracts of one version: a folder of message schemas makes one each.
const MAX_CONTRACTS: usize = 200;
/// Most accepted breaks that are recorded with one comparison; the report has all.
const MAX_ACCEPTED: usize = 50;
/// Most reasons that are recorded with one comparison, and the longest, in characters; the report has all.
const KEPT_REASONS: usize = 5;
const MAX_REASON_LENGTH: usize = 500;

/// What the gate decided about a release.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) next: NextNumber,
    pub(super) contracts: Vec<OfferedContract>,
    pub(super) requires: BTreeMap<ServiceName, Requirement>,
    pub(super) warnings: Vec<String>,
    /// The versions that were compared.
    pub(super) compared: BTreeSet<VersionNumber>,
    /// Everything that was put into the blob store for it.
    pub(super) blobs: Vec<Vec<u8>>,
}

/// The comparison with one earlier version.
pub(super) struct Compared {
    pub(super) version: Arc<Version>,
    /// The index of the offered contract, and what comparing it found.
    pub(super) reports: Vec<(usize, Report)>,
    /// What could not be compared, and why.
    left_out: Vec<String>,
}

impl Compared {
    fn owed(&self) -> Bump {
        self.reports.iter().map(|(_, report)| report.bump).max().unwrap_or_default()
    }
}

/// An offered contract with its place in the blob store.
pub(super) struct Kept {
    taken: TakenContract,
    pub(super) offered: OfferedContract,
    pub(super) bytes: Vec<u8>,
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
        if contracts.offered.len() > MAX_CONTRACTS {
            let detail = format!("more than {MAX_CONTRACTS} contracts");
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint("name those that others rely on"));
        }
        let now = self.ledger.now();
        let kept = contracts.offered.iter().map(|taken| self.keep(taken)).collect::<Result<Vec<_>, _>>()?;
        let acceptances = acceptances(&manifest.accepts)?;
        let mut compared = Vec::new();
        for version in earlier(world, service, standing.follows.as_ref(), now) {
            compared.push(self.compare(&version, &kept, &acceptances, now));
        }
        let owed = compared.iter().filter(|one| Some(&one.version.number) == standing.follows.as_ref());
        let owed = owed.map(Compared::owed).max().unwrap_or_default();
        let next = number(standing, owed)?;
        // What is live may be newer, when an older line is kept up; nothing is owed to it.
        compared.retain(|one| one.version.number < next.number);
        let short: Vec<_> = compared
            .iter()
            .filter(|one| !one.version.number.is_pre_release())
            .filter_map(|one| {
                Some((one, shortfall(&one.version.number, &next.number.release(), one.owed())?))
            })
            .collect();
        // What an earlier release was called is a fact.
        if !short.is_empty() && !matches!(standing.wish, Wish::AsItWas(_)) {
            return Err(self.too_small(world, service, &next.number, standing, &short, &kept));
        }
        let mut blobs: Vec<_> = kept.iter().map(|kept| kept.bytes.clone()).collect();
        let (requires, mut warnings) = self.requirements(world, manifest, contracts, &mut blobs)?;
        warnings.extend(raised(standing, owed, &next.number));
        warnings.extend(compared.iter().flat_map(worth_knowing));
        let contracts = self.with_findings(kept, &compared, &mut blobs)?;
        let compared = compared.into_iter().map(|one| one.version.number.clone()).collect();
        Ok(Decided { next, contracts, requires, warnings, compared, blobs })
    }

    /// Puts a contract into the blob store.
    pub(super) fn keep(&self, taken: &TakenContract) -> Result<Kept, Problem> {
        let bytes = taken.snapshot.to_bytes();
        let stored = self.blobs.put(bytes.as_slice()).map_err(|error| internal(with_sources(&error)))?;
        let offered = OfferedContract {
            kind: taken.snapshot.kind,
            name: taken.name.clone(),
            digest: stored.digest,
            bytes: bytes.len() as u64,
            settings: taken.snapshot.settings,
            findings: Vec::new(),
        };
        Ok(Kept { taken: taken.clone(), offered, bytes })
    }

    /// Compares with an earlier version. What cannot be compared is said, and never keeps anybody from releasing.
    fn compare(
        &self,
        version: &Arc<Version>,
        kept: &[Kept],
        acceptances: &[Acceptance],
        now: Timestamp,
    ) -> Compared {
        let mut compared =
            Compared { version: Arc::clone(version), reports: Vec::new(), left_out: Vec::new() };
        for before in &version.contracts {
            let of_kind: Vec<_> = version.contracts_of(before.kind).collect();
            let new: Vec<_> = kept.iter().map(|kept| &kept.offered).collect();
            let new_of_kind: Vec<_> =
                new.iter().copied().filter(|offered| offered.kind == before.kind).collect();
            let index = counterpart(before, &of_kind, &new_of_kind)
                .and_then(|found| new.iter().position(|offered| std::ptr::eq(*offered, found)));
            let Some(index) = index else {
                compared.left_out.push(format!("{} is gone", before.name));
                continue;
            };
            match self.report(before, &kept[index].taken, acceptances, now) {
                Ok(report) => compared.reports.push((index, report)),
                Err(why) => compared.left_out.push(format!("{}: {why}", before.name)),
            }
        }
        compared
    }

    fn report(
        &self,
        before: &OfferedContract,
        taken: &TakenContract,
        acceptances: &[Acceptance],
        now: Timestamp,
    ) -> Result<Report, String> {
        let older = self.stored_contracts().snapshot(&before.digest)?;
        let newer = &taken.snapshot;
        let role = |snapshot: &Snapshot| snapshot.settings.role.unwrap_or_default();
        if role(&older) != role(newer) {
            return Err(format!(
                "it was the contract of a {}, and is that of a {}",
                role(&older),
                role(newer)
            ));
        }
        let options = Options {
            acceptances: acceptances.to_vec(),
            today: day(now),
            ..Options::from(newer.settings.with_older(older.settings))
        };
        compare(&older, newer, &options).map_err(|errors| {
            let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
            words.join("; ")
        })
    }

    /// Keeps the reports and writes down what they found.
    fn with_findings(
        &self,
        kept: Vec<Kept>,
        compared: &[Compared],
        blobs: &mut Vec<Vec<u8>>,
    ) -> Result<Vec<OfferedContract>, Problem> {
        let mut contracts: Vec<_> = kept.into_iter().map(|kept| kept.offered).collect();
        for one in compared {
            for (index, report) in &one.reports {
                let body = serde_json::to_vec(report).map_err(internal)?;
                let stored =
                    self.blobs.put(body.as_slice()).map_err(|error| internal(with_sources(&error)))?;
                blobs.push(body);
                contracts[*index].findings.push(Finding {
                    against: one.version.number.clone(),
                    verdict: report.verdict,
                    bump: report.bump,
                    may_deploy: report.may_deploy,
                    may_roll_back: report.may_roll_back,
                    reasons: kept_reasons(report),
                    accepted: report.changes.iter().filter_map(accepted_change).take(MAX_ACCEPTED).collect(),
                    report: stored.digest,
                });
            }
        }
        Ok(contracts)
    }
}

/// The versions that a new one is compared with: the release it follows, every one that is live, and those whose messages may
/// still be kept somewhere.
pub(super) fn earlier(
    world: &World,
    service: &Service,
    follows: Option<&VersionNumber>,
    now: Timestamp,
) -> Vec<Arc<Version>> {
    let environments = || world.environments.values();
    let live = environments().filter_map(|environment| environment.entries().get(&service.name));
    let kept = environments()
        .flat_map(|environment| leaves_messages(world, environment, &service.name, now))
        .map(|(version, ..)| &version.number);
    let numbers: BTreeSet<_> =
        follows.into_iter().chain(live.map(|entry| &entry.version)).chain(kept).collect();
    numbers.into_iter().filter_map(|number| service.versions.get(number).cloned()).collect()
}

/// Compares two contracts, and runs what shows the changes.
fn compare(older: &Snapshot, newer: &Snapshot, options: &Options) -> Result<Report, Vec<InputError>> {
    let before = Parsed::read(&older.source, newer.kind)?;
    let after = Parsed::read(&newer.source, newer.kind)?;
    let mut report = diff_parsed(&before, &after, options)?;
    report.run_witnesses(&before, &after, options);
    Ok(report)
}

fn kept_reasons(report: &Report) -> Vec<String> {
    let short = |reason: String| reason.chars().take(MAX_REASON_LENGTH).collect();
    reasons(&report.changes, &report.not_checked).into_iter().take(KEPT_REASONS).map(short).collect()
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
    let by_contract = standing.wish.bump().is_none() && owed > said.max(Bump::Patch);
    by_contract.then(|| format!("{number} is a {owed} step because of its contracts; its commits say {said}"))
}

/// What a person should know of a comparison although it stops nothing.
fn worth_knowing(compared: &Compared) -> Vec<String> {
    let against = &compared.version.number;
    let left_out = compared
        .left_out
        .iter()
        .map(|why| format!("consumers of {against} cannot be checked with this contract any more: {why}"));
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
    let of_one_way = compared
        .reports
        .iter()
        .flat_map(|(_, report)| report.roll_back.changes.iter().filter_map(sql::one_way).take(KEPT_REASONS));
    let one_way = of_one_way.map(|what| format!("a step of one way since {against}: {what}"));
    left_out.chain(told).chain(accepted).chain(one_way).collect()
}
