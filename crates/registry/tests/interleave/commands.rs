//! What people and accidents do to the simulated environment, each in one step.

use std::sync::Arc;

use lockstep_domain::fault::Fault;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::plan::Wish;
use lockstep_domain::{Event, InstanceState, Intent, Strategy, VersionRef};

use crate::host::Ends;
use crate::journal::{WARM_MS, staging};
use crate::model::Model;

/// One decision of somebody, or one accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Deploy(u64),
    Canary(u64),
    RollBack(u64),
    /// Goes back, and takes back what is in the way.
    Interrupt(u64),
    /// Takes back what is under way, or else the newest baseline.
    Undo,
    Remove,
    Scale(u32),
    Configure,
    Warm(u64),
    ReleaseHolds,
    /// Time passes up to just before the end of the next warm time.
    NearWarmEnd,
    /// So much time passes at once.
    Wait(u64),
    Crash,
    /// The gateway of its own is cut off, or is not any more.
    CutOff,
    /// All instances are replaced, one after the other.
    Restart,
    /// Somebody dismisses the oldest instance that is healthy.
    Dismiss,
    /// An instance hangs: it runs, and is unhealthy for ever.
    Hang,
    /// An instance fails for good.
    Fail,
    /// From now on instances take long to end.
    EndLate,
    /// From now on what is told to end goes on, until the run comes to rest.
    NeverEnd,
    /// A supervisor is killed.
    KillSupervisor,
    /// The same of another service, which has nothing to do with the first.
    OtherDeploy(u64),
    OtherCanary(u64),
    OtherInterrupt(u64),
    OtherScale(u32),
    OtherRemove,
    /// Takes back the operation that began first of those under way.
    UndoOldest,
}

/// So many of them are about one service.
pub(crate) const OF_ONE: usize = 22;
/// So many of them are about one service or two that take requests.
pub(crate) const OF_TWO: usize = 29;

/// The decisions whose pairs are looked at.
pub(crate) const ALL: [Command; 31] = [
    Command::Deploy(2),
    Command::Deploy(1),
    Command::Canary(2),
    Command::RollBack(0),
    Command::Interrupt(0),
    Command::RollBack(1),
    Command::Undo,
    Command::Remove,
    Command::Scale(1),
    Command::Scale(3),
    Command::Configure,
    Command::Warm(0),
    Command::Warm(2 * WARM_MS),
    Command::ReleaseHolds,
    Command::NearWarmEnd,
    Command::Wait(31_000),
    Command::Crash,
    Command::CutOff,
    Command::Restart,
    Command::Dismiss,
    Command::Hang,
    Command::Fail,
    Command::OtherDeploy(2),
    Command::OtherCanary(2),
    Command::OtherInterrupt(0),
    Command::OtherScale(3),
    Command::OtherRemove,
    Command::UndoOldest,
    Command::OtherDeploy(0),
    Command::EndLate,
    Command::KillSupervisor,
];

/// Those of them whose pairs are looked at where a worker is on its way: it is in no table and never warm.
pub(crate) const OF_WORKER: [Command; 16] = [
    Command::Deploy(2),
    Command::Deploy(1),
    Command::Canary(2),
    Command::RollBack(0),
    Command::Interrupt(0),
    Command::Undo,
    Command::Remove,
    Command::Scale(1),
    Command::Scale(3),
    Command::Configure,
    Command::Crash,
    Command::Restart,
    Command::Dismiss,
    Command::Fail,
    Command::EndLate,
    Command::KillSupervisor,
];

