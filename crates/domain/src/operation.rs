//! Operations: one recorded change of an environment, its plan, and how far it has come.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lockstep_judge::Obstacle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineEntry, Entries, OperationId};
use crate::clients_at::PlannedEntrance;
use crate::database::{Contraction, Reversal};
use crate::environment::Environment;
use crate::fault::Blame;
use crate::instance::{Arm, ConfigRevision, InstanceId};
use crate::intent::{Configuration, Intent, Leaving, Step, Strategy};
use crate::job::{JobRun, PlannedJob};
use crate::name::{Actor, EnvironmentName, ProcessName, ServiceName};
use crate::placement::PlannedPlaces;
use crate::process::ProcessMove;
use crate::rebalance::Relocation;
use crate::run::{Kind, Takeover};
use crate::start::{self, StartOutlook};
use crate::step_place::StepPlace;
use crate::time::Timestamp;
use crate::variables::{KeptSecret, VariableChange};
use crate::version::VersionRange;
use crate::watch::UsualTraffic;
use crate::without_host::WithoutHost;
use crate::work::WorkBase;
use crate::world::World;

/// One recorded change of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The environment.
    pub environment: EnvironmentName,
    /// Who wanted it.
    pub actor: Actor,
    /// What was wanted.
    pub intent: Intent,
    /// Why, in the actor's words.
    #[serde(default)]
    pub reason: String,
    /// How it is carried out.
    pub plan: Plan,
    /// When it was decided.
    pub begun: Timestamp,
    /// How far it has come.
    pub phase: Phase,
    /// What was seen that let the last step of each wave pass; empty where nothing was watched, or an older release did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proof: String,
    /// What was missing when it was said last that a step waits for more than time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// Steps that went on, or may go on, without evidence, and who answers for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Acceptance>,
    /// The runs of the first jobs of its plan, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobRun>,
}

/// A step that may go on without evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acceptance {
    /// Which step.
    pub step: StepPlace,
    /// Who let it go on.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Despite of what; anything else stops it again.
    pub despite: BTreeSet<Obstacle>,
    /// What was known then, for people.
    pub known: String,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// Index of the wave.
    pub wave: usize,
    /// Index of the strategy's step.
    pub step: usize,
    /// What is missing, for people.
    pub missing: String,
    /// When that was said.
    pub at: Timestamp,
}

impl Operation {
    /// Returns every service whose instances, configuration or number it changes.
    #[must_use]
    pub fn touches(&self) -> BTreeSet<ServiceName> {
        let restarted = match &self.intent {
            Intent::Restart { service, .. } | Intent::RunJob { service, .. } => Some(service),
            _ => None,
        };
        let at_databases = self.plan.jobs.iter().filter(|planned| planned.database.is_some());
        let at_databases = at_databases.map(|planned| &planned.arm.service);
        self.plan.touches().chain(restarted).chain(at_databases).cloned().collect()
    }

    /// Notes what the present step waits for, or the wave that is being prepared. Folding only.
    pub(crate) fn wait(&mut self, missing: &str, at: Timestamp) {
        let place = match self.phase {
            Phase::Shifted { wave, step, .. } => Some((wave, step)),
            Phase::Preparing { wave, .. } => Some((wave, 0)),
            _ => None,
        };
        if let Some((wave, step)) = place {
            self.waits = Some(Waits { wave, step, missing: missing.to_owned(), at });
        }
    }

    /// Goes through the jobs of its plan that were begun, with their runs.
    pub fn job_runs(&self) -> impl Iterator<Item = (&PlannedJob, &JobRun)> {
        self.plan.jobs.iter().zip(&self.jobs)
    }

    /// Finds who lets a step go on despite of some obstacles.
    #[must_use]
    pub fn acceptance(&self, at: StepPlace, despite: &BTreeSet<Obstacle>) -> Option<&Acceptance> {
        self.accepted.iter().rev().find(|it| it.step == at && it.despite.is_superset(despite))
    }

    /// Adds what let a wave pass. Folding only.
    pub(crate) fn prove(&mut self, proof: &str) {
        if !proof.is_empty() {
            let separator = if self.proof.is_empty() { "" } else { "; " };
            self.proof = format!("{}{separator}{proof}", self.proof);
        }
    }
}

