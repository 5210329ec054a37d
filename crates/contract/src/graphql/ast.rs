//! What GraphQL text says, before it is judged: type system definitions, operations and fragments.

use std::fmt;

use super::specification::KNOWN_TO_MATTER;

/// A reference to a type: its name and what is wrapped around it, from the outside in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeRef {
    pub(super) name: String,
    pub(super) wrappers: Vec<Wrapper>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    NonNull,
    List,
}

impl fmt::Display for TypeRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.wrappers.iter().filter(|wrapper| **wrapper == Wrapper::List).count();
        formatter.write_str(&"[".repeat(lists))?;
        formatter.write_str(&self.name)?;
        for wrapper in self.wrappers.iter().rev() {
            formatter.write_str(if *wrapper == Wrapper::List { "]" } else { "!" })?;
        }
        Ok(())
    }
}

/// A value in a document; the parser bounds how deep it nests.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Variable(String),
    /// Numbers, strings, booleans and null, as written.
    Plain(String),
    Enum(String),
    List(Vec<Value>),
    /// Sorted by name: the order of fields carries no meaning.
    Object(Vec<(String, Value)>),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(formatter, "${name}"),
            Self::Plain(text) | Self::Enum(text) => formatter.write_str(text),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(formatter, "[{}]", values.join(", "))
            }
            Self::Object(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                write!(formatter, "{{{}}}", fields.join(", "))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<(String, Value)>,
}

/// Directives that are known to matter, as written, in an order that says nothing.
pub(super) fn marks(directives: &[Directive]) -> String {
    let matters = |directive: &&Directive| KNOWN_TO_MATTER.contains(&directive.name.as_str());
    let text = |directive: &Directive| {
        let mut arguments: Vec<String> =
            directive.arguments.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        arguments.sort_unstable();
        format!("@{}({})", directive.name, arguments.join(", "))
    };
    let mut marks: Vec<String> = directives.iter().filter(matters).map(text).collect();
    marks.sort_unstable();
    marks.join(" ")
}

/// An argument or a field of an input object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InputValue {
    pub(super) name: String,
    pub(super) of: TypeRef,
    pub(super) default: Option<Value>,
    pub(super) deprecated: bool,
    /// The directives that are known to matter, as written.
    pub(super) marks: String,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldDefinition {
    pub(super) name: String,
    pub(super) arguments: Vec<InputValue>,
    pub(super) of: TypeRef,
    pub(super) deprecated: bool,
    /// The directives that are known to matter, as written.
    pub(super) marks: String,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnumValue {
    pub(super) name: String,
    pub(super) deprecated: bool,
    /// The directives that are known to matter, as written.
    pub(super) marks: String,
    pub(super) line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeKind {
    Scalar,
    Object,
    Interface,
    Union,
    Enum,
    Input,
}

impl TypeKind {
    /// Names the kind as a person says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Object => "object type",
            Self::Interface => "interface",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::Input => "input object",
        }
    }
}

/// A definition or an extension of a type; each kind fills its own parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeDefinition {
    pub(super) kind: TypeKind,
    pub(super) extends: bool,
    pub(super) name: String,
    pub(super) interfaces: Vec<String>,
    pub(super) directives: Vec<Directive>,
    pub(super) fields: Vec<FieldDefinition>,
    pub(super) inputs: Vec<InputValue>,
    pub(super) values: Vec<EnumValue>,
    pub(super) members: Vec<String>,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct DirectiveDefinition {
    pub(super) name: String,
    pub(super) arguments: Vec<InputValue>,
    pub(super) repeatable: bool,
    pub(super) locations: Vec<String>,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) kind: String,
    pub(super) variables: Vec<(String, TypeRef)>,
    pub(super) directives: Vec<Directive>,
    pub(super) selections: Vec<Selection>,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fragment {
    pub(super) name: String,
    pub(super) on: String,
    pub(super) directives: Vec<Directive>,
    pub(super) selections: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selection {
    Field {
        name: String,
        arguments: Vec<(String, Value)>,
        directives: Vec<Directive>,
        selections: Vec<Selection>,
        line: u32,
    },
    Spread {
        fragment: String,
        directives: Vec<Directive>,
    },
    Inline {
        on: Option<String>,
        directives: Vec<Directive>,
        selections: Vec<Selection>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Definition {
    /// Root operation types (the kind of operation, the type, and the line), and the directives of the whole.
    Schema(Vec<(String, String, u32)>, Vec<Directive>),
    Type(TypeDefinition),
    Directive(DirectiveDefinition),
    Operation(Operation),
    Fragment(Fragment),
}
