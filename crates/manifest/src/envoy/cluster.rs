//! A cluster of Envoy as a version of a service: its instances, what it speaks, and how they are chosen.

use lockstep_domain::DnsName;
use toml::{Table, Value};

use super::Left;
use super::document::{Item, Message};

/// A cluster that is taken over.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// What stands in the table of its version.
    pub(super) version: Table,
    /// How long a connection to it may take to open.
    pub(super) connect_ms: u64,
    /// The only host name of its instances, where there is one.
    pub(super) only_host: Option<String>,
}

/// What Envoy does where nothing is said.
const USUAL_CONNECT_MS: u64 = 5_000;
/// Where systems keep the authorities that everybody believes.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Reads a cluster; `None`, and why is named, where it cannot be taken over.
pub(super) fn read(item: &Item<'_>, left: &mut Vec<Left>) -> Option<(String, Cluster)> {
    let message = item.message();
    let name = message.text("name").unwrap_or_default().to_owned();
    let kind = message.get("type");
    match kind.as_ref().and_then(Item::word).as_deref().unwrap_or("STATIC") {
        "STATIC" | "STRICT_DNS" => {}
        "LOGICAL_DNS" => kind
            .iter()
            .for_each(|it| it.leave(left, "taken over, but each address of its name is an instance")),
        other => {
            let why = format!("`{name}` is not taken over: instances of {other} come from elsewhere");
            kind.iter().for_each(|it| it.leave(left, why.clone()));
            return None;
        }
    }
    if let Some(kind) = message.get("cluster_type") {
        kind.leave(left, format!("`{name}` is not taken over: there is nothing like it"));
        return None;
    }
    let instances = instances(&message, left);
    let mut version = Table::new();
    let hosts: Vec<&str> = instances.iter().filter_map(|it| it.host.as_deref()).collect();
    let only_host = hosts
        .first()
        .filter(|first| hosts.len() == instances.len() && hosts.iter().all(|it| it == *first))
        .map(|it| (*it).to_owned());
    let is_by_name = !instances.is_empty() && hosts.len() == instances.len();
    version
        .insert("instances".into(), Value::from(instances.iter().map(Instance::value).collect::<Vec<_>>()));
    if speaks_http2(&message, left) {
        version.insert("protocol".into(), Value::from("h2c"));
    }
    tls(&message, is_by_name, &name, &mut version, left)?;
    balance(&message, &mut version, left);
    ejection(&message, &mut version, left);
    let is_one = instances.len() == 1 && hosts.is_empty();
    circuit(&message, is_one, &mut version, left);
    let connect_ms = message.get("connect_timeout").and_then(|it| it.duration_ms()).filter(|ms| *ms > 0);
    message.pass_over(&["alt_stat_name", "respect_dns_ttl", "observability_name"]);
    message.leave("health_checks", left, "a gateway asks nobody: it sees by requests who fails");
    message.leave(
        "dns_lookup_family",
        left,
        "addresses of both families are asked, where the machine has a way to them",
    );
    message.leave("dns_refresh_rate", left, "lockstep gateway run --lookup-min");
    message.leave("dns_resolvers", left, "lockstep gateway run --resolver");
    message.leave("typed_dns_resolver_config", left, "lockstep gateway run --resolver");
    message.leave_others(left, "there is nothing like it");
    Some((name, Cluster { version, connect_ms: connect_ms.unwrap_or(USUAL_CONNECT_MS), only_host }))
}

struct Instance {
    address: String,
    host: Option<String>,
    zone: Option<String>,
}

impl Instance {
    fn value(&self) -> Value {
        match &self.zone {
            None => Value::from(self.address.as_str()),
            Some(zone) => Value::from(Table::from_iter([
                ("address".to_owned(), Value::from(self.address.as_str())),
                ("zone".to_owned(), Value::from(zone.as_str())),
            ])),
        }
    }
}

fn instances(cluster: &Message<'_>, left: &mut Vec<Left>) -> Vec<Instance> {
    let Some(assignment) = cluster.message("load_assignment") else { return Vec::new() };
    assignment.pass_over(&["cluster_name"]);
    let mut found: Vec<Instance> = Vec::new();
    for group in assignment.list("endpoints") {
        let message = group.message();
        if let Some(later) = message.get("priority").filter(|it| it.number::<u32>() != Some(0)) {
            later.leave(left, "its instances are not taken over: they stand in where others fail, which versions with the role `fallback` do");
            continue;
        }
        let locality = message.message("locality");
        let zone = locality.as_ref().and_then(|it| it.text("zone")).map(str::to_owned);
        let zone = zone.filter(|zone| zone.parse::<lockstep_domain::ZoneName>().is_ok());
        locality.iter().for_each(|it| it.leave_others(left, "only the zone is taken over"));
        for endpoint in message.list("lb_endpoints") {
            if let Some(instance) = instance(&endpoint, zone.clone(), left) {
                match found.iter().any(|known| known.address == instance.address) {
                    true => {
                        endpoint.leave(left, "it is there twice: each instance gets as much as the others");
                    }
                    false => found.push(instance),
                }
            }
        }
        message.leave_others(left, "instances are chosen among each other alike");
    }
    assignment.leave_others(left, "there is nothing like it");
    found
}

