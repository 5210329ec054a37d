//! A field of an object of a format, and what a comparison does with it: the words of the lists in [`crate::specification`].
//!
//! A field that stands in no list is of a later version, or a slip of the pen: where it differs, nobody knows what it means,
//! and the comparison ends as not checked. `tests/specification/` walks every list with a pair for each field, in both directions.

/// What becomes of a field that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is compared; this rule is among those that tell of it.
    Compared(&'static str),
    /// Nobody can break by it, and this is why.
    Harmless(&'static str),
    /// It is known and not compared; where it differs, the answer is open.
    NotChecked,
}

/// One field of an object of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The object it belongs to, as the specification calls it.
    pub object: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The versions of the format that have it.
    pub versions: &'static str,
    /// What becomes of it when it differs.
    pub treatment: Treatment,
    /// The value that leaving it out means, as JSON; empty when there is none.
    pub default: &'static str,
}

/// Makes the list of the fields of one object.
macro_rules! fields {
    (@compared $rule:literal) => { $crate::field::Treatment::Compared($rule) };
    (@harmless $why:literal) => { $crate::field::Treatment::Harmless($why) };
    (@open $nothing:literal) => { $crate::field::Treatment::NotChecked };
    ($object:literal: $($versions:literal { $($name:literal $how:ident $text:literal $(= $default:literal)?;)+ })+) => {
        &[$($($crate::field::Field {
            object: $object,
            name: $name,
            versions: $versions,
            treatment: $crate::field::fields!(@$how $text),
            default: concat!($($default)?),
        },)+)+]
    };
}

pub(crate) use fields;
