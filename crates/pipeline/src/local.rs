//! Repositories of this machine that are not mirrors: where in one a folder lies, and tagging a version in it.
//!
//! They belong to others, so git runs as everywhere here: bounded, without their hooks, and without this process's
//! environment.

use std::path::{Path, PathBuf};

use lockstep_domain::earlier::Tag;

use crate::cancel::CancelToken;
use crate::git::{Answer, CommitId, Git, GitError, unintelligible};

/// Where a folder lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InRepository {
    /// The root of the work tree.
    pub root: PathBuf,
    /// The folder below it, without a slash at the end.
    pub below: String,
}

/// Finds the work tree that a folder lies in; `None` when git says that it lies in none.
///
/// # Errors
/// When git cannot be asked.
pub fn find(folder: &Path) -> Result<Option<InRepository>, GitError> {
    let words = ["rev-parse", "--show-toplevel", "--show-prefix"];
    let cancel = CancelToken::new();
    let Answer::Yes(output) = (Git { folder, cancel: &cancel }).try_ask(&words)? else { return Ok(None) };
    let text = String::from_utf8(output).map_err(|_| unintelligible(&words))?;
    let mut lines = text.lines();
    let root = lines.next().filter(|root| !root.is_empty()).ok_or_else(|| unintelligible(&words))?;
    let below = lines.next().unwrap_or_default().trim_end_matches('/').to_owned();
    Ok(Some(InRepository { root: root.into(), below }))
}

/// Returns the address of the repository that a clone comes from; `None` when it does not say so.
///
/// # Errors
/// When git cannot be asked.
pub fn origin(folder: &Path) -> Result<Option<String>, GitError> {
    let words = ["config", "--get", "remote.origin.url"];
    let cancel = CancelToken::new();
    let Answer::Yes(output) = (Git { folder, cancel: &cancel }).try_ask(&words)? else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(&output).trim().to_owned()).filter(|url| !url.is_empty()))
}

/// Tells whether any of some files of a work tree differs from the commit that it is at, or is not in it.
///
/// # Errors
/// When git cannot be asked.
pub fn differs(folder: &Path, files: &[&str]) -> Result<bool, GitError> {
    let words: Vec<&str> = ["status", "--porcelain", "--untracked-files=all", "--ignored", "--"]
        .into_iter()
        .chain(files.iter().copied())
        .collect();
    let cancel = CancelToken::new();
    Ok(!Git { folder, cancel: &cancel }.ask(&words)?.is_empty())
}

/// Tells whether a branch or tag of a repository leads to a commit.
///
/// # Errors
/// When git cannot be asked.
pub fn leads_to(folder: &Path, commit: &CommitId) -> Result<bool, GitError> {
    let cancel = CancelToken::new();
    Git { folder, cancel: &cancel }.leads_to(commit)
}

/// Lists the tags of a repository, with the commits that they lead to.
///
/// # Errors
/// When git cannot be asked.
pub fn tags(folder: &Path) -> Result<Vec<Tag>, GitError> {
    let cancel = CancelToken::new();
    Git { folder, cancel: &cancel }.tags()
}

/// Tags a commit.
///
/// # Errors
/// When git does not.
pub fn tag(folder: &Path, name: &str, commit: &str) -> Result<(), GitError> {
    let cancel = CancelToken::new();
    Git { folder, cancel: &cancel }.ask(&["tag", "--", name, commit]).map(|_| ())
}
