//! What is asked for, on the world that it is asked of: everybody who plans a request plans this.

use lockstep_api::types::{HoldHandling, OperationRequest, UnderWay};
use lockstep_domain::plan::{InTheWay, Wish};
use lockstep_domain::{EnvironmentName, Intent, VersionRef, World};

use super::release_all;

/// A request as it is planned.
pub(super) struct Asked {
    /// The world, without the holds that are released with the request.
    pub(super) world: World,
    /// What is wanted, with the names that services have now.
    pub(super) intent: Intent,
    /// The holds that are released.
    pub(super) released: Vec<VersionRef>,
}

impl Asked {
    pub(super) fn of(world: &World, environment: &EnvironmentName, request: &OperationRequest) -> Self {
        let mut world = world.clone();
        let intent = world.intent_as_named_now(&request.intent);
        let released = match request.holds {
            HoldHandling::Respect => Vec::new(),
            HoldHandling::Release => release_all(&mut world, environment, &intent),
        };
        Self { world, intent, released }
    }

    /// The request as a wish.
    pub(super) fn wish<'a>(&'a self, request: &'a OperationRequest) -> Wish<'a> {
        Wish {
            expect: request.expect,
            operation: request.operation,
            in_the_way: in_the_way(request),
            ..Wish::of(&self.intent, request.strategy.as_ref())
        }
    }
}

/// What becomes of operations that are in the way of a request.
pub(super) const fn in_the_way(request: &OperationRequest) -> InTheWay {
    match request.under_way {
        UnderWay::Respect => InTheWay::Refuses,
        UnderWay::TakeBack => InTheWay::IsTakenBack,
    }
}