/// How an intent is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The baseline it starts from.
    pub parent: u64,
    /// The set it leads to.
    #[schemars(with = "std::collections::BTreeMap<ServiceName, BaselineEntry>")]
    pub target: Entries,
    /// How new instances take over.
    pub strategy: Strategy,
    /// Moves in their order; those of one wave switch together.
    pub waves: Vec<Vec<Move>>,
    /// A configuration that is recorded with the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<NewConfiguration>,
    /// Configurations that are recorded with it because the ones that are gone back to have secrets that do not come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<NewConfiguration>,
    /// Variables that differ between what runs and what would run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<VariableChange>,
    /// Secrets of which newer values stay although a configuration comes back that has older ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets_kept: Vec<KeptSecret>,
    /// A replica count that is recorded with the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<NewReplicas>,
    /// Instances that another takes the place of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<InstanceId>,
    /// To which hosts instances go, and why; another takes the place of each of them, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relocations: Vec<Relocation>,
    /// Programs that run once, in their order; those that run after everything else are the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<PlannedJob>,
    /// What it takes for ever of a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contraction: Option<Contraction>,
    /// What it takes back of a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversal: Option<Box<Reversal>>,
    /// What becomes of the arms that it leaves.
    #[serde(default, skip_serializing_if = "Leaving::is_warm")]
    pub leaving: Leaving,
    /// Rules that end as soon as it begins, because it goes away from their version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules_ended: Vec<u32>,
    /// Services whose present version is held once the operation is done, because it goes back from it.
    #[serde(default)]
    pub holds: Vec<ServiceName>,
    /// What a person should know before saying yes.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What workers did in their last minutes that something takes over from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work_before: Vec<WorkBase>,
    /// What versions did that others go on trial beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic_before: Vec<UsualTraffic>,
    /// On which hosts instances would start as things stood when it was planned; where they start is decided when they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlannedPlaces>,
    /// What no other host could take if one were lost before the switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_hosts: Vec<WithoutHost>,
    /// Where clients from outside come in, where that is by gateways of hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrances: Vec<PlannedEntrance>,
}

impl Plan {
    /// Tells whether it leads to no other baseline.
    #[must_use]
    pub fn moves_nothing(&self) -> bool {
        self.moves().next().is_none()
    }

    fn touches(&self) -> impl Iterator<Item = &ServiceName> {
        let moved = self.moves().map(|part| &part.service);
        let configured = self.new_configurations().map(|new| &new.service);
        let relocated = self.relocations.iter().map(|relocation| &relocation.arm.service);
        moved.chain(configured).chain(self.replicas.iter().map(|new| &new.service)).chain(relocated)
    }

    /// Goes through all configurations that are recorded with it.
    pub fn new_configurations(&self) -> impl Iterator<Item = &NewConfiguration> {
        self.configuration.iter().chain(&self.replaced)
    }

    /// Corrects what it says of readiness by what runs: what is to be kept warm may not run any more, after a start of the host
    /// for example.
    pub fn see(&mut self, is_ready: impl Fn(&Arm) -> bool) {
        for part in self.waves.iter_mut().flatten().filter(|part| part.readiness == Readiness::Warm) {
            if part.to_arm().is_some_and(|arm| !is_ready(&arm)) {
                part.readiness = Readiness::Cold;
            }
        }
    }

    /// Says of what is gone back to how its workers start. `unprepared` tells why an artifact that is to be ready is not.
    pub fn note_starts(
        &mut self,
        world: &World,
        environment: &Environment,
        now: Timestamp,
        unprepared: impl Fn(&Arm) -> Option<String>,
    ) {
        for part in self.waves.iter_mut().flatten() {
            let Some(arm) = part.to_arm().filter(|arm| environment.keeps_prepared(arm, now)) else {
                continue;
            };
            let unprepared = unprepared(&arm);
            if part.readiness == Readiness::Cold && unprepared.is_none() {
                part.readiness = Readiness::Prepared;
            }
            part.start = start::outlook(world, environment, &arm, unprepared);
        }
    }

    /// Says of what nobody named why it comes along.
    pub fn note_needed(&mut self, added: &BTreeMap<ServiceName, String>) {
        for part in self.waves.iter_mut().flatten() {
            let is_asked = part.reasons.contains(&Reason::Asked);
            if let Some(because) = added.get(&part.service) {
                part.reasons.retain(|reason| *reason != Reason::Asked);
                part.reasons.insert(0, Reason::Needed { because: because.clone() });
            } else if !added.is_empty() && !is_asked {
                part.reasons.insert(0, Reason::Asked);
            }
        }
    }

