//! Lanes: beginning, ending and showing them.
//!
//! They are no operations: nothing is replaced, and nothing is taken back. Their rules keep their versions running, the reconciler ends those whose time is
//! over, and the next table has what is left.

use lockstep_api::types::{CreateLane, EndLane, LaneList, LaneServiceView, LaneView, Mode, VersionRuleView};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::compat::Relation;
use lockstep_domain::environment::Environment;
use lockstep_domain::lane::{FORMAT_WITH_LANES, Lane, LaneEnd, LaneService, LaneWhen, NewLane, USUAL_FOR_MS};
use lockstep_domain::plan::{LaneDecision, WantedLane, add_lane, lane_event};
use lockstep_domain::version_rules::Takes;
use lockstep_domain::{Actor, EnvironmentName, Event, LaneName, Timestamp, VersionRef, World, ways_back};

use crate::environments::find;
use crate::operations::{check_reason, without_artifact};
use crate::version_rules::check_header;
use crate::{Control, not_found, traffic};

/// Longest name of an owner.
const MAX_OWNER_BYTES: usize = 200;

impl Control {
    /// Begins a lane, unless only what it would be is wanted. Its versions are started where they do not run.
    ///
    /// # Errors
    /// Every reason against it at once.
    pub fn create_lane(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &CreateLane,
    ) -> Result<LaneView, Problem> {
        check_reason(&request.reason)?;
        check_request(request)?;
        self.check_takes_format(name, FORMAT_WITH_LANES, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that knows no lanes")
        })?;
        let contracts = self.stored_contracts();
        let decided = tokio::task::block_in_place(|| {
            let decide = |world: &World, now| {
                let relation = Relation { world, contracts: &contracts };
                let wanted = wanted(actor, request, now);
                let decision = add_lane(relation, name, &wanted, now).map_err(|refusals| {
                    let what = format!("lane {} in `{name}` is refused", request.name);
                    self.refusals(world, what, &refusals, now)
                })?;
                self.check_artifacts_of(world, &decision.lane)?;
                Ok::<_, Problem>(decision)
            };
            if request.mode == Mode::DryRun {
                let (now, world) = self.ledger.look();
                return decide(&world, now).map(|decision| (decision, now));
            }
            self.ledger.commit(actor, |world, now| {
                let decision = decide(world, now)?;
                Ok((vec![lane_event(name, &decision.lane)], (decision, now)))
            })
        });
        let (LaneDecision { lane, warnings }, now) = decided?;
        if request.mode == Mode::DryRun {
            let lane = Lane { new: lane, record: 0, places: Vec::new(), by: actor.clone(), at: now };
            return Ok(LaneView { lane, in_force: Vec::new(), warnings });
        }
        self.wake(name);
        Ok(LaneView { warnings, ..self.lane(name, &lane.name)? })
    }

    /// Ends a lane, unless only what would end is wanted.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn end_lane(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        (lane, request): (&LaneName, &EndLane),
    ) -> Result<LaneList, Problem> {
        check_reason(&request.reason)?;
        if request.mode == Mode::DryRun {
            return Ok(LaneList { lanes: vec![self.lane(name, lane)?], ..self.lanes(name)? });
        }
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                find_lane(find(world, name)?, lane)?;
                let (environment, lane, reason) = (name.clone(), lane.clone(), request.reason.clone());
                Ok((vec![Event::LaneEnded { environment, lane, reason }], ()))
            })
        })?;
        self.wake(name);
        self.lanes(name)
    }

    /// Lists the lanes of an environment, and how far each is in force.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn lanes(&self, name: &EnvironmentName) -> Result<LaneList, Problem> {
        let (now, world) = self.ledger.look();
        let environment = find(&world, name)?;
        let rules = self.all_rules(name)?;
        let totals = self.registry.lately(name, now).totals;
        let of_lane = |lane: &Lane| {
            let its = rules.rules.iter().filter(|view| view.rule.record == lane.record);
            let service = |view: &VersionRuleView| {
                let arm = view.rule.arm();
                let gives = lane.new.services.iter().find(|it| it.service == arm.service)?.clone();
                let counted = traffic::of_arm(&world, &totals, &arm);
                Some(LaneServiceView {
                    gives,
                    force: view.force.clone(),
                    healthy: view.healthy,
                    replicas: view.replicas,
                    requests: counted.requests,
                    failures: counted.failures,
                })
            };
            LaneView { lane: lane.clone(), in_force: its.filter_map(service).collect(), warnings: Vec::new() }
        };
        let known = &environment.version_rules.lanes;
        Ok(LaneList {
            lanes: known.lanes.iter().map(of_lane).collect(),
            ended: known.ended.iter().rev().cloned().collect(),
            is_applied: rules.is_applied,
        })
    }

    /// Shows a lane that is in force.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn lane(&self, name: &EnvironmentName, lane: &LaneName) -> Result<LaneView, Problem> {
        let found = self.lanes(name)?.lanes.into_iter().find(|view| view.lane.new.name == *lane);
        match found {
            Some(view) => Ok(view),
            None => {
                let world = self.ledger.world();
                Err(no_lane(find(&world, name)?, lane))
            }
        }
    }

    fn check_artifacts_of(&self, world: &World, lane: &NewLane) -> Result<(), Problem> {
        let versions = lane.services.iter().map(LaneService::version_ref);
        let missing = versions.filter(|version| !self.has_artifact(world, version));
        let part = |version: VersionRef| ProblemPart {
            detail: ways_back::lost(&version),
            hint: Some(without_artifact(&version)),
            ..ProblemPart::default()
        };
        let missing: Vec<_> = missing.map(part).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Refused, "artifacts are missing").with_problems(missing))
    }
}

fn wanted(actor: &Actor, request: &CreateLane, now: Timestamp) -> WantedLane {
    let after = || LaneEnd::After(now.plus_ms(request.for_ms.unwrap_or(USUAL_FOR_MS)));
    WantedLane {
        name: request.name.clone(),
        versions: request.versions.clone(),
        when: request.when.clone(),
        owner: request.owner.clone().unwrap_or_else(|| actor.to_string()),
        until: request.until.map_or_else(after, LaneEnd::At),
        replicas: request.replicas,
        reason: request.reason.clone(),
    }
}

fn check_request(request: &CreateLane) -> Result<(), Problem> {
    let bad = |detail: String| Problem::new(ErrorCode::BadRequest, detail);
    if request.for_ms.is_some() && request.until.is_some() {
        return Err(bad("a lane ends after a time or at a moment, not both".to_owned()));
    }
    let owner = request.owner.as_deref().unwrap_or_default();
    if owner.len() > MAX_OWNER_BYTES || owner.chars().any(char::is_control) {
        return Err(bad(format!("an owner has at most {MAX_OWNER_BYTES} bytes, without control characters")));
    }
    for when in &request.when {
        if let LaneWhen::Header(pattern) = when {
            check_header(&Takes::Header(pattern.clone()))?;
        }
    }
    Ok(())
}

fn find_lane<'a>(environment: &'a Environment, name: &LaneName) -> Result<&'a Lane, Problem> {
    environment.version_rules.lanes.find(name).ok_or_else(|| no_lane(environment, name))
}

fn no_lane(environment: &Environment, name: &LaneName) -> Problem {
    let ended = environment.version_rules.lanes.find_ended(name).map(|it| {
        let why = if it.because.is_empty() { "ended" } else { &it.because };
        format!("; it ended: {why}, by {}", it.by)
    });
    let detail = format!("`{}` has no lane `{name}`{}", environment.name, ended.unwrap_or_default());
    not_found(detail, &format!("lockstep lane list {}", environment.name))
}
