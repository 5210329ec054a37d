//! One service going back while its old version is warm, under 2,000 requests a second from a client that counts.
//!
//! Measured in two ways: by a call of the API, whose moment is known exactly, and by the command, as a person sees it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::installation::{Installation, Show, Talk};
use crate::load::{self, Kind, Load, Pace, Target};

use super::figures::{ms, spread};
use super::operation::{self, ENVIRONMENT};
use super::{repository, service};

/// How often each way is measured.
const REPETITIONS: usize = 20;
/// What the client does.
const KINDS: &[Kind] = &[Kind { weight: 1, method: "GET", path: "/", body: "", expected: 200 }];
/// Few workers that keep their connections: the client shares the machine with what it measures.
const PACE: Pace = Pace { kept: 4, fresh: 0, requests_per_second: 2_000 };
/// How long the new version serves before the next way back, so that nothing of the last change is left.
const PAUSE: Duration = Duration::from_millis(300);
const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";

pub(super) fn measure(program: PathBuf, folder: PathBuf) -> Result<()> {
    let mut installation = Installation::new(program, folder, Talk::Aloud)?;
    installation.start_server()?;
    prepare(&installation)?;
    let gateway = installation.json(&["status", ENVIRONMENT])?;
    let gateway = gateway["gateway"].as_str().context("the status names no gateway")?;
    let address = gateway.trim_start_matches("http://").parse()?;
    let load = Load::start(Target { address, kinds: KINDS, served_by: load::version }, PACE);
    load.settle()?;
    let begin = Instant::now();
    let by_call = repeat(&installation, &load, call)?;
    let by_command = repeat(&installation, &load, command)?;
    let (totals, elapsed) = (load.totals_after(begin), begin.elapsed());
    let failures = load.failures();
    drop(load);
    installation.remove()?;
    show(&by_call, &by_command);
    let rate = totals.requests as f64 / elapsed.as_secs_f64();
    println!("\nrequests {} ({rate:.0} a second), failed {}", totals.requests, totals.failed);
    ensure!(totals.failed == 0, "requests failed:\n  {}", failures.join("\n  "));
    Ok(())
}

/// Brings the old version and then the new one into the environment; the old one stays warm.
fn prepare(installation: &Installation) -> Result<()> {
    let folder = installation.folder().join("repository");
    repository::create(&folder, service::MANIFEST, service::SOURCE)?;
    installation.run(&["service", "add", "repository"], Show::Result(1))?;
    installation.run(&["release", service::NAME], Show::Result(1))?;
    repository::commit(&folder, service::MANIFEST, "feat: answer anew")?;
    installation.run(&["release", service::NAME], Show::Result(1))?;
    for version in [OLD, NEW] {
        let version = format!("{}@{version}", service::NAME);
        installation.run(&["deploy", &version, "--env", ENVIRONMENT], Show::Result(1))?;
    }
    Ok(())
}

/// One way back.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When it was asked for.
    asked: Instant,
    /// When the answer to that was there, or the command was over.
    returned: Instant,
    /// The beginning of the last request that the version that was left answered.
    last_began: Instant,
    /// The end of its last answer.
    last_ended: Instant,
}

fn repeat(
    installation: &Installation,
    load: &Load,
    go_back: fn(&Installation) -> Result<(Instant, Instant)>,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        thread::sleep(PAUSE);
        load.settle()?;
        let (asked, returned) = go_back(installation)?;
        load.settle()?;
        let label = format!("{}@{NEW}", service::NAME);
        let last = load.last_answer(&label, asked);
        let (last_began, last_ended) = last.map_or((asked, asked), |last| (last.began, last.ended));
        samples.push(Sample { asked, returned, last_began, last_ended });
        go_forward(installation)?;
    }
    Ok(samples)
}

fn call(installation: &Installation) -> Result<(Instant, Instant)> {
    let intent = serde_json::json!({ "intent": "roll_back_service", "service": service::NAME, "to": OLD });
    let asked = Instant::now();
    let operation = operation::begin(installation, &serde_json::json!({ "intent": intent }))?;
    let returned = Instant::now();
    operation::wait(installation, operation)?;
    Ok((asked, returned))
}

fn command(installation: &Installation) -> Result<(Instant, Instant)> {
    let asked = Instant::now();
    installation.run_quietly(&["rollback", service::NAME, "--to", OLD, "--env", ENVIRONMENT])?;
    Ok((asked, Instant::now()))
}

fn go_forward(installation: &Installation) -> Result<()> {
    let version = format!("{}@{NEW}", service::NAME);
    let intent = serde_json::json!({ "intent": "deploy", "versions": [version] });
    let request = serde_json::json!({
        "intent": intent, "strategy": { "strategy": "all_at_once" }, "holds": "release",
    });
    let operation = operation::begin(installation, &request)?;
    operation::wait(installation, operation)
}

/// A line of the table: its name, what it is about, and its figure in milliseconds.
type Row<'a> = (&'a str, &'a [Sample], fn(&Sample) -> f64);

fn show(by_call: &[Sample], by_command: &[Sample]) {
    println!("\n{REPETITIONS} rollbacks each, of one service whose old version is warm; in milliseconds");
    println!("{:<62} {:>8} {:>8} {:>8}", "", "min", "median", "max");
    let rows: [Row<'_>; 6] = [
        ("API call -> last request of the version that was left begins", by_call, |s| {
            ms(s.asked, s.last_began)
        }),
        ("API call -> its last answer is complete", by_call, |s| ms(s.asked, s.last_ended)),
        ("API call -> the call is answered", by_call, |s| ms(s.asked, s.returned)),
        ("command typed -> last answer of the version that was left", by_command, |s| {
            ms(s.asked, s.last_ended)
        }),
        ("command typed -> command returns", by_command, |s| ms(s.asked, s.returned)),
        ("command returns -> last answer (negative: it came before)", by_command, |s| {
            ms(s.returned, s.last_ended)
        }),
    ];
    for (name, samples, figure) in rows {
        let [min, median, max] = spread(samples.iter().map(figure).collect());
        println!("{name:<62} {min:>8.1} {median:>8.1} {max:>8.1}");
    }
}
