//! One direction: what a writer with one schema may write, and what a reader with the other makes of it.
//!
//! Pairs of types are met once, so that types which hold themselves end. Every difference is told as one of old and new;
//! which of them writes decides whether it hurts.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::datum::{Step, message};
use super::default::{Default, judge};
use super::form::{Field, Form, Primitive, Spot, Symbols, TypeId};
use super::logical::Logical;
use super::matching::{How, Sides};
use super::rules;
use super::schema::Schema;
use super::specification::Object;
use crate::Rule;

/// How deep types are followed into each other: a stack frame each.
const MAX_DEPTH: usize = 200;

/// Which side is the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newer {
    Writer,
    Reader,
}

/// A difference, or something that could not be decided when there is no rule.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rule: Option<&'static Rule>,
    pub(super) place: String,
    pub(super) message: String,
    pub(super) writer: Spot,
    pub(super) reader: Spot,
    pub(super) witness: Option<Value>,
}

/// Compares a message as it is written with the same as it is read.
pub(super) fn compare(sides: Sides<'_>, (w, r): (TypeId, TypeId), place: &str, newer: Newer) -> Vec<Found> {
    let mut walk = Walk {
        sides,
        newer,
        root: (w, r),
        way: Vec::new(),
        met: HashSet::new(),
        walked: HashSet::new(),
        found: Vec::new(),
    };
    walk.meet(w, r, place);
    walk.found
}

struct Walk<'c> {
    sides: Sides<'c>,
    newer: Newer,
    root: (TypeId, TypeId),
    /// The way from the whole message to where the walk is, on the side of the writer.
    way: Vec<Step>,
    met: HashSet<(TypeId, TypeId)>,
    /// The pairs of records whose fields were compared, whether they stand alone or in a union.
    walked: HashSet<(TypeId, TypeId)>,
    found: Vec<Found>,
}

/// The spots of a pair.
fn spots(writer: &Schema<'_>, w: TypeId, reader: &Schema<'_>, r: TypeId) -> (Spot, Spot) {
    (writer.get(w).spot.clone(), reader.get(r).spot.clone())
}

