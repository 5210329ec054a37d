//! A virtual host of Envoy: which hosts it is, its routes, and what becomes of requests that none of these takes.

use std::collections::BTreeMap;

use lockstep_domain::request_host::normalize_route_host;
use toml::{Table, Value};

use super::action::Waits;
use super::cluster::Cluster;
use super::document::{Item, Message};
use super::matching::{self, Match, Path};
use super::route::route;
use super::{Hosts, Left, Route};

pub(super) fn virtual_host(
    item: &Item<'_>,
    config: &Message<'_>,
    at: (&BTreeMap<String, Cluster>, Waits),
    left: &mut Vec<Left>,
) -> Hosts {
    let message = item.message();
    let mut names = Vec::new();
    for domain in message.list("domains") {
        match host(domain.text().unwrap_or_default()) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(why) => domain.leave(left, why),
        }
    }
    message.pass_over(&["name"]);
    let retries = message.message("retry_policy");
    let routes = message
        .list("routes")
        .iter()
        .filter_map(|it| route(it, (&message, config), (at, retries.as_ref()), left))
        .collect();
    message.leave(
        "require_tls",
        left,
        "NOT taken over: http = \"redirect\" in [entry] sends clients to https, for all hosts",
    );
    message.pass_over(&[
        "request_headers_to_add",
        "request_headers_to_remove",
        "response_headers_to_add",
        "response_headers_to_remove",
    ]);
    message.leave("cors", left, "cors = { origins = [\"https://shop.example\"] } of the routes");
    message.leave_others(left, "there is nothing like it");
    Hosts { names, routes }
}

/// Reads a domain; none is every host.
fn host(domain: &str) -> Result<Option<String>, &'static str> {
    if domain == "*" {
        return Ok(None);
    }
    let without_port = match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => host,
        _ => domain,
    };
    let inner = without_port.strip_prefix("*.").unwrap_or(without_port);
    if inner.contains('*') {
        return Err("not taken over: a host is a name, or `*.` before one");
    }
    normalize_route_host(without_port).map(Some).map_err(|_| "not taken over: it is no host")
}

/// Adds the end of what hosts answer: Envoy asks the routes of one virtual host alone, and here those of wider ones would come next.
pub(super) fn with_ends(hosts: Vec<Hosts>) -> Vec<Hosts> {
    let all: Vec<Option<String>> = hosts.iter().flat_map(|it| it.names.clone()).collect();
    let is_wider = |wide: &Option<String>, name: &str| match wide {
        None => true,
        Some(wide) => wide.strip_prefix('*').is_some_and(|end| name != wide && name.ends_with(end)),
    };
    let mut split = Vec::new();
    for Hosts { names, routes } in hosts {
        let (ended, others): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| name.as_ref().is_some_and(|name| all.iter().any(|wide| is_wider(wide, name))));
        if !ended.is_empty() {
            let mut routes = routes.clone();
            let everything = Match { path: Path::Prefix("/".to_owned()), when: matching::When::default() };
            let respond = Table::from_iter([("status".to_owned(), Value::from(404))]);
            let does = Table::from_iter([("respond".to_owned(), Value::from(respond))]);
            let end = Route {
                matched: everything,
                does,
                whom: Vec::new(),
                place: String::new(),
                line: 0,
                is_made: false,
            };
            if !routes.iter().any(|it| it.matched.covers(&end.matched)) {
                routes.push(end);
            }
            split.push(Hosts { names: ended, routes });
        }
        if !others.is_empty() {
            split.push(Hosts { names: others, routes });
        }
    }
    split
}
