//! The pairs of schemas that must hold for all sites of a flow, each compared once.

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::Schemas;
use super::super::facts::NodeId;
use super::super::relate::{Relation, Step};
use super::super::violation::Certainty;
use super::{Demand, Shared, Site, Steps};

/// How many pairs are walked back over to find the uses of one.
const MAX_WALK: usize = 20_000;

/// How many uses of one pair are counted.
const MAX_SITES: usize = 1000;

/// Pairs of schemas, which part leads to which, and what each comparison found.
pub(super) struct Graph {
    pub(super) demand: Demand,
    pairs: Vec<Pair>,
    index: HashMap<(NodeId, NodeId), usize>,
}

struct Pair {
    held: NodeId,
    holding: NodeId,
    identical: bool,
    relation: Shared<Relation>,
    parents: Vec<(usize, Step, Certainty)>,
    sites: Vec<usize>,
}

/// The way from a use of a schema to a pair.
pub(super) struct Path {
    /// The pair at the use.
    pub(super) root: usize,
    /// From the use down: each pair, and the step taken from it.
    pub(super) steps: Steps,
    /// All uses that lead here; the first is the one the steps start from.
    pub(super) sites: Vec<usize>,
    /// Whether every step surely leads on.
    pub(super) certainty: Certainty,
}

impl Graph {
    /// Compares everything reached from the sites.
    pub(super) fn explore(schemas: &mut Schemas<'_>, sites: &[Site], demand: Demand) -> Self {
        let mut graph = Self { demand, pairs: Vec::new(), index: HashMap::new() };
        let mut waiting = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            let (held, holding) = match demand {
                Demand::NewHoldsOld => (site.old, site.new),
                Demand::OldHoldsNew => (site.new, site.old),
            };
            let pair = graph.pair(held, holding, &mut waiting);
            graph.pairs[pair].sites.push(index);
        }
        while let Some(pair) = waiting.pop() {
            let (held, holding) = graph.nodes(pair);
            if schemas.are_identical(held, holding) {
                graph.pairs[pair].identical = true;
                continue;
            }
            let mut relation = schemas.relation(held, holding);
            if schemas.is_exhausted() {
                relation.undecided.push("the schemas are too many to compare".to_owned());
            }
            if !schemas.is_exhausted() {
                for child in &relation.children {
                    let next = graph.pair(child.held, child.holding, &mut waiting);
                    graph.pairs[next].parents.push((pair, child.step.clone(), child.certainty));
                }
            }
            graph.pairs[pair].relation = Shared::new(relation);
        }
        graph
    }

    fn pair(&mut self, held: NodeId, holding: NodeId, waiting: &mut Vec<usize>) -> usize {
        if let Some(known) = self.index.get(&(held, holding)) {
            return *known;
        }
        let pair = self.pairs.len();
        self.index.insert((held, holding), pair);
        let relation = Shared::default();
        let (parents, sites) = (Vec::new(), Vec::new());
        self.pairs.push(Pair { held, holding, identical: false, relation, parents, sites });
        waiting.push(pair);
        pair
    }

    pub(super) fn nodes(&self, pair: usize) -> (NodeId, NodeId) {
        (self.pairs[pair].held, self.pairs[pair].holding)
    }

    pub(super) fn relation(&self, pair: usize) -> Shared<Relation> {
        Shared::clone(&self.pairs[pair].relation)
    }

    /// The pairs that do not hold, or of which it is not known.
    pub(super) fn differing(&self) -> Vec<usize> {
        let differs = |pair: &usize| {
            let relation = &self.pairs[*pair].relation;
            !relation.violations.is_empty() || !relation.undecided.is_empty()
        };
        (0..self.pairs.len()).filter(differs).collect()
    }

    /// The pairs that were not identical.
    pub(super) fn compared(&self) -> Vec<usize> {
        (0..self.pairs.len()).filter(|pair| !self.pairs[*pair].identical).collect()
    }

    /// A way from a use to this pair: over sure steps when there is one, else over any.
    pub(super) fn path(&self, pair: usize) -> Option<Path> {
        self.path_over(pair, Certainty::Surely).or_else(|| self.path_over(pair, Certainty::Perhaps))
    }

    fn path_over(&self, pair: usize, certainty: Certainty) -> Option<Path> {
        let mut towards: HashMap<usize, (usize, Step)> = HashMap::new();
        let mut seen = HashSet::from([pair]);
        let mut waiting = VecDeque::from([pair]);
        let mut roots = Vec::new();
        let mut sites = Vec::new();
        while let Some(at) = waiting.pop_front() {
            if !self.pairs[at].sites.is_empty() {
                roots.push(at);
                sites.extend_from_slice(&self.pairs[at].sites);
            }
            if seen.len() > MAX_WALK || sites.len() > MAX_SITES {
                break;
            }
            for (parent, step, sure) in &self.pairs[at].parents {
                if *sure <= certainty && seen.insert(*parent) {
                    towards.insert(*parent, (at, step.clone()));
                    waiting.push_back(*parent);
                }
            }
        }
        let root = *roots.first()?;
        let mut steps = Vec::new();
        let mut at = root;
        while let Some((next, step)) = towards.get(&at) {
            steps.push((at, step.clone()));
            at = *next;
        }
        Some(Path { root, steps, sites, certainty })
    }
}
