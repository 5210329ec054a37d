//! From the version that was chosen for a request to the instance that is asked first.

use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::priority::Priority;
use lockstep_domain::routes::conditions::RequestView as _;
use lockstep_domain::routes::policy::Policy;
use lockstep_domain::routes::service_policy::Balance;
use lockstep_domain::routes::{Matched, Patience, RouteRule, SplitRole};

use super::passage::Found;
use super::turned::{Turned, Why};
use super::{Desk, Notes, Routed};
use crate::affinity::Affinity;
use crate::balance::{Search, pick};
use crate::framing::Body;
use crate::lanes::ServedBy;
use crate::limiter::Waiting;
use crate::moment::Moment;
use crate::policy::{Hedging, Who};
use crate::recent::Chosen;
use crate::request::Request;
use crate::request_view::View;
use crate::room::Place;
use crate::table::{Choice, Outcome, ServiceTargets, Target, WorkerTable};
use crate::trial::{Class, Key, Seen};
use crate::waits::Waits;

/// A request that has a version.
pub(super) struct Arrival<'a, 'b> {
    pub(super) table: &'a WorkerTable,
    pub(super) service: &'a Arc<ServiceTargets>,
    pub(super) matched: &'a Matched<'a>,
    pub(super) choice: Choice,
    pub(super) request: &'a Request<'b>,
    pub(super) caller: Caller,
    /// How many bytes of the path are taken off.
    pub(super) strip: usize,
    /// How much later it is sent on, because of a fault that it met on purpose.
    pub(super) delay: Option<Duration>,
}

impl<'a> Arrival<'a, '_> {
    /// Returns the arm that was chosen; a service may have none.
    pub(super) fn arm(&self) -> Option<&'a Target> {
        self.service.targets.get(self.choice.target)
    }

    pub(super) fn rule(&self) -> Option<&'a RouteRule> {
        self.matched.rule
    }

    fn policy(&self) -> Option<&'a Arc<Policy>> {
        self.rule()?.policy.as_ref()
    }

    /// Tells whether its arm was not drawn, so that it says nothing about a split. What is asked because of a copy, or in a lane, is as little drawn as what a rule
    /// sends; nor does it say anything when it is slow on purpose.
    fn is_ruled(&self, notes: &Notes) -> bool {
        let is_of_copy = || self.table.mirrors.iter().any(|id| notes.rules.contains(id));
        self.choice.ruled
            || self.delay.is_some()
            || notes.lane().is_some()
            || notes.is_of_check()
            || is_of_copy()
    }

    /// Tells whether the lane that it is in gives the arm that was chosen.
    fn is_given_by_lane(&self, notes: &Notes) -> bool {
        let arm = self.arm().and_then(|arm| arm.counts.arm.as_ref());
        notes.lane().is_some_and(|lane| matches!(lane.served_by(arm), ServedBy::Lane(_)))
    }

    /// Tells what chose its arm.
    pub(super) fn chosen(&self, notes: &Notes) -> Chosen {
        match (self.choice.ruled, self.choice.held, notes.key_is_new) {
            (true, ..) if self.is_given_by_lane(notes) => Chosen::Lane,
            (true, ..) => Chosen::Rule,
            (_, true, _) => Chosen::Visit,
            (.., true) => Chosen::Chance,
            (.., false) => Chosen::Key,
        }
    }

    /// Finds the operation that it is for, where that is counted.
    fn class(&self, notes: &Notes) -> Class {
        let seen = notes.changes.as_ref().and_then(|changes| changes.path());
        self.service.classify(self.request.method, seen.unwrap_or(&self.request.path[self.strip..]))
    }

    /// Counts it for the arm that it was kept from.
    pub(super) fn count_failed(&self, arm: &Target, notes: &Notes) {
        if notes.is_of_check() {
            return;
        }
        arm.tally.count(Outcome::Failed);
        let is_drawn = !self.choice.held && !self.is_ruled(notes);
        if let Some(meter) = arm.meter.as_ref().filter(|_| is_drawn) {
            let key = Key { bytes: &notes.key, is_new: notes.key_is_new };
            meter.count(self.class(notes), key, Seen::Nothing, Duration::ZERO);
        }
    }

    /// Takes its place among those that wait for an answer of the arm, where they have a limit that adapts. What a route says is a stream, or is late on
    /// purpose, holds no place.
    fn wait(&self, priority: Priority) -> Result<Option<Box<Waiting>>, Turned> {
        let limited = self.arm().and_then(|arm| Some((arm.limiter.as_ref()?, arm.choosing.shares)));
        let Some((limiter, shares)) = limited else { return Ok(None) };
        let waiting = limiter.enter(matches!(self.request.body, Body::Done), shares, priority);
        let waiting = waiting.ok_or(Turned::ByVersion(Why::Overloaded))?;
        let is_stream = self.rule().is_some_and(|rule| rule.patience == Some(Patience::Stream));
        Ok(Some(Box::new(waiting)).filter(|_| !is_stream && self.delay.is_none()))
    }
}

