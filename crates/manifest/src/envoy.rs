//! Takes over the usual parts of a static Envoy configuration into a route table in TOML, and names every field that is not taken over.
//!
//! Invariant: nothing is passed over. A field is taken over, changes nothing, or is named with its place and why; and a route that would
//! take other requests than it does in Envoy, or send them elsewhere, is not taken over.

mod action;
mod cluster;
mod document;
mod matching;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lockstep_domain::request_host::normalize_route_host;
use thiserror::Error;
use toml::{Table, Value};

use action::{Waits, Whom};
use cluster::Cluster;
use document::{Item, Message};
use matching::{Match, Path};

/// Longest configuration that is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How long Envoy waits for a stream on which nothing is said.
const USUAL_IDLE_MS: u64 = 300_000;

/// Why a text is no configuration of Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct EnvoyError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A field that is not taken over, or not as it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Its line.
    pub line: usize,
    /// Its place, such as `static_resources.clusters[0].health_checks`.
    pub place: String,
    /// Why, and what to do instead.
    pub why: String,
}

/// A configuration as a route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The table, in TOML.
    pub toml: String,
    /// What is not taken over, in the order of the file.
    pub left: Vec<Left>,
}

/// A route that is taken over.
#[derive(Debug, Clone)]
struct Route {
    matched: Match,
    does: Table,
    whom: Whom,
    place: String,
    line: usize,
    /// Whether it stands for what two others take both.
    is_made: bool,
}

/// The routes of some hosts.
struct Hosts {
    /// None is every host.
    names: Vec<Option<String>>,
    routes: Vec<Route>,
}

/// Takes a configuration over, in YAML or JSON. `environment` is what the table is called; of several listeners the one of this name is taken, the first when left out.
///
/// # Errors
/// When the text is no document, or has no listener of that name.
pub fn import(text: &str, environment: &str, listener: Option<&str>) -> Result<Imported, EnvoyError> {
    if text.len() > MAX_BYTES {
        return Err(EnvoyError { line: 1, what: format!("the file has more than {MAX_BYTES} bytes") });
    }
    let root = crate::yaml::parse(text).map_err(|error| EnvoyError { line: error.line, what: error.why })?;
    let root = Item::root(&root).message();
    let mut left = Vec::new();
    let Some(resources) = root.message("static_resources") else {
        let what =
            "there are no static_resources: what a management server gives is not in the file".to_owned();
        return Err(EnvoyError { line: root.item.node.line, what });
    };
    let clusters: BTreeMap<String, Cluster> =
        resources.list("clusters").iter().filter_map(|it| cluster::read(it, &mut left)).collect();
    let listeners = resources.list("listeners");
    let chosen = chosen(&listeners, listener)?;
    let mut entry = Table::new();
    let hosts = match &chosen {
        Some(chosen) => self::listener(chosen, &clusters, &mut entry, &mut left),
        None => Vec::new(),
    };
    for other in listeners.iter().filter(|it| chosen.as_ref().is_none_or(|chosen| chosen.place != it.place)) {
        let name = other.message().text("name").unwrap_or_default().to_owned();
        other.leave(
            &mut left,
            format!("a table has the routes of one listener: --listener {name} makes another table"),
        );
    }
    resources.leave_others(&mut left, "there is nothing like it");
    root.pass_over(&["node"]);
    root.leave("admin", &mut left, "lockstep gateway run --admin-address");
    root.leave("dynamic_resources", &mut left, "what a management server gives is not in the file");
    root.leave_others(&mut left, "there is nothing like it");
    let hosts: Vec<Hosts> = with_ends(hosts)
        .into_iter()
        .map(|hosts| {
            let routes = order::settle(hosts.routes, &mut left);
            Hosts { routes, ..hosts }
        })
        .collect();
    left.sort();
    left.dedup();
    let toml = written(environment, &entry, &hosts, &clusters);
    // What a table cannot have is said here, and not where it is served.
    let wrong = crate::table::parse_table(&toml, "table").err().unwrap_or_default();
    left.extend(wrong.iter().map(|problem| {
        let why = format!("the table has to be mended by hand: {}", problem.message);
        Left {
            line: problem.line,
            place: format!("line {} of the table, {}", problem.line, problem.field),
            why,
        }
    }));
    Ok(Imported { toml, left })
}

fn chosen<'n>(listeners: &[Item<'n>], name: Option<&str>) -> Result<Option<Item<'n>>, EnvoyError> {
    let Some(name) = name else {
        let serves = |it: &&Item<'_>| managers(&it.message(), &mut Vec::new()).next().is_some();
        return Ok(listeners.iter().find(serves).cloned());
    };
    let found = listeners.iter().find(|it| it.message().text("name") == Some(name)).cloned();
    let names: Vec<_> =
        listeners.iter().filter_map(|it| it.message().text("name").map(str::to_owned)).collect();
    let what = || format!("there is no listener `{name}`; there are: {}", names.join(", "));
    found.map(Some).ok_or_else(|| EnvoyError { line: 1, what: what() })
}

