//! A route table as one worker uses it: with its endpoints, counters and prepared texts in place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lockstep_domain::between::{Between, unknown_ways};
use lockstep_domain::injection::Fault;
use lockstep_domain::maintenance::MaintenancePage;
use lockstep_domain::outliers::EjectionRule;
use lockstep_domain::priority::{Priority, Shares};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::index::RouteIndex;
use lockstep_domain::routes::service_policy::Balance;
use lockstep_domain::routes::{
    ArmTraffic, FULL_WEIGHT, ROUTE_TABLE_FORMAT, Route, RouteTable, ServiceRoutes, Split, SplitRole,
    SplitRule, SplitTakes, VisitChoice,
};
use lockstep_domain::switch::{Admission, Belongs, Switches};
use lockstep_domain::targets::MAX_NAMES;
use lockstep_domain::version_rules::Takes;
use lockstep_domain::visit::Entered;
use lockstep_domain::watch::LATENCY_CLASSES;
use lockstep_domain::{Arm, ServiceName};

use crate::admission::Admits;
use crate::balance::ArmHealth;
use crate::breaker::Breakers;
use crate::counts::Counts;
use crate::endpoint::Endpoint;
use crate::error::ApplyError;
use crate::lanes::LaneSeat;
use crate::limiter::Limiter;
use crate::listening;
use crate::mirror::Copies;
use crate::policy::RouteState;
use crate::recent::Asked;
use crate::seat::Seat;
use crate::trial::{Class, Meter, Trial};
use crate::zone::Zones;

/// A route table as one worker uses it.
#[derive(Debug)]
pub(crate) struct WorkerTable {
    pub(crate) routes: Arc<RouteTable>,
    /// Of the routes, for finding.
    pub(crate) index: Arc<RouteIndex>,
    /// What is counted of each route, by its place; empty where no route limits anything.
    pub(crate) states: Vec<Option<Arc<RouteState>>>,
    pub(crate) services: BTreeMap<ServiceName, Arc<ServiceTargets>>,
    /// The routes as requests meet them, in their order.
    pub(crate) seats: Vec<Arc<Seat>>,
    /// What of a request decides where it goes.
    pub(crate) asked: Arc<Asked>,
    /// Those that have rules of headers or cookies: looked at for every request, whatever service it is for.
    pub(crate) ruled: Vec<Arc<ServiceTargets>>,
    /// The lanes, the oldest first.
    pub(crate) lanes: Vec<Arc<LaneSeat>>,
    /// Whether any service speaks TCP.
    pub(crate) has_tcp: bool,
    /// The mirrors of all services: what a copy causes is marked with the one that it is of.
    pub(crate) mirrors: Vec<u64>,
    /// What a visit sees that begins now, where routes keep visitors.
    pub(crate) entered: Option<Entered>,
    /// For how many seconds routes keep visitors, by cookie.
    pub(crate) visit_times: BTreeMap<String, BTreeSet<u64>>,
    /// What requests are admitted under.
    pub(crate) admits: Arc<Admits>,
}

impl WorkerTable {
    /// Returns the lane that a request is in that has these rules.
    pub(crate) fn lane_in(&self, rules: &[u64]) -> Option<&Arc<LaneSeat>> {
        self.lanes.iter().find(|seat| rules.contains(&seat.id()))
    }

    /// Tells whether there is nothing that is noted of requests beside their keys.
    pub(crate) fn has_no_rules(&self) -> bool {
        self.ruled.is_empty()
            && self.mirrors.is_empty()
            && self.lanes.is_empty()
            && self.routes.checks.is_empty()
    }

    /// Tells whether requests may be on both sides of a switch.
    pub(crate) fn is_switching(&self) -> bool {
        self.routes.switches.as_ref().is_some_and(|switches| !switches.known.is_empty())
    }
}

/// What decides which arm a request is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks<'a> {
    pub(crate) key: &'a [u8],
    /// The rules that take it.
    pub(crate) rules: &'a [u64],
    /// What its visit sees.
    pub(crate) visit: Option<&'a Entered>,
    /// What it was admitted under.
    pub(crate) admission: &'a str,
}

/// The arm that was chosen for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Index of the arm in the service's targets.
    pub(crate) target: usize,
    /// Whether a rule chose it: then it says nothing about the split, and is neither counted for a verdict nor shielded.
    pub(crate) ruled: bool,
    /// Whether a visit that began at other shares chose it, or a switch it is before: then it is not counted for a verdict either.
    pub(crate) held: bool,
    /// Whether what it belongs to is gone, so that it gets what all get now.
    pub(crate) strayed: bool,
}

