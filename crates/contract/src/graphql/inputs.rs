//! What consumers write: arguments, fields of input objects, and arguments of directives.

use super::{
    compare::{Comparer, Difference, promises_more},
    rules,
    schema::{DirectiveType, Field, Input, Type},
    usage::Use,
    witness,
};
use crate::Rule;

/// The rules for one kind of input.
struct Family {
    removed: &'static Rule,
    required: &'static Rule,
    added: &'static Rule,
    type_changed: &'static Rule,
    type_widened: Option<&'static Rule>,
    default: Option<&'static Rule>,
    word: &'static str,
}

static ARGUMENTS: Family = Family {
    removed: &rules::ARGUMENT_REMOVED,
    required: &rules::ARGUMENT_REQUIRED,
    added: &rules::ARGUMENT_ADDED,
    type_changed: &rules::ARGUMENT_TYPE,
    type_widened: Some(&rules::ARGUMENT_TYPE_WIDENED),
    default: Some(&rules::ARGUMENT_DEFAULT),
    word: "argument",
};

static INPUT_FIELDS: Family = Family {
    removed: &rules::INPUT_REMOVED,
    required: &rules::INPUT_REQUIRED,
    added: &rules::INPUT_ADDED,
    type_changed: &rules::INPUT_TYPE,
    type_widened: Some(&rules::INPUT_TYPE_WIDENED),
    default: Some(&rules::INPUT_DEFAULT),
    word: "input field",
};

static DIRECTIVE_ARGUMENTS: Family = Family {
    removed: &rules::DIRECTIVE_ARGUMENT_REMOVED,
    required: &rules::DIRECTIVE_ARGUMENT_REQUIRED,
    added: &rules::DIRECTIVE_ARGUMENT_ADDED,
    type_changed: &rules::DIRECTIVE_ARGUMENT_TYPE,
    type_widened: None,
    default: None,
    word: "argument",
};

/// One input on its way through the comparison: where it is, and which operations use it or what holds it.
struct Place<'a> {
    family: &'static Family,
    place: String,
    own: Use,
    holder: Use,
    shown: &'a dyn Fn(&str) -> Option<serde_json::Value>,
    /// The same with a value of the old type, whatever it is.
    of_type: &'a dyn Fn(&str) -> Option<serde_json::Value>,
    /// The same with null for the input.
    null: &'a dyn Fn(&str) -> Option<serde_json::Value>,
    /// The same without the input.
    without: &'a dyn Fn(&str) -> Option<serde_json::Value>,
}

/// Compares the arguments of a field.
pub(super) fn compare_arguments(
    comparer: &mut Comparer<'_>,
    of: &str,
    field: &str,
    old: &Field,
    new: &Field,
) {
    let ways = comparer.ways;
    for name in names(&old.arguments, &new.arguments) {
        let with = old.arguments.get(name).map(|_| name);
        let place = Place {
            family: &ARGUMENTS,
            place: format!("{of}.{field}.{name}"),
            own: Use::Argument(of.to_owned(), field.to_owned(), name.to_owned()),
            holder: Use::Field(of.to_owned(), field.to_owned()),
            shown: &|outcome| witness::selection(ways, of, field, with, outcome),
            of_type: &|outcome| witness::argument_variable(ways, (of, field, name), outcome),
            null: &|outcome| witness::argument_null(ways, (of, field, name), outcome),
            without: &|outcome| witness::selection(ways, of, field, None, outcome),
        };
        compare(comparer, &place, old.arguments.get(name), new.arguments.get(name));
    }
}

/// Compares the fields of an input object.
pub(super) fn compare_object(comparer: &mut Comparer<'_>, of: &str, old: &Type, new: &Type) {
    let ways = comparer.ways;
    for name in names(&old.inputs, &new.inputs) {
        let with = old.inputs.get(name).map(|_| name);
        let place = Place {
            family: &INPUT_FIELDS,
            place: format!("{of}.{name}"),
            own: Use::InputField(of.to_owned(), name.to_owned()),
            holder: Use::Type(of.to_owned()),
            shown: &|outcome| witness::input(ways, of, with, outcome),
            of_type: &|outcome| witness::input_variable(ways, of, name, outcome),
            null: &|outcome| witness::input_null(ways, of, name, outcome),
            without: &|outcome| witness::input(ways, of, None, outcome),
        };
        compare(comparer, &place, old.inputs.get(name), new.inputs.get(name));
    }
    if new.one_of && !old.one_of {
        let message = format!("input object `{of}` takes exactly one of its fields now");
        let difference = Difference::new(&rules::INPUT_ONE_OF, of, message);
        let shown = witness::several(ways, of, "the new schema takes exactly one of the fields");
        let difference = difference.hurting([Use::Type(of.to_owned())]).shown(shown);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)));
    }
}

