//! A chain of three services and a database goes forward and back, and dies at every record of it, once and twice: it ends in the
//! old baseline or the new one, no table in between mixes the two, and what is not known of the database is said.

use std::collections::BTreeSet;

use crate::databases::{PLACE, Scene, brings};
use crate::simulation::{Stage, deploy, environment, service};
use lockstep_domain::database::MigrationClass::{self, Expand};
use lockstep_domain::fault::Fault;
use lockstep_domain::intent::{ConfigChoice, DatabaseWish};
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::Refusal;
use lockstep_domain::{Event, InstanceState, Intent, OperationId, World};

const CHAIN: [&str; 3] = ["pay", "orders", "web"];
const OLD: &str = "orders@1.0.0 pay@1.0.0 web@1.0.0";
const NEW: &str = "orders@2.0.0 pay@2.0.0 web@2.0.0";
const FILES: [(&str, MigrationClass); 2] = [("1.sql", Expand), ("2.sql", Expand)];
/// Looks without a record after which the clock is set forward to what is waited for.
const QUIET: u64 = 20;

/// What dies beside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    /// Nothing.
    Nothing,
    /// The machine: whatever ran runs no more.
    Machine,
    /// The step at the database, before anything of it was applied.
    StepBefore,
    /// The step at the database, when all was applied and nothing was told.
    StepAfter,
    /// The step, in the middle of what is no transaction; the next look finds that.
    StepBetween,
    /// Every instance of the new versions, and those that are started later.
    New,
}

const ALL: [Dies; 6] =
    [Dies::Nothing, Dies::Machine, Dies::StepBefore, Dies::StepAfter, Dies::StepBetween, Dies::New];

fn versions(number: u32) -> Vec<String> {
    CHAIN.iter().map(|name| format!("{name}@{number}.0.0")).collect()
}

fn to(number: u32, of: fn(&[&str]) -> Intent) -> Intent {
    let versions = versions(number);
    of(&versions.iter().map(String::as_str).collect::<Vec<_>>())
}

fn forward() -> Intent {
    to(2, deploy)
}

fn back() -> Intent {
    to(1, |versions| Intent::RollBackServices {
        versions: versions.iter().map(|text| text.parse().unwrap()).collect(),
        config: ConfigChoice::AsItRan,
    })
}

/// The first versions run; each of the second ones works with the second ones alone, and that of `pay` brings a migration.
fn chain() -> Scene {
    let mut scene = Scene::new();
    for number in [1, 2] {
        let range = format!("^{number}");
        scene.stage.release_with(&format!("pay@{number}.0.0"), &[], |version| {
            version.databases.push(brings(&FILES[..number]));
        });
        scene.stage.release(&format!("orders@{number}.0.0"), &[("pay", &range)]);
        scene.stage.release(&format!("web@{number}.0.0"), &[("orders", &range)]);
    }
    let first = scene.stage.begin(PLACE, &to(1, deploy), None);
    while !scene.operation(first).phase.is_settled() {
        look(&mut scene);
        work(&mut scene);
    }
    assert_eq!(scene.stage.runs(PLACE), OLD);
    scene
}

/// One look, and what comes of what it told.
fn look(scene: &mut Scene) {
    scene.stage.step(PLACE);
    scene.stage.end_stopping();
    assert_unmixed(&scene.stage);
}

/// Lets steps at the database do what they were told.
fn work(scene: &mut Scene) {
    for id in under_way(scene) {
        scene.steps(id, false);
    }
}

fn under_way(scene: &Scene) -> Vec<OperationId> {
    scene.stage.env(PLACE).under_way().map(|operation| operation.id).collect()
}

/// The share of the second version is the same for all three, in each table.
fn assert_unmixed(stage: &Stage) {
    let table = stage.table(PLACE);
    let share = |name: &str| -> u32 {
        let splits = table.services.get(&service(name)).into_iter().flat_map(|routes| &routes.splits);
        splits.filter(|split| split.version.to_string() == "2.0.0").map(|split| split.weight).sum()
    };
    let shares: BTreeSet<_> = CHAIN.iter().map(|name| share(name)).collect();
    assert_eq!(shares.len(), 1, "a mixture of two sides: {table:#?}");
}

/// A point at which a server can die: what it had made durable, and what runs.
struct Point {
    name: String,
    scene: Scene,
}

