//! The order of routes. Envoy asks the first that takes a request; here the more specific one is asked first, wherever it stands.
//!
//! Where that would give a request to another route, what both take is written as a route of its own, which does what the first one does and is more
//! specific than both. Invariant: for each request the route that is asked here does what the first one in the list does, or the pair is named.

use super::matching::{Match, Path};
use super::{Left, Route};

/// Most routes that are made, so that no configuration makes a table without end.
const MAX_MADE: usize = 100;

/// Brings routes of the same hosts into an order that holds here.
pub(super) fn settle(mut routes: Vec<Route>, left: &mut Vec<Left>) -> Vec<Route> {
    drop_what_nobody_reaches(&mut routes, left);
    let mut made = 0;
    let mut named: Vec<(String, String)> = Vec::new();
    while let Some((first, second, both)) = next_conflict(&routes, &named) {
        let (one, two) = (&routes[first], &routes[second]);
        let pair = (one.place.clone(), two.place.clone());
        match both.filter(|_| made < MAX_MADE && can_be_elsewhere(one)) {
            Some(matched) => {
                made += 1;
                let copy = Route { matched, is_made: true, ..one.clone() };
                routes.insert(first + 1, copy);
                drop_what_nobody_reaches(&mut routes, left);
            }
            None => {
                let why = format!(
                    "taken over, but what it and {} take both goes to this one here, and to that one in Envoy",
                    one.place
                );
                left.push(Left { line: two.line, place: two.place.clone(), why });
                named.push(pair);
            }
        }
    }
    routes
}

/// Takes out routes whose requests all go to one before.
fn drop_what_nobody_reaches(routes: &mut Vec<Route>, left: &mut Vec<Left>) {
    let mut at = 1;
    while at < routes.len() {
        let (before, route) = (&routes[..at], &routes[at]);
        match before.iter().find(|earlier| earlier.matched.covers(&route.matched)) {
            None => at += 1,
            // What is made is less than what it is made of, and has to be there all the same.
            Some(_) if route.is_made && !before.iter().any(|it| it.matched == route.matched) => at += 1,
            Some(earlier) => {
                if earlier.place != route.place {
                    let why = format!("not taken over: {} takes all its requests before it", earlier.place);
                    left.push(Left { line: route.line, place: route.place.clone(), why });
                }
                routes.remove(at);
            }
        }
    }
}

/// Finds two routes of which the later one would be asked first here, and what both take.
fn next_conflict(routes: &[Route], named: &[(String, String)]) -> Option<(usize, usize, Option<Match>)> {
    for (second, two) in routes.iter().enumerate() {
        for (first, one) in routes[..second].iter().enumerate() {
            // What is made of a route does what that does.
            let is_same = one.place == two.place;
            if is_same
                || !two.matched.comes_before(&one.matched)
                || named.iter().any(|(a, b)| *a == one.place && *b == two.place)
            {
                continue;
            }
            match one.matched.both(&two.matched) {
                Ok(None) => {}
                Ok(Some(both)) => {
                    // Somebody who comes before the later one has it already.
                    let is_settled = routes[..second]
                        .iter()
                        .any(|it| it.matched.covers(&both) && it.matched.comes_before(&two.matched));
                    if !is_settled {
                        return Some((first, second, Some(both)));
                    }
                }
                Err(()) => return Some((first, second, None)),
            }
        }
    }
    None
}

/// Tells whether what a route does is the same for another path: what depends on the part that was matched is not.
fn can_be_elsewhere(route: &Route) -> bool {
    let depends = |key: &str| route.does.get(key).and_then(|it| it.get("path")).is_some();
    !depends("rewrite")
        && !depends("redirect")
        && !matches!(route.matched.path, Path::Template(ref path) if path.contains("{part"))
}
