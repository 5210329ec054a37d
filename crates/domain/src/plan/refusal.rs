//! Refusals: why an intent cannot be carried out. Typed; their words are made here and nowhere else.

use thiserror::Error;

use crate::baseline::OperationId;
use crate::compat::{Basis, Unmet};
use crate::contract::Verdict;
use crate::instance::ConfigRevision;
use crate::intent::{MAX_REPLICAS, StrategyError, join};
use crate::lifecycle::ClosedGate;
use crate::name::{
    Actor, DatabaseName, EnvironmentName, JobName, ProcessName, ResourceName, ServiceName, StageName,
};
use crate::operation::Operation;
use crate::plan::database_refusal::DatabaseRefusal;
use crate::plan::lane_refusal::LaneRefusal;
use crate::plan::rule_refusal::RuleRefusal;
use crate::protocol::Protocol;
use crate::proven::NoLastGood;
use crate::reference::{Reference, ReferenceError};
use crate::resource::ResourceKind;
use crate::retained::Retained;
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};

/// What became of an operation that is not under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// It is done, and this baseline came of it.
    Baseline(u64),
    /// It is done, and moved no service.
    NoBaseline,
    /// It was taken back.
    TakenBack,
    /// It is one of another environment.
    Elsewhere(EnvironmentName),
    /// There is none of that number.
    Nothing,
}

/// Who made a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBy {
    /// Who.
    pub actor: Actor,
    /// What was wanted.
    pub intent: String,
    /// When it became current.
    pub at: Timestamp,
}

/// Why an operation cannot begin beside another.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Conflict {
    /// Both touch one service.
    #[error("both touch {0}")]
    SameService(ServiceName),
    /// A whole baseline is gone back to.
    #[error("going back to a whole baseline touches all services")]
    WholeEnvironment,
    /// Both work with one database.
    #[error("both work with database {0}")]
    SameDatabase(DatabaseName),
    /// A version that one of them comes from or leads to needs a service that the other one moves.
    #[error("`{consumer}` requires {provider}: one of them moves the one, the other the other")]
    Requires {
        /// Who needs.
        consumer: VersionRef,
        /// What.
        provider: ServiceName,
    },
    /// Versions of both want one route.
    #[error("`{one}` and `{other}` both want the route {route}")]
    Route {
        /// One service.
        one: ServiceName,
        /// The other.
        other: ServiceName,
        /// Host and path.
        route: String,
    },
    /// Versions of both listen on one port of the host.
    #[error("`{one}` and `{other}` both listen on port {port}")]
    Port {
        /// One service.
        one: ServiceName,
        /// The other.
        other: ServiceName,
        /// The port.
        port: u16,
    },
}

/// An operation under way, as a refusal names it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("operation {id} ({intent}, by {actor})")]
pub struct Under {
    /// Which.
    pub id: OperationId,
    /// What it does.
    pub intent: String,
    /// Who wanted it.
    pub actor: Actor,
}

impl Under {
    pub(crate) fn of(operation: &Operation) -> Self {
        let (intent, actor) = (operation.intent.to_string(), operation.actor.clone());
        Self { id: operation.id, intent, actor }
    }
}

/// What helps against an operation that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing but to wait: it is being taken back.
    Wait,
    /// It is taken back by itself.
    TakeBack,
    /// Going back takes it back.
    Interrupt,
    /// It is taken back, and these are deployed in one.
    Together(Vec<VersionRef>),
}

impl Remedy {
    fn hint(&self, environment: &EnvironmentName, operation: OperationId) -> String {
        let wait = format!("wait for it with `lockstep watch {operation}`");
        let undo = format!("`lockstep undo {environment} --operation {operation}`");
        match self {
            Self::Wait => wait,
            Self::TakeBack => format!("{wait}, or take it back with {undo}"),
            Self::Interrupt => {
                format!("{wait}, or go back at once with `--interrupt`, which takes it back")
            }
            Self::Together(versions) => {
                let all = join(versions);
                format!(
                    "{wait}, or deploy both in one: {undo}, then `lockstep deploy {all} --env {environment}`"
                )
            }
        }
    }
}

