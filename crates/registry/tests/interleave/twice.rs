//! Two people who wish the same: while what the first has begun is not over, the second changes nothing.

use std::collections::BTreeSet;

use lockstep_domain::OperationId;
use lockstep_domain::operation::Phase;

use crate::commands::Command;
use crate::explore::{BEGINNINGS, Beginning, Broken, Counts, Schedule, step, to_rest};
use crate::model::{Model, Rules};

/// One decision that two people make, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Twice {
    beginning: Beginning,
    command: Command,
    /// How many steps after the beginning the first, and how many after that the second.
    gaps: (usize, usize),
}

/// What people wish of an environment.
const WISHES: [Command; 14] = [
    Command::Deploy(2),
    Command::Canary(2),
    Command::RollBack(0),
    Command::Interrupt(0),
    Command::Interrupt(1),
    Command::Undo,
    Command::Remove,
    Command::Scale(2),
    Command::Configure,
    Command::Restart,
    Command::OtherCanary(2),
    Command::OtherInterrupt(0),
    Command::OtherScale(3),
    Command::OtherRemove,
];

/// The first comes so many steps after the beginning: at once, and in the middle.
const FIRST: [usize; 2] = [0, 25];
/// The second one comes so many steps after it.
const SECOND: [usize; 6] = [0, 1, 4, 10, 22, 54];

/// Returns every wish from every beginning, soon after it and once it has come to rest, twice at every distance.
pub(crate) fn twice() -> impl Iterator<Item = Twice> {
    let all = BEGINNINGS.into_iter().flat_map(|from| WISHES.into_iter().map(move |command| (from, command)));
    all.flat_map(|(beginning, command)| {
        let moments = FIRST.into_iter().flat_map(|first| SECOND.map(move |gap| (first, gap)));
        moments.map(move |gaps| Twice { beginning, command, gaps })
    })
}

impl Twice {
    /// Carries it out.
    ///
    /// # Errors
    /// When the second changed something.
    pub(crate) fn carry_out(self, counts: &mut Counts) -> Result<(), Broken> {
        let broken = |words: String| Broken { words: format!("{words}\n  in {self:?}") };
        let mut model = Model::new(Rules::TODAY, self.beginning.work());
        let mut schedule = Schedule::default();
        let (before, last) = self.beginning.commands();
        for command in before {
            command.run(&mut model);
            to_rest(&mut model, &mut schedule, counts).map_err(broken)?;
        }
        last.iter().for_each(|command| command.run(&mut model));
        let mut steps =
            |model: &mut Model, count: usize| (0..count).try_for_each(|_| step(model, &mut schedule, counts));
        steps(&mut model, self.gaps.0).map_err(broken)?;
        let before = Known::of(&model);
        self.command.run(&mut model);
        let touched = before.touched(&model);
        steps(&mut model, self.gaps.1).map_err(broken)?;
        let world = model.ledger.world();
        self.command.run(&mut model);
        let goes_on = |id: &OperationId| world.find_operation(*id).is_some_and(|it| !it.phase.is_settled());
        if touched.iter().any(goes_on) && model.ledger.world().seq != world.seq {
            return Err(broken(format!("{:?} a second time changed something", self.command)));
        }
        counts.runs += 1;
        Ok(())
    }
}

/// What there was before the first.
struct Known {
    operations: u64,
    taken_back: BTreeSet<OperationId>,
}

impl Known {
    fn of(model: &Model) -> Self {
        Self { operations: model.ledger.world().operations, taken_back: taken_back(model) }
    }

    /// The operations that it has begun, or begun to take back.
    fn touched(&self, model: &Model) -> Vec<OperationId> {
        let begun = self.operations + 1..=model.ledger.world().operations;
        let taken_back = taken_back(model).into_iter().filter(|id| !self.taken_back.contains(id));
        begun.map(OperationId).chain(taken_back).collect()
    }
}

fn taken_back(model: &Model) -> BTreeSet<OperationId> {
    let environment = model.ledger.environment();
    let taken_back = environment.under_way().filter(|it| matches!(it.phase, Phase::Reverting { .. }));
    taken_back.map(|operation| operation.id).collect()
}
