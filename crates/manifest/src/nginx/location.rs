//! A `location` of nginx as a route.

use toml::{Table, Value};

use super::block::Directive;
use super::{Gathered, address_of, service_name};
use crate::value::inner;

/// What of a request's path a location takes.
pub(super) enum Target {
    Prefix(String),
    Exact(String),
}

/// Reads what a location takes.
pub(super) fn target(location: &Directive) -> Result<Target, &'static str> {
    let words: Vec<&str> = location.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["=", path] => Ok(Target::Exact((*path).to_owned())),
        ["^~", path] => Ok(Target::Prefix((*path).to_owned())),
        ["~" | "~*", _] => Err("an expression for paths: path_type = \"template\" takes `/orders/{id}`"),
        [path] if path.starts_with('@') => Err("a named location: write a route of its own"),
        [path] => Ok(Target::Prefix((*path).to_owned())),
        _ => Err("it has no path"),
    }
}

/// Makes a route of a location; `shared` is what its server says for all of them.
pub(super) fn route(
    location: &Directive,
    target: Target,
    (hosts, shared): (&[String], &[&Directive]),
    own: &[&Directive],
    gathered: &mut Gathered,
) {
    let mut route = Table::new();
    if !hosts.is_empty() {
        let hosts: Vec<Value> = hosts.iter().map(|it| Value::from(it.as_str())).collect();
        route.insert("host".into(), Value::from(hosts));
    }
    let (path, is_exact) = match target {
        Target::Prefix(path) => (path, false),
        Target::Exact(path) => (path, true),
    };
    if is_exact {
        route.insert("path_type".into(), Value::from("exact"));
    } else if path != "/" && !path.ends_with('/') {
        gathered
            .leave(location, format!("carried over, but `{path}` ends at a segment: {path}x is not taken"));
    }
    let shown = if is_exact || path == "/" { path.as_str() } else { path.trim_end_matches('/') };
    route.insert("path".into(), Value::from(shown));
    // What a location says of header fields takes the place of what its server says.
    let says = |name: &str| own.iter().any(|it| it.name == name);
    let inherited = shared.iter().filter(|it| !says(&it.name));
    let mut leads = false;
    for directive in inherited.chain(own) {
        leads |= carry(directive, (&path, is_exact), &mut route, gathered);
    }
    let key = |host: &str| (host.to_owned(), shown.to_owned(), is_exact);
    let keys: Vec<_> =
        if hosts.is_empty() { vec![key("*")] } else { hosts.iter().map(|it| key(it)).collect() };
    if keys.iter().any(|key| gathered.taken.contains(key)) {
        gathered.leave(location, "a route above takes the very same requests");
    } else if leads {
        gathered.taken.extend(keys);
        gathered.routes.push(route);
    } else {
        gathered.leave(location, "neither proxy_pass nor return: files are served by a service");
    }
}

/// Carries a directive over; tells whether it decides who answers.
fn carry(
    directive: &Directive,
    (path, is_exact): (&str, bool),
    route: &mut Table,
    gathered: &mut Gathered,
) -> bool {
    let words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
    match (directive.name.as_str(), words.as_slice()) {
        ("proxy_pass" | "grpc_pass", [to]) => return pass(directive, to, (path, is_exact), route, gathered),
        ("return", [status, rest @ ..]) => match answer(status, rest.first().copied()) {
            Some((key, value)) => {
                if key == "redirect" && value.get("path").is_some() {
                    let why = "carried over, but what is behind the prefix stays, and the query";
                    gathered.leave(directive, why);
                }
                route.insert(key.into(), value);
                return true;
            }
            None => gathered.leave(directive, "redirect = { ... } says where, without variables"),
        },
        ("proxy_read_timeout", [time]) => match time_of(time) {
            Some(time) => {
                route.insert("timeout".into(), Value::from(time));
            }
            None => gathered.leave(directive, "timeout = \"30s\""),
        },
        ("add_header", [name, value] | [name, value, "always"]) if is_plain(value) => {
            nested(route, "response_headers", "add").insert(name.to_ascii_lowercase(), Value::from(*value));
        }
        ("proxy_hide_header", [name]) => {
            let list = inner(route, "response_headers").entry("remove").or_insert(Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(Value::from(name.to_ascii_lowercase()));
            }
        }
        ("proxy_set_header", [name, value]) => set_header(directive, name, value, route, gathered),
        ("proxy_http_version" | "proxy_redirect" | "proxy_buffering" | "proxy_connect_timeout", _) => {
            gathered.leave(directive, "a gateway does this itself");
        }
        ("client_max_body_size", _) => gathered.leave(directive, "bodies are not bounded by a gateway"),
        ("root" | "alias" | "index" | "try_files", _) => {
            gathered.leave(directive, "files are served by a service");
        }
        _ => gathered.leave(directive, "there is nothing like it"),
    }
    false
}

