//! What a worker says of its work: which of its series mean what, what was read of them, and what follows for a version.
//!
//! A worker has no requests that a gateway could count. So it is judged by counters of its own, and by the depth of the queue that
//! it works on. Invariant: what cannot be read, or cannot be true, is never evidence for or against a version.

pub mod base;
pub mod exposition;
pub mod signs;
pub mod told;
pub mod trial;

pub use base::WorkBase;
pub use signs::{Metrics, MetricsPlace, Queue, Series, SeriesError, WorkSigns};
pub use told::{Slice, Told};
pub use trial::WorkTrial;
