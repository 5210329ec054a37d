//! Intents: what somebody wants of an environment, and the strategy by which it is carried out.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::{ConfigRevision, InstanceId};
use crate::name::{DatabaseName, EnvironmentName, JobName, ProcessName, ServiceName};
use crate::rebalance::Relocation;
use crate::reference::has_references;
use crate::routes::FULL_WEIGHT;
use crate::version::{VersionNumber, VersionRef};

/// Most replicas of a service in an environment: a typing error must not start ten thousand processes.
pub const MAX_REPLICAS: u32 = 200;
/// Most steps of a canary.
pub const MAX_CANARY_STEPS: usize = 20;
/// Longest bake of a step: a week.
pub const MAX_BAKE_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// What is wanted of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "intent", rename_all = "snake_case")]
pub enum Intent {
    /// Run these versions.
    Deploy {
        /// At most one of each service.
        versions: Vec<VersionRef>,
    },
    /// Run what another environment runs.
    Promote {
        /// The environment that is copied.
        from: EnvironmentName,
        /// Only these services; empty for all.
        #[serde(default)]
        services: Vec<ServiceName>,
        /// The baseline of it that was looked at; the current one where it is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<u64>,
    },
    /// Take one service back to a version.
    RollBackService {
        /// The service.
        service: ServiceName,
        /// The version.
        to: VersionNumber,
        /// Which configuration it is given.
        #[serde(default, skip_serializing_if = "ConfigChoice::is_as_it_ran")]
        config: ConfigChoice,
    },
    /// Take several services back together.
    RollBackServices {
        /// At most one version of each.
        versions: Vec<VersionRef>,
        /// Which configurations they are given; no single revision.
        #[serde(default, skip_serializing_if = "ConfigChoice::is_as_it_ran")]
        config: ConfigChoice,
    },
    /// Take the whole environment back to a baseline.
    RollBackEnvironment {
        /// The baseline's number.
        to: u64,
        /// Which configurations its services are given; no single revision.
        #[serde(default, skip_serializing_if = "ConfigChoice::is_as_it_ran")]
        config: ConfigChoice,
    },
    /// Take the whole environment back to the newest baseline that is proven; what is recorded names it.
    RollBackToLastGood {
        /// Which configurations its services are given; no single revision.
        #[serde(default, skip_serializing_if = "ConfigChoice::is_as_it_ran")]
        config: ConfigChoice,
    },
    /// Go back to the baseline before the current one; while an operation is under way, take that back.
    Undo,
    /// Change the configuration of a service.
    Configure {
        /// The service.
        service: ServiceName,
        /// Variables to set.
        #[serde(default)]
        set: BTreeMap<String, ConfigValue>,
        /// Variables to remove.
        #[serde(default)]
        unset: Vec<String>,
    },
    /// Give a service a configuration that there is already.
    UseConfiguration {
        /// The service.
        service: ServiceName,
        /// The revision.
        revision: ConfigRevision,
    },
    /// Change how many instances of a service run.
    Scale {
        /// The service.
        service: ServiceName,
        /// Which process of it; the main one where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<ProcessName>,
        /// How many.
        replicas: u32,
    },
    /// Put a new instance in the place of each of a service, one after the other.
    Restart {
        /// The service.
        service: ServiceName,
        /// Only these instances; empty for all that the baseline wants.
        #[serde(default)]
        instances: Vec<InstanceId>,
    },
    /// Move instances to other hosts, so that all stand where they should; who asks need not say which.
    Rebalance {
        /// Which, and why.
        #[serde(default)]
        moves: Vec<Relocation>,
    },
    /// Run a job of what runs of a service.
    RunJob {
        /// The service.
        service: ServiceName,
        /// The job.
        job: JobName,
    },
    /// Do something at a database, and move nothing.
    Database {
        /// Which.
        database: DatabaseName,
        /// What.
        wish: DatabaseWish,
        /// By which version it is reached; by one in force where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionRef>,
    },
    /// Take services out of the environment.
    Remove {
        /// Which.
        services: Vec<ServiceName>,
    },
}

/// What is wanted of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum DatabaseWish {
    /// See which migrations it has.
    Look,
    /// See which it has, and take what is not there any more as gone on purpose.
    Accept,
    /// Apply what contracts.
    Contract {
        /// The word of what it takes, as a plan showed it; only a plan is made without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved: Option<String>,
    },
    /// Take migrations back by the ways down of a version.
    Revert {
        /// Which.
        back: BackTo,
        /// The word of what it takes, as a plan showed it; only a plan is made without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved: Option<String>,
    },
    /// Take migrations as done that were done by other means.
    Adopt {
        /// The last one.
        through: String,
    },
    /// Say what became of a migration that died half-way.
    Settle {
        /// Which.
        migration: String,
        /// Whether it is done; otherwise it runs again.
        done: bool,
    },
}

/// Which migrations are taken back: always by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackTo {
    /// All that the database has behind this one.
    To(String),
    /// These.
    Steps(Vec<String>),
}

impl fmt::Display for BackTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(name) => write!(f, "to {name}"),
            Self::Steps(names) => write!(f, "by {}", names.join(", ")),
        }
    }
}

