//! A typed client. Blocking: the command line has nothing else to do while it waits.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use lockstep_domain::branch::BranchPolicy;
use lockstep_domain::contract::ContractKind;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::{
    EnvironmentName, GatewayName, InstanceId, Operation, OperationId, Recorded, ServiceName, VersionNumber,
    VersionRef,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::PREFIX;
use crate::problem::{ErrorCode, Problem};
use crate::token::Token;
use crate::types::{
    AddGateway, ApprovalRequest, BaselineDiff, BuildView, CollectReport, CollectRequest, CompatAnswer,
    CompatMatrix, ConfigurationView, CreateEnvironment, DismissRequest, EnvironmentSummary, EnvironmentView,
    GatewayAdded, GatewayIdentityView, Health, History, JournalReport, LifecycleView, OperationAnswer,
    OperationRequest, RegisterService, ReleaseRequest, ServiceView, SettingsChange, StageRequest,
    VersionView,
};

/// The largest answer that is read into memory.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;
/// How long a connection may take: the server is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a call gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The server could not be reached.
    #[error("no Lockstep server answers at {server}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What happened.
        #[source]
        source: ureq::Error,
    },
    /// The server refused or failed.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is not what was expected: another program listens there, or another version.
    #[error("the answer of {server} to {path} is not understood")]
    Answer {
        /// The server.
        server: String,
        /// What was asked.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A connection to one server.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    server: String,
    token: Option<Token>,
    actor: String,
}

type Answer<T> = Result<T, ClientError>;

impl Client {
    /// Makes a client for a server such as `http://127.0.0.1:8470`. `actor` is recorded with what is changed.
    #[must_use]
    pub fn new(server: &str, token: Option<Token>, actor: &str) -> Self {
        let config =
            Agent::config_builder().timeout_connect(Some(CONNECT_TIMEOUT)).http_status_as_error(false);
        Self {
            agent: config.build().new_agent(),
            server: server.trim_end_matches('/').to_owned(),
            token,
            actor: actor.to_owned(),
        }
    }

    /// Returns the server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Asks how the server is.
    pub fn health(&self) -> Answer<Health> {
        self.get("/health")
    }

    /// Lists services.
    pub fn services(&self) -> Answer<Vec<ServiceView>> {
        self.get("/services")
    }

    /// Returns a service.
    pub fn service(&self, service: &ServiceName) -> Answer<ServiceView> {
        self.get(&format!("/services/{service}"))
    }

    /// Registers a service.
    pub fn register(&self, request: &RegisterService) -> Answer<ServiceView> {
        self.post("/services", request)
    }

    /// Returns a version.
    pub fn version(&self, version: &VersionRef) -> Answer<VersionView> {
        self.get(&version_path(version))
    }

    /// Returns a document of a version.
    pub fn document(&self, version: &VersionRef, kind: &str) -> Answer<Vec<u8>> {
        self.bytes(&format!("{}/documents/{}", version_path(version), encode(kind)))
    }

    /// Returns the snapshot of a contract of a version.
    pub fn contract(&self, version: &VersionRef, kind: ContractKind, name: Option<&str>) -> Answer<Vec<u8>> {
        let name = name.map(|name| format!("?name={}", encode(name))).unwrap_or_default();
        self.bytes(&format!("{}/contracts/{kind}{name}", version_path(version)))
    }

    /// Judges the versions of two services with each other.
    pub fn compat(&self, one: &ServiceName, other: &ServiceName) -> Answer<Vec<CompatMatrix>> {
        self.get(&format!("/services/{one}/compat/{other}"))
    }

    /// Asks whether a version works with what an environment runs.
    pub fn can_deploy(&self, environment: &EnvironmentName, version: &VersionRef) -> Answer<CompatAnswer> {
        let VersionRef { service, version } = version;
        self.get(&format!("/environments/{environment}/can-deploy/{service}/{version}"))
    }

    /// Asks whether an earlier version can come back to an environment.
    pub fn can_roll_back(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        to: Option<&VersionNumber>,
    ) -> Answer<CompatAnswer> {
        let to = to.map(|version| format!("?to={}", encode(&version.to_string()))).unwrap_or_default();
        self.get(&format!("/environments/{environment}/can-roll-back/{service}{to}"))
    }

    /// Moves a version to a stage.
    pub fn stage(&self, version: &VersionRef, request: &StageRequest) -> Answer<VersionView> {
        self.post(&format!("{}/stage", version_path(version)), request)
    }

    /// Approves a version for a stage.
    pub fn approve(&self, version: &VersionRef, request: &ApprovalRequest) -> Answer<VersionView> {
        self.post(&format!("{}/approvals", version_path(version)), request)
    }

    /// Starts a release.
    pub fn release(&self, service: &ServiceName, request: &ReleaseRequest) -> Answer<BuildView> {
        self.post(&format!("/services/{service}/releases"), request)
    }

