//! Handlers of rules that give certain requests a version of their own: parse, one call, convert.

use axum::extract::State;
use lockstep_api::types::{AddVersionRule, MirrorList, RemoveVersionRules, VersionRuleList};
use lockstep_domain::EnvironmentName;

use crate::answer::{Answer, At, Body, By, Json};
use crate::handlers::App;

pub(crate) async fn list(
    State(control): App,
    At(environment): At<EnvironmentName>,
) -> Answer<VersionRuleList> {
    Ok(Json(control.version_rules(&environment)?))
}

pub(crate) async fn mirrors(State(control): App, At(environment): At<EnvironmentName>) -> Answer<MirrorList> {
    Ok(Json(control.mirror_list(&environment)?))
}

pub(crate) async fn add(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<AddVersionRule>,
) -> Answer<VersionRuleList> {
    Ok(Json(control.add_version_rule(&actor, &environment, &body)?))
}

pub(crate) async fn remove(
    State(control): App,
    By(actor): By,
    At(environment): At<EnvironmentName>,
    Body(body): Body<RemoveVersionRules>,
) -> Answer<VersionRuleList> {
    Ok(Json(control.remove_version_rules(&actor, &environment, &body)?))
}
