//! Two objects that are compared with each other. Making a pair tells what differs in it and is not compared.
//!
//! Invariant: there is no other way to make one, so that nothing unread passes.

use serde_json::Value;

use super::Comparer;
use super::cursor::Cursor;
use super::specification::Object;
use crate::draft::DraftNotChecked;
use crate::field::Treatment;

/// An object on both sides, or what it is compared as.
pub(super) struct Pair<'p, 'l> {
    pub(super) old: &'p Cursor<'l>,
    pub(super) new: &'p Cursor<'l>,
    /// Keeps pairs from being made elsewhere.
    _met: Met,
}

struct Met;

impl<'l> Comparer<'_, 'l> {
    /// Pairs two objects, and files what differs in them and is not compared.
    pub(super) fn meet<'p>(
        &mut self,
        object: Object,
        old: &'p Cursor<'l>,
        new: &'p Cursor<'l>,
    ) -> Pair<'p, 'l> {
        self.meet_as((object, object), old, new)
    }

    /// Pairs what two versions write as different objects.
    pub(super) fn meet_as<'p>(
        &mut self,
        objects: (Object, Object),
        old: &'p Cursor<'l>,
        new: &'p Cursor<'l>,
    ) -> Pair<'p, 'l> {
        let pair = Pair { old, new, _met: Met };
        for (object, name) in unread(objects, old.value(), new.value()) {
            self.unread(object, &pair, name);
        }
        self.references(&pair);
        pair
    }

    /// References that lead nowhere are the same only when both name one document of the world.
    fn references(&mut self, pair: &Pair<'_, 'l>) {
        let (old, new) = (pair.old.text("$ref"), pair.new.text("$ref"));
        let is_of_the_world = |reference: &str| reference.contains("://") || reference.starts_with("urn:");
        if let Some(reference) = new.or(old).filter(|reference| old != new || !is_of_the_world(reference)) {
            self.not_checked(pair, format!("the reference `{reference}` leads to nothing that was given"));
        }
    }

    fn unread(&mut self, object: Object, pair: &Pair<'_, 'l>, name: &str) {
        let reason = match object.field(name) {
            Some(_) => {
                let why = object.why_open(name);
                format!("`{name}` of the {} is not compared, and differs{why}", object.title())
            }
            None => format!(
                "`{name}` is no field of the {} in any version that is read, and differs",
                object.title()
            ),
        };
        let spot =
            |cursor: &Cursor<'l>| cursor.direct(name).map_or_else(|| cursor.spot(), |field| field.spot());
        let (old, new) = (spot(pair.old), spot(pair.new));
        let place = if pair.new.value().get(name).is_some() { new.place.clone() } else { old.place.clone() };
        self.findings.not_checked.push(DraftNotChecked { place, reason, old: Some(old), new: Some(new) });
    }
}

/// The fields of two objects that differ, are not extensions, and are neither compared nor harmless.
fn unread<'v>((one, other): (Object, Object), old: &'v Value, new: &'v Value) -> Vec<(Object, &'v str)> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else { return Vec::new() };
    let known = |name: &&String| one == other && before.contains_key(*name);
    let names = before.keys().map(|name| (one, name.as_str()));
    let added = after.keys().filter(|name| !known(name)).map(|name| (other, name.as_str()));
    let differs = |object: Object, name: &str| one != other || differs(object, name, old, new);
    names.chain(added).filter(|(object, name)| is_open(*object, name) && differs(*object, name)).collect()
}

fn is_open(object: Object, name: &str) -> bool {
    let treatment = object.field(name).map(|field| field.treatment);
    !name.starts_with("x-") && matches!(treatment, None | Some(Treatment::NotChecked))
}

fn differs(object: Object, name: &str, old: &Value, new: &Value) -> bool {
    let default = object.field(name).and_then(|field| serde_json::from_str::<Value>(field.default).ok());
    let [before, after] = [old, new].map(|side| side.get(name).or(default.as_ref()));
    before != after
}
