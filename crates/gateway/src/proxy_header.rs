//! The header by which a proxy says for whom it opened a connection: the PROXY protocol, versions 1 and 2, as HAProxy wrote it down.
//!
//! It is read strictly and bounded, and only from networks that were named. Invariant: not a byte behind the header is taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Longest header of version 1, with the end of its line.
const MAX_LINE: usize = 107;
/// What a header of version 1 begins with.
const LINE_START: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Length of what says how long the rest of a header of version 2 is.
const FIXED: usize = 16;
/// Longest rest of a header of version 2: addresses have 36 bytes, certificates of clients and the like some hundred more.
const MAX_REST: usize = 2_048;
/// The largest header.
const MAX_HEADER: usize = FIXED + MAX_REST;

/// A connection does not begin with a header that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a PROXY header")]
pub(crate) struct NoProxyHeader;

/// For whom a connection was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxied {
    /// For the proxy itself, or it does not know: the addresses of the connection count.
    Itself,
    /// For a client.
    For {
        /// The client.
        client: SocketAddr,
        /// Where it connected to.
        to: SocketAddr,
    },
}

/// Whether a connection must begin with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// It must.
    Required,
    /// It may, and counts for itself when it begins with anything else: it is of this host, and gains nothing by its own address.
    Optional,
}

/// How a connection began.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) proxied: Proxied,
    /// What was taken and is no header.
    pub(crate) early: Vec<u8>,
}

/// Reads the header that a connection begins with; nothing of what follows it is taken.
///
/// # Errors
/// When it does not begin with one and must, or ends before, or begins like one that cannot be read.
pub(crate) async fn take(socket: &mut TcpStream, header: Header) -> Result<Begun, NoProxyHeader> {
    let mut bytes = [0; MAX_HEADER];
    let mut known = 0;
    loop {
        let seen = socket.peek(&mut bytes[known..]).await.map_err(|_| NoProxyHeader)?;
        if seen == 0 {
            return Err(NoProxyHeader);
        }
        let so_far = &bytes[..known + seen];
        if header == Header::Optional && is_something_else(so_far) {
            return Ok(Begun { proxied: Proxied::Itself, early: bytes[..known].to_vec() });
        }
        let parsed = parse(so_far)?;
        let length = parsed.map_or(known + seen, |(length, _)| length);
        // What was looked at is taken, so that looking again waits for more.
        socket.read_exact(&mut bytes[known..length]).await.map_err(|_: io::Error| NoProxyHeader)?;
        known = length;
        if let Some((_, proxied)) = parsed {
            return Ok(Begun { proxied, early: Vec::new() });
        }
    }
}

/// Tells whether what a connection begins with cannot become a header, not even one that cannot be read.
fn is_something_else(bytes: &[u8]) -> bool {
    let begins = |known: &[u8]| bytes.starts_with(known) || known.starts_with(bytes);
    !begins(SIGNATURE) && !begins(LINE_START)
}

/// Reads a header at the beginning of `bytes`, and tells how long it is; `None` while it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(usize, Proxied)>, NoProxyHeader> {
    let begins = |known: &[u8]| bytes.starts_with(known) || known.starts_with(bytes);
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(LINE_START) {
        line(bytes)
    } else {
        Err(NoProxyHeader)
    }
}

fn line(bytes: &[u8]) -> Result<Option<(usize, Proxied)>, NoProxyHeader> {
    let within = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(NoProxyHeader) };
    };
    let text = within[..end].strip_suffix(b"\r").ok_or(NoProxyHeader)?;
    let text = std::str::from_utf8(text).map_err(|_| NoProxyHeader)?;
    let words: Vec<&str> = text.split(' ').collect();
    let proxied = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Proxied::Itself,
        ["PROXY", family @ ("TCP4" | "TCP6"), client, to, client_port, to_port] => {
            let address = |text: &str, port: &str| {
                let ip = if *family == "TCP4" {
                    text.parse::<Ipv4Addr>().map(IpAddr::from)
                } else {
                    text.parse::<Ipv6Addr>().map(IpAddr::from)
                };
                Some(SocketAddr::new(ip.ok()?, port_of(port)?))
            };
            let client = address(client, client_port).ok_or(NoProxyHeader)?;
            Proxied::For { client, to: address(to, to_port).ok_or(NoProxyHeader)? }
        }
        _ => return Err(NoProxyHeader),
    };
    Ok(Some((end + 1, proxied)))
}

