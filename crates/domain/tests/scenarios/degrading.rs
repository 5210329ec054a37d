//! Which earlier version stands in for one that gateways leave alone, and when none does.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_domain::breaker::BreakerRule;
use lockstep_domain::contract::{Answer, ContractKind, Verdict};
use lockstep_domain::degrade::{Search, with_fallbacks};
use lockstep_domain::fault::Fault;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::routes::service_policy::{Degrade, Fallback, ServicePolicy, StandIn};
use lockstep_domain::routes::{FORMAT_WITH_BREAKERS, RouteTable, SplitRole};
use lockstep_domain::service::Version;
use lockstep_domain::{InstanceState, Intent};

use crate::compatibility::offers;
use crate::simulation::{Stage, deploy, service};

fn guarded(version: &mut Version) {
    let breaker = Some(BreakerRule::default());
    version.run.gateway = Some(Arc::new(ServicePolicy { breaker, ..ServicePolicy::default() }));
}

fn table(stage: &Stage) -> RouteTable {
    let (environment, observed) = (stage.env("staging"), stage.observed("staging"));
    let search = Search { relation: stage.relation(), environment, observed: &observed, now: stage.now };
    with_fallbacks(stage.table("staging"), search)
}

/// Who stands in for orders, or why nobody does.
fn stands_in(stage: &Stage) -> Result<String, String> {
    let table = table(stage);
    let routes = &table.services[&service("orders")];
    assert_eq!(table.format, FORMAT_WITH_BREAKERS);
    match routes.fallback.clone().unwrap() {
        Fallback::To(arm) => {
            let split = routes.splits.iter().find(|split| split.version == arm.version).unwrap();
            assert_eq!((split.weight, split.role), (0, SplitRole::Pinned));
            assert!(!split.endpoints.is_empty());
            Ok(arm.version.to_string())
        }
        Fallback::Nobody(why) => Err(why),
    }
}

/// 1.0.0 and then 1.1.0 of orders ran, each with more to say of itself.
fn orders(old: impl FnOnce(&mut Version), new: impl FnOnce(&mut Version)) -> Stage {
    let mut stage = Stage::new();
    stage.release_with("orders@1.0.0", &[], old);
    stage.release_with("orders@1.1.0", &[], |version| {
        guarded(version);
        new(version);
    });
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage
}

fn with(state: u8) -> impl FnOnce(&mut Version) {
    offers(ContractKind::Sql, state)
}

#[test]
fn the_version_before_stands_in_while_it_is_warm_and_no_longer() {
    let mut stage = orders(|_| {}, |_| {});
    assert_eq!(stands_in(&stage), Ok("1.0.0".into()));
    stage.now = stage.now.plus_ms(60_000);
    assert_eq!(stands_in(&stage), Err("no earlier version is kept warm".into()));
    let observed = stage.observed("staging");
    assert!(table(&stage).services[&service("orders")].splits.len() == 1 && !observed.instances.is_empty());
}

#[test]
fn who_does_not_ask_for_it_has_a_table_as_ever() {
    let mut stage = orders(|_| {}, |version| version.run.gateway = None);
    assert_eq!(table(&stage), stage.table("staging"));
    stage.release_with("orders@1.2.0", &[], |version| {
        let degrade = Degrade { to: StandIn::Nobody, ..Degrade::default() };
        version.run.gateway = Some(Arc::new(ServicePolicy {
            breaker: Some(BreakerRule::default()),
            degrade,
            ..ServicePolicy::default()
        }));
    });
    stage.run("staging", &deploy(&["orders@1.2.0"]), None);
    assert_eq!(table(&stage).services[&service("orders")].fallback, None);
    assert_eq!(table(&stage).format, FORMAT_WITH_BREAKERS);
}

#[test]
fn of_two_that_are_warm_the_one_that_was_replaced_last_stands_in() {
    let mut stage = orders(guarded, |_| {});
    stage.now = stage.now.plus_ms(1_000);
    stage.release_with("orders@1.2.0", &[], guarded);
    stage.run("staging", &deploy(&["orders@1.2.0"]), None);
    assert_eq!(stands_in(&stage), Ok("1.1.0".into()));
}

#[test]
fn one_that_is_sick_itself_or_was_gone_back_from_does_not_stand_in() {
    let mut stage = orders(guarded, |_| {});
    let fails = |stage: &mut Stage, minor| {
        for instance in stage.instances.iter_mut().filter(|it| it.arm.version.minor() == minor) {
            instance.state = InstanceState::failed("exit 1", Fault::Crash);
        }
    };
    fails(&mut stage, 0);
    assert_eq!(stands_in(&stage), Err("no instance of orders@1.0.0 is healthy".into()));
    let mut stage = orders(guarded, |_| {});
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    stage.run("staging", &back, None);
    assert_eq!(stands_in(&stage), Err("no earlier version is kept warm".into()));
}

#[test]
fn no_way_back_over_a_database_that_is_not_known_to_work() {
    let answer = |verdict, one_way: &[&str]| Answer {
        verdict,
        reasons: vec!["column `total` is gone".into()],
        one_way: one_way.iter().map(|&step| step.to_owned()).collect(),
    };
    let cases = [
        (answer(Verdict::Compatible, &[]), Ok("1.0.0")),
        (
            answer(Verdict::Compatible, &["it drops `notes`"]),
            Err("a migration of 1.1.0 goes one way: it drops `notes`"),
        ),
        (
            answer(Verdict::Breaking, &[]),
            Err("1.0.0 does not work on the database as 1.1.0 leaves it: column `total` is gone"),
        ),
        (
            answer(Verdict::NotChecked, &[]),
            Err(
                "nobody knows whether 1.0.0 works on the database as 1.1.0 leaves it: column `total` is gone",
            ),
        ),
    ];
    for (answer, expected) in cases {
        let mut stage = orders(with(1), with(2));
        stage.contracts.insert((1, 2), answer);
        assert_eq!(stands_in(&stage), expected.map(str::to_owned).map_err(str::to_owned));
    }
}

#[test]
fn no_way_back_to_one_that_somebody_here_does_not_work_with_or_that_shares_files() {
    let mut stage = orders(|_| {}, |_| {});
    stage.release("web@1.0.0", &[("orders", "^1.1")]);
    stage.run("staging", &deploy(&["web@1.0.0"]), None);
    assert_eq!(stands_in(&stage), Err("web@1.0.0 would not work with orders".into()));
    let stage = orders(|_| {}, |version| version.run.data = vec!["var".parse().unwrap()]);
    assert_eq!(stands_in(&stage), Err("it keeps data in `var`, which going back does not touch".into()));
}

#[test]
fn what_stands_in_is_kept_by_its_place_in_the_table_until_that_is_gone() {
    let stage = orders(|_| {}, |_| {});
    let table = table(&stage);
    let named: BTreeMap<_, _> = table.services[&service("orders")]
        .splits
        .iter()
        .flat_map(|split| split.instances().map(|it| (it.instance.clone(), split.weight)))
        .collect();
    assert_eq!(named.len(), 2, "an instance that may be asked is in the table, so nobody ends it: {named:?}");
}
