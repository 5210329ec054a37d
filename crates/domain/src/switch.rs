//! Switches: every request belongs to one state of its environment, also while that changes. Pure.
//!
//! A request that comes in from outside is *admitted*: it is told how far each switch had come at that moment. Whatever it causes deeper in the
//! chain is laid on the shares of that moment and not on those of now, so a request that began before a switch ends where it began. An admission names no
//! version: what it means follows from the table, and where the table does not know a switch any more, nothing is asked of it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::action::Look;
use crate::drain::drain_ms;
use crate::environment::Environment;
use crate::gateway_rules::MAX_TIMEOUT_MS;
use crate::instance::{Arm, ConfigRevision};
use crate::observed::Observed;
use crate::operation::{Operation, Phase};
use crate::routes::{FULL_WEIGHT, ServiceRoutes, Split, slot};
use crate::time::Timestamp;
use crate::version::VersionNumber;
use crate::world::World;

/// Most switches that an admission tells apart: more are not under way at once where anybody looks at them.
pub const MAX_SWITCHES: usize = 16;
/// Most switches that a table knows: more are not over within [`REMEMBERED_MS`] where anybody waits for requests.
pub const MAX_KNOWN: usize = 256;
/// How long a table knows of a switch that requests are left of, also when what these belong to has ended: then they are counted.
pub const REMEMBERED_MS: u64 = 60 * 60 * 1_000;
/// What a text of an admission is at most: the newest switch, and so many with their steps and sides.
pub const MAX_TEXT_BYTES: usize = 24 + MAX_SWITCHES * 33;

/// The switches of an environment that requests may still be on both sides of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// The number of the last operation that there has been. One with a higher number had not begun when the table was made.
    pub newest: u64,
    /// Those that are under way, and those of which requests may be left that were admitted before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Switch>,
}

impl Switches {
    fn of(&self, operation: u64) -> Option<Switch> {
        self.known.iter().find(|it| it.operation == operation).copied()
    }
}

/// An operation that moves services, as requests see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// The number of the operation.
    pub operation: u64,
    /// How many of its steps were taken; taking it back is one more.
    pub taken: u32,
    /// Whether no step will follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub over: bool,
}

/// What a switch does to one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passage {
    /// The number of the operation.
    pub operation: u64,
    /// What it comes from; left out where the service was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Side>,
    /// What it leads to.
    pub to: Side,
    /// The share of what it leads to after each step, also after those that are still to come; the last one is that of taking it back.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub weights: Vec<u32>,
}

/// One side of a switch: a version with its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// The version.
    pub version: VersionNumber,
    /// Its configuration.
    pub config: ConfigRevision,
}

impl Side {
    /// Returns the side that an arm is.
    #[must_use]
    pub fn of(arm: &Arm) -> Self {
        Self { version: arm.version.clone(), config: arm.config }
    }

    /// Tells whether a split is of this side.
    #[must_use]
    pub fn is(&self, split: &Split) -> bool {
        (&self.version, self.config) == (&split.version, split.config)
    }
}

/// An operation that requests may be on both sides of.
pub(crate) struct Known<'a> {
    pub(crate) operation: &'a Operation,
    /// Whether both sides are kept for them.
    pub(crate) keeps_sides: bool,
}

/// Returns the operations that requests may be on both sides of, in the order of their numbers: those under way, and those that are over as long as
/// requests are under way that were admitted before. Both sides are kept no longer than any request is waited for.
pub(crate) fn switching<'a>(
    world: &World,
    environment: &'a Environment,
    observed: &Observed,
    now: Timestamp,
) -> Vec<Known<'a>> {
    let over = recent(environment, now).map(|it| (it, Ends::of(world, environment, observed, it)));
    let mut over: Vec<_> = over.filter(|(_, ends)| now < ends.known).collect();
    over.sort_unstable_by_key(|(operation, _)| std::cmp::Reverse(operation.phase.settled_at()));
    let over = over.into_iter().take(MAX_KNOWN);
    let over = over.map(|(operation, ends)| Known { operation, keeps_sides: now < ends.sides });
    let going = environment.moving().map(|operation| Known { operation, keeps_sides: true });
    let mut all: Vec<_> = going.chain(over).collect();
    all.sort_unstable_by_key(|known| known.operation.id);
    all
}