/// Reads a port: digits only, none of them in vain.
fn port_of(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

fn binary(bytes: &[u8]) -> Result<Option<(usize, Proxied)>, NoProxyHeader> {
    let Some(&[kind, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if kind >> 4 != 2 || kind & 0xf > 1 || rest > MAX_REST {
        return Err(NoProxyHeader);
    }
    let Some(rest) = bytes.get(FIXED..FIXED + rest) else { return Ok(None) };
    let is_for_itself = kind & 0xf == 0;
    let proxied = match family {
        _ if is_for_itself => Proxied::Itself,
        0x11 => addresses(rest, |it: [u8; 4]| Ipv4Addr::from(it).into())?,
        0x21 => addresses(rest, |it: [u8; 16]| Ipv6Addr::from(it).into())?,
        // Unknown, or a socket of Unix: there is a client, but it has no address of ours.
        0x00 | 0x31 => Proxied::Itself,
        _ => return Err(NoProxyHeader),
    };
    Ok(Some((FIXED + rest.len(), proxied)))
}

/// Reads two addresses and two ports.
fn addresses<const N: usize>(
    rest: &[u8],
    address: impl Fn([u8; N]) -> IpAddr,
) -> Result<Proxied, NoProxyHeader> {
    let ip = |at: usize| Some(address(rest.get(at..at + N)?.try_into().ok()?));
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let read = || {
        let client = SocketAddr::new(ip(0)?, port(2 * N)?);
        Some(Proxied::For { client, to: SocketAddr::new(ip(N)?, port(2 * N + 2)?) })
    };
    read().ok_or(NoProxyHeader)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Result<Option<(usize, Proxied)>, NoProxyHeader> {
        parse(text.as_bytes())
    }

    fn written(client: SocketAddr, to: SocketAddr, extra: &[u8]) -> Vec<u8> {
        let (mut rest, family) = match (client.ip(), to.ip()) {
            (IpAddr::V4(client), IpAddr::V4(to)) => ([client.octets(), to.octets()].concat(), 0x11),
            (IpAddr::V6(client), IpAddr::V6(to)) => ([client.octets(), to.octets()].concat(), 0x21),
            _ => unreachable!("both are of one family"),
        };
        rest.extend([client.port().to_be_bytes(), to.port().to_be_bytes()].concat());
        rest.extend(extra);
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x21, family], &length, &rest].concat()
    }

    #[test]
    fn lines_are_read_strictly() {
        let good = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
        let client = "192.0.2.1:56324".parse().unwrap();
        let to = "198.51.100.1:443".parse().unwrap();
        assert_eq!(of(&format!("{good}GET /")), Ok(Some((good.len(), Proxied::For { client, to }))));
        assert!(matches!(of("PROXY TCP6 ::1 2001:db8::1 1 2\r\n"), Ok(Some((_, Proxied::For { .. })))));
        assert_eq!(of("PROXY UNKNOWN\r\n"), Ok(Some((15, Proxied::Itself))));
        assert_eq!(of("PROXY UNKNOWN whatever follows\r\n").unwrap().unwrap().1, Proxied::Itself);
        for bad in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
            "PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 443\r\n",
            "PROXY TCP4 192.0.2.1\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
            "\r\n\r\n\r\n",
        ] {
            assert_eq!(of(bad), Err(NoProxyHeader), "{bad:?}");
        }
        assert_eq!(of(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE))), Err(NoProxyHeader));
    }

    #[test]
    fn odd_binary_headers_are_refused_and_those_without_an_address_of_ours_count_for_the_proxy() {
        let header = |kind: u8, family: u8, rest: &[u8]| {
            let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
            parse(&[&SIGNATURE[..], &[kind, family], &length, rest].concat())
        };
        assert_eq!(header(0x20, 0x00, &[]), Ok(Some((16, Proxied::Itself))));
        assert_eq!(header(0x20, 0x11, &[0; 12]).unwrap().unwrap().1, Proxied::Itself);
        assert_eq!(header(0x21, 0x31, &[0; 216]).unwrap().unwrap().1, Proxied::Itself);
        for (kind, family, length) in
            [(0x11, 0x11, 12), (0x22, 0x11, 12), (0x21, 0x11, 11), (0x21, 0x21, 35), (0x21, 0x12, 12)]
        {
            assert_eq!(
                header(kind, family, &vec![0; length]),
                Err(NoProxyHeader),
                "{kind:x} {family:x} {length}"
            );
        }
        assert_eq!(header(0x21, 0x11, &vec![0; MAX_REST + 1]), Err(NoProxyHeader));
    }

    async fn taken(header: Header, pieces: &[&[u8]]) -> Result<(Begun, Vec<u8>), NoProxyHeader> {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let (begun, ()) = tokio::join!(take(&mut socket, header), send);
        let mut rest = Vec::new();
        let begun = begun?;
        socket.read_to_end(&mut rest).await.unwrap();
        Ok((begun, rest))
    }

    #[tokio::test]
    async fn only_who_is_of_this_host_may_begin_with_something_else_and_nothing_of_that_is_lost() {
        for request in [
            &b"POST / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\r\n\r\nGET /",
            b"\x16\x03\x01",
        ] {
            for cut in 0..request.len() {
                let pieces = [&request[..cut], &request[cut..]];
                let (begun, rest) = taken(Header::Optional, &pieces).await.unwrap();
                assert_eq!(
                    (begun.proxied, [begun.early, rest].concat()),
                    (Proxied::Itself, request.to_vec())
                );
                assert!(taken(Header::Required, &pieces).await.is_err());
            }
        }
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n";
        for header_is in [Header::Optional, Header::Required] {
            let (begun, rest) = taken(header_is, &[&header[..9], &header[9..], b"GET /"]).await.unwrap();
            assert!(matches!(begun.proxied, Proxied::For { .. }) && begun.early.is_empty());
            assert_eq!(rest, b"GET /");
            assert!(
                taken(header_is, &[b"PROXY TCP4 192.0.2.1\r\n"]).await.is_err(),
                "a damaged header is none"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_from_any_piece_on(
            client: ([u8; 4], u16),
            to: ([u8; 4], u16),
            extra in prop::collection::vec(any::<u8>(), 0..64),
            behind in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let (client, to) = (SocketAddr::from(client), SocketAddr::from(to));
            let line = format!("PROXY TCP4 {} {} {} {}\r\n", client.ip(), to.ip(), client.port(), to.port());
            for header in [written(client, to, &extra), line.into_bytes()] {
                for cut in 0..header.len() {
                    prop_assert_eq!(parse(&header[..cut]), Ok(None), "{} of {}", cut, header.len());
                }
                let whole = [&header[..], &behind].concat();
                prop_assert_eq!(parse(&whole), Ok(Some((header.len(), Proxied::For { client, to }))));
            }
        }

        #[test]
        fn nothing_makes_it_panic_or_take_what_was_not_there(bytes in prop::collection::vec(any::<u8>(), 0..256), version in 0..3) {
            let start: &[u8] = match version { 0 => &[], 1 => LINE_START, _ => SIGNATURE };
            let bytes = [start, &bytes].concat();
            if let Ok(Some((length, _))) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
