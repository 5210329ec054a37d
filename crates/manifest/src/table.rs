//! A route table as a person writes it in TOML, for a gateway without a server: services with their versions and instances, and
//! routes as manifests have them.
//!
//! Invariant: it is compiled into a [`RouteTable`], which alone has a meaning.

mod fault;
mod service;
mod tcp;

use std::collections::BTreeMap;

use lockstep_domain::entry::EntrySettings;
use lockstep_domain::gateway_rules::{GatewayRules, NamedServices, Network};
use lockstep_domain::injection::{Fault, FaultInjection};
use lockstep_domain::maintenance::MaintenancePage;
use lockstep_domain::routes::{Route, RouteTable, ServiceRoutes};
use lockstep_domain::tcp_port::TcpPort;
use lockstep_domain::{EnvironmentName, ServiceName, entry::Entry};

use crate::document::read_document;
use crate::parse::route;
use crate::problem::{Lines, Problem};
use crate::reader::{Field, Table};
use crate::value;

/// Whom a route that answers itself belongs to when it names no service: nothing is sent there.
const NOBODY: &str = "gateway";

/// A table that was read from TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTable {
    /// The table.
    pub table: RouteTable,
    /// Where its parts stand: the place in the table (`routes[3]`, `services.orders`), that in the file (`route[1]`), and the line.
    pub places: Vec<(String, String, usize)>,
}

/// Reads a route table in TOML. `file` is only named in problems.
///
/// # Errors
/// All problems of the file, at most [`crate::MAX_PROBLEMS`], in its order; never an empty list.
pub fn parse_table(text: &str, file: &str) -> Result<WrittenTable, Vec<Problem>> {
    let (table, places) =
        read_document(text, file, "write a table of that size as JSON", |root| table(&root))?;
    let lines = Lines::new(text);
    let places = places.into_iter().map(|place| (place.table, place.file, lines.line(place.offset)));
    Ok(WrittenTable { table, places: places.collect() })
}

/// Where a part of a table stands.
struct Place {
    table: String,
    file: String,
    offset: usize,
}

fn table(root: &Table<'_>) -> Option<(RouteTable, Vec<Place>)> {
    let environment = root.require("environment", "environment = \"production\"");
    let environment: Option<EnvironmentName> = environment.and_then(|field| field.parse());
    let rules = root.table("rules", "[rules]").map(|table| rules(&table));
    let pages = root.get("maintenance", "[[maintenance]] with service = \"orders\"");
    let pages = pages.and_then(|field| field.list()).unwrap_or_default();
    let mut places = Vec::new();
    let rules = with_maintenance(rules, &pages);
    places.extend(elements_of(("rules.maintenance", "maintenance"), &pages));
    let entry = root.table("entry", "[entry]").map(|table| entry(&table));
    let ports = root.get("tcp", "[[tcp]] with port = 5433 and service = \"pgbouncer\"");
    let ports = ports.and_then(|field| field.list()).unwrap_or_default();
    places.extend(elements_of(("entry.tcp", "tcp"), &ports));
    let services = root.table("service", "[service.orders] with instances = [\"127.0.0.1:9000\"]");
    let services = services.map(|table| service::services(&table, &mut places)).unwrap_or_default();
    let list = root.get("route", "[[route]] with path = \"/\" and service = \"orders\"");
    let elements = list.and_then(|field| field.list()).unwrap_or_default();
    let routes = routes(&elements, &services.routes, &mut places);
    let entry = with_ports(entry, tcp::ports(&ports, &services.routes), root);
    let rules = with_faults(rules, services.faults, root);
    root.check_asked();
    let table = RouteTable {
        format: 0,
        environment: environment?,
        history: Default::default(),
        revision: 1,
        baseline: 0,
        routes,
        services: services.routes,
        aliases: services.aliases,
        rules,
        callers: Vec::new(),
        listeners: None,
        entry,
        visits: None,
        lanes: Vec::new(),
        switches: None,
        between: None,
        checks: Vec::new(),
    };
    Some((table.in_its_format(), places))
}

