//! What a route of Envoy does, as fields of a route here.
//!
//! Invariant: a route whose requests would go elsewhere, or arrive as other ones, is not taken over.

use std::collections::BTreeMap;

use lockstep_domain::request_host::normalize_route_host;
use toml::{Table, Value};

use super::Left;
use super::cluster::Cluster;
use super::document::{Item, Message};
use super::matching::{Match, Path};
use crate::value::inner;

/// What a listener says for all its routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// How long nothing may be said.
    pub(super) idle_ms: u64,
}

/// Whom a route asks: clusters with their weights.
pub(super) type Whom = Vec<(String, u32)>;

/// How long Envoy waits for a whole answer where nothing is said.
const USUAL_TIMEOUT_MS: u64 = 15_000;
/// Further instances that are asked at most.
const MAX_ATTEMPTS: i64 = 3;
/// The variable of templates that takes all that follows.
const REST: &str = "{rest...}";

/// Longest body of an answer.
const MAX_BODY: usize = 16 * 1_024;

type Refused<'n> = (Item<'n>, String);

/// Reads what is answered for whom a route leads to nobody: a redirect or an answer.
pub(super) fn answer<'n>(
    message: &Message<'n>,
    matched: &Match,
    route: &mut Table,
    left: &mut Vec<Left>,
) -> Result<bool, Refused<'n>> {
    if let Some(redirect) = message.message("redirect") {
        let table = self::redirect(&redirect, matched)?;
        if table.contains_key("scheme") && !table.contains_key("host") && !table.contains_key("port") {
            let why = "taken over, but it leads to the usual port of the scheme: Envoy keeps another one that the client asked for; port = 8443 in the redirect names it";
            redirect.item.leave(left, why);
        }
        route.insert("redirect".into(), Value::from(table));
        return Ok(true);
    }
    let Some(direct) = message.message("direct_response") else { return Ok(false) };
    let status = direct.get("status").and_then(|it| it.number::<i64>()).unwrap_or(0);
    let mut respond = Table::from_iter([("status".to_owned(), Value::from(status))]);
    if let Some(body) = direct.message("body") {
        match body.text("inline_string") {
            Some(text) => _ = respond.insert("body".into(), Value::from(text)),
            None => body.item.leave(left, "only a body that stands here (inline_string) is taken over"),
        }
    }
    let is_usable = |text: &str| {
        text.len() <= MAX_BODY && !text.chars().any(|it| it.is_control() && !matches!(it, '\n' | '\t'))
    };
    if respond.get("body").and_then(Value::as_str).is_some_and(|body| !is_usable(body)) {
        return Err((direct.item, "a body has at most 16 KiB of text".to_owned()));
    }
    if !(200..=599).contains(&status) {
        return Err((direct.item, "an answer has a status from 200 to 599".to_owned()));
    }
    direct.leave_others(left, "there is nothing like it");
    route.insert("respond".into(), Value::from(respond));
    Ok(true)
}

fn redirect<'n>(message: &Message<'n>, matched: &Match) -> Result<Table, Refused<'n>> {
    let status = match message.text("response_code").unwrap_or("MOVED_PERMANENTLY") {
        "MOVED_PERMANENTLY" => 301,
        "FOUND" => 302,
        "SEE_OTHER" => 303,
        "TEMPORARY_REDIRECT" => 307,
        "PERMANENT_REDIRECT" => 308,
        other => return Err((message.item.clone(), format!("`{other}` is no status of a redirect"))),
    };
    let mut table = Table::from_iter([("status".to_owned(), Value::from(status))]);
    if message.get("https_redirect").is_some_and(|it| it.is_true()) {
        table.insert("scheme".into(), Value::from("https"));
    }
    if let Some(item) = message.get("scheme_redirect") {
        match item.text().unwrap_or_default() {
            scheme @ ("http" | "https") => _ = table.insert("scheme".into(), Value::from(scheme)),
            _ => return Err((item, "a redirect leads to http or https".to_owned())),
        }
    }
    if let Some(item) = message.get("host_redirect").filter(|it| it.text() != Some("")) {
        let text = item.text().unwrap_or_default();
        let with_port = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let (host, port) = match with_port {
            Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0)),
            None => (text, None),
        };
        if with_port.is_some() != port.is_some()
            || normalize_route_host(host).is_err()
            || host.contains(['[', ':'])
            || host.starts_with('*')
        {
            return Err((item, "it is no host name, with a port or without".to_owned()));
        }
        table.insert("host".into(), Value::from(host.to_ascii_lowercase()));
        table.extend(port.map(|port| ("port".to_owned(), Value::from(i64::from(port)))));
    }
    if let Some(item) = message.get("port_redirect").filter(|it| it.text() != Some("0")) {
        match item.number::<u16>() {
            Some(port) => _ = table.insert("port".into(), Value::from(i64::from(port))),
            None => return Err((item, "a port is a number from 1 to 65535".to_owned())),
        }
    }
    if let Some(item) = message.get("path_redirect") {
        let path = item.text().unwrap_or_default();
        if !matches!(matched.path, Path::Exact(_) | Path::Template(_)) || path.contains('?') {
            return Err((item, "the path of a redirect takes the place of the prefix alone: match a path, or a prefix that ends with a slash".to_owned()));
        }
        table.insert("path".into(), Value::from(path));
    }
    if let Some(item) = message.get("prefix_rewrite") {
        let to = rewritten(&item, matched)?;
        table.insert("path".into(), Value::from(to));
    }
    if let Some(item) = message.get("strip_query").filter(Item::is_true) {
        return Err((item, "the query stays".to_owned()));
    }
    message.pass_over(&["strip_query"]);
    match message.others().into_iter().next() {
        Some(item) => Err((item, "a redirect has nothing like it".to_owned())),
        None => Ok(table),
    }
}

