//! Takes over the usual parts of an nginx configuration into a route table in TOML, and names every directive that is not taken over.
//!
//! Invariants: nothing is passed over. A directive is carried over, done by a gateway anyway, or named with its line and why. And nothing is opened: whom nginx
//! keeps out of a location, or may keep out, no route lets in ([`access`]); what can be kept closed by no route is named for itself.

mod access;
mod block;
mod location;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use block::Directive;
use location::Target;
use lockstep_domain::DnsName;
use thiserror::Error;
use toml::Value;

use crate::proportions::shares;

/// Longest configuration that is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why a text is no configuration of nginx.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct NginxError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A directive that is not carried over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Its line.
    pub line: usize,
    /// The directive, as it is written.
    pub directive: String,
    /// Why, and what to do instead.
    pub why: String,
}

/// A configuration as a route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The table, in TOML.
    pub toml: String,
    /// What is not carried over, in the order of the file.
    pub left: Vec<Left>,
    /// Locations for which nothing stands in, so that their requests go to other routes of the table: somebody has to look at them first.
    pub astray: Vec<Left>,
}

/// How many requests of a client may come.
#[derive(Debug, Clone)]
struct Rate {
    requests: u32,
    per: &'static str,
}

/// What is gathered.
#[derive(Default)]
struct Gathered {
    /// Addresses with their weights, by the name of the service.
    services: BTreeMap<String, Vec<(String, u32)>>,
    routes: Vec<toml::Table>,
    /// Hosts and paths that a route takes, and whether exactly.
    taken: BTreeSet<(String, String, bool)>,
    left: Vec<Left>,
    astray: Vec<Left>,
    /// Closed locations of the server that is read, of which nginx closes what goes on after their last letter as well.
    half_closed: Vec<Directive>,
    /// Names of servers that no route can ask for.
    nameless: Vec<Left>,
    /// Whether a server ends TLS, and whether another sends its clients there.
    has_tls: bool,
    to_https: bool,
    /// Whether several slashes stay several.
    keeps_slashes: bool,
    /// How many requests of a client may come, by the name of the zone.
    zones: BTreeMap<String, Rate>,
    /// For whom the certificates of a service's instances must be, where they are asked within TLS.
    tls: BTreeMap<String, String>,
    /// The same as the location says that is read.
    ssl_name: Option<String>,
}

impl Gathered {
    fn leave(&mut self, directive: &Directive, why: impl Into<String>) {
        let Directive { line, .. } = *directive;
        self.left.push(Left { line, directive: directive.to_string(), why: why.into() });
    }

    /// Notes what is said of several slashes: that they are merged needs no word.
    fn note_slashes(&mut self, directive: &Directive) {
        if directive.words == ["off"] {
            self.keeps_slashes = true;
            self.leave(
                directive,
                "carried over as [rules] path_form = \"keep-slashes\", for all hosts; routes take `//a` as `/a`",
            );
        }
    }

    fn stray(&mut self, directive: &Directive, why: String) {
        self.astray.push(Left { line: directive.line, directive: directive.to_string(), why });
    }
}

/// Takes a configuration over. `environment` is what the table is called.
///
/// # Errors
/// When the text is no configuration: a brace or a quote that does not end, or a file that is too long.
pub fn import(text: &str, environment: &str) -> Result<Imported, NginxError> {
    if text.len() > MAX_BYTES {
        return Err(NginxError { line: 1, what: format!("the file has more than {MAX_BYTES} bytes") });
    }
    let mut gathered = Gathered::default();
    let root = block::read(text)?;
    top(&root, &mut gathered);
    if gathered.routes.iter().any(|route| !route.contains_key("host")) {
        gathered.astray.append(&mut gathered.nameless);
    }
    // What a server says for all its locations is said once.
    for notes in [&mut gathered.left, &mut gathered.astray] {
        notes.sort();
        notes.dedup();
    }
    Ok(Imported { toml: written(environment, &gathered), left: gathered.left, astray: gathered.astray })
}

