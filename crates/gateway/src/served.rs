//! Which tables a gateway served: what comes late never takes the place of what came after it.
//!
//! Invariant: within a history the number only grows. Another history is taken, because only the server that the gateway
//! asked can give it; but of one that was left, nothing that is not newer than what was served of it.

use std::collections::VecDeque;

use lockstep_domain::edition::{Edition, TableHistory};
use lockstep_domain::routes::RefusedTable;

/// Histories that are remembered; a server begins another one when its data was restored, copied or lost, which is rare.
const MAX_HISTORIES: usize = 64;

/// The tables that a gateway served, by their places.
#[derive(Debug, Default)]
pub(crate) struct Served {
    current: Edition,
    /// The highest revision of each history, the one that was left last at the end.
    highest: VecDeque<(TableHistory, u64)>,
    refused: Option<RefusedTable>,
}

impl Served {
    /// Returns the place of the table that is served; revision 0 is none.
    pub(crate) fn current(&self) -> &Edition {
        &self.current
    }

    /// Returns the table that was given last and not taken.
    pub(crate) fn refused(&self) -> Option<&RefusedTable> {
        self.refused.as_ref()
    }

    /// Tells whether a table of this place may be served next.
    pub(crate) fn admits(&self, given: &Edition) -> bool {
        let highest = self.highest.iter().find(|(history, _)| *history == given.history);
        highest.is_none_or(|&(_, highest)| given.revision > highest)
    }

    /// Notes that a table is served.
    pub(crate) fn take(&mut self, taken: Edition) {
        self.highest.retain(|(history, _)| *history != taken.history);
        self.highest.push_back((taken.history.clone(), taken.revision));
        if self.highest.len() > MAX_HISTORIES {
            self.highest.pop_front();
        }
        self.current = taken;
        self.refused = None;
    }

    /// Notes that a table was not taken. To be given the one that is served once more is nothing to speak of.
    pub(crate) fn refuse(&mut self, given: Edition, why: String) {
        if given != self.current {
            let Edition { history, revision } = given;
            self.refused = Some(RefusedTable { history, revision, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn edition(history: &str, revision: u64) -> Edition {
        Edition { history: history.parse().unwrap(), revision }
    }

    #[test]
    fn another_history_is_taken_and_the_one_that_was_left_only_goes_on() {
        let mut served = Served::default();
        served.take(edition("", 1_700_000_000_000));
        served.take(edition("a", 1));
        assert!(!served.admits(&edition("", 1_700_000_000_000)) && !served.admits(&edition("a", 1)));
        assert!(served.admits(&edition("b", 1)) && served.admits(&edition("", 1_700_000_000_001)));
        served.refuse(edition("a", 1), "the same".into());
        assert_eq!(served.refused(), None);
        served.refuse(edition("", 5), "older".into());
        assert_eq!(served.refused().unwrap().revision, 5);
    }

    proptest! {
        #[test]
        fn numbers_of_each_history_only_grow(given in prop::collection::vec(("[abc]", 1_u64..9), 0..60)) {
            let mut served = Served::default();
            let mut highest = BTreeMap::new();
            for (history, revision) in given {
                let place = edition(&history, revision);
                prop_assert_eq!(served.admits(&place), highest.get(&history).is_none_or(|&high| revision > high));
                if served.admits(&place) {
                    highest.insert(history, revision);
                    served.take(place);
                }
            }
        }
    }
}
