//! Whom a location lets in.
//!
//! Invariant: where nginx keeps somebody out, or it is not known whether it does, no route of the table lets him in: the location is carried over as one
//! that answers 403, 404 or 503 until somebody has looked at it.

use toml::{Table, Value};

use super::Gathered;
use super::block::Directive;
use crate::value::inner;

/// Most methods and networks that a route can ask for.
const MAX_CONDITIONS: usize = lockstep_domain::routes::conditions::MAX_CONDITIONS;
/// Files that come with nginx, or stand beside it everywhere, and keep nobody out.
const PLAIN_FILES: [&str; 8] = [
    "mime.types",
    "proxy_params",
    "proxy.conf",
    "fastcgi_params",
    "fastcgi.conf",
    "uwsgi_params",
    "scgi_params",
    "options-ssl-nginx.conf",
];
/// Directives that keep nobody out, by what their names begin with.
const HARMLESS: [&str; 46] = [
    "absolute_redirect",
    "access_log",
    "add_header",
    "add_trailer",
    "aio",
    "alias",
    "auth_basic_user_file",
    "auth_delay",
    "auth_request_set",
    "autoindex",
    "break",
    "brotli",
    "charset",
    "chunked_",
    "client_",
    "default_type",
    "directio",
    "error_",
    "etag",
    "expires",
    "fastcgi_",
    "grpc_",
    "gunzip",
    "gzip",
    "http2",
    "http3",
    "if_modified_since",
    "index",
    "keepalive_",
    "large_client_",
    "limit_conn",
    "limit_rate",
    "limit_req",
    "lingering_",
    "log_",
    "mirror",
    "open_file_cache",
    "otel",
    "proxy_",
    "quic_",
    "real_ip_",
    "resolver",
    "rewrite",
    "root",
    "satisfy",
    "send",
];
const HARMLESS_TOO: [&str; 22] = [
    "merge_slashes",
    "output_buffers",
    "port_in_redirect",
    "postpone_output",
    "recursive_error_pages",
    "reset_timedout_connection",
    "return",
    "scgi_",
    "server_",
    "set",
    "ssi",
    "ssl_",
    "sub_filter",
    "tcp_",
    "try_files",
    "types",
    "underscores_in_headers",
    "uwsgi_",
    "variables_",
    "zstd",
    "location",
    "more_",
];

/// Whom a location lets in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    /// What everybody gets, where nobody is let in.
    pub(super) closed: Option<i64>,
    methods: Vec<String>,
    clients: Clients,
}

