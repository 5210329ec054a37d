//! The proof by enumeration: every way in which a few hits can fall on the arms, with its probability computed by plain
//! products of whole numbers, independently of the code under test.

use proptest::prelude::*;

use super::*;

const SLACK: f64 = 1.0 + 1e-12;
const THETAS: [f64; 6] = [0.01, 0.3, 0.8, 1.0, 1.25, 2.0];

fn choose(n: u64, k: u64) -> f64 {
    if k > n { 0.0 } else { (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64) }
}

/// Probabilities of 0, 1, … hits in the new arm, of `all` that are drawn with a weight.
fn drawn(weight: f64, all: u64, theta: f64) -> Vec<f64> {
    let p = weight * theta / (weight * theta + 1.0 - weight);
    let term = |k: u64| choose(all, k) * p.powi(k as i32) * (1.0 - p).powi((all - k) as i32);
    (0..=all).map(term).collect()
}

/// The same of a table.
fn counted(new: u64, old: u64, all: u64, theta: f64) -> Vec<f64> {
    let term = |k: u64| choose(new, k) * choose(old, all - k) * theta.powi(k as i32);
    let terms: Vec<f64> = (0..=all).map(term).collect();
    let sum: f64 = terms.iter().sum();
    terms.into_iter().map(|term| term / sum).collect()
}

fn trial(new_requests: u64, old_requests: u64, new: u64, old: u64) -> Trial {
    Trial { hits: Hits { new, old }, new_requests, old_requests }
}

fn tally(intervals: &[(Split, Trial)], rho: f64) -> Tally {
    let mut tally = Tally::default();
    for (split, trial) in intervals {
        tally.take(*split, *trial, rho);
    }
    tally
}

/// The expectation of some evidence when `all` hits fall with these probabilities in one interval.
fn expectation(
    split: Split,
    requests: (u64, u64),
    p: &[f64],
    evidence: impl Fn(&Tally) -> f64,
    rho: f64,
) -> f64 {
    let all = p.len() as u64 - 1;
    let of = |(k, p): (u64, &f64)| match *p {
        0.0 => 0.0,
        p => p * evidence(&tally(&[(split, trial(requests.0, requests.1, k, all - k))], rho)).exp(),
    };
    (0..).zip(p).map(of).sum()
}

#[test]
fn evidence_against_a_version_that_is_not_worse_is_fair_when_drawn() {
    for weight in [1, 500, 2_500, 5_000, 9_000] {
        let split = Split::Drawn(Weight(weight));
        for rho in [1.0, 1.25, 2.0] {
            for theta in THETAS.into_iter().filter(|theta| *theta <= rho) {
                for all in 0..=12 {
                    let p = drawn(f64::from(weight) / 1e4, all, theta);
                    let mean = expectation(split, (20, 20), &p, |tally| tally.ln_worse(rho), rho);
                    assert!(mean <= SLACK, "w {weight} rho {rho} theta {theta} hits {all}: {mean}");
                }
            }
        }
    }
}

#[test]
fn evidence_against_a_version_that_is_not_worse_is_fair_when_counted() {
    for (new, old) in (1..=6).flat_map(|new| (1..=6).map(move |old| (new, old))) {
        for all in 0..=new + old {
            for rho in [1.0, 1.25, 2.0] {
                for theta in THETAS.into_iter().filter(|theta| *theta <= rho) {
                    let p = counted(new, old, all, theta);
                    let mean = expectation(Split::Counted, (new, old), &p, |tally| tally.ln_worse(rho), rho);
                    assert!(mean <= SLACK, "{new} {old} {all} rho {rho} theta {theta}: {mean}");
                    let exact = (theta - rho).abs() < 1e-12;
                    assert!(!exact || (mean - 1.0).abs() < 1e-9, "wastes evidence: {mean}");
                }
            }
        }
    }
}

#[test]
fn evidence_for_a_version_is_fair_when_it_is_worse() {
    for (bound, times) in BOUNDS.into_iter().enumerate() {
        for theta in [times, times * 1.5, times * 10.0] {
            for all in 0..=10 {
                let evidence = |tally: &Tally| tally.ln_better(bound);
                let mean = expectation(
                    Split::Drawn(Weight(1_000)),
                    (20, 20),
                    &drawn(0.1, all, theta),
                    evidence,
                    1.25,
                );
                assert!(mean <= SLACK, "bound {times} theta {theta} hits {all}: {mean}");
                let mean = expectation(Split::Counted, (5, 7), &counted(5, 7, all, theta), evidence, 1.25);
                assert!(mean <= SLACK, "bound {times} theta {theta} hits {all}: {mean}");
            }
        }
    }
}

