//! Pure contract engine.