fn rules(table: &Table<'_>) -> GatewayRules {
    let named = table.get("named_services", "named_services = \"allow\"");
    let networks = table.get("trusted_networks", "trusted_networks = [\"10.0.0.0/8\"]");
    let timeout = table.get("timeout", "timeout = \"30s\"");
    let injection = table.get("fault_injection", "fault_injection = \"allow\"");
    let rules = GatewayRules {
        named_services: named.and_then(|field| field.parse::<NamedServices>()).unwrap_or_default(),
        trusted_networks: networks.map(|field| field.parse_all::<Network>()).unwrap_or_default(),
        timeout_ms: timeout.and_then(|field| duration(&field)),
        fault_injection: injection.and_then(|field| field.parse()).unwrap_or_default(),
        via: table.get("via", "via = \"omit\"").and_then(|field| field.parse()).unwrap_or_default(),
        path_form: table
            .get("path_form", "path_form = \"keep-slashes\"")
            .and_then(|field| field.parse())
            .unwrap_or_default(),
        escaped_slashes: table
            .get("escaped_slashes", "escaped_slashes = \"refuse\"")
            .and_then(|field| field.parse())
            .unwrap_or_default(),
        path_parameters: table
            .get("path_parameters", "path_parameters = \"refuse\"")
            .and_then(|field| field.parse())
            .unwrap_or_default(),
        ..GatewayRules::usual()
    };
    if let Err(error) = rules.check() {
        table.contradicts(error);
    }
    table.check_asked();
    rules
}

