//! What one alternative of a schema demands, keyword by keyword, in a form that does not depend on the dialect.
//!
//! Every schema becomes a list of alternatives ([`Facts`]); a value is allowed when it meets all facts of at least one.
//! Invariant: facts never allow less than the schema does, unless an [`Opaque`] among them says that they allow more.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Number, Value};

use super::number;

/// A schema in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(super) u32);

impl NodeId {
    /// The schema that allows everything.
    pub(crate) const ANY: Self = Self(0);
    /// The schema that allows nothing.
    pub(crate) const NEVER: Self = Self(1);
}

/// A JSON type; integers are numbers with a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Type {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Type {
    pub(super) const ALL: [Self; 6] =
        [Self::Null, Self::Boolean, Self::Number, Self::String, Self::Array, Self::Object];

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Types {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ANY: Self = Self(0b11_1111);

    pub(super) fn only(kind: Type) -> Self {
        Self(kind.bit())
    }

    pub(super) fn with(self, kind: Type) -> Self {
        Self(self.0 | kind.bit())
    }

    pub(super) fn without(self, kind: Type) -> Self {
        Self(self.0 & !kind.bit())
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn has(self, kind: Type) -> bool {
        self.0 & kind.bit() != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One end of a range of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub(super) value: Number,
    pub(super) exclusive: bool,
}

/// Whether numbers must be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Any,
    Integer,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct NumberFacts {
    pub(super) whole: Whole,
    pub(super) lower: Option<Bound>,
    pub(super) upper: Option<Bound>,
    pub(super) multiples: Vec<Number>,
}

impl NumberFacts {
    /// The steps every number must be a multiple of, counting wholeness as a step of one.
    pub(super) fn steps(&self) -> Vec<f64> {
        let whole = (self.whole == Whole::Integer).then_some(1.0);
        whole.into_iter().chain(self.multiples.iter().filter_map(Number::as_f64)).collect()
    }

    fn is_free(&self) -> bool {
        self.lower.is_none() && self.upper.is_none() && self.multiples.is_empty()
    }

    fn is_empty(&self) -> bool {
        let (Some(lower), Some(upper)) = (&self.lower, &self.upper) else { return false };
        match number::compare(&lower.value, &upper.value) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => lower.exclusive || upper.exclusive,
            std::cmp::Ordering::Greater => true,
        }
    }
}

/// What a string holds, when it holds another document.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Content {
    pub(super) encoding: Option<Rc<str>>,
    pub(super) media_type: Option<Rc<str>>,
    pub(super) schema: Option<NodeId>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StringFacts {
    pub(super) min_length: u64,
    pub(super) max_length: Option<u64>,
    pub(super) patterns: BTreeSet<Rc<str>>,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contains {
    pub(super) node: NodeId,
    pub(super) min: u64,
    pub(super) max: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ArrayFacts {
    pub(super) min_items: u64,
    pub(super) max_items: Option<u64>,
    pub(super) unique: bool,
    pub(super) prefix: Vec<NodeId>,
    pub(super) rest: Option<NodeId>,
    pub(super) contains: Vec<Contains>,
}

impl ArrayFacts {
    /// The schema of the items after the prefix.
    pub(super) fn rest(&self) -> NodeId {
        self.rest.unwrap_or(NodeId::ANY)
    }

    /// The schema of the item at `index`.
    pub(super) fn item(&self, index: usize) -> NodeId {
        self.prefix.get(index).copied().unwrap_or_else(|| self.rest())
    }

    /// The largest number of items, which closed tuples bound too.
    pub(super) fn most(&self) -> Option<u64> {
        let closed = (self.rest() == NodeId::NEVER).then_some(self.prefix.len() as u64);
        match (self.max_items, closed) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn is_empty(&self) -> bool {
        self.most().is_some_and(|most| most < self.min_items)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ObjectFacts {
    pub(super) min: u64,
    pub(super) max: Option<u64>,
    pub(super) required: BTreeSet<Rc<str>>,
    pub(super) properties: BTreeMap<Rc<str>, NodeId>,
    /// Schemas by pattern of the name; a name may match several.
    pub(super) patterns: BTreeMap<Rc<str>, NodeId>,
    /// The schema of all other properties; `None` when no keyword speaks of them.
    pub(super) rest: Option<NodeId>,
    /// Schemas that every name must meet.
    pub(super) names: Vec<NodeId>,
    /// Names that must be there when another is.
    pub(super) dependent: BTreeMap<Rc<str>, BTreeSet<Rc<str>>>,
    /// Properties that do not travel in this flow, so that requiring them means nothing.
    pub(super) hidden: BTreeSet<Rc<str>>,
    /// Properties that only a condition (`then`, `else`, `dependentSchemas`) speaks of: a rule about documents, and not
    /// the naming of one more optional property.
    pub(super) conditional: BTreeSet<Rc<str>>,
}

impl ObjectFacts {
    /// The schema of properties that nothing names.
    pub(super) fn rest(&self) -> NodeId {
        self.rest.unwrap_or(NodeId::ANY)
    }

    /// True when other properties than the named ones are free.
    pub(super) fn is_open(&self) -> bool {
        self.rest() == NodeId::ANY
    }

    fn is_empty(&self) -> bool {
        self.max.is_some_and(|max| max < self.min || max < self.required.len() as u64)
            || self.required.iter().any(|name| self.properties.get(name) == Some(&NodeId::NEVER))
    }
}

/// A demand that cannot be expressed as facts; it can only be compared with itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Opaque {
    /// What cannot be expressed, for a person.
    pub(super) reason: Rc<str>,
    /// The schema that makes the demand.
    pub(super) node: NodeId,
    /// The types it is made of.
    pub(super) types: Types,
}

/// One alternative of a schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(super) types: Types,
    /// Types that are not written but read: free text, where all is text, reads numbers as well.
    pub(super) read_as_text: Types,
    pub(super) values: Option<Rc<Vec<Value>>>,
    pub(super) formats: BTreeSet<Rc<str>>,
    pub(super) number: NumberFacts,
    pub(super) string: StringFacts,
    pub(super) array: ArrayFacts,
    pub(super) object: Rc<ObjectFacts>,
    /// Schemas the value must not meet.
    pub(super) excluded: Vec<NodeId>,
    pub(super) opaque: Vec<Opaque>,
    /// Keywords that nobody knows or looks at, with their values: they must be the same on both sides.
    pub(super) unread: Vec<(Rc<str>, NodeId)>,
    /// True when other alternatives of an `anyOf` may apply besides the chosen one, so that they may evaluate more.
    pub(super) loose: bool,
    /// The alternatives of `oneOf` and `anyOf` that were chosen, outermost first.
    pub(super) chosen: Vec<NodeId>,
    /// The other alternatives of a `oneOf` from which a discriminator tells the chosen one.
    pub(super) told_apart: Vec<NodeId>,
}

impl Facts {
    /// Facts that demand nothing.
    pub(super) fn any() -> Self {
        Self {
            types: Types::ANY,
            read_as_text: Types::NONE,
            values: None,
            formats: BTreeSet::new(),
            number: NumberFacts { whole: Whole::Any, lower: None, upper: None, multiples: Vec::new() },
            string: StringFacts::default(),
            array: ArrayFacts::default(),
            object: Rc::default(),
            excluded: Vec::new(),
            opaque: Vec::new(),
            unread: Vec::new(),
            loose: false,
            chosen: Vec::new(),
            told_apart: Vec::new(),
        }
    }

    /// Facts that only an identical schema is known to meet.
    pub(super) fn opaque(reason: &str, node: NodeId) -> Self {
        let mut facts = Self::any();
        facts.demand_unknown(reason, node, Types::ANY);
        facts
    }

    /// The name of a type as the schema says it: `integer` where numbers must be whole.
    pub(super) fn type_name(&self, kind: Type) -> &'static str {
        match (kind, self.number.whole) {
            (Type::Number, Whole::Integer) => "integer",
            (kind, _) => kind.name(),
        }
    }

    /// Adds a demand on values of some types that cannot be expressed.
    pub(super) fn demand_unknown(&mut self, reason: &str, node: NodeId, types: Types) {
        self.opaque.push(Opaque { reason: reason.into(), node, types });
    }

    /// The demands on values of a type that cannot be expressed.
    pub(super) fn unknown_demands(&self, kind: Type) -> impl Iterator<Item = &Opaque> {
        self.opaque.iter().filter(move |opaque| opaque.types.has(kind))
    }

    /// True when being listed is all that is demanded.
    pub(super) fn is_plain_list(&self) -> bool {
        let free = Self {
            types: self.types,
            values: self.values.clone(),
            chosen: self.chosen.clone(),
            told_apart: self.told_apart.clone(),
            loose: self.loose,
            ..Self::any()
        };
        self.values.is_some() && *self == free
    }

    /// True when values of a type are read.
    pub(super) fn reads(&self, kind: Type) -> bool {
        self.types.has(kind) || self.read_as_text.has(kind)
    }

    /// Lets free text read what is text as well when everything is: numbers and booleans.
    pub(super) fn widen_text(&mut self) {
        let is_free = self.types.has(Type::String)
            && !self.types.has(Type::Number)
            && self.values.is_none()
            && self.formats.is_empty()
            && self.string == StringFacts::default();
        if is_free && self.number.is_free() {
            self.read_as_text = Types::only(Type::Number).with(Type::Boolean);
            self.number.whole = Whole::Any;
        }
    }

    /// Facts that demand one thing of objects, so that objects may be cloned only when they are changed.
    pub(super) fn object_mut(&mut self) -> &mut ObjectFacts {
        Rc::make_mut(&mut self.object)
    }

    /// Drops types that nothing can be of; true when some type is left.
    pub(super) fn settle(&mut self) -> bool {
        if let Some(values) = &self.values {
            let kinds = values.iter().fold(Types::NONE, |types, value| types.with(Type::of(value)));
            self.types = self.types.and(kinds);
            if values.iter().any(|value| !self.types.has(Type::of(value))) {
                let types = self.types;
                self.values = Some(Rc::new(
                    values.iter().filter(|value| types.has(Type::of(value))).cloned().collect(),
                ));
            }
        }
        let empty = [
            (Type::Number, self.number.is_empty()),
            (Type::String, self.string.max_length.is_some_and(|max| max < self.string.min_length)),
            (Type::Array, self.array.is_empty()),
            (Type::Object, self.object.is_empty()),
        ];
        for (kind, _) in empty.into_iter().filter(|(_, empty)| *empty) {
            self.types = self.types.without(kind);
        }
        !self.types.or(self.read_as_text).is_empty() && !self.excluded.contains(&NodeId::ANY)
    }
}
