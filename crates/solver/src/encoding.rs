//! Versions as literals: "this service is at this version or a later one".
//!
//! Only versions at which some rule begins or ends are told apart; between two of them all are alike. So a service with a thousand versions that
//! changed its contracts three times has four literals.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use batsat::Lit;

use crate::maxsat::Sat;
use crate::problem::{Bar, Burden, Cause, Preference, Problem, Rule, Service, Versions};

/// The literals of a problem.
pub(crate) struct Encoding {
    services: Vec<Steps>,
    /// For each burden a literal that is true only where it is not borne, and what it weighs.
    unburdened: Vec<(Lit, u64)>,
    /// For each preference a literal that is true only where it is met.
    preferred: Vec<Lit>,
}

/// The literals of a service.
struct Steps {
    /// Where versions begin to differ, in their order, each with "at it or later".
    from: Vec<(u32, Lit)>,
    /// "It stays where it is", unless it has nowhere else to go.
    stays: Option<Lit>,
    service: Service,
}

/// A literal, or what is true or false anyway.
#[derive(Clone, Copy)]
enum Term {
    Literal(Lit),
    Always(bool),
}

impl Encoding {
    /// Encodes the services and all rules. Rules whose causes have a literal hold only where that is true.
    pub(crate) fn new(problem: &Problem, sat: &mut Sat, if_held: impl Fn(Cause) -> Option<Lit>) -> Self {
        let bounds = bounds(problem);
        let mut services: Vec<Option<Steps>> = problem.services.iter().map(|_| None).collect();
        // What is assumed first contradicts soonest: the literals of what has to move come first, then of what it is tied to.
        for service in outwards(problem) {
            services[service] = Some(Steps::new(&problem.services[service], &bounds[service], sat));
        }
        let services = services.into_iter().flatten().collect();
        let mut encoding = Self { services, unburdened: Vec::new(), preferred: Vec::new() };
        for (cause, rule) in &problem.rules {
            encoding.hold(rule, if_held(*cause), sat);
        }
        encoding.unburdened =
            problem.burdens.iter().map(|it| (encoding.without(it, sat), it.weight)).collect();
        encoding.preferred = problem.preferences.iter().map(|it| encoding.preference(it, sat)).collect();
        encoding
    }

    fn without(&self, burden: &Burden, sat: &mut Sat) -> Lit {
        let is_not_borne = sat.literal(true);
        for part in burden.versions.parts() {
            let [from, until] = [part.start, part.end].map(|at| self.from(burden.service, at));
            add(sat, &[(from, false), (until, true)], Some(is_not_borne));
        }
        is_not_borne
    }

    /// For each burden a literal that is true only where it is not borne, and what it weighs.
    pub(crate) fn unburdened(&self) -> &[(Lit, u64)] {
        &self.unburdened
    }

    fn preference(&self, preference: &Preference, sat: &mut Sat) -> Lit {
        let is_met = sat.literal(true);
        let all = |places: &Vec<(usize, Range<u32>)>, sat: &mut Sat| {
            let holds = sat.literal(true);
            for (service, versions) in places {
                let [from, until] = [versions.start, versions.end].map(|at| self.from(*service, at));
                add(sat, &[(from, true)], Some(holds));
                add(sat, &[(until, false)], Some(holds));
            }
            holds
        };
        let any: Vec<Lit> = preference.0.iter().map(|places| all(places, sat)).collect();
        sat.clause(any.into_iter().chain([!is_met]));
        is_met
    }

    /// For each preference a literal that is true only where it is met.
    pub(crate) fn preferred(&self) -> &[Lit] {
        &self.preferred
    }

    /// "The service is at this version or later."
    fn from(&self, service: usize, version: u32) -> Term {
        let steps = &self.services[service];
        if version == 0 || version >= steps.service.versions {
            return Term::Always(version == 0);
        }
        match steps.from.binary_search_by_key(&version, |(at, _)| *at) {
            Ok(found) => Term::Literal(steps.from[found].1),
            // Each version at which a rule begins or ends is a bound.
            Err(_) => Term::Always(false),
        }
    }

    fn hold(&self, rule: &Rule, if_held: Option<Lit>, sat: &mut Sat) {
        let mut clause = |terms: &[(Term, bool)]| add(sat, terms, if_held);
        match rule {
            Rule::Bar(bar) => self.never(std::slice::from_ref(bar), &mut clause),
            Rule::Never(all) => self.never(all, &mut clause),
            Rule::Need(need) => {
                let lacking = need.offered.others(self.services[need.provider].service.versions);
                for (used, lacks) in
                    need.used.parts().iter().flat_map(|used| lacking.parts().iter().map(move |it| (used, it)))
                {
                    let [one, other] = [(need.consumer, used), (need.provider, lacks)]
                        .map(|(service, versions)| Bar { service, versions: versions.clone() });
                    self.never(&[one, other], &mut clause);
                }
            }
        }
    }

    /// Services are not all at these versions at once.
    fn never(&self, all: &[Bar], clause: &mut impl FnMut(&[(Term, bool)])) {
        if all.iter().any(|bar| bar.versions.is_empty()) {
            return;
        }
        let ends = |bar: &Bar| {
            let [from, until] = [bar.versions.start, bar.versions.end].map(|at| self.from(bar.service, at));
            [(from, false), (until, true)]
        };
        clause(&all.iter().flat_map(ends).collect::<Vec<_>>());
    }

