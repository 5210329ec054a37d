//! Databases: what adds comes before the code, what takes away is a move of its own, and going back touches nothing.

use std::collections::BTreeSet;

use crate::simulation::{Stage, deploy, environment, service};
use crate::smallest::search;
use lockstep_domain::contract::Verdict;
use lockstep_domain::database::{
    Act, Applied, Database, DatabaseRun, MigrationClass, MigrationFile, Recorded, Step, Told,
    VersionDatabase, unapproved,
};
use lockstep_domain::fault::Fault;
use lockstep_domain::intent::{ConfigChoice, DatabaseWish};
use lockstep_domain::name::DatabaseName;
use lockstep_domain::operation::{Operation, Phase};
use lockstep_domain::plan::{Behind, DatabaseRefusal, Found, Refusal, Stays, on_databases, smallest};
use lockstep_domain::{Digest, InstanceState, Intent, OperationId, Plan, VersionRef};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy;

pub(crate) const PLACE: &str = "development";

/// A stage with one real database beside it.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    /// What the database has, in the order in which it came.
    pub(crate) has: Vec<String>,
    pub(crate) half: Option<String>,
    /// What a step says beside it, in the place of what it should.
    pub(crate) says: Option<Told>,
    /// Where it says that it is.
    pub(crate) at: Option<Digest>,
}

pub(crate) fn brings(files: &[(&str, MigrationClass)]) -> VersionDatabase {
    let file = |(name, class): &(&str, MigrationClass)| MigrationFile {
        name: (*name).to_owned(),
        digest: Digest::from_bytes([3; 32]),
        class: *class,
        one_way: Vec::new(),
        not_understood: Vec::new(),
        left_out: Vec::new(),
        way_down: None,
        no_way_down: None,
    };
    let database = Database {
        name: "main".parse().unwrap(),
        migrations: "db".parse().unwrap(),
        applied: Applied::ByLockstep,
        variable: "DATABASE_URL".to_owned(),
        dialect: None,
        timeout_ms: 60_000,
        lock_ms: 1_000,
    };
    VersionDatabase { database, files: files.iter().map(file).collect() }
}

use MigrationClass::{Contract, Data, Expand, NotChecked};

const FILES: [(&str, MigrationClass); 4] =
    [("1.sql", Expand), ("2.sql", Data), ("3.sql", Contract), ("4.sql", Expand)];

impl Scene {
    pub(crate) fn new() -> Self {
        Self { stage: Stage::new(), has: Vec::new(), half: None, says: None, at: None }
    }

    /// Versions 1.0.0 to 1.3.0, each with one more migration.
    fn with_four() -> Self {
        let mut scene = Self::new();
        for count in 1..=4 {
            scene.release(&format!("shop@1.{}.0", count - 1), &FILES[..count]);
        }
        scene
    }

    fn release(&mut self, version: &str, files: &[(&str, MigrationClass)]) {
        self.stage.release_with(version, &[], |version| version.databases.push(brings(files)));
    }

    pub(crate) fn plan(&self, intent: &Intent) -> Result<Plan, Vec<Refusal>> {
        self.stage.plan(PLACE, intent, None)
    }

    /// Carries out an intent; steps do at the database what they were told, each as it is begun.
    pub(crate) fn run(&mut self, intent: &Intent) -> Phase {
        let id = self.stage.begin(PLACE, intent, None);
        self.settle(id, false)
    }

    /// Carries out an intent in an environment.
    pub(crate) fn run_in(&mut self, place: &str, intent: &Intent) -> Phase {
        let id = self.stage.begin(place, intent, None);
        self.settle_in(place, id, false)
    }

    pub(crate) fn settle(&mut self, id: OperationId, fails: bool) -> Phase {
        self.settle_in(PLACE, id, fails)
    }

    pub(crate) fn settle_in(&mut self, place: &str, id: OperationId, fails: bool) -> Phase {
        for _ in 0..1_000 {
            self.stage.step(place);
            self.stage.end_stopping();
            self.steps(id, fails);
            if self.operation(id).phase.is_settled() {
                return self.operation(id).phase;
            }
        }
        panic!("it does not settle: {:?}", self.operation(id).phase);
    }

    pub(crate) fn operation(&self, id: OperationId) -> Operation {
        Operation::clone(self.stage.world.find_operation(id).unwrap())
    }

    pub(crate) fn steps(&mut self, id: OperationId, fails: bool) {
        let operation = self.operation(id);
        let begun: Vec<_> =
            operation.job_runs().map(|(job, run)| (job.clone(), run.instance.clone())).collect();
        for (planned, instance) in begun {
            let is_open = |it: &lockstep_domain::Instance| it.id == instance && !it.state.is_over();
            if !self.stage.jobs.iter().any(is_open) {
                continue;
            }
            let run = planned.database.as_deref().unwrap();
            // Who only looks before finds what is there.
            let fails = fails && run.act != Act::Look;
            // One that finds missing what was there when it was planned does nothing.
            let fails = fails || self.is_surprised(&planned.arm.version_ref(), run);
            if !self.is_surprised(&planned.arm.version_ref(), run) {
                self.act(&planned.arm.version_ref(), run, fails);
            }
            let told = match run.act {
                Act::Look | Act::Accept => {
                    Told { drift: Vec::new(), unread: false, untouched: false, failure: None, ..self.told() }
                }
                _ => self.told(),
            };
            self.stage.databases.insert(instance.clone(), told);
            let run = self.stage.jobs.iter_mut().find(|it| it.id == instance).unwrap();
            run.state = match fails {
                true => InstanceState::failed("ended with exit code 1", Fault::Crash),
                false => InstanceState::Completed,
            };
        }
    }

