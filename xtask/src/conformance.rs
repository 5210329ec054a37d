//! `cargo xtask conformance FOLDER`: our verdicts beside those of well-known tools, on a folder of public pairs of contracts.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::shell;
use crate::workspace::cargo;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with `openapi/cases.json`, `protobuf/cases.json`, `graphql/cases.json` and `reports/index.json`, or some of them
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder =
        args.folder.canonicalize().with_context(|| format!("no folder {}", args.folder.display()))?;
    let mut command =
        cargo(&["run", "--quiet", "--package", "lockstep-contract", "--example", "conformance", "--"]);
    let (status, _) = shell::run(command.arg(folder))?;
    ensure!(status.success(), "verdicts are wrong, or there are no cases");
    Ok(())
}
