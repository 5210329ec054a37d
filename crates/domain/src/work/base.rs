//! What a worker did in its last minutes: what a version is compared with that takes over when the old one has ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::told::{MAX_SLICES, Slice, Told};
use crate::instance::Arm;

/// What the instances of a worker did in their last minutes, before something took over from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkBase {
    /// Whose instances.
    pub arm: Arm,
    /// The minutes, oldest first.
    pub slices: Vec<Slice>,
}

impl WorkBase {
    /// Adds up what instances of an arm said; `None` when none said anything.
    #[must_use]
    pub fn of<'a>(arm: &Arm, told: impl IntoIterator<Item = &'a Told>) -> Option<Self> {
        let mut slices = vec![Slice::default(); MAX_SLICES];
        for told in told {
            // The newest ones of all are of the same time.
            for (sum, slice) in slices.iter_mut().rev().zip(told.slices.iter().rev()) {
                *sum = sum.beside(*slice);
            }
        }
        slices.retain(|slice| slice.jobs() > 0 || slice.depth.is_some());
        (!slices.is_empty()).then(|| Self { arm: arm.clone(), slices })
    }

    /// Returns everything together.
    #[must_use]
    pub fn total(&self) -> Slice {
        let add = |sum: Slice, one: &Slice| Slice { ms: sum.ms.saturating_add(one.ms), ..sum.beside(*one) };
        self.slices.iter().fold(Slice::default(), add)
    }

    /// Returns how deep the queue was, oldest first.
    #[must_use]
    pub fn depths(&self) -> Vec<u64> {
        self.slices.iter().filter_map(|slice| slice.depth).collect()
    }
}
