//! The ways in which one schema can fail to allow what another does, before any rule or direction gives them a name.

use serde_json::Value;

/// What a schema demands more than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Aspect {
    Type,
    Null,
    EnumValue,
    Enum,
    Minimum,
    Maximum,
    MultipleOf,
    MinLength,
    MaxLength,
    Pattern,
    Format,
    Content,
    MinItems,
    MaxItems,
    UniqueItems,
    Items,
    Contains,
    MinProperties,
    MaxProperties,
    NewRequiredProperty,
    RequiredProperty,
    ClosedProperty,
    AdditionalProperties,
    PropertyNames,
    DependentRequired,
    Variant,
    Exclusion,
}

/// How sure a violation is without a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// The demand is stronger; only a witness could show that nothing comes under it.
    Surely,
    /// It could not be shown that the demand is met: only a witness makes it a difference.
    Perhaps,
}

/// One demand of the wider schema that the narrower one does not make.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Violation {
    pub(super) aspect: Aspect,
    /// The property, pattern or value meant, when the aspect speaks of one.
    pub(super) subject: Option<String>,
    /// What the schema that is to be held allows, for a person.
    pub(super) held: String,
    /// What the schema that is to hold it allows.
    pub(super) holding: String,
    /// Documents that may show the difference, at this place.
    pub(super) candidates: Vec<Value>,
    pub(super) certainty: Certainty,
}

impl Violation {
    pub(super) fn new(aspect: Aspect, held: impl Into<String>, holding: impl Into<String>) -> Self {
        Self {
            aspect,
            subject: None,
            held: held.into(),
            holding: holding.into(),
            candidates: Vec::new(),
            certainty: Certainty::Surely,
        }
    }

    pub(super) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub(super) fn shown_by(mut self, candidates: impl IntoIterator<Item = Value>) -> Self {
        self.candidates.extend(candidates);
        self
    }

    pub(super) fn perhaps(mut self) -> Self {
        self.certainty = Certainty::Perhaps;
        self
    }
}
