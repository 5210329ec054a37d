//! What a value or a body looks like: nothing is said, a schema, or the fields of a form.

use super::cursor::Cursor;

/// What a body of one media type looks like.
#[derive(Clone)]
pub(super) enum Shape<'l> {
    /// Nothing is said of it.
    Any,
    Schema(Cursor<'l>),
    /// The fields of a form, as Swagger 2 lists them among the parameters.
    Form(Vec<FormField<'l>>),
}

impl<'l> Shape<'l> {
    /// The schema under a key, when there is one.
    pub(super) fn under(cursor: &Cursor<'l>, key: &str) -> Self {
        cursor.direct(key).map_or(Self::Any, Self::Schema)
    }
}

/// A field of a form.
#[derive(Clone)]
pub(super) struct FormField<'l> {
    pub(super) name: &'l str,
    pub(super) required: bool,
    pub(super) cursor: Cursor<'l>,
}
