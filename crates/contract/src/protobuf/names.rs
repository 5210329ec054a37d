//! What generated code and other schemas refer to by name: files, types, oneofs, extensions, reservations, options.
//!
//! Nothing here changes a byte on the wire; almost all of it counts under the `source` policy only.

use std::{collections::HashSet, rc::Rc};

use super::{
    compare::{Comparer, Difference, Purpose},
    descriptor::FileOptions,
    rules,
    schema::{FileFacts, MessageType, Position, Reservations, Schema},
};

/// Compares everything that is known by name.
pub(super) fn compare(comparer: &mut Comparer<'_>) {
    let used = Used::of(comparer);
    compare_files(comparer, &used);
    compare_types(comparer, &used);
    compare_messages(comparer, &used);
    compare_extension_names(comparer, &used);
}

/// The old types and services that count, and the files that declare them; everything when nothing was selected.
struct Used(Option<(HashSet<String>, HashSet<Rc<str>>)>);

impl Used {
    fn of(comparer: &Comparer<'_>) -> Self {
        let Some(names) = comparer.used_names() else { return Self(None) };
        let old = comparer.old;
        let position = |name: &String| {
            let message = old.messages.get(name).map(|one| &one.position);
            let declared = message.or_else(|| old.enums.get(name).map(|one| &one.position));
            declared.or_else(|| old.services.get(name).map(|one| &one.position))
        };
        let files = names.iter().filter_map(position).map(|position| position.file.clone()).collect();
        Self(Some((names, files)))
    }

    fn name(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|(names, _)| names.contains(name))
    }

    fn file(&self, file: &str) -> bool {
        self.0.as_ref().is_none_or(|(_, files)| files.contains(file))
    }
}

fn compare_files(comparer: &mut Comparer<'_>, used: &Used) {
    let old: Vec<_> = comparer.old.files.iter().filter(|(_, file)| file.given).collect();
    let new: Vec<_> = comparer.new.files.iter().filter(|(_, file)| file.given).collect();
    if let ([(name, before)], [(_, after)]) = (old.as_slice(), new.as_slice()) {
        compare_file(comparer, name, before, after);
        return;
    }
    for (name, before) in old.into_iter().filter(|(name, _)| used.file(name)) {
        match comparer.new.files.get(name) {
            Some(after) => compare_file(comparer, name, before, after),
            None if comparer.absence_proves_nothing() => {}
            None => {
                let position = Position { file: name.clone(), line: Some(1) };
                let difference =
                    Difference::new(&rules::FILE_REMOVED, &**name, format!("file `{name}` is gone"));
                comparer.report(difference.at(Some(&position), None));
            }
        }
    }
}

fn compare_file(comparer: &mut Comparer<'_>, name: &str, old: &FileFacts, new: &FileFacts) {
    let position = Position { file: name.into(), line: Some(1) };
    let mut report = |rule, place: String, message: String| {
        comparer.report(Difference::new(rule, place, message).at(Some(&position), Some(&position)));
    };
    if old.package != new.package {
        let message =
            format!("file `{name}` declares package `{}` instead of `{}`", new.package, old.package);
        report(&rules::FILE_PACKAGE, name.to_owned(), message);
    }
    if old.syntax != new.syntax {
        let message = format!("file `{name}` is {} instead of {}", new.syntax.name(), old.syntax.name());
        report(&rules::FILE_SYNTAX, name.to_owned(), message);
    }
    for (option, before, after) in options_of(&old.options, &new.options) {
        if before != after {
            let message = format!("option {option} of `{name}` is {after} instead of {before}");
            report(&rules::FILE_OPTION, format!("{name}#{option}"), message);
        }
    }
}

/// Lists the options that shape generated code, with what they mean when unset.
fn options_of(old: &FileOptions, new: &FileOptions) -> Vec<(&'static str, String, String)> {
    let text = |value: &Option<String>| {
        value.as_ref().map_or_else(|| "unset".to_owned(), |text| format!("`{text}`"))
    };
    let switch = |value: Option<bool>, unset: bool| value.unwrap_or(unset).to_string();
    let texts: [(&str, &Option<String>, &Option<String>); 10] = [
        ("java_package", &old.java_package, &new.java_package),
        ("java_outer_classname", &old.java_outer_classname, &new.java_outer_classname),
        ("go_package", &old.go_package, &new.go_package),
        ("objc_class_prefix", &old.objc_class_prefix, &new.objc_class_prefix),
        ("csharp_namespace", &old.csharp_namespace, &new.csharp_namespace),
        ("swift_prefix", &old.swift_prefix, &new.swift_prefix),
        ("php_class_prefix", &old.php_class_prefix, &new.php_class_prefix),
        ("php_namespace", &old.php_namespace, &new.php_namespace),
        ("php_metadata_namespace", &old.php_metadata_namespace, &new.php_metadata_namespace),
        ("ruby_package", &old.ruby_package, &new.ruby_package),
    ];
    let switches = [
        ("java_multiple_files", old.java_multiple_files, new.java_multiple_files, false),
        ("cc_generic_services", old.cc_generic_services, new.cc_generic_services, false),
        ("java_generic_services", old.java_generic_services, new.java_generic_services, false),
        ("py_generic_services", old.py_generic_services, new.py_generic_services, false),
        ("php_generic_services", old.php_generic_services, new.php_generic_services, false),
        ("java_string_check_utf8", old.java_string_check_utf8, new.java_string_check_utf8, false),
        ("cc_enable_arenas", old.cc_enable_arenas, new.cc_enable_arenas, true),
    ];
    let speed = |value: Option<i32>| match value {
        Some(2) => "CODE_SIZE".to_owned(),
        Some(3) => "LITE_RUNTIME".to_owned(),
        _ => "SPEED".to_owned(),
    };
    let mut all: Vec<_> = texts.into_iter().map(|(name, a, b)| (name, text(a), text(b))).collect();
    all.extend(switches.into_iter().map(|(name, a, b, unset)| (name, switch(a, unset), switch(b, unset))));
    all.push(("optimize_for", speed(old.optimize_for), speed(new.optimize_for)));
    all
}

