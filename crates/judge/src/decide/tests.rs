use super::*;
use crate::counts::{Answers, Counts, Interval, Pair, Reading, Split};
use crate::quantity::Weight;
use crate::rules::Rules;
use crate::sentence::{Names, Unit};
use crate::verdict::Missing;

const LOOK: Look = Look { health: Health::Ready, bake: Bake::Over };
const NAMES: Names<'_> = Names { service: "orders", new: "1.4.0", old: "1.3.2", of: Unit::Requests };
const HALF: Split = Split::Drawn(Weight(5_000));
const TENTH: Split = Split::Drawn(Weight(1_000));

fn pair(new: (u64, u64), old: (u64, u64)) -> Pair {
    Pair { new: Counts::with_failures(new.0, new.1), old: Counts::with_failures(old.0, old.1) }
}

fn interval(split: Split, total: Pair) -> Reading {
    Reading::Counted(Interval { lasted_ms: 10_000, split, total, classes: Default::default() })
}

fn seen(plan: &Plan, readings: impl IntoIterator<Item = Reading>) -> Evidence {
    let mut evidence = Evidence::default();
    readings.into_iter().for_each(|reading| evidence.take(plan, &reading));
    evidence
}

/// Judges after so many intervals that are all alike.
fn judged(plan: &Plan, split: Split, count: usize, total: &Pair) -> Judgement {
    decide(plan, &seen(plan, (0..count).map(|_| interval(split, total.clone()))), &LOOK)
}

fn faults(judgement: Judgement) -> Vec<Fault> {
    match judgement.verdict {
        Verdict::Fail(faults) => faults,
        other => panic!("{other:?}"),
    }
}

