//! From a commit to an artifact: check, build, test, package.
//!
//! This crate runs other people's commands, so each of them runs under a [`guard`] with bounds and leaves no process behind.
//! It does not number versions, record anything, or decide what may be released. Everything is blocking; the caller
//! brings a thread. Invariant: a build either gives a whole [`BuildOutput`] or a [`BuildFailure`] with its log kept.

mod cancel;
pub mod guard;

pub use cancel::CancelToken;
