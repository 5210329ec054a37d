//! Operations by calls of the API, whose moment is known exactly.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::installation::Installation;

/// How often it is asked whether an operation is over.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long an operation may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where everything is measured.
pub(super) const ENVIRONMENT: &str = "development";

/// Begins an operation and returns its number.
pub(super) fn begin(installation: &Installation, body: &Value) -> Result<u64> {
    let path = format!("/environments/{ENVIRONMENT}/operations");
    let answer = installation.ask("POST", &path, &body.to_string())?;
    answer["operation"]["id"].as_u64().with_context(|| format!("no operation in {answer}"))
}

/// Waits until an operation is done.
pub(super) fn wait(installation: &Installation, operation: u64) -> Result<()> {
    let begin = Instant::now();
    loop {
        let operation = installation.ask("GET", &format!("/operations/{operation}"), "")?;
        match operation["phase"]["phase"].as_str() {
            Some("done") => return Ok(()),
            Some("reverted") => anyhow::bail!("an operation was taken back: {operation}"),
            _ => ensure!(begin.elapsed() < PATIENCE, "an operation does not end: {operation}"),
        }
        thread::sleep(ASK_EVERY);
    }
}
