//! Starts the instances of a host again, after it has booted: their supervisors do that, and need nobody who asks them to.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockstep_runtime::{LocalDriver, LocalDriverOptions, SupervisorCommand, listened_addresses};

use crate::place::HostFolder;

/// How long the addresses are waited for that instances listen on.
const ADDRESSES: Duration = Duration::from_secs(60);
/// How long all supervisors together may take to say that they are there.
const SUPERVISORS: Duration = Duration::from_secs(600);
/// How often it is looked whether they are there.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts what is not over, and returns when its supervisors have begun. Where an agent works, that has done it.
///
/// # Errors
/// When the folder cannot be used.
pub(super) fn run(folder: &Path, supervisor: SupervisorCommand) -> io::Result<()> {
    let folder = HostFolder::open(folder)?;
    wait_for(listened_addresses(&folder.runtime()));
    let Some(_alone) = folder.alone_if_free()? else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut options = LocalDriverOptions::new(supervisor);
    options.hidden = Some(folder.path().to_owned());
    // Ended before that, it would leave instances that nobody starts.
    options.known_within = SUPERVISORS;
    let opened = runtime.block_on(LocalDriver::open_with(&folder.runtime(), options));
    let opened = opened.map(drop).map_err(io::Error::other);
    runtime.shutdown_background();
    opened
}

/// Waits until the host has some addresses, for a minute at most: what fails then says so in its log.
fn wait_for(addresses: BTreeSet<IpAddr>) {
    let deadline = Instant::now() + ADDRESSES;
    for address in addresses {
        while TcpListener::bind((address, 0)).is_err() && Instant::now() < deadline {
            sleep(PAUSE);
        }
    }
}
