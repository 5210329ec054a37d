//! The order of moves: a sequence in which every intermediate state works.
//!
//! Start and goal each work as a whole, and each service moves once. For a consumer `c` of a provider `p`, both moving:
//! if new `c` does not work with old `p`, `p` goes first; if old `c` does not work with new `p`, `c` goes first. A safe
//! sequence exists exactly when this digraph has no cycle; the services of a cycle switch together
//! (`docs/design/planning.md`). Where nothing forces an order, providers go first when going forward and consumers first
//! when going back.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_solver::components;

use crate::baseline::{Entries, EntryChange};
use crate::compat::{Basis, Relation, Unmet};
use crate::contract::Verdict;
use crate::name::ServiceName;
use crate::operation::Reason;
use crate::run::Takeover;
use crate::takeover::of_change;

/// Which way an operation goes: it decides the order where nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To newer versions: providers first.
    Forward,
    /// Back: consumers first.
    Back,
}

/// The services that move, in waves, with the reasons for each one's place.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// Services of one wave switch together; between waves everything works.
    pub waves: Vec<Vec<ServiceName>>,
    /// Why a service is where it is.
    pub reasons: BTreeMap<ServiceName, Vec<Reason>>,
}

/// `first` must or should move before `second`.
#[derive(Debug, Clone)]
struct Arc {
    first: ServiceName,
    second: ServiceName,
    on: ServiceName,
    reason: Reason,
}

/// Orders the changed services. Costs as many steps as there are services and pairs, and their product where what is preferred would close a
/// cycle.
#[must_use]
pub fn order(
    relation: Relation<'_>,
    start: &Entries,
    goal: &Entries,
    changes: &[EntryChange],
    direction: Direction,
) -> Order {
    let moving: BTreeSet<_> = changes.iter().map(|change| change.service.clone()).collect();
    let pairs = pairs(relation, start, goal, &moving);
    let mut arcs: Vec<Arc> = pairs
        .iter()
        .flat_map(|(consumer, provider)| forced(relation, start, goal, consumer, provider))
        .collect();
    let groups = groups(&moving, &arcs);
    let mut graph = Graph::of(&groups, &arcs);
    let wanted = pairs.iter().map(|(consumer, provider)| preferred(consumer, provider, direction));
    let wanted: Vec<_> = wanted.filter(|arc| groups[&arc.first] != groups[&arc.second]).collect();
    let with_all = Graph::of(&groups, arcs.iter().chain(&wanted));
    let fit_together = with_all.sorted().is_some();
    for arc in wanted {
        let (first, second) = (groups[&arc.first], groups[&arc.second]);
        if fit_together || !graph.reach(second)[first] {
            graph.add(first, second);
            arcs.push(arc);
        }
    }
    let apart = apart(relation, changes);
    let apart =
        groups.iter().filter(|(service, _)| apart.contains(service)).map(|(_, group)| *group).collect();
    Order { waves: waves(&groups, &graph, &apart), reasons: reasons(&groups, &arcs) }
}

/// Every pair of a moving consumer and a moving provider, in the start or in the goal.
fn pairs(
    relation: Relation<'_>,
    start: &Entries,
    goal: &Entries,
    moving: &BTreeSet<ServiceName>,
) -> BTreeSet<(ServiceName, ServiceName)> {
    let mut pairs = BTreeSet::new();
    for consumer in moving {
        for entry in [start, goal].into_iter().filter_map(|entries| entries.get(consumer)) {
            let providers = relation.providers(consumer, entry).map(|(provider, _)| provider);
            for provider in providers.filter(|provider| moving.contains(*provider) && *provider != consumer) {
                pairs.insert((consumer.clone(), provider.clone()));
            }
        }
    }
    pairs
}

fn forced(
    relation: Relation<'_>,
    start: &Entries,
    goal: &Entries,
    consumer: &ServiceName,
    provider: &ServiceName,
) -> Vec<Arc> {
    let broken = |of: &Entries, by: &Entries| {
        relation.unmet((consumer, of.get(consumer)), (provider, by.get(provider)))
    };
    let mut arcs = Vec::new();
    if let Some(unmet) = broken(goal, start) {
        arcs.push(Arc {
            first: provider.clone(),
            second: consumer.clone(),
            on: consumer.clone(),
            reason: Reason::NeedsNew {
                provider: provider.clone(),
                range: unmet.requirement.range.clone(),
                because: because(&unmet),
            },
        });
    }
    // A start that is broken already cannot be kept working by any order.
    if broken(start, start).is_none()
        && let Some(unmet) = broken(start, goal)
    {
        arcs.push(Arc {
            first: consumer.clone(),
            second: provider.clone(),
            on: consumer.clone(),
            reason: Reason::OldNeeds {
                provider: provider.clone(),
                range: unmet.requirement.range.clone(),
                because: because(&unmet),
            },
        });
    }
    arcs
}

