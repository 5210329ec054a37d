//! The reconciler: carries out what the domain derives from (world, observed), until there is nothing left to do.
//!
//! One task an environment. It has no memory of its own: after a crash it goes on from the journal and what it sees.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::compat::Relation;
use lockstep_domain::compile::compile_routes;
use lockstep_domain::counting::periods;
use lockstep_domain::degrade;
use lockstep_domain::host::doubt_unreached;
use lockstep_domain::job::PlannedJob;
use lockstep_domain::name::ResourceName;
use lockstep_domain::observed::Observed;
use lockstep_domain::operation::Move;
use lockstep_domain::reconcile::{Action, Look, next_actions, next_look};
use lockstep_domain::routes::RouteTable;
use lockstep_domain::switch::keeps_sides;
use lockstep_domain::{
    Arm, Digest, Environment, EnvironmentName, Event, Instance, InstanceId, Timestamp, World,
};
use lockstep_runtime::StopError;
use tokio::sync::Notify;

use crate::clock::wall;
use crate::ledger::is_as_seen;
use crate::{Control, lock, ourselves};

/// Even if nothing seems to happen the reconciler looks again after this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// While requests are under way at an instance that is to stop, it looks this often.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);
/// Steps in a row without a pause; more would mean that decisions undo each other.
const MAX_STEPS: u32 = 1_000;

/// What is to be done after a step.
enum Next {
    /// Something changed: look again at once.
    Again,
    /// Nothing is left to do until something changes or this time has passed.
    Wait(Duration),
}

impl Control {
    /// Starts the reconcilers of all environments, and of those that come later.
    pub(crate) fn start_reconcilers(self: &Arc<Self>) {
        self.follow_wall_clock();
        for name in self.ledger.world().environments.keys() {
            self.start_reconciler(name.clone());
        }
        let control = Arc::clone(self);
        self.spawn(async move { control.advance_by_time().await });
    }

    pub(crate) fn start_reconciler(self: &Arc<Self>, name: EnvironmentName) {
        if lock(&self.reconciled).insert(name.clone()) {
            let control = Arc::clone(self);
            self.spawn(async move { control.reconcile(&name).await });
        }
    }

    /// Adds to the clock what it is behind the wall clock.
    pub(crate) fn follow_wall_clock(&self) {
        let skipped = tokio::task::block_in_place(|| {
            self.ledger.skip_to_wall(|ms| {
                self.registry.skip(ms);
                self.judging.skip(ms);
                self.working.skip(ms);
            })
        });
        if let Err(problem) = skipped {
            tracing::error!(%problem, "the clock could not be set");
        }
    }

    /// Wakes the reconciler of an environment.
    pub fn wake(&self, environment: &EnvironmentName) {
        self.wake_of(environment).notify_one();
    }

    fn wake_of(&self, environment: &EnvironmentName) -> Arc<Notify> {
        Arc::clone(lock(&self.wakes).entry(environment.clone()).or_default())
    }

