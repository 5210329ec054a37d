//! What an independent validator says of a witness.

/// What an independent validator says of a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was fine, and fails now.
    Fails,
    /// It does not: not a witness at all.
    Stands,
    /// It is not about anything that the validator can tell.
    Open,
}
