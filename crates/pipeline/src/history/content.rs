//! What a service consists of at commits: equal content is the same thing, whatever its commits are called.

use crate::git::{CommitId, GitError};
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
