//! What a service consists of at commits: equal content is the same thing, whatever its commits are called.

use crate::git::{CommitId, GitError, unintelligible};
use crate::mirror::Mirror;
use crate::scope::Scope;

/// The content of a service at a commit, as the ids that git gives its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(Vec<String>);

impl Mirror {
    /// Tells whether a service consists of the same at two commits. A commit that is not there is like none.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn has_content_of(
        &self,
        commit: &CommitId,
        other: &CommitId,
        scope: &Scope,
    ) -> Result<bool, GitError> {
        let contents = self.contents(&[commit.clone(), other.clone()], scope)?;
        Ok(matches!(&contents[..], [Some(one), Some(other)] if one == other))
    }

    /// Names everything that a service consists of at a commit: each part with its mode and the id of its content. Two that are
    /// equal are built from the same.
    pub(crate) fn parts(&self, commit: &CommitId, scope: &Scope) -> Result<Vec<String>, GitError> {
        if scope.is_everything() {
            return Ok(vec![self.tree(commit)?.to_string()]);
        }
        let words = [&["ls-tree", "-z", "--full-tree", commit.as_str(), "--"], &scope.paths()[..]].concat();
        let output = self.git().ask(&words)?;
        Ok(String::from_utf8_lossy(&output).split_terminator('\0').map(str::to_owned).collect())
    }

    /// Finds the commit that last changed what a service consists of, with its time in seconds since 1970.
    pub(crate) fn last_change(&self, commit: &CommitId, scope: &Scope) -> Result<(CommitId, u64), GitError> {
        let words = ["log", "--max-count=1", "--format=%H %ct", commit.as_str(), "--"];
        let words = [&words[..], &scope.paths()[..]].concat();
        let line = self.git().ask_line(&words)?;
        let parsed = line.split_once(' ').and_then(|(id, seconds)| {
            let seconds: i64 = seconds.parse().ok()?;
            Some((id.parse().ok()?, u64::try_from(seconds).unwrap_or_default()))
        });
        parsed.ok_or_else(|| unintelligible(&words))
    }

    /// Returns the content of a service at each of several commits; `None` where it is not there.
    pub(super) fn contents(
        &self,
        commits: &[CommitId],
        scope: &Scope,
    ) -> Result<Vec<Option<Content>>, GitError> {
        let objects: Vec<_> = commits.iter().map(|commit| scope.objects(commit.as_str())).collect();
        let input: String = objects.iter().flatten().flat_map(|name| [name.as_str(), "\n"]).collect();
        let output = self.git().ask_fed(&["cat-file", "--batch-check=%(objectname)"], input.as_bytes())?;
        let text = String::from_utf8_lossy(&output);
        let mut lines = text.lines();
        let of_commit = |names: Vec<String>| {
            let ids: Vec<_> = names.iter().map(|_| lines.next().unwrap_or_default().to_owned()).collect();
            // What is not there is answered with its name and a word.
            ids.iter().all(|id| !id.contains(' ')).then_some(Content(ids))
        };
        Ok(objects.into_iter().map(of_commit).collect())
    }
}
