//! The repositories of services that are measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Makes a repository of a manifest and a program in Rust, with its first commit.
pub(super) fn create(folder: &Path, manifest: &str, source: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("main.rs"), source)?;
    git(folder, &["init", "--quiet", "--initial-branch", "main"])?;
    commit(folder, manifest, "feat: answer")
}

/// Adds a commit that changes nothing but the manifest.
pub(super) fn commit(folder: &Path, manifest: &str, message: &str) -> Result<()> {
    fs::write(folder.join("lockstep.toml"), manifest)?;
    fs::write(folder.join("NOTES"), message)?;
    git(folder, &["add", "--all"])?;
    git(folder, &["commit", "--quiet", "--message", message])
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=bench", "-c", "user.email=bench@shop.example"]);
    command.args(["-c", "commit.gpgsign=false"]).args(arguments);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let status = command.status().context("cannot run git; on Debian: apt-get install git")?;
    ensure!(status.success(), "git {} failed", arguments.join(" "));
    Ok(())
}
