//! Databases that do not have what they had: another one in their place, an empty one, one that was set back.

use lockstep_domain::Digest;
use lockstep_domain::database::MigrationClass::{Contract, Expand};
use lockstep_domain::intent::DatabaseWish;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::DatabaseRefusal;
use lockstep_domain::{Intent, Plan};
use proptest::prelude::{any, prop, prop_assert, proptest};

use crate::databases::{PLACE, Scene, at, back, brings};
use crate::simulation::deploy;

/// Versions 1.0.0 to 1.3.0, each with one more migration that adds, and then one that takes away.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let files = [("1.sql", Expand), ("2.sql", Expand), ("3.sql", Expand), ("4.sql", Contract)];
    for count in 1..=files.len() {
        let version = format!("shop@1.{}.0", count - 1);
        scene.stage.release_with(&version, &[], |version| version.databases.push(brings(&files[..count])));
    }
    scene
}

fn look() -> Intent {
    at(DatabaseWish::Look)
}

fn applies(plan: &Plan) -> Vec<String> {
    plan.jobs.iter().flat_map(|job| job.database.as_ref().unwrap().expected.clone()).collect()
}

fn lost(scene: &Scene) -> Vec<String> {
    scene.stage.env(PLACE).databases.values().flat_map(|known| known.lost.clone()).collect()
}

#[test]
fn a_database_that_was_lost_is_never_made_anew_by_a_plan_that_showed_something_else() {
    for left in [0, 1] {
        let mut scene = scene();
        scene.run(&deploy(&["shop@1.0.0"]));
        scene.run(&deploy(&["shop@1.1.0"]));
        let plan = scene.plan(&deploy(&["shop@1.2.0"])).unwrap();
        assert_eq!(applies(&plan), ["3.sql"]);
        scene.has.truncate(left);
        assert!(matches!(scene.run(&deploy(&["shop@1.2.0"])), Phase::Reverted { .. }));
        assert_eq!(scene.has.len(), left, "nothing was applied");
        let gone = ["1.sql", "2.sql"].split_at(left).1;
        let refusal = scene.refused(&deploy(&["shop@1.2.0"]));
        assert!(
            matches!(&refusal, DatabaseRefusal::Lost { migrations, .. } if migrations == gone),
            "{refusal}"
        );
        assert!(
            refusal.hint().ends_with("lockstep database look main --env development --accept-loss"),
            "{}",
            refusal.hint()
        );
        // Looking again finds the same, and does not make it right.
        scene.run(&look());
        assert!(matches!(scene.refused(&deploy(&["shop@1.2.0"])), DatabaseRefusal::Lost { .. }));
        scene.run(&at(DatabaseWish::Accept));
        let plan = scene.plan(&deploy(&["shop@1.2.0"])).unwrap();
        assert_eq!(applies(&plan), ["1.sql", "2.sql", "3.sql"].split_at(left).1);
        scene.run(&deploy(&["shop@1.2.0"]));
        assert_eq!(scene.has, ["1.sql", "2.sql", "3.sql"]);
    }
}

#[test]
fn one_that_is_back_is_as_it_was() {
    let mut scene = scene();
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    let had = std::mem::take(&mut scene.has);
    scene.run(&look());
    assert_eq!(lost(&scene), ["1.sql", "2.sql"]);
    scene.has = had;
    scene.run(&look());
    assert_eq!(lost(&scene), [""; 0]);
    scene.run(&deploy(&["shop@1.2.0"]));
    assert_eq!(scene.has.len(), 3);
}

#[test]
fn a_contraction_of_a_database_that_was_lost_makes_none() {
    let mut scene = scene();
    for version in ["shop@1.2.0", "shop@1.3.0"] {
        scene.run(&deploy(&[version]));
    }
    let contract = |approved| at(DatabaseWish::Contract { approved });
    let approved = scene.plan(&contract(None)).unwrap().contraction.unwrap().code();
    scene.has.clear();
    assert!(matches!(scene.run(&contract(Some(approved))), Phase::Reverted { .. }));
    assert_eq!(scene.has, [""; 0]);
    assert!(matches!(scene.refused(&contract(None)), DatabaseRefusal::Lost { .. }));
}

#[test]
fn what_lockstep_took_back_and_what_is_another_database_is_no_loss() {
    let mut scene = scene();
    scene.at = Some(Digest::from_bytes([1; 32]));
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    // Its address leads somewhere else now. What was planned for the former one is not done at it; what is planned then says all of it.
    scene.has.clear();
    scene.at = Some(Digest::from_bytes([2; 32]));
    assert!(matches!(scene.run(&deploy(&["shop@1.2.0"])), Phase::Reverted { .. }));
    assert_eq!((lost(&scene), scene.has.len()), (Vec::new(), 0));
    assert_eq!(applies(&scene.plan(&deploy(&["shop@1.2.0"])).unwrap()).len(), 3);
    // Going back touches no database.
    assert!(!matches!(scene.plan(&back("1.0.0")), Err(ref refusals) if refusals.len() > 1));
}

proptest! {
    /// Whatever is taken from a database behind the back of Lockstep, and whenever: a deployment applies what its plan showed, or nothing.
    #[test]
    fn what_is_applied_is_what_the_plan_showed(
        steps in prop::collection::vec((0_u8..4, 0_usize..3, any::<bool>()), 1..12),
    ) {
        let mut scene = scene();
        for (what, which, is_first) in steps {
            match what {
                0 | 1 => {
                    let intent = deploy(&[&format!("shop@1.{which}.0")]);
                    let Ok(plan) = scene.plan(&intent) else { continue };
                    let shown = applies(&plan);
                    let before = scene.has.clone();
                    scene.run(&intent);
                    let new: Vec<_> = scene.has.iter().filter(|name| !before.contains(name)).cloned().collect();
                    prop_assert!(new.is_empty() || new == shown, "{:?} instead of {:?}", new, shown);
                    prop_assert!(new.is_empty() || lost(&scene).is_empty(), "{:?} was applied to a database that has lost something", new);
                }
                2 if is_first => scene.has.clear(),
                2 => { scene.has.pop(); }
                _ if scene.plan(&look()).is_ok() => {
                    scene.run(&look());
                }
                _ => {}
            }
        }
    }
}
