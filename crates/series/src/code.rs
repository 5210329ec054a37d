//! A value in 15 bits: sign, 8 bits of exponent and 6 of mantissa of an IEEE 754 binary32, rounded to nearest.
//!
//! Zero and whole numbers up to 128 are exact, so a count of instances is never a fraction. Codes of positive values are ordered as the
//! values are, so a largest code is the code of the largest value.

/// How far what is read may lie from what was appended, as a part of it: half a unit of the seventh digit of a binary mantissa.
///
/// An average over 5 minutes that was made anew after a crash is off by at most twice as much of the largest value in it.
pub const PRECISION: f64 = 1.0 / 128.0;

/// How much more than the largest value of 5 minutes is read, at most, as a part of it; it is never less but for [`PRECISION`]. Where a
/// value did not change over 5 minutes, it is exact.
pub const PEAK_PRECISION: f64 = 1.0 / 8.0;

/// The code of no value.
pub(crate) const GAP: u16 = u16::MAX;

/// Digits of a binary32 that are not kept.
const DROPPED_BITS: u32 = 23 - 6;
/// The largest value that has a code; what is larger is taken for it.
const LARGEST: f32 = f32::from_bits(0x7f7e_0000);

/// Returns the code of a value; that of a gap for what is not finite.
pub(crate) fn code_of(value: f64) -> u16 {
    if !value.is_finite() {
        return GAP;
    }
    let near = (value as f32).clamp(-LARGEST, LARGEST);
    // Below the normal numbers a mantissa has fewer digits than are promised.
    let bits = if near.is_normal() { near.to_bits() } else { 0 };
    ((bits + (1 << (DROPPED_BITS - 1))) >> DROPPED_BITS) as u16
}

/// Codes from one distance of a peak to the next.
const PEAK_STEP: u16 = 8;
/// The code of the largest value; above it are those of negative ones.
const LARGEST_CODE: u16 = (LARGEST.to_bits() >> DROPPED_BITS) as u16;

/// Returns the code of a peak above an average, farther from it by less than [`PEAK_STEP`]: whether it is three times as much or a tenth
/// more than that is not worth two bits. Below zero it stays as it is.
pub(crate) const fn raised(average: u16, largest: u16) -> u16 {
    if largest > LARGEST_CODE || average > largest {
        return largest;
    }
    let raised = average + (largest - average).next_multiple_of(PEAK_STEP);
    if raised > LARGEST_CODE { largest } else { raised }
}

/// Returns the value of a code; `None` for a gap, and for what is the code of nothing.
pub(crate) fn value_of(code: u16) -> Option<f64> {
    let value = f32::from_bits(u32::from(code) << DROPPED_BITS);
    (code >> 15 == 0 && value.is_finite()).then_some(f64::from(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_and_gaps_are_exact() {
        for count in 0..=128_u8 {
            assert_eq!(value_of(code_of(f64::from(count))), Some(f64::from(count)));
        }
        for gap in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(value_of(code_of(gap)), None);
        }
        assert_eq!(value_of(code_of(f64::MAX)), Some(f64::from(LARGEST)));
        assert_eq!(value_of(code_of(-0.0)), Some(0.0));
        assert_eq!(value_of(code_of(1e-40)), Some(0.0));
    }

    #[test]
    fn every_code_that_is_one_stands_for_itself() {
        for code in 0..=u16::MAX {
            if let Some(value) = value_of(code).filter(|value| value.abs() > 2e-38) {
                assert_eq!(code_of(value), code);
            }
        }
    }

    proptest! {
        #[test]
        fn a_value_is_kept_to_the_precision(value in prop_oneof![-1e30..1e30_f64, 1e-9..1.0_f64, 0.0..1e6_f64]) {
            let kept = value_of(code_of(value)).unwrap();
            prop_assert!((kept - value).abs() <= value.abs() * PRECISION * 1.0001, "{value} {kept}");
        }

        #[test]
        fn a_peak_is_never_made_smaller_and_by_an_eighth_larger_at_most(average in -1e9..1e9_f64, more in prop_oneof![Just(0.0), 0.0..1e10_f64]) {
            let (average, largest) = (code_of(average), code_of(average + more));
            let (kept, peak) = (value_of(raised(average, largest)).unwrap(), value_of(largest).unwrap());
            prop_assert!(kept >= peak && kept <= peak + peak.abs() * PEAK_PRECISION, "{peak} {kept}");
            prop_assert!(more > 0.0 || kept == peak);
        }

        #[test]
        fn order_is_kept(one in 0.0..1e9_f64, other in 0.0..1e9_f64) {
            prop_assert_eq!(code_of(one.max(other)), code_of(one).max(code_of(other)));
        }
    }
}