/// A whole file, or what is included in `http`.
fn top(directives: &[Directive], gathered: &mut Gathered) {
    // Servers of an upstream are known before a location names it, wherever they stand.
    let inside: Vec<&Directive> = directives.iter().flat_map(within_http).collect();
    for directive in inside.iter().filter(|it| it.name == "upstream") {
        upstream(directive, gathered);
    }
    for directive in inside.iter().filter(|it| it.name == "limit_req_zone") {
        rate_zone(directive, gathered);
    }
    gathered.has_tls = inside.iter().any(|it| it.name == "server" && ends_tls(it));
    let outer: Vec<&Directive> = inside.iter().copied().filter(|it| access::is_inherited(it)).collect();
    for directive in inside {
        match directive.name.as_str() {
            "upstream" | "limit_req_zone" => {}
            "server" => server(directive, &outer, gathered),
            _ if access::is_inherited(directive) => {}
            "stream" => gathered.leave(
                directive,
                "a port leads to a service that speaks TCP by [[tcp]] port = 5432, service = \"NAME\", and protocol = \"tcp\" in [service.NAME]",
            ),
            "events"
            | "worker_processes"
            | "user"
            | "pid"
            | "worker_connections"
            | "worker_rlimit_nofile" => {
                gathered.leave(directive, "a gateway has a worker for each core");
            }
            "access_log" | "error_log" | "log_format" => {
                gathered.leave(directive, "lockstep gateway run --access-log FILE");
            }
            "merge_slashes" => gathered.note_slashes(directive),
            "include" => gathered.leave(directive, "other files are not read: import each"),
            _ => gathered.leave(directive, "there is nothing like it"),
        }
    }
}

/// Reads how many requests of a client may come: of each address for itself, and of nothing else.
fn rate_zone(directive: &Directive, gathered: &mut Gathered) {
    let option = |name: &str| directive.words.iter().find_map(|word| word.strip_prefix(name));
    let name = option("zone=").and_then(|zone| zone.split(':').next());
    let is_by_client = directive
        .words
        .first()
        .is_some_and(|it| matches!(it.as_str(), "$binary_remote_addr" | "$remote_addr"));
    let Some((name, rate)) = name.zip(option("rate=").and_then(rate_of)).filter(|_| is_by_client) else {
        return gathered.leave(
            directive,
            "NOT carried over: only a rate of each client ($binary_remote_addr) is; limits = { rate = { requests = 100, per = \"1s\", by = \"route\" } } counts all together",
        );
    };
    gathered.zones.insert(name.to_owned(), rate);
    gathered.leave(
        directive,
        "carried over with each `limit_req` of it: each route counts for itself, and so does each gateway; of IPv6 it counts networks of 64 bits",
    );
}

/// Reads a rate of nginx, such as `10r/s`.
fn rate_of(text: &str) -> Option<Rate> {
    let (requests, unit) = text.split_once("r/")?;
    let per = match unit {
        "s" => "1s",
        "m" => "1m",
        _ => return None,
    };
    requests.parse().ok().filter(|it| (1..=1_000_000).contains(it)).map(|requests| Rate { requests, per })
}

fn within_http(directive: &Directive) -> Vec<&Directive> {
    if directive.name == "http" { directive.block.iter().collect() } else { vec![directive] }
}

fn upstream(directive: &Directive, gathered: &mut Gathered) {
    let [name] = directive.words.as_slice() else { return gathered.leave(directive, "it has no name") };
    let mut instances = Vec::new();
    for inner in &directive.block {
        match (inner.name.as_str(), inner.words.split_first()) {
            ("server", Some((_, options))) if options.iter().any(|it| it == "backup") => {
                gathered.leave(inner, "left out: it is asked in nginx only when no other one answers, and here all instances are asked");
            }
            ("server", Some((address, options))) if !options.iter().any(|it| it == "down") => {
                let (weights, others): (Vec<_>, Vec<_>) =
                    options.iter().partition(|option| option.starts_with("weight="));
                let weight = weights.last().and_then(|it| it.strip_prefix("weight=")?.parse().ok());
                match address_of(address) {
                    Some(address) => instances.push((address, weight.filter(|&it| it > 0).unwrap_or(1))),
                    None => {
                        gathered.leave(inner, "only an IP address or a host name, with a port, can be asked");
                    }
                }
                if !weights.is_empty() {
                    gathered.leave(
                        inner,
                        "its weight: servers of one weight are a configuration with a share, and a client with a key stays with it",
                    );
                }
                if !others.is_empty() {
                    gathered.leave(inner, "its options: a gateway looks itself who fails and who is slow");
                }
            }
            ("server", _) => gathered.leave(inner, "it is down"),
            ("keepalive" | "keepalive_timeout" | "keepalive_requests" | "zone", _) => {
                gathered.leave(inner, "connections to instances are kept anyway");
            }
            ("ip_hash" | "hash", _) => {
                gathered.leave(inner, "affinity = \"client\" on its routes keeps a client at one instance");
            }
            ("least_conn" | "random", _) => {
                gathered.leave(inner, "a gateway balances by load and latency anyway");
            }
            _ => gathered.leave(inner, "there is nothing like it"),
        }
    }
    gathered.services.insert(service_name(name), instances);
}

