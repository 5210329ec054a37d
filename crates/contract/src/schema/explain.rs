//! Why a document is not allowed by a schema, in words that show nothing of it but what the schema names.

use serde_json::Value;

use super::evaluate::Truth;
use super::facts::{Facts, NodeId, ObjectFacts, Type, Whole};
use super::number;
use super::{MAX_NESTING, Schemas, Work};

/// Most steps of a place that are written.
const MAX_STEPS: usize = 12;

impl Schemas<'_> {
    /// Says what is wrong with a document; `None` where it is allowed, or where that cannot be decided.
    pub(crate) fn wrong(&mut self, id: NodeId, value: &Value) -> Option<String> {
        self.work = Work::default();
        (self.allows(id, value) == Truth::No).then(|| self.explain(id, value, &mut Vec::new()))
    }

    fn explain(&mut self, id: NodeId, value: &Value, path: &mut Vec<String>) -> String {
        let alternatives = self.alternatives(id);
        let kind = Type::of(value);
        let of_kind: Vec<&Facts> = alternatives.iter().filter(|facts| facts.reads(kind)).collect();
        match of_kind[..] {
            [] => {
                let types =
                    Type::ALL.into_iter().filter(|kind| alternatives.iter().any(|it| it.reads(*kind)));
                let wanted: Vec<_> = types.map(Type::name).collect();
                match wanted.is_empty() {
                    true => format!("{} is there, and the contract allows no such field", place(path)),
                    false => format!("{} is {}, expected {}", place(path), kind.name(), wanted.join(" or ")),
                }
            }
            [facts] if path.len() < MAX_NESTING => self.explain_by(&facts.clone(), value, path),
            _ => format!("{} has none of the forms that the contract gives it", place(path)),
        }
    }

    fn explain_by(&mut self, facts: &Facts, value: &Value, path: &mut Vec<String>) -> String {
        if let Value::Object(map) = value {
            let missing = facts.object.required.iter().find(|name| !map.contains_key(&***name));
            if let Some(missing) = missing {
                path.push(missing.to_string());
                return format!("{} is missing; required by the contract", place(path));
            }
            for (name, value) in map {
                let node = self.property(&facts.object, name);
                if self.allows(node, value) == Truth::No {
                    path.push(shown(&facts.object, name));
                    return self.explain(node, value, path);
                }
            }
        }
        if let Value::Array(items) = value {
            for (index, item) in items.iter().enumerate() {
                let node = facts.array.item(index);
                if self.allows(node, item) == Truth::No {
                    path.push("[]".to_owned());
                    return self.explain(node, item, path);
                }
            }
        }
        match value {
            Value::Number(value) if facts.number.whole == Whole::Integer && !number::is_whole(value) => {
                format!("{} is no integer", place(path))
            }
            _ if facts.values.is_some() => {
                format!("{} is none of the values that the contract lists", place(path))
            }
            _ => format!("{} is not as the contract bounds it", place(path)),
        }
    }
}

/// A name that only the document has is not shown: it may be somebody's.
fn shown(object: &ObjectFacts, name: &str) -> String {
    if object.properties.contains_key(name) { name.to_owned() } else { "*".to_owned() }
}

/// `` `items[].price` ``, or the body.
fn place(path: &[String]) -> String {
    let mut text = String::new();
    for step in path.iter().take(MAX_STEPS) {
        let separator = if text.is_empty() || step == "[]" { "" } else { "." };
        text.push_str(separator);
        text.push_str(step);
    }
    if text.is_empty() { "the body".to_owned() } else { format!("`{text}`") }
}
