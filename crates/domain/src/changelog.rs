//! The changelog of a version: its commits sorted into features, fixes, optimisations and breaking changes.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commits::{Change, ChangeKind, Commit, History, counted};
use crate::time::Timestamp;

/// Most entries kept of one version: more than a person reads, and the repository has the rest.
pub const MAX_CHANGELOG_ENTRIES: usize = 500;
/// Characters of a commit's hash that are shown.
const SHORT_ID: usize = 8;

/// What changed between two versions, newest first in each list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Changelog {
    /// What no longer works as before. Such a change is also in the list of its kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaking: Vec<ChangelogEntry>,
    /// What it does more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<ChangelogEntry>,
    /// What it does as it should now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<ChangelogEntry>,
    /// What it does faster or with less.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optimisations: Vec<ChangelogEntry>,
    /// Everything else except merges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<ChangelogEntry>,
    /// Commits older than [`MAX_CHANGELOG_ENTRIES`] others, which are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangelogEntry {
    /// The part of the service it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What it does, on one line.
    pub text: String,
    /// The hash of its commit.
    pub commit: String,
    /// When it was committed; missing where nobody knows, as in what an older release recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Changelog {
    /// Sorts commits into a changelog. Commits that were taken back again are not in it.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut changelog = Self::default();
        let counted = counted(history);
        for one in counted.iter().rev().take(MAX_CHANGELOG_ENTRIES) {
            for change in &one.changes {
                changelog.add(one.commit, change.clone());
            }
        }
        changelog.omitted = counted.len().saturating_sub(MAX_CHANGELOG_ENTRIES) as u64;
        changelog
    }

    fn add(&mut self, commit: &Commit, change: Change) {
        let Change { kind, scope, text, breaking } = change;
        let entry =
            |text| ChangelogEntry { scope: scope.clone(), text, commit: commit.id.clone(), at: commit.at };
        if let Some(breaking) = breaking {
            self.breaking.push(entry(breaking));
        }
        match kind {
            ChangeKind::Feature => self.features.push(entry(text)),
            ChangeKind::Fix => self.fixes.push(entry(text)),
            ChangeKind::Optimisation => self.optimisations.push(entry(text)),
            ChangeKind::Upkeep | ChangeKind::Other => self.other.push(entry(text)),
            ChangeKind::Merge => {}
        }
    }

    /// Tells whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections().iter().all(|(_, entries)| entries.is_empty())
    }

    /// Returns the lists with their headings, the most important first.
    #[must_use]
    pub fn sections(&self) -> [(&'static str, &[ChangelogEntry]); 5] {
        [
            ("Breaking changes", &self.breaking),
            ("Features", &self.features),
            ("Fixes", &self.fixes),
            ("Optimisations", &self.optimisations),
            ("Other", &self.other),
        ]
    }

    /// Writes it as Markdown: a heading of the third level and a list for each section that has entries.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        for (heading, entries) in self.sections().into_iter().filter(|(_, entries)| !entries.is_empty()) {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}### {heading}\n");
            entries.iter().for_each(|entry| entry.write_markdown(&mut out));
        }
        if self.omitted > 0 {
            let _ = writeln!(out, "\n{} older commits are not listed.", self.omitted);
        }
        out
    }
}

impl ChangelogEntry {
    fn write_markdown(&self, out: &mut String) {
        let scope = self.scope.as_ref().map(|scope| format!("**{scope}:** ")).unwrap_or_default();
        let id: String = self.commit.chars().take(SHORT_ID).collect();
        let _ = writeln!(out, "- {scope}{} ({id})", self.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(messages: &[&str]) -> History {
        let commit = |(n, message): (usize, &&str)| Commit {
            id: format!("{n:040x}"),
            message: (*message).into(),
            at: None,
        };
        messages.iter().enumerate().map(commit).collect::<Vec<_>>().into()
    }

    #[test]
    fn commits_are_sorted_newest_first() {
        let changelog = Changelog::of(&commits(&[
            "feat: one",
            "fix(api): two",
            "Merge branch 'x'",
            "feat(cart)!: three",
            "perf: four",
            "docs: five",
        ]));
        assert_eq!(
            changelog.to_markdown(),
            "### Breaking changes\n\n- **cart:** three (00000000)\n\n\
             ### Features\n\n- **cart:** three (00000000)\n- one (00000000)\n\n\
             ### Fixes\n\n- **api:** two (00000000)\n\n\
             ### Optimisations\n\n- four (00000000)\n\n\
             ### Other\n\n- five (00000000)\n"
        );
    }

    #[test]
    fn a_changelog_is_bounded_and_says_so() {
        let changelog = Changelog::of(&commits(&["fix: x"; MAX_CHANGELOG_ENTRIES + 7]));
        assert_eq!((changelog.fixes.len(), changelog.omitted), (MAX_CHANGELOG_ENTRIES, 7));
        assert!(changelog.to_markdown().ends_with("\n7 older commits are not listed.\n"));
    }

    #[test]
    fn an_empty_changelog_is_empty_in_every_form() {
        let changelog = Changelog::of(&commits(&["Merge branch 'x'"]));
        assert!(changelog.is_empty());
        assert_eq!(changelog.to_markdown(), "");
        assert_eq!(serde_json::to_string(&changelog).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Changelog>("{}").unwrap(), changelog);
    }
}
