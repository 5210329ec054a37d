//! What became of a notice at a target.
//!
//! Whoever keeps notices to be sent goes by this alone: sent is over, later and too fast are tried again, never waits for a
//! person, unknown is tried again although it may have arrived.

use std::fmt;

/// What became of one try. Texts are one line, bounded, and without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target has it.
    Sent {
        /// What a person should know nevertheless, as of a recipient that was refused.
        note: Option<String>,
    },
    /// It did not arrive, and may another time.
    Later {
        /// Why.
        why: String,
        /// Not before then, in milliseconds since 1970, where the target said so.
        not_before_ms: Option<u64>,
    },
    /// It did not arrive, since more came than the target takes.
    TooFast {
        /// What it said.
        why: String,
        /// Not before then, in milliseconds since 1970.
        not_before_ms: u64,
    },
    /// It will not arrive until a person does something.
    Never {
        /// Why.
        why: String,
        /// What to do.
        todo: String,
    },
    /// It was sent, and nobody said whether it arrived. Trying again may bring it twice; the same id or key tells the receiver.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Outcome {
    pub(crate) fn later(why: impl Into<String>) -> Self {
        Self::Later { why: why.into(), not_before_ms: None }
    }

    pub(crate) fn never(why: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::Never { why: why.into(), todo: todo.into() }
    }

    pub(crate) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// Puts a word in the place of what must not be seen: a server may say again what it was sent.
    pub(crate) fn without(self, secrets: &[String]) -> Self {
        let masked = |text: String| {
            secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "(a secret)"))
        };
        match self {
            Self::Sent { note } => Self::Sent { note: note.map(masked) },
            Self::Later { why, not_before_ms } => Self::Later { why: masked(why), not_before_ms },
            Self::TooFast { why, not_before_ms } => Self::TooFast { why: masked(why), not_before_ms },
            Self::Never { why, todo } => Self::Never { why: masked(why), todo },
            Self::Unknown { why } => Self::Unknown { why: masked(why) },
        }
    }

    /// Tells whether the target has it.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// Tells whether another try makes sense without a person.
    #[must_use]
    pub const fn is_tried_again(&self) -> bool {
        matches!(self, Self::Later { .. } | Self::TooFast { .. } | Self::Unknown { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { note: None } => f.write_str("sent"),
            Self::Sent { note: Some(note) } => write!(f, "sent; {note}"),
            Self::Later { why, .. } => write!(f, "not sent: {why}"),
            Self::TooFast { why, .. } => write!(f, "not sent, too many at once: {why}"),
            Self::Never { why, todo } => write!(f, "not sent: {why}; {todo}"),
            Self::Unknown { why } => write!(f, "perhaps sent: {why}"),
        }
    }
}