fn waiting(judgement: Judgement) -> Vec<Waiting> {
    match judgement.verdict {
        Verdict::None(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_version_that_is_worse_fails_and_says_how_sure_that_is() {
    let plan = Plan::default();
    let judgement = judged(&plan, TENTH, 3, &pair((100, 5), (900, 2)));
    assert!(judgement.evidence > 1_000, "{judgement:?}");
    let sentence = judgement.sentence(&NAMES);
    assert!(
        sentence.starts_with(
            "orders 1.4.0 fails 5 % of requests, 1.3.2 0.2 % (about 22 times as often; evidence "
        ),
        "{sentence}"
    );
    assert!(sentence.ends_with(":1)"), "{sentence}");
}

/// Three of a hundred fail in both arms, by chance once one of twelve in the new one: it was taken back and held for that.
#[test]
fn the_same_code_in_both_arms_is_not_taken_back_for_one_unlucky_request() {
    let plan = Plan::default();
    assert!(!matches!(judged(&plan, TENTH, 1, &pair((12, 1), (108, 3))).verdict, Verdict::Fail(_)));
    assert!(!matches!(judged(&plan, TENTH, 30, &pair((12, 1), (108, 4))).verdict, Verdict::Fail(_)));
}

#[test]
fn five_of_five_failures_fail_at_once_while_the_old_version_serves() {
    let plan = Plan::default();
    let fails = |split, new: (u64, u64), old: (u64, u64)| {
        matches!(judged(&plan, split, 1, &pair(new, old)).verdict, Verdict::Fail(_))
    };
    assert!(fails(HALF, (5, 5), (5, 0)));
    assert!(!fails(HALF, (4, 4), (5, 0)));
    assert!(!fails(HALF, (5, 4), (5, 0)));
    assert!(!fails(HALF, (5, 5), (5, 5)), "the old version does not serve");
    assert!(!fails(HALF, (5, 5), (20, 10)), "half of all requests fail anyway");
    let retries = Pair {
        new: Counts {
            requests: 50,
            statuses: [("5xx".parse().unwrap(), Answers { answers: 50, keys: 1 })].into(),
            ..Counts::default()
        },
        old: Counts::with_failures(450, 0),
    };
    assert!(
        !matches!(judged(&plan, TENTH, 1, &retries).verdict, Verdict::Fail(_)),
        "one client that tries again"
    );
    let sentence = judged(&plan, HALF, 1, &pair((5, 5), (5, 0))).sentence(&NAMES);
    assert!(
        sentence.starts_with("every request of orders 1.4.0 fails (5 of 5), 1.3.2 fails 0 %"),
        "{sentence}"
    );
}

#[test]
fn a_version_that_begins_to_fail_everything_is_found_after_many_that_it_served() {
    let plan = Plan::default();
    let good = (0..100).map(|_| interval(HALF, pair((10, 0), (10, 0))));
    let evidence = seen(&plan, good.chain([interval(HALF, pair((9, 9), (10, 0)))]));
    assert!(matches!(faults(decide(&plan, &evidence, &LOOK))[0], Fault::AllFail { keys: 9, .. }));
}

#[test]
fn instances_that_end_or_are_not_ready_fail_without_any_request() {
    let plan = Plan::default();
    for (health, fault) in [(Health::CrashLoop, Fault::CrashLoop), (Health::NotReady, Fault::NotReady)] {
        let judgement = decide(&plan, &Evidence::default(), &Look { health, bake: Bake::Left(1) });
        assert_eq!(faults(judgement), [fault]);
    }
}

#[test]
fn a_difference_that_matters_to_nobody_fails_nobody_and_is_told() {
    let plan = Plan::default();
    let judgement = judged(&plan, HALF, 50, &pair((100_000, 60), (100_000, 10)));
    assert!(judgement.evidence > 1_000_000);
    assert!(matches!(judgement.verdict, Verdict::Pass(Proof::Unproven(_))), "{judgement:?}");
    assert!(matches!(judgement.notes[..], [Note::Immaterial { .. }]));
    let rules = Rules { error_budget: Some(Share(200)), ..Rules::default() };
    let strict = Plan { rules, ..Plan::default() };
    assert!(matches!(
        faults(judged(&strict, HALF, 50, &pair((100_000, 60), (100_000, 10))))[0],
        Fault::Worse { .. }
    ));
}

#[test]
fn without_traffic_it_waits_and_says_what_is_missing() {
    let plan = Plan::default();
    assert_eq!(
        waiting(judged(&plan, TENTH, 60, &Pair::default())),
        [Waiting::Requests { requests: Missing { count: 100, ms: None }, failures: None }]
    );
    let sentence = judged(&plan, TENTH, 60, &pair((1, 0), (9, 0))).sentence(&NAMES);
    let expected = "waiting for about 40 more requests (7 minutes at today's rate)";
    assert_eq!(sentence, expected);
    let some = [interval(TENTH, pair((9, 0), (81, 1))), interval(TENTH, pair((9, 0), (81, 0)))];
    let sentence = decide(&plan, &seen(&plan, some), &LOOK).sentence(&NAMES);
    assert!(sentence.contains("82 more requests (92 seconds at today's rate), or about "), "{sentence}");
    assert!(sentence.contains(" more failures (") && sentence.contains(" to prove it"), "{sentence}");
    let baking = Look { bake: Bake::Left(90_000), ..LOOK };
    let evidence = seen(&plan, [interval(TENTH, pair((200, 0), (1_800, 0)))]);
    assert_eq!(waiting(decide(&plan, &evidence, &baking)), [Waiting::Bake { ms: 90_000 }]);
}

/// More clients get the version with each step, so each has to see requests of its own.
#[test]
fn a_step_does_not_pass_by_requests_of_the_step_before() {
    let plan = Plan::default();
    let mut evidence = seen(&plan, [interval(TENTH, pair((500, 0), (4_500, 0)))]);
    assert!(matches!(decide(&plan, &evidence, &LOOK).verdict, Verdict::Pass(_)));
    evidence.begin_step();
    evidence.take(&plan, &interval(HALF, pair((20, 0), (20, 0))));
    let missing = Missing { count: 80, ms: Some(40_000) };
    assert_eq!(
        waiting(decide(&plan, &evidence, &LOOK)),
        [Waiting::Requests { requests: missing, failures: None }]
    );
}

#[test]
fn a_bake_without_suspicion_passes_and_says_what_could_have_been_missed() {
    let judgement = judged(&Plan::default(), HALF, 20, &pair((50, 0), (50, 0)));
    let Verdict::Pass(Proof::Unproven(missed)) = judgement.verdict else { panic!("{judgement:?}") };
    assert_eq!((missed.times, missed.requests), (None, 1_000));
    assert!(missed.share < Share(6_000), "{missed:?}");
    let judgement = judged(&Plan::default(), HALF, 20, &pair((500, 1), (500, 1)));
    let sentence = judgement.sentence(&NAMES);
    assert!(
        sentence.starts_with("passed, not proven: could have missed less than 3 x (fails less than "),
        "{sentence}"
    );
}

#[test]
fn enough_failures_of_both_prove_that_it_is_not_worse() {
    let judgement = judged(&Plan::default(), HALF, 20, &pair((1_000, 10), (1_000, 10)));
    let Verdict::Pass(Proof::NotWorse { less_than, .. }) = judgement.verdict else { panic!("{judgement:?}") };
    assert_eq!(less_than, Times(200));
}

#[test]
fn missing_counters_pass_nothing_from_the_second_interval_on() {
    let plan = Plan::default();
    let good = || (0..50).map(|_| interval(HALF, pair((50, 0), (50, 0))));
    let after = |missing: usize| {
        decide(&plan, &seen(&plan, good().chain((0..missing).map(|_| Reading::Missing))), &LOOK).verdict
    };
    assert!(matches!(after(1), Verdict::Pass(_)));
    assert_eq!(after(2), Verdict::None(vec![Waiting::NoCounters { intervals: 2 }]));
}

#[test]
fn an_incident_that_hits_both_holds_and_says_that_it_is_not_the_rollouts() {
    let usual = Some(Counts::with_failures(10_000, 5));
    let plan = Plan { usual, ..Plan::default() };
    let good = (0..50).map(|_| interval(HALF, pair((100, 0), (100, 0))));
    let bad = (0..100).map(|_| interval(HALF, pair((100, 30), (100, 30))));
    let judgement = decide(&plan, &seen(&plan, good.chain(bad)), &LOOK);
    let sentence = judgement.sentence(&NAMES);
    assert!(
        sentence.starts_with(
            "this incident is not caused by the rollout: orders 1.3.2 fails 30 % of requests now"
        ),
        "{sentence}"
    );
    assert!(matches!(judgement.notes[..], [Note::OldFailsToo { .. }]));
}

#[test]
fn an_old_version_that_is_broken_as_usual_keeps_nobody_waiting() {
    let total = pair((100, 8), (100, 8));
    let known = Plan { usual: Some(Counts::with_failures(1_000, 80)), ..Plan::default() };
    let judgement = judged(&known, HALF, 20, &total);
    assert!(matches!(judgement.verdict, Verdict::Pass(Proof::NotWorse { .. })), "{judgement:?}");
    let unknown = Plan::default();
    assert!(matches!(judged(&unknown, HALF, 20, &total).verdict, Verdict::None(_)), "it may be an incident");
    let judgement = judged(&unknown, HALF, 60, &total);
    assert!(matches!(judgement.verdict, Verdict::Pass(_)), "{judgement:?}");
    let [note] = &judgement.notes[..] else { panic!("{judgement:?}") };
    assert_eq!(
        note.sentence(&NAMES),
        "orders 1.3.2 itself fails 8 % of requests; 1.4.0 is measured against that"
    );
    let better = judged(&known, HALF, 20, &pair((100, 0), (100, 30)));
    assert!(matches!(better.verdict, Verdict::Pass(_)), "going forward is the cure: {better:?}");
}

#[test]
fn a_version_without_an_old_one_beside_it_does_not_pass_broken() {
    let all = Split::Drawn(Weight::ALL);
    let judgement = judged(&Plan::default(), all, 20, &pair((100, 40), (0, 0)));
    assert!(matches!(waiting(judgement)[..], [Waiting::FailsAlone { .. }]));
    let known = Plan { usual: Some(Counts::with_failures(1_000, 1)), ..Plan::default() };
    assert!(matches!(faults(judged(&known, all, 1, &pair((5, 5), (0, 0))))[..], [Fault::AllFail { .. }]));
    assert!(matches!(
        judged(&known, all, 20, &pair((100, 0), (0, 0))).verdict,
        Verdict::Pass(Proof::Unproven(_))
    ));
}

fn with_status(status: &str, requests: u64, answers: u64) -> Counts {
    Counts {
        requests,
        statuses: [(status.parse().unwrap(), Answers::each(answers))].into(),
        ..Counts::default()
    }
}

#[test]
fn a_rise_of_404_is_told_and_a_lost_route_does_not_pass() {
    let plan = Plan::default();
    let rise = Pair { new: with_status("404", 100, 10), old: with_status("404", 100, 1) };
    let judgement = judged(&plan, HALF, 20, &rise);
    assert!(matches!(judgement.verdict, Verdict::Pass(_)), "{judgement:?}");
    assert_eq!(
        judgement.notes[0].sentence(&NAMES),
        "orders 1.4.0 answers 404 to 10 % of requests, 1.3.2 to 1 %: not counted as a failure"
    );
    let lost = Pair { new: with_status("404", 100, 100), old: with_status("404", 100, 1) };
    let judgement = judged(&plan, HALF, 20, &lost);
    assert!(matches!(waiting(judgement.clone())[..], [Waiting::Lost { .. }]), "{judgement:?}");
    assert!(
        judgement
            .sentence(&NAMES)
            .contains("answers 404 to 100 % of requests, 1.3.2 to 1 %: has a route gone?")
    );
    let mut rules = Rules::default();
    rules.failing.insert("404".parse().unwrap());
    let counting = Plan { rules, ..Plan::default() };
    assert!(
        matches!(judged(&counting, HALF, 20, &lost).verdict, Verdict::Fail(_)),
        "which classes fail is data"
    );
}

#[test]
fn a_slow_version_fails_by_the_bounds_of_latency() {
    let slower = |requests, slow| Counts {
        requests,
        slower: [(250, Answers::each(slow))].into(),
        ..Counts::default()
    };
    let plan = Plan { latency_bounds_ms: [250].into(), ..Plan::default() };
    let total = Pair { new: slower(50, 40), old: slower(450, 4) };
    let early = judged(&plan, TENTH, 1, &total);
    assert!(matches!(early.verdict, Verdict::None(_)), "a host may be busy for some seconds: {early:?}");
    let sentence = judged(&plan, TENTH, 2, &total).sentence(&NAMES);
    assert!(
        sentence.starts_with(
            "orders 1.4.0 takes more than 250 ms for 80 % of requests, 1.3.2 for 0.9 % (about 90 times"
        ),
        "{sentence}"
    );
}

#[test]
fn one_broken_route_of_twenty_fails_by_its_name() {
    let classes: Vec<crate::counts::RouteClass> =
        (0..20).map(|i| format!("POST /pay/{i}").parse().unwrap()).collect();
    let plan = Plan { classes: classes.iter().cloned().collect(), ..Plan::default() };
    let of = |i| pair((10, if i == 7 { 6 } else { 0 }), (90, 0));
    let total = (0..20).fold(Pair::default(), |mut sum, i| {
        sum.add(&of(i));
        sum
    });
    let each = classes.iter().cloned().enumerate().map(|(i, class)| (class, of(i))).collect();
    let reading = Reading::Counted(Interval { lasted_ms: 10_000, split: TENTH, total, classes: each });
    let judgement = decide(&plan, &seen(&plan, [reading]), &LOOK);
    let found = faults(judgement);
    let named = |fault: &Fault| matches!(fault, Fault::Worse { scope: Scope::Class(class), .. } if *class == classes[7]);
    assert!(found.iter().any(named), "{found:?}");
}

/// Evidence that is begun anew has less of alpha, so that losing it again and again gives no new chances.
#[test]
fn evidence_that_was_lost_counts_for_less_each_time() {
    let plan = Plan::default();
    let bad = interval(TENTH, pair((10, 4), (90, 0)));
    let evidence = |times| {
        let mut evidence = Evidence::begun_anew(times);
        evidence.take(&plan, &bad);
        decide(&plan, &evidence, &LOOK).evidence
    };
    let each: Vec<_> = (0..5).map(evidence).collect();
    assert!(each[0] > 100 && each[1] < each[0] / 30 && each[2] <= each[1] / 2 + 1, "{each:?}");
    let parts: f64 = (0..200).map(crate::evidence::usable).sum();
    assert!(parts + GUARD_PART <= 1.0 + 1e-12 && parts + GUARD_PART > 0.99, "{parts}");
}

#[test]
fn parts_of_the_evidence_add_up_to_one() {
    let classes = |count: usize| (0..count).map(|i| format!("GET /{i}").parse().unwrap()).collect();
    for (count, bounds) in [(0, vec![]), (1, vec![1]), (20, vec![1, 2, 3, 4]), (50, vec![])] {
        let plan = Plan {
            classes: classes(count),
            latency_bounds_ms: bounds.into_iter().collect(),
            ..Plan::default()
        };
        let sum = decide(&plan, &Evidence::default(), &LOOK).evidence;
        let parts: f64 = Evidence::default().suspicions(&plan).iter().map(|one| one.ln.exp()).sum();
        assert!((parts - crate::evidence::usable(0)).abs() < 1e-9, "{parts}");
        assert_eq!(sum, 1);
    }
}

#[test]
fn a_verdict_and_its_evidence_are_stored_and_read_again() {
    let plan = Plan { latency_bounds_ms: [250].into(), ..Plan::default() };
    let evidence = seen(
        &plan,
        [interval(TENTH, pair((100, 9), (900, 2))), interval(Split::Counted, pair((100, 9), (900, 2)))],
    );
    let again: Evidence = serde_json::from_str(&serde_json::to_string(&evidence).unwrap()).unwrap();
    let (one, other) = (decide(&plan, &evidence, &LOOK), decide(&plan, &again, &LOOK));
    assert_eq!(one, other);
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), one);
    for judgement in
        [judged(&plan, HALF, 1, &Pair::default()), judged(&plan, HALF, 50, &pair((50, 0), (50, 0)))]
    {
        let text = serde_json::to_string(&judgement).unwrap();
        assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), judgement, "{text}");
    }
    let plan_again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(plan_again, plan);
    assert_eq!(serde_json::from_str::<Evidence>("{}").unwrap(), Evidence::default());
}

