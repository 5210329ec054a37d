//! The pairs of schemas that must hold for all sites of a flow, each compared once.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::Schemas;
use super::super::facts::NodeId;
use super::super::relate::{Relation, Step};
use super::super::violation::Certainty;
use super::{Demand, Shared, Site, Steps};

/// How many pairs are walked back over to find the other uses of one: enough to name some and to count the usual few.
const MAX_WALK: usize = 64;

/// How many uses of one pair are counted.
const MAX_SITES: usize = 1000;

/// How many steps of a way down are kept: longer ones make no witness, and the nearest tell the place.
const MAX_STEPS: usize = 48;

/// Pairs of schemas, which part leads to which, and what each comparison found.
pub(super) struct Graph {
    pub(super) demand: Demand,
    pairs: Vec<Pair>,
    index: FxHashMap<(NodeId, NodeId), usize>,
    ways: Vec<Option<Way>>,
}

struct Pair {
    held: NodeId,
    holding: NodeId,
    identical: bool,
    relation: Shared<Relation>,
    parts: Vec<(usize, Step, Certainty)>,
    parents: Vec<usize>,
    sites: Vec<usize>,
}

/// The last step of a shortest way from a use to a pair.
#[derive(Clone)]
struct Way {
    root: usize,
    from: Option<(usize, Step)>,
    certainty: Certainty,
}

/// The way from a use of a schema to a pair.
pub(super) struct Path {
    /// The pair at the use.
    pub(super) root: usize,
    /// From the use down: each pair, and the step taken from it; only the nearest ones when [`Path::reach`] says so.
    pub(super) steps: Steps,
    pub(super) reach: Reach,
    /// Uses that lead here; the first is the one the steps start from.
    pub(super) sites: Vec<usize>,
    /// Whether `sites` are all uses.
    pub(super) counted: Counted,
    /// Whether every step surely leads on.
    pub(super) certainty: Certainty,
}

/// Whether a path holds every step from the use down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Whole,
    Nearest,
}

/// Whether all uses were found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    All,
    AtLeast,
}

impl Graph {
    /// Compares everything reached from the sites.
    pub(super) fn explore(schemas: &mut Schemas<'_>, sites: &[Site], demand: Demand) -> Self {
        let mut graph = Self { demand, pairs: Vec::new(), index: FxHashMap::default(), ways: Vec::new() };
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
                let undecided = &mut Shared::make_mut(&mut relation).undecided;
                undecided.push("the schemas are too many to compare".to_owned());
            }
            if !schemas.is_exhausted() {
                for child in &relation.children {
                    // Most parts are the same on both sides; nothing is found below them.
                    if schemas.are_identical(child.held, child.holding) {
                        continue;
                    }
                    let next = graph.pair(child.held, child.holding, &mut waiting);
                    if graph.pairs[next].parents.last() != Some(&pair) {
                        graph.pairs[next].parents.push(pair);
                    }
                    graph.pairs[pair].parts.push((next, child.step.clone(), child.certainty));
                }
            }
            graph.pairs[pair].relation = relation;
        }
        graph.find_ways();
        graph
    }

    fn pair(&mut self, held: NodeId, holding: NodeId, waiting: &mut Vec<usize>) -> usize {
        if let Some(known) = self.index.get(&(held, holding)) {
            return *known;
        }
        let pair = self.pairs.len();
        self.index.insert((held, holding), pair);
        let relation = Shared::default();
        let (parts, parents, sites) = (Vec::new(), Vec::new(), Vec::new());
        self.pairs.push(Pair { held, holding, identical: false, relation, parts, parents, sites });
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

    /// Finds a shortest way to every pair at once: over sure steps where there is one, else over any.
    fn find_ways(&mut self) {
        self.ways = vec![None; self.pairs.len()];
        let mut reached: Vec<usize> = Vec::new();
        for pair in (0..self.pairs.len()).filter(|pair| !self.pairs[*pair].sites.is_empty()) {
            self.ways[pair] = Some(Way { root: pair, from: None, certainty: Certainty::Surely });
            reached.push(pair);
        }
        for certainty in [Certainty::Surely, Certainty::Perhaps] {
            let mut at = 0;
            while let Some(pair) = reached.get(at).copied() {
                self.step_from(pair, certainty, &mut reached);
                at += 1;
            }
        }
    }

    fn step_from(&mut self, pair: usize, certainty: Certainty, reached: &mut Vec<usize>) {
        let Some(root) = self.ways[pair].as_ref().map(|way| way.root) else { return };
        for (next, step, sure) in &self.pairs[pair].parts {
            if *sure <= certainty && self.ways[*next].is_none() {
                self.ways[*next] = Some(Way { root, from: Some((pair, step.clone())), certainty });
                reached.push(*next);
            }
        }
    }

    /// A way from a use to this pair.
    pub(super) fn path(&self, pair: usize) -> Option<Path> {
        let Way { root, certainty, .. } = self.ways[pair].clone()?;
        let mut steps = Vec::new();
        let mut at = pair;
        while let Some((from, step)) = self.ways[at].as_ref().and_then(|way| way.from.as_ref()) {
            if steps.len() >= MAX_STEPS {
                break;
            }
            steps.push((*from, step.clone()));
            at = *from;
        }
        steps.reverse();
        let reach = if at == root { Reach::Whole } else { Reach::Nearest };
        let (sites, counted) = self.uses(pair, root);
        Some(Path { root, steps, reach, sites, counted, certainty })
    }

    /// The uses that lead to a pair, those of `root` first.
    fn uses(&self, pair: usize, root: usize) -> (Vec<usize>, Counted) {
        let mut seen = FxHashSet::from_iter([pair]);
        let mut waiting = vec![pair];
        let mut sites: Vec<usize> = self.pairs[root].sites.iter().copied().take(MAX_SITES).collect();
        let mut at = 0;
        while let Some(pair) = waiting.get(at).copied() {
            at += 1;
            if pair != root {
                sites.extend(self.pairs[pair].sites.iter().take(MAX_SITES));
            }
            for parent in &self.pairs[pair].parents {
                if seen.len() >= MAX_WALK || sites.len() >= MAX_SITES {
                    return (sites, Counted::AtLeast);
                }
                if seen.insert(*parent) {
                    waiting.push(*parent);
                }
            }
        }
        (sites, Counted::All)
    }
}