/// Where the requests of one service can go.
#[derive(Debug)]
pub(crate) struct ServiceTargets {
    pub(crate) service: ServiceName,
    pub(crate) routes: ServiceRoutes,
    /// In the order of `routes.splits`.
    pub(crate) targets: Vec<Target>,
    pub(crate) trial: Option<Arc<Trial>>,
    /// Whether a route of it keeps a client at one instance; calls that name the service do so by their key then.
    pub(crate) keeps_clients: bool,
    /// Whether connections to it are passed as bytes.
    pub(crate) speaks_tcp: bool,
    /// Index of the arm that stands in for the stable one.
    pub(crate) fallback: Option<usize>,
    /// The version that gets copies.
    pub(crate) mirror: Option<Copies>,
    /// What its requests meet on purpose.
    pub(crate) faults: Vec<Fault>,
    /// What clients get instead.
    pub(crate) pages: Vec<MaintenancePage>,
}

/// One arm's part of a service.
#[derive(Debug)]
pub(crate) struct Target {
    /// `orders@1.4.0`, as answers name it.
    pub(crate) label: String,
    pub(crate) role: SplitRole,
    pub(crate) protocol: Protocol,
    pub(crate) tally: Arc<Tally>,
    pub(crate) health: Arc<ArmHealth>,
    /// What its clients got.
    pub(crate) counts: Arc<Counts>,
    /// What is counted for the verdict while one of the arms is on trial.
    pub(crate) meter: Option<Arc<Meter>>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// Those that only get what their own clients ask.
    pub(crate) leaving: Vec<Arc<Endpoint>>,
    /// What leaves it alone when it fails, where it asks for that.
    pub(crate) breakers: Option<Arc<Breakers>>,
    /// How many of its requests wait for an answer at once, where it has a limit that adapts.
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) choosing: Choosing,
    /// Its instances by zone, where some stand in that of the gateway and some do not.
    pub(crate) zones: Option<Box<Zones>>,
}

/// How the instances of an arm are chosen.
#[derive(Debug, Default)]
pub(crate) struct Choosing {
    pub(crate) balance: Balance,
    /// When one is left alone.
    pub(crate) ejection: EjectionRule,
    /// For how long a fresh one gets less than the others.
    pub(crate) slow_start: Option<Duration>,
    /// Requests under way at each of them at once.
    pub(crate) most: Option<u32>,
    /// How much of that, and of the limit that adapts, each priority may use.
    pub(crate) shares: Shares,
    /// Whose turn it is, where they take turns.
    pub(crate) turn: AtomicUsize,
}

impl Choosing {
    /// Finds what a split says.
    pub(crate) fn of(split: &Split) -> Self {
        let Some(policy) = split.policy.as_deref() else { return Self::default() };
        Self {
            balance: policy.balance,
            ejection: policy.ejection.unwrap_or_default(),
            slow_start: policy.slow_start_ms.map(Duration::from_millis),
            most: policy.max_requests,
            shares: policy.priorities.unwrap_or_default(),
            turn: AtomicUsize::new(0),
        }
    }
}

impl Choosing {
    /// Returns beside how many requests one of the priority is let in at an instance.
    pub(crate) fn most(&self, priority: Priority) -> Option<u32> {
        self.most.map(|most| self.shares.of(most, priority))
    }
}

impl Target {
    /// Tells whether one of its instances has as many requests under way as requests of the priority find there.
    pub(crate) fn is_full(&self, priority: Priority) -> bool {
        let is_full = |most: u32| self.endpoints.iter().any(|it| it.instance.in_flight() >= u64::from(most));
        self.choosing.most(priority).is_some_and(is_full)
    }

    /// Tells whether its instances speak HTTP/2.
    pub(crate) fn speaks_h2c(&self) -> bool {
        self.protocol == Protocol::H2c
    }
}

