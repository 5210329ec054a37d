//! What a plan says of images that can have no root of their own on this host.

use lockstep_domain::operation::Move;
use lockstep_domain::{Plan, World};

use crate::Control;

impl Control {
    /// Adds to a plan why versions that come are images and would not start here.
    pub(super) fn note_roots(&self, world: &World, plan: &mut Plan) {
        let Some(missing) = self.driver.missing_for_images() else { return };
        let arms: Vec<_> = plan.moves().filter_map(Move::to_arm).collect();
        for arm in arms {
            let version = world.version(&arm.version_ref());
            if version.is_some_and(|version| version.run.image.is_some()) {
                plan.warnings.push(format!(
                    "`{}` is an image, and no instance of it can start here: {missing}; a server of root can start it",
                    arm.version_ref()
                ));
            }
        }
    }
}
