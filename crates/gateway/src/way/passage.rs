//! Past the breaker of the arm that was chosen: to an instance of it, to one of the arm that stands in for it, or to no instance.
//!
//! Invariant: an arm that stands in for another gets nothing in its place while the breaker of that is closed. A request that is
//! kept from its arm counts there as one that failed ([`super::turned`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockstep_domain::breaker::TrialEnd;
use lockstep_domain::routes::RouteRule;

use super::{Desk, Notes};
use crate::balance::{Pick, Search, pick, pick_in};
use crate::breaker::{Answer, Breaker, Breakers, Trying};
use crate::changes::{self, AnswerEdit, Changes};
use crate::problem::{Problem, Status};
use crate::room::Place;
use crate::table::{ServiceTargets, Target};

/// How a request came past the breakers, where it did not simply pass.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// The trial that it is.
    pub(crate) trying: Option<Trying>,
    /// The place that it takes instead of that of its own arm.
    pub(crate) degraded: Option<Degraded>,
}

/// A request of which another arm takes the place.
#[derive(Debug)]
pub(crate) struct Degraded {
    /// The version that was chosen.
    pub(crate) of: String,
    pub(crate) place: Place,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Found {
    /// To an instance.
    Picked(Pick, Option<Box<Passage>>),
    /// There is none.
    Nobody,
    /// Its arm is left alone for so many milliseconds, and nothing stands in for it.
    Shut(u64),
}

impl Desk {
    /// Picks an instance for a request of an arm that no rule chose.
    pub(super) fn pass(&self, service: &ServiceTargets, target: usize, search: Search<'_>) -> Found {
        // A service may have no version at all.
        let breakers = service.targets.get(target).and_then(|arm| arm.breakers.as_deref());
        let Some((breakers, breaker)) = breakers.and_then(|all| Some((all, all.of(&self.peer)?))) else {
            return pick(service, target, search).map_or(Found::Nobody, |pick| Found::Picked(pick, None));
        };
        match breaker.ask(search.now) {
            Answer::Free => match pick(service, target, search) {
                Some(pick) => Found::Picked(pick, None),
                None => {
                    if !service.targets[target].is_full(search.priority) {
                        breaker.note(true, search.now);
                    }
                    Found::Nobody
                }
            },
            Answer::Trial(trying) => match pick(service, target, search) {
                Some(pick) => {
                    let passage = Passage { trying: Some(trying), degraded: None };
                    Found::Picked(pick, Some(Box::new(passage)))
                }
                None => {
                    if !service.targets[target].is_full(search.priority) {
                        breaker.tried(trying.ticket, TrialEnd::Failed, search.now);
                    }
                    Found::Nobody
                }
            },
            Answer::Shut(wait) => self
                .instead(service, target, (breakers, breaker), search)
                .map_or(Found::Shut(wait), |(pick, passage)| Found::Picked(pick, Some(passage))),
        }
    }

    /// Picks an instance of the arm that stands in for one that is left alone.
    fn instead(
        &self,
        service: &ServiceTargets,
        target: usize,
        (breakers, breaker): (&Breakers, &Arc<Breaker>),
        search: Search<'_>,
    ) -> Option<(Pick, Box<Passage>)> {
        let other = service.stands_in_for(target)?;
        service.targets[other]
            .limiter
            .as_ref()
            .is_none_or(|it| it.has_room(service.targets[other].choosing.shares, search.priority))
            .then_some(())?;
        let place = breakers.enter()?;
        let its = service.targets[other].breakers.as_ref().and_then(|all| all.of(&self.peer));
        let trying = match its.map(|its| its.ask(search.now)) {
            None | Some(Answer::Free) => None,
            Some(Answer::Trial(trying)) => Some(trying),
            Some(Answer::Shut(_)) => return None,
        };
        let pick = pick_in(service, other, search).filter(|pick| pick.is_good(search.now))?;
        breaker.instead.degraded.fetch_add(1, Ordering::Relaxed);
        let degraded = Degraded { of: service.targets[target].label.clone(), place };
        Some((pick, Box::new(Passage { trying, degraded: Some(degraded) })))
    }

    /// Answers for an arm that is left alone while nothing stands in for it.
    pub(super) fn shut(
        &self,
        arm: &Target,
        wait_ms: u64,
        rule: Option<&RouteRule>,
        notes: &Notes,
    ) -> Problem {
        if let Some(breaker) = arm.breakers.as_ref().and_then(|all| all.of(&self.peer)) {
            breaker.instead.answered.fetch_add(1, Ordering::Relaxed);
        }
        let wait_s = wait_ms.div_ceil(1_000).max(1);
        let own = rule.and_then(|rule| rule.policy.as_ref()?.fallback.as_ref());
        match own {
            Some(respond) => {
                let edit = notes.changes.as_deref().map(Changes::answer);
                let given = edit.into_iter().flat_map(AnswerEdit::gives).cloned();
                let kind = edit.and_then(|edit| edit.sets("content-type"));
                let degraded = ("lockstep-degraded".to_owned(), arm.label.clone());
                let wait = ("retry-after".to_owned(), wait_s.to_string());
                let fields = std::iter::once(degraded).chain(given);
                let fields = fields.chain((respond.status == 503).then_some(wait));
                changes::responded(respond, "breaker_open", kind).with_fields(fields)
            }
            None => {
                let detail = format!("`{}` fails its requests and gets none for now", arm.label);
                let problem = Problem::new(Status::Unavailable, "breaker_open", detail);
                problem.hint("see `lockstep status`").degraded(&arm.label, wait_s)
            }
        }
    }
}
