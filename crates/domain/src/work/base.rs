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
    /// How many instances counted that; 0 where none did, or it was not noted.
    #[serde(default, skip_serializing_if = "is_not_noted")]
    pub instances: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
const fn is_not_noted(instances: &u32) -> bool {
    *instances == 0
}

impl WorkBase {
    /// Adds up what instances of an arm said; `None` when none said anything.
    #[must_use]
    pub fn of<'a>(arm: &Arm, told: impl IntoIterator<Item = &'a Told>) -> Option<Self> {
        let mut slices = vec![Slice::default(); MAX_SLICES];
        let mut instances = 0_u32;
        for told in told {
            instances = instances.saturating_add(u32::from(told.heard > 0));
            // The newest ones of all are of the same time.
            for (sum, slice) in slices.iter_mut().rev().zip(told.slices.iter().rev()) {
                *sum = sum.beside(*slice);
            }
        }
        slices.retain(|slice| slice.jobs() > 0 || slice.depth.is_some());
        (!slices.is_empty()).then(|| Self { arm: arm.clone(), slices, instances })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_counted_jobs_are_noted_and_what_was_written_before_stays_as_it_is() {
        let arm: Arm =
            serde_json::from_str(r#"{"service": "mailer", "version": "1.0.0", "config": 0}"#).unwrap();
        let mut counts = Told { heard: 1, ..Told::default() };
        counts.pass(1_000);
        counts.take_depth(Ok(3));
        let silent = Told { heard: 0, ..counts.clone() };
        let base = WorkBase::of(&arm, [&counts, &counts, &silent]).unwrap();
        assert_eq!(base.instances, 2);
        let older = WorkBase { instances: 0, ..base };
        let written = serde_json::to_value(&older).unwrap();
        assert_eq!(written.as_object().unwrap().keys().collect::<Vec<_>>(), ["arm", "slices"]);
        assert_eq!(serde_json::from_value::<WorkBase>(written).unwrap(), older);
    }
}
