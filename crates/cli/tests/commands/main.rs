//! The real binary against a server that gives fixed answers: output, exit codes, JSON, and what is asked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod builds;
mod contract;
mod failures;
mod fake;
mod fixtures;
mod hosts;
mod intents;
mod judge;
mod reaching;
mod registry;
mod waiting;

use std::process::{Command, Output};

fn lockstep(server: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(arguments)
        .env_clear()
        .env("LOCKSTEP_SERVER", server)
        .env("LOCKSTEP_ACTOR", "ann@example.org")
        .env("LOCKSTEP_TOKEN", "secret-token")
        .output()
        .expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the process was not killed")
}