fn server(directive: &Directive, outer: &[&Directive], gathered: &mut Gathered) {
    let Some(hosts) = hosts(directive, gathered) else { return };
    let mut shared: Vec<&Directive> = location::inherited(outer, &directive.block).collect();
    for inner in &directive.block {
        match inner.name.as_str() {
            "location" => {}
            "server_name" => {}
            "listen" => {
                gathered.leave(inner, "lockstep gateway run --listen ADDRESS, or --listen-tls ADDRESS");
            }
            "ssl_certificate" | "ssl_certificate_key" => {
                gathered.leave(inner, "lockstep gateway run --certificate FILE --certificate-key FILE");
            }
            "merge_slashes" => gathered.note_slashes(inner),
            "ssl_protocols" => gathered.leave(inner, "[entry] tls_min = \"1.3\", or \"1.2\""),
            _ => shared.push(inner),
        }
    }
    if gathered.has_tls && !ends_tls(directive) && shared.iter().any(|it| sends_to_https(it)) {
        gathered.to_https = true;
        let why =
            "carried over as [entry] http = \"redirect\", for all hosts; https_port is what clients see";
        return gathered.leave(directive, why);
    }
    let locations: Vec<_> = directive.block.iter().filter(|it| it.name == "location").collect();
    let returns = shared.iter().any(|it| it.name == "return");
    if locations.is_empty() || returns {
        for place in locations {
            gathered.leave(place, "never reached: its server answers before, by `return`");
        }
        let (target, rest) = (Target::Prefix("/".into()), shared);
        location::route(directive, target, (&hosts, &[]), &rest, gathered);
        return;
    }
    for inner in shared.iter().filter(|it| it.name == "rewrite") {
        gathered.leave(inner, "a server with locations: write a route of its own");
    }
    shared.retain(|it| it.name != "rewrite");
    let before = gathered.routes.len();
    let mut regexes = Vec::new();
    for place in locations {
        places(place, (&hosts, &shared), &mut regexes, gathered);
    }
    let opens = gathered.routes[before..].iter().any(location::is_open_prefix);
    let root = directive.block.iter().find(|it| it.name == "location" && it.words == ["/"]);
    let root =
        root.map_or_else(|| "other locations".to_owned(), |it| format!("`location /` (line {})", it.line));
    let half_closed = std::mem::take(&mut gathered.half_closed);
    if !opens {
        return;
    }
    for place in regexes {
        gathered.stray(
            place,
            format!("nothing stands in for it, and its requests go to {root}: write a route that takes or refuses them"),
        );
    }
    for place in half_closed {
        let path = place.words.last().cloned().unwrap_or_default();
        gathered.stray(
            &place,
            format!("`{path}x`, of which nginx asks the same, goes to {root}: write a route for what there is, or see that there is nothing"),
        );
    }
}

/// Carries a location over, and those within it; those that no route can stand in for are gathered.
fn places<'d>(
    place: &'d Directive,
    (hosts, shared): (&[String], &[&Directive]),
    regexes: &mut Vec<&'d Directive>,
    gathered: &mut Gathered,
) {
    let own: Vec<_> = place.block.iter().filter(|it| it.name != "location").collect();
    match location::target(place) {
        Ok(target) => location::route(place, target, (hosts, shared), &own, gathered),
        Err(why) => {
            gathered.leave(place, why);
            // Nobody comes to a named one from outside.
            if !place.words.first().is_some_and(|it| it.starts_with('@')) {
                regexes.push(place);
            }
        }
    }
    let below: Vec<_> = location::inherited(shared, &place.block)
        .chain(place.block.iter().filter(|it| access::decides(it)))
        .collect();
    for inner in place.block.iter().filter(|it| it.name == "location") {
        places(inner, (hosts, &below), regexes, gathered);
    }
}

fn ends_tls(server: &Directive) -> bool {
    server.block.iter().any(|it| it.name == "listen" && it.words.iter().any(|word| word == "ssl"))
}

