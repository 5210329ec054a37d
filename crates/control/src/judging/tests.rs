use lockstep_domain::intent::FailureBound;
use lockstep_domain::verdict::{Verdict, judge};
use lockstep_domain::{ConfigRevision, VersionNumber};

use super::*;

fn arm(minor: u64) -> Arm {
    let service = "orders".parse().unwrap();
    Arm { service, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), process: None }
}

fn kept(before: &Before) -> Kept {
    let bound = FailureBound { min_requests: 20, ..FailureBound::default() };
    Kept::begin(OperationId(1), (arm(1), arm(0)), rules(bound), before, 0, Timestamp(1_000))
}

fn counts(requests: u64, failures: u64) -> ArmCounts {
    let total = match failures {
        0 => Counts { requests, ..Counts::default() },
        _ => Counts::with_failures(requests, failures),
    };
    ArmCounts { total, ..ArmCounts::default() }
}

fn totals(weight: u32, new: ArmCounts, old: ArmCounts) -> ByWeight {
    ByWeight::from([(weight, BTreeMap::from([(arm(1), new), (arm(0), old)]))])
}

fn verdict(kept: &Kept) -> Verdict {
    judge(&kept.trial, &kept.new, &kept.old, 0)
}

#[test]
fn what_is_counted_is_taken_in_once() {
    let mut kept = kept(&Before::default());
    let counted = totals(1_000, counts(15, 0), counts(200, 0));
    kept.take(&counted, false, Timestamp(1_500));
    assert_eq!(kept.seen, ByWeight::new(), "a second has not passed");
    for at in [2_100, 3_200, 4_300] {
        kept.take(&counted, false, Timestamp(at));
    }
    assert!(matches!(verdict(&kept), Verdict::None(it) if it.missing.contains("5 more requests")));
    kept.take(&totals(1_000, counts(20, 0), counts(300, 0)), false, Timestamp(5_400));
    assert!(matches!(verdict(&kept), Verdict::Pass { .. }), "{:?}", verdict(&kept));
}

#[test]
fn a_failure_is_taken_in_at_once_and_every_request_that_fails_is_enough() {
    let mut kept = kept(&Before::default());
    kept.take(&totals(5_000, counts(6, 6), counts(30, 0)), false, Timestamp(1_050));
    assert!(matches!(verdict(&kept), Verdict::Fail { why } if why.contains("every request")));
}

#[test]
fn weights_are_evidence_each_for_itself() {
    let mut kept = kept(&Before::default());
    let mut counted = totals(1_000, counts(100, 0), counts(900, 0));
    counted.extend(totals(5_000, counts(500, 60), counts(500, 2)));
    kept.take(&counted, false, Timestamp(2_500));
    assert!(matches!(verdict(&kept), Verdict::Fail { .. }), "{:?}", verdict(&kept));
}

#[test]
fn silence_passes_nothing() {
    let mut kept = kept(&Before::default());
    kept.take(&totals(1_000, counts(50, 0), counts(500, 0)), false, Timestamp(2_500));
    assert!(matches!(verdict(&kept), Verdict::Pass { .. }));
    for at in [13_000, 24_000] {
        kept.take(&ByWeight::new(), true, Timestamp(at));
    }
    assert!(matches!(verdict(&kept), Verdict::None(it) if it.missing.contains("silent")));
}

#[test]
fn bounds_and_operations_are_fixed_before_the_first_request() {
    let mut latencies = [0; LATENCY_CLASSES];
    (latencies[2], latencies[5]) = (90, 10);
    let latency_bounds_ms = watched_bounds(&latencies);
    let operations =
        ["GET /orders/{id}", "GET /orders/mine", "payments.v1.Payments/Charge", "GET /orders/mine"];
    let operations = operations.map(str::to_owned).to_vec();
    let traffic = ArmTraffic { requests: 100, failures: 1 };
    let kept = kept(&Before { operations, traffic, latency_bounds_ms, contracts: None });
    let paths: Vec<_> = kept.watch.operations.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/orders/mine", "/orders/{id}"]);
    assert_eq!(kept.trial.plan.usual, Some(Counts::with_failures(100, 1)));
    assert!(!kept.watch.latency_bounds_ms.is_empty());
    assert_eq!(kept.watch.latency_bounds_ms, kept.trial.plan.latency_bounds_ms);
    assert!(kept.trial.plan.check().is_ok());
    assert_eq!(kept.watch.latency_bounds_ms, [16, 32].into(), "4 ms are not told apart");
}

#[test]
fn a_server_that_was_started_anew_compares_by_what_the_plan_says_and_names_the_trial_as_before() {
    let traffic = ArmTraffic { requests: 100, failures: 1 };
    let first = kept(&Before { traffic, latency_bounds_ms: [16, 32].into(), ..Before::default() });
    let usual = UsualTraffic { arm: arm(0), requests: 100, failures: 1, latency_bounds_ms: [16, 32].into() };
    // Nothing is known any more of how long answers took.
    let since = Before { traffic: ArmTraffic { requests: 3, failures: 0 }, ..Before::default() };
    let again = kept(&as_planned(since, &[usual], &arm(0)));
    assert_eq!((&again.watch, &again.trial.plan), (&first.watch, &first.trial.plan));
    // Where the plan does not say it, what is counted is another thing, and has another name.
    let other = kept(&as_planned(Before::default(), &[], &arm(0)));
    assert!(other.watch.trial != first.watch.trial && other.watch.trial.starts_with("operation 1, "));
}

#[test]
fn time_that_was_added_to_the_clock_is_no_time_of_counting_and_no_silence() {
    let environment: EnvironmentName = "production".parse().unwrap();
    let judging = Judging::new(Timestamp(500));
    let trials = BTreeMap::from([(arm(1).service, kept(&Before::default()))]);
    lock(&judging.trials).insert(environment.clone(), trials);
    let hour = 3_600_000;
    judging.skip(hour);
    assert_eq!(*lock(&judging.started), Timestamp(500 + hour));
    let mut trials = lock(&judging.trials);
    let kept = trials.get_mut(&environment).unwrap().get_mut(&arm(1).service).unwrap();
    kept.take(&ByWeight::new(), true, Timestamp(hour + 2_000));
    assert_eq!(kept.taken, Timestamp(hour + 1_000), "a second is no silence");
    kept.take(&totals(1_000, counts(15, 0), counts(200, 0)), false, Timestamp(hour + 3_000));
    let Verdict::None(unproven) = verdict(kept) else { panic!() };
    let missing = unproven.missing;
    assert!(missing.contains("5 more requests") && !missing.contains("minute"), "{missing}");
}

#[test]
fn gateways_with_different_weights_at_the_same_time_are_evidence_each_for_itself() {
    let mut kept = kept(&Before::default());
    // One gateway is at 10 % and one at 50 %: a table is on its way. The same share fails in both arms.
    let mut counted = totals(1_000, counts(100, 3), counts(900, 27));
    counted.extend(totals(5_000, counts(500, 15), counts(500, 15)));
    kept.take(&counted, false, Timestamp(2_500));
    assert!(matches!(verdict(&kept), Verdict::Pass { .. }), "{:?}", verdict(&kept));
}
