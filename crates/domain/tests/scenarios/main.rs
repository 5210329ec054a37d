//! Planning and rollouts on a simulated clock with a simulated fleet.

#![expect(clippy::unwrap_used, reason = "a value that is not there is a failed test")]

mod accepting;
mod beside;
mod certificates;
mod clock;
mod compatibility;
mod configurations;
mod databases;
mod degrading;
mod draining;
mod external;
mod going_back;
mod hosts;
mod instances;
mod jobs;
mod keys;
mod killed;
mod lanes;
mod looking_first;
mod lost_databases;
mod maintained;
mod mirrors;
mod planning;
mod processes;
mod proving;
mod readiness;
mod recorded;
mod renaming;
mod resources;
mod retained;
mod reverting;
mod rollout;
mod same;
mod schedules;
mod seen_use;
mod simulation;
mod smallest;
mod speaking;
mod staying;
mod switching;
mod taking_over;
mod two_at_once;
mod version_rules;
mod workers;