    fn is_surprised(&self, version: &VersionRef, run: &DatabaseRun) -> bool {
        let of = &self.stage.world.version(version).unwrap().databases[0];
        let expected = Step::new(of, run, version.to_string(), &[]).expected;
        let Act::Apply { through: Some(through) } = &run.act else { return false };
        let last = of.files.iter().position(|file| file.name == *through).unwrap();
        let mut missing = of.files[..=last].iter().filter(|file| !self.has.contains(&file.name));
        expected.is_some_and(|expected| missing.any(|file| !expected.contains(&file.name)))
    }

    fn told(&self) -> Told {
        let digest = Some(Digest::from_bytes([3; 32]));
        let recorded = |name: &String| Recorded { name: name.clone(), digest, class: None };
        Told {
            recorded: self.has.iter().map(recorded).collect(),
            half: self.half.clone(),
            place: self.at,
            ..self.says.clone().unwrap_or_default()
        }
    }

    fn act(&mut self, version: &VersionRef, run: &DatabaseRun, fails: bool) {
        let files = self.stage.world.version(version).unwrap().databases[0].files.clone();
        let through = match &run.act {
            Act::Apply { through } => through.clone(),
            Act::Adopt { through } => Some(through.clone()),
            Act::Settle { migration, done } => {
                self.half = None;
                done.then(|| migration.clone())
            }
            Act::Revert { migrations, .. } => {
                self.take_back(migrations, fails);
                None
            }
            Act::Look | Act::Accept => None,
        };
        let Some(through) = through else { return };
        let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
        let last = names.iter().position(|name| *name == through).unwrap();
        if fails && self.says.is_some() {
            return;
        }
        if fails {
            self.half = names[..=last].iter().find(|name| !self.has.contains(*name)).cloned();
            return;
        }
        self.has.extend(
            names[..=last].iter().filter(|name| !self.has.contains(*name)).cloned().collect::<Vec<_>>(),
        );
    }

    fn take_back(&mut self, migrations: &[String], fails: bool) {
        match migrations.first() {
            Some(first) if fails && self.says.is_none() => self.half = Some(first.clone()),
            _ if fails => {}
            _ => self.has.retain(|name| !migrations.contains(name)),
        }
    }

    /// The only reason why something is refused.
    pub(crate) fn refused(&self, intent: &Intent) -> DatabaseRefusal {
        match self.plan(intent).unwrap_err().as_slice() {
            [Refusal::Database(refusal)] => refusal.clone(),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn back(to: &str) -> Intent {
    Intent::RollBackService {
        service: service("shop"),
        to: to.parse().unwrap(),
        config: ConfigChoice::AsItRan,
    }
}

pub(crate) fn at(wish: DatabaseWish) -> Intent {
    Intent::Database { database: "main".parse().unwrap(), wish, version: None }
}

fn contract() -> Intent {
    at(DatabaseWish::Contract { approved: None })
}

#[test]
fn a_deployment_applies_what_adds_and_leaves_what_takes_away() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    let plan = scene.plan(&deploy(&["shop@1.2.0"])).unwrap();
    assert!(
        plan.warnings.iter().any(|warning| warning.contains("`3.sql` of database `main` contracts")),
        "{:?}",
        plan.warnings
    );
    scene.run(&deploy(&["shop@1.2.0"]));
    assert_eq!(scene.has, ["1.sql", "2.sql"]);
    let refusal = scene.refused(&deploy(&["shop@1.3.0"]));
    assert!(
        matches!(&refusal, DatabaseRefusal::StandsBehind { behind, .. } if behind == "4.sql"),
        "{refusal}"
    );
}

#[test]
fn contracting_shows_what_it_takes_and_closes_the_way_back() {
    let mut scene = Scene::with_four();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        scene.run(&deploy(&[version]));
    }
    let plan = scene.plan(&contract()).unwrap();
    let taken = plan.contraction.clone().unwrap();
    let lost: Vec<_> = taken.lost.iter().map(ToString::to_string).collect();
    assert_eq!(
        (lost, taken.lost_up_to, taken.stays_from),
        (vec!["shop@1.0.0".into(), "shop@1.1.0".into()], Some(2), 3)
    );
    assert!(unapproved(&plan, &contract()).is_some());
    let wrong = at(DatabaseWish::Contract { approved: Some("0".into()) });
    assert!(unapproved(&plan, &wrong).is_some());
    let right = at(DatabaseWish::Contract { approved: Some(taken.code()) });
    assert!(unapproved(&plan, &right).is_none());
    scene.run(&right);
    assert_eq!(scene.has, ["1.sql", "2.sql", "3.sql"]);
    let refusal = scene.refused(&back("1.1.0"));
    assert!(matches!(&refusal, DatabaseRefusal::Contracted { stays: Stays::Nothing, .. }), "{refusal:?}");
    assert!(
        !refusal.hint().contains("rollback"),
        "what runs is nothing that can be gone back to: {}",
        refusal.hint()
    );
    assert!(scene.refused(&Intent::Undo).to_string().contains("3.sql"));
    assert!(matches!(scene.refused(&contract()), DatabaseRefusal::NothingToContract { .. }));
    scene.run(&deploy(&["shop@1.3.0"]));
    assert_eq!(scene.has.len(), 4);
    scene.run(&back("1.2.0"));
    assert_eq!(scene.has.len(), 4, "going back touches nothing");
}

#[test]
fn a_word_approves_the_text_of_one_version_and_no_other() {
    let mut scene = Scene::with_four();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        scene.run(&deploy(&[version]));
    }
    // The same names, and another text that nobody understands.
    scene.stage.release_with("shop@1.6.0", &[], |version| {
        let mut brings = brings(&FILES[..3]);
        brings.files[2].digest = Digest::from_bytes([4; 32]);
        brings.files[2].not_understood = vec!["3.sql:1: what `DO` does is not modelled".to_owned()];
        version.databases.push(brings);
    });
    let by = |version: &str, approved: Option<String>| Intent::Database {
        database: "main".parse().unwrap(),
        wish: DatabaseWish::Contract { approved },
        version: Some(version.parse().unwrap()),
    };
    let shown = |version: &str| scene.plan(&by(version, None)).unwrap().contraction.unwrap();
    let (one, other) = (shown("shop@1.2.0"), shown("shop@1.6.0"));
    assert_eq!(one.migrations, other.migrations);
    assert!(one.not_understood.is_empty() && other.not_understood["3.sql"][0].contains("DO"));
    let asks = by("shop@1.6.0", Some(one.code()));
    assert!(unapproved(&scene.plan(&asks).unwrap(), &asks).is_some(), "the word of another text");
    // Nor where only the version is another one.
    scene.release("shop@1.7.0", &FILES[..3]);
    assert_ne!(one.code(), scene.plan(&by("shop@1.7.0", None)).unwrap().contraction.unwrap().code());
}

