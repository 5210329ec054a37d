//! Jobs: programs of a version that run once, for an operation or when a person asks.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approach::Approach;
use crate::database::{Act, DatabaseRun, VersionDatabase};
use crate::instance::{Arm, InstanceId};
use crate::limits::Limits;
use crate::name::JobName;
use crate::protocol::Protocol;
use crate::run::{HealthCheck, Kind, Port, Probe, Replace, ReplaceAfter, Restart, RunSpec};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use crate::work::WorkSigns;

/// How long a job may run where a manifest does not say.
pub const USUAL_JOB_TIMEOUT_MS: u64 = 10 * 60 * 1_000;

/// A job as a version brings it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name, unique in the version.
    pub name: JobName,
    /// When it runs.
    pub when: When,
    /// Program and arguments, run without a shell, in a working folder like that of an instance.
    pub command: Vec<String>,
    /// Environment variables beside those of `[run]`, which they override.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// How long it may run before it is ended.
    pub timeout_ms: u64,
    /// At which times it runs, where it runs by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What it may use at most; where it says nothing, `[run]` does.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// When a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Once in each operation that brings its version, before anything of that operation starts.
    BeforeSwitch,
    /// Once in each operation that brings its version, when all that it brings has taken over.
    AfterDeploy,
    /// When a person asks.
    ByHand,
    /// At the times of its schedule.
    OnSchedule,
}

impl When {
    /// Tells whether it runs in operations that bring its version.
    #[must_use]
    pub fn is_in_plans(self) -> bool {
        matches!(self, Self::BeforeSwitch | Self::AfterDeploy)
    }

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeSwitch => "before-switch",
            Self::AfterDeploy => "after-deploy",
            Self::ByHand => "by-hand",
            Self::OnSchedule => "on-schedule",
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Job {
    /// Goes through everything that may have references.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        self.command.iter().chain(self.variables.values())
    }

    /// Returns how a step at a database is run: as a job of its version, by a program that is no part of it.
    #[must_use]
    pub fn at_database(planned: &PlannedJob, command: Vec<String>, of: &RunSpec) -> RunSpec {
        let job = Self {
            name: planned.job.clone(),
            when: planned.when,
            command: Vec::new(),
            variables: BTreeMap::new(),
            timeout_ms: planned.timeout_ms,
            schedule: None,
            limits: Limits::default(),
        };
        // What it is told is no text of a manifest, so nothing in it is filled in.
        RunSpec { command, image: None, ..job.run(of) }
    }

    /// Returns how it is run: like an instance of its version that ends by itself and is not started again.
    #[must_use]
    pub fn run(&self, of: &RunSpec) -> RunSpec {
        let mut variables = of.variables.clone();
        variables.extend(self.variables.clone());
        let run = RunSpec {
            work: WorkSigns::default(),
            protocol: Protocol::default(),
            gateway: None,
            approach: Approach::default(),
            kind: Kind::Job,
            command: self.command.clone(),
            prepare: None,
            variables,
            port: Port::Assigned,
            health: HealthCheck { start_timeout_ms: self.timeout_ms, ..HealthCheck::new(Probe::Ends) },
            restart: Restart { max_restarts: 0, ..Restart::default() },
            replace: Replace::NewFirst,
            replace_after: ReplaceAfter::Never,
            static_files: None,
            external: None,
            image: of.image.clone(),
            stop: of.stop.clone(),
            data: of.data.clone(),
            files: of.files.clone(),
            values: of.values,
            limits: self.limits.or(of.limits),
            user: of.user.clone(),
            hosts: of.hosts.clone(),
        };
        run.with_values_noted()
    }
}

/// A job that a plan runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedJob {
    /// With which version and configuration.
    pub arm: Arm,
    /// Which.
    pub job: JobName,
    /// When.
    pub when: When,
    /// How long it may run.
    pub timeout_ms: u64,
    /// What it does at a database, where it is a step of Lockstep there and no program of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Box<DatabaseRun>>,
}

impl PlannedJob {
    /// Plans a job.
    #[must_use]
    pub fn of(arm: &Arm, job: &Job) -> Self {
        let (job, when, timeout_ms) = (job.name.clone(), job.when, job.timeout_ms);
        Self { arm: arm.clone(), job, when, timeout_ms, database: None }
    }

    /// Plans a step at a database that a version brings.
    #[must_use]
    pub fn at_database(arm: &Arm, of: &VersionDatabase, run: DatabaseRun, when: When) -> Self {
        let timeout_ms = of.database.timeout_ms;
        let mut run = run;
        run.note_left_out(of);
        Self { arm: arm.clone(), job: run.job(), when, timeout_ms, database: Some(Box::new(run)) }
    }
}

impl fmt::Display for PlannedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.arm.version_ref();
        match self.database.as_deref() {
            None => write!(f, "job `{}` of {version}", self.job),
            Some(DatabaseRun { database, act: Act::Look | Act::Accept, .. }) => {
                write!(f, "look at database `{database}` by {version}")
            }
            Some(DatabaseRun { database, act: Act::Revert { .. }, .. }) => {
                write!(f, "way down of database `{database}` of {version}")
            }
            Some(DatabaseRun { database, .. }) => {
                write!(f, "migration of database `{database}` of {version}")
            }
        }
    }
}

/// A run of a planned job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRun {
    /// What it runs as.
    pub instance: InstanceId,
    /// When it was begun.
    pub begun: Timestamp,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<JobEnd>,
}

impl JobRun {
    /// Moves the times from which a duration is measured. Folding only.
    pub(crate) fn skip(&mut self, ms: u64) {
        self.begun = self.begun.plus_ms(ms);
        self.end.iter_mut().for_each(|end| end.at = end.at.plus_ms(ms));
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEnd {
    /// When that was seen.
    pub at: Timestamp,
    /// What went wrong; `None` where its program ended with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// It is known to have changed nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untouched: bool,
}
