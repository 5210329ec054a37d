//! Notices brought to endpoints on loopback that refuse what the real ones refuse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod alertmanager;
mod chats;
mod fake;
mod hostile;
mod letters;
mod mail;
mod notices;
mod properties;
mod sink;
mod strict;
mod tls;
