//! Lifecycles as data: the stages of a version, what opens each of them, and what an environment accepts.
//!
//! A lifecycle is a line. A version goes forward one stage at a time through gates, or back by hand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evidence::{EvidenceKind, Origin, Outcome};
use crate::name::{EnvironmentName, StageName};
use crate::service::Version;
use crate::time::Timestamp;

/// Most stages of a lifecycle, and most gates of a stage.
pub const MAX_LIFECYCLE_PARTS: usize = 32;

/// The stages of a version in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lifecycle {
    /// At least one; a version begins in the first.
    pub stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name, unique in the lifecycle.
    pub name: StageName,
    /// What must hold before a version enters.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// What makes a version enter once the gates are open.
    #[serde(default)]
    pub entry: Entry,
    /// Whether a version in this stage may be brought into an environment.
    #[serde(default)]
    pub availability: Availability,
}

/// A condition for entering a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "gate", rename_all = "snake_case", deny_unknown_fields)]
pub enum Gate {
    /// The newest evidence of this kind is there and green.
    Evidence {
        /// The kind.
        kind: EvidenceKind,
        /// Whether a report that somebody gave is enough.
        #[serde(default, skip_serializing_if = "Given::is_accepted")]
        given: Given,
    },
    /// No kind of evidence is red at its newest; but a comparison with another version may be, for what is different may be meant.
    NothingRed,
    /// This many different people approved the stage.
    Approvals {
        /// How many.
        count: u32,
    },
    /// The version has been in the stage before for this long.
    TimeInStage {
        /// How long.
        duration_ms: u64,
    },
}

/// Whether a gate takes the word of others for tests that Lockstep did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// It does.
    #[default]
    Accepted,
    /// It does not: Lockstep must have run them.
    Refused,
}

impl Given {
    /// Tells whether it is what goes without saying.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// What makes a version enter a stage once its gates are open.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// Somebody says so.
    #[default]
    Manual,
    /// Open gates are enough.
    Automatic,
    /// An operation begins to bring it into this environment.
    OnDeploy {
        /// The environment.
        environment: EnvironmentName,
    },
}

/// Whether a version in a stage may be brought into an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It may, where the environment accepts the stage.
    #[default]
    Deployable,
    /// It may not, except by going back to where it already ran.
    Ended,
}

/// Why a lifecycle is not usable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LifecycleError {
    /// No stage at all.
    #[error("a lifecycle needs at least one stage")]
    Empty,
    /// Two stages of one name.
    #[error("stage `{0}` is defined twice")]
    Duplicate(StageName),
    /// The bound of [`MAX_LIFECYCLE_PARTS`].
    #[error("more than {MAX_LIFECYCLE_PARTS} stages or gates")]
    TooLarge,
    /// The first stage has gates, so no version could begin.
    #[error("the first stage `{0}` cannot have gates, because a version begins there")]
    GatedBeginning(StageName),
}

/// A gate that is not open, with what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize, JsonSchema)]
pub enum ClosedGate {
    /// No evidence of the kind.
    #[error("evidence `{0}` is missing")]
    EvidenceMissing(EvidenceKind),
    /// The newest evidence of the kind is red.
    #[error("evidence `{0}` is red")]
    EvidenceRed(EvidenceKind),
    /// The newest evidence of the kind was given, and the gate wants it seen by Lockstep.
    #[error("evidence `{0}` was given and not run by Lockstep, which this gate refuses")]
    EvidenceGiven(EvidenceKind),
    /// Not enough people.
    #[error("{given} of {needed} approvals given")]
    ApprovalsMissing {
        /// Different people so far.
        given: u32,
        /// How many it takes.
        needed: u32,
    },
    /// Not long enough in the stage before.
    #[error("{remaining_ms} ms more in the stage before are needed")]
    TooSoon {
        /// How long it still takes.
        remaining_ms: u64,
    },
    /// The branch it was cut from does not lead further.
    #[error("a version cut from branch `{branch}` goes no further than stage `{reach}`")]
    BeyondReach {
        /// The branch.
        branch: String,
        /// The last stage it may enter.
        reach: StageName,
    },
}

impl Lifecycle {
    /// Returns the default lifecycle: created, development, testing, pre-release, production-validation, released,
    /// deprecated, retired. Versions move by themselves with what happens to them, up to released.
    #[must_use]
    pub fn standard() -> Self {
        let staging = environment("staging");
        let production = environment("production");
        let ran = |environment: &EnvironmentName| Gate::Evidence {
            kind: EvidenceKind::ran_in(environment),
            given: Given::Accepted,
        };
        Self {
            stages: vec![
                stage("created", vec![], Entry::Automatic),
                stage("development", vec![], Entry::Automatic),
                stage("testing", vec![Gate::NothingRed], Entry::Automatic),
                stage("pre-release", vec![Gate::NothingRed, ran(&staging)], Entry::Automatic),
                stage(
                    "production-validation",
                    vec![Gate::NothingRed],
                    Entry::OnDeploy { environment: production.clone() },
                ),
                stage("released", vec![ran(&production)], Entry::Automatic),
                stage("deprecated", vec![], Entry::Manual),
                Stage { availability: Availability::Ended, ..stage("retired", vec![], Entry::Manual) },
            ],
        }
    }

