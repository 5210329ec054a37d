//! Use cases and reconcilers.
