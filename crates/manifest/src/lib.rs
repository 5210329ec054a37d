//! What a service says about itself in `lockstep.toml`: how it is built, tested, packaged and run, and what it requires.
//!
//! Nothing here reads files, environment variables or a clock: text goes in, data or a list of problems comes out.
//! Invariant: a [`Manifest`] is valid in itself; nothing that uses one checks it again.

pub mod model;
pub mod path;

pub use model::{Build, Manifest, Package, Step, TestSuite};
pub use path::{PathError, Pattern, RelativePath, Selection};

/// The file name of a manifest, in the root of a repository or in a folder of a monorepo.
pub const MANIFEST_FILE: &str = "lockstep.toml";
