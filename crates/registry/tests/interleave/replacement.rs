//! Workers that are replaced, with a server that is killed at every step of it, and whatever else may come at another one.

use crate::commands::Command;
use crate::explore::{Beginning, Random, Run};

/// Workers on their way to another version.
const WORKERS: [Beginning; 4] =
    [Beginning::WorkerGoes, Beginning::ThreeWorkersGo, Beginning::WorkerComes, Beginning::WorkersShare];

/// What comes besides: what people decide, and what befalls instances and their supervisors.
const BESIDES: [&[Command]; 10] = [
    &[Command::Undo],
    &[Command::Deploy(2)],
    &[Command::Interrupt(0)],
    &[Command::EndLate],
    &[Command::EndLate, Command::Undo],
    &[Command::NeverEnd, Command::Wait(300_000)],
    &[Command::KillSupervisor],
    &[Command::EndLate, Command::KillSupervisor],
    &[Command::Fail],
    &[Command::Hang],
];

/// A replacement takes so many steps and fewer.
const STEPS: usize = 100;

/// Returns a run for every step of each of them at which a server is killed, with nothing besides and with one thing at a random step.
pub(crate) fn killed(seed: u64) -> impl Iterator<Item = Run> {
    let mut random = Random(seed);
    let moments = (0..STEPS).flat_map(|killed| WORKERS.map(|beginning| (beginning, killed)));
    moments.flat_map(move |(beginning, killed)| {
        let besides = BESIDES[random.below(BESIDES.len())];
        [&[][..], besides].map(|besides| {
            let at = random.below(STEPS);
            let besides = besides.iter().map(|command| (at, *command));
            let mut commands: Vec<_> = besides.chain([(killed, Command::Crash)]).collect();
            commands.sort_by_key(|(after, _)| *after);
            Run { beginning, commands, seed: 0 }
        })
    })
}
