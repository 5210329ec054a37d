//! What a syntax or an edition means for the elements of a file.
//!
//! proto2, proto3 and the editions differ only in defaults. This resolves them into plain facts, so that the
//! comparison never asks which syntax a file was written in. Invariant: resolving is inheritance from the file
//! inward, each element overriding what it sets itself.

use super::descriptor::{FeatureSet, FileOptions, FileProto};

/// Numbers of the editions in `descriptor.proto`.
const EDITION_2023: i32 = 1000;
const EDITION_2024: i32 = 1001;

/// The language level of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Proto2,
    Proto3,
    Edition2023,
    Edition2024,
}

impl Syntax {
    /// Finds the syntax of a file, or says which one it does not know.
    pub(super) fn of(file: &FileProto) -> Result<Self, String> {
        match (file.syntax.as_str(), file.edition) {
            ("" | "proto2", 0) => Ok(Self::Proto2),
            ("proto3", 0) => Ok(Self::Proto3),
            (_, EDITION_2023) => Ok(Self::Edition2023),
            (_, EDITION_2024) => Ok(Self::Edition2024),
            (syntax, 0) => Err(format!("syntax `{syntax}`")),
            (_, edition) => Err(format!("edition number {edition}")),
        }
    }

    /// Names the syntax as a `.proto` file writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Proto2 => "proto2",
            Self::Proto3 => "proto3",
            Self::Edition2023 => "edition 2023",
            Self::Edition2024 => "edition 2024",
        }
    }
}

/// How a singular field tells that it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Explicit,
    Implicit,
    Required,
}

/// The type that C++ code sees for a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CppString {
    String,
    Cord,
    StringPiece,
    View,
}

/// The resolved features of one element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    pub(super) presence: Presence,
    pub(super) enum_open: bool,
    pub(super) packed: bool,
    pub(super) utf8_checked: bool,
    pub(super) java_utf8_checked: Option<bool>,
    pub(super) delimited: bool,
    pub(super) json_allowed: bool,
    pub(super) cpp_string: CppString,
    pub(super) cpp_closed_enum: bool,
    pub(super) java_closed_enum: bool,
}

impl Features {
    /// Gives the features that hold at the top of a file.
    pub(super) fn of_file(syntax: Syntax, options: Option<&FileOptions>) -> Self {
        let modern = syntax != Syntax::Proto2;
        let base = Self {
            presence: if syntax == Syntax::Proto3 { Presence::Implicit } else { Presence::Explicit },
            enum_open: modern,
            packed: modern,
            utf8_checked: modern,
            java_utf8_checked: None,
            delimited: false,
            json_allowed: modern,
            cpp_string: if syntax == Syntax::Edition2024 { CppString::View } else { CppString::String },
            cpp_closed_enum: false,
            java_closed_enum: false,
        };
        let Some(options) = options else { return base };
        let java_utf8 = options.java_string_check_utf8.filter(|checked| *checked);
        Self { java_utf8_checked: java_utf8, ..base }.with(options.features.as_ref())
    }

    /// Gives the features of an element inside, which overrides what it sets itself.
    pub(super) fn with(self, own: Option<&FeatureSet>) -> Self {
        let Some(own) = own else { return self };
        let mut resolved = self;
        resolved.presence = match own.field_presence {
            Some(1) => Presence::Explicit,
            Some(2) => Presence::Implicit,
            Some(3) => Presence::Required,
            _ => self.presence,
        };
        choose(&mut resolved.enum_open, own.enum_type, 1, 2);
        choose(&mut resolved.packed, own.repeated_field_encoding, 1, 2);
        choose(&mut resolved.utf8_checked, own.utf8_validation, 2, 3);
        choose(&mut resolved.delimited, own.message_encoding, 2, 1);
        choose(&mut resolved.json_allowed, own.json_format, 1, 2);
        resolved.with_generators(own)
    }

    fn with_generators(mut self, own: &FeatureSet) -> Self {
        if let Some(cpp) = &own.cpp {
            self.cpp_closed_enum = cpp.legacy_closed_enum.unwrap_or(self.cpp_closed_enum);
            self.cpp_string = match cpp.string_type {
                Some(1) => CppString::View,
                Some(2) => CppString::Cord,
                Some(3) => CppString::String,
                _ => self.cpp_string,
            };
        }
        if let Some(java) = &own.java {
            self.java_closed_enum = java.legacy_closed_enum.unwrap_or(self.java_closed_enum);
            self.java_utf8_checked = match java.utf8_validation {
                Some(1) => None,
                Some(2) => Some(true),
                _ => self.java_utf8_checked,
            };
        }
        self
    }
}

/// Sets a fact from a feature number; any other number leaves what was inherited.
fn choose(fact: &mut bool, value: Option<i32>, yes: i32, no: i32) {
    if value == Some(yes) {
        *fact = true;
    } else if value == Some(no) {
        *fact = false;
    }
}
