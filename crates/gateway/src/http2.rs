//! HTTP/2: connections of clients, and connections to instances that many requests share.

pub(crate) mod client;
pub(crate) mod instance;
mod lent;
mod room;
mod send;
pub(crate) mod server;
pub(crate) mod tunnel;

/// What an HTTP/2 connection begins with where it was known before that it would be one.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams that one connection carries at once, as most servers allow.
const MAX_STREAMS: u32 = 100;
/// What may be on its way in one stream before somebody takes it.
const STREAM_WINDOW: u32 = 64 * 1_024;
/// All streams together: none waits because another one's receiver is slow.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// What may wait to be sent in one stream.
const SEND_BUFFER: usize = 64 * 1_024;
