//! What a supervisor says about the state of its instance.

use std::path::Path;

use lockstep_domain::InstanceState;

use crate::logs;

/// Lines of the log that are shown when an instance has failed.
const SHOWN_LINES: usize = 10;
/// Most characters of each of these lines.
const SHOWN_CHARACTERS: usize = 300;

/// Adds what the process wrote last to the reason of a failure.
pub(super) fn with_log(state: InstanceState, log: &Path) -> InstanceState {
    let InstanceState::Failed { mut reason, fault } = state else { return state };
    let lines = logs::tail(log, SHOWN_LINES * 2);
    let of_process: Vec<&String> =
        lines.iter().filter(|line| line.split(' ').nth(1) != Some("lockstep")).collect();
    if !of_process.is_empty() {
        reason.push_str("\nthe end of its log:");
    }
    for line in of_process.iter().skip(of_process.len().saturating_sub(SHOWN_LINES)) {
        reason.push('\n');
        reason.extend(line.chars().take(SHOWN_CHARACTERS));
    }
    InstanceState::Failed { reason, fault }
}

/// Returns the line of the log about a new state.
pub(super) fn note_of(state: &InstanceState) -> String {
    match state {
        InstanceState::Starting => "starting".to_owned(),
        InstanceState::Healthy => "healthy".to_owned(),
        InstanceState::Unhealthy { reason } => format!("unhealthy: {reason}"),
        InstanceState::Stopping => "stopping".to_owned(),
        InstanceState::Stopped => "stopped".to_owned(),
        InstanceState::Completed => "completed".to_owned(),
        InstanceState::Failed { reason, .. } => format!("failed: {reason}"),
    }
}
