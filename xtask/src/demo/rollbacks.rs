//! Going back, with a clock beside the command and beside what the client sees.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::installation::{Installation, Show};
use crate::load::Load;

use super::summary::{Rollback, time};

/// Runs a command that goes back, and measures it. `old` names the versions that are left, such as `orders@1.4.0`.
pub(super) fn timed(
    installation: &Installation,
    load: &Load,
    what: &str,
    arguments: &[&str],
    old: &[&str],
) -> Result<Rollback> {
    load.settle()?;
    let (wall, typed) = (SystemTime::now(), Instant::now());
    installation.run(arguments, Show::All)?;
    let returned = Instant::now();
    load.settle()?;
    let operation = newest_operation(installation)?;
    let called = typed + until_begun(&operation, wall)?;
    let last: Vec<_> = old.iter().filter_map(|label| load.last_answer(label, called)).collect();
    let late = last.iter().find(|last| last.began > returned);
    ensure!(late.is_none(), "a request that began after `{what}` was over was served by one of {old:?}");
    let last_old_answer = last.iter().map(|last| last.ended).max();
    let rollback = Rollback {
        what: what.to_owned(),
        readiness: readiness(&operation),
        command: returned.duration_since(typed),
        last_old_answer: last_old_answer.map(|at| at.saturating_duration_since(called)),
    };
    let last = rollback.last_old_answer.map_or_else(|| "none".to_owned(), time);
    println!("  ({}; command {}, last old answer after {last})", rollback.readiness, time(rollback.command));
    Ok(rollback)
}

fn newest_operation(installation: &Installation) -> Result<Value> {
    let operations = installation.ask("GET", "/operations", "")?;
    operations.get(0).cloned().context("there is no operation")
}

/// Returns how long after `wall` the server took the call, by the same clock of the same host.
fn until_begun(operation: &Value, wall: SystemTime) -> Result<Duration> {
    let begun = operation["begun"].as_u64().context("the operation has no beginning")?;
    let begun = UNIX_EPOCH + Duration::from_millis(begun);
    Ok(begun.duration_since(wall).unwrap_or_default())
}

/// Says whether everything that the operation went to was still running.
fn readiness(operation: &Value) -> String {
    let waves = operation["plan"]["waves"].as_array().into_iter().flatten();
    let moves: Vec<_> = waves.filter_map(Value::as_array).flatten().collect();
    let warm = moves.iter().filter(|step| step["readiness"] == "warm").count();
    match warm {
        0 => "cold".to_owned(),
        count if count == moves.len() => "warm".to_owned(),
        count => format!("{count}/{} warm", moves.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_is_warm_only_when_all_of_it_runs() {
        let operation = |waves: Value| json!({ "plan": { "waves": waves } });
        let (warm, cold) = (json!({ "readiness": "warm" }), json!({ "readiness": "cold" }));
        assert_eq!(readiness(&operation(json!([[warm], [warm]]))), "warm");
        assert_eq!(readiness(&operation(json!([[cold], [warm]]))), "1/2 warm");
        assert_eq!(readiness(&operation(json!([[cold]]))), "cold");
    }
}