#[test]
fn a_version_that_is_not_let_in_does_nothing_at_the_database_either() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    let by = |wish: DatabaseWish| Intent::Database {
        database: "main".parse().unwrap(),
        wish,
        version: Some("shop@1.2.0".parse().unwrap()),
    };
    let wishes = [
        DatabaseWish::Look,
        DatabaseWish::Adopt { through: "2.sql".into() },
        DatabaseWish::Settle { migration: "2.sql".into(), done: true },
    ];
    for wish in wishes.clone() {
        scene.stage.plan(PLACE, &by(wish.clone()), None).unwrap();
        let refusals = scene.stage.plan("production", &by(wish), None).unwrap_err();
        assert!(refusals.iter().all(|it| matches!(it, Refusal::StageTooEarly { .. })), "{refusals:?}");
    }
    let hold = lockstep_domain::environment::Hold {
        reason: "it failed".into(),
        since: scene.stage.now,
        by: "ann".parse().unwrap(),
    };
    let version = "shop@1.2.0".parse().unwrap();
    scene.stage.record(lockstep_domain::Event::HoldPlaced { environment: environment(PLACE), version, hold });
    for wish in wishes {
        let refusals = scene.plan(&by(wish)).unwrap_err();
        assert!(refusals.iter().all(|it| matches!(it, Refusal::Held { .. })), "{refusals:?}");
    }
    // What runs is let in already, and stays so.
    scene.stage.record(lockstep_domain::Event::HoldPlaced {
        environment: environment(PLACE),
        version: "shop@1.0.0".parse().unwrap(),
        hold: lockstep_domain::environment::Hold {
            reason: String::new(),
            since: scene.stage.now,
            by: "ann".parse().unwrap(),
        },
    });
    scene.plan(&at(DatabaseWish::Look)).unwrap();
}

#[test]
fn a_contraction_that_is_interrupted_may_have_happened() {
    let mut scene = Scene::with_four();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        scene.run(&deploy(&[version]));
    }
    let id = scene.stage.begin(PLACE, &contract(), None);
    scene.stage.step(PLACE);
    // Until now it is only being looked at, so nothing can have happened.
    scene.stage.interrupt(PLACE, &back("1.1.0")).unwrap();
    while scene.operation(id).jobs.len() < 2 {
        scene.steps(id, false);
        scene.stage.step(PLACE);
    }
    assert_eq!(scene.has, ["1.sql", "2.sql"]);
    let refusals = scene.stage.interrupt(PLACE, &back("1.1.0")).unwrap_err();
    assert!(refusals.iter().any(|refusal| refusal.to_string().contains("3.sql")), "{refusals:?}");
    scene.settle(id, false);
    assert!(scene.refused(&back("1.1.0")).to_string().contains("3.sql"));
}

