//! Branch strategy as data: which branch may cut which kind of version, and the number that comes next.
//!
//! Invariant: a number given here was never given before, and is higher than all of its line.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::commits::Bump;
use crate::name::StageName;
use crate::version::VersionNumber;

mod number;

pub use number::{
    NextNumber, NumberingError, Shortfall, chosen_number, newest_release, next_number, shortfall, softened,
};

/// Longest label made of a branch name.
pub const MAX_LABEL_LENGTH: usize = 40;
/// Most rules of a policy.
pub const MAX_BRANCH_RULES: usize = 64;

/// Which branch may cut which kind of version. The first rule that matches counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchPolicy {
    /// The rules.
    pub rules: Vec<BranchRule>,
}

/// What branches of one pattern may cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchRule {
    /// Which branches.
    pub pattern: BranchPattern,
    /// What they cut.
    pub cuts: Cuts,
    /// The last stage that such a version may enter; `None` sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<StageName>,
}

/// The kind of version that a branch cuts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cuts {
    /// `1.5.0`.
    Release,
    /// `1.5.0-rc.N`. What `*` stands for in the pattern gives the numbers before: `release/1.5` cuts `1.5.x-rc.N`.
    Candidate {
        /// The part before the counter, such as `rc`.
        label: Label,
    },
    /// `1.5.0-login.N`, with what `*` stands for as the label.
    Feature,
}

/// The first identifier of a pre-release: a-z, 0-9 and `-`, not only digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Label(String);

/// A branch name in which at most one `*` stands for any text that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct BranchPattern(String);

/// Why a branch may not cut a version, or a part of a policy is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BranchError {
    /// No rule matches.
    #[error("no rule lets branch `{branch}` cut a version; there are rules for {patterns}")]
    NoRule {
        /// The branch.
        branch: String,
        /// The patterns that there are.
        patterns: String,
    },
    /// The branch must name numbers, and does not.
    #[error("branch `{branch}` must say which numbers it leads to, as `{example}` does")]
    NoNumbers {
        /// The branch.
        branch: String,
        /// A name that does.
        example: String,
    },
    /// Not a pattern.
    #[error("`{0}` is not a branch pattern: a branch name with at most one `*`")]
    Pattern(String),
    /// Not a label.
    #[error("`{0}` is not a label: a-z, 0-9 and - are allowed, not only digits, at most {MAX_LABEL_LENGTH}")]
    Label(String),
}

/// What a certain branch may cut, found by [`BranchPolicy::resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The branch.
    pub branch: String,
    /// The line of numbers that it goes on with.
    pub line: Line,
    /// The label of a pre-release; `None` for a release.
    pub label: Option<Label>,
    /// The last stage that the version may enter; `None` sets no limit.
    pub reach: Option<StageName>,
}

/// The numbers that a branch is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// None: it goes on from the newest release of all.
    Free,
    /// The first number.
    Major(u64),
    /// The first two numbers.
    Minor(u64, u64),
    /// All three numbers.
    Patch(u64, u64, u64),
}

impl Default for BranchPolicy {
    /// `main` and `master` cut releases, `hotfix/1.5` those of its line, `release/1.5` cuts `1.5.x-rc.N`, `feature/login` cuts `1.5.0-login.N` for
    /// development environments only.
    fn default() -> Self {
        let rule = |pattern: &str, cuts, reach: Option<&str>| BranchRule {
            pattern: pattern.parse().expect("the default patterns are valid"),
            cuts,
            reach: reach.map(|stage| stage.parse().expect("the default stages are names")),
        };
        Self {
            rules: vec![
                rule("main", Cuts::Release, None),
                rule("master", Cuts::Release, None),
                rule("hotfix/*", Cuts::Release, None),
                rule("release/*", Cuts::Candidate { label: Label("rc".into()) }, Some("pre-release")),
                rule("feature/*", Cuts::Feature, Some("development")),
            ],
        }
    }
}

impl BranchPolicy {
    /// Finds what a branch may cut.
    ///
    /// # Errors
    /// When no rule matches, or the branch's name must say numbers and does not.
    pub fn resolve(&self, branch: &str) -> Result<Cut, BranchError> {
        let found = self.rules.iter().find_map(|rule| Some((rule, rule.pattern.capture(branch)?)));
        let (rule, capture) = found.ok_or_else(|| self.no_rule(branch))?;
        let (line, label) = match &rule.cuts {
            Cuts::Release => (line_of(rule, branch, capture)?, None),
            Cuts::Candidate { label } => (line_of(rule, branch, capture)?, Some(label.clone())),
            Cuts::Feature => (Line::Free, Some(self.feature_label(capture.unwrap_or(branch)))),
        };
        Ok(Cut { branch: branch.to_owned(), line, label, reach: rule.reach.clone() })
    }

    fn no_rule(&self, branch: &str) -> BranchError {
        let patterns: Vec<_> = self.rules.iter().map(|rule| format!("`{}`", rule.pattern)).collect();
        let patterns = if patterns.is_empty() { "no branch at all".into() } else { patterns.join(", ") };
        BranchError::NoRule { branch: branch.chars().take(200).collect(), patterns }
    }

