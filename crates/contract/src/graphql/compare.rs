//! Compares two schemas in one direction: do operations for the old one work on the new one?
//!
//! Requests carry arguments and input objects, responses carry fields; an enum may be carried by either or both, as
//! the old schema says, because only what old consumers know can hurt them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    ast::{TypeKind, TypeRef, Wrapper},
    inputs, merge, rules,
    schema::{DirectiveType, Field, Position, Schema, Type},
    usage::{Use, Uses},
    valid,
    witness::{self, Ways},
};
use crate::{Bump, Change, Findings, Flow, Level, NotChecked, Rule};

/// The two schemas, what is known of operations, and what has been found.
pub(super) struct Comparer<'a> {
    pub(super) old: &'a Schema,
    pub(super) new: &'a Schema,
    pub(super) ways: &'a Ways<'a>,
    uses: Option<&'a Uses>,
    unused: Unused,
    written: BTreeSet<&'a str>,
    read: BTreeSet<&'a str>,
    findings: Findings,
}

/// What becomes of a difference that no known operation meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unused {
    /// It is a warning at most.
    Warning,
    /// It is nobody's concern.
    LeftOut,
}

/// One difference on its way into the findings.
pub(super) struct Difference<'a> {
    pub(super) rule: &'static Rule,
    pub(super) place: String,
    pub(super) message: String,
    pub(super) old: Option<&'a Position>,
    pub(super) new: Option<&'a Position>,
    /// An operation that does any of these is hurt.
    pub(super) hurts: Vec<Use>,
    pub(super) witness: Option<Value>,
}

impl<'a> Difference<'a> {
    pub(super) fn new(rule: &'static Rule, place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (place.into(), message.into());
        Self { rule, place, message, old: None, new: None, hurts: Vec::new(), witness: None }
    }

    pub(super) fn at(mut self, old: Option<&'a Position>, new: Option<&'a Position>) -> Self {
        (self.old, self.new) = (old, new);
        self
    }

    pub(super) fn hurting(mut self, uses: impl IntoIterator<Item = Use>) -> Self {
        self.hurts.extend(uses);
        self
    }

    pub(super) fn shown(mut self, witness: Option<Value>) -> Self {
        self.witness = witness;
        self
    }
}

/// Compares two schemas in one direction.
pub(super) fn compare(old: &Schema, new: &Schema, uses: Option<&Uses>, unused: Unused) -> Findings {
    let (written, read) = positions(old);
    let ways = Ways::new(old);
    let findings = Findings::default();
    let mut comparer = Comparer { old, new, ways: &ways, uses, unused, written, read, findings };
    comparer.roots();
    for (name, before) in &old.types {
        match new.types.get(name) {
            None => comparer.type_removed(name, before),
            Some(after) if after.kind != before.kind => comparer.kind_changed(name, before, after),
            Some(after) => comparer.types(name, before, after),
        }
    }
    for (name, after) in new.types.iter().filter(|(name, _)| !old.types.contains_key(*name)) {
        let message = format!("{} `{name}` was added", after.kind.name());
        comparer.report(Difference::new(&rules::TYPE_ADDED, name, message).at(None, Some(&after.position)));
    }
    comparer.directives();
    comparer.marks();
    comparer.findings
}

/// Finds which types consumers write and which they read.
fn positions(schema: &Schema) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut written, mut read) = (BTreeSet::new(), BTreeSet::new());
    for of in schema.types.values() {
        for field in of.fields.values() {
            read.insert(field.of.name.as_str());
            written.extend(field.arguments.values().map(|argument| argument.of.name.as_str()));
        }
        written.extend(of.inputs.values().map(|input| input.of.name.as_str()));
    }
    let arguments = schema.directives.values().flat_map(|directive| directive.arguments.values());
    written.extend(arguments.map(|argument| argument.of.name.as_str()));
    (written, read)
}

