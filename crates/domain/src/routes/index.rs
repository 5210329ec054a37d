//! Routes compiled for finding: which one takes a request, as reading them one after the other in their order would.
//!
//! Paths lie in a tree of segments for each host, so a request pays for its own segments and not for the number of routes.
//! Invariant: what is found is what [`RouteIndex::verdicts`] says takes the request first.

use rustc_hash::FxHashMap;
use thiserror::Error;

use super::actions::ActionError;
use super::conditions::{ConditionError, RequestView, Tests};
use super::policy::PolicyError;
use super::template::{self, Segment, TemplateError};
use super::{PathType, Route};
use crate::request_host::WILDCARD;

/// Up to so many routes without templates are read one after the other: a tree would cost more.
const READ_IN_ORDER: usize = 8;

/// What is wrong with a route of a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteProblem {
    /// Its path is no template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A condition is none.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// Something cannot be done.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Something cannot be asked for.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Route {
    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<RouteProblem> {
        let template = match self.rule.path_type {
            PathType::Template => template::check(&self.rule.path).err(),
            PathType::Prefix | PathType::Exact => None,
        };
        let conditions = self.rule.when.problems().into_iter().map(RouteProblem::from);
        let actions =
            self.rule.then.iter().flat_map(|then| then.problems(&self.rule)).map(RouteProblem::from);
        let policy = self.rule.policy.iter().flat_map(|policy| policy.problems(&self.rule));
        let policy = policy.map(RouteProblem::from);
        template.map(RouteProblem::from).into_iter().chain(conditions).chain(actions).chain(policy).collect()
    }
}

/// Whether a route takes a request, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is for another host.
    OtherHost,
    /// It is for other paths.
    OtherPath,
    /// This does not hold.
    Fails(String),
    /// It takes it.
    Takes,
}

/// Routes compiled for finding. They are known by their places in the list that it was made of.
#[derive(Debug, Clone, Default)]
pub struct RouteIndex {
    tests: Vec<Tests>,
    /// None where there are few routes.
    hosts: Option<Hosts>,
}

#[derive(Debug, Clone, Default)]
struct Hosts {
    exact: FxHashMap<String, Tree>,
    /// By the name that all of them are below.
    below: FxHashMap<String, Tree>,
    any: Tree,
}

#[derive(Debug, Clone)]
struct Tree {
    nodes: Vec<Node>,
}

/// What lies at a path. Each list is in the order of the routes.
#[derive(Debug, Clone, Default)]
struct Node {
    segments: FxHashMap<Box<str>, usize>,
    variable: Option<usize>,
    /// They take this path and all below.
    prefix: Vec<usize>,
    /// They take this path.
    whole: Vec<usize>,
    /// They take all below this path.
    below: Vec<usize>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl RouteIndex {
    /// Compiles routes that are in their order, as [`super::RouteTable::prepared`] leaves them. Conditions that cannot be
    /// used take nothing; whoever takes a table looks for [`Route::problems`] before.
    #[must_use]
    pub fn new(routes: &[Route]) -> Self {
        let tests = routes.iter().map(|route| Tests::of(&route.rule.when)).collect();
        let is_template = |route: &Route| route.rule.path_type == PathType::Template;
        let pays = routes.len() > READ_IN_ORDER || routes.iter().any(is_template);
        let hosts = pays.then(|| Hosts::new(routes));
        Self { tests, hosts }
    }

    /// Finds the first route that takes a request; host (without port) and path are in their one form.
    pub fn find(
        &self,
        routes: &[Route],
        host: Option<&str>,
        path: &str,
        request: &impl RequestView,
    ) -> Option<usize> {
        let holds = |place: usize| self.tests[place].hold(request);
        match &self.hosts {
            Some(hosts) => hosts.find(host, path, &holds),
            None => (0..routes.len()).find(|&place| routes[place].rule.matches(host, path) && holds(place)),
        }
    }

    /// Says of each route whether it takes a request.
    pub fn verdicts(
        &self,
        routes: &[Route],
        host: Option<&str>,
        path: &str,
        request: &impl RequestView,
    ) -> Vec<Verdict> {
        let verdict = |(route, tests): (&Route, &Tests)| match tests.failed(request) {
            _ if !route.rule.takes_host(host) => Verdict::OtherHost,
            _ if !route.rule.takes_path(path) => Verdict::OtherPath,
            Some(failed) => Verdict::Fails(failed),
            None => Verdict::Takes,
        };
        routes.iter().zip(&self.tests).map(verdict).collect()
    }
}

impl Hosts {
    fn new(routes: &[Route]) -> Self {
        let mut hosts = Self::default();
        for (place, route) in routes.iter().enumerate() {
            let tree = match route.rule.host.as_deref() {
                None => &mut hosts.any,
                Some(host) => match host.strip_prefix(WILDCARD) {
                    Some(name) => hosts.below.entry(name.to_owned()).or_default(),
                    None => hosts.exact.entry(host.to_owned()).or_default(),
                },
            };
            tree.add(place, route);
        }
        hosts
    }

