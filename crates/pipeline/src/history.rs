//! Asks a mirror about its branches, tags and commits.

mod content;
mod folders;
mod since;
mod squashed;

use std::collections::BTreeMap;

use crate::git::{Answer, CommitId, Git, GitError, unintelligible};
use crate::mirror::{Mirror, nowhere};
use crate::nearest::nearest;
use crate::repository::{Reference, RepositoryLocation};

pub use content::Content;

/// Most commits that are listed between two versions; a service that makes more of them is released too rarely to number
/// it by its commits.
pub const MAX_COMMITS: usize = 10_000;

/// What a reference means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedReference {
    /// The commit.
    pub commit: CommitId,
    /// The branch: the one that was named; for a tag or commit the only branch that contains it, or the default branch of
    /// a repository that is not a folder of this machine.
    pub branch: Option<String>,
}

/// What a reference does not mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownReference {
    /// The reference.
    pub reference: String,
    /// Branches and tags with similar names.
    pub nearest: Vec<String>,
}

/// A reference that was looked up.
pub(crate) type Lookup = Result<ResolvedReference, UnknownReference>;

impl Mirror {
    /// Finds the commit and branch of a reference; without one, those of the repository's `HEAD`.
    pub(crate) fn resolve(&self, reference: Option<&Reference>) -> Result<Lookup, GitError> {
        let head = self.head()?;
        let name = match (reference, &head) {
            (Some(reference), _) => reference.as_str(),
            (None, Head::Branch(branch)) => branch,
            (None, Head::Detached(commit)) => commit.as_str(),
            (None, Head::Nothing) => "HEAD",
        };
        if let Some(commit) = self.commit_of(&format!("refs/heads/{name}"))? {
            return Ok(Ok(ResolvedReference { commit, branch: Some(name.to_owned()) }));
        }
        let looks_like_id = name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut commit = self.commit_of(&format!("refs/tags/{name}"))?;
        if commit.is_none()
            && let Some(commit) = self.commit_of(&format!("refs/remotes/origin/{name}"))?
        {
            return Ok(Ok(ResolvedReference { commit, branch: Some(name.to_owned()) }));
        }
        if commit.is_none() && looks_like_id {
            commit = self.commit_of(name)?;
        }
        match commit {
            Some(commit) => {
                let branch = self.branch_of(&commit, &head)?;
                Ok(Ok(ResolvedReference { commit, branch }))
            }
            None => Ok(Err(self.unknown(name)?)),
        }
    }

