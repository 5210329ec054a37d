//! Handlers about contracts and what works with what. Comparing contracts takes time, so it is done off the event loop.

use axum::extract::State;
use axum::response::Response;
use lockstep_api::types::{CompatAnswer, CompatMatrix};
use lockstep_domain::contract::ContractKind;
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber, VersionRef};
use serde::Deserialize;
use tokio::task::block_in_place;

use crate::answer::{Answer, Asked, At, Failure, Json, bad_request, file};
use crate::handlers::App;

#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    name: Option<String>,
}

pub(crate) async fn contract(
    State(control): App,
    At((service, version, kind)): At<(ServiceName, VersionNumber, String)>,
    Asked(Named { name }): Asked<Named>,
) -> Result<Response, Failure> {
    let kind: ContractKind = kind.parse().map_err(bad_request)?;
    let reference = VersionRef { service, version };
    let bytes = block_in_place(|| control.contract(&reference, kind, name.as_deref()))?;
    Ok(file(bytes))
}

pub(crate) async fn compat(
    State(control): App,
    At((one, other)): At<(ServiceName, ServiceName)>,
) -> Answer<Vec<CompatMatrix>> {
    Ok(Json(block_in_place(|| control.compat(&one, &other))?))
}

pub(crate) async fn can_deploy(
    State(control): App,
    At((environment, service, version)): At<(EnvironmentName, ServiceName, VersionNumber)>,
) -> Answer<CompatAnswer> {
    let reference = VersionRef { service, version };
    Ok(Json(block_in_place(|| control.can_deploy(&environment, &reference))?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    to: Option<VersionNumber>,
}

pub(crate) async fn can_roll_back(
    State(control): App,
    At((environment, service)): At<(EnvironmentName, ServiceName)>,
    Asked(Target { to }): Asked<Target>,
) -> Answer<CompatAnswer> {
    Ok(Json(block_in_place(|| control.can_roll_back(&environment, &service, to.as_ref()))?))
}
