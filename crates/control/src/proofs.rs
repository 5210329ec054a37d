//! Proofs of baselines: what gateways count of what runs, kept until it is enough to record that a baseline is proven.
//!
//! What was counted is kept in a file of its own, now and then and when the server stops, so that a server that is started anew goes on with
//! it. It is no part of the journal: nobody decided it. A file that is lost, or of another journal, costs what was counted, and is said.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::types::ProvingView;
use lockstep_domain::observed::Observed;
use lockstep_domain::proven::{Proving, Seen};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::{Arm, Environment, EnvironmentName, Event, World};
use lockstep_registry::{Registry, Totals};

use crate::ledger::Ledger;
use crate::{Control, counted_file, lock, ourselves};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// A look that comes later than this, because the machine slept or had too much to do, proves no more than this time.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// How often what was counted is kept: so much of it a server that is killed loses.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// The largest file that is read: a hundred environments with a thousand services.
const MAX_BYTES: u64 = 64 << 20;

/// What is counted of each environment's baseline.
#[derive(Debug)]
pub(crate) struct Proofs {
    file: PathBuf,
    all: Mutex<BTreeMap<EnvironmentName, Counted>>,
    kept: Mutex<Instant>,
}

#[derive(Debug)]
struct Counted {
    proving: Proving,
    /// What gateways had counted at the last look, and when that was; missing before the first one.
    last: Option<(Totals, Instant)>,
}

impl Proofs {
    /// Reads what was counted. A file that cannot be read is as good as none.
    pub(crate) fn open(file: PathBuf) -> Self {
        let lost = "what was counted of baselines is lost: proofs begin anew";
        let known: BTreeMap<EnvironmentName, Proving> = counted_file::read(&file, MAX_BYTES, lost);
        let counted = |(name, proving)| (name, Counted { proving, last: None });
        let all = known.into_iter().map(counted).collect();
        Self { file, all: Mutex::new(all), kept: Mutex::new(Instant::now()) }
    }

    /// Looks at an environment, and records that its baseline is proven when it is.
    pub(crate) fn look(
        &self,
        ledger: &Ledger,
        registry: &Registry,
        environment: &Environment,
        observe: impl FnOnce(&World) -> Observed,
    ) {
        let (now, world) = ledger.look();
        let totals = registry.counted(&environment.name);
        let mut all = lock(&self.all);
        let before = all.remove(&environment.name);
        let (proving, last) = before.map_or((None, None), |it| (Some(it.proving), it.last));
        if let Some(lost) = proving.as_ref().filter(|it| last.is_none() && !it.is_of(environment)) {
            tracing::info!(environment = %environment.name, baseline = lost.baseline, "what was counted is of another baseline, and is forgotten");
        }
        let (counted, elapsed) = match &last {
            Some((before, at)) => (since(&totals, before), at.elapsed().min(LONGEST_LOOK)),
            None => (BTreeMap::new(), Duration::ZERO),
        };
        let observed = observe(&world);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let seen =
            Seen { world: &world, environment, observed: &observed, counted: &counted, elapsed_ms, now };
        let proving = Proving::look(proving, seen);
        let due = proving.due(&world, environment);
        all.insert(environment.name.clone(), Counted { proving, last: Some((totals, Instant::now())) });
        drop(all);
        if let Some(event) = due {
            record(ledger, environment, &event);
        }
    }

    /// Forgets environments that there are no more.
    fn forget_others(&self, world: &World) {
        lock(&self.all).retain(|name, _| world.environment(name).is_some());
    }

    /// Keeps what was counted, when that was not done lately.
    fn keep_now_and_then(&self) {
        let mut kept = lock(&self.kept);
        if kept.elapsed() >= KEEP_EVERY {
            self.keep();
            *kept = Instant::now();
        }
    }

    /// Keeps what was counted.
    fn keep(&self) {
        let all = lock(&self.all);
        let all: BTreeMap<_, _> = all.iter().map(|(name, it)| (name, &it.proving)).collect();
        counted_file::put(&self.file, &all);
    }

    /// Shows how far the current baseline is.
    pub(crate) fn view(&self, world: &World, environment: &Environment) -> Option<ProvingView> {
        let all = lock(&self.all);
        let proving = &all.get(&environment.name)?.proving;
        let is_open = proving.is_of(environment) && !environment.proven.contains_key(&proving.baseline);
        (is_open && !environment.entries().is_empty()).then(|| {
            let ArmTraffic { requests, failures } = proving.answered();
            ProvingView {
                baseline: proving.baseline,
                since: proving.since,
                seen_ms: proving.seen_ms,
                requests,
                failures,
                missing: proving.missing(world, environment),
                alarm: proving.alarm.clone(),
            }
        })
    }
}

/// Records it unless another baseline is current by now, or it was recorded already.
fn record(ledger: &Ledger, seen: &Environment, event: &Event) {
    let Event::BaselineProven { baseline, requests, seen_ms, .. } = event else { return };
    let recorded = ledger.commit(&ourselves(), |world, _| {
        let is_open = world.environment(&seen.name).is_some_and(|it| {
            (it.record, it.baselines.current().number) == (seen.record, *baseline)
                && !it.proven.contains_key(baseline)
        });
        Ok((is_open.then(|| event.clone()).into_iter().collect(), ()))
    });
    match recorded {
        Ok(()) => {
            tracing::info!(environment = %seen.name, baseline, requests, seen_ms, "the baseline is proven");
        }
        // It is tried again with the next look.
        Err(problem) => {
            tracing::warn!(environment = %seen.name, baseline, %problem, "that the baseline is proven cannot be recorded");
        }
    }
}

fn since(totals: &Totals, before: &Totals) -> BTreeMap<Arm, ArmTraffic> {
    let grown = |(arm, now): (&Arm, &ArmTraffic)| {
        let before = before.get(arm).copied().unwrap_or_default();
        let more = ArmTraffic {
            requests: now.requests.saturating_sub(before.requests),
            failures: now.failures.saturating_sub(before.failures),
        };
        (more.requests > 0).then(|| (arm.clone(), more))
    };
    totals.iter().filter_map(grown).collect()
}

impl Control {
    /// Looks at the baselines of all environments, again and again.
    pub(crate) async fn look_after_proofs(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return tokio::task::block_in_place(|| self.proofs.keep()),
            }
            tokio::task::block_in_place(|| self.look_at_baselines());
        }
    }

    fn look_at_baselines(&self) {
        let world = self.ledger.world();
        for (name, environment) in &world.environments {
            let observe =
                |world: &World| self.registry.seen(name, self.everything_of(world, name), self.ledger.now());
            self.proofs.look(&self.ledger, &self.registry, environment, observe);
        }
        self.proofs.forget_others(&world);
        self.proofs.keep_now_and_then();
    }
}