fn set_header(directive: &Directive, name: &str, value: &str, route: &mut Table, gathered: &mut Gathered) {
    let lower = name.to_ascii_lowercase();
    let is_done = matches!(
        (lower.as_str(), value),
        ("host", "$host" | "$http_host") | ("upgrade", "$http_upgrade") | ("connection", _)
    ) || lower == "x-real-ip"
        || lower.starts_with("x-forwarded-");
    if is_done {
        return;
    }
    if !is_plain(value) || lockstep_domain::routes::actions::check_field(&lower).is_err() {
        return gathered
            .leave(directive, "only a fixed text, and no field that frames or vouches for messages");
    }
    nested(route, "request_headers", "set").insert(lower, Value::from(value));
}

/// Whom a location passes its requests to.
fn pass(
    directive: &Directive,
    to: &str,
    (path, is_exact): (&str, bool),
    route: &mut Table,
    gathered: &mut Gathered,
) -> bool {
    let Some(rest) = to.strip_prefix("http://").or_else(|| to.strip_prefix("grpc://")) else {
        gathered.leave(directive, "instances are asked without TLS, at an address or an upstream");
        return false;
    };
    let (whom, replacement) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let name = service_name(whom);
    if !gathered.services.contains_key(&name) {
        let Some(address) = address_of(whom) else {
            gathered.leave(directive, "there is no such upstream, and it is no address");
            return false;
        };
        gathered.services.insert(name.clone(), vec![(address, 1)]);
    }
    route.insert("service".into(), Value::from(name));
    if replacement.contains('$') {
        gathered.leave(directive, "rewrite = { path = \"...\" } has no variables of nginx");
    } else if replacement == "/" && !is_exact && path.ends_with('/') && path != "/" {
        route.insert("strip_prefix".into(), Value::from(true));
    } else if !(replacement.is_empty() || replacement == "/" && path == "/") {
        let shown = if replacement == "/" { replacement } else { replacement.trim_end_matches('/') };
        inner(route, "rewrite").insert("path".into(), Value::from(shown));
    }
    true
}

/// Returns what `return` answers, as a field of a route.
fn answer(status: &str, text: Option<&str>) -> Option<(&'static str, Value)> {
    let (code, mut table) = (status.parse::<u16>().ok()?, Table::new());
    table.insert("status".into(), Value::from(i64::from(code)));
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        let body = text.unwrap_or_default();
        if !(200..=599).contains(&code) || !is_plain(body) {
            return None;
        }
        table.insert("body".into(), Value::from(body));
        return Some(("respond", Value::from(table)));
    }
    let to = text?;
    let (scheme, rest) = match to.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, to),
    };
    let (host, path) = match scheme {
        Some(_) => rest.split_at(rest.find(['/', '$']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    // `https://$host$request_uri`: the host stays, and the path.
    let (host, path) = match path.strip_prefix("$host").or_else(|| path.strip_prefix("$http_host")) {
        Some(path) if host.is_empty() => ("", path),
        _ => (host, path),
    };
    if let Some(scheme) = scheme.filter(|it| *it != "$scheme") {
        table.insert("scheme".into(), Value::from(scheme));
    }
    if !host.is_empty() {
        table.insert("host".into(), Value::from(host));
    }
    match path {
        "$request_uri" | "$uri$is_args$args" => {}
        path if is_plain(path) && path.starts_with('/') && !path.contains('?') => {
            table.insert("path".into(), Value::from(path));
        }
        _ => return None,
    }
    (table.len() > 1).then(|| ("redirect", Value::from(table)))
}

/// Reads a time of nginx: seconds where it has no unit.
fn time_of(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    digits.parse::<u32>().ok().filter(|time| *time > 0)?;
    matches!(unit, "" | "ms" | "s" | "m" | "h")
        .then(|| format!("{digits}{}", if unit.is_empty() { "s" } else { unit }))
}

fn is_plain(text: &str) -> bool {
    !text.contains('$')
}

fn nested<'t>(route: &'t mut Table, key: &str, below: &str) -> &'t mut Table {
    inner(inner(route, key), below)
}
