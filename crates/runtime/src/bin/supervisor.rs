//! The supervisor as a program of its own, for tests and for hosts without the `lockstep` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == lockstep_confine::WORD).is_some() {
        return lockstep_confine::main();
    }
    if arguments.next_if(|first| first == lockstep_runtime::resource::step::WORD).is_some() {
        return lockstep_runtime::resource::step::main(arguments);
    }
    lockstep_runtime::supervisor::main(arguments)
}
