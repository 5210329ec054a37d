//! Data in the JSON form of Avro: made of a writer's schema, and read with a reader's. What is shown as failing was read here first.

use serde_json::{Map, Value, json};

use super::default::{Default, judge};
use super::form::{Form, Primitive, TypeId};
use super::logical::Logical;
use super::logical::{MAX_FIXED, unscaled};
use super::matching::Sides;
use super::schema::Schema;

/// How deep a datum that nobody asked for may nest: a type that holds itself ends in a `null` before, or has no data at all.
const MAX_DEPTH: usize = 24;

/// How many values a part of a datum that nobody asked for may have.
const MAX_VALUES: usize = 4_096;

/// How many fields a record may have to be shown to people.
const MAX_FIELDS: usize = 1_000;

/// A way from a whole message to a part of it, on the side of the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Item,
    Entry,
    /// A branch of a union, by its number.
    Branch(usize),
}

/// Makes a message that has `leaf`, or anything, at the end of the way.
pub(super) fn message(schema: &Schema<'_>, id: TypeId, way: &[Step], leaf: Option<&Value>) -> Option<Value> {
    let form = &schema.get(id).form;
    let Some((step, rest)) = way.split_first() else {
        return leaf.cloned().or_else(|| least(schema, id));
    };
    match (step, form) {
        (Step::Field(name), Form::Record(_, fields)) if fields.len() <= MAX_FIELDS => {
            let values = fields.iter().map(|field| {
                let value = if field.name == *name {
                    message(schema, field.of, rest, leaf)
                } else {
                    least(schema, field.of)
                };
                Some((field.name.clone(), value?))
            });
            values.collect::<Option<Map<String, Value>>>().map(Value::Object)
        }
        (Step::Item, Form::Array(items)) => message(schema, *items, rest, leaf).map(|item| json!([item])),
        (Step::Entry, Form::Map(values)) => {
            message(schema, *values, rest, leaf).map(|value| json!({"key": value}))
        }
        (Step::Branch(index), Form::Union(branches)) => {
            let branch = *branches.get(*index)?;
            message(schema, branch, rest, leaf).map(|value| tagged(schema, branch, value))
        }
        _ => None,
    }
}

/// A value of a branch of a union, as JSON has it.
fn tagged(schema: &Schema<'_>, branch: TypeId, value: Value) -> Value {
    if value.is_null() {
        return value;
    }
    let mut map = Map::new();
    map.insert(schema.get(branch).form.tag(), value);
    map.into()
}

/// The least value of a type; nothing when it has none that ends.
fn least(schema: &Schema<'_>, id: TypeId) -> Option<Value> {
    sample(schema, id, 0, &mut 0)
}

fn sample(schema: &Schema<'_>, id: TypeId, depth: usize, made: &mut usize) -> Option<Value> {
    *made += 1;
    if depth > MAX_DEPTH || *made > MAX_VALUES {
        return None;
    }
    let of = schema.get(id);
    if let Some(example) = of.logical.as_ref().and_then(|logical| logical.example(&of.form)) {
        return Some(example);
    }
    match &of.form {
        Form::Primitive(primitive) => Some(match primitive {
            Primitive::Null => Value::Null,
            Primitive::Boolean => json!(false),
            Primitive::Int | Primitive::Long => json!(1),
            Primitive::Float | Primitive::Double => json!(1.5),
            Primitive::Bytes | Primitive::String => json!("a"),
        }),
        Form::Enum(_, symbols) => symbols.all.first().map(|symbol| json!(symbol)),
        Form::Fixed(_, size) => {
            let size = usize::try_from(*size).ok().filter(|size| *size <= MAX_FIXED)?;
            Some(json!("\0".repeat(size)))
        }
        Form::Array(_) => Some(json!([])),
        Form::Map(_) => Some(json!({})),
        Form::Union(branches) => {
            let is_null = |id: &&TypeId| matches!(schema.get(**id).form, Form::Primitive(Primitive::Null));
            let ordered = branches.iter().filter(is_null).chain(branches.iter().filter(|id| !is_null(id)));
            let mut values = ordered.filter_map(|branch| {
                sample(schema, *branch, depth + 1, made).map(|value| tagged(schema, *branch, value))
            });
            values.next()
        }
        Form::Record(_, fields) => fields
            .iter()
            .map(|field| Some((field.name.clone(), sample(schema, field.of, depth + 1, made)?)))
            .collect::<Option<Map<String, Value>>>()
            .map(Value::Object),
    }
}

