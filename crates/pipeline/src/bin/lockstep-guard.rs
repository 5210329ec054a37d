//! The guard as a program of its own, for the tests of this crate; `lockstep` runs the same function as a hidden command.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_pipeline::guard::main()
}
