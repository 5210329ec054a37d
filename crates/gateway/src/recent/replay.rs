//! What would have become of recent requests by another table.
//!
//! Nothing is sent to anybody. Invariant: a request is said to go somewhere only when all that decides it is known; what asks for
//! something that was not kept cannot be told, and is counted as that.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lockstep_domain::ServiceName;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::request_host::Authority;
use lockstep_domain::request_path::{EscapedSlashes, RequestPath};
use lockstep_domain::routes::actions::Actions;
use lockstep_domain::routes::conditions::{RequestView, Sort};
use lockstep_domain::routes::index::RouteIndex;
use lockstep_domain::routes::{RouteRule, RouteTable, ServiceRoutes, SplitRule, SplitTakes};
use serde::Serialize;

use super::facts::Asked;
use super::listed::{Known, Recent, word, word_of};
use crate::way::ESCAPED_SLASH;

/// Most requests that are named for a difference.
const EXAMPLES: usize = 3;

/// What would have become of recent requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Replay {
    /// How many were looked at.
    pub requests: usize,
    /// How many would go where they went.
    pub same: usize,
    /// Of how many of those the service alone was compared, since their version cannot be told.
    pub by_service: usize,
    /// How many would come to a route that limits how much it takes: which of them it would refuse is not told.
    pub limited: usize,
    /// How many would go elsewhere.
    pub elsewhere: usize,
    /// How many cannot be told.
    pub unknown: usize,
    /// From where to where, the most frequent first.
    pub moves: Vec<Move>,
    /// What is not known of those that cannot be told, and of how many.
    pub missing: BTreeMap<String, usize>,
}

/// Requests that would go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Where they went.
    pub from: Place,
    /// Where they would go.
    pub to: Place,
    /// How many.
    pub requests: usize,
    /// Some of them: method, host and path.
    pub examples: Vec<String>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Place {
    /// The route that takes it; none for a call by name, and where the gateway answers before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The version, where both tables draw it in the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The code of the gateway's own answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Says of each recent request where it would go by a table. Connections to services that speak TCP are none. `salts` are those of the services that are served.
#[must_use]
pub fn replay(table: RouteTable, salts: &BTreeMap<String, String>, recent: &[Recent]) -> Replay {
    let table = table.prepared();
    let (asks, index) = (Asked::of(&table), RouteIndex::new(&table.routes));
    let limiting = table.routes.iter().filter(|route| limits(&route.rule));
    let limiting: BTreeSet<String> = limiting.map(|route| route.rule.to_string()).collect();
    let candidate = Candidate { table, asks, index, salts };
    let recent: Vec<&Recent> = recent.iter().filter(|one| one.tcp.is_none()).collect();
    let mut replay = Replay { requests: recent.len(), ..Replay::default() };
    let mut moves: BTreeMap<(Place, Place), (usize, Vec<String>)> = BTreeMap::new();
    for request in recent {
        match candidate.place(request) {
            Err(missing) => {
                replay.unknown += 1;
                missing.into_iter().for_each(|what| *replay.missing.entry(what).or_default() += 1);
            }
            Ok(to) => {
                replay.limited +=
                    usize::from(to.route.as_ref().is_some_and(|route| limiting.contains(route)));
                let (from, to) = comparable(went(request), to);
                if from.is_same(&to) {
                    replay.same += 1;
                    replay.by_service +=
                        usize::from(to.service.is_some() && to.version.is_none() && to.answer.is_none());
                    continue;
                }
                replay.elsewhere += 1;
                let (count, examples) = moves.entry((from, to)).or_default();
                *count += 1;
                let example = format!("{} {}{}", request.method, request.host, request.path);
                if examples.len() < EXAMPLES && !examples.contains(&example) {
                    examples.push(example);
                }
            }
        }
    }
    let made = |((from, to), (requests, examples))| Move { from, to, requests, examples };
    replay.moves = moves.into_iter().map(made).collect();
    replay.moves.sort_by_key(|one| std::cmp::Reverse(one.requests));
    replay
}

/// Tells whether a route limits how much it takes.
fn limits(rule: &RouteRule) -> bool {
    rule.policy.as_ref().is_some_and(|policy| !policy.limits.is_none())
}

impl Place {
    /// Tells whether a request gets the same, by whatever route.
    fn is_same(&self, other: &Self) -> bool {
        (&self.service, &self.version, &self.answer) == (&other.service, &other.version, &other.answer)
    }
}

/// Leaves the version out where one of the two is not known.
fn comparable(mut from: Place, mut to: Place) -> (Place, Place) {
    if from.service == to.service && (from.version.is_none() || to.version.is_none()) {
        (from.version, to.version) = (None, None);
    }
    (from, to)
}

fn went(Recent { route, service, version, ended, .. }: &Recent) -> Place {
    let answer = ended.as_ref().and_then(|ended| ended.code.clone());
    let (route, service, version) = (route.clone(), service.clone(), version.clone());
    // What an instance was asked for is no answer of the gateway, also when none was there.
    let answer = answer.filter(|_| version.is_none());
    let service = service.filter(|_| !answer.as_deref().is_some_and(is_of_route));
    Place { route, service, version, answer }
}

/// Tells whether a route answers so itself.
fn is_of_route(code: &str) -> bool {
    matches!(code, "redirect" | "respond" | "preflight")
}

struct Candidate<'a> {
    table: RouteTable,
    /// What its conditions ask for.
    asks: Asked,
    index: RouteIndex,
    salts: &'a BTreeMap<String, String>,
}