/// Returns what takes the place of what was matched.
fn rewritten<'n>(item: &Item<'n>, matched: &Match) -> Result<String, Refused<'n>> {
    let to = item.text().unwrap_or_default();
    let is_plain = to.starts_with('/') && !to.contains(['{', '}', '?', '#', ' ']) && !to.contains("//");
    let refused = |why: &str| Err((item.clone(), why.to_owned()));
    if !is_plain {
        return refused("a path begins with one slash and has no query");
    }
    match &matched.path {
        Path::Exact(_) => Ok(to.to_owned()),
        // `/api` with `/`: what follows begins with a slash, and there is only one.
        Path::Prefix(prefix) if prefix != "/" => {
            Ok(if to == "/" { to } else { to.trim_end_matches('/') }.to_owned())
        }
        Path::Prefix(_) if to.ends_with('/') => {
            Ok(if to == "/" { to } else { to.trim_end_matches('/') }.to_owned())
        }
        Path::Template(template)
            if template.ends_with(REST) && template.matches('{').count() == 1 && to.ends_with('/') =>
        {
            Ok(format!("{to}{REST}"))
        }
        _ => refused(
            "what is put before the rest of the path must end with a slash where what it takes the place of does",
        ),
    }
}

/// Reads to whom a route leads, and how.
pub(super) fn lead<'n>(
    message: &Message<'n>,
    matched: &Match,
    (clusters, waits): (&BTreeMap<String, Cluster>, Waits),
    route: &mut Table,
    left: &mut Vec<Left>,
) -> Result<Whom, Refused<'n>> {
    let whom = whom(message, left)?;
    for (name, _) in &whom {
        if !clusters.contains_key(name) {
            return Err((message.item.clone(), format!("there is no cluster `{name}` that is taken over")));
        }
    }
    let all = || whom.iter().filter_map(|(name, _)| clusters.get(name));
    let mut rewrite = Table::new();
    if let Some(item) = message.get("prefix_rewrite").filter(|it| it.text() != Some("")) {
        rewrite.insert("path".into(), Value::from(rewritten(&item, matched)?));
    }
    if let Some(host) = message.text("host_rewrite_literal") {
        rewrite.insert("host".into(), Value::from(host));
    }
    if let Some(item) = message.get("auto_host_rewrite").filter(Item::is_true) {
        let hosts: Vec<_> = all().map(|it| it.only_host.as_deref()).collect();
        match hosts.as_slice() {
            [Some(host)] => _ = rewrite.insert("host".into(), Value::from(*host)),
            _ => {
                return Err((
                    item,
                    "the host that a service sees is one that is named: rewrite = { host = \"...\" }"
                        .to_owned(),
                ));
            }
        }
    }
    if !rewrite.is_empty() {
        route.insert("rewrite".into(), Value::from(rewrite));
    }
    for name in [
        "regex_rewrite",
        "host_rewrite_header",
        "host_rewrite_path_regex",
        "path_rewrite_policy",
        "path_rewrite",
        "cluster_specifier_plugin",
    ] {
        if let Some(item) = message.get(name) {
            return Err((
                item,
                "there is nothing like it: a template has variables, rewrite = { path = \"/v2/{id}\" }"
                    .to_owned(),
            ));
        }
    }
    let connect_ms = all().map(|it| it.connect_ms).max().unwrap_or(0);
    timeouts(message, waits, connect_ms, route, left);
    retries(message.message("retry_policy").as_ref(), route, left);
    message.leave("hedge_policy", left, "hedge = \"1s\" has slow reads asked of another instance as well");
    message.leave("cors", left, "cors = { origins = [\"https://shop.example\"] }");
    message.leave(
        "hash_policy",
        left,
        "affinity = \"client\", or balance = \"key\" of the version, keep a client at one instance",
    );
    message.leave("request_mirror_policies", left, "[service.NAME.mirror] sends copies to a pinned version");
    message.leave("rate_limits", left, "limits = { rate = { requests = 100, per = \"1m\" } }");
    message.leave("upgrade_configs", left, "WebSockets pass, other upgrades do not");
    message.pass_over(&["append_x_forwarded_host"]);
    message.leave_others(left, "there is nothing like it");
    Ok(whom)
}

