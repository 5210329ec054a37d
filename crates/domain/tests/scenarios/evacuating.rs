//! Hosts that are evacuated by themselves: after the time that their environments say, counted by who looks, and once.

use std::collections::BTreeSet;

use crate::hosts::{add, host, stage_with, turn};
use crate::simulation::{Stage, environment};
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::evacuation::{Evacuations, MOST_A_LOOK_MS, evacuates_after};
use lockstep_domain::host::Stance;
use lockstep_domain::lost_host::{EvacuateAfter, LostHosts};
use lockstep_domain::run::Port;
use lockstep_domain::{Event, HostName};

const MINUTE_MS: u64 = 60_000;

fn decide(stage: &mut Stage, name: &str, evacuate_after: EvacuateAfter) {
    let lost_hosts = LostHosts { evacuate_after, ..LostHosts::default() };
    let settings = EnvironmentSettings { lost_hosts, ..stage.env(name).settings.clone() };
    stage.record(Event::EnvironmentChanged { environment: environment(name), settings });
}

fn three(after: EvacuateAfter) -> Stage {
    let mut stage = stage_with(&[("a", ""), ("b", ""), ("c", "")], Port::Assigned);
    decide(&mut stage, "staging", after);
    stage
}

fn names(all: &[&str]) -> BTreeSet<HostName> {
    all.iter().map(|name| host(name)).collect()
}

/// Looks once a second; returns after how many seconds something was to be done first, and what.
fn look(
    stage: &mut Stage,
    seen: &mut Evacuations,
    unreached: &[&str],
    seconds: u64,
) -> Option<(u64, String)> {
    let occupied = names(&["a", "b", "c"]);
    for second in 1..=seconds {
        let events = seen.look(&stage.world, (&names(unreached), &occupied), 1_000);
        if let [Event::HostTurned { host, stance: Stance::Draining, reason }] = &events[..] {
            let said = (second, format!("{host}: {reason}"));
            events.into_iter().for_each(|event| stage.record(event));
            return Some(said);
        }
        assert_eq!(events, []);
    }
    None
}

#[test]
fn a_host_is_evacuated_once_when_it_was_not_reached_for_the_time_of_its_environment() {
    let (mut stage, mut seen) = (three(EvacuateAfter::Ms(10 * MINUTE_MS)), Evacuations::default());
    let found = look(&mut stage, &mut seen, &["b"], 3_600).unwrap();
    let words = "b: it was not reached for 10 minutes, after which staging evacuates";
    assert_eq!(found, (601, words.to_owned()));
    assert_eq!(look(&mut stage, &mut seen, &["b"], 3_600), None, "once");
    turn(&mut stage, "b", Stance::Open);
    assert_eq!(look(&mut stage, &mut seen, &["b"], 600), None, "a person opened it: the time begins anew");
    assert!(look(&mut stage, &mut seen, &["b"], 10).is_some());
}

#[test]
fn by_default_and_where_one_of_its_environments_never_does_a_person_says_so() {
    let (mut stage, mut seen) = (three(EvacuateAfter::Never), Evacuations::default());
    assert_eq!(look(&mut stage, &mut seen, &["b"], 10_000), None);
    assert_eq!(LostHosts::default().evacuate_after, EvacuateAfter::Never);
    decide(&mut stage, "staging", EvacuateAfter::Ms(MINUTE_MS));
    let mut settings = stage.world.hosts[&host("a")].settings.clone();
    settings.environments.insert(environment("production"));
    let changed = Event::HostChanged { host: host("a"), settings: Box::new(settings), reason: String::new() };
    stage.record(changed);
    assert_eq!(evacuates_after(&stage.world, &stage.world.hosts[&host("a")]), None);
    decide(&mut stage, "production", EvacuateAfter::Ms(2 * MINUTE_MS));
    let (after, name) = evacuates_after(&stage.world, &stage.world.hosts[&host("a")]).unwrap();
    assert_eq!((after, name), (2 * MINUTE_MS, &environment("production")));
}

#[test]
fn nothing_is_counted_while_most_hosts_are_not_reached_and_a_host_that_returns_begins_anew() {
    let (mut stage, mut seen) = (three(EvacuateAfter::Ms(MINUTE_MS)), Evacuations::default());
    assert_eq!(look(&mut stage, &mut seen, &["a", "b"], 3_600), None, "our own line is cut");
    assert_eq!(look(&mut stage, &mut seen, &["b"], 59), None, "only what was seen since counts");
    assert_eq!(look(&mut stage, &mut seen, &[], 1), None);
    assert_eq!(look(&mut stage, &mut seen, &["b"], 60), None);
    assert_eq!(look(&mut stage, &mut seen, &["b"], 1).unwrap().0, 1);
    let mut one = stage_with(&[("a", "")], Port::Assigned);
    decide(&mut one, "staging", EvacuateAfter::Ms(MINUTE_MS));
    assert_eq!(look(&mut one, &mut Evacuations::default(), &["a"], 3_600), None, "there is no other");
}

#[test]
fn a_server_that_was_held_up_or_is_started_anew_makes_no_host_older() {
    let (stage, mut seen) = (three(EvacuateAfter::Ms(MINUTE_MS)), Evacuations::default());
    let (away, occupied) = (names(&["b"]), names(&["b"]));
    for _ in 0..=(MINUTE_MS / MOST_A_LOOK_MS - 1) {
        assert_eq!(seen.look(&stage.world, (&away, &occupied), 3_600_000), []);
    }
    assert_eq!(seen.look(&stage.world, (&away, &occupied), 3_600_000).len(), 1);
    let mut anew = Evacuations::default();
    assert_eq!(anew.look(&stage.world, (&away, &occupied), 3_600_000), []);
}

#[test]
fn a_host_on_which_nothing_runs_stays_open() {
    let (mut stage, mut seen) = (three(EvacuateAfter::Ms(MINUTE_MS)), Evacuations::default());
    add(&mut stage, "d", "");
    for _ in 0..1_000 {
        assert_eq!(seen.look(&stage.world, (&names(&["d"]), &names(&["a"])), 1_000), []);
    }
}