/// Which clients a location lets in.
#[derive(Debug, Default, PartialEq, Eq)]
enum Clients {
    #[default]
    All,
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl Access {
    /// Reads whom a location lets in by all that holds for it.
    pub(super) fn of(directives: &[&Directive], gathered: &mut Gathered) -> Self {
        let mut access = Self::default();
        for directive in directives {
            if let Some((status, why)) = guard(directive) {
                access.closed.get_or_insert(status);
                gathered.leave(directive, why);
            }
            if directive.name == "limit_except" {
                access.only_by(directive, gathered);
            }
        }
        access.read_clients(directives, gathered);
        access
    }

    /// Tells whether somebody is kept out.
    pub(super) fn keeps_out(&self) -> bool {
        self.closed.is_some() || !self.methods.is_empty() || self.clients != Clients::All
    }

    /// Lets no other methods in.
    fn only_by(&mut self, directive: &Directive, gathered: &mut Gathered) {
        let plain = [("deny", "all")];
        let denies: Vec<_> = directive
            .block
            .iter()
            .map(|it| (it.name.as_str(), it.words.first().map_or("", String::as_str)))
            .collect();
        self.methods = directive.words.iter().map(|it| it.to_ascii_uppercase()).collect();
        if self.methods.iter().any(|it| it == "GET") {
            self.methods.push("HEAD".to_owned());
        }
        self.methods.sort();
        self.methods.dedup();
        if denies != plain {
            gathered.leave(
                directive,
                "carried over as `methods`: every other one gets 403, whatever stands in its braces",
            );
        }
    }

    /// Reads `allow` and `deny`, of which the first that fits decides.
    fn read_clients(&mut self, directives: &[&Directive], gathered: &mut Gathered) {
        let rules: Vec<(bool, &str)> = directives
            .iter()
            .filter(|it| matches!(it.name.as_str(), "allow" | "deny"))
            .map(|it| (it.name == "allow", it.words.first().map_or("", String::as_str)))
            .collect();
        let end = rules.iter().position(|(_, whom)| *whom == "all");
        let (named, rest) = rules.split_at(end.unwrap_or(rules.len()));
        let others_come = rest.first().is_none_or(|(allows, _)| *allows);
        let of = |wanted: bool| named.iter().all(|(allows, _)| *allows == wanted);
        let networks = || named.iter().map(|(_, whom)| (*whom).to_owned()).collect::<Vec<_>>();
        let is_known = |whom: &str| whom.parse::<lockstep_domain::gateway_rules::Network>().is_ok();
        let fits = named.len() <= MAX_CONDITIONS && named.iter().all(|(_, whom)| is_known(whom));
        match (named.is_empty(), others_come) {
            (true, true) => {}
            (true, false) => drop(self.closed.get_or_insert(403)),
            (false, false) if of(true) && fits => self.clients = Clients::Only(networks()),
            (false, true) if of(false) && fits => self.clients = Clients::AllBut(networks()),
            (false, true) if of(true) => {}
            (false, _) => {
                self.closed.get_or_insert(403);
                let first = directives.iter().find(|it| matches!(it.name.as_str(), "allow" | "deny"));
                let why = format!(
                    "closed: everybody gets 403. `clients` of a route are at most {MAX_CONDITIONS} networks, which come in or, with a route that refuses them, do not"
                );
                first.into_iter().for_each(|directive| gathered.leave(directive, why.clone()));
            }
        }
    }

    /// Returns the routes of a location: `route` for those who are let in, and `base`, which has but its host and path, for the others.
    pub(super) fn routes(&self, route: Table, base: &Table) -> Vec<Table> {
        let list =
            |all: &[String]| Value::from(all.iter().map(|it| Value::from(it.as_str())).collect::<Vec<_>>());
        let methods = Some(&self.methods).filter(|methods| !methods.is_empty());
        let with = |mut table: Table, clients: Option<&Vec<String>>| {
            methods.iter().for_each(|methods| drop(table.insert("methods".into(), list(methods))));
            clients.iter().for_each(|clients| drop(table.insert("clients".into(), list(clients))));
            table
        };
        let mut routes = Vec::new();
        match &self.clients {
            Clients::All => routes.push(with(route, None)),
            Clients::Only(clients) => routes.push(with(route, Some(clients))),
            Clients::AllBut(clients) => {
                routes.push(with(closed(base, 403), Some(clients)));
                routes.push(with(route, None));
            }
        }
        if methods.is_some() || matches!(self.clients, Clients::Only(_)) {
            routes.push(closed(base, 403));
        }
        routes
    }
}

/// Makes a route that lets nobody in.
pub(super) fn closed(base: &Table, status: i64) -> Table {
    let mut route = base.clone();
    let respond = inner(&mut route, "respond");
    respond.insert("status".into(), Value::from(status));
    respond.insert("body".into(), Value::from(""));
    route
}

/// Tells whether a directive only says who is let in, so that nothing else of it is to be carried over.
pub(super) fn decides(directive: &Directive) -> bool {
    matches!(directive.name.as_str(), "allow" | "deny" | "limit_except") || guard(directive).is_some()
}

/// Tells whether a directive that holds for several servers or locations keeps somebody out.
pub(super) fn is_inherited(directive: &Directive) -> bool {
    let name = directive.name.as_str();
    matches!(name, "allow" | "deny" | "auth_basic" | "auth_request" | "ssl_verify_client")
        || name.starts_with("auth_jwt")
}

/// Returns what everybody gets of a location with this directive, and why, where it keeps somebody out whom a route could not.
fn guard(directive: &Directive) -> Option<(i64, &'static str)> {
    let is_off = directive.words.first().is_some_and(|it| it == "off");
    let words = directive.words.first().map_or("", String::as_str);
    let name = directive.name.as_str();
    match name {
        "internal" => {
            Some((404, "closed: clients get 404, as from nginx; nothing here leads to it from inside"))
        }
        "auth_basic" | "auth_request" | "ssl_verify_client" if is_off => None,
        "auth_basic" | "auth_request" => Some((
            403,
            "closed: everybody gets 403. A gateway asks nobody who he is: a service has to; then write its route",
        )),
        "ssl_verify_client" => Some((
            403,
            "closed: everybody gets 403. [entry] says whose certificates clients show; then write its routes",
        )),
        "if" if turns(directive) => Some((
            403,
            "closed: everybody gets 403. `headers`, `cookies`, `query`, `methods` and `clients` of a route say whom it takes; then write its routes",
        )),
        "if" => None,
        "include" => {
            let file = words.rsplit('/').next().unwrap_or(words);
            let is_plain = PLAIN_FILES.contains(&file);
            (!is_plain).then_some((503, "closed: everybody gets 503. Other files are not read, and it may keep somebody out: put its text here"))
        }
        "allow" | "deny" | "limit_except" | "proxy_pass" => None,
        _ if is_harmless(name) => None,
        _ => {
            Some((503, "closed: everybody gets 503. There is nothing like it, and it may keep somebody out"))
        }
    }
}

/// Tells whether a block under a condition does more than to set and to write.
fn turns(condition: &Directive) -> bool {
    let plain = ["set", "add_header", "access_log", "expires", "gzip", "limit_rate"];
    condition.block.iter().any(|inner| !plain.contains(&inner.name.as_str()))
}

fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().chain(&HARMLESS_TOO).any(|known| name.starts_with(known))
}
