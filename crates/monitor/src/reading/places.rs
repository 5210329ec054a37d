//! What is wrong with hosts, disks, certificates, gateways and operations; and what cannot be looked at.

use super::{Finding, Known, Reading, lasting};
use crate::rule::Condition;
use crate::seen::{
    Blind, CertificateSeen, DiskSeen, EnvironmentSeen, GatewaySeen, HostSeen, Observation, OperationPhase,
    OperationSeen, Seen, Way,
};
use crate::subject::Subject;

const DAY_MS: f64 = 86_400_000.0;
/// For so long an operation that was taken back is still told: more than a server takes to be started again.
const TAKEN_BACK_FOR_MS: u64 = 600_000;

pub(super) fn readings(condition: &Condition, known: Known<'_>) -> Vec<Reading> {
    let look = known.look;
    match *condition {
        Condition::CertificateEnds { within_days } => certificates(look, within_days),
        Condition::DiskLow { below_free_percent, and_below_free_bytes } => {
            disks(look, below_free_percent / 100.0, and_below_free_bytes)
        }
        Condition::HostAway {} => hosts(look),
        Condition::GatewayBehind { longer_than_seconds } => gateways(look, longer_than_seconds * 1_000),
        Condition::CanaryFailed {} => {
            operations(look, |environment, operation| canary_failed(environment, operation, look.at_ms))
        }
        Condition::WentBack {} => {
            operations(look, |environment, operation| went_back(environment, operation, look.at_ms))
        }
        Condition::OperationWaits { longer_than_seconds } => {
            let longer_than_ms = longer_than_seconds * 1_000;
            operations(look, |environment, operation| {
                waits(environment, operation, look.at_ms, longer_than_ms)
            })
        }
        Condition::Unwatched {} => unwatched(look),
        _ => Vec::new(),
    }
}

fn certificates(look: &Observation, within_days: f64) -> Vec<Reading> {
    let certificates = look.certificates.seen().into_iter().flatten();
    let subject = |seen: &CertificateSeen| {
        Subject::of([("environment", &seen.environment), ("certificate", &seen.name)])
    };
    certificates.map(|seen| Reading::of(subject(seen), ends(seen, look.at_ms, within_days))).collect()
}

fn ends(seen: &CertificateSeen, now_ms: u64, within_days: f64) -> Option<Finding> {
    let left_ms = seen.not_after_ms.saturating_sub(now_ms);
    let when = if left_ms == 0 { "has ended".to_owned() } else { format!("ends in {}", lasting(left_ms)) };
    (left_ms as f64 <= within_days * DAY_MS).then(|| {
        let summary = format!("the certificate {} {when} in {}", seen.name, seen.environment);
        let hint = format!("lockstep certificate show {} --env {}", seen.name, seen.environment);
        Finding::new(summary).because(seen.not_renewed.clone()).then(hint)
    })
}

fn disks(look: &Observation, below: f64, and_below_bytes: u64) -> Vec<Reading> {
    let read = |subject: Subject, whose: &str, disk: &Seen<DiskSeen>| match disk.get(whose) {
        Ok(disk) => Reading::of(subject, low(disk, whose, below, and_below_bytes)),
        Err(why) => Reading::unknown(subject, why),
    };
    let hosts = look.hosts.seen().into_iter().flatten();
    let of_hosts = hosts.map(|(name, host)| {
        read(Subject::of([("host", name)]), &format!("the disk of the host {name}"), &host.disk)
    });
    let of_server = read(Subject::of([("part", "server")]), "the disk of the server", &look.server_disk);
    of_hosts.chain([of_server]).collect()
}

fn low(disk: &DiskSeen, whose: &str, below: f64, and_below_bytes: u64) -> Option<Finding> {
    let part = crate::series::share(disk.free_bytes, disk.size_bytes);
    (part < below && disk.free_bytes < and_below_bytes).then(|| {
        let summary = format!("{whose} has {} left, {}", size(disk.free_bytes), super::percent(part));
        Finding::new(summary).then("lockstep store gc --dry-run".to_owned())
    })
}

