//! Waiting until a lane is in force, or gone everywhere.

use std::time::{Duration, Instant};

use lockstep_api::types::{Force, LaneList, LaneServiceView, LaneView};
use lockstep_domain::EnvironmentName;

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;

/// Waits until each of its versions serves or has failed; the last view where that takes longer than `limit`.
pub(crate) fn awaited(
    ctx: &Context,
    environment: &EnvironmentName,
    first: LaneView,
    limit: Duration,
) -> Result<LaneView, Failure> {
    let is_settled =
        |it: &LaneServiceView| matches!(it.force, Force::InForce | Force::NotServed { failed: true, .. });
    let (mut view, begun, mut patience) = (first, Instant::now(), Patience::new());
    let warnings = view.warnings.clone();
    while !view.in_force.iter().all(is_settled) && begun.elapsed() < limit {
        let lane = view.lane.new.name.clone();
        match ctx.client.lane(environment, &lane) {
            Ok(next) => {
                view = next;
                patience.renew();
            }
            Err(error) => patience.bear(error)?,
        }
    }
    Ok(LaneView { warnings, ..view })
}

/// Waits until every gateway has what is listed; the last list where that takes longer than `limit`.
pub(crate) fn applied(
    ctx: &Context,
    environment: &EnvironmentName,
    first: LaneList,
    limit: Duration,
) -> Result<LaneList, Failure> {
    let (mut list, begun, mut patience) = (first, Instant::now(), Patience::new());
    while !list.is_applied && begun.elapsed() < limit {
        match ctx.client.lanes(environment) {
            Ok(next) => {
                list = next;
                patience.renew();
            }
            Err(error) => patience.bear(error)?,
        }
    }
    Ok(list)
}
