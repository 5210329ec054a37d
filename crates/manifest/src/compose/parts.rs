//! Single fields of a service in a compose file, which may be written in several ways.

use std::collections::BTreeMap;

use super::file::Condition;
use crate::init::call::Call;
use crate::yaml::{Node, Value};

pub(super) fn call(node: &Node) -> Option<Call> {
    match &node.value {
        Value::Text(text) => {
            Some(text.trim()).filter(|text| !text.is_empty()).map(|text| match shlex::split(text) {
                // Compose splits a text into words and runs no shell.
                Some(words) if !words.is_empty() => Call::Words(words),
                _ => Call::Shell(text.to_owned()),
            })
        }
        Value::List(_) => {
            let words: Vec<String> = node.texts().into_iter().map(|(_, text)| text.to_owned()).collect();
            (!words.is_empty()).then_some(Call::Words(words))
        }
        Value::Nothing | Value::Map(_) => None,
    }
}

pub(super) fn env_files(node: &Node) -> Vec<(usize, String)> {
    let path = |item: &Node| Some((item.line, item.text().or_else(|| item.get("path")?.text())?.to_owned()));
    match &node.value {
        Value::List(items) => items.iter().filter_map(path).collect(),
        _ => path(node).into_iter().collect(),
    }
}

pub(super) fn needs(node: &Node) -> BTreeMap<String, Condition> {
    let Some(needs) = node.get("depends_on") else { return BTreeMap::new() };
    let condition = |node: &Node| match node.get("condition").and_then(Node::text) {
        Some("service_completed_successfully") => Condition::Completed,
        _ => Condition::Started,
    };
    match &needs.value {
        Value::Map(entries) => entries.iter().map(|(name, node)| (name.clone(), condition(node))).collect(),
        _ => needs.texts().into_iter().map(|(_, name)| (name.to_owned(), Condition::Started)).collect(),
    }
}

pub(super) fn replicas(node: &Node) -> u32 {
    replicas_text(node).and_then(|(_, text)| many(text)).unwrap_or(1)
}

pub(super) fn replicas_text(node: &Node) -> Option<(usize, &str)> {
    let deploy = node.get("deploy").and_then(|deploy| deploy.get("replicas"));
    deploy.or_else(|| node.get("scale")).and_then(|node| Some((node.line, node.text()?)))
}

pub(super) fn many(text: &str) -> Option<u32> {
    text.parse().ok().filter(|many| (1..=100).contains(many))
}

pub(super) fn aliases(node: &Node) -> Vec<String> {
    let own =
        ["container_name", "hostname"].into_iter().filter_map(|key| node.get(key)?.text().map(str::to_owned));
    let networks = node.get("networks").map(Node::entries).unwrap_or_default();
    let of_networks = networks.iter().filter_map(|(_, network)| network.get("aliases")).flat_map(Node::texts);
    own.chain(of_networks.map(|(_, alias)| alias.to_owned())).collect()
}

/// `db:database` lets a service call another by a name of its own.
pub(super) fn links(node: &Node) -> Vec<(String, String)> {
    let pair =
        |(_, text): (usize, &str)| text.split_once(':').map(|(name, alias)| (name.into(), alias.into()));
    node.get("links").map(Node::texts).unwrap_or_default().into_iter().filter_map(pair).collect()
}
