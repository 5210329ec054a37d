//! Requests made by rule: each piece of a good one is replaced by what programs read in different ways.

mod framing;
mod head;
mod manners;

use crate::case::Case;

/// A line that every good request has.
pub(crate) const HOST: &str = "host: shop.test\r\n";
/// What must never be a request where it is sent as the body of another.
const INNER: &str = "GET /smuggled HTTP/1.1\r\nhost: shop.test\r\n\r\n";

/// Returns all of them.
pub(crate) fn all() -> Vec<Case> {
    [head::all(), framing::all(), manners::all()].concat()
}

/// A request of a method with these lines, each with its end, and a body.
fn request(method: &str, lines: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let start = format!("{method} /case HTTP/1.1\r\n{HOST}");
    [start.as_bytes(), lines.as_ref(), b"\r\n", body.as_ref()].concat()
}
