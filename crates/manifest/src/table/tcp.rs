//! Reads `[[tcp]]` of a table: ports whose connections go to services that speak TCP.

use std::collections::BTreeMap;

use lockstep_domain::ServiceName;
use lockstep_domain::request_host::normalize_route_host;
use lockstep_domain::routes::ServiceRoutes;
use lockstep_domain::tcp_port::TcpPort;

use crate::reader::{Field, Table};

pub(super) fn ports(elements: &[Field<'_>], services: &BTreeMap<ServiceName, ServiceRoutes>) -> Vec<TcpPort> {
    elements.iter().filter_map(|element| port(&element.table()?, services)).collect()
}

fn port(table: &Table<'_>, services: &BTreeMap<ServiceName, ServiceRoutes>) -> Option<TcpPort> {
    let port = table.require("port", "port = 5433").and_then(|field| field.integer(1..=65_535));
    let host = table.get("host", "host = \"mqtt.shop.test\"").map(|field| host(&field));
    let service =
        table.require("service", "service = \"pgbouncer\"").and_then(|field| service(&field, services));
    table.check_asked();
    Some(TcpPort { port: port?, host: host.unwrap_or(Some(None))?, service: service? })
}

fn host(field: &Field<'_>) -> Option<Option<String>> {
    let form = normalize_route_host(field.text()?);
    let wrong =
        || field.wrong("a host is a name, or `*.` with one; a client gives it in its handshake of TLS");
    form.map_err(|_| wrong()).ok().map(Some)
}

fn service(field: &Field<'_>, services: &BTreeMap<ServiceName, ServiceRoutes>) -> Option<ServiceName> {
    let name = field.parse::<ServiceName>()?;
    match services.get(&name) {
        None => field.wrong(format_args!("there is no [service.{name}]")),
        Some(routes) if !routes.speaks_tcp() => {
            let hint = format!("say protocol = \"tcp\" in [service.{name}]");
            field.wrong_because(format_args!("`{name}` speaks HTTP, to which routes lead"), hint);
        }
        Some(_) => {}
    }
    Some(name)
}
