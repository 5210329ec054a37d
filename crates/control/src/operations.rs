//! Operations: planning intents, recording them, taking them back.

mod accepting;
mod asked;
mod gateways;
mod limited;
mod mixing;
mod needs;
mod planned;
mod rooted;
mod taking_back;
mod typed;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_api::types::{Mode, Needs, OperationAnswer, OperationRequest, UnderWay};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::compat::Relation;
use lockstep_domain::intent::ConfigValue;
use lockstep_domain::lost::lost;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{DatabaseRefusal, Decision, Refusal, decide};
use lockstep_domain::proven::last_good;
use lockstep_domain::ways_back;
use lockstep_domain::{
    Actor, EnvironmentName, Event, Intent, Operation, OperationId, Plan, Timestamp, VersionRef, World,
};

use self::asked::Asked;
use self::needs::Searched;
use self::taking_back::{is_taken_back, taking_back};
use self::waiting::Waiting;
use crate::databases::approved;
use crate::environments::is_ready;
use crate::ledger::is_as_seen;
use crate::secrets::MAX_SECRET_BYTES;
use crate::{Control, not_found, storage_problem};

/// Longest reason of an operation.
const MAX_REASON_BYTES: usize = 4_000;
/// How often it is searched anew what a request needs because the environment was changed meanwhile.
const MAX_SEARCHES: u32 = 3;
/// Most wishes of a request: one for each service of a large fleet.
const MAX_WISHES: usize = 1_000;
/// Operations that a list shows.
const MAX_LISTED: usize = 200;

impl Control {
    /// Decides what an intent means, and carries it out unless only the decision is wanted. Returns when it is recorded; the
    /// environment's reconciler does the rest.
    ///
    /// # Errors
    /// All refusals at once, or that nothing can be recorded.
    pub fn operate(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        mut request: OperationRequest,
    ) -> Result<OperationAnswer, Problem> {
        check_request(&request)?;
        let secrets = std::mem::take(&mut request.secrets);
        // A refused intent leaves no secret value behind.
        let mut rehearsal = request.clone();
        note_secrets(&mut rehearsal.intent, &secrets, |_| Ok("not kept in a dry run".into()))?;
        for _ in 0..MAX_SEARCHES {
            let (searched, answer) = self.rehearse(actor, environment, &rehearsal)?;
            if request.mode == Mode::DryRun {
                return Ok(answer);
            }
            let mut request = searched.as_ref().map_or(&request, |searched| &searched.request).clone();
            note_secrets(&mut request.intent, &secrets, |value| {
                self.secrets.put(value).map_err(|error| storage_problem("a secret could not be kept", &error))
            })?;
            let outcome = tokio::task::block_in_place(|| {
                self.record_decided(actor, environment, &request, searched.as_ref())
            })?;
            if let Some(outcome) = outcome {
                return Ok(self.answer(outcome));
            }
        }
        Err(changed_meanwhile(environment))
    }

    /// Decides on a world as it is now, and changes nothing. A search for what is needed takes its time, and nobody waits for it.
    fn rehearse(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        request: &OperationRequest,
    ) -> Result<(Option<Searched>, OperationAnswer), Problem> {
        let mut tried = 0;
        loop {
            let (now, world) = self.ledger.look();
            let searched = self.searched(&world, environment, request, now)?;
            let asked = searched.as_ref().map_or(request, |it| &it.request);
            let mut decided = self
                .decided(actor, &world, environment, asked, now)
                .map_err(|problem| self.with_needs(problem, &world, environment, asked, (actor, now)))?;
            note_needed(&mut decided.decision, searched.as_ref());
            tried += 1;
            let newest = self.ledger.world();
            if tried == MAX_SEARCHES || searched.as_ref().is_none_or(|it| is_as_seen(&newest, &it.seen)) {
                return Ok((searched, would_be(&world, decided.decision)));
            }
        }
    }

