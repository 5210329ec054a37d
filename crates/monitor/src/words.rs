//! What a rule says, in words.

use std::fmt;

use crate::reading::lasting;
use crate::rule::Condition;

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = |seconds: u64| lasting(seconds * 1_000);
        match self {
            Self::BudgetBurn { objective_percent, burn_rate, long_seconds, short_seconds, .. } => write!(
                f,
                "the error budget of {objective_percent} % in 30 days is used up {burn_rate} times too fast in {} and in {}",
                over(*long_seconds),
                over(*short_seconds)
            ),
            Self::FailureShare { above_percent, over_seconds, at_least_failures } => write!(
                f,
                "more than {above_percent} % of the requests failed in {}, and at least {at_least_failures}",
                over(*over_seconds)
            ),
            Self::SlowShare { above_percent, slower_than_ms, over_seconds, at_least_slow } => write!(
                f,
                "more than {above_percent} % of the answers took longer than {slower_than_ms} ms to begin in {}, and at least \
                 {at_least_slow}",
                over(*over_seconds)
            ),
            Self::TooFewRequests { below_per_minute, over_seconds } => {
                write!(f, "fewer than {below_per_minute} requests a minute in {}", over(*over_seconds))
            }
            Self::CheckFails { at_least_in_a_row } => {
                write!(f, "a check of a gateway failed {at_least_in_a_row} times in a row")
            }
            Self::InstanceDown { starting_seconds } => write!(
                f,
                "an instance that should serve does not, or has been starting for {}",
                over(*starting_seconds)
            ),
            Self::CrashLoop { at_least_restarts, over_seconds } => write!(
                f,
                "an instance was started again {at_least_restarts} times in {}",
                over(*over_seconds)
            ),
            Self::AllDown {} => f.write_str("no instance of a version that should serve is healthy"),
            Self::WayBackLost {} => f.write_str("a service cannot go back to its version before"),
            Self::CertificateEnds { within_days } => {
                write!(f, "a certificate ends within {within_days} days")
            }
            Self::DiskLow { below_free_percent, and_below_free_bytes } => {
                write!(f, "a disk has less than {below_free_percent} % left")?;
                match and_below_free_bytes >> 30 {
                    gib if gib < 1 << 24 => write!(f, ", and less than {gib} GiB"),
                    _ => Ok(()),
                }
            }
            Self::CanaryFailed {} => f.write_str("a version failed in its rollout"),
            Self::OperationWaits { longer_than_seconds } => {
                write!(f, "an operation has been waiting for {}", over(*longer_than_seconds))
            }
            Self::WentBack {} => f.write_str("an operation was taken back by itself"),
            Self::HostAway {} => f.write_str("a host is not reached"),
            Self::GatewayBehind { longer_than_seconds } => write!(
                f,
                "a gateway is silent, or lacks the newest table, for {}",
                over(*longer_than_seconds)
            ),
            Self::Unwatched {} => f.write_str("something cannot be looked at"),
        }
    }
}