    /// Makes a label of a branch name; one that a rule uses for candidates gets a word in front.
    fn feature_label(&self, name: &str) -> Label {
        let label = Label::from_branch(name);
        let taken = self
            .rules
            .iter()
            .any(|rule| matches!(&rule.cuts, Cuts::Candidate { label: other } if *other == label));
        if taken { Label(format!("branch-{label}")) } else { label }
    }
}

fn line_of(rule: &BranchRule, branch: &str, capture: Option<&str>) -> Result<Line, BranchError> {
    let Some(capture) = capture else { return Ok(Line::Free) };
    Line::parse(capture).ok_or_else(|| BranchError::NoNumbers {
        branch: branch.chars().take(200).collect(),
        example: rule.pattern.0.replacen('*', "1.5", 1),
    })
}

impl Line {
    /// Reads `1`, `1.5`, `1.5.2`, each with or without `v` in front and `.x` at the end.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.strip_suffix(".x").unwrap_or(text);
        let numbers: Vec<u64> = text.split('.').map(number_of).collect::<Option<_>>()?;
        match numbers[..] {
            [major] => Some(Self::Major(major)),
            [major, minor] => Some(Self::Minor(major, minor)),
            [major, minor, patch] => Some(Self::Patch(major, minor, patch)),
            _ => None,
        }
    }

    /// Tells whether a number belongs to the line.
    #[must_use]
    pub fn contains(self, number: &VersionNumber) -> bool {
        match self {
            Self::Free => true,
            Self::Major(major) => number.major() == major,
            Self::Minor(major, minor) => (number.major(), number.minor()) == (major, minor),
            Self::Patch(major, minor, patch) => {
                (number.major(), number.minor(), number.patch()) == (major, minor, patch)
            }
        }
    }

    /// Tells whether a number lies above all of the line.
    #[must_use]
    pub fn is_below(self, number: &VersionNumber) -> bool {
        self.first().is_some_and(|first| *number > first) && !self.contains(number)
    }

    /// Returns the lowest release of the line; `None` when it is free.
    const fn first(self) -> Option<VersionNumber> {
        match self {
            Self::Free => None,
            Self::Major(major) => Some(VersionNumber::new(major, 0, 0)),
            Self::Minor(major, minor) => Some(VersionNumber::new(major, minor, 0)),
            Self::Patch(major, minor, patch) => Some(VersionNumber::new(major, minor, patch)),
        }
    }

    /// Returns the largest bump that stays within the line.
    const fn largest_bump(self) -> Bump {
        match self {
            Self::Free => Bump::Major,
            Self::Major(_) => Bump::Minor,
            Self::Minor(..) => Bump::Patch,
            Self::Patch(..) => Bump::None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("*"),
            Self::Major(major) => write!(f, "{major}.*"),
            Self::Minor(major, minor) => write!(f, "{major}.{minor}.*"),
            Self::Patch(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

/// Reads a number as SemVer has it: digits without a zero in front.
fn number_of(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let zero_in_front = text.len() > 1 && text.starts_with('0');
    if digits && !zero_in_front { text.parse().ok() } else { None }
}

impl Label {
    /// Returns the label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a label of any branch name, with the letters of other alphabets in those that labels have.
    fn from_branch(name: &str) -> Self {
        let mut label = String::new();
        for c in deunicode::deunicode(name).chars().map(|c| c.to_ascii_lowercase()) {
            if c.is_ascii_alphanumeric() {
                label.push(c);
            } else if !label.ends_with('-') {
                label.push('-');
            }
        }
        let label: String = label.trim_matches('-').chars().take(MAX_LABEL_LENGTH).collect();
        match label.trim_end_matches('-') {
            "" => Self("branch".into()),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Self(format!("branch-{digits}")),
            label => Self(label.into()),
        }
    }
}

impl FromStr for Label {
    type Err = BranchError;

    fn from_str(text: &str) -> Result<Self, BranchError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let only_digits = text.bytes().all(|b| b.is_ascii_digit());
        if !only_digits && text.len() <= MAX_LABEL_LENGTH && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BranchError::Label(text.chars().take(80).collect()))
        }
    }
}

impl BranchPattern {
    /// Returns what `*` stands for when the branch matches: `Some(None)` when there is no `*`.
    pub(crate) fn capture<'b>(&self, branch: &'b str) -> Option<Option<&'b str>> {
        match self.0.split_once('*') {
            None => (branch == self.0).then_some(None),
            Some((before, after)) => {
                let rest = branch.strip_prefix(before)?.strip_suffix(after)?;
                (!rest.is_empty()).then_some(Some(rest))
            }
        }
    }
}

impl FromStr for BranchPattern {
    type Err = BranchError;

    fn from_str(text: &str) -> Result<Self, BranchError> {
        let stars = text.matches('*').count();
        let clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if !text.is_empty() && text.len() <= 200 && stars <= 1 && clean {
            Ok(Self(text.into()))
        } else {
            Err(BranchError::Pattern(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for BranchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

as_text!(Label);
as_text!(BranchPattern);

#[cfg(test)]
mod tests;
