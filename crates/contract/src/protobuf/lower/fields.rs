//! Fields and extensions: type, cardinality, default and JSON name, resolved from features and labels.

use super::{FileLowering, LowerError, absolute, qualified};
use crate::protobuf::{
    descriptor::{FieldProto, MessageProto},
    features::{CppString, Features, Presence},
    schema::{Cardinality, Field, Kind, Scalar},
};

const LABEL_REQUIRED: i32 = 2;
const LABEL_REPEATED: i32 = 3;
const TYPE_GROUP: i32 = 10;
const TYPE_MESSAGE: i32 = 11;
const TYPE_ENUM: i32 = 14;

impl FileLowering<'_> {
    pub(super) fn extension(
        &mut self,
        proto: &FieldProto,
        scope: &str,
        features: Features,
        path: &[i32],
    ) -> Result<(), LowerError> {
        let mut field = self.field(proto, scope, features, path)?;
        field.json_name = format!("[{}]", qualified(scope, &proto.name));
        field.name = qualified(scope, &proto.name);
        if field.cardinality == Cardinality::Implicit {
            field.cardinality = Cardinality::Explicit;
        }
        let key = (absolute(&proto.extendee), proto.number);
        let position = field.position.clone();
        match self.schema.extensions.insert(key, field) {
            Some(_) => Err(self.duplicate(
                &position,
                format!("extension {} of {}", proto.number, absolute(&proto.extendee)),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn field(
        &self,
        proto: &FieldProto,
        scope: &str,
        outer: Features,
        path: &[i32],
    ) -> Result<Field, LowerError> {
        let options = proto.options.clone().unwrap_or_default();
        let features = outer.with(options.features.as_ref());
        let position = self.position(path);
        let kind = kind_of(proto, features).ok_or_else(|| LowerError::UnknownKind {
            file: self.name.to_string(),
            line: position.line,
            place: qualified(scope, &proto.name),
            number: proto.r#type,
        })?;
        Ok(Field {
            name: proto.name.clone(),
            json_name: proto.json_name.clone().unwrap_or_else(|| lower_camel(&proto.name)),
            number: proto.number,
            cardinality: cardinality_of(proto, &kind, features),
            default: default_of(proto, &kind),
            packed: options.packed.unwrap_or(features.packed),
            utf8_checked: features.utf8_checked,
            java_utf8_checked: features.java_utf8_checked.unwrap_or(features.utf8_checked),
            cpp_string: match options.ctype {
                Some(0) => CppString::String,
                Some(1) => CppString::Cord,
                Some(2) => CppString::StringPiece,
                _ => features.cpp_string,
            },
            js_type: options.jstype,
            deprecated: options.deprecated,
            oneof: None,
            kind,
            position,
        })
    }
}

/// Says whether a field is a map: a list of entries that a compiler made up.
pub(super) fn is_map(message: &MessageProto, field: &FieldProto) -> bool {
    field.label == LABEL_REPEATED
        && message.nested_type.iter().any(|nested| {
            nested.options.as_ref().is_some_and(|options| options.map_entry)
                && field.type_name.rsplit('.').next() == Some(nested.name.as_str())
        })
}

fn kind_of(proto: &FieldProto, features: Features) -> Option<Kind> {
    let name = absolute(&proto.type_name);
    Some(match proto.r#type {
        TYPE_GROUP => Kind::Group(name),
        TYPE_MESSAGE if features.delimited => Kind::Group(name),
        TYPE_MESSAGE => Kind::Message(name),
        TYPE_ENUM => Kind::Enum(name),
        number => Kind::Scalar(Scalar::from_number(number)?),
    })
}

fn cardinality_of(proto: &FieldProto, kind: &Kind, features: Features) -> Cardinality {
    let tracked = proto.proto3_optional || proto.oneof_index.is_some() || kind.message().is_some();
    match (proto.label, features.presence) {
        (LABEL_REPEATED, _) => Cardinality::Repeated,
        (LABEL_REQUIRED, _) => Cardinality::Required,
        (_, Presence::Required) if proto.oneof_index.is_none() => Cardinality::Required,
        (_, Presence::Implicit) if !tracked => Cardinality::Implicit,
        _ => Cardinality::Explicit,
    }
}

/// Gives a default that differs from the zero value of its type; writing the zero value changes nothing.
fn default_of(proto: &FieldProto, kind: &Kind) -> Option<String> {
    let text = proto.default_value.clone()?;
    let zero = match kind {
        Kind::Scalar(Scalar::String | Scalar::Bytes) => text.is_empty(),
        Kind::Scalar(Scalar::Bool) => text == "false",
        Kind::Scalar(_) => text.parse::<f64>().is_ok_and(|number| number == 0.0 && number.is_sign_positive()),
        Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => false,
    };
    (!zero).then_some(text)
}

/// Derives the JSON name as compilers do: underscores go, the letter after one becomes a capital.
fn lower_camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut capital = false;
    for letter in name.chars() {
        if letter == '_' {
            capital = true;
        } else {
            camel.push(if capital { letter.to_ascii_uppercase() } else { letter });
            capital = false;
        }
    }
    camel
}
