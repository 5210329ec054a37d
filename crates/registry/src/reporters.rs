//! Who reports, and whether it can be true: the receipts of gateways of their own, before anything is made of them.
//!
//! A refused receipt has no effect at all. So a gateway whose receipts are refused is waited for no longer than one that
//! is silent, its lease, and then stalls nothing; what it counted before stays counted, what it claims is not.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::edition::Edition;
use lockstep_domain::routes::{ArmTraffic, FULL_WEIGHT, GatewayReceipt};
use lockstep_domain::watch::{AnswerSample, ArmCounts, Counts, MAX_CLASSES, Watched};
use lockstep_domain::{Arm, GatewayName, InstanceId, ServiceName, Timestamp};
use thiserror::Error;

use crate::live::GATEWAY_LEASE_MS;
use crate::traffic::{Totals, add, since};
use crate::{called, mirrors};

/// Runs of one gateway that are remembered: it is restarted now and then, not all the time.
const MAX_RUNS: usize = 16;
/// More requests than one process can pass in a second, by far.
const MAX_REQUESTS_A_SECOND: u64 = 1_000_000;
/// What may come at once, because two receipts can arrive closer together than they were sent.
const BURST_MS: u64 = 10_000;
/// No counter gets here in a thousand years; sums of them do not overflow.
const MAX_COUNT: u64 = 1 << 53;
/// Longest id of a run.
const MAX_RUN_ID: usize = 200;
/// Longest body of an answer that a gateway takes.
const MAX_BODY: usize = 64 * 1_024;
/// Most answers that are taken from one receipt: a gateway takes twenty in a second.
const MAX_SAMPLES: usize = 128;
/// Longest reason of a gateway that is kept and shown.
pub(crate) const MAX_WHY: usize = 500;
/// How long a refusal is shown after it happened.
pub const REFUSALS_SHOWN_MS: u64 = 60_000;
/// How long an instance is known after it was last heard of: a gateway may be a little behind.
const INSTANCES_KNOWN_MS: u64 = 600_000;

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptFault {
    /// The id of the run is not one.
    #[error("the id of its run is longer than {MAX_RUN_ID} characters or not plain text")]
    Run,
    /// It claims a table that was never published.
    #[error("it says that it serves revision {claimed}, and the newest is {newest}")]
    Revision {
        /// What it says.
        claimed: u64,
        /// What there is.
        newest: u64,
    },
    /// More failures than requests, or more of either than can be.
    #[error("its counts for {0} cannot be")]
    Counts(Arm),
    /// Counters of a version on trial that no gateway can have.
    #[error("what it counts of versions of {0} on trial cannot be")]
    Watched(ServiceName),
    /// A counter went back.
    #[error("it counted {before} requests to {arm} in this run before, and {now} now")]
    Backwards {
        /// Of which arm.
        arm: Arm,
        /// What it said before.
        before: u64,
        /// What it says now.
        now: u64,
    },
    /// More than a process can pass.
    #[error("{requests} more requests in {elapsed_ms} ms cannot be")]
    TooFast {
        /// How many more.
        requests: u64,
        /// In which time.
        elapsed_ms: u64,
    },
    /// An arm that was never there.
    #[error("it counts requests to {0}, which was never here")]
    Arm(Arm),
    /// An instance that was never there.
    #[error("it has requests under way at {0}, which is no instance of this environment")]
    Instance(InstanceId),
}

/// What a receipt is compared with.
pub(crate) struct Known<'a> {
    /// The newest table, when one was published.
    pub(crate) newest: Option<Edition>,
    pub(crate) is_arm: &'a dyn Fn(&Arm) -> bool,
}

/// The gateways of one environment that report with a key of their own.
#[derive(Debug, Default)]
pub(crate) struct Reporters {
    gateways: BTreeMap<GatewayName, Reporter>,
    refused: BTreeMap<String, Refused>,
    instances: BTreeMap<InstanceId, Timestamp>,
}

#[derive(Debug, Default)]
struct Reporter {
    runs: BTreeMap<String, Run>,
    last_run: String,
}