    /// Lists the commits that a branch itself went through since another one, newest first: not what it merged.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn own_line(&self, commit: &CommitId, since: Option<&CommitId>) -> Result<Vec<CommitId>, GitError> {
        let limit = format!("--max-count={MAX_COMMITS}");
        let lower = since.map(|since| format!("^{since}"));
        let words = ["rev-list", "--first-parent", &limit, commit.as_str()];
        let words: Vec<_> = words.into_iter().chain(lower.as_deref()).chain(["--"]).collect();
        self.ids(&words)
    }

    /// Tells whether a commit is there.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn has(&self, commit: &CommitId) -> Result<bool, GitError> {
        Ok(self.commit_of(commit.as_str())?.is_some())
    }

    /// Returns the id of everything in the repository at a commit.
    pub(crate) fn tree(&self, commit: &CommitId) -> Result<CommitId, GitError> {
        let words = ["rev-parse", "--verify", "--end-of-options", &format!("{commit}^{{tree}}")];
        self.git().ask_line(&words)?.parse().map_err(|_| unintelligible(&words))
    }

    pub(crate) fn commit_of(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let name = format!("{name}^{{commit}}");
        let words = ["rev-parse", "--verify", "--quiet", "--end-of-options", &name];
        match self.git().try_ask(&words)? {
            Answer::No { .. } => Ok(None),
            Answer::Yes(output) => {
                let text = String::from_utf8_lossy(&output);
                text.trim().parse().map(Some).map_err(|_| unintelligible(&words))
            }
        }
    }

    /// Asks the repository itself, because a mirror does not follow a moved `HEAD`.
    fn head(&self) -> Result<Head, GitError> {
        if *self.location() == RepositoryLocation::Nowhere {
            return Ok(Head::Branch(nowhere::BRANCH.to_owned()));
        }
        let answer = self.git().ask_head_of(&["ls-remote", "--symref", "--"], self.location())?;
        let text = String::from_utf8_lossy(&answer);
        let mut first = text.lines().map(|line| line.split_ascii_whitespace().next().unwrap_or_default());
        let branch = text.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.split('\t').next());
        Ok(match (branch, first.next().and_then(|word| word.parse().ok())) {
            (Some(branch), _) => Head::Branch(branch.to_owned()),
            (None, Some(commit)) => Head::Detached(commit),
            (None, None) => Head::Nothing,
        })
    }

    /// Finds the branch that a commit clearly belongs to. A clone that a build system made may know the branches of the
    /// repository it comes from only.
    fn branch_of(&self, commit: &CommitId, head: &Head) -> Result<Option<String>, GitError> {
        let own = self.names(&[&format!("--contains={commit}"), "refs/heads"], 2)?;
        if !own.is_empty() {
            // The HEAD of a work tree is where somebody happens to work.
            let default = match head {
                Head::Branch(branch) if self.location().local().is_none() => Some(branch.as_str()),
                _ => None,
            };
            let default = default.filter(|default| own.iter().any(|name| name == default)).map(str::to_owned);
            return Ok(default.or_else(|| <[String; 1]>::try_from(own).ok().map(|[only]| only)));
        }
        let of_origin = self.names(&[&format!("--contains={commit}"), ORIGIN], 3)?;
        let default = self.default_of_origin()?;
        let of_origin: Vec<_> = of_origin.into_iter().filter(|name| name != "HEAD").collect();
        self.clearly_of_origin(&of_origin, default.as_deref(), commit)
    }

    /// Asks the clone itself which branch its origin goes by: a mirror has no links between names.
    fn default_of_origin(&self) -> Result<Option<String>, GitError> {
        let Some(folder) = self.location().local() else { return Ok(None) };
        let git = Git { folder, ..self.git() };
        let answer = git.try_ask(&["symbolic-ref", "--quiet", &format!("{ORIGIN}/HEAD")])?;
        let Answer::Yes(name) = answer else { return Ok(None) };
        let name = String::from_utf8_lossy(&name).trim().to_owned();
        Ok(name.strip_prefix(&format!("{ORIGIN}/")).map(str::to_owned))
    }

    /// The default branch, the only one, or the only one that ends with the commit.
    fn clearly_of_origin(
        &self,
        names: &[String],
        default: Option<&str>,
        commit: &CommitId,
    ) -> Result<Option<String>, GitError> {
        if let Some(default) = default.filter(|default| names.iter().any(|name| name == default)) {
            return Ok(Some(default.to_owned()));
        }
        if let [only] = names {
            return Ok(Some(only.clone()));
        }
        let ending = self.names(&[&format!("--points-at={commit}"), ORIGIN], 3)?;
        let ending: Vec<_> = ending.into_iter().filter(|name| name != "HEAD").collect();
        Ok(<[String; 1]>::try_from(ending).ok().map(|[only]| only))
    }

    fn unknown(&self, name: &str) -> Result<UnknownReference, GitError> {
        let mut names = self.names(&["refs/heads", "refs/tags"], 2)?;
        names.extend(self.names(&[ORIGIN], 3)?);
        let nearest = nearest(name, names.iter().map(String::as_str));
        Ok(UnknownReference { reference: name.to_owned(), nearest })
    }

    fn names(&self, selection: &[&str], depth: usize) -> Result<Vec<String>, GitError> {
        let format = format!("--format=%(refname:lstrip={depth})");
        let words = [&["for-each-ref", &format], selection].concat();
        let output = self.git().ask(&words)?;
        Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
    }
}

/// Where a clone keeps the branches of the repository it comes from.
const ORIGIN: &str = "refs/remotes/origin";

enum Head {
    Branch(String),
    Detached(CommitId),
    Nothing,
}

/// Which files of a work tree are not committed, by path with git's two letters.
pub(crate) type Uncommitted = BTreeMap<String, String>;

/// Reads `git status --porcelain=v1 -z`.
pub(crate) fn parse_status(output: &[u8]) -> Uncommitted {
    let text = String::from_utf8_lossy(output);
    let mut entries = text.split_terminator('\0');
    let mut files = Uncommitted::new();
    while let Some(entry) = entries.next() {
        if let Some((letters, path)) = entry.split_at_checked(3) {
            files.insert(path.to_owned(), letters.trim().to_owned());
            if letters.starts_with(['R', 'C']) {
                entries.next();
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_tells_renames_from_files() {
        let files = parse_status(b" M a.txt\0R  new\0old\0?? dir/\0");
        let expected = [("a.txt", "M"), ("dir/", "??"), ("new", "R")];
        assert_eq!(files.iter().map(|(p, l)| (p.as_str(), l.as_str())).collect::<Vec<_>>(), expected);
    }
}
