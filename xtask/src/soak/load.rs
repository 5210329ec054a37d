//! The long run: load and changes all the time, nothing is killed, so nothing may fail; and what grows is measured.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::action::{self, Action, End, UnderWay};
use super::caller::Callers;
use super::calm;
use super::growth::{self, Bounds, Sample};
use super::judge::{Verdict, judge};
use super::random::Random;
use super::report::Report;
use super::site::Site;
use super::world::World;

/// Clients, and how often they call together; what two cores serve beside all the starts of instances.
const CLIENTS: u32 = 8;
const REQUESTS_PER_SECOND: u32 = 150;
/// How many samples are taken; more would say the same.
const SAMPLES: u32 = 120;
/// The shortest time between two samples: to take one costs some milliseconds.
const SHORTEST: Duration = Duration::from_millis(500);
/// How often it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a line is printed.
const TELL_EVERY: Duration = Duration::from_secs(30);

struct Long {
    site: Site,
    callers: Callers,
    report: Report,
    samples: Vec<Sample>,
    operations: u64,
    seed: u64,
    round: u64,
}

/// Runs for a time.
pub(super) fn run(
    program: &Path,
    folder: &Path,
    seed: u64,
    time: Duration,
    bounds: Bounds,
) -> Result<Report> {
    let site = Site::begin(program, folder)?;
    let callers = Callers::start(site.gateways(), CLIENTS, REQUESTS_PER_SECOND);
    callers.settle()?;
    let report = Report::of("load");
    let mut long = Long { site, callers, report, samples: Vec::new(), operations: 0, seed, round: 0 };
    long.go_on(time)?;
    long.come_to_rest()?;
    growth::judge(&long.samples, bounds, &mut long.report);
    long.end()
}

impl Long {
    fn go_on(&mut self, time: Duration) -> Result<()> {
        let (begin, interval) = (Instant::now(), (time / SAMPLES).max(SHORTEST));
        let (mut sampled, mut told) = (begin, begin);
        let mut under_way: Option<(Action, UnderWay)> = None;
        while begin.elapsed() < time || under_way.is_some() {
            thread::sleep(LOOK_EVERY);
            under_way = self.act(under_way, begin.elapsed() < time)?;
            if sampled.elapsed() >= interval {
                sampled = Instant::now();
                self.judge_requests()?;
                self.samples.push(Sample::take(&self.site, self.operations, self.callers.begun()));
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.tell(begin.elapsed(), time);
            }
        }
        Ok(())
    }

    /// Begins the next action when there is none, and judges the one that is over.
    fn act(
        &mut self,
        under_way: Option<(Action, UnderWay)>,
        more: bool,
    ) -> Result<Option<(Action, UnderWay)>> {
        match under_way {
            Some((action, one)) if one.is_over() => {
                let (end, words) = one.join()?;
                self.report.count(format!("{action:?}: {}", end.words()));
                // Nothing is killed: whatever was begun is carried out, or a rule refuses it.
                if matches!(end, End::Odd | End::Unavailable | End::TakenBack) {
                    self.report.fault(format!("{action:?}: {words}"));
                }
                Ok(None)
            }
            None if more => {
                self.round += 1;
                let mut random = Random::of_round(self.seed, self.round);
                let action = Action::choose(&mut random);
                Ok(Some((action, action::begin(&mut self.site, action, self.round, &mut random)?)))
            }
            other => Ok(other),
        }
    }

    fn judge_requests(&mut self) -> Result<()> {
        let records = self.callers.take();
        let world = World::ask(&self.site)?;
        self.operations = world.operations;
        for record in &records {
            match judge(record, &world, &[]) {
                Verdict::Good => self.report.count("requests answered well"),
                Verdict::Explained(reason) => self.report.count(format!("requests {}", reason.words())),
                Verdict::Fault(words) => self.report.fault(words),
            }
        }
        Ok(())
    }

    fn come_to_rest(&mut self) -> Result<()> {
        let wrong = calm::wait(&self.site)?;
        wrong.into_iter().for_each(|wrong| self.report.fault(format!("at the end: {wrong}")));
        self.callers.settle()?;
        self.judge_requests()?;
        self.samples.push(Sample::take(&self.site, self.operations, self.callers.begun()));
        let verified = self.site.installation.ask("GET", "/journal/verify", "")?;
        self.report.add("records of the journal", verified["records"].as_u64().unwrap_or(0));
        if !verified["tampered"].is_null() {
            self.report.fault(format!("the journal does not verify: {}", verified["tampered"]));
        }
        self.report.add("operations", self.operations);
        Ok(())
    }

    fn tell(&self, elapsed: Duration, time: Duration) {
        let (requests, faults) = (self.callers.begun(), self.report.fault_count());
        println!(
            "  {} of {} s: {} operations, {requests} requests, {faults} unexplained; {}",
            elapsed.as_secs(),
            time.as_secs(),
            self.operations,
            self.samples.last().map(Sample::words).unwrap_or_default()
        );
    }

    fn end(mut self) -> Result<Report> {
        drop(self.callers);
        self.site.close(&mut self.report, self.seed)?;
        Ok(self.report)
    }
}
