//! What people type: durations, shares, settings, targets. Pure, with errors that say what to write instead.

pub(crate) mod assignment;
pub(crate) mod duration;
pub(crate) mod seeing;
pub(crate) mod share;
pub(crate) mod target;
pub(crate) mod wanted;
