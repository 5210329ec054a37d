//! Faults that are injected on purpose, to see what callers of a service do when it fails or is slow.
//!
//! Invariant: there are none in an environment that does not allow them, and none is in force after its end, whatever becomes of the
//! server: a gateway looks at its own clock too.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::ServiceName;
use crate::time::Timestamp;
use crate::version_rules::Pattern;

/// The format that a gateway must take where faults are injected.
pub const FORMAT_WITH_FAULTS: u32 = 17;
/// Most faults of an environment: each of a service is looked at for each of its requests.
pub const MAX_FAULTS: usize = 20;
/// Longest delay: an instance is taken for busy with the request meanwhile.
pub const MAX_DELAY_MS: u64 = 30_000;
/// Longest time for which a fault is in force.
pub const MAX_MS: u64 = 24 * 60 * 60 * 1_000;
const FULL: u32 = 10_000;

/// Whether an environment allows that faults are injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultInjection {
    /// It does not.
    #[default]
    Refuse,
    /// It does.
    Allow,
}

impl FaultInjection {
    /// Tells whether there can be none.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        *self == Self::Refuse
    }
}

/// The word is neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write `allow`, or `refuse`, which also ends all faults there are")]
pub struct FaultInjectionError;

impl FromStr for FaultInjection {
    type Err = FaultInjectionError;

    fn from_str(text: &str) -> Result<Self, FaultInjectionError> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "allow" => Ok(Self::Allow),
            _ => Err(FaultInjectionError),
        }
    }
}

impl fmt::Display for FaultInjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refuse",
            Self::Allow => "allow",
        })
    }
}

/// A fault that requests of a service meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its number in the environment.
    pub number: u32,
    /// The service.
    pub service: ServiceName,
    /// What its requests meet.
    pub does: Injected,
    /// How many of 10,000 requests meet it, drawn anew for each.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub share: u32,
    /// Only requests with a header field of this value meet it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Pattern>,
    /// When it ends.
    pub until: Timestamp,
}

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Injected {
    /// It is answered with this status, and no instance is asked.
    Abort(u16),
    /// An instance is asked so many milliseconds later.
    #[schemars(extend("x-unit" = "milliseconds"))]
    DelayMs(u64),
}

/// Why there can be no such fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FaultError {
    /// Nobody would meet it.
    #[error("a fault is for more than 0 % and at most 100 % of the requests")]
    Share,
    /// It is no failure.
    #[error("a status to abort with is one from 400 to 599")]
    Status,
    /// It is none, or too long.
    #[error("a delay is from 1 ms to 30 s")]
    Delay,
    /// There are too many.
    #[error("an environment has at most {MAX_FAULTS} faults")]
    TooMany,
    /// The environment does not allow them.
    #[error("there are faults, and the environment does not allow them")]
    NotAllowed,
}

impl Fault {
    /// Checks the bounds.
    ///
    /// # Errors
    /// When one is passed.
    pub fn check(&self) -> Result<(), FaultError> {
        match self.does {
            _ if !(1..=FULL).contains(&self.share) => Err(FaultError::Share),
            Injected::Abort(status) if !(400..=599).contains(&status) => Err(FaultError::Status),
            Injected::DelayMs(ms) if !(1..=MAX_DELAY_MS).contains(&ms) => Err(FaultError::Delay),
            Injected::Abort(_) | Injected::DelayMs(_) => Ok(()),
        }
    }

    /// Tells whether it is in force.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abort(status) => write!(f, "abort with {status}"),
            Self::DelayMs(ms) => write!(f, "delay by {ms} ms"),
        }
    }
}

/// Checks all faults of an environment together.
///
/// # Errors
/// When one cannot be, there are too many, or any where none is allowed.
pub fn check(faults: &[Fault], permission: FaultInjection) -> Result<(), FaultError> {
    if faults.len() > MAX_FAULTS {
        return Err(FaultError::TooMany);
    }
    if !faults.is_empty() && permission.is_refused() {
        return Err(FaultError::NotAllowed);
    }
    faults.iter().try_for_each(Fault::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(does: Injected, share: u32) -> Fault {
        let service = "orders".parse().unwrap();
        Fault { number: 1, service, does, share, header: None, until: Timestamp(1_000) }
    }

    #[test]
    fn there_are_none_where_they_are_not_allowed() {
        let faults = [fault(Injected::Abort(503), 1_000)];
        assert_eq!(check(&faults, FaultInjection::Refuse), Err(FaultError::NotAllowed));
        assert_eq!(check(&faults, FaultInjection::Allow), Ok(()));
        assert_eq!(check(&[], FaultInjection::Refuse), Ok(()));
        let many = vec![faults[0].clone(); MAX_FAULTS + 1];
        assert_eq!(check(&many, FaultInjection::Allow), Err(FaultError::TooMany));
        assert_eq!(FaultInjection::default(), FaultInjection::Refuse);
    }

    #[test]
    fn bounds_are_kept() {
        for (does, share, expected) in [
            (Injected::Abort(400), 1, Ok(())),
            (Injected::Abort(599), FULL, Ok(())),
            (Injected::Abort(200), 1, Err(FaultError::Status)),
            (Injected::Abort(600), 1, Err(FaultError::Status)),
            (Injected::DelayMs(0), 1, Err(FaultError::Delay)),
            (Injected::DelayMs(MAX_DELAY_MS), 1, Ok(())),
            (Injected::DelayMs(MAX_DELAY_MS + 1), 1, Err(FaultError::Delay)),
            (Injected::Abort(503), 0, Err(FaultError::Share)),
            (Injected::Abort(503), FULL + 1, Err(FaultError::Share)),
        ] {
            assert_eq!(fault(does, share).check(), expected, "{does} {share}");
        }
    }

    #[test]
    fn it_is_over_at_its_end() {
        let fault = fault(Injected::Abort(503), 1);
        assert!(fault.is_in_force(Timestamp(999)) && !fault.is_in_force(Timestamp(1_000)));
    }
}
