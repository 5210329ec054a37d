//! Where a rollback goes to: a number is a baseline of an environment, a SemVer is a version of a service.

use std::str::FromStr;

use lockstep_domain::VersionNumber;

/// Where a rollback goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A baseline of an environment.
    Baseline(u64),
    /// A version of a service.
    Version(VersionNumber),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .map(Self::Baseline)
                .map_err(|_| format!("no environment has {text} baselines"));
        }
        text.parse()
            .map(Self::Version)
            .map_err(|error| format!("{error}; write a baseline such as 17, or a version such as 1.3.2"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_baseline_and_a_semver_is_a_version() {
        assert_eq!("17".parse(), Ok(Target::Baseline(17)));
        assert_eq!("1.3.2".parse(), Ok(Target::Version(VersionNumber::new(1, 3, 2))));
        assert!(matches!("1.3.2-rc.1".parse(), Ok(Target::Version(_))));
        for bad in ["", "1.3", "v1.3.2", "latest", "-1", "99999999999999999999999"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
