//! What was found by copies of requests, for people and for the journal.

use lockstep_api::Problem;
use lockstep_api::types::{EndedMirror, MirrorList, MirrorView};
use lockstep_domain::EnvironmentName;
use lockstep_domain::environment::Environment;
use lockstep_domain::mirror::MirrorCounts;

use crate::Control;
use crate::environments::find;

impl Control {
    /// Lists the mirrors of an environment with what they found, and those that are over.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn mirror_list(&self, name: &EnvironmentName) -> Result<MirrorList, Problem> {
        let rules = self.version_rules(name)?;
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        let view = |rule: lockstep_api::types::VersionRuleView| {
            let (found, is_paused) = (self.found(name, rule.rule.record), has_share(environment, &rule.rule));
            MirrorView { found, is_paused, rule }
        };
        let mirrors = rules.rules.into_iter().filter(|view| view.rule.takes.mirror().is_some());
        let ended = environment.version_rules.ended.iter().filter(|it| it.rule.takes.mirror().is_some());
        let ended = ended.rev().map(|it| EndedMirror {
            found: it.found.as_deref().cloned().unwrap_or_else(|| self.found(name, it.rule.record)),
            ended: it.clone(),
        });
        Ok(MirrorList { mirrors: mirrors.map(view).collect(), ended: ended.collect() })
    }

    fn found(&self, environment: &EnvironmentName, record: u64) -> MirrorCounts {
        self.registry.mirrored(environment, record)
    }

    /// Returns what a mirror found, so that it is recorded with its end; `None` for other rules, and for nothing.
    pub(crate) fn found_of(&self, environment: &Environment, rule: u32) -> Option<Box<MirrorCounts>> {
        let rule = environment.version_rules.find(rule).filter(|rule| rule.takes.mirror().is_some())?;
        let found = self.found(&environment.name, rule.record);
        (!found.is_empty()).then(|| Box::new(found))
    }
}

/// Tells whether the version of a mirror has requests of its own, which are compared by a rollout.
fn has_share(environment: &Environment, rule: &lockstep_domain::version_rules::VersionRule) -> bool {
    let arm = rule.arm();
    let runs = environment.entries().get(&arm.service).is_some_and(|entry| entry.arm(&arm.service) == arm);
    let comes = environment.moving().any(|operation| {
        let moves = operation.plan.waves.iter().flatten();
        moves.filter_map(lockstep_domain::operation::Move::to_arm).any(|to| to == arm)
    });
    runs || comes
}
