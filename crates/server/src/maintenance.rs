//! Handlers of maintenance: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{AddMaintenance, MaintenanceList, RemoveMaintenance};
use lockstep_domain::EnvironmentName;

use crate::answer::{Answer, At, Body, By, Json};
use crate::handlers::App;

pub(crate) async fn list(
    State(control): App,
    At(environment): At<EnvironmentName>,
) -> Answer<MaintenanceList> {
    Ok(Json(control.maintenance(&environment)?))
}

pub(crate) async fn add(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<AddMaintenance>,
) -> Answer<MaintenanceList> {
    Ok(Json(control.add_maintenance(&actor, &environment, &body)?))
}

pub(crate) async fn remove(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<RemoveMaintenance>,
) -> Answer<MaintenanceList> {
    Ok(Json(control.remove_maintenance(&actor, &environment, &body)?))
}
