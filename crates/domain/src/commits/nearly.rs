//! Messages that nearly follow the convention: what somebody surely meant, and what to write instead.
//!
//! A subject that says in so many words that something breaks is believed although its form is wrong: a number that grows too
//! much hurts nobody.

use super::standing::{Counted, History, counted};
use super::{ChangeKind, kind_of, one_line, read_convention, subject_of};

/// Most remarks of one release; a release whose commits are all worded wrongly needs only to be told so.
const MAX_REMARKS: usize = 5;
/// Types that make it plain that a convention was meant.
const TYPES: [&str; 24] = [
    "feat",
    "feature",
    "fix",
    "bugfix",
    "hotfix",
    "perf",
    "performance",
    "refactor",
    "build",
    "docs",
    "doc",
    "test",
    "tests",
    "ci",
    "chore",
    "style",
    "revert",
    "breaking",
    "breaking change",
    "breaking-change",
    "breaking changes",
    "break",
    "major",
    "deps",
];

/// What a subject means that is not written as the convention has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nearly<'m> {
    pub(super) kind: ChangeKind,
    pub(super) scope: Option<&'m str>,
    pub(super) breaks: bool,
    pub(super) text: &'m str,
    /// What to write instead.
    pub(super) right: String,
}

/// Reads `feat!(api): x`, `feat (api): x`, `[feat] x`, `BREAKING CHANGE: x` and the like.
pub(super) fn nearly(subject: &str) -> Option<Nearly<'_>> {
    if read_convention(subject).is_some_and(|(kind, ..)| kind != ChangeKind::Other) {
        return None;
    }
    let (head, text) = match subject.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(head, text)| (head, text.trim_start_matches(':')))?,
        None => subject.split_once(':')?,
    };
    let text = text.trim();
    let breaks = head.contains('!');
    let (word, scope) = match head.split_once('(') {
        Some((word, rest)) => (word, rest.split_once(')').map(|(scope, _)| scope.trim())),
        None => (head, None),
    };
    let word = word.replace('!', "").trim().to_ascii_lowercase();
    if text.is_empty()
        || !TYPES.contains(&word.as_str())
        || read_convention(subject).is_some() && !word.starts_with("break") && word != "major"
    {
        return None;
    }
    let says_break = word.starts_with("break") || word == "major";
    let (kind, shown) =
        if says_break { (ChangeKind::Other, "feat") } else { (kind_of(&word), word.as_str()) };
    let breaks = breaks || says_break;
    let scope = scope.filter(|scope| !scope.is_empty());
    let in_brackets = scope.map(|scope| format!("({scope})")).unwrap_or_default();
    let right = format!("{shown}{in_brackets}{}: {text}", if breaks { "!" } else { "" });
    Some(Nearly { kind, scope, breaks, text, right })
}

/// Says what a person should know of the wording of commits: which nearly follow the convention, and which take back what is
/// released.
#[must_use]
pub fn remarks(history: &History) -> Vec<String> {
    let counted = counted(history);
    let mut all: Vec<_> = counted.iter().rev().flat_map(remarks_of).collect();
    let more = all.len().saturating_sub(MAX_REMARKS);
    all.truncate(MAX_REMARKS);
    if more > 0 {
        all.push(format!("{more} more commits are worded in such a way"));
    }
    all
}

fn remarks_of(counted: &Counted<'_>) -> Vec<String> {
    let commit = counted.commit;
    let id: String = commit.id.chars().take(8).collect();
    let subject = subject_of(&commit.message);
    let shown = one_line(subject);
    let form = nearly(subject).map(|nearly| {
        let counts =
            if nearly.breaks { "it counts as a breaking change" } else { "it counts as an ordinary change" };
        format!(
            "commit {id} nearly follows the convention, and {counts}: `{shown}`; write `{}`",
            one_line(&nearly.right)
        )
    });
    let footer = nearly_footer(&commit.message).map(|line| {
        format!("commit {id} does not count as a breaking change: `{line}`; write the footer `BREAKING CHANGE: text`")
    });
    let back = counted.takes_back_released.then(|| {
        format!("commit {id} takes back what is released, which counts as an ordinary change: `{shown}`; where others rely on it, release with --bump major")
    });
    form.into_iter().chain(footer).chain(back).collect()
}

/// Finds a line that was meant as the footer for a breaking change.
fn nearly_footer(message: &str) -> Option<String> {
    if super::breaking_footer(message).is_some() {
        return None;
    }
    let is_meant = |line: &&str| {
        let words = line.to_ascii_lowercase().replace(['-', '_'], " ");
        ["breaking change:", "breaking changes:", "breaking:"].iter().any(|start| words.starts_with(start))
            || line.starts_with("BREAKING CHANGE ")
            || line.starts_with("BREAKING CHANGES ")
    };
    message.trim_start().lines().skip(1).map(str::trim).find(is_meant).map(one_line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commits::{Bump, Commit, bump_owed};

    fn history(message: &str) -> History {
        History::from(vec![Commit { id: "a".repeat(40), message: message.into(), at: None }])
    }

    #[test]
    fn what_somebody_surely_meant_is_told_with_the_right_form() {
        let cases = [
            ("feat!(api): x", Bump::Major, "feat(api)!: x"),
            ("BREAKING CHANGE: x", Bump::Major, "feat!: x"),
            ("breaking: x", Bump::Major, "feat!: x"),
            ("BREAKING CHANGE(api): x", Bump::Major, "feat(api)!: x"),
            ("feat (api): x", Bump::Patch, "feat(api): x"),
            ("feat(api) !: x", Bump::Major, "feat(api)!: x"),
            ("[feat] x", Bump::Patch, "feat: x"),
            ("fix: x\n\nbreaking change: y", Bump::Patch, "BREAKING CHANGE: text"),
            ("fix: x\n\nBREAKING CHANGE y", Bump::Patch, "BREAKING CHANGE: text"),
        ];
        for (message, owed, right) in cases {
            let history = history(message);
            assert_eq!(bump_owed(&history), owed, "{message}");
            let remarks = remarks(&history);
            assert!(
                remarks.len() == 1 && remarks[0].contains(&format!("`{right}`")),
                "{message}: {remarks:?}"
            );
        }
    }

    #[test]
    fn what_follows_the_convention_or_none_is_left_alone() {
        for message in [
            "feat(api)!: x",
            "refactor(api): x",
            "build(deps): bump a",
            "whatever: it is",
            "Add [feat] to the list",
            "see http://example.org",
            "fix: x\n\nnothing breaking changes here",
            "feat!: x\n\nBREAKING CHANGE: y",
            "Merge branch 'feat!: x'",
            "revert: x",
        ] {
            assert_eq!(remarks(&history(message)), Vec::<String>::new(), "{message}");
        }
    }

    #[test]
    fn remarks_are_bounded() {
        let commit = |n: usize| Commit { id: format!("{n:040}"), message: "feat (x): y".into(), at: None };
        let all = remarks(&History::from((0..9).map(commit).collect::<Vec<_>>()));
        assert_eq!((all.len(), all[5].as_str()), (6, "4 more commits are worded in such a way"));
    }
}