fn instance(item: &Item<'_>, zone: Option<String>, left: &mut Vec<Left>) -> Option<Instance> {
    let message = item.message();
    if let Some(state) =
        message.get("health_status").filter(|it| !matches!(it.text(), Some("UNKNOWN" | "HEALTHY")))
    {
        state.leave(left, "it is not taken over: it is to get no requests");
        return None;
    }
    let endpoint = message.message("endpoint")?;
    let address = endpoint.message("address")?;
    let socket = address.message("socket_address");
    address.leave_others(left, "not taken over: an instance is asked by TCP, at an address with a port");
    let socket = socket?;
    let host = socket.text("address").unwrap_or_default().to_ascii_lowercase();
    let port: u16 = socket.get("port_value").and_then(|it| it.number()).unwrap_or(0);
    socket.pass_over(&["protocol"]);
    socket.leave_others(left, "there is nothing like it");
    endpoint.pass_over(&["hostname"]);
    endpoint.leave_others(left, "there is nothing like it");
    message.pass_over(&["metadata"]);
    message.leave_others(left, "each instance gets as much as the others");
    let ip = host.parse::<std::net::IpAddr>();
    let is_usable = port > 0 && (ip.is_ok() || host.parse::<DnsName>().is_ok());
    if !is_usable {
        item.leave(left, "not taken over: it has no address with a port");
        return None;
    }
    match ip {
        Ok(ip) => {
            Some(Instance { address: std::net::SocketAddr::new(ip, port).to_string(), host: None, zone })
        }
        Err(_) => Some(Instance { address: format!("{host}:{port}"), host: Some(host), zone }),
    }
}

fn speaks_http2(cluster: &Message<'_>, left: &mut Vec<Left>) -> bool {
    let mut speaks = cluster.get("http2_protocol_options").is_some();
    let Some(options) = cluster.get("typed_extension_protocol_options") else { return speaks };
    for (key, _) in options.node.entries() {
        let inner = options.message().get(key).map(|it| it.message());
        let Some(inner) = inner else { continue };
        if !key.ends_with("HttpProtocolOptions") {
            inner.item.leave(left, "there is nothing like it");
            continue;
        }
        inner.pass_over(&["@type"]);
        let explicit = inner.message("explicit_http_config");
        speaks |= explicit.as_ref().is_some_and(|it| it.get("http2_protocol_options").is_some());
        explicit.iter().for_each(|it| {
            it.pass_over(&["http_protocol_options"]);
            it.leave_others(left, "instances speak HTTP/1.1 or HTTP/2");
        });
        let why = "instances speak what `protocol` says: HTTP/1.1 unless it is \"h2c\"";
        inner.leave_others(left, why);
    }
    speaks
}

/// `None` where nobody could be asked as it says.
fn tls(
    cluster: &Message<'_>,
    is_by_name: bool,
    name: &str,
    version: &mut Table,
    left: &mut Vec<Left>,
) -> Option<()> {
    cluster.leave("transport_socket_matches", left, "all instances of a version are asked alike");
    let Some(socket) = cluster.message("transport_socket") else { return Some(()) };
    let kind = socket.text("name").unwrap_or_default().to_owned();
    let Some(context) = socket.message("typed_config") else { return Some(()) };
    let of_type = context.text("@type").unwrap_or_default();
    if kind.ends_with("raw_buffer") || of_type.ends_with("RawBuffer") {
        return Some(());
    }
    if !of_type.ends_with("UpstreamTlsContext") {
        socket.item.leave(left, format!("`{name}` is not taken over: there is nothing like its transport"));
        return None;
    }
    let sni = context.text("sni").filter(|it| !it.is_empty()).map(str::to_owned);
    let common = context.message("common_tls_context");
    let mut tls = Table::new();
    if let Some(sni) = &sni {
        tls.insert("server_name".into(), Value::from(sni.as_str()));
    }
    let validation = common.as_ref().and_then(|it| it.message("validation_context"));
    let trusted = validation.as_ref().and_then(|it| it.message("trusted_ca"));
    match &trusted {
        None => {
            tls.insert("accept_any_certificate".into(), Value::from(true));
            context.item.leave(left, "taken over as it is: without trusted_ca any certificate is accepted, whoever shows it. Name the authorities by ca_pem, or remove accept_any_certificate");
        }
        Some(trusted) => {
            match (trusted.text("inline_string"), trusted.get("filename")) {
                (Some(pem), _) => _ = tls.insert("ca_pem".into(), Value::from(pem)),
                (None, Some(file)) if file.text().is_some_and(|it| SYSTEM_AUTHORITIES.contains(&it)) => {}
                (None, Some(file)) => file.leave(
                    left,
                    "not read, so those of the machine are believed: write what is in the file into ca_pem",
                ),
                (None, None) => trusted.item.leave(
                    left,
                    "not taken over, so those of the machine are believed: write them into ca_pem",
                ),
            }
            if sni.is_none() && !is_by_name {
                context.item.leave(
                    left,
                    format!(
                        "`{name}` is not taken over: nobody says which name its certificate must be for (sni)"
                    ),
                );
                return None;
            }
        }
    }
    if let Some(validation) = &validation {
        let why = "the certificate must be for server_name, or for the name of the host";
        validation.leave_others(left, why);
    }
    if let Some(common) = &common {
        common.pass_over(&["alpn_protocols"]);
        common.leave(
            "tls_certificates",
            left,
            "a certificate that is shown is one of the environment: tls = { certificate = \"NAME\" }",
        );
        common.leave_others(left, "there is nothing like it");
    }
    context.leave_others(left, "there is nothing like it");
    version.insert("tls".into(), Value::from(tls));
    Some(())
}