#[derive(Debug, Default)]
struct Run {
    seen: Timestamp,
    /// What it said last.
    counted: Totals,
    /// What it said last of versions on trial.
    watched: Vec<Watched>,
    /// What was made of it: only what it counted while no other run of the gateway was there.
    believed: Totals,
    /// Another process reports with the same key, turn by turn with this one.
    is_contested: bool,
    /// It has said that it is over, so whoever comes next is alone.
    is_over: bool,
    /// When it reported first.
    since: Option<Timestamp>,
    handover: Handover,
}

/// What a run says of the runs before and after it.
#[derive(Debug, Default)]
struct Handover {
    taken_from: Option<String>,
    handed_to: Option<String>,
}

impl Handover {
    fn of(receipt: &GatewayReceipt) -> Self {
        Self { taken_from: receipt.taken_from.clone(), handed_to: receipt.handed_to.clone() }
    }
}

/// A receipt that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose: the name of a gateway, or what is said of one without a key.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it happened last.
    pub at: Timestamp,
}

impl Reporters {
    /// Notes instances that are there.
    pub(crate) fn note_instances<'a>(
        &mut self,
        instances: impl Iterator<Item = &'a InstanceId>,
        now: Timestamp,
    ) {
        self.instances.extend(instances.map(|id| (id.clone(), now)));
        self.instances.retain(|_, seen| now.since_ms(*seen) <= INSTANCES_KNOWN_MS);
    }

    /// Checks a receipt, and returns what is believed of it, under an id that holds the gateway's name.
    pub(crate) fn take(
        &mut self,
        gateway: &GatewayName,
        receipt: &GatewayReceipt,
        known: &Known<'_>,
        now: Timestamp,
    ) -> Result<GatewayReceipt, ReceiptFault> {
        let reporter = self.gateways.entry(gateway.clone()).or_default();
        let checked = check(reporter.runs.get(&receipt.gateway), receipt, known, now)
            .and_then(|()| check_instances(&self.instances, receipt, known));
        match checked {
            Ok(()) => {
                let calls = called::believed(&receipt.calls, known.is_arm);
                let clients = called::believed_of_clients(&receipt.clients, known.is_arm);
                Ok(reporter.accept(gateway, &GatewayReceipt { calls, clients, ..receipt.clone() }, now))
            }
            Err(fault) => {
                self.refuse(gateway.as_str(), fault.to_string(), now);
                Err(fault)
            }
        }
    }

    /// Notes a refusal, so that it can be shown.
    pub(crate) fn refuse(&mut self, who: &str, why: String, at: Timestamp) {
        self.forget_old(at);
        self.refused.insert(who.to_owned(), Refused { who: who.to_owned(), why, at });
    }

    /// Returns what was refused lately.
    pub(crate) fn refused(&mut self, now: Timestamp) -> Vec<Refused> {
        self.forget_old(now);
        self.refused.values().cloned().collect()
    }

    /// Returns the gateways whose key several processes have, by the ids under which their receipts are taken.
    pub(crate) fn contested(&self) -> BTreeSet<String> {
        let runs = self.gateways.iter().flat_map(|(name, reporter)| {
            let contested = reporter.runs.iter().filter(|(_, run)| run.is_contested);
            contested.map(move |(id, _)| reported_as(name, id))
        });
        runs.collect()
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.refused.retain(|_, refused| now.since_ms(refused.at) <= REFUSALS_SHOWN_MS);
    }
}

fn reported_as(gateway: &GatewayName, run: &str) -> String {
    format!("{gateway}/{run}")
}

