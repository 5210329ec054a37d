//! What a plan says of limits that this host does not hold.

use lockstep_domain::operation::Move;
use lockstep_domain::{Plan, World};

use crate::Control;

impl Control {
    /// Adds to a plan what the versions that come would not be held to here.
    pub(super) fn note_limits(&self, world: &World, plan: &mut Plan) {
        let arms: Vec<_> = plan.moves().filter_map(Move::to_arm).collect();
        for arm in arms {
            let Some(version) = world.version(&arm.version_ref()) else { continue };
            for (process, run) in version.standing() {
                let of = process.map_or_else(String::new, |process| format!(", process `{process}`"));
                let open = self.driver.would_hold(run).what_is_open();
                plan.warnings.extend(open.map(|open| {
                    format!("limits of `{}`{of} that are not held here: {open}", arm.version_ref())
                }));
            }
        }
    }
}
