//! The commits between a release and a commit, also where the history was rewritten or the folder renamed between them.
//!
//! What is in the release by another id (rebased, cherry-picked) is told by its patch, and by equal content; it does not count
//! again. What was done in the folder before it was renamed counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_domain::Timestamp;
use lockstep_domain::commits::{Commit, History, Other, Standing, named_by, takes_back};

use super::MAX_COMMITS;
use super::folders::Moved;
use crate::git::{CommitId, GitError, unintelligible};
use crate::mirror::Mirror;
use crate::scope::Scope;

/// Most commits that are looked up because messages name them, and most merges that are looked at because one is named without
/// its id.
const MAX_OTHERS: usize = 200;
/// Most names that are looked up, whether there are such commits or not.
const MAX_ASKED: usize = 400;
/// Most commits that a person is shown of those that are missing.
const MAX_MISSING: usize = 100;

/// A commit as git tells it.
struct Raw {
    commit: Commit,
    parents: Vec<String>,
}

/// The commits that count, as git is given them.
#[derive(Debug, Clone)]
struct Range {
    tip: CommitId,
    words: Vec<String>,
    /// What is left out below, as git is told beside another commit.
    lower: Vec<String>,
    rewriting: Rewriting,
}

/// Whether the release is in the history of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewriting {
    No,
    Yes,
}