/// Why a pair does not work, when contracts tell; a range speaks for itself, and what was not checked is no reason.
fn because(unmet: &Unmet) -> String {
    match (unmet.basis, unmet.verdict) {
        (Basis::Contract, Verdict::Breaking) => unmet.reasons.first().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

fn preferred(consumer: &ServiceName, provider: &ServiceName, direction: Direction) -> Arc {
    match direction {
        Direction::Forward => Arc {
            first: provider.clone(),
            second: consumer.clone(),
            on: provider.clone(),
            reason: Reason::ProviderFirst { consumer: consumer.clone() },
        },
        Direction::Back => Arc {
            first: consumer.clone(),
            second: provider.clone(),
            on: consumer.clone(),
            reason: Reason::ConsumerFirst { provider: provider.clone() },
        },
    }
}

/// Numbers the groups: services that have to wait for each other switch together.
fn groups(moving: &BTreeSet<ServiceName>, arcs: &[Arc]) -> BTreeMap<ServiceName, usize> {
    let number: BTreeMap<_, _> = moving.iter().enumerate().map(|(index, name)| (name, index)).collect();
    let arcs = arcs.iter().map(|arc| (number[&arc.first], number[&arc.second]));
    let names: Vec<_> = moving.iter().collect();
    let of = |group: Vec<usize>| {
        let first = group[0];
        group.into_iter().map(|member| (names[member].clone(), first)).collect::<Vec<_>>()
    };
    components(names.len(), arcs).into_iter().flat_map(of).collect()
}

/// Which group directly precedes which.
struct Graph {
    next: Vec<BTreeSet<usize>>,
}

impl Graph {
    fn of<'a>(groups: &BTreeMap<ServiceName, usize>, arcs: impl IntoIterator<Item = &'a Arc>) -> Self {
        let mut graph = Self { next: vec![BTreeSet::new(); groups.len()] };
        for arc in arcs {
            graph.add(groups[&arc.first], groups[&arc.second]);
        }
        graph
    }

    fn add(&mut self, first: usize, second: usize) {
        if first != second {
            self.next[first].insert(second);
        }
    }

    /// Returns the nodes so that each stands before those that it leads to; `None` where there is a cycle.
    fn sorted(&self) -> Option<Vec<usize>> {
        let mut before = vec![0_usize; self.next.len()];
        self.next.iter().flatten().for_each(|&node| before[node] += 1);
        let mut sorted: Vec<_> = (0..before.len()).filter(|&node| before[node] == 0).collect();
        let mut done = 0;
        while let Some(&node) = sorted.get(done) {
            done += 1;
            for &next in &self.next[node] {
                before[next] -= 1;
                sorted.extend((before[next] == 0).then_some(next));
            }
        }
        (done == before.len()).then_some(sorted)
    }

    /// Tells which nodes a node leads to, itself included.
    fn reach(&self, node: usize) -> Vec<bool> {
        let mut seen = vec![false; self.next.len()];
        let mut open = vec![node];
        seen[node] = true;
        while let Some(node) = open.pop() {
            for &next in self.next[node].iter().filter(|&&next| !std::mem::replace(&mut seen[next], true)) {
                open.push(next);
            }
        }
        seen
    }
}

/// The services whose old instances end first. Nothing can be shared in their wave, so they leave it to those that can, where
/// no arc binds them: these move before, when they have proved themselves.
fn apart<'a>(relation: Relation<'_>, changes: &'a [EntryChange]) -> BTreeSet<&'a ServiceName> {
    let gives_way = |change: &&EntryChange| of_change(relation.world, change) == Takeover::OldFirst;
    changes.iter().filter(gives_way).map(|change| &change.service).collect()
}

/// Puts each group into the earliest wave that all arcs allow; those that are to be apart behind the others.
fn waves(
    groups: &BTreeMap<ServiceName, usize>,
    graph: &Graph,
    apart: &BTreeSet<usize>,
) -> Vec<Vec<ServiceName>> {
    let mut level = vec![0; graph.next.len()];
    let sorted =
        graph.sorted().expect("groups have no cycle between them, and no arc was added that closes one");
    for first in sorted {
        for &second in &graph.next[first] {
            level[second] = level[second].max(level[first] + 1);
        }
    }
    // From the last to the first: as late as what comes after it allows.
    let last = level.iter().copied().max().unwrap_or_default();
    for group in groups_by_level(&level).rev().filter(|group| apart.contains(group)) {
        level[group] = graph.next[group].iter().map(|&next| level[next] - 1).min().unwrap_or(last);
    }
    let mut waves: BTreeMap<(usize, bool), Vec<ServiceName>> = BTreeMap::new();
    for (service, group) in groups {
        waves.entry((level[*group], apart.contains(group))).or_default().push(service.clone());
    }
    waves.into_values().collect()
}

fn groups_by_level(level: &[usize]) -> impl DoubleEndedIterator<Item = usize> + use<> {
    let mut all: Vec<_> = (0..level.len()).collect();
    all.sort_by_key(|group| level[*group]);
    all.into_iter()
}

fn reasons(groups: &BTreeMap<ServiceName, usize>, arcs: &[Arc]) -> BTreeMap<ServiceName, Vec<Reason>> {
    let mut reasons: BTreeMap<ServiceName, Vec<Reason>> = BTreeMap::new();
    for arc in arcs {
        reasons.entry(arc.on.clone()).or_default().push(arc.reason.clone());
    }
    let mut members: BTreeMap<usize, Vec<&ServiceName>> = BTreeMap::new();
    for (service, group) in groups {
        members.entry(*group).or_default().push(service);
    }
    for together in members.values().filter(|members| members.len() > 1) {
        for service in together {
            let others = together.iter().filter(|other| *other != service).map(|&other| other.clone());
            let reason = Reason::Together { services: others.collect() };
            reasons.entry((*service).clone()).or_default().push(reason);
        }
    }
    reasons
}
