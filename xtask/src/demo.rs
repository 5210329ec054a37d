//! `cargo xtask demo`: the whole life of five services, through the command line that everybody uses, while a client calls.
//!
//! The demonstration runs in a process group of its own, on a lifeline to the command that was typed: however that ends
//! (Ctrl-C, a closed terminal, `kill -9`), the demonstration notices, ends what it started and removes its folder.

mod certificate;
mod checks;
mod on_hosts;
mod rollbacks;
mod shop;
mod small_disk;
mod story;
mod summary;
mod told;
mod wires;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::hosts;
use crate::installation::{self, Installation, Profile, Talk};
use crate::lifeline::{self, End, Lifeline};
use crate::programs;

use story::Story;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// End everything afterwards; without it the shop stays open until Ctrl-C or the end of input
    #[arg(long)]
    once: bool,
    /// Run the shop on so many hosts that are booted for it (see `cargo xtask hosts`), lose one of them, and the server
    ///
    /// Another story than without: the whole chain goes back while a host is switched off, and hosts go on without a server. It needs root, and what
    /// `cargo xtask hosts up` needs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=i64::from(hosts::MOST)))]
    hosts: Option<u8>,
    /// Use this program instead of building one
    #[arg(long, value_name = "PATH")]
    lockstep: Option<PathBuf>,
    /// The process that does it, on a lifeline to the command that was typed
    #[arg(long, hide = true)]
    on_lifeline: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.on_lifeline {
        return lifeline::hold(if args.once { End::ByItself } else { End::WhenTold });
    }
    let folder = installation::temporary_folder("demo")?;
    let result = match args.hosts {
        Some(count) => on_hosts::demonstrate(args, count, folder.clone()),
        None => demonstrate(args, folder.clone(), &Lifeline::watch(folder.clone())),
    };
    if result.is_err() {
        installation::remove_folder(&folder)?;
    }
    result
}

/// The services of the shop need cargo beside what building Lockstep needs; a toolchain without cargo on the path is
/// possible, since this was started by a cargo.
fn check_programs() -> Result<()> {
    programs::check()?;
    if !programs::is_there("cargo") {
        bail!("`cargo` is not on the path, and a service in Rust needs it; on Debian: apt-get install cargo");
    }
    wires::flags_of_node().map(|_| ())
}

fn program(args: &Args) -> Result<PathBuf> {
    match &args.lockstep {
        Some(program) => Ok(program.canonicalize()?),
        None => installation::build(Profile::Development),
    }
}

fn demonstrate(args: &Args, folder: PathBuf, lifeline: &Lifeline) -> Result<()> {
    check_programs()?;
    let mut story = Story::begin(Installation::new(program(args)?, folder, Talk::Aloud)?)?;
    story.tell()?;
    let summary = story.summary();
    print!("{summary}");
    if !args.once {
        story.invite()?;
        lifeline.wait_for_the_end();
    }
    story.end()?;
    summary.verdict()
}
