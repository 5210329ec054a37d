//! OpenAPI documents: what breaks whom, and what must not change a verdict.

mod openapi {
    mod hostile;
    mod invariants;
    mod operations;
    mod schemas;
    mod support;
}
