//! Faults: why something failed, and whether it was its own doing. Only what is guilty is held.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::Arm;

/// Why an arm or one of its instances failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It was judged by its requests and found worse.
    Verdict,
    /// Its process ended too often.
    Crash,
    /// It could not be started, or was never healthy in time. What an older release reported says no more than this.
    #[default]
    Start,
    /// Somebody else has its port.
    Port,
    /// The disk is full or cannot be written.
    Disk,
    /// The host cannot run it at the moment, whatever it is.
    Host,
    /// Somebody else runs it, and it did not answer there.
    Elsewhere,
    /// No host of its environment can take it.
    NoHost,
}

impl Fault {
    /// Tells whether it was its own doing, and not that of the place where it ran.
    #[must_use]
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Verdict | Self::Crash | Self::Start)
    }

    /// Tells whether nothing need be said of it; what an older release reported.
    #[must_use]
    pub fn is_start(&self) -> bool {
        *self == Self::Start
    }
}

/// An arm that a cause blames, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blame {
    /// Which.
    pub arm: Arm,
    /// For what.
    pub fault: Fault,
}

/// Why an operation is taken back: the words are for people, what is held follows from the blame alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// What happened.
    pub words: String,
    /// The arms that failed; none where a person said so.
    pub blamed: Vec<Blame>,
}

impl Cause {
    /// Makes a cause that blames nothing, because a person or the place is it.
    #[must_use]
    pub fn of_nobody(words: impl Into<String>) -> Self {
        Self { words: words.into(), blamed: Vec::new() }
    }

    /// Makes a cause that blames an arm.
    #[must_use]
    pub fn of(arm: &Arm, fault: Fault, words: impl Into<String>) -> Self {
        Self { words: words.into(), blamed: vec![Blame { arm: arm.clone(), fault }] }
    }

    /// Makes one cause of all; `None` when there is none.
    pub fn all(causes: impl IntoIterator<Item = Self>) -> Option<Self> {
        causes.into_iter().reduce(|mut all, next| {
            all.words = format!("{}; {}", all.words, next.words);
            all.blamed.extend(next.blamed);
            all
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
