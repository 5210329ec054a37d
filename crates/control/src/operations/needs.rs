//! What would have to move along with what is wanted: searched on a world as it was, while others go on recording, and looked at once
//! more when it is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_api::types::{Needs, OperationRequest, WhatItNeeds};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::compat::Relation;
use lockstep_domain::plan::{
    Answer, FleetFile, Found, InTheWay, Refusal, STEPS, Search, ServiceWish, Way, decide, export, smallest,
    unexpected,
};
use lockstep_domain::{
    Actor, Environment, EnvironmentName, Intent, ServiceName, Timestamp, VersionRef, World,
};

use super::asked::{Asked, in_the_way};
use super::typed;
use crate::environments::find;
use crate::{Control, services};

/// What a request means after the search for what it needs.
pub(super) struct Searched {
    /// The request, with an intent that names all that moves.
    pub(super) request: OperationRequest,
    /// The environment that was searched.
    pub(super) seen: Arc<Environment>,
    /// What comes along, each with why.
    pub(super) added: BTreeMap<ServiceName, String>,
}

impl Control {
    /// Searches what a request needs where it asks for that or has wishes; `None` where it does not, or the search has nothing to say.
    ///
    /// # Errors
    /// That nothing works or was decided, or that it needs what was not asked for.
    pub(super) fn searched(
        &self,
        world: &World,
        environment: &EnvironmentName,
        request: &OperationRequest,
        now: Timestamp,
    ) -> Result<Option<Searched>, Problem> {
        if request.needs == Needs::Refuse && request.wishes.is_empty() {
            return Ok(None);
        }
        for wish in &request.wishes {
            services::find(world, world.current_name(&wish.service))?;
        }
        let asked = Asked::of(world, environment, request);
        let stale = request.expect.and_then(|expect| unexpected(world, environment, &asked.intent, expect));
        if let Some(stale) = stale {
            return Err(self.refused(world, request, environment, &[stale], now));
        }
        let Some(found) = self.search(&asked, environment, request, now) else { return Ok(None) };
        let seen = find(world, environment)?.clone();
        match found {
            Found::Way(way) if way.added.is_empty() || request.needs == Needs::Take => {
                let added = reasons(&way);
                let intent = if way.answer.moves.is_empty() { request.intent.clone() } else { way.intent };
                Ok(Some(Searched { request: OperationRequest { intent, ..request.clone() }, seen, added }))
            }
            Found::Refused(refusals) => Err(self.refused(&asked.world, request, environment, &refusals, now)),
            found => Err(lacking(&seen, request, found)),
        }
    }

    /// Says beside a refusal what would work, where others that nobody named could help.
    pub(super) fn with_needs(
        &self,
        problem: Problem,
        world: &World,
        environment: &EnvironmentName,
        request: &OperationRequest,
        (actor, now): (&Actor, Timestamp),
    ) -> Problem {
        if problem.code != ErrorCode::Refused {
            return problem;
        }
        let asked = Asked::of(world, environment, request);
        let contracts = self.stored_contracts();
        let relation = Relation { world: &asked.world, contracts: &contracts };
        let refusals = decide(relation, environment, &asked.wish(request), (actor, now)).err();
        if !refusals.is_some_and(|all| all.iter().all(Refusal::lacks_others)) {
            return problem;
        }
        let (Ok(seen), Some(found)) =
            (find(&asked.world, environment), self.search(&asked, environment, request, now))
        else {
            return problem;
        };
        let also = |parts: Vec<ProblemPart>| {
            let mut problem = problem.clone();
            problem.problems.extend(parts);
            problem
        };
        match found {
            Found::Way(way) => problem.with_needs(told(seen, request, &way)),
            Found::NoWay(answer) => problem.with_needs(nothing(*answer)),
            Found::Refused(refusals) => {
                also(self.refused(&asked.world, request, environment, &refusals, now).problems)
            }
            Found::Undecided => also(vec![ProblemPart { detail: undecided(), ..ProblemPart::default() }]),
        }
    }

    fn search(
        &self,
        asked: &Asked,
        environment: &EnvironmentName,
        request: &OperationRequest,
        now: Timestamp,
    ) -> Option<Found> {
        let world = &asked.world;
        let as_named_now = |wish: &ServiceWish| ServiceWish {
            service: world.current_name(&wish.service).clone(),
            wanted: wish.wanted.clone(),
        };
        let wishes: Vec<_> = request.wishes.iter().map(as_named_now).collect();
        let contracts = self.stored_contracts();
        let has_artifact = |version: &VersionRef| self.has_artifact(world, version);
        smallest(&Search {
            relation: Relation { world, contracts: &contracts },
            environment,
            intent: &asked.intent,
            wishes: &wishes,
            strategy: request.strategy.as_ref(),
            in_the_way: in_the_way(request),
            has_artifact: &has_artifact,
            steps: STEPS,
            now,
        })
    }

    /// Returns an environment as a fleet in a file.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn export_fleet(&self, environment: &EnvironmentName) -> Result<FleetFile, Problem> {
        let (now, world) = self.ledger.look();
        find(&world, environment)?;
        let contracts = self.stored_contracts();
        let has_artifact = |version: &VersionRef| self.has_artifact(&world, version);
        let search = Search {
            relation: Relation { world: &world, contracts: &contracts },
            environment,
            intent: &Intent::Deploy { versions: Vec::new() },
            wishes: &[],
            strategy: None,
            in_the_way: InTheWay::Refuses,
            has_artifact: &has_artifact,
            steps: STEPS,
            now,
        };
        Ok(export(&search).unwrap_or_default())
    }
}

fn lacking(seen: &Environment, request: &OperationRequest, found: Found) -> Problem {
    let refused =
        |code, why: &str| Problem::new(code, format!("`{}` in `{}` {why}", typed::title(request), seen.name));
    match found {
        Found::Way(way) => {
            refused(ErrorCode::Refused, "needs what was not asked for").with_needs(told(seen, request, &way))
        }
        Found::NoWay(answer) => {
            refused(ErrorCode::Refused, "cannot be: nothing works with all that is wanted")
                .with_needs(nothing(*answer))
        }
        Found::Undecided | Found::Refused(_) => refused(ErrorCode::Undecided, "is not decided")
            .with_problems(vec![ProblemPart { detail: undecided(), ..ProblemPart::default() }])
            .with_hint("name more of what is to move, with its versions, or keep what is to stay"),
    }
}

fn undecided() -> String {
    format!("what would have to move along was not decided within {STEPS} steps of search")
}

/// What comes along, each with why.
fn reasons(way: &Way) -> BTreeMap<ServiceName, String> {
    let because = |service: &ServiceName| {
        let found = way.answer.moves.iter().find(|part| part.service == service.as_str());
        found.map(|part| part.because.join("; ")).unwrap_or_default()
    };
    way.added.iter().map(|version| (version.service.clone(), because(&version.service))).collect()
}

fn told(seen: &Environment, request: &OperationRequest, way: &Way) -> WhatItNeeds {
    let baseline = seen.baselines.current().number;
    WhatItNeeds {
        added: way.added.clone(),
        despite: way.despite.values().cloned().collect(),
        baseline: Some(baseline),
        command: typed::with_needs(&seen.name, request, &way.intent, baseline),
        answer: way.answer.clone(),
    }
}

fn nothing(answer: Answer) -> WhatItNeeds {
    WhatItNeeds { added: Vec::new(), despite: Vec::new(), baseline: None, command: None, answer }
}
