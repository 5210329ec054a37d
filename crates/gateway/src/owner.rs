//! Whose the other end of a connection on this machine is.
//!
//! The system is asked for that one connection (`NETLINK_SOCK_DIAG`), not for a list of all (`/proc/net/tcp`), which costs
//! more the more connections there are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK`, and its protocol for questions about sockets.
const NETLINK: (i32, i32) = (16, 4);
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// Length of a `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of a `struct inet_diag_req_v2`.
const QUESTION: usize = 56;
/// Where `idiag_uid` stands in a `struct inet_diag_msg`, and in the whole answer.
const USER: usize = HEADER + 64;
/// Where `idiag_wqueue` stands: bytes that wait at an end for the other one.
const WAITING: usize = HEADER + 60;
/// Longest answer that is read; what follows the user is of no interest.
const ANSWER: usize = 512;

/// Returns the number of the user whose process is at the other end; `None` when the system does not say: it knows no such
/// question, or the other end has gone.
pub(crate) fn owner_of(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    ask(&question(peer, local)?).ok().flatten()
}

fn ask(question: &[u8]) -> io::Result<Option<u32>> {
    Ok(user_in(&answer_to(question)?))
}

fn answer_to(question: &[u8]) -> io::Result<Vec<u8>> {
    let (family, protocol) = NETLINK;
    let mut socket = Socket::new(Domain::from(family), Type::DGRAM, Some(Protocol::from(protocol)))?;
    // The answer is there when the question was taken.
    socket.set_nonblocking(true)?;
    socket.send(question)?;
    let mut answer = vec![0; ANSWER];
    let length = io::Read::read(&mut socket, &mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Writes the question for the socket whose own end is `peer` and whose other end is `local`; nothing where these are no two ends of one connection.
fn question(peer: SocketAddr, local: SocketAddr) -> Option<Vec<u8>> {
    // A listener for both families sees an address of the older one within one of the newer.
    let (family, ends) = match (peer.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(peer), IpAddr::V4(local)) => (AF_INET, [peer, local].map(wide)),
        (IpAddr::V6(peer), IpAddr::V6(local)) => (AF_INET6, [peer, local].map(|it| it.octets())),
        _ => return None,
    };
    let length = u32::try_from(HEADER + QUESTION).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // A number of the question and a sender, which a socket for one question needs not.
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    // Every state of the connection.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(peer.port().to_be_bytes());
    bytes.extend(local.port().to_be_bytes());
    ends.iter().for_each(|address| bytes.extend(address));
    // Any interface, and no cookie.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    Some(bytes)
}

/// Writes an address of four bytes into the place of one of sixteen.
fn wide(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address.octets());
    bytes
}

/// Returns how many bytes that were sent at an end of ours the other end has not said to have, its end among them; `None` when the system does not say.
pub(crate) fn unacknowledged(ours: SocketAddr, peer: SocketAddr) -> Option<u32> {
    number_in(&answer_to(&question(ours, peer)?).ok()?, WAITING)
}

/// Reads the user out of an answer.
fn user_in(answer: &[u8]) -> Option<u32> {
    number_in(answer, USER)
}

/// Reads a number out of an answer; another kind of message is an error of the system.
fn number_in(answer: &[u8], place: usize) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let number = u32::from_ne_bytes(answer.get(place..place + 4)?.try_into().ok()?);
    (kind == BY_FAMILY).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_other_end_of_a_connection_of_ours_is_ours() {
        let us = rustix::process::getuid().as_raw();
        for place in ["127.64.0.77:0", "[::1]:0"] {
            let listener = TcpListener::bind(place).unwrap();
            let local = listener.local_addr().unwrap();
            let client = TcpStream::connect(local).unwrap();
            let (_served, peer) = listener.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(owner_of(peer, local), Some(us), "{place}");
            let nobody = SocketAddr::new(peer.ip(), 1);
            assert_eq!(owner_of(nobody, local), None, "there is no such connection");
        }
    }

    #[test]
    fn a_client_of_the_older_family_is_known_to_a_listener_for_both() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (served, peer) = listener.accept().unwrap();
        assert!(peer.is_ipv6(), "{peer}");
        let us = rustix::process::getuid().as_raw();
        assert_eq!(owner_of(peer, served.local_addr().unwrap()), Some(us));
    }

    #[test]
    fn what_the_other_end_has_not_taken_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut served, peer) = listener.accept().unwrap();
        let ours = served.local_addr().unwrap();
        assert_eq!(unacknowledged(ours, peer), Some(0));
        served.set_nonblocking(true).unwrap();
        while io::Write::write(&mut served, &[7; 65_536]).is_ok() {}
        assert!(unacknowledged(ours, peer).unwrap() > 0);
        drop((served, client));
    }

    #[test]
    fn an_answer_that_is_none_says_nothing() {
        for answer in [vec![], vec![0; 8], vec![0; ANSWER]] {
            assert_eq!(user_in(&answer), None);
        }
        let asked = |one: &str, other: &str| question(one.parse().unwrap(), other.parse().unwrap());
        for (one, other) in [("127.0.0.1:1", "127.0.0.1:2"), ("[::1]:1", "[::1]:2")] {
            assert_eq!(asked(one, other).map(|question| question.len()), Some(HEADER + QUESTION));
        }
        assert_eq!(asked("127.0.0.1:1", "[::1]:2"), None);
    }
}
