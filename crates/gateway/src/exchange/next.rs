//! Whom to ask next.

use std::sync::Arc;

use crate::balance::{Pick, Search, pick, pick_in};
use crate::moment::Moment;
use crate::repeat::{Cost, Loss, Past, Step, next_step};

use super::ends::Client;
use super::state::Exchange;

impl<'c, C: Client> Exchange<'c, C> {
    /// Picks whom to ask next after a failure, if anybody.
    pub(super) fn next(&mut self, failed: usize, loss: Loss, may_hold: bool) -> Option<Pick> {
        let stable = if may_hold && loss != Loss::Unsent { self.stable() } else { None };
        let past = Past { tries: self.course.tried.len(), repeated: self.course.repeated };
        match next_step(loss, self.facts.repeat, stable.is_some(), past) {
            Step::GiveUp => None,
            Step::Elsewhere => self.elsewhere(failed),
            Step::Beside => self.beside(failed),
            Step::Repeat => {
                let next = self.beside(failed)?;
                self.repeats(Cost::Budget)?;
                Some(next)
            }
            Step::Shield(cost) => {
                self.repeats(cost)?;
                self.course.shielded = Some(self.service.targets[failed].label.clone());
                stable
            }
        }
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
        let choice = service.choose(&self.notes.key, &self.notes.rules)?;
        let picked = pick(&service, choice.target, self.search());
        self.service = service;
        picked
    }
}
