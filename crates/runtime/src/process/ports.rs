//! Ports of this host: whether one is free, and who holds it when it is not.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use super::{describe, every_pid};

/// How long a port may take to become free: many times what a new process needs to its exec.
const FREE_PATIENCE: Duration = Duration::from_millis(200);
/// Pause between two looks at a port.
const FREE_PAUSE: Duration = Duration::from_millis(10);
/// State `LISTEN` in `/proc/net/tcp`.
pub(super) const LISTEN: &str = "0A";

/// Tells whether an instance could listen on a port now.
///
/// # Errors
///
/// When it could not: says who holds the port as far as that can be found out.
pub(crate) fn check_free(address: SocketAddr) -> Result<(), String> {
    let port = address.port();
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(format!("port {port} is in use by {}", holder(port)))
        }
        Err(error) => Err(format!("port {port} of {} cannot be listened on: {error}", address.ip())),
    }
}

/// Waits a moment for a port to become free. Between its fork and its exec a new process holds the sockets of its
/// parent, so that a port that was just looked at or given up may seem to be in use.
///
/// # Errors
///
/// When it does not become free, as [`check_free`].
pub(crate) fn wait_free(address: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + FREE_PATIENCE;
    loop {
        match check_free(address) {
            Err(_) if Instant::now() < deadline => thread::sleep(FREE_PAUSE),
            result => return result,
        }
    }
}

fn holder(port: u16) -> String {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inode = tables.iter().find_map(|table| listening_inode(table, port));
    let pid = inode.and_then(|inode| every_pid().find(|pid| has_socket(*pid, inode)));
    pid.map_or_else(|| "another process, which is not visible to this user".to_owned(), describe)
}

fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, hex) = fields.get(1)?.rsplit_once(':')?;
        let listens = u16::from_str_radix(hex, 16).ok()? == port && *fields.get(3)? == LISTEN;
        if listens { fields.get(9)?.parse().ok() } else { None }
    })
}

fn has_socket(pid: i32, inode: u64) -> bool {
    let target = format!("socket:[{inode}]");
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == target.as_str()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn names_the_process_that_holds_a_port() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check_free((Ipv4Addr::LOCALHOST, port).into()).unwrap_err();
        let me = format!("(pid {})", std::process::id());
        assert!(error.contains(&format!("port {port} is in use by")) && error.contains(&me), "{error}");
        drop(listener);
        assert_eq!(check_free((Ipv4Addr::LOCALHOST, port).into()), Ok(()));
    }

    #[test]
    fn finds_only_listening_sockets() {
        let table = "  sl  local_address rem_address st ...\n\
            0: 0100007F:4E21 0100007F:0001 01 0:0 00:0 0 0 0 111 1\n\
            1: 0100007F:4E21 00000000:0000 0A 0:0 00:0 0 0 0 222 1\n";
        assert_eq!(listening_inode(table, 20_001), Some(222));
        assert_eq!(listening_inode(table, 20_002), None);
        assert_eq!(listening_inode("head\ngarbage\n", 1), None);
    }
}
