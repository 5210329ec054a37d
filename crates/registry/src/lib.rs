//! What is alive: instances and gateways of each environment, the table that was published to them, and what they count.
//!
//! It decides nothing. Nothing here is in the journal: after a restart it is seen anew.

mod called;
mod counting;
mod instances;
mod lately;
mod latencies;
mod live;
mod mirrors;
mod reporters;
mod switched;
mod told;
mod traffic;
mod troubles;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockstep_domain::called::{Calls, ClientCalls};
use lockstep_domain::counting::CountingPeriod;
use lockstep_domain::edition::Edition;
use lockstep_domain::mirror::MirrorCounts;
use lockstep_domain::observed::Observed;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use lockstep_domain::watch::{AnswerSample, LATENCY_CLASSES};
use lockstep_domain::{Arm, EnvironmentName, GatewayName, Instance, InstanceId, ServiceName, Timestamp};
use tokio::sync::watch;

pub use lately::Lately;
use live::Live;
pub use live::{GATEWAY_LEASE_MS, GatewaySeen, MAX_GATEWAYS};
pub use reporters::{REFUSALS_SHOWN_MS, ReceiptFault, Refused};

/// The live state of all environments.
#[derive(Debug, Default)]
pub struct Registry {
    environments: Mutex<BTreeMap<EnvironmentName, Live>>,
}

impl Registry {
    fn with<T>(&self, environment: &EnvironmentName, work: impl FnOnce(&mut Live) -> T) -> T {
        let mut environments: MutexGuard<'_, _> =
            self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        work(environments.entry(environment.clone()).or_default())
    }

    /// Begins to look at an environment, as the record made it that is named. What was seen of an earlier one of its name is
    /// forgotten, and is not taken in any more.
    pub fn begin(&self, environment: &EnvironmentName, record: u64) {
        self.of_record(environment, record, |_| ());
    }

