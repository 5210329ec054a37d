//! The gateway of Lockstep: a proxy for HTTP/1.1, HTTP/2 and gRPC that serves the route table of an environment.
//!
//! It splits the requests of a service over its versions, keeps each client on one of them, balances over instances,
//! and says in every answer which version served it. It decides nothing: tables come from outside, counters and
//! receipts go back. It ends TLS where it is given certificates.
//!
//! Invariant: on the way of a request a worker waits for no other: what they share are atomic numbers. Only closing what was
//! idle too long, once a second, locks the connections that a worker keeps to an instance, and whoever reads what callers asked for
//! locks those counters of one worker after the other.

mod access;
mod admin;
mod admission;
mod affinity;
mod answer;
mod arrival;
mod asking;
mod balance;
mod between;
mod breaker;
mod buffers;
mod by_hand;
mod calling;
mod calls;
mod carried;
pub mod certificate;
mod changes;
pub mod check;
mod chunked;
mod client_identity;
mod compress;
mod config;
mod connection;
#[doc(hidden)]
pub mod cost;
mod counts;
mod deadline;
mod departure;
mod dial;
mod ejection;
mod endpoint;
mod environment;
mod error;
mod exchange;
mod failures;
mod field;
pub mod fields;
pub mod follow;
mod forerun;
mod framing;
#[cfg(test)]
mod fuzz;
mod gateway;
mod glimpse;
mod grpc;
mod grpc_web;
mod handover;
mod head;
mod host;
mod http2;
mod injection;
mod instance;
mod keeping;
mod key;
mod lanes;
mod latency;
mod leaving;
mod limiter;
mod listener;
mod listening;
mod loan;
mod maintenance;
mod metrics;
mod mirror;
mod moment;
mod names;
mod outgoing;
mod outside;
mod owner;
mod peer;
mod percent;
mod policy;
mod priority;
mod problem;
mod proxy_header;
mod proxy_out;
mod random;
pub mod recent;
mod references;
mod relay;
mod repeat;
mod reply;
mod report;
mod request;
mod request_id;
mod request_view;
mod room;
mod seat;
mod served;
pub mod spans;
pub mod standalone;
mod stream;
mod synthetic;
mod table;
mod takeover;
mod tcp;
mod tls;
mod trace;
mod tracestate;
pub mod traffic;
mod trial;
mod tunnel;
mod upload;
mod version_rules;
mod visit;
mod waits;
mod way;
mod wire;
mod worker;
mod zone;

pub use access::{AccessFields, AccessLogConfig, AccessLogTarget, UnknownFields};
pub use admin::Admin;
pub use between::KEY_LIFE;
pub use config::{GatewayConfig, Lookups, RECENT, Timeouts};
pub use environment::Applied;
pub use error::{ApplyError, ListenError, StartError};
pub use field::is_own_header;
pub use gateway::Gateway;
pub use host::this_host;
pub use listening::Clients;
pub use takeover::TakeoverError;
pub use visit::VisitKey;
pub use way::explain;