fn whom<'n>(message: &Message<'n>, left: &mut Vec<Left>) -> Result<Whom, Refused<'n>> {
    if let Some(name) = message.text("cluster") {
        return Ok(vec![(name.to_owned(), 1)]);
    }
    let Some(weighted) = message.message("weighted_clusters") else {
        return Err((message.item.clone(), "it leads to a cluster that is not named".to_owned()));
    };
    let mut whom = Whom::new();
    for item in weighted.list("clusters") {
        let one = item.message();
        let weight = one.get("weight").and_then(|it| it.number()).unwrap_or(0);
        match one.text("name") {
            Some(name) if !whom.iter().any(|(known, _)| known == name) => {
                whom.push((name.to_owned(), weight));
            }
            _ => return Err((item, "a share is of a cluster that is named once".to_owned())),
        }
        one.leave_others(left, "a share has nothing of its own");
    }
    weighted.pass_over(&["total_weight"]);
    weighted.leave_others(left, "shares are by the key of the client, else drawn");
    match whom.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>() {
        0 => Err((weighted.item, "the shares add up to nothing".to_owned())),
        _ => Ok(whom),
    }
}

fn timeouts(message: &Message<'_>, waits: Waits, connect_ms: u64, route: &mut Table, left: &mut Vec<Left>) {
    let total = message.get("timeout").map_or(Some(USUAL_TIMEOUT_MS), |it| it.duration_ms());
    let total = total.filter(|ms| *ms > 0);
    let idle =
        message.get("idle_timeout").map_or(Some(waits.idle_ms), |it| it.duration_ms()).filter(|ms| *ms > 0);
    let idle = idle.unwrap_or(DAY_MS).min(DAY_MS);
    let within = |ms: u64| total.map_or(ms, |total| ms.min(total));
    let mut table = Table::new();
    table.insert("connect".into(), Value::from(super::time(within(connect_ms))));
    table.insert("head".into(), Value::from(super::time(within(idle))));
    table.insert("idle".into(), Value::from(super::time(within(idle))));
    if let Some(total) = total {
        table.insert("request".into(), Value::from(super::time(total.min(DAY_MS))));
    }
    route.insert("timeouts".into(), Value::from(table));
    message.leave("max_stream_duration", left, "timeouts = { request = \"1m\" }");
    message.leave("max_grpc_timeout", left, "grpc-timeout of a client counts, and is passed on");
}