impl Mirror {
    /// Lists what counts since a release: the commits that touch the service, newest [`MAX_COMMITS`], with what is needed to
    /// tell which of them were taken back. When `since` is not part of the repository any more, all commits count.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn history(
        &self,
        commit: &CommitId,
        since: Option<&CommitId>,
        scope: &Scope,
    ) -> Result<History, GitError> {
        let since = since.map(|since| self.commit_of(since.as_str())).transpose()?.flatten();
        let range = self.range(commit, since.as_ref(), scope)?;
        let moves = self.moves(&range.tip, &range.lower, scope)?;
        let commits = self.commits_of(&range, scope, &moves)?;
        let asking = Asking { mirror: self, since: since.as_ref(), range: &range, scope, moves: &moves };
        let others = asking.others(&commits)?;
        Ok(History { commits, others })
    }

    /// Lists what a release has of the service and a commit lacks, newest first: neither its commit, nor its patch, nor its
    /// content is in the history of the commit. Empty when nothing is missing.
    ///
    /// # Errors
    /// When git cannot be asked, as about a commit that is not there.
    pub fn missing(
        &self,
        commit: &CommitId,
        release: &CommitId,
        scope: &Scope,
    ) -> Result<Vec<Commit>, GitError> {
        if self.contains(commit, release)? || self.commit_with_content_of(release, commit, scope)?.is_some() {
            return Ok(Vec::new());
        }
        let words = ["--cherry-pick", "--left-only", "--no-merges", &format!("{release}...{commit}")];
        let missing = self.raw(&words.map(str::to_owned), &scope.paths(), MAX_MISSING)?;
        Ok(missing.into_iter().map(|raw| raw.commit).collect())
    }

    fn range(&self, commit: &CommitId, since: Option<&CommitId>, scope: &Scope) -> Result<Range, GitError> {
        let tip = commit.clone();
        let Some(since) = since else {
            return Ok(Range {
                tip,
                words: vec![commit.to_string()],
                lower: Vec::new(),
                rewriting: Rewriting::No,
            });
        };
        let mut lower = vec![format!("^{since}")];
        if self.contains(commit, since)? {
            let words = vec![commit.to_string(), lower[0].clone()];
            return Ok(Range { tip, words, lower, rewriting: Rewriting::No });
        }
        lower.extend(self.commit_with_content_of(since, commit, scope)?.map(|same| format!("^{same}")));
        let words = ["--cherry-pick", "--right-only"].map(str::to_owned).into_iter();
        let words = words.chain([format!("{since}...{commit}")]).chain(lower[1..].iter().cloned()).collect();
        Ok(Range { tip, words, lower, rewriting: Rewriting::Yes })
    }

    /// Finds the newest commit that another history has beyond a release with the very content of that release.
    fn commit_with_content_of(
        &self,
        release: &CommitId,
        commit: &CommitId,
        scope: &Scope,
    ) -> Result<Option<CommitId>, GitError> {
        let Some(wanted) = self.contents(std::slice::from_ref(release), scope)?.pop().flatten() else {
            return Ok(None);
        };
        let limit = format!("--max-count={MAX_COMMITS}");
        let range = format!("{release}..{commit}");
        let words = [&["rev-list", &limit, &range, "--"], &scope.paths()[..]].concat();
        let ids = self.ids(&words)?;
        let contents = self.contents(&ids, scope)?;
        Ok(ids
            .into_iter()
            .zip(contents)
            .find(|(_, content)| content.as_ref() == Some(&wanted))
            .map(|(id, _)| id))
    }

    /// The commits of a range, oldest first: in the folder of the service where it is now, and where it was before.
    fn commits_of(&self, range: &Range, scope: &Scope, moves: &[Moved]) -> Result<Vec<Commit>, GitError> {
        // What lay in a folder before the service came is of others.
        let words = |came: Option<&Moved>| {
            let excluded = came.map(|moved| format!("^{}^", moved.at));
            range.words.iter().cloned().chain(excluded).collect::<Vec<_>>()
        };
        let mut commits = self.raw(&words(moves.first()), &scope.paths(), MAX_COMMITS)?;
        for (index, moved) in moves.iter().enumerate() {
            let path = format!("{}..{}", moved.at, range.tip);
            let after = self.ids(&["rev-list", "--ancestry-path", &path, "--"])?;
            let after: BTreeSet<_> = after.iter().map(CommitId::as_str).collect();
            let scope = scope.in_folder(moved.from.clone());
            let there = self.raw(&words(moves.get(index + 1)), &scope.paths(), MAX_COMMITS)?;
            commits.extend(there.into_iter().filter(|raw| !after.contains(raw.commit.id.as_str())));
        }
        let commits = if moves.is_empty() { commits } else { self.in_order(range, commits)? };
        Ok(commits.into_iter().rev().map(|raw| raw.commit).collect())
    }

    /// Puts commits of several questions into the order of the history, each once.
    fn in_order(&self, range: &Range, commits: Vec<Raw>) -> Result<Vec<Raw>, GitError> {
        let mut by_id: BTreeMap<_, _> = commits.into_iter().map(|raw| (raw.commit.id.clone(), raw)).collect();
        let mut words = vec!["rev-list"];
        words.extend(range.words.iter().map(String::as_str));
        words.push("--");
        let order = self.ids(&words)?;
        Ok(order.iter().filter_map(|id| by_id.remove(id.as_str())).collect())
    }

    /// Asks for commits, newest first.
    fn raw(&self, range: &[String], paths: &[&str], limit: usize) -> Result<Vec<Raw>, GitError> {
        let limit = format!("--max-count={limit}");
        let mut words = vec!["log", "-z", "--format=tformat:%H%x00%P%x00%ct%x00%B", &limit];
        words.extend(range.iter().map(String::as_str));
        words.push("--");
        words.extend(paths);
        let output = String::from_utf8_lossy(&self.git().ask(&words)?).into_owned();
        let fields: Vec<&str> = output.split_terminator('\0').collect();
        let raw = |fields: &[&str]| {
            let [id, parents, at, message] = fields else { return Err(unintelligible(&words)) };
            let commit = Commit {
                id: id.trim().to_owned(),
                message: message.trim_end().to_owned(),
                at: committed(at),
            };
            Ok(Raw { commit, parents: parents.split_ascii_whitespace().map(str::to_owned).collect() })
        };
        fields.chunks(4).map(raw).collect()
    }

    pub(super) fn ids(&self, words: &[&str]) -> Result<Vec<CommitId>, GitError> {
        let output = self.git().ask(words)?;
        let text = String::from_utf8_lossy(&output);
        text.lines().map(|line| line.trim().parse().map_err(|_| unintelligible(words))).collect()
    }
}

/// Reads a time of git, in seconds since 1970; whoever commits may write any number.
fn committed(text: &str) -> Option<Timestamp> {
    text.parse::<u64>().ok()?.checked_mul(1_000).map(Timestamp)
}

