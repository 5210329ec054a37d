//! Which type of a reader a type of a writer is read as, before anything inside is looked at.

use super::form::{Form, TypeId};
use super::schema::Schema;

/// How a type of a writer matches one of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Same,
    /// The reader takes it for a wider type.
    Promoted,
    /// The reader knows it by another name that it gives as an alias.
    ByAlias,
    /// Only the namespace differs: the specification compares names without it, some libraries with it.
    OtherNamespace,
}

/// Both sides of a reading.
#[derive(Clone, Copy)]
pub(super) struct Sides<'c> {
    pub(super) writer: &'c Schema<'c>,
    pub(super) reader: &'c Schema<'c>,
}

impl Sides<'_> {
    /// Tells how a type that is no union matches another that is none.
    pub(super) fn matching(&self, w: TypeId, r: TypeId) -> Option<How> {
        match (&self.writer.get(w).form, &self.reader.get(r).form) {
            (Form::Primitive(from), Form::Primitive(to)) if from == to => Some(How::Same),
            (Form::Primitive(from), Form::Primitive(to)) => from.promotes_to(*to).then_some(How::Promoted),
            (Form::Array(_), Form::Array(_)) | (Form::Map(_), Form::Map(_)) => Some(How::Same),
            (Form::Record(..), Form::Record(..)) | (Form::Enum(..), Form::Enum(..)) => self.names(w, r),
            (Form::Fixed(_, from), Form::Fixed(_, to)) => self.names(w, r).filter(|_| from == to),
            _ => None,
        }
    }

    /// Tells how the names of two named types match.
    pub(super) fn names(&self, w: TypeId, r: TypeId) -> Option<How> {
        let from = self.writer.get(w).form.named()?;
        let to = self.reader.get(r).form.named()?;
        if from.full == to.full {
            Some(How::Same)
        } else if to.aliases.contains(&from.full) {
            Some(How::ByAlias)
        } else {
            (from.simple() == to.simple()).then_some(How::OtherNamespace)
        }
    }

    /// The branch of a reader that takes a type of a writer: the very same, or else the first that matches. The specification
    /// speaks of the first that matches; no library reads a `long` as the `double` that stands before a `long`.
    pub(super) fn select(&self, w: TypeId, branches: &[TypeId]) -> Option<TypeId> {
        let is_same = |branch: &TypeId| self.matching(w, *branch) == Some(How::Same);
        let first = || branches.iter().copied().find(|branch| self.matching(w, *branch).is_some());
        branches.iter().copied().find(is_same).or_else(first)
    }

    /// True when a type of the reader stands before the very same one and has its name in another namespace, and the writer knows
    /// nothing of it: then libraries choose differently.
    pub(super) fn is_disputed(&self, w: TypeId, written: &[TypeId], branches: &[TypeId]) -> bool {
        let is_same = |branch: &TypeId| self.matching(w, *branch) == Some(How::Same);
        let before = branches.iter().take_while(|branch| !is_same(branch));
        let mut others = before.filter(|branch| self.names(w, **branch).is_some());
        let is_known = |r: TypeId| written.iter().any(|w| self.matching(*w, r) == Some(How::Same));
        branches.iter().any(is_same) && others.any(|branch| !is_known(*branch))
    }

    /// Another type of the reader that claims the name of a writer's type: a library that rewrites names first would read it as that.
    pub(super) fn claimed_by_another(&self, w: TypeId, r: TypeId) -> Option<TypeId> {
        let full = &self.writer.get(w).form.named()?.full;
        let claims = self.reader.aliases.get(full)?;
        claims.iter().copied().find(|claim| *claim != r)
    }
}
