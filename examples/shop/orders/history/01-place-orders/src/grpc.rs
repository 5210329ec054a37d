//! What gRPC says above HTTP: a message in a frame, and behind it how the call ended.

use std::io;

use crate::http::{invalid, Message};

pub const OK: u16 = 0;
/// What a call has ended with that does not say it.
const UNKNOWN: u16 = 2;

/// Writes the frame of a message that is not compressed.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// Returns the status of a call, with its message, or with the words why there is none.
pub fn ended(answer: &Message) -> io::Result<(u16, Vec<u8>)> {
    let status = answer.header("grpc-status").and_then(|status| status.parse().ok()).unwrap_or(UNKNOWN);
    if status != OK {
        return Ok((status, answer.header("grpc-message").unwrap_or_default().into()));
    }
    match answer.body.split_first_chunk() {
        Some(([0, a, b, c, d], message)) if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() => {
            Ok((status, message.into()))
        }
        _ => Err(invalid("the answer is not one whole message")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, body: &[u8], trailers: &str) -> io::Result<(u16, Vec<u8>)> {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
        let bytes = [head.as_bytes(), body, b"\r\n0\r\n", trailers.as_bytes(), b"\r\n"].concat();
        ended(&Message::read(&mut &bytes[..]).unwrap().unwrap())
    }

    #[test]
    fn a_call_has_a_message_and_a_status_behind_it() {
        let ended = answer("", &framed(b"\x10\x05"), "grpc-status: 0\r\n").unwrap();
        assert_eq!(ended, (OK, b"\x10\x05".to_vec()));
    }

    #[test]
    fn a_call_that_failed_says_why() {
        let bytes = b"HTTP/1.1 200 OK\r\ngrpc-status: 5\r\ngrpc-message: none\r\nContent-Length: 0\r\n\r\n";
        let message = Message::read(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(ended(&message).unwrap(), (5, b"none".to_vec()));
        assert_eq!(answer("", &framed(b""), "").unwrap().0, UNKNOWN);
    }

    #[test]
    fn half_a_message_is_none() {
        for body in [&b"\0\0\0\0\x02\x10"[..], b"\0\0\0\0", b"\x01\0\0\0\0"] {
            assert!(answer("", body, "grpc-status: 0\r\n").is_err(), "{body:?}");
        }
    }
}
