//! The judge: whether a new version is worse than the old one that serves beside it.
//!
//! Pure and on its own: counters go in, a verdict comes out as data, and words are made of it at the end. Every verdict is
//! valid however often one looks, because evidence is an e-process: under "the new version is not worse" it exceeds
//! 1/alpha at any time with a probability of at most alpha. `docs/design/judge.md` has the mathematics and the sources.

pub mod backlog;
pub mod counts;
pub mod decide;
pub mod evidence;
pub mod forecast;
mod latency;
mod likelihood;
mod missing;
pub mod obstacle;
pub mod quantity;
pub mod replay;
pub mod rules;
mod sentence;
pub mod status;
mod tally;
mod trouble;
mod upper;
pub mod verdict;

pub use backlog::{Backlog, Trend};
pub use counts::{Answers, Counts, Interval, Pair, Reading, RouteClass, Split};
pub use decide::{Bake, Health, Look, decide, missed};
pub use evidence::Evidence;
pub use forecast::{Forecast, Traffic, forecast, usual_regressions};
pub use latency::latency_bounds;
pub use obstacle::{Obstacle, ObstacleError};
pub use quantity::{Share, Times, Weight};
pub use rules::{Plan, Rules, RulesError};
pub use sentence::{Names, Unit, duration};
pub use status::StatusClass;
pub use verdict::{
    Beside, Fault, Judgement, Measure, Missed, Missing, Note, Proof, Scope, Seen, Verdict, Waiting,
};
