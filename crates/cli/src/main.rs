//! `lockstep`: the command line, the server, the gateway, and the small processes that stand between the server and what it runs.
//!
//! Invariant: commands learn and change things through the API of a server and in no other way; only `init`, `import`, `check`,
//! `contract`, `host check`, and `journal verify` on a folder or file work without one.

mod app;
mod commands;
mod confirm;
mod context;
mod exit;
mod failure;
mod follow;
mod given_file;
mod given_image;
mod input;
mod interrupt;
mod log;
mod look;
mod open_files;
mod operate;
mod output;
mod own_token;
mod parse;
mod progress;
mod reference;
mod secret;
mod select;

use std::ffi::OsStr;
use std::process::ExitCode;

/// Takes the place of malloc in the whole program, C libraries included: it gives memory back that builds, backups and artifacts
/// took, where the one of glibc keeps it in each of its arenas.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // They run for every instance and every command of a build, so they start before anything else is set up.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some(open_files::WORD) => open_files::lower(arguments),
        Some("supervisor") => lockstep_runtime::supervisor::main(arguments),
        Some(lockstep_domain::external::WORD) => lockstep_relay::main(arguments),
        Some(lockstep_domain::database::WORD) => lockstep_migrate::main(arguments),
        Some(lockstep_site::WORD) => lockstep_site::main(arguments),
        Some(lockstep_runtime::resource::step::WORD) => lockstep_runtime::resource::step::main(arguments),
        Some(lockstep_hosts::agent::WORD) => lockstep_hosts::agent::main(arguments, &["supervisor"]),
        Some(lockstep_hosts::agent::REVIVE) => lockstep_hosts::agent::revive(arguments, &["supervisor"]),
        Some("guard") => lockstep_pipeline::guard::main(),
        Some(lockstep_confine::WORD) => lockstep_confine::main(),
        _ => app::main(),
    }
}