    /// Routes of a more exact host come first, whatever their paths.
    fn find(&self, host: Option<&str>, path: &str, holds: &impl Fn(usize) -> bool) -> Option<usize> {
        let exact = || self.exact.get(host?)?.find(path, holds);
        let below = || {
            let names = Some(host?).filter(|_| !self.below.is_empty())?;
            let dots = names.match_indices('.').filter(|(at, _)| *at > 0);
            dots.filter_map(|(at, _)| self.below.get(&names[at + 1..])?.find(path, holds)).next()
        };
        exact().or_else(below).or_else(|| self.any.find(path, holds))
    }
}

impl Tree {
    fn add(&mut self, place: usize, route: &Route) {
        let path = route.rule.path.as_str();
        match route.rule.path_type {
            PathType::Prefix => {
                let trimmed = path.trim_end_matches('/');
                let node = trimmed.split('/').skip(1).fold(0, |node, segment| self.below(node, segment));
                self.nodes[node].prefix.push(place);
            }
            PathType::Exact => {
                let node = path.split('/').skip(1).fold(0, |node, segment| self.below(node, segment));
                self.nodes[node].whole.push(place);
            }
            PathType::Template => self.add_template(place, path),
        }
    }

    fn add_template(&mut self, place: usize, path: &str) {
        let mut node = 0;
        for segment in template::segments(path) {
            node = match segment {
                Segment::Literal(text) => self.below(node, text),
                Segment::Variable(_) => self.variable(node),
                Segment::Rest(_) => return self.nodes[node].below.push(place),
            };
        }
        self.nodes[node].whole.push(place);
    }

    fn below(&mut self, node: usize, segment: &str) -> usize {
        if let Some(&known) = self.nodes[node].segments.get(segment) {
            return known;
        }
        let new = self.new_node();
        self.nodes[node].segments.insert(segment.into(), new);
        new
    }

    fn variable(&mut self, node: usize) -> usize {
        if let Some(known) = self.nodes[node].variable {
            return known;
        }
        let new = self.new_node();
        self.nodes[node].variable = Some(new);
        new
    }

    fn new_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn find(&self, path: &str, holds: &impl Fn(usize) -> bool) -> Option<usize> {
        let rest = match path.strip_prefix('/') {
            None if !path.is_empty() => return None,
            rest => rest,
        };
        let mut best = usize::MAX;
        self.walk(0, rest, holds, &mut best);
        (best < usize::MAX).then_some(best)
    }

    /// Looks at a node, and below it along the rest of the path; `None` is its end. It goes no deeper than the tree.
    fn walk(&self, node: usize, rest: Option<&str>, holds: &impl Fn(usize) -> bool, best: &mut usize) {
        let node = &self.nodes[node];
        let mut look = |places: &[usize]| {
            let better = places.iter().take_while(|place| **place < *best);
            if let Some(&found) = better.copied().find(|place| holds(*place)).as_ref() {
                *best = found;
            }
        };
        look(&node.prefix);
        let Some(rest) = rest else { return look(&node.whole) };
        look(&node.below);
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        if let Some(&below) = node.segments.get(segment) {
            self.walk(below, after, holds, best);
        }
        if let Some(below) = node.variable.filter(|_| !segment.is_empty()) {
            self.walk(below, after, holds, best);
        }
    }
}

#[cfg(test)]
mod tests;
