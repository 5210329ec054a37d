//! Which logs of ended instances go: a pure choice.

use std::collections::BTreeSet;

use super::EndedLimits;

/// Returns the numbers of those that are more than is kept, given number and bytes of each, the newest first.
///
/// The newer ones are kept as long as they fit; one that alone is too large is not.
pub(super) fn surplus(
    newest_first: impl Iterator<Item = (u64, u64)>,
    seconds: u64,
    limits: &EndedLimits,
) -> BTreeSet<u64> {
    let (mut count, mut total) = (0, 0_u64);
    let mut goes = |(number, bytes): &(u64, u64)| {
        let with_it = total.saturating_add(*bytes);
        let is_old = seconds.saturating_sub(*number) > limits.seconds;
        let is_kept = !is_old && count < limits.instances && with_it <= limits.bytes;
        if is_kept {
            (count, total) = (count + 1, with_it);
        }
        !is_kept
    };
    newest_first.filter(|one| goes(one)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_within_every_limit_and_nothing_goes_without_a_reason(
            sizes in prop::collection::vec((1_u64..100, 0_u64..500), 0..40),
            instances in 0_usize..10,
            bytes in 0_u64..2_000,
            seconds in 0_u64..3_000,
            age in 0_u64..3_000,
        ) {
            let mut number = 0;
            let mut all: Vec<_> = sizes.iter().map(|(step, size)| { number += step; (number, *size) }).collect();
            all.reverse();
            let limits = EndedLimits { instances, bytes, seconds };
            let now = number + age;
            let gone = surplus(all.iter().copied(), now, &limits);
            let kept: Vec<_> = all.iter().filter(|(number, _)| !gone.contains(number)).collect();
            let total: u64 = kept.iter().map(|(_, size)| size).sum();
            prop_assert!(kept.len() <= instances && total <= bytes);
            prop_assert!(kept.iter().all(|(number, _)| now - number <= seconds));
            for (number, size) in all.iter().filter(|(number, _)| gone.contains(number)) {
                let newer: Vec<_> = kept.iter().filter(|(other, _)| other > number).collect();
                let room: u64 = newer.iter().map(|(_, size)| size).sum();
                prop_assert!(now - number > seconds || newer.len() == instances || room + size > bytes);
            }
        }
    }
}
