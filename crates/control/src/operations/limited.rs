//! What a plan says of limits that its hosts do not hold, or the machine of the server.

use lockstep_domain::host::is_on_hosts;
use lockstep_domain::operation::Move;
use lockstep_domain::run::RunSpec;
use lockstep_domain::{EnvironmentName, Plan, World};

use crate::Control;

impl Control {
    /// Adds to a plan what the versions that come would not be held to where they run.
    pub(super) fn note_limits(&self, world: &World, environment: &EnvironmentName, plan: &mut Plan) {
        let arms: Vec<_> = plan.moves().filter_map(Move::to_arm).collect();
        for arm in arms {
            let Some(version) = world.version(&arm.version_ref()) else { continue };
            for (process, run) in version.standing() {
                let of = process.map_or_else(String::new, |process| format!(", process `{process}`"));
                let warning = |(place, open): (String, String)| {
                    format!("limits of `{}`{of} that are not held {place}: {open}", arm.version_ref())
                };
                plan.warnings.extend(self.not_held(world, environment, run).into_iter().map(warning));
            }
        }
    }

    /// What is not held, and where: of hosts each that is reached.
    fn not_held(&self, world: &World, environment: &EnvironmentName, run: &RunSpec) -> Vec<(String, String)> {
        if !is_on_hosts(world, environment) {
            let open = self.driver.would_hold(run).what_is_open();
            return open.map(|open| ("here".to_owned(), open)).into_iter().collect();
        }
        let open = |(host, means)| Some((format!("on {host}"), run.limits.held(&means).what_is_open()?));
        self.hosts.means(world, environment).into_iter().filter_map(open).collect()
    }
}
