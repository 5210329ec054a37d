//! What Lockstep keeps: the [`journal`] of everything that was decided and the [`blobs`] that it names; and a [`backup`] of
//! both.
//!
//! It knows nothing of what is stored: an event is a line of JSON, a blob is bytes. Everything blocks; callers put it
//! on a thread of their own.

pub mod backup;
pub mod blobs;
pub mod journal;

pub use blobs::{BlobError, Blobs};
pub use journal::{AppendError, Journal, JournalError, JournalReader, NewRecord, Record};
