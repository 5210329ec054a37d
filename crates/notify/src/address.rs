//! Which addresses of the network no target leads to. Pure.
//!
//! Whoever may set a target can make the server ask an address. Most private ones are wanted: an Alertmanager, a mail server, a
//! relay of chats stand there. What is refused answers with what must not be had (metadata of a cloud with its keys), or is no
//! address of one machine. This machine is asked only where that is what is written: a name that resolves to it is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services of clouds that are not link-local: Alibaba, Oracle (before), Azure's wire server.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// Those of Amazon and Google by IPv6.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Tells whether a host is this machine by what is written.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Says why an address is not asked; nothing where it is.
pub(crate) fn refusal(ip: IpAddr, is_loopback_written: bool) -> Option<&'static str> {
    let ip = inner(ip);
    match ip {
        _ if ip.is_loopback() && is_loopback_written => None,
        _ if ip.is_loopback() => Some("is this machine, under another name"),
        _ if ip.is_unspecified() => Some("is no address"),
        _ if ip.is_multicast() => Some("is an address of many machines"),
        IpAddr::V4(ip) => refusal_v4(ip),
        IpAddr::V6(ip) => refusal_v6(ip),
    }
}

fn refusal_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip {
        _ if ip.is_link_local() => Some("is link-local, where clouds have their metadata"),
        _ if METADATA_V4.contains(&ip) => Some("is the metadata service of a cloud"),
        _ if ip.is_broadcast() || ip.octets()[0] == 0 || ip.octets()[0] >= 240 => {
            Some("is no address of one machine")
        }
        _ => None,
    }
}

fn refusal_v6(ip: Ipv6Addr) -> Option<&'static str> {
    match ip {
        _ if ip.is_unicast_link_local() => Some("is link-local, where clouds have their metadata"),
        _ if METADATA_V6.contains(&ip) => Some("is the metadata service of a cloud"),
        _ => None,
    }
}

/// Returns the IPv4 address that an IPv6 address carries: mapped, compatible, NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`).
fn inner(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let parts = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, is_written: bool) -> bool {
        refusal(text.parse().unwrap(), is_written).is_some()
    }

    #[test]
    fn metadata_and_what_is_no_machine_is_refused_in_every_disguise() {
        for bad in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "240.0.0.1",
        ] {
            assert!(refused(bad, false) && refused(bad, true), "{bad}");
        }
    }

    #[test]
    fn this_machine_is_asked_where_it_is_written_and_private_networks_always() {
        for near in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(refused(near, false) && !refused(near, true), "{near}");
        }
        for private in [
            "10.0.0.5",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd12::1",
            "93.184.216.34",
            "2606:2800::1",
        ] {
            assert!(!refused(private, false), "{private}");
        }
        assert!(
            is_loopback("localhost")
                && is_loopback("127.0.0.1")
                && is_loopback("::1")
                && !is_loopback("localhost.evil.test")
        );
    }
}
