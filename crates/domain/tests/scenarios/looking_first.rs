//! Acting on what was looked at: what is expected, what a promotion copies, and what must go back too.

use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::plan::unexpected;
use lockstep_domain::{Intent, VersionRef};
use proptest::prelude::*;

fn promote(baseline: Option<u64>) -> Intent {
    Intent::Promote { from: environment("development"), services: vec![], baseline }
}

/// Development ran 1.1.0 as baseline 1 and runs 1.0.0; staging runs 1.1.0.
fn orders() -> Stage {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    stage.release("orders@1.1.0", &[]);
    stage.run("development", &deploy(&["orders@1.1.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.run("development", &deploy(&["orders@1.0.0"]), None);
    stage
}

#[test]
fn a_change_that_expects_another_baseline_is_refused_with_who_made_this_one() {
    let stage = orders();
    let refused =
        |intent: &Intent, expected| unexpected(&stage.world, &environment("staging"), intent, expected);
    assert_eq!(refused(&Intent::Undo, 1), None);
    let words = refused(&Intent::Undo, 0).unwrap().to_string();
    assert_eq!(
        words,
        "`staging` is at baseline 1 and not at 0: ann made it on 1 Jan 00:16 (deploy orders@1.1.0)"
    );
    // What is promoted was looked at where it comes from.
    assert_eq!(refused(&promote(None), 2), None);
    assert!(refused(&promote(None), 1).unwrap().to_string().starts_with("`development` is at baseline 2"));
}

#[test]
fn a_promotion_says_where_it_goes_down() {
    let stage = orders();
    let plan = stage.plan("staging", &promote(None), None).unwrap();
    let said = "`orders` goes DOWN from 1.1.0 to 1.0.0";
    assert!(plan.warnings.iter().any(|warning| warning == said), "{:?}", plan.warnings);
}

#[test]
fn a_promotion_of_a_baseline_brings_what_was_looked_at() {
    let mut stage = orders();
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    let plan = stage.plan("staging", &promote(Some(1)), None).unwrap();
    assert_eq!(plan.target[&service("orders")].version.to_string(), "1.1.0");
    let said = "`development` is at baseline 2 now, and not at 1 any more";
    assert!(plan.warnings.iter().any(|warning| warning == said), "{:?}", plan.warnings);
    let refusals = stage.plan("staging", &promote(Some(9)), None).unwrap_err();
    assert_eq!(refusals[0].to_string(), "environment `development` has no baseline 9; the newest is 2");
    assert_eq!(promote(Some(1)).to_string(), "promote from development@1");
}

/// Orders and payments moved together to 2.0.0, and do not work with the other's 1.0.0.
fn tied() -> Stage {
    let mut stage = Stage::new();
    for version in ["1.0.0", "2.0.0"] {
        let needs = format!("={version}");
        stage.release(&format!("payments@{version}"), &[]);
        stage.release(&format!("orders@{version}"), &[("payments", needs.as_str())]);
        stage.release(&format!("web@{version}"), &[("orders", needs.as_str())]);
        stage.release(&format!("other@{version}"), &[]);
    }
    for version in ["1.0.0", "2.0.0"] {
        let all = ["payments", "orders", "web", "other"].map(|name| format!("{name}@{version}"));
        stage.run("staging", &deploy(&all.each_ref().map(String::as_str)), None);
    }
    stage
}

#[test]
fn several_services_go_back_together() {
    let mut stage = tied();
    let versions = ["orders@1.0.0", "payments@1.0.0", "web@1.0.0"].map(|text| text.parse().unwrap()).to_vec();
    let together = Intent::RollBackServices { versions, config: ConfigChoice::AsItRan };
    stage.run("staging", &together, None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0 other@2.0.0 payments@1.0.0 web@1.0.0");
    assert_eq!(stage.env("staging").holds.len(), 3);
}

/// Reads the command of a hint as the command line does.
fn read(hint: &str) -> Intent {
    let words: Vec<_> = hint.split(' ').collect();
    assert_eq!(&words[..2], ["lockstep", "rollback"], "{hint}");
    if let Some(at) = words.iter().position(|word| *word == "--to") {
        return Intent::RollBackEnvironment {
            to: words[at + 1].parse().unwrap(),
            config: ConfigChoice::AsItRan,
        };
    }
    let named = words.iter().filter(|word| word.contains('='));
    let versions: Vec<VersionRef> = named.map(|word| word.replace('=', "@").parse().unwrap()).collect();
    Intent::RollBackServices { versions, config: ConfigChoice::AsItRan }
}

#[test]
fn a_rollback_that_would_break_others_names_what_must_go_back_too() {
    let stage = tied();
    let alone = Intent::RollBackService {
        service: service("payments"),
        to: "1.0.0".parse().unwrap(),
        config: ConfigChoice::AsItRan,
    };
    let refusals = stage.plan("staging", &alone, None).unwrap_err();
    let hint = refusals[0].hint().unwrap();
    assert_eq!(hint, "lockstep rollback orders=1.0.0 payments=1.0.0 web=1.0.0 --env staging");
    assert!(stage.plan("staging", &read(&hint), None).is_ok());
}

proptest! {
    /// Whatever the fleet and its history: a hint of a refused rollback that is a rollback can be planned.
    #[test]
    fn the_hint_of_a_refused_rollback_works(
        needs in prop::collection::vec((0_usize..4, 0_usize..4, 1_u64..4, 1_u64..4), 0..10),
        deployed in prop::collection::vec((0_usize..4, 1_u64..4), 1..10),
        back in (0_usize..4, 1_u64..4),
    ) {
        let mut stage = Stage::new();
        for version in 1..4_u64 {
            for index in 0..4 {
                let needs: Vec<_> = needs.iter()
                    .filter(|(consumer, provider, at, _)| *consumer == index && provider != consumer && *at == version)
                    .map(|(_, provider, _, wanted)| (format!("s{provider}"), format!("={wanted}.0.0")))
                    .collect();
                let needs: Vec<_> = needs.iter().map(|(name, range)| (name.as_str(), range.as_str())).collect();
                stage.release(&format!("s{index}@{version}.0.0"), &needs);
            }
        }
        let first: Vec<_> = (0..4).map(|index| format!("s{index}@1.0.0")).collect();
        let first = deploy(&first.iter().map(String::as_str).collect::<Vec<_>>());
        if stage.plan("staging", &first, None).is_ok() {
            stage.run("staging", &first, None);
        }
        for (index, version) in deployed {
            let next = deploy(&[&format!("s{index}@{version}.0.0")]);
            if stage.plan("staging", &next, None).is_ok() {
                stage.run("staging", &next, None);
            }
        }
        let (index, version) = back;
        let intent = Intent::RollBackService {
            service: service(&format!("s{index}")),
            to: format!("{version}.0.0").parse().unwrap(),
            config: ConfigChoice::AsItRan,
        };
        let Err(refusals) = stage.plan("staging", &intent, None) else { return Ok(()) };
        for hint in refusals.iter().filter_map(lockstep_domain::plan::Refusal::hint) {
            if hint.starts_with("lockstep rollback") {
                prop_assert!(stage.plan("staging", &read(&hint), None).is_ok(), "{hint}");
            }
        }
    }
}