/// Writes a size for people: `12.0 GiB`, `1.3 MiB`.
fn size(bytes: u64) -> String {
    let (unit, name) = if bytes >= 1 << 30 { (1_u64 << 30, "GiB") } else { (1 << 20, "MiB") };
    format!("{:.1} {name}", bytes as f64 / unit as f64)
}

fn hosts(look: &Observation) -> Vec<Reading> {
    let hosts = look.hosts.seen().into_iter().flatten();
    hosts
        .map(|(name, host)| Reading::of(Subject::of([("host", name)]), away(name, host, look.at_ms)))
        .collect()
}

fn away(name: &str, host: &HostSeen, now_ms: u64) -> Option<Finding> {
    host.away_since_ms.map(|since_ms| {
        let lasts = lasting(now_ms.saturating_sub(since_ms));
        let summary = format!("the host {name} cannot be reached");
        let why =
            host.why.clone().map_or_else(|| format!("for {lasts}"), |why| format!("for {lasts}: {why}"));
        Finding::new(summary).because(Some(why)).then(format!("lockstep host show {name}"))
    })
}

fn gateways(look: &Observation, longer_than_ms: u64) -> Vec<Reading> {
    let each = |(environment, seen): (&str, &EnvironmentSeen)| match seen.gateways.get("gateways") {
        Ok(gateways) => {
            gateways.iter().map(|gateway| behind(environment, gateway, look.at_ms, longer_than_ms)).collect()
        }
        Err(why) => vec![Reading::unknown(Subject::of([("environment", environment)]), why)],
    };
    look.environments().flat_map(each).collect()
}

fn behind(environment: &str, gateway: &GatewaySeen, now_ms: u64, longer_than_ms: u64) -> Reading {
    let name = &gateway.name;
    let is_long = |since_ms: u64| now_ms.saturating_sub(since_ms) > longer_than_ms;
    let silent = gateway.receipt_ms.filter(|since_ms| is_long(*since_ms)).map(|since_ms| {
        let lasts = lasting(now_ms - since_ms);
        Finding::new(format!("the gateway {name} has been silent for {lasts} in {environment}"))
    });
    let late = gateway.behind_since_ms.filter(|since_ms| is_long(*since_ms)).map(|_| {
        let summary = format!("the gateway {name} does not take the newest table in {environment}");
        Finding::new(summary).because(gateway.refused.clone())
    });
    let subject = Subject::of([("environment", environment), ("gateway", name)]);
    let wrong = silent.or(late).map(|finding| finding.then("lockstep gateway list".to_owned()));
    Reading::of(subject.with("host", gateway.host.as_deref()), wrong)
}

/// Readings of operations: by service, so that the next operation on a service ends what the last one began.
fn operations(
    look: &Observation,
    wrong: impl Fn(&str, &OperationSeen) -> Option<(String, Finding)>,
) -> Vec<Reading> {
    let each = |(environment, seen): (&str, &EnvironmentSeen)| match seen.operations.get("operations") {
        Ok(operations) => operations
            .iter()
            .filter_map(|operation| wrong(environment, operation))
            .map(|(service, finding)| {
                let subject = Subject::of([("environment", environment), ("service", &service)]);
                Reading::of(subject, Some(finding))
            })
            .collect(),
        Err(why) => vec![Reading::unknown(Subject::of([("environment", environment)]), why)],
    };
    look.environments().flat_map(each).collect()
}

/// The service that an operation is told under: the one that failed, else its first.
fn told_under(operation: &OperationSeen) -> Option<String> {
    let failed = operation.failed.as_ref().map(|failed| failed.service.clone());
    failed.or_else(|| operation.services.first().cloned())
}

fn show(environment: &str) -> String {
    format!("lockstep history {environment}")
}

/// What was taken back is mended, and the old version serves; but it is told also when it went faster than one looks.
fn is_mended(operation: &OperationSeen, now_ms: u64) -> bool {
    let is_back = matches!(operation.phase, OperationPhase::Reverted { .. });
    is_back && now_ms.saturating_sub(operation.since_ms) > TAKEN_BACK_FOR_MS
}

