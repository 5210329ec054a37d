//! Why there can be no lane. Typed; their words are made here and nowhere else.

use thiserror::Error;

use crate::lane::{Lane, LaneWhen, LaneWhenError};
use crate::name::{DatabaseName, EnvironmentName, LaneName, StageName};
use crate::share::percent;
use crate::version::VersionRef;

/// One reason why there can be no lane.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LaneRefusal {
    /// Which requests are in it cannot be.
    #[error(transparent)]
    When(#[from] LaneWhenError),
    /// It is too much, too little or too long.
    #[error("{0}")]
    Bounds(&'static str),
    /// Its name is taken.
    #[error("`{1}` has {0} already")]
    Taken(Box<Lane>, EnvironmentName),
    /// Another one takes the same requests.
    #[error("lane {lane} takes the same requests: {when}")]
    Same {
        /// Which.
        lane: LaneName,
        /// The condition of both.
        when: LaneWhen,
        /// Where.
        environment: EnvironmentName,
    },
    /// Shares leave nothing for what is deployed.
    #[error("there is no room for a share of {}: all lanes, and the rules of its services, have to leave something for what is deployed", percent(*.0))]
    Shares(u32, EnvironmentName),
    /// It speaks TCP.
    #[error("{0} speaks TCP, and a connection says nothing of a lane")]
    Tcp(VersionRef),
    /// The version's stage is accepted neither for deployments nor in lanes.
    #[error(
        "`{version}` is in stage {stage}; `{environment}` accepts versions from {accepts_from} on, and {}",
        in_lanes(lanes_accept.as_ref())
    )]
    Stage {
        /// Which.
        version: VersionRef,
        /// Its stage.
        stage: StageName,
        /// Where.
        environment: EnvironmentName,
        /// The first stage that is accepted for deployments.
        accepts_from: StageName,
        /// The first stage that is accepted in lanes, where that is another.
        lanes_accept: Option<StageName>,
    },
    /// It needs a form of a database that is not there.
    #[error(
        "{version} needs `{migration}` of database `{database}`, which `{environment}` does not have: a lane never migrates"
    )]
    Migrates {
        /// Which.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// Of which database.
        database: DatabaseName,
        /// The first that is missing.
        migration: String,
    },
}

fn in_lanes(stage: Option<&StageName>) -> String {
    stage.map_or_else(|| "no others in lanes".to_owned(), |stage| format!("from {stage} on in lanes"))
}

impl LaneRefusal {
    /// Returns the command that helps, or shows more.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::When(_) | Self::Bounds(_) => Some("lockstep lane create --help".to_owned()),
            Self::Taken(lane, environment) => Some(format!(
                "end it first, or choose another name: lockstep lane end {} --env {environment}",
                lane.new.name
            )),
            Self::Same { lane, environment, .. } => {
                Some(format!("end it first: lockstep lane end {lane} --env {environment}"))
            }
            Self::Shares(_, environment) => {
                Some(format!("lockstep lane list {environment}, and lockstep route list --env {environment}"))
            }
            Self::Tcp(version) => Some(format!("lockstep show {version}")),
            Self::Stage { stage, environment, .. } => {
                Some(format!("lockstep environment set {environment} --lanes-accept {stage}"))
            }
            Self::Migrates { version, environment, .. } => Some(format!(
                "deploy a version that brings the migration first: lockstep deploy {version} --env {environment} --dry-run"
            )),
        }
    }
}
