//! Opening what is not ours, and writing what is: the two ways in which a file can be a trap.
//!
//! A file of a repository, a checkout or a build may be a pipe that nobody writes to, a device, a link out of its folder,
//! or without end: [`foreign`] opens regular files only, never waits for one, and reads no more than a bound. A file of
//! ours may be half-written when the machine stops: [`whole`] makes it appear whole or not at all.
//!
//! It knows nothing of what is in a file.

pub mod foreign;
pub mod owned;
pub mod tree;
pub mod whole;
