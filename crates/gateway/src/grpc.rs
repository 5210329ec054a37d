//! What gRPC says above HTTP/2: statuses, deadlines, and who is answered in its own words.
//!
//! How statuses and HTTP belong together is said by `google/rpc/code.proto`; which of them are failures of a server, by the
//! semantic conventions of OpenTelemetry for RPC: those whose HTTP status there is 500 or more.

use std::time::Duration;

/// The kind of body of a call, up to `+proto` or the like.
const CONTENT_TYPE: &[u8] = b"application/grpc";
/// Longest number in a `grpc-timeout`.
const MAX_DIGITS: usize = 8;

/// A status of gRPC; what is no number up to 16 is `UNKNOWN`, as clients take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrpcStatus(u8);

impl GrpcStatus {
    pub(crate) const UNKNOWN: Self = Self(2);
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(crate) const PERMISSION_DENIED: Self = Self(7);
    pub(crate) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
    pub(crate) const INTERNAL: Self = Self(13);
    pub(crate) const UNAVAILABLE: Self = Self(14);
    /// How many there are.
    pub(crate) const COUNT: usize = 17;

    /// Reads the value of a `grpc-status`.
    pub(crate) fn read(value: &[u8]) -> Self {
        let is_plain = !matches!(value, [b'0' | b'+', _, ..]);
        let number = std::str::from_utf8(value).ok().filter(|_| is_plain).and_then(|text| text.parse().ok());
        number.filter(|&code| usize::from(code) < Self::COUNT).map_or(Self::UNKNOWN, Self)
    }

    pub(crate) const fn code(self) -> u8 {
        self.0
    }

    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self.0 {
            0 => "OK",
            1 => "CANCELLED",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            _ => "UNKNOWN",
        }
    }

    /// Returns the HTTP status that `google.rpc.Code` gives it.
    pub(crate) const fn as_http(self) -> u16 {
        match self.0 {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        }
    }

    /// Returns what a client of gRPC is told for an HTTP status of the gateway.
    pub(crate) const fn of_http(status: u16) -> Self {
        match status {
            400 => Self::INTERNAL,
            403 => Self::PERMISSION_DENIED,
            404 | 501 => Self::UNIMPLEMENTED,
            413 | 429 | 431 => Self::RESOURCE_EXHAUSTED,
            408 | 502 | 503 => Self::UNAVAILABLE,
            504 => Self::DEADLINE_EXCEEDED,
            _ => Self::UNKNOWN,
        }
    }
}

/// Tells whether a `content-type` is that of a call.
pub(crate) fn is_call(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(CONTENT_TYPE.len()) else { return false };
    kind.eq_ignore_ascii_case(CONTENT_TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Reads a `grpc-timeout`: at most 8 digits and a unit.
pub(crate) fn read_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let is_number = (1..=MAX_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Writes a `grpc-timeout` that is no longer than `left`, in the finest unit that fits.
pub(crate) fn write_timeout(left: Duration) -> String {
    let (second, minute, hour) = (1_000_000_000, 60_000_000_000, 3_600_000_000_000);
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (second, 'S'), (minute, 'M'), (hour, 'H')];
    let number = |nanos: u128| left.as_nanos() / nanos;
    let fits = units.iter().find(|(nanos, _)| number(*nanos) < 10_u128.pow(MAX_DIGITS as u32));
    fits.map_or_else(|| "99999999H".to_owned(), |(nanos, unit)| format!("{}{unit}", number(*nanos)))
}

/// Writes a `grpc-message`, percent-encoded.
pub(crate) fn message(text: &str) -> String {
    let mut message = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(char::from(byte)),
            _ => message.push_str(&format!("%{byte:02X}")),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_counts_as_a_failure_of_a_server_is_what_opentelemetry_says() {
        let failures: Vec<u8> = (0..17).filter(|&code| GrpcStatus(code).as_http() >= 500).collect();
        // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
        assert_eq!(failures, [2, 4, 12, 13, 14, 15]);
        assert_eq!(GrpcStatus::read(b"14"), GrpcStatus::UNAVAILABLE);
        for odd in ["17", "-1", "", "x", "999", "+0", "00", "013"] {
            assert_eq!(GrpcStatus::read(odd.as_bytes()), GrpcStatus::UNKNOWN, "{odd}");
        }
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for call in
            ["application/grpc", "Application/GRPC+proto", "application/grpc;x=y", "application/grpc+json"]
        {
            assert!(is_call(call.as_bytes()), "{call}");
        }
        for other in ["application/grpc-web", "application/grpcx", "application/json", ""] {
            assert!(!is_call(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_message_has_only_what_may_stand_in_a_field() {
        assert_eq!(message("no `x`: 100% ü\n"), "no `x`: 100%25 %C3%BC%0A");
    }

    proptest! {
        #[test]
        fn a_timeout_that_is_written_is_never_longer(nanos in any::<u64>()) {
            let left = Duration::from_nanos(nanos);
            let text = write_timeout(left);
            let read = read_timeout(text.as_bytes()).unwrap();
            prop_assert!(text.len() <= MAX_DIGITS + 1 && read <= left);
            prop_assert!(left - read <= left / 99_999, "{} {:?}", text, left);
        }
    }

    #[test]
    fn what_is_no_timeout_is_passed_over() {
        for none in ["", "m", "123456789m", "1x", "-1S", "1 S", "+1S"] {
            assert_eq!(read_timeout(none.as_bytes()), None, "{none}");
        }
        assert_eq!(read_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
    }
}
