//! The suite of drivers, run against the driver for this host, and what only that one has.

mod fixture;
mod suite;