/// Goes through the chains of a listener that speak HTTP, with what their filter says.
fn managers<'n>(
    listener: &Message<'n>,
    left: &mut Vec<Left>,
) -> std::vec::IntoIter<(Message<'n>, Message<'n>)> {
    let mut found = Vec::new();
    for chain in listener.list("filter_chains") {
        let chain = chain.message();
        for filter in chain.list("filters") {
            let message = filter.message();
            let config = message.message("typed_config");
            let is_http =
                |it: &Message<'_>| it.text("@type").is_some_and(|it| it.ends_with("HttpConnectionManager"));
            match config.filter(is_http) {
                Some(config) => found.push((self::chain(&chain.item), config)),
                None => filter.leave(left, "not taken over: only routes of HTTP are ([[tcp]] leads a port to a service that speaks TCP)"),
            }
        }
    }
    found.into_iter()
}

fn chain<'n>(item: &Item<'n>) -> Message<'n> {
    item.message()
}

fn listener(
    item: &Item<'_>,
    clusters: &BTreeMap<String, Cluster>,
    entry: &mut Table,
    left: &mut Vec<Left>,
) -> Vec<Hosts> {
    let message = item.message();
    let port = message
        .message("address")
        .and_then(|it| it.message("socket_address")?.get("port_value")?.number::<i64>());
    let mut managers = managers(&message, left);
    let Some((chain, manager)) = managers.next() else {
        item.leave(left, "not taken over: it does not speak HTTP");
        return Vec::new();
    };
    for (other, _) in managers {
        other.item.leave(left, "a table has the routes of one chain");
    }
    chain.pass_over(&["filters", "name"]);
    if let Some(socket) = chain.message("transport_socket") {
        secure(&socket, port, entry, left);
    }
    chain
        .leave_others(left, "there is nothing like it: clients are told apart by the host that they ask for");
    message.pass_over(&[
        "name",
        "address",
        "filter_chains",
        "stat_prefix",
        "traffic_direction",
        "enable_reuse_port",
        "reuse_port",
        "per_connection_buffer_limit_bytes",
    ]);
    for filter in message.list("listener_filters") {
        let kinds = ["tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector"];
        let plain = ["envoy.filters.listener.tls_inspector", "envoy.filters.listener.http_inspector"];
        if !kinds.iter().any(|kind| is_kind(&filter.message(), kind, &plain)) {
            filter.leave(left, "not taken over: proxy_networks says who begins with a PROXY header");
        }
    }
    message.leave_others(left, "there is nothing like it");
    self::manager(&manager, clusters, left)
}

/// Envoy ends TLS here.
fn secure(socket: &Message<'_>, port: Option<i64>, entry: &mut Table, left: &mut Vec<Left>) {
    let Some(context) = socket.message("typed_config") else { return };
    if let Some(port) = port.filter(|port| (1..=65_535).contains(port)) {
        entry.insert("https_port".into(), Value::from(port));
    }
    let common = context.message("common_tls_context");
    if let Some(common) = &common {
        if let Some(params) = common.message("tls_params") {
            match params.text("tls_minimum_protocol_version") {
                Some("TLSv1_3") => _ = entry.insert("tls_min".into(), Value::from("1.3")),
                _ => params.leave("tls_minimum_protocol_version", left, "TLS is 1.2 or newer"),
            }
            params.leave_others(left, "there is nothing like it");
        }
        common.pass_over(&["alpn_protocols"]);
        common.leave(
            "tls_certificates",
            left,
            "lockstep gateway run --listen-tls ADDRESS --certificate FILE --certificate-key FILE",
        );
        common.leave(
            "validation_context",
            left,
            "client_ca in [entry] has the authorities of clients, and client_certificates who must show one",
        );
        common.leave_others(left, "there is nothing like it");
    }
    context.pass_over(&["@type"]);
    context.leave(
        "require_client_certificate",
        left,
        "NOT taken over: client_ca and client_certificates in [entry] say who must show one",
    );
    context.leave_others(left, "there is nothing like it");
    socket.pass_over(&["name"]);
}

