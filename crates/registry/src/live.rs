//! The live state of one environment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lockstep_domain::check::CheckSeen;
use lockstep_domain::clients_at::OutsideAt;
use lockstep_domain::edition::Edition;
use lockstep_domain::listeners::ListensAt;
use lockstep_domain::observed::{Observed, Tables};
use lockstep_domain::routes::{
    Endpoint, GatewayReceipt, LeftAlone, RefusedTable, RouteTable, ServiceRoutes, Split,
};
use lockstep_domain::watch::{AnswerSample, LATENCY_CLASSES};
use lockstep_domain::{Arm, GatewayName, Instance, InstanceId, Timestamp};
use tokio::sync::watch;

use crate::called::Seen;
use crate::counting::Counting;
use crate::instances::Instances;
use crate::lately::{Lately, Samples};
use crate::latencies::Latencies;
use crate::mirrors::Mirrors;
use crate::reporters::{Known, MAX_WHY, ReceiptFault, Reporters};
use crate::switched::Switched;
use crate::told::Told;
use crate::traffic::{Totals, Traffic, add, since};
use crate::troubles::Troubles;
use crate::watched::WatchedTraffic;

/// A gateway that has not reported for this long is not waited for any more. It goes on serving its last table, and is
/// counted again with its next receipt.
pub const GATEWAY_LEASE_MS: u64 = 5_000;
/// More gateways than this are not remembered at the same time; the one that was silent longest is forgotten.
pub const MAX_GATEWAYS: usize = 1_000;

/// A gateway as its last receipt shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySeen {
    /// Identifies one run of one gateway process.
    pub gateway: String,
    /// The table it serves; revision 0 is none.
    pub edition: Edition,
    /// The lowest revision of a table that requests of it were admitted by that are under way.
    pub oldest_admitted: Option<u64>,
    /// The newest format of tables that it takes; nobody knows before it reports.
    pub takes_format: Option<u32>,
    /// The table that it was given last and did not take.
    pub refused: Option<RefusedTable>,
    /// Versions that it leaves alone because they fail.
    pub left_alone: Vec<LeftAlone>,
    /// Where it listens for clients from outside beside the address that it was told.
    pub outside: Vec<OutsideAt>,
    /// What it found by its checks, when it last reported.
    pub checks: Vec<CheckSeen>,
    /// When it last reported.
    pub seen: Timestamp,
}

/// Addresses for clients from outside that one gateway says: more than one host has.
const MAX_OUTSIDE: usize = 16;

/// The name of the gateway whose run reports under an id; none for those within the server.
fn named(run: &str) -> Option<&str> {
    run.split_once('/').map(|(name, _)| name)
}

fn cut(said: &OutsideAt) -> OutsideAt {
    let problem = said.problem.as_ref().map(|why| why.chars().take(MAX_WHY).collect());
    OutsideAt { problem, ..said.clone() }
}

/// Versions, each for one caller, of which it is kept that a gateway leaves them alone: enough to see what is wrong.
const MAX_LEFT_ALONE: usize = 100;

#[derive(Debug)]
pub(crate) struct Live {
    /// The record that made the environment, once it is known.
    record: Option<u64>,
    published: watch::Sender<Option<RouteTable>>,
    gateways: BTreeMap<String, GatewaySeen>,
    /// Gateways of their own, by name, that were forgotten because they said nothing more, and when they did last.
    silent: BTreeMap<String, Timestamp>,
    in_flight: BTreeMap<String, BTreeMap<InstanceId, u64>>,
    /// What each gateway says of the listeners of instances.
    listens: BTreeMap<String, Vec<ListensAt>>,
    traffic: Traffic,
    samples: Samples,
    /// What gateways had counted before anybody saw them.
    unseen: Totals,
    watched: WatchedTraffic,
    pub(crate) latencies: Latencies,
    pub(crate) mirrors: Mirrors,
    pub(crate) called: Seen,
    instances: Instances,
    pub(crate) told: Told,
    /// Who reports with a key of their own.
    pub(crate) reporters: Reporters,
    troubles: Troubles,
    pub(crate) counting: Counting,
    switched: Switched,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            record: None,
            published: watch::Sender::new(None),
            gateways: BTreeMap::new(),
            silent: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            listens: BTreeMap::new(),
            traffic: Traffic::default(),
            samples: Samples::default(),
            unseen: Totals::new(),
            watched: WatchedTraffic::default(),
            latencies: Latencies::default(),
            mirrors: Mirrors::default(),
            called: Seen::default(),
            instances: Instances::default(),
            told: Told::default(),
            reporters: Reporters::default(),
            troubles: Troubles::default(),
            counting: Counting::default(),
            switched: Switched::default(),
        }
    }
}

