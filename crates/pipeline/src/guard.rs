//! The guard: a small process of ours between the server and one command of a build.
//!
//! It starts the command in a process group of its own, becomes the parent of every descendant that loses its own
//! (child subreaper), copies the output into the log with secrets masked, keeps the bounds (time, log, disk), and ends the
//! whole tree when the command is done, a bound is passed, or its standard input closes because the server cancelled
//! or died. It decides nothing about builds. Invariant: when it has reported, none of its descendants is left.
//!
//! The server writes one line of JSON, a [`GuardSpec`], to its standard input and keeps that open; the guard answers with
//! one [`GuardReport`] on its standard output.

mod client;
mod log;
mod mask;
mod meter;
mod spec;
mod sweep;
mod tree;
mod watch;

use std::io::{BufRead, Read, Write};
use std::process::ExitCode;

pub use self::client::{GuardCommand, GuardError};
pub(crate) use self::mask::masked;
pub use self::mask::{MASK, MIN_SECRET_LENGTH};
pub use self::spec::{End, GuardReport, GuardSpec, Leftover};
pub(crate) use self::sweep::MARK;

/// Longest description of a command with its environment; Linux itself allows 2 MiB.
const MAX_SPEC_BYTES: u64 = 4 * 1024 * 1024;

/// Runs the guard: reads its [`GuardSpec`], watches the command, writes its [`GuardReport`].
///
/// The exit code is 0 when a report was written, whatever became of the command.
#[must_use]
pub fn main() -> ExitCode {
    // What a build makes has the modes it always had; the server's own files are for its user alone.
    let _ = rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let report = match read_spec() {
        Ok(spec) => watch::run(&spec),
        Err(error) => GuardReport::not_started(format!("the guard was not told what to run: {error}")),
    };
    match write_report(&report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn read_spec() -> std::io::Result<GuardSpec> {
    let mut line = Vec::new();
    std::io::BufReader::new(std::io::stdin().lock()).take(MAX_SPEC_BYTES).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

fn write_report(report: &GuardReport) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    out.flush()
}