/// Compares a directive.
pub(super) fn compare_directive(
    comparer: &mut Comparer<'_>,
    name: &str,
    old: &DirectiveType,
    new: &DirectiveType,
) {
    let schema = comparer.old;
    for argument in names(&old.arguments, &new.arguments) {
        let place = Place {
            family: &DIRECTIVE_ARGUMENTS,
            place: format!("@{name}.{argument}"),
            own: Use::DirectiveArgument(name.to_owned(), argument.to_owned()),
            holder: Use::Directive(name.to_owned()),
            shown: &|outcome| {
                witness::directive(schema, name, old.arguments.get(argument).map(|_| argument), outcome)
            },
            of_type: &|outcome| witness::directive(schema, name, Some(argument), outcome),
            null: &|_| None,
            without: &|outcome| witness::directive(schema, name, None, outcome),
        };
        compare(comparer, &place, old.arguments.get(argument), new.arguments.get(argument));
    }
    let used = || [Use::Directive(name.to_owned())];
    for lost in old.locations.difference(&new.locations) {
        let message = format!("directive `@{name}` may no longer stand on {lost}");
        let difference =
            Difference::new(&rules::DIRECTIVE_LOCATION_REMOVED, format!("@{name}/{lost}"), message);
        let shown = witness::directive_at(schema, name, lost, 1, "the directive may not stand there");
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).hurting(used()).shown(shown));
    }
    if old.repeatable && !new.repeatable {
        let message = format!("directive `@{name}` may stand only once");
        let difference = Difference::new(&rules::DIRECTIVE_NOT_REPEATABLE, format!("@{name}"), message);
        let place = old.locations.iter().find(|location| ["FIELD", "QUERY"].contains(&location.as_str()));
        let shown = place
            .and_then(|place| witness::directive_at(schema, name, place, 2, "the directive stands twice"));
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).hurting(used()).shown(shown));
    }
}

type Inputs = std::collections::BTreeMap<String, Input>;

fn names<'a>(old: &'a Inputs, new: &'a Inputs) -> impl Iterator<Item = &'a str> {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    old.keys().chain(added).map(String::as_str)
}

fn compare(comparer: &mut Comparer<'_>, place: &Place<'_>, old: Option<&Input>, new: Option<&Input>) {
    match (old, new) {
        (Some(old), Some(new)) => both(comparer, place, old, new),
        (Some(old), None) => {
            let message = format!("{} `{}` is gone", place.family.word, place.place);
            let difference =
                Difference::new(place.family.removed, &place.place, message).at(Some(&old.position), None);
            let shown = (place.shown)("the new schema knows no such input");
            comparer.report(difference.hurting([place.own.clone()]).shown(shown));
        }
        (None, Some(new)) if new.is_required() => {
            let message = format!("{} `{}` was added and must be given", place.family.word, place.place);
            let difference =
                Difference::new(place.family.required, &place.place, message).at(None, Some(&new.position));
            let shown = (place.shown)("the new schema demands one more input");
            comparer.report(difference.hurting([place.holder.clone()]).shown(shown));
        }
        (None, Some(new)) => {
            let message = format!("{} `{}` was added", place.family.word, place.place);
            comparer.report(
                Difference::new(place.family.added, &place.place, message).at(None, Some(&new.position)),
            );
        }
        (None, None) => {}
    }
}

fn both(comparer: &mut Comparer<'_>, place: &Place<'_>, old: &Input, new: &Input) {
    let family = place.family;
    let widened = promises_more(&new.of, &old.of);
    if old.of != new.of {
        let message = format!("{} `{}` is `{}` instead of `{}`", family.word, place.place, new.of, old.of);
        let rule = if widened { family.type_widened } else { Some(family.type_changed) };
        if let Some(rule) = rule {
            let shown = if widened { None } else { of_old_type(comparer, place, rule) };
            let difference = Difference::new(rule, &place.place, message).hurting(type_uses(place, old, new));
            comparer.report(difference.shown(shown).at(Some(&old.position), Some(&new.position)));
        }
    }
    if new.is_required() && !old.is_required() && widened {
        let message = format!("{} `{}` lost its default and must be given", family.word, place.place);
        let difference =
            Difference::new(family.required, &place.place, message).hurting([place.holder.clone()]);
        let shown = (place.without)("the new schema demands one more input");
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).shown(shown));
    } else if let (Some(rule), Some(before)) = (family.default, &old.default)
        && new.default.as_ref() != Some(before)
    {
        let now = new.default.as_ref().map_or("nothing".to_owned(), |value| format!("`{value}`"));
        let message =
            format!("the default of {} `{}` is {now} instead of `{before}`", family.word, place.place);
        comparer.report(
            Difference::new(rule, &place.place, message).at(Some(&old.position), Some(&new.position)),
        );
    }
    if new.deprecated && !old.deprecated {
        let message = format!("{} `{}` is deprecated", family.word, place.place);
        let difference = Difference::new(&rules::DEPRECATED, &place.place, message);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)));
    }
}

/// Shows a value of the old type that is refused: any of it as a variable, null, or the plainest one written out. A variable that may be
/// null is taken where there is a default, and a fragment by itself has no variables.
fn of_old_type(comparer: &Comparer<'_>, place: &Place<'_>, rule: &Rule) -> Option<serde_json::Value> {
    let refused = "values of the old type are refused";
    let is_shown = |shown: &serde_json::Value| comparer.shows(rule, shown);
    let of_type = || (place.of_type)(refused).filter(is_shown);
    let null = || (place.null)("the new schema does not take null").filter(is_shown);
    of_type().or_else(null).or_else(|| (place.shown)(refused).filter(is_shown))
}

/// A type that demands more hurts whoever leaves the input out, too.
fn type_uses(place: &Place<'_>, old: &Input, new: &Input) -> Vec<Use> {
    let mut uses = vec![place.own.clone()];
    if new.is_required() && !old.is_required() {
        uses.push(place.holder.clone());
    }
    uses
}