impl Live {
    /// Tells whether this is about the environment that a record made. What was seen of an earlier one of its name is forgotten.
    pub(crate) fn is_of(&mut self, record: u64) -> bool {
        if self.record.is_some_and(|known| known < record) {
            *self = Self::default();
        }
        *self.record.get_or_insert(record) == record
    }

    pub(crate) fn observe(&mut self, mut instances: Vec<Instance>, now: Timestamp) -> Observed {
        self.forget_silent(now);
        self.told.forget_over(&instances);
        self.told.show(&mut instances);
        self.instances.restamp(&mut instances, now);
        let apart = Apart::of(instances);
        self.troubles.look(&apart.instances, now);
        let leaving = self.in_splits(|split| split.leaving.iter().collect());
        let given = self.in_splits(|split| split.endpoints.iter().collect());
        self.instances.note_leaving(&leaving, &given, now);
        if self.applied() == Tables::Applied {
            self.instances.note_routes(&self.routed(), now);
        }
        self.observed(apart)
    }

    /// Returns what was observed when it was looked last, with what drivers say of the instances now. Notes nothing.
    pub(crate) fn seen(&self, mut instances: Vec<Instance>, now: Timestamp) -> Observed {
        self.told.show(&mut instances);
        self.instances.stamp(&mut instances, now);
        let apart = Apart::of(instances);
        self.observed(apart)
    }

    fn observed(&self, Apart { instances, jobs, resources }: Apart) -> Observed {
        Observed {
            evacuated: BTreeSet::new(),
            unreached: BTreeSet::new(),
            not_led_to: BTreeSet::new(),
            lost: BTreeSet::new(),
            away: BTreeSet::new(),
            instances,
            jobs,
            resources,
            in_flight: self.in_flight(),
            unrouted_since: self.instances.unrouted(),
            behind: self.switched.behind(&self.gateways.values()),
            leaving_since: self.instances.leaving(),
            steady_since: self.instances.steady(),
            troubles: self.troubles.seen(),
            tables: self.applied(),
            watched: self.watched.totals(),
            work: BTreeMap::new(),
            trials: BTreeMap::new(),
            databases: BTreeMap::new(),
            counting_since: self.counting.since(),
        }
    }

    pub(crate) fn publish(
        &mut self,
        table: RouteTable,
        next: impl FnOnce() -> Edition,
    ) -> Option<RouteTable> {
        let table = table.at(self.edition());
        if self.published.borrow().as_ref() == Some(&table) {
            return None;
        }
        let table = table.at(next());
        let trial = |routes: &ServiceRoutes| Some(routes.watch.as_ref()?.trial.clone());
        let trials = table.services.iter().filter_map(|(service, routes)| Some((service, trial(routes)?)));
        self.watched.expect(trials);
        self.switched.note(&table);
        self.published.send_replace(Some(table.clone()));
        // From now on some gateway may send requests to them, whether it has confirmed the table or not.
        self.instances.forget_unrouted(&self.routed());
        Some(table)
    }

    /// Takes in the receipt of a gateway of its own, if it can be true.
    pub(crate) fn receive_from(
        &mut self,
        gateway: &GatewayName,
        receipt: &GatewayReceipt,
        is_arm: &dyn Fn(&Arm) -> bool,
        now: Timestamp,
    ) -> Result<(), ReceiptFault> {
        let routed = self.routed();
        self.reporters.note_instances(routed.iter().chain(self.instances.ids()), now);
        let newest = Some(self.edition()).filter(|newest| newest.revision > 0);
        let believed = self.reporters.take(gateway, receipt, &Known { newest, is_arm }, now)?;
        self.receive(&believed, now);
        Ok(())
    }

    pub(crate) fn receive(&mut self, receipt: &GatewayReceipt, now: Timestamp) {
        if self.joins_behind(receipt) {
            self.instances.forget_all_unrouted();
        }
        self.note(&receipt.gateway, receipt.edition(), now);
        let left_alone = self.left_alone(receipt);
        let checks = self.checks(receipt);
        if let Some(seen) = self.gateways.get_mut(&receipt.gateway) {
            seen.takes_format = Some(receipt.takes_format);
            seen.oldest_admitted = receipt.oldest_admitted;
            seen.refused.clone_from(&receipt.refused);
            seen.left_alone = left_alone;
            seen.outside = receipt.outside.iter().take(MAX_OUTSIDE).map(cut).collect();
            seen.checks = checks;
        }
        self.in_flight.insert(receipt.gateway.clone(), receipt.in_flight.clone());
        self.listens.insert(receipt.gateway.clone(), self.of_the_table(receipt));
        self.watched.receive(&receipt.gateway, &receipt.watched);
        self.watched.keep(&receipt.samples);
        self.latencies.receive(receipt);
        self.mirrors.receive(&receipt.gateway, &receipt.mirrored);
        self.called.receive(&receipt.calls, &receipt.clients);
        // A gateway may have counted for days before this server first heard of it: none of that is of the last hour.
        for (arm, traffic) in self.traffic.receive(receipt) {
            self.samples.discount(&arm, traffic);
            add(&mut self.unseen, &arm, traffic);
        }
        self.samples.note(now, || self.traffic.totals());
        // It has finished its requests or cut them off, and takes no table any more: nothing is to be waited for.
        if receipt.last {
            self.forget(&receipt.gateway);
        }
    }

