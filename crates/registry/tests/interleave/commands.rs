//! What people and accidents do to the simulated environment, each in one step.

use std::sync::Arc;

use lockstep_domain::fault::{Cause, Fault};
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::revert;
use lockstep_domain::{Event, InstanceState, Intent, Strategy, VersionRef};

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
}

/// The decisions whose pairs are looked at.
pub(crate) const ALL: [Command; 22] = [
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
];

impl Command {
    pub(crate) fn run(self, model: &mut Model) {
        match self {
            Self::Deploy(minor) => begin(model, &deploy(minor), None),
            Self::Canary(minor) => begin(model, &deploy(minor), Some(&Strategy::canary(&[10, 100], 200))),
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
            Self::Interrupt(minor) => interrupt(model, minor),
            Self::Undo => undo(model),
            Self::Remove => begin(model, &Intent::Remove { services: vec![version(0).service] }, None),
            Self::Scale(replicas) => {
                begin(model, &Intent::Scale { service: version(0).service, replicas }, None);
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
    let _ = model.ledger.begin_operation(intent, strategy, model.now);
}

fn version(minor: u64) -> VersionRef {
    format!("orders@1.{minor}.0").parse().expect("a valid version")
}

fn deploy(minor: u64) -> Intent {
    Intent::Deploy { versions: vec![version(minor)] }
}

fn undo(model: &mut Model) {
    let environment = model.ledger.environment();
    match environment.operation.clone().or_else(|| environment.beside.last().cloned()) {
        Some(operation) if matches!(operation.phase, Phase::Reverting { .. }) => {}
        Some(operation) => {
            let revert = revert(&operation, Cause::of_nobody("somebody took it back"));
            model.ledger.record(vec![revert], model.now);
        }
        None => begin(model, &Intent::Undo, None),
    }
}

fn interrupt(model: &mut Model, minor: u64) {
    let VersionRef { service, version } = version(minor);
    let intent = Intent::RollBackService { service, to: version, config: ConfigChoice::AsItRan };
    model.ledger.interrupt(&intent, model.now);
}

fn configure(model: &mut Model) {
    let next = model.ledger.environment().newest_configuration(&version(0).service).0 + 1;
    let value = lockstep_domain::intent::ConfigValue::Plain(next.to_string());
    let set = [("GENERATION".to_owned(), value)].into();
    begin(model, &Intent::Configure { service: version(0).service, set, unset: vec![] }, None);
}

fn current(model: &Model) -> Vec<lockstep_domain::InstanceId> {
    let environment = model.ledger.environment();
    let arms: Vec<_> = environment.entries().iter().map(|(service, entry)| entry.arm(service)).collect();
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
