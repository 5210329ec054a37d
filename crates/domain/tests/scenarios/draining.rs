//! How long what is replaced has for the requests that it has begun.

use crate::simulation::{Stage, environment};
use lockstep_domain::drain::drain_ms;
use lockstep_domain::routes::{Patience, PrefixHandling, RouteRule};
use lockstep_domain::{Arm, ConfigRevision, Event, VersionRef};

fn limits(routes: &[Patience]) -> Stage {
    let mut stage = Stage::new();
    stage.release_with("orders@1.0.0", &[], |version| {
        let rule = |patience: &Patience| RouteRule {
            host: None,
            path: "/orders".into(),
            prefix: PrefixHandling::Keep,
            patience: Some(*patience),
            affinity: None,
        };
        version.routes = routes.iter().map(rule).collect();
    });
    stage
}

fn set(stage: &mut Stage, timeout_ms: Option<u64>, drain_ms: Option<u64>) {
    let mut settings = stage.env("staging").settings.clone();
    settings.gateway_rules.timeout_ms = timeout_ms;
    settings.drain_ms = drain_ms;
    stage.record(Event::EnvironmentChanged { environment: environment("staging"), settings });
}

fn drain(stage: &Stage) -> u64 {
    let VersionRef { service, version } = "orders@1.0.0".parse().unwrap();
    drain_ms(&stage.world, stage.env("staging"), &Arm { service, version, config: ConfigRevision(0) })
}

#[test]
fn what_gateways_would_wait_for_is_not_cut_off_unless_somebody_said_so() {
    let mut stage = limits(&[]);
    assert_eq!(drain(&stage), 60_000);
    set(&mut stage, Some(5_000), None);
    assert_eq!(drain(&stage), 60_000);
    set(&mut stage, Some(90_000), None);
    assert_eq!(drain(&stage), 90_000);
    set(&mut stage, None, Some(2_000));
    assert_eq!(drain(&stage), 2_000);
    assert_eq!(
        drain(&limits(&[Patience::LimitMs(120_000), Patience::LimitMs(1), Patience::Stream])),
        120_000
    );
}