    /// What a gateway says of listeners that it was asked for: no more than the newest table has, and nothing as long as it serves
    /// an older one, in which another instance may have had the address.
    fn of_the_table(&self, receipt: &GatewayReceipt) -> Vec<ListensAt> {
        if !receipt.edition().confirms(&self.edition()) {
            return Vec::new();
        }
        let table = self.published.borrow();
        let callers = table.iter().filter_map(|table| table.listeners.as_ref()).flat_map(|it| &it.callers);
        let asked: BTreeSet<IpAddr> =
            callers.flat_map(|it| it.services.values().map(SocketAddr::ip)).collect();
        let said = receipt.listens.iter().filter(|one| asked.contains(&one.address)).take(asked.len());
        said.map(|one| ListensAt {
            address: one.address,
            problem: one.problem.as_ref().map(|why| why.chars().take(MAX_WHY).collect()),
        })
        .collect()
    }

    /// What a gateway leaves alone of the newest table.
    fn left_alone(&self, receipt: &GatewayReceipt) -> Vec<LeftAlone> {
        let table = self.published.borrow();
        let is_arm = |one: &&LeftAlone| {
            let routes = table.as_ref().and_then(|table| table.services.get(&one.arm.service));
            let mut splits = routes.iter().flat_map(|routes| &routes.splits);
            splits.any(|split| (&split.version, split.config) == (&one.arm.version, one.arm.config))
        };
        receipt.left_alone.iter().filter(is_arm).take(MAX_LEFT_ALONE).cloned().collect()
    }

    /// What a gateway says of checks: of those that the newest table has, with texts as long as they may be.
    fn checks(&self, receipt: &GatewayReceipt) -> Vec<CheckSeen> {
        let table = self.published.borrow();
        let asked = table.as_ref().map_or(&[][..], |table| &table.checks);
        let is_asked = |seen: &&CheckSeen| {
            asked.iter().any(|it| {
                it.service == seen.service && it.check.name == seen.name && it.check.request == seen.request
            })
        };
        let said = receipt.checks.iter().filter(is_asked).take(asked.len());
        said.cloned().map(CheckSeen::bounded).collect()
    }

    /// Tells whether a gateway listens at the address of an instance, or why none does; `None` when none has said so.
    pub(crate) fn listens_at(&self, address: IpAddr) -> Option<Result<(), String>> {
        let said = self.listens.values().flatten().filter(|one| one.address == address);
        said.map(|one| one.problem.clone().map_or(Ok(()), Err)).max_by_key(Result::is_ok)
    }

    pub(crate) fn not_listening(&self) -> BTreeMap<String, String> {
        let why = |listens: &[ListensAt]| listens.iter().find_map(|one| one.problem.clone());
        let all = self.listens.iter().filter_map(|(gateway, listens)| Some((gateway, why(listens)?)));
        all.map(|(gateway, why)| {
            (gateway.clone(), format!("an instance cannot call others by host and port: {why}"))
        })
        .collect()
    }

    /// Tells whether a gateway was not waited for until now and serves an older table, of which nobody knows whom it names.
    fn joins_behind(&self, receipt: &GatewayReceipt) -> bool {
        let behind = receipt.revision > 0 && self.edition().is_news_to(&receipt.edition());
        behind && !self.gateways.contains_key(&receipt.gateway)
    }

    /// Waits for a gateway as if it had reported an older table. What it counts is not known until it reports.
    pub(crate) fn expect(&mut self, gateway: &str, now: Timestamp) {
        self.note(gateway, Edition::default(), now);
    }

    fn note(&mut self, gateway: &str, edition: Edition, now: Timestamp) {
        if !self.gateways.contains_key(gateway) && self.gateways.len() >= MAX_GATEWAYS {
            let longest =
                self.gateways.values().min_by_key(|gateway| gateway.seen).map(|g| g.gateway.clone());
            longest.iter().for_each(|gateway| self.forget(gateway));
        }
        named(gateway).into_iter().for_each(|name| _ = self.silent.remove(name));
        let gateway = gateway.to_owned();
        let seen = GatewaySeen {
            gateway: gateway.clone(),
            edition,
            takes_format: None,
            oldest_admitted: None,
            refused: None,
            left_alone: Vec::new(),
            outside: Vec::new(),
            checks: Vec::new(),
            seen: now,
        };
        self.gateways.insert(gateway, seen);
    }

