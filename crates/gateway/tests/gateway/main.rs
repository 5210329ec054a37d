//! The gateway as its users meet it: real sockets on both sides, real instances, nothing mocked.

mod bodies;
mod failures;
mod hygiene;
mod life;
mod splits;
mod support;
