//! The two levels of the history, and what is different between them.

/// How finely a part of the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Rows as they were appended, one value each; a file an hour.
    Fine,
    /// Average and largest value of 5 minutes; a file a day.
    Coarse,
}

/// The width of a row of the coarse level in milliseconds.
pub(crate) const COARSE_STEP_MS: u64 = 300_000;
/// Rows that a file has at most: twice what an hour of 10 seconds has, so that a caller in a hurry gets more files and not more memory.
pub(crate) const MAX_ROWS: usize = 720;

impl Level {
    pub(crate) const BOTH: [Self; 2] = [Self::Fine, Self::Coarse];

    /// Values of a series in a row.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Fine => 1,
            Self::Coarse => 2,
        }
    }

    /// The time that a file is for, in milliseconds.
    pub(crate) const fn span_ms(self) -> u64 {
        match self {
            Self::Fine => 3_600_000,
            Self::Coarse => 86_400_000,
        }
    }

    /// How much a row counts beside one of the other level, where both fall into one point.
    pub(crate) const fn weight(self) -> f64 {
        match self {
            Self::Fine => 1.0,
            Self::Coarse => 30.0,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Coarse => "coarse",
        }
    }
}
