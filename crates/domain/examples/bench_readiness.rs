//! How long it takes to plan every way back of an environment, and to add what the host says.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::baseline::{Baseline, Entries, difference};
use lockstep_domain::compat::Relation;
use lockstep_domain::contract::{Answer, Contracts, DatabaseWay, OfferedContract, Requirement, UsedContract};
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::readiness::{planned, with_host};
use lockstep_domain::service::{Service, Source, Version};
use lockstep_domain::ways_back::Host;
use lockstep_domain::{
    BaselineEntry, ConfigRevision, Environment, Event, Intent, OperationId, Recorded, ServiceName, Timestamp,
    VersionNumber, World, plan,
};

/// A journal that has a version and an environment to copy.
const JOURNAL: &str = include_str!("../tests/scenarios/recorded/one-at-a-time.jsonl");
/// Baselines after the first one: more than are planned.
const BASELINES: usize = 60;
/// How often each figure is measured; the median counts.
const ROUNDS: usize = 5;

/// Nobody has a contract: ranges decide.
struct NoContracts;

impl Contracts for NoContracts {
    fn fit(&self, _: &UsedContract, _: &[String], _: &OfferedContract) -> Answer {
        Answer::compatible()
    }

    fn messages(&self, _: &OfferedContract, _: &OfferedContract) -> Answer {
        Answer::compatible()
    }

    fn database(&self, _: &OfferedContract, _: &OfferedContract, _: DatabaseWay) -> Answer {
        Answer::compatible()
    }
}

fn recorded<T>(choose: impl Fn(Event) -> Option<T>) -> T {
    let mut events = JOURNAL.lines().filter_map(|line| serde_json::from_str::<Recorded>(line).ok());
    events.find_map(|recorded| choose(recorded.event)).expect("the journal has one")
}

fn name(index: usize) -> ServiceName {
    format!("service-{index}").parse().expect("a name")
}

/// A service in two versions that require three services before it.
fn service(index: usize, like: &Version) -> Service {
    let version = |minor: u64| {
        let mut version = like.clone();
        version.number = VersionNumber::new(1, minor, 0);
        let any = || Requirement::of_range(">=1.0".parse().expect("a range"));
        let required = [1, 7, 31].into_iter().filter_map(|back| index.checked_sub(back));
        version.requires = required.map(|it| (name(it), any())).collect();
        version.routes.clear();
        (version.number.clone(), Arc::new(version))
    };
    Service {
        name: name(index),
        source: Source::nowhere(),
        owner: None,
        lifecycle: "default".parse().expect("a name"),
        registered: Timestamp(1),
        versions: (0..2).map(version).collect(),
        earlier: Default::default(),
        first_name: None,
        manifests: Vec::new(),
        removed: None,
    }
}

/// All services in their first version, and then a few at a time in their second.
fn world(count: usize) -> World {
    let like = recorded(|event| match event {
        Event::VersionRecorded { version, .. } => Some(*version),
        _ => None,
    });
    let settings: EnvironmentSettings = recorded(|event| match event {
        Event::EnvironmentCreated { settings, .. } => Some(settings),
        _ => None,
    });
    let services = (0..count).map(|index| (name(index), Arc::new(service(index, &like)))).collect();
    let mut world = World { services, ..World::default() };
    let mut environment = Environment::begin("bench".parse().expect("a name"), settings, 1, Timestamp(1));
    let entry = |minor| BaselineEntry { version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0) };
    let mut entries: Entries = (0..count).map(|index| (name(index), entry(0))).collect();
    environment.baselines.push(OperationId(1), Timestamp(2), entries.clone());
    for number in 0..BASELINES {
        for index in (0..count).filter(|index| index % BASELINES == number) {
            entries.insert(name(index), entry(1));
        }
        environment.baselines.push(
            OperationId(number as u64 + 2),
            Timestamp(number as u64 + 3),
            entries.clone(),
        );
    }
    world.environments.insert(environment.name.clone(), Arc::new(environment));
    world
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<_> = (0..ROUNDS).map(|_| measure()).collect();
    all.sort();
    all[ROUNDS / 2]
}

fn moved(environment: &Environment, baseline: &Baseline) -> usize {
    difference(environment.entries(), &baseline.entries).len()
}

/// How long one way back of a service takes to be planned as it would be carried out.
fn with_everything(relation: Relation<'_>, environment: &Environment) -> Duration {
    let services: Vec<_> = environment.entries().keys().take(ROUNDS).collect();
    let began = Instant::now();
    for service in &services {
        let (service, to) = ((*service).clone(), VersionNumber::new(1, 0, 0));
        let intent = Intent::RollBackService { service, to, config: ConfigChoice::AsItRan };
        black_box(plan(relation, &environment.name, &intent, None, Timestamp(1_000)))
            .expect("it is a way back");
    }
    began.elapsed() / u32::try_from(services.len()).expect("there are few")
}

fn main() {
    println!(
        "| services | moves | every way back planned in | the host added in | one plan | one that looks at everything |\n\
         | --- | --- | --- | --- | --- | --- |"
    );
    for count in [10, 100, 1_000] {
        let world = world(count);
        let environment = world.environments.values().next().expect("it was inserted");
        let relation = Relation { world: &world, contracts: &NoContracts };
        let host = Host { is_ready: &|_| false, unprepared: &|_| None, has_artifact: &|_| true };
        let once = || planned(relation, environment, Timestamp(1_000));
        let planning = median(|| {
            let began = Instant::now();
            black_box(once());
            began.elapsed()
        });
        let all = once();
        let hosting = median(|| {
            let began = Instant::now();
            black_box(with_host(&all, &host));
            began.elapsed()
        });
        let readiness = with_host(&all, &host);
        let plans = readiness.services.len() + readiness.baselines.len();
        let one = planning / u32::try_from(plans).expect("it fits");
        let whole = with_everything(relation, environment);
        let moves: usize =
            environment.baselines.newest_first().skip(1).take(50).map(|it| moved(environment, it)).sum();
        let moves = moves + readiness.services.len();
        println!("| {count} | {moves} | {planning:.1?} | {hosting:.1?} | {one:.1?} | {whole:.1?} |");
    }
}
