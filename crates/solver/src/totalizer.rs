//! Counts literals: a totalizer whose outputs are made when they are asked for.
//!
//! Source: Bailleux and Boufkhad, "Efficient CNF Encoding of Boolean Cardinality Constraints" (2003); grown by steps as in Martins, Joshi,
//! Manquinho and Lynce, "Incremental Cardinality Constraints for MaxSAT" (2014). Only "so many are true, hence the output" is encoded: an
//! output is only ever assumed to be false.

use batsat::Lit;

use crate::maxsat::Sat;

/// A tree whose leaves are the literals that are counted.
#[derive(Debug)]
pub(crate) struct Totalizer {
    /// Leaves first; the last one is the root.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// `outputs[k]` is true when at least `k + 1` of its leaves are.
    outputs: Vec<Lit>,
    children: Option<(usize, usize)>,
    leaves: usize,
}

impl Totalizer {
    /// A counter of at least one literal.
    pub(crate) fn new(literals: &[Lit]) -> Self {
        let leaf = |&literal: &Lit| Node { outputs: vec![literal], children: None, leaves: 1 };
        let mut nodes: Vec<Node> = literals.iter().map(leaf).collect();
        let mut next = 0;
        while next + 1 < nodes.len() {
            let leaves = nodes[next].leaves + nodes[next + 1].leaves;
            nodes.push(Node { outputs: Vec::new(), children: Some((next, next + 1)), leaves });
            next += 2;
        }
        Self { nodes }
    }

    /// The literal that is true when at least `count` are, if there are so many.
    pub(crate) fn at_least(&mut self, count: usize, sat: &mut Sat) -> Option<Lit> {
        let root = self.nodes.len() - 1;
        self.grow(root, count, sat);
        self.nodes[root].outputs.get(count - 1).copied()
    }

    /// Makes the outputs of a node up to a count.
    fn grow(&mut self, node: usize, count: usize, sat: &mut Sat) {
        let Some((left, right)) = self.nodes[node].children else { return };
        let (had, count) = (self.nodes[node].outputs.len(), count.min(self.nodes[node].leaves));
        if had >= count {
            return;
        }
        self.grow(left, count, sat);
        self.grow(right, count, sat);
        self.nodes[node].outputs.extend((had..count).map(|_| sat.literal(false)));
        for sum in had + 1..=count {
            self.reach(node, (left, right), sum, sat);
        }
    }

    /// Says in clauses when a sum is reached: by so many on the left, and the rest on the right.
    fn reach(&self, node: usize, (left, right): (usize, usize), sum: usize, sat: &mut Sat) {
        let output = self.nodes[node].outputs[sum - 1];
        let [left, right] = [left, right].map(|child| &self.nodes[child].outputs);
        for on_left in sum.saturating_sub(right.len())..=sum.min(left.len()) {
            let both = [
                on_left.checked_sub(1).map(|at| left[at]),
                (sum - on_left).checked_sub(1).map(|at| right[at]),
            ];
            sat.clause(both.into_iter().flatten().map(|it| !it).chain([output]));
        }
    }
}
