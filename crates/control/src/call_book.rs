//! What instances of each environment called while a baseline was current: what is really used of whom, and who passes on for whom it calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::types::CallsView;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::called::{
    Call, CallCounts, Called, CalledByClients, Calls, ClientCall, ClientCalls, ClientCounts,
    OTHER_OPERATIONS, callers,
};
use lockstep_domain::seen_use::SeenUse;
use lockstep_domain::{
    Arm, Environment, EnvironmentName, ServiceName, Timestamp, VersionNumber, VersionRef, World,
};
use serde::{Deserialize, Serialize};

use crate::environments::find;
use crate::{Control, counted_file, lock};

/// How often what gateways saw is taken.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is kept: so much of it a server that is killed loses.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// Baselines of an environment of which calls are kept, the newest.
const MAX_BASELINES: usize = 20;
/// Baselines with calls of a service that say whom it calls.
const CALLING_BASELINES: usize = 2;
/// Kinds of calls that are kept of a baseline. What comes then is counted by its pair of versions alone.
const MAX_KINDS: usize = 5_000;
/// Pairs of versions that are kept beside these without a name of what is asked for; what is one too many is left out. A baseline of two hundred
/// services has some hundreds.
const MAX_PAIRS: usize = 5_000;
/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// The calls of all environments.
#[derive(Debug)]
pub(crate) struct CallBook {
    file: PathBuf,
    all: Mutex<BTreeMap<EnvironmentName, Pages>>,
    kept: Mutex<Kept>,
    uses: Mutex<Uses>,
}

#[derive(Debug)]
struct Kept {
    at: Instant,
    is_behind: bool,
}

/// The calls of one environment.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pages {
    /// The record that made it: another one of its name has other baselines.
    record: u64,
    baselines: BTreeMap<u64, Page>,
}

/// What was called while one baseline was current.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    since: Timestamp,
    until: Timestamp,
    #[serde(with = "as_list")]
    calls: Calls,
    #[serde(default, with = "clients_as_list", skip_serializing_if = "ClientCalls::is_empty")]
    clients: ClientCalls,
}

mod clients_as_list {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{CalledByClients, ClientCalls};

    pub(super) fn serialize<S: Serializer>(calls: &ClientCalls, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(super::listed(calls))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ClientCalls, D::Error> {
        let list = Vec::<CalledByClients>::deserialize(from)?;
        Ok(list.into_iter().map(|CalledByClients { call, counts }| (call, counts)).collect())
    }
}

fn listed(calls: &ClientCalls) -> impl Iterator<Item = CalledByClients> {
    calls.iter().map(|(call, counts)| CalledByClients { call: call.clone(), counts: *counts })
}

mod as_list {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Called, Calls};