impl ServiceTargets {
    /// Chooses the arm for a request.
    pub(crate) fn choose(&self, asks: &Asks<'_>, switches: Option<&Switches>) -> Option<Choice> {
        let (splits, Asks { key, rules, visit, .. }) = (&self.routes.splits, *asks);
        let rule = self.routes.rule_for(|rule| rules.contains(&rule.id), key);
        if let Some(target) = rule.and_then(|rule| splits.iter().position(|split| rule.leads_to(split))) {
            return Some(Choice { target, ruled: true, held: false, strayed: false });
        }
        let (belongs, before, strayed) = match self.belonging(asks, switches) {
            Belongs::To { split, is_drawn } => (split, !is_drawn, false),
            Belongs::Gone(_) => (self.routes.choose(key)?, true, true),
            Belongs::Here => (self.routes.choose(key)?, false, false),
        };
        let (chosen, held) = match visit {
            None => (belongs, before),
            Some(entered) => {
                let VisitChoice { split, is_drawn } = self.routes.keep_to_visit(belongs, key, entered);
                (split, before || !is_drawn)
            }
        };
        let target = splits.iter().position(|split| std::ptr::eq(split, chosen))?;
        Some(Choice { target, ruled: false, held, strayed })
    }

    /// Finds what a request belongs to that was admitted before, or within, a switch of the service.
    fn belonging(&self, asks: &Asks<'_>, switches: Option<&Switches>) -> Belongs<'_> {
        let switches = switches.filter(|_| !self.routes.passages.is_empty());
        let admission = || asks.admission.parse::<Admission>().ok();
        let known = switches.and_then(|switches| Some((switches, admission()?)));
        known.map_or(Belongs::Here, |(switches, it)| self.routes.belonging(switches, &it, asks.key))
    }

    /// Tells whether requests of other services may be taken by its rules too, for calls that come later.
    pub(crate) fn is_ruled(&self) -> bool {
        let is_said = |rule: &SplitRule| !matches!(rule.takes, SplitTakes::Places(_) | SplitTakes::Lane);
        self.routes.version_rules.iter().any(is_said)
    }

    /// Finds the operation that a request is for, where that is counted; `path` is as the service sees it.
    pub(crate) fn classify(&self, method: &str, path: &str) -> Class {
        self.trial.as_ref().map_or(Class::default(), |trial| trial.classify(method, path))
    }

    /// Tells whether a failure of this arm can be answered by the stable one.
    pub(crate) fn shields(&self, target: usize) -> bool {
        self.targets[target].role == SplitRole::Candidate && self.stable().is_some()
    }

    /// Returns the arm that stands in for another while that is left alone.
    pub(crate) fn stands_in_for(&self, target: usize) -> Option<usize> {
        let stable = self.stable();
        match self.targets[target].role {
            SplitRole::Candidate => stable,
            SplitRole::Stable if Some(target) == stable => self.fallback,
            SplitRole::Stable | SplitRole::Pinned => None,
        }
    }

    /// Finds the page of maintenance by which nothing is asked of an arm, wherever that comes from.
    pub(crate) fn page_of(&self, target: usize) -> Option<&MaintenancePage> {
        let version = &self.routes.splits.get(target)?.version;
        self.pages.iter().find(|page| page.closes(version))
    }

    /// Goes through the arms that something may be drawn to.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = usize> + '_ {
        let splits = self.routes.splits.iter().enumerate();
        let is_drawn = |split: &Split| {
            split.weight > 0 || self.routes.version_rules.iter().any(|rule| rule.leads_to(split))
        };
        splits.filter(move |(_, split)| is_drawn(split)).map(|(index, _)| index)
    }

    /// Tells whether what is drawn to an arm finds an instance of it, or of one that takes its place, as long as all are healthy.
    pub(crate) fn finds_instance(&self, target: usize) -> bool {
        let is_open = |arm: &&Target| arm.role != SplitRole::Pinned;
        let others = self.targets.iter().filter(is_open);
        self.targets.get(target).into_iter().chain(others).any(|arm| !arm.endpoints.is_empty())
    }

    /// Returns the arm that serves without conditions.
    pub(crate) fn stable(&self) -> Option<usize> {
        self.targets.iter().rposition(|target| target.role == SplitRole::Stable)
    }
}

/// One worker's counters of an arm; aligned so that no two workers write to one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Tally {
    requests: AtomicU64,
    failures: AtomicU64,
    /// How long answers took to begin, by class.
    latencies: [AtomicU64; LATENCY_CLASSES],
}

/// How a request ended for the arm that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Served,
    Failed,
}

