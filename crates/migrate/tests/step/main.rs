//! The step at a database as a process, on SQLite and on a PostgreSQL that is started for it: what is applied, by how many at once, and
//! what is there after it died at any point.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod both;
mod dies;
mod own;
mod place;
mod refused;
mod server;
mod tls;
mod ways_down;
