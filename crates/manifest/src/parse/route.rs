//! Reads `[[route]]`: which requests come to the service, and what is done with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_domain::gateway_rules::{MAX_TIMEOUT_MS, Network};
use lockstep_domain::request_host::normalize_route_host;
use lockstep_domain::request_path::normalize_path;
use lockstep_domain::routes::actions::{
    ActionError, Actions, FieldChanges, Redirect, Respond, Rewrite, Scheme, plain_text,
};
use lockstep_domain::routes::compress::{Coding, Compress};
use lockstep_domain::routes::conditions::{
    Conditions, MAX_CONDITIONS, Sort, Wanted, WantedValue, check_method,
};
use lockstep_domain::routes::cors::Cors;
use lockstep_domain::routes::{
    Affinity, PathType, Patience, PrefixHandling, RouteRule, SERVICE_PATH_PREFIX, template,
};
use lockstep_domain::visit::{USUAL_COOKIE, Visit};

use super::field::size;
use super::policy::policy;
use crate::reader::{Field, Table};
use crate::value;

/// How visitors are kept, as examples have it.
const STICKY: &str = "sticky = { for = \"1h\" }";
/// Most hosts of one `[[route]]`.
const MAX_HOSTS: usize = 64;

pub(super) fn routes(field: &Field<'_>) -> Vec<RouteRule> {
    let mut taken = BTreeSet::new();
    let mut read = |element: &Field<'_>| {
        let rules = element.table().map(route).unwrap_or_default();
        if rules.iter().any(|rule| !taken.insert(rule.key())) {
            let message = "the same host, path and conditions are already routed above";
            element.wrong_because(message, "remove one of them");
        }
        rules
    };
    let elements = field.list().unwrap_or_default();
    elements.iter().flat_map(&mut read).collect()
}

/// Reads one table: a rule for each of its hosts.
pub(crate) fn route(table: Table<'_>) -> Vec<RouteRule> {
    let hosts = table.get("host", "host = \"shop.example\"").map_or(vec![None], |field| hosts(&field));
    let target = target(&table);
    let strip = table.get("strip_prefix", "strip_prefix = true");
    let timeout = table.get("timeout", "timeout = \"2m\"");
    let stream = table.get("stream", "stream = true");
    let patience = patience(timeout.as_ref(), stream.as_ref());
    let affinity = table.get("affinity", "affinity = \"client\"").and_then(|field| affinity(&field));
    let when = conditions(&table, target.as_ref().is_some_and(|target| target.is_call));
    let rule = target.map(|target| RouteRule {
        path: target.path,
        path_type: target.path_type,
        when,
        prefix: strip.as_ref().map_or(PrefixHandling::Keep, |field| prefix(field, target.path_type)),
        patience,
        affinity,
        ..RouteRule::default()
    });
    // What is wrong with a path must not hide what is wrong with the rest.
    let plain = RouteRule::default();
    let then = actions(&table, rule.as_ref().unwrap_or(&plain));
    let beside = RouteRule { then: then.clone(), ..rule.clone().unwrap_or(plain) };
    let policy = policy(&table, &beside);
    table.finish();
    let of_host =
        |host| Some(RouteRule { host, then: then.clone(), policy: policy.clone(), ..rule.clone()? });
    hosts.into_iter().filter_map(of_host).collect()
}

fn prefix(field: &Field<'_>, path_type: PathType) -> PrefixHandling {
    match field.boolean() {
        Some(true) if path_type != PathType::Prefix => {
            let message = "only a prefix can be taken off";
            field.wrong_because(message, "rewrite = { path = \"/...\" }");
            PrefixHandling::Keep
        }
        Some(true) => PrefixHandling::Strip,
        _ => PrefixHandling::Keep,
    }
}

/// The path of a route, and how it is read.
struct Target {
    path: String,
    path_type: PathType,
    /// Whether it is said by the name of a method of gRPC.
    is_call: bool,
}

