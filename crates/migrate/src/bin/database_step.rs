//! The step at a database as a program of its own, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_migrate::main(std::env::args_os().skip(2))
}
