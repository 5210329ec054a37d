//! Whether this machine can boot hosts, and in words why not.

use std::fmt;
use std::fs;

use anyhow::Result;

use super::{control_group, tool};
use crate::programs;

/// What a command ends with that this machine cannot carry out, so that a test can skip: the number that automake uses.
pub(crate) const SKIPPED: u8 = 77;
/// The numbers of `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
const CAPABILITIES: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];
/// Makes one of each kind of namespace, and nothing in them.
const NAMESPACES: [&str; 8] = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "true"];

/// Why this machine cannot.
#[derive(Debug)]
pub(crate) struct Impossible(pub(crate) Vec<String>);

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine cannot boot hosts: {}", self.0.join("; "))
    }
}

impl std::error::Error for Impossible {}

/// Checks all that hosts need besides root, and reports at once what is missing.
pub(crate) fn check() -> Result<()> {
    let mut missing = programs::missing_for_hosts()?;
    missing.extend(missing_capabilities());
    if missing.is_empty() {
        missing.extend(missing_kernel_parts());
    }
    refuse(missing)
}

/// Checks only who runs this.
pub(crate) fn check_root() -> Result<()> {
    let missing = (!programs::is_root()).then(|| "it needs root".to_owned());
    refuse(missing.into_iter().collect())
}

fn refuse(missing: Vec<String>) -> Result<()> {
    if missing.is_empty() { Ok(()) } else { Err(Impossible(missing).into()) }
}

fn missing_capabilities() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = effective_capabilities(&status);
    let missing = CAPABILITIES.iter().filter(|(bit, _)| effective >> bit & 1 == 0);
    missing.map(|(_, name)| format!("root has no {name} here (a container without privileges?)")).collect()
}

fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn missing_kernel_parts() -> Vec<String> {
    let mut missing = Vec::new();
    if !tool::succeeds(&NAMESPACES) {
        missing.push("no namespaces of one's own (`unshare` is refused)".to_owned());
    }
    if let Err(why) = control_group::hierarchies() {
        missing.push(format!("{why:#}"));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_of_a_process() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000201000\n";
        let effective = effective_capabilities(status);
        assert!(CAPABILITIES.iter().all(|(bit, _)| effective >> bit & 1 == 1));
        assert_eq!(effective_capabilities("Name:\tx\n"), 0);
    }

    #[test]
    fn all_reasons_are_said_at_once() {
        let why = Impossible(vec!["one".into(), "two".into()]).to_string();
        assert_eq!(why, "this machine cannot boot hosts: one; two");
    }
}
