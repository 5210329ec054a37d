//! OpenAPI documents: what breaks whom, and what must not change a verdict.
#![expect(clippy::needless_pass_by_value, reason = "literal documents read best where they are used")]

mod openapi {
    mod hostile;
    mod invariants;
    mod operations;
    mod schemas;
    mod security;
    mod support;
    mod unread;
    mod variants;
    mod wire;
}