fn manager(message: &Message<'_>, clusters: &BTreeMap<String, Cluster>, left: &mut Vec<Left>) -> Vec<Hosts> {
    message.pass_over(&[
        "@type",
        "stat_prefix",
        "codec_type",
        "normalize_path",
        "merge_slashes",
        "generate_request_id",
        "http2_protocol_options",
        "http_protocol_options",
        "upgrade_configs",
        "strip_any_host_port",
        "strip_matching_host_port",
        "use_remote_address",
        "path_with_escaped_slashes_action",
    ]);
    for filter in message.list("http_filters") {
        let name = filter.message().text("name").unwrap_or_default().to_owned();
        if !is_kind(
            &filter.message(),
            "filters.http.router.v3.Router",
            &["envoy.filters.http.router", "envoy.router"],
        ) {
            filter.leave(left, format!("NOT taken over: requests pass without `{name}`"));
        }
    }
    let idle = message.get("stream_idle_timeout").and_then(|it| it.duration_ms());
    let waits = Waits { idle_ms: idle.unwrap_or(USUAL_IDLE_MS) };
    message.leave("access_log", left, "lockstep gateway run --access-log FILE");
    message.leave("tracing", left, "traceparent is passed on, and made where there is none");
    message.leave("request_timeout", left, "timeouts = { request = \"1m\" } of the routes");
    message.leave("rds", left, "not taken over: what a management server gives is not in the file");
    message.leave("xff_num_trusted_hops", left, "trusted_networks in [rules] says who is believed");
    let config = message.message("route_config");
    message.leave_others(left, "there is nothing like it");
    let Some(config) = config else { return Vec::new() };
    config.pass_over(&["name", "validate_clusters"]);
    let hosts: Vec<Hosts> = config
        .list("virtual_hosts")
        .iter()
        .map(|it| virtual_host(it, &config, (clusters, waits), left))
        .collect();
    let outer = [
        "request_headers_to_add",
        "request_headers_to_remove",
        "response_headers_to_add",
        "response_headers_to_remove",
    ];
    config.pass_over(&outer);
    config.leave_others(left, "there is nothing like it");
    hosts
}

/// Tells what a filter is: its type says so, and its name only where it has no configuration.
fn is_kind(filter: &Message<'_>, kind: &str, names: &[&str]) -> bool {
    match filter.message("typed_config") {
        Some(config) => config.text("@type").is_some_and(|it| it.ends_with(kind)),
        None => filter.text("name").is_some_and(|name| names.contains(&name)),
    }
}

fn virtual_host(
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

fn route(
    item: &Item<'_>,
    (host, config): (&Message<'_>, &Message<'_>),
    ((clusters, waits), retries): ((&BTreeMap<String, Cluster>, Waits), Option<&Message<'_>>),
    left: &mut Vec<Left>,
) -> Option<Route> {
    let message = item.message();
    let mut said = Vec::new();
    let read = read_route(&message, (clusters, waits), retries, &mut said);
    let (matched, mut does, whom) = match read {
        Ok(read) => read,
        Err((what, why)) => {
            what.leave(
                left,
                format!(
                    "{} is not taken over, and its requests go to the routes after it: {why}",
                    item.place
                ),
            );
            return None;
        }
    };
    left.append(&mut said);
    // Envoy changes fields as the innermost says first, so what is said further out stays.
    action::fields(&message, &mut does, left);
    action::fields(host, &mut does, left);
    action::fields(config, &mut does, left);
    message.pass_over(&["name", "decorator", "stat_prefix", "metadata"]);
    message.leave("typed_per_filter_config", left, "there is nothing like it");
    message.leave_others(left, "there is nothing like it");
    Some(Route { matched, does, whom, place: item.place.clone(), line: item.node.line, is_made: false })
}

type Read = (Match, Table, Whom);

fn read_route<'n>(
    message: &Message<'n>,
    at: (&BTreeMap<String, Cluster>, Waits),
    retries: Option<&Message<'_>>,
    left: &mut Vec<Left>,
) -> Result<Read, (Item<'n>, String)> {
    let Some(matching) = message.message("match") else {
        return Err((message.item.clone(), "it says of no request that it takes it".to_owned()));
    };
    let mut matched = Match::read(&matching, left)?;
    let mut does = Table::new();
    if let Some(redirect) = message.message("redirect").filter(|it| it.get("path_redirect").is_some()) {
        // Where a whole path takes the place of a prefix, what is below goes there too.
        matched = below(matched, &redirect)?;
    }
    if action::answer(message, &matched, &mut does, left)? {
        return Ok((matched, does, Vec::new()));
    }
    let Some(lead) = message.message("route") else {
        return Err((message.item.clone(), "there is nothing like what it does".to_owned()));
    };
    let whom = action::lead(&lead, &matched, at, &mut does, left)?;
    if lead.get("retry_policy").is_none() && retries.is_some() {
        action::retries(retries, &mut does, left);
    }
    Ok((matched, does, whom))
}

/// A redirect to one path of all that is below a prefix.
fn below<'n>(matched: Match, redirect: &Message<'n>) -> Result<Match, (Item<'n>, String)> {
    match &matched.path {
        Path::Prefix(path) if path == "/" => {
            let path = Path::Template("/{rest...}".to_owned());
            Ok(Match { path, ..matched })
        }
        Path::Prefix(_) => Err((redirect.item.clone(), "a prefix without a slash at its end cannot be sent to one path: match the path, and the prefix with the slash".to_owned())),
        Path::Exact(_) | Path::Template(_) => Ok(matched),
    }
}

