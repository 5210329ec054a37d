//! Where instances listen, and which of them do so where others than this machine reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ports::LISTEN;
use super::{Stat, carries, every_pid};

/// The sockets of this machine that listen for more than itself, by their numbers.
pub(crate) fn listeners() -> BTreeMap<u64, SocketAddr> {
    all_listeners().into_iter().filter(|(_, address)| !is_local(address.ip())).collect()
}

/// The sockets of this machine that listen, by their numbers.
pub(crate) fn all_listeners() -> BTreeMap<u64, SocketAddr> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| in_table(table)).collect()
}

fn in_table(table: &str) -> impl Iterator<Item = (u64, SocketAddr)> {
    table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = *fields.get(3)? == LISTEN;
        let listener = || Some((fields.get(9)?.parse().ok()?, address(fields.get(1)?)?));
        if listens { listener() } else { None }
    })
}

/// Reads `0100007F:4E21`: words in the order of bytes of this machine, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Processes that hold some of the sockets, and which.
pub(crate) fn holders(sockets: &BTreeMap<u64, SocketAddr>) -> Vec<(i32, BTreeSet<SocketAddr>)> {
    let held = |pid| sockets_of(pid).filter_map(|inode| sockets.get(&inode).copied()).collect();
    let all = every_pid().map(|pid| (pid, held(pid)));
    all.filter(|(_, held): &(i32, BTreeSet<_>)| !held.is_empty()).collect()
}

/// Tells whether a process is of an instance: it carries its marker, or is in the group of its main process, because some
/// programs overwrite their marker.
pub(crate) fn belongs(pid: i32, marker: &[u8], group: Option<i32>) -> bool {
    let of_group = group.is_some() && Stat::read(pid).map(|stat| stat.group) == group;
    of_group || carries(pid, marker)
}

fn sockets_of(pid: i32) -> impl Iterator<Item = u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_what_listens_for_more_than_this_machine() {
        let (open, local) =
            (TcpListener::bind("0.0.0.0:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let found = listeners();
        let has = |listener: &TcpListener| found.values().any(|it| *it == listener.local_addr().unwrap());
        assert!(has(&open) && !has(&local), "{found:?}");
        let me = Stat::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let held = holders(&found).into_iter().find(|(pid, _)| *pid == me.pid).unwrap().1;
        assert_eq!(held, BTreeSet::from([open.local_addr().unwrap()]));
        assert!(belongs(me.pid, b"no such marker", Some(me.group)));
        assert!(!belongs(me.pid, b"no such marker", None));
    }

    #[test]
    fn reads_addresses_of_both_families_and_no_garbage() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:4E21"), Some("127.0.0.1:20001".parse().unwrap()));
            let loopback = address("00000000000000000000000001000000:1F90");
            assert_eq!(loopback, Some("[::1]:8080".parse().unwrap()));
            let mapped = address("0000000000000000FFFF00000100007F:0001").unwrap();
            assert!(is_local(mapped.ip()), "{mapped}");
        }
        assert!(!is_local(address("00000000:0050").unwrap().ip()));
        for bad in ["", ":", "0100007F", "01:02", "0100007F:XX", "ZZ00007F:0001"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
