//! The suite of drivers, run over SSH against a real server of it on loopback, and what only a host over SSH has.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by a panic, as the tests do")]

#[path = "../../../runtime/tests/local/common.rs"]
mod common;
mod days;
mod fixture;
mod hostile;
mod limits;
mod server;
#[path = "../../../runtime/tests/local/suite.rs"]
mod suite;
mod transfers;
mod way;
