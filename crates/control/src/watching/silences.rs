//! What not to tell for a while.

use lockstep_api::types::{AddSilence, RemoveWatching, SilenceView};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::watching::WatchingKind;
use lockstep_domain::{Actor, Timestamp, WatchingName, World};
use lockstep_monitor::Silence;

use crate::random::random_hex;
use crate::{Control, internal, lock};

/// What alerts are about.
const LABELS: [&str; 11] = [
    "environment",
    "service",
    "version",
    "instance",
    "host",
    "certificate",
    "gateway",
    "operation",
    "part",
    "rule",
    "severity",
];

impl Control {
    /// Lists silences, those that are over among them.
    #[must_use]
    pub fn silences(&self) -> Vec<SilenceView> {
        let (now, world) = self.ledger.look();
        let known = lock(&self.watching.known);
        let silences = silences(&world).into_iter().map(|(name, silence)| {
            let covered = known.state.watch.alerts().iter().filter(|(_, alert)| silence.covers(alert, now.0));
            SilenceView {
                name,
                silenced: covered.map(|(name, _)| name.clone()).collect(),
                about: silence.about,
                owner: silence.owner,
                reason: silence.reason,
                since: Timestamp(silence.from_ms),
                until: Timestamp(silence.until_ms),
            }
        });
        silences.collect()
    }

    /// Tells certain alerts to nobody for a while.
    ///
    /// # Errors
    /// With all that is wrong with it.
    pub fn add_silence(&self, actor: &Actor, request: AddSilence) -> Result<Vec<SilenceView>, Problem> {
        let AddSilence { about, for_ms, owner, reason } = request;
        let unknown: Vec<_> = about.keys().filter(|label| !LABELS.contains(&label.as_str())).collect();
        if let Some(label) = unknown.first() {
            let detail = format!("no alert has a label `{label}`; there are {}", LABELS.join(", "));
            return Err(Problem::new(ErrorCode::BadRequest, detail));
        }
        let now = self.ledger.now();
        let name: WatchingName =
            format!("s{}", random_hex(4).map_err(internal)?).parse().map_err(internal)?;
        let silence = Silence {
            id: name.to_string(),
            about,
            owner: owner.unwrap_or_else(|| actor.to_string()),
            reason: reason.clone(),
            from_ms: now.0,
            until_ms: now.0.saturating_add(for_ms),
        };
        silence.check().map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(|fault| format!("the silence: {fault}")).collect();
            Problem::new(ErrorCode::BadRequest, faults.join("; "))
        })?;
        self.end_old_silences(now)?;
        let settings = serde_json::to_string(&silence).map_err(internal)?;
        self.set_watching(actor, WatchingKind::Silence, &name, &settings, &reason)?;
        Ok(self.silences())
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn end_silence(
        &self,
        actor: &Actor,
        name: &WatchingName,
        request: &RemoveWatching,
    ) -> Result<Vec<SilenceView>, Problem> {
        self.remove_watching(actor, WatchingKind::Silence, name, &request.reason)?;
        Ok(self.silences())
    }

    /// Removes silences that are over, so that there is room for others.
    fn end_old_silences(&self, now: Timestamp) -> Result<(), Problem> {
        let world = self.ledger.world();
        let over = silences(&world).into_iter().filter(|(_, silence)| silence.until_ms <= now.0);
        for (name, _) in over {
            match self.remove_watching(&Actor::lockstep(), WatchingKind::Silence, &name, "it is over") {
                // Somebody else was quicker.
                Err(problem) if problem.code == ErrorCode::NotFound => {}
                ended => drop(ended?),
            }
        }
        Ok(())
    }
}

/// Reads all silences; what an older release does not understand is left out.
pub(super) fn silences(world: &World) -> Vec<(WatchingName, Silence)> {
    let all = world.watching.silences.iter();
    all.filter_map(|(name, kept)| Some((name.clone(), serde_json::from_str(&kept.settings).ok()?))).collect()
}