/// Adds the pages of maintenance, where there are any.
fn with_maintenance(rules: Option<GatewayRules>, pages: &[Field<'_>]) -> Option<GatewayRules> {
    if pages.is_empty() {
        return rules;
    }
    let one = |(index, field): (usize, &Field<'_>)| {
        let table = field.table()?;
        let text = |name, example| table.get(name, example).and_then(|field| Some(field.text()?.to_owned()));
        let wait = table.get("retry_after", "retry_after = \"10m\"");
        let respond = table.require("respond", "respond = { status = 503, body = \"back at noon\" }");
        let page = MaintenancePage {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            service: table.get("service", "service = \"orders\"").and_then(|field| field.parse()),
            version: table.get("version", "version = \"1.1.0\"").and_then(|field| field.parse()),
            host: text("host", "host = \"shop.test\""),
            path: text("path", "path = \"/orders\""),
            respond: respond.and_then(|field| route::respond(&field))?,
            retry_after_s: wait.and_then(|field| duration(&field)).map(|ms| ms.div_ceil(1_000)),
        };
        if let Err(error) = page.check() {
            table.contradicts(error);
        }
        table.check_asked();
        Some(page)
    };
    let maintenance = pages.iter().enumerate().filter_map(one).collect();
    Some(GatewayRules { maintenance, ..rules.unwrap_or_else(GatewayRules::usual) })
}

fn duration(field: &Field<'_>) -> Option<u64> {
    value::duration_ms(field.text()?).map_err(|error| field.wrong(error)).ok()
}

fn entry(table: &Table<'_>) -> Entry {
    let port = table.get("https_port", "https_port = 8443").and_then(|field| field.integer(1..=65_535));
    let authorities = table.get("client_ca", "client_ca = \"\"\"-----BEGIN CERTIFICATE-----...\"\"\"");
    let networks = table.get("proxy_networks", "proxy_networks = [\"10.0.0.0/8\"]");
    let settings = EntrySettings {
        https_port: port,
        http: table.get("http", "http = \"redirect\"").and_then(|it| it.parse()).unwrap_or_default(),
        tls_min: table.get("tls_min", "tls_min = \"1.3\"").and_then(|it| it.parse()).unwrap_or_default(),
        client_ca: authorities.and_then(|field| Some(field.text()?.to_owned())),
        client_certificates: table
            .get("client_certificates", "client_certificates = \"optional\"")
            .and_then(|it| it.parse())
            .unwrap_or_default(),
        proxy_networks: networks.map(|field| field.parse_all()).unwrap_or_default(),
        tcp: Vec::new(),
        tcp_idle_ms: table.get("tcp_idle", "tcp_idle = \"10m\"").and_then(|field| duration(&field)),
    };
    let tcp_drain_ms = table.get("tcp_drain", "tcp_drain = \"1m\"").and_then(|field| duration(&field));
    let drain_ms = table.get("drain", "drain = \"1m\"").and_then(|field| duration(&field));
    if let Err(error) = settings.check() {
        table.contradicts(error);
    }
    table.check_asked();
    Entry { settings, tcp_drain_ms, drain_ms, ..Entry::default() }
}

/// Adds the faults of services, where there are any.
fn with_faults(rules: Option<GatewayRules>, faults: Vec<Fault>, root: &Table<'_>) -> Option<GatewayRules> {
    if faults.is_empty() {
        return rules;
    }
    let mut rules = rules.unwrap_or_else(GatewayRules::usual);
    rules.faults = faults;
    if let Err(error) = rules.check() {
        let hint = match rules.fault_injection {
            FaultInjection::Refuse => "say fault_injection = \"allow\" in [rules]".to_owned(),
            FaultInjection::Allow => format!("leave out some of them: there are {}", rules.faults.len()),
        };
        root.contradicts(format_args!("{error}: {hint}"));
    }
    Some(rules)
}

/// Adds the ports of services that speak TCP, where there are any.
fn with_ports(entry: Option<Entry>, ports: Vec<TcpPort>, root: &Table<'_>) -> Option<Entry> {
    if ports.is_empty() {
        return entry;
    }
    let mut entry = entry.unwrap_or_default();
    entry.settings.tcp = ports;
    if let Err(error) = entry.settings.check() {
        root.contradicts(error);
    }
    Some(entry)
}

fn routes(
    elements: &[Field<'_>],
    services: &BTreeMap<ServiceName, ServiceRoutes>,
    places: &mut Vec<Place>,
) -> Vec<Route> {
    let (mut routes, mut taken) = (Vec::new(), BTreeMap::new());
    for (number, element) in elements.iter().enumerate() {
        let Some(table) = element.table() else { continue };
        let offset = table.offset();
        let service = table.get("service", "service = \"orders\"");
        // Answers of the gateway itself need nobody.
        let answers = ["redirect", "respond"].iter().any(|&name| table.get(name, "").is_some());
        if service.is_none() && !answers {
            table.missing("service", "nobody gets the requests of this route", "service = \"orders\"");
        }
        let name = service.as_ref().map_or_else(|| NOBODY.parse().ok(), Field::parse::<ServiceName>);
        if let (Some(field), Some(name)) = (&service, &name)
            && !services.contains_key(name)
        {
            field.wrong(format_args!("there is no [service.{name}]"));
        }
        if let (Some(field), Some(name)) = (&service, &name)
            && services.get(name).is_some_and(ServiceRoutes::speaks_tcp)
        {
            let hint = "lead a port to it: [[tcp]] with port and service";
            field.wrong_because(format_args!("`{name}` speaks TCP, so no request can reach it"), hint);
        }
        for rule in route::route(table) {
            if let Some(first) = taken.insert(rule.key(), number).filter(|first| *first != number) {
                let message = format_args!("route[{first}] takes the very same requests");
                element.wrong_because(message, "remove one of them");
            }
            places.extend(name.iter().map(|_| place(routes.len(), number, offset)));
            routes.extend(name.clone().map(|service| Route { rule, service }));
        }
    }
    routes
}

/// Says where the elements of a list stand that are a list of the table as well.
fn elements_of((table, file): (&str, &str), elements: &[Field<'_>]) -> Vec<Place> {
    let place = |(index, field): (usize, &Field<'_>)| Place {
        table: format!("{table}[{index}]"),
        file: format!("{file}[{index}]"),
        offset: field.offset(),
    };
    elements.iter().enumerate().map(place).collect()
}

fn place(index: usize, number: usize, offset: usize) -> Place {
    Place { table: format!("routes[{index}]"), file: format!("route[{number}]"), offset }
}

#[cfg(test)]
mod tests;
