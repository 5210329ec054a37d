//! Which addresses are those of this machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock;

/// How long an answer of the system is good for.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Answers that are remembered: more than there are hosts.
const REMEMBERED: usize = 4_096;
/// A port that is named and never asked: nothing is sent.
const ANY_PORT: u16 = 9;

/// Answers of the system, by the address.
type Known = BTreeMap<IpAddr, (bool, Instant)>;

/// Tells whether an address is one of this machine, and of the network that this process is in: then its loopback is ours.
pub(crate) fn is_local(address: IpAddr) -> bool {
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    ask(&mut lock(&KNOWN), address, Instant::now(), || own_address_towards(address))
}

/// Asks at most every few seconds. Where the system gives no answer, for want of files for example, the last one holds.
fn ask(
    known: &mut Known,
    address: IpAddr,
    now: Instant,
    own: impl FnOnce() -> io::Result<Option<IpAddr>>,
) -> bool {
    let last = known.get(&address).copied();
    if let Some((is_local, _)) = last.filter(|(_, since)| now.duration_since(*since) < GOOD_FOR) {
        return is_local;
    }
    let is_local = match own() {
        Ok(own) => own == Some(address),
        Err(error) => {
            tracing::warn!(%address, %error, "the system does not say whether this is an address of this machine");
            last.is_some_and(|(is_local, _)| is_local)
        }
    };
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(address, (is_local, now));
    is_local
}

/// Returns the address from which the system would ask another one, `None` where there is no way to it. It asks itself from that very address
/// and others from another one. Whether one can bind to it says less: systems may let a process bind to what they have not.
fn own_address_towards(address: IpAddr) -> io::Result<Option<IpAddr>> {
    let any: IpAddr = match address {
        // All of these are of this machine, and it asks each from the first of them.
        it if it.is_loopback() => return Ok(Some(address)),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind((any, 0)) {
        // A machine without version 6 has no such address.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
        bound => bound?,
    };
    match socket.connect(SocketAddr::new(address, ANY_PORT)) {
        Ok(()) => socket.local_addr().map(|own| Some(own.ip())),
        Err(error) if is_no_way(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_no_way(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NetworkUnreachable | Kind::HostUnreachable | Kind::AddrNotAvailable | Kind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_this_machine_are_and_others_are_not() {
        for own in ["127.0.0.1", "127.1.2.3"] {
            assert!(is_local(ip(own)), "{own}");
        }
        for other in ["192.0.2.1", "8.8.8.8", "2001:db8::1"] {
            assert!(!is_local(ip(other)), "{other}");
        }
    }

    #[test]
    fn what_can_be_bound_to_and_is_no_address_of_ours_is_not_local() {
        // As with `ip_nonlocal_bind`: the system asks it from another address, whatever may be bound to.
        let (mut known, now) = (Known::new(), Instant::now());
        assert!(!ask(&mut known, ip("10.0.0.9"), now, || Ok(Some(ip("10.0.0.5")))));
        assert!(ask(&mut known, ip("10.0.0.5"), now, || Ok(Some(ip("10.0.0.5")))));
    }

    #[test]
    fn where_there_is_no_answer_the_last_one_holds() {
        let (mut known, begun) = (Known::new(), Instant::now());
        let mut ask = |after: u64, own: io::Result<Option<IpAddr>>| {
            ask(&mut known, ip("10.0.0.5"), begun + Duration::from_secs(after), || own)
        };
        let no_files = || Err(io::Error::from_raw_os_error(24));
        assert!(!ask(0, no_files()));
        assert!(ask(10, Ok(Some(ip("10.0.0.5")))));
        assert!(ask(20, no_files()) && ask(30, no_files()));
        assert!(ask(31, Ok(None)), "it is asked every few seconds");
        assert!(!ask(40, Ok(None)));
    }
}
