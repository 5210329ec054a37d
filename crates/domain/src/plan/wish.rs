//! Wishes: what somebody wants of an environment and what they know of others, and what becomes of that.

use crate::baseline::OperationId;
use crate::event::Event;
use crate::intent::{Intent, Strategy};
use crate::operation::Plan;

/// What becomes of operations that are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    /// They refuse the wish.
    Refuses,
    /// They are taken back in the same record.
    IsTakenBack,
}

/// What somebody wants of an environment, and what they know of others.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// What is wanted.
    pub intent: &'a Intent,
    /// How, where they say so.
    pub strategy: Option<&'a Strategy>,
    /// The baseline that was looked at.
    pub expect: Option<u64>,
    /// The operation that an undo names.
    pub operation: Option<OperationId>,
    /// What becomes of what is in the way.
    pub in_the_way: InTheWay,
}

impl<'a> Wish<'a> {
    /// Makes a wish of somebody who knows nothing of others.
    #[must_use]
    pub const fn of(intent: &'a Intent, strategy: Option<&'a Strategy>) -> Self {
        Self { intent, strategy, expect: None, operation: None, in_the_way: InTheWay::Refuses }
    }
}

/// What a wish means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// An operation begins.
    Begins {
        /// The events that end what is in the way; they come first.
        ended: Vec<Event>,
        /// The plan on the world after them.
        plan: Box<Plan>,
    },
    /// Operations under way are taken back, and nothing else is to be done. Those that are being taken back already are among them.
    TakesBack(Vec<OperationId>),
    /// An operation under way does it already.
    GoesThere(OperationId),
}