    pub(super) fn serialize<S: Serializer>(calls: &Calls, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(calls.iter().map(|(call, counts)| Called { call: call.clone(), counts: *counts }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Calls, D::Error> {
        let list = Vec::<Called>::deserialize(from)?;
        Ok(list.into_iter().map(|Called { call, counts }| (call, counts)).collect())
    }
}

impl Page {
    fn graph(&self) -> BTreeMap<&ServiceName, BTreeSet<&ServiceName>> {
        let mut graph: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for call in self.calls.keys() {
            graph.entry(&call.caller.service).or_default().insert(&call.callee.service);
        }
        graph
    }

    fn add(&mut self, call: Call, counts: CallCounts) {
        let fits = self.calls.len() < MAX_KINDS || self.calls.contains_key(&call);
        let call = if fits { call } else { Call { operation: OTHER_OPERATIONS.to_owned(), ..call } };
        if self.calls.len() >= MAX_KINDS + MAX_PAIRS && !self.calls.contains_key(&call) {
            return;
        }
        self.calls.entry(call).or_default().add(counts);
    }

    fn add_of_clients(&mut self, call: ClientCall, counts: ClientCounts) {
        let fits = self.clients.len() < MAX_KINDS || self.clients.contains_key(&call);
        let call = if fits { call } else { ClientCall { operation: OTHER_OPERATIONS.to_owned(), ..call } };
        if self.clients.len() >= MAX_KINDS + MAX_PAIRS && !self.clients.contains_key(&call) {
            return;
        }
        self.clients.entry(call).or_default().add(counts);
    }
}

impl Pages {
    /// Adds what was called while a baseline was current.
    fn add(&mut self, baseline: u64, (calls, clients): (Calls, ClientCalls), now: Timestamp) {
        let new = || Page { since: now, until: now, calls: Calls::new(), clients: ClientCalls::new() };
        let page = self.baselines.entry(baseline).or_insert_with(new);
        page.until = page.until.max(now);
        calls.into_iter().for_each(|(call, counts)| page.add(call, counts));
        clients.into_iter().for_each(|(call, counts)| page.add_of_clients(call, counts));
        while self.baselines.len() > MAX_BASELINES {
            self.baselines.pop_first();
        }
    }

    fn graph(&self) -> BTreeMap<ServiceName, BTreeSet<ServiceName>> {
        let mut known: BTreeMap<ServiceName, (usize, BTreeSet<ServiceName>)> = BTreeMap::new();
        for page in self.baselines.values().rev() {
            for (caller, callees) in page.graph() {
                let (pages, all) = known.entry(caller.clone()).or_default();
                if *pages < CALLING_BASELINES {
                    *pages += 1;
                    all.extend(callees.into_iter().cloned());
                }
            }
        }
        known.into_iter().map(|(caller, (_, callees))| (caller, callees)).collect()
    }
}

impl CallBook {
    /// Reads what was seen.
    pub(crate) fn open(file: PathBuf) -> Self {
        let lost = "which calls were seen is lost: it begins anew";
        let all = Mutex::new(counted_file::read(&file, MAX_BYTES, lost));
        let kept = Mutex::new(Kept { at: Instant::now(), is_behind: false });
        Self { file, all, kept, uses: Mutex::default() }
    }

    /// Adds what was called in an environment since the last look.
    fn add(&self, environment: &Environment, seen: (Calls, ClientCalls), now: Timestamp) {
        if seen.0.is_empty() && seen.1.is_empty() {
            return;
        }
        let mut all = lock(&self.all);
        let pages = all.entry(environment.name.clone()).or_default();
        if pages.record != environment.record {
            *pages = Pages { record: environment.record, ..Pages::default() };
        }
        pages.add(environment.baselines.current().number, seen, now);
        lock(&self.kept).is_behind = true;
        lock(&self.uses).index = None;
    }

    /// Returns which services each service was seen to call in an environment, by the names of then: while the newest two baselines were current
    /// in which it called anybody. One that was asked for nothing since still calls them.
    pub(crate) fn graph(&self, environment: &Environment) -> BTreeMap<ServiceName, BTreeSet<ServiceName>> {
        let all = lock(&self.all);
        let pages = all.get(&environment.name).filter(|pages| pages.record == environment.record);
        pages.map(Pages::graph).unwrap_or_default()
    }

    /// Returns what a version was seen to call of a service, in whichever environment.
    pub(crate) fn seen(&self, consumer: &VersionRef, provider: &ServiceName) -> Vec<SeenUse> {
        let index = self.index();
        index.versions.get(consumer).and_then(|of| of.get(provider)).cloned().unwrap_or_default()
    }

    /// Returns what clients were seen to ask a service for, in whichever environment.
    pub(crate) fn seen_of_clients(&self, provider: &ServiceName) -> Vec<SeenUse> {
        self.index().clients.get(provider).cloned().unwrap_or_default()
    }

    /// What was seen, by who called whom. It is made anew when something came since, and somebody asks.
    fn index(&self) -> Arc<UseIndex> {
        let all = lock(&self.all);
        let mut uses = lock(&self.uses);
        let Uses { world, index } = &mut *uses;
        Arc::clone(index.get_or_insert_with(|| Arc::new(UseIndex::of(&all, world.as_ref()))))
    }

    /// Forgets environments that there are no more, and notes the names of now.
    fn forget_others(&self, world: &World) {
        let mut uses = lock(&self.uses);
        if uses.world.as_ref().is_none_or(|known| !known.services.ptr_eq(&world.services)) {
            *uses = Uses { world: Some(world.clone()), index: None };
        }
        drop(uses);
        lock(&self.all).retain(|name, _| world.environment(name).is_some());
    }

    fn keep_now_and_then(&self) {
        let is_due = |kept: &Kept| kept.is_behind && kept.at.elapsed() >= KEEP_EVERY;
        if is_due(&lock(&self.kept)) {
            self.keep();
        }
    }

    fn keep(&self) {
        counted_file::put(&self.file, &*lock(&self.all));
        *lock(&self.kept) = Kept { at: Instant::now(), is_behind: false };
    }

    /// Returns all calls of a version that are kept, of whichever baseline.
    pub(crate) fn counts_of(
        &self,
        world: &World,
        environment: &Environment,
        (service, version): (&ServiceName, &VersionNumber),
    ) -> CallCounts {
        let all = lock(&self.all);
        let pages = all.get(&environment.name).filter(|pages| pages.record == environment.record);
        let calls = pages.into_iter().flat_map(|pages| pages.baselines.values()).flat_map(|page| &page.calls);
        let mut sum = CallCounts::default();
        for (call, counts) in calls {
            if world.current_name(&call.caller.service) == service && call.caller.version == *version {
                sum.add(*counts);
            }
        }
        sum
    }

    /// Shows what was called while a baseline was current: the current one, unless another is asked for.
    fn view(
        &self,
        world: &World,
        environment: &Environment,
        baseline: Option<u64>,
    ) -> Result<CallsView, Problem> {
        let current = environment.baselines.current().number;
        let baseline = baseline.unwrap_or(current);
        let all = lock(&self.all);
        let pages = all.get(&environment.name).filter(|pages| pages.record == environment.record);
        let known: BTreeSet<u64> = pages.iter().flat_map(|pages| pages.baselines.keys().copied()).collect();
        let page = pages.and_then(|pages| pages.baselines.get(&baseline));
        if page.is_none() && baseline != current {
            return Err(unseen(&environment.name, baseline, &known));
        }
        let calls = page.map(|page| named_now(world, &page.calls)).unwrap_or_default();
        let entries = (baseline == current).then(|| environment.entries());
        Ok(CallsView {
            environment: environment.name.clone(),
            baseline,
            since: page.map(|page| page.since),
            until: page.map(|page| page.until),
            callers: callers(world, entries, &calls),
            calls: calls.into_iter().map(|(call, counts)| Called { call, counts }).collect(),
            clients: page.map(|page| clients_named_now(world, &page.clients)).unwrap_or_default(),
            known: known.into_iter().collect(),
        })
    }
}

/// What was seen in use, and of which names.
#[derive(Debug, Default)]
struct Uses {
    world: Option<World>,
    index: Option<Arc<UseIndex>>,
}

/// What was seen in use, by who called whom.
#[derive(Debug, Default)]
struct UseIndex {
    versions: BTreeMap<VersionRef, BTreeMap<ServiceName, Vec<SeenUse>>>,
    clients: BTreeMap<ServiceName, Vec<SeenUse>>,
}

/// Calls of one operation that one version answered.
type Sums = BTreeMap<(String, VersionNumber), SeenUse>;

impl UseIndex {
    fn of(all: &BTreeMap<EnvironmentName, Pages>, world: Option<&World>) -> Self {
        let now = |name: &ServiceName| world.map_or(name, |world| world.current_name(name)).clone();
        let (mut versions, mut clients) =
            (BTreeMap::<_, BTreeMap<_, Sums>>::new(), BTreeMap::<_, Sums>::new());
        for (environment, pages) in all {
            let is_there = world.is_none_or(|world| {
                world.environment(environment).is_some_and(|it| it.record == pages.record)
            });
            for (baseline, page) in pages.baselines.iter().filter(|_| is_there) {
                let place = (environment, *baseline);
                for (call, counts) in &page.calls {
                    let caller = VersionRef {
                        service: now(&call.caller.service),
                        version: call.caller.version.clone(),
                    };
                    let sums =
                        versions.entry(caller).or_default().entry(now(&call.callee.service)).or_default();
                    let answered = counts.requests.saturating_sub(counts.failures);
                    note(sums, (&call.operation, &call.callee.version), answered, place);
                }
                for (call, counts) in &page.clients {
                    let sums = clients.entry(now(&call.callee.service)).or_default();
                    let answered = counts.requests.saturating_sub(counts.failures);
                    note(sums, (&call.operation, &call.callee.version), answered, place);
                }
            }
        }
        let listed = |sums: Sums| sums.into_values().collect::<Vec<_>>();
        let of_version =
            |of: BTreeMap<ServiceName, Sums>| of.into_iter().map(|(to, sums)| (to, listed(sums))).collect();
        Self {
            versions: versions.into_iter().map(|(caller, of)| (caller, of_version(of))).collect(),
            clients: clients.into_iter().map(|(to, sums)| (to, listed(sums))).collect(),
        }
    }
}

fn note(
    sums: &mut Sums,
    (operation, callee): (&str, &VersionNumber),
    answered: u64,
    (environment, baseline): (&EnvironmentName, u64),
) {
    let new = || SeenUse {
        operation: operation.to_owned(),
        callee: callee.clone(),
        answered: 0,
        baseline,
        environment: environment.clone(),
    };
    let known = sums.entry((operation.to_owned(), callee.clone())).or_insert_with(new);
    known.answered = known.answered.saturating_add(answered);
    if baseline > known.baseline {
        (known.baseline, known.environment) = (baseline, environment.clone());
    }
}

/// Services may have been renamed since.
fn named_now(world: &World, calls: &Calls) -> Calls {
    let mut named = Calls::new();
    for (call, counts) in calls {
        let mut call = call.clone();
        for arm in [&mut call.caller, &mut call.callee] {
            arm.service = world.current_name(&arm.service).clone();
        }
        named.entry(call).or_default().add(*counts);
    }
    named
}

fn clients_named_now(world: &World, calls: &ClientCalls) -> Vec<CalledByClients> {
    let mut named = ClientCalls::new();
    for (call, counts) in calls {
        let mut call = call.clone();
        call.callee.service = world.current_name(&call.callee.service).clone();
        named.entry(call).or_default().add(*counts);
    }
    listed(&named).collect()
}

fn unseen(environment: &EnvironmentName, baseline: u64, known: &BTreeSet<u64>) -> Problem {
    let kept: Vec<_> = known.iter().map(u64::to_string).collect();
    let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
    let detail = format!("no calls are kept of baseline {baseline} of `{environment}`; they are of: {kept}");
    Problem::new(ErrorCode::NotFound, detail).with_hint(format!("lockstep calls {environment}"))
}

impl Control {
    /// Takes what gateways saw of calls, again and again.
    pub(crate) async fn look_after_calls(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return tokio::task::block_in_place(|| self.call_book.keep()),
            }
            tokio::task::block_in_place(|| self.take_calls());
        }
    }

    fn take_calls(&self) {
        let (now, world) = self.ledger.look();
        for (name, environment) in &world.environments {
            let (mut calls, clients) = self.registry.take_calls(name);
            calls.retain(|call, _| is_known(&world, environment, &call.caller));
            self.call_book.add(environment, (calls, clients), now);
        }
        self.call_book.forget_others(&world);
        self.call_book.keep_now_and_then();
    }

    /// Shows what instances of an environment called while a baseline was current.
    ///
    /// # Errors
    /// When the environment does not exist, or nothing is kept of the baseline.
    pub fn calls(&self, name: &EnvironmentName, baseline: Option<u64>) -> Result<CallsView, Problem> {
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        self.call_book.view(&world, environment, baseline)
    }
}

/// Tells whether there can be an instance of an arm. Who calls says itself what it is, by an address that any instance can write, so that a name
/// alone proves nothing.
fn is_known(world: &World, environment: &Environment, arm: &Arm) -> bool {
    let service = world.current_name(&arm.service);
    let Some(version) = world.find_version(service, &arm.version) else { return false };
    version.run_of(arm.process.as_ref()).is_some()
        && (arm.config.0 == 0 || environment.configuration(service, arm.config).is_some())
}

#[cfg(test)]
mod tests {
    use lockstep_domain::ConfigRevision;

