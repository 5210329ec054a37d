//! What is wrong, and what changed before it.

use axum::extract::State;
use lockstep_api::types::{
    AddSilence, AlertList, BlameView, RemoveWatching, RuleView, SetRules, SetTarget, SilenceView, TargetView,
    TestedTarget,
};
use lockstep_domain::{EnvironmentName, ServiceName, WatchingName};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::task::block_in_place;

use crate::answer::{Answer, Asked, At, Body, By, Json};
use crate::handlers::App;

#[derive(Debug, Deserialize)]
pub(crate) struct Of {
    environment: Option<EnvironmentName>,
}

pub(crate) async fn list(State(control): App, Asked(of): Asked<Of>) -> Answer<AlertList> {
    Ok(Json(block_in_place(|| control.alerts(of.environment.as_ref()))?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Within {
    within_ms: Option<u64>,
}

pub(crate) async fn blame(
    State(control): App,
    At((environment, service)): At<(EnvironmentName, ServiceName)>,
    Asked(within): Asked<Within>,
) -> Answer<BlameView> {
    Ok(Json(block_in_place(|| control.blame(&environment, &service, within.within_ms))?))
}

pub(crate) async fn targets(State(control): App) -> Json<Vec<TargetView>> {
    Json(block_in_place(|| control.targets()))
}

pub(crate) async fn set_target(
    State(control): App,
    By(actor): By,
    Body(body): Body<SetTarget>,
) -> Answer<TargetView> {
    Ok(Json(block_in_place(|| control.set_target(&actor, body))?))
}

pub(crate) async fn remove_target(
    State(control): App,
    By(actor): By,
    At(name): At<WatchingName>,
    Body(body): Body<RemoveWatching>,
) -> Answer<Vec<TargetView>> {
    Ok(Json(block_in_place(|| control.remove_target(&actor, &name, &body))?))
}

pub(crate) async fn test_target(
    State(control): App,
    By(_): By,
    At(name): At<WatchingName>,
    Body(_): Body<Map<String, Value>>,
) -> Answer<TestedTarget> {
    Ok(Json(control.test_target(&name).await?))
}

pub(crate) async fn silences(State(control): App) -> Json<Vec<SilenceView>> {
    Json(block_in_place(|| control.silences()))
}

pub(crate) async fn add_silence(
    State(control): App,
    By(actor): By,
    Body(body): Body<AddSilence>,
) -> Answer<Vec<SilenceView>> {
    Ok(Json(block_in_place(|| control.add_silence(&actor, body))?))
}

pub(crate) async fn end_silence(
    State(control): App,
    By(actor): By,
    At(name): At<WatchingName>,
    Body(body): Body<RemoveWatching>,
) -> Answer<Vec<SilenceView>> {
    Ok(Json(block_in_place(|| control.end_silence(&actor, &name, &body))?))
}

pub(crate) async fn rules(State(control): App) -> Json<Vec<RuleView>> {
    Json(block_in_place(|| control.rules()))
}

pub(crate) async fn set_rules(
    State(control): App,
    By(actor): By,
    Body(body): Body<SetRules>,
) -> Answer<Vec<RuleView>> {
    Ok(Json(block_in_place(|| control.set_rules(&actor, &body))?))
}

pub(crate) async fn remove_rule(
    State(control): App,
    By(actor): By,
    At(name): At<WatchingName>,
    Body(body): Body<RemoveWatching>,
) -> Answer<Vec<RuleView>> {
    Ok(Json(block_in_place(|| control.remove_rule(&actor, &name, &body))?))
}
