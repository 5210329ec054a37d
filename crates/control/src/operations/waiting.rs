//! Refusals that time alone removes: a version that has not been where it must have been for long enough yet.

use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::lifecycle::ClosedGate;
use lockstep_domain::plan::Refusal;
use lockstep_domain::replicas::has_instances;
use lockstep_domain::stay::steady_since;
use lockstep_domain::{Environment, Timestamp, VersionRef, World};

use crate::Control;

/// What is known of a gate that a stay somewhere opens.
pub(super) struct Waiting {
    /// How far it is, for people.
    pub(super) words: String,
    /// How much longer it takes; `None` when it may take for ever.
    pub(super) wait_ms: Option<u64>,
}

impl Control {
    /// Says how far the stays are that a refusal waits for; `None` for a refusal that waits for something else too.
    pub(super) fn waiting(&self, world: &World, refusal: &Refusal, now: Timestamp) -> Option<Waiting> {
        let Refusal::StageTooEarly { version, gates, .. } = refusal else { return None };
        let all: Option<Vec<_>> = gates.iter().map(|gate| self.stay(world, version, gate, now)).collect();
        let all = all.filter(|all| !all.is_empty())?;
        let wait_ms: Option<Vec<_>> = all.iter().map(|one| one.wait_ms).collect();
        let words: Vec<_> = all.into_iter().map(|one| one.words).collect();
        Some(Waiting { words: words.join("; "), wait_ms: wait_ms.and_then(|all| all.into_iter().max()) })
    }

    fn stay(
        &self,
        world: &World,
        version: &VersionRef,
        gate: &ClosedGate,
        now: Timestamp,
    ) -> Option<Waiting> {
        let ClosedGate::EvidenceMissing(kind) = gate else { return None };
        let mut environments = world.environments.values();
        let environment = environments.find(|one| EvidenceKind::ran_in(&one.name) == *kind)?;
        let entry =
            environment.entries().get(&version.service).filter(|entry| entry.version == version.version)?;
        let observed =
            self.registry.seen(&environment.name, self.everything_of(world, &environment.name), now);
        let since = steady_since(world, environment, &observed, &entry.arm(&version.service));
        let lacks = match has_instances(world, &entry.arm(&version.service)) {
            true => "not all of its instances are healthy",
            false => "none of its jobs has run there, or the last run failed",
        };
        Some(words(environment, version, lacks, since.map(|since| now.since_ms(since))))
    }
}

fn words(environment: &Environment, version: &VersionRef, lacks: &str, stayed_ms: Option<u64>) -> Waiting {
    let (name, stay_ms) = (&environment.name, environment.settings.stay_ms);
    let Some(stayed_ms) = stayed_ms else {
        let words = format!("{name} runs {version}, and {lacks}");
        return Waiting { words, wait_ms: None };
    };
    let words = format!("{name} has run {version} for {} of {}", seconds(stayed_ms), seconds(stay_ms));
    // The evidence is recorded with the reconciler's next look.
    Waiting { words, wait_ms: Some(stay_ms.saturating_sub(stayed_ms).max(SHORTEST_WAIT_MS)) }
}

/// How long the evidence takes once the time is over.
const SHORTEST_WAIT_MS: u64 = 50;

/// Writes a time in seconds, as short as it can be said.
fn seconds(ms: u64) -> String {
    let text = format!("{:.1}", std::time::Duration::from_millis(ms).as_secs_f64());
    format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!([seconds(60_000), seconds(12_340), seconds(0)], ["60 s", "12.3 s", "0 s"]);
    }
}
