//! The common beginning of all paths of a contract, where it moved between the servers and the paths.

/// What every path of either side is told to begin with, when the sides differ in it and paths make up for it; else nothing.
#[derive(Debug, Default)]
pub(super) struct Bases {
    pub(super) old: String,
    pub(super) new: String,
}
