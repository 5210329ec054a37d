//! The keys that were seen to fail or to wait in a trial.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Parts of the set, so that workers rarely wait for each other.
const PARTS: usize = 16;
/// Keys that are remembered in a part: with all parts about 16 MiB. When a part is full no further key counts in it, in
/// neither arm: there is no new evidence then, and none that is wrong.
const MAX_IN_PART: usize = 65_536;

/// The key by which the arm of a request was drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether it was made for this one request, so that it is new for sure.
    pub(crate) is_new: bool,
}

/// What a key counts once for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    /// Answers of a class, by its place in the list of those that are counted.
    Status(usize),
    /// Answers that were slower than a bound, by its place.
    Slower(usize),
}

/// The keys that counted in a trial. Only their hashes are kept, made with a random key: a client cannot choose two that
/// are taken for one.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    parts: [Mutex<HashSet<u64>>; PARTS],
    hasher: RandomState,
}

impl Keys {
    /// Returns what stands for a key in reports; nothing for one that was made for one request.
    pub(crate) fn stand_in(&self, key: Key<'_>) -> Option<u64> {
        (!key.is_new).then(|| self.hasher.hash_one(key.bytes))
    }

    /// Tells whether a key counts for the first time in one scope (the total, or an operation), and remembers it.
    pub(crate) fn is_first(&self, key: Key<'_>, scope: usize, sort: Sort) -> bool {
        if key.is_new {
            return true;
        }
        let hash = self.hasher.hash_one((scope, sort, key.bytes));
        let part = &self.parts[hash as usize % PARTS];
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        part.len() < MAX_IN_PART && part.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(bytes: &[u8]) -> Key<'_> {
        Key { bytes, is_new: false }
    }

    #[test]
    fn a_key_counts_once_for_each_sort_and_scope() {
        let keys = Keys::default();
        let first = |scope, sort| keys.is_first(given(b"ann"), scope, sort);
        assert!(first(0, Sort::Status(0)) && first(1, Sort::Status(0)));
        assert!(first(0, Sort::Status(1)) && first(0, Sort::Slower(1)));
        assert!(!first(0, Sort::Status(0)) && !first(0, Sort::Slower(1)));
        assert!(keys.is_first(given(b"bob"), 0, Sort::Status(0)));
        let made = Key { bytes: b"ann", is_new: true };
        assert!(keys.is_first(made, 0, Sort::Status(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let keys = Keys::default();
        let count = |number: u64| keys.is_first(given(&number.to_le_bytes()), 0, Sort::Status(0));
        let most = (PARTS * MAX_IN_PART) as u64;
        let counted = (0..most * 2).filter(|number| count(*number)).count() as u64;
        assert_eq!(counted, most);
    }
}
