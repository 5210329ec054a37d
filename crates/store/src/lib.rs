//! What Lockstep keeps: the [`journal`] of everything that was decided.
//!
//! It knows nothing of what is stored: an event is a line of JSON. Everything blocks; callers put it on a thread of
//! their own.

pub mod journal;

pub use journal::{AppendError, Journal, JournalError, JournalReader, NewRecord, Record};