/// A binomial law in the place of a table spreads wider than the table, so it is fair against "not worse".
#[test]
fn the_rough_law_is_fair_for_tables_against_not_worse() {
    for (new, old) in (1..=7).flat_map(|new| (1..=7).map(move |old| (new, old))) {
        let law = Law::Rough(new as f64 / (new + old) as f64);
        for rho in [1.0, 1.25, 2.0] {
            for (all, theta) in (1..=new + old).flat_map(|all| THETAS.map(|theta| (all, theta))) {
                for other in alternatives(rho) {
                    let e = |k| law.ln_ratio(Hits { new: k, old: all - k }, other, rho).exp();
                    let mean: f64 = (0..).zip(counted(new, old, all, theta)).map(|(k, p)| p * e(k)).sum();
                    assert!(theta > rho || mean <= SLACK, "{new} {old} {all} {rho} {theta} {other}: {mean}");
                }
            }
        }
    }
}

/// Every sequence of 60 hits, looked at after each: the evidence ever exceeds a threshold no more often than it may. Evidence
/// depends on how many hits were the new arm's and not on their order, so sequences that agree in that are walked together.
#[test]
fn looking_after_every_hit_misleads_no_more_often_than_allowed() {
    const HITS: u64 = 60;
    for (weight, rho) in [(0.05, 1.0), (0.3, 1.25), (0.5, 1.0)] {
        let p = weight * rho / (weight * rho + 1.0 - weight);
        let split = Split::Drawn(Weight((weight * 1e4) as u32));
        for limit in [2.0_f64, 5.0, 20.0] {
            let (mut open, mut misled) = (vec![1.0], 0.0);
            for all in 1..=HITS {
                open.push(0.0);
                for new in (0..=all as usize).rev() {
                    let before = if new == 0 { 0.0 } else { open[new - 1] };
                    open[new] = open[new] * (1.0 - p) + before * p;
                }
                for (new, left) in (0..).zip(&mut open) {
                    if tally(&[(split, trial(all, all, new, all - new))], rho).ln_worse(rho) >= limit.ln() {
                        misled += std::mem::take(left);
                    }
                }
            }
            assert!(misled > 0.0 && misled <= SLACK / limit, "w {weight} rho {rho} limit {limit}: {misled}");
        }
    }
}

/// Two intervals, the second with another weight or only counted: the product is fair as well.
#[test]
fn evidence_of_several_intervals_is_fair() {
    let rho = 1.25;
    let first = drawn(0.05, 4, rho);
    let others = [
        (Split::Drawn(Weight(5_000)), drawn(0.5, 5, rho)),
        (Split::Counted, counted(6, 9, 5, rho)),
        (Split::Changed, drawn(0.9, 5, 40.0)),
        (Split::Drawn(Weight::ALL), drawn(0.9, 5, 40.0)),
    ];
    for (split, second) in others {
        let mut mean = 0.0;
        for (j, q) in (0..).zip(&second) {
            for (k, p) in (0..).zip(&first) {
                let intervals =
                    [(Split::Drawn(Weight(500)), trial(9, 9, k, 4 - k)), (split, trial(6, 9, j, 5 - j))];
                mean += p * q * tally(&intervals, rho).ln_worse(rho).exp();
            }
        }
        assert!(mean <= SLACK, "{split:?}: {mean}");
    }
}

#[test]
fn nothing_seen_is_no_evidence() {
    let empty = Tally::default();
    assert!(empty.ln_worse(1.25).abs() < 1e-12);
    assert_eq!((empty.surely_below(0.05), empty.hits()), (None, 0));
    let quiet = tally(
        &[(Split::Drawn(Weight(500)), trial(1_000, 9_000, 0, 0)), (Split::Counted, trial(5, 0, 0, 0))],
        1.25,
    );
    assert!(quiet.ln_worse(1.25).abs() < 1e-12);
}

