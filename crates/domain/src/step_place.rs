//! The name of a step of a rollout, as people say it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// A step of a wave, as people say it: `1.2` is the second step of the first wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct StepPlace {
    /// Index of the wave, from 0.
    pub wave: usize,
    /// Index of the step, from 0.
    pub step: usize,
}

/// Why a text is no step.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no step: expected a wave and a step of it, such as `1.2`")]
pub struct StepPlaceError {
    /// The text, cut to a printable length.
    pub text: String,
}

impl fmt::Display for StepPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wave + 1, self.step + 1)
    }
}

impl FromStr for StepPlace {
    type Err = StepPlaceError;

    fn from_str(text: &str) -> Result<Self, StepPlaceError> {
        let index = |text: &str| text.parse::<u32>().ok()?.checked_sub(1).map(|index| index as usize);
        let parts = text.split_once('.');
        let place = parts.and_then(|(wave, step)| Some(Self { wave: index(wave)?, step: index(step)? }));
        let shown = || text.chars().filter(|c| !c.is_control()).take(80).collect();
        place.ok_or_else(|| StepPlaceError { text: shown() })
    }
}

as_text!(StepPlace);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_counted_from_one() {
        let place: StepPlace = "1.2".parse().unwrap();
        assert_eq!((place, place.to_string()), (StepPlace { wave: 0, step: 1 }, "1.2".to_owned()));
        for bad in ["", "1", "0.1", "1.0", "1.2.3", "a.b", "1.99999999999", "-1.1"] {
            assert!(bad.parse::<StepPlace>().is_err(), "{bad}");
        }
    }
}
