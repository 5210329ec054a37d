//! Readiness: where each environment can go back to, looked at again and again, and told to whoever follows it.
//!
//! Plans are made on a snapshot of the world and remembered as long as it is the same, so nobody who records waits for them; what the host
//! says is asked anew with every look. Nothing of it is recorded: it follows from what is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::Problem;
use lockstep_api::types::{ChainBack, LostReadiness, ReadinessView, RegainedReadiness};
use lockstep_domain::compat::Relation;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::plan::{Found, InTheWay as UnderWay, STEPS, Search, smallest};
use lockstep_domain::readiness::{
    EnvironmentReadiness, InTheWay, Planned, ServiceReadiness, Standing, losses, planned, with_host,
};
use lockstep_domain::ways_back::Host;
use lockstep_domain::{Arm, Environment, EnvironmentName, Intent, ServiceName, Timestamp, VersionRef, World};
use tokio::sync::watch;

use crate::environments::{find, is_ready};
use crate::{Control, lock, not_found, services};

/// How often it is looked although nothing was recorded: artifacts and what is warm are no matter of the journal.
const LOOK: Duration = Duration::from_secs(2);
/// Looking takes at most this part of the time of one processor.
const SHARE: u32 = 10;
/// Plans are made anew after so long, because other environments of the host have a part in them.
const PLANNED_FOR: Duration = Duration::from_secs(60);
/// What was lost is remembered so often.
const MAX_LOST: usize = 20;
/// Services of which it is searched what they go back with: each costs a search, and somebody waits for the answer.
const MAX_CHAINS: usize = 20;
/// A search for one of them takes at most this part of the steps of one that is to be carried out.
const STEPS_SHARE: u64 = 10;

/// What is known of all environments.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<EnvironmentName, Arc<Post>>>);

#[derive(Debug)]
struct Post {
    plans: Mutex<Option<Plans>>,
    view: watch::Sender<Option<ReadinessView>>,
}

/// Plans, and what they were made of.
#[derive(Debug)]
struct Plans {
    environment: Arc<Environment>,
    world: World,
    made: Instant,
    planned: Arc<Planned>,
}

impl Plans {
    fn are_of(&self, world: &World, environment: &Arc<Environment>) -> bool {
        Arc::ptr_eq(&self.environment, environment)
            && self.world.services.ptr_eq(&world.services)
            && self.made.elapsed() < PLANNED_FOR
    }
}

impl Board {
    fn of(&self, name: &EnvironmentName) -> Arc<Post> {
        let post = || Arc::new(Post { plans: Mutex::default(), view: watch::Sender::new(None) });
        Arc::clone(lock(&self.0).entry(name.clone()).or_insert_with(post))
    }

    /// Forgets environments that there are no more. Who follows one hears that nothing comes.
    fn forget_others(&self, world: &World) {
        lock(&self.0).retain(|name, _| world.environment(name).is_some());
    }
}

impl Post {
    /// Returns the plans of an environment. Of several who ask at once one makes them.
    fn planned(
        &self,
        world: &World,
        environment: &Arc<Environment>,
        make: impl FnOnce() -> Planned,
    ) -> Arc<Planned> {
        let mut plans = lock(&self.plans);
        if let Some(known) = plans.as_ref().filter(|it| it.are_of(world, environment)) {
            return Arc::clone(&known.planned);
        }
        let planned = Arc::new(make());
        let (environment, world) = (Arc::clone(environment), world.clone());
        let new = Plans { environment, world, made: Instant::now(), planned: Arc::clone(&planned) };
        *plans = Some(new);
        planned
    }

    /// Shows what is ready now, with what was lost since the view before.
    fn show(
        &self,
        environment: &EnvironmentName,
        readiness: EnvironmentReadiness,
        now: Timestamp,
    ) -> ReadinessView {
        let mut shown = None;
        self.view.send_if_modified(|view| {
            let is_news = view.as_ref().is_none_or(|view| view.readiness != readiness);
            if is_news {
                *view = Some(next(view.take(), environment, readiness, now));
            }
            shown.clone_from(view);
            is_news
        });
        shown.expect("a view was there, or was just made")
    }
}

/// Makes the view after another one.
fn next(
    before: Option<ReadinessView>,
    environment: &EnvironmentName,
    readiness: EnvironmentReadiness,
    now: Timestamp,
) -> ReadinessView {
    let environment = environment.clone();
    let Some(before) = before else {
        let (lost, regained) = (Vec::new(), Vec::new());
        return ReadinessView {
            environment,
            revision: 1,
            readiness,
            lost,
            regained,
            chains: BTreeMap::new(),
        };
    };
    let (mut lost, mut regained) = (Vec::new(), before.regained);
    for was in before.lost {
        match was.loss.regained(&readiness) {
            Some(what) => {
                tracing::info!(%environment, what, "readiness is there again");
                regained.push(RegainedReadiness { at: now, what });
            }
            None => lost.push(was),
        }
    }
    for loss in losses(&before.readiness, &readiness) {
        tracing::warn!(%environment, what = loss.what, "readiness is lost");
        lost.push(LostReadiness { at: now, loss });
    }
    lost.drain(..lost.len().saturating_sub(MAX_LOST));
    regained.drain(..regained.len().saturating_sub(MAX_LOST));
    let revision = before.revision + 1;
    ReadinessView { environment, revision, readiness, lost, regained, chains: BTreeMap::new() }
}