impl Tally {
    /// Counts one request.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts how long an answer took to begin.
    pub(crate) fn took(&self, took: Duration) {
        self.latencies[latency_class(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many answers took how long to begin, by class.
    pub(crate) fn latencies(&self) -> [u64; LATENCY_CLASSES] {
        self.latencies.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Counts a request as failed that was counted as served, because its answer broke off.
    pub(crate) fn turned_bad(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what was counted.
    pub(crate) fn read(&self) -> ArmTraffic {
        // Failures first: read in between, a request must not show as failed before it shows at all.
        let failures = self.failures.load(Ordering::Relaxed);
        ArmTraffic { requests: self.requests.load(Ordering::Relaxed), failures }
    }
}

/// Returns the class of latency of a time.
pub(crate) fn latency_class(took: Duration) -> usize {
    // A part of a millisecond counts as one more.
    let ms = took.as_nanos().saturating_sub(1) / 1_000_000;
    let class = (u128::BITS - ms.leading_zeros()) as usize;
    class.min(LATENCY_CLASSES - 1)
}

/// Something wrong with a table, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProblem {
    /// `routes[3]`, `services.orders.splits`.
    pub place: String,
    /// The line of the file, from 1, where it was read from one.
    pub line: Option<usize>,
    /// What is wrong, by names.
    pub detail: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl TableProblem {
    pub(crate) const fn new(place: String, detail: String) -> Self {
        Self { place, line: None, detail, hint: None }
    }
}

impl fmt::Display for TableProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.place.is_empty() {
            write!(f, "`{}`: ", self.place)?;
        }
        f.write_str(&self.detail)
    }
}

/// Checks that a table can be served, and names everything that is wrong with it.
pub(crate) fn check(table: &RouteTable) -> Result<(), ApplyError> {
    let environment = table.environment.clone();
    if table.format > ROUTE_TABLE_FORMAT {
        return Err(ApplyError::NewerFormat { environment, format: table.format });
    }
    let problems: Vec<_> = problems(table).into_iter().map(|it| it.detail).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ApplyError::Invalid { environment, revision: table.revision, problems })
    }
}

/// Returns everything that is wrong with a table.
pub(crate) fn problems(table: &RouteTable) -> Vec<TableProblem> {
    let services = table.services.iter().flat_map(|(name, routes)| service_problems(name, routes));
    let routes = table.routes.iter().enumerate().flat_map(|(index, route)| route_problems(index, route));
    let listeners = table.listeners.iter().flat_map(listening::problems);
    let listeners = listeners.map(|detail| TableProblem::new("listeners".to_owned(), detail));
    let entry = table.entry.iter().filter_map(|entry| entry.settings.check().err());
    let entry =
        entry.map(|error| TableProblem::new("entry".to_owned(), format!("how clients come in: {error}")));
    let rules = table.rules.iter().filter_map(|rules| rules.check().err());
    let rules = rules.map(|error| TableProblem::new("rules".to_owned(), error.to_string()));
    let lanes = lane_problems(table).into_iter().chain(lane_rule_problems(table));
    let names = table.named_endpoints().map(|named| (&named.host, named.port)).collect::<BTreeSet<_>>().len();
    let too_many = (names > MAX_NAMES).then(|| {
        let detail = format!("instances have {names} host names, of which {MAX_NAMES} are looked up at most");
        TableProblem::new("services".to_owned(), detail)
    });
    let between = table.between.iter().flat_map(Between::problems).chain(unknown_ways(table));
    let between = between.map(|detail| TableProblem::new("between".to_owned(), detail));
    rules
        .chain(services)
        .chain(lanes)
        .chain(routes)
        .chain(entry)
        .chain(listeners)
        .chain(between)
        .chain(too_many)
        .collect()
}

/// Finds lanes of one number or name.
fn lane_problems(table: &RouteTable) -> Vec<TableProblem> {
    let mut problems = Vec::new();
    for (index, lane) in table.lanes.iter().enumerate() {
        let before = &table.lanes[..index];
        if before.iter().any(|it| it.id == lane.id || it.name == lane.name) {
            let detail = format!("lane {} has the number or the name of another", lane.name);
            problems.push(TableProblem::new(format!("lanes[{index}]"), detail));
        }
    }
    problems
}

/// Finds rules of lanes that are not there, or give something else.
pub(crate) fn lane_rule_problems(table: &RouteTable) -> Vec<TableProblem> {
    let mut problems = Vec::new();
    for (name, routes) in &table.services {
        let rules = routes.version_rules.iter().enumerate();
        for (index, rule) in rules.filter(|(_, rule)| rule.takes == SplitTakes::Lane) {
            let lane = table.lanes.iter().find(|lane| lane.id == rule.id);
            let gives = lane.and_then(|lane| lane.of_service(name));
            if gives.is_none_or(|it| (&it.version, it.config) != (&rule.version, rule.config)) {
                let detail =
                    format!("rule {} of `{name}` is of no lane that gives {}", rule.id, rule.version);
                problems.push(TableProblem::new(format!("services.{name}.version_rules[{index}]"), detail));
            }
        }
    }
    problems
}

/// Returns everything that is wrong with a route.
pub(crate) fn route_problems(index: usize, route: &Route) -> Vec<TableProblem> {
    let detail = |problem| format!("route `{}` of `{}`: {problem}", route.rule, route.service);
    let problem = |problem| TableProblem::new(format!("routes[{index}]"), detail(problem));
    route.problems().into_iter().map(problem).collect()
}

/// Returns everything that is wrong with a service.
pub(crate) fn service_problems(name: &ServiceName, routes: &ServiceRoutes) -> Vec<TableProblem> {
    let mut problems = Vec::new();
    let splits = format!("services.{name}.splits");
    let mut add = |place: String, detail: String| problems.push(TableProblem::new(place, detail));
    let sum: u64 = routes.splits.iter().map(|split| u64::from(split.weight)).sum();
    if !routes.splits.is_empty() && sum != u64::from(FULL_WEIGHT) {
        add(splits.clone(), format!("weights of `{name}` add up to {sum} instead of {FULL_WEIGHT}"));
    }
    let mut arms: Vec<Arm> = routes.splits.iter().map(|split| split.arm(name)).collect();
    arms.sort();
    for pair in arms.windows(2).filter(|pair| pair[0] == pair[1]) {
        add(splits.clone(), format!("`{}` has two splits", pair[0]));
    }
    let leads_nowhere = |rule: &SplitRule| !routes.splits.iter().any(|split| rule.leads_to(split));
    for (index, rule) in routes.version_rules.iter().enumerate().filter(|(_, rule)| leads_nowhere(rule)) {
        let place = format!("services.{name}.version_rules[{index}]");
        add(place, format!("rule {} of `{name}` leads to {}, which has no split", rule.id, rule.version));
    }
    if let Some(arm) = routes.fallback_arm() {
        let is_it = |split: &&Split| (&split.version, split.config) == (&arm.version, arm.config);
        let place = format!("services.{name}.fallback");
        match routes.splits.iter().find(is_it) {
            None => add(place, format!("{} stands in for others of `{name}` and has no split", arm.version)),
            Some(split) if split.weight > 0 => {
                add(place, format!("{} stands in for others of `{name}` and has a share", arm.version));
            }
            Some(_) => {}
        }
    }
    for (index, split) in routes.splits.iter().enumerate() {
        if split.policy.is_some() && !split.protocol.is_http() {
            let place = format!("services.{name}.splits[{index}].policy");
            add(place, format!("{} speaks TCP, of which nobody knows whether it fails", split.arm(name)));
        }
        for (at, named) in split.named.iter().enumerate().filter(|(_, named)| named.port == 0) {
            let place = format!("services.{name}.splits[{index}].named[{at}].port");
            add(place, format!("`{}` of {} has no port", named.host, split.arm(name)));
        }
        for problem in split.policy.iter().flat_map(|policy| policy.problems()) {
            add(format!("services.{name}.splits[{index}].policy"), format!("{}: {problem}", split.arm(name)));
        }
    }
    if let Some(growth) = &routes.growth {
        let on_trial = routes.splits.iter().find(|split| split.role == SplitRole::Candidate);
        let (now, said) = (on_trial.map(|split| split.weight), growth.weights.last().copied());
        if now != said || said.is_none() {
            let detail = format!("the last share that `{name}` has grown to is not that of an arm on trial");
            add(format!("services.{name}.growth"), detail);
        }
    }
    if let Some(mirror) = &routes.mirror {
        let place = || format!("services.{name}.mirror");
        let split = routes.splits.iter().find(|it| mirror.leads_to(&it.version, it.config));
        match split.map(|split| split.role) {
            Some(SplitRole::Pinned) => {}
            Some(_) => add(
                place(),
                format!("{} has requests of its own: only a pinned version gets copies", mirror.version),
            ),
            None => add(
                place(),
                format!("the mirror of `{name}` leads to {}, which has no split", mirror.version),
            ),
        }
        if let Err(error) = Takes::Mirror(mirror.copies).checked() {
            add(place(), error.to_string());
        }
    }
    problems
}