fn balance(cluster: &Message<'_>, version: &mut Table, left: &mut Vec<Left>) {
    let policy = cluster.get("lb_policy");
    match policy.as_ref().and_then(Item::word).as_deref().unwrap_or("ROUND_ROBIN") {
        "ROUND_ROBIN" => _ = version.insert("balance".into(), Value::from("round-robin")),
        "LEAST_REQUEST" => _ = version.insert("balance".into(), Value::from("least-requests")),
        "RANDOM" => policy.iter().for_each(|it| it.leave(left, "the better of two that are drawn is asked")),
        _ => policy.iter().for_each(|it| it.leave(left, "the better of two that are drawn is asked; balance = \"key\" or affinity = \"client\" keep a client at one instance")),
    }
    for name in [
        "load_balancing_policy",
        "least_request_lb_config",
        "round_robin_lb_config",
        "ring_hash_lb_config",
        "maglev_lb_config",
    ] {
        cluster.leave(name, left, "instances are chosen as `balance` says");
    }
}

/// Envoy leaves nobody alone unless it is told to.
fn ejection(cluster: &Message<'_>, version: &mut Table, left: &mut Vec<Left>) {
    let mut rule = Table::new();
    match cluster.message("outlier_detection") {
        None => _ = rule.insert("consecutive".into(), Value::from(0)),
        Some(detection) => {
            let number = |name: &str| detection.get(name).and_then(|it| it.number::<i64>());
            let is_enforced = number("enforcing_consecutive_5xx").is_none_or(|percent| percent > 0);
            let consecutive = number("consecutive_5xx").unwrap_or(5).clamp(0, 1_000);
            rule.insert("consecutive".into(), Value::from(if is_enforced { consecutive } else { 0 }));
            for (name, key) in [("base_ejection_time", "first"), ("max_ejection_time", "longest")] {
                if let Some(ms) = detection.get(name).and_then(|it| it.duration_ms()).filter(|ms| *ms > 0) {
                    rule.insert(key.into(), Value::from(super::time(ms)));
                }
            }
            if let Some(most) = number("max_ejection_percent") {
                rule.insert("most".into(), Value::from(format!("{}%", most.clamp(0, 100))));
            }
            detection.leave(
                "interval",
                left,
                "instances are compared once a second, and failures in a row count at once",
            );
            detection.leave_others(left, "failures in a row are what is taken over; `failures` and `slower` of ejection compare instances");
        }
    }
    if let Some(common) = cluster.message("common_lb_config") {
        if let Some(percent) =
            common.message("healthy_panic_threshold").and_then(|it| it.get("value")?.number::<f64>())
        {
            rule.insert("panic".into(), Value::from(format!("{}%", percent.round().clamp(0.0, 100.0))));
        }
        common.leave_others(left, "zones: lockstep gateway run --zone; there is nothing like the rest");
    }
    version.insert("ejection".into(), Value::from(rule));
}

fn circuit(cluster: &Message<'_>, is_one: bool, version: &mut Table, left: &mut Vec<Left>) {
    let Some(breakers) = cluster.message("circuit_breakers") else { return };
    for item in breakers.list("thresholds") {
        let threshold = item.message();
        if let Some(high) = threshold.get("priority").filter(|it| it.text() == Some("HIGH")) {
            high.leave(left, "requests have no priorities");
            continue;
        }
        if is_one
            && let Some(most) =
                threshold.get("max_requests").and_then(|it| it.number::<i64>()).filter(|most| *most > 0)
        {
            version.insert("max_requests".into(), Value::from(most));
        }
        threshold.leave(
            "max_requests",
            left,
            "max_requests counts for each instance here: write it at the version",
        );
        threshold.leave_others(
            left,
            "max_requests of the version, and limits of the route, bound what is under way",
        );
    }
    breakers.leave_others(left, "there is nothing like it");
}