    async fn reconcile(self: Arc<Self>, name: &EnvironmentName) {
        let mut world = self.ledger.follow();
        let (mut instances, mut hosts) = (self.driver.watch(), self.hosts.changes());
        let wake = self.wake_of(name);
        let mut known = None;
        loop {
            world.borrow_and_update();
            instances.borrow_and_update();
            hosts.borrow_and_update();
            let present = self.ledger.world().environment(name).map(|environment| environment.record);
            if known.is_some() && known != present {
                self.forget_environment(name).await;
            }
            match present {
                Some(record) => self.registry.begin(name, record),
                None if self.is_over(name) => return,
                None => {}
            }
            known = present;
            let pause = self.settle(name).await;
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = world.changed() => {}
                _ = instances.changed() => {}
                _ = hosts.changed() => {}
                () = wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Tells whether an environment is still removed; then its reconciler is over, and another begins with one of the same name.
    fn is_over(&self, name: &EnvironmentName) -> bool {
        let mut reconciled = lock(&self.reconciled);
        let is_over = self.ledger.world().environment(name).is_none();
        if is_over {
            reconciled.remove(name);
        }
        is_over
    }

    /// Ends what an environment had that was removed: its gateway listens no more, what is left of its instances goes, and what was
    /// counted is forgotten. Nothing of one that has its name now is there yet, because this is its reconciler too.
    async fn forget_environment(self: &Arc<Self>, name: &EnvironmentName) {
        self.gateway.forget(name);
        self.registry.forget(name);
        tokio::task::block_in_place(|| self.known_gateways.remember(name, BTreeSet::new()));
        lock(&self.deaf).remove(name);
        self.entrances.forget(name);
        tokio::task::block_in_place(|| self.between.forget(name));
        let left = self.everything_of(&self.ledger.world(), name);
        // A database of it may still be at work, and is ended elsewhere.
        for instance in left.iter().filter(|instance| instance.resource.is_none()) {
            self.forget_instance(&instance.id).await;
        }
        tracing::info!(environment = %name, "the environment was removed");
    }

    /// Takes steps until there is nothing to do; returns how long to wait.
    async fn settle(self: &Arc<Self>, name: &EnvironmentName) -> Duration {
        for _ in 0..MAX_STEPS {
            match self.step(name).await {
                Next::Again => {}
                Next::Wait(pause) => return pause,
            }
        }
        tracing::error!(environment = %name, "the reconciler does not come to rest");
        LONGEST_PAUSE
    }

    async fn step(self: &Arc<Self>, name: &EnvironmentName) -> Next {
        let (now, world) = self.ledger.look();
        let Some(environment) = world.environment(name) else { return Next::Wait(LONGEST_PAUSE) };
        self.registry.count_for(name, periods(environment), now);
        self.gateway.keep_listeners(name);
        self.registry.receive(&self.gateway.report(name), now);
        let everything = self.everything_of(&world, name);
        let carried = self.carried(&world, &everything);
        self.stand_among_gateways(&world, environment, &carried, now);
        if self.hears_keys_again(&world, name, &carried, now) {
            return Next::Wait(DRAIN_PAUSE);
        }
        let mut observed = self.registry.observe(name, everything, now);
        observed.databases = self.told_by_steps(environment, &observed);
        self.note_hosts(&world, environment, &mut observed);
        let mut unreached = self.hosts.unreached(&world);
        unreached.extend(self.hosts_behind(&world, name, now));
        doubt_unreached(environment, &mut observed, &unreached);
        self.judge(environment, &world, &mut observed, now);
        let mut table =
            compile_routes(&world, environment, &observed, &self.known_callers(name, &observed), 0, now);
        table = table.with_listeners(self.listeners(observed.everything()));
        table = self.with_fallbacks(table, &world, environment, &observed, now);
        table = self.with_visit_keys(table);
        table = self.with_between(table, &world, &carried, now);
        self.judging.mark(&mut table);
        let published = self.registry.publish(table, || self.editions.next());
        let applied = published.map(|table| self.gateway.apply(table));
        // Not before there is a table: whoever came earlier would be told that nothing is served.
        self.keep_listening(environment);
        self.keep_outside(&world, environment);
        self.keep_entry(environment);
        match applied {
            None => {}
            Some(Ok(_)) => return Next::Again,
            Some(Err(error)) => {
                tracing::error!(environment = %name, %error, "a route table was not applied");
                return Next::Wait(LONGEST_PAUSE);
            }
        }
        if self.note_carried(name, &carried, now) {
            return Next::Again;
        }
        self.tell_routed(name, &observed.instances);
        self.note_starts(&world, environment, &observed);
        let look = Look { world: &world, environment, observed: &observed, now, wall: wall() };
        if self.hosts.is_settling(&world, name) {
            return Next::Wait(DRAIN_PAUSE);
        }
        if self.act(environment, next_actions(look)).await { Next::Again } else { Next::Wait(pause(look)) }
    }

    /// Says what stands in for versions that gateways leave alone. Contracts are read for it where that was never done.
    pub(crate) fn with_fallbacks(
        &self,
        table: RouteTable,
        world: &World,
        environment: &Environment,
        observed: &Observed,
        now: Timestamp,
    ) -> RouteTable {
        if !degrade::is_asked_for(&table) {
            return table;
        }
        let contracts = self.stored_contracts();
        let relation = Relation { world, contracts: &contracts };
        let search = degrade::Search { relation, environment, observed, now };
        tokio::task::block_in_place(|| degrade::with_fallbacks(table, search))
    }

    /// What gateways recognise instances of an environment by.
    pub(crate) fn known_callers(&self, name: &EnvironmentName, observed: &Observed) -> Vec<Digest> {
        self.callers.digests(name, observed.everything(), |id| self.call_url_told(id))
    }

    /// Follows the trials of an environment, and adds to what is observed what was seen of them.
    fn judge(&self, environment: &Environment, world: &World, observed: &mut Observed, now: Timestamp) {
        let before =
            |part: &Move| tokio::task::block_in_place(|| self.before_trial(environment, world, part));
        self.judging.follow(environment, now, before);
        self.judging.compare(&environment.name, self.registry.take_samples(&environment.name));
        let silent = self.registry.gateways(&environment.name, now).is_empty();
        self.judging.look(&environment.name, observed, silent, now);
        self.working.follow(environment, world, now);
        self.working.look(&environment.name, &observed.instances, |id| self.told(id), now);
        self.working.show(&environment.name, observed);
    }

    fn tell_routed(self: &Arc<Self>, name: &EnvironmentName, instances: &[Instance]) {
        if let Some(table) = self.registry.tables(name).borrow().as_ref() {
            let tell = |instance: &Instance, routed| match &instance.host {
                None => self.driver.tell_routed(&instance.id, routed),
                Some(host) => self.tell_on_host(host, &instance.id, routed),
            };
            tokio::task::block_in_place(|| self.routed.tell(tell, table, instances));
        }
    }

    /// Carries out actions; tells whether the world changed.
    async fn act(self: &Arc<Self>, seen: &Arc<Environment>, actions: Vec<Action>) -> bool {
        let (mut ends, mut starts, mut removes, mut records) = (vec![], vec![], vec![], vec![]);
        let (mut jobs, mut resources) = (vec![], vec![]);
        for action in actions {
            match action {
                Action::Start { arm, count } => starts.extend((0..count).map(|_| arm.clone())),
                Action::RunJob { job, instance } => jobs.push((job, instance)),
                Action::RunResource { resource } => resources.push(resource),
                Action::Stop { instance } => ends.push(instance),
                Action::Remove { instance } => removes.push(instance),
                Action::Record { events } => records.extend(events),
            }
        }
        if !self.begin(seen, &ends, &starts, (&jobs, &resources)) {
            return true;
        }
        self.deliver_ends(&seen.name).await;
        for instance in removes {
            self.forget_instance(&instance).await;
        }
        !records.is_empty() && self.record(seen, &records)
    }

    /// Begins to start and to end instances in one step, unless something was recorded since that was decided: whoever
    /// decides next sees what was begun, or it is not begun.
    fn begin(
        self: &Arc<Self>,
        seen: &Arc<Environment>,
        ends: &[InstanceId],
        starts: &[Arm],
        (jobs, resources): (&[(PlannedJob, InstanceId)], &[ResourceName]),
    ) -> bool {
        if ends.is_empty() && starts.is_empty() && jobs.is_empty() && resources.is_empty() {
            return true;
        }
        let begin = || {
            self.registry.tell(&seen.name, ends);
            starts.iter().for_each(|arm| self.launch(seen, arm));
            jobs.iter().for_each(|(job, run)| self.launch_job(seen, job, run));
            resources.iter().for_each(|resource| self.launch_resource(seen, resource));
        };
        tokio::task::block_in_place(|| self.ledger.while_as_seen(seen, begin)).is_some()
    }

    /// Carries the word to every instance that was told to end. What cannot be told now is told with the next look.
    async fn deliver_ends(self: &Arc<Self>, environment: &EnvironmentName) {
        for instance in self.registry.undelivered(environment) {
            if let Some(driver) = self.hosts.driver_of(&instance) {
                self.end_on_host(environment, driver, instance);
                continue;
            }
            match self.driver.stop(&instance).await {
                Ok(()) => self.registry.delivered(environment, &instance),
                // It is on its way to the driver, or its start has just been given up.
                Err(StopError::Unknown { .. }) => {}
                Err(error) => tracing::warn!(%instance, %error, "an instance could not be told to end"),
            }
        }
    }

    /// Records progress, unless something was recorded of the environment since it was decided.
    fn record(&self, seen: &Arc<Environment>, events: &[Event]) -> bool {
        let recorded = tokio::task::block_in_place(|| {
            self.ledger.commit(&ourselves(), |world, _| {
                if is_as_seen(world, seen) {
                    Ok((events.to_vec(), ()))
                } else {
                    Err(Problem::new(ErrorCode::Conflict, "the environment has changed meanwhile"))
                }
            })
        });
        match recorded {
            Ok(()) => true,
            Err(problem) if problem.code == ErrorCode::Conflict => true,
            Err(problem) => {
                tracing::error!(environment = %seen.name, %problem, "progress could not be recorded");
                false
            }
        }
    }

    /// Returns the instances of an environment, without the runs of jobs and the processes of resources.
    pub(crate) fn instances_of(&self, world: &World, name: &EnvironmentName) -> Vec<Instance> {
        let mut all = self.everything_of(world, name);
        all.retain(|instance| instance.job.is_none() && instance.resource.is_none());
        all
    }

    /// Returns what runs in an environment: what the driver knows, and what is on its way to it. What was told
    /// to end is stopping, and what nobody can ask yet is starting. Services go by the names that they have in the world that is decided on.
    pub(crate) fn everything_of(&self, world: &World, name: &EnvironmentName) -> Vec<Instance> {
        let mut launches = lock(&self.launches);
        let known = self.known_instances();
        launches.retain(|id, _| !known.iter().any(|instance| instance.id == *id));
        let all = known.into_iter().chain(launches.values().cloned());
        let all = all.filter(|instance| instance.environment == *name).collect();
        let all = world.as_named_now(self.registry.shown(name, all));
        self.until_carried(world, name, all)
    }
}

fn pause(look: Look<'_>) -> Duration {
    let Look { environment, observed, now, .. } = look;
    let draining =
        observed.unrouted_since.keys().any(|id| observed.in_flight.get(id).is_some_and(|&count| count > 0));
    let watching = environment.under_way().next().is_some() || keeps_sides(look);
    let longest = if draining || watching { DRAIN_PAUSE } else { LONGEST_PAUSE };
    let next = next_look(look).map(|at| Duration::from_millis(at.since_ms(now)));
    next.map_or(longest, |next| next.clamp(Duration::from_millis(1), longest))
}
