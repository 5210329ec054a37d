//! Drops the options of parsed files that nothing here compares.
//!
//! Custom options need the files that declare them, which few keep beside their own; values in braces occur only in
//! options that shape no message. What remains links without any of it.

use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
    UninterpretedOption,
};

/// Keeps the options with a plain name and a plain value.
pub(super) fn keep_plain_options(file: &mut FileDescriptorProto) {
    if let Some(options) = &mut file.options {
        plain(&mut options.uninterpreted_option);
    }
    file.message_type.iter_mut().for_each(of_message);
    file.enum_type.iter_mut().for_each(of_enum);
    file.extension.iter_mut().for_each(of_field);
    file.service.iter_mut().for_each(of_service);
}

fn plain(options: &mut Vec<UninterpretedOption>) {
    options.retain(|option| {
        let [part] = option.name.as_slice() else { return false };
        !part.is_extension && option.aggregate_value.is_none()
    });
}

/// The parser has bounded how deep messages nest.
fn of_message(message: &mut DescriptorProto) {
    if let Some(options) = &mut message.options {
        plain(&mut options.uninterpreted_option);
    }
    let ranges = message.extension_range.iter_mut().filter_map(|range| range.options.as_mut());
    ranges.for_each(|options| options.uninterpreted_option.clear());
    let oneofs = message.oneof_decl.iter_mut().filter_map(|oneof| oneof.options.as_mut());
    oneofs.for_each(|options| options.uninterpreted_option.clear());
    message.field.iter_mut().for_each(of_field);
    message.extension.iter_mut().for_each(of_field);
    message.enum_type.iter_mut().for_each(of_enum);
    message.nested_type.iter_mut().for_each(of_message);
}

fn of_field(field: &mut FieldDescriptorProto) {
    if let Some(options) = &mut field.options {
        plain(&mut options.uninterpreted_option);
    }
}

fn of_enum(declared: &mut EnumDescriptorProto) {
    if let Some(options) = &mut declared.options {
        plain(&mut options.uninterpreted_option);
    }
    let values = declared.value.iter_mut().filter_map(|value| value.options.as_mut());
    values.for_each(|options| options.uninterpreted_option.clear());
}

fn of_service(service: &mut ServiceDescriptorProto) {
    if let Some(options) = &mut service.options {
        plain(&mut options.uninterpreted_option);
    }
    let methods = service.method.iter_mut().filter_map(|method| method.options.as_mut());
    methods.for_each(|options| plain(&mut options.uninterpreted_option));
}
