//! The mirror of no repository: one commit with nothing in it, the same on every machine. So what has no repository has a branch and
//! a commit like everything else, and its versions differ by manifest and by what was given.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_domain::repository_address::NO_COMMIT;

use super::made_beside;
use crate::failure::BuildFault;
use crate::git::{Answer, Git, GitError};
use crate::workplace::Workplace;

/// Its branch.
pub(crate) const BRANCH: &str = "main";
/// What its commit says. Neither this nor the rest of the commit can change: versions are recorded with its id.
const MESSAGE: &str = "chore: no repository";
/// Who made it, and when.
const FACTS: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "Lockstep"),
    ("GIT_AUTHOR_EMAIL", "lockstep@localhost"),
    ("GIT_AUTHOR_DATE", "@0 +0000"),
    ("GIT_COMMITTER_NAME", "Lockstep"),
    ("GIT_COMMITTER_EMAIL", "lockstep@localhost"),
    ("GIT_COMMITTER_DATE", "@0 +0000"),
];

/// Makes it, unless it is there and whole.
pub(super) fn make(folder: &Path, place: &Workplace<'_>) -> Result<(), BuildFault> {
    if folder.join("HEAD").exists() && is_whole(folder, place)? {
        return Ok(());
    }
    made_beside(folder, |partial| Ok(fill(&Git { folder: partial, cancel: place.cancel })?))
}

fn is_whole(folder: &Path, place: &Workplace<'_>) -> Result<bool, GitError> {
    let git = Git { folder, cancel: place.cancel };
    let is_there = git.try_ask(&["cat-file", "-e", &format!("{BRANCH}^{{tree}}")])?;
    let commit = git.try_ask(&["rev-parse", "--verify", "--quiet", BRANCH])?;
    Ok(
        matches!((is_there, commit), (Answer::Yes(_), Answer::Yes(id)) if id.trim_ascii() == NO_COMMIT.as_bytes()),
    )
}

fn fill(git: &Git<'_>) -> Result<(), GitError> {
    let branch = format!("--initial-branch={BRANCH}");
    git.ask(&["init", "--quiet", "--bare", "--object-format=sha1", "--template=", &branch])?;
    let tree = String::from_utf8_lossy(&git.ask_fed(&["mktree"], b"")?).trim().to_owned();
    let facts = FACTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let commit = git.ask_as(
        &["-c", "i18n.commitEncoding=UTF-8", "commit-tree", &tree, "-m", MESSAGE],
        BTreeMap::from(facts),
    )?;
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    git.ask(&["update-ref", &format!("refs/heads/{BRANCH}"), &commit]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::CancelToken;

    #[test]
    fn the_commit_is_the_same_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let git = Git { folder: folder.path(), cancel: &CancelToken::new() };
        fill(&git).unwrap();
        assert_eq!(git.ask_line(&["rev-parse", BRANCH]).unwrap(), NO_COMMIT);
        assert_eq!(git.ask_line(&["ls-tree", BRANCH]).unwrap(), "");
    }
}
