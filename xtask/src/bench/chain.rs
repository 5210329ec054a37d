//! Eight services in chains of four calls that are switched there and back, under a client that counts failures and mixtures.
//!
//! Two services pass on nothing, and one serves both sides of every switch.

mod fleet;
mod hop;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::http::Answer;
use crate::installation::{Installation, Talk};
use crate::load::{Kind, Load, Pace, Target, Totals};

use super::figures::{ms, spread};
use super::operation::{self, ENVIRONMENT};

/// How often it is switched; half of them back.
const SWITCHES: usize = 100;
/// All chains as often.
const KINDS: &[Kind] =
    &[chain(fleet::CHAINS[0]), chain(fleet::CHAINS[1]), chain(fleet::CHAINS[2]), chain(fleet::CHAINS[3])];
/// Four calls each: the client, nine services and the gateway share the machine.
const PACE: Pace = Pace { kept: 4, fresh: 2, requests_per_second: 200 };
/// How long a side serves before the next switch.
const PAUSE: Duration = Duration::from_millis(200);

const fn chain(path: &'static str) -> Kind {
    Kind { weight: 1, method: "GET", path, body: "", expected: 200 }
}

/// The trail of an answer: who gave each part of it.
fn trail(answer: &Answer) -> Option<String> {
    String::from_utf8(answer.body.clone()).ok()
}

pub(super) fn measure(program: PathBuf, folder: PathBuf) -> Result<()> {
    let mut installation = Installation::new(program, folder, Talk::Aloud)?;
    installation.start_server()?;
    fleet::prepare(&installation)?;
    let gateway = installation.json(&["status", ENVIRONMENT])?;
    let gateway = gateway["gateway"].as_str().context("the status names no gateway")?;
    let address = gateway.trim_start_matches("http://").parse()?;
    let load = Load::start(Target { address, kinds: KINDS, served_by: trail }, PACE);
    load.settle()?;
    let begin = Instant::now();
    let switches = (0..SWITCHES).map(|number| switch(&installation, &load, number));
    let switches = switches.collect::<Result<Vec<_>>>()?;
    let (totals, answers) = (load.totals_after(begin), load.answers_after(begin));
    let failures = load.failures();
    drop(load);
    installation.remove()?;
    show(&switches, totals, begin.elapsed());
    let mixed = mixtures(&answers);
    println!("answers whose trail names two sides: {}", mixed.values().sum::<usize>());
    ensure!(totals.failed == 0, "requests failed:\n  {}", failures.join("\n  "));
    ensure!(mixed.is_empty(), "answers of two sides: {mixed:#?}");
    Ok(())
}

/// A switch: when it was asked for, and the last answer of the side that was left whose request began later.
#[derive(Debug, Clone, Copy)]
struct Switch {
    goes_back: bool,
    asked: Instant,
    last_began: Instant,
    last_ended: Instant,
    /// When its operation was over.
    done: Instant,
}

/// Goes back, and the next time forward.
fn switch(installation: &Installation, load: &Load, number: usize) -> Result<Switch> {
    thread::sleep(PAUSE);
    let goes_back = number.is_multiple_of(2);
    let (to, left) = if goes_back { (fleet::OLD, fleet::NEW) } else { (fleet::NEW, fleet::OLD) };
    let intent = if goes_back { "roll_back_services" } else { "deploy" };
    let request = serde_json::json!({
        "intent": { "intent": intent, "versions": fleet::moving(to) },
        "strategy": { "strategy": "all_at_once" }, "holds": "release", "leaving": "warm",
    });
    let asked = Instant::now();
    let operation = operation::begin(installation, &request)?;
    operation::wait(installation, operation)?;
    let done = Instant::now();
    load.settle()?;
    let of_side =
        fleet::CHAINS.iter().filter_map(|chain| load.last_answer(&fleet::trail(chain, left), asked));
    let began_later: Vec<_> = of_side.filter(|last| last.began > asked).collect();
    Ok(Switch {
        goes_back,
        asked,
        last_began: began_later.iter().map(|last| last.began).max().unwrap_or(asked),
        last_ended: began_later.iter().map(|last| last.ended).max().unwrap_or(asked),
        done,
    })
}

/// Returns the trails that are of no single side, with how often they came.
fn mixtures(answers: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let whole = |trail: &String| {
        let sides = [fleet::OLD, fleet::NEW].into_iter();
        sides.flat_map(|side| fleet::CHAINS.map(|chain| fleet::trail(chain, side))).any(|one| one == *trail)
    };
    answers.iter().filter(|(trail, _)| !whole(trail)).map(|(trail, &count)| (trail.clone(), count)).collect()
}

/// A line of the table: its name and its figure in milliseconds.
type Row = (&'static str, fn(&Switch) -> f64);

fn show(switches: &[Switch], totals: Totals, elapsed: Duration) {
    println!(
        "\n{SWITCHES} switches of eight services in chains of four calls, both sides warm; in milliseconds"
    );
    println!("{:<70} {:>8} {:>8} {:>8}", "", "min", "median", "max");
    let rows: [Row; 3] = [
        ("API call -> the last request that began on the side that was left", |it| {
            ms(it.asked, it.last_began)
        }),
        ("API call -> its answer is complete", |it| ms(it.asked, it.last_ended)),
        ("API call -> the operation is over", |it| ms(it.asked, it.done)),
    ];
    for (side, goes_back) in [("back", true), ("forward", false)] {
        for (name, figure) in rows {
            let figures = switches.iter().filter(|it| it.goes_back == goes_back).map(figure);
            let [min, median, max] = spread(figures.collect());
            println!("{:<70} {min:>8.1} {median:>8.1} {max:>8.1}", format!("{side}: {name}"));
        }
    }
    let rate = totals.requests as f64 / elapsed.as_secs_f64();
    println!("\nrequests {} ({rate:.0} a second), failed {}", totals.requests, totals.failed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_two_sides_is_a_mixture() {
        let whole = fleet::trail(fleet::CHAINS[0], fleet::NEW);
        let mixed = whole.replace("stock@2.0.0", "stock@1.0.0");
        let answers = BTreeMap::from([(whole, 7), (mixed.clone(), 2)]);
        assert_eq!(mixtures(&answers), BTreeMap::from([(mixed, 2)]));
    }
}
