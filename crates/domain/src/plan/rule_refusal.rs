//! Why there can be no rule, or why a rule is in the way. Typed; their words are made here and nowhere else.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::compat::Unmet;
use crate::environment::Environment;
use crate::name::{EnvironmentName, ServiceName};
use crate::plan::refusal::unmet_words;
use crate::version::VersionRef;
use crate::version_rules::{MAX_RULES, TakesError, VersionRule};

/// One reason why there can be no rule, or why a rule is in the way of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleRefusal {
    /// Which requests it takes cannot be.
    #[error(transparent)]
    Takes(#[from] TakesError),
    /// There are too many.
    #[error(
        "`{environment}` has {rules} rules, {of_lanes} of them of lanes, one for each version that a lane gives; {MAX_RULES} is the most"
    )]
    TooMany {
        /// Where.
        environment: EnvironmentName,
        /// How many there are.
        rules: usize,
        /// How many of them are of lanes.
        of_lanes: usize,
    },
    /// Another one takes the same requests.
    #[error("{0} takes the same requests")]
    Same(Box<VersionRule>, EnvironmentName),
    /// The service has a mirror already.
    #[error("{0} is a mirror of the same service, which has one at a time")]
    Mirrored(Box<VersionRule>, EnvironmentName),
    /// What it would copy to is deployed, or on its way.
    #[error(
        "{0} runs in `{1}` or is on its way there, so it has requests of its own: copies are for a version that has none"
    )]
    HasRequests(VersionRef, EnvironmentName),
    /// Shares leave nothing for what is deployed.
    #[error("the shares of `{service}` would be {} %, and what is deployed has to keep some", percent(*.shares))]
    Shares {
        /// Of which service.
        service: ServiceName,
        /// Where.
        environment: EnvironmentName,
        /// All of them, with this one.
        shares: u32,
    },
    /// It has no requests.
    #[error("{0} takes no requests, so there are none for a rule")]
    NoRequests(VersionRef),
    /// The two cannot run at the same time.
    #[error("{version} cannot run beside {runs}, which runs in `{environment}` or is on its way there")]
    Apart {
        /// What the rule would keep running.
        version: VersionRef,
        /// What runs.
        runs: VersionRef,
        /// Where.
        environment: EnvironmentName,
    },
    /// Its jobs have not run here.
    #[error(
        "{version} has jobs that run before it takes over, and was never deployed to `{environment}`: a rule runs no jobs"
    )]
    Jobs {
        /// Which.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
    },
    /// A rule keeps something running that cannot run beside what is wanted.
    #[error("{rule} keeps a version running that {version} cannot run beside")]
    Keeps {
        /// The rule.
        rule: Box<VersionRule>,
        /// What is wanted.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
    },
    /// What a rule keeps running would not work with what is wanted.
    #[error("with {rule}: {}", unmet_words(unmet))]
    Unmet {
        /// The rule.
        rule: Box<VersionRule>,
        /// What would be unmet.
        unmet: Box<Unmet>,
        /// Where.
        environment: EnvironmentName,
    },
    /// What is gone back to runs already, and rules give requests something else.
    #[error("`{environment}` runs this already; but {}", all(.rules))]
    Elsewhere {
        /// Where.
        environment: EnvironmentName,
        /// The rules.
        rules: Vec<VersionRule>,
    },
}

fn percent(weight: u32) -> f64 {
    f64::from(weight) / 100.0
}

fn all(rules: &[VersionRule]) -> String {
    let each = rules.iter().map(|rule| format!("{rule} gives some requests another version"));
    each.collect::<Vec<_>>().join(", ")
}

/// The commands that end rules.
pub(super) fn remove<'a>(
    rules: impl IntoIterator<Item = &'a VersionRule>,
    environment: &EnvironmentName,
) -> String {
    let (of_lanes, alone): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.lane().is_some());
    let numbers: Vec<_> = alone.iter().map(|rule| rule.number.to_string()).collect();
    let route = format!("lockstep route remove {} --env {environment}", numbers.join(" "));
    let lanes: BTreeSet<_> = of_lanes.iter().filter_map(|rule| rule.lane()).collect();
    let lanes = lanes.into_iter().map(|lane| format!("lockstep lane end {lane} --env {environment}"));
    (!numbers.is_empty()).then_some(route).into_iter().chain(lanes).collect::<Vec<_>>().join(" && ")
}

impl RuleRefusal {
    /// Says that there are too many in an environment.
    pub(super) fn too_many(environment: &Environment) -> Self {
        let rules = &environment.version_rules.rules;
        let of_lanes = rules.iter().filter(|rule| rule.lane().is_some()).count();
        Self::TooMany { environment: environment.name.clone(), rules: rules.len(), of_lanes }
    }

    /// Returns the command that helps, or shows more.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Takes(_) => None,
            Self::HasRequests(_, environment) => Some(format!("lockstep status {environment}")),
            Self::TooMany { environment, rules, of_lanes } => {
                let route = format!("lockstep route list --env {environment}");
                let lane = format!("lockstep lane list {environment}");
                Some(match of_lanes {
                    0 => route,
                    of_lanes if of_lanes == rules => lane,
                    _ => format!("{lane}, and {route}"),
                })
            }
            Self::Shares { environment, .. } => Some(format!("lockstep route list --env {environment}")),
            Self::Same(rule, environment) | Self::Mirrored(rule, environment) => {
                Some(format!("remove it first: {}", remove([&**rule], environment)))
            }
            Self::NoRequests(version) => Some(format!("lockstep show {version}")),
            Self::Apart { version, environment, .. } | Self::Jobs { version, environment } => {
                Some(format!("lockstep deploy {version} --env {environment}"))
            }
            Self::Keeps { rule, environment, .. } | Self::Unmet { rule, environment, .. } => {
                Some(remove([&**rule], environment))
            }
            Self::Elsewhere { environment, rules } => Some(remove(rules, environment)),
        }
    }
}