fn target(table: &Table<'_>) -> Option<Target> {
    let path = table.get("path", "path = \"/orders\"");
    let kind = table.get("path_type", "path_type = \"template\"");
    let call = table.get("grpc", "grpc = \"shop.v1.Orders/Get\"");
    if let Some(call) = call {
        if let Some(other) = path.or(kind) {
            other.wrong_because("`grpc` says the path already", "remove one of the two");
            return None;
        }
        return grpc(&call);
    }
    let path_type = kind.map_or(Some(PathType::Prefix), |field| path_type(&field))?;
    let path = path.map_or(Some("/".into()), |field| self::path(&field, path_type))?;
    Some(Target { path, path_type, is_call: false })
}

fn path_type(field: &Field<'_>) -> Option<PathType> {
    match field.text()? {
        "prefix" => Some(PathType::Prefix),
        "exact" => Some(PathType::Exact),
        "template" => Some(PathType::Template),
        _ => {
            field.wrong_because("a path is a prefix, exact or a template", "path_type = \"exact\"");
            None
        }
    }
}

/// `package.Service` is all methods of it, `package.Service/Method` one.
fn grpc(field: &Field<'_>) -> Option<Target> {
    let text = field.text()?;
    let is_name = |name: &str| {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let (service, method) = text.split_once('/').map_or((text, None), |(service, it)| (service, Some(it)));
    if text.len() > 256 || !service.split('.').all(is_name) || !method.is_none_or(is_name) {
        field.wrong("write `package.Service/Method`, or `package.Service` for all its methods");
        return None;
    }
    let path_type = if method.is_some() { PathType::Exact } else { PathType::Prefix };
    Some(Target { path: format!("/{text}"), path_type, is_call: true })
}

fn path(field: &Field<'_>, path_type: PathType) -> Option<String> {
    let text = field.text()?;
    let path = match path_type {
        PathType::Prefix => value::route_path(text).map_err(|error| field.wrong(error)).ok()?,
        PathType::Exact if text.contains('?') => {
            field.wrong_because("a path has no query", "query = { name = \"value\" }");
            return None;
        }
        PathType::Exact => normalize_path(text).map_err(|error| field.wrong(error)).ok()?.into_owned(),
        PathType::Template => {
            template::check(text).map_err(|error| field.wrong(error)).ok()?;
            text.to_owned()
        }
    };
    if path.starts_with(SERVICE_PATH_PREFIX) {
        field.wrong("paths that begin with /@ are kept for calls between services");
        return None;
    }
    Some(path)
}

fn hosts(field: &Field<'_>) -> Vec<Option<String>> {
    let Some(list) = field.as_list() else {
        return host(field).map(Some).into_iter().collect();
    };
    if list.is_empty() || list.len() > MAX_HOSTS {
        field.wrong(format_args!("a route has 1 to {MAX_HOSTS} hosts, or none for every host"));
    }
    list.iter().filter_map(host).map(Some).collect()
}

fn host(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let label = |label: &str| !label.is_empty() && label.len() <= 63;
    let host = normalize_route_host(text).ok().filter(|host| host.split('.').all(label));
    let host = host.filter(|host| !host.starts_with('['));
    if host.is_none() {
        field.wrong(format_args!("`{text}` is not a host name without scheme, port and path"));
    }
    host
}

fn conditions(table: &Table<'_>, is_call: bool) -> Conditions {
    let methods = table.get("methods", "methods = [\"GET\", \"HEAD\"]");
    let mut methods = methods.map(|field| self::methods(&field)).unwrap_or_default();
    if is_call {
        methods.insert("POST".into());
    }
    let headers = table.get("headers", "headers = { x-lane = \"login\" }");
    let query = table.get("query", "query = { preview = \"1\" }");
    let cookies = table.get("cookies", "cookies = { beta = \"on\" }");
    let clients = table.get("clients", "clients = [\"10.0.0.0/8\"]");
    Conditions {
        methods,
        headers: headers.map(|field| wanted(&field, Sort::Header)).unwrap_or_default(),
        query: query.map(|field| wanted(&field, Sort::Query)).unwrap_or_default(),
        cookies: cookies.map(|field| wanted(&field, Sort::Cookie)).unwrap_or_default(),
        clients: clients.map(|field| networks(&field)).unwrap_or_default(),
    }
}

pub(super) fn methods(field: &Field<'_>) -> BTreeSet<String> {
    let list = field.list().unwrap_or_default();
    if list.is_empty() || list.len() > MAX_CONDITIONS {
        field.wrong(format_args!("a route has 1 to {MAX_CONDITIONS} methods, or none for every method"));
    }
    let method = |field: &Field<'_>| {
        let text = field.text()?;
        check_method(text).map_err(|error| field.wrong(error)).ok()?;
        Some(text.to_owned())
    };
    list.iter().filter_map(method).collect()
}

