//! The guard as a program of its own, for the tests of this crate; `lockstep` runs the same function as a hidden command.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == lockstep_confine::WORD) {
        return lockstep_confine::main();
    }
    lockstep_pipeline::guard::main()
}