    /// Lists builds, newest first.
    pub fn builds(&self) -> Answer<Vec<BuildView>> {
        self.get("/builds")
    }

    /// Returns a build.
    pub fn build(&self, id: &str) -> Answer<BuildView> {
        self.get(&format!("/builds/{}", encode(id)))
    }

    /// Ends a build.
    pub fn cancel_build(&self, id: &str) -> Answer<BuildView> {
        self.post(&format!("/builds/{}/cancel", encode(id)), &serde_json::json!({}))
    }

    /// Follows a build: every change of its view, until it is over.
    pub fn watch_build(&self, id: &str, each: impl FnMut(BuildView)) -> Answer<()> {
        self.events(&format!("/builds/{}/events", encode(id)), each)
    }

    /// Returns the log of a build as a stream; with `follow` it ends when the build does.
    pub fn build_log(&self, id: &str, follow: Follow) -> Answer<impl Read + use<>> {
        self.stream(&format!("/builds/{}/log?follow={}", encode(id), follow == Follow::Yes))
    }

    /// Returns the log of an instance as a stream.
    pub fn instance_log(
        &self,
        environment: &EnvironmentName,
        instance: &InstanceId,
        follow: Follow,
    ) -> Answer<impl Read + use<>> {
        let follow = follow == Follow::Yes;
        self.stream(&format!("/environments/{environment}/instances/{instance}/log?follow={follow}"))
    }

    /// Lists environments.
    pub fn environments(&self) -> Answer<Vec<EnvironmentSummary>> {
        self.get("/environments")
    }

    /// Creates an environment.
    pub fn create_environment(&self, request: &CreateEnvironment) -> Answer<EnvironmentView> {
        self.post("/environments", request)
    }

    /// Changes settings of an environment.
    pub fn change_environment(
        &self,
        environment: &EnvironmentName,
        change: &SettingsChange,
    ) -> Answer<EnvironmentView> {
        self.post(&format!("/environments/{environment}/settings"), change)
    }

    /// Returns an environment with everything seen of it.
    pub fn environment(&self, environment: &EnvironmentName) -> Answer<EnvironmentView> {
        self.get(&format!("/environments/{environment}"))
    }

    /// Returns the history of an environment.
    pub fn history(&self, environment: &EnvironmentName) -> Answer<History> {
        self.get(&format!("/environments/{environment}/history"))
    }

    /// Compares two baselines.
    pub fn diff(&self, environment: &EnvironmentName, from: u64, to: u64) -> Answer<BaselineDiff> {
        self.get(&format!("/environments/{environment}/diff?from={from}&to={to}"))
    }

    /// Returns the configurations of a service.
    pub fn configuration(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
    ) -> Answer<ConfigurationView> {
        self.get(&format!("/environments/{environment}/configurations/{service}"))
    }

    /// Returns the route table of an environment.
    pub fn routes(&self, environment: &EnvironmentName) -> Answer<RouteTable> {
        self.get(&format!("/environments/{environment}/routes"))
    }

    /// Lists gateways of their own.
    pub fn gateways(&self) -> Answer<Vec<GatewayIdentityView>> {
        self.get("/gateways")
    }

    /// Adds a gateway of its own.
    pub fn add_gateway(&self, request: &AddGateway) -> Answer<GatewayAdded> {
        self.post("/gateways", request)
    }

    /// Makes the key of a gateway invalid.
    pub fn remove_gateway(&self, gateway: &GatewayName) -> Answer<Vec<GatewayIdentityView>> {
        self.post(&format!("/gateways/{gateway}/remove"), &serde_json::json!({}))
    }

    /// Plans an intent or carries it out.
    pub fn operate(
        &self,
        environment: &EnvironmentName,
        request: &OperationRequest,
    ) -> Answer<OperationAnswer> {
        self.post(&format!("/environments/{environment}/operations"), request)
    }

    /// Releases a hold.
    pub fn release_hold(
        &self,
        environment: &EnvironmentName,
        version: &VersionRef,
    ) -> Answer<EnvironmentView> {
        let (service, version) = (&version.service, &version.version);
        self.post(
            &format!("/environments/{environment}/holds/{service}/{version}/release"),
            &serde_json::json!({}),
        )
    }

    /// Ends an instance.
    pub fn stop_instance(
        &self,
        environment: &EnvironmentName,
        instance: &InstanceId,
        request: &DismissRequest,
    ) -> Answer<EnvironmentView> {
        self.post(&format!("/environments/{environment}/instances/{instance}/stop"), request)
    }

    /// Returns an operation.
    pub fn operation(&self, id: OperationId) -> Answer<Operation> {
        self.get(&format!("/operations/{id}"))
    }

    /// Lists operations of all environments, newest first.
    pub fn operations(&self) -> Answer<Vec<Operation>> {
        self.get("/operations")
    }