fn networks(field: &Field<'_>) -> Vec<Network> {
    let networks = field.parse_all();
    if networks.len() > MAX_CONDITIONS || field.as_list().is_some_and(|list| list.is_empty()) {
        field.wrong(format_args!("a route has 1 to {MAX_CONDITIONS} networks, or none for every client"));
    }
    networks
}

fn wanted(field: &Field<'_>, sort: Sort) -> Vec<Wanted> {
    let Some(table) = field.table() else { return Vec::new() };
    let example = "x-lane = \"login\", or { present = true }, or { regex = \"v[0-9]+\" }";
    let entries = table.entries(example);
    if entries.len() > MAX_CONDITIONS {
        field.wrong(format_args!("at most {MAX_CONDITIONS} are looked at"));
    }
    let read = |(name, field): (&str, Field<'_>)| {
        let name = if sort == Sort::Header { name.to_ascii_lowercase() } else { name.to_owned() };
        let wanted = Wanted { name, value: wanted_value(&field)? };
        wanted.check(sort).map_err(|error| field.wrong_key(error)).ok()?;
        Some(wanted)
    };
    let found = entries.into_iter().filter_map(read);
    // Names of header fields that differ in case are one.
    found.map(|wanted| (wanted.name.clone(), wanted)).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn wanted_value(field: &Field<'_>) -> Option<WantedValue> {
    if let Some(text) = field.as_text() {
        return Some(WantedValue::Exact(text.to_owned()));
    }
    let table = field.table()?;
    let present = table.get("present", "present = true").and_then(|field| field.boolean());
    let regex = table.get("regex", "regex = \"v[0-9]+\"").and_then(|field| Some(field.text()?.to_owned()));
    table.finish();
    match (present, regex) {
        (Some(true), None) => Some(WantedValue::Present),
        (None, Some(regex)) => Some(WantedValue::Regex(regex)),
        _ => {
            field.wrong("a value is a text, { present = true } or { regex = \"...\" }");
            None
        }
    }
}

fn actions(table: &Table<'_>, rule: &RouteRule) -> Option<Arc<Actions>> {
    let mut all = Actions::default();
    let mut add = |field: &Field<'_>, set: &dyn Fn(&mut Actions)| {
        let mut one = Actions::default();
        set(&mut one);
        set(&mut all);
        one.problems(rule).iter().for_each(|problem| field.wrong(problem));
    };
    if let Some(field) = table.get("redirect", "redirect = { scheme = \"https\", status = 308 }") {
        let redirect = redirect(&field);
        add(&field, &|actions| actions.redirect.clone_from(&redirect));
    }
    if let Some(field) = table.get("respond", "respond = { status = 503, body = \"back at noon\" }") {
        let respond = respond(&field);
        add(&field, &|actions| actions.respond.clone_from(&respond));
    }
    if let Some(field) = table.get("rewrite", "rewrite = { path = \"/v2\" }") {
        let rewrite = rewrite(&field);
        add(&field, &|actions| actions.rewrite.clone_from(&rewrite));
    }
    if let Some(field) = table.get("request_headers", "request_headers = { set = { x-lane = \"a\" } }") {
        let changes = changes(&field);
        add(&field, &|actions| actions.request_headers.clone_from(&changes));
    }
    if let Some(field) = table.get("response_headers", "response_headers = { remove = [\"server\"] }") {
        let changes = changes(&field);
        add(&field, &|actions| actions.response_headers.clone_from(&changes));
    }
    if let Some(field) = table.get("cors", "cors = { origins = [\"https://shop.example\"] }") {
        let cors = cors(&field);
        add(&field, &|actions| actions.cors.clone_from(&cors));
        if !rule.when.methods.is_empty() && !rule.when.methods.contains("OPTIONS") {
            field.wrong_because("browsers ask by OPTIONS what they may do", "add \"OPTIONS\" to `methods`");
        }
    }
    if let Some(field) = table.get("sticky", STICKY)
        && let Some(table) = field.as_table()
    {
        let visit = visit(&table);
        add(&field, &|actions| actions.visit.clone_from(&visit));
    } else if let Some(field) = table.get("sticky", STICKY) {
        let ms =
            field.text().and_then(|text| value::retention_ms(text).map_err(|error| field.wrong(error)).ok());
        let seconds = ms.map(|ms| ms / 1_000);
        add(&field, &|actions| actions.sticky_s = seconds);
    }
    if let Some(field) = table.get("compress", "compress = true") {
        let compress = compress(&field);
        add(&field, &|actions| actions.compress.clone_from(&compress));
    }
    for problem in all.problems(rule).iter().filter(|it| matches!(it, ActionError::Both(..))) {
        table.contradicts(problem);
    }
    (!all.is_none()).then(|| Arc::new(all))
}

