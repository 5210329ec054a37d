//! Copies of requests for a version: what they keep running, what a table says of them, and what ends them.

use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::lifecycle::{
    Availability, ClosedGate, Entry, Gate, Given, Lifecycle, Stage as LifecycleStage,
};
use lockstep_domain::mirror::{FORMAT_WITH_MIRRORS, Mirror, MirrorCounts};
use lockstep_domain::plan::{Refusal, WantedRule, add_rule};
use lockstep_domain::routes::{FULL_WEIGHT, SplitRole};
use lockstep_domain::version_rules::Takes;
use lockstep_domain::{Event, Intent, VersionRef, World};

use crate::simulation::{Stage, deploy, environment, service};

const PLACE: &str = "staging";

fn stage() -> Stage {
    let mut stage = Stage::new();
    for version in ["orders@1.0.0", "orders@1.1.0", "orders@1.2.0"] {
        stage.release(version, &[]);
    }
    stage.run(PLACE, &deploy(&["orders@1.0.0"]), None);
    stage
}

fn mirror(stage: &Stage, version: &str, share: u32) -> Result<Event, Vec<Refusal>> {
    let VersionRef { service, version } = version.parse().unwrap();
    let takes = Takes::Mirror(Mirror { share, unsafe_methods: false });
    let wanted = WantedRule { service, version, takes, reason: "to try it".into() };
    add_rule(stage.relation(), &environment(PLACE), &wanted, stage.now)
}

fn steps(stage: &mut Stage, count: u32) {
    (0..count).for_each(|_| stage.step(PLACE));
}

fn mirrors(stage: &Stage) -> usize {
    stage.env(PLACE).version_rules.rules.len()
}

#[test]
fn its_version_is_started_and_no_client_is_given_it() {
    let mut stage = stage();
    let before = stage.table(PLACE).format;
    stage.record(mirror(&stage, "orders@1.1.0", 500).unwrap());
    assert_eq!(stage.table(PLACE).format, before, "nothing serves it yet");
    steps(&mut stage, 3);
    let table = stage.table(PLACE);
    let routes = &table.services[&service("orders")];
    assert_eq!((table.format, routes.version_rules.len()), (FORMAT_WITH_MIRRORS, 0));
    assert_eq!((routes.splits[0].role, routes.splits[0].weight), (SplitRole::Pinned, 0));
    let mirror = routes.mirror.as_ref().unwrap();
    assert!(mirror.leads_to(&routes.splits[0].version, routes.splits[0].config));
    assert_eq!(mirror.copies.share, 500);
    for key in 0..200 {
        let split = routes.choose(format!("client-{key}").as_bytes()).unwrap();
        assert_eq!(split.version.to_string(), "1.0.0");
    }
    let found = Some(Box::new(MirrorCounts { same: 3, ..MirrorCounts::default() }));
    let (environment, reason) = (environment(PLACE), String::new());
    stage.record(Event::VersionRuleRemoved { environment, rule: 1, found, reason });
    steps(&mut stage, 3);
    assert_eq!(stage.table(PLACE).format, before);
    let ended = &stage.env(PLACE).version_rules.ended[0];
    assert_eq!(ended.found.as_ref().unwrap().same, 3);
}

#[test]
fn a_version_that_has_requests_of_its_own_gets_no_copies() {
    let mut stage = stage();
    stage.record(mirror(&stage, "orders@1.1.0", 500).unwrap());
    steps(&mut stage, 3);
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    assert_eq!(mirrors(&stage), 1, "it stays, for a later version");
    assert!(stage.table(PLACE).services[&service("orders")].mirror.is_none());
    stage.run(PLACE, &deploy(&["orders@1.2.0"]), None);
    steps(&mut stage, 3);
    assert!(stage.table(PLACE).services[&service("orders")].mirror.is_some());
}

#[test]
fn what_makes_no_sense_is_refused_with_all_reasons() {
    let mut stage = stage();
    let why =
        |refusals: Vec<Refusal>| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let own = why(mirror(&stage, "orders@1.0.0", 500).unwrap_err());
    assert!(own.contains("requests of its own"), "{own}");
    for share in [0, FULL_WEIGHT + 1] {
        assert!(why(mirror(&stage, "orders@1.1.0", share).unwrap_err()).contains("at most 100 %"));
    }
    stage.record(mirror(&stage, "orders@1.1.0", FULL_WEIGHT).unwrap());
    let second = why(mirror(&stage, "orders@1.2.0", 100).unwrap_err());
    assert!(second.contains("one at a time") && second.contains("rule 1"), "{second}");
}

#[test]
fn going_back_from_its_version_and_a_hold_end_it() {
    let mut stage = stage();
    stage.record(mirror(&stage, "orders@1.1.0", 500).unwrap());
    steps(&mut stage, 3);
    let back: Intent = Intent::RollBackService {
        service: service("orders"),
        to: "1.0.0".parse().unwrap(),
        config: lockstep_domain::intent::ConfigChoice::AsItRan,
    };
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    stage.run(PLACE, &back, None);
    assert_eq!(mirrors(&stage), 0);
}

#[test]
fn an_event_of_an_earlier_release_is_read_as_ever() {
    let removed = r#"{"environment":"staging","rule":1}"#;
    let text = serde_json::to_value(Event::VersionRuleRemoved {
        environment: environment(PLACE),
        rule: 1,
        found: None,
        reason: String::new(),
    });
    let text = text.unwrap().to_string();
    assert!(!text.contains("found") && text.contains(&removed[1..removed.len() - 1]), "{text}");
    assert!(serde_json::from_str::<Event>(&text).is_ok());
    let world = serde_json::to_string(&World::default()).unwrap();
    assert!(serde_json::from_str::<World>(&world).is_ok());
}

fn ended_with(found: MirrorCounts) -> Stage {
    let mut stage = stage();
    stage.record(mirror(&stage, "orders@1.1.0", 500).unwrap());
    steps(&mut stage, 3);
    let (environment, reason) = (environment(PLACE), String::new());
    stage.record(Event::VersionRuleRemoved { environment, rule: 1, found: Some(Box::new(found)), reason });
    stage
}

#[test]
fn what_it_found_is_evidence_that_a_gate_can_ask_for_and_no_other_looks_at() {
    let kind = EvidenceKind::mirrored_in(&environment(PLACE));
    let gate = |gates| LifecycleStage {
        name: "compared".parse().unwrap(),
        gates,
        entry: Entry::Manual,
        availability: Availability::Deployable,
    };
    let asks = gate(vec![Gate::Evidence { kind: kind.clone(), given: Given::Accepted }]);
    let nothing_red = gate(vec![Gate::NothingRed]);
    let closed = |stage: &Stage, gate: &LifecycleStage| {
        let version = stage.world.version(&"orders@1.1.0".parse().unwrap()).unwrap();
        Lifecycle::standard().closed_gates(version, gate, stage.now)
    };
    let same = |same| MirrorCounts { same, ..MirrorCounts::default() };
    let few = ended_with(same(3));
    assert_eq!(closed(&few, &asks), [ClosedGate::EvidenceMissing(kind.clone())]);
    let enough = ended_with(same(100));
    assert_eq!(closed(&enough, &asks), []);
    let other = ended_with(MirrorCounts { different: 1, ..same(5_000) });
    assert_eq!(closed(&other, &asks), [ClosedGate::EvidenceRed(kind)]);
    assert_eq!(closed(&other, &nothing_red), [], "what is different may be meant");
}
