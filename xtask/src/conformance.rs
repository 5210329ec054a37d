//! `cargo xtask conformance FOLDER`: our verdicts beside those of well-known tools, on a folder of public pairs of contracts.
//! `cargo xtask conformance gateway`: requests and answers made by rule, through the gateway and its peers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::shell;
use crate::workspace::cargo;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `gateway`; or the folder with `openapi/cases.json`, `protobuf/cases.json`, `graphql/cases.json` and `reports/index.json`, or some of them
    #[arg(value_name = "gateway|FOLDER")]
    what: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.what.as_os_str() == "gateway" { gateway() } else { contracts(&args.what) }
}

fn contracts(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
    let mut command =
        cargo(&["run", "--quiet", "--package", "lockstep-contract", "--example", "conformance", "--"]);
    let (status, _) = shell::run(command.arg(folder))?;
    ensure!(status.success(), "verdicts are wrong, or there are no cases");
    Ok(())
}

/// The tests do it, shorter beside the peers.
fn gateway() -> Result<()> {
    let mut command =
        cargo(&["test", "--quiet", "--package", "lockstep-gateway", "--test", "peers", "--", "--nocapture"]);
    let (status, _) = shell::run(command.args(["--test-threads", "1"]).env("LOCKSTEP_PEERS_ALL", "1"))?;
    ensure!(
        status.success(),
        "the gateway does what is not safe, or otherwise than its peers without a reason"
    );
    Ok(())
}
