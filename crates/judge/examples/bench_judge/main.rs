//! How often the judge is wrong about a version that is not worse, and how long it takes to find one that is, beside the
//! rules of Flagger and Kayenta on the same simulated traffic.
//!
//! `cargo xtask bench judge` runs it in release. It fails when a figure of `docs/design/judge.md` is not held.

mod chance;
mod others;
mod run;
mod scenario;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let is_wanted = |what: &str| wanted.as_deref().is_none_or(|wanted| wanted == what);
    let false_alarms = !is_wanted("false-alarms") || table::false_alarms();
    let delays = !is_wanted("delays") || table::delays();
    if false_alarms && delays { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
