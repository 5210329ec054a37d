//! Drops the options of parsed files that nothing here compares, and keeps those that matter apart.
//!
//! Custom options need the files that declare them, which few keep beside their own; values in braces occur only in
//! options that shape no message. What remains links without any of it. What is dropped and is not known to be harmless is
//! handed back, to be the same on both sides.

use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
    UninterpretedOption,
};

use super::specification::{KNOWN_TO_MATTER, Object};
use super::unread::Unread;
use crate::field::Treatment;

/// Which options of an element stay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Those with a plain name and a plain value.
    Plain,
    None,
}

/// Keeps the options with a plain name and a plain value, and gives back what matters of the others.
pub(super) fn keep_plain_options(file: &mut FileDescriptorProto) -> Unread {
    let mut dropped = Dropped(Unread::new());
    let package = file.package().to_owned();
    let name = file.name().to_owned();
    if let Some(options) = &mut file.options {
        dropped.sift(&mut options.uninterpreted_option, &name, Object::FileOptions, Keep::Plain);
    }
    for message in &mut file.message_type {
        dropped.of_message(message, &package);
    }
    file.enum_type.iter_mut().for_each(|declared| dropped.of_enum(declared, &package));
    file.extension.iter_mut().for_each(|field| dropped.of_field(field, &package));
    file.service.iter_mut().for_each(|service| dropped.of_service(service, &package));
    dropped.0
}

/// The name of an option as it is written.
fn name_of(option: &UninterpretedOption) -> String {
    let part = |part: &prost_reflect::prost_types::uninterpreted_option::NamePart| {
        let name = part.name_part.trim_start_matches('.');
        if part.is_extension { format!("({name})") } else { name.to_owned() }
    };
    option.name.iter().map(part).collect::<Vec<_>>().join(".")
}

/// True when nothing that travels depends on an option.
fn is_harmless(name: &str, object: Object) -> bool {
    let custom = name.strip_prefix('(').and_then(|rest| rest.split(')').next());
    match custom {
        Some(custom) => !KNOWN_TO_MATTER
            .iter()
            .any(|(_, known)| custom == *known || custom.starts_with(&format!("{known}."))),
        None => object
            .slots()
            .iter()
            .any(|slot| slot.field.name == name && matches!(slot.field.treatment, Treatment::Harmless(_))),
    }
}

fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// What was dropped and is not known to be harmless.
struct Dropped(Unread);

impl Dropped {
    fn sift(&mut self, options: &mut Vec<UninterpretedOption>, element: &str, object: Object, keep: Keep) {
        options.retain(|option| {
            let is_plain = matches!(option.name.as_slice(), [part] if !part.is_extension);
            let stays = keep == Keep::Plain && is_plain && option.aggregate_value.is_none();
            let name = name_of(option);
            if !stays && !is_harmless(&name, object) {
                let value = format!("{option:?}");
                self.0.entry((element.to_owned(), name)).or_default().extend_from_slice(value.as_bytes());
            }
            stays
        });
    }

    /// The parser has bounded how deep messages nest.
    fn of_message(&mut self, message: &mut DescriptorProto, scope: &str) {
        let name = qualified(scope, message.name());
        if let Some(options) = &mut message.options {
            self.sift(&mut options.uninterpreted_option, &name, Object::MessageOptions, Keep::Plain);
        }
        for options in message.extension_range.iter_mut().filter_map(|range| range.options.as_mut()) {
            self.sift(&mut options.uninterpreted_option, &name, Object::ExtensionRangeOptions, Keep::None);
        }
        for oneof in &mut message.oneof_decl {
            let element = qualified(&name, oneof.name());
            if let Some(options) = &mut oneof.options {
                self.sift(&mut options.uninterpreted_option, &element, Object::OneofOptions, Keep::None);
            }
        }
        message.field.iter_mut().for_each(|field| self.of_field(field, &name));
        message.extension.iter_mut().for_each(|field| self.of_field(field, &name));
        message.enum_type.iter_mut().for_each(|declared| self.of_enum(declared, &name));
        message.nested_type.iter_mut().for_each(|nested| self.of_message(nested, &name));
    }

    fn of_field(&mut self, field: &mut FieldDescriptorProto, scope: &str) {
        let message = field.extendee.as_deref().unwrap_or(scope).trim_start_matches('.').to_owned();
        let element = format!("{message}#{}", field.number());
        if let Some(options) = &mut field.options {
            self.sift(&mut options.uninterpreted_option, &element, Object::FieldOptions, Keep::Plain);
        }
    }

    fn of_enum(&mut self, declared: &mut EnumDescriptorProto, scope: &str) {
        let name = qualified(scope, declared.name());
        if let Some(options) = &mut declared.options {
            self.sift(&mut options.uninterpreted_option, &name, Object::EnumOptions, Keep::Plain);
        }
        for value in &mut declared.value {
            let element = format!("{name}#{}", value.number());
            if let Some(options) = &mut value.options {
                self.sift(&mut options.uninterpreted_option, &element, Object::EnumValueOptions, Keep::None);
            }
        }
    }

    fn of_service(&mut self, service: &mut ServiceDescriptorProto, scope: &str) {
        let name = qualified(scope, service.name());
        if let Some(options) = &mut service.options {
            self.sift(&mut options.uninterpreted_option, &name, Object::ServiceOptions, Keep::Plain);
        }
        for method in &mut service.method {
            let element = qualified(&name, method.name());
            if let Some(options) = &mut method.options {
                self.sift(&mut options.uninterpreted_option, &element, Object::MethodOptions, Keep::Plain);
            }
        }
    }
}