impl Comparer<'_> {
    /// Reports a difference; what no known operation does is a warning at most.
    pub(super) fn report(&mut self, difference: Difference<'_>) {
        let Difference { rule, place, mut message, old, new, hurts, witness } = difference;
        let witness = witness.filter(|witness| self.shows(rule, witness));
        let unused =
            self.uses.is_some_and(|uses| !hurts.is_empty() && !hurts.iter().any(|one| uses.contains(one)));
        if self.unused == Unused::LeftOut && (unused || hurts.is_empty() && self.is_far(rule, &place)) {
            return;
        }
        let (level, bump) = if unused && rule.level == Level::Error {
            message.push_str("; no known operation uses it");
            (Level::Warning, Bump::Minor)
        } else {
            (rule.level, rule.bump)
        };
        let change = Change::new(rule, place, message)
            .at(old.map(Position::location), new.map(Position::location))
            .weighing(level, bump)
            .with_witness(witness);
        self.findings.changes.push(change);
    }

    /// Runs a witness: the old schema takes it, and the new one refuses it when the rule is about what is asked.
    pub(super) fn shows(&self, rule: &Rule, witness: &Value) -> bool {
        let Some(operation) = witness["operation"].as_str() else { return true };
        let is_refused = || !valid::takes(self.new, operation);
        valid::takes(self.old, operation) && (rule.flow == Flow::Response || is_refused())
    }

    /// Directives in the schema that are known to matter must be the same on what both sides have.
    fn marks(&mut self) {
        let (old, new) = (self.old, self.new);
        let added = new.marks.keys().filter(|place| !old.marks.contains_key(*place));
        for place in old.marks.keys().chain(added) {
            let (before, after) = (old.marks.get(place), new.marks.get(place));
            let text = |mark: Option<&(String, Position)>| {
                mark.map_or("nothing".to_owned(), |(text, _)| format!("`{text}`"))
            };
            let of = place.split('.').next().unwrap_or_default().to_owned();
            let counts =
                self.unused == Unused::Warning || self.uses.is_none_or(|uses| uses.contains(&Use::Type(of)));
            if counts && text(before) != text(after) && old.has(place) && new.has(place) {
                let reason = format!(
                    "directives are not compared, and differ: {} before, {} now",
                    text(before),
                    text(after)
                );
                let at = |mark: Option<&(String, Position)>| mark.map(|(_, position)| position.location());
                self.findings.not_checked.push(NotChecked {
                    place: place.clone(),
                    reason,
                    old: at(before),
                    new: at(after),
                });
            }
        }
    }

    /// True when a difference that hurts nobody is not even about a type that an operation meets.
    fn is_far(&self, rule: &Rule, place: &str) -> bool {
        let of = place.split(['.', '/']).next().unwrap_or_default();
        let meets = |uses: &Uses| rule.level > Level::Info && uses.contains(&Use::Type(of.to_owned()));
        self.uses.is_some_and(|uses| !meets(uses))
    }

    fn roots(&mut self) {
        let new = self.new;
        for (kind, before) in &self.old.roots {
            match new.roots.get(kind) {
                None => {
                    let message = format!("there is no {kind} any more");
                    let difference = Difference::new(&rules::ROOT_REMOVED, kind, message);
                    let used = [Use::Type(before.of.clone())];
                    let shown = witness::root(self.ways, kind, &before.of);
                    self.report(difference.at(Some(&before.position), None).hurting(used).shown(shown));
                }
                Some(after) if after.of != before.of => {
                    let message = format!("the {kind} starts at `{}` instead of `{}`", after.of, before.of);
                    let difference = Difference::new(&rules::ROOT_CHANGED, kind, message);
                    self.report(difference.at(Some(&before.position), Some(&after.position)));
                    if let (Some(a), Some(b)) =
                        (self.old.types.get(&before.of), self.new.types.get(&after.of))
                    {
                        self.fields(&before.of, a, b);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn type_removed(&mut self, name: &str, before: &Type) {
        let message = format!("{} `{name}` is gone", before.kind.name());
        let difference =
            Difference::new(&rules::TYPE_REMOVED, name, message).at(Some(&before.position), None);
        let shown = witness::named(self.ways, name, "the new schema has no such type");
        self.report(difference.hurting([Use::Type(name.to_owned())]).shown(shown));
    }

    fn kind_changed(&mut self, name: &str, before: &Type, after: &Type) {
        let message = format!("`{name}` is a {} instead of a {}", after.kind.name(), before.kind.name());
        let difference = Difference::new(&rules::TYPE_KIND, name, message);
        let difference = difference.at(Some(&before.position), Some(&after.position));
        let shown = witness::named(self.ways, name, "the type is of another kind");
        self.report(difference.hurting([Use::Type(name.to_owned())]).shown(shown));
    }

    fn types(&mut self, name: &str, before: &Type, after: &Type) {
        match before.kind {
            TypeKind::Scalar => {}
            TypeKind::Object | TypeKind::Interface => {
                self.fields(name, before, after);
                self.interfaces(name, before, after);
            }
            TypeKind::Union => self.members(name, before, after),
            TypeKind::Enum => self.values(name, before, after),
            TypeKind::Input => inputs::compare_object(self, name, before, after),
        }
    }

    fn fields(&mut self, name: &str, before: &Type, after: &Type) {
        for (field, old) in &before.fields {
            let place = format!("{name}.{field}");
            let used = Use::Field(name.to_owned(), field.clone());
            match after.fields.get(field) {
                Some(new) => self.field(name, field, old, new),
                None => {
                    let message = format!("field `{place}` is gone");
                    let shown =
                        witness::selection(self.ways, name, field, None, "the new schema has no such field");
                    let difference = Difference::new(&rules::FIELD_REMOVED, place, message);
                    let difference = difference.at(Some(&old.position), Some(&after.position));
                    self.report(difference.hurting([used]).shown(shown));
                }
            }
        }
        for (field, new) in after.fields.iter().filter(|(field, _)| !before.fields.contains_key(*field)) {
            let place = format!("{name}.{field}");
            let message = format!("field `{place}` was added");
            self.report(Difference::new(&rules::FIELD_ADDED, place, message).at(None, Some(&new.position)));
        }
    }

    fn field(&mut self, name: &str, field: &str, old: &Field, new: &Field) {
        let place = format!("{name}.{field}");
        let used = Use::Field(name.to_owned(), field.to_owned());
        if old.of != new.of {
            let message = format!("field `{place}` is `{}` instead of `{}`", new.of, old.of);
            let safe = promises_more(&old.of, &new.of);
            let rule = if safe { &rules::FIELD_TYPE_NARROWED } else { &rules::FIELD_TYPE };
            let shown = if safe { None } else { self.type_shown(name, field, (&old.of, &new.of)) };
            let difference =
                Difference::new(rule, &place, message).at(Some(&old.position), Some(&new.position));
            self.report(difference.hurting([used]).shown(shown));
            if safe {
                self.conflict(name, field, old, new);
            }
        }
        if new.deprecated && !old.deprecated {
            let message = format!("field `{place}` is deprecated");
            self.report(
                Difference::new(&rules::DEPRECATED, &place, message)
                    .at(Some(&old.position), Some(&new.position)),
            );
        }
        inputs::compare_arguments(self, name, field, old, new);
    }

    /// Shows what a field of another type surprises with: among types of objects, a selection that the new one refuses.
    fn type_shown(&self, name: &str, field: &str, (old, new): (&TypeRef, &TypeRef)) -> Option<Value> {
        let are_objects =
            valid::is_composite(self.old, &old.name) && valid::is_composite(self.new, &new.name);
        if old.wrappers != new.wrappers || !are_objects {
            return witness::response(self.ways, name, field, (old, new));
        }
        let possible: Vec<&str> = valid::possible(self.old, &old.name).into_iter().collect();
        let outcome = format!("`{}` has no such field, or is never of this type", new.name);
        let mut asked = witness::inside(self.ways, name, field, old, &possible, &outcome);
        asked.find(|shown| self.shows(&rules::FIELD_CONFLICT, shown))
    }

    /// A field that promises more may no longer be asked for beside one of its name that does not.
    fn conflict(&mut self, name: &str, field: &str, old: &Field, new: &Field) {
        let outcome = "fields of one name that are asked for together must be null in the same places";
        // Where a schema has roots, what none of them leads to can be asked for by nobody.
        let is_asked = |around: &str| self.old.roots.is_empty() || self.ways.lead_to(around);
        let rivals = merge::parted((self.old, self.new), name, field).into_iter();
        let found = rivals.filter(|rival| is_asked(rival.around)).find_map(|rival| {
            let shown = witness::together(self.ways, &rival, field, outcome)?;
            self.shows(&rules::FIELD_CONFLICT, &shown).then_some((rival.of, shown))
        });
        let Some((other, shown)) = found else { return };
        let place = format!("{name}.{field}");
        let message = format!(
            "`{place}` can no longer be asked for together with `{other}.{field}`: fields of one name in one answer must be null in the same places (the specification's 5.3.2; graphql-js and its family call this change safe)"
        );
        let both = [name, other].map(|on| Use::Field(on.to_owned(), field.to_owned()));
        let difference = Difference::new(&rules::FIELD_CONFLICT, place, message);
        let difference = difference.at(Some(&old.position), Some(&new.position));
        self.report(difference.hurting(both).shown(Some(shown)));
    }

    fn interfaces(&mut self, name: &str, before: &Type, after: &Type) {
        for lost in before.interfaces.difference(&after.interfaces) {
            let message = format!("`{name}` no longer implements `{lost}`");
            let shown = witness::spread(self.ways, lost, name, "the fragment can never match");
            let difference = Difference::new(&rules::INTERFACE_REMOVED, format!("{name}/{lost}"), message);
            let difference = difference.at(Some(&before.position), Some(&after.position));
            let used = [Use::Condition(name.to_owned()), Use::Condition(lost.clone())];
            self.report(difference.hurting(used).shown(shown));
        }
        for gained in after.interfaces.difference(&before.interfaces) {
            let message = format!("`{name}` implements `{gained}`");
            let difference = Difference::new(&rules::INTERFACE_ADDED, format!("{name}/{gained}"), message);
            self.report(difference.at(Some(&before.position), Some(&after.position)));
        }
    }

    fn members(&mut self, name: &str, before: &Type, after: &Type) {
        for lost in before.members.difference(&after.members) {
            let message = format!("`{lost}` is no longer a member of union `{name}`");
            let shown = witness::spread(self.ways, name, lost, "the fragment can never match");
            let difference = Difference::new(&rules::MEMBER_REMOVED, format!("{name}/{lost}"), message);
            let difference = difference.at(Some(&before.position), Some(&after.position));
            self.report(difference.hurting([Use::Condition(lost.clone())]).shown(shown));
        }
        for gained in after.members.difference(&before.members) {
            let message = format!("`{gained}` is a member of union `{name}`");
            let difference = Difference::new(&rules::MEMBER_ADDED, format!("{name}/{gained}"), message);
            self.report(difference.at(Some(&before.position), Some(&after.position)));
        }
    }

    fn values(&mut self, name: &str, before: &Type, after: &Type) {
        let (written, read) = (self.written.contains(name), self.read.contains(name));
        let (written, read) = (written || !read, read || !written);
        for (value, old) in &before.values {
            let place = format!("{name}.{value}");
            match after.values.get(value) {
                Some(new) if new.deprecated && !old.deprecated => {
                    let difference =
                        Difference::new(&rules::DEPRECATED, &place, format!("value `{place}` is deprecated"));
                    self.report(difference.at(Some(&old.position), Some(&new.position)));
                }
                Some(_) => {}
                None => {
                    let (rule, whom) = if written {
                        (&rules::VALUE_REMOVED, "consumers that send it are refused")
                    } else {
                        (&rules::VALUE_UNWRITTEN, "only responses carried it")
                    };
                    let shown = written.then(|| witness::enum_value(self.ways, name, value)).flatten();
                    let difference =
                        Difference::new(rule, &place, format!("value `{place}` is gone; {whom}"));
                    let difference = difference.at(Some(&old.position), Some(&after.position));
                    self.report(
                        difference.hurting([Use::Value(name.to_owned(), value.clone())]).shown(shown),
                    );
                }
            }
        }
        for (value, new) in after.values.iter().filter(|(value, _)| !before.values.contains_key(*value)) {
            let place = format!("{name}.{value}");
            let (rule, whom) = if read {
                (&rules::VALUE_ADDED, "consumers that read the enum do not know it")
            } else {
                (&rules::VALUE_ACCEPTED, "only requests carry it")
            };
            let difference = Difference::new(rule, &place, format!("value `{place}` was added; {whom}"));
            self.report(difference.at(Some(&before.position), Some(&new.position)));
        }
    }

    fn directives(&mut self) {
        let (old, new): (&BTreeMap<_, DirectiveType>, &BTreeMap<_, _>) =
            (&self.old.directives, &self.new.directives);
        for (name, before) in old {
            match new.get(name) {
                Some(after) => inputs::compare_directive(self, name, before, after),
                None => {
                    let message = format!("directive `@{name}` is gone");
                    let difference = Difference::new(&rules::DIRECTIVE_REMOVED, format!("@{name}"), message);
                    let used = [Use::Directive(name.clone())];
                    let shown =
                        witness::directive(self.old, name, None, "the new schema knows no such directive");
                    self.report(difference.at(Some(&before.position), None).hurting(used).shown(shown));
                }
            }
        }
        for (name, after) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            let message = format!("directive `@{name}` was added");
            let difference = Difference::new(&rules::DIRECTIVE_ADDED, format!("@{name}"), message);
            self.report(difference.at(None, Some(&after.position)));
        }
    }
}

/// True when every value of the new type is one of the old: only non-null may be added.
pub(super) fn promises_more(old: &TypeRef, new: &TypeRef) -> bool {
    if old.name != new.name {
        return false;
    }
    let (mut old, mut new) = (old.wrappers.iter().peekable(), new.wrappers.iter().peekable());
    loop {
        let was_required = old.next_if_eq(&&Wrapper::NonNull).is_some();
        let is_required = new.next_if_eq(&&Wrapper::NonNull).is_some();
        if was_required && !is_required {
            return false;
        }
        match (old.next(), new.next()) {
            (None, None) => return true,
            (Some(_), Some(_)) => {}
            _ => return false,
        }
    }
}
