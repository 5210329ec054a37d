//! What a plan says of callers that stay, and that were seen to lose for whom they call.

use std::collections::BTreeSet;

use lockstep_domain::called::{CallCounts, Passing};
use lockstep_domain::operation::Move;
use lockstep_domain::{Environment, Plan, ServiceName, World};

use crate::Control;

impl Control {
    /// Adds to a plan whose calls may meet either side while it is carried out: of versions that serve both sides, call what moves, and were
    /// seen to pass on nothing, or not always.
    pub(super) fn note_mixing(&self, world: &World, environment: &Environment, plan: &mut Plan) {
        let switched: BTreeSet<&ServiceName> =
            plan.moves().filter(is_switched).map(|it| &it.service).collect();
        let moving: BTreeSet<&ServiceName> = plan.moves().map(|it| &it.service).collect();
        let staying = environment.entries().iter().filter(|(service, _)| !moving.contains(service));
        let mut told = Vec::new();
        for (service, entry) in staying {
            let Some(version) = world.find_version(service, &entry.version) else { continue };
            let calls = world.requirements(version).map(|(provider, _)| provider);
            let calls: BTreeSet<_> = calls.filter(|provider| switched.contains(provider)).collect();
            if calls.is_empty() {
                continue;
            }
            let counts = self.call_book.counts_of(world, environment, (service, &entry.version));
            told.extend(sentence(service, &entry.version.to_string(), &calls, counts));
        }
        plan.warnings.extend(told);
    }
}

/// Tells whether both sides of a move are there at the same time.
fn is_switched(it: &&Move) -> bool {
    it.from.is_some() && it.to.is_some() && it.from != it.to && !it.gives_way()
}

fn sentence(
    service: &ServiceName,
    version: &str,
    calls: &BTreeSet<&ServiceName>,
    counts: CallCounts,
) -> Option<String> {
    let lost = counts.requests.saturating_sub(counts.in_baggage.saturating_add(counts.in_tracestate));
    matches!(counts.passing(), Passing::Partly | Passing::Nothing).then_some(())?;
    let calls: Vec<_> = calls.iter().map(|it| it.as_str()).collect();
    Some(format!(
        "`{service}@{version}` stays on both sides and did not pass on for whom it calls in {lost} of {} calls: a request that comes through it while this is \
         under way may meet either version of {} (`lockstep propagation check`)",
        counts.requests,
        calls.join(", ")
    ))
}