impl Intent {
    /// Tells whether it takes something back.
    #[must_use]
    pub const fn goes_back(&self) -> bool {
        matches!(
            self,
            Self::RollBackService { .. }
                | Self::RollBackServices { .. }
                | Self::RollBackEnvironment { .. }
                | Self::RollBackToLastGood { .. }
                | Self::Undo
                | Self::Remove { .. }
        )
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy { versions } => write!(f, "deploy {}", join(versions)),
            Self::Promote { from, services, baseline } => {
                f.write_str("promote ")?;
                if !services.is_empty() {
                    write!(f, "{} ", join(services))?;
                }
                write!(f, "from {from}")?;
                baseline.map_or(Ok(()), |baseline| write!(f, "@{baseline}"))
            }
            Self::RollBackService { service, to, config } => write!(f, "roll back {service} to {to}{config}"),
            Self::RollBackServices { versions, config } => {
                write!(f, "roll back to {}{config}", join(versions))
            }
            Self::RollBackEnvironment { to, config } => write!(f, "roll back to baseline {to}{config}"),
            Self::RollBackToLastGood { config } => write!(f, "roll back to the last good baseline{config}"),
            Self::UseConfiguration { service, revision } => write!(f, "use {revision} of {service}"),
            Self::Database { database, wish, .. } => match wish {
                DatabaseWish::Look => write!(f, "look at database {database}"),
                DatabaseWish::Accept => write!(f, "take database {database} as it is"),
                DatabaseWish::Contract { .. } => write!(f, "contract database {database}"),
                DatabaseWish::Revert { back, .. } => write!(f, "revert database {database} {back}"),
                DatabaseWish::Adopt { through } => write!(f, "adopt database {database} up to {through}"),
                DatabaseWish::Settle { migration, done: true } => {
                    write!(f, "settle {migration} of database {database} as done")
                }
                DatabaseWish::Settle { migration, done: false } => {
                    write!(f, "settle {migration} of database {database} as not done")
                }
            },
            Self::Undo => f.write_str("undo"),
            Self::Configure { service, set, unset } => {
                let keys: Vec<_> = set.keys().chain(unset).map(String::as_str).collect();
                write!(f, "configure {service}: {}", keys.join(", "))
            }
            Self::Scale { service, process: None, replicas } => write!(f, "scale {service} to {replicas}"),
            Self::Scale { service, process: Some(process), replicas } => {
                write!(f, "scale {process} of {service} to {replicas}")
            }
            Self::Restart { service, instances } if instances.is_empty() => write!(f, "restart {service}"),
            Self::Restart { instances, .. } => write!(f, "restart {}", join(instances)),
            Self::Rebalance { .. } => f.write_str("rebalance"),
            Self::RunJob { service, job } => write!(f, "run job {job} of {service}"),
            Self::Remove { services } => write!(f, "remove {}", join(services)),
        }
    }
}

/// Which configuration a service is given when it goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigChoice {
    /// The one it last ran with, or that the baseline has; of a secret that was set since, the newer value.
    #[default]
    AsItRan,
    /// The one it last ran with, or that the baseline has, with the secrets of then.
    WithOldSecrets,
    /// The one that is in force now.
    Keep,
    /// A certain one.
    Revision(ConfigRevision),
}

impl ConfigChoice {
    /// Tells whether nothing need be said of it; what an older release meant.
    #[must_use]
    pub fn is_as_it_ran(&self) -> bool {
        *self == Self::AsItRan
    }
}

impl fmt::Display for ConfigChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItRan => Ok(()),
            Self::WithOldSecrets => f.write_str(" with its old secrets"),
            Self::Keep => f.write_str(" with the configuration in force"),
            Self::Revision(revision) => write!(f, " with configuration {revision}"),
        }
    }
}

/// What becomes of the arms that an operation leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// They run on for the warm time of the environment. What an older release recorded meant this.
    #[default]
    Warm,
    /// They end once no request is under way at them.
    Ends,
}

impl Leaving {
    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        *self == Self::Warm
    }
}

/// Joins things with spaces, for messages.
pub(crate) fn join<T: fmt::Display>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The value of a configuration variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigValue {
    /// Kept in the journal and shown to everybody who may look.
    Plain(String),
    /// As [`Self::Plain`], with references that are filled in where an instance starts.
    Filled(String),
    /// The name of a value in the secret store. The value itself is never journaled, logged or shown.
    Secret(String),
}

impl ConfigValue {
    /// Returns what a value means that somebody gives: a plain one with references is one that is filled in.
    #[must_use]
    pub fn as_given(&self) -> Self {
        match self {
            Self::Plain(text) if has_references(text) => Self::Filled(text.clone()),
            other => other.clone(),
        }
    }
}

/// The variables of one configuration.
pub type Configuration = BTreeMap<String, ConfigValue>;