    /// Forgets an environment that was removed. Who waits for a table of it is told that none comes.
    pub fn forget(&self, environment: &EnvironmentName) {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner).remove(environment);
    }

    /// Does something with an environment, unless a later one of its name is there.
    fn of_record<T>(
        &self,
        environment: &EnvironmentName,
        record: u64,
        work: impl FnOnce(&mut Live) -> T,
    ) -> Option<T> {
        self.with(environment, |live| live.is_of(record).then(|| work(live)))
    }

    /// Takes in what drivers say of the instances of an environment, and returns what is observed as a whole.
    pub fn observe(
        &self,
        environment: &EnvironmentName,
        instances: Vec<Instance>,
        now: Timestamp,
    ) -> Observed {
        self.with(environment, |live| live.observe(instances, now))
    }

    /// Returns what was observed when it was looked last, with what drivers say of the instances now; for whoever only asks.
    #[must_use]
    pub fn seen(&self, environment: &EnvironmentName, instances: Vec<Instance>, now: Timestamp) -> Observed {
        self.with(environment, |live| live.seen(instances, now))
    }

    /// Returns how many answers of an arm took how long to begin, by the classes of `watch::latency_bound_ms`.
    pub fn latencies(&self, environment: &EnvironmentName, arm: &Arm) -> [u64; LATENCY_CLASSES] {
        self.with(environment, |live| live.latencies(arm))
    }

    /// Returns what was found by the mirror that a record made.
    #[must_use]
    pub fn mirrored(&self, environment: &EnvironmentName, record: u64) -> MirrorCounts {
        self.with(environment, |live| live.mirrors.of(record))
    }

    /// Hands out the answers of present trials that gateways took to be compared with contracts; nobody gets them again.
    pub fn take_samples(&self, environment: &EnvironmentName) -> Vec<AnswerSample> {
        self.with(environment, Live::take_samples)
    }

    /// Hands out what instances called and clients asked for, as gateways saw it; nobody gets it again.
    pub fn take_calls(&self, environment: &EnvironmentName) -> (Calls, ClientCalls) {
        self.with(environment, |live| live.called.take())
    }

    /// Waits no more for a gateway whose key was taken away: it cannot say any more what it serves.
    pub fn forget_gateway(&self, environment: &EnvironmentName, gateway: &GatewayName) {
        self.with(environment, |live| live.forget_reporter(gateway));
    }

    /// Notes that instances were told to end. From now on they are stopping wherever they are looked at.
    pub fn tell(&self, environment: &EnvironmentName, instances: &[InstanceId]) {
        self.with(environment, |live| instances.iter().for_each(|id| live.told.tell(id)));
    }

    /// Tells whether an instance was told to end.
    #[must_use]
    pub fn is_told(&self, environment: &EnvironmentName, instance: &InstanceId) -> bool {
        self.with(environment, |live| live.told.contains(instance))
    }

    /// Returns the instances whose supervisor does not know yet that they were told to end.
    #[must_use]
    pub fn undelivered(&self, environment: &EnvironmentName) -> Vec<InstanceId> {
        self.with(environment, |live| live.told.undelivered())
    }

    /// Notes that the supervisor of an instance knows that it is to end, whatever becomes of this server.
    pub fn delivered(&self, environment: &EnvironmentName, instance: &InstanceId) {
        self.with(environment, |live| live.told.delivered(instance));
    }

    /// Returns instances of an environment as they are: with those stopping that were told to end.
    #[must_use]
    pub fn shown(&self, environment: &EnvironmentName, mut instances: Vec<Instance>) -> Vec<Instance> {
        self.with(environment, |live| live.told.show(&mut instances));
        instances
    }

    /// Publishes a table when it differs from the last one in more than its place, at the place that `next` gives; returns
    /// it then.
    pub fn publish(&self, table: RouteTable, next: impl FnOnce() -> Edition) -> Option<RouteTable> {
        let environment = table.environment.clone();
        self.with(&environment, |live| live.publish(table, next))
    }

    /// Moves every time by time that was added to the clock and did not pass.
    pub fn skip(&self, ms: u64) {
        let mut environments = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        environments.values_mut().for_each(|live| live.skip(ms));
    }

    /// Takes in a gateway's receipt.
    pub fn receive(&self, receipt: &GatewayReceipt, now: Timestamp) {
        self.with(&receipt.environment, |live| live.receive(receipt, now));
    }

    /// Takes in the receipt of a gateway of its own, if it can be true; `record` made the environment that its key is for. Has no
    /// effect when a later one of that name is there.
    ///
    /// # Errors
    /// When it cannot; it has no effect then, and is shown for a while.
    pub fn receive_from(
        &self,
        record: u64,
        gateway: &GatewayName,
        receipt: &GatewayReceipt,
        is_arm: impl Fn(&Arm) -> bool,
        now: Timestamp,
    ) -> Result<(), ReceiptFault> {
        let taken = self.of_record(&receipt.environment, record, |live| {
            live.receive_from(gateway, receipt, &is_arm, now)
        });
        taken.unwrap_or(Ok(()))
    }

    /// Notes that a receipt was refused before it was looked at.
    pub fn refuse(&self, environment: &EnvironmentName, who: &str, why: &str, now: Timestamp) {
        self.with(environment, |live| live.reporters.refuse(who, why.to_owned(), now));
    }

    /// Returns the receipts that were refused lately.
    #[must_use]
    pub fn refused(&self, environment: &EnvironmentName, now: Timestamp) -> Vec<Refused> {
        self.with(environment, |live| live.reporters.refused(now))
    }

    /// Returns the ids of the runs of gateways whose key more than one process has.
    #[must_use]
    pub fn contested(&self, environment: &EnvironmentName) -> BTreeSet<String> {
        self.with(environment, |live| live.reporters.contested())
    }

    /// Waits for a gateway that has not reported yet, until its lease is over.
    pub fn expect(&self, environment: &EnvironmentName, gateway: &str, now: Timestamp) {
        self.with(environment, |live| live.expect(gateway, now));
    }

    /// Notes what is counted together: the counting of a service begins when its period does.
    pub fn count_for(
        &self,
        environment: &EnvironmentName,
        periods: BTreeMap<ServiceName, CountingPeriod>,
        now: Timestamp,
    ) {
        self.with(environment, |live| live.counting.count_for(periods, now));
    }

    /// Tells whether a gateway listens at the address of an instance's listeners, or why it does not; `None` when none has said so.
    #[must_use]
    pub fn listens_at(&self, environment: &EnvironmentName, address: IpAddr) -> Option<Result<(), String>> {
        self.with(environment, |live| live.listens_at(address))
    }

    /// Returns the gateways that do not listen for an instance as they should, and why the first of these.
    #[must_use]
    pub fn not_listening(&self, environment: &EnvironmentName) -> BTreeMap<String, String> {
        self.with(environment, |live| live.not_listening())
    }

    /// Follows the published table of an environment.
    #[must_use]
    pub fn tables(&self, environment: &EnvironmentName) -> watch::Receiver<Option<RouteTable>> {
        self.with(environment, |live| live.tables())
    }

    /// Returns the gateways that serve an environment, with the requests each arm has had since they started.
    #[must_use]
    pub fn gateways(&self, environment: &EnvironmentName, now: Timestamp) -> Vec<GatewaySeen> {
        self.with(environment, |live| live.gateways(now))
    }

    /// Tells whether every gateway that is waited for serves the newest table.
    #[must_use]
    pub fn is_applied(&self, environment: &EnvironmentName, now: Timestamp) -> bool {
        self.with(environment, |live| live.behind(now).is_some_and(|behind| behind.is_empty()))
    }

    /// Names the gateways that are waited for and serve another table than the newest.
    #[must_use]
    pub fn behind(&self, environment: &EnvironmentName, now: Timestamp) -> Vec<String> {
        self.with(environment, |live| live.behind(now)).unwrap_or_default()
    }

    /// Returns what each arm did in the last hour, or since this server began when that is less.
    #[must_use]
    pub fn lately(&self, environment: &EnvironmentName, now: Timestamp) -> Lately {
        self.with(environment, |live| live.lately(now))
    }

    /// Returns all requests that each arm has had.
    #[must_use]
    pub fn totals(&self, environment: &EnvironmentName) -> Totals {
        self.with(environment, |live| live.totals())
    }

    /// Returns the requests of each arm that were counted while this server listened: no part of it is what a gateway had counted when it
    /// was first heard of.
    #[must_use]
    pub fn counted(&self, environment: &EnvironmentName) -> Totals {
        self.with(environment, |live| live.counted())
    }

    /// Returns how many answers of each arm took how long to begin that were counted while this server listened.
    #[must_use]
    pub fn counted_latencies(&self, environment: &EnvironmentName) -> BTreeMap<Arm, LatencyCounts> {
        self.with(environment, |live| live.latencies.counted())
    }

    /// Returns gateways of their own that fell silent without saying that they end, and when each was heard of last.
    #[must_use]
    pub fn silent(&self, environment: &EnvironmentName, now: Timestamp) -> BTreeMap<String, Timestamp> {
        self.with(environment, |live| live.silent(now))
    }
}

pub use latencies::LatencyCounts;
pub use traffic::Totals;
