//! What must not go wrong when something else does: kills at any point, and bad input of every kind.
//!
//! All of it with the real binary, real git repositories, real instances, real sockets. One target, so that it is linked
//! once and its support is shared.

mod bad_input;
mod crash;
mod support;
