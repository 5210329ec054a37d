//! Writing the PROXY header by which an instance is told for whom a connection was opened. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lockstep_domain::approach::ProxyVersion;

/// What a header of version 2 begins with; then its version with the command `PROXY`.
const BEGIN: &[u8; 13] = b"\r\n\r\n\0\r\nQUIT\n\x21";
/// Fields of version 2: the name that the client asked for within TLS, and what is known of its TLS.
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
/// The client came within TLS, and showed a certificate.
const CAME_BY_TLS: u8 = 0x01;
const SHOWED_CERTIFICATE: u8 = 0x02;
/// Longest name that is told.
const MAX_NAME: usize = 253;

/// For whom a connection is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) client: SocketAddr,
    /// Where it connected to.
    pub(crate) to: SocketAddr,
    /// The version of TLS that it speaks with the gateway, `1.3`.
    pub(crate) tls: Option<&'a str>,
    /// Whether it showed a certificate there, which was verified.
    pub(crate) has_certificate: bool,
    /// The name that it asked for within TLS that is not ended here.
    pub(crate) name: Option<&'a str>,
}

/// Nobody: what the gateway asks for itself.
pub(crate) const NOBODY: Told<'static> = Told {
    client: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    to: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    tls: None,
    has_certificate: false,
    name: None,
};

/// Headers that say so, in both versions.
const FOR_NOBODY: [&[u8]; 2] = [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"];

/// Writes the header.
pub(crate) fn header(version: ProxyVersion, told: &Told<'_>) -> Vec<u8> {
    if told.client.ip().is_unspecified() {
        return FOR_NOBODY[version as usize].to_vec();
    }
    let (client, to) = alike(told.client, told.to);
    match version {
        ProxyVersion::V1 => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", client.ip(), to.ip(), client.port(), to.port())
                .into_bytes()
        }
        ProxyVersion::V2 => binary(client, to, told),
    }
}

/// Both addresses are of one kind in a header.
fn alike(client: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
    let (client, to) = (plain(client), plain(to));
    if client.is_ipv4() == to.is_ipv4() { (client, to) } else { (mapped(client), mapped(to)) }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn binary(client: SocketAddr, to: SocketAddr, told: &Told<'_>) -> Vec<u8> {
    let mut rest = Vec::new();
    for address in [client, to] {
        match address.ip() {
            IpAddr::V4(ip) => rest.extend(ip.octets()),
            IpAddr::V6(ip) => rest.extend(ip.octets()),
        }
    }
    [client, to].iter().for_each(|address| rest.extend(address.port().to_be_bytes()));
    if let Some(name) = told.name.filter(|name| name.len() <= MAX_NAME) {
        put(&mut rest, AUTHORITY, name.as_bytes());
    }
    if let Some(version) = told.tls {
        let flags = CAME_BY_TLS | if told.has_certificate { SHOWED_CERTIFICATE } else { 0 };
        // Zero: what it showed, if anything, was verified.
        let mut ssl = vec![flags, 0, 0, 0, 0];
        put(&mut ssl, SSL_VERSION, format!("TLSv{version}").as_bytes());
        put(&mut rest, SSL, &ssl);
    }
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&BEGIN[..], &[family], &length, &rest].concat()
}

fn put(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    to.push(kind);
    to.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    to.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proxy_header::{Proxied, parse};

    fn told<'a>(client: &str, to: &str) -> Told<'a> {
        let (client, to) = (client.parse().unwrap(), to.parse().unwrap());
        Told { client, to, tls: None, has_certificate: false, name: None }
    }

    #[test]
    fn headers_are_as_the_protocol_has_them() {
        let line = |client, to| String::from_utf8(header(ProxyVersion::V1, &told(client, to))).unwrap();
        assert_eq!(line("192.0.2.7:5555", "192.0.2.1:443"), "PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n");
        assert_eq!(line("[2001:db8::7]:1", "[2001:db8::1]:2"), "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n");
        assert_eq!(line("[::ffff:192.0.2.7]:1", "192.0.2.1:2"), "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n");
        assert_eq!(line("192.0.2.7:1", "[2001:db8::1]:2"), "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n");
        let facts = Told {
            tls: Some("1.3"),
            has_certificate: true,
            name: Some("a.test"),
            ..told("192.0.2.7:1", "192.0.2.1:2")
        };
        let bytes = header(ProxyVersion::V2, &facts);
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x27\xc0\0\x02\x07\xc0\0\x02\x01\0\x01\0\x02\x02\0\x06a.test\x20\0\x0f\x03\0\0\0\0\x21\0\x07TLSv1.3";
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was_meant(
            client in any::<(IpAddr, u16)>(),
            to in any::<(IpAddr, u16)>(),
            second in any::<bool>(),
            tls in any::<bool>(),
            name in prop::option::of("[a-z.]{1,260}"),
        ) {
            let told = Told { client: client.into(), to: to.into(), tls: tls.then_some("1.2"), has_certificate: false, name: name.as_deref() };
            let version = if second { ProxyVersion::V2 } else { ProxyVersion::V1 };
            let bytes = header(version, &told);
            let (length, proxied) = parse(&bytes).unwrap().unwrap();
            prop_assert_eq!(length, bytes.len());
            let (client, to) = alike(told.client, told.to);
            let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
            match proxied {
                Proxied::For { client: read, to: where_to } => {
                    prop_assert_eq!((plain(read), plain(where_to)), (plain(client), plain(to)));
                }
                Proxied::Itself => prop_assert!(told.client.ip().is_unspecified(), "it is for a client"),
            }
        }
    }
}