impl Control {
    /// Says where an environment can go back to now, or one of its services.
    ///
    /// # Errors
    /// When the environment does not exist, or the service does not run there.
    pub fn readiness(
        &self,
        name: &EnvironmentName,
        service: Option<&ServiceName>,
    ) -> Result<ReadinessView, Problem> {
        let (now, world) = self.ledger.look();
        let environment = find(&world, name)?;
        let mut view = self.look_at_readiness(&world, environment, now);
        if let Some(service) = service {
            let service = &services::find(&world, service)?.name;
            view.readiness.services.retain(|it| it.service == *service);
            if view.readiness.services.is_empty() {
                let detail = format!("`{service}` does not run in `{name}`");
                return Err(not_found(detail, &format!("lockstep status {name}")));
            }
        }
        view.chains = self.chains(&world, name, &view.readiness.services, now);
        Ok(view)
    }

    /// Searches what services go back with that cannot alone because of others.
    fn chains(
        &self,
        world: &World,
        environment: &EnvironmentName,
        services: &[ServiceReadiness],
        now: Timestamp,
    ) -> BTreeMap<ServiceName, ChainBack> {
        let needs_others = |it: &&ServiceReadiness| {
            let mut forbids = it.reasons.iter().filter(|reason| reason.forbids).peekable();
            it.standing == Standing::Closed
                && forbids.peek().is_some()
                && forbids.all(|reason| reason.kind == InTheWay::Consumer)
        };
        let closed = services.iter().filter(needs_others).take(MAX_CHAINS);
        closed.filter_map(|it| Some((it.service.clone(), self.chain(world, environment, it, now)?))).collect()
    }

    fn chain(
        &self,
        world: &World,
        environment: &EnvironmentName,
        closed: &ServiceReadiness,
        now: Timestamp,
    ) -> Option<ChainBack> {
        let (service, to) = (&closed.service, &closed.to.as_ref()?.version);
        let config = ConfigChoice::AsItRan;
        let intent = Intent::RollBackService { service: service.clone(), to: to.clone(), config };
        let contracts = self.stored_contracts();
        let has_artifact = |version: &VersionRef| self.has_artifact(world, version);
        let found = smallest(&Search {
            relation: Relation { world, contracts: &contracts },
            environment,
            intent: &intent,
            wishes: &[],
            strategy: None,
            in_the_way: UnderWay::Refuses,
            has_artifact: &has_artifact,
            steps: STEPS / STEPS_SHARE,
            now,
        });
        let Some(Found::Way(way)) = found else { return None };
        let own = VersionRef { service: service.clone(), version: to.clone() };
        let command = format!("lockstep rollback {service} --to {to} --env {environment} --chain");
        Some(ChainBack { versions: std::iter::once(own).chain(way.added).collect(), command })
    }

    /// Says why baselines cannot be gone back to, as readiness says it: one place decides.
    pub(crate) fn closed_baselines(
        &self,
        world: &World,
        environment: &Arc<Environment>,
        now: Timestamp,
    ) -> BTreeMap<u64, String> {
        let view = self.look_at_readiness(world, environment, now);
        let closed = view.readiness.baselines.into_iter().filter(|it| it.standing == Standing::Closed);
        closed.filter_map(|it| Some((it.baseline, it.reasons.first()?.what.clone()))).collect()
    }

    /// Follows where an environment can go back to.
    #[must_use]
    pub fn follow_readiness(&self, name: &EnvironmentName) -> watch::Receiver<Option<ReadinessView>> {
        self.board.of(name).view.subscribe()
    }

    fn look_at_readiness(
        &self,
        world: &World,
        environment: &Arc<Environment>,
        now: Timestamp,
    ) -> ReadinessView {
        let post = self.board.of(&environment.name);
        let contracts = self.stored_contracts();
        let relation = Relation { world, contracts: &contracts };
        let planned = post.planned(world, environment, || planned(relation, environment, now));
        let readiness = self.with_host_of(world, environment, now, |host| with_host(&planned, host));
        post.show(&environment.name, readiness, now)
    }

    /// Does something with what this host says of arms that can be gone back to.
    pub(crate) fn with_host_of<T>(
        &self,
        world: &World,
        environment: &Environment,
        now: Timestamp,
        work: impl FnOnce(&Host<'_>) -> T,
    ) -> T {
        let instances = self.instances_of(world, &environment.name);
        let is_ready = |arm: &Arm| environment.keeps_warm(arm, now) && is_ready(environment, &instances, arm);
        let unprepared =
            |arm: &Arm| environment.keeps_prepared(arm, now).then(|| self.unprepared(world, arm));
        let has_artifact = |version: &VersionRef| self.has_artifact(world, version);
        work(&Host { is_ready: &is_ready, unprepared: &unprepared, has_artifact: &has_artifact })
    }

    /// Looks at all environments again and again, so that a loss is seen when it happens and not when somebody asks.
    pub(crate) async fn look_after_readiness(self: Arc<Self>) {
        let mut recorded = self.ledger.follow();
        loop {
            recorded.borrow_and_update();
            let begun = Instant::now();
            tokio::task::block_in_place(|| self.look_at_all());
            let pause = begun.elapsed() * (SHARE - 1);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = recorded.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn look_at_all(&self) {
        let (now, world) = self.ledger.look();
        for environment in world.environments.values() {
            if self.stop.is_cancelled() {
                return;
            }
            self.look_at_readiness(&world, environment, now);
        }
        self.board.forget_others(&world);
    }
}
