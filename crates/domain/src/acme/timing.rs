//! When a certificate is renewed, and when something that failed is tried again.
//!
//! Authorities bound what one account may ask for: Let's Encrypt 5 failed validations of a host an hour, and 5 certificates for the
//! same hosts in 7 days. The pauses here stay below both, however often the server is started anew, because they are recorded.

use crate::certificate::CertificateFacts;
use crate::time::Timestamp;

/// A minute in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// An hour in milliseconds.
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// The pause after the first failure; each further one is three times as long: four tries in the first hour.
const FIRST_PAUSE_MS: u64 = 5 * MINUTE_MS;
/// The longest pause that is made without being asked to.
const LONGEST_PAUSE_MS: u64 = 24 * HOUR_MS;
/// The pause after a certificate was given that cannot be used: 4 in 7 days at most, for 5 are given.
const PAUSE_AFTER_ISSUE_MS: u64 = 36 * HOUR_MS;
/// The longest pause that an authority can ask for. Its own bounds are weeks at most; nobody stops renewing for ever by one answer.
const LONGEST_ASKED_MS: u64 = 7 * 24 * HOUR_MS;
/// Longer than any pause can be with what is added to it: a time beyond it was recorded by a clock that was wrong.
const BEYOND_MS: u64 = LONGEST_ASKED_MS + LONGEST_PAUSE_MS;
/// A certificate is renewed when so large a part of its life is left, at the latest.
const LEFT: u64 = 3;
/// And up to this part of its life earlier, so that not all are renewed at the same moment.
const EARLIER: u64 = 30;
/// What a random number is out of.
const WHOLE: u64 = 1_000;

/// What came of an order that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// No certificate was given.
    Nothing,
    /// One was given, and cannot be used.
    Issued,
}

/// Tells when a certificate is renewed: when a third of its life is left, and up to a thirtieth of it earlier. The moment is one for
/// each certificate, however often it is asked for.
#[must_use]
pub fn renewal(facts: &CertificateFacts) -> Timestamp {
    let life = facts.valid_until.since_ms(facts.valid_from);
    let latest = facts.valid_from.plus_ms(life - life / LEFT);
    let bytes = facts.digest.as_bytes();
    let part = u64::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    Timestamp(latest.0.saturating_sub(life / EARLIER * part / u64::from(u16::MAX)))
}

/// Returns the pause after so many failures in a row, in milliseconds; `random` is any number, and `asked_ms` what the authority
/// asked for (`Retry-After`).
#[must_use]
pub fn pause_ms(failures: u32, cost: Cost, asked_ms: Option<u64>, random: u64) -> u64 {
    let power = 3_u64.saturating_pow(failures.saturating_sub(1));
    let least = match cost {
        Cost::Nothing => 0,
        Cost::Issued => PAUSE_AFTER_ISSUE_MS,
    };
    let own = FIRST_PAUSE_MS.saturating_mul(power).min(LONGEST_PAUSE_MS).max(least);
    let asked = asked_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
    let pause = own.max(asked);
    pause + own / 10 * (random % WHOLE) / WHOLE
}

/// Returns the least pause after a certificate that can be used, in milliseconds: that after one that cannot, or a third of its life where
/// that is shorter. So an authority that gives what is nearly over is not asked without end.
#[must_use]
pub fn pause_after_good_ms(facts: &CertificateFacts) -> u64 {
    (facts.valid_until.since_ms(facts.valid_from) / LEFT).min(PAUSE_AFTER_ISSUE_MS)
}

/// Tells whether the end of a pause that was recorded has come. One that lies further ahead than any pause can was written by a clock that was
/// wrong, and does not hold anything up.
#[must_use]
pub fn has_come(at: Timestamp, wall: Timestamp) -> bool {
    wall >= at || at.since_ms(wall) > BEYOND_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;

    fn facts(from: u64, life: u64, first: u8) -> CertificateFacts {
        let mut bytes = [first; 32];
        bytes[31] = 1;
        CertificateFacts {
            digest: Digest::from_bytes(bytes),
            names: vec!["shop.test".into()],
            issuer: "us".into(),
            key_kind: "ECDSA P-256".into(),
            valid_from: Timestamp(from),
            valid_until: Timestamp(from + life),
        }
    }

    #[test]
    fn ninety_days_are_renewed_between_the_57th_and_the_60th_and_six_days_on_the_fourth() {
        const DAY: u64 = 24 * HOUR_MS;
        assert_eq!(renewal(&facts(0, 90 * DAY, 0)).0, 60 * DAY);
        assert_eq!(renewal(&facts(0, 90 * DAY, 255)).0, 57 * DAY);
        let short = renewal(&facts(0, 6 * DAY, 128)).0;
        assert!(short > 3 * DAY && short < 4 * DAY, "{short}");
    }

    #[test]
    fn the_first_hour_has_fewer_failures_than_an_authority_allows_and_a_week_fewer_certificates() {
        let (mut at, mut in_hour) = (0, 0);
        for failures in 1..20 {
            in_hour += u32::from(at < HOUR_MS);
            at += pause_ms(failures, Cost::Nothing, None, 0);
        }
        assert!(in_hour < 5, "{in_hour}");
        let (mut at, mut in_week) = (0, 0);
        for failures in 1..20 {
            in_week += u32::from(at < 7 * 24 * HOUR_MS);
            at += pause_ms(failures, Cost::Issued, None, 0);
        }
        assert!(in_week <= 5, "{in_week}");
    }

    proptest! {
        #[test]
        fn a_certificate_is_renewed_within_its_life_and_a_third_before_its_end(
            from in 0_u64..4_000_000_000_000, life in 0_u64..400_000_000_000, first: u8,
        ) {
            let facts = facts(from, life, first);
            let at = renewal(&facts);
            prop_assert!(at >= facts.valid_from && at <= facts.valid_until);
            prop_assert!(facts.valid_until.since_ms(at) >= life / LEFT);
            prop_assert_eq!(at, renewal(&facts));
        }

        #[test]
        fn pauses_are_bounded_kept_and_at_least_what_was_asked_for(
            failures: u32, issued: bool, asked in prop::option::of(any::<u64>()), random: u64,
        ) {
            let cost = if issued { Cost::Issued } else { Cost::Nothing };
            let pause = pause_ms(failures, cost, asked, random);
            prop_assert!((FIRST_PAUSE_MS..BEYOND_MS).contains(&pause));
            prop_assert!(pause >= asked.unwrap_or(0).min(LONGEST_ASKED_MS));
            prop_assert!(!issued || pause >= PAUSE_AFTER_ISSUE_MS);
            prop_assert!(pause_ms(failures.saturating_add(1), cost, asked, 0) >= pause_ms(failures, cost, asked, 0));
        }

        #[test]
        fn a_clock_that_was_wrong_holds_nothing_up_for_ever(wall: u64, pause in 0..BEYOND_MS) {
            let wall = Timestamp(wall);
            let until = wall.plus_ms(pause);
            prop_assert_eq!(has_come(until, wall), until == wall);
            prop_assert!(has_come(until, until));
            // The clock was years ahead when the pause was recorded.
            prop_assert!(has_come(until.plus_ms(10 * BEYOND_MS), wall) || until.0 > u64::MAX - 10 * BEYOND_MS);
        }
    }
}
