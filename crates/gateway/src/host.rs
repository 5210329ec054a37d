//! Which machine this is, as far as loopback addresses reach.

use std::fs;

/// Returns what tells this machine, since it was started, and this network of it from every other: addresses of loopback mean
/// the same for whoever gets the same answer.
#[must_use]
pub fn this_host() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let network = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("{} {}", boot.trim(), network.display())
}