/// The longest time of a route.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Envoy asks again only where it is told to.
pub(super) fn retries(policy: Option<&Message<'_>>, route: &mut Table, left: &mut Vec<Left>) {
    let mut table = Table::from_iter([("attempts".to_owned(), Value::from(0))]);
    if let Some(policy) = policy {
        let wanted = policy.get("num_retries").and_then(|it| it.number::<i64>()).unwrap_or(1);
        table.insert("attempts".into(), Value::from(wanted.clamp(0, MAX_ATTEMPTS)));
        if wanted > MAX_ATTEMPTS {
            policy.leave(
                "num_retries",
                left,
                "taken over as 3 further instances, of which one reads the request",
            );
        }
        let mut on: Vec<String> = Vec::new();
        let item = policy.get("retry_on");
        for word in item
            .as_ref()
            .and_then(Item::text)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|it| !it.is_empty())
        {
            let (adds, why): (&[&str], Option<&str>) = match word {
                "reset" => (&["reset", "timeout"], None),
                "refused-stream" | "reset-before-request" | "http3-post-connect-failure" => {
                    (&["reset"], None)
                }
                // Always done, whatever a route says.
                "connect-failure" => (&[], None),
                "gateway-error" => (&["502", "503", "504"], None),
                "5xx" => (
                    &["reset", "timeout", "500", "502", "503", "504"],
                    Some("5xx: taken over as 500, 502, 503 and 504"),
                ),
                "retriable-status-codes" => (&[], None),
                _ => (
                    &[],
                    Some(
                        "not taken over: what is asked again is a reset, a timeout, or a status from 500 to 599",
                    ),
                ),
            };
            on.extend(adds.iter().map(|it| (*it).to_owned()));
            if let (Some(why), Some(item)) = (why, &item) {
                item.leave(left, format!("`{word}`: {why}"));
            }
        }
        for code in policy.list("retriable_status_codes") {
            match code.number::<u16>().filter(|code| (500..=599).contains(code)) {
                Some(code) => on.push(code.to_string()),
                None => code.leave(left, "not taken over: a status from 500 to 599"),
            }
        }
        on.sort();
        on.dedup();
        if !on.is_empty() {
            table.insert("on".into(), Value::from(on.into_iter().map(Value::from).collect::<Vec<_>>()));
        }
        policy.item.leave(left, "taken over for GET, HEAD, OPTIONS, TRACE, PUT and DELETE: methods = [...] says which others may be asked twice");
        policy.leave("per_try_timeout", left, "timeouts = { head = \"1s\" } bounds the wait for each head");
        policy.leave_others(left, "how often and how soon is decided by the gateway, within a budget");
    }
    route.insert("retries".into(), Value::from(table));
}

/// Takes over which fields of requests and answers are set; `outer` comes from the virtual host and above.
pub(super) fn fields(message: &Message<'_>, route: &mut Table, left: &mut Vec<Left>) {
    for (side, key) in [("request", "request_headers"), ("response", "response_headers")] {
        for item in message.list(&format!("{side}_headers_to_add")) {
            field(&item, key, route, left);
        }
        for item in message.list(&format!("{side}_headers_to_remove")) {
            let name = item.text().unwrap_or_default().to_ascii_lowercase();
            match lockstep_domain::routes::actions::check_field(&name) {
                Ok(()) => list(route, key).push(Value::from(name)),
                Err(_) => item.leave(left, "not taken over: this field is the gateway's own"),
            }
        }
    }
}

fn field(item: &Item<'_>, key: &str, route: &mut Table, left: &mut Vec<Left>) {
    let message = item.message();
    let Some(header) = message.message("header") else { return item.leave(left, "it names no field") };
    let (name, value) = (
        header.text("key").unwrap_or_default().to_ascii_lowercase(),
        header.text("value").unwrap_or_default(),
    );
    let append = message.get("append").map(|it| it.flag());
    let how = match (message.text("append_action"), append) {
        (Some("OVERWRITE_IF_EXISTS_OR_ADD"), _) | (None, Some(Some(false))) => "set",
        (None, None | Some(Some(true))) | (Some("APPEND_IF_EXISTS_OR_ADD"), _) => "add",
        _ => return item.leave(left, "not taken over: a field is set, or added to those there are"),
    };
    if value.contains('%') || value.trim() != value || !value.bytes().all(|it| (b' '..=b'~').contains(&it)) {
        return item.leave(left, "not taken over: the value is a fixed text");
    }
    if lockstep_domain::routes::actions::check_field(&name).is_err() {
        return item.leave(left, "not taken over: this field is the gateway's own");
    }
    message.pass_over(&["keep_empty_value"]);
    message.leave_others(left, "there is nothing like it");
    let all = inner(route, key);
    let has = |other: &str| other != how && all.get(other).is_some_and(|it| names(it, &name));
    if ["set", "add", "remove"].into_iter().any(has) {
        item.leave(left, "taken over beside another change of the same field; here it is removed first, then set, then added to");
    }
    let table = inner(all, how);
    if table.insert(name, Value::from(value)).is_some() {
        item.leave(left, "it takes the place of another one for the same field");
    }
}

/// Tells whether fields of a table or a list have one of this name.
fn names(fields: &Value, name: &str) -> bool {
    let in_list = |list: &Vec<Value>| list.iter().any(|it| it.as_str() == Some(name));
    fields.as_table().is_some_and(|table| table.contains_key(name)) || fields.as_array().is_some_and(in_list)
}

fn list<'t>(route: &'t mut Table, key: &str) -> &'t mut Vec<Value> {
    let entry = inner(route, key).entry("remove").or_insert_with(|| Value::Array(Vec::new()));
    if !entry.is_array() {
        *entry = Value::Array(Vec::new());
    }
    entry.as_array_mut().expect("it was made a list above")
}
