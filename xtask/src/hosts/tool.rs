//! Running the machine's own tools: what they say is returned, and is in the error when they fail.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Runs a tool and returns its standard output.
pub(crate) fn run(words: &[&str]) -> Result<String> {
    let output = output(words)?;
    if !output.status.success() {
        bail!("`{}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a tool that answers in JSON.
pub(crate) fn json(words: &[&str]) -> Result<Value> {
    let text = run(words)?;
    // `ip -j` says nothing at all where there is nothing.
    let text = if text.trim().is_empty() { "[]" } else { &text };
    serde_json::from_str(text).with_context(|| format!("`{}` does not answer in JSON", words.join(" ")))
}

/// Runs a tool of which only matters whether it succeeds.
pub(crate) fn succeeds(words: &[&str]) -> bool {
    output(words).is_ok_and(|output| output.status.success())
}

fn output(words: &[&str]) -> Result<Output> {
    let [program, arguments @ ..] = words else { bail!("no tool is named") };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.output().with_context(|| format!("cannot run `{program}`"))
}
