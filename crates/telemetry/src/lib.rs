//! What of ours goes to collectors of telemetry: spans, metrics and logs by OTLP over HTTP, and logs to Loki; and how a Prometheus is asked
//! for what it collected.
//!
//! What is sent is made without a socket: [`otlp`] and [`loki`] make bytes of data. [`Collector`] brings one batch and says what became
//! of it. Who sends, when, and what is tried again is decided above.

mod collector;
mod families;
mod logs;
pub mod loki;
mod named;
pub mod otlp;
mod prometheus;
mod push;
mod refusal;
mod settings;

pub use collector::Collector;
pub use families::{Families, Family, Kind, ParseError, Sample};
pub use logs::{Line, LogCollector, Outcome, first_batch};
pub use prometheus::{AskError, Curve, MAX_POINTS, Prometheus, Range};
pub use push::MetricsPush;
pub use refusal::SendError;
pub use settings::{SettingsError, SettingsErrors, Signal, Variables};
