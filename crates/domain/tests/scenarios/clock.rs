//! A clock that is found to be behind: nothing that takes time takes less of it.

use lockstep_domain::clock_skip::due;
use lockstep_domain::intent::{FailureBound, Step};
use lockstep_domain::{EnvironmentName, Event, InstanceState, Strategy, Timestamp};

use crate::simulation::{Stage, deploy};

const AN_HOUR_MS: i64 = 3_600_000;

/// Rolls a version out with two bakes and a warm time, while the wall clock is off by so much before each of the looks; returns what
/// had happened after each look.
fn rollout(off_ms: impl Fn(usize) -> i64) -> Vec<(String, usize)> {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    stage.release("orders@1.1.0", &[]);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    let staging: EnvironmentName = "staging".parse().unwrap();
    let mut settings = stage.world.environment(&staging).unwrap().settings.clone();
    settings.warm_ms = 100;
    stage.record(Event::EnvironmentChanged { environment: staging, settings });
    let steps = [5_000, 10_000].map(|weight| Step { weight, bake_ms: 150 }).to_vec();
    let bound = FailureBound { max_failures_in_10000: 10_000, min_requests: 0, ..FailureBound::default() };
    let id = stage.begin("staging", &deploy(&["orders@1.1.0"]), Some(&Strategy::Canary { steps, bound }));
    let mut skipped_ms = 0;
    let look = |round| {
        let wall = (stage.now.0 - skipped_ms).saturating_add_signed(off_ms(round));
        if let Some(ms) = due(stage.now, Timestamp(wall)) {
            stage.skip(ms);
            skipped_ms += ms;
        }
        stage.step("staging");
        let phase = &stage.world.find_operation(id).unwrap().phase;
        let running = stage.instances.iter().filter(|instance| instance.state != InstanceState::Stopped);
        (serde_json::to_value(phase).unwrap()["phase"].to_string(), running.count())
    };
    (0..80).map(look).collect()
}

#[test]
fn bakes_and_warm_times_last_as_long_wherever_the_clock_is_skipped() {
    let ordinary = rollout(|_| 0);
    assert_eq!(ordinary.last().unwrap(), &("\"done\"".to_owned(), 1), "{ordinary:?}");
    assert!(ordinary.iter().filter(|(phase, _)| phase == "\"shifted\"").count() > 20, "{ordinary:?}");
    for round in 0..80 {
        let ahead = |look| if look < round { 0 } else { AN_HOUR_MS };
        assert_eq!(rollout(ahead), ordinary, "skipped before look {round}");
    }
}

#[test]
fn a_clock_that_is_set_back_or_forth_in_two_bakes_one_after_the_other_makes_neither_longer_or_shorter() {
    let ordinary = rollout(|_| 0);
    let shifted: Vec<_> = (0..80).filter(|&look| ordinary[look].0 == "\"shifted\"").collect();
    let (first, last) = (shifted[0], *shifted.last().unwrap());
    let middle = usize::midpoint(first, last);
    for [one, two] in [[-1, -1], [-1, 1], [1, -1], [1, 1], [-2, -1]] {
        for at in 0..middle - first {
            // Each time it is set wrong for a while in the bake, and right again.
            let off = |look: usize| match look {
                look if (first + at..first + at + 3).contains(&look) => one * AN_HOUR_MS,
                look if (middle + at..middle + at + 3).contains(&look) => two * AN_HOUR_MS,
                _ => 0,
            };
            assert_eq!(rollout(off), ordinary, "off by {one} h and by {two} h, {at} looks into each bake");
            // Or for good, from each of them on.
            let off = |look: usize| match look {
                look if look < first + at => 0,
                look if look < middle + at => one * AN_HOUR_MS,
                _ => (one + two) * AN_HOUR_MS,
            };
            assert_eq!(rollout(off), ordinary, "set by {one} h and by {two} h, {at} looks into each bake");
        }
    }
}
