//! Taking migrations back: by their names alone, shown first, and never from under what runs.

use std::collections::BTreeSet;

use crate::databases::{PLACE, Scene, at, back, brings};
use crate::simulation::deploy;
use lockstep_domain::database::MigrationClass::{self, Contract, Expand, NotChecked};
use lockstep_domain::database::{Act, Applied, Reversal, Told, VersionDatabase, WayDown, unapproved};
use lockstep_domain::intent::{BackTo, ConfigChoice, DatabaseWish};
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{DatabaseRefusal, Refusal};
use lockstep_domain::{Digest, Intent};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

/// A migration: its name, what it does, and what its way down does, where it has one.
type File = (&'static str, MigrationClass, Option<MigrationClass>);

const FILES: [File; 4] = [
    ("1.sql", Expand, Some(Contract)),
    ("2.sql", Expand, Some(Contract)),
    ("3.sql", Contract, Some(Expand)),
    ("4.sql", Expand, None),
];

fn with_ways(files: &[File]) -> VersionDatabase {
    let forward: Vec<_> = files.iter().map(|(name, class, _)| (*name, *class)).collect();
    let mut of = brings(&forward);
    for (file, (name, _, way)) in of.files.iter_mut().zip(files) {
        file.way_down = way.map(|class| {
            Box::new(WayDown {
                file: name.replace(".sql", ".down.sql"),
                digest: Digest::from_bytes([5; 32]),
                class,
                takes: Vec::new(),
                leaves: Vec::new(),
                not_understood: Vec::new(),
            })
        });
    }
    of
}

fn release(scene: &mut Scene, version: &str, files: &[File]) {
    scene.stage.release_with(version, &[], |version| version.databases.push(with_ways(files)));
}

/// Versions 1.0.0 to 1.3.0, each with one more migration.
fn with_four() -> Scene {
    let mut scene = Scene::new();
    for count in 1..=FILES.len() {
        release(&mut scene, &format!("shop@1.{}.0", count - 1), &FILES[..count]);
    }
    scene
}

fn revert(back: BackTo) -> Intent {
    at(DatabaseWish::Revert { back, approved: None })
}

fn to(name: &str) -> Intent {
    revert(BackTo::To(name.to_owned()))
}

fn steps(names: &[&str]) -> Intent {
    revert(BackTo::Steps(names.iter().map(|&name| name.to_owned()).collect()))
}

fn shown(scene: &Scene, intent: &Intent) -> Reversal {
    *scene.plan(intent).unwrap().reversal.unwrap()
}

fn names(reversal: &Reversal) -> Vec<&str> {
    reversal.migrations.iter().map(|it| it.migration.as_str()).collect()
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// Nothing is warm any more.
fn later(scene: &mut Scene) {
    scene.stage.now = scene.stage.now.plus_ms(120_000);
}

/// The way to a baseline as a whole, also one that came later.
fn baseline(to: u64) -> Intent {
    Intent::RollBackEnvironment { to, config: ConfigChoice::AsItRan }
}

/// 1.1.0 ran, was gone back from, and is not warm.
fn after_going_back() -> Scene {
    let mut scene = with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    scene.run(&back("1.0.0"));
    scene
}

#[test]
fn what_was_left_is_taken_back_by_the_version_that_made_it_and_comes_again_by_a_deployment_alone() {
    let mut scene = after_going_back();
    let intent = to("1.sql");
    let plan = scene.plan(&intent).unwrap();
    let taken = shown(&scene, &intent);
    assert_eq!((names(&taken), taken.to.as_deref()), (vec!["2.sql"], Some("1.sql")));
    assert_eq!(taken.version.to_string(), "shop@1.1.0", "it is held, and its ways down are what there is");
    assert_eq!((texts(&taken.lost), taken.baselines_lost.clone()), (vec!["shop@1.1.0".to_owned()], vec![2]));
    let acts: Vec<_> = plan.jobs.iter().map(|it| it.database.as_ref().unwrap().act.clone()).collect();
    assert!(
        matches!(&acts[..], [Act::Look, Act::Revert { migrations, .. }] if migrations == &["2.sql"]),
        "{acts:?}"
    );

    assert!(unapproved(&plan, &intent).is_some());
    let with = |word: &str| {
        at(DatabaseWish::Revert { back: BackTo::To("1.sql".into()), approved: Some(word.to_owned()) })
    };
    assert!(unapproved(&plan, &with("0")).is_some());
    assert!(unapproved(&plan, &with(&taken.code())).is_none());
    // The word of one thing approves no other.
    let contract = at(DatabaseWish::Contract { approved: Some(taken.code()) });
    assert!(unapproved(&plan, &contract).is_some());

    scene.run(&intent);
    assert_eq!(scene.has, ["1.sql"]);
    let refusals = scene.plan(&baseline(2)).unwrap_err();
    let lacks =
        refusals.iter().find(|it| it.to_string().contains("`2.sql`, which it was written for, is not there"));
    let hint = lacks.and_then(Refusal::hint).unwrap_or_default();
    assert!(hint.contains("lockstep deploy shop@1.1.0"), "{refusals:?}");
    scene.stage.record(lockstep_domain::Event::HoldReleased {
        environment: crate::simulation::environment(PLACE),
        version: "shop@1.1.0".parse().unwrap(),
    });
    scene.run(&deploy(&["shop@1.1.0"]));
    assert_eq!(scene.has, ["1.sql", "2.sql"]);
}

#[test]
fn what_runs_or_is_warm_keeps_what_it_works_with() {
    let mut scene = with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    let refusal = scene.refused(&to("1.sql"));
    assert!(
        matches!(&refusal, DatabaseRefusal::StillUsed { by, migration, .. } if texts(by) == ["shop@1.1.0"] && migration == "2.sql"),
        "{refusal}"
    );
    // Forward to a version that does without it: the one that was left is warm for a while.
    release(&mut scene, "shop@1.5.0", &FILES[..1]);
    scene.run(&deploy(&["shop@1.5.0"]));
    assert!(matches!(scene.refused(&to("1.sql")), DatabaseRefusal::StillUsed { .. }), "1.1.0 is warm");
    later(&mut scene);
    assert_eq!(names(&shown(&scene, &to("1.sql"))), ["2.sql"]);
}

#[test]
fn a_contraction_that_is_taken_back_lets_older_versions_come_again() {
    let mut scene = with_four();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        scene.run(&deploy(&[version]));
    }
    scene.run(&at(DatabaseWish::Contract { approved: None }));
    assert!(matches!(scene.refused(&back("1.1.0")), DatabaseRefusal::Contracted { .. }));
    // Its way down only adds, so the version that runs bears it.
    let taken = shown(&scene, &to("2.sql"));
    assert_eq!(texts(&taken.again), ["shop@1.0.0", "shop@1.1.0"]);
    assert_eq!((taken.baselines_again.clone(), taken.lost.len()), (vec![2, 1], 0));
    scene.run(&to("2.sql"));
    assert_eq!(scene.has, ["1.sql", "2.sql"]);
    scene.run(&back("1.1.0"));
    assert_eq!(scene.stage.runs(PLACE), "shop@1.1.0");
}

#[test]
fn nothing_is_taken_back_that_has_no_way_down_or_stands_under_another_one() {
    let mut scene = with_four();
    scene.run(&deploy(&["shop@1.3.0"]));
    release(&mut scene, "shop@1.5.0", &FILES[..1]);
    let all = scene.refused(&to("3.sql"));
    assert!(matches!(&all, DatabaseRefusal::NoWayDown { migration, .. } if migration == "4.sql"), "{all}");
    let under = scene.refused(&steps(&["3.sql"]));
    assert!(matches!(&under, DatabaseRefusal::NotLast { later, .. } if later == "4.sql"), "{under}");
    assert!(matches!(scene.refused(&to("9.sql")), DatabaseRefusal::NotThere { .. }));
    assert!(matches!(scene.refused(&steps(&["4.sql", "9.sql"])), DatabaseRefusal::NotThere { .. }));
    assert!(matches!(scene.refused(&to("4.sql")), DatabaseRefusal::NothingToRevert { .. }));
    let by_older = Intent::Database {
        database: "main".parse().unwrap(),
        wish: DatabaseWish::Revert { back: BackTo::To("2.sql".into()), approved: None },
        version: Some("shop@1.2.0".parse().unwrap()),
    };
    let refusals = scene.plan(&by_older).unwrap_err();
    assert!(
        refusals.iter().any(|it| it.hint().is_some_and(|hint| hint.contains("--version shop@1.3.0"))),
        "{refusals:?}"
    );
}

#[test]
fn a_program_takes_back_only_where_the_version_says_how() {
    let mut scene = Scene::new();
    for (version, revert) in [("shop@1.0.0", &[][..]), ("shop@1.1.0", &["./migrate", "down", "{to}"][..])] {
        scene.stage.release_with(version, &[], |version| {
            let mut of = with_ways(&FILES[..2]);
            let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
            let (apply, level) = (words(&["./migrate", "up", "{to}"]), words(&["./migrate", "status"]));
            of.database.applied = Applied::ByProgram { apply, level, revert: words(revert) };
            version.databases.push(of);
        });
    }
    scene.run(&deploy(&["shop@1.0.0"]));
    let none = scene.refused(&to("1.sql"));
    assert!(none.to_string().contains("has no `revert`"), "{none}");
    scene.run(&deploy(&["shop@1.1.0"]));
    // Both bring it and one of them runs, whatever the files say of what the program does.
    assert!(matches!(scene.refused(&to("1.sql")), DatabaseRefusal::StillUsed { .. }));
    release(&mut scene, "shop@1.5.0", &FILES[..1]);
    scene.run(&deploy(&["shop@1.5.0"]));
    later(&mut scene);
    let taken = shown(
        &scene,
        &Intent::Database {
            database: "main".parse().unwrap(),
            wish: DatabaseWish::Revert { back: BackTo::To("1.sql".into()), approved: None },
            version: Some("shop@1.1.0".parse().unwrap()),
        },
    );
    let way = &taken.migrations[0].way;
    assert_eq!(way.file, "./migrate down {to}");
    assert!(way.not_understood[0].contains("nobody knows how"), "{way:?}");
}

#[test]
fn one_that_dies_is_told_as_doubt_and_what_needs_it_waits_for_a_look() {
    let dies = |says: Option<Told>| {
        let mut scene = after_going_back();
        scene.says = says;
        let id = scene.stage.begin(PLACE, &to("1.sql"), None);
        assert!(matches!(scene.settle(id, true), Phase::Reverted { .. }));
        scene
    };
    // It is no transaction: the record says that it began.
    let scene = dies(None);
    let refusal = scene.refused(&to("1.sql"));
    assert!(
        matches!(&refusal, DatabaseRefusal::InDoubt { half: Some(half), .. } if half == "2.sql"),
        "{refusal}"
    );
    // It was killed in a transaction: the record tells, to who looks.
    let mut scene = dies(Some(Told { unread: true, ..Told::default() }));
    let refusal = scene.refused(&baseline(2));
    assert!(matches!(&refusal, DatabaseRefusal::Lacks { may_be_there: true, .. }), "{refusal}");
    assert!(refusal.hint().contains("lockstep database look main"), "{}", refusal.hint());
    scene.says = None;
    scene.half = None;
    scene.run(&at(DatabaseWish::Look));
    assert!(scene.plan(&baseline(2)).is_ok(), "it is there");
    // It never reached the database.
    let scene = dies(Some(Told { unread: true, untouched: true, ..Told::default() }));
    assert!(scene.plan(&baseline(2)).is_ok());
}

#[test]
fn what_another_environment_with_the_same_database_runs_keeps_it() {
    let mut scene = with_four();
    scene.at = Some(Digest::from_bytes([9; 32]));
    let mut settings = scene.stage.env("staging").settings.clone();
    settings.accepts_from = "created".parse().unwrap();
    let staging = crate::simulation::environment("staging");
    scene.stage.record(lockstep_domain::Event::EnvironmentChanged { environment: staging, settings });
    let id = scene.stage.begin("staging", &deploy(&["shop@1.1.0"]), None);
    scene.settle_in("staging", id, false);
    scene.run(&deploy(&["shop@1.0.0"]));
    let by = Intent::Database {
        database: "main".parse().unwrap(),
        wish: DatabaseWish::Revert { back: BackTo::To("1.sql".into()), approved: None },
        version: Some("shop@1.1.0".parse().unwrap()),
    };
    let refusal = scene.refused(&by);
    assert!(
        matches!(&refusal, DatabaseRefusal::StillUsed { by, elsewhere, .. } if by.is_empty() && elsewhere.len() == 1),
        "{refusal}"
    );
}

fn way() -> impl Strategy<Value = Option<MigrationClass>> {
    prop_oneof![Just(None), Just(Some(Expand)), Just(Some(Contract)), Just(Some(NotChecked))]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]

    /// Whatever has run and whatever is asked for: what is taken back is the end of what there is, all of it was named, each has a way
    /// down, and nothing that runs or is warm works with what goes.
    #[test]
    fn a_plan_takes_back_only_the_end_and_nothing_from_under_anybody(
        ways in prop::collection::vec(way(), 4),
        moves in prop::collection::vec(0_usize..4, 1..5),
        asked in 0_usize..4,
        waits in any::<bool>(),
    ) {
        let names = ["1.sql", "2.sql", "3.sql", "4.sql"];
        let files: Vec<File> = names.iter().zip(&ways).map(|(name, way)| (*name, Expand, *way)).collect();
        let mut scene = Scene::new();
        for count in 1..=files.len() {
            release(&mut scene, &format!("shop@1.{}.0", count - 1), &files[..count]);
        }
        for to in moves {
            let version = format!("shop@1.{to}.0");
            for intent in [deploy(&[version.as_str()]), back(&format!("1.{to}.0"))] {
                if scene.plan(&intent).is_ok() {
                    scene.run(&intent);
                    break;
                }
            }
        }
        if waits {
            later(&mut scene);
        }
        let intent = to(names[asked]);
        let has = scene.has.clone();
        let Ok(plan) = scene.plan(&intent) else { return Ok(()) };
        let reversal = plan.reversal.unwrap();
        let taken: Vec<_> = reversal.migrations.iter().map(|it| it.migration.clone()).collect();
        let mut end = has[asked + 1..].to_vec();
        end.reverse();
        prop_assert_eq!(&taken, &end);
        let environment = scene.stage.env(PLACE);
        let warm = environment.warm.iter().filter(|(_, until)| scene.stage.now < **until);
        let runs = environment.entries().iter().map(|(service, entry)| entry.arm(service));
        let at_work: BTreeSet<_> = runs.chain(warm.map(|(arm, _)| arm.clone())).map(|arm| arm.version_ref()).collect();
        for (name, way) in names.iter().zip(&ways).filter(|(name, _)| taken.iter().any(|it| it == *name)) {
            prop_assert!(way.is_some());
            for version in at_work.iter().filter(|_| *way != Some(Expand)) {
                let of = &scene.stage.world.version(version).unwrap().databases[0];
                prop_assert!(of.file(name).is_none(), "{version} works with {name}");
            }
        }
        scene.run(&intent);
        prop_assert_eq!(scene.has.len(), asked + 1);
        for number in &reversal.baselines_lost {
            prop_assert!(scene.plan(&baseline(*number)).is_err(), "{number} works with what is gone");
        }
    }
}
