//! A history of figures of services that a page can draw charts from: each 10 seconds for a day, each 5 minutes for a month.
//!
//! [`Store`] owns a folder. The caller gives it a row of values each 10 seconds, reads curves for a range of keys and a width in points,
//! and is told whatever was damaged, cut off or dropped. What a figure means, where it comes from and how counters become rates is left to
//! the caller. There is no clock and no thread in here.
//!
//! Invariant: what is read was appended, to the precision of [`PRECISION`] and [`PEAK_PRECISION`]; a process that is killed at any point loses no row whose
//! append returned.

mod code;
mod column;
mod curve;
mod disk;
mod gather;
mod key;
mod level;
mod log;
mod name;
mod problem;
mod query;
mod rows;
mod segment;
mod shelf;
mod store;

pub use code::{PEAK_PRECISION, PRECISION};
pub use key::{KeyError, MAX_PART_LENGTH, SeriesKey};
pub use problem::{AppendError, OpenError, Problem};
pub use query::{Answer, Extent, MAX_POINTS, MAX_READ, Point, Query};
pub use store::{Appended, Bounds, MAX_SERIES, Store};
