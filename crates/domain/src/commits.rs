//! Conventional Commits: what a commit message says about a change, and the bump that it owes.
//!
//! Any text is accepted: what does not follow the convention counts as an ordinary change, because nobody knows what
//! it does.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

mod nearly;
mod reverts;
mod standing;

pub use nearly::remarks;
pub use standing::{Counted, History, Other, Standing, bump_owed, counted, named_by, takes_back};

/// Longest text kept of a change, in characters; the commit has the rest.
pub const MAX_CHANGE_TEXT: usize = 500;

/// How the subjects of merges begin, in the words of git and of forges.
const MERGES: [&str; 9] = [
    "Merge branch ",
    "Merge branches ",
    "Merge commit ",
    "Merge commits ",
    "Merge pull request ",
    "Merge remote-tracking branch ",
    "Merge remote-tracking branches ",
    "Merge tag ",
    "Merged in ",
];

/// How much a version number must grow.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Bump {
    /// Nothing that runs changed.
    #[default]
    None,
    /// The third number: it does the same, better.
    Patch,
    /// The second number: it does more.
    Minor,
    /// The first number: something that worked with it may not any longer.
    Major,
}

impl fmt::Display for Bump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        })
    }
}

/// A commit as the repository has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Its hash in hexadecimal.
    pub id: String,
    /// Its whole message: subject, body and footers.
    pub message: String,
    /// When it was committed, by the clock of who did; missing where that is no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What a commit does, as its message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The kind of change.
    pub kind: ChangeKind,
    /// The part of the service it is about.
    pub scope: Option<String>,
    /// What it does, at most [`MAX_CHANGE_TEXT`] characters on one line.
    pub text: String,
    /// What no longer works as before, when it says that something does not.
    pub breaking: Option<String>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// `feat`: it does more.
    Feature,
    /// `fix`: it does what it should.
    Fix,
    /// `perf`: it does it faster or with less.
    Optimisation,
    /// `docs`, `test`, `ci`, `chore`, `style`: nothing that runs changed.
    Upkeep,
    /// Two lines of development were joined; what came in has commits of its own.
    Merge,
    /// Everything else: `refactor`, `build`, reverts, and messages that follow no convention.
    Other,
}

impl Commit {
    /// Reads what the message says.
    #[must_use]
    pub fn change(&self) -> Change {
        Change::of(&self.message)
    }
}

impl Change {
    /// Reads what a message says.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let (kind, scope, breaks, text) = read_subject(subject_of(message));
        let breaking = breaking_footer(message).or_else(|| breaks.then(|| text.to_owned()));
        Self {
            kind,
            scope: scope.map(one_line),
            text: one_line(text),
            breaking: breaking.as_deref().map(one_line),
        }
    }

    /// Returns how much the number must grow for this change.
    #[must_use]
    pub const fn bump(&self) -> Bump {
        match self.kind {
            _ if self.breaking.is_some() => Bump::Major,
            ChangeKind::Feature => Bump::Minor,
            ChangeKind::Upkeep | ChangeKind::Merge => Bump::None,
            ChangeKind::Fix | ChangeKind::Optimisation | ChangeKind::Other => Bump::Patch,
        }
    }
}

