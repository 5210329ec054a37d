//! Handlers of lanes: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{CreateLane, EndLane, LaneList, LaneView};
use lockstep_domain::{EnvironmentName, LaneName};

use crate::answer::{Answer, At, Body, By, Json};
use crate::handlers::App;

pub(crate) async fn list(State(control): App, At(environment): At<EnvironmentName>) -> Answer<LaneList> {
    Ok(Json(control.lanes(&environment)?))
}

pub(crate) async fn create(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<CreateLane>,
) -> Answer<LaneView> {
    Ok(Json(control.create_lane(&actor, &environment, &body)?))
}

pub(crate) async fn show(
    State(control): App,
    At((environment, lane)): At<(EnvironmentName, LaneName)>,
) -> Answer<LaneView> {
    Ok(Json(control.lane(&environment, &lane)?))
}

pub(crate) async fn end(
    State(control): App,
    By(actor): By,
    At((environment, lane)): At<(EnvironmentName, LaneName)>,
    Body(body): Body<EndLane>,
) -> Answer<LaneList> {
    Ok(Json(control.end_lane(&actor, &environment, (&lane, &body))?))
}