impl Candidate<'_> {
    /// Returns where a request would go, or what is not known of it.
    fn place(&self, request: &Recent) -> Result<Place, BTreeSet<String>> {
        let view = View { request, asks: &self.asks, missing: RefCell::default() };
        if !request.whole {
            view.miss("the end of a long host or path");
        }
        if matches!(code(request), Some("unknown_caller" | "not_the_instance")) {
            view.miss("who asked");
        }
        let place = self.find(request, &view);
        let missing = view.missing.into_inner();
        if missing.is_empty() { Ok(place) } else { Err(missing) }
    }

    fn find(&self, request: &Recent, view: &View<'_>) -> Place {
        let authority = Authority::read(&request.host).ok();
        let host = authority.as_ref().and_then(|it| it.host());
        let caller = caller(&request.caller);
        let own = |code: &str| Place { answer: Some(code.to_owned()), ..Place::default() };
        if self.is_sent_to_https(request, host, caller) {
            return own("https_only");
        }
        if code(request) == Some(ESCAPED_SLASH) {
            if self.table.rules().escaped_slashes != EscapedSlashes::Redirect {
                view.miss("how its slashes were encoded");
            }
            return own(ESCAPED_SLASH);
        }
        let path = match RequestPath::read(&request.path, || self.table.rules().path_reading()) {
            Ok(path) if path.is_moved() && caller != Caller::Instance => return own(ESCAPED_SLASH),
            Ok(path) => path,
            Err(_) => return own("bad_path"),
        };
        // What a listener of an instance is asked for needs no route.
        let by_name = request.route.is_none() && request.caller == word(Caller::Instance);
        let called = request.service.as_ref().filter(|_| by_name && !request.path.starts_with("/@"));
        let named = called.and_then(|name| name.parse::<ServiceName>().ok());
        let found = match &named {
            Some(service) => Some((service, None)),
            None => {
                let found = self.table.find(&self.index, (host, &path), caller, view);
                found.map(|found| (found.service, found.rule))
            }
        };
        let Some((service, rule)) = found else {
            return own("no_route");
        };
        let route = rule.map(ToString::to_string);
        if let Some(answer) =
            rule.and_then(|rule| rule.then.as_ref()).and_then(|then| answer_of(then, request))
        {
            return Place { route, answer: Some(answer.to_owned()), ..Place::default() };
        }
        let Some(routes) = self.table.services.get(service).filter(|it| !it.splits.is_empty()) else {
            let answer = Some("no_instance".to_owned());
            return Place { route, service: Some(service.to_string()), answer, version: None };
        };
        let version = self.version(service, routes, request, view);
        Place { route, service: Some(service.to_string()), version, answer: None }
    }

    fn is_sent_to_https(&self, request: &Recent, host: Option<&str>, caller: Caller) -> bool {
        let entry = self.table.entry.as_ref().filter(|_| !request.https && caller != Caller::Instance);
        entry.is_some_and(|entry| entry.redirect(host.unwrap_or_default(), &request.path, "", None).is_some())
    }

    /// Returns the version, where it can be told without the key.
    fn version(
        &self,
        service: &ServiceName,
        routes: &ServiceRoutes,
        request: &Recent,
        view: &View<'_>,
    ) -> Option<String> {
        // Which lane a request was in may have been decided before, or by its key.
        if routes.version_rules.iter().any(|rule| rule.takes == SplitTakes::Lane) {
            return None;
        }
        let said = routes.version_rules.iter().find(|rule| is_said(rule, view));
        if let Some(rule) = said {
            return Some(rule.version.to_string());
        }
        let shares = routes.version_rules.iter().any(|rule| matches!(rule.takes, SplitTakes::Places(_)));
        if shares {
            return None;
        }
        if let [only] = routes.splits.as_slice() {
            return Some(only.version.to_string());
        }
        let is_drawn_alike = self.salts.get(service.as_str()) == Some(&routes.salt);
        let drawn = is_drawn_alike && request.service.as_deref() == Some(service.as_str());
        let split = routes.split_at(u32::from(request.place)).filter(|_| drawn)?;
        Some(split.version.to_string())
    }
}