#[test]
fn what_runs_keeps_its_form_also_where_another_service_shares_the_database() {
    let mut scene = Scene::with_four();
    scene.release("desk@1.0.0", &FILES[..1]);
    scene.run(&deploy(&["desk@1.0.0"]));
    scene.run(&deploy(&["shop@1.2.0"]));
    assert_eq!(scene.has, ["1.sql", "2.sql"], "desk needs what 3.sql takes");
    let refusal = scene.refused(&contract());
    assert!(
        matches!(&refusal, DatabaseRefusal::StillNeeded { by, .. } if by[0].to_string() == "desk@1.0.0"),
        "{refusal}"
    );
    scene.release("desk@1.1.0", &FILES[..3]);
    scene.run(&deploy(&["desk@1.1.0"]));
    let plan = scene.plan(&contract()).unwrap();
    assert_eq!(plan.contraction.unwrap().lost.len(), 1, "desk@1.0.0 cannot come back");
}

#[test]
fn an_empty_environment_takes_everything_at_once() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.3.0"]));
    assert_eq!(scene.has.len(), 4);
}

#[test]
fn a_run_that_fails_or_is_lost_stops_others_until_it_is_settled_and_never_the_way_back() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    let id = scene.stage.begin(PLACE, &deploy(&["shop@1.1.0"]), None);
    assert!(matches!(scene.settle(id, true), Phase::Reverted { .. }));
    let refusal = scene.refused(&deploy(&["shop@1.1.0"]));
    assert!(matches!(&refusal, DatabaseRefusal::InDoubt { why, .. } if why.contains("2.sql")), "{refusal}");
    assert!(matches!(scene.refused(&contract()), DatabaseRefusal::InDoubt { .. }));
    let settle = Intent::Database {
        database: "main".parse().unwrap(),
        wish: DatabaseWish::Settle { migration: "2.sql".into(), done: true },
        version: Some("shop@1.1.0".parse().unwrap()),
    };
    scene.run(&settle);
    scene.run(&deploy(&["shop@1.1.0"]));
    assert_eq!(scene.has, ["1.sql", "2.sql"]);
    assert!(scene.stage.env(PLACE).databases.values().all(|known| known.doubt.is_none()));
}

#[test]
fn what_is_known_to_have_done_nothing_stops_nobody_and_says_why() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    let before = scene.stage.env(PLACE).databases.clone();
    let why = "the database is not reached: password authentication failed";
    for untouched in [true, false] {
        // It was not reached, or died while a transaction was open, of which the record tells what became.
        scene.says = Some(Told { unread: true, untouched, failure: Some(why.into()), ..Told::default() });
        let id = scene.stage.begin(PLACE, &deploy(&["shop@1.1.0"]), None);
        let Phase::Reverted { cause, .. } = scene.settle(id, true) else { panic!() };
        assert!(cause.contains(why), "{cause}");
        assert_eq!(scene.operation(id).jobs[0].end.as_ref().unwrap().untouched, untouched);
        assert_eq!(scene.stage.env(PLACE).databases, before);
    }
    scene.says = None;
    scene.run(&deploy(&["shop@1.1.0"]));
    assert_eq!(scene.has, ["1.sql", "2.sql"]);
}

#[test]
fn one_that_died_in_what_is_no_transaction_is_half_way_for_the_version_that_brought_it() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.half = Some("2.sql".into());
    scene.says = Some(Told { unread: true, ..Told::default() });
    let id = scene.stage.begin(PLACE, &deploy(&["shop@1.1.0"]), None);
    scene.settle(id, true);
    let refusal = scene.refused(&deploy(&["shop@1.1.0"]));
    assert!(refusal.to_string().contains("`2.sql` began"), "{refusal}");
    let hint = refusal.hint();
    assert!(
        hint.contains("look main --env development --version shop@1.1.0")
            && hint.contains("settle main 2.sql"),
        "{hint}"
    );
    assert!(
        scene.stage.env(PLACE).databases.values().all(|known| known.has("1.sql")),
        "what was seen stays known"
    );
}

#[test]
fn a_contraction_of_which_nobody_knows_is_told_as_such_and_one_that_did_nothing_is_none() {
    let mut scene = Scene::with_four();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        scene.run(&deploy(&[version]));
    }
    let approved = scene.plan(&contract()).unwrap().contraction.unwrap().code();
    let contract = at(DatabaseWish::Contract { approved: Some(approved) });
    for (untouched, may_be_there) in [(true, false), (false, true), (true, false), (false, true)] {
        scene.says = Some(Told { unread: true, untouched, ..Told::default() });
        let id = scene.stage.begin(PLACE, &contract, None);
        scene.settle(id, true);
        if !may_be_there {
            assert!(scene.plan(&back("1.1.0")).is_ok());
            continue;
        }
        let refusal = scene.refused(&back("1.1.0"));
        assert!(matches!(&refusal, DatabaseRefusal::MayBeContracted { .. }), "{refusal}");
        assert!(refusal.hint().contains("lockstep database look main"), "{}", refusal.hint());
    }
    scene.says = None;
    scene.run(&at(DatabaseWish::Look));
    assert!(scene.plan(&back("1.1.0")).is_ok());
}

