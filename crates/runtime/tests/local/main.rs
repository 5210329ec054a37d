//! The suite of drivers, run against the driver for this host, and what only that one has.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by a panic, as the tests do")]

mod common;
mod confined;
mod ending;
mod fixture;
mod suite;
mod survival;
