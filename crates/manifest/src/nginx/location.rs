//! A `location` of nginx as a route.

use toml::{Table, Value};

use super::access::{self, Access};
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
        [path] if path.starts_with(['~', '@']) => {
            Err("a named location, or an expression: write a route of its own")
        }
        [path] => Ok(Target::Prefix((*path).to_owned())),
        _ => Err("it has no path"),
    }
}

/// Returns what holds from outside within a block: what it says itself takes the place of that.
pub(super) fn inherited<'d>(
    outer: &[&'d Directive],
    own: &[Directive],
) -> impl Iterator<Item = &'d Directive> {
    let kin = |name: &str| matches!(name, "allow" | "deny");
    let says = move |it: &Directive| own.iter().any(|o| o.name == it.name || kin(&o.name) && kin(&it.name));
    let stays: Vec<&Directive> = outer.iter().copied().filter(|it| it.name == "if" || !says(it)).collect();
    stays.into_iter()
}

/// Tells whether a route asks a service for all that begins with its path.
pub(super) fn is_open_prefix(route: &Table) -> bool {
    route.contains_key("service") && !route.contains_key("path_type")
}

/// Makes the routes of a location; `shared` is what its server says for all of them.
pub(super) fn route(
    location: &Directive,
    target: Target,
    (hosts, shared): (&[String], &[&Directive]),
    own: &[&Directive],
    gathered: &mut Gathered,
) {
    let mut base = Table::new();
    if !hosts.is_empty() {
        let hosts: Vec<Value> = hosts.iter().map(|it| Value::from(it.as_str())).collect();
        base.insert("host".into(), Value::from(hosts));
    }
    let (path, is_exact) = match target {
        Target::Prefix(path) => (path, false),
        Target::Exact(path) => (path, true),
    };
    let shown = if is_exact || path == "/" { path.as_str() } else { path.trim_end_matches('/') };
    if is_exact {
        base.insert("path_type".into(), Value::from("exact"));
    } else if path != shown {
        gathered.leave(
            location,
            format!("carried over, but it takes `{shown}` as well, which nginx sends to `{path}`"),
        );
    } else if path != "/" {
        gathered
            .leave(location, format!("carried over, but `{path}` ends at a segment: {path}x is not taken"));
    }
    base.insert("path".into(), Value::from(shown));
    let key = |host: &str| (host.to_owned(), shown.to_owned(), is_exact);
    let keys: Vec<_> =
        if hosts.is_empty() { vec![key("*")] } else { hosts.iter().map(|it| key(it)).collect() };
    if keys.iter().any(|key| gathered.taken.contains(key)) {
        return gathered.leave(location, "a route above takes the very same requests");
    }
    gathered.taken.extend(keys);
    // What a location says takes the place of what its server says.
    let own_block: Vec<Directive> = own.iter().map(|it| (*it).clone()).collect();
    let all: Vec<&Directive> = inherited(shared, &own_block).chain(own.iter().copied()).collect();
    let access = Access::of(&all, gathered);
    if access.keeps_out() && !is_exact && path == shown && path != "/" {
        gathered.half_closed.push(location.clone());
    }
    if let Some(status) = access.closed {
        gathered.routes.push(access::closed(&base, status));
        return;
    }
    let ssl_name = all.iter().rfind(|it| matches!(it.name.as_str(), "proxy_ssl_name" | "grpc_ssl_name"));
    gathered.ssl_name = ssl_name.and_then(|it| it.words.first().cloned());
    let (mut route, mut leads) = (base.clone(), false);
    for directive in all.into_iter().filter(|it| !access::decides(it)) {
        leads |= carry(directive, (&path, is_exact), &mut route, gathered);
    }
    if !leads {
        let why = "closed: everybody gets 503. Neither proxy_pass nor return is carried over: files are served by a service";
        gathered.leave(location, why);
        return gathered.routes.push(access::closed(&base, 503));
    }
    if route.contains_key("respond") || route.contains_key("redirect") {
        // What is answered here waits for nobody.
        ["limits", "timeouts", "retries", "timeout"].iter().for_each(|key| drop(route.remove(*key)));
    }
    gathered.routes.extend(access.routes(route, &base));
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
        ("return", ["444", ..]) => {
            gathered.leave(directive, "carried over as 403: a gateway closes no connection without an answer");
            let respond = inner(route, "respond");
            respond.insert("status".into(), Value::from(403));
            respond.insert("body".into(), Value::from(""));
            return true;
        }
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
        ("proxy_connect_timeout", [time]) => match time_of(time) {
            Some(time) => drop(inner(route, "timeouts").insert("connect".into(), Value::from(time))),
            None => gathered.leave(directive, "timeouts = { connect = \"3s\" }"),
        },
        ("client_max_body_size", [size]) => match size_of(size) {
            Some(None) => {}
            Some(Some(size)) => drop(inner(route, "limits").insert("body".into(), Value::from(size))),
            None => gathered.leave(directive, "limits = { body = \"1MiB\" }"),
        },
        ("proxy_next_upstream", ["off"]) => {
            inner(route, "retries").insert("attempts".into(), Value::from(0));
        }
        ("proxy_next_upstream", _) => gathered.leave(
            directive,
            "retries = { attempts = 1, on = [\"reset\", \"503\"] }; what an instance cannot have read goes to another one anyway",
        ),
        ("limit_req", words) => rate(directive, words, route, gathered),
        ("proxy_ssl_name" | "grpc_ssl_name", [_]) => {}
        ("proxy_ssl_server_name" | "proxy_ssl_verify" | "grpc_ssl_server_name" | "grpc_ssl_verify", ["on"]) => {}
        ("proxy_ssl_trusted_certificate" | "grpc_ssl_trusted_certificate", _) => gathered.leave(
            directive,
            "the text of the file is ca_pem beside server_name; without it the authorities of the host are believed",
        ),
        ("proxy_ssl_certificate" | "grpc_ssl_certificate", _) => {
            gathered.leave(directive, "certificate = \"NAME\" beside server_name, and --certificates DIR");
        }
        ("limit_conn", _) => gathered.leave(directive, "limits = { concurrency = 100 }, for all clients together"),
        ("proxy_http_version" | "proxy_buffering", _) => gathered.leave(directive, "a gateway does this itself"),
        ("proxy_redirect", _) => gathered.leave(directive, "what services answer in `location` goes on as it is"),
        ("if", _) => gathered.leave(directive, "there is nothing like it; it keeps nobody out"),
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
    let plain = to.strip_prefix("http://").or_else(|| to.strip_prefix("grpc://"));
    let secure = to.strip_prefix("https://").or_else(|| to.strip_prefix("grpcs://"));
    let Some(rest) = plain.or(secure) else {
        gathered.leave(directive, "instances are asked at an address or an upstream");
        return false;
    };
    let (whom, replacement) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let service = if plain.is_some() { in_the_clear(whom, gathered) } else { within_tls(whom, gathered) };
    let name = match service {
        Ok(name) => name,
        Err(why) => {
            gathered.leave(directive, why);
            return false;
        }
    };
    if let Some(name) = gathered.tls.get(&name).filter(|_| secure.is_some()) {
        let why = format!(
            "carried over, and the certificate of its servers is checked for `{name}`, as nginx does only with proxy_ssl_verify: tls = {{ accept_any_certificate = true }} believes whoever answers"
        );
        gathered.leave(directive, why);
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

/// Finds the service that is asked in the clear.
fn in_the_clear(whom: &str, gathered: &mut Gathered) -> Result<String, &'static str> {
    let name = service_name(whom);
    if !gathered.services.contains_key(&name) {
        let address = address_of(whom).ok_or("there is no such upstream, and it is no address")?;
        gathered.services.insert(name.clone(), vec![(address, 1)]);
    }
    Ok(name)
}

/// Finds the service that is asked within TLS: one of its own, for the same program may be asked in the clear as well.
fn within_tls(whom: &str, gathered: &mut Gathered) -> Result<String, &'static str> {
    let (plain, name) = (service_name(whom), format!("{}-tls", service_name(whom)));
    let host = whom.rsplit_once(':').map_or(whom, |(host, _)| host);
    let is_upstream = gathered.services.contains_key(&plain);
    let named = Some(host).filter(|_| !is_upstream && host.parse::<std::net::IpAddr>().is_err());
    let server_name =
        gathered.ssl_name.clone().filter(|it| is_plain(it)).or_else(|| named.map(str::to_owned));
    let server_name = server_name.map(|it| it.to_ascii_lowercase());
    let server_name = server_name.filter(|it| it.parse::<lockstep_domain::DnsName>().is_ok());
    let server_name = server_name.ok_or(
        "whose certificate its servers must show is not said (proxy_ssl_name): tls = { server_name = \"...\", ca_pem = \"...\" } in [service.NAME]",
    )?;
    if gathered.tls.get(&name).is_some_and(|known| *known != server_name) {
        return Err(
            "the same servers show certificates for several names (proxy_ssl_name): write a service for each",
        );
    }
    let with_port = if whom == host { format!("{whom}:443") } else { whom.to_owned() };
    let alone = || Some(vec![(address_of(&with_port)?, 1)]);
    let instances = gathered.services.get(&plain).cloned().or_else(alone);
    gathered
        .services
        .insert(name.clone(), instances.ok_or("there is no such upstream, and it is no address")?);
    gathered.tls.insert(name.clone(), server_name);
    Ok(name)
}

