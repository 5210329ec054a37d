//! Why something moves, and why one thing moves before another.
//!
//! A target that costs least moves nothing that could stay: put back alone, each of its moves breaks a rule, and those rules are the reasons.

use lockstep_solver::{Arc, Need, Rule, Side};

use crate::names::{Numbered, Origin};

impl Numbered<'_> {
    /// Why a service does not stay, when all others go to the target.
    pub(crate) fn because(&self, target: &[u32], service: usize) -> Vec<String> {
        let stays = self.problem.services[service].current;
        let at = |it: usize| if it == service { stays } else { target[it] };
        let mut reasons = Vec::new();
        for (cause, rule) in &self.problem.rules {
            let reason = match rule {
                Rule::Bar(bar) if bar.service == service && bar.versions.contains(&stays) => {
                    self.wish_of(*cause)
                }
                Rule::Need(need) if !need.is_met(at(need.consumer), at(need.provider)) => {
                    Some(self.unmet(need, self.feature(*cause), at(need.consumer), at(need.provider)))
                }
                Rule::Bar(_) | Rule::Need(_) => None,
            };
            reasons.extend(reason);
        }
        reasons.dedup();
        reasons
    }

    fn wish_of(&self, cause: lockstep_solver::Cause) -> Option<String> {
        let Origin::Wish(at) = self.origin(cause) else { return None };
        Some(format!("wanted {}", Self::wanted(&self.fleet.intent[at])))
    }

    /// "orders 2.0.0 uses `charges`, which payments 1.3.0 does not offer; payments offers `charges` from 2.1.0 on".
    fn unmet(&self, need: &Need, feature: &str, consumer: u32, provider: u32) -> String {
        let [user, other] = [need.consumer, need.provider].map(|it| self.name(it));
        let [uses, lacks] = [self.version(need.consumer, consumer), self.version(need.provider, provider)];
        let offers = self.offers(need, feature);
        format!("{user} {uses} uses `{feature}`, which {other} {lacks} does not offer; {offers}")
    }

    /// Why one service goes before another.
    pub(crate) fn why(&self, arc: &Arc, target: &[u32]) -> String {
        let needs = self.problem.needs();
        let is_of = |need: &Need| match arc.side {
            Side::NewConsumer => (need.consumer, need.provider) == (arc.after, arc.before),
            Side::OldConsumer => (need.consumer, need.provider) == (arc.before, arc.after),
        };
        let Some((_, need)) = needs.into_iter().find(|(cause, need)| *cause == arc.cause && is_of(need))
        else {
            return String::new();
        };
        let [consumer, provider] = [need.consumer, need.provider];
        let [old_consumer, old_provider] = [consumer, provider].map(|it| self.problem.services[it].current);
        match arc.side {
            Side::NewConsumer => self.unmet(need, self.feature(arc.cause), target[consumer], old_provider),
            Side::OldConsumer => self.unmet(need, self.feature(arc.cause), old_consumer, target[provider]),
        }
    }
}
