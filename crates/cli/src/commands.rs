//! The commands, a file each: `Args` says what is typed, `run` does it.
//!
//! To add a command: write its file, add it here and to `Command` in `app.rs`, give it a help paragraph and an example,
//! and write the reference anew with `cargo run -p lockstep-cli -- reference > docs/reference/cli.md`.

pub(crate) mod accept;
pub(crate) mod approve;
pub(crate) mod backup;
pub(crate) mod branches;
pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod can;
pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod compat;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod contract;
pub(crate) mod data;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod environment;
pub(crate) mod environments;
pub(crate) mod exit_codes;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod instance;
pub(crate) mod job;
pub(crate) mod journal;
pub(crate) mod judge;
pub(crate) mod key;
pub(crate) mod lifecycle;
pub(crate) mod logs;
pub(crate) mod openapi;
pub(crate) mod operations;
pub(crate) mod promote;
pub(crate) mod reference;
pub(crate) mod release;
pub(crate) mod remove;
pub(crate) mod resource;
pub(crate) mod restart;
pub(crate) mod rollback;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod scale;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod services;
pub(crate) mod show;
pub(crate) mod stage;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod undo;
pub(crate) mod watch;