impl Sides<'_> {
    /// Reads a message of the writer as the reader does; says what fails, or what is taken for something else.
    pub(super) fn read(&self, w: TypeId, r: TypeId, datum: &Value) -> Result<(), String> {
        if let Form::Union(branches) = &self.writer.get(w).form {
            let (branch, value) = self.untagged(branches, datum).ok_or("it is no message of the writer")?;
            return self.read(branch, r, value);
        }
        let reader = match &self.reader.get(r).form {
            Form::Union(branches) => self.select(w, branches),
            _ => self.matching(w, r).map(|_| r),
        };
        let Some(r) = reader else {
            return Err(format!("the reader has no type for `{}`", self.writer.title(w)));
        };
        self.meaning(w, r, datum)?;
        self.parts(w, r, datum)
    }

    fn untagged<'v>(&self, branches: &[TypeId], datum: &'v Value) -> Option<(TypeId, &'v Value)> {
        let (tag, value) = match datum {
            Value::Null => ("null", datum),
            Value::Object(map) => map.iter().next().map(|(tag, value)| (tag.as_str(), value))?,
            _ => return None,
        };
        branches.iter().copied().find(|id| self.writer.get(*id).form.tag() == tag).map(|id| (id, value))
    }

    fn parts(&self, w: TypeId, r: TypeId, datum: &Value) -> Result<(), String> {
        match (&self.writer.get(w).form, &self.reader.get(r).form) {
            (Form::Array(from), Form::Array(to)) => {
                datum.as_array().into_iter().flatten().try_for_each(|item| self.read(*from, *to, item))
            }
            (Form::Map(from), Form::Map(to)) => {
                datum.as_object().into_iter().flatten().try_for_each(|(_, item)| self.read(*from, *to, item))
            }
            (Form::Enum(..), Form::Enum(named, symbols)) => {
                let symbol = datum.as_str().unwrap_or_default();
                let known = symbols.all.iter().any(|known| known == symbol) || symbols.default.is_some();
                if known {
                    Ok(())
                } else {
                    Err(format!("`{}` has no symbol `{symbol}` and no default", named.full))
                }
            }
            (Form::Record(_, from), Form::Record(named, to)) => {
                for field in to {
                    let written = from.iter().find(|other| other.name == field.name);
                    let written =
                        written.or_else(|| from.iter().find(|other| field.aliases.contains(&other.name)));
                    match (written, &field.default) {
                        (Some(other), _) => {
                            let value = datum.get(&other.name).ok_or("it is no message of the writer")?;
                            self.read(other.of, field.of, value)?;
                        }
                        (None, Some(default)) if judge(self.reader, field.of, default) != Default::Bad => {}
                        (None, _) => {
                            return Err(format!(
                                "`{}` has a field `{}` that is not written, and no default for it",
                                named.full, field.name
                            ));
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Says how a value is taken for another.
    fn meaning(&self, w: TypeId, r: TypeId, datum: &Value) -> Result<(), String> {
        let (from, to) = (self.writer.get(w), self.reader.get(r));
        if is_no_text(&from.form, &to.form, datum) {
            return Err("the bytes are no text".to_owned());
        }
        let Some(logical) = &to.logical else { return Ok(()) };
        let read = logical.read(datum);
        match (&from.logical, read) {
            (Some(from), Some(read)) => match from.read(datum) {
                Some(written) if written != read => {
                    Err(format!("it was written as {from}: {written}, and is read as {logical}: {read}"))
                }
                _ => too_long(logical, datum),
            },
            (None, None) if !logical.takes_all() && !matches!(logical, Logical::Unknown { .. }) => {
                Err(format!("it is no {logical}"))
            }
            _ => too_long(logical, datum),
        }
    }
}

fn is_no_text(from: &Form, to: &Form, datum: &Value) -> bool {
    let text = matches!((from, to), (Form::Primitive(Primitive::Bytes), Form::Primitive(Primitive::String)));
    let bytes =
        || datum.as_str().unwrap_or_default().chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(0));
    text && String::from_utf8(bytes().collect()).is_err()
}

fn too_long(logical: &Logical, datum: &Value) -> Result<(), String> {
    let Logical::Decimal { precision, .. } = logical else { return Ok(()) };
    let digits = datum.as_str().and_then(unscaled).map(|number| number.unsigned_abs().to_string().len());
    match digits {
        Some(digits) if digits as u64 > *precision => {
            Err(format!("it has {digits} digits, and {logical} has fewer"))
        }
        _ => Ok(()),
    }
}
