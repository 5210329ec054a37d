//! Which earlier version stands in for one that is left alone because it fails: decided here, where it is known what going back means, and
//! written into the route table, so that a gateway only has to look.
//!
//! Nobody is asked when that happens, so it is stricter than a plan to go back, which may warn: an earlier version stands in only where
//! nothing speaks against it. It must run warm and be healthy; must not be held; those who require it must work with it, and it with what
//! it requires; the database that the newer one leaves must be known to be one that it works on, by no step that goes one way; it must read
//! the messages that are kept; and it must not find the newer one's files in a data folder.

use crate::baseline::{BaselineEntry, Entries};
use crate::compat::{DatabaseAnswer, Relation};
use crate::compile::{pinned, say_words};
use crate::contract::Verdict;
use crate::environment::Environment;
use crate::fleet::Fleet;
use crate::instance::Arm;
use crate::observed::Observed;
use crate::routes::service_policy::{Fallback, FallbackArm};
use crate::routes::{RouteTable, ServiceRoutes, Split};
use crate::service::Version;
use crate::time::Timestamp;

/// What an earlier version is looked for by.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// What is known of versions and of their contracts.
    pub relation: Relation<'a>,
    /// Where.
    pub environment: &'a Environment,
    /// What runs.
    pub observed: &'a Observed,
    /// When.
    pub now: Timestamp,
}

/// Tells whether a table has a version that an earlier one may stand in for. Where it has none, nothing need be asked.
#[must_use]
pub fn is_asked_for(table: &RouteTable) -> bool {
    table.services.values().any(degrades)
}

fn degrades(routes: &ServiceRoutes) -> bool {
    let policy = routes.stable().and_then(|split| split.policy.as_ref());
    policy.is_some_and(|policy| policy.degrades())
}

/// Says of each service of a table what stands in for its stable version, where that asks for it.
#[must_use]
pub fn with_fallbacks(mut table: RouteTable, search: Search<'_>) -> RouteTable {
    for (service, routes) in table.services.iter_mut().filter(|(_, routes)| degrades(routes)) {
        let Some(stable) = routes.stable().map(|split| split.arm(service)) else { continue };
        routes.fallback = Some(match search.earlier(&stable) {
            Ok(arm) => {
                let (version, config) = (arm.version.clone(), arm.config);
                if !routes.splits.iter().any(|split| split.arm(service) == arm) {
                    routes.splits.insert(0, search.split(&arm));
                }
                Fallback::To(FallbackArm { version, config })
            }
            Err(why) => Fallback::Nobody(why),
        });
    }
    table.in_its_format()
}

impl Search<'_> {
    /// Finds the arm that stands in for the stable one of its service.
    fn earlier(self, stable: &Arm) -> Result<Arm, String> {
        let Self { environment, observed, .. } = self;
        let current = environment.entries().get(&stable.service);
        if current.map(|entry| entry.arm(&stable.service)).as_ref() != Some(stable) {
            return Err("it is only just taking over".to_owned());
        }
        let arm = self.replaced_last(stable).ok_or("no earlier version is kept warm")?;
        let name = arm.version_ref();
        if Fleet::serving(environment, observed, &arm).healthy() == 0 {
            return Err(format!("no instance of {name} is healthy"));
        }
        if environment.holds.contains_key(&name) {
            return Err(format!("{name} is held"));
        }
        match self.obstacle(stable, &arm) {
            Some(why) => Err(why),
            None => Ok(arm),
        }
    }

    /// Of the arms of the service that are warm the one that was replaced last.
    fn replaced_last(self, stable: &Arm) -> Option<Arm> {
        let of_service = |arm: &&Arm| arm.service == stable.service && arm.process.is_none();
        let kept = |arm: &&Arm| self.environment.keeps_warm(arm, self.now) && *arm != stable;
        let warm = self.environment.warm.iter().filter(|(arm, _)| of_service(arm) && kept(arm));
        warm.max_by_key(|(_, until)| **until).map(|(arm, _)| arm.clone())
    }

    /// What speaks against going back from one to the other while nobody looks.
    fn obstacle(self, from: &Arm, to: &Arm) -> Option<String> {
        let world = self.relation.world;
        let (Some(left), Some(version)) =
            (world.version(&from.version_ref()), world.version(&to.version_ref()))
        else {
            return Some("it is not known any more".to_owned());
        };
        if left.run.protocol.is_http() != version.run.protocol.is_http() {
            return Some(format!("{} speaks {}", version.number, version.run.protocol.as_str()));
        }
        self.unmet(to)
            .or_else(|| (from.version != to.version).then(|| self.of_state(left, version, to)).flatten())
    }

    /// Requirements that would be unmet and are met now.
    fn unmet(self, to: &Arm) -> Option<String> {
        let Self { relation, environment, .. } = self;
        let entry = BaselineEntry { version: to.version.clone(), config: to.config };
        let back: Entries = environment.entries().update(to.service.clone(), entry);
        let before = relation.unmet_in(environment.entries());
        let unmet = relation.unmet_in(&back).into_iter().find(|unmet| !before.contains(unmet))?;
        Some(format!("{} would not work with {}", unmet.consumer, unmet.provider))
    }

    /// What the newer version may have left.
    fn of_state(self, left: &Version, version: &Version, to: &Arm) -> Option<String> {
        let Self { relation, environment, now, .. } = self;
        let folder = left.run.data.iter().chain(&version.run.data).next();
        if let Some(folder) = folder {
            return Some(format!("it keeps data in `{folder}`, which going back does not touch"));
        }
        if let Some(DatabaseAnswer { answer, .. }) = relation.database(left, version) {
            let (number, newer) = (&version.number, &left.number);
            if let Some(step) = answer.one_way.first() {
                return Some(format!("a migration of {newer} goes one way: {step}"));
            }
            let why = answer.reasons.first().map(String::as_str).unwrap_or_default();
            match answer.verdict {
                Verdict::Compatible => {}
                Verdict::Breaking => {
                    return Some(format!(
                        "{number} does not work on the database as {newer} leaves it: {why}"
                    ));
                }
                Verdict::NotChecked => {
                    return Some(format!(
                        "nobody knows whether {number} works on the database as {newer} leaves it: {why}"
                    ));
                }
            }
        }
        let unread = relation.newly_unread_messages(environment, (&to.service, version), now);
        unread.first().map(|unread| {
            let (reader, writer) = (&unread.reader, &unread.writer);
            format!("{reader} may not read the messages of {writer}")
        })
    }

    fn split(self, arm: &Arm) -> Split {
        let mut split = pinned(arm, self.observed, self.environment);
        say_words(&mut split, self.relation.world.find_version(&arm.service, &arm.version));
        split
    }
}