/// Goes through the operations that moved services and were not over when the longest time began for which anybody is waited for.
fn recent(environment: &Environment, now: Timestamp) -> impl Iterator<Item = &Operation> {
    let is_recent =
        move |it: &Operation| it.phase.settled_at().is_some_and(|at| now < at.plus_ms(MAX_TIMEOUT_MS));
    let over = environment.operations.iter().map(|operation| &**operation);
    over.filter(move |operation| is_recent(operation) && !operation.plan.moves_nothing())
}

/// When an operation that is over is one for nobody any more.
struct Ends {
    /// From when on its sides are not kept.
    sides: Timestamp,
    /// From when on nobody knows of it.
    known: Timestamp,
}

impl Ends {
    fn of(world: &World, environment: &Environment, observed: &Observed, operation: &Operation) -> Self {
        let at = operation.phase.settled_at().unwrap_or(Timestamp(u64::MAX));
        if observed.behind.contains(&operation.id) {
            return Self { sides: at, known: at };
        }
        let arms = operation.plan.moves().flat_map(|part| part.from_arm().into_iter().chain(part.to_arm()));
        let sides = at.plus_ms(arms.map(|arm| drain_ms(world, environment, &arm)).max().unwrap_or_default());
        Self { sides, known: sides.max(at.plus_ms(REMEMBERED_MS)) }
    }
}

/// Tells whether sides of an operation that is over are kept for requests that may be left.
#[must_use]
pub fn keeps_sides(look: Look<'_>) -> bool {
    all_ends(look).any(|ends| look.now < ends.sides)
}

fn all_ends(look: Look<'_>) -> impl Iterator<Item = Ends> {
    let Look { world, environment, observed, now, .. } = look;
    recent(environment, now).map(move |it| Ends::of(world, environment, observed, it))
}

/// When the next operation that is over is one for nobody any more, whatever is under way; `None` when each is.
#[must_use]
pub fn next_end(look: Look<'_>) -> Option<Timestamp> {
    let now = look.now;
    all_ends(look).flat_map(|ends| [ends.sides, ends.known]).filter(|&at| at > now).min()
}

impl Switch {
    /// Returns how requests see an operation that moves services.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        let all = steps_before(operation, operation.plan.waves.len());
        // Taking it back is the step after all others, however many of them were taken.
        let (taken, over) = match operation.phase {
            Phase::Preparing { wave, .. } => (steps_before(operation, wave), false),
            Phase::Shifted { wave, step, .. } => (steps_before(operation, wave) + step + 1, false),
            Phase::Reverting { .. } => (all + 1, false),
            Phase::Done { .. } => (all, true),
            Phase::Reverted { .. } => (all + 1, true),
        };
        Self { operation: operation.id.0, taken: u32::try_from(taken).unwrap_or(u32::MAX), over }
    }
}

fn steps_before(operation: &Operation, wave: usize) -> usize {
    (0..wave).map(|wave| operation.plan.steps_of(wave).len()).sum()
}

impl Passage {
    /// Returns what an operation does to the services that gateways ask, with the arms of both sides. A move in which the old version has to end
    /// first has no two sides, and neither has one that takes a service away.
    pub fn all(operation: &Operation) -> impl Iterator<Item = (Self, Option<Arm>, Arm)> {
        let waves = operation.plan.waves.iter().enumerate();
        let moves = waves.flat_map(|(wave, moves)| moves.iter().map(move |part| (wave, part)));
        let sided = moves.filter(|(_, part)| part.kind.is_web() && !part.gives_way());
        sided.filter_map(move |(wave, part)| {
            let (from, to) = (part.from_arm(), part.to_arm()?);
            let weights = weights(operation, wave);
            let passage = Self {
                operation: operation.id.0,
                from: from.as_ref().map(Side::of),
                to: Side::of(&to),
                weights,
            };
            Some((passage, from, to))
        })
    }

    /// Returns the share of what it leads to after some steps.
    fn weight_after(&self, steps: u32) -> u32 {
        let Some(last) = (steps as usize).min(self.weights.len()).checked_sub(1) else { return 0 };
        self.weights[last]
    }