    /// Checks the rules that the type does not carry.
    ///
    /// # Errors
    /// All of them at once.
    pub fn check(&self) -> Result<(), Vec<LifecycleError>> {
        let mut errors = Vec::new();
        match self.stages.first() {
            None => errors.push(LifecycleError::Empty),
            Some(first) if !first.gates.is_empty() => {
                errors.push(LifecycleError::GatedBeginning(first.name.clone()));
            }
            Some(_) => {}
        }
        let too_many_gates = self.stages.iter().any(|stage| stage.gates.len() > MAX_LIFECYCLE_PARTS);
        if self.stages.len() > MAX_LIFECYCLE_PARTS || too_many_gates {
            errors.push(LifecycleError::TooLarge);
        }
        for (index, stage) in self.stages.iter().enumerate() {
            if self.stages[..index].iter().any(|earlier| earlier.name == stage.name) {
                errors.push(LifecycleError::Duplicate(stage.name.clone()));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Returns where a stage stands in the line.
    #[must_use]
    pub fn position(&self, stage: &StageName) -> Option<usize> {
        self.stages.iter().position(|candidate| candidate.name == *stage)
    }

    /// Returns the stage after the given one.
    #[must_use]
    pub fn after(&self, stage: &StageName) -> Option<&Stage> {
        self.stages.get(self.position(stage)? + 1)
    }

    /// Returns every gate that keeps a version out of a stage right now; empty when it may enter.
    #[must_use]
    pub fn closed_gates(&self, version: &Version, stage: &Stage, now: Timestamp) -> Vec<ClosedGate> {
        let beyond =
            version.reach.as_ref().filter(|reach| self.position(reach) < self.position(&stage.name)).map(
                |reach| ClosedGate::BeyondReach { branch: version.branch.clone(), reach: reach.clone() },
            );
        let gates = stage.gates.iter().flat_map(|gate| closed(gate, version, &stage.name, now));
        beyond.into_iter().chain(gates).collect()
    }

    /// Says why a stage is open: also which of its gates take the word of others.
    #[must_use]
    pub fn why_open(&self, version: &Version, stage: &Stage) -> String {
        let given = stage.gates.iter().filter_map(|gate| match gate {
            Gate::Evidence { kind, .. } => {
                version.newest_evidence(kind).filter(|newest| !newest.origin.is_here()).map(|_| kind.as_str())
            }
            _ => None,
        });
        let given: Vec<_> = given.collect();
        if given.is_empty() {
            return "its gates are open".to_owned();
        }
        format!("its gates are open; given, not run by Lockstep: {}", given.join(", "))
    }
}

fn closed(gate: &Gate, version: &Version, stage: &StageName, now: Timestamp) -> Vec<ClosedGate> {
    match gate {
        Gate::Evidence { kind, given } => match version.newest_evidence(kind) {
            None => vec![ClosedGate::EvidenceMissing(kind.clone())],
            Some(newest) => match (newest.outcome, newest.origin, given) {
                (Outcome::Red, ..) => vec![ClosedGate::EvidenceRed(kind.clone())],
                (_, Origin::Elsewhere, Given::Refused) => vec![ClosedGate::EvidenceGiven(kind.clone())],
                (Outcome::Green, ..) => vec![],
            },
        },
        Gate::NothingRed => {
            let red = version.red_kinds().into_iter().filter(|kind| !kind.is_comparison());
            red.map(ClosedGate::EvidenceRed).collect()
        }
        Gate::Approvals { count } => {
            let given = version.approvals_of(stage);
            if given >= *count {
                vec![]
            } else {
                vec![ClosedGate::ApprovalsMissing { given, needed: *count }]
            }
        }
        Gate::TimeInStage { duration_ms } => {
            let remaining_ms = duration_ms.saturating_sub(now.since_ms(version.stage_since));
            if remaining_ms == 0 { vec![] } else { vec![ClosedGate::TooSoon { remaining_ms }] }
        }
    }
}

fn environment(name: &str) -> EnvironmentName {
    name.parse().expect("the standard environment names are valid")
}

fn stage(name: &str, gates: Vec<Gate>, entry: Entry) -> Stage {
    let name = name.parse().expect("the standard stage names are valid");
    Stage { name, gates, entry, availability: Availability::Deployable }
}