/// Reads for how long a visitor is kept, and by which cookie.
fn visit(table: &Table<'_>) -> Option<Visit> {
    let lasts = |field: Field<'_>| {
        let ms = value::retention_ms(field.text()?).map_err(|error| field.wrong(error)).ok()?;
        Some(ms / 1_000)
    };
    let for_s = table.require("for", "for = \"1h\"").and_then(lasts);
    let cookie = table.get("cookie", "cookie = \"lockstep_visit\"");
    let cookie = cookie.and_then(|field| Some(field.text()?.to_owned()));
    table.check_asked();
    Some(Visit { for_s: for_s?, cookie: cookie.unwrap_or_else(|| USUAL_COOKIE.to_owned()) })
}

/// Reads `true`, or a table of what is to be otherwise than usual.
fn compress(field: &Field<'_>) -> Option<Compress> {
    let Some(table) = field.as_table() else { return field.boolean()?.then(Compress::default) };
    let mut compress = Compress::default();
    if let Some(field) = table.get("encodings", "encodings = [\"br\", \"gzip\"]") {
        let one = |field: &Field<'_>| {
            let coding = Coding::of(field.text()?);
            if coding.is_none() {
                field.wrong("a coding is `zstd`, `br` or `gzip`");
            }
            coding
        };
        compress.encodings = field.list()?.iter().map(one).collect::<Option<_>>()?;
    }
    if let Some(field) = table.get("types", "types = [\"text/*\", \"application/json\"]") {
        let types = field.list()?;
        compress.types =
            types.iter().map(|it| Some(it.text()?.to_ascii_lowercase())).collect::<Option<_>>()?;
    }
    compress.min_bytes = size(&table, "min", "min = \"1KiB\"").unwrap_or(compress.min_bytes);
    table.finish();
    Some(compress)
}

fn redirect(field: &Field<'_>) -> Option<Redirect> {
    let table = field.table()?;
    let scheme = table.get("scheme", "scheme = \"https\"").and_then(|field| scheme(&field));
    let host = table.get("host", "host = \"www.shop.example\"").and_then(|field| host(&field));
    let port = table.get("port", "port = 8443").and_then(|field| field.integer(1..=65_535));
    let path = text(&table, "path", "path = \"/new\"");
    let status = table.get("status", "status = 308").map_or(Some(302), |field| field.integer(300..=399));
    table.finish();
    Some(Redirect { scheme, host, port, path, status: status? })
}

fn scheme(field: &Field<'_>) -> Option<Scheme> {
    match field.text()? {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => {
            field.wrong("a scheme is `http` or `https`");
            None
        }
    }
}

