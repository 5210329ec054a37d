//! Which names are looked up at once: those that are answered quickly in a lane of their own, so that names of which nobody says anything delay
//! each other alone.
//!
//! Nobody knows beforehand of which kind a name is. So each begins in the lane of quick ones, where it has little time; what is not answered by
//! then goes on among those that take long, at once where these have room, and when its turn comes where not. Invariant: a name that was
//! answered quickly the last time waits for no name that was not.

/// How long a look in the lane of quick names takes at most, in milliseconds: a name server that knows an answer gives it in less, and one
/// that has to ask others first may take longer.
pub const QUICK_MS: u64 = 500;
/// Names in each lane at once: each takes a socket or two. With as many names as there can be, none of which is answered, the lane of quick
/// names is through with them in 8 s, and the other one in less than 3 minutes.
const AT_ONCE: usize = 64;

/// How long the last look of a name took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// It was answered within [`QUICK_MS`], whatever the answer was; or nobody knows yet.
    #[default]
    Quick,
    /// It was not.
    Slow,
}

impl Pace {
    /// Tells the pace of a look that took so long.
    #[must_use]
    pub const fn of(took_ms: u64) -> Self {
        if took_ms <= QUICK_MS { Self::Quick } else { Self::Slow }
    }
}

/// Looks that are under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lanes {
    quick: usize,
    slow: usize,
}

impl Lanes {
    /// Returns how many more looks of a pace may begin.
    #[must_use]
    pub const fn room(&self, pace: Pace) -> usize {
        AT_ONCE - self.of(pace)
    }

    const fn of(&self, pace: Pace) -> usize {
        match pace {
            Pace::Quick => self.quick,
            Pace::Slow => self.slow,
        }
    }

    const fn of_mut(&mut self, pace: Pace) -> &mut usize {
        match pace {
            Pace::Quick => &mut self.quick,
            Pace::Slow => &mut self.slow,
        }
    }

    /// Takes those of the names that are due whose turn it is, who waits for longest first; `due` are names with when they were due, and the pace of each.
    /// All that are returned count as under way.
    pub fn begin<N>(&mut self, due: Vec<(N, u64, Pace)>) -> Vec<(N, Pace)> {
        let mut due = due;
        due.sort_by_key(|(_, since_ms, _)| *since_ms);
        let mut takes = |pace: Pace| {
            let has_room = self.room(pace) > 0;
            *self.of_mut(pace) += usize::from(has_room);
            has_room
        };
        due.into_iter().filter(|(.., pace)| takes(*pace)).map(|(name, _, pace)| (name, pace)).collect()
    }

    /// Moves a look to the lane of slow ones that was not answered in time among quick ones; where that has no room it is over, and returns false.
    pub const fn outstays(&mut self) -> bool {
        self.quick -= 1;
        let has_room = self.slow < AT_ONCE;
        if has_room {
            self.slow += 1;
        }
        has_room
    }

    /// Notes that a look is over that was in a lane.
    pub const fn end(&mut self, pace: Pace) {
        *self.of_mut(pace) -= 1;
    }
}

#[cfg(test)]
mod simulation;
