//! Handlers of faults that are injected on purpose: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{AddFault, FaultList, RemoveFaults};
use lockstep_domain::EnvironmentName;

use crate::answer::{Answer, At, Body, By, Json};
use crate::handlers::App;

pub(crate) async fn list(State(control): App, At(environment): At<EnvironmentName>) -> Answer<FaultList> {
    Ok(Json(control.faults(&environment)?))
}

pub(crate) async fn add(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<AddFault>,
) -> Answer<FaultList> {
    Ok(Json(control.add_fault(&actor, &environment, &body)?))
}

pub(crate) async fn remove(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<RemoveFaults>,
) -> Answer<FaultList> {
    Ok(Json(control.remove_faults(&actor, &environment, &body)?))
}