#[test]
fn what_comes_before_migrations_that_ran_is_told_and_runs() {
    let mut scene = Scene::new();
    scene.release("shop@1.0.0", &[("1.sql", Expand), ("9.sql", Expand), ("R__v.sql", Expand)]);
    scene.release(
        "shop@1.1.0",
        &[("1.sql", Expand), ("5.sql", Expand), ("9.sql", Expand), ("10.sql", Expand), ("R__v.sql", Expand)],
    );
    scene.run(&deploy(&["shop@1.0.0"]));
    let plan = scene.plan(&deploy(&["shop@1.1.0"])).unwrap();
    let late: Vec<_> = plan.warnings.iter().filter(|it| it.contains("in another order")).collect();
    assert!(
        late.len() == 1 && late[0].contains("`5.sql` of database `main` stands before `9.sql`"),
        "{late:?}"
    );
    scene.run(&deploy(&["shop@1.1.0"]));
    assert_eq!(scene.has.len(), 5);
}

#[test]
fn what_ends_the_doubt_about_a_database_is_told_also_where_more_would_have_to_come_along() {
    let mut scene = Scene::with_four();
    scene.stage.release("desk@1.0.0", &[("shop", "^1.0")]);
    scene.stage.release("desk@1.1.0", &[("shop", "^1.1")]);
    scene.run(&deploy(&["shop@1.0.0", "desk@1.0.0"]));
    let id = scene.stage.begin(PLACE, &deploy(&["shop@1.1.0"]), None);
    assert!(matches!(scene.settle(id, true), Phase::Reverted { .. }));
    let (place, intent) = (environment(PLACE), deploy(&["desk@1.1.0"]));
    let Found::NoWay(answer) = smallest(&search(&scene.stage, &place, &intent)).unwrap() else {
        panic!("nothing is applied to a database that is half-way")
    };
    let told = serde_json::to_string(&answer).unwrap();
    assert!(told.contains("lockstep database look main --env development"), "{told}");
}

#[test]
fn what_is_asked_of_a_database_that_is_not_there_is_told() {
    let mut scene = Scene::with_four();
    assert!(matches!(scene.refused(&at(DatabaseWish::Look)), DatabaseRefusal::None { .. }));
    scene.run(&deploy(&["shop@1.0.0"]));
    let adopt = |through: &str| at(DatabaseWish::Adopt { through: through.into() });
    assert!(matches!(scene.refused(&adopt("9.sql")), DatabaseRefusal::NoMigration { last: Some(_), .. }));
    assert!(matches!(scene.refused(&contract()), DatabaseRefusal::NothingToContract { .. }));
    // One of a newer version is reached by that.
    let settle = at(DatabaseWish::Settle { migration: "2.sql".into(), done: false });
    assert_eq!(scene.refused(&settle).hint(), "shop@1.3.0 brings it: name it with --version shop@1.3.0");
    let by = |version: &str| Intent::Database {
        database: "main".parse().unwrap(),
        wish: DatabaseWish::Look,
        version: Some(version.parse().unwrap()),
    };
    let refusals = scene.plan(&by("shop@9.0.0")).unwrap_err();
    assert!(matches!(&refusals[..], [Refusal::NoVersion { newest: Some(_), .. }]), "{refusals:?}");
}

/// How going back from what runs of the shop stands, and why.
fn back_at(scene: &Scene, to: &str) -> Vec<(Verdict, String)> {
    let world = &scene.stage.world;
    let live = scene.stage.env(PLACE).entries().get(&service("shop")).unwrap().version.clone();
    let live = world.find_version(&service("shop"), &live).unwrap();
    let version = world.find_version(&service("shop"), &to.parse().unwrap()).unwrap();
    let found = on_databases(
        scene.stage.relation(),
        scene.stage.env(PLACE),
        (&service("shop"), Some(&**live), &**version),
    );
    found.into_iter().map(|found| (found.verdict, found.what)).collect()
}

#[test]
fn what_was_applied_and_not_understood_leaves_it_unproved_whether_older_code_works() {
    let mut scene = Scene::new();
    let files = [("1.sql", Expand), ("2.sql", NotChecked), ("3.sql", Data)];
    scene.release("shop@1.0.0", &files[..1]);
    scene.release("shop@1.1.0", &files[..2]);
    scene.stage.release_with("shop@1.2.0", &[], |version| {
        let mut brings = brings(&files);
        brings.files[2].one_way = vec!["UPDATE changes rows whose former values are lost".to_owned()];
        version.databases.push(brings);
    });
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    let found = back_at(&scene, "1.0.0");
    assert!(matches!(&found[..], [(Verdict::NotChecked, what)] if what.contains("`2.sql`")), "{found:?}");
    let plan = scene.plan(&back("1.0.0")).unwrap();
    assert!(
        plan.warnings.iter().any(|it| it.contains("not understood, and shop@1.0.0")),
        "{:?}",
        plan.warnings
    );
    scene.run(&deploy(&["shop@1.2.0"]));
    let found = back_at(&scene, "1.1.0");
    assert!(matches!(&found[..], [(Verdict::NotChecked, what)] if what.contains("is one-way")), "{found:?}");
}