    /// Decides on the newest world and records that; nothing where it is not as it was searched.
    fn record_decided(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        request: &OperationRequest,
        searched: Option<&Searched>,
    ) -> Result<Option<Outcome>, Problem> {
        self.ledger.commit(actor, |world, now| {
            if searched.is_some_and(|it| !is_as_seen(world, &it.seen)) {
                return Ok((Vec::new(), None));
            }
            let Decided { mut decision, released } = self.decided(actor, world, environment, request, now)?;
            note_needed(&mut decision, searched);
            let (ended, plan) = match decision {
                Decision::GoesThere(id) => return Ok((Vec::new(), Some(Outcome::GoesThere(id)))),
                Decision::TakesBack(all) => {
                    let events = taking_back(world, &all, actor, &request.reason);
                    let (first, already) = (all.first().copied(), events.is_empty());
                    return Ok((events, Some(Outcome::TakenBack { first, already })));
                }
                Decision::Begins { ended, plan } => (ended, *plan),
            };
            approved(&plan, &request.intent, environment)?;
            let operation = begin(world, actor, environment, request, plan, now);
            let begun = Event::OperationBegun { operation: Box::new(operation.clone()) };
            let released = released
                .into_iter()
                .map(|version| Event::HoldReleased { environment: environment.clone(), version });
            let events = released.chain(ended).chain([begun]).collect();
            Ok((events, Some(Outcome::Begun(Box::new(operation)))))
        })
    }

    /// Decides on a world.
    fn decided(
        &self,
        actor: &Actor,
        world: &World,
        environment: &EnvironmentName,
        request: &OperationRequest,
        now: Timestamp,
    ) -> Result<Decided, Problem> {
        let mut asked = Asked::of(world, environment, request);
        asked.intent = self.with_instances(&asked.world, environment, &asked.intent)?;
        let contracts = self.stored_contracts();
        let relation = Relation { world: &asked.world, contracts: &contracts };
        let mut decision = decide(relation, environment, &asked.wish(request), (actor, now))
            .map_err(|refusals| self.refused(&asked.world, request, environment, &refusals, now))?;
        let Asked { world, released, .. } = asked;
        if let Decision::Begins { plan, .. } = &mut decision {
            plan.leaving = request.leaving.unwrap_or(plan.leaving);
            if let Some(found) = world.environment(environment) {
                let instances = self.as_known_now(self.instances_of(&world, environment));
                plan.see(|arm| is_ready(found, &instances, arm));
                plan.note_starts(&world, found, now, |arm| self.unprepared(&world, arm));
                self.note_work(&world, plan, &instances);
                self.note_places(&world, found, (&request.intent, plan))?;
                self.note_traffic(&world, environment, plan);
                self.note_mixing(&world, found, plan);
            }
            self.check_artifacts(&world, plan)?;
            self.check_gateways_can(&world, environment, plan)?;
            self.note_limits(&world, environment, plan);
            self.note_roots(&world, plan);
        }
        Ok(Decided { decision, released })
    }

    fn answer(&self, outcome: Outcome) -> OperationAnswer {
        let world = self.ledger.world();
        let found = |id| world.find_operation(id).map(|operation| Operation::clone(operation));
        match outcome {
            Outcome::Begun(operation) => OperationAnswer {
                lost: lost(&world, &operation.plan),
                plan: Some(operation.plan.clone()),
                operation: Some(*operation),
                already: false,
            },
            Outcome::TakenBack { first, already } => {
                OperationAnswer { plan: None, operation: first.and_then(found), lost: Vec::new(), already }
            }
            Outcome::GoesThere(id) => {
                let operation = found(id);
                let plan = operation.as_ref().map(|operation| operation.plan.clone());
                OperationAnswer { plan, operation, lost: Vec::new(), already: true }
            }
        }
    }

    fn refused(
        &self,
        world: &World,
        request: &OperationRequest,
        environment: &EnvironmentName,
        refusals: &[Refusal],
        now: Timestamp,
    ) -> Problem {
        let what = format!("`{}` in `{environment}` is refused", typed::title(request));
        let mut problem = self.refusals(world, what, refusals, now);
        for (part, refusal) in problem.problems.iter_mut().zip(refusals) {
            if part.hint == refusal.hint() {
                part.hint = unknown_provider(world, refusal).or_else(|| typed::hint(request, refusal));
            }
        }
        problem
    }

