//! What of an artifact has to be sent to a host that has a similar one unpacked: the pieces that no file there has.
//!
//! The archive within the artifact is cut into pieces, the contents of each file where they themselves say so (FastCDC), so that what was
//! inserted in a file moves the cuts of that file alone and only for a while. The host cuts the files that it has in the same way. What it
//! lacks is sent compressed, and the archive is put together there and compared with its digest, so that nothing that a
//! host has is trusted: a file that was changed meanwhile only means that the artifact is sent as a whole.

mod known;
mod lacking;
mod recipe;
mod rest;

pub(crate) use known::Known;
pub(crate) use lacking::Lacking;
pub(crate) use recipe::Recipe;
pub use recipe::Recipes;
pub(crate) use rest::{put_together, write_rest};

#[cfg(test)]
mod tests;
