//! What backends say, made by rule.

mod bodies;
mod heads;

use crate::case::Case;

/// What must reach nobody as an answer.
pub(crate) const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON";

/// Returns all of them.
pub(crate) fn all() -> Vec<Case> {
    [heads::all(), bodies::all()].concat()
}

/// An answer of five bytes with these lines, each with its end.
fn five(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", lines.as_ref(), b"\r\nhello"].concat()
}
