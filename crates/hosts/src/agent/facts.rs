//! What a host is like, looked at by its agent.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::limits::Means;

use super::boot;
use crate::lease;
use crate::place::HostFolder;
use crate::protocol::{HostFacts, Looked};

/// Looks at this host without working on it.
pub(super) fn look(
    folder: &HostFolder,
    ports: Option<PortRange>,
    address: Option<IpAddr>,
    scope: &Result<(), String>,
) -> io::Result<Looked> {
    let unprotected =
        lockstep_confine::available().unprotected().iter().map(|open| (*open).to_owned()).collect();
    Ok(Looked {
        facts: of(folder, unprotected, boot::look(), explained(lockstep_runtime::means_here(), scope)),
        owner: lease::owner(folder.path())?,
        free_ports: ports.map_or(0, free_among),
        no_listening: address
            .and_then(|address| TcpListener::bind((address, 0)).err())
            .map(|error| error.to_string()),
        // What is started there is of no login.
        ends_at_logout: if scope.is_ok() { None } else { boot::ends_at_logout() },
    })
}

fn free_among(ports: PortRange) -> u32 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let free = (0..ports.count()).map(|n| ports.nth(n)).filter(is_free).count();
    u32::try_from(free).unwrap_or(u32::MAX)
}

/// Looks at this host. What cannot be found out is empty or zero.
pub(super) fn of(
    folder: &HostFolder,
    unprotected: Vec<String>,
    not_after_boot: Option<String>,
    means: Means,
) -> HostFacts {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    HostFacts {
        name: text(system.nodename()),
        kernel: text(system.release()),
        architecture: text(system.machine()),
        boot: first_line(Path::new("/proc/sys/kernel/random/boot_id")),
        clock_ms: clock_ms(),
        user: rustix::process::geteuid().as_raw(),
        folder: folder.path().display().to_string(),
        free_bytes: lockstep_files::whole::room_of(folder.path()).unwrap_or_default(),
        processors: processors(),
        memory_bytes: memory_bytes().unwrap_or_default(),
        address: address(),
        not_after_boot,
        unprotected,
        means,
    }
}

/// Says why limits are not held where it is known better than that no control group was handed over.
pub(super) fn explained(means: Means, scope: &Result<(), String>) -> Means {
    let holds = means.group_memory || means.group_cpu || means.group_processes;
    match scope {
        Err(why) if !holds => Means { why: why.clone(), ..means },
        _ => means,
    }
}

/// The address of this host at which the connection came in, as `sshd` says it: `CLIENT PORT SERVER PORT`.
fn address() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    connection.split_whitespace().nth(2)?.parse().ok()
}

fn first_line(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn processors() -> u32 {
    let found = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// Reads `MemTotal:       24688904 kB`.
fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 = text.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}
