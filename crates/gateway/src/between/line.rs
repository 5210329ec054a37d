//! Which keys follow each other. A key that is exchanged stands in a table together with the one after it, which its gateway has said itself;
//! one that was taken away does not. So what is carried goes on over an exchange, and ends with a key that was taken away.
//!
//! Every gateway has had a table with both keys before the later one is shown, so no exchange looks like the other.

use std::collections::BTreeMap;

use lockstep_domain::Digest;
use tokio_util::sync::CancellationToken;

/// The keys of each of some gateways as tables named them one after the other.
#[derive(Debug)]
pub(super) struct Lines<N>(BTreeMap<N, Line>);

#[derive(Debug)]
struct Line {
    keys: Vec<Digest>,
    ended: CancellationToken,
}

impl<N> Default for Lines<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<N: Ord> Lines<N> {
    /// Takes in what the next table names. Lines of which it names no key end.
    pub(super) fn follow(&mut self, named: impl Iterator<Item = (N, Vec<Digest>)>) {
        let mut before = std::mem::take(&mut self.0);
        for (name, keys) in named {
            let goes_on = |line: &Line| line.keys.iter().any(|key| keys.contains(key));
            let line = before.remove(&name);
            let ended = match line.as_ref().filter(|line| goes_on(line)) {
                Some(line) => line.ended.clone(),
                None => CancellationToken::new(),
            };
            line.filter(|line| !goes_on(line)).into_iter().for_each(|line| line.ended.cancel());
            self.0.insert(name, Line { keys, ended });
        }
        before.into_values().for_each(|line| line.ended.cancel());
    }

    /// Returns what tells when the line of a gateway ends, where it has one.
    pub(super) fn of(&self, name: &N) -> Option<CancellationToken> {
        self.0.get(name).map(|line| line.ended.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn follow(lines: &mut Lines<&'static str>, named: &[(&'static str, &[u8])]) {
        let keys = |keys: &[u8]| keys.iter().map(|it| key(*it)).collect();
        lines.follow(named.iter().map(|(name, of)| (*name, keys(of))));
    }

    #[test]
    fn an_exchange_goes_on_and_another_key_under_the_same_name_does_not() {
        let mut lines = Lines::default();
        follow(&mut lines, &[("web1", &[1]), ("web2", &[9])]);
        let (one, two) = (lines.of(&"web1").unwrap(), lines.of(&"web2").unwrap());
        for exchanged in [&[1, 2][..], &[2, 1], &[2]] {
            follow(&mut lines, &[("web1", exchanged), ("web2", &[9])]);
            assert!(!one.is_cancelled(), "{exchanged:?}");
        }
        follow(&mut lines, &[("web1", &[3]), ("web2", &[9])]);
        assert!(one.is_cancelled() && !two.is_cancelled());
        assert!(!lines.of(&"web1").unwrap().is_cancelled());
        follow(&mut lines, &[("web1", &[3])]);
        assert!(two.is_cancelled() && lines.of(&"web2").is_none());
    }

    proptest! {
        #[test]
        fn a_line_lives_as_long_as_each_table_names_a_key_of_the_one_before(
            tables in proptest::collection::vec(proptest::collection::btree_set(0_u8..5, 1..4), 1..12),
        ) {
            let mut lines = Lines::default();
            let mut of_first = None;
            let mut goes_on = true;
            for (index, keys) in tables.iter().enumerate() {
                lines.follow(std::iter::once(("web1", keys.iter().map(|it| key(*it)).collect())));
                goes_on &= index == 0 || !tables[index - 1].is_disjoint(keys);
                let first = of_first.get_or_insert_with(|| lines.of(&"web1").unwrap());
                prop_assert_eq!(first.is_cancelled(), !goes_on);
            }
        }
    }
}