/// Goes a way to its end. Returns every point of it, and where it leads: each look makes records durable one after the other, tells the
/// fleet what follows from them, and what was told does its work.
fn way(name: &str, mut scene: Scene, intent: &Intent) -> (Vec<Point>, Scene) {
    scene.stage.begin(PLACE, intent, None);
    let mut points = vec![Point { name: format!("{name}, begun"), scene: scene.clone() }];
    while !under_way(&scene).is_empty() {
        let before = scene.clone();
        look(&mut scene);
        points.extend(on_the_way(name, &before, &scene));
        work(&mut scene);
        assert!(points.len() < 100, "it does not end: {:?}", scene.stage.log.last());
    }
    (points, scene)
}

fn on_the_way(name: &str, before: &Scene, after: &Scene) -> Vec<Point> {
    let log = &after.stage.log;
    let untold = (before.stage.log.len() + 1..=log.len()).map(|records| {
        let mut scene = before.clone();
        scene.stage.log = log[..records].to_vec();
        let event = &log[records - 1].event;
        let name = format!("{name}, record {records} ({event:?}) and nothing of it told");
        Point { name: name.chars().take(300).collect(), scene }
    });
    let told = Point { name: format!("{name}, record {} and all told", log.len()), scene: after.clone() };
    untold.chain([told]).collect()
}

/// The server has died: what it knows is what is in the journal. What ran runs on, as far as it does not die too.
fn killed(point: &Scene, dies: Dies) -> Scene {
    let mut scene = point.clone();
    scene.stage.world = World::default();
    scene.stage.log.iter().for_each(|recorded| scene.stage.world.fold(recorded).unwrap());
    strike(&mut scene, dies);
    scene
}

fn strike(scene: &mut Scene, dies: Dies) {
    match dies {
        Dies::Nothing => {}
        Dies::Machine => {
            scene.stage.instances.clear();
            kill_step(scene, dies);
        }
        Dies::New => {
            scene.stage.broken = versions(2);
            let new = scene.stage.instances.iter_mut().filter(|it| it.arm.version.to_string() == "2.0.0");
            new.for_each(|it| it.state = InstanceState::failed("killed", Fault::Crash));
        }
        Dies::StepBefore | Dies::StepAfter | Dies::StepBetween => kill_step(scene, dies),
    }
}

fn kill_step(scene: &mut Scene, dies: Dies) {
    let Some(step) = scene.stage.jobs.iter_mut().find(|it| !it.state.is_over()) else { return };
    step.state = InstanceState::failed("killed by signal 9", Fault::Crash);
    match dies {
        Dies::StepAfter if !scene.has.contains(&"2.sql".to_owned()) => scene.has.push("2.sql".into()),
        Dies::StepBetween if !scene.has.contains(&"2.sql".to_owned()) => scene.half = Some("2.sql".into()),
        _ => {}
    }
}

/// Goes on until nothing is under way. What has to wait for time gets it.
fn goes_on(scene: &mut Scene, point: &str) {
    let (mut quiet, mut looks) = (0, 0);
    while !under_way(scene).is_empty() {
        let records = scene.stage.log.len();
        look(scene);
        work(scene);
        quiet = if records == scene.stage.log.len() { quiet + 1 } else { 0 };
        if quiet > QUIET {
            scene.stage.now = scene.stage.now.plus_ms(5_000);
        }
        looks += 1;
        assert!(looks < 500, "{point}: it never ends, and waits for nothing that comes");
    }
    // What is left ends.
    (0..5).for_each(|_| look(scene));
}

/// What must be so wherever it died.
fn assert_whole(scene: &Scene, point: &str) {
    let runs = scene.stage.runs(PLACE);
    assert!([OLD, NEW].contains(&runs.as_str()), "{point}: it ended at {runs}");
    let table = scene.stage.table(PLACE);
    for name in CHAIN {
        let stable = table.services[&service(name)].stable().unwrap();
        assert!(
            runs.contains(&format!("{name}@{}", stable.version)),
            "{point}: {name} is served by {stable:?}"
        );
        // A version that fails when its operation is over is not taken back by itself.
        let is_away = runs == NEW && !scene.stage.broken.is_empty();
        assert!(is_away || !stable.endpoints.is_empty(), "{point}: nobody serves {name}");
    }
    assert!(runs == OLD || scene.has.len() == FILES.len(), "{point}: {runs} runs before its migration");
    assert!(scene.has.starts_with(&["1.sql".to_owned()]), "{point}: going back touched the database");
    assert_database_is_known(scene, point);
}