/// The average over the total and two classes, whose hits are the total's: fair although all three move together.
#[test]
fn evidence_over_dependent_streams_is_fair() {
    let classes = ["GET /a", "GET /b"].map(|name| name.parse::<crate::counts::RouteClass>().unwrap());
    let plan = Plan { classes: classes.iter().cloned().collect(), ..Plan::default() };
    let choose = |n: u64, k: u64| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
    for (weight, theta) in [(0.1_f64, 1.25_f64), (0.5, 1.25), (0.5, 0.7)] {
        let p = weight * theta / (weight * theta + 1.0 - weight);
        let ways = (0..=5_u64).flat_map(|a| (0..=4_u64).map(move |b| (a, b)));
        let mean: f64 = ways
            .map(|(a, b)| {
                let (one, other) = (pair((9, a), (9, 5 - a)), pair((9, b), (9, 4 - b)));
                let mut total = one.clone();
                total.add(&other);
                let each = [(classes[0].clone(), one), (classes[1].clone(), other)].into();
                let split = Split::Drawn(Weight((weight * 1e4) as u32));
                let reading = Reading::Counted(Interval { lasted_ms: 0, split, total, classes: each });
                let probability =
                    choose(5, a) * choose(4, b) * p.powi((a + b) as i32) * (1.0 - p).powi((9 - a - b) as i32);
                probability * seen(&plan, [reading]).ln_worse(&plan).exp()
            })
            .sum();
        assert!(mean <= 1.0 + 1e-12, "{weight} {theta}: {mean}");
    }
}

