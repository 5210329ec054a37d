//! Watching: how long it takes until a person is told of a fault, by a real server and real instances.
//!
//! What metrics and their history cost is measured by the crates that do that (`bench_gateway metrics counting`, `bench_series`).

mod site;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::chat::{Chat, Told};
use crate::installation::{Installation, Talk};
use crate::load::{self, Load, Pace, Target};
use crate::processes;

use super::figures::spread;
use site::{ALL_DOWN, FAILING, KINDS, ONE_DOWN, Site};

/// How often each fault is made. More services of an environment that have one within five minutes are told of together.
const ROUNDS: usize = 5;
/// How long a message may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// From a message to the next fault. A message comes just after a look of the server, which looks each second: so the first fault comes just after a
/// look as well, where it takes longest until the next, and the others at moments between two.
const PAUSE: Duration = Duration::from_secs(1);
const LATER_EACH_ROUND: Duration = Duration::from_millis(200);
/// All services that will fail are asked as often.
const PACE: Pace = Pace { kept: 4, fresh: 0, requests_per_second: 250 };
/// For so long a service has served well before it fails: longer than the rule looks back.
const GOOD_BEFORE: Duration = Duration::from_secs(12);

pub(super) fn measure(program: PathBuf, folder: PathBuf) -> Result<()> {
    let mut installation = Installation::new(program, folder, Talk::Aloud)?;
    installation.start_server()?;
    let chat = Chat::begin()?;
    let site = Site::prepare(&installation, &chat)?;
    let all_down = repeat(&chat, |round| kill(&site, &chat, ALL_DOWN, round, "all-down"))?;
    let one_down = repeat(&chat, |round| kill(&site, &chat, ONE_DOWN, round, "instance-down"))?;
    let failing = fail_half(&site, &chat)?;
    let mut told = chat.told();
    // The disk of this machine may be low all the same.
    told.retain(|told| !told.text("service").is_empty());
    installation.remove()?;
    ensure!(told.len() == 3 * ROUNDS, "{} messages came of {} faults: {told:#?}", told.len(), 3 * ROUNDS);
    show([all_down, one_down, failing]);
    Ok(())
}

/// Makes a fault again and again, each in a service of its own, and returns how long each message took, in seconds.
fn repeat(chat: &Chat, mut round: impl FnMut(usize) -> Result<Duration>) -> Result<Vec<f64>> {
    let rounds = (0..ROUNDS).map(|number| {
        let last = chat.told().last().map_or_else(Instant::now, |told| told.at);
        let next = last + PAUSE + LATER_EACH_ROUND * u32::try_from(number)?;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        Ok(round(number)?.as_secs_f64())
    });
    rounds.collect()
}

/// Kills instances of a service, and returns how long after that the message had come.
fn kill(site: &Site<'_>, chat: &Chat, group: site::Group, round: usize, rule: &str) -> Result<Duration> {
    let service = group.service(round);
    let victims = site.processes(&service, group)?;
    let begin = Instant::now();
    processes::signal(&victims, processes::Signal::Kill)?;
    wait(chat, &service, rule, begin)
}

/// Lets services fail, one after the other, under requests that all of them get all the time.
fn fail_half(site: &Site<'_>, chat: &Chat) -> Result<Vec<f64>> {
    let address = site.gateway(FAILING)?;
    let load = Load::start(Target { address, kinds: KINDS, served_by: load::version }, PACE);
    let begin = Instant::now();
    thread::sleep(GOOD_BEFORE);
    let before = load.totals_after(begin);
    ensure!(before.failed == 0, "requests failed before anything was wrong: {:?}", load.failures());
    repeat(chat, |round| {
        let service = FAILING.service(round);
        let begin = Instant::now();
        site.fail_from_now_on(&service, address)?;
        wait(chat, &service, "failing", begin)
    })
}

/// Waits until the first message of a service is there, which must be of the rule.
fn wait(chat: &Chat, service: &str, rule: &str, begin: Instant) -> Result<Duration> {
    let first = |told: Vec<Told>| told.into_iter().find(|told| told.text("service") == service);
    loop {
        if let Some(told) = first(chat.told()) {
            let is_it = told.text("kind") == "fault" && told.has_rule(rule);
            ensure!(is_it, "of `{service}` something else was told than `{rule}`: {}", told.notice);
            return Ok(told.at.duration_since(begin));
        }
        ensure!(begin.elapsed() < PATIENCE, "nothing was told of `{service}` in {PATIENCE:?}");
        thread::sleep(LOOK_EVERY);
    }
}

fn show([all_down, one_down, failing]: [Vec<f64>; 3]) {
    println!("\nfrom a fault to its message at a chat on this machine, {ROUNDS} rounds each; in seconds");
    println!(
        "what is killed stays dead for a minute: an instance that serves again before the next look is no fault"
    );
    println!("{:<62} {:>8} {:>8} {:>8} {:>6}", "", "min", "median", "max", "aim");
    for (name, figures, aim) in [
        ("kill -9 of both instances of a service (all-down)", all_down, 2.0),
        ("kill -9 of one of two instances (instance-down)", one_down, 2.0),
        ("half of all requests fail, 50 a second (failing)", failing, 10.0),
    ] {
        let [min, median, max] = spread(figures);
        let missed = if max < aim { "" } else { "  missed" };
        println!("{name:<62} {min:>8.2} {median:>8.2} {max:>8.2} {aim:>6.0}{missed}");
    }
}