/// What is recorded of the database is what it has, or it is said that nobody knows, and forbids only what would change it.
fn assert_database_is_known(scene: &Scene, point: &str) {
    let known = scene.stage.env(PLACE).databases.values().next().unwrap();
    let Some(doubt) = &known.doubt else {
        let recorded: Vec<_> = known.told.recorded.iter().map(|it| it.name.clone()).collect();
        return assert_eq!((recorded, &None), (scene.has.clone(), &scene.half), "{point}");
    };
    assert!(doubt.contains("2.sql") || doubt.contains("pay@2.0.0"), "{point}: {doubt}");
    if scene.stage.runs(PLACE) == OLD {
        let refusals = scene.plan(&forward()).unwrap_err();
        let says = |refusal: &Refusal| refusal.to_string().contains("nothing is applied to database `main`");
        assert!(refusals.iter().any(says), "{point}: {refusals:?}");
    }
}

/// Every point of the way there and back.
fn points() -> Vec<Point> {
    let (there, mut arrived) = way("forward", chain(), &forward());
    (0..5).for_each(|_| look(&mut arrived));
    assert_eq!(arrived.stage.runs(PLACE), NEW);
    let (back, returned) = way("back", arrived, &back());
    assert_eq!(returned.stage.runs(PLACE), OLD);
    there.into_iter().chain(back).collect()
}

#[test]
fn a_chain_that_dies_at_any_record_ends_in_the_old_baseline_or_the_new_one() {
    let points = points();
    assert!(points.len() > 12, "{}", points.len());
    let mut ends = BTreeSet::new();
    for Point { name, scene } in &points {
        for dies in ALL {
            let point = format!("{dies:?} died at {name}");
            let mut scene = killed(scene, dies);
            goes_on(&mut scene, &point);
            assert_whole(&scene, &point);
            ends.insert((
                scene.stage.runs(PLACE) == NEW,
                scene.stage.env(PLACE).databases.values().any(|it| it.doubt.is_some()),
            ));
        }
    }
    // The test is one only as long as all of these come about.
    assert_eq!(ends, BTreeSet::from([(false, false), (false, true), (true, false)]));
}

#[test]
fn a_chain_that_dies_twice_ends_in_the_old_baseline_or_the_new_one() {
    let mut pairs = 0;
    for Point { name, scene } in &points() {
        for first in ALL {
            let struck = killed(scene, first);
            for (number, again) in continued(&struck).iter().enumerate() {
                for second in ALL {
                    let point = format!("{first:?} died at {name}, and {second:?} {number} looks later");
                    let mut scene = killed(again, second);
                    goes_on(&mut scene, &point);
                    assert_whole(&scene, &point);
                    pairs += 1;
                }
            }
        }
    }
    assert!(pairs > 1_000, "{pairs}");
}

/// The states of what goes on after a first death, as far as records come.
fn continued(struck: &Scene) -> Vec<Scene> {
    let (mut scene, mut states) = (struck.clone(), Vec::new());
    while !under_way(&scene).is_empty() && states.len() < 8 {
        look(&mut scene);
        states.push(scene.clone());
        work(&mut scene);
    }
    states
}

#[test]
fn after_a_death_the_chain_goes_forward_and_back_again_once_what_is_not_known_was_looked_at() {
    for Point { name, scene } in &points() {
        for dies in ALL {
            let point = format!("{dies:?} died at {name}");
            let mut scene = killed(scene, dies);
            goes_on(&mut scene, &point);
            mend(&mut scene);
            for (intent, expected) in [(forward(), NEW), (back(), OLD)] {
                if scene.stage.runs(PLACE) == expected {
                    continue;
                }
                let id = scene.stage.begin(PLACE, &intent, None);
                goes_on(&mut scene, &point);
                let phase = scene.operation(id).phase;
                assert!(matches!(phase, Phase::Done { .. }), "{point}: {phase:?}");
                assert_whole(&scene, &point);
                mend(&mut scene);
            }
        }
    }
}

/// A person looks at the database, settles what is half-way, and lets come again what was held.
fn mend(scene: &mut Scene) {
    scene.stage.broken.clear();
    scene.half = None;
    let held: Vec<_> = scene.stage.env(PLACE).holds.keys().cloned().collect();
    for version in held {
        scene.stage.record(Event::HoldReleased { environment: environment(PLACE), version });
    }
    let known = scene.stage.env(PLACE).databases.values().next().unwrap();
    if known.doubt.is_some() {
        let done = scene.has.len() == FILES.len();
        let wish = DatabaseWish::Settle { migration: "2.sql".into(), done };
        let version = Some("pay@2.0.0".parse().unwrap());
        let settle = Intent::Database { database: "main".parse().unwrap(), wish, version };
        scene.stage.begin(PLACE, &settle, None);
        goes_on(scene, "settling");
    }
}
