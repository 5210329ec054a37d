//! Pages of maintenance that were set and lifted are remembered, whatever else is set.

use crate::simulation::{Stage, environment};
use lockstep_domain::Event;
use lockstep_domain::maintenance::{MAX_TURNS, MaintenancePage, Turn};

fn page(number: u32) -> MaintenancePage {
    let text = format!(
        r#"{{"number":{number},"service":"orders","respond":{{"status":503,"body":"back at noon"}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn set(stage: &mut Stage, pages: &[u32], drain_ms: u64) {
    let mut settings = stage.env("staging").settings.clone();
    settings.gateway_rules.maintenance = pages.iter().map(|number| page(*number)).collect();
    settings.drain_ms = Some(drain_ms);
    stage.now = stage.now.plus_ms(1_000);
    stage.record(Event::EnvironmentChanged { environment: environment("staging"), settings });
}

#[test]
fn each_page_is_remembered_when_it_is_set_and_when_it_is_lifted() {
    let mut stage = Stage::new();
    for (pages, drain) in [(&[1][..], 1), (&[1, 2], 1), (&[1, 2], 2), (&[2], 2), (&[3], 2)] {
        set(&mut stage, pages, drain);
    }
    let turns = &stage.env("staging").maintenance_turns;
    let seen: Vec<_> = turns.iter().map(|it| (it.number, it.turn)).collect();
    use Turn::{Lifted, Set};
    assert_eq!(seen, [(1, Set), (2, Set), (1, Lifted), (2, Lifted), (3, Set)]);
    assert!(turns.iter().all(|it| it.page == "orders: 503" && it.by.to_string() == "ann"), "{turns:?}");
    assert_eq!(turns[1].at.0 - turns[0].at.0, 1_000);
}

#[test]
fn no_more_than_the_last_hundred_turns_are_remembered() {
    let mut stage = Stage::new();
    for number in 1..=80 {
        set(&mut stage, &[number], 1);
    }
    let turns = &stage.env("staging").maintenance_turns;
    assert_eq!((turns.len(), turns.last().unwrap().number), (MAX_TURNS, 80));
}
