//! Which switches all requests are behind: from when on nobody is under way that was admitted before their end.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::OperationId;
use lockstep_domain::edition::Edition;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::switch::MAX_KNOWN;

use crate::live::GatewaySeen;

/// The switches of the newest table that are over, the first table that says so of each, and those that had left the table then.
#[derive(Debug, Default)]
pub(crate) struct Switched {
    over: BTreeMap<u64, Edition>,
    /// As many as may come into a table at all: whoever is forgotten must not come back.
    left: BTreeSet<u64>,
}

impl Switched {
    /// Notes what a table says that is about to be published.
    pub(crate) fn note(&mut self, table: &RouteTable) {
        let known = || table.switches.iter().flat_map(|it| &it.known).filter(|it| it.over);
        let left = self.over.extract_if(.., |operation, _| !known().any(|it| it.operation == *operation));
        self.left.extend(left.map(|(operation, _)| operation));
        while self.left.len() > MAX_KNOWN {
            self.left.pop_first();
        }
        for switch in known() {
            self.over.entry(switch.operation).or_insert_with(|| table.edition());
        }
    }

    /// Returns the switches of which every gateway says that nobody is under way who was admitted before their end.
    pub(crate) fn behind<'a>(
        &self,
        gateways: &(impl Iterator<Item = &'a GatewaySeen> + Clone),
    ) -> BTreeSet<OperationId> {
        let is_behind = |over: &Edition| {
            let nobody_before =
                |it: &GatewaySeen| it.oldest_admitted.is_none_or(|oldest| oldest >= over.revision);
            gateways.clone().all(|it| it.edition.confirms(over) && nobody_before(it))
        };
        let over = self.over.iter().filter(|(_, over)| is_behind(over)).map(|(operation, _)| operation);
        over.chain(&self.left).map(|&operation| OperationId(operation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::Timestamp;
    use lockstep_domain::switch::{Switch, Switches};

    use super::*;

    fn table(revision: u64, over: &[u64]) -> RouteTable {
        let known = over.iter().map(|&operation| Switch { operation, taken: 1, over: true }).collect();
        let table = crate::live::tests::table(1);
        RouteTable { switches: Some(Switches { newest: 9, known }), ..table }.at(at(revision))
    }

    fn at(revision: u64) -> Edition {
        Edition { history: "line".parse().unwrap(), revision }
    }

    fn gateway(revision: u64, oldest_admitted: Option<u64>) -> GatewaySeen {
        GatewaySeen {
            gateway: "edge".to_owned(),
            edition: at(revision),
            oldest_admitted,
            takes_format: None,
            refused: None,
            left_alone: Vec::new(),
            outside: Vec::new(),
            checks: Vec::new(),
            seen: Timestamp(0),
        }
    }

    #[test]
    fn a_switch_is_behind_all_when_each_gateway_has_its_end_and_nobody_from_before() {
        let mut switched = Switched::default();
        switched.note(&table(4, &[7]));
        switched.note(&table(5, &[7]));
        let behind = |switched: &Switched, all: &[GatewaySeen]| {
            switched.behind(&all.iter()).into_iter().map(|it| it.0).collect::<Vec<_>>()
        };
        assert!(behind(&switched, &[gateway(3, None)]).is_empty(), "it admits by the table before");
        assert!(behind(&switched, &[gateway(5, Some(3))]).is_empty());
        assert!(behind(&switched, &[gateway(5, None), gateway(4, Some(0))]).is_empty(), "of another history");
        assert_eq!(behind(&switched, &[gateway(5, Some(4)), gateway(4, None)]), [7]);
        switched.note(&table(6, &[]));
        assert_eq!(
            behind(&switched, &[gateway(3, Some(1))]),
            [7],
            "what has left the table does not come back"
        );
        for operation in 10..500 {
            switched.note(&table(operation, &[operation]));
        }
        assert_eq!(switched.left.len(), MAX_KNOWN);
    }
}