/// One reason why an intent cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The environment does not exist.
    #[error("there is no environment `{0}`")]
    NoEnvironment(EnvironmentName),
    /// The service does not exist.
    #[error("there is no service `{0}`")]
    NoService(ServiceName),
    /// The version was never released.
    #[error("there is no version `{version}`{}", newest.as_ref().map(|n| format!("; the newest is {n}")).unwrap_or_default())]
    NoVersion {
        /// What was asked for.
        version: VersionRef,
        /// The newest version there is.
        newest: Option<VersionNumber>,
    },
    /// The baseline does not exist.
    #[error("environment `{environment}` has no baseline {baseline}; the newest is {newest}")]
    NoBaseline {
        /// The environment.
        environment: EnvironmentName,
        /// What was asked for.
        baseline: u64,
        /// The newest one.
        newest: u64,
    },
    /// The service does not run there.
    #[error("`{service}` does not run in `{environment}`")]
    NotRunning {
        /// The service.
        service: ServiceName,
        /// The environment.
        environment: EnvironmentName,
    },
    /// A version that never ran there cannot be gone back to.
    #[error("`{version}` never ran in `{environment}`, so there is no way back to it{}", instead(runs.as_ref()))]
    NeverRan {
        /// What was asked for.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// What runs there.
        runs: Option<VersionNumber>,
    },
    /// A version that is newer than what runs is not gone back to.
    #[error(
        "`{version}` is newer than {runs}, which runs in `{environment}`: that is a way forward, not back"
    )]
    Forward {
        /// What was asked for.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// What runs there.
        runs: VersionNumber,
        /// Whether it is held there.
        held: bool,
    },
    /// The configuration does not exist.
    #[error("`{service}` has no configuration {revision} in `{environment}`; the newest is {newest}")]
    NoRevision {
        /// Whose.
        service: ServiceName,
        /// Where.
        environment: EnvironmentName,
        /// What was asked for.
        revision: ConfigRevision,
        /// The newest one.
        newest: ConfigRevision,
    },
    /// No such job.
    #[error("{version} has no job `{job}`")]
    NoJob {
        /// Whose.
        version: VersionRef,
        /// What was asked for.
        job: JobName,
        /// What there is.
        known: Vec<JobName>,
    },
    /// No such process, or none of several was named.
    #[error("{}", no_process(version, process.as_ref()))]
    NoProcess {
        /// Whose.
        version: VersionRef,
        /// What was asked for.
        process: Option<ProcessName>,
        /// What there is.
        known: Vec<ProcessName>,
    },
    /// The environment lacks a resource.
    #[error("{}", no_resource(version, resource, *kind, *found, environment))]
    NoResource {
        /// Who needs it.
        version: VersionRef,
        /// Which.
        resource: ResourceName,
        /// What it has to be.
        kind: ResourceKind,
        /// What is there under the name.
        found: Option<ResourceKind>,
        /// Where.
        environment: EnvironmentName,
    },
    /// One revision for several services.
    #[error("a revision belongs to one service, and more than one goes back")]
    OneRevision,
    /// A secret that would come back was revoked, and there is no other value of it.
    #[error("`{key}` of `{service}` was revoked on {}, and no other value of it was set", at.day())]
    Revoked {
        /// Whose.
        service: ServiceName,
        /// Where.
        environment: EnvironmentName,
        /// Which variable.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// Somebody else has changed the environment since it was looked at.
    #[error("`{environment}` is at baseline {current} and not at {expected}{}", made(made_by.as_deref()))]
    Unexpected {
        /// Where.
        environment: EnvironmentName,
        /// What was expected.
        expected: u64,
        /// What is there.
        current: u64,
        /// Who made that, what was wanted, and when.
        made_by: Option<Box<MadeBy>>,
    },
    /// What was asked for works only if others go back too.
    #[error("{}", unmet_words(unmet))]
    UnmetBack {
        /// What would be unmet.
        unmet: Box<Unmet>,
        /// The command that takes along what must go back too; it can be planned.
        command: String,
    },
    /// Another operation is under way, and this one cannot begin beside it.
    #[error("operation {operation} ({intent}) is under way in `{environment}`, and {conflict}")]
    Busy {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        operation: OperationId,
        /// What it does.
        intent: String,
        /// Why the two must not be at the same time.
        conflict: Box<Conflict>,
        /// What can be done instead of waiting.
        remedy: Remedy,
    },
    /// An operation under way does it already.
    #[error("{operation} goes there already in `{environment}`")]
    GoesThere {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        operation: Under,
    },
    /// There is nothing of what the intent is about, and an operation under way is why.
    #[error("{refusal}; {under_way} is under way there")]
    Meanwhile {
        /// What is refused.
        refusal: Box<Refusal>,
        /// Where.
        environment: EnvironmentName,
        /// What is under way.
        under_way: Under,
        /// What helps.
        remedy: Remedy,
    },
    /// Undoing could mean more than one thing.
    #[error("undo could mean more than one thing in `{environment}`: {} under way{}", list(under_way), newer.map(|n| format!(", and baseline {n} came meanwhile")).unwrap_or_default())]
    UndoWhich {
        /// Where.
        environment: EnvironmentName,
        /// What is under way.
        under_way: Vec<Under>,
        /// The current baseline, where it came since one of them was begun.
        newer: Option<u64>,
        /// The current baseline, where it can be undone beside them.
        baseline: Option<u64>,
    },
    /// The operation that an undo names is not under way.
    #[error("{}", not_under_way(*operation, environment, became))]
    NotUnderWay {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        operation: OperationId,
        /// What became of it.
        became: Became,
    },
    /// Everything is already as wanted.
    #[error("`{environment}` runs this already; nothing would change")]
    NothingToDo {
        /// Where.
        environment: EnvironmentName,
    },
    /// Nothing differs but secrets that were set since.
    #[error("`{environment}` runs this already but for secrets that were set since: {}", kept.iter().map(|(service, key)| format!("{key} of {service}")).collect::<Vec<_>>().join(", "))]
    OnlySecrets {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        kept: Vec<(ServiceName, String)>,
    },
    /// There is nothing before the current baseline.
    #[error("`{environment}` is at its first baseline; there is nothing to undo")]
    NothingToUndo {
        /// Where.
        environment: EnvironmentName,
    },
    /// No baseline is proven that could be gone back to.
    #[error("`{environment}` has no proven baseline to go back to{}", passed_over(why))]
    NoLastGood {
        /// Where.
        environment: EnvironmentName,
        /// What there is instead.
        why: NoLastGood,
    },
    /// A service is named twice.
    #[error("`{0}` is named more than once")]
    NamedTwice(ServiceName),
    /// The version's stage is not accepted yet.
    #[error(
        "`{version}` is in stage {stage}; `{environment}` accepts versions from {accepts_from} on{}",
        closed(gates)
    )]
    StageTooEarly {
        /// Which.
        version: VersionRef,
        /// Its stage.
        stage: StageName,
        /// Where.
        environment: EnvironmentName,
        /// The first stage that is accepted.
        accepts_from: StageName,
        /// What keeps it from its next stage.
        gates: Vec<ClosedGate>,
    },
    /// The version's life is over.
    #[error("`{version}` is {stage}: it is not deployed any more")]
    StageEnded {
        /// Which.
        version: VersionRef,
        /// Its stage.
        stage: StageName,
    },
    /// The environment asks for a stage that the service's lifecycle does not have.
    #[error(
        "`{environment}` accepts versions from stage {accepts_from} on, which the lifecycle of `{service}` does not have"
    )]
    StageUnknown {
        /// Where.
        environment: EnvironmentName,
        /// The first stage that is accepted.
        accepts_from: StageName,
        /// Whose lifecycle.
        service: ServiceName,
    },
    /// The version is held.
    #[error("`{version}` is held in `{environment}`: {reason}")]
    Held {
        /// Which.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// Why.
        reason: String,
    },
    /// A requirement would be left unmet.
    #[error("{}", unmet_words(.0))]
    Unmet(Box<Unmet>),
    /// Messages that are kept would not be read.
    #[error("{}", .0.text())]
    Unread(Box<Retained>),
    /// Two services want the same entry point.
    #[error("`{first}` and `{second}` both want the route {route}")]
    RouteTaken {
        /// One.
        first: ServiceName,
        /// The other.
        second: ServiceName,
        /// Host and path.
        route: String,
    },
    /// A version with a fixed port cannot run beside another instance.
    #[error("`{version}` always listens on port {port}, so {why}")]
    FixedPort {
        /// Which.
        version: VersionRef,
        /// Its port.
        port: u16,
        /// What is impossible.
        why: &'static str,
    },
    /// Another service listens on the port.
    #[error(
        "`{version}` always listens on port {port}, and so does `{by}` in `{environment}` on the same host"
    )]
    PortTaken {
        /// Which.
        version: VersionRef,
        /// Its port.
        port: u16,
        /// Who has it.
        by: VersionRef,
        /// Where.
        environment: EnvironmentName,
    },
    /// The replica count is out of bounds.
    #[error("{0} replicas: 1 to {MAX_REPLICAS} are possible")]
    Replicas(u32),
    /// It has jobs, and nothing that runs all the time.
    #[error("{0} has jobs, and no instances")]
    NoInstances(VersionRef),
    /// A variable that is to be removed is not set.
    #[error("variable `{key}` of `{service}` is not set")]
    NotSet {
        /// Whose.
        service: ServiceName,
        /// Which.
        key: String,
    },
    /// A variable's name is not usable.
    #[error(
        "`{0}` is not a variable name: letters, digits and _ are allowed, and PORT, HOST and LOCKSTEP_* are set by Lockstep"
    )]
    VariableName(String),
    /// The address of a service that somebody else runs refers to a variable that is set nowhere.
    #[error(
        "the address of `{version}` refers to `${{env.{key}}}`, which is set neither in its manifest nor in `{environment}`"
    )]
    NoAddress {
        /// Whose.
        version: VersionRef,
        /// Which variable.
        key: String,
        /// Where.
        environment: EnvironmentName,
    },
    /// A variable refers to something that there is not.
    #[error("variable `{key}` of `{service}`: {error}")]
    Reference {
        /// Whose.
        service: ServiceName,
        /// Which.
        key: String,
        /// What is wrong.
        error: ReferenceError,
        /// What there is.
        known: Vec<String>,
    },
    /// A worker has no address.
    #[error("{caller} refers to `${{{reference}}}`, and {worker} is a worker, which nobody can call")]
    CallsWorker {
        /// Who refers to it.
        caller: VersionRef,
        /// By what.
        reference: Reference,
        /// To what.
        worker: VersionRef,
    },
    /// What is not HTTP has no address of HTTP.
    #[error("{caller} refers to `${{{reference}}}`, and {called} speaks TCP, which has no URL of HTTP")]
    NoUrl {
        /// Who refers to it.
        caller: VersionRef,
        /// By what.
        reference: Reference,
        /// To what.
        called: VersionRef,
    },
    /// Connections of TCP and requests of HTTP cannot be split over two versions.
    #[error("{version} speaks {} where the version before it speaks {}, so a share of the clients cannot be given to it", .is.as_str(), .was.as_str())]
    SpeaksOtherwise {
        /// What is to come.
        version: VersionRef,
        /// What was spoken.
        was: Protocol,
        /// What is to be spoken.
        is: Protocol,
    },
    /// No gateway can listen for the instances.
    #[error(
        "{caller} refers to `${{{reference}}}`, and instances of `{environment}` call others through {gateway}, which is not on their machine"
    )]
    NoListener {
        /// Who refers to it.
        caller: VersionRef,
        /// To what.
        reference: Reference,
        /// Where.
        environment: EnvironmentName,
        /// The gateway.
        gateway: String,
    },
    /// It needs what only the machine of the server has, and instances of the environment run on hosts.
    #[error("{version} cannot run on the hosts of `{environment}`: {}", needs.join("; "))]
    NotOnHosts {
        /// Which version.
        version: VersionRef,
        /// Where.
        environment: EnvironmentName,
        /// What it needs.
        needs: Vec<String>,
    },
    /// The strategy is not usable.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// The environment that is promoted runs nothing.
    #[error("`{0}` runs nothing that could be promoted")]
    NothingToPromote(EnvironmentName),
    /// An environment is promoted to itself.
    #[error("`{0}` cannot be promoted to itself")]
    SameEnvironment(EnvironmentName),
    /// There can be no such rule, or a rule is in the way.
    #[error(transparent)]
    Rule(#[from] RuleRefusal),
    /// There can be no such lane.
    #[error(transparent)]
    Lane(#[from] LaneRefusal),
    /// A database is in the way.
    #[error(transparent)]
    Database(#[from] DatabaseRefusal),
    /// A mistake of Lockstep: the plan was looked at once more, and would not work.
    #[error("the plan that was made for `{environment}` is wrong, and is not carried out: {fault}")]
    WrongPlan {
        /// Where.
        environment: EnvironmentName,
        /// What is wrong with it.
        fault: String,
    },
}

fn no_process(version: &VersionRef, process: Option<&ProcessName>) -> String {
    match process {
        Some(process) => format!("{version} has no process `{process}`"),
        None => format!("{version} has no main process"),
    }
}

fn no_resource(
    version: &VersionRef,
    resource: &ResourceName,
    kind: ResourceKind,
    found: Option<ResourceKind>,
    environment: &EnvironmentName,
) -> String {
    let found = found.map_or_else(|| "has none".to_owned(), |found| format!("has one of the kind {found}"));
    format!("`{version}` needs the resource `{resource}` ({kind}), and `{environment}` {found}")
}

/// Another kind under the name is in the way of what helps.
fn resource_hint(
    resource: &ResourceName,
    kind: ResourceKind,
    is_there: bool,
    environment: &EnvironmentName,
) -> String {
    if is_there {
        return format!(
            "give it another name in lockstep.toml, or lockstep resource remove {resource} --env {environment}"
        );
    }
    let run = match kind {
        ResourceKind::Postgresql | ResourceKind::Redis => format!(
            ", or let Lockstep run one on this machine: lockstep resource run {resource} --kind {kind} --env {environment}"
        ),
        ResourceKind::Mysql | ResourceKind::Other => String::new(),
    };
    format!("say where it is: lockstep resource add {resource} --kind {kind} --env {environment}{run}")
}

fn list(under_way: &[Under]) -> String {
    under_way.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn not_under_way(operation: OperationId, environment: &EnvironmentName, became: &Became) -> String {
    match became {
        Became::Baseline(baseline) => format!("operation {operation} is done, and made baseline {baseline}"),
        Became::NoBaseline => {
            format!("operation {operation} is done, and made no baseline: nothing moved that could be undone")
        }
        Became::TakenBack => format!("operation {operation} was taken back"),
        Became::Elsewhere(other) => {
            format!("operation {operation} is one of `{other}`, not of `{environment}`")
        }
        Became::Nothing => format!("there is no operation {operation} in `{environment}`"),
    }
}

fn passed_over(why: &NoLastGood) -> String {
    why.passed_over.map_or_else(String::new, |(baseline, why)| format!("; {baseline} is proven, but {why}"))
}

/// Names the commands that say which.
fn undo_which(environment: &EnvironmentName, under_way: &[Under], baseline: Option<u64>) -> String {
    let operations =
        under_way.iter().map(|one| format!("`lockstep undo {environment} --operation {}`", one.id));
    let newest = baseline
        .map(|current| format!("`lockstep undo {environment} --expect {current}` for the newest baseline"));
    format!("say which: {}", operations.chain(newest).collect::<Vec<_>>().join(", or "))
}

fn made(by: Option<&MadeBy>) -> String {
    by.map(|MadeBy { actor, intent, at }| format!(": {actor} made it on {} ({intent})", at.day()))
        .unwrap_or_default()
}

fn instead(runs: Option<&VersionNumber>) -> String {
    runs.map(|runs| format!("; {runs} runs there")).unwrap_or_default()
}

fn closed(gates: &[ClosedGate]) -> String {
    if gates.is_empty() {
        return String::new();
    }
    let words: Vec<_> = gates.iter().map(ToString::to_string).collect();
    format!(" ({})", words.join("; "))
}

pub(super) fn unmet_words(unmet: &Unmet) -> String {
    let Unmet { consumer, provider, requirement, found, verdict, basis, reasons } = unmet;
    let Some(found) = found else {
        return format!("`{consumer}` requires {provider} {requirement}, and none would be there");
    };
    match (verdict, basis, reasons.as_slice()) {
        (Verdict::NotChecked, _, [why, ..]) => {
            format!("whether `{consumer}` works with {provider} {found} is not known: {why}")
        }
        (_, Basis::Contract, [first, more @ ..]) => {
            let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
            format!("`{consumer}` does not work with {provider} {found}: {first}{more}")
        }
        _ => format!("`{consumer}` requires {provider} {requirement}, and {found} would be there"),
    }
}

fn unmet_hint(unmet: &Unmet) -> String {
    let Unmet { consumer, provider, requirement, basis, .. } = unmet;
    match (&requirement.range, basis) {
        (Some(range), Basis::Range) => {
            format!("deploy {provider} {range} in the same operation: lockstep show {provider}")
        }
        // What contracts disprove, another version of the range may not mend.
        _ => format!("choose versions that fit: lockstep compat {} {provider}", consumer.service),
    }
}

fn unread_hint(unread: &Retained) -> String {
    let (reader, writer) = (&unread.reader.service, &unread.writer.service);
    let show = if reader == writer { format!("show {reader}") } else { format!("compat {reader} {writer}") };
    format!("choose a version of {reader} that reads both, or wait until they are gone: lockstep {show}")
}

impl Refusal {
    /// Tells whether others that come along could help.
    #[must_use]
    pub const fn lacks_others(&self) -> bool {
        matches!(self, Self::Unmet(_) | Self::UnmetBack { .. })
    }

    /// Tells whether everything is already as wanted, whatever rules give some requests.
    pub(super) const fn is_there_already(&self) -> bool {
        matches!(self, Self::NothingToDo { .. } | Self::Rule(RuleRefusal::Elsewhere { .. }))
    }

    /// Returns the command that helps, or shows more.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoEnvironment(_) => Some("lockstep environments".into()),
            Self::NoService(_) => Some("lockstep services".into()),
            Self::NoVersion { version, .. } => Some(format!("lockstep show {}", version.service)),
            Self::NoBaseline { environment, .. } => Some(format!("lockstep history {environment}")),
            Self::NotRunning { environment, .. } | Self::NothingToDo { environment } => {
                Some(format!("lockstep status {environment}"))
            }
            Self::NeverRan { version, environment, .. } => {
                Some(format!("lockstep deploy {version} --env {environment}"))
            }
            Self::Forward { version, environment, held, .. } => {
                let holds = if *held { " --release-holds" } else { "" };
                Some(format!("lockstep deploy {version} --env {environment}{holds}"))
            }
            Self::NoRevision { service, environment, .. } => {
                Some(format!("lockstep config show {service} --env {environment}"))
            }
            Self::NoJob { version, known, .. } if known.is_empty() => {
                Some(format!("{version} has no [[job]] in its lockstep.toml: lockstep show {version}"))
            }
            Self::NoJob { known, .. } => {
                let known: Vec<_> = known.iter().map(JobName::as_str).collect();
                Some(format!("there are {}", known.join(", ")))
            }
            Self::NoProcess { version, known, .. } if known.is_empty() => {
                Some(format!("{version} has no [process] in its lockstep.toml: lockstep show {version}"))
            }
            Self::NoProcess { known, .. } => {
                let known: Vec<_> = known.iter().map(ProcessName::as_str).collect();
                Some(format!("name one with --process: {}", known.join(", ")))
            }
            Self::NoResource { resource, kind, found, environment, .. } => {
                Some(resource_hint(resource, *kind, found.is_some(), environment))
            }
            Self::OneRevision => {
                Some("name one service, or take the configuration in force: --keep-config".into())
            }
            Self::Revoked { service, environment, key, .. } => {
                Some(format!("lockstep config set {service} --secret {key} --env {environment}"))
            }
            Self::Unexpected { environment, .. } => Some(format!("lockstep history {environment}")),
            Self::UnmetBack { command, .. } => Some(command.clone()),
            Self::OnlySecrets { .. } => Some("to bring the old ones back, add --old-secrets".to_owned()),
            Self::NoLastGood { environment, why } => Some(match why.passed_over {
                Some((baseline, _)) => format!("lockstep rollback {environment} --to {baseline}"),
                None => format!("see what there is to go back to: lockstep rollback {environment}"),
            }),
            Self::NothingToUndo { environment } => Some(format!("lockstep history {environment}")),
            Self::Busy { environment, operation, remedy, .. } => Some(remedy.hint(environment, *operation)),
            Self::Meanwhile { environment, under_way, remedy, .. } => {
                Some(remedy.hint(environment, under_way.id))
            }
            Self::GoesThere { operation, .. } => Some(format!("lockstep watch {}", operation.id)),
            Self::UndoWhich { environment, under_way, baseline, .. } => {
                Some(undo_which(environment, under_way, *baseline))
            }
            Self::NotUnderWay { became: Became::Elsewhere(environment), operation, .. } => Some(format!(
                "lockstep undo {environment} --operation {operation}, or: lockstep history {environment}"
            )),
            Self::NotUnderWay { environment, .. } => Some(format!("lockstep history {environment}")),
            // Nobody skips a gate, so by hand it moves only where none is closed.
            Self::StageTooEarly { version, accepts_from, gates, .. } if gates.is_empty() => {
                Some(format!("lockstep stage {version} {accepts_from} --reason TEXT"))
            }
            Self::StageTooEarly { version, .. } => Some(format!("lockstep show {version}")),
            Self::StageEnded { version, .. } => Some(format!("lockstep show {}", version.service)),
            Self::StageUnknown { environment, .. } => {
                Some(format!("lockstep environment set {environment} --accepts-from STAGE"))
            }
            Self::Held { version, environment, .. } => {
                Some(format!("lockstep hold release {version} --env {environment}"))
            }
            Self::Unmet(unmet) => Some(unmet_hint(unmet)),
            Self::Unread(unread) => Some(unread_hint(unread)),
            Self::FixedPort { .. } | Self::PortTaken { .. } => {
                Some("let the service listen on $PORT and leave `port` out of [run] in lockstep.toml".into())
            }
            Self::NoListener { environment, .. } => Some(format!(
                "refer to the `url` instead, or let a gateway on the machine of the instances be called: lockstep environment set {environment} --gateway-url server"
            )),
            Self::NotOnHosts { version, .. } => Some(format!(
                "deploy it to an environment that runs on the machine of the server: lockstep deploy {version} --env ENVIRONMENT"
            )),
            Self::Reference { known, .. } => Some(format!("there are {}", known.join(", "))),
            Self::NoUrl { called, .. } => {
                let name = &called.service;
                Some(format!("refer to `${{service.{name}.host}}` and `${{service.{name}.port}}` instead"))
            }
            Self::SpeaksOtherwise { .. } => Some("give it to all at once: --strategy all-at-once".to_owned()),
            Self::CallsWorker { caller, worker, .. } => Some(format!(
                "take the reference out of {caller} or of its configuration; what {} does is asked for by its queue",
                worker.service
            )),
            Self::NoAddress { version, key, environment } => Some(format!(
                "lockstep config set {} {key}=https://HOST --env {environment}",
                version.service
            )),
            Self::NotSet { service, .. } => Some(format!("lockstep config show {service} --env ENV")),
            Self::NoInstances(version) => Some(format!("lockstep job run {} JOB", version.service)),
            Self::Rule(rule) => rule.hint(),
            Self::Lane(lane) => lane.hint(),
            Self::Database(refusal) => Some(refusal.hint()),
            Self::WrongPlan { environment, .. } => Some(format!(
                "this is a mistake of Lockstep: report it, with `lockstep plan --export {environment}`; fewer services in one operation may help"
            )),
            Self::NothingToPromote(environment) => Some(format!("lockstep status {environment}")),
            Self::RouteTaken { .. }
            | Self::NamedTwice(_)
            | Self::Replicas(_)
            | Self::VariableName(_)
            | Self::Strategy(_)
            | Self::SameEnvironment(_) => None,
        }
    }
}