impl Walk<'_> {
    fn meet(&mut self, w: TypeId, r: TypeId, place: &str) {
        if !self.met.insert((w, r)) {
            return;
        }
        if self.way.len() > MAX_DEPTH {
            self.open(place, format!("it is nested deeper than {MAX_DEPTH} levels"), (w, r));
            return;
        }
        let (written, read) = (self.sides.writer.branches(w), self.sides.reader.branches(r));
        let in_union = matches!(self.sides.writer.get(w).form, Form::Union(_));
        let mut selected = HashSet::new();
        for (index, branch) in written.iter().enumerate() {
            if in_union {
                self.way.push(Step::Branch(index));
            }
            selected.extend(self.branch(*branch, (w, r), (&written, &read), place));
            if in_union {
                self.way.pop();
            }
        }
        for branch in read.iter().filter(|branch| !selected.contains(*branch)) {
            self.unwritten(*branch, (w, r), place, written.len() > 1 || read.len() > 1);
        }
    }

    /// Finds what reads a branch of the writer, and compares them.
    fn branch(
        &mut self,
        branch: TypeId,
        (w, r): (TypeId, TypeId),
        (written, read): (&[TypeId], &[TypeId]),
        place: &str,
    ) -> Option<TypeId> {
        let Some(reader) = self.sides.select(branch, read) else {
            self.unread(branch, (w, r), read, place);
            return None;
        };
        if self.sides.is_disputed(branch, written, read) {
            let title = self.sides.writer.title(branch);
            let reason = format!(
                "several types of the reader's union match `{title}`, and libraries choose different ones"
            );
            self.open(place, reason, (branch, reader));
        }
        self.plain(branch, reader, place);
        Some(reader)
    }

    /// Nothing reads a branch of the writer.
    fn unread(&mut self, branch: TypeId, (w, r): (TypeId, TypeId), read: &[TypeId], place: &str) {
        let title = self.sides.writer.title(branch);
        let takes = self.sides.reader.title(r);
        let is_union = |schema: &Schema<'_>, id: TypeId| matches!(schema.get(id).form, Form::Union(_));
        let spots = spots(self.sides.writer, branch, self.sides.reader, r);
        if is_union(self.sides.writer, w) || is_union(self.sides.reader, r) {
            let rule = self.by_age(&rules::BRANCH_ADDED_UNKNOWN, &rules::BRANCH_REMOVED);
            let message = format!("`{title}` may be written, and {takes} is read");
            self.tell(rule, place, message, spots, Shown::Anything);
            return;
        }
        let only = read.first().copied().unwrap_or(r);
        let sizes = match (&self.sides.writer.get(branch).form, &self.sides.reader.get(only).form) {
            (Form::Fixed(_, from), Form::Fixed(_, to)) if from != to => Some((*from, *to)),
            _ => None,
        };
        let same_kind = std::mem::discriminant(&self.sides.writer.get(branch).form)
            == std::mem::discriminant(&self.sides.reader.get(only).form);
        let is_named = self.sides.writer.get(branch).form.named().is_some();
        let (rule, message) = match sizes {
            Some((from, to)) => {
                (&rules::SIZE_CHANGED, format!("`{title}` is written with {from} bytes and read with {to}"))
            }
            None if same_kind && is_named => (
                &rules::NAME_CHANGED,
                format!("`{title}` is written, and the reader knows it only as `{takes}`"),
            ),
            None => (&rules::TYPE_CHANGED, format!("`{title}` is written, and `{takes}` is read")),
        };
        self.tell(rule, place, message, spots, Shown::Anything);
    }

    /// A branch of the reader that the writer never writes as such.
    fn unwritten(&mut self, branch: TypeId, (w, r): (TypeId, TypeId), place: &str, is_union: bool) {
        // Two single types that do not match are told as one change.
        if !is_union {
            return;
        }
        let rule = self.by_age(&rules::BRANCH_UNWRITTEN, &rules::BRANCH_ADDED);
        let title = self.sides.reader.title(branch);
        let message = format!("`{title}` is read, and not written");
        let spots = (self.sides.writer.get(w).spot.clone(), self.sides.reader.get(r).spot.clone());
        self.tell(rule, place, message, spots, Shown::Nothing);
    }

    /// Compares two types that match and are no unions.
    fn plain(&mut self, w: TypeId, r: TypeId, place: &str) {
        let (from, to) = (self.sides.writer.get(w), self.sides.reader.get(r));
        let newer = match self.newer {
            Newer::Writer => from.form.named(),
            Newer::Reader => to.form.named(),
        };
        // A type with a name has its own place, wherever it is used.
        let place = newer.map_or_else(|| place.to_owned(), |named| named.full.clone());
        let place = place.as_str();
        if self.sides.matching(w, r) == Some(How::Promoted) {
            self.promoted(w, r, place);
        }
        self.named(w, r, place);
        self.logical(w, r, place);
        match (&from.form, &to.form) {
            (Form::Array(from), Form::Array(to)) => {
                self.unlisted(Object::Array, (w, r), place);
                self.step(Step::Item, |walk| walk.meet(*from, *to, &format!("{place}[]")));
            }
            (Form::Map(from), Form::Map(to)) => {
                self.unlisted(Object::Map, (w, r), place);
                self.step(Step::Entry, |walk| walk.meet(*from, *to, &format!("{place}{{}}")));
            }
            (Form::Record(_, from), Form::Record(_, to)) => {
                self.unlisted(Object::Record, (w, r), place);
                // A record that holds itself is met again on another way; its fields are walked once.
                if self.walked.insert((w, r)) {
                    self.fields(from, to, (w, r), place);
                }
            }
            (Form::Enum(_, from), Form::Enum(_, to)) => {
                self.unlisted(Object::Enum, (w, r), place);
                self.symbols(from, to, (w, r), place);
            }
            (Form::Fixed(..), Form::Fixed(..)) => self.unlisted(Object::Fixed, (w, r), place),
            _ => self.unlisted(Object::Primitive, (w, r), place),
        }
    }

    fn step(&mut self, step: Step, inside: impl FnOnce(&mut Self)) {
        self.way.push(step);
        inside(self);
        self.way.pop();
    }

    fn promoted(&mut self, w: TypeId, r: TypeId, place: &str) {
        use Primitive::{Bytes, Double, Float, Int, Long, String};
        let (Form::Primitive(from), Form::Primitive(to)) =
            (&self.sides.writer.get(w).form, &self.sides.reader.get(r).form)
        else {
            return;
        };
        let message = format!("`{}` is written and read as `{}`", from.as_str(), to.as_str());
        let spots = spots(self.sides.writer, w, self.sides.reader, r);
        match (from, to) {
            (Int | Long, Float) | (Long, Double) => {
                self.tell(&rules::PRECISION_LOST, place, message, spots, Shown::Nothing);
            }
            (Bytes, String) => {
                let leaf = Shown::Leaf(json!("\u{ff}"));
                self.tell(&rules::BYTES_AS_TEXT, place, message, spots, leaf);
            }
            _ => self.tell(&rules::TYPE_PROMOTED, place, message, spots, Shown::Nothing),
        }
    }

    /// Names that are the same only by an alias, or but for the namespace.
    fn named(&mut self, w: TypeId, r: TypeId, place: &str) {
        let spots = spots(self.sides.writer, w, self.sides.reader, r);
        let (from, to) = (self.sides.writer.title(w), self.sides.reader.title(r));
        match self.sides.names(w, r) {
            Some(How::ByAlias) => {
                let message = format!("`{from}` is read as `{to}`, which has it as an alias");
                self.tell(&rules::READ_BY_ALIAS, place, message, spots, Shown::Nothing);
            }
            Some(How::OtherNamespace) => {
                let reason = format!(
                    "`namespace`: `{from}` is read as `{to}`; the specification compares names without their namespaces, and some libraries do not: give the reader the alias `{from}`"
                );
                self.open(place, reason, (w, r));
            }
            _ => {}
        }
        if let Some(other) = self.sides.claimed_by_another(w, r) {
            let other = self.sides.reader.title(other);
            let reason = format!("`{from}` is a type of the reader and an alias of `{other}` as well");
            self.open(place, reason, (w, r));
        }
    }

    fn logical(&mut self, w: TypeId, r: TypeId, place: &str) {
        let (from, to) = (self.sides.writer.get(w), self.sides.reader.get(r));
        if from.logical == to.logical {
            return;
        }
        let (written, read) = (self.sides.writer.title(w), self.sides.reader.title(r));
        let spots = spots(self.sides.writer, w, self.sides.reader, r);
        let message = format!("`{written}` is written, and `{read}` is read");
        let example = from.logical.as_ref().and_then(|logical| logical.example(&from.form));
        let shown = example.map_or(Shown::Nothing, Shown::Leaf);
        match (&from.logical, &to.logical) {
            (Some(unknown @ Logical::Unknown { .. }), _) | (_, Some(unknown @ Logical::Unknown { .. })) => {
                let reason = format!("`logicalType`: what `{unknown}` means is not known here; {message}");
                self.open(place, reason, (w, r));
            }
            (
                Some(Logical::Decimal { scale: one, precision: from }),
                Some(Logical::Decimal { scale: other, precision: to }),
            ) => {
                let shown = if one == other && from > to { Shown::Leaf(too_large(*to)) } else { shown };
                self.tell(&rules::DECIMAL_CHANGED, place, message, spots, shown);
            }
            (Some(_), Some(_)) => self.tell(&rules::LOGICAL_CHANGED, place, message, spots, shown),
            (Some(_), None) => self.tell(&rules::LOGICAL_REMOVED, place, message, spots, Shown::Nothing),
            (None, Some(logical)) if logical.takes_all() => {
                self.tell(&rules::LOGICAL_ADDED, place, message, spots, Shown::Nothing);
            }
            (None, Some(_)) => {
                let leaf = if matches!(from.form, Form::Fixed(..)) {
                    Shown::Nothing
                } else {
                    Shown::Leaf(json!(""))
                };
                self.tell(&rules::LOGICAL_DEMANDED, place, message, spots, leaf);
            }
            (None, None) => {}
        }
    }

    fn fields(&mut self, from: &[Field], to: &[Field], pair: (TypeId, TypeId), place: &str) {
        let by_name: HashMap<&str, &Field> = from.iter().map(|field| (field.name.as_str(), field)).collect();
        let aliases = to
            .iter()
            .flat_map(|field| field.aliases.iter().map(|alias| (alias.as_str(), field.name.as_str())));
        let claims: HashMap<&str, &str> = aliases.collect();
        for field in to {
            let own = format!("{place}.{}", field.name);
            match self.written_as(field, &by_name, pair, &own) {
                Some(other) => {
                    let claim = claims.get(other.name.as_str()).filter(|claim| **claim != field.name);
                    if let Some(claim) = claim {
                        let reason = format!(
                            "`{}` is a field of the reader and an alias of `{claim}` as well",
                            other.name
                        );
                        self.open(&own, reason, pair);
                    }
                    self.field(other, field, pair, &own);
                }
                None => self.unwritten_field(field, pair, &own),
            }
        }
        let read: HashSet<&str> =
            to.iter().map(|field| field.name.as_str()).chain(claims.keys().copied()).collect();
        for field in from.iter().filter(|field| !read.contains(field.name.as_str())) {
            let rule = self.by_age(&rules::FIELD_ADDED, &rules::FIELD_REMOVED);
            let message = format!("`{}` is written, and not read", field.name);
            let spots = (field.spot.clone(), self.sides.reader.get(pair.1).spot.clone());
            self.tell(rule, &format!("{place}.{}", field.name), message, spots, Shown::Nothing);
        }
    }

    /// The field that a writer has for one of the reader.
    fn written_as<'f>(
        &mut self,
        field: &Field,
        from: &HashMap<&str, &'f Field>,
        pair: (TypeId, TypeId),
        place: &str,
    ) -> Option<&'f Field> {
        let exact = from.get(field.name.as_str()).copied();
        let aliases = field.aliases.iter().filter(|alias| **alias != field.name);
        let by_alias: Vec<&Field> = aliases.filter_map(|alias| from.get(alias.as_str()).copied()).collect();
        if by_alias.len() > usize::from(exact.is_none()) {
            let names: Vec<&str> = by_alias.iter().map(|other| other.name.as_str()).collect();
            let reason = format!("`{}` is written as several fields: {}", field.name, names.join(", "));
            self.open(place, reason, pair);
        }
        let found = exact.or_else(|| by_alias.first().copied())?;
        if exact.is_none() {
            let message = format!("`{}` is read as `{}`, which has it as an alias", found.name, field.name);
            let spots = (found.spot.clone(), field.spot.clone());
            self.tell(&rules::READ_BY_ALIAS, place, message, spots, Shown::Nothing);
        }
        Some(found)
    }

    fn field(&mut self, from: &Field, to: &Field, pair: (TypeId, TypeId), place: &str) {
        for reason in differing(Object::Field, &from.said, &to.said) {
            self.open(place, reason, pair);
        }
        if from.default != to.default {
            let told = |field: &Field| field.default.as_ref().map_or("none".to_owned(), Value::to_string);
            let (before, after) = match self.newer {
                Newer::Reader => (told(from), told(to)),
                Newer::Writer => (told(to), told(from)),
            };
            let message = format!("the default of `{}` was {before} and is {after}", to.name);
            let spots = (from.spot.clone(), to.spot.clone());
            self.tell(&rules::DEFAULT_CHANGED, place, message, spots, Shown::Nothing);
        }
        self.step(Step::Field(from.name.clone()), |walk| walk.meet(from.of, to.of, place));
    }

    /// A field of the reader that is not written.
    fn unwritten_field(&mut self, field: &Field, pair: (TypeId, TypeId), place: &str) {
        let spots = (self.sides.writer.get(pair.0).spot.clone(), field.spot.clone());
        let name = &field.name;
        let Some(default) = &field.default else {
            let rule =
                self.by_age(&rules::FIELD_REMOVED_WITHOUT_DEFAULT, &rules::FIELD_ADDED_WITHOUT_DEFAULT);
            let message = format!("`{name}` is read, not written, and has no default");
            self.tell(rule, place, message, spots, Shown::Anything);
            return;
        };
        match judge(self.sides.reader, field.of, default) {
            Default::Good => {}
            Default::OfLaterBranch => {
                let reason = format!(
                    "the default of `{name}`, {default}, is one of a later type of its union: fine since Avro 1.12, refused before"
                );
                self.open(place, reason, pair);
            }
            Default::Bad => {
                let reason =
                    format!("the default of `{name}`, {default}, is no value of its type, and it is needed");
                self.open(place, reason, pair);
            }
        }
        let rule = self.by_age(&rules::FIELD_REMOVED, &rules::FIELD_ADDED);
        let message = format!("`{name}` is read and not written; {default} is its default");
        self.tell(rule, place, message, spots, Shown::Nothing);
    }

    fn symbols(&mut self, from: &Symbols, to: &Symbols, (w, r): (TypeId, TypeId), place: &str) {
        let pair = spots(self.sides.writer, w, self.sides.reader, r);
        let [written, read]: [HashSet<&String>; 2] = [&from.all, &to.all].map(|all| all.iter().collect());
        for symbol in from.all.iter().filter(|symbol| !read.contains(symbol)) {
            let own = format!("{place}.{symbol}");
            match &to.default {
                Some(default) => {
                    let message = format!("`{symbol}` is written, and read as the default `{default}`");
                    self.tell(&rules::SYMBOL_DEFAULTED, &own, message, pair.clone(), Shown::Nothing);
                }
                None => {
                    let rule = self.by_age(&rules::SYMBOL_ADDED_UNKNOWN, &rules::SYMBOL_REMOVED);
                    let message =
                        format!("`{symbol}` is written, and the reader has neither it nor a default");
                    self.tell(rule, &own, message, pair.clone(), Shown::Leaf(json!(symbol)));
                }
            }
        }
        for symbol in to.all.iter().filter(|symbol| !written.contains(symbol)) {
            let rule = self.by_age(&rules::SYMBOL_UNWRITTEN, &rules::SYMBOL_ADDED);
            let message = format!("`{symbol}` is read, and not written");
            self.tell(rule, &format!("{place}.{symbol}"), message, pair.clone(), Shown::Nothing);
        }
        if from.default != to.default {
            let message = "the symbol that is read for one that is not known is another".to_owned();
            self.tell(&rules::DEFAULT_CHANGED, place, message, pair, Shown::Nothing);
        }
    }

    fn unlisted(&mut self, object: Object, (w, r): (TypeId, TypeId), place: &str) {
        let (from, to) = (&self.sides.writer.get(w).said, &self.sides.reader.get(r).said);
        for reason in differing(object, from, to) {
            // The namespace counts with the name, which is compared.
            if !reason.starts_with("`namespace` of") {
                self.open(place, reason, (w, r));
            }
        }
    }

    /// One rule when the writer is newer, another when the reader is.
    fn by_age(&self, writer_newer: &'static Rule, reader_newer: &'static Rule) -> &'static Rule {
        match self.newer {
            Newer::Writer => writer_newer,
            Newer::Reader => reader_newer,
        }
    }

    fn tell(
        &mut self,
        rule: &'static Rule,
        place: &str,
        message: String,
        (writer, reader): (Spot, Spot),
        shown: Shown,
    ) {
        let witness = self.witness(shown);
        self.found.push(Found {
            rule: Some(rule),
            place: place.to_owned(),
            message,
            writer,
            reader,
            witness,
        });
    }

    fn open(&mut self, place: &str, reason: String, (w, r): (TypeId, TypeId)) {
        let (writer, reader) = spots(self.sides.writer, w, self.sides.reader, r);
        let place = place.to_owned();
        self.found.push(Found { rule: None, place, message: reason, writer, reader, witness: None });
    }

    /// A message that shows the difference; it is read before, and one that reads well is not shown.
    fn witness(&self, shown: Shown) -> Option<Value> {
        let leaf = match shown {
            Shown::Nothing => return None,
            Shown::Anything => None,
            Shown::Leaf(leaf) => Some(leaf),
        };
        let datum = message(self.sides.writer, self.root.0, &self.way, leaf.as_ref())?;
        let outcome = self.sides.read(self.root.0, self.root.1, &datum).err()?;
        Some(json!({"datum": datum, "outcome": outcome}))
    }
}

/// What a message must hold to show a difference.
enum Shown {
    Nothing,
    Anything,
    Leaf(Value),
}

/// The least number with more digits than a precision, as bytes.
fn too_large(precision: u64) -> Value {
    let digits = u32::try_from(precision).unwrap_or(u32::MAX);
    let bytes = 10_i128.checked_pow(digits).map(i128::to_be_bytes).unwrap_or_default();
    let used = bytes.iter().skip_while(|byte| **byte == 0).copied();
    let positive = bytes.iter().find(|byte| **byte != 0).is_some_and(|first| *first >= 0x80);
    let text: String = positive.then_some('\0').into_iter().chain(used.map(char::from)).collect();
    json!(text)
}

/// Why attributes that differ leave the answer open.
fn differing(object: Object, from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<String> {
    let names = from.keys().chain(to.keys().filter(|name| !from.contains_key(*name)));
    names.filter(|name| from.get(*name) != to.get(*name)).filter_map(|name| object.open(name)).collect()
}
