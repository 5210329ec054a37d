//! What the judge would have said while a recording was made: after each interval, with nothing of what came later.
//!
//! The recording is the bake: it is over with the last interval. A share of the new version that grows begins a new step.

use super::Recording;
use crate::counts::{Reading, Split};
use crate::decide::{Bake, Health, Look, decide};
use crate::evidence::Evidence;
use crate::quantity::Weight;
use crate::rules::Plan;
use crate::verdict::Judgement;

/// What was said at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The number of the interval before it.
    pub interval: u64,
    /// How long it was after the beginning.
    pub after_ms: u64,
    /// What was said.
    pub judgement: Judgement,
}

impl Recording {
    /// Judges after each interval. Whoever stops at the first fail sees when a rollout would have been taken back.
    pub fn looks<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Looked> + 'a {
        let mut evidence = Evidence::default();
        let mut weight = Weight(0);
        (0..).zip(&self.readings).map(move |(index, reading): (u64, _)| {
            if let Some(drawn) = drawn(reading) {
                if drawn > weight {
                    evidence.begin_step();
                }
                weight = drawn;
            }
            evidence.take(plan, reading);
            let judgement = decide(plan, &evidence, &self.look(index + 1));
            Looked { interval: self.first_interval + index, after_ms: self.after_ms(index + 1), judgement }
        })
    }

    fn look(&self, intervals: u64) -> Look {
        let left = self.after_ms(self.readings.len() as u64).saturating_sub(self.after_ms(intervals));
        // The end is told by the count, because the length of an interval may not be known.
        let is_last = intervals >= self.readings.len() as u64;
        Look { health: Health::Ready, bake: if is_last { Bake::Over } else { Bake::Left(left) } }
    }

    const fn after_ms(&self, intervals: u64) -> u64 {
        self.interval_ms.saturating_mul(intervals)
    }
}

const fn drawn(reading: &Reading) -> Option<Weight> {
    match reading {
        Reading::Counted(interval) => match interval.split {
            Split::Drawn(weight) => Some(weight),
            Split::Counted | Split::Changed => None,
        },
        Reading::Missing => None,
    }
}
