//! Why something moves, and why one thing moves before another.
//!
//! A target that costs least moves nothing that could stay: put back alone, each of its moves breaks a rule, and those rules are the reasons.

use lockstep_solver::{Arc, Bar, Cause, Need, Rule, Side};

use crate::answer::Why;
use crate::question::{Origin, Question};
use crate::words::is_barrier;

impl Question {
    /// Why a service does not stay, when all others go to the target.
    pub(crate) fn because(
        &self,
        target: &[u32],
        service: usize,
        touching: &[Vec<usize>],
        why: Why<'_>,
    ) -> Vec<String> {
        let stays = self.problem.services[service].current;
        let at = |it: usize| if it == service { stays } else { target[it] };
        let is_at = |bar: &Bar| bar.versions.contains(&at(bar.service));
        let mut reasons = Vec::new();
        for (cause, rule) in touching[service].iter().map(|&at| &self.problem.rules[at]) {
            let reason = match rule {
                Rule::Bar(bar) if bar.service == service && is_at(bar) => self.wish_of(*cause),
                Rule::Never(all) if all.iter().all(is_at) => self.wish_of(*cause),
                Rule::Need(need) if !need.is_met(at(need.consumer), at(need.provider)) => {
                    Some(self.unmet(need, *cause, (at(need.consumer), at(need.provider)), why))
                }
                Rule::Bar(_) | Rule::Never(_) | Rule::Need(_) => None,
            };
            reasons.extend(reason);
        }
        reasons.dedup();
        reasons
    }

    fn wish_of(&self, cause: Cause) -> Option<String> {
        match self.origin(cause) {
            Origin::Wish { wanted, .. } => Some(format!("wanted {wanted}")),
            Origin::Other { text, .. } => Some(text.clone()),
            Origin::Pin(_) | Origin::Feature { .. } | Origin::Requirement { .. } => None,
        }
    }

    /// "orders 1.6.0 uses `charges`, which payments 2.0.0 does not offer; payments offers `charges` from 2.1.0 on".
    fn unmet(&self, need: &Need, cause: Cause, (consumer, provider): (u32, u32), why: Why<'_>) -> String {
        let [user, other] = [need.consumer, need.provider].map(|it| self.name(it));
        let [uses, lacks] = [self.version(need.consumer, consumer), self.version(need.provider, provider)];
        let origin = self.origin(cause);
        if let (Origin::Feature { name, .. }, true) = (origin, is_barrier(need)) {
            return name.clone();
        }
        let offers = self.offers(need, origin);
        let told = match (origin, why(need, consumer, provider)) {
            (_, Some(why)) => why,
            (Origin::Requirement { text }, None) if self.is_absent(need.provider, provider) => {
                format!("{user} {uses} requires {other} {text}, and {other} is not there")
            }
            (Origin::Requirement { text }, None) => {
                format!("{user} {uses} requires {other} {text}, which {lacks} is not")
            }
            (Origin::Feature { name, .. }, None) => {
                format!("{user} {uses} uses `{name}`, which {other} {lacks} does not offer")
            }
            (Origin::Wish { .. } | Origin::Pin(_) | Origin::Other { .. }, None) => String::new(),
        };
        format!("{told}; {offers}")
    }

    /// Why one service goes before another.
    pub(crate) fn why(&self, arc: &Arc, target: &[u32], touching: &[Vec<usize>], why: Why<'_>) -> String {
        let is_of = |need: &Need| match arc.side {
            Side::NewConsumer => (need.consumer, need.provider) == (arc.after, arc.before),
            Side::OldConsumer => (need.consumer, need.provider) == (arc.before, arc.after),
        };
        let need = |&at: &usize| match &self.problem.rules[at] {
            (cause, Rule::Need(need)) if *cause == arc.cause && is_of(need) => Some(need),
            _ => None,
        };
        let Some(need) = touching[arc.before].iter().find_map(need) else { return String::new() };
        let old = |it: usize| self.problem.services[it].current;
        let state = match arc.side {
            Side::NewConsumer => (target[need.consumer], old(need.provider)),
            Side::OldConsumer => (old(need.consumer), target[need.provider]),
        };
        self.unmet(need, arc.cause, state, why)
    }
}
