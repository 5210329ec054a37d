//! What contracts change about plans: the answers of a comparison are invented here, what follows from them is not.

use std::collections::BTreeMap;

use lockstep_domain::contract::{
    Answer, ContractKind, ContractSettings, Contracts, DatabaseWay, OfferedContract, Requirement,
    UsedContract, Verdict,
};
use lockstep_domain::plan::Refusal;
use lockstep_domain::seen_use::SeenUse;
use lockstep_domain::service::Version;
use lockstep_domain::{Digest, Intent, ServiceName, VersionRef};

use crate::simulation::{Stage, deploy, service};

/// Contracts by one number: the same numbers fit, others as it is said here, and else it is not known.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shapes {
    answers: BTreeMap<(u8, u8), Answer>,
    /// The operations of a contract, where they are known.
    pub(crate) operations: BTreeMap<u8, Vec<String>>,
    /// What was seen to be called, by who called whom.
    pub(crate) seen: Vec<(VersionRef, ServiceName, SeenUse)>,
    /// What clients were seen to ask for.
    pub(crate) clients: Vec<(ServiceName, SeenUse)>,
}

impl Shapes {
    /// Says what comes of two contracts, the first written or used, the second read or offered.
    pub(crate) fn insert(&mut self, pair: (u8, u8), answer: Answer) {
        self.answers.insert(pair, answer);
    }

    fn answer(&self, one: Digest, other: Digest) -> Answer {
        let (one, other) = (one.as_bytes()[0], other.as_bytes()[0]);
        match self.answers.get(&(one, other)) {
            Some(answer) => answer.clone(),
            None if one == other => Answer::compatible(),
            None => Answer::not_checked("`$dynamicRef` is not followed"),
        }
    }
}

impl Contracts for Shapes {
    fn operations(&self, offered: &OfferedContract) -> Option<Vec<String>> {
        self.operations.get(&offered.digest.as_bytes()[0]).cloned()
    }

    fn seen(&self, consumer: &VersionRef, provider: &ServiceName) -> Vec<SeenUse> {
        let of = self.seen.iter().filter(|(one, other, _)| one == consumer && other == provider);
        of.map(|(_, _, seen)| seen.clone()).collect()
    }

    fn seen_of_clients(&self, provider: &ServiceName) -> Vec<SeenUse> {
        self.clients.iter().filter(|(other, _)| other == provider).map(|(_, seen)| seen.clone()).collect()
    }

    fn fit(&self, used: &UsedContract, _: &[String], offered: &OfferedContract) -> Answer {
        self.answer(used.digest, offered.digest)
    }

    fn messages(&self, written: &OfferedContract, read: &OfferedContract) -> Answer {
        self.answer(written.digest, read.digest)
    }

    /// What breaks only after the newer one has written is told when it is asked about that.
    fn database(&self, older: &OfferedContract, newer: &OfferedContract, way: DatabaseWay) -> Answer {
        let answer = self.answer(older.digest, newer.digest);
        let only_after = answer.reasons.first().is_some_and(|reason| reason.contains("new rows"));
        if only_after && way == DatabaseWay::Beside { Answer::compatible() } else { answer }
    }
}

fn breaks(reason: &str) -> Answer {
    Answer { verdict: Verdict::Breaking, reasons: vec![reason.into()], one_way: Vec::new() }
}

