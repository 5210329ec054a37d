//! Goes through interleavings: every pair of decisions at every distance, and random ones beyond.

use lockstep_domain::run::Replace;

use crate::commands::{ALL, Command, OF_ONE, OF_TWO, OF_WORKER};
use crate::host::Ends;
use crate::journal::Work;
use crate::model::{Atom, Gate, Model, Rules};
use crate::promises::{after_step, at_rest};

/// An operation takes tens of rounds; what takes so many goes round in a circle.
const MOST_ROUNDS_TO_REST: usize = 2_000;

/// The first of two decisions comes within so many steps: a round, in which every part of the server has its turn.
const FIRST_WITHIN: usize = 16;
/// The second one comes within so many steps after the first: two rounds and more.
const SECOND_WITHIN: usize = 40;
/// What the reconciler looks at again within this time is waited for: a pause, a drain.
const SOON_MS: u64 = 35_000;

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// 1.1.0 runs, and 1.0.0 is warm for a few steps more.
    WarmEnds,
    /// The same with three instances.
    ThreeWarmEnds,
    /// A canary of 1.1.0 was just begun beside 1.0.0.
    Canary,
    /// 1.1.0 is being scaled down from three instances.
    ScalingDown,
    /// 1.1.0 was rolled back to 1.0.0.
    RolledBack,
    /// Canaries of two services were just begun beside each other.
    TwoCanaries,
    /// A worker was just begun to be replaced.
    WorkerGoes,
    /// The same with three of it.
    ThreeWorkersGo,
    /// The same with one that asks for the new one to come first.
    WorkerComes,
    /// The same with three that may work beside others.
    WorkersShare,
}

pub(crate) const BEGINNINGS: [Beginning; 10] = [
    Beginning::WarmEnds,
    Beginning::ThreeWarmEnds,
    Beginning::Canary,
    Beginning::ScalingDown,
    Beginning::RolledBack,
    Beginning::TwoCanaries,
    Beginning::WorkerGoes,
    Beginning::ThreeWorkersGo,
    Beginning::WorkerComes,
    Beginning::WorkersShare,
];

impl Beginning {
    /// What comes to rest one after the other before the run, and what has just begun.
    pub(crate) fn commands(self) -> (&'static [Command], &'static [Command]) {
        use Command::{Canary, Deploy, NearWarmEnd, OtherCanary, OtherDeploy, RollBack, Scale};
        match self {
            Self::WarmEnds => (&[Deploy(0), Deploy(1)], &[NearWarmEnd]),
            Self::ThreeWarmEnds => (&[Deploy(0), Scale(3), Deploy(1)], &[NearWarmEnd]),
            Self::Canary => (&[Deploy(0)], &[Canary(1)]),
            Self::ScalingDown => (&[Deploy(0), Deploy(1), Scale(3)], &[Scale(1)]),
            Self::RolledBack => (&[Deploy(0), Deploy(1)], &[RollBack(0)]),
            Self::TwoCanaries => (&[Deploy(0), OtherDeploy(0)], &[Canary(1), OtherCanary(1)]),
            Self::WorkerGoes => (&[Deploy(0)], &[Deploy(1)]),
            Self::ThreeWorkersGo => (&[Deploy(0), Scale(3)], &[Deploy(1)]),
            Self::WorkerComes => (&[Deploy(0)], &[Canary(1)]),
            Self::WorkersShare => (&[Deploy(0), Scale(3)], &[Canary(1)]),
        }
    }

    /// What its first service is.
    pub(crate) fn work(self) -> Work {
        match self {
            Self::WorkerGoes | Self::ThreeWorkersGo => Work::Worker(Replace::OldFirst),
            Self::WorkerComes => Work::Worker(Replace::NewFirst),
            Self::WorkersShare => Work::Worker(Replace::SideBySide),
            _ => Work::Web,
        }
    }

    /// The decisions whose pairs are looked at: those about the other service where it is there.
    fn decisions(self) -> &'static [Command] {
        match self {
            Self::TwoCanaries => &ALL[..OF_TWO],
            _ if self.work() == Work::Web => &ALL[..OF_ONE],
            _ => &OF_WORKER,
        }
    }
}

/// One run: where it begins, and which decisions come after how many steps.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) beginning: Beginning,
    pub(crate) commands: Vec<(usize, Command)>,
    /// Shuffles the steps in between; 0 keeps the ordinary order.
    pub(crate) seed: u64,
}

/// A broken promise with the run that broke it.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// What was broken, and how it came to it.
    pub(crate) words: String,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Runs from a beginning to rest.
    pub(crate) runs: u64,
    /// Single steps, after each of which every promise was checked.
    pub(crate) steps: u64,
}

