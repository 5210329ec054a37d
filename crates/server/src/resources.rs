//! Handlers of resources: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{AddResource, ChangeResource, RemoveResource, ResourceView, RunResource};
use lockstep_domain::EnvironmentName;
use lockstep_domain::name::ResourceName;

use crate::answer::{Answer, At, Body, By, Json};
use crate::handlers::App;

pub(crate) async fn list(
    State(control): App,
    At(environment): At<EnvironmentName>,
) -> Answer<Vec<ResourceView>> {
    Ok(Json(tokio::task::block_in_place(|| control.resources().list(&environment))?))
}

pub(crate) async fn show(
    State(control): App,
    At((environment, resource)): At<(EnvironmentName, ResourceName)>,
) -> Answer<ResourceView> {
    Ok(Json(tokio::task::block_in_place(|| control.resources().show(&environment, &resource))?))
}

pub(crate) async fn add(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<AddResource>,
) -> Answer<ResourceView> {
    Ok(Json(control.resources().add(&actor, &environment, &body).await?))
}

pub(crate) async fn run(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<RunResource>,
) -> Answer<ResourceView> {
    Ok(Json(tokio::task::block_in_place(|| control.resources().run(&actor, &environment, &body))?))
}

pub(crate) async fn change(
    State(control): App,
    By(actor): By,
    At((environment, resource)): At<(EnvironmentName, ResourceName)>,
    Body(body): Body<ChangeResource>,
) -> Answer<ResourceView> {
    Ok(Json(control.resources().change(&actor, &environment, &resource, &body).await?))
}

pub(crate) async fn remove(
    State(control): App,
    By(actor): By,
    At((environment, resource)): At<(EnvironmentName, ResourceName)>,
    Body(body): Body<RemoveResource>,
) -> Answer<Vec<ResourceView>> {
    Ok(Json(control.remove_resource(&actor, &environment, &resource, &body).await?))
}