    /// Makes a problem of refusals, with how long to wait where time alone helps against all of them.
    pub(crate) fn refusals(
        &self,
        world: &World,
        what: String,
        refusals: &[Refusal],
        now: Timestamp,
    ) -> Problem {
        let waiting: Vec<_> = refusals.iter().map(|refusal| self.waiting(world, refusal, now)).collect();
        let waits: Option<Vec<_>> = waiting.iter().map(|one| one.as_ref()?.wait_ms).collect();
        let parts =
            refusals.iter().zip(&waiting).map(|(refusal, waiting)| part_of(refusal, waiting.as_ref()));
        Problem::new(code_of(refusals), what)
            .with_problems(parts.collect())
            .with_wait_ms(waits.and_then(|all| all.into_iter().max()))
    }

    /// An artifact that is gone would be noticed only when an instance starts, in the middle of the operation.
    fn check_artifacts(&self, world: &World, plan: &Plan) -> Result<(), Problem> {
        let moved = plan.moves().filter_map(|part| Some(part.to_arm()?.version_ref()));
        let needed: BTreeSet<_> =
            moved.chain(plan.jobs.iter().map(|planned| planned.arm.version_ref())).collect();
        let missing: Vec<_> = needed
            .into_iter()
            .filter(|version| !self.has_artifact(world, version))
            .map(|version| ProblemPart {
                detail: ways_back::lost(&version),
                hint: Some(without_artifact(&version)),
                ..ProblemPart::default()
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Refused, "artifacts are missing").with_problems(missing))
    }

    /// Tells whether the artifact of a version is in the store.
    pub(crate) fn has_artifact(&self, world: &World, version: &VersionRef) -> bool {
        world.version(version).is_some_and(|version| self.blobs.contains(&version.artifact.digest))
    }

    fn find_operation(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.ledger.world().find_operation(id).cloned()
    }

    /// Returns an operation.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn operation(&self, id: OperationId) -> Result<Operation, Problem> {
        let found = self.find_operation(id);
        let missing = || not_found(format!("there is no operation {id}"), "lockstep operations");
        found.map(|operation| Operation::clone(&operation)).ok_or_else(missing)
    }

    /// Lists the newest operations of all environments.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let world = self.ledger.world();
        let mut all: Vec<_> = world
            .environments
            .values()
            .flat_map(|environment| {
                let settled = environment.operations.iter().rev().take(MAX_LISTED);
                environment.under_way().chain(settled).cloned().collect::<Vec<_>>()
            })
            .collect();
        all.sort_by_key(|operation| std::cmp::Reverse(operation.id));
        all.into_iter().take(MAX_LISTED).map(|operation| Operation::clone(&operation)).collect()
    }

    /// Releases a hold.
    ///
    /// # Errors
    /// When the version is not held there.
    pub fn release_hold(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        version: &VersionRef,
    ) -> Result<(), Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let held = world.environment(environment).is_some_and(|e| e.holds.contains_key(version));
                if !held {
                    let hint = format!("lockstep hold list {environment}");
                    return Err(not_found(format!("`{version}` is not held in `{environment}`"), &hint));
                }
                let released =
                    Event::HoldReleased { environment: environment.clone(), version: version.clone() };
                Ok((vec![released], ()))
            })
        })
    }
}

/// Says in a plan why something comes along that nobody named.
fn note_needed(decision: &mut Decision, searched: Option<&Searched>) {
    if let (Decision::Begins { plan, .. }, Some(searched)) = (decision, searched) {
        plan.note_needed(&searched.added);
    }
}

/// What helps where an artifact is lost: a version is never made anew.
pub(crate) fn without_artifact(version: &VersionRef) -> String {
    let service = &version.service;
    format!(
        "put it back with `lockstep backup restore`, or release a newer commit and deploy that: lockstep show {service}"
    )
}

/// What helps where nobody has ever registered what is required.
fn unknown_provider(world: &World, refusal: &Refusal) -> Option<String> {
    let (Refusal::Unmet(unmet) | Refusal::UnmetBack { unmet, .. }) = refusal else { return None };
    let provider = &unmet.provider;
    world.service(provider).is_none().then(|| {
        format!("there is no service `{provider}`: lockstep service add REPOSITORY, or take it out of [requires] of {}", unmet.consumer.service)
    })
}