/// Carries a run out.
pub(crate) fn carry_out(rules: Rules, run: &Run, counts: &mut Counts) -> Result<(), Broken> {
    let mut model = Model::new(rules, run.beginning.work());
    let mut schedule = Schedule::default();
    let broken = |words: String| Broken { words: format!("{words}\n  in {run:?}") };
    let (before, last) = run.beginning.commands();
    for command in before {
        command.run(&mut model);
        to_rest(&mut model, &mut schedule, counts).map_err(broken)?;
    }
    last.iter().for_each(|command| command.run(&mut model));
    schedule.random = Random(run.seed);
    let mut done = 0;
    for &(after, command) in &run.commands {
        for _ in done..after {
            step(&mut model, &mut schedule, counts).map_err(broken)?;
        }
        done = after;
        model.forget_fresh();
        command.run(&mut model);
        after_step(&model).map_err(broken)?;
    }
    schedule.random = Random(0);
    rest_for_good(&mut model, &mut schedule, counts).map_err(broken)?;
    counts.runs += 1;
    Ok(())
}

pub(crate) fn step(model: &mut Model, schedule: &mut Schedule, counts: &mut Counts) -> Result<(), String> {
    let atom = schedule.next(model);
    model.step(&atom);
    counts.steps += 1;
    after_step(model)
}

/// Goes on until nothing is left to do for now: until two whole rounds of steps have changed nothing.
pub(crate) fn to_rest(model: &mut Model, schedule: &mut Schedule, counts: &mut Counts) -> Result<(), String> {
    schedule.queue.clear();
    let mut idle_rounds = 0;
    for _ in 0..MOST_ROUNDS_TO_REST {
        model.worked = false;
        step(model, schedule, counts)?;
        while !schedule.queue.is_empty() {
            step(model, schedule, counts)?;
        }
        let idle = !model.worked && model.host.is_quiet();
        idle_rounds = if idle { idle_rounds + 1 } else { 0 };
        if idle_rounds < 2 {
            continue;
        }
        let busy = model.ledger.environment().under_way().next().is_some();
        match model.next_look() {
            Some(next) if busy || next <= model.now.plus_ms(SOON_MS) => model.wait_until(next),
            // A moment may have come since the last look.
            None if busy && idle_rounds < 5 => continue,
            None if busy => break,
            _ => return Ok(()),
        }
        idle_rounds = 0;
    }
    at_rest(model)?;
    Err(format!("it does not come to rest: {:?}", model.ledger.environment().under_way().collect::<Vec<_>>()))
}

/// Rests, lets every warm time end, and rests again.
fn rest_for_good(model: &mut Model, schedule: &mut Schedule, counts: &mut Counts) -> Result<(), String> {
    model.outer.silent = false;
    model.host.ends = Ends::AtOnce;
    to_rest(model, schedule, counts)?;
    at_rest(model)?;
    while let Some(end) = model.ledger.environment().warm.values().copied().filter(|at| *at > model.now).min()
    {
        model.wait_until(end);
        to_rest(model, schedule, counts)?;
        at_rest(model)?;
    }
    Ok(())
}

/// In which order steps come: all kinds in turn, or shuffled.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    queue: Vec<Atom>,
    random: Random,
}

impl Schedule {
    fn next(&mut self, model: &Model) -> Atom {
        if let Some(atom) = self.queue.pop() {
            return atom;
        }
        self.queue = round(model);
        if self.random.0 == 0 {
            self.queue.reverse();
        } else {
            for index in (1..self.queue.len()).rev() {
                self.queue.swap(index, self.random.below(index + 1));
            }
            let kept = self.queue.len() - self.random.below(self.queue.len());
            self.queue.truncate(kept.max(1));
        }
        self.next(model)
    }
}

fn round(model: &Model) -> Vec<Atom> {
    let mut atoms = vec![Atom::Request(Gate::Inner), Atom::Request(Gate::Outer)];
    for id in model.host.restless() {
        atoms.extend([Atom::Live(id.clone()), Atom::Reconcile, Atom::Hear(id)]);
    }
    atoms.extend([Atom::Take, Atom::Reconcile, Atom::Finish(Gate::Inner), Atom::Finish(Gate::Outer)]);
    atoms.extend([Atom::Reconcile, Atom::Report, Atom::Reconcile, Atom::Tick(10), Atom::Reconcile]);
    atoms
}

/// Numbers that look random: splitmix64.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }
}

/// Returns a run for every pair of decisions from every beginning, at random moments.
pub(crate) fn pairs(seed: u64) -> impl Iterator<Item = Run> {
    let mut random = Random(seed);
    let pairs = |of: &'static [Command]| of.iter().flat_map(|&one| of.iter().map(move |&other| (one, other)));
    let all =
        BEGINNINGS.into_iter().flat_map(move |from| pairs(from.decisions()).map(move |pair| (from, pair)));
    all.map(move |(beginning, (one, other))| {
        let first = random.below(FIRST_WITHIN);
        let commands = vec![(first, one), (first + random.below(SECOND_WITHIN), other)];
        Run { beginning, commands, seed: 0 }
    })
}

/// Makes a run of up to four decisions at random moments, with shuffled steps.
pub(crate) fn random_run(seed: u64) -> Run {
    let mut random = Random(seed);
    let beginning = BEGINNINGS[random.below(BEGINNINGS.len())];
    let mut after = 0;
    let commands = (0..=random.below(4)).map(|_| {
        after += random.below(60);
        (after, ALL[random.below(ALL.len())])
    });
    let commands = commands.collect();
    Run { beginning, commands, seed: random.next() | 1 }
}
