//! `extends`: one service put over another, as Compose merges them.
//!
//! Mappings are joined, in whichever of their two forms they are written; ports, volumes and the like are put behind each other; of
//! everything else the one above counts.

use super::file::in_project;
use crate::yaml::{Node, Value};

/// Mappings that may be written as a list of `NAME=VALUE`, or of names.
const MAPPINGS: [&str; 7] =
    ["environment", "labels", "depends_on", "networks", "extra_hosts", "sysctls", "annotations"];
/// Lists of which both count.
const LISTS: [&str; 10] =
    ["ports", "expose", "volumes", "env_file", "profiles", "tmpfs", "dns", "devices", "secrets", "configs"];

/// Puts a service over what it extends.
pub(super) fn over(own: &Node, base: &Node) -> Node {
    let entry = |(key, node): &(String, Node)| match base.get(key) {
        Some(below) => (key.clone(), field(key, node, below)),
        None => (key.clone(), node.clone()),
    };
    let is_new = |(key, _): &&(String, Node)| own.get(key).is_none();
    let all = own.entries().iter().map(entry).chain(base.entries().iter().filter(is_new).cloned());
    Node { line: own.line, value: Value::Map(all.collect()) }
}

fn field(key: &str, own: &Node, base: &Node) -> Node {
    match key {
        _ if LISTS.contains(&key) => both(key, own, base),
        _ if MAPPINGS.contains(&key) => mapping(own).under(&mapping(base)),
        "build" => build(own).under(&build(base)),
        _ => own.clone().under(base),
    }
}

/// A volume for the same path of the container takes the place of the one below.
fn both(key: &str, own: &Node, base: &Node) -> Node {
    let items = |node: &Node| match &node.value {
        Value::List(items) => items.clone(),
        Value::Nothing => Vec::new(),
        _ => vec![node.clone()],
    };
    let own_items = items(own);
    let is_said = |item: &Node| {
        own_items.iter().any(|one| {
            one.value == item.value
                || key == "volumes" && target(one).is_some() && target(one) == target(item)
        })
    };
    let kept = items(base).into_iter().filter(|item| !is_said(item));
    let all = kept.chain(own_items.iter().cloned()).collect();
    Node { line: own.line, value: Value::List(all) }
}

fn target(volume: &Node) -> Option<&str> {
    match volume.text() {
        Some(text) => text.split(':').nth(1).or(Some(text)),
        None => volume.get("target")?.text(),
    }
}

fn mapping(node: &Node) -> Node {
    let Value::List(_) = &node.value else { return node.clone() };
    let entry = |(line, name, value): (usize, String, Option<String>)| {
        (name, Node { line, value: value.map_or(Value::Nothing, Value::Text) })
    };
    Node { line: node.line, value: Value::Map(node.pairs().into_iter().map(entry).collect()) }
}

fn build(node: &Node) -> Node {
    match node.text() {
        Some(_) => Node { line: node.line, value: Value::Map(vec![("context".to_owned(), node.clone())]) },
        None => node.clone(),
    }
}

/// Lets the paths of a service of another file lead from there.
pub(super) fn from_folder_of(file: &str, service: &Node) -> Node {
    let Some((folder, _)) = file.rsplit_once('/') else { return service.clone() };
    let moved = |(key, node): &(String, Node)| {
        let node = match key.as_str() {
            "build" => each(&build(node), &|key, text| (key == "context").then(|| below(folder, text))),
            "env_file" => each(node, &|key, text| matches!(key, "" | "path").then(|| below(folder, text))),
            "volumes" => each(node, &|key, text| {
                (matches!(key, "" | "source") && text.starts_with('.')).then(|| below(folder, text))
            }),
            _ => node.clone(),
        };
        (key.clone(), node)
    };
    Node { line: service.line, value: Value::Map(service.entries().iter().map(moved).collect()) }
}

/// Puts a path behind a folder; one that is absolute, or leads out, stays.
fn below(folder: &str, path: &str) -> String {
    let (path, rest) = path.split_once(':').map_or((path, None), |(path, rest)| (path, Some(rest)));
    let is_fixed = path.starts_with(['/', '~']) || rest.is_some_and(|rest| rest.starts_with("//"));
    let moved = match in_project(&format!("{folder}/{path}")) {
        Some(moved) if !is_fixed => format!("./{moved}"),
        _ => path.to_owned(),
    };
    rest.map_or_else(|| moved.clone(), |rest| format!("{moved}:{rest}"))
}

/// Changes texts: those of a list, and those of mappings in it by their keys.
fn each(node: &Node, change: &impl Fn(&str, &str) -> Option<String>) -> Node {
    let of = |key: &str, node: &Node| match node.text().and_then(|text| change(key, text)) {
        Some(text) => Node { line: node.line, value: Value::Text(text) },
        None => node.clone(),
    };
    let value = match &node.value {
        Value::List(items) => Value::List(items.iter().map(|item| each(item, change)).collect()),
        Value::Map(entries) => {
            Value::Map(entries.iter().map(|(key, node)| (key.clone(), of(key, node))).collect())
        }
        _ => return of("", node),
    };
    Node { line: node.line, value }
}
