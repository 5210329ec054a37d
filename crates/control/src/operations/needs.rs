//! What would have to move along with what is wanted: searched on a world as it was, while others go on recording, and looked at once
//! more when it is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_api::types::{HoldHandling, Needs, OperationRequest, WhatItNeeds};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::compat::Relation;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::plan::{
    Answer, FleetFile, Found, Refusal, STEPS, Search, ServiceWish, Way, export, plan, smallest,
};
use lockstep_domain::{Environment, EnvironmentName, Intent, ServiceName, Timestamp, VersionRef, World};

use super::release_all;
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
        let Some(found) = self.search(world, environment, request, now) else { return Ok(None) };
        let seen = find(world, environment)?.clone();
        match found {
            Found::Way(way) if way.added.is_empty() || request.needs == Needs::Take => {
                let added = reasons(&way);
                let intent = if way.answer.moves.is_empty() { request.intent.clone() } else { way.intent };
                Ok(Some(Searched { request: OperationRequest { intent, ..request.clone() }, seen, added }))
            }
            found => Err(self.lacking(environment, request, found)),
        }
    }

    /// Says beside a refusal what would work, where others that nobody named could help.
    pub(super) fn with_needs(
        &self,
        problem: Problem,
        world: &World,
        environment: &EnvironmentName,
        request: &OperationRequest,
        now: Timestamp,
    ) -> Problem {
        let contracts = self.stored_contracts();
        let relation = Relation { world, contracts: &contracts };
        let intent = world.intent_as_named_now(&request.intent);
        let refusals = plan(relation, environment, &intent, request.strategy.as_ref(), now);
        let could_help = refusals.err().is_some_and(|all| all.iter().all(Refusal::lacks_others));
        if problem.code != ErrorCode::Refused || !could_help {
            return problem;
        }
        match self.search(world, environment, request, now) {
            Some(Found::Way(way)) => problem.with_needs(told(environment, request, &way)),
            Some(Found::NoWay(answer)) => problem.with_needs(nothing(*answer)),
            Some(Found::Undecided) => {
                let mut problem = problem;
                problem.problems.push(ProblemPart { detail: undecided(), ..ProblemPart::default() });
                problem
            }
            None => problem,
        }
    }

    fn search(
        &self,
        world: &World,
        environment: &EnvironmentName,
        request: &OperationRequest,
        now: Timestamp,
    ) -> Option<Found> {
        let mut world = world.clone();
        let intent = world.intent_as_named_now(&request.intent);
        if request.holds == HoldHandling::Release {
            release_all(&mut world, environment, &intent);
        }
        let as_named_now = |wish: &ServiceWish| ServiceWish {
            service: world.current_name(&wish.service).clone(),
            wanted: wish.wanted.clone(),
        };
        let wishes: Vec<_> = request.wishes.iter().map(as_named_now).collect();
        let contracts = self.stored_contracts();
        let has_artifact = |version: &VersionRef| self.has_artifact(&world, version);
        smallest(&Search {
            relation: Relation { world: &world, contracts: &contracts },
            environment,
            intent: &intent,
            wishes: &wishes,
            strategy: request.strategy.as_ref(),
            has_artifact: &has_artifact,
            steps: STEPS,
            now,
        })
    }

    fn lacking(&self, environment: &EnvironmentName, request: &OperationRequest, found: Found) -> Problem {
        let intent = &request.intent;
        let refused = |code, why: &str| Problem::new(code, format!("`{intent}` in `{environment}` {why}"));
        match found {
            Found::Way(way) => refused(ErrorCode::Refused, "needs what was not asked for").with_needs(told(
                environment,
                request,
                &way,
            )),
            Found::NoWay(answer) => {
                refused(ErrorCode::Refused, "cannot be: nothing works with all that is wanted")
                    .with_needs(nothing(*answer))
            }
            Found::Undecided => refused(ErrorCode::Undecided, "is not decided")
                .with_problems(vec![ProblemPart { detail: undecided(), ..ProblemPart::default() }])
                .with_hint("name more of what is to move, with its versions, or keep what is to stay"),
        }
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
            has_artifact: &has_artifact,
            steps: STEPS,
            now,
        };
        Ok(export(&search).unwrap_or_default())
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

fn told(environment: &EnvironmentName, request: &OperationRequest, way: &Way) -> WhatItNeeds {
    let command = Some(command(environment, request, way));
    WhatItNeeds { added: way.added.clone(), command, answer: way.answer.clone() }
}

fn nothing(answer: Answer) -> WhatItNeeds {
    WhatItNeeds { added: Vec::new(), command: None, answer }
}

/// The command that takes along what is needed.
fn command(environment: &EnvironmentName, request: &OperationRequest, way: &Way) -> String {
    let versions = |versions: &[VersionRef], between: char| {
        versions.iter().map(|it| format!("{}{between}{}", it.service, it.version)).collect::<Vec<_>>()
    };
    let config = |config: &ConfigChoice| match config {
        ConfigChoice::AsItRan => String::new(),
        ConfigChoice::Keep => " --keep-config".to_owned(),
        ConfigChoice::Revision(revision) => format!(" --with-config {}", revision.0),
    };
    let holds = if request.holds == HoldHandling::Release { " --release-holds" } else { "" };
    match &request.intent {
        Intent::RollBackService { service, to, config: choice } => {
            format!(
                "lockstep rollback {service} --to {to} --env {environment} --chain{}{holds}",
                config(choice)
            )
        }
        Intent::RollBackServices { versions: all, config: choice } => {
            let all = versions(all, '=').join(" ");
            format!("lockstep rollback {all} --env {environment} --chain{}{holds}", config(choice))
        }
        Intent::Deploy { versions: all } => {
            let wishes = request.wishes.iter().map(ToString::to_string);
            let all: Vec<_> = versions(all, '@').into_iter().chain(wishes).collect();
            format!("lockstep deploy {} --env {environment} --with-what-it-needs{holds}", all.join(" "))
        }
        // A promotion brings what another environment runs; with more than that it is a deployment of all of it.
        _ => match &way.intent {
            Intent::Deploy { versions: all } => {
                format!("lockstep deploy {} --env {environment}{holds}", versions(all, '@').join(" "))
            }
            _ => format!("lockstep status {environment}"),
        },
    }
}
