//! Watching and telling: which faults there are, who is told, when, and which change came before.
//!
//! Pure: what is seen goes in as numbers and names, with the time as an argument; state and notices come out as data.

pub mod alert;
pub mod calls;
pub mod cause;
pub mod delivery;
pub mod group;
pub mod history;
pub mod mute;
pub mod notice;
pub mod outbox;
pub mod reading;
pub mod rule;
pub mod seen;
pub mod series;
pub mod silence;
pub mod state;
pub mod subject;
pub mod target;
#[cfg(test)]
mod testing;
pub mod watch;
mod words;

pub use alert::{Alert, Stage, Turn};
pub use calls::Calls;
pub use cause::{Change, ChangeKind, Fault, Nearness, Ranked, rank};
pub use delivery::{Delivery, Figure, figures};
pub use group::{Group, Groups, Pacing};
pub use history::History;
pub use notice::{MAX_ALERTS, Notice, NoticeAlert, NoticeChange, NoticeKind, Severity};
pub use outbox::{Answer, Due, GivenUp, Outbox};
pub use reading::{Finding, Known, Reading, Value};
pub use rule::{Condition, Family, NoData, Rule, RuleError, built_in, with_built_in};
pub use seen::Observation;
pub use series::Tally;
pub use silence::{Silence, SilenceError};
pub use state::{State, StateError};
pub use subject::Subject;
pub use target::{Reader, Takes, Target};
pub use watch::{Config, Looked, Watch};