    pub(crate) fn skip(&mut self, ms: u64) {
        self.gateways.values_mut().for_each(|gateway| gateway.seen = gateway.seen.plus_ms(ms));
        self.silent.values_mut().for_each(|seen| *seen = seen.plus_ms(ms));
        self.instances.skip(ms);
        self.troubles.skip(ms);
        self.counting.skip(ms);
        self.samples.skip(ms);
    }

    pub(crate) fn tables(&self) -> watch::Receiver<Option<RouteTable>> {
        self.published.subscribe()
    }

    pub(crate) fn gateways(&mut self, now: Timestamp) -> Vec<GatewaySeen> {
        self.forget_silent(now);
        self.gateways.values().cloned().collect()
    }

    pub(crate) fn latencies(&self, arm: &Arm) -> [u64; LATENCY_CLASSES] {
        self.latencies.of(arm)
    }

    pub(crate) fn lately(&self, now: Timestamp) -> Lately {
        self.samples.lately(now, self.traffic.totals())
    }

    pub(crate) fn take_samples(&mut self) -> Vec<AnswerSample> {
        self.watched.take_samples()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.traffic.totals()
    }

    pub(crate) fn counted(&self) -> Totals {
        since(self.traffic.totals(), &self.unseen)
    }

    fn forget_silent(&mut self, now: Timestamp) {
        let silent: Vec<_> = self
            .gateways
            .values()
            .filter(|gateway| now.since_ms(gateway.seen) > GATEWAY_LEASE_MS)
            .map(|gateway| (gateway.gateway.clone(), gateway.seen))
            .collect();
        for (gateway, seen) in silent {
            self.forget(&gateway);
            // Another process of it may go on.
            let name = named(&gateway).filter(|name| !self.reports(name));
            name.into_iter().for_each(|name| _ = self.silent.insert(name.to_owned(), seen));
        }
    }

    fn reports(&self, name: &str) -> bool {
        self.gateways.keys().any(|gateway| named(gateway) == Some(name))
    }

    pub(crate) fn silent(&mut self, now: Timestamp) -> BTreeMap<String, Timestamp> {
        self.forget_silent(now);
        self.silent.clone()
    }

    /// What it counted stays: it may only have been silent for a while, and go on with the same counters.
    /// Waits no more for a gateway whose key was taken away.
    pub(crate) fn forget_reporter(&mut self, gateway: &GatewayName) {
        let its = format!("{gateway}/");
        let runs: Vec<_> = self.gateways.keys().filter(|id| id.starts_with(&its)).cloned().collect();
        runs.iter().for_each(|run| self.forget(run));
        self.silent.remove(gateway.as_str());
    }

    fn forget(&mut self, gateway: &str) {
        self.gateways.remove(gateway);
        self.in_flight.remove(gateway);
        self.listens.remove(gateway);
    }

    /// The gateways that have not confirmed the newest table; `None` when there is no table.
    pub(crate) fn behind(&mut self, now: Timestamp) -> Option<Vec<String>> {
        self.forget_silent(now);
        let published = self.edition();
        let behind = self.gateways.values().filter(|gateway| !gateway.edition.confirms(&published));
        (published.revision > 0).then(|| behind.map(|gateway| gateway.gateway.clone()).collect())
    }

    fn applied(&self) -> Tables {
        let published = self.edition();
        let confirmed = |gateway: &GatewaySeen| gateway.edition.confirms(&published);
        match published.revision > 0 && self.gateways.values().all(confirmed) {
            true => Tables::Applied,
            false => Tables::Pending,
        }
    }

    /// The place of the table that was published last; revision 0 when none was.
    fn edition(&self) -> Edition {
        self.published.borrow().as_ref().map(RouteTable::edition).unwrap_or_default()
    }

    fn routed(&self) -> BTreeSet<InstanceId> {
        self.in_splits(|split| split.instances().collect())
    }

    fn in_splits(&self, these: impl Fn(&Split) -> Vec<&Endpoint>) -> BTreeSet<InstanceId> {
        let table = self.published.borrow();
        let services = table.iter().flat_map(|table| table.services.values());
        let endpoints = services.flat_map(|service| &service.splits).flat_map(these);
        endpoints.map(|endpoint| endpoint.instance.clone()).collect()
    }