#[test]
fn rules_that_cannot_be_used_are_told_all_at_once_and_make_no_evidence_of_nothing() {
    let rules = Rules {
        alpha: Share(0),
        beta: Share(999_999),
        tolerated: Times(0),
        tolerated_slower: Times(u32::MAX),
        failing: Default::default(),
        suspicious: 0,
        ..Rules::default()
    };
    let plan = Plan { rules, latency_bounds_ms: (0..9).collect(), ..Plan::default() };
    assert_eq!(plan.check().unwrap_err().len(), 6);
    assert_eq!(Plan::default().check(), Ok(()));
    let judgement = judged(&plan, HALF, 5, &pair((100, 0), (100, 0)));
    assert!(!matches!(judgement.verdict, Verdict::Fail(_)), "{judgement:?}");
}

/// Answers that were compared with the contract, of which some break it, each of a key of its own.
fn compared(new: (u64, u64), old: (u64, u64)) -> Pair {
    let counts = |(checked, broken): (u64, u64)| {
        let requests = 10 * checked;
        Counts { requests, checked, broken: Answers::each(broken), ..Counts::default() }
    };
    Pair { new: counts(new), old: counts(old) }
}

fn compares() -> (Plan, crate::counts::RouteClass) {
    let class: crate::counts::RouteClass = "GET /orders/{id}".parse().unwrap();
    (Plan { classes: [class.clone()].into(), checks_bodies: true, ..Plan::default() }, class)
}

