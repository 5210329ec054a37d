//! The release that pre-releases promised: a candidate becomes its release, however it comes to the branch that releases are cut
//! from: merged, rebased, squashed, or as the same content.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_domain::VersionNumber;
use lockstep_domain::branch::Line;
use lockstep_domain::service::Version;
use lockstep_pipeline::CommitId;
use lockstep_pipeline::git::GitError;

use super::number::Looking;
use super::relation::id;

/// Most branches with open pre-releases that are looked at, the newest first.
const MAX_OPEN: usize = 20;

/// The newest pre-release of a branch.
struct Open {
    release: VersionNumber,
    version: Arc<Version>,
    commit: CommitId,
}

impl Looking<'_> {
    /// Finds the highest release that a pre-release in this commit promised.
    pub(super) fn promised(&self, since: Option<&CommitId>) -> Result<Option<VersionNumber>, GitError> {
        if self.cut.label.is_some() {
            return Ok(None);
        }
        let open = self.open();
        let mut found = Vec::new();
        let mut elsewhere = Vec::new();
        for one in &open {
            if self.mirror.has_content_of(self.commit, &one.commit, self.scope)?
                || self.came_in(one, since)?
            {
                found.push(one);
            } else {
                elsewhere.push(one);
            }
        }
        let ids: Vec<_> = elsewhere.iter().map(|one| one.commit.clone()).collect();
        let squashed = self.mirror.squashed(self.commit, since, &ids, self.scope)?;
        found.extend(
            elsewhere.into_iter().zip(squashed).filter(|(_, squashed)| *squashed).map(|(one, _)| one),
        );
        Ok(found.into_iter().map(|one| one.release.clone()).max())
    }

    /// The newest pre-release of each branch that leads to a release that is not there yet.
    fn open(&self) -> Vec<Open> {
        let promises = |version: &&Arc<Version>| {
            let release = version.number.release();
            version.number.is_pre_release()
                && Some(&release) > self.follows
                && self.cut.line.contains(&release)
                && !self.service.versions.contains_key(&release)
        };
        let mut versions: Vec<_> = self.service.versions.values().filter(promises).collect();
        versions.sort_by_key(|version| Reverse((version.recorded, version.number.clone())));
        let mut branches = BTreeSet::new();
        versions.retain(|version| branches.insert(&version.branch));
        let open = |version: &Arc<Version>| {
            Some(Open {
                release: version.number.release(),
                version: Arc::clone(version),
                commit: id(version)?,
            })
        };
        versions.into_iter().filter_map(open).take(MAX_OPEN).collect()
    }

    /// Tells whether a candidate was merged or rebased. The number of a feature follows from its commits, so nothing is asked of
    /// it; and a candidate that the branch itself went through was not merged, the branch has gone on since.
    fn came_in(&self, open: &Open, since: Option<&CommitId>) -> Result<bool, GitError> {
        let candidate = |cut: lockstep_domain::branch::Cut| cut.label.is_some() && cut.line != Line::Free;
        if !self.world.branches.resolve(&open.version.branch).is_ok_and(candidate) {
            return Ok(false);
        }
        let in_release = since.map_or(Ok(false), |since| self.mirror.contains(since, &open.commit))?;
        if in_release || !self.mirror.has(&open.commit)? {
            return Ok(false);
        }
        if self.mirror.contains(self.commit, &open.commit)? {
            return Ok(!self.mirror.own_line(self.commit, since)?.contains(&open.commit));
        }
        Ok(self.mirror.missing(self.commit, &open.commit, self.scope)?.is_empty())
    }
}
