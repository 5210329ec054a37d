//! Handlers: parse, one call, convert.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse as _, Response};
use lockstep_api::types::{
    AcceptRequest, AddGateway, ApprovalRequest, BaselineDiff, BuildView, CallsView, CollectReport,
    CollectRequest, ConfigurationView, CreateEnvironment, DataFolderView, DismissRequest, EnvironmentSummary,
    EnvironmentView, GatewayAdded, GatewayIdentityView, Health, History, JournalReport, KeysView,
    LifecycleView, ManifestRequest, OperationAnswer, OperationRequest, ReadinessView, RegisterService,
    ReleaseRequest, RemoveData, RemoveRequest, RenameRequest, Renaming, RevokeRequest, Revoked,
    RotateRequest, ServiceTraffic, ServiceView, SettingsChange, StageRequest, VersionView, WaysBack,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_control::Control;
use lockstep_domain::branch::BranchPolicy;
use lockstep_domain::edition::{Edition, TableHistory};
use lockstep_domain::name::JobName;
use lockstep_domain::plan::FleetFile;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use lockstep_domain::scheduled::ScheduledRun;
use lockstep_domain::{
    EnvironmentName, GatewayName, InstanceId, Operation, OperationId, ServiceName, VersionNumber, VersionRef,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::access::Caller;

use crate::answer::{Answer, Asked, At, Body, By, Failure, For, Json, bad_request, file};
use crate::named::Named as _;

pub(crate) type App = State<Arc<Control>>;

/// Longest time that a gateway may wait for a new table in one request.
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(crate) async fn health(State(control): App) -> Json<Health> {
    Json(Health {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal_seq: control.ledger().world().seq,
        data_folder: control.ledger().folder().display().to_string(),
        unprotected: control.unprotected(),
    })
}

pub(crate) async fn openapi() -> Json<Value> {
    Json(lockstep_api::endpoints::openapi())
}

pub(crate) async fn services(State(control): App) -> Json<Vec<ServiceView>> {
    Json(control.services())
}

pub(crate) async fn register(
    State(control): App,
    By(actor): By,
    Body(body): Body<RegisterService>,
) -> Answer<ServiceView> {
    Ok(Json(control.register(&actor, body).await?))
}

pub(crate) async fn service(State(control): App, At(name): At<ServiceName>) -> Answer<ServiceView> {
    Ok(Json(control.service(&name)?))
}

pub(crate) async fn release(
    State(control): App,
    By(actor): By,
    At(name): At<ServiceName>,
    Body(body): Body<ReleaseRequest>,
) -> Answer<BuildView> {
    Ok(Json(control.release(&actor, &name, body)?))
}

pub(crate) async fn version(
    State(control): App,
    At((service, version)): At<(ServiceName, VersionNumber)>,
) -> Answer<VersionView> {
    Ok(Json(control.version(&VersionRef { service, version })?))
}

pub(crate) async fn document(
    State(control): App,
    At((service, version, kind)): At<(ServiceName, VersionNumber, String)>,
) -> Result<Response, Failure> {
    let (_, bytes) = control.document(&VersionRef { service, version }, &kind)?;
    Ok(file(bytes))
}

pub(crate) async fn stage(
    State(control): App,
    By(actor): By,
    At((service, version)): At<(ServiceName, VersionNumber)>,
    Body(body): Body<StageRequest>,
) -> Answer<VersionView> {
    Ok(Json(control.move_to_stage(&actor, &VersionRef { service, version }, &body)?))
}

pub(crate) async fn approve(
    State(control): App,
    By(actor): By,
    At((service, version)): At<(ServiceName, VersionNumber)>,
    Body(body): Body<ApprovalRequest>,
) -> Answer<VersionView> {
    Ok(Json(control.approve(&actor, &VersionRef { service, version }, &body)?))
}

pub(crate) async fn builds(State(control): App) -> Json<Vec<BuildView>> {
    Json(control.builds())
}

pub(crate) async fn build(State(control): App, At(id): At<String>) -> Answer<BuildView> {
    Ok(Json(control.build(&id)?))
}

pub(crate) async fn cancel_build(
    State(control): App,
    By(actor): By,
    At(id): At<String>,
) -> Answer<BuildView> {
    Ok(Json(control.cancel_build(&actor, &id)?))
}

pub(crate) async fn environments(State(control): App) -> Json<Vec<EnvironmentSummary>> {
    Json(control.environments())
}

pub(crate) async fn create_environment(
    State(control): App,
    By(actor): By,
    Body(body): Body<CreateEnvironment>,
) -> Answer<EnvironmentView> {
    Ok(Json(control.create_environment(&actor, &body)?))
}

pub(crate) async fn environment(
    State(control): App,
    At(name): At<EnvironmentName>,
) -> Answer<EnvironmentView> {
    Ok(Json(control.environment(&name)?))
}

pub(crate) async fn change_environment(
    State(control): App,
    By(actor): By,
    At(name): At<EnvironmentName>,
    Body(body): Body<SettingsChange>,
) -> Answer<EnvironmentView> {
    Ok(Json(control.change_environment(&actor, &name, &body)?))
}

pub(crate) async fn history(State(control): App, At(name): At<EnvironmentName>) -> Answer<History> {
    Ok(Json(control.history(&name)?))
}

pub(crate) async fn remove_environment(
    State(control): App,
    By(actor): By,
    At(name): At<EnvironmentName>,
    Body(body): Body<RemoveRequest>,
) -> Answer<Vec<EnvironmentSummary>> {
    control.remove_environment(&actor, &name, &body)?;
    Ok(Json(control.environments()))
}

pub(crate) async fn remove_service(
    State(control): App,
    By(actor): By,
    At(name): At<ServiceName>,
    Body(body): Body<RemoveRequest>,
) -> Answer<Vec<ServiceView>> {
    control.remove_service(&actor, &name, &body)?;
    Ok(Json(control.services()))
}

pub(crate) async fn manifest(State(control): App, At(name): At<ServiceName>) -> Result<Response, Failure> {
    Ok(file(control.manifest(&name)?))
}

pub(crate) async fn keep_manifest(
    State(control): App,
    By(actor): By,
    At(name): At<ServiceName>,
    Body(body): Body<ManifestRequest>,
) -> Answer<ServiceView> {
    Ok(Json(control.keep_manifest(&actor, &name, &body)?))
}

pub(crate) async fn rename_service(
    State(control): App,
    By(actor): By,
    At(name): At<ServiceName>,
    Body(body): Body<RenameRequest>,
) -> Answer<Renaming> {
    Ok(Json(control.rename_service(&actor, &name, &body)?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfService {
    service: Option<ServiceName>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfBaseline {
    baseline: Option<u64>,
}

pub(crate) async fn calls(
    State(control): App,
    At(name): At<EnvironmentName>,
    Asked(of): Asked<OfBaseline>,
) -> Answer<CallsView> {
    Ok(Json(control.calls(&name, of.baseline)?))
}

pub(crate) async fn ways_back(
    State(control): App,
    At(name): At<EnvironmentName>,
    Asked(of): Asked<OfService>,
) -> Answer<WaysBack> {
    let service = of.service.map(|service| service.named_now(&control.ledger().world()));
    Ok(Json(control.ways_back(&name, service.as_ref())?))
}

pub(crate) async fn readiness(
    State(control): App,
    At(name): At<EnvironmentName>,
    Asked(of): Asked<OfService>,
) -> Answer<ReadinessView> {
    let service = of.service.map(|service| service.named_now(&control.ledger().world()));
    // Every way back is planned, which takes time.
    Ok(Json(tokio::task::block_in_place(|| control.readiness(&name, service.as_ref()))?))
}

pub(crate) async fn fleet(State(control): App, At(name): At<EnvironmentName>) -> Answer<FleetFile> {
    // Comparing contracts takes time.
    Ok(Json(tokio::task::block_in_place(|| control.export_fleet(&name))?))
}

pub(crate) async fn revoke(
    State(control): App,
    By(actor): By,
    At((name, service)): At<(EnvironmentName, ServiceName)>,
    Body(body): Body<RevokeRequest>,
) -> Answer<Revoked> {
    Ok(Json(control.revoke(&actor, &name, &service, &body)?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Between {
    from: u64,
    to: u64,
}

pub(crate) async fn diff(
    State(control): App,
    At(name): At<EnvironmentName>,
    Asked(between): Asked<Between>,
) -> Answer<BaselineDiff> {
    Ok(Json(control.diff(&name, between.from, between.to)?))
}

pub(crate) async fn configuration(
    State(control): App,
    At((name, service)): At<(EnvironmentName, ServiceName)>,
) -> Answer<ConfigurationView> {
    Ok(Json(control.configuration(&name, &service)?))
}

pub(crate) async fn traffic(
    State(control): App,
    At((name, service)): At<(EnvironmentName, ServiceName)>,
) -> Answer<ServiceTraffic> {
    Ok(Json(control.traffic(&name, &service)?))
}

pub(crate) async fn scheduled_runs(
    State(control): App,
    At((name, service, job)): At<(EnvironmentName, ServiceName, JobName)>,
) -> Answer<Vec<ScheduledRun>> {
    Ok(Json(control.scheduled_runs(&name, &service, &job)?))
}

pub(crate) async fn operate(
    State(control): App,
    By(actor): By,
    At(name): At<EnvironmentName>,
    Body(body): Body<OperationRequest>,
) -> Answer<OperationAnswer> {
    // Planning may compare contracts, which takes time.
    Ok(Json(tokio::task::block_in_place(|| control.operate(&actor, &name, body))?))
}

pub(crate) async fn routes_after(
    State(control): App,
    By(actor): By,
    At(name): At<EnvironmentName>,
    Body(body): Body<OperationRequest>,
) -> Answer<RouteTable> {
    Ok(Json(tokio::task::block_in_place(|| control.routes_after(&actor, &name, body))?))
}

pub(crate) async fn release_hold(
    State(control): App,
    By(actor): By,
    At((name, service, version)): At<(EnvironmentName, ServiceName, VersionNumber)>,
) -> Answer<EnvironmentView> {
    control.release_hold(&actor, &name, &VersionRef { service, version })?;
    Ok(Json(control.environment(&name)?))
}

pub(crate) async fn stop_instance(
    State(control): App,
    By(actor): By,
    At((name, instance)): At<(EnvironmentName, InstanceId)>,
    Body(body): Body<DismissRequest>,
) -> Answer<EnvironmentView> {
    Ok(Json(control.dismiss(&actor, &name, &instance, &body)?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct After {
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    history: TableHistory,
    #[serde(default)]
    wait_ms: u64,
}

/// Answers with a table that is newer than the one the gateway has, or with 204 when none comes in time or the server stops.
pub(crate) async fn routes(
    State(control): App,
    State(stop): State<CancellationToken>,
    For(caller): For,
    At(name): At<EnvironmentName>,
    Asked(after): Asked<After>,
) -> Result<Response, Failure> {
    control.check_environment(&name)?;
    if let Caller::Gateway(gateway) = &caller {
        control.check_serves(gateway, &name)?;
    }
    let mut tables = control.registry().tables(&name);
    let wait = Duration::from_millis(after.wait_ms).min(MAX_WAIT);
    let known = Edition { history: after.history, revision: after.after.unwrap_or(0) };
    let newer = tables.wait_for(|table| {
        table.as_ref().is_some_and(|table| after.after.is_none() || table.edition().is_news_to(&known))
    });
    let found = tokio::select! {
        found = newer => found.ok(),
        () = tokio::time::sleep(wait) => None,
        // Said here, because the answer may be on its way before its connection hears of the stop.
        () = stop.cancelled() => {
            return Ok(([(CONNECTION, "close")], StatusCode::NO_CONTENT).into_response());
        }
    };
    Ok(found
        .map_or_else(|| StatusCode::NO_CONTENT.into_response(), |table| Json(table.clone()).into_response()))
}

pub(crate) async fn receipt(
    State(control): App,
    For(caller): For,
    At(name): At<EnvironmentName>,
    Body(receipt): Body<GatewayReceipt>,
) -> Answer<Map<String, Value>> {
    if receipt.environment != name {
        return Err(bad_request(format!("the receipt is for `{}`, not for `{name}`", receipt.environment)));
    }
    control.check_environment(&name)?;
    match caller {
        Caller::Gateway(gateway) => control.receive(&gateway, &receipt)?,
        Caller::Operator(_) | Caller::Scraper => {
            control.note_anonymous(&name);
            let detail = "a receipt is taken with the key of a gateway only";
            return Err(Failure(
                Problem::new(ErrorCode::Unauthorized, detail)
                    .with_hint(format!("lockstep gateway add NAME --env {name} --key-file FILE")),
            ));
        }
    }
    Ok(Json(Map::new()))
}

pub(crate) async fn gateways(State(control): App) -> Json<Vec<GatewayIdentityView>> {
    Json(control.gateways())
}

pub(crate) async fn add_gateway(
    State(control): App,
    By(actor): By,
    Body(body): Body<AddGateway>,
) -> Answer<GatewayAdded> {
    Ok(Json(control.add_gateway(&actor, &body)?))
}

pub(crate) async fn remove_gateway(
    State(control): App,
    By(actor): By,
    At(name): At<GatewayName>,
) -> Answer<Vec<GatewayIdentityView>> {
    control.remove_gateway(&actor, &name)?;
    Ok(Json(control.gateways()))
}

pub(crate) async fn operations(State(control): App) -> Json<Vec<Operation>> {
    Json(control.operations())
}

pub(crate) async fn operation(State(control): App, At(id): At<OperationId>) -> Answer<Operation> {
    Ok(Json(control.operation(id)?))
}

pub(crate) async fn accept(
    State(control): App,
    By(actor): By,
    At(id): At<OperationId>,
    Body(body): Body<AcceptRequest>,
) -> Answer<Operation> {
    Ok(Json(control.accept(&actor, id, &body)?))
}

pub(crate) async fn verify_journal(State(control): App) -> Answer<JournalReport> {
    Ok(Json(tokio::task::block_in_place(|| control.verify_journal())?))
}

pub(crate) async fn collect(
    State(control): App,
    By(actor): By,
    Body(body): Body<CollectRequest>,
) -> Answer<CollectReport> {
    Ok(Json(control.collect(&actor, &body).await?))
}

pub(crate) async fn keys(State(control): App) -> Json<KeysView> {
    Json(tokio::task::block_in_place(|| control.keys()))
}

pub(crate) async fn rotate_callers(
    State(control): App,
    By(actor): By,
    Body(body): Body<RotateRequest>,
) -> Answer<KeysView> {
    Ok(Json(control.rotate_callers(&actor, &body).await?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfEnvironment {
    environment: Option<EnvironmentName>,
}

pub(crate) async fn data(
    State(control): App,
    Asked(of): Asked<OfEnvironment>,
) -> Answer<Vec<DataFolderView>> {
    Ok(Json(tokio::task::block_in_place(|| control.data(of.environment.as_ref()))?))
}

pub(crate) async fn remove_data(
    State(control): App,
    By(actor): By,
    Body(body): Body<RemoveData>,
) -> Answer<Vec<DataFolderView>> {
    Ok(Json(control.remove_data(&actor, &body).await?))
}

pub(crate) async fn lifecycles(State(control): App) -> Json<Vec<LifecycleView>> {
    Json(control.lifecycles())
}

pub(crate) async fn define_lifecycle(
    State(control): App,
    By(actor): By,
    Body(body): Body<LifecycleView>,
) -> Answer<LifecycleView> {
    Ok(Json(control.define_lifecycle(&actor, body)?))
}

pub(crate) async fn branches(State(control): App) -> Json<BranchPolicy> {
    Json(control.branch_policy())
}

pub(crate) async fn define_branches(
    State(control): App,
    By(actor): By,
    Body(body): Body<BranchPolicy>,
) -> Answer<BranchPolicy> {
    Ok(Json(control.define_branch_policy(&actor, body)?))
}
