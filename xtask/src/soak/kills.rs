//! The kill loop: in each round something is under way, and something is killed with SIGKILL at some moment of it. Then
//! everything is started again, and everything must be as the journal says.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::action::{self, Action, End, UnderWay};
use super::caller::{Callers, now_ms};
use super::calm;
use super::judge::{Killed, Reason, Verdict, Victim, judge};
use super::processes::{Process, Role};
use super::random::Random;
use super::report::Report;
use super::service::NAMES;
use super::site::{EDGES, PRODUCTION, Site};
use super::world::World;
use crate::processes::{Signal, signal};

/// Clients, and how often they call together: enough that each moment has some under way, and little for two cores.
const CLIENTS: u32 = 8;
const REQUESTS_PER_SECOND: u32 = 100;
/// How long a server may take until it answers, with a journal of some hundred operations and a busy machine.
const START_BOUND: Duration = Duration::from_secs(10);
/// How long a guard is waited for when one is to be killed.
const GUARD_PATIENCE: Duration = Duration::from_secs(5);
/// Of a hundred gateways that are killed alone, so many stay away until the environment has moved on without them.
const LONG_ABSENCES: u64 = 15;
/// How long a gateway is waited for, and some more.
const UNTIL_FORGOTTEN: Duration = Duration::from_millis(5_500);
/// Until what was replaced is not warm any more and has ended, so that the stored table names nothing that runs.
const UNTIL_ENDED: Duration = Duration::from_secs(8);
/// Rounds with faults after which it is enough.
const ENOUGH: u64 = 5;

struct Loop {
    site: Site,
    callers: Callers,
    report: Report,
    /// What was killed in this round and the one before, which requests of this one may have met.
    killed: Vec<Killed>,
}

/// Goes through the rounds.
pub(super) fn run(program: &Path, folder: &Path, seed: u64, rounds: u64) -> Result<Report> {
    let site = Site::begin(program, folder)?;
    let callers = Callers::start(site.gateways(), CLIENTS, REQUESTS_PER_SECOND);
    callers.settle()?;
    let mut all = Loop { site, callers, report: Report::of("kills"), killed: Vec::new() };
    for reason in [Reason::Gateway, Reason::CallThroughGateway, Reason::Instance] {
        all.report.add(format!("requests {}", reason.words()), 0);
    }
    let (mut faulty, begun) = (0, Instant::now());
    for round in 1..=rounds {
        let before = all.report.fault_count();
        let is_calm = all.round(seed, round, rounds)?;
        faulty += u64::from(all.report.fault_count() > before);
        if !is_calm || faulty >= ENOUGH {
            println!("  it ends here: what follows would only repeat it");
            break;
        }
    }
    all.report.add("seconds", begun.elapsed().as_secs());
    all.end(seed)
}

impl Loop {
    /// Returns whether everything came to rest, so that another round makes sense.
    fn round(&mut self, seed: u64, round: u64, rounds: u64) -> Result<bool> {
        let mut random = Random::of_round(seed, round);
        let action = Action::choose(&mut random);
        let victims = choose_victims(action, &mut random);
        // A guard is there only as long as a command of the build runs.
        let span = if victims.contains(&Victim::Guard) { 400 } else { action.span_ms() };
        let (moment, pause) = (random.below(span), random.below(1_000));
        let chosen = random.below(1 << 32);
        let is_long = victims == [Victim::Gateway] && random.percent(LONG_ABSENCES);
        let under_way = action::begin(&mut self.site, action, round, &mut random)?;
        thread::sleep(Duration::from_millis(moment));
        self.killed.retain(|killed| killed.back.is_none_or(|back| back + 60_000 > now_ms()));
        let this_round = self.killed.len();
        for victim in &victims {
            self.kill(*victim, chosen)?;
        }
        thread::sleep(Duration::from_millis(pause));
        if is_long {
            self.stay_away(round, &under_way)?;
        }
        self.start_again(this_round, round)?;
        let (end, words) = under_way.join()?;
        let wrong = calm::wait(&self.site)?;
        let requests = self.judge_requests(round)?;
        self.judge_action(round, action, end, &words);
        let is_calm = wrong.is_empty();
        wrong.iter().for_each(|wrong| self.report.fault(format!("round {round} ({action:?}): {wrong}")));
        self.verify(round)?;
        self.report.count("rounds");
        println!(
            "  round {round} of {rounds}: {action:?} {}, after {moment} ms {victims:?} killed; {requests} requests, {} unexplained",
            end.words(),
            self.report.fault_count()
        );
        Ok(is_calm)
    }

    fn kill(&mut self, victim: Victim, chosen: u64) -> Result<()> {
        let pick = |length: usize| usize::try_from(chosen % length.max(1) as u64).unwrap_or(0);
        let mut killed = Killed { victim, gateway: None, service: None, at: now_ms(), back: None };
        match victim {
            Victim::Server => self.site.installation.kill_server()?,
            Victim::Gateway => {
                let index = pick(EDGES.len());
                killed.gateway = Some(index);
                self.report.count(format!("killed: {}", EDGES[index]));
                signal(self.site.edge_process(index).as_slice(), Signal::Kill)?;
                self.site.reap_edge(index)?;
            }
            Victim::Supervisor | Victim::Instance | Victim::Pair | Victim::Guard => {
                let candidates = self.candidates(victim);
                let Some(process) = candidates.get(pick(candidates.len())) else {
                    self.report.count("kills that found nothing to kill");
                    return Ok(());
                };
                if let Role::Instance(id) = &process.role {
                    killed.service = id.split('-').next().map(str::to_owned);
                }
                let supervisor = supervisor_of(&self.site, &process.role).filter(|_| victim == Victim::Pair);
                killed.at = now_ms();
                let processes: Vec<u32> = supervisor.into_iter().chain([process.id]).collect();
                signal(&processes, Signal::Kill)?;
                killed.back = Some(now_ms());
            }
        }
        if victim != Victim::Gateway {
            self.report.count(format!("killed: {victim:?}"));
        }
        self.killed.push(killed);
        Ok(())
    }