pub(crate) fn respond(field: &Field<'_>) -> Option<Respond> {
    let table = field.table()?;
    let status = table.require("status", "status = 503").and_then(|field| field.integer(200..=599));
    let body = text(&table, "body", "body = \"back at noon\"").unwrap_or_default();
    let content_type =
        text(&table, "content_type", "content_type = \"text/html\"").unwrap_or_else(plain_text);
    table.finish();
    Some(Respond { status: status?, body, content_type })
}

fn rewrite(field: &Field<'_>) -> Option<Rewrite> {
    let table = field.table()?;
    let path = text(&table, "path", "path = \"/v2\"");
    let host = table.get("host", "host = \"orders.internal\"").and_then(|field| host(&field));
    table.finish();
    if path.is_none() && host.is_none() {
        field.wrong("a rewrite has a path, a host or both");
    }
    Some(Rewrite { path, host })
}

fn changes(field: &Field<'_>) -> FieldChanges {
    let Some(table) = field.table() else { return FieldChanges::default() };
    let set = table.get("set", "set = { x-lane = \"a\" }").map(|field| pairs(&field)).unwrap_or_default();
    let add = table.get("add", "add = { vary = \"x-lane\" }").map(|field| pairs(&field)).unwrap_or_default();
    let remove = table.get("remove", "remove = [\"server\"]").map(|field| texts(&field)).unwrap_or_default();
    table.finish();
    FieldChanges { set, add, remove: remove.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
}

fn pairs(field: &Field<'_>) -> BTreeMap<String, String> {
    let entries = field.table().map(|table| table.entries("x-lane = \"a\"")).unwrap_or_default();
    let read = |(name, field): (&str, Field<'_>)| Some((name.to_ascii_lowercase(), field.text()?.to_owned()));
    entries.into_iter().filter_map(read).collect()
}

fn cors(field: &Field<'_>) -> Option<Cors> {
    let table = field.table()?;
    let origins = table.require("origins", "origins = [\"https://shop.example\"]").map(|field| texts(&field));
    let list = |name, example| table.get(name, example).map(|field| texts(&field)).unwrap_or_default();
    let methods = list("methods", "methods = [\"PUT\"]");
    let headers = list("headers", "headers = [\"content-type\"]");
    let expose = list("expose", "expose = [\"etag\"]");
    let credentials = table.get("credentials", "credentials = true").and_then(|field| field.boolean());
    let max_age = table.get("max_age", "max_age = \"1h\"").and_then(|field| {
        Some(value::duration_ms(field.text()?).map_err(|error| field.wrong(error)).ok()? / 1_000)
    });
    table.finish();
    let credentials = credentials.unwrap_or(false);
    Some(Cors { origins: origins?, methods, headers, expose, credentials, max_age_s: max_age })
}

fn text(table: &Table<'_>, name: &'static str, example: &'static str) -> Option<String> {
    Some(table.get(name, example)?.text()?.to_owned())
}

fn texts(field: &Field<'_>) -> Vec<String> {
    field.list().unwrap_or_default().iter().filter_map(|field| Some(field.text()?.to_owned())).collect()
}

fn affinity(field: &Field<'_>) -> Option<Affinity> {
    let known = field.text()? == "client";
    if !known {
        field.wrong_because("only a client can be kept at one instance", "affinity = \"client\"");
    }
    known.then_some(Affinity::Client)
}

fn patience(timeout: Option<&Field<'_>>, stream: Option<&Field<'_>>) -> Option<Patience> {
    let is_stream = stream.and_then(Field::boolean) == Some(true);
    if let (true, Some(timeout)) = (is_stream, timeout) {
        timeout.wrong_because("a stream has no timeout", "remove one of the two");
        return None;
    }
    if is_stream {
        return Some(Patience::Stream);
    }
    let field = timeout?;
    let limit = value::duration_ms(field.text()?).map_err(|error| field.wrong(error)).ok()?;
    if !(1..=MAX_TIMEOUT_MS).contains(&limit) {
        field.wrong("a service is given from 1 ms to a day for an answer; `stream = true` has no limit");
        return None;
    }
    Some(Patience::LimitMs(limit))
}
