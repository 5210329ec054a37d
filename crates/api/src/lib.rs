//! The HTTP interface of Lockstep as data: wire types, error codes, the OpenAPI document, and a typed client.
//!
//! The server and the client are written against the same table of endpoints; a test in the server checks that every
//! endpoint is served and nothing else. Stored domain types appear on the wire as they are.

pub mod client;
pub mod endpoints;
pub mod problem;
pub mod token;
pub mod types;

pub use client::{Client, ClientError};
pub use problem::{ErrorCode, Problem, ProblemPart};
pub use token::Token;

/// Where the server listens when nothing else is said.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8470";
/// What every path begins with.
pub const PREFIX: &str = "/api/v1";
/// The largest request body, so that an upload cannot fill the memory: documents of a release are the largest.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;
/// The media type of a file that is sent.
pub const FILE_MEDIA_TYPE: &str = "application/octet-stream";