impl Reporter {
    /// Two processes with one key are seen by their runs coming in turn: a process that was started again never does. Both
    /// are waited for, and from then on neither counts. A run also does not count as long as another one may be there, unless the
    /// two say of each other that one took over from the other.
    fn accept(&mut self, gateway: &GatewayName, receipt: &GatewayReceipt, now: Timestamp) -> GatewayReceipt {
        let id = &receipt.gateway;
        self.make_room(id);
        let is_known = self.runs.contains_key(id);
        let run = self.run(id);
        run.since.get_or_insert(now);
        (run.seen, run.is_over, run.handover) = (now, receipt.last, Handover::of(receipt));
        if is_known && self.last_run != *id && !self.may_be_one(id, &self.last_run, now) {
            for contested in [id, &self.last_run.clone()] {
                self.runs.get_mut(contested).into_iter().for_each(|run| run.is_contested = true);
            }
        }
        self.last_run.clone_from(id);
        let counted: Totals = receipt.traffic.iter().cloned().collect();
        let is_alone = self.is_alone(id, now);
        let run = self.run(id);
        let is_believed = is_alone && !run.is_contested;
        if is_believed {
            for (arm, more) in since(counted.clone(), &run.counted) {
                add(&mut run.believed, &arm, more);
            }
        }
        run.counted = counted;
        run.watched.clone_from(&receipt.watched);
        let traffic = run.believed.iter().map(|(arm, traffic)| (arm.clone(), *traffic)).collect();
        let refused = receipt.refused.clone().map(|mut refused| {
            refused.why = refused.why.chars().take(MAX_WHY).collect();
            refused
        });
        let checks = if is_believed { receipt.checks.clone() } else { Vec::new() };
        let (latencies, watched, samples, mirrored, calls, clients) = match is_believed {
            true => {
                let mirrored = mirrors::believed(&receipt.mirrored);
                let (calls, clients) = (receipt.calls.clone(), receipt.clients.clone());
                let (latencies, watched) = (receipt.latencies.clone(), receipt.watched.clone());
                (latencies, watched, samples(receipt), mirrored, calls, clients)
            }
            false => Default::default(),
        };
        let gateway = reported_as(gateway, id);
        let receipt = receipt.clone();
        GatewayReceipt {
            gateway,
            traffic,
            refused,
            latencies,
            watched,
            samples,
            mirrored,
            calls,
            clients,
            checks,
            ..receipt
        }
    }

    fn run(&mut self, id: &str) -> &mut Run {
        self.runs.entry(id.to_owned()).or_default()
    }

    fn is_alone(&self, id: &str, now: Timestamp) -> bool {
        let mut others = self.runs.iter().filter(|(other, _)| *other != id);
        others.all(|(other, run)| {
            run.is_over || now.since_ms(run.seen) > GATEWAY_LEASE_MS || self.are_one(id, other)
        })
    }

    /// Tells whether one of the two took over from the other, or from one that did: each says it of its neighbours. Who merely has
    /// the key cannot make a run say that it gave its sockets away.
    fn are_one(&self, one: &str, other: &str) -> bool {
        self.comes_after(one, other) || self.comes_after(other, one)
    }

    fn comes_after(&self, first: &str, last: &str) -> bool {
        let heir = |id: &String| self.heir(id).cloned();
        // Runs that name each other in a circle end nowhere.
        std::iter::successors(Some(first.to_owned()), heir).take(MAX_RUNS).any(|id| id == last)
    }

    fn heir(&self, id: &str) -> Option<&String> {
        let heir = self.runs.get(id)?.handover.handed_to.as_ref()?;
        let says = self.runs.get(heir)?.handover.taken_from.as_deref();
        (says == Some(id)).then_some(heir)
    }

    /// Tells whether two may be one: what the older one says of it can come later than the first word of the younger.
    fn may_be_one(&self, one: &str, other: &str, now: Timestamp) -> bool {
        let claims = |young: &str, old: &str| {
            let young = self.runs.get(young);
            young.is_some_and(|run| {
                let is_young = run.since.is_none_or(|since| now.since_ms(since) <= GATEWAY_LEASE_MS);
                is_young && run.handover.taken_from.as_deref() == Some(old)
            })
        };
        self.are_one(one, other) || claims(one, other) || claims(other, one)
    }

    fn make_room(&mut self, id: &str) {
        if !self.runs.contains_key(id) && self.runs.len() >= MAX_RUNS {
            let oldest = self.runs.iter().min_by_key(|(_, run)| run.seen).map(|(id, _)| id.clone());
            oldest.iter().for_each(|id| drop(self.runs.remove(id)));
        }
    }
}