fn shape(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

pub(crate) fn offers(kind: ContractKind, number: u8) -> impl FnOnce(&mut Version) {
    move |version| {
        version.contracts = vec![OfferedContract {
            kind,
            name: "contract".into(),
            digest: shape(number),
            bytes: 1,
            settings: ContractSettings::default(),
            findings: Vec::new(),
        }];
    }
}

fn built_against(provider: &str, number: u8, range: Option<&str>) -> impl FnOnce(&mut Version) {
    let provider = service(provider);
    let requirement = Requirement {
        range: range.map(|range| range.parse().unwrap()),
        contract: Some(UsedContract {
            kind: ContractKind::OpenApi,
            name: "clients/api.yaml".into(),
            version: None,
            digest: shape(number),
            bytes: 1,
        }),
        operations: Vec::new(),
        port: None,
    };
    move |version| drop(version.requires.insert(provider, requirement))
}

/// `payments` 1 and 2 with contracts 1 and 2; `orders` 1 and 2 built against one each.
fn shop(first: Answer, back: Answer, range: Option<&'static str>) -> Stage {
    let mut stage = Stage::new();
    stage.contracts.answers.extend([((1, 2), first), ((2, 1), back)]);
    for number in [1, 2] {
        let version = format!("payments@{number}.0.0");
        stage.release_with(&version, &[], offers(ContractKind::OpenApi, number));
        let version = format!("orders@{number}.0.0");
        stage.release_with(&version, &[], built_against("payments", number, range));
    }
    stage.run("staging", &deploy(&["orders@1.0.0", "payments@1.0.0"]), None);
    stage
}

fn refusals(stage: &Stage, intent: &Intent) -> Vec<String> {
    match stage.plan("staging", intent, None) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_break_that_contracts_prove_is_refused_whatever_the_range_promises() {
    let stage = shop(breaks("POST /charges needs `cents`"), Answer::compatible(), Some(">=1"));
    assert_eq!(
        refusals(&stage, &deploy(&["payments@2.0.0"])),
        ["`orders@1.0.0` does not work with payments 2.0.0: POST /charges needs `cents`"]
    );
    let refused = stage.plan("staging", &deploy(&["payments@2.0.0"]), None).unwrap_err();
    let hint = refused.iter().find_map(Refusal::hint);
    assert_eq!(hint.as_deref(), Some("choose versions that fit: lockstep compat orders payments"));
}

#[test]
fn a_fit_that_contracts_prove_is_planned_although_the_range_ends_before() {
    let stage = shop(Answer::compatible(), Answer::compatible(), Some("^1"));
    assert_eq!(refusals(&stage, &deploy(&["payments@2.0.0"])), [""; 0]);
}

#[test]
fn what_is_not_checked_needs_a_promise_and_is_told() {
    let unknown = || Answer::not_checked("`not` is not decided");
    let alone = shop(unknown(), Answer::compatible(), None);
    let refused = refusals(&alone, &deploy(&["payments@2.0.0"]));
    assert_eq!(
        refused,
        ["whether `orders@1.0.0` works with payments 2.0.0 is not known: `not` is not decided"]
    );
    let promised = shop(unknown(), Answer::compatible(), Some(">=1"));
    let plan = promised.plan("staging", &deploy(&["payments@2.0.0"]), None).unwrap();
    assert_eq!(
        plan.warnings,
        ["`orders@1.0.0` is only promised to work with `payments@2.0.0`, not proved: `not` is not decided"]
    );
    let excluded = shop(unknown(), Answer::compatible(), Some("^1"));
    let refused = refusals(&excluded, &deploy(&["payments@2.0.0"]));
    assert_eq!(refused, ["`orders@1.0.0` requires payments ^1, and 2.0.0 would be there"]);
}

#[test]
fn contracts_decide_the_order_and_say_why() {
    let both = deploy(&["orders@2.0.0", "payments@2.0.0"]);
    // The new consumer also works with the old provider, the old consumer not with the new one.
    let stage = shop(breaks("`amount` is gone"), Answer::compatible(), None);
    let plan = stage.plan("staging", &both, None).unwrap();
    let order: Vec<_> = plan.moves().map(|part| part.service.to_string()).collect();
    assert_eq!(order, ["orders", "payments"]);
    let reasons: Vec<_> = plan.moves().flat_map(|part| &part.reasons).map(ToString::to_string).collect();
    let expected = "before payments: its old version does not work with the new payments: `amount` is gone";
    assert!(reasons.iter().any(|reason| reason == expected), "{reasons:?}");
    // Neither half works with the other's old half: they switch at one point in time.
    let stage = shop(breaks("`amount` is gone"), breaks("`cents` is not there"), None);
    assert_eq!(stage.plan("staging", &both, None).unwrap().waves.len(), 1);
}

#[test]
fn a_provider_without_a_contract_is_left_to_the_range() {
    let mut stage = shop(Answer::compatible(), Answer::compatible(), Some("^1"));
    stage.release("payments@3.0.0", &[]);
    let refused = refusals(&stage, &deploy(&["payments@3.0.0"]));
    assert_eq!(refused, ["`orders@1.0.0` requires payments ^1, and 3.0.0 would be there"]);
    let mut stage = shop(Answer::compatible(), Answer::compatible(), None);
    stage.release("payments@3.0.0", &[]);
    let refused = refusals(&stage, &deploy(&["payments@3.0.0"]));
    assert_eq!(
        refused,
        ["whether `orders@1.0.0` works with payments 3.0.0 is not known: 3.0.0 has no openapi contract"]
    );
}

/// `orders` 1 and 2 with schemas 1 and 2, and 1.0.1, cut after 2 with the schema of 1; 2 runs in staging.
fn with_database(reason: &str) -> Stage {
    let mut stage = Stage::new();
    stage.contracts.answers.insert((1, 2), breaks(reason));
    for (version, schema) in [("orders@1.0.0", 1), ("orders@2.0.0", 2), ("orders@1.0.1", 1)] {
        stage.release_with(version, &[], offers(ContractKind::Sql, schema));
    }
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@2.0.0"]), None);
    stage
}

#[test]
fn going_back_over_a_one_way_migration_warns() {
    let stage = with_database("column `notes` is gone");
    let expected = "1.0.0 does not work on the database as orders 2.0.0 leaves it, which stays when code goes back: column `notes` is gone";
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: lockstep_domain::intent::ConfigChoice::AsItRan,
    };
    assert_eq!(stage.plan("staging", &back, None).unwrap().warnings, [expected]);
    // A version of an older line, cut later and deployed, goes back as well.
    let plan = stage.plan("staging", &deploy(&["orders@1.0.1"]), None).unwrap();
    let down = "`orders` goes DOWN from 2.0.0 to 1.0.1".to_owned();
    assert_eq!(plan.warnings, [down, expected.replace("1.0.0 does", "1.0.1 does")]);
}

#[test]
fn what_hurts_only_after_new_rows_does_not_warn_going_forward() {
    let mut stage = with_database("new rows are null");
    let back = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: lockstep_domain::intent::ConfigChoice::AsItRan,
    };
    assert_eq!(stage.plan("staging", &back, None).unwrap().warnings.len(), 1);
    stage.run("staging", &back, None);
    let plan = stage
        .plan(
            "staging",
            &Intent::RollBackEnvironment { to: 2, config: lockstep_domain::intent::ConfigChoice::AsItRan },
            None,
        )
        .unwrap();
    assert!(!plan.warnings.iter().any(|warning| warning.contains("database")), "{:?}", plan.warnings);
}