/// Looks up what messages name.
struct Asking<'a> {
    mirror: &'a Mirror,
    since: Option<&'a CommitId>,
    range: &'a Range,
    scope: &'a Scope,
    moves: &'a [Moved],
}

impl Asking<'_> {
    fn others(&self, commits: &[Commit]) -> Result<Vec<Other>, GitError> {
        if !commits.iter().any(|commit| takes_back(&commit.message)) {
            return Ok(Vec::new());
        }
        let mut others = self.named(commits)?;
        if commits.iter().any(|commit| takes_back(&commit.message) && named_by(&commit.message).is_empty()) {
            others.extend(self.merges()?);
        }
        Ok(others)
    }

    /// Looks up the commits that messages name, and those that their messages name.
    fn named(&self, commits: &[Commit]) -> Result<Vec<Other>, GitError> {
        let names =
            |commit: &Commit| named_by(&commit.message).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut waiting: VecDeque<String> = commits.iter().flat_map(names).collect();
        let mut others: Vec<Other> = Vec::new();
        let in_range = self.in_range()?;
        for _ in 0..MAX_ASKED {
            let Some(name) = waiting.pop_front() else { break };
            let known = others.iter().any(|other| other.commit.id.starts_with(&name));
            let Some(id) = (if known { None } else { self.mirror.commit_of(&name)? }) else { continue };
            let Some(raw) = self.mirror.raw(&[id.to_string()], &[], 1)?.pop() else { continue };
            waiting.extend(names(&raw.commit));
            others.push(self.other(raw, &in_range)?);
        }
        Ok(others)
    }

    fn merges(&self) -> Result<Vec<Other>, GitError> {
        let words = [&self.range.words[..], &["--merges".to_owned()]].concat();
        let merges = self.mirror.raw(&words, &[], MAX_OTHERS)?;
        let in_range = merges.iter().map(|raw| raw.commit.id.clone()).collect();
        merges.into_iter().rev().map(|raw| self.other(raw, &in_range)).collect()
    }

    fn in_range(&self) -> Result<BTreeSet<String>, GitError> {
        let mut words = vec!["rev-list"];
        words.extend(self.range.words.iter().map(String::as_str));
        words.push("--");
        Ok(self.mirror.ids(&words)?.into_iter().map(|id| id.to_string()).collect())
    }

    fn other(&self, raw: Raw, in_range: &BTreeSet<String>) -> Result<Other, GitError> {
        let brought = match &raw.parents[..] {
            [first, _, ..] => self.brought(first, &raw.commit.id)?,
            _ => Vec::new(),
        };
        let standing = self.standing(&raw.commit.id, in_range)?;
        Ok(Other { commit: raw.commit, brought, standing })
    }

    fn brought(&self, first: &str, merge: &str) -> Result<Vec<Commit>, GitError> {
        let before = self.moves.iter().map(|moved| moved.from.as_str());
        let paths: Vec<&str> = self.scope.paths().into_iter().chain(before).collect();
        let everything = self.scope.is_everything() || paths.contains(&"");
        let range = [format!("{first}..{merge}"), "--no-merges".into()];
        let raw = self.mirror.raw(&range, if everything { &[] } else { &paths }, MAX_COMMITS)?;
        Ok(raw.into_iter().rev().map(|raw| raw.commit).collect())
    }

    fn standing(&self, id: &str, in_range: &BTreeSet<String>) -> Result<Standing, GitError> {
        if in_range.contains(id) {
            return Ok(Standing::Since);
        }
        let words = ["an id of git's own"];
        let id: CommitId = id.parse().map_err(|_| unintelligible(&words))?;
        let in_release = match self.since {
            Some(since) => self.mirror.contains(since, &id)?,
            None => false,
        };
        // In a history that was rewritten, what does not count is in the release by another id.
        let again = self.range.rewriting == Rewriting::Yes && self.mirror.contains(&self.range.tip, &id)?;
        Ok(if in_release || again { Standing::Released } else { Standing::Elsewhere })
    }
}