fn check(
    before: Option<&Run>,
    receipt: &GatewayReceipt,
    known: &Known<'_>,
    now: Timestamp,
) -> Result<(), ReceiptFault> {
    let runs = [Some(&receipt.gateway), receipt.taken_from.as_ref(), receipt.handed_to.as_ref()];
    if !runs.into_iter().flatten().all(|id| is_run(id)) {
        return Err(ReceiptFault::Run);
    }
    if let Some(newest) = known.newest.as_ref().filter(|newest| is_beyond(receipt, newest)) {
        return Err(ReceiptFault::Revision { claimed: receipt.revision, newest: newest.revision });
    }
    let mut arms = BTreeSet::new();
    for (arm, traffic) in &receipt.traffic {
        check_arm(arm, *traffic, known)?;
        if !arms.insert(arm) {
            return Err(ReceiptFault::Counts(arm.clone()));
        }
    }
    let watched = receipt.watched.iter().flat_map(|watched| &watched.arms).map(|(arm, _)| arm);
    let sampled = receipt.samples.iter().map(|sample| &sample.arm);
    if let Some(arm) = watched.chain(sampled).find(|arm| !(known.is_arm)(arm)) {
        return Err(ReceiptFault::Arm(arm.clone()));
    }
    check_watched(&receipt.watched, before.map(|run| &run.watched[..]).unwrap_or_default())?;
    before.map_or(Ok(()), |run| check_growth(run, receipt, now))
}