/// The first line of a message that says something.
fn subject_of(message: &str) -> &str {
    message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Reads `type(scope)!: text`; a subject of another form is all text, unless it says that something breaks.
fn read_subject(subject: &str) -> (ChangeKind, Option<&str>, bool, &str) {
    if MERGES.iter().any(|words| subject.starts_with(words)) {
        return (ChangeKind::Merge, None, false, subject);
    }
    let nearly = nearly::nearly(subject).filter(|nearly| nearly.breaks);
    let meant = nearly.map(|nearly| (nearly.kind, nearly.scope, true, nearly.text));
    meant.or_else(|| read_convention(subject)).unwrap_or((ChangeKind::Other, None, false, subject))
}

fn read_convention(subject: &str) -> Option<(ChangeKind, Option<&str>, bool, &str)> {
    let (head, text) = subject.split_once(':')?;
    let (head, breaks) = head.strip_suffix('!').map_or((head, false), |head| (head, true));
    let (word, scope) = match head.split_once('(') {
        Some((word, scope)) => (word, Some(scope.strip_suffix(')')?.trim())),
        None => (head, None),
    };
    let is_word =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let (kind, text) = (kind_of(word), text.trim());
    (is_word && !text.is_empty()).then_some((kind, scope.filter(|scope| !scope.is_empty()), breaks, text))
}

fn kind_of(word: &str) -> ChangeKind {
    match word.to_ascii_lowercase().as_str() {
        "feat" | "feature" => ChangeKind::Feature,
        "fix" | "bugfix" | "hotfix" => ChangeKind::Fix,
        "perf" | "performance" => ChangeKind::Optimisation,
        "docs" | "doc" | "test" | "tests" | "ci" | "chore" | "style" => ChangeKind::Upkeep,
        "merge" => ChangeKind::Merge,
        _ => ChangeKind::Other,
    }
}

/// Finds `BREAKING CHANGE: text` below the subject, with the lines that go on from it.
fn breaking_footer(message: &str) -> Option<String> {
    let mut lines = message.lines().skip(1).map(str::trim);
    let first = lines.find_map(|line| {
        let token = ["BREAKING CHANGE:", "BREAKING-CHANGE:"];
        token.iter().find_map(|token| line.strip_prefix(token))
    })?;
    let more = lines.take_while(|line| !line.is_empty() && !is_footer(line));
    let text = std::iter::once(first.trim()).chain(more).collect::<Vec<_>>().join(" ");
    Some(if text.is_empty() { "not described".to_owned() } else { text })
}

/// Tells whether a line is a footer such as `Reviewed-by: Z` or `Closes #3`.
fn is_footer(line: &str) -> bool {
    let token = |head: &str| !head.is_empty() && head.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    line.starts_with("BREAKING CHANGE:")
        || line.split_once(": ").or_else(|| line.split_once(" #")).is_some_and(|(head, _)| token(head))
}

fn one_line(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_CHANGE_TEXT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commit(id: &str, message: &str) -> Commit {
        Commit { id: id.repeat(8), message: message.into(), at: None }
    }

    fn read(message: &str) -> Change {
        commit("a", message).change()
    }

    #[test]
    fn subjects_are_read() {
        let cases = [
            ("feat: pay by card", ChangeKind::Feature, None, "pay by card"),
            ("Fix(api): close the socket ", ChangeKind::Fix, Some("api"), "close the socket"),
            ("perf(db):skip a scan", ChangeKind::Optimisation, Some("db"), "skip a scan"),
            ("docs: typo", ChangeKind::Upkeep, None, "typo"),
            ("refactor(): move", ChangeKind::Other, None, "move"),
            ("Merge branch 'x' of y: z", ChangeKind::Merge, None, "Merge branch 'x' of y: z"),
            ("Merge the carts of a user", ChangeKind::Other, None, "Merge the carts of a user"),
            ("Revert \"feat: x\"", ChangeKind::Other, None, "Revert \"feat: x\""),
            ("see http://example.org", ChangeKind::Other, None, "see http://example.org"),
            ("feat:", ChangeKind::Other, None, "feat:"),
            ("\n\nhello\n", ChangeKind::Other, None, "hello"),
            ("", ChangeKind::Other, None, ""),
        ];
        for (message, kind, scope, text) in cases {
            let change = read(message);
            let found = (change.kind, change.scope.as_deref(), change.text.as_str(), change.breaking);
            assert_eq!(found, (kind, scope, text, None), "{message}");
        }
    }

    #[test]
    fn breaking_changes_are_found_by_mark_and_by_footer() {
        let breaking = |message| read(message).breaking;
        assert_eq!(breaking("feat(api)!: drop v1").as_deref(), Some("drop v1"));
        assert_eq!(breaking("chore!: new floor").as_deref(), Some("new floor"));
        let footer = "fix: x\n\nwhy\n\nBREAKING CHANGE: prices are in cents\nand never empty\nReviewed-by: Z";
        assert_eq!(breaking(footer).as_deref(), Some("prices are in cents and never empty"));
        assert_eq!(breaking("fix!: x\n\nBREAKING-CHANGE: y").as_deref(), Some("y"));
        assert_eq!(breaking("fix: x\n\nBREAKING CHANGE:").as_deref(), Some("not described"));
        assert_eq!(breaking("fix: a BREAKING CHANGE: is not here"), None);
        assert_eq!(breaking("fix: x\n\nbreaking change: lower case"), None);
    }

    #[test]
    fn the_largest_change_decides_the_bump() {
        let owed = |messages: &[&str]| {
            bump_owed(&History::from(messages.iter().map(|message| commit("a", message)).collect::<Vec<_>>()))
        };
        assert_eq!(owed(&[]), Bump::None);
        assert_eq!(owed(&["docs: x", "Merge branch 'y'"]), Bump::None);
        assert_eq!(owed(&["docs: x", "whatever"]), Bump::Patch);
        assert_eq!(owed(&["fix: x", "feat: y", "perf: z"]), Bump::Minor);
        assert_eq!(owed(&["feat: y", "chore!: x"]), Bump::Major);
    }

    proptest! {
        #[test]
        fn any_message_is_read(message in any::<String>(), tail in "(feat|x)?(\\(.{0,5}\\))?!?:.{0,20}\n.{0,20}") {
            for text in [format!("{message}{tail}"), format!("{tail}\nBREAKING CHANGE: {message}"), message] {
                let change = read(&text);
                prop_assert!(change.text.chars().count() <= MAX_CHANGE_TEXT);
                prop_assert!(!change.text.contains(char::is_control));
                prop_assert_eq!(change.bump() == Bump::Major, change.breaking.is_some());
            }
        }
    }
}
