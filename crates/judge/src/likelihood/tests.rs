use super::*;

/// By scipy 1.17.1: `nchypergeom_fisher.logpmf(k, new + old, new, hits, theta)` minus the same at `other`.
#[test]
fn ratios_of_tables_are_those_of_scipy() {
    let cases: [(u64, u64, u64, u64, f64, f64, f64); 6] = [
        (3, 17, 5, 2, 4.0, 1.25, 0.915_697_168_797_806_3),
        (50, 950, 12, 4, 10.0, 1.0, 4.870_276_553_373_889),
        (200, 180, 300, 160, 2.6, 1.25, -5.205_227_905_976_161),
        (1, 9, 1, 1, 50.0, 1.25, 1.938_619_715_792_634_5),
        (40, 1_000, 1_030, 35, 1.5, 1.0, -1.898_108_569_920_292_9),
        (2_000, 38_000, 900, 60, 2.0, 1.25, -4.129_214_164_414_725),
    ];
    for (new, old, all, k, theta, other, expected) in cases {
        let hits = Hits { new: k, old: all - k };
        let law = Law::of_requests(new, old, hits).unwrap();
        let ln = law.ln_ratio(hits, theta, other);
        assert!(
            (ln - expected).abs() < 1e-9 * expected.abs().max(1.0),
            "{new} {old} {all} {k}: {ln} {expected}"
        );
    }
}

/// By scipy 1.17.1: `binom.logpmf(new, new + old, p(theta))` minus the same at `other`, with `p(t) = w t / (w t + 1 - w)`.
#[test]
fn ratios_of_draws_are_those_of_scipy() {
    let cases: [(f64, u64, u64, f64, f64, f64); 3] = [
        (0.05, 5, 9, 10.0, 1.25, 5.369_233_198_324_217),
        (0.1, 4, 0, 50.0, 1.0, 8.548_282_618_065_889),
        (0.5, 30, 31, 2.0, 1.25, -3.448_497_542_186_569),
    ];
    for (weight, new, old, theta, other, expected) in cases {
        let ln = Law::Weight(weight).ln_ratio(Hits { new, old }, theta, other);
        assert!((ln - expected).abs() < 1e-10, "{weight} {new} {old}: {ln} {expected}");
    }
}

#[test]
fn swapped_arms_and_inverted_odds_are_the_same() {
    for (new, old) in [(0, 3), (2, 5), (7, 1)] {
        let (hits, swapped) = (Hits { new, old }, Hits { new: old, old: new });
        let close = |one: f64, other: f64| assert!((one - other).abs() < 1e-9, "{one} {other}");
        close(
            Law::Weight(0.2).ln_ratio(hits, 5.0, 1.25),
            Law::Weight(0.8).ln_ratio(swapped, 1.0 / 5.0, 1.0 / 1.25),
        );
        close(
            Law::of_requests(9, 20, hits).unwrap().ln_ratio(hits, 5.0, 1.25),
            Law::of_requests(20, 9, swapped).unwrap().ln_ratio(swapped, 1.0 / 5.0, 1.0 / 1.25),
        );
    }
}

#[test]
fn nothing_to_compare_is_no_law() {
    let none = Hits { new: 0, old: 0 };
    let some = Hits { new: 1, old: 1 };
    assert!(Law::of_requests(0, 5, some).is_none());
    assert!(Law::of_requests(5, 0, some).is_none());
    assert!(Law::of_requests(5, 5, none).is_none());
}

#[test]
fn counts_without_end_stay_numbers() {
    let most = u64::MAX / 2;
    for (new, old) in [(most, most), (most, 1), (1, most), (0, most)] {
        let hits = Hits { new, old };
        for law in
            [Law::of_requests(u64::MAX, u64::MAX, hits).unwrap(), Law::Weight(1e-4), Law::Weight(0.9999)]
        {
            assert!(law.ln_ratio(hits, 50.0, 1.25).is_finite(), "{law:?}");
        }
    }
}