fn changed_meanwhile(environment: &EnvironmentName) -> Problem {
    let detail = format!("`{environment}` was changed while it was looked for what has to move along");
    Problem::new(ErrorCode::Conflict, detail).with_hint("run the command again")
}

/// What is decided of a request.
struct Decided {
    decision: Decision,
    /// The holds that are released with it.
    released: Vec<VersionRef>,
}

/// What became of a request.
enum Outcome {
    Begun(Box<Operation>),
    /// Something is taken back; or somebody else does that already.
    TakenBack {
        first: Option<OperationId>,
        already: bool,
    },
    /// Somebody else's operation does it already.
    GoesThere(OperationId),
}

/// Answers a dry run.
fn would_be(world: &World, decision: Decision) -> OperationAnswer {
    let found = |id: OperationId| world.find_operation(id).map(|operation| Operation::clone(operation));
    match decision {
        Decision::Begins { plan, .. } => {
            OperationAnswer { lost: lost(world, &plan), plan: Some(*plan), operation: None, already: false }
        }
        Decision::TakesBack(all) => {
            let already = all.iter().all(|id| found(*id).is_none_or(|operation| is_taken_back(&operation)));
            let operation = all.first().copied().and_then(found);
            OperationAnswer { plan: None, operation, lost: Vec::new(), already }
        }
        Decision::GoesThere(id) => {
            let operation = found(id);
            let plan = operation.as_ref().map(|operation| operation.plan.clone());
            OperationAnswer { plan, operation, lost: Vec::new(), already: true }
        }
    }
}

pub(crate) fn check_reason(reason: &str) -> Result<(), Problem> {
    let detail = || format!("the reason is longer than {MAX_REASON_BYTES} bytes");
    let fits = reason.len() <= MAX_REASON_BYTES;
    if fits { Ok(()) } else { Err(Problem::new(ErrorCode::BadRequest, detail())) }
}

fn check_request(request: &OperationRequest) -> Result<(), Problem> {
    check_reason(&request.reason)?;
    if request.under_way == UnderWay::TakeBack && !request.intent.goes_back() {
        return Err(Problem::new(ErrorCode::BadRequest, "only going back takes back what is in the way"));
    }
    if request.operation.is_some() && request.intent != Intent::Undo {
        return Err(Problem::new(ErrorCode::BadRequest, "only `undo` names an operation"));
    }
    let can_take = matches!(
        request.intent,
        Intent::Deploy { .. }
            | Intent::Promote { .. }
            | Intent::RollBackService { .. }
            | Intent::RollBackServices { .. }
    );
    if request.needs == Needs::Take && !can_take {
        let detail = "only a deployment, a promotion, and services that go back take along what they need";
        return Err(Problem::new(ErrorCode::BadRequest, detail));
    }
    if !request.wishes.is_empty() && !matches!(request.intent, Intent::Deploy { .. }) {
        return Err(Problem::new(ErrorCode::BadRequest, "only a deployment has wishes"));
    }
    if request.wishes.len() > MAX_WISHES {
        return Err(Problem::new(ErrorCode::BadRequest, format!("more than {MAX_WISHES} wishes")));
    }
    let Intent::Configure { set, .. } = &request.intent else {
        return if request.secrets.is_empty() {
            Ok(())
        } else {
            Err(Problem::new(ErrorCode::BadRequest, "secrets go with a configuration only"))
        };
    };
    if set.values().any(|value| matches!(value, ConfigValue::Secret(_))) {
        return Err(Problem::new(ErrorCode::BadRequest, "values of secret variables are given in `secrets`"));
    }
    match request.secrets.iter().find(|(_, value)| value.len() > MAX_SECRET_BYTES || value.contains('\0')) {
        Some((key, _)) => {
            let detail = format!(
                "the secret value of `{key}` is longer than {MAX_SECRET_BYTES} bytes or has a zero byte"
            );
            Err(Problem::new(ErrorCode::BadRequest, detail))
        }
        None => Ok(()),
    }
}

