//! A repository of what a work tree holds now, whether it was committed or not: for trying out what nobody releases.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::cancel::CancelToken;
use crate::git::{Git, GitError};

/// Why a work tree could not be copied.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Git could not be asked, or refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file could not be copied.
    #[error("`{}` cannot be copied", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Copies what git knows of a work tree, or would if it were added, into a new repository of one commit; a file of `instead` has that
/// text in the place of its own. Nothing of the work tree itself is changed. Folders that are other repositories are left out.
///
/// # Errors
/// When git cannot be asked, or something cannot be copied.
pub fn snapshot(root: &Path, to: &Path, instead: &[(&Path, &str)]) -> Result<(), SnapshotError> {
    let cancel = CancelToken::new();
    let from = Git { folder: root, cancel: &cancel };
    let listed = from.ask(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    for name in listed.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        copy(root, to, Path::new(OsStr::from_bytes(name)))?;
    }
    for (path, text) in instead {
        let path = to.join(path);
        write(&path, text).map_err(|source| SnapshotError::File { path, source })?;
    }
    let repository = Git { folder: to, cancel: &cancel };
    repository.ask(&["init", "--quiet", "--initial-branch", "main"])?;
    repository.ask(&["add", "--all", "--force"])?;
    let who =
        ["-c", "user.name=lockstep", "-c", "user.email=lockstep@localhost", "-c", "commit.gpgsign=false"];
    let commit =
        ["commit", "--quiet", "--allow-empty", "--no-verify", "--message", "what the work tree holds"];
    repository.ask(&[&who[..], &commit[..]].concat())?;
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

/// Copies one file, unless it was removed from the work tree since it was added.
fn copy(root: &Path, to: &Path, name: &Path) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::File { path: root.join(name), source };
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    let (from, to) = (root.join(name), to.join(name));
    let Ok(found) = fs::symlink_metadata(&from) else { return Ok(()) };
    to.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    if found.is_symlink() {
        fs::read_link(&from).and_then(|target| symlink(target, &to)).map_err(failed)
    } else if found.is_file() {
        fs::copy(&from, &to).map(|_| ()).map_err(failed)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, words: &[&str]) -> String {
        let who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"];
        let output = Command::new("git").args(who).args(words).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn it_holds_what_is_there_now_and_not_what_is_ignored() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |name: &str, text: &str| fs::write(from.path().join(name), text).unwrap();
        git(from.path(), &["init", "--quiet"]);
        [("kept", "1"), ("gone", "1"), (".gitignore", "secret\n")]
            .iter()
            .for_each(|(name, text)| write(name, text));
        git(from.path(), &["add", "--all"]);
        git(from.path(), &["commit", "--quiet", "--message", "feat: begin"]);
        [("kept", "2"), ("new", "1"), ("secret", "1")].iter().for_each(|(name, text)| write(name, text));
        fs::remove_file(from.path().join("gone")).unwrap();
        symlink("kept", from.path().join("link")).unwrap();
        snapshot(from.path(), to.path(), &[(Path::new("lockstep.toml"), "name = \"x\"\n")]).unwrap();
        let files = git(to.path(), &["ls-tree", "-r", "--name-only", "HEAD"]);
        assert_eq!(files, ".gitignore\nkept\nlink\nlockstep.toml\nnew\n");
        assert_eq!(git(to.path(), &["show", "HEAD:kept"]), "2");
        assert_eq!(git(to.path(), &["status", "--porcelain"]), "");
        assert!(
            git(from.path(), &["status", "--porcelain"]).contains(" D gone"),
            "the work tree is as it was"
        );
    }
}