    fn in_flight(&self) -> BTreeMap<InstanceId, u64> {
        let mut sums = BTreeMap::new();
        for (instance, requests) in self.in_flight.values().flatten() {
            *sums.entry(instance.clone()).or_default() += requests;
        }
        sums
    }
}

/// Instances, told from runs of jobs and from processes of resources.
struct Apart {
    instances: Vec<Instance>,
    jobs: Vec<Instance>,
    resources: Vec<Instance>,
}

impl Apart {
    fn of(all: Vec<Instance>) -> Self {
        let (resources, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.resource.is_some());
        let (jobs, instances) = all.into_iter().partition(|instance| instance.job.is_some());
        Self { instances, jobs, resources }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lockstep_domain::listeners::{CallerListeners, Listeners, OpenedBy};
    use lockstep_domain::routes::{ArmTraffic, FULL_WEIGHT, ROUTE_TABLE_FORMAT, SplitRole};
    use lockstep_domain::{Arm, ConfigRevision, InstanceState, VersionNumber};

    use super::*;

    pub(crate) fn table(baseline: u64) -> RouteTable {
        RouteTable {
            listeners: None,
            entry: None,
            visits: None,
            lanes: Vec::new(),
            switches: None,
            between: None,
            checks: Vec::new(),
            aliases: BTreeMap::new(),
            format: ROUTE_TABLE_FORMAT,
            environment: "production".parse().unwrap(),
            history: history(),
            revision: 0,
            baseline,
            routes: vec![],
            services: BTreeMap::new(),
            rules: None,
            callers: Vec::new(),
        }
    }

    #[test]
    fn what_gateways_say_of_listeners_counts_for_those_that_the_table_has_and_ends_with_them() {
        let mut live = Live::default();
        let address: IpAddr = "127.64.0.1".parse().unwrap();
        let other: IpAddr = "127.64.0.2".parse().unwrap();
        let caller = CallerListeners {
            instance: "web-1".parse().unwrap(),
            arm: arm(),
            user: None,
            opened_by: OpenedBy::Run("server-1".to_owned()),
            services: BTreeMap::from([("orders".parse().unwrap(), SocketAddr::new(address, 17_000))]),
        };
        let listeners = Listeners { host: "here".to_owned(), user: 0, callers: vec![caller] };
        let table = table(1).with_listeners(Some(listeners));
        assert_eq!(table.format, 4);
        live.publish(table, at(1)).unwrap();
        let says = |gateway: &str, problem: Option<&str>| {
            let problem = problem.map(|why| why.repeat(1_000));
            let one = |address| ListensAt { address, problem: problem.clone() };
            GatewayReceipt { listens: vec![one(address), one(other)], ..receipt(gateway, 1, 1) }
        };
        let older = GatewayReceipt { revision: 0, ..says("edge", None) };
        live.receive(&older, Timestamp(0));
        assert_eq!(live.listens_at(address), None, "another may have had the address in its table");
        live.receive(&says("edge", Some("in use")), Timestamp(1));
        assert!(live.listens_at(address).unwrap().unwrap_err().starts_with("in use"));
        assert_eq!(live.listens_at(address).unwrap().unwrap_err().chars().count(), MAX_WHY);
        assert_eq!(live.listens_at(other), None, "nobody was asked to listen there");
        assert!(live.not_listening()["edge"].contains("in use"));
        live.receive(&says("server-1", None), Timestamp(2));
        assert_eq!(live.listens_at(address), Some(Ok(())), "one that listens is enough");
        live.receive(&GatewayReceipt { last: true, ..says("server-1", None) }, Timestamp(3));
        assert!(live.listens_at(address).unwrap().is_err());
        assert_eq!(live.gateways(Timestamp(3 + GATEWAY_LEASE_MS)), []);
        assert_eq!(live.listens_at(address), None, "whoever is silent says nothing");
    }

    fn history() -> lockstep_domain::edition::TableHistory {
        "line".parse().unwrap()
    }

    fn at(revision: u64) -> impl FnOnce() -> Edition {
        move || Edition { history: history(), revision }
    }

    fn arm() -> Arm {
        Arm {
            service: "orders".parse().unwrap(),
            version: VersionNumber::new(1, 0, 0),
            config: ConfigRevision(0),
            process: None,
        }
    }

    fn receipt(gateway: &str, revision: u64, requests: u64) -> GatewayReceipt {
        GatewayReceipt {
            gateway: gateway.into(),
            environment: "production".parse().unwrap(),
            history: history(),
            revision,
            takes_format: ROUTE_TABLE_FORMAT,
            refused: None,
            in_flight: BTreeMap::new(),
            traffic: vec![(arm(), ArmTraffic { requests, failures: 1 })],
            latencies: Vec::new(),
            watched: Vec::new(),
            samples: Vec::new(),
            mirrored: Vec::new(),
            calls: Vec::new(),
            clients: Vec::new(),
            listens: Vec::new(),
            left_alone: Vec::new(),
            oldest_admitted: None,
            last: false,
            taken_from: None,
            handed_to: None,
            between: None,
            outside: Vec::new(),
            checks: Vec::new(),
        }
    }

    fn instance(state: InstanceState) -> Instance {
        Instance {
            id: "orders-1".parse().unwrap(),
            environment: "production".parse().unwrap(),
            arm: arm(),
            state,
            address: None,
            since: Timestamp(900),
            restarts: 0,
            job: None,
            resource: None,
            host: None,
        }
    }

    #[test]
    fn a_table_is_published_once() {
        let mut live = Live::default();
        let first = live.publish(table(1), at(1)).unwrap();
        assert_eq!(live.publish(table(1), at(2)), None);
        let second = live.publish(table(2), at(2)).unwrap();
        assert_eq!((first.revision, second.revision), (1, 2));
    }

    #[test]
    fn a_receipt_of_another_history_confirms_nothing_however_high_its_number() {
        let mut live = Live::default();
        live.publish(table(1), at(3)).unwrap();
        let mut foreign = receipt("edge", 1_700_000_000_000, 0);
        foreign.history = "before".parse().unwrap();
        foreign.refused = Some(RefusedTable { history: history(), revision: 3, why: "older".into() });
        live.receive(&foreign, Timestamp(1));
        let observed = live.observe(vec![instance(InstanceState::Healthy)], Timestamp(2));
        assert_eq!((observed.tables, observed.unrouted_since.len()), (Tables::Pending, 0));
        assert_eq!(live.gateways(Timestamp(2))[0].refused.as_ref().unwrap().revision, 3);
        live.receive(&receipt("edge", 3, 0), Timestamp(3));
        assert_eq!(live.observe(vec![], Timestamp(4)).tables, Tables::Applied);
    }

    #[test]
    fn tables_are_applied_when_every_live_gateway_says_so() {
        let mut live = Live::default();
        let revision = live.publish(table(1), at(1_000)).unwrap().revision;
        live.receive(&receipt("a", revision, 0), Timestamp(1_000));
        live.receive(&receipt("b", revision - 1, 0), Timestamp(1_000));
        assert_eq!(live.observe(vec![], Timestamp(1_001)).tables, Tables::Pending);
        live.receive(&receipt("a", revision, 0), Timestamp(5_000));
        let silent = Timestamp(1_001 + GATEWAY_LEASE_MS);
        assert_eq!(live.observe(vec![], silent).tables, Tables::Applied);
    }

    #[test]
    fn a_gateway_that_says_that_it_leaves_is_waited_for_no_more_and_what_it_counted_stays() {
        let mut live = Live::default();
        let revision = live.publish(table(1), at(1_000)).unwrap().revision;
        live.receive(&receipt("a", revision, 15), Timestamp(1_000));
        let behind = receipt("b", revision - 1, 7);
        live.receive(&behind, Timestamp(1_000));
        assert_eq!(live.observe(vec![], Timestamp(1_001)).tables, Tables::Pending);
        live.receive(&GatewayReceipt { last: true, ..behind }, Timestamp(1_002));
        assert_eq!(live.observe(vec![], Timestamp(1_003)).tables, Tables::Applied);
        let seen: Vec<_> = live.gateways(Timestamp(1_003)).into_iter().map(|seen| seen.gateway).collect();
        assert_eq!(seen, ["a"]);
        assert_eq!(live.totals()[&arm()].requests, 22);
        // Who says so and comes again with an older table is waited for, like every gateway that joins behind.
        live.receive(&receipt("b", revision - 1, 8), Timestamp(1_004));
        assert_eq!(live.observe(vec![], Timestamp(1_005)).tables, Tables::Pending);
    }

    #[test]
    fn nothing_of_a_removed_environment_is_in_a_later_one_of_its_name() {
        let registry = crate::Registry::default();
        let (production, edge) = ("production".parse().unwrap(), "edge".parse().unwrap());
        let told = |record: u64, requests: u64| {
            registry
                .receive_from(record, &edge, &receipt("run", 0, requests), |_| true, Timestamp(1))
                .unwrap();
            registry.totals(&production).values().map(|traffic| traffic.requests).sum::<u64>()
        };
        registry.expect(&production, "edge", Timestamp(1));
        registry.begin(&production, 3);
        assert_eq!(
            registry.gateways(&production, Timestamp(1)).len(),
            1,
            "what was expected before is of the first"
        );
        assert_eq!(told(3, 15), 15);
        let waits = registry.tables(&production);
        registry.begin(&production, 9);
        assert!(waits.has_changed().is_err(), "who waits for a table of the first hears that none comes");
        assert_eq!(registry.gateways(&production, Timestamp(1)), []);
        assert_eq!(told(3, 16), 0, "a report that was under way for the first is not of the second");
        assert_eq!(told(9, 2), 2);
        // The same when the report comes between the removal and the next one.
        registry.forget(&production);
        assert_eq!(told(9, 5), 5);
        registry.begin(&production, 12);
        assert!(registry.totals(&production).is_empty());
    }

    #[test]
    fn a_gateway_that_was_silent_is_counted_once() {
        let mut live = Live::default();
        live.receive(&receipt("a", 1, 15), Timestamp(3));
        live.observe(vec![], Timestamp(3 + GATEWAY_LEASE_MS + 1));
        assert_eq!(live.totals()[&arm()].requests, 15);
        live.receive(&receipt("a", 1, 16), Timestamp(9_000));
        assert_eq!(live.totals()[&arm()].requests, 16);
    }

    #[test]
    fn what_a_gateway_had_counted_before_anybody_listened_is_not_counted_here() {
        let mut live = Live::default();
        live.receive(&receipt("a", 1, 1_000), Timestamp(3));
        let here = |live: &Live| live.counted()[&arm()].requests;
        assert_eq!((live.totals()[&arm()].requests, here(&live)), (1_000, 0));
        live.receive(&receipt("a", 1, 1_007), Timestamp(4));
        live.receive(&receipt("b", 1, 500), Timestamp(5));
        live.receive(&receipt("b", 1, 501), Timestamp(6));
        assert_eq!((live.totals()[&arm()].requests, here(&live)), (1_508, 8));
    }

    #[test]
    fn a_gateway_that_is_expected_is_waited_for() {
        let mut live = Live::default();
        live.expect("a", Timestamp(1_000));
        let revision = live.publish(table(1), at(1_000)).unwrap().revision;
        assert_eq!(live.observe(vec![], Timestamp(1_001)).tables, Tables::Pending);
        live.receive(&receipt("a", revision, 0), Timestamp(1_002));
        assert_eq!(live.observe(vec![], Timestamp(1_003)).tables, Tables::Applied);
    }

    fn table_with(instances: &[&str], baseline: u64) -> RouteTable {
        let endpoint = |id: &&str| Endpoint::at(id.parse().unwrap(), ([127, 0, 0, 1], 20_000).into());
        let split = Split {
            version: arm().version,
            config: arm().config,
            weight: FULL_WEIGHT,
            role: SplitRole::Stable,
            endpoints: instances.iter().map(endpoint).collect(),
            leaving: Vec::new(),
            named: Vec::new(),
            policy: None,
            protocol: lockstep_domain::protocol::Protocol::default(),
            approach: Default::default(),
        };
        let routes = ServiceRoutes {
            salt: String::new(),
            splits: vec![split],
            watch: None,
            version_rules: Vec::new(),
            fallback: None,
            mirror: None,
            growth: None,
            passages: Vec::new(),
        };
        RouteTable { services: BTreeMap::from([(arm().service, routes)]), ..table(baseline) }
    }

    #[test]
    fn what_is_in_a_table_that_nobody_has_confirmed_yet_counts_as_routed() {
        let mut live = Live::default();
        let healthy = || vec![instance(InstanceState::Healthy)];
        live.publish(table_with(&[], 1), at(1_000));
        assert_eq!(live.observe(healthy(), Timestamp(1_001)).unrouted_since.len(), 1);
        let revision = live.publish(table_with(&["orders-1"], 2), at(1_002)).unwrap().revision;
        live.receive(&receipt("edge", revision, 0), Timestamp(1_003));
        // Taken back before everybody had it: some gateway may serve it.
        live.publish(table_with(&[], 1), at(1_004));
        assert_eq!(live.observe(healthy(), Timestamp(1_005)).unrouted_since, BTreeMap::new());
    }

    #[test]
    fn an_instance_that_leaves_is_routed_and_its_time_does_not_begin_anew() {
        let mut live = Live::default();
        let healthy = || vec![instance(InstanceState::Healthy)];
        let leaving = |baseline| {
            let mut table = table_with(&["orders-1"], baseline);
            let splits = &mut table.services.get_mut(&arm().service).unwrap().splits;
            splits[0].leaving = std::mem::take(&mut splits[0].endpoints);
            table
        };
        let since = |observed: Observed| observed.leaving_since.into_values().collect::<Vec<_>>();
        live.publish(leaving(1), at(1_000));
        let observed = live.observe(healthy(), Timestamp(1_001));
        assert_eq!((observed.unrouted_since.len(), since(observed)), (0, vec![Timestamp(1_001)]));
        live.publish(table_with(&[], 2), at(2_000));
        let observed = live.observe(healthy(), Timestamp(2_001));
        assert_eq!((observed.unrouted_since.len(), since(observed)), (1, vec![Timestamp(1_001)]));
        live.publish(leaving(3), at(3_000));
        assert_eq!(since(live.observe(healthy(), Timestamp(3_001))), [Timestamp(1_001)]);
        live.skip(500);
        assert_eq!(since(live.observe(healthy(), Timestamp(3_501))), [Timestamp(1_501)]);
        live.publish(table_with(&["orders-1"], 4), at(4_000));
        assert!(since(live.observe(healthy(), Timestamp(4_001))).is_empty(), "it is wanted again");
        live.publish(leaving(5), at(5_000));
        assert_eq!(since(live.observe(healthy(), Timestamp(5_001))), [Timestamp(5_001)]);
        assert!(since(live.observe(vec![], Timestamp(5_002))).len() <= 1);
        assert!(since(live.observe(vec![], Timestamp(5_003))).len() <= 1);
    }

    #[test]
    fn a_gateway_that_comes_back_with_an_old_table_may_send_requests_to_anybody() {
        let mut live = Live::default();
        let healthy = || vec![instance(InstanceState::Healthy)];
        let old = live.publish(table_with(&["orders-1"], 1), at(1_000)).unwrap().revision;
        let new = live.publish(table_with(&[], 2), at(2_000)).unwrap().revision;
        assert_eq!(live.observe(healthy(), Timestamp(2_001)).unrouted_since.len(), 1);
        live.receive(&receipt("edge", old, 0), Timestamp(3_000));
        assert_eq!(live.observe(healthy(), Timestamp(3_001)).unrouted_since, BTreeMap::new());
        live.receive(&receipt("edge", new, 0), Timestamp(3_002));
        let again = live.observe(healthy(), Timestamp(3_003)).unrouted_since;
        assert_eq!(again.into_values().collect::<Vec<_>>(), [Timestamp(3_003)]);
    }

    #[test]
    fn an_instance_is_steady_from_when_this_server_saw_it_until_anything_happens() {
        let mut live = Live::default();
        let seen = |live: &mut Live, since, restarts, at| {
            let healthy = instance(InstanceState::Healthy);
            let observed =
                live.observe(vec![Instance { since: Timestamp(since), restarts, ..healthy }], Timestamp(at));
            observed.steady_since.into_values().next().unwrap().0
        };
        assert_eq!(seen(&mut live, 900, 0, 5_000), 5_000, "what was before this server is not known");
        assert_eq!(seen(&mut live, 900, 0, 6_000), 5_000);
        assert_eq!(seen(&mut live, 900, 1, 7_000), 7_000, "it was restarted");
        assert_eq!(seen(&mut live, 7_500, 1, 8_000), 8_000, "it was unhealthy, and nobody saw it");
        let unhealthy = InstanceState::Unhealthy { reason: "slow".into() };
        assert!(live.observe(vec![instance(unhealthy)], Timestamp(8_500)).steady_since.is_empty());
    }

    #[test]
    fn whoever_only_asks_changes_nothing() {
        let mut live = Live::default();
        live.publish(table(1), at(1_000));
        live.told.tell(&instance(InstanceState::Healthy).id);
        let before = live.observe(vec![instance(InstanceState::Healthy)], Timestamp(1_000));
        assert_eq!(live.seen(vec![instance(InstanceState::Healthy)], Timestamp(1_500)), before);
        let failed = InstanceState::failed("gone", lockstep_domain::fault::Fault::Crash);
        assert_eq!(live.seen(vec![instance(failed)], Timestamp(1_600)).instances[0].since, Timestamp(1_600));
        assert!(live.seen(vec![], Timestamp(1_700)).instances.is_empty());
        assert!(live.told.contains(&instance(InstanceState::Healthy).id));
        assert_eq!(live.observe(vec![instance(InstanceState::Healthy)], Timestamp(2_000)), before);
    }

    #[test]
    fn a_state_lasts_from_when_this_clock_saw_it() {
        let mut live = Live::default();
        live.publish(table(1), at(1_000));
        let first = live.observe(vec![instance(InstanceState::Healthy)], Timestamp(1_000));
        assert_eq!(first.instances[0].since, Timestamp(900));
        assert_eq!(first.unrouted_since.len(), 1);
        let failed = InstanceState::failed("gone", lockstep_domain::fault::Fault::Crash);
        let second = live.observe(vec![instance(failed)], Timestamp(1_500));
        assert_eq!(second.instances[0].since, Timestamp(1_500));
    }
}
