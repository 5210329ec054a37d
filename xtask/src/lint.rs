//! `cargo xtask lint`: everything that can be said about the source without running it. All checks run, whatever fails.

use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::cargo;
use crate::{layers, programs, shell};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    let mut failed = Vec::new();
    let mut check = |name: &'static str, good: bool| {
        if !good {
            failed.push(name);
        }
    };
    check("format", succeeds(&mut cargo(&["fmt", "--all", "--check"]))?);
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    check("clippy", succeeds(&mut cargo(&clippy))?);
    check("layers", layers_hold());
    check("dependencies", dependencies_allowed()?);
    match failed.as_slice() {
        [] => Ok(()),
        _ => bail!("lint: failed in {}", failed.join(", ")),
    }
}

fn layers_hold() -> bool {
    layers::run(&layers::Args {}).inspect_err(|error| eprintln!("error: {error:#}")).is_ok()
}

/// Checks licences, bans and sources by `deny.toml`. Advisories need the network and are checked elsewhere.
fn dependencies_allowed() -> Result<bool> {
    if programs::is_there("cargo-deny") {
        return succeeds(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]));
    }
    eprintln!(
        "not checked: licences and sources of dependencies; `cargo install --locked cargo-deny` makes it possible"
    );
    Ok(true)
}

fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(shell::run(command)?.0.success())
}