    /// Tells whether some are on one side and some on the other after some steps.
    fn is_shared_after(&self, steps: u32) -> bool {
        (1..FULL_WEIGHT).contains(&self.weight_after(steps))
    }

    fn steps(&self) -> u32 {
        u32::try_from(self.weights.len()).unwrap_or(u32::MAX)
    }

    /// Tells whether a side is what it leads to; `None` where it is neither side.
    fn leads_to(&self, side: &Side) -> Option<bool> {
        let is_new = self.to == *side;
        (is_new || self.from.as_ref() == Some(side)).then_some(is_new)
    }

    /// Returns how who is on one side sees the switch, by the first of some numbers of steps after which anybody is on that side.
    fn seen_on(&self, is_new: bool, mut steps: impl Iterator<Item = u32>) -> Option<Seen> {
        let anybody = |&steps: &u32| match self.weight_after(steps) {
            weight if is_new => weight > 0,
            weight => weight < FULL_WEIGHT,
        };
        let steps = steps.find(anybody)?;
        // Where all are on one side the steps say it, and what is shared then is of another wave: its side is not known from here.
        let side = self.is_shared_after(steps).then_some(is_new);
        Some(Seen { operation: self.operation, steps, side })
    }

    /// Tells whether an admission is for what it leads to.
    fn takes(&self, admission: &Admission, switch: Switch, key: &[u8]) -> bool {
        let (steps, side) = admission.seen(switch);
        match self.weight_after(steps) {
            0 => false,
            FULL_WEIGHT => true,
            weight => side.unwrap_or_else(|| slot(&salt(self.operation), key) < weight),
        }
    }
}

/// The shares of what a wave of an operation leads to, after each step of the operation, and after taking it back.
fn weights(operation: &Operation, of: usize) -> Vec<u32> {
    let share = |wave: usize, weight| match wave.cmp(&of) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => weight,
        std::cmp::Ordering::Greater => FULL_WEIGHT,
    };
    let waves = 0..operation.plan.waves.len();
    let mut weights: Vec<_> = waves
        .flat_map(|wave| operation.plan.steps_of(wave).into_iter().map(move |step| share(wave, step.weight)))
        .collect();
    weights.push(0);
    weights
}

/// What is mixed into the keys of clients in an operation: each rollout begins with other clients, and all its services with the same ones.
#[must_use]
pub fn salt(operation: u64) -> String {
    format!("operation {operation}")
}

/// The signs of the sides. Letters: what else may stand in `baggage` some library writes in another way than it reads it.
const NEW: char = 'n';
const OLD: char = 'o';

/// What a request was admitted under: how far switches had come. As text `47`, or `47.44_3.46_1n`: 44 had taken three steps, 46 one, of which the request is on
/// the new side; every other one up to 47 was over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    newest: u64,
    seen: Vec<Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    operation: u64,
    steps: u32,
    /// Whether the request is on the new side, where that is known and not drawn by its key.
    side: Option<bool>,
}

impl Admission {
    /// Tells whether a byte may stand in the text of one.
    #[must_use]
    pub fn has(byte: u8) -> bool {
        byte.is_ascii_digit() || [b'.', b'_', NEW as u8, OLD as u8].contains(&byte)
    }

    /// Returns what a request is admitted under that comes in now; `None` where more is under way than can be told.
    #[must_use]
    pub fn now(switches: &Switches) -> Option<Self> {
        let going = switches.known.iter().filter(|switch| !switch.over);
        let seen: Vec<_> =
            going.map(|it| Seen { operation: it.operation, steps: it.taken, side: None }).collect();
        (seen.len() <= MAX_SWITCHES).then_some(Self { newest: switches.newest, seen })
    }

    /// Returns how many steps of a switch it has seen, and on which side of it the request is.
    fn seen(&self, switch: Switch) -> (u32, Option<bool>) {
        match self.seen.iter().find(|seen| seen.operation == switch.operation) {
            Some(seen) => (seen.steps, seen.side),
            // It had not begun, or it was over, which nobody says of it before all gateways have taken its last step.
            None if self.newest < switch.operation => (0, None),
            None => (switch.taken, None),
        }
    }