/// Carries over how many requests of a client a location takes.
fn rate(directive: &Directive, words: &[&str], route: &mut Table, gathered: &mut Gathered) {
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let zone = option("zone=").and_then(|zone| gathered.zones.get(zone)).cloned();
    let burst =
        option("burst=").map_or(Some(0), |burst| burst.parse::<u32>().ok().filter(|it| *it < 1_000_000));
    let limits = inner(route, "limits");
    let ((Some(zone), Some(burst)), false) = ((zone, burst), limits.contains_key("rate")) else {
        if limits.is_empty() {
            route.remove("limits");
        }
        let why = "NOT carried over: one limit_req of a route is, whose limit_req_zone counts addresses: limits = { rate = { requests = 10, per = \"1s\" } }";
        return gathered.leave(directive, why);
    };
    let mut rate = Table::new();
    rate.insert("requests".into(), Value::from(zone.requests));
    rate.insert("per".into(), Value::from(zone.per));
    // nginx lets so many in beside the one that is due.
    rate.insert("burst".into(), Value::from(burst + 1));
    limits.insert("rate".into(), Value::from(rate));
    let waits = burst > 0 && !words.contains(&"nodelay");
    let why = match waits {
        true => {
            "carried over, but nobody waits: as many as `burst` says get through at once, and more are answered 429 (nginx: 503)"
        }
        false => "carried over; who comes more often is answered 429 (nginx: 503)",
    };
    gathered.leave(directive, why);
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

/// Reads a size of nginx; of 0, which is no bound, nothing.
fn size_of(text: &str) -> Option<Option<String>> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => "B",
        "k" | "K" => "KiB",
        "m" | "M" => "MiB",
        "g" | "G" => "GiB",
        _ => return None,
    };
    let size = digits.parse::<u32>().ok()?;
    Some((size > 0).then(|| format!("{size}{unit}")))
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
