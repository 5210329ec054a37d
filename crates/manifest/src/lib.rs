//! What a service says about itself in `lockstep.toml`: how it is built, tested, packaged and run, and what it requires.
//!
//! Nothing here reads files, environment variables or a clock: text goes in, data or a list of problems comes out.
//! Invariant: a [`Manifest`] is valid in itself; nothing that uses one checks it again.

mod cache;
pub mod compose;
mod document;
pub mod envoy;
pub mod init;
pub mod model;
pub mod nginx;
pub mod parse;
pub mod path;
pub mod problem;
mod proportions;
mod reader;
pub mod render;
pub mod table;
mod value;
mod yaml;

pub use cache::CacheFolder;
pub use model::{
    AcceptedBreak, Build, ContractOrigin, ContractSource, Elsewhere, Manifest, Package, RegistrySubject,
    Requirement, Step, TestSuite,
};
pub use parse::{MAX_MANIFEST_BYTES, name_in, parse};
pub use path::{PathError, Pattern, RelativePath, Selection};
pub use problem::{MAX_PROBLEMS, Problem};
pub use render::{Notes, render, render_with_notes, strings};

/// The file name of a manifest, in the root of a repository or in a folder of a monorepo.
pub const MANIFEST_FILE: &str = "lockstep.toml";
