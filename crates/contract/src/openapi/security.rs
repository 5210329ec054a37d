//! Authentication: who may call an operation, and what the schemes mean.
//!
//! A requirement is a list of alternatives, each a set of schemes with scopes. A consumer that met one of the old
//! alternatives must meet one of the new ones with the credentials it has. Newly required authentication breaks everybody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cursor::Cursor;
use super::operations::{Operation, entries, operations};
use super::pair::Pair;
use super::specification::Object;
use super::{Comparer, rules};
use crate::draft::DraftNotChecked;

/// How many alternatives are compared each with each: real contracts have a handful.
const MAX_ALTERNATIVES: usize = 128;

/// The schemes one alternative needs, with their scopes.
pub(super) type Alternative<'l> = BTreeMap<&'l str, BTreeSet<&'l str>>;

impl<'l> Comparer<'_, 'l> {
    pub(super) fn security(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let (before, mut after) = (requirement(old), requirement(new));
        if before != after {
            after = by_old_names(&after, &same_schemes(old.root, new.root));
        }
        if before == after {
            return;
        }
        let pair = self.meet(Object::Operation, &old.cursor, &new.cursor);
        let name = new.name();
        if before.len().max(after.len()) > MAX_ALTERNATIVES {
            let reason = format!("more than {MAX_ALTERNATIVES} ways to authenticate");
            return self.not_checked(&pair, reason);
        }
        for alternative in &before {
            if !after.iter().any(|other| is_met_by(other, alternative)) {
                let by_name =
                    after.iter().any(|other| other.keys().all(|scheme| alternative.contains_key(scheme)));
                let wanted = after.iter().map(describe).collect::<Vec<_>>().join(" or ");
                let message = format!("{name} needs {wanted}; {} was enough", describe(alternative));
                let rule = if by_name { &rules::SECURITY_SCOPE_ADDED } else { &rules::SECURITY_ADDED };
                self.changed(rule, &pair, message);
                if let Some(draft) = self.findings.changes.last_mut() {
                    let witness = old.envelope().into_iter().map(|(key, value)| (key.to_owned(), value));
                    let credentials = ("credentials".to_owned(), serde_json::json!(alternative));
                    draft.change.witness = Some(witness.chain([credentials]).collect());
                }
            }
        }
        for alternative in
            after.iter().filter(|other| !before.iter().any(|alternative| is_met_by(alternative, other)))
        {
            self.changed(
                &rules::SECURITY_WIDENED,
                &pair,
                format!("{name} accepts {}", describe(alternative)),
            );
        }
    }

    /// Compares the schemes that both contracts define and operations that count need.
    pub(super) fn security_schemes(&mut self, old: &Cursor<'l>, new: &Cursor<'l>) {
        let (before, after) = (schemes(old), schemes(new));
        let selection = self.selection;
        let counts = |name: &str| selection.is_none_or(|selection| selection.needs_scheme(name));
        let renamed = same_schemes(old, new);
        self.undefined_schemes((old, &before), (new, &after), &counts);
        for (name, scheme) in before.iter().filter(|(name, _)| counts(name)) {
            let is_other = |other: &str| other == *name || renamed.get(other) == Some(name);
            let Some(other) = after.iter().find(|(other, _)| is_other(other)).map(|(_, cursor)| cursor)
            else {
                continue;
            };
            let is_old = |cursor: &Cursor<'l>| cursor.value().get("flow").is_some();
            let object = if is_old(scheme) == is_old(other) {
                Object::SecurityScheme
            } else {
                Object::SchemeOfTwoVersions
            };
            let pair = self.meet(object, scheme, other);
            self.security_scheme(name, &pair);
        }
    }

    /// A name that operations of one side give to no scheme, and that is a scheme on the other: what it asks for is not known.
    fn undefined_schemes(
        &mut self,
        (old, before): (&Cursor<'l>, &[(&'l str, Cursor<'l>)]),
        (new, after): (&Cursor<'l>, &[(&'l str, Cursor<'l>)]),
        counts: &dyn Fn(&str) -> bool,
    ) {
        let has = |among: &[(&'l str, Cursor<'l>)], name: &str| among.iter().any(|(other, _)| *other == name);
        // A scheme that has another key now is no matter, but nobody may go on naming the key that is gone.
        let alone = |(name, _): &&(&'l str, Cursor<'l>)| has(before, name) != has(after, name);
        let alone: Vec<_> = before.iter().chain(after).filter(alone).collect();
        if alone.is_empty() {
            return;
        }
        let (named_before, named_after) = (named_schemes(old), named_schemes(new));
        for (name, scheme) in alone {
            let gone = has(before, name);
            let named = if gone { &named_after } else { &named_before };
            if counts(name) && named.contains(name) {
                let side = if gone { "new" } else { "old" };
                let reason = format!(
                    "operations of the {side} contract name the security scheme `{name}`, which it does not define"
                );
                let here = scheme.spot();
                let place = here.place.clone();
                let (old, new) = if gone { (here, new.spot()) } else { (old.spot(), here) };
                self.findings.not_checked.push(DraftNotChecked {
                    place,
                    reason,
                    old: Some(old),
                    new: Some(new),
                });
            }
        }
    }

    fn security_scheme(&mut self, name: &str, pair: &Pair<'_, 'l>) {
        let differs = |key: &&str| {
            let [old, new] = [pair.old, pair.new].map(|scheme| said(scheme, key));
            let text = |value: Option<Value>| value.map(|value| value.to_string().to_ascii_lowercase());
            old != new && text(old) != text(new)
        };
        for key in USE.iter().filter(|key| differs(key)) {
            let text = |cursor: &Cursor<'l>| {
                said(cursor, key).map_or_else(|| "none".to_owned(), |value| value.to_string())
            };
            let message = format!(
                "`{key}` of the security scheme `{name}` is {}, not {}",
                text(pair.new),
                text(pair.old)
            );
            self.changed(&rules::SECURITY_SCHEME_CHANGED, pair, message);
        }
        if differs(&"bearerFormat") {
            let message = format!("the bearer format of the security scheme `{name}` is another");
            self.changed(&rules::SECURITY_SCHEME_DETAILS, pair, message);
        }
        self.oauth(name, pair);
    }
}

