//! Messages that are kept: what a version must read although its writer no longer runs.

use lockstep_domain::contract::{
    Answer, ContractKind, ContractSettings, MessageRole, OfferedContract, Requirement, UsedContract, Verdict,
};
use lockstep_domain::service::Version;
use lockstep_domain::{Digest, Intent};

use crate::simulation::{Stage, deploy, environment, service};

const HOUR_MS: u64 = 3_600_000;

fn breaks(reason: &str) -> Answer {
    Answer { verdict: Verdict::Breaking, reasons: vec![reason.into()], one_way: Vec::new() }
}

fn offers(role: MessageRole, number: u8, hours: Option<u64>) -> impl FnOnce(&mut Version) {
    move |version| {
        version.contracts = vec![OfferedContract {
            kind: ContractKind::Avro,
            name: "events/order.avsc".into(),
            digest: Digest::from_bytes([number; 32]),
            bytes: 1,
            settings: ContractSettings {
                role: Some(role),
                retention_ms: hours.map(|hours| hours * HOUR_MS),
                ..ContractSettings::default()
            },
            findings: Vec::new(),
        }];
    }
}

fn reads(number: u8) -> impl FnOnce(&mut Version) {
    let contract = UsedContract {
        kind: ContractKind::Avro,
        name: "events/order.avsc".into(),
        version: None,
        digest: Digest::from_bytes([number; 32]),
        bytes: 1,
    };
    let requirement =
        Requirement { range: None, contract: Some(contract), operations: Vec::new(), port: None };
    move |version| drop(version.requires.insert(service("orders"), requirement))
}

fn back_to(name: &str, version: &str) -> Intent {
    Intent::RollBackService {
        service: service(name),
        to: version.parse().unwrap(),
        config: lockstep_domain::intent::ConfigChoice::AsItRan,
    }
}

fn refusals(stage: &Stage, intent: &Intent) -> Vec<String> {
    match stage.plan("staging", intent, None) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
    }
}

/// A reader of its own topic in three versions: the last does not read what was written to the first.
fn reader(hours: Option<u64>) -> Stage {
    let mut stage = Stage::new();
    stage.contracts.insert((1, 3), breaks("`note` has no default"));
    stage.contracts.insert((1, 2), Answer::compatible());
    stage.contracts.insert((2, 3), Answer::compatible());
    stage.contracts.insert((3, 2), breaks("`PAID` is not known"));
    for number in [1, 2, 3] {
        stage.release_with(&format!("mail@{number}.0.0"), &[], offers(MessageRole::Reader, number, hours));
    }
    stage.run("staging", &deploy(&["mail@1.0.0"]), None);
    stage.run("staging", &deploy(&["mail@2.0.0"]), None);
    stage
}

#[test]
fn what_was_written_to_a_version_that_is_gone_must_be_read_while_it_is_kept() {
    let mut stage = reader(Some(24));
    let refused = refusals(&stage, &deploy(&["mail@3.0.0"]));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("a message of the time of `mail@1.0.0`, which ran until "), "{refused:?}");
    assert!(
        refused[0].ends_with("is kept for 1 days and is not read by `mail@3.0.0`: `note` has no default")
    );
    stage.skip(23 * HOUR_MS);
    assert_eq!(refusals(&stage, &deploy(&["mail@3.0.0"])).len(), 1);
    stage.skip(2 * HOUR_MS);
    assert_eq!(refusals(&stage, &deploy(&["mail@3.0.0"])), [""; 0], "its messages are gone");
}

#[test]
fn without_a_retention_only_what_runs_counts() {
    assert_eq!(refusals(&reader(None), &deploy(&["mail@3.0.0"])), [""; 0]);
}

#[test]
fn going_back_warns_of_what_the_newer_version_left_and_is_not_kept_from_it() {
    let mut stage = reader(Some(24));
    stage.skip(25 * HOUR_MS);
    stage.run("staging", &deploy(&["mail@3.0.0"]), None);
    let plan =
        stage.plan("staging", &back_to("mail", "2.0.0"), None).expect("nobody is kept from going back");
    let told = plan.warnings.iter().filter(|warning| warning.contains("`PAID` is not known")).count();
    assert_eq!(told, 1, "{:?}", plan.warnings);
    let relation = stage.relation();
    let version = stage.world.find_version(&service("mail"), &"2.0.0".parse().unwrap()).unwrap();
    let env = stage.world.environment(&environment("staging")).unwrap();
    let unread = relation.unread_messages(env, (&service("mail"), version), stage.now);
    assert_eq!(unread.iter().map(|one| one.writer.to_string()).collect::<Vec<_>>(), ["mail@3.0.0"]);
}

#[test]
fn a_consumer_must_read_what_writers_that_are_gone_have_left() {
    let mut stage = Stage::new();
    stage.contracts.insert((9, 1), Answer::compatible());
    stage.contracts.insert((9, 2), Answer::compatible());
    stage.contracts.insert((8, 1), Answer::compatible());
    stage.contracts.insert((8, 2), breaks("`total` is a string"));
    for number in [1, 2] {
        stage.release_with(
            &format!("orders@{number}.0.0"),
            &[],
            offers(MessageRole::Writer, number, Some(48)),
        );
    }
    stage.release_with("mail@1.0.0", &[], reads(8));
    stage.release_with("mail@2.0.0", &[], reads(9));
    stage.run("staging", &deploy(&["orders@1.0.0", "mail@1.0.0"]), None);
    stage.run("staging", &deploy(&["mail@2.0.0"]), None);
    stage.run("staging", &deploy(&["orders@2.0.0"]), None);
    // The writer goes back; what it wrote stays, and the older reader does not read it.
    stage.run("staging", &back_to("orders", "1.0.0"), None);
    let plan =
        stage.plan("staging", &back_to("mail", "1.0.0"), None).expect("nobody is kept from going back");
    assert!(
        plan.warnings
            .iter()
            .any(|warning| warning.contains("`orders@2.0.0`") && warning.contains("`total` is a string")),
        "{:?}",
        plan.warnings
    );
    let refused = refusals(&stage, &deploy(&["mail@1.0.0"]));
    assert!(refused.iter().any(|refusal| refusal.contains("is not read by `mail@1.0.0`")), "{refused:?}");
    stage.skip(49 * HOUR_MS);
    let plan = stage.plan("staging", &back_to("mail", "1.0.0"), None).expect("nothing is in the way");
    assert!(!plan.warnings.iter().any(|warning| warning.contains("is not read")), "{:?}", plan.warnings);
}
