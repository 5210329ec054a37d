//! Handlers of hosts: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{
    AddHost, ChangeHost, HostFindings, HostView, PrefetchRequest, Prefetched, RemoveHost, TurnHost,
};
use lockstep_domain::{EnvironmentName, HostName};

use crate::answer::{Answer, At, Body, By, Json};
use crate::handlers::App;

pub(crate) async fn list(State(control): App) -> Json<Vec<HostView>> {
    Json(tokio::task::block_in_place(|| control.hosts()))
}

pub(crate) async fn show(State(control): App, At(host): At<HostName>) -> Answer<HostView> {
    Ok(Json(tokio::task::block_in_place(|| control.host(&host))?))
}

pub(crate) async fn add(State(control): App, By(actor): By, Body(body): Body<AddHost>) -> Answer<HostView> {
    Ok(Json(control.add_host(&actor, &body).await?))
}

pub(crate) async fn change(
    State(control): App,
    By(actor): By,
    At(host): At<HostName>,
    Body(body): Body<ChangeHost>,
) -> Answer<HostView> {
    Ok(Json(control.change_host(&actor, &host, &body).await?))
}

pub(crate) async fn turn(
    State(control): App,
    By(actor): By,
    At(host): At<HostName>,
    Body(body): Body<TurnHost>,
) -> Answer<HostView> {
    Ok(Json(tokio::task::block_in_place(|| control.turn_host(&actor, &host, &body))?))
}

pub(crate) async fn check(State(control): App, At(host): At<HostName>) -> Answer<HostFindings> {
    Ok(Json(control.check_host(&host).await?))
}

pub(crate) async fn take_over(
    State(control): App,
    By(actor): By,
    At(host): At<HostName>,
) -> Answer<HostView> {
    Ok(Json(tokio::task::block_in_place(|| control.take_host_over(&actor, &host))?))
}

pub(crate) async fn remove(
    State(control): App,
    By(actor): By,
    At(host): At<HostName>,
    Body(body): Body<RemoveHost>,
) -> Answer<Vec<HostView>> {
    Ok(Json(tokio::task::block_in_place(|| control.remove_host(&actor, &host, &body))?))
}

pub(crate) async fn prefetch(
    State(control): App,
    At(environment): At<EnvironmentName>,
    Body(body): Body<PrefetchRequest>,
) -> Answer<Vec<Prefetched>> {
    Ok(Json(control.prefetch(&environment, &body.versions).await?))
}

pub(crate) async fn prefetched(
    State(control): App,
    At(environment): At<EnvironmentName>,
) -> Answer<Vec<Prefetched>> {
    Ok(Json(control.prefetched(&environment).await?))
}