/// The names of schemes that the operations of a contract need.
fn named_schemes<'l>(root: &Cursor<'l>) -> BTreeSet<&'l str> {
    let items = entries(root, "paths");
    let needed = items.iter().flat_map(|(path, item)| operations(path, item, root));
    needed.flat_map(|operation| requirement(&operation)).flatten().map(|(name, _)| name).collect()
}

/// What a scheme says; `basic` of Swagger 2 in the words of later versions.
fn said(scheme: &Cursor<'_>, key: &str) -> Option<Value> {
    match (key, scheme.text("type")) {
        ("type", Some("basic")) => Some("http".into()),
        ("scheme", Some("basic")) => Some("basic".into()),
        _ => scheme.value().get(key).cloned(),
    }
}

/// What says how a credential is sent.
const USE: [&str; 4] = ["type", "in", "name", "scheme"];

/// The old keys of schemes that have another key now, by their new ones: what is sent is the same.
fn same_schemes<'l>(old: &Cursor<'l>, new: &Cursor<'l>) -> BTreeMap<&'l str, &'l str> {
    let (before, after) = (schemes(old), schemes(new));
    let has = |among: &[(&'l str, Cursor<'l>)], name: &str| among.iter().any(|(other, _)| *other == name);
    let is_same = |one: &Cursor<'l>, other: &Cursor<'l>| {
        let text = |cursor: &Cursor<'l>, key: &str| {
            said(cursor, key).map(|value| value.to_string().to_ascii_lowercase())
        };
        one.value().get("type").is_some() && USE.iter().all(|key| text(one, key) == text(other, key))
    };
    let gone: Vec<&(&'l str, Cursor<'l>)> = before.iter().filter(|(name, _)| !has(&after, name)).collect();
    let fresh = after.iter().filter(|(name, _)| !has(&before, name));
    fresh
        .filter_map(|(name, scheme)| {
            let (old, _) = gone.iter().find(|(_, other)| is_same(other, scheme))?;
            Some((*name, *old))
        })
        .collect()
}

fn by_old_names<'l>(
    alternatives: &BTreeSet<Alternative<'l>>,
    names: &BTreeMap<&'l str, &'l str>,
) -> BTreeSet<Alternative<'l>> {
    let rename = |alternative: &Alternative<'l>| {
        let named = alternative.iter();
        named.map(|(name, scopes)| (names.get(name).copied().unwrap_or(name), scopes.clone())).collect()
    };
    alternatives.iter().map(rename).collect()
}

/// What an operation needs, its own or the contract's; nothing needed is one empty alternative.
pub(super) fn requirement<'l>(operation: &Operation<'_, 'l>) -> BTreeSet<Alternative<'l>> {
    let own = operation.cursor.said("security");
    let list = own.or_else(|| operation.root.said("security")).and_then(Value::as_array);
    let alternatives: BTreeSet<Alternative<'l>> =
        list.into_iter().flatten().filter_map(alternative).collect();
    if alternatives.is_empty() { BTreeSet::from([Alternative::new()]) } else { alternatives }
}

fn alternative(value: &Value) -> Option<Alternative<'_>> {
    let schemes = value.as_object()?.iter();
    Some(
        schemes
            .map(|(name, scopes)| {
                (name.as_str(), scopes.as_array().into_iter().flatten().filter_map(Value::as_str).collect())
            })
            .collect(),
    )
}

/// True when credentials for `held` are enough for `needed`.
fn is_met_by(needed: &Alternative<'_>, held: &Alternative<'_>) -> bool {
    needed.iter().all(|(scheme, scopes)| held.get(scheme).is_some_and(|own| scopes.is_subset(own)))
}

fn describe(alternative: &Alternative<'_>) -> String {
    if alternative.is_empty() {
        return "no authentication".to_owned();
    }
    let parts = alternative.iter().map(|(scheme, scopes)| {
        let scopes: Vec<&str> = scopes.iter().copied().collect();
        if scopes.is_empty() {
            format!("`{scheme}`")
        } else {
            format!("`{scheme}` with {}", scopes.join(", "))
        }
    });
    parts.collect::<Vec<_>>().join(" and ")
}

fn schemes<'l>(root: &Cursor<'l>) -> Vec<(&'l str, Cursor<'l>)> {
    let components = root.get("components").and_then(|components| components.get("securitySchemes"));
    components.or_else(|| root.get("securityDefinitions")).map(|map| map.entries()).unwrap_or_default()
}