/// Puts the names of secret values into a configuration in place of the values.
fn note_secrets(
    intent: &mut Intent,
    secrets: &BTreeMap<String, String>,
    mut keep: impl FnMut(&str) -> Result<String, Problem>,
) -> Result<(), Problem> {
    if let Intent::Configure { set, .. } = intent {
        for (key, value) in secrets {
            set.insert(key.clone(), ConfigValue::Secret(keep(value)?));
        }
    }
    Ok(())
}

fn release_all(world: &mut World, environment: &EnvironmentName, intent: &Intent) -> Vec<VersionRef> {
    let Some(environment) = world.environments.get_mut(environment) else { return Vec::new() };
    let named = |version: &VersionRef| match intent {
        Intent::Deploy { versions } => versions.contains(version),
        Intent::Promote { services, .. } => services.is_empty() || services.contains(&version.service),
        _ => false,
    };
    let released: Vec<_> = environment.holds.keys().filter(|version| named(version)).cloned().collect();
    let holds = &mut Arc::make_mut(environment).holds;
    for version in &released {
        holds.remove(version);
    }
    released
}

fn begin(
    world: &World,
    actor: &Actor,
    environment: &EnvironmentName,
    request: &OperationRequest,
    plan: Plan,
    now: Timestamp,
) -> Operation {
    Operation {
        id: OperationId(world.operations + 1),
        environment: environment.clone(),
        actor: actor.clone(),
        intent: by_number(world, environment, &request.intent),
        reason: request.reason.clone(),
        plan,
        begun: now,
        phase: Phase::Preparing { wave: 0, since: now },
        proof: String::new(),
        waits: None,
        accepted: Vec::new(),
        jobs: Vec::new(),
    }
}

/// What is recorded names the baseline that was the last good one when it was decided.
fn by_number(world: &World, environment: &EnvironmentName, intent: &Intent) -> Intent {
    let intent = world.intent_as_named_now(intent);
    let good = || last_good(world.environment(environment)?).ok().map(|baseline| baseline.number);
    match (&intent, good()) {
        (Intent::RollBackToLastGood { config }, Some(to)) => {
            Intent::RollBackEnvironment { to, config: *config }
        }
        _ => intent,
    }
}

/// The kind of the first refusal decides the code.
fn code_of(refusals: &[Refusal]) -> ErrorCode {
    match refusals.first() {
        Some(Refusal::Meanwhile { refusal, .. }) => code_of(std::slice::from_ref(&**refusal)),
        Some(
            Refusal::Busy { .. }
            | Refusal::GoesThere { .. }
            | Refusal::UndoWhich { .. }
            | Refusal::NotUnderWay { .. }
            | Refusal::Unexpected { .. },
        ) => ErrorCode::Conflict,
        Some(
            Refusal::NoEnvironment(_)
            | Refusal::NoService(_)
            | Refusal::NoVersion { .. }
            | Refusal::NoJob { .. }
            | Refusal::NoProcess { .. }
            | Refusal::NoBaseline { .. }
            | Refusal::NoRevision { .. }
            | Refusal::Database(
                DatabaseRefusal::None { .. }
                | DatabaseRefusal::NoMigration { .. }
                | DatabaseRefusal::NotThere { .. },
            ),
        ) => ErrorCode::NotFound,
        Some(Refusal::WrongPlan { .. }) => ErrorCode::WrongPlan,
        _ => ErrorCode::Refused,
    }
}

fn part_of(refusal: &Refusal, waiting: Option<&Waiting>) -> ProblemPart {
    let (detail, hint) = match waiting {
        None => (refusal.to_string(), refusal.hint()),
        Some(Waiting { words, wait_ms: None }) => (format!("{refusal}: {words}"), refusal.hint()),
        Some(Waiting { words, wait_ms: Some(ms) }) => {
            (format!("{refusal}: {words}"), Some(format!("run again in {} s", ms.div_ceil(1_000))))
        }
    };
    ProblemPart { detail, hint, ..ProblemPart::default() }
}
