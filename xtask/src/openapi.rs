//! `cargo xtask openapi`: writes the OpenAPI document from the table of endpoints.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::shell;
use crate::workspace::{cargo, root};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--package", "lockstep-api", "--example", "openapi"]);
    shell::announce(&command);
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let path = root().join("crates/api/openapi.json");
    fs::write(&path, &output.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} bytes are in {}", output.stdout.len(), path.display());
    Ok(())
}
