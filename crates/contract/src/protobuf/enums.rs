//! Enums: values by number, and by name where JSON travels.

use std::collections::BTreeSet;

use super::{
    compare::{Comparer, Difference, Purpose, Stream},
    names::compare_reserved,
    rules::{self, PolicyRule},
    schema::{EnumType, EnumValue},
};

/// Compares a pair of enums in one stream.
pub(super) fn compare(comparer: &mut Comparer<'_>, name: &str, pair: (&EnumType, &EnumType), stream: Stream) {
    let (old, new) = pair;
    for (number, values) in &old.values {
        match new.values.get(number) {
            Some(now) => {
                compare_names(comparer, name, (*number, values, now), stream);
                exchanged(comparer, name, pair, (*number, values, now), stream);
            }
            None => removed(comparer, name, (*number, values), new, stream),
        }
    }
    for (number, values) in new.values.iter().filter(|(number, _)| !old.values.contains_key(number)) {
        added(comparer, name, (*number, values), old, stream);
    }
    compare_nature(comparer, name, pair, stream);
    compare_reserved(comparer, name, old.reservations(), new.reservations());
}

fn compare_nature(
    comparer: &mut Comparer<'_>,
    name: &str,
    (old, new): (&EnumType, &EnumType),
    stream: Stream,
) {
    if (old.open, old.closed_in_cpp, old.closed_in_java) != (new.open, new.closed_in_cpp, new.closed_in_java)
    {
        let word = |open| if open { "open" } else { "closed" };
        let message = format!(
            "enum `{name}` was {} and is {}, or is treated so by generated code",
            word(old.open),
            word(new.open)
        );
        let difference = Difference::new(&rules::ENUM_CLOSEDNESS, name, message);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).on(stream));
    }
    if old.json_allowed && !new.json_allowed {
        let message = format!("enum `{name}` no longer promises a JSON form");
        let difference = Difference::new(&rules::ENUM_JSON_FORMAT, name, message);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).on(stream));
    }
}

fn compare_names(
    comparer: &mut Comparer<'_>,
    name: &str,
    (number, before, after): (i32, &[EnumValue], &[EnumValue]),
    stream: Stream,
) {
    let known: BTreeSet<&str> = after.iter().map(|value| value.name.as_str()).collect();
    let now = after.first();
    let Some(lost) = before.iter().find(|value| !known.contains(value.name.as_str())) else {
        return compare_written_names(comparer, name, (number, before, after), stream);
    };
    let message = format!(
        "value {number} of `{name}` is called `{}` instead of `{}`",
        now.map_or("", |value| value.name.as_str()),
        lost.name
    );
    let difference = Difference::new(&rules::ENUM_VALUE_RENAMED, format!("{name}.{}", lost.name), message);
    comparer.report(difference.at(Some(&lost.position), now.map(|value| &value.position)).on(stream));
}

/// Of several names for a number writers of JSON write the first.
fn compare_written_names(
    comparer: &mut Comparer<'_>,
    name: &str,
    (number, before, after): (i32, &[EnumValue], &[EnumValue]),
    stream: Stream,
) {
    let (Some(first), Some(now)) = (before.first(), after.first()) else { return };
    if !stream.new_writes() || before.iter().any(|value| value.name == now.name) {
        return;
    }
    let message = format!(
        "value {number} of `{name}` is written as `{}`, its first name, instead of `{}`",
        now.name, first.name
    );
    let difference = Difference::new(&rules::ENUM_VALUE_RENAMED, format!("{name}.{}", first.name), message);
    comparer.report(difference.at(Some(&first.position), Some(&now.position)).on(stream));
}

/// A number that has no name in common with before, and a name that has another number: the number means something else.
fn exchanged(
    comparer: &mut Comparer<'_>,
    name: &str,
    (old, new): (&EnumType, &EnumType),
    (number, before, after): (i32, &[EnumValue], &[EnumValue]),
    stream: Stream,
) {
    let has = |of: &EnumType, wanted: &EnumValue| {
        of.values.values().flatten().any(|value| value.name == wanted.name)
    };
    let is_kept = before.iter().any(|value| after.iter().any(|now| now.name == value.name));
    let is_elsewhere =
        before.iter().any(|value| has(new, value)) || after.iter().any(|value| has(old, value));
    let (Some(first), Some(now)) = (before.first(), after.first()) else { return };
    if is_kept || !is_elsewhere {
        return;
    }
    let message = format!("number {number} of `{name}` means `{}` instead of `{}`", now.name, first.name);
    let difference = Difference::new(&rules::ENUM_VALUE_EXCHANGED, format!("{name}.{}", first.name), message);
    comparer.report(difference.at(Some(&first.position), Some(&now.position)).on(stream));
}

fn removed(
    comparer: &mut Comparer<'_>,
    name: &str,
    (number, values): (i32, &[EnumValue]),
    new: &EnumType,
    stream: Stream,
) {
    let Some(value) = values.first() else { return };
    let place = format!("{name}.{}", value.name);
    let free_name = values.iter().any(|value| !new.reserved_names.contains(&value.name));
    let promised = comparer.settings.purpose == Purpose::Deploy;
    let mut report = |rule: &'static PolicyRule, message: String| {
        let difference = Difference::new(rule, place.clone(), message);
        comparer.report(difference.at(Some(&value.position), Some(&new.position)).on(stream));
    };
    let gone = format!("value `{place}` ({number}) is gone");
    if !stream.old_writes() {
        report(&rules::ENUM_VALUE_UNWRITTEN, format!("{gone}; only responses carry it"));
        return;
    }
    if promised && !new.reserved.contains(number) {
        report(&rules::ENUM_VALUE_REMOVED, format!("{gone} and its number is not reserved"));
    } else if promised && free_name {
        report(&rules::ENUM_NAME_FREE, format!("{gone} and its name is not reserved"));
    }
    report(&rules::ENUM_VALUE_DROPPED, format!("{gone}; old writers still send it"));
    if comparer.readers_are_strict() {
        let message = format!("{gone}; a strict JSON reader refuses messages that name it");
        let difference = Difference::new(&rules::ENUM_VALUE_UNKNOWN, place.clone(), message);
        comparer.report(difference.at(Some(&value.position), Some(&new.position)).on(stream));
    }
}

fn added(
    comparer: &mut Comparer<'_>,
    name: &str,
    (number, values): (i32, &[EnumValue]),
    old: &EnumType,
    stream: Stream,
) {
    let Some(value) = values.first() else { return };
    let place = format!("{name}.{}", value.name);
    let mut report = |rule: &'static PolicyRule, message: String| {
        let difference = Difference::new(rule, place.clone(), message);
        comparer.report(difference.at(Some(&old.position), Some(&value.position)).on(stream));
    };
    if !stream.new_writes() {
        report(&rules::ENUM_VALUE_ACCEPTED, format!("value `{place}` ({number}) is understood now"));
        return;
    }
    let reader = if old.open { "sees a number without a name" } else { "takes the field for unset" };
    report(
        &rules::ENUM_VALUE_ADDED,
        format!("value `{place}` ({number}) may be sent; an old reader {reader}"),
    );
    if comparer.readers_are_strict() {
        let message =
            format!("value `{place}` may be sent; a strict JSON reader refuses messages that name it");
        let difference = Difference::new(&rules::ENUM_VALUE_UNKNOWN, place.clone(), message);
        comparer.report(difference.at(Some(&old.position), Some(&value.position)).on(stream));
    }
}
