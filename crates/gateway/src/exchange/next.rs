//! Whom to ask next.

use std::sync::Arc;

use crate::balance::{Pick, Search, pick, pick_in};
use crate::moment::Moment;
use crate::repeat::{Cost, Loss, MAX_TRIES, Past, Repeat, Step, next_step};
use crate::table::Target;

use super::ends::Client;
use super::state::{Exchange, Failure};

impl<'c, C: Client> Exchange<'c, C> {
    /// Picks whom to ask next after a failure, if anybody.
    pub(super) fn next(
        &mut self,
        failed: usize,
        loss: Loss,
        (again, may_hold): (bool, bool),
    ) -> Option<Pick> {
        let stable = if may_hold && loss != Loss::Unsent { self.stable() } else { None };
        let most = self.facts.retry.as_ref().map_or(MAX_TRIES, |retry| retry.most());
        let past = Past { most, tries: self.course.tried.len(), repeated: self.course.repeated };
        match next_step(loss, again, stable.is_some(), past) {
            Step::GiveUp => None,
            // Elsewhere is the arm that is left alone.
            Step::Elsewhere if self.report.degraded => self.beside(failed),
            Step::Elsewhere => self.elsewhere(failed),
            Step::Beside => self.beside(failed),
            Step::Repeat => {
                let next = self.beside(failed)?;
                self.repeats(Cost::Budget)?;
                // An arm is counted by the first instance that read a request: what its route asks again must not hide that.
                self.course.is_counted = self.facts.retry.is_some();
                Some(next)
            }
            Step::Shield(cost) => {
                self.repeats(cost)?;
                self.course.shielded = Some(self.service.targets[failed].label.clone());
                stable
            }
        }
    }

    /// Tells whether the request may be sent again after a failure of an arm.
    pub(super) fn may_repeat(&self, failed: &Target, failure: &Failure<C::Output>) -> bool {
        match (&self.facts.retry, failure.loss()) {
            (None, loss) => loss == Loss::Broken && self.facts.repeat == Repeat::Once,
            (Some(_), Loss::Unsent) => false,
            (Some(retry), _) => {
                failure.reason().is_some_and(|on| retry.is_after(on)) && self.is_whole_here(failed)
            }
        }
    }

    /// Tells whether all of the request can be sent again.
    fn is_whole_here(&self, failed: &Target) -> bool {
        let by_stream = self.facts.asked.is_call || failed.speaks_h2c();
        let kept = || by_stream && self.facts.body.is_done() && self.client.kept().is_some();
        self.course.body_is_here || kept()
    }

    /// Notes that the request is sent a second time; `None` when the budget is used up.
    pub(super) fn repeats(&mut self, cost: Cost) -> Option<()> {
        self.course.permit = match cost {
            Cost::Budget => Some(self.desk.environment.repeats().take()?),
            Cost::Free => None,
        };
        self.course.repeated = true;
        Some(())
    }

    /// Picks an instance of the stable arm.
    pub(super) fn stable(&self) -> Option<Pick> {
        self.beside(self.service.stable()?)
    }

    /// Picks an instance of the arm that was not tried.
    pub(super) fn beside(&self, target: usize) -> Option<Pick> {
        pick_in(&self.service, target, self.search())
    }

    pub(super) fn search(&self) -> Search<'_> {
        Search {
            tried: &self.course.tried,
            affinity: self.affinity.as_deref(),
            random: &self.desk.worker.random,
            now: Moment::now(),
            priority: self.notes.priority(),
        }
    }

    /// Picks an instance that was not tried: of the arm, else of another, else of the table of this moment.
    pub(super) fn elsewhere(&mut self, failed: usize) -> Option<Pick> {
        self.beside(failed)
            .or_else(|| pick(&self.service, failed, self.search()))
            .or_else(|| self.routed_anew())
    }

    /// Picks from the table of this moment: the instances of the one before may all have left.
    pub(super) fn routed_anew(&mut self) -> Option<Pick> {
        let table = self.desk.environment.table(self.desk.worker.index).load_full()?;
        let service = Arc::clone(table.services.get(&self.service.service)?);
        let choice = service.choose(&self.notes.asks(), table.routes.switches.as_ref())?;
        let picked = pick(&service, choice.target, self.search());
        self.service = service;
        picked
    }
}