    /// Finds the processes that a victim may be; a guard may have to be waited for.
    fn candidates(&self, victim: Victim) -> Vec<Process> {
        let begin = Instant::now();
        loop {
            let mut found = self.site.processes();
            found.retain(|process| match process.role {
                Role::Supervisor(_) => victim == Victim::Supervisor,
                Role::Instance(_) => matches!(victim, Victim::Instance | Victim::Pair),
                Role::Guard => victim == Victim::Guard,
                Role::Build => false,
            });
            found.sort_by(|one, other| one.role.cmp(&other.role));
            if !found.is_empty() || victim != Victim::Guard || begin.elapsed() > GUARD_PATIENCE {
                return found;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Changes every service while a gateway is away for so long that nobody waits for it.
    fn stay_away(&mut self, round: u64, under_way: &UnderWay) -> Result<()> {
        thread::sleep(UNTIL_FORGOTTEN);
        while !under_way.is_over() {
            thread::sleep(Duration::from_millis(20));
        }
        for name in NAMES {
            let colour = format!("COLOUR=away-{round}");
            self.site.installation.run_quietly(&["config", "set", name, &colour, "--env", PRODUCTION])?;
        }
        thread::sleep(UNTIL_ENDED);
        self.report.count("gateways away for long");
        Ok(())
    }

    /// Starts what is missing; in every other round gateways come before the server and must serve without one.
    fn start_again(&mut self, this_round: usize, round: u64) -> Result<()> {
        if round.is_multiple_of(2) {
            self.start_edges()?;
        }
        self.start_server()?;
        self.start_edges()?;
        for killed in &mut self.killed[this_round..] {
            killed.back.get_or_insert_with(now_ms);
        }
        Ok(())
    }

    fn start_server(&mut self) -> Result<()> {
        if self.site.installation.server_process().is_some() {
            return Ok(());
        }
        let begin = Instant::now();
        self.site.installation.start_server()?;
        let took = begin.elapsed();
        self.report
            .greatest("longest start of the server, in ms", u64::try_from(took.as_millis()).unwrap_or(0));
        if took > START_BOUND {
            self.report.fault(format!("the server took {took:?} to start; the bound is {START_BOUND:?}"));
        }
        Ok(())
    }

    fn start_edges(&mut self) -> Result<()> {
        for index in 0..EDGES.len() {
            if self.site.edge_process(index).is_none() {
                self.site.start_edge(index)?;
                self.site.wait_for_edge(index)?;
            }
        }
        Ok(())
    }

    fn judge_requests(&mut self, round: u64) -> Result<usize> {
        if let Err(error) = self.callers.settle() {
            self.report.fault(format!("round {round}: {error:#}"));
        }
        let records = self.callers.take();
        let world = World::ask(&self.site)?;
        for record in &records {
            match judge(record, &world, &self.killed) {
                Verdict::Good => self.report.count("requests answered well"),
                Verdict::Explained(reason) => self.report.count(format!("requests {}", reason.words())),
                Verdict::Fault(words) => {
                    self.report.fault(format!("round {round}: {words}; killed: {:?}", self.killed));
                }
            }
        }
        Ok(records.len())
    }

    /// Without a server a command may give up; nothing else may end in a way that no rule has.
    fn judge_action(&mut self, round: u64, action: Action, end: End, words: &str) {
        self.report.count(format!("{action:?}: {}", end.words()));
        let server_was_there = self.killed.iter().all(|killed| killed.victim != Victim::Server);
        if end == End::Odd || (end == End::Unavailable && server_was_there) {
            self.report.fault(format!("round {round} ({action:?}): {words}"));
        }
    }

    fn verify(&mut self, round: u64) -> Result<()> {
        let report = self.site.installation.ask("GET", "/journal/verify", "")?;
        self.report.greatest("records of the journal", report["records"].as_u64().unwrap_or(0));
        if !report["tampered"].is_null() {
            self.report.fault(format!("round {round}: the journal does not verify: {}", report["tampered"]));
        }
        Ok(())
    }

    fn end(mut self, seed: u64) -> Result<Report> {
        drop(self.callers);
        self.site.close(&mut self.report, seed)?;
        Ok(self.report)
    }
}

/// Finds the supervisor of an instance.
fn supervisor_of(site: &Site, role: &Role) -> Option<u32> {
    let Role::Instance(wanted) = role else { return None };
    let is_it = |process: &Process| matches!(&process.role, Role::Supervisor(id) if id == wanted);
    site.processes().into_iter().find(is_it).map(|process| process.id)
}

/// Chooses who dies. A guard is there only in a build; in some rounds two die at once.
fn choose_victims(action: Action, random: &mut Random) -> Vec<Victim> {
    let mut choose = || match random.below(100) {
        _ if action == Action::Release && random.percent(50) => Victim::Guard,
        0..30 => Victim::Server,
        30..50 => Victim::Gateway,
        50..70 => Victim::Supervisor,
        70..80 => Victim::Pair,
        _ => Victim::Instance,
    };
    let (first, second) = (choose(), choose());
    if random.percent(25) && first != second { vec![first, second] } else { vec![first] }
}
