//! The objects of the Avro specification (1.11 and 1.12) with all their attributes.
//!
//! An attribute that stands in no list is metadata, which the specification allows and which "must not affect the format of
//! serialized data"; unless it looks like a slip of the pen for one that does.

use crate::field::{Field, Treatment, fields};

/// An object of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Record,
    Field,
    Enum,
    Fixed,
    Array,
    Map,
    Primitive,
}

impl Object {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Record => RECORD,
            Self::Field => FIELD,
            Self::Enum => ENUM,
            Self::Fixed => FIXED,
            Self::Array => ARRAY,
            Self::Map => MAP,
            Self::Primitive => PRIMITIVE,
        }
    }

    /// Why an attribute that differs leaves the answer open, if it does.
    pub(super) fn open(self, name: &str) -> Option<String> {
        let title = self.fields()[0].object;
        match self.fields().iter().find(|field| field.name == name) {
            Some(Field { treatment: Treatment::NotChecked, .. }) => {
                Some(format!("`{name}` of the {title} is not compared, and differs"))
            }
            Some(_) => None,
            None => {
                let meant = self.fields().iter().find(|field| is_slip(name, field.name))?;
                Some(format!("`{name}` is no attribute of the {title}, and differs; `{}` is one", meant.name))
            }
        }
    }
}

/// True when a word is nearly another.
fn is_slip(word: &str, meant: &str) -> bool {
    let (word, meant) = (word.to_ascii_lowercase(), meant.to_ascii_lowercase());
    word == meant || (meant.len() > 3 && strsim::damerau_levenshtein(&word, &meant) <= 1)
}

/// All attributes of this format.
pub(crate) fn all() -> impl Iterator<Item = &'static Field> {
    [RECORD, FIELD, ENUM, FIXED, ARRAY, MAP, PRIMITIVE].into_iter().flatten()
}

static RECORD: &[Field] = fields! { "Record":
    "1.11 1.12" {
        "type" compared "avro-type-changed";
        "name" compared "avro-name-changed";
        "namespace" open "";
        "aliases" compared "avro-read-by-alias";
        "doc" harmless "it describes";
        "fields" compared "avro-field-added-without-default";
    }
};

static FIELD: &[Field] = fields! { "Field":
    "1.11 1.12" {
        "name" compared "avro-field-added-without-default";
        "type" compared "avro-type-changed";
        "default" compared "avro-default-changed";
        "aliases" compared "avro-read-by-alias";
        "doc" harmless "it describes";
        "order" harmless "it says how records are sorted, and changes nothing that is written or read" = "\"ascending\"";
        "logicalType" open "";
    }
};

static ENUM: &[Field] = fields! { "Enum":
    "1.11 1.12" {
        "type" compared "avro-type-changed";
        "name" compared "avro-name-changed";
        "namespace" open "";
        "aliases" compared "avro-read-by-alias";
        "doc" harmless "it describes";
        "symbols" compared "avro-symbol-removed";
        "default" compared "avro-default-changed";
    }
};

static FIXED: &[Field] = fields! { "Fixed":
    "1.11 1.12" {
        "type" compared "avro-type-changed";
        "name" compared "avro-name-changed";
        "namespace" open "";
        "aliases" compared "avro-read-by-alias";
        "doc" harmless "it describes";
        "size" compared "avro-fixed-size-changed";
        "logicalType" compared "avro-logical-type-changed";
        "precision" compared "avro-decimal-changed";
        "scale" compared "avro-decimal-changed" = "0";
    }
};

static ARRAY: &[Field] = fields! { "Array":
    "1.11 1.12" {
        "type" compared "avro-type-changed";
        "items" compared "avro-type-changed";
        "default" harmless "only the default of a field is ever read; the specification has it in an example";
    }
};

static MAP: &[Field] = fields! { "Map":
    "1.11 1.12" {
        "type" compared "avro-type-changed";
        "values" compared "avro-type-changed";
        "default" harmless "only the default of a field is ever read; the specification has it in an example";
    }
};

static PRIMITIVE: &[Field] = fields! { "Primitive":
    "1.11 1.12" {
        "type" compared "avro-type-changed";
        "logicalType" compared "avro-logical-type-changed";
        "precision" compared "avro-decimal-changed";
        "scale" compared "avro-decimal-changed" = "0";
    }
};