    /// Goes through all moves in their order.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.waves.iter().flatten()
    }

    /// Returns the moves of a wave; none where there is no such wave.
    #[must_use]
    pub fn moves_of(&self, wave: usize) -> &[Move] {
        self.waves.get(wave).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the shares over time of the new arms of a wave. Where nothing is taken over there is nothing to compare
    /// with, and no client to move little by little. Where the old arm has to end first, or a worker is replaced as a whole, the
    /// new one is watched once, for the time of the last step.
    #[must_use]
    pub fn steps_of(&self, wave: usize) -> Vec<Step> {
        let moves = self.moves_of(wave);
        if moves.iter().any(Move::is_shared) && !moves.iter().any(Move::gives_way) {
            self.strategy.steps()
        } else if moves.iter().any(Move::takes_over) {
            self.strategy.steps().pop().into_iter().collect()
        } else {
            Strategy::AllAtOnce.steps()
        }
    }

    /// Finds the move of a service and its wave.
    #[must_use]
    pub fn move_of(&self, service: &ServiceName) -> Option<(usize, &Move)> {
        self.waves.iter().enumerate().find_map(|(wave, moves)| {
            moves.iter().find(|candidate| candidate.service == *service).map(|found| (wave, found))
        })
    }
}

/// The change of one service within a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Move {
    /// The service.
    pub service: ServiceName,
    /// What it runs now; `None` when it is not there yet.
    pub from: Option<BaselineEntry>,
    /// What it will run; `None` when it is taken away.
    pub to: Option<BaselineEntry>,
    /// Whether the target still runs.
    pub readiness: Readiness,
    /// Whether the target starts beside what runs now, or after it.
    #[serde(default, skip_serializing_if = "Takeover::is_beside")]
    pub takeover: Takeover,
    /// What kind of a service it is: of the target, or of what is taken away.
    #[serde(default, skip_serializing_if = "Kind::is_web")]
    pub kind: Kind,
    /// What becomes of its other processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessMove>,
    /// Why it moves, and why at this place.
    pub reasons: Vec<Reason>,
    /// What is known of how its workers start, where it is gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartOutlook>,
}

impl Move {
    /// Returns the arm of the main process it comes from.
    #[must_use]
    pub fn from_arm(&self) -> Option<Arm> {
        self.from.as_ref().map(|entry| entry.arm(&self.service))
    }

    /// Tells whether what runs now has to end before the target starts.
    #[must_use]
    pub fn gives_way(&self) -> bool {
        self.takeover == Takeover::OldFirst && self.takes_over()
    }

    /// Tells whether one version takes over from another.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        self.from.is_some() && self.to.is_some()
    }

    /// Tells whether requests or work can be shared between what runs now and the target.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let can = match self.takeover {
            Takeover::Beside => self.kind.is_web(),
            Takeover::SideBySide => true,
            Takeover::OldFirst => false,
        };
        (can && self.takes_over()) || self.processes.iter().any(ProcessMove::is_shared)
    }

    /// Tells whether anything of what moves runs all the time.
    #[must_use]
    pub fn has_instances(&self) -> bool {
        self.kind.has_instances() || !self.processes.is_empty()
    }

    /// Goes through the arms that end while the operation is under way, so that going back starts them again.
    pub fn arms_handed_over(&self) -> impl Iterator<Item = Arm> {
        let main = self.from_arm().filter(|_| self.hands_over());
        main.into_iter().chain(self.processes.iter().filter_map(|part| part.from_arm(self)))
    }

    /// Tells whether what runs now ends while the operation is under way, so that going back starts it again.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.takes_over() && (self.gives_way() || !self.kind.is_web())
    }

    /// Goes through the arms of all its processes that run now.
    pub fn from_arms(&self) -> impl Iterator<Item = Arm> {
        let others = self.processes.iter().filter_map(|part| part.from_arm(self));
        self.from_arm().into_iter().chain(others)
    }

    /// Goes through the arms of all its processes that will run.
    pub fn to_arms(&self) -> impl Iterator<Item = Arm> {
        let others = self.processes.iter().filter_map(|part| part.to_arm(self));
        self.to_arm().into_iter().chain(others)
    }

    /// Returns the arm of the main process it leads to.
    #[must_use]
    pub fn to_arm(&self) -> Option<Arm> {
        self.to.as_ref().map(|entry| entry.arm(&self.service))
    }
}

/// Whether the target of a move still runs; what takes longer is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Instances are kept warm: the move is a change of routes.
    Warm,
    /// Its artifact is unpacked and checked on the host, and instances are started from it: of what works unasked nothing can be warm.
    Prepared,
    /// Instances are started from the artifact first.
    Cold,
}