    use super::*;

    fn calls(operations: std::ops::Range<usize>) -> Calls {
        let arm = |service: &str| Arm {
            service: service.parse().unwrap(),
            version: VersionNumber::new(1, 0, 0),
            config: ConfigRevision(0),
            process: None,
        };
        let call = |n| Call { caller: arm("web"), callee: arm("api"), operation: format!("GET /{n}") };
        operations.map(|n| (call(n), CallCounts { requests: 1, ..CallCounts::default() })).collect()
    }

    #[test]
    fn a_service_calls_whom_it_called_when_it_was_asked_last_however_many_baselines_came_since() {
        let of = |caller: &str, callee: &str| {
            let (call, counts) = calls(0..1).pop_first().unwrap();
            let (caller, callee) = (caller.parse().unwrap(), callee.parse().unwrap());
            let caller = Arm { service: caller, ..call.caller };
            (Call { caller, callee: Arm { service: callee, ..call.callee }, ..call }, counts)
        };
        let mut pages = Pages::default();
        let called = [of("web", "api"), of("api", "old"), of("api", "new"), of("api", "new")];
        for (at, call) in called.into_iter().enumerate() {
            pages.add(at as u64, (Calls::from([call]), ClientCalls::new()), Timestamp(0));
        }
        pages.add(4, (Calls::new(), ClientCalls::new()), Timestamp(0));
        let graph: Vec<(String, Vec<String>)> = pages
            .graph()
            .into_iter()
            .map(|(caller, callees)| (caller.to_string(), callees.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(graph, [("api".into(), vec!["new".into()]), ("web".into(), vec!["api".into()])]);
    }

    #[test]
    fn versions_that_somebody_makes_up_do_not_fill_it() {
        let mut pages = Pages::default();
        let made_up = |n: u64| {
            let (call, counts) = calls(0..1).pop_first().unwrap();
            let caller = Arm { version: VersionNumber::new(n, 0, 0), ..call.caller.clone() };
            (Call { caller, ..call }, counts)
        };
        let most = MAX_KINDS + MAX_PAIRS;
        let all: Calls = (0..most as u64 + 20).map(made_up).collect();
        let clients = all.iter().map(|(call, counts)| {
            let call = ClientCall { callee: call.caller.clone(), operation: call.operation.clone() };
            (call, ClientCounts { requests: counts.requests, failures: 0 })
        });
        let clients = clients.collect();
        pages.add(1, (all, clients), Timestamp(5));
        assert_eq!((pages.baselines[&1].calls.len(), pages.baselines[&1].clients.len()), (most, most));
    }

    #[test]
    fn pages_are_bounded_and_read_again() {
        let mut pages = Pages::default();
        let of = |kinds| (calls(kinds), ClientCalls::new());
        let of_clients = |(call, counts): (Call, CallCounts)| {
            let call = ClientCall { callee: call.callee, operation: call.operation };
            (call, ClientCounts { requests: counts.requests, failures: 0 })
        };
        let clients: ClientCalls = calls(0..MAX_KINDS + 7).into_iter().map(of_clients).collect();
        pages.add(1, (calls(0..MAX_KINDS + 7), clients), Timestamp(5));
        assert_eq!(pages.baselines[&1].clients.len(), MAX_KINDS + 1);
        let page = &pages.baselines[&1].calls;
        let other = page.iter().find(|(call, _)| call.operation == OTHER_OPERATIONS).unwrap();
        assert_eq!((page.len(), other.1.requests), (MAX_KINDS + 1, 7));
        (2..40).for_each(|baseline| pages.add(baseline, of(0..1), Timestamp(baseline)));
        assert_eq!(pages.baselines.keys().copied().collect::<Vec<_>>(), (20..40).collect::<Vec<_>>());
        // A clock that was set back ends no page before it began.
        pages.add(39, of(0..1), Timestamp(1));
        assert_eq!((pages.baselines[&39].since, pages.baselines[&39].until), (Timestamp(39), Timestamp(39)));
        let text = serde_json::to_string(&pages).unwrap();
        let read: Pages = serde_json::from_str(&text).unwrap();
        assert_eq!(read.baselines[&39].calls, pages.baselines[&39].calls);
    }
}