#[test]
fn what_could_have_been_missed_becomes_less_with_failures_of_the_old_arm() {
    let with = |new, old| tally(&[(Split::Drawn(Weight(5_000)), trial(1_000, 1_000, new, old))], 1.25);
    assert_eq!(with(0, 0).surely_below(0.05), None);
    assert_eq!(with(0, 1).surely_below(0.05), Some(50.0));
    assert_eq!(with(0, 4).surely_below(0.05), Some(4.0));
    assert_eq!(with(50, 50).surely_below(0.05), Some(2.0));
    assert_eq!(with(500, 500).surely_below(0.05), Some(1.25));
    assert_eq!(with(90, 10).surely_below(0.05), None);
}

#[test]
fn evidence_is_stored_and_read_again() {
    let intervals =
        [(Split::Drawn(Weight(500)), trial(100, 900, 3, 1)), (Split::Counted, trial(100, 900, 3, 1))];
    let tally = tally(&intervals, 1.25);
    let text = serde_json::to_string(&tally).unwrap();
    let again: Tally = serde_json::from_str(&text).unwrap();
    assert!((again.ln_worse(1.25) - tally.ln_worse(1.25)).abs() < 1e-12);
    assert_eq!(again.hits(), 8);
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![
        (0_u32..=10_000).prop_map(|weight| Split::Drawn(Weight(weight))),
        Just(Split::Counted),
        Just(Split::Changed)
    ]
}

fn any_trial() -> impl Strategy<Value = Trial> {
    (0_u64..300, 0_u64..300).prop_flat_map(|(new_requests, old_requests)| {
        (0..=new_requests, 0..=old_requests)
            .prop_map(move |(new, old)| trial(new_requests, old_requests, new, old))
    })
}

fn intervals() -> impl Strategy<Value = Vec<(Split, Trial)>> {
    prop::collection::vec((split(), any_trial()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_intervals_does_not_matter(intervals in intervals(), rotate in 0_usize..8) {
        let mut other = intervals.clone();
        other.rotate_left(rotate.min(intervals.len()));
        let (one, other) = (tally(&intervals, 1.25), tally(&other, 1.25));
        prop_assert!((one.ln_worse(1.25) - other.ln_worse(1.25)).abs() < 1e-6);
        prop_assert_eq!(&one.drawn, &other.drawn);
    }

    #[test]
    fn an_interval_of_a_known_weight_may_be_split(weight in 1_u32..10_000, parts in prop::collection::vec(any_trial(), 1..6)) {
        let split = Split::Drawn(Weight(weight));
        let sum = |of: fn(&Trial) -> u64| parts.iter().map(of).sum();
        let whole = trial(sum(|it| it.new_requests), sum(|it| it.old_requests), sum(|it| it.hits.new), sum(|it| it.hits.old));
        let each: Vec<_> = parts.iter().map(|part| (split, *part)).collect();
        prop_assert_eq!(tally(&each, 1.25), tally(&[(split, whole)], 1.25));
    }

    #[test]
    fn a_failure_of_the_new_arm_never_speaks_for_it(split in split(), before in intervals(), one in any_trial()) {
        let mut more = one;
        if one.hits.new < one.new_requests {
            more.hits.new += 1;
        }
        // Against the old arm a failure of the old one instead would speak for the new one.
        let mut less = more;
        if more.hits.new > one.hits.new && one.hits.old < one.old_requests {
            less = Trial { hits: Hits { new: one.hits.new, old: one.hits.old + 1 }, ..one };
        }
        let with = |last| tally(&[&before[..], &[(split, last)]].concat(), 1.25);
        let (more, less, one) = (with(more), with(less), with(one));
        prop_assert!(matches!(split, Split::Counted) || more.ln_worse(1.25) >= one.ln_worse(1.25) - 1e-9);
        prop_assert!(more.ln_worse(1.25) >= less.ln_worse(1.25) - 1e-9);
        for bound in 0..BOUNDS.len() {
            prop_assert!(more.ln_better(bound) <= less.ln_better(bound) + 1e-9);
        }
    }

    #[test]
    fn no_counts_make_it_anything_but_a_number(split in split(), new in any::<u64>(), old in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
        let one = trial(new, old, a.min(new), b.min(old));
        let tally = tally(&[(split, one), (split, one), (Split::Drawn(Weight(500)), one)], 1.25);
        prop_assert!(tally.ln_worse(1.25).is_finite());
        prop_assert!((0..BOUNDS.len()).all(|bound| tally.ln_better(bound).is_finite()));
    }
}