/// Tells whether a directive sends every client to https, to where it came.
fn sends_to_https(directive: &Directive) -> bool {
    let ends = ["$host$request_uri", "$server_name$request_uri", "$http_host$request_uri"];
    let to = directive.words.get(1).and_then(|it| it.strip_prefix("https://"));
    directive.name == "return" && to.is_some_and(|to| ends.contains(&to))
}

/// Returns the hosts of a server, an empty list for every host; nothing where it has only names that cannot be asked for.
fn hosts(server: &Directive, gathered: &mut Gathered) -> Option<Vec<String>> {
    let (mut hosts, mut is_every) = (Vec::new(), true);
    for names in server.block.iter().filter(|it| it.name == "server_name") {
        for name in &names.words {
            match name.as_str() {
                // Beside others neither is a name that somebody asks for; alone they stand for every host.
                "_" | "" => {}
                name if name.starts_with('~') || name.ends_with(".*") => {
                    is_every = false;
                    gathered.leave(names, format!("`{name}`: a host is a name, or *.NAME"));
                    let why = format!(
                        "requests to `{name}` go to the servers for every host here: write routes for its hosts"
                    );
                    gathered.nameless.push(Left { line: names.line, directive: names.to_string(), why });
                }
                name => match name.strip_prefix('.') {
                    Some(name) => hosts.extend([name.to_owned(), format!("*.{name}")]),
                    None => hosts.push(name.to_owned()),
                },
            }
        }
    }
    (is_every || !hosts.is_empty()).then_some(hosts)
}

/// Returns an address with a port as a table has it.
fn address_of(text: &str) -> Option<String> {
    let text = text.replace("localhost", "127.0.0.1");
    let with_port = if text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']')) {
        text
    } else {
        format!("{text}:80")
    };
    let by_name = || {
        let (host, port) = with_port.rsplit_once(':')?;
        let (host, port) = (host.to_ascii_lowercase().parse::<DnsName>().ok()?, port.parse::<u16>().ok()?);
        (port > 0).then(|| format!("{host}:{port}"))
    };
    with_port.parse::<std::net::SocketAddr>().ok().map(|address| address.to_string()).or_else(by_name)
}

/// Makes a name of a service out of another name.
fn service_name(text: &str) -> String {
    let letter = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(letter).take(60).collect();
    let name = name.trim_matches('-').to_owned();
    if name.starts_with(|it: char| it.is_ascii_lowercase()) { name } else { format!("s-{name}") }
}

fn written(environment: &str, gathered: &Gathered) -> String {
    let mut text = format!("environment = {}\n", Value::from(environment));
    if gathered.keeps_slashes {
        text.push_str("\n[rules]\npath_form = \"keep-slashes\"\n");
    }
    if gathered.to_https {
        text.push_str("\n[entry]\nhttps_port = 443\nhttp = \"redirect\"\n");
    }
    for (name, instances) in &gathered.services {
        let _ = write!(text, "\n[service.{name}]\n");
        text.push_str(&weighed(name, instances, gathered.tls.get(name).map(String::as_str)));
    }
    for route in &gathered.routes {
        let _ = write!(text, "\n[[route]]\n");
        for (key, value) in route {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// Writes the instances of a service. Where they have different weights, those of one weight are a configuration with a share.
fn weighed(name: &str, instances: &[(String, u32)], tls: Option<&str>) -> String {
    let tls =
        tls.map(|name| format!("tls = {{ server_name = {} }}\n", Value::from(name))).unwrap_or_default();
    let mut groups: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
    for (address, weight) in instances {
        groups.entry(*weight).or_default().push(Value::from(address.as_str()));
    }
    if groups.len() <= 1 {
        let instances: Vec<Value> = groups.into_values().flatten().collect();
        return format!("instances = {}\n{tls}", Value::from(instances));
    }
    let count = |group: &[Value]| u32::try_from(group.len()).unwrap_or(u32::MAX);
    let weights: Vec<u32> =
        groups.iter().map(|(weight, group)| weight.saturating_mul(count(group))).collect();
    let shares = shares(&weights);
    let one = |(at, ((weight, group), share)): (usize, ((u32, Vec<Value>), String))| {
        let instances = Value::from(group);
        format!(
            "\n[[service.{name}.version]] # weight={weight}\nnumber = \"1.0.0\"\nconfig = {}\nshare = \"{share}\"\ninstances = {instances}\n{tls}",
            at + 1
        )
    };
    groups.into_iter().zip(shares).enumerate().map(one).collect()
}

#[cfg(test)]
mod tests;