    /// "The service stays"; `None` when it cannot do otherwise.
    pub(crate) fn stays(&self, service: usize) -> Option<Lit> {
        self.services[service].stays
    }

    /// Wishes that a service goes no version further than it must: each with how many versions it saves.
    pub(crate) fn near(&self, service: usize) -> Vec<(Lit, u64)> {
        let steps = &self.services[service];
        let current = steps.service.current;
        let (down, up): (Vec<_>, Vec<_>) = steps.from.iter().partition(|(at, _)| *at <= current);
        let mut wishes = Vec::new();
        let mut last = current;
        for &(at, literal) in &up {
            wishes.push((!literal, u64::from(at - last)));
            last = at;
        }
        let mut last = current + 1;
        for &(at, literal) in down.iter().rev() {
            wishes.push((literal, u64::from(last - at)));
            last = at;
        }
        wishes
    }

    /// Where a service is in what satisfied the clauses: of versions that are alike the one next to the current one.
    pub(crate) fn version(&self, service: usize, sat: &Sat) -> u32 {
        let steps = &self.services[service];
        let reached =
            steps.from.iter().rev().find(|(_, literal)| sat.is_true(*literal)).map_or(0, |(at, _)| *at);
        let next =
            steps.from.iter().map(|(at, _)| *at).find(|at| *at > reached).unwrap_or(steps.service.versions);
        steps.service.current.clamp(reached, next - 1)
    }
}

impl Steps {
    fn new(service: &Service, bounds: &BTreeSet<u32>, sat: &mut Sat) -> Self {
        // What runs is tried first.
        let from: Vec<_> = bounds.iter().map(|&at| (at, sat.literal(at <= service.current))).collect();
        from.windows(2).for_each(|pair| sat.clause([!pair[1].1, pair[0].1]));
        let own = |at: u32| from.iter().find(|(bound, _)| *bound == at).map(|(_, literal)| *literal);
        let ends = [own(service.current), own(service.current + 1).map(|it| !it)];
        let ends: Vec<Lit> = ends.into_iter().flatten().collect();
        let stays = (!ends.is_empty()).then(|| sat.literal(true));
        if let Some(stays) = stays {
            ends.iter().for_each(|&end| sat.clause([!stays, end]));
            sat.clause(ends.iter().map(|&end| !end).chain([stays]));
        }
        Self { from, stays, service: service.clone() }
    }
}

/// At which versions something begins to differ: where rules begin and end, and around what runs.
fn bounds(problem: &Problem) -> Vec<BTreeSet<u32>> {
    let around = |service: &Service| BTreeSet::from([service.current, service.current + 1]);
    let mut bounds: Vec<BTreeSet<u32>> = problem.services.iter().map(around).collect();
    for (_, rule) in &problem.rules {
        match rule {
            Rule::Bar(bar) => bounds[bar.service].extend([bar.versions.start, bar.versions.end]),
            Rule::Never(all) => {
                all.iter().for_each(|bar| bounds[bar.service].extend([bar.versions.start, bar.versions.end]));
            }
            Rule::Need(need) => {
                let ends = |versions: &Versions| {
                    versions.parts().iter().flat_map(|part| [part.start, part.end]).collect::<Vec<_>>()
                };
                bounds[need.consumer].extend(ends(&need.used));
                bounds[need.provider].extend(ends(&need.offered));
            }
        }
    }
    for burden in &problem.burdens {
        bounds[burden.service].extend(burden.versions.parts().iter().flat_map(|part| [part.start, part.end]));
    }
    for (service, versions) in problem.preferences.iter().flat_map(|preference| preference.0.iter().flatten())
    {
        bounds[*service].extend([versions.start, versions.end]);
    }
    for (service, bounds) in problem.services.iter().zip(&mut bounds) {
        bounds.retain(|at| (1..service.versions).contains(at));
    }
    bounds
}

/// All services: first those with bars, then their partners, then those of these, and so on.
fn outwards(problem: &Problem) -> Vec<usize> {
    let count = problem.services.len();
    let (mut partners, mut order) = (vec![Vec::new(); count], Vec::with_capacity(count));
    for (_, need) in problem.needs() {
        partners[need.consumer].push(need.provider);
        partners[need.provider].push(need.consumer);
    }
    let mut waiting: VecDeque<usize> = problem.bars().map(|(_, bar)| bar.service).collect();
    let (mut seen, mut others) = (vec![false; count], 0..count);
    while let Some(service) = waiting.pop_front().or_else(|| others.next()) {
        if !std::mem::replace(&mut seen[service], true) {
            order.push(service);
            waiting.extend(&partners[service]);
        }
    }
    order
}

/// Adds a clause of terms, each as it is or negated.
fn add(sat: &mut Sat, terms: &[(Term, bool)], if_held: Option<Lit>) {
    let mut clause: Vec<Lit> = if_held.map(|it| !it).into_iter().collect();
    for &(term, sign) in terms {
        match term {
            Term::Literal(literal) => clause.push(if sign { literal } else { !literal }),
            Term::Always(value) if value == sign => return,
            Term::Always(_) => {}
        }
    }
    sat.clause(clause);
}
