//! Finding by the index is the same as reading all routes and taking the one that the written rule puts first.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::super::conditions::{Conditions, Wanted, WantedValue};
use super::super::{RouteRule, RouteTable};
use super::*;

/// A request as its parts.
#[derive(Debug, Clone)]
struct Given {
    host: Option<String>,
    path: String,
    method: String,
    query: String,
    headers: Vec<(String, String)>,
    cookies: Vec<(String, String)>,
    client: Option<IpAddr>,
}

impl RequestView for Given {
    fn method(&self) -> &str {
        &self.method
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn any_header(&self, name: &str, is_wanted: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().filter(|(known, _)| known == name).any(|(_, value)| is_wanted(value.as_bytes()))
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_bytes())
    }

    fn client(&self) -> Option<IpAddr> {
        self.client
    }
}

/// The rule as it is written in the reference, without a thought for speed.
mod plain {
    use super::*;

    pub(super) fn find(routes: &[Route], request: &Given) -> Option<usize> {
        let takes =
            |route: &Route| host(route, request) && path(route, request) && conditions(route, request);
        (0..routes.len()).filter(|&it| takes(&routes[it])).reduce(|best, it| {
            if order(&routes[it].rule, &routes[best].rule) == Ordering::Greater { it } else { best }
        })
    }