    /// Returns what the calls of an instance belong to that says nothing of them, as far as its version tells: on which side of the last
    /// switch of its service it is. `None` where its service was not switched.
    #[must_use]
    pub fn of_caller(switches: &Switches, routes: &ServiceRoutes, caller: &Arm) -> Option<Self> {
        let mut now = Self::now(switches)?;
        let side = Side::of(caller);
        let sides = || {
            routes
                .passages
                .iter()
                .rev()
                .filter_map(|it| Some((it, it.leads_to(&side)?, switches.of(it.operation)?)))
        };
        let so_far = |(passage, is_new, switch): (&Passage, bool, Switch)| {
            passage.seen_on(is_new, (0..=switch.taken).rev())
        };
        // Whoever let the request in was ahead of this table: every gateway knows of a step before anyone takes it, and not all take it at once.
        let ahead = |(passage, is_new, switch): (&Passage, bool, Switch)| {
            passage.seen_on(is_new, switch.taken + 1..=passage.steps())
        };
        let seen = sides().find_map(so_far).or_else(|| sides().find_map(ahead))?;
        now.seen.retain(|it| it.operation != seen.operation);
        now.seen.push(seen);
        (now.seen.len() <= MAX_SWITCHES).then_some(now)
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.newest)?;
        for Seen { operation, steps, side } in &self.seen {
            write!(f, ".{operation}_{steps}")?;
            side.map_or(Ok(()), |is_new| write!(f, "{}", if is_new { NEW } else { OLD }))?;
        }
        Ok(())
    }
}

/// Why a text is no admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected the newest switch, and those under way with their steps, such as `47.44_3`")]
pub struct AdmissionError;

impl FromStr for Admission {
    type Err = AdmissionError;

    fn from_str(text: &str) -> Result<Self, AdmissionError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(AdmissionError);
        }
        let mut parts = text.split('.');
        let newest = parts.next().and_then(number).ok_or(AdmissionError)?;
        let seen = parts.map(read_seen).collect::<Option<Vec<_>>>().ok_or(AdmissionError)?;
        if seen.len() > MAX_SWITCHES {
            return Err(AdmissionError);
        }
        Ok(Self { newest, seen })
    }
}

fn read_seen(part: &str) -> Option<Seen> {
    let (operation, rest) = part.split_once('_')?;
    let signed = |sign, is_new| rest.strip_suffix(sign).map(|steps| (steps, Some(is_new)));
    let (steps, side) = signed(NEW, true).or_else(|| signed(OLD, false)).unwrap_or((rest, None));
    Some(Seen { operation: number(operation)?, steps: u32::try_from(number(steps)?).ok()?, side })
}

/// Reads digits alone: `parse` takes a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What a service's table says of a request that was admitted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belongs<'a> {
    /// It belongs to this split.
    To {
        /// The split.
        split: &'a Split,
        /// Whether it says something about the shares of now.
        is_drawn: bool,
    },
    /// What it belongs to has left the table.
    Gone(&'a Side),
    /// No switch that it could be before or within has moved the service, or the service was not there: it gets what all get now.
    Here,
}

impl ServiceRoutes {
    /// Finds what a request belongs to by its admission and its client's key: of the switches of the service, the newest one of which it is on the new side.
    #[must_use]
    pub fn belonging(&self, switches: &Switches, admission: &Admission, key: &[u8]) -> Belongs<'_> {
        let mut side = None;
        let mut is_drawn = true;
        for passage in self.passages.iter().rev() {
            let Some(switch) = switches.of(passage.operation) else { continue };
            let (steps, _) = admission.seen(switch);
            is_drawn &= passage.weight_after(steps) == passage.weight_after(switch.taken);
            if passage.takes(admission, switch, key) {
                side = Some(&passage.to);
                break;
            }
            side = passage.from.as_ref();
        }
        let Some(side) = side else { return Belongs::Here };
        match self.splits.iter().find(|split| side.is(split)) {
            Some(split) => Belongs::To { split, is_drawn },
            None => Belongs::Gone(side),
        }
    }
}

#[cfg(test)]
mod tests;
