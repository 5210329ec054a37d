//! Where the folder of a service was before it was renamed.
//!
//! A service is told by the name in its manifest. Where there was no manifest yet, the folder is the one that most of its files
//! came from.

use std::collections::BTreeMap;

use lockstep_domain::ServiceName;
use lockstep_manifest::MANIFEST_FILE;

use crate::git::{Answer, CommitId, GitError};
use crate::mirror::{AtCommit, Mirror};
use crate::repository::SourceFolder;
use crate::scope::Scope;

/// Most moves of a folder between two releases that are followed.
const MAX_MOVES: usize = 20;
/// Most manifests of a repository that are read to find one.
const MAX_MANIFESTS: usize = 2_000;

/// A move of a service from one folder to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// The first commit with the service in its new folder.
    pub(super) at: CommitId,
    /// The folder before.
    pub(super) from: SourceFolder,
}

impl Mirror {
    /// Finds the moves of a service up to a commit and above the lower bounds of a range, newest first.
    pub(super) fn moves(
        &self,
        tip: &CommitId,
        lower: &[String],
        scope: &Scope,
    ) -> Result<Vec<Moved>, GitError> {
        let mut moves: Vec<Moved> = Vec::new();
        if scope.is_everything() && !scope.folder.as_str().is_empty() {
            return Ok(moves);
        }
        let mut folder = scope.folder.clone();
        while moves.len() < MAX_MOVES {
            let newest = moves.last().map_or_else(|| tip.to_string(), |moved| format!("{}^", moved.at));
            let Some(at) = self.came(&newest, lower, &folder)? else { break };
            let Some(from) = self.folder_before(&at, &folder, &scope.service)? else { break };
            folder = from.clone();
            moves.push(Moved { at, from });
        }
        Ok(moves)
    }

    /// Finds the newest commit of a range that put a manifest into a folder.
    fn came(&self, tip: &str, lower: &[String], folder: &SourceFolder) -> Result<Option<CommitId>, GitError> {
        let manifest = folder.file(MANIFEST_FILE);
        let mut words = vec!["log", "--max-count=1", "--no-renames", "--diff-filter=A", "--format=%H", tip];
        words.extend(lower.iter().map(String::as_str));
        words.extend(["--", &manifest]);
        Ok(self.ids(&words)?.pop())
    }

    fn folder_before(
        &self,
        at: &CommitId,
        folder: &SourceFolder,
        service: &ServiceName,
    ) -> Result<Option<SourceFolder>, GitError> {
        let Some(parent) = self.commit_of(&format!("{at}^"))? else { return Ok(None) };
        match self.folder_of(&parent, service)? {
            Some(found) => Ok(Some(found).filter(|found| found != folder)),
            None => self.folder_most_came_from(&parent, at, folder),
        }
    }

    /// Finds the folder of a service at a commit, by the name in its manifest.
    fn folder_of(&self, commit: &CommitId, service: &ServiceName) -> Result<Option<SourceFolder>, GitError> {
        let output = self.git().ask(&["ls-tree", "-r", "-z", "--name-only", commit.as_str()])?;
        let names = String::from_utf8_lossy(&output).into_owned();
        let below = format!("/{MANIFEST_FILE}");
        let manifests =
            names.split_terminator('\0').filter(|name| *name == MANIFEST_FILE || name.ends_with(&below));
        for manifest in manifests.take(MAX_MANIFESTS) {
            let AtCommit::File(bytes) = self.at(commit, manifest)? else { continue };
            let name = lockstep_manifest::name_in(&String::from_utf8_lossy(&bytes));
            if name.as_ref() == Some(service) {
                return Ok(manifest.trim_end_matches(MANIFEST_FILE).parse().ok());
            }
        }
        Ok(None)
    }

    fn folder_most_came_from(
        &self,
        parent: &CommitId,
        at: &CommitId,
        folder: &SourceFolder,
    ) -> Result<Option<SourceFolder>, GitError> {
        let words = [
            "diff-tree",
            "-r",
            "-z",
            "--find-renames",
            "--diff-filter=R",
            "--name-status",
            parent.as_str(),
            at.as_str(),
        ];
        let Answer::Yes(output) = self.git().try_ask(&words)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&output).into_owned();
        let fields: Vec<&str> = text.split_terminator('\0').collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for fields in fields.chunks(3) {
            let [_, old, new] = fields else { continue };
            let Some(rest) = new.strip_prefix(folder.as_str()) else { continue };
            if let Some(from) = old.strip_suffix(rest) {
                *counts.entry(from.trim_end_matches('/')).or_default() += 1;
            }
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        Ok(most.and_then(|(from, _)| from.parse().ok()).filter(|from| from != folder))
    }
}