fn compare_types(comparer: &mut Comparer<'_>, used: &Used) {
    let (old, new) = (comparer.old, comparer.new);
    let messages = old.messages.iter().filter(|(_, message)| !message.map_entry);
    let positions = messages.map(|(name, message)| {
        ("message", name, &message.position, new.messages.get(name).map(|now| &now.position))
    });
    let enums = old
        .enums
        .iter()
        .map(|(name, one)| ("enum", name, &one.position, new.enums.get(name).map(|now| &now.position)));
    let services = old.services.iter().filter_map(|(name, one)| {
        Some(("service", name, &one.position, Some(&new.services.get(name)?.position)))
    });
    for (what, name, before, after) in positions.chain(enums).chain(services) {
        if !used.name(name) || !is_given(old, before) {
            continue;
        }
        match after {
            Some(after) if moved(comparer, before, after) => {
                let message = format!("{what} `{name}` moved from `{}` to `{}`", before.file, after.file);
                comparer
                    .report(Difference::new(&rules::TYPE_MOVED, name, message).at(Some(before), Some(after)));
            }
            None if !comparer.absence_proves_nothing() => {
                let message = format!("{what} `{name}` is gone");
                comparer.report(Difference::new(&rules::TYPE_REMOVED, name, message).at(Some(before), None));
            }
            _ => {}
        }
    }
}

fn is_given(schema: &Schema, position: &Position) -> bool {
    schema.files.get(&position.file).is_some_and(|file| file.given)
}

/// Says whether a declaration changed files; a single file on both sides is the same whatever its name.
fn moved(comparer: &Comparer<'_>, before: &Position, after: &Position) -> bool {
    let single = |schema: &Schema| schema.files.values().filter(|file| file.given).count() == 1;
    before.file != after.file && !(single(comparer.old) && single(comparer.new))
}

fn compare_messages(comparer: &mut Comparer<'_>, used: &Used) {
    let new = comparer.new;
    let counts = |(name, message): &(&String, &MessageType)| !message.map_entry && used.name(name);
    for (name, old) in comparer.old.messages.iter().filter(counts) {
        let Some(now) = new.messages.get(name) else { continue };
        compare_oneof_names(comparer, name, old, now);
        if !old.no_standard_accessor && now.no_standard_accessor {
            let message = format!("`{name}` has no standard descriptor accessor any more");
            let difference = Difference::new(&rules::MESSAGE_ACCESSOR, name, message);
            comparer.report(difference.at(Some(&old.position), Some(&now.position)));
        }
        if let Some((start, end)) = old.extension_ranges.first_missing_in(&now.extension_ranges) {
            let message = format!("numbers {start} to {end} of `{name}` are no longer open for extensions");
            let difference = Difference::new(&rules::EXTENSION_RANGE_REMOVED, name, message);
            comparer.report(difference.at(Some(&old.position), Some(&now.position)));
        }
    }
}

fn compare_oneof_names(comparer: &mut Comparer<'_>, name: &str, old: &MessageType, now: &MessageType) {
    for oneof in old.oneofs.difference(&now.oneofs) {
        let message = format!("oneof `{oneof}` of `{name}` is gone or has another name");
        let difference = Difference::new(&rules::ONEOF_RENAMED, format!("{name}.{oneof}"), message);
        comparer.report(difference.at(Some(&old.position), Some(&now.position)));
    }
}

fn compare_extension_names(comparer: &mut Comparer<'_>, used: &Used) {
    let new = comparer.new;
    for ((extended, number), before) in &comparer.old.extensions {
        if !used.name(extended) || !is_given(comparer.old, &before.position) {
            continue;
        }
        match new.extensions.get(&(extended.clone(), *number)) {
            Some(after) if moved(comparer, &before.position, &after.position) => {
                let message = format!("extension `{}` moved to `{}`", before.name, after.position.file);
                let difference = Difference::new(&rules::TYPE_MOVED, &before.name, message);
                comparer.report(difference.at(Some(&before.position), Some(&after.position)));
            }
            None if !comparer.absence_proves_nothing() => {
                let message = format!("extension `{}` ({number}) of `{extended}` is gone", before.name);
                let difference = Difference::new(&rules::EXTENSION_REMOVED, &before.name, message);
                comparer.report(difference.at(Some(&before.position), None));
            }
            _ => {}
        }
    }
}

/// Compares what two declarations reserve; only deploying makes a promise about later versions.
pub(super) fn compare_reserved(
    comparer: &mut Comparer<'_>,
    name: &str,
    old: Reservations<'_>,
    new: Reservations<'_>,
) {
    if comparer.settings.purpose != Purpose::Deploy {
        return;
    }
    let mut report = |place: String, message: String| {
        let difference = Difference::new(&rules::RESERVED_REMOVED, place, message);
        comparer.report(difference.at(Some(old.position), Some(new.position)));
    };
    if let Some((start, end)) = old.numbers.first_missing_in(new.numbers) {
        report(name.to_owned(), format!("numbers {start} to {end} of `{name}` are no longer reserved"));
    }
    for lost in old.names.difference(new.names) {
        report(format!("{name}.{lost}"), format!("name `{lost}` of `{name}` is no longer reserved"));
    }
}