fn canary_failed(environment: &str, operation: &OperationSeen, now_ms: u64) -> Option<(String, Finding)> {
    let is_news = |_: &&_| operation.way == Way::Forward && !is_mended(operation, now_ms);
    let failed = operation.failed.as_ref().filter(is_news)?;
    let how = match operation.phase {
        OperationPhase::Goes | OperationPhase::Waits { .. } => "fails in its rollout",
        OperationPhase::Reverting { .. } => "failed in its rollout and is taken back",
        OperationPhase::Reverted { .. } => "failed in its rollout and was taken back",
    };
    let summary = format!("{}@{} {how} in {environment}", failed.service, failed.version);
    let finding = Finding::new(summary).because(Some(format!("{}: {}", operation.id, failed.why)));
    Some((failed.service.clone(), finding.then(show(environment))))
}

fn went_back(environment: &str, operation: &OperationSeen, now_ms: u64) -> Option<(String, Finding)> {
    let (how, cause) = match &operation.phase {
        OperationPhase::Reverting { cause } => ("is being taken back", cause),
        OperationPhase::Reverted { cause } => ("was taken back", cause),
        OperationPhase::Goes | OperationPhase::Waits { .. } => return None,
    };
    let is_of_judge = operation.failed.is_some() && operation.way == Way::Forward;
    if is_of_judge || operation.person.is_some() || is_mended(operation, now_ms) {
        return None;
    }
    let finding = Finding::new(format!("{} {how} in {environment}", operation.what));
    let finding = finding.because(Some(format!("{}: {cause}", operation.id))).then(show(environment));
    Some((told_under(operation)?, finding))
}

fn waits(
    environment: &str,
    operation: &OperationSeen,
    now_ms: u64,
    longer_than_ms: u64,
) -> Option<(String, Finding)> {
    let OperationPhase::Waits { what } = &operation.phase else { return None };
    let lasts_ms = now_ms.saturating_sub(operation.since_ms);
    let finding = Finding::new(format!("{} waits in {environment}", operation.what));
    let detail = format!("{} has waited for {}: {what}", operation.id, lasting(lasts_ms));
    let finding = finding.because(Some(detail)).then(format!("lockstep status {environment}"));
    (lasts_ms > longer_than_ms).then_some(()).and(told_under(operation)).map(|service| (service, finding))
}

/// Says what cannot be looked at. Where nothing is known without an error, there is nothing yet to look at, and rules say by
/// themselves what that means to them.
fn unwatched(look: &Observation) -> Vec<Reading> {
    let mut readings = vec![
        part(Subject::of([("part", "environments")]), look.environments.get("environments").err()),
        part(Subject::of([("part", "hosts")]), look.hosts.get("hosts").err()),
        part(Subject::of([("part", "certificates")]), look.certificates.get("certificates").err()),
        part(Subject::of([("part", "server")]), look.server_disk.get("the disk of the server").err()),
    ];
    for (environment, seen) in look.environments() {
        let of = |name| Subject::of([("environment", environment), ("part", name)]);
        readings.push(part(of("services"), seen.services.get("services").err()));
        readings.push(part(of("operations"), seen.operations.get("operations").err()));
        readings.push(part(of("gateways"), seen.gateways.get("gateways").err()));
    }
    readings.extend(look.services().map(|(environment, name, service)| {
        let subject = Subject::of([("environment", environment), ("service", name), ("part", "requests")]);
        let counters = service.arms.values().filter_map(|arm| arm.counters.get("requests").err());
        let blind = counters.chain(service.instances.get("instances").err()).find(is_error);
        part(subject, blind)
    }));
    readings
}

const fn is_error(blind: &Blind) -> bool {
    matches!(blind, Blind::Error(_))
}

fn part(subject: Subject, blind: Option<Blind>) -> Reading {
    let place = match (subject.service(), subject.environment()) {
        (Some(service), Some(environment)) => format!(" of {service} in {environment}"),
        (_, Some(environment)) => format!(" in {environment}"),
        _ => String::new(),
    };
    let name = subject.get("part").unwrap_or_default();
    let wrong = blind.filter(is_error).map(|blind| {
        let finding = Finding::new(format!("{name}{place} cannot be looked at"));
        finding.because(Some(blind.why().to_owned())).then("lockstep status".to_owned())
    });
    Reading::of(subject, wrong)
}
