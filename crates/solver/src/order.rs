//! A safe order: every state between two steps keeps the needs.
//!
//! Start and target each work, and each service moves once. For a need between two that move there are two mixed states: the new consumer with
//! the old provider, and the old consumer with the new provider. Each that is not met forbids an order. A safe order exists exactly when
//! these arcs form no circle; services of a circle have to switch together, and with each circle as one, every topological order is safe.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::problem::{Cause, Need, Problem};

/// Services that switch at the same moment, in their order.
pub type Step = Vec<usize>;

/// Which end of a need makes an order necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The consumer's new version needs what only the provider's new version has: the provider goes first.
    NewConsumer,
    /// The consumer's old version needs what only the provider's old version has: the consumer goes first.
    OldConsumer,
}

/// One service may move only after, or together with, another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arc {
    /// The one that goes first.
    pub before: usize,
    /// The one that goes after it.
    pub after: usize,
    /// Where the need comes from.
    pub cause: Cause,
    /// Which end of it.
    pub side: Side,
}

/// Steps to a target, and why they are in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Each keeps all needs that start and target keep.
    pub steps: Vec<Step>,
    /// All that forces the order, also within steps.
    pub arcs: Vec<Arc>,
}

/// Orders the moves from where everything is to a target. Takes time in proportion to services and needs.
#[must_use]
pub fn order(problem: &Problem, target: &[u32]) -> Order {
    let arcs: Vec<Arc> =
        problem.needs().flat_map(|(cause, need)| arcs_of(problem, target, (cause, need))).flatten().collect();
    let moves = |service: usize| target[service] != problem.services[service].current;
    let steps = components(target.len(), arcs.iter().map(|arc| (arc.before, arc.after)));
    let steps = steps.into_iter().filter(|step| moves(step[0])).collect();
    Order { steps, arcs }
}

/// Numbers from 0 up to `count`, joined where arcs lead around in a circle, and ordered so that the first end of each arc comes before, or
/// together with, the second. Takes time in proportion to numbers and arcs.
#[must_use]
pub fn components(count: usize, arcs: impl IntoIterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut graph = DiGraph::<(), ()>::with_capacity(count, 0);
    for _ in 0..count {
        graph.add_node(());
    }
    // The components come last first, so arcs point from what follows to what goes before it.
    graph.extend_with_edges(
        arcs.into_iter().map(|(before, after)| (NodeIndex::new(after), NodeIndex::new(before))),
    );
    let in_order = |nodes: Vec<NodeIndex>| {
        let mut component: Vec<usize> = nodes.into_iter().map(NodeIndex::index).collect();
        component.sort_unstable();
        component
    };
    // That of Tarjan in this library calls itself, and a long chain is more than a stack holds.
    kosaraju_scc(&graph).into_iter().map(in_order).collect()
}

/// The arcs of a need between two services that move.
fn arcs_of(problem: &Problem, target: &[u32], (cause, need): (Cause, &Need)) -> [Option<Arc>; 2] {
    let (consumer, provider) = (need.consumer, need.provider);
    let [from, on] = [consumer, provider].map(|it| problem.services[it].current);
    let [to, goal] = [target[consumer], target[provider]];
    if consumer == provider || from == to || on == goal {
        return [None, None];
    }
    // What is broken already, no order keeps.
    if !need.is_met(from, on) {
        return [None, None];
    }
    let (provider_first, consumer_first) = (!need.is_met(to, on), !need.is_met(from, goal));
    let arc = |before, after, side| Arc { before, after, cause, side };
    [
        provider_first.then(|| arc(provider, consumer, Side::NewConsumer)),
        consumer_first.then(|| arc(consumer, provider, Side::OldConsumer)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_is_longer_than_a_stack_is_ordered() {
        let count = 200_000;
        let ordered = components(count, (1..count).map(|at| (at, at - 1)));
        assert_eq!(ordered.len(), count);
        assert_eq!((&ordered[0][..], &ordered[count - 1][..]), (&[count - 1][..], &[0][..]));
    }
}
