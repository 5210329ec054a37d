//! The order of routes. Envoy asks the first that takes a request; here the more specific one is asked first, wherever it stands.
//!
//! Where that would give a request to another route, what both take is written as a route of its own, which does what the first one does and is more
//! specific than both. Invariant: for each request the route that is asked here does what the first one in the list does, or the pair is named.

use std::collections::{BTreeMap, BTreeSet};

use super::matching::{Match, Path, Place};
use super::{Left, Route};

/// Most routes that are made, so that no configuration makes a table without end.
const MAX_MADE: usize = 100;

/// Brings routes of the same hosts into an order that holds here.
pub(super) fn settle(mut routes: Vec<Route>, left: &mut Vec<Left>) -> Vec<Route> {
    drop_what_nobody_reaches(&mut routes, left);
    let (mut room, mut named) = (MAX_MADE, BTreeSet::new());
    // What is made may be in the way of others, so all are looked at anew then.
    loop {
        let made = to_make(&routes, room, &mut named, left);
        if made.is_empty() {
            return routes;
        }
        room -= made.len();
        // From the last one on, so that places before it stay what they are.
        let mut made: Vec<_> = made.into_iter().enumerate().collect();
        made.sort_by_key(|(at, (first, _))| std::cmp::Reverse((*first, *at)));
        for (_, (first, matched)) in made {
            let copy = Route { matched, is_made: true, ..routes[first].clone() };
            routes.insert(first + 1, copy);
        }
        drop_what_nobody_reaches(&mut routes, left);
    }
}

/// Conditions by numbers, so that comparing them costs nothing.
#[derive(Default)]
struct Conditions(BTreeMap<String, usize>);

impl Conditions {
    fn of(&mut self, matched: &Match) -> Vec<usize> {
        let mut number = |condition: String| {
            let next = self.0.len();
            *self.0.entry(condition).or_insert(next)
        };
        matched.when.conditions().map(&mut number).collect()
    }
}

/// Routes by the parts of their paths, so that those are found that may take what another one takes: one of two such paths begins with the
/// other, as far as neither has a variable.
#[derive(Default)]
struct Neighbours {
    /// By the parts before the first variable or open end.
    by_begin: BTreeMap<Vec<String>, Vec<usize>>,
}

impl Neighbours {
    fn add(&mut self, index: usize, Place { begin, .. }: Place) {
        self.by_begin.entry(begin).or_default().push(index);
    }

    /// Returns, in their order, those before that may take what a route takes.
    fn of(&self, Place { begin, is_open }: &Place) -> Vec<usize> {
        let above = (0..begin.len()).filter_map(|length| self.by_begin.get(&begin[..length])).flatten();
        let below = self.by_begin.range(begin.clone()..).take_while(|(other, _)| other.starts_with(begin));
        let below = below.take_while(|(other, _)| *is_open || other.len() == begin.len());
        let mut found: Vec<usize> = above.chain(below.flat_map(|(_, indices)| indices)).copied().collect();
        found.sort_unstable();
        #[cfg(test)]
        COMPARED.with(|count| count.set(count.get() + found.len()));
        found
    }
}

/// Takes out routes whose requests all go to one before.
fn drop_what_nobody_reaches(routes: &mut Vec<Route>, left: &mut Vec<Left>) {
    let (mut kept, mut neighbours) = (Vec::<Route>::with_capacity(routes.len()), Neighbours::default());
    let (mut conditions, mut firsts) = (Conditions::default(), Vec::<Option<usize>>::new());
    for route in routes.drain(..) {
        let (place, own) = (route.matched.path.place(), conditions.of(&route.matched));
        // One that asks for something which this one does not ask for takes not all of its requests.
        let may_cover = |index: &usize| firsts[*index].is_none_or(|first| own.contains(&first));
        let near: Vec<usize> = neighbours.of(&place).into_iter().filter(may_cover).collect();
        let before = || near.iter().map(|&index| &kept[index]);
        match before().find(|earlier| earlier.matched.covers(&route.matched)) {
            // What is made is less than what it is made of, and has to be there all the same.
            Some(_) if route.is_made && !before().any(|it| it.matched == route.matched) => {}
            Some(earlier) => {
                if earlier.place != route.place {
                    let why = format!("not taken over: {} takes all its requests before it", earlier.place);
                    left.push(Left { line: route.line, place: route.place.clone(), why });
                }
                continue;
            }
            None => {}
        }
        neighbours.add(kept.len(), place);
        firsts.push(own.first().copied());
        kept.push(route);
    }
    *routes = kept;
}

/// Finds routes of which something goes to a later one here, and what of it has to be made a route of its own, at most so many. Pairs of which that
/// cannot be said are named, once each.
fn to_make(
    routes: &[Route],
    room: usize,
    named: &mut BTreeSet<(String, String)>,
    left: &mut Vec<Left>,
) -> Vec<(usize, Match)> {
    let (mut neighbours, mut made) = (Neighbours::default(), Vec::<(usize, Match)>::new());
    let ranks: Vec<_> = routes.iter().map(|route| route.matched.rank()).collect();
    for (second, two) in routes.iter().enumerate() {
        let place = two.matched.path.place();
        let near = neighbours.of(&place);
        neighbours.add(second, place);
        for &first in &near {
            let one = &routes[first];
            // What is made of a route does what that does.
            if ranks[second] <= ranks[first] || one.place == two.place {
                continue;
            }
            let both = match one.matched.both(&two.matched) {
                Ok(None) => continue,
                Ok(Some(both)) => Some(both),
                Err(()) => None,
            };
            // Somebody who comes before the later one has it already.
            let has = |both: &Match| {
                let covers = |it: &Match| it.covers(both) && it.rank() > ranks[second];
                let is_there = |&it: &usize| ranks[it] > ranks[second] && routes[it].matched.covers(both);
                near.iter().any(is_there) || made.iter().any(|(_, it)| covers(it))
            };
            if both.as_ref().is_some_and(has) {
                continue;
            }
            match both.filter(|_| made.len() < room && can_be_elsewhere(one)) {
                Some(matched) if !named.contains(&(one.place.clone(), two.place.clone())) => {
                    made.push((first, matched));
                }
                _ => name(one, two, named, left),
            }
        }
    }
    made
}

fn name(one: &Route, two: &Route, named: &mut BTreeSet<(String, String)>, left: &mut Vec<Left>) {
    if !named.insert((one.place.clone(), two.place.clone())) {
        return;
    }
    let why = format!(
        "taken over, but what it and {} take both goes to this one here, and to that one in Envoy",
        one.place
    );
    left.push(Left { line: two.line, place: two.place.clone(), why });
}

/// Tells whether what a route does is the same for another path: what depends on the part that was matched is not.
fn can_be_elsewhere(route: &Route) -> bool {
    let depends = |key: &str| route.does.get(key).and_then(|it| it.get("path")).is_some();
    !depends("rewrite")
        && !depends("redirect")
        && !matches!(route.matched.path, Path::Template(ref path) if path.contains("{part"))
}

#[cfg(test)]
thread_local! {
    static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Returns how many pairs of routes this thread has looked at.
#[cfg(test)]
pub(super) fn compared() -> usize {
    COMPARED.with(std::cell::Cell::get)
}
