//! The supervisor as a program of its own, for tests and for hosts without the `lockstep` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_runtime::supervisor::main(std::env::args_os().skip(1))
}