impl Command {
    pub(crate) fn run(self, model: &mut Model) {
        match self {
            Self::Deploy(minor) => begin(model, &deploy(version(minor)), None),
            Self::Canary(minor) => canary(model, version(minor)),
            Self::OtherDeploy(minor) => begin(model, &deploy(other(minor)), None),
            Self::OtherCanary(minor) => canary(model, other(minor)),
            Self::OtherInterrupt(minor) => interrupt(model, other(minor)),
            Self::OtherScale(replicas) => {
                begin(model, &Intent::Scale { service: other(0).service, process: None, replicas }, None);
            }
            Self::OtherRemove => begin(model, &Intent::Remove { services: vec![other(0).service] }, None),
            Self::UndoOldest => {
                let oldest = model.ledger.environment().under_way().next().map(|operation| operation.id);
                oldest.into_iter().for_each(|id| model.ledger.take_back(id, model.now));
            }
            Self::RollBack(minor) => {
                let version = version(minor);
                begin(
                    model,
                    &Intent::RollBackService {
                        service: version.service,
                        to: version.version,
                        config: ConfigChoice::AsItRan,
                    },
                    None,
                );
            }
            Self::Interrupt(minor) => interrupt(model, version(minor)),
            Self::Undo => undo(model),
            Self::Remove => begin(model, &Intent::Remove { services: vec![version(0).service] }, None),
            Self::Scale(replicas) => {
                begin(model, &Intent::Scale { service: version(0).service, process: None, replicas }, None);
            }
            Self::Configure => configure(model),
            Self::Warm(warm_ms) => {
                let mut settings = model.ledger.environment().settings.clone();
                settings.warm_ms = warm_ms;
                let changed = Event::EnvironmentChanged { environment: staging(), settings };
                model.ledger.record(vec![changed], model.now);
            }
            Self::ReleaseHolds => release_holds(model),
            Self::NearWarmEnd => {
                let end =
                    model.ledger.environment().warm.values().copied().filter(|at| *at > model.now).min();
                if let Some(end) = end {
                    model.wait_until(model.now.plus_ms(end.since_ms(model.now).saturating_sub(25)));
                }
            }
            Self::Wait(ms) => model.wait_until(model.now.plus_ms(ms)),
            Self::Crash => model.crash(),
            Self::CutOff => {
                model.outer.silent = !model.outer.silent;
                model.outer.behind = true;
            }
            Self::Restart => restart(model),
            Self::Dismiss => dismiss(model),
            Self::EndLate => model.host.ends = Ends::Late,
            Self::NeverEnd => model.host.ends = Ends::Never,
            Self::KillSupervisor => model.host.lose_supervisor(),
            Self::Hang => {
                let hung = InstanceState::Unhealthy { reason: "it was struck".into() };
                model.accidents |= model.host.strike(hung, model.now);
            }
            Self::Fail => {
                let failed = InstanceState::failed("it was struck", Fault::Crash);
                model.accidents |= model.host.strike(failed, model.now);
            }
        }
    }
}

fn begin(model: &mut Model, intent: &Intent, strategy: Option<&Strategy>) {
    model.ledger.begin_operation(intent, strategy, model.now);
}

fn version(minor: u64) -> VersionRef {
    format!("orders@1.{minor}.0").parse().expect("a valid version")
}

fn other(minor: u64) -> VersionRef {
    format!("payments@1.{minor}.0").parse().expect("a valid version")
}

fn deploy(version: VersionRef) -> Intent {
    Intent::Deploy { versions: vec![version] }
}

fn canary(model: &mut Model, version: VersionRef) {
    begin(model, &deploy(version), Some(&Strategy::canary(&[10, 100], 200)));
}

/// Where it could mean more than one thing, somebody says which: the newest.
fn undo(model: &mut Model) {
    if model.ledger.wish(&Wish::of(&Intent::Undo, None), model.now).is_err() {
        let environment = model.ledger.environment();
        let newest = environment.moving().next_back().map(|operation| operation.id);
        newest.into_iter().for_each(|id| model.ledger.take_back(id, model.now));
    }
}

fn interrupt(model: &mut Model, VersionRef { service, version }: VersionRef) {
    let intent = Intent::RollBackService { service, to: version, config: ConfigChoice::AsItRan };
    model.ledger.interrupt(&intent, model.now);
}

fn configure(model: &mut Model) {
    let next = model.ledger.environment().newest_configuration(&version(0).service).0 + 1;
    let value = lockstep_domain::intent::ConfigValue::Plain(next.to_string());
    let set = [("GENERATION".to_owned(), value)].into();
    begin(model, &Intent::Configure { service: version(0).service, set, unset: vec![] }, None);
}

/// The instances of the first service that serve.
fn current(model: &Model) -> Vec<lockstep_domain::InstanceId> {
    let (environment, service) = (model.ledger.environment(), version(0).service);
    let arms: Vec<_> =
        environment.entries().get(&service).map(|entry| entry.arm(&service)).into_iter().collect();
    let all = model.host.bodies.iter();
    let alive = all
        .filter(|(id, body)| arms.contains(&body.arm) && !body.truth.is_over() && !model.ended.contains(*id));
    alive.map(|(id, _)| id.clone()).collect()
}

fn restart(model: &mut Model) {
    let instances = current(model);
    begin(model, &Intent::Restart { service: version(0).service, instances }, None);
}

/// Only an instance beside others, as the control sees to.
fn dismiss(model: &mut Model) {
    let environment = model.ledger.environment();
    let others = current(model)
        .into_iter()
        .filter(|id| model.host.bodies[id].truth == InstanceState::Healthy && !environment.is_dismissed(id));
    let others: Vec<_> = others.collect();
    if let [first, _, ..] = others.as_slice() {
        let (environment, instance) = (staging(), first.clone());
        let dismissed = Event::InstanceDismissed { environment, instance, reason: String::new() };
        model.ledger.record(vec![dismissed], model.now);
    }
}

fn release_holds(model: &mut Model) {
    let environment = Arc::clone(&model.ledger.environment());
    let held = environment.holds.keys().cloned();
    let released = held.map(|version| Event::HoldReleased { environment: staging(), version });
    model.ledger.record(released.collect(), model.now);
}
