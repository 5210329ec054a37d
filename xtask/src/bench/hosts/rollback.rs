//! Going back on all hosts at once, while a client on each of them asks the gateway of its host.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::hosts::Fleet;
use crate::installation::{Installation, Show};
use crate::load::{self, Kind, Load, Pace, Target};

use super::super::figures::{ms, spread};
use super::super::operation::{self, ENVIRONMENT};
use super::super::service;
use super::HOSTS;

/// How often it is measured.
const REPETITIONS: usize = 10;
/// What each client does.
const KINDS: &[Kind] = &[Kind { weight: 1, method: "GET", path: "/", body: "", expected: 200 }];
/// Often enough to see the moment, and little enough for one machine that is all hosts.
const PACE: Pace = Pace { kept: 1, fresh: 0, requests_per_second: 100 };
/// How long the new version serves before the next way back.
const PAUSE: Duration = Duration::from_millis(500);
/// How long all hosts may take to have an instance.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Rollbacks {
    /// From the call to the last answer of the version that was left, at any gateway.
    last_answer: Vec<f64>,
    /// From the call to its answer.
    returned: Vec<f64>,
    /// From the command to the first healthy instance of a version whose artifact is there.
    first_healthy: f64,
    requests: usize,
}

pub(super) fn measure(
    installation: &Installation,
    fleet: &Fleet,
    [old, new]: [&str; 2],
) -> Result<Rollbacks> {
    let mut found = Rollbacks { first_healthy: first_healthy(installation, old)?, ..Rollbacks::default() };
    let count = HOSTS.to_string();
    installation.run(&["scale", service::NAME, &count, "--env", ENVIRONMENT], Show::Result(1))?;
    wait_for_instances(installation, old)?;
    installation.run(&["deploy", &label(new), "--env", ENVIRONMENT], Show::Result(1))?;
    wait_for_instances(installation, new)?;
    let loads = loads(installation, fleet)?;
    settle(&loads)?;
    let begin = Instant::now();
    for _ in 0..REPETITIONS {
        thread::sleep(PAUSE);
        settle(&loads)?;
        found.go_back(installation, &loads, [old, new])?;
        go_forward(installation, new)?;
    }
    for load in &loads {
        let totals = load.totals_after(begin);
        found.requests += totals.requests;
        ensure!(totals.failed == 0, "requests failed:\n  {}", load.failures().join("\n  "));
    }
    Ok(found)
}

fn label(version: &str) -> String {
    format!("{}@{version}", service::NAME)
}

fn settle(loads: &[Load]) -> Result<()> {
    loads.iter().try_for_each(Load::settle)
}

/// Deploys a version whose artifact is on every host, as the first one; returns the milliseconds until an instance is healthy.
fn first_healthy(installation: &Installation, version: &str) -> Result<f64> {
    let request = serde_json::json!({
        "intent": { "intent": "deploy", "versions": [label(version)] }, "strategy": { "strategy": "all_at_once" },
    });
    let begin = Instant::now();
    let begun = operation::begin(installation, &request)?;
    while healthy(installation, version)? == 0 {
        ensure!(begin.elapsed() < PATIENCE, "no instance becomes healthy");
        thread::sleep(Duration::from_millis(5));
    }
    let took = ms(begin, Instant::now());
    operation::wait(installation, begun)?;
    Ok(took)
}

fn healthy(installation: &Installation, version: &str) -> Result<usize> {
    let hosts = installation.ask("GET", "/hosts", "")?;
    let hosts = hosts.as_array().context("no hosts")?;
    let instances = hosts.iter().filter_map(|host| host["instances"].as_array()).flatten();
    let is_it = |instance: &&serde_json::Value| {
        instance["arm"]["version"] == version
            && instance["state"]["state"] == "healthy"
            && instance["resource"].is_null()
    };
    Ok(instances.filter(is_it).count())
}

fn wait_for_instances(installation: &Installation, version: &str) -> Result<()> {
    let begin = Instant::now();
    while healthy(installation, version)? < usize::from(HOSTS) {
        ensure!(begin.elapsed() < PATIENCE, "not every host has a healthy instance of {version}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A client on each host, and one at the gateway of the server.
fn loads(installation: &Installation, fleet: &Fleet) -> Result<Vec<Load>> {
    let status = installation.json(&["status", ENVIRONMENT])?;
    let gateway = status["gateway"].as_str().context("the status names no gateway")?;
    let address: SocketAddr = gateway.trim_start_matches("http://").parse()?;
    let target = Target { address, kinds: KINDS, served_by: load::version };
    let mut loads = vec![Load::start(target, PACE)];
    for host in fleet.hosts() {
        loads.push(Load::start_within(target, PACE, Some(&fleet.network(host)?)));
    }
    Ok(loads)
}

impl Rollbacks {
    fn go_back(&mut self, installation: &Installation, loads: &[Load], [old, new]: [&str; 2]) -> Result<()> {
        let intent =
            serde_json::json!({ "intent": "roll_back_service", "service": service::NAME, "to": old });
        let asked = Instant::now();
        let begun = operation::begin(installation, &serde_json::json!({ "intent": intent }))?;
        self.returned.push(ms(asked, Instant::now()));
        operation::wait(installation, begun)?;
        settle(loads)?;
        let last =
            loads.iter().filter_map(|load| load.last_answer(&label(new), asked)).map(|it| it.ended).max();
        self.last_answer.push(last.map_or(0.0, |last| ms(asked, last)));
        Ok(())
    }

    pub(super) fn show(&self) {
        println!(
            "\nAn instance and a gateway on each of {HOSTS} hosts, a client at each gateway; in milliseconds"
        );
        println!("{:<62} {:>8} {:>8} {:>8}", "", "min", "median", "max");
        for (name, samples) in [
            ("API call of the way back -> last answer of what was left", &self.last_answer),
            ("API call of the way back -> the call is answered", &self.returned),
        ] {
            let [min, median, max] = spread(samples.clone());
            println!("{name:<62} {min:>8.1} {median:>8.1} {max:>8.1}");
        }
        println!(
            "{:<62} {:>8} {:>8.1}",
            "API call of a deploy -> first healthy instance, once", "", self.first_healthy
        );
        println!("\nrequests {}, failed 0", self.requests);
    }
}

fn go_forward(installation: &Installation, version: &str) -> Result<()> {
    let request = serde_json::json!({
        "intent": { "intent": "deploy", "versions": [label(version)] },
        "strategy": { "strategy": "all_at_once" }, "holds": "release",
    });
    let begun = operation::begin(installation, &request)?;
    operation::wait(installation, begun)
}