/// Adds the end of what hosts answer: Envoy asks the routes of one virtual host alone, and here those of wider ones would come next.
fn with_ends(hosts: Vec<Hosts>) -> Vec<Hosts> {
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

/// Makes a name of a service out of names of clusters.
fn service_name(whom: &Whom) -> String {
    let letter = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let text: Vec<&str> = whom.iter().map(|(name, _)| name.as_str()).collect();
    let name: String = text.join("-").chars().map(letter).take(50).collect();
    let name = name.trim_matches('-').to_owned();
    if name.starts_with(|it: char| it.is_ascii_lowercase()) {
        name
    } else {
        format!("s-{name}").trim_end_matches('-').to_owned()
    }
}

/// Gives each list of clusters with their weights a service of its own.
fn services(hosts: &[Hosts]) -> BTreeMap<Whom, String> {
    let (mut services, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for whom in hosts.iter().flat_map(|it| &it.routes).map(|it| &it.whom).filter(|it| !it.is_empty()) {
        if services.contains_key(whom) {
            continue;
        }
        let base = service_name(whom);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|it| taken.insert(it.clone()));
        services.insert(whom.clone(), name.unwrap_or(base));
    }
    services
}

fn written(
    environment: &str,
    entry: &Table,
    hosts: &[Hosts],
    clusters: &BTreeMap<String, Cluster>,
) -> String {
    let mut text = format!("environment = {}\n", Value::from(environment));
    if !entry.is_empty() {
        text.push_str("\n[entry]\n");
        lines(&mut text, entry);
    }
    let services = services(hosts);
    for (whom, name) in &services {
        match whom.as_slice() {
            [(cluster, _)] => {
                let _ = write!(text, "\n[service.{name}]\n");
                clusters.get(cluster).iter().for_each(|it| lines(&mut text, &it.version));
            }
            many => {
                let _ = write!(text, "\n[service.{name}]\n");
                for (at, ((cluster, _), share)) in many.iter().zip(shares(many)).enumerate() {
                    let _ = write!(
                        text,
                        "\n[[service.{name}.version]] # {}\nnumber = \"{}.0.0\"\nshare = \"{share}\"\n",
                        one_line(cluster),
                        at + 1
                    );
                    clusters.get(cluster).iter().for_each(|it| lines(&mut text, &it.version));
                }
            }
        }
    }
    for Hosts { names, routes } in hosts {
        let named: Vec<Value> = names.iter().flatten().map(|it| Value::from(it.as_str())).collect();
        let (is_any, named) = (names.contains(&None), (!named.is_empty()).then_some(named));
        let hosts = named.into_iter().map(Some).chain(is_any.then_some(None));
        for hosts in hosts {
            for route in routes {
                text.push_str("\n[[route]]\n");
                if let Some(hosts) = &hosts {
                    let _ = writeln!(text, "host = {}", Value::from(hosts.clone()));
                }
                let mut all = Table::new();
                route.matched.write(&mut all);
                if let Some(service) = services.get(&route.whom) {
                    all.insert("service".into(), Value::from(service.as_str()));
                }
                lines(&mut text, &all);
                lines(&mut text, &route.does);
            }
        }
    }
    text
}

fn lines(text: &mut String, table: &Table) {
    for (key, value) in table {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn one_line(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).collect()
}

/// Shares in hundredths of a percent that add up to all, by the largest remainder.
fn shares(whom: &[(String, u32)]) -> Vec<String> {
    let total: u64 = whom.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>().max(1);
    let full = u64::from(lockstep_domain::routes::FULL_WEIGHT);
    let mut parts: Vec<(u64, u64)> = whom
        .iter()
        .map(|(_, weight)| {
            let scaled = u64::from(*weight) * full;
            (scaled / total, scaled % total)
        })
        .collect();
    let mut missing = full - parts.iter().map(|(part, _)| part).sum::<u64>();
    let mut by_rest: Vec<usize> = (0..parts.len()).collect();
    by_rest.sort_by_key(|at| std::cmp::Reverse(parts[*at].1));
    for at in by_rest {
        if missing > 0 && parts[at].1 > 0 {
            parts[at].0 += 1;
            missing -= 1;
        }
    }
    parts.iter().map(|(part, _)| format!("{}.{:02}%", part / 100, part % 100)).collect()
}

/// Writes a time as tables have it.
fn time(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests;
