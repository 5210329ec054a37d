//! A listener of Envoy: which of several is taken, how clients come in, and what its manager says of all requests.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::action::Waits;
use super::cluster::Cluster;
use super::document::{Item, Message};
use super::host::virtual_host;
use super::{EnvoyError, Hosts, Left, Said};

/// How long Envoy waits for a stream on which nothing is said.
const USUAL_IDLE_MS: u64 = 300_000;

pub(super) fn chosen<'n>(listeners: &[Item<'n>], name: Option<&str>) -> Result<Option<Item<'n>>, EnvoyError> {
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

pub(super) fn listener(
    item: &Item<'_>,
    clusters: &BTreeMap<String, Cluster>,
    said: &mut Said,
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
        secure(&socket, port, &mut said.entry, left);
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
    paths(&manager, &mut said.rules);
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

/// What it does with slashes that are several or encoded, where it says so.
fn paths(manager: &Message<'_>, rules: &mut Table) {
    if manager.get("merge_slashes").and_then(|it| it.flag()) == Some(false) {
        rules.insert("path_form".into(), Value::from("keep-slashes"));
    }
    let slashes = match manager.text("path_with_escaped_slashes_action") {
        Some("REJECT_REQUEST") => "refuse",
        Some("UNESCAPE_AND_REDIRECT") => "redirect",
        Some("UNESCAPE_AND_FORWARD") => "decode",
        _ => return,
    };
    rules.insert("escaped_slashes".into(), Value::from(slashes));
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
