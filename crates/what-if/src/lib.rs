//! A fleet in a file, and a wish: what would have to move, in which steps and why; or why it cannot be.
//!
//! [`Fleet`] is the form of the file, which is fixed, and [`Answer`] that of what is said. [`answer`] turns one into the other; the exact
//! part is that of `lockstep-solver`, and all words are from here.

mod answer;
mod because;
mod derivation;
mod fleet;
mod names;
mod question;
mod words;

pub use answer::{
    Alternative, Answer, Contradiction, Move, OrderReason, Possible, Remedy, STEPS, Unanswered, Why, answer,
};
pub use fleet::{Feature, Fleet, FleetService, Interval, Wish};
pub use names::Mistake;
pub use question::{ABSENT, Lift, Named, Origin, Question, only};