fn told(plan: &Plan, class: &crate::counts::RouteClass, split: Split, total: Pair) -> Judgement {
    let classes = [(class.clone(), total.clone())].into();
    let mut evidence = seen(plan, [Reading::Counted(Interval { lasted_ms: 10_000, split, total, classes })]);
    evidence.note_wrong(class, "GET /orders/{id} 200: `total` is missing; required by the contract");
    evidence.note_wrong(class, "another thing that was found later");
    decide(plan, &evidence, &LOOK)
}

#[test]
fn a_version_whose_answers_break_its_contract_fails_and_the_field_is_named() {
    let (plan, class) = compares();
    let judgement = told(&plan, &class, TENTH, compared((8, 8), (72, 0)));
    let sentence = judgement.sentence(&NAMES);
    let expected = "orders 1.4.0 breaks its contract in 100 % of the answers of GET /orders/{id} that were compared, 1.3.2 in 0 %: \
                    GET /orders/{id} 200: `total` is missing; required by the contract (evidence ";
    assert!(sentence.contains(expected), "{sentence}");
    let text = serde_json::to_string(&judgement).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), judgement);
    let few = told(&plan, &class, TENTH, compared((2, 2), (18, 0)));
    assert!(!matches!(few.verdict, Verdict::Fail(_)), "{few:?}");
    let blind = Plan { checks_bodies: false, ..plan };
    assert!(!matches!(told(&blind, &class, TENTH, compared((8, 8), (72, 0))).verdict, Verdict::Fail(_)));
}

