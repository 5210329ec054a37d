//! Rules of people, beside those that are there by themselves and in their place.

use std::collections::BTreeSet;

use lockstep_api::types::{RemoveWatching, RuleView, SetRules};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::watching::{KeptWatching, WatchingKind};
use lockstep_domain::{Actor, WatchingName, World};
use lockstep_monitor::{Rule, built_in, rule};

use crate::{Control, internal};

impl Control {
    /// Lists all rules, those that are turned off among them.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        let world = self.ledger.world();
        let own = own(&world);
        let replaced: BTreeSet<&str> = own.iter().map(|(rule, _)| rule.name.as_str()).collect();
        let there = built_in().into_iter().filter(|rule| !replaced.contains(rule.name.as_str()));
        let there = there.map(|rule| view(&rule, None));
        there.chain(own.iter().map(|(rule, kept)| view(rule, Some(kept)))).collect()
    }

    /// Sets rules, all of them or none.
    ///
    /// # Errors
    /// With all that is wrong with them.
    pub fn set_rules(&self, actor: &Actor, request: &SetRules) -> Result<Vec<RuleView>, Problem> {
        let rules = rule::read(&request.rules).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Problem::new(ErrorCode::BadRequest, faults.join("; "))
        })?;
        if rules.is_empty() {
            let detail = "there is no `[[rule]]` in it; `lockstep alerts rules show` writes those that hold";
            return Err(Problem::new(ErrorCode::BadRequest, detail));
        }
        if request.dry_run {
            return Ok(rules
                .iter()
                .map(|rule| view(rule, None))
                .map(|it| RuleView { built_in: false, ..it })
                .collect());
        }
        let settings = rules.iter().map(|rule| {
            let name: WatchingName = rule.name.parse().map_err(internal)?;
            Ok((name, serde_json::to_string(rule).map_err(internal)?))
        });
        let settings = settings.collect::<Result<Vec<_>, Problem>>()?;
        self.set_all_watching(actor, WatchingKind::Rule, &settings, &request.reason)?;
        Ok(self.rules())
    }

    /// Removes a rule of a person.
    ///
    /// # Errors
    /// When nobody set one of that name.
    pub fn remove_rule(
        &self,
        actor: &Actor,
        name: &WatchingName,
        request: &RemoveWatching,
    ) -> Result<Vec<RuleView>, Problem> {
        self.remove_watching(actor, WatchingKind::Rule, name, &request.reason)?;
        Ok(self.rules())
    }
}

/// Reads the rules of people; what an older release does not understand is left out.
pub(super) fn own(world: &World) -> Vec<(Rule, &KeptWatching)> {
    let kept = world.watching.rules.values();
    kept.filter_map(|kept| Some((serde_json::from_str(&kept.settings).ok()?, &**kept))).collect()
}

fn view(rule: &Rule, kept: Option<&KeptWatching>) -> RuleView {
    RuleView {
        name: rule.name.clone(),
        severity: rule.severity.to_string(),
        enabled: rule.enabled,
        built_in: kept.is_none(),
        says: rule.condition.to_string(),
        rule: serde_json::to_value(rule).unwrap_or_default(),
        by: kept.map(|kept| kept.by.clone()),
        at: kept.map(|kept| kept.at),
    }
}