impl Arrival<'_, '_> {
    /// Finds whether another instance is asked as well when there is no answer: of reads, which may be asked twice. While a version is on trial none is, of
    /// neither version: what is compared has to be what instances do by themselves, and not what others do for the slow ones.
    fn hedging(&self) -> Option<Arc<Hedging>> {
        let policy = self.policy()?;
        let hedge = policy.hedge?;
        let Request { method, body, call, websocket, .. } = self.request;
        let switches = *websocket || self.request.permitted(Some(policy)).is_some();
        let is_read = matches!(*method, "GET" | "HEAD") && body.is_done() && call.is_none() && !switches;
        let on_trial = |target: &Target| target.role == SplitRole::Candidate;
        let is_compared = self.service.trial.is_some() || self.service.targets.iter().any(on_trial);
        let state = || self.matched.place.and_then(|place| self.table.states.get(place)?.clone());
        let may_be = is_read && !is_compared && self.delay.is_none();
        may_be.then(|| Arc::new(Hedging { hedge, state: state() }))
    }
}

impl Desk {
    /// Finds the instance that is asked first; nothing where there is none.
    pub(super) fn arrive(&self, arrival: &Arrival<'_, '_>, notes: &Notes) -> Result<Option<Routed>, Turned> {
        let Arrival { table, service, choice, caller, strip, delay, .. } = *arrival;
        let affinity = self.affinity(arrival, notes).map(Box::new);
        let priority = notes.priority();
        let waiting = arrival.wait(priority)?;
        let search = Search {
            tried: &[],
            affinity: affinity.as_deref(),
            random: &self.worker.random,
            now: Moment::now(),
            priority,
        };
        let found = match choice.ruled {
            true => pick(service, choice.target, search).map_or(Found::Nobody, |it| Found::Picked(it, None)),
            false => self.pass(service, choice.target, search),
        };
        let (pick, passage) = match found {
            Found::Picked(pick, passage) => (pick, passage),
            Found::Shut(wait_ms) => return Err(Turned::ByVersion(Why::LeftAlone(wait_ms))),
            Found::Nobody => {
                let full = arrival.arm().filter(|arm| arm.is_full(priority));
                let full = full.and_then(|arm| arm.choosing.most(priority));
                return full.map_or(Ok(None), |most| Err(Turned::ByVersion(Why::Full(most))));
            }
        };
        let place = self.admit(arrival, notes)?;
        let is_degraded = passage.as_ref().is_some_and(|passage| passage.degraded.is_some());
        if let Some(arm) = arrival.arm().filter(|_| is_degraded) {
            arrival.count_failed(arm, notes);
        }
        Ok(Some(Routed {
            service: Arc::clone(service),
            hedge: arrival.hedging().filter(|_| passage.is_none()),
            affinity,
            pick,
            strip,
            waits: Waits::of(&self.worker.timeouts, table.routes.rules(), arrival.rule()),
            policy: arrival.policy().cloned(),
            place,
            class: arrival.class(notes),
            ruled: is_degraded || arrival.is_ruled(notes),
            is_of_check: notes.is_of_check(),
            chosen: if is_degraded { Chosen::Breaker } else { arrival.chosen(notes) },
            held: choice.held,
            delay,
            passage,
            waiting,
            admitted: None,
            switching: table.is_switching(),
            caller,
            via: table.routes.rules().via,
        }))
    }

    /// Finds where the client is to be kept, if it is.
    fn affinity<'a>(&self, arrival: &'a Arrival<'_, '_>, notes: &'a Notes) -> Option<Affinity> {
        let &Arrival { service, request, caller, .. } = arrival;
        let key = notes.given_key();
        let affinity = match arrival.rule() {
            Some(rule) => rule.affinity.map(|_| {
                let https = self.is_https(request, caller);
                Affinity::by_cookie(request, (caller, https), rule.base_path(), key)
            }),
            None => key.filter(|_| service.keeps_clients).map(Affinity::by_key),
        };
        let by_key = || arrival.arm().is_some_and(|arm| arm.choosing.balance == Balance::Key);
        affinity.or_else(|| key.filter(|_| by_key()).map(Affinity::by_key))
    }

    /// Asks the route whether it takes one more.
    fn admit(&self, arrival: &Arrival<'_, '_>, notes: &Notes) -> Result<Option<Place>, Turned> {
        let limiting = arrival.policy().filter(|policy| !policy.limits.is_none());
        let Some(policy) = limiting else { return Ok(None) };
        let &Arrival { table, request, caller, .. } = arrival;
        let state = arrival.matched.place.and_then(|place| table.states.get(place)?.as_ref());
        let Some(state) = state else { return Ok(None) };
        let view = View { request, peer: &self.peer, caller, rules: table.routes.rules() };
        let address = view.client().unwrap_or_else(|| self.peer.address());
        let who = Who { caller, address, key: notes.given_key() };
        state.admit(&policy.limits, &request.body, who).map_err(Turned::ByRoute)
    }
}