/// Returns the code with which a route answers itself. Whether a browser asked what a page may do is known by how it was answered.
fn answer_of(then: &Actions, request: &Recent) -> Option<&'static str> {
    let was_asked = || code(request) == Some("preflight");
    match then {
        Actions { cors: Some(_), .. } if was_asked() => Some("preflight"),
        Actions { redirect: Some(_), .. } => Some("redirect"),
        Actions { respond: Some(_), .. } => Some("respond"),
        _ => None,
    }
}

fn code(request: &Recent) -> Option<&str> {
    request.ended.as_ref()?.code.as_deref()
}

fn is_said(rule: &SplitRule, view: &View<'_>) -> bool {
    match &rule.takes {
        SplitTakes::Header(pattern) => {
            view.any_header(&pattern.name, &mut |line| line == pattern.value.as_bytes())
        }
        SplitTakes::Cookie(pattern) => {
            view.cookie(&pattern.name).is_some_and(|value| value == pattern.value.as_bytes())
        }
        SplitTakes::Places(_) | SplitTakes::Lane => false,
    }
}

fn caller(name: &str) -> Caller {
    let all = [Caller::Proxy, Caller::Instance];
    all.into_iter().find(|caller| word(*caller) == name).unwrap_or(Caller::Outside)
}

/// A recent request as conditions look at it. What is asked for and was not kept is noted.
struct View<'a> {
    request: &'a Recent,
    asks: &'a Asked,
    missing: RefCell<BTreeSet<String>>,
}

impl View<'_> {
    fn miss(&self, what: &str) {
        self.missing.borrow_mut().insert(what.to_owned());
    }

    /// Returns the values of a name; none where it is not there, or not known.
    fn values(&self, sort: Sort, name: &str) -> Vec<&[u8]> {
        let is_it = |known: &&Known| known.of == word_of(sort) && known.name == name;
        match self.request.known.iter().find(is_it) {
            Some(Known { present: false, .. }) => Vec::new(),
            Some(Known { values: Some(values), .. }) => values.iter().map(String::as_bytes).collect(),
            // That it is there is all that is asked for.
            Some(_) if !self.asks.value_of(sort, name) => vec![b""],
            _ => {
                self.miss(&format!("{} {name}", word_of(sort)));
                Vec::new()
            }
        }
    }
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        &self.request.method
    }

    fn query(&self) -> &str {
        ""
    }

    fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        self.values(Sort::Query, name).first().map(|value| value.to_vec())
    }

    fn any_header(&self, name: &str, is_wanted: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.values(Sort::Header, name).into_iter().any(is_wanted)
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.values(Sort::Cookie, name).first().copied()
    }

    fn client(&self) -> Option<IpAddr> {
        if !self.request.knows_client {
            self.miss("the address of the client behind a proxy");
        }
        self.request.client.parse().ok()
    }
}