#[test]
fn what_adds_proves_that_older_code_works() {
    let mut scene = Scene::new();
    scene.release("shop@1.0.0", &[("1.sql", Expand)]);
    scene.release("shop@1.1.0", &[("1.sql", Expand), ("2.sql", Expand)]);
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    let found = back_at(&scene, "1.0.0");
    assert!(matches!(&found[..], [(Verdict::Compatible, _)]), "{found:?}");
}

#[test]
fn a_migration_outside_of_lockstep_says_no_wherever_it_is_asked() {
    let mut scene = Scene::new();
    for (version, files) in [("shop@1.0.0", &FILES[..1]), ("shop@1.1.0", &FILES[..3])] {
        scene.stage.release_with(version, &[], |version| {
            let mut brings = brings(files);
            brings.database.applied = Applied::Elsewhere;
            version.databases.push(brings);
        });
    }
    scene.run(&deploy(&["shop@1.0.0"]));
    scene.run(&deploy(&["shop@1.1.0"]));
    let found = back_at(&scene, "1.0.0");
    assert!(
        matches!(&found[..], [(Verdict::Breaking, what)] if what.contains("outside of Lockstep")),
        "{found:?}"
    );
    let readiness =
        lockstep_domain::readiness::planned(scene.stage.relation(), scene.stage.env(PLACE), scene.stage.now);
    let host = lockstep_domain::ways_back::Host {
        is_ready: &|_| true,
        unprepared: &|_| None,
        has_artifact: &|_| true,
    };
    let readiness = lockstep_domain::readiness::with_host(&readiness, &host);
    assert_eq!(readiness.services[0].standing, lockstep_domain::readiness::Standing::Closed);
}

#[test]
fn where_a_database_is_observed_a_contract_of_the_same_folder_says_nothing_beside_it() {
    let mut scene = Scene::new();
    let gone = vec!["column `note` is gone".to_owned()];
    let answer =
        lockstep_domain::contract::Answer { verdict: Verdict::Breaking, reasons: gone, one_way: Vec::new() };
    scene.stage.contracts.insert((1, 2), answer);
    for (version, files, shape) in [("shop@1.0.0", &FILES[..1], 1), ("shop@1.1.0", &FILES[..3], 2)] {
        scene.stage.release_with(version, &[], |version| {
            crate::compatibility::offers(lockstep_domain::contract::ContractKind::Sql, shape)(version);
            version.contracts.iter_mut().for_each(|it| it.name = "db".to_owned());
            version.databases.push(brings(files));
        });
    }
    scene.run(&deploy(&["shop@1.0.0"]));
    let plan = scene.plan(&deploy(&["shop@1.1.0"])).unwrap();
    assert!(plan.warnings.iter().any(|it| it.contains("is not applied")), "{:?}", plan.warnings);
    assert!(
        !plan.warnings.iter().any(|it| it.contains("point of no return") || it.contains("is gone")),
        "{:?}",
        plan.warnings
    );
    scene.run(&deploy(&["shop@1.1.0"]));
    let found = back_at(&scene, "1.0.0");
    assert!(found.iter().all(|(verdict, _)| *verdict != Verdict::Breaking), "{found:?}");
    scene.run(&contract());
    let found = back_at(&scene, "1.0.0");
    assert!(matches!(&found[0], (Verdict::Breaking, what) if what.contains("3.sql")), "{found:?}");
}

#[test]
fn hints_of_refusals_are_no_commands_that_are_refused_in_their_turn() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    // What helps is a version that brings the contraction and not what stands behind it.
    let refusal = scene.refused(&deploy(&["shop@1.3.0"]));
    let first = match &refusal {
        DatabaseRefusal::StandsBehind { way: Behind::Deploy(first), .. } => first.clone(),
        other => panic!("{other:?}"),
    };
    scene.run(&Intent::Deploy { versions: vec![first] });
    let refusal = scene.refused(&deploy(&["shop@1.3.0"]));
    assert!(matches!(&refusal, DatabaseRefusal::StandsBehind { way: Behind::Contract, .. }), "{refusal:?}");
    scene.run(&contract());
    scene.run(&deploy(&["shop@1.3.0"]));
    // A baseline that is named is one that a plan leads to, and not what runs.
    let stays = match scene.refused(&back("1.0.0")) {
        DatabaseRefusal::Contracted { stays: Stays::Baseline(stays), .. } => stays,
        other => panic!("{other:?}"),
    };
    assert_ne!(stays, scene.stage.env(PLACE).baselines.current().number);
    scene.plan(&Intent::RollBackEnvironment { to: stays, config: ConfigChoice::AsItRan }).unwrap();
}

#[test]
fn what_is_half_way_is_settled_by_a_version_that_brings_it() {
    let mut scene = Scene::with_four();
    scene.run(&deploy(&["shop@1.0.0"]));
    let id = scene.stage.begin(PLACE, &deploy(&["shop@1.1.0"]), None);
    scene.settle(id, true);
    let hint = scene.refused(&deploy(&["shop@1.1.0"])).hint();
    assert!(hint.contains("settle main 2.sql") && hint.contains("--version shop@1.1.0"), "{hint}");
    let settle = Intent::Database {
        database: "main".parse().unwrap(),
        wish: DatabaseWish::Settle { migration: "2.sql".into(), done: true },
        version: Some("shop@1.1.0".parse().unwrap()),
    };
    scene.plan(&settle).unwrap();
}

