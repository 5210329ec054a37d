//! The words every contract format speaks: rules, changes, findings, verdicts and reports.
//!
//! A format module turns two [`Source`](crate::Source)s into two [`Findings`], one for each direction; this module
//! judges them. It knows nothing of any format. Invariant: a report whose comparison left something undecided is never
//! [`Verdict::Compatible`].

use std::fmt;

use jiff::civil::Date;
pub use lockstep_domain::commits::Bump;
pub use lockstep_domain::contract::{ContractKind as Kind, Verdict};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::trial::Trial;

/// How much a change hurts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nobody breaks.
    Info,
    /// Somebody may notice; nobody breaks by the letter of the contract.
    Warning,
    /// A consumer that kept to the old contract breaks.
    Error,
}

/// Which stream of documents a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// The consumer writes, the provider reads.
    Request,
    /// The provider writes, the consumer reads.
    Response,
    /// A message on a topic, or a message type whose direction is not known.
    Message,
    /// Rows in a database.
    Storage,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word used in JSON, on the command line and in documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words!(Level { Info => "info", Warning => "warning", Error => "error" });
words!(Flow { Request => "request", Response => "response", Message => "message", Storage => "storage" });

/// One kind of change a format knows, as data: what `contract rules` lists and explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Unique over all formats, kebab case, stable: acceptances name it.
    pub id: &'static str,
    /// The format it belongs to.
    pub kind: Kind,
    /// How much such a change hurts, unless a policy says otherwise.
    pub level: Level,
    /// The flow such a change concerns, unless the place says otherwise.
    pub flow: Flow,
    /// What such a change owes.
    pub bump: Bump,
    /// One line: what changed.
    pub summary: &'static str,
    /// A few sentences: why it breaks, whom, and what to do instead.
    pub explanation: &'static str,
    /// A small before and after.
    pub example: &'static str,
}

/// A line in a file of a contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The path of the file, as the [`Source`](crate::Source) names it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// One difference between two contracts.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// How much it hurts; the rule's level unless a policy or the place says otherwise.
    pub level: Level,
    /// The flow it concerns.
    pub flow: Flow,
    /// What it owes.
    pub bump: Bump,
    /// Where: a JSON pointer or a symbol, the same in every file layout of the contract.
    pub place: String,
    /// Where in the old contract, when it is there.
    pub old: Option<Location>,
    /// Where in the new contract, when it is there.
    pub new: Option<Location>,
    /// What changed and whom it breaks, for a person.
    pub message: String,
    /// A concrete document that was fine and now fails, as far as the comparison knows; [`Change::shown`] is for people.
    pub witness: Option<serde_json::Value>,
    /// Set when the team has accepted this break.
    pub accepted: Option<Accepted>,
    /// Whether the witness has been run.
    pub(crate) trial: Trial,
}

impl Change {
    /// A change of `rule` at `place`, at the rule's own level, flow and bump.
    pub fn new(rule: &'static Rule, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule,
            level: rule.level,
            flow: rule.flow,
            bump: rule.bump,
            place: place.into(),
            old: None,
            new: None,
            message: message.into(),
            witness: None,
            accepted: None,
            trial: Trial::default(),
        }
    }

    /// Sets where the change is in both contracts.
    #[must_use]
    pub fn at(mut self, old: Option<Location>, new: Option<Location>) -> Self {
        self.old = old;
        self.new = new;
        self
    }

    /// Sets the flow where the place, and not the rule, decides it.
    #[must_use]
    pub fn in_flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// Sets level and bump where a policy, and not the rule, decides them.
    #[must_use]
    pub fn weighing(mut self, level: Level, bump: Bump) -> Self {
        self.level = level;
        self.bump = bump;
        self
    }

    /// Adds a document that was fine and now fails.
    #[must_use]
    pub fn with_witness(mut self, witness: Option<serde_json::Value>) -> Self {
        self.witness = witness;
        self
    }

    /// The witness, once [`Report::run_witnesses`] has run it: what is not run is not shown.
    #[must_use]
    pub fn shown(&self) -> Option<&serde_json::Value> {
        self.witness.as_ref().filter(|_| self.trial == Trial::Run)
    }

    /// True when this change makes the verdict `breaking`.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.level == Level::Error && self.accepted.is_none()
    }

    /// What this change adds to the bump of the whole report: an accepted break owes no more than a minor one.
    #[must_use]
    pub fn owed(&self) -> Bump {
        if self.accepted.is_some() { self.bump.min(Bump::Minor) } else { self.bump }
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = if self.accepted.is_some() { 9 } else { 8 };
        let mut state = serializer.serialize_struct("Change", fields)?;
        state.serialize_field("rule", self.rule.id)?;
        state.serialize_field("level", &self.level)?;
        state.serialize_field("flow", &self.flow)?;
        state.serialize_field("place", &self.place)?;
        state.serialize_field("old", &self.old)?;
        state.serialize_field("new", &self.new)?;
        state.serialize_field("message", &self.message)?;
        state.serialize_field("witness", &self.shown())?;
        if let Some(accepted) = &self.accepted {
            state.serialize_field("accepted", accepted)?;
        }
        state.end()
    }
}

/// Something that could not be decided; it keeps the verdict from being `compatible`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NotChecked {
    /// Where: a JSON pointer or a symbol.
    pub place: String,
    /// What could not be decided, and why.
    pub reason: String,
    /// Where in the old contract, when it is there.
    pub old: Option<Location>,
    /// Where in the new contract, when it is there.
    pub new: Option<Location>,
}