fn is_run(id: &str) -> bool {
    (1..=MAX_RUN_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

/// Counters of versions on trial are what verdicts are made of: none of them may be what no gateway can have counted.
fn check_watched(watched: &[Watched], before: &[Watched]) -> Result<(), ReceiptFault> {
    let mut places = BTreeSet::new();
    for one in watched {
        if one.weight > FULL_WEIGHT || !places.insert((&one.service, &one.trial, one.weight)) {
            return Err(ReceiptFault::Watched(one.service.clone()));
        }
        let then = before
            .iter()
            .find(|it| it.trial == one.trial && it.service == one.service && it.weight == one.weight);
        for (arm, counts) in &one.arms {
            let is_other =
                arm.service != one.service || one.arms.iter().filter(|(it, _)| it == arm).count() > 1;
            let none = ArmCounts::default();
            let before =
                then.and_then(|it| it.arms.iter().find(|(it, _)| it == arm)).map_or(&none, |(_, it)| it);
            if is_other || !can_be(counts) || !before.since(counts).is_empty() {
                return Err(ReceiptFault::Watched(one.service.clone()));
            }
        }
    }
    Ok(())
}

/// Tells whether counts can be: no answers without requests, no keys without answers, no operation with more than the total. What
/// was compared with contracts is not counted by gateways.
fn can_be(counts: &ArmCounts) -> bool {
    let scope = |counts: &Counts| {
        let answers = counts.statuses.values().chain(counts.slower.values());
        let mut answers = answers.map(|it| (it.answers, it.keys));
        counts.requests <= MAX_COUNT
            && counts.checked == 0
            && answers.all(|(answers, keys)| answers <= counts.requests && keys <= answers)
    };
    let within = |class: &Counts| scope(class) && class.requests <= counts.total.requests;
    scope(&counts.total) && counts.classes.len() <= MAX_CLASSES + 1 && counts.classes.values().all(within)
}

/// What is taken of answers: no more than a gateway keeps, and none that is longer.
fn samples(receipt: &GatewayReceipt) -> Vec<AnswerSample> {
    let fits = |sample: &&AnswerSample| sample.body.0.len() <= MAX_BODY && sample.media_type.len() <= MAX_WHY;
    receipt.samples.iter().filter(fits).take(MAX_SAMPLES).cloned().collect()
}

/// A number of another history says nothing about this one, and confirms nothing.
fn is_beyond(receipt: &GatewayReceipt, newest: &Edition) -> bool {
    receipt.history == newest.history && receipt.revision > newest.revision
}

/// Before the first table nothing is known of instances.
fn check_instances(
    instances: &BTreeMap<InstanceId, Timestamp>,
    receipt: &GatewayReceipt,
    known: &Known<'_>,
) -> Result<(), ReceiptFault> {
    let unknown = receipt.in_flight.keys().find(|id| !instances.contains_key(id));
    match unknown.filter(|_| known.newest.is_some()) {
        Some(unknown) => Err(ReceiptFault::Instance(unknown.clone())),
        None => Ok(()),
    }
}

fn check_arm(arm: &Arm, traffic: ArmTraffic, known: &Known<'_>) -> Result<(), ReceiptFault> {
    if traffic.failures > traffic.requests || traffic.requests > MAX_COUNT {
        return Err(ReceiptFault::Counts(arm.clone()));
    }
    if !(known.is_arm)(arm) {
        return Err(ReceiptFault::Arm(arm.clone()));
    }
    Ok(())
}

fn check_growth(before: &Run, receipt: &GatewayReceipt, now: Timestamp) -> Result<(), ReceiptFault> {
    let counted: Totals = receipt.traffic.iter().cloned().collect();
    for (arm, then) in &before.counted {
        let traffic = counted.get(arm).copied().unwrap_or_default();
        if traffic.requests < then.requests || traffic.failures < then.failures {
            let (arm, before, now) = (arm.clone(), then.requests, traffic.requests);
            return Err(ReceiptFault::Backwards { arm, before, now });
        }
    }
    let sum = |totals: &Totals| totals.values().map(|traffic| traffic.requests).sum::<u64>();
    let requests = sum(&counted) - sum(&before.counted);
    let elapsed_ms = now.since_ms(before.seen);
    let possible = (elapsed_ms + BURST_MS).saturating_mul(MAX_REQUESTS_A_SECOND / 1_000);
    if requests > possible { Err(ReceiptFault::TooFast { requests, elapsed_ms }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn arm(minor: u64) -> Arm {
        let service = "orders".parse().unwrap();
        Arm { service, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), process: None }
    }

    fn receipt(run: &str, requests: u64, failures: u64) -> GatewayReceipt {
        GatewayReceipt {
            gateway: run.into(),
            environment: "production".parse().unwrap(),
            history: Default::default(),
            revision: 5,
            takes_format: 3,
            refused: None,
            in_flight: BTreeMap::new(),
            traffic: vec![(arm(0), ArmTraffic { requests, failures })],
            latencies: Vec::new(),
            watched: Vec::new(),
            samples: Vec::new(),
            mirrored: Vec::new(),
            calls: Vec::new(),
            clients: Vec::new(),
            listens: Vec::new(),
            left_alone: Vec::new(),
            oldest_admitted: None,
            last: false,
            taken_from: None,
            handed_to: None,
            between: None,
            outside: Vec::new(),
            checks: Vec::new(),
        }
    }

    fn take(
        reporters: &mut Reporters,
        receipt: &GatewayReceipt,
        now: u64,
    ) -> Result<GatewayReceipt, ReceiptFault> {
        reporters.note_instances([&"orders-a".parse().unwrap()].into_iter(), Timestamp(now));
        let known = Known {
            newest: Some(Edition { revision: 5, ..Edition::default() }),
            is_arm: &|arm| arm.version.minor() == 0,
        };
        reporters.take(&"edge-1".parse().unwrap(), receipt, &known, Timestamp(now))
    }

    #[test]
    fn what_cannot_be_is_refused_shown_and_without_effect() {
        let mut reporters = Reporters::default();
        take(&mut reporters, &receipt("r", 100, 3), 1_000).unwrap();
        let change = |change: &dyn Fn(&mut GatewayReceipt)| {
            let mut receipt = receipt("r", 101, 3);
            change(&mut receipt);
            receipt
        };
        let cases = [
            change(&|receipt| receipt.revision = 6),
            change(&|receipt| receipt.traffic[0].1.failures = 102),
            change(&|receipt| receipt.traffic[0].1.requests = 99),
            change(&|receipt| receipt.traffic[0].1.failures = 2),
            change(&|receipt| receipt.traffic.clear()),
            change(&|receipt| receipt.traffic[0].1.requests = u64::MAX),
            change(&|receipt| receipt.traffic[0].1.requests = 100_000_000),
            change(&|receipt| receipt.traffic.push((arm(1), ArmTraffic::default()))),
            change(&|receipt| receipt.traffic.push(receipt.traffic[0].clone())),
            change(&|receipt| receipt.in_flight.extend([("orders-b".parse().unwrap(), 1)])),
            change(&|receipt| receipt.gateway = String::new()),
            change(&|receipt| receipt.gateway = "a b".into()),
            change(&|receipt| receipt.gateway = "x".repeat(201)),
        ];
        for case in cases {
            let fault = take(&mut reporters, &case, 1_500).unwrap_err();
            assert_eq!(reporters.refused(Timestamp(1_500))[0].why, fault.to_string(), "{case:?}");
        }
        let good = take(
            &mut reporters,
            &change(&|receipt| receipt.in_flight.extend([("orders-a".parse().unwrap(), 1)])),
            2_000,
        );
        assert_eq!(good.unwrap().gateway, "edge-1/r");
        assert_eq!(reporters.refused(Timestamp(2_000 + REFUSALS_SHOWN_MS)).len(), 0);
    }

    #[test]
    fn a_gateway_that_is_started_again_counts_from_0() {
        let mut reporters = Reporters::default();
        take(&mut reporters, &receipt("one", 100, 0), 1_000).unwrap();
        // The one before may still be there: what is counted until its lease is over is not believed.
        assert_eq!(take(&mut reporters, &receipt("two", 1, 0), 2_000).unwrap().traffic, []);
        take(&mut reporters, &receipt("two", 2, 0), 3_000).unwrap();
        let alone = take(&mut reporters, &receipt("two", 5, 0), 1_001 + GATEWAY_LEASE_MS).unwrap();
        assert_eq!(alone.traffic[0].1.requests, 3);
        assert!(reporters.contested().is_empty());
    }

    #[test]
    fn a_gateway_that_left_and_is_started_again_loses_and_repeats_nothing() {
        let mut reporters = Reporters::default();
        take(&mut reporters, &receipt("one", 100, 0), 1_000).unwrap();
        let last = GatewayReceipt { last: true, ..receipt("one", 107, 0) };
        assert_eq!(take(&mut reporters, &last, 1_500).unwrap().traffic[0].1.requests, 107);
        assert_eq!(take(&mut reporters, &receipt("two", 1, 0), 2_000).unwrap().traffic[0].1.requests, 1);
        assert_eq!(take(&mut reporters, &receipt("two", 5, 0), 3_000).unwrap().traffic[0].1.requests, 5);
        // Who says that it is over and comes again is two processes, as before.
        take(&mut reporters, &receipt("one", 110, 0), 4_000).unwrap();
        assert_eq!(reporters.contested(), ["edge-1/one", "edge-1/two"].map(str::to_owned).into());
    }

    #[test]
    fn two_processes_with_one_key_are_seen_and_neither_counts_from_then_on() {
        let mut reporters = Reporters::default();
        for (at, run, requests) in [(1, "one", 10), (2, "two", 1), (3, "one", 11)] {
            take(&mut reporters, &receipt(run, requests, 0), at * 1_000).unwrap();
        }
        assert_eq!(reporters.contested(), ["edge-1/one", "edge-1/two"].map(str::to_owned).into());
        let forged = take(&mut reporters, &receipt("two", 1_000, 1_000), 4_000).unwrap();
        assert_eq!(forged.traffic, []);
        let later = take(&mut reporters, &receipt("one", 2_000, 0), 100_000).unwrap();
        assert_eq!(later.traffic[0].1.requests, 10);
        // Both are reported on, so that both are waited for.
        assert_eq!(forged.gateway, "edge-1/two");
    }

    fn handed(run: &str, requests: u64, from: Option<&str>, to: Option<&str>) -> GatewayReceipt {
        let (taken_from, handed_to) = (from.map(str::to_owned), to.map(str::to_owned));
        GatewayReceipt { taken_from, handed_to, ..receipt(run, requests, 0) }
    }

    #[test]
    fn a_run_that_took_over_and_the_one_before_it_both_count_while_that_one_lets_its_clients_finish() {
        let mut reporters = Reporters::default();
        let mut told = |receipt: &GatewayReceipt, at| {
            take(&mut reporters, receipt, at).unwrap().traffic.first().map_or(0, |it| it.1.requests)
        };
        assert_eq!(told(&handed("one", 100, None, None), 1_000), 100);
        // The word of the new one comes first, and a word that the old one had said before.
        assert_eq!(told(&handed("two", 3, Some("one"), None), 1_100), 0);
        assert_eq!(told(&handed("one", 101, None, None), 1_150), 100);
        assert_eq!(told(&handed("one", 104, None, Some("two")), 2_000), 103);
        assert_eq!(told(&handed("two", 9, Some("one"), None), 2_100), 6);
        // A third one, while the first is still there.
        assert_eq!(told(&handed("two", 10, Some("one"), Some("three")), 3_000), 7);
        assert_eq!(told(&handed("three", 5, Some("two"), None), 3_100), 5);
        assert_eq!(told(&handed("one", 110, None, Some("two")), 3_200), 109);
        assert_eq!(told(&handed("three", 8, Some("two"), None), 3_300), 8);
        assert!(reporters.contested().is_empty());
    }

    #[test]
    fn who_only_says_that_it_took_over_is_a_second_process_with_the_key() {
        let mut reporters = Reporters::default();
        take(&mut reporters, &handed("one", 100, None, None), 1_000).unwrap();
        take(&mut reporters, &handed("thief", 1_000, Some("one"), None), 2_000).unwrap();
        for at in 3..9 {
            take(&mut reporters, &handed("one", 100 + at, None, None), at * 1_000).unwrap();
            let forged = handed("thief", 1_000 * at, Some("one"), None);
            assert_eq!(take(&mut reporters, &forged, at * 1_000 + 500).unwrap().traffic, []);
        }
        assert_eq!(reporters.contested(), ["edge-1/one", "edge-1/thief"].map(str::to_owned).into());
    }

    #[test]
    fn runs_that_name_each_other_in_a_circle_end_nowhere() {
        let mut reporters = Reporters::default();
        for at in 0..4 {
            let (one, other) = if at % 2 == 0 { ("one", "two") } else { ("two", "one") };
            take(&mut reporters, &handed(one, at, Some(other), Some(other)), at * 1_000).unwrap();
        }
    }

    #[test]
    fn many_runs_take_no_memory() {
        let mut reporters = Reporters::default();
        for run in 0..1_000 {
            take(&mut reporters, &receipt(&run.to_string(), 1, 0), run).unwrap();
        }
        assert!(reporters.gateways.values().all(|reporter| reporter.runs.len() <= MAX_RUNS));
    }

    fn trial(weight: u32, new: (u64, u64, u64)) -> Watched {
        let (requests, answers, keys) = new;
        let statuses =
            BTreeMap::from([("5xx".parse().unwrap(), lockstep_domain::watch::Answers { answers, keys })]);
        let total = Counts { requests, statuses, ..Counts::default() };
        let counts = ArmCounts { classes: [("GET /pay".parse().unwrap(), total.clone())].into(), total };
        Watched { service: arm(0).service, trial: "operation 1".into(), weight, arms: vec![(arm(0), counts)] }
    }

    #[test]
    fn counters_of_a_trial_that_cannot_be_have_no_effect_and_are_shown() {
        let mut reporters = Reporters::default();
        let with = |watched: Vec<Watched>| GatewayReceipt { watched, ..receipt("run", 9, 0) };
        let good = take(&mut reporters, &with(vec![trial(500, (10, 4, 3)), trial(2_500, (7, 0, 0))]), 1_000);
        assert_eq!(good.unwrap().watched.len(), 2);
        let mut other_class = trial(500, (10, 4, 3));
        other_class.arms[0].1.classes.values_mut().for_each(|counts| counts.requests = 11);
        let mut compared = trial(500, (10, 4, 3));
        compared.arms[0].1.total.checked = 5;
        for wrong in [
            vec![trial(500, (10, 11, 3))],
            vec![trial(500, (10, 4, 5))],
            vec![trial(500, (9, 4, 3))],
            vec![trial(500, (10, 3, 3))],
            vec![trial(500, (u64::MAX, 4, 3))],
            vec![trial(500, (10, 4, 3)), trial(500, (10, 4, 3))],
            vec![trial(10_001, (10, 4, 3))],
            vec![other_class],
            vec![compared],
        ] {
            let refused = take(&mut reporters, &with(wrong.clone()), 2_000);
            assert!(matches!(refused, Err(ReceiptFault::Watched(_))), "{wrong:?}: {refused:?}");
        }
        assert_eq!(reporters.refused(Timestamp(2_001)).len(), 1);
        let more = take(&mut reporters, &with(vec![trial(500, (12, 5, 3))]), 3_000);
        assert_eq!(more.unwrap().watched[0].arms[0].1.total.requests, 12);
        let old = take(&mut reporters, &receipt("run", 9, 0), 4_000);
        assert_eq!(old.unwrap().watched, [], "a gateway of an older release counts nothing of trials");
    }
}
