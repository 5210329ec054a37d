//! Whether a branch came in as one commit: its whole difference is the difference of a single commit.

use std::collections::BTreeSet;

use super::MAX_COMMITS;
use crate::git::{Answer, CommitId, GitError};
use crate::mirror::Mirror;
use crate::process::CaptureError;
use crate::scope::Scope;

impl Mirror {
    /// Tells which of several commits came into the history of another one as a single commit, by a squash.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn squashed(
        &self,
        commit: &CommitId,
        since: Option<&CommitId>,
        branches: &[CommitId],
        scope: &Scope,
    ) -> Result<Vec<bool>, GitError> {
        if branches.is_empty() {
            return Ok(Vec::new());
        }
        let limit = format!("--max-count={MAX_COMMITS}");
        let mut words = vec!["log", "--no-merges", "--patch", "--format=commit %H", &limit, commit.as_str()];
        let lower = since.map(|since| format!("^{since}"));
        words.extend(lower.as_deref());
        let single = self.patches(&words, scope)?;
        let mut found = Vec::new();
        for branch in branches {
            let whole = match self.git().try_ask(&["merge-base", commit.as_str(), branch.as_str()])? {
                Answer::No { .. } => BTreeSet::new(),
                Answer::Yes(base) => {
                    let base = String::from_utf8_lossy(&base).trim().to_owned();
                    self.patches(&["diff-tree", "-r", "--patch", &base, branch.as_str()], scope)?
                }
            };
            found.push(!single.is_disjoint(&whole));
        }
        Ok(found)
    }

    /// The patches of a question as the ids that git gives them, which lines and spaces around do not change. None when there
    /// is more than can be compared.
    fn patches(&self, words: &[&str], scope: &Scope) -> Result<BTreeSet<String>, GitError> {
        let words = [words, &["--"], &scope.paths()[..]].concat();
        let patches = match self.git().try_ask(&words) {
            Ok(Answer::Yes(patches)) => patches,
            Ok(Answer::No { .. }) | Err(GitError::Run { source: CaptureError::TooMuch(_), .. }) => {
                return Ok(BTreeSet::new());
            }
            Err(error) => return Err(error),
        };
        let ids = self.git().ask_fed(&["patch-id", "--stable"], &patches)?;
        let ids = String::from_utf8_lossy(&ids).into_owned();
        Ok(ids.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }
}