/// What one direction of a comparison found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The differences, the worst first once judged.
    pub changes: Vec<Change>,
    /// What could not be decided.
    pub not_checked: Vec<NotChecked>,
}

impl Findings {
    /// True when every consumer of the older side fits the newer side, and this is proved.
    #[must_use]
    pub fn safe(&self) -> bool {
        self.not_checked.is_empty() && !self.changes.iter().any(Change::breaks)
    }

    /// The verdict of this direction.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.changes.iter().any(Change::breaks) {
            Verdict::Breaking
        } else if self.not_checked.is_empty() {
            Verdict::Compatible
        } else {
            Verdict::NotChecked
        }
    }

    /// Findings of new to old, turned round so that old is the old contract.
    pub(crate) fn turned(mut self) -> Self {
        self.changes.iter_mut().for_each(|change| std::mem::swap(&mut change.old, &mut change.new));
        self.not_checked.iter_mut().for_each(|open| std::mem::swap(&mut open.old, &mut open.new));
        self
    }

    pub(crate) fn settle(mut self, acceptances: &[Acceptance], today: Option<Date>) -> Self {
        for change in self.changes.iter_mut().filter(|change| change.level == Level::Error) {
            change.accepted = acceptances
                .iter()
                .find(|acceptance| acceptance.covers(change, today))
                .map(|acceptance| Accepted { reason: acceptance.reason.clone(), until: acceptance.until });
        }
        self.changes.sort_by(|a, b| {
            (b.level, &a.place, a.rule.id, &a.message).cmp(&(a.level, &b.place, b.rule.id, &b.message))
        });
        self.not_checked.sort();
        self.not_checked.dedup();
        self
    }
}

/// What a format module returns: the same pair judged both ways.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Old to new: may the new version be deployed among consumers of the old one?
    pub deploy: Findings,
    /// New to old: may the old version come back among consumers of the new one? Places are told as in the other
    /// direction: old is in the old contract.
    pub roll_back: Findings,
}

/// A break the team has agreed to, from `[[contract.accept]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The id of the rule.
    pub rule: String,
    /// The place of the change, exactly.
    pub place: String,
    /// Why it was accepted.
    pub reason: String,
    /// The last day on which it counts.
    pub until: Option<Date>,
}

impl Acceptance {
    /// True when this acceptance speaks of `change` and has not run out on `today`. With no date given, only an
    /// acceptance without an end counts.
    #[must_use]
    pub fn covers(&self, change: &Change, today: Option<Date>) -> bool {
        let valid = match (self.until, today) {
            (None, _) => true,
            (Some(until), Some(today)) => today <= until,
            (Some(_), None) => false,
        };
        valid && self.rule == change.rule.id && self.place == change.place
    }
}

/// The mark on a change that an [`Acceptance`] covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Why it was accepted.
    pub reason: String,
    /// The last day on which the acceptance counts.
    pub until: Option<Date>,
}

/// The whole answer about a pair of contracts.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The format of both contracts.
    pub kind: Kind,
    /// The answer for old to new.
    pub verdict: Verdict,
    /// What the change of version number owes at least.
    pub bump: Bump,
    /// True when no consumer of the old contract breaks on the new one.
    pub may_deploy: bool,
    /// True when no consumer of the new contract breaks on the old one.
    pub may_roll_back: bool,
    /// The differences from old to new, the worst first.
    pub changes: Vec<Change>,
    /// What could not be decided from old to new.
    pub not_checked: Vec<NotChecked>,
    /// Why `may_roll_back` is what it is: the findings from new to old. Not part of the JSON.
    pub roll_back: Findings,
}

impl Report {
    /// Judges a comparison: applies acceptances, sorts, and draws the verdicts. `floor` is the bump owed even when no
    /// change is listed: [`Bump::Patch`] when the bytes differ.
    #[must_use]
    pub fn judge(
        kind: Kind,
        comparison: Comparison,
        floor: Bump,
        acceptances: &[Acceptance],
        today: Option<Date>,
    ) -> Self {
        let deploy = comparison.deploy.settle(acceptances, today);
        let roll_back = comparison.roll_back.settle(acceptances, today);
        Self {
            kind,
            verdict: deploy.verdict(),
            bump: deploy.changes.iter().map(Change::owed).fold(floor, Bump::max),
            may_deploy: deploy.safe(),
            may_roll_back: roll_back.safe(),
            changes: deploy.changes,
            not_checked: deploy.not_checked,
            roll_back,
        }
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("Report", 7)?;
        state.serialize_field("verdict", &self.verdict)?;
        state.serialize_field("bump", &self.bump)?;
        state.serialize_field("may_deploy", &self.may_deploy)?;
        state.serialize_field("may_roll_back", &self.may_roll_back)?;
        state.serialize_field("kind", &self.kind)?;
        state.serialize_field("changes", &self.changes)?;
        state.serialize_field("not_checked", &self.not_checked)?;
        state.end()
    }
}

/// What is wrong with a contract that cannot be read, with the place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize)]
#[error("{}{message}", place(file, *line))]
pub struct InputError {
    /// The path of the file, as the [`Source`](crate::Source) names it; empty when the whole source is meant.
    pub file: String,
    /// The line, counted from 1, when it is known.
    pub line: Option<u32>,
    /// What is wrong: lower case, no period.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl InputError {
    /// An error about `file` as a whole.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into(), hint: None }
    }

    /// Sets the line, counted from 1.
    #[must_use]
    pub fn on_line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    /// Sets what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn place(file: &str, line: Option<u32>) -> String {
    match (file, line) {
        ("", _) => String::new(),
        (file, Some(line)) => format!("{file}:{line}: "),
        (file, None) => format!("{file}: "),
    }
}