#[test]
fn a_contraction_under_way_closes_the_way_for_now_and_is_no_loss_until_it_was_seen() {
    use lockstep_domain::readiness::{Standing, losses, planned, with_host};
    let host = lockstep_domain::ways_back::Host {
        is_ready: &|_| true,
        unprepared: &|_| None,
        has_artifact: &|_| true,
    };
    let ready = |scene: &Scene| {
        with_host(&planned(scene.stage.relation(), scene.stage.env(PLACE), scene.stage.now), &host)
    };
    let mut scene = Scene::with_four();
    for version in ["shop@1.0.0", "shop@1.1.0", "shop@1.2.0"] {
        scene.run(&deploy(&[version]));
    }
    let before = ready(&scene);
    let id = scene.stage.begin(PLACE, &contract(), None);
    let mut last = before;
    while scene.operation(id).jobs.len() < 2 {
        scene.stage.step(PLACE);
        scene.steps(id, false);
        let now = ready(&scene);
        assert!(losses(&last, &now).is_empty(), "nothing has happened yet");
        last = now;
        if scene.operation(id).jobs.len() == 2 {
            break;
        }
    }
    assert_eq!(last.services[0].standing, Standing::Closed, "it may be happening");
    // It failed before anything was done.
    scene.stage.step(PLACE);
    scene.stage.jobs.iter_mut().filter(|it| !it.state.is_over()).for_each(|it| {
        it.state = InstanceState::failed("ended with exit code 1", Fault::Crash);
    });
    let told = scene.told();
    let ids: Vec<_> = scene.operation(id).jobs.iter().map(|run| run.instance.clone()).collect();
    ids.into_iter().for_each(|id| {
        scene.stage.databases.insert(id, told.clone());
    });
    scene.settle(id, false);
    let after = ready(&scene);
    assert!(losses(&last, &after).is_empty());
    assert!(after.services[0].standing != Standing::Closed, "{after:?}");
    // And one that is done is told with what it did.
    scene.run(&contract());
    let lost = losses(&after, &ready(&scene));
    assert!(
        !lost.is_empty() && lost.iter().all(|loss| loss.what.contains("`3.sql` was applied")),
        "{lost:?}"
    );
}

/// Two environments whose databases are at one address, with one version of the shop in the second.
fn shared(version: &str) -> Scene {
    let mut scene = Scene::with_four();
    scene.at = Some(Digest::from_bytes([9; 32]));
    let mut settings = scene.stage.env("staging").settings.clone();
    settings.accepts_from = "created".parse().unwrap();
    scene
        .stage
        .record(lockstep_domain::Event::EnvironmentChanged { environment: environment("staging"), settings });
    scene.run_in("staging", &deploy(&[version]));
    scene
}

#[test]
fn a_contraction_asks_what_other_environments_with_the_same_database_run() {
    let mut scene = shared("shop@1.0.0");
    scene.run(&deploy(&["shop@1.1.0"]));
    scene.run(&deploy(&["shop@1.2.0"]));
    assert_eq!(scene.has, ["1.sql", "2.sql"], "staging needs what 3.sql takes");
    let refusal = scene.refused(&contract());
    assert!(
        matches!(&refusal, DatabaseRefusal::StillNeeded { by, elsewhere, .. } if by.is_empty() && elsewhere.len() == 1),
        "{refusal:?}"
    );
    assert!(
        refusal.to_string().contains("shop@1.0.0 of `staging`, which has the same database"),
        "{refusal}"
    );
    scene.run_in("staging", &deploy(&["shop@1.2.0"]));
    let taken = scene.plan(&contract()).unwrap().contraction.unwrap();
    assert_eq!(taken.lost_elsewhere.keys().map(ToString::to_string).collect::<Vec<_>>(), ["staging"]);
    scene.run(&contract());
    assert_eq!(scene.has.len(), 3);
    let closed = scene.stage.plan("staging", &back("1.0.0"), None).unwrap_err();
    assert!(closed.iter().any(|it| it.to_string().contains("3.sql")), "{closed:?}");
}

