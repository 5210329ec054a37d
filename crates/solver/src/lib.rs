//! What must move so that a fleet gets where it is wanted, exactly; why it cannot, minimally; and in which order.
//!
//! Services and versions are numbers here: a service is its place in [`Problem::services`], a version its place among the versions of its
//! service, the oldest first. What they mean, and every word that a person reads, belongs to the callers.
//!
//! - [`solve`]: the cheapest [`Target`] that keeps every [`Rule`], as weighted MaxSAT.
//! - [`core()`]: when there is none, causes that contradict each other, none of which can be left out.
//! - [`order()`]: the target in [`Step`]s that keep every need between them.
//! - [`check()`]: looks at every state of finished steps; it is written apart from all the others, and shares nothing with them.

mod check;
mod core;
mod encoding;
mod maxsat;
mod order;
mod problem;
mod solve;
mod totalizer;

pub use check::{Fault, check};
pub use core::{Core, core};
pub use order::{Arc, Order, Side, Step, components, order};
pub use problem::{Bar, Burden, Cause, Need, Preference, Problem, Rule, Service, Target, Versions};
pub use solve::{Solution, Solved, solve};
