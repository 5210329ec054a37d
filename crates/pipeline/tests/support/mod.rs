//! What the tests with real processes share: a guard, waiting for a condition, looking for processes.

use std::time::{Duration, Instant};

use lockstep_pipeline::guard::GuardCommand;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The guard as the tests start it.
pub(crate) fn guard() -> GuardCommand {
    GuardCommand(vec![env!("CARGO_BIN_EXE_lockstep-guard").into()])
}

/// Waits until a condition holds; panics with `what` when it does not in time.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Tells whether a process runs; a zombie does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, tail)| tail.starts_with(['Z', 'X'])))
}

/// Lists the processes that have `text` in their environment or command line.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let own = std::process::id().to_string();
    let has = |pid: &String, file: &str| {
        let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&content).contains(text)
    };
    pids.filter(|pid| pid.parse::<u32>().is_ok() && *pid != own && is_alive(pid))
        .filter(|pid| has(pid, "environ") || has(pid, "cmdline"))
        .collect()
}
