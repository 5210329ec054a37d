//! Versions that speak TCP: what cannot be planned with them, and what tables say of them.

use crate::simulation::{Stage, deploy};
use lockstep_domain::Strategy;
use lockstep_domain::entry::EntrySettings;
use lockstep_domain::event::Event;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::FORMAT_WITH_TCP;
use lockstep_domain::run::Values;

const PLACE: &str = "staging";

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.release("cache@1.0.0", &[]);
    for version in ["cache@2.0.0", "cache@2.1.0"] {
        stage.release_with(version, &[], |version| version.run.protocol = Protocol::Tcp);
    }
    for (version, part) in [("web@1.0.0", "url"), ("web@1.1.0", "host")] {
        stage.release_with(version, &[("cache", "*")], |version| {
            version.run.variables.insert("CACHE".into(), format!("${{service.cache.{part}}}"));
            version.run.values = Values::Filled;
        });
    }
    stage
}

fn refusals(stage: &Stage, versions: &[&str], strategy: &Strategy) -> Vec<String> {
    match stage.plan(PLACE, &deploy(versions), Some(strategy)) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn connections_and_requests_cannot_be_split_over_two_versions_but_two_of_tcp_can() {
    let mut stage = stage();
    stage.run(PLACE, &deploy(&["cache@1.0.0"]), None);
    let canary = Strategy::canary(&[10, 100], 1_000);
    let words = "cache@2.0.0 speaks tcp where the version before it speaks http1, so a share of the clients cannot be given to it";
    assert_eq!(refusals(&stage, &["cache@2.0.0"], &canary), [words]);
    assert_eq!(refusals(&stage, &["cache@2.0.0"], &Strategy::AllAtOnce), [""; 0]);
    stage.run(PLACE, &deploy(&["cache@2.0.0"]), Some(&Strategy::AllAtOnce));
    assert_eq!(refusals(&stage, &["cache@2.1.0"], &canary), [""; 0]);
    assert_eq!(refusals(&stage, &["cache@1.0.0"], &canary).len(), 1, "nor the other way");
}

#[test]
fn who_refers_to_a_url_of_tcp_is_refused_whichever_of_them_changes() {
    let mut stage = stage();
    let words =
        "web@1.0.0 refers to `${service.cache.url}`, and cache@2.0.0 speaks TCP, which has no URL of HTTP";
    let all = Strategy::AllAtOnce;
    assert_eq!(refusals(&stage, &["cache@2.0.0", "web@1.0.0"], &all), [words]);
    assert_eq!(refusals(&stage, &["cache@2.0.0", "web@1.1.0"], &all), [""; 0]);
    stage.run(PLACE, &deploy(&["cache@1.0.0", "web@1.0.0"]), None);
    assert_eq!(refusals(&stage, &["cache@2.0.0"], &all), [words]);
}

#[test]
fn a_table_has_the_format_of_tcp_where_a_version_speaks_it_or_a_port_is_open_and_says_how_long_connections_go_on()
 {
    let mut stage = stage();
    stage.run(PLACE, &deploy(&["cache@1.0.0"]), None);
    assert!(stage.table(PLACE).format < FORMAT_WITH_TCP);
    stage.run(PLACE, &deploy(&["cache@2.0.0"]), Some(&Strategy::AllAtOnce));
    let table = stage.table(PLACE);
    assert_eq!((table.format, table.entry), (FORMAT_WITH_TCP, None));
    let mut settings = stage.env(PLACE).settings.clone();
    settings.drain_ms = Some(5_000);
    stage.record(Event::EnvironmentChanged {
        environment: PLACE.parse().unwrap(),
        settings: settings.clone(),
    });
    assert_eq!(stage.table(PLACE).entry.unwrap().tcp_drain_ms, Some(5_000));
    stage.run(PLACE, &deploy(&["cache@1.0.0"]), Some(&Strategy::AllAtOnce));
    let entry = stage.table(PLACE).entry;
    assert!(
        entry.is_none_or(|entry| entry.tcp_drain_ms.is_none()),
        "it is of connections that end when they want"
    );
    let tcp = vec!["5433=cache".parse().unwrap()];
    settings.entry = Box::new(EntrySettings { tcp, ..EntrySettings::default() });
    stage.record(Event::EnvironmentChanged { environment: PLACE.parse().unwrap(), settings });
    assert_eq!(stage.table(PLACE).format, FORMAT_WITH_TCP);
}