    fn host(route: &Route, request: &Given) -> bool {
        match (&route.rule.host, &request.host) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(host)) if wanted.starts_with("*.") => {
                host.len() > wanted.len() - 1 && host.ends_with(&wanted[1..])
            }
            (Some(wanted), Some(host)) => wanted == host,
        }
    }

    fn path(route: &Route, request: &Given) -> bool {
        let wanted: Vec<&str> = route.rule.path.split('/').collect();
        let given: Vec<&str> = request.path.split('/').collect();
        match route.rule.path_type {
            PathType::Exact => wanted == given,
            PathType::Prefix => {
                let parts =
                    if wanted.last() == Some(&"") { &wanted[..wanted.len() - 1] } else { &wanted[..] };
                given.len() >= parts.len() && given[..parts.len()] == *parts
            }
            PathType::Template => {
                let fits = |(wanted, given): (&&str, &&str)| match wanted.starts_with('{') {
                    true => !given.is_empty(),
                    false => wanted == given,
                };
                let open = wanted.last().is_some_and(|last| last.ends_with("...}"));
                let fixed = if open { wanted.len() - 1 } else { wanted.len() };
                let long_enough = if open { given.len() > fixed } else { given.len() == fixed };
                long_enough && wanted[..fixed].iter().zip(&given[..fixed]).all(fits)
            }
        }
    }

    fn conditions(route: &Route, request: &Given) -> bool {
        let Conditions { methods, headers, query, cookies, clients } = &route.rule.when;
        let fits = |wanted: &WantedValue, value: &str| match wanted {
            WantedValue::Present => true,
            WantedValue::Exact(text) => text == value,
            // The only expression of these tests.
            WantedValue::Regex(_) => value.starts_with('x'),
        };
        let first = |pairs: &[(String, String)], name: &str| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let parameters: Vec<(String, String)> = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        (methods.is_empty() || methods.contains(&request.method))
            && headers.iter().all(|it| {
                request.headers.iter().any(|(name, value)| *name == it.name && fits(&it.value, value))
            })
            && cookies.iter().all(|it| first(&request.cookies, &it.name).is_some_and(|v| fits(&it.value, &v)))
            && query.iter().all(|it| first(&parameters, &it.name).is_some_and(|v| fits(&it.value, &v)))
            && (clients.is_empty()
                || request.client.is_some_and(|client| clients.iter().any(|it| it.contains(client))))
    }

    /// The greater one comes first.
    fn order(one: &RouteRule, other: &RouteRule) -> Ordering {
        let host = |rule: &RouteRule| match rule.host.as_deref() {
            None => 0,
            Some(host) if host.starts_with('*') => host.len(),
            Some(_) => usize::MAX,
        };
        let exact = |rule: &RouteRule| rule.path_type == PathType::Exact;
        let literal = |rule: &RouteRule| -> usize {
            let path = match rule.path_type {
                PathType::Prefix => rule.path.trim_end_matches('/'),
                _ => &rule.path,
            };
            let parts = path.split('/').skip(1);
            parts.map(|part| 1 + if part.starts_with('{') { 0 } else { part.len() }).sum()
        };
        let kind = |rule: &RouteRule| match (rule.path_type, rule.path.ends_with("...}")) {
            (PathType::Prefix, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        let methods = |rule: &RouteRule| !rule.when.methods.is_empty();
        let fields = |rule: &RouteRule| rule.when.headers.len() + rule.when.cookies.len();
        let query = |rule: &RouteRule| rule.when.query.len();
        let network = |rule: &RouteRule| rule.when.clients.iter().map(|it| it.prefix_length() + 1).max();
        host(one)
            .cmp(&host(other))
            .then(exact(one).cmp(&exact(other)))
            .then(literal(one).cmp(&literal(other)))
            .then(kind(one).cmp(&kind(other)))
            .then(methods(one).cmp(&methods(other)))
            .then(fields(one).cmp(&fields(other)))
            .then(query(one).cmp(&query(other)))
            .then(network(one).cmp(&network(other)))
    }
}

fn value() -> impl Strategy<Value = WantedValue> {
    prop_oneof![
        Just(WantedValue::Present),
        "[xy]".prop_map(WantedValue::Exact),
        Just(WantedValue::Regex("x.*".into())),
    ]
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let one = ("[ab]", value()).prop_map(|(name, value)| Wanted { name, value });
    prop_oneof![3 => Just(Vec::new()), 1 => vec(one, 1..3)]
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let methods = prop_oneof![2 => Just(BTreeSet::new()), 1 => btree_set("(GET|PUT)", 1..3)];
    let network = prop_oneof![Just("10.0.0.0/8"), Just("10.1.0.0/16"), Just("::1")];
    let clients =
        prop_oneof![3 => Just(Vec::new()), 1 => vec(network.prop_map(|it| it.parse().unwrap()), 1..3)];
    (methods, wanted(), wanted(), wanted(), clients).prop_map(
        |(methods, headers, query, cookies, clients)| Conditions {
            methods,
            headers,
            query,
            cookies,
            clients,
        },
    )
}

fn host() -> impl Strategy<Value = Option<String>> {
    option::of("(\\*\\.)?(a|b|(a\\.)?shop|b\\.shop)\\.test")
}

fn route() -> impl Strategy<Value = Route> {
    let path = prop_oneof![
        "(/(a|b|c)){0,3}/?".prop_map(|path| (PathType::Prefix, path)),
        "(/(a|b|c)){0,3}/?".prop_map(|path| (PathType::Exact, path)),
        ("(/(a|b|\\{x\\}|\\{x\\})){1,3}", "(/\\{r\\.\\.\\.\\}|/|)")
            .prop_map(|(path, end)| (PathType::Template, format!("{path}{end}"))),
    ];
    (host(), path, conditions(), "[a-c]").prop_map(|(host, (path_type, path), when, service)| Route {
        rule: RouteRule {
            host,
            path: if path.is_empty() { "/".into() } else { numbered(&path) },
            path_type,
            when,
            ..RouteRule::default()
        },
        service: service.parse().unwrap(),
    })
}

/// Gives each variable a name of its own.
fn numbered(path: &str) -> String {
    let mut count = 0;
    path.split('/')
        .map(|part| {
            if part == "{x}" {
                count += 1;
                format!("{{x{count}}}")
            } else {
                part.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn request() -> impl Strategy<Value = Given> {
    let pairs = || vec(("[ab]", "[xyz]{1,2}"), 0..4);
    let client = prop_oneof![
        Just(None),
        Just(Some("10.1.2.3".parse().unwrap())),
        Just(Some("10.9.2.3".parse().unwrap())),
        Just(Some("::1".parse().unwrap())),
    ];
    let host = option::of("([ab]\\.)?([ab]\\.)?(a|b|shop)\\.test");
    (host, "(/(a|b|c|d)){0,4}/?", "(GET|PUT|POST)", pairs(), pairs(), pairs(), client).prop_map(
        |(host, path, method, query, headers, cookies, client)| Given {
            host,
            path: if path.is_empty() { "/".into() } else { path },
            method,
            query: query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"),
            headers,
            cookies,
            client,
        },
    )
}

fn prepared(routes: Vec<Route>) -> Vec<Route> {
    let empty = r#"{"format":8,"environment":"test","revision":1,"baseline":0,"routes":[],"services":{}}"#;
    let table: RouteTable = serde_json::from_str(empty).unwrap();
    RouteTable { routes, ..table }.prepared().routes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_index_finds_what_the_written_rule_says(
        routes in vec(route(), 0..40),
        requests in vec(request(), 1..12),
    ) {
        let count = routes.len();
        let routes = prepared(routes);
        prop_assert_eq!(routes.len(), count, "every one of them has a form");
        let index = RouteIndex::new(&routes);
        for request in &requests {
            let (host, path) = (request.host.as_deref(), request.path.as_str());
            let found = index.find(&routes, host, path, request);
            prop_assert_eq!(found, plain::find(&routes, request), "{:?}", request);
            let verdicts = index.verdicts(&routes, host, path, request);
            prop_assert_eq!(found, verdicts.iter().position(|it| *it == Verdict::Takes));
        }
    }

    #[test]
    fn what_is_said_in_another_order_and_with_other_names_is_the_same_route(one in route()) {
        let mut other = one.clone();
        other.rule.path = other.rule.path.replace("{x", "{other").replace("{r", "{further");
        for list in [&mut other.rule.when.headers, &mut other.rule.when.query, &mut other.rule.when.cookies] {
            list.reverse();
        }
        other.rule.when.clients.reverse();
        prop_assert_eq!(one.rule.key(), other.rule.key());
        prop_assert_eq!(one.rule.precedence(), other.rule.precedence());
    }

    #[test]
    fn routes_that_differ_in_anything_have_different_keys(one in route(), other in route()) {
        let same = one.rule.host == other.rule.host
            && one.rule.path_type == other.rule.path_type
            && one.rule.path == other.rule.path
            && one.rule.when.sorted() == other.rule.when.sorted();
        prop_assert_eq!(same, one.rule.key() == other.rule.key(), "{} {}", one.rule.key(), other.rule.key());
    }
}

#[test]
fn an_expression_that_cannot_be_used_takes_nothing() {
    let wanted = Wanted { name: "a".into(), value: WantedValue::Regex("(".into()) };
    let when = Conditions { headers: vec![wanted], ..Conditions::default() };
    let route = Route { rule: RouteRule { when, ..RouteRule::default() }, service: "a".parse().unwrap() };
    assert_eq!(route.problems().len(), 1);
    let request = Given {
        host: None,
        path: "/".into(),
        method: "GET".into(),
        query: String::new(),
        headers: vec![("a".into(), "(".into())],
        cookies: Vec::new(),
        client: None,
    };
    let routes = [route];
    assert_eq!(RouteIndex::new(&routes).find(&routes, None, "/", &request), None);
}