/// How new instances take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum Strategy {
    /// Wave by wave, each switched as soon as its instances are healthy.
    AllAtOnce,
    /// A whole second set is made healthy first; then everything switches, and is watched for a while.
    BlueGreen {
        /// How long it is watched.
        bake_ms: u64,
        /// What share of failures takes it back.
        #[serde(default)]
        bound: FailureBound,
    },
    /// A growing share of the clients, watched at each step.
    Canary {
        /// Shares and times; the last share is everything.
        steps: Vec<Step>,
        /// What share of failures takes it back.
        #[serde(default)]
        bound: FailureBound,
    },
}

/// A step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Share of the clients in 1/10,000.
    pub weight: u32,
    /// How long it is watched before the next step.
    pub bake_ms: u64,
}

/// The share of failed requests that takes a rollout back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureBound {
    /// More than this many failures in 10,000 requests are too many.
    pub max_failures_in_10000: u32,
    /// Before this many requests no step is passed; 0 lets time alone decide, and says that nothing was proven.
    pub min_requests: u64,
    /// What a step does that did not get them in its time.
    #[serde(default, skip_serializing_if = "WithoutEvidence::is_wait")]
    pub without_evidence: WithoutEvidence,
}

/// What a step does whose time is over and that had fewer requests than are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutEvidence {
    /// It waits for them, as long as it takes. What an older release recorded meant this.
    #[default]
    Wait,
    /// It asks a person, and commands that wait for the operation end with the question.
    Ask,
    /// It goes on by itself so many milliseconds after its time.
    GoOnAfter(u64),
}

impl WithoutEvidence {
    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_wait(&self) -> bool {
        *self == Self::Wait
    }
}

impl Default for FailureBound {
    fn default() -> Self {
        Self { max_failures_in_10000: 100, min_requests: 0, without_evidence: WithoutEvidence::Wait }
    }
}

/// A problem with a strategy, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// No steps, or too many.
    #[error("a canary needs 1 to {MAX_CANARY_STEPS} steps, not {0}")]
    StepCount(usize),
    /// The shares do not grow to everything.
    #[error("the shares of a canary must grow from above 0 % to 100 %")]
    Shares,
    /// A bake that nobody waits for.
    #[error("a bake of more than a week")]
    Bake,
    /// A wait for evidence that nobody waits for.
    #[error("a wait for evidence of more than a week")]
    WithoutEvidence,
}

impl Strategy {
    /// Makes a canary of percentages, each watched for the same time.
    #[must_use]
    pub fn canary(percents: &[u32], bake_ms: u64) -> Self {
        let steps =
            percents.iter().map(|&percent| Step { weight: percent.saturating_mul(100), bake_ms }).collect();
        Self::Canary { steps, bound: FailureBound::default() }
    }

    /// Returns the shares of a new arm over time; the last is everything.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        match self {
            Self::AllAtOnce => vec![Step { weight: FULL_WEIGHT, bake_ms: 0 }],
            Self::BlueGreen { bake_ms, .. } => vec![Step { weight: FULL_WEIGHT, bake_ms: *bake_ms }],
            Self::Canary { steps, .. } => steps.clone(),
        }
    }

    /// Returns the bound at which a rollout is taken back; `None` where nothing is watched.
    #[must_use]
    pub const fn bound(&self) -> Option<FailureBound> {
        match self {
            Self::AllAtOnce => None,
            Self::BlueGreen { bound, .. } | Self::Canary { bound, .. } => Some(*bound),
        }
    }

    /// Checks the rules that the type does not carry.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), StrategyError> {
        let steps = self.steps();
        if steps.is_empty() || steps.len() > MAX_CANARY_STEPS {
            return Err(StrategyError::StepCount(steps.len()));
        }
        let grows = steps.windows(2).all(|pair| pair[0].weight < pair[1].weight);
        let ends = steps.last().is_some_and(|step| step.weight == FULL_WEIGHT);
        if !grows || !ends || steps[0].weight == 0 {
            return Err(StrategyError::Shares);
        }
        if steps.iter().any(|step| step.bake_ms > MAX_BAKE_MS) {
            return Err(StrategyError::Bake);
        }
        match self.bound().unwrap_or_default().without_evidence {
            WithoutEvidence::GoOnAfter(ms) if ms > MAX_BAKE_MS => Err(StrategyError::WithoutEvidence),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAtOnce => f.write_str("all at once"),
            Self::BlueGreen { bake_ms, .. } => write!(f, "blue-green, watched for {bake_ms} ms"),
            Self::Canary { steps, .. } => {
                f.write_str("canary")?;
                for step in steps {
                    write!(f, " {}%/{}ms", f64::from(step.weight) / 100.0, step.bake_ms)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_checked() {
        assert_eq!(Strategy::canary(&[5, 25, 100], 10).check(), Ok(()));
        assert_eq!(Strategy::canary(&[], 10).check(), Err(StrategyError::StepCount(0)));
        assert_eq!(Strategy::canary(&[50, 20, 100], 10).check(), Err(StrategyError::Shares));
        assert_eq!(Strategy::canary(&[50], 10).check(), Err(StrategyError::Shares));
        assert_eq!(Strategy::canary(&[100], u64::MAX).check(), Err(StrategyError::Bake));
        assert_eq!(Strategy::AllAtOnce.check(), Ok(()));
    }
}