#[test]
fn a_first_deployment_takes_nothing_from_another_environment_and_does_not_run_on_what_was_taken() {
    // Nobody here knows the database yet, and its first step would apply everything.
    let mut scene = shared("shop@1.0.0");
    let phase = scene.run(&deploy(&["shop@1.2.0"]));
    assert!(
        matches!(&phase, Phase::Reverted { cause, .. } if cause.contains("shop@1.0.0 needs the old form in `staging`")),
        "{phase:?}"
    );
    assert_eq!(scene.has, ["1.sql"]);
    // Nor where its address is written so that nobody recognises it.
    let mut scene = shared("shop@1.0.0");
    scene.at = None;
    let phase = scene.run(&deploy(&["shop@1.2.0"]));
    assert!(
        matches!(&phase, Phase::Reverted { cause, .. } if cause.contains("somebody else works with it")),
        "{phase:?}"
    );
    assert_eq!(scene.has, ["1.sql"]);
    // What was taken before is seen by the first step, whoever took it.
    let mut scene = shared("shop@1.2.0");
    assert_eq!(scene.has.len(), 3);
    let phase = scene.run(&deploy(&["shop@1.0.0"]));
    assert!(
        matches!(&phase, Phase::Reverted { cause, .. } if cause.contains("`3.sql` was applied")),
        "{phase:?}"
    );
    assert!(
        scene.stage.instances.iter().all(|it| it.arm.version.to_string() != "1.0.0"),
        "nothing of it started"
    );
}

/// What happens to an environment.
#[derive(Debug, Clone)]
enum Happens {
    Deploys(usize, usize),
    GoesBack(usize),
    Undoes,
    Contracts,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..2_usize, 0..6_usize).prop_map(|(service, version)| Happens::Deploys(service, version)),
        2 => (0..6_usize).prop_map(Happens::GoesBack),
        1 => Just(Happens::Undoes),
        2 => Just(Happens::Contracts),
    ]
}

fn class() -> impl Strategy<Value = MigrationClass> {
    prop_oneof![3 => Just(Expand), 1 => Just(Data), 1 => Just(NotChecked), 2 => Just(Contract)]
}

proptest! {
    #[test]
    fn whatever_happens_what_is_in_force_finds_its_form(
        classes in proptest::collection::vec(class(), 6),
        steps in proptest::collection::vec(happens(), 1..14),
        sizes in proptest::collection::vec((any::<bool>(), 1..7_usize), 12),
    ) {
        let names: Vec<_> = (1..=6).map(|number| format!("{number}.sql")).collect();
        let all: Vec<_> = names.iter().map(String::as_str).zip(classes.iter().copied()).collect();
        let mut scene = Scene::new();
        for (which, name) in ["shop", "desk"].into_iter().enumerate() {
            let mut count = 1;
            for (minor, (grows, most)) in sizes[which * 6..which * 6 + 6].iter().enumerate() {
                count = if *grows { (count + 1).min(*most).max(count) } else { count };
                scene.release(&format!("{name}@1.{minor}.0"), &all[..count]);
            }
        }
        for step in steps {
            let intent = match &step {
                Happens::Deploys(0, minor) => deploy(&[&format!("shop@1.{minor}.0")]),
                Happens::Deploys(_, minor) => deploy(&[&format!("desk@1.{minor}.0")]),
                Happens::GoesBack(minor) => back(&format!("1.{minor}.0")),
                Happens::Undoes => Intent::Undo,
                Happens::Contracts => contract(),
            };
            let before = scene.has.clone();
            let ran: BTreeSet<_> = versions_that_ran(&scene);
            if scene.plan(&intent).is_err() {
                continue;
            }
            scene.run(&intent);
            let new: Vec<_> = scene.has.iter().filter(|name| !before.contains(name)).cloned().collect();
            if matches!(step, Happens::GoesBack(_) | Happens::Undoes) {
                prop_assert!(new.is_empty(), "going back touched the database: {new:?}");
            }
            let contracts = |name: &String| all.iter().any(|(other, class)| other == name && *class == Contract);
            if !matches!(step, Happens::Contracts) {
                for name in new.iter().filter(|name| contracts(name)) {
                    let needs: Vec<_> = ran.iter().filter(|it| !knows(&scene, it, name)).collect();
                    prop_assert!(needs.is_empty(), "{name} was taken from {needs:?} by {step:?}");
                }
            }
            for version in in_force(&scene) {
                for name in scene.has.iter().filter(|name| contracts(name)) {
                    prop_assert!(knows(&scene, &version, name), "{version} runs on a form without {name}");
                }
                let files = &scene.stage.world.version(&version).unwrap().databases[0].files;
                let lacks: Vec<_> = files.iter().filter(|it| it.class != Contract && !scene.has.contains(&it.name)).collect();
                prop_assert!(lacks.is_empty(), "{version} runs before {lacks:?}");
            }
            let level = scene.stage.env(PLACE).databases.get(&"main".parse::<DatabaseName>().unwrap()).map(|known| known.told.recorded.len());
            prop_assert_eq!(level.unwrap_or_default(), scene.has.len());
        }
    }
}

fn versions_that_ran(scene: &Scene) -> BTreeSet<VersionRef> {
    let baselines = scene.stage.env(PLACE).baselines.newest_first();
    baselines
        .flat_map(|it| it.entries.iter().map(|(service, entry)| entry.arm(service).version_ref()))
        .collect()
}

fn in_force(scene: &Scene) -> Vec<VersionRef> {
    let entries = scene.stage.world.environment(&environment(PLACE)).unwrap().entries();
    entries.iter().map(|(service, entry)| entry.arm(service).version_ref()).collect()
}

fn knows(scene: &Scene, version: &VersionRef, name: &str) -> bool {
    scene.stage.world.version(version).unwrap().databases[0].file(name).is_some()
}
