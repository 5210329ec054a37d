//! Reading a table piece by piece: what is wrong with one piece hides nothing of the others.

use std::collections::BTreeMap;

use lockstep_domain::ServiceName;
use lockstep_domain::routes::{Route, RouteRule, RouteTable, ServiceRoutes, Split, SplitRule};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::Segment;

use super::node::{Content, Node};
use crate::table::{self, TableProblem};

/// Reads a table whose keys are all known; `None` where a piece is none.
pub(super) fn read(document: &Node) -> (Option<RouteTable>, Vec<TableProblem>) {
    let mut problems = Vec::new();
    let head = head(document, &mut problems);
    let routes = routes(document.get("routes"), &mut problems);
    let services = services(document.get("services"), &mut problems);
    problems.extend(head.iter().flat_map(table::problems));
    for (index, route) in routes.iter().enumerate() {
        problems.extend(route.iter().flat_map(|route| table::route_problems(index, route)));
    }
    problems.extend(services.iter().flat_map(|(name, routes)| table::service_problems(name, routes)));
    let routes = routes.into_iter().flatten().collect();
    (head.map(|head| RouteTable { routes, services, ..head }), problems)
}

/// Reads everything but routes and services.
fn head(document: &Node, problems: &mut Vec<TableProblem>) -> Option<RouteTable> {
    let mut value = document.value();
    let of_kind = |value: &Value, kind: &Value| std::mem::discriminant(value) == std::mem::discriminant(kind);
    for (key, empty) in [("routes", json!([])), ("services", json!({}))] {
        // What is of another kind is wrong here, for it has no pieces.
        if let Some(there) = value.get_mut(key).filter(|there| of_kind(there, &empty)) {
            *there = empty;
        }
    }
    piece(value, "", problems)
}

fn routes(list: Option<&Node>, problems: &mut Vec<TableProblem>) -> Vec<Option<Route>> {
    let elements = list.map(Node::elements).unwrap_or_default().iter().enumerate();
    elements.map(|(index, node)| route(node, &format!("routes[{index}]"), problems)).collect()
}

/// The rule is read apart, for what stands in one table with something else has no place of its own.
fn route(node: &Node, place: &str, problems: &mut Vec<TableProblem>) -> Option<Route> {
    let mut value = node.value();
    let service = value.as_object_mut().map(|fields| fields.remove("service"));
    let service = match service {
        Some(Some(service)) => piece(service, &format!("{place}.service"), problems),
        Some(None) => {
            let detail = "it has no `service` that its requests go to".to_owned();
            problems.push(TableProblem::new(place.to_owned(), detail));
            None
        }
        None => None,
    };
    let rule: Option<RouteRule> = piece(value, place, problems);
    Some(Route { rule: rule?, service: service? })
}

fn services(map: Option<&Node>, problems: &mut Vec<TableProblem>) -> BTreeMap<ServiceName, ServiceRoutes> {
    let members = map.map(Node::members).unwrap_or_default().iter();
    let read = |member: &super::node::Member| {
        let place = format!("services.{}", member.key);
        let name = piece::<ServiceName>(Value::from(member.key.clone()), &place, problems);
        let service = service(&member.value, &place, problems);
        Some((name?, service?))
    };
    members.filter_map(read).collect()
}

fn service(node: &Node, place: &str, problems: &mut Vec<TableProblem>) -> Option<ServiceRoutes> {
    let mut value = node.value();
    let splits = list::<Split>(node, place, "splits", problems);
    let rules = list::<SplitRule>(node, place, "version_rules", problems);
    for key in ["splits", "version_rules"] {
        if node.get(key).is_some_and(|it| matches!(it.content, Content::List(_))) {
            value[key] = json!([]);
        }
    }
    let service: ServiceRoutes = piece(value, place, problems)?;
    Some(ServiceRoutes { splits: splits?, version_rules: rules?, ..service })
}

/// Reads a list of a service; `None` where an element is none.
fn list<T: DeserializeOwned>(
    of: &Node,
    place: &str,
    key: &str,
    problems: &mut Vec<TableProblem>,
) -> Option<Vec<T>> {
    let elements = of.get(key).map(Node::elements).unwrap_or_default().iter().enumerate();
    let read: Vec<Option<T>> = elements
        .map(|(index, node)| piece(node.value(), &format!("{place}.{key}[{index}]"), problems))
        .collect();
    read.into_iter().collect()
}

/// Most mistakes that are named of one piece.
const MAX_MISTAKES: usize = 20;

/// Reads one piece, and says what is wrong with it and where in it. What is wrong is taken out, to find what is wrong besides.
fn piece<T: DeserializeOwned>(mut value: Value, place: &str, problems: &mut Vec<TableProblem>) -> Option<T> {
    let mut taken: Vec<String> = Vec::new();
    while taken.len() < MAX_MISTAKES {
        let error = match serde_path_to_error::deserialize(value.clone()) {
            Ok(read) => return taken.is_empty().then_some(read),
            Err(error) => error,
        };
        let text = error.inner().to_string();
        // That it is missing now is no mistake of whoever wrote it: what it was in is taken out as well, to go on.
        if !taken.iter().any(|name| text.starts_with(&format!("missing field `{name}`"))) {
            problems.push(TableProblem::new(within(place, &error.path().to_string()), text));
        }
        match take_out(&mut value, error.path()) {
            Some(name) => taken.push(name),
            None => break,
        }
    }
    None
}

/// Returns the place of what is within a piece.
fn within(place: &str, inner: &str) -> String {
    match (place, inner.trim_start_matches('.')) {
        (place, "" | "?") => place.to_owned(),
        ("", inner) => inner.to_owned(),
        (place, inner) if inner.starts_with('[') => format!("{place}{inner}"),
        (place, inner) => format!("{place}.{inner}"),
    }
}

/// Takes out the field that a path leads to, or the element; returns the name of the field, if it is one.
fn take_out(value: &mut Value, path: &serde_path_to_error::Path) -> Option<String> {
    // A word that is none of those that can stand there is taken out as a whole.
    let known = |step: &&Segment| matches!(step, Segment::Map { .. } | Segment::Seq { .. });
    let (mut at, mut steps) = (value, path.iter().take_while(known).peekable());
    while let Some(step) = steps.next() {
        let is_last = steps.peek().is_none();
        match step {
            Segment::Map { key } if is_last => return at.as_object_mut()?.remove(key).map(|_| key.clone()),
            Segment::Map { key } => at = at.get_mut(key)?,
            Segment::Seq { index } if is_last => {
                let list = at.as_array_mut().filter(|list| *index < list.len())?;
                list.remove(*index);
                return Some(String::new());
            }
            Segment::Seq { index } => at = at.get_mut(*index)?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        }
    }
    None
}