    /// Follows an operation: all its events from the first, until it is over.
    pub fn watch_operation(&self, id: OperationId, each: impl FnMut(Recorded)) -> Answer<()> {
        self.events(&format!("/operations/{id}/events"), each)
    }

    /// Checks the journal.
    pub fn verify_journal(&self) -> Answer<JournalReport> {
        self.get("/journal/verify")
    }

    /// Returns the journal as JSON lines.
    pub fn export_journal(&self) -> Answer<impl Read + use<>> {
        self.stream("/journal/export")
    }

    /// Collects unused blobs.
    pub fn collect(&self, request: &CollectRequest) -> Answer<CollectReport> {
        self.post("/store/collect", request)
    }

    /// Lists lifecycles.
    pub fn lifecycles(&self) -> Answer<Vec<LifecycleView>> {
        self.get("/lifecycles")
    }

    /// Defines a lifecycle.
    pub fn define_lifecycle(&self, lifecycle: &LifecycleView) -> Answer<LifecycleView> {
        self.post("/lifecycles", lifecycle)
    }

    /// Shows which branches may cut which versions.
    pub fn branch_policy(&self) -> Answer<BranchPolicy> {
        self.get("/branches")
    }

    /// Defines which branches may cut which versions.
    pub fn define_branch_policy(&self, policy: &BranchPolicy) -> Answer<BranchPolicy> {
        self.post("/branches", policy)
    }

    /// Returns the OpenAPI document.
    pub fn openapi(&self) -> Answer<serde_json::Value> {
        self.get("/openapi.json")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{PREFIX}{path}", self.server)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let response = self.send_get(path, "application/json")?;
        self.json(path, response)
    }

    fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Answer<T> {
        let mut request = self.agent.post(self.url(path)).header("lockstep-actor", &self.actor);
        if let Some(token) = &self.token {
            request = request.header("authorization", bearer(token));
        }
        let response = request.send_json(body).map_err(|source| self.unreachable(source))?;
        let response = self.success(path, response)?;
        self.json(path, response)
    }

    fn bytes(&self, path: &str) -> Answer<Vec<u8>> {
        let mut response = self.send_get(path, "*/*")?;
        let limit = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        limit.read_to_vec().map_err(|source| self.unreachable(source))
    }

    fn stream(&self, path: &str) -> Answer<impl Read + use<>> {
        Ok(self.send_get(path, "*/*")?.into_body().into_with_config().limit(u64::MAX).reader())
    }

    fn send_get(&self, path: &str, accept: &str) -> Answer<Response<Body>> {
        let mut request = self.agent.get(self.url(path)).header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", bearer(token));
        }
        let response = request.call().map_err(|source| self.unreachable(source))?;
        self.success(path, response)
    }

    fn success(&self, path: &str, response: Response<Body>) -> Answer<Response<Body>> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        match self.json::<Problem>(path, response) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(ClientError::Answer { .. }) => {
                let problem =
                    Problem::new(ErrorCode::Internal, format!("{} answered {status} to {path}", self.server));
                Err(ClientError::Problem(Box::new(problem)))
            }
            Err(error) => Err(error),
        }
    }

    fn json<T: DeserializeOwned>(&self, path: &str, mut response: Response<Body>) -> Answer<T> {
        let limit = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        let bytes = limit.read_to_vec().map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&bytes).map_err(|source| self.answer(path, source))
    }

    /// Reads server-sent events; each one's data is one JSON text. Ends when the server ends the stream.
    fn events<T: DeserializeOwned>(&self, path: &str, mut each: impl FnMut(T)) -> Answer<()> {
        let body = self.send_get(path, "text/event-stream")?.into_body();
        let reader = BufReader::new(body.into_with_config().limit(u64::MAX).reader());
        let mut data = String::new();
        for line in reader.lines() {
            let line = line.map_err(|source| self.answer(path, source))?;
            if let Some(more) = line.strip_prefix("data:") {
                data.push_str(more.trim_start());
            } else if line.is_empty() && !data.is_empty() {
                each(serde_json::from_str(&data).map_err(|source| self.answer(path, source))?);
                data.clear();
            }
        }
        Ok(())
    }

    fn unreachable(&self, source: ureq::Error) -> ClientError {
        ClientError::Unreachable { server: self.server.clone(), source }
    }

    fn answer(&self, path: &str, source: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError::Answer { server: self.server.clone(), path: path.to_owned(), source: Box::new(source) }
    }
}

/// Whether a log is followed until what writes it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It is.
    Yes,
    /// What is there is enough.
    No,
}

fn version_path(version: &VersionRef) -> String {
    format!("/services/{}/versions/{}", version.service, version.version)
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.reveal())
}

/// Percent-encodes a path segment.
fn encode(segment: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    segment.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_encoded() {
        assert_eq!(encode("a/b c.d"), "a%2Fb%20c.d");
    }
}