#[test]
fn of_several_contracts_the_one_that_is_meant_counts() {
    let several = |first: u8, second: u8| {
        move |version: &mut Version| {
            version.contracts = [("events/api.yaml", first), ("events/other.yaml", second)]
                .map(|(name, number)| OfferedContract {
                    kind: ContractKind::OpenApi,
                    name: name.into(),
                    digest: shape(number),
                    bytes: 1,
                    settings: ContractSettings::default(),
                    findings: Vec::new(),
                })
                .into();
        }
    };
    let mut stage = shop(breaks("`id` is a number"), Answer::compatible(), None);
    // The consumer's copy has the file name of the first; that the second fits does not help.
    stage.release_with("payments@3.0.0", &[], several(2, 1));
    let refused = refusals(&stage, &deploy(&["payments@3.0.0"]));
    assert_eq!(refused, ["`orders@1.0.0` does not work with payments 3.0.0: `id` is a number"]);
    // Where none has its name, both must fit.
    stage.release_with("payments@4.0.0", &[], |version| {
        several(2, 1)(version);
        version.contracts[0].name = "events/third.yaml".into();
    });
    let refused = refusals(&stage, &deploy(&["payments@4.0.0"]));
    assert_eq!(
        refused,
        [
            "whether `orders@1.0.0` works with payments 4.0.0 is not known: 4.0.0 has several contracts of this kind, and which one is used cannot be told"
        ]
    );
}
