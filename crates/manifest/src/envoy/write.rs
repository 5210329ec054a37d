//! What was taken over as a route table in TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use toml::{Table, Value};

use super::action::Whom;
use super::cluster::Cluster;
use super::{Hosts, Said};
use crate::proportions::shares;

pub(super) fn written(
    environment: &str,
    said: &Said,
    hosts: &[Hosts],
    clusters: &BTreeMap<String, Cluster>,
) -> String {
    let mut text = format!("environment = {}\n", Value::from(environment));
    for (name, table) in [("rules", &said.rules), ("entry", &said.entry)] {
        if !table.is_empty() {
            let _ = write!(text, "\n[{name}]\n");
            lines(&mut text, table);
        }
    }
    let services = services(hosts);
    for (whom, name) in &services {
        match whom.as_slice() {
            [(cluster, _)] => {
                let _ = write!(text, "\n[service.{name}]\n");
                clusters.get(cluster).iter().for_each(|it| lines(&mut text, &it.version));
            }
            many => {
                let _ = write!(text, "\n[service.{name}]\n");
                let weights: Vec<u32> = many.iter().map(|(_, weight)| *weight).collect();
                for (at, ((cluster, _), share)) in many.iter().zip(shares(&weights)).enumerate() {
                    let _ = write!(
                        text,
                        "\n[[service.{name}.version]] # {}\nnumber = \"{}.0.0\"\nshare = \"{share}\"\n",
                        one_line(cluster),
                        at + 1
                    );
                    clusters.get(cluster).iter().for_each(|it| lines(&mut text, &it.version));
                }
            }
        }
    }
    for Hosts { names, routes } in hosts {
        let named: Vec<Value> = names.iter().flatten().map(|it| Value::from(it.as_str())).collect();
        let (is_any, named) = (names.contains(&None), (!named.is_empty()).then_some(named));
        let hosts = named.into_iter().map(Some).chain(is_any.then_some(None));
        for hosts in hosts {
            for route in routes {
                text.push_str("\n[[route]]\n");
                if let Some(hosts) = &hosts {
                    let _ = writeln!(text, "host = {}", Value::from(hosts.clone()));
                }
                let mut all = Table::new();
                route.matched.write(&mut all);
                if let Some(service) = services.get(&route.whom) {
                    all.insert("service".into(), Value::from(service.as_str()));
                }
                lines(&mut text, &all);
                lines(&mut text, &route.does);
            }
        }
    }
    text
}

fn lines(text: &mut String, table: &Table) {
    for (key, value) in table {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn one_line(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).collect()
}

/// Makes a name of a service out of names of clusters.
fn service_name(whom: &Whom) -> String {
    let letter = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let text: Vec<&str> = whom.iter().map(|(name, _)| name.as_str()).collect();
    let name: String = text.join("-").chars().map(letter).take(50).collect();
    let name = name.trim_matches('-').to_owned();
    if name.starts_with(|it: char| it.is_ascii_lowercase()) {
        name
    } else {
        format!("s-{name}").trim_end_matches('-').to_owned()
    }
}

/// Gives each list of clusters with their weights a service of its own.
fn services(hosts: &[Hosts]) -> BTreeMap<Whom, String> {
    let (mut services, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for whom in hosts.iter().flat_map(|it| &it.routes).map(|it| &it.whom).filter(|it| !it.is_empty()) {
        if services.contains_key(whom) {
            continue;
        }
        let base = service_name(whom);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|it| taken.insert(it.clone()));
        services.insert(whom.clone(), name.unwrap_or(base));
    }
    services
}