/// Why a service moves, or why at its place in the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// It was asked for.
    Asked,
    /// It comes along with what was asked for, which would not work without it.
    Needed {
        /// What would not work.
        because: String,
    },
    /// The environment that is promoted runs it.
    RunsIn {
        /// That environment.
        environment: EnvironmentName,
        /// Its baseline.
        baseline: u64,
    },
    /// The baseline that is gone back to has it.
    InBaseline {
        /// The baseline.
        baseline: u64,
    },
    /// Its configuration changes.
    Configured {
        /// The revision it is given.
        revision: ConfigRevision,
    },
    /// It goes after a provider, because it needs the provider's new version.
    NeedsNew {
        /// The provider.
        provider: ServiceName,
        /// Which versions it declares to need.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<VersionRange>,
        /// What the provider's old version lacks, when contracts tell.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        because: String,
    },
    /// It goes before a provider, because its old version does not work with the provider's new one.
    OldNeeds {
        /// The provider.
        provider: ServiceName,
        /// Which versions its old version declares to need.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<VersionRange>,
        /// What breaks with the provider's new version, when contracts tell.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        because: String,
    },
    /// Nothing forces the order; providers go first when going forward.
    ProviderFirst {
        /// A consumer that goes later.
        consumer: ServiceName,
    },
    /// Nothing forces the order; consumers go first when going back.
    ConsumerFirst {
        /// A provider that goes later.
        provider: ServiceName,
    },
    /// Neither order works: they switch at one point in time.
    Together {
        /// The others.
        services: Vec<ServiceName>,
    },
}

/// Writes a range with a space in front, or nothing.
struct Spaced<'a>(Option<&'a VersionRange>);

impl fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |range| write!(f, " {range}"))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::Needed { because } => write!(f, "comes along: {because}"),
            Self::RunsIn { environment, baseline } => {
                write!(f, "runs in {environment} (baseline {baseline})")
            }
            Self::InBaseline { baseline } => write!(f, "baseline {baseline} has it"),
            Self::Configured { revision } => write!(f, "configuration changes to {revision}"),
            Self::NeedsNew { provider, because, .. } if !because.is_empty() => {
                write!(
                    f,
                    "after {provider}: its new version does not work with the old {provider}: {because}"
                )
            }
            Self::OldNeeds { provider, because, .. } if !because.is_empty() => {
                write!(
                    f,
                    "before {provider}: its old version does not work with the new {provider}: {because}"
                )
            }
            Self::NeedsNew { provider, range, .. } => {
                write!(f, "after {provider}: its new version needs {provider}{}", Spaced(range.as_ref()))
            }
            Self::OldNeeds { provider, range, .. } => {
                write!(f, "before {provider}: its old version needs {provider}{}", Spaced(range.as_ref()))
            }
            Self::ProviderFirst { consumer } => write!(f, "before its consumer {consumer}: providers first"),
            Self::ConsumerFirst { provider } => write!(f, "before its provider {provider}: consumers first"),
            Self::Together { services } => {
                write!(f, "at the same moment as {}: neither order works", crate::intent::join(services))
            }
        }
    }
}

/// A configuration that an operation records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewConfiguration {
    /// Whose.
    pub service: ServiceName,
    /// Its number.
    pub revision: ConfigRevision,
    /// All variables, not only the changed ones.
    pub values: Configuration,
}

/// A replica count that an operation records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewReplicas {
    /// Whose.
    pub service: ServiceName,
    /// Of which process; missing for the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// How many.
    pub replicas: u32,
    /// How many it was before, for taking it back.
    pub before: u32,
}

/// How far an operation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The instances of a wave are being made healthy.
    Preparing {
        /// Index of the wave.
        wave: usize,
        /// Since when.
        since: Timestamp,
    },
    /// A wave has a share of the requests.
    Shifted {
        /// Index of the wave.
        wave: usize,
        /// Index of the strategy's step.
        step: usize,
        /// Since when.
        since: Timestamp,
    },
    /// It is being taken back.
    Reverting {
        /// Why.
        cause: String,
        /// The arms that failed, and for what.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        blamed: Vec<Blame>,
        /// Since when.
        since: Timestamp,
    },
    /// It is over, and its target is a baseline.
    Done {
        /// The baseline.
        baseline: u64,
        /// Since when.
        at: Timestamp,
    },
    /// It is over, and its parent is still the baseline.
    Reverted {
        /// Why.
        cause: String,
        /// The arms that failed, and for what.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        blamed: Vec<Blame>,
        /// Since when.
        at: Timestamp,
    },
}

impl Phase {
    /// Tells whether nothing more will happen.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Reverted { .. })
    }

    /// Tells whether its target is a baseline.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    /// Returns the point where the operation ended.
    #[must_use]
    pub const fn settled_at(&self) -> Option<Timestamp> {
        match self {
            Self::Done { at, .. } | Self::Reverted { at, .. } => Some(*at),
            _ => None,
        }
    }
}
