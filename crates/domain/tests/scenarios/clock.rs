//! A clock that is found to be behind: nothing that takes time takes less of it.

use lockstep_domain::intent::{FailureBound, Step};
use lockstep_domain::{EnvironmentName, Event, InstanceState, Strategy};

use crate::simulation::{Stage, deploy};

const AN_HOUR_MS: u64 = 3_600_000;

/// Rolls a version out with two bakes and a warm time, the clock being skipped before one of the looks; returns what had
/// happened after each look.
fn rollout(skipped: Option<usize>) -> Vec<(String, usize)> {
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
    let look = |round| {
        if skipped == Some(round) {
            stage.skip(AN_HOUR_MS);
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
    let ordinary = rollout(None);
    assert_eq!(ordinary.last().unwrap(), &("\"done\"".to_owned(), 1), "{ordinary:?}");
    assert!(ordinary.iter().filter(|(phase, _)| phase == "\"shifted\"").count() > 20, "{ordinary:?}");
    for round in 0..80 {
        assert_eq!(rollout(Some(round)), ordinary, "skipped before look {round}");
    }
}
