//! The program of the other side by itself, for tests: an agent, a supervisor, and the steps between it and what it runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(lockstep_hosts::agent::WORD) => lockstep_hosts::agent::main(arguments, &["supervisor"]),
        Some(lockstep_hosts::agent::REVIVE) => lockstep_hosts::agent::revive(arguments, &["supervisor"]),
        Some("supervisor") => lockstep_runtime::supervisor::main(arguments),
        Some(lockstep_confine::WORD) => lockstep_confine::main(),
        Some("--version") => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}