#[test]
fn where_both_versions_break_their_contracts_nobody_is_blamed_and_it_is_told() {
    let (plan, class) = compares();
    let judgement = told(&plan, &class, TENTH, compared((20, 20), (180, 178)));
    assert!(!matches!(judgement.verdict, Verdict::Fail(_)), "{judgement:?}");
    let notes: Vec<_> = judgement.notes.iter().map(|note| note.sentence(&NAMES)).collect();
    assert!(notes.iter().any(|note| note.contains("the rollout has not done that")), "{notes:?}");
}

/// Only a sample is compared, and whether an answer is in it has nothing to do with the arm: the law of the arm of a broken one
/// is that of a failure, and the average over all that is watched stays fair.
#[test]
fn evidence_of_broken_answers_is_fair_beside_that_of_failures() {
    let (plan, class) = compares();
    let choose = |n: u64, k: u64| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
    for (weight, theta) in [(0.1_f64, 1.25_f64), (0.5, 1.25), (0.5, 1.0)] {
        let p = weight * theta / (weight * theta + 1.0 - weight);
        let ways = (0..=4_u64).flat_map(|a| (0..=5_u64).map(move |b| (a, b)));
        let mean: f64 = ways
            .map(|(a, b)| {
                let mut total = compared((9, b), (9, 5 - b));
                total.add(&pair((20, a), (20, 4 - a)));
                let split = Split::Drawn(Weight((weight * 1e4) as u32));
                let classes = [(class.clone(), total.clone())].into();
                let reading = Reading::Counted(Interval { lasted_ms: 0, split, total, classes });
                let probability =
                    choose(4, a) * choose(5, b) * p.powi((a + b) as i32) * (1.0 - p).powi((9 - a - b) as i32);
                probability * seen(&plan, [reading]).ln_worse(&plan).exp()
            })
            .sum();
        assert!(mean <= 1.0 + 1e-12, "{weight} {theta}: {mean}");
    }
}
