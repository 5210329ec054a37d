//! The gateway as its users meet it: real sockets on both sides, real instances, nothing mocked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adaptive;
mod affinity;
mod approach;
mod bodies;
mod breakers;
mod callers;
mod compress;
mod explain;
mod failures;
mod faults;
mod half_closed;
mod health;
mod hedges;
mod hygiene;
mod injected;
mod lanes;
mod leaks;
mod life;
mod limits;
mod maintenance;
mod mirrors;
mod named;
mod ordinary;
mod paths;
mod policies;
mod priorities;
mod recent;
mod repeats;
mod retries;
mod routes;
mod secure;
mod seeing;
mod soak;
mod spans;
mod splits;
mod streams;
mod support;
mod tcp;
mod tracestate;
mod trials;
mod trust;
mod version_rules;
mod visits;
mod waits;
