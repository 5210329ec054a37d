//! Where instances are.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::hosts::Host;
use crate::http::Connection;
use crate::installation::Installation;

/// How long an instance may take to take a connection.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An instance of a service on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its name.
    pub(super) id: String,
    service: String,
    version: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The name of its host.
    pub(super) host: String,
    /// Whether it can be asked.
    pub(super) is_healthy: bool,
}

impl Placed {
    /// Reads an instance; none where it is no service's, or is over.
    fn read(instance: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let state = instance["state"]["state"].as_str()?;
        if !instance["resource"].is_null() || matches!(state, "stopped" | "lost" | "failed") {
            return None;
        }
        Some(Self {
            id: text(&instance["id"])?,
            service: text(&instance["arm"]["service"])?,
            version: text(&instance["arm"]["version"])?,
            address: instance["address"].as_str()?.parse().ok()?,
            host: text(&instance["host"])?,
            is_healthy: state == "healthy",
        })
    }

    /// Whether it is of a version.
    pub(super) fn is_of(&self, service: &str, version: &str) -> bool {
        self.service == service && self.version == version
    }

    /// What does not change while it runs.
    pub(super) fn place(&self) -> (String, SocketAddr) {
        (self.id.clone(), self.address)
    }
}

/// Returns the instances of an environment.
pub(super) fn all(installation: &Installation, environment: &str) -> Result<Vec<Placed>> {
    let status = installation.json(&["status", environment])?;
    let services = status["services"].as_array().context("the status names no services")?;
    let instances = services.iter().flat_map(|service| service["instances"].as_array().into_iter().flatten());
    Ok(instances.filter_map(Placed::read).collect())
}

/// Returns the instances that hosts have, also those that no environment wants.
pub(super) fn on_hosts(installation: &Installation) -> Result<Vec<Placed>> {
    let hosts = installation.json(&["hosts"])?;
    let hosts = hosts.as_array().context("hosts are not a list")?;
    let instances = hosts.iter().flat_map(|host| host["instances"].as_array().into_iter().flatten());
    Ok(instances.filter_map(Placed::read).collect())
}

/// Returns the address of the healthy instance that a service has on a host.
pub(super) fn on(placed: &[Placed], host: Host, service: &str) -> Result<SocketAddr> {
    let host = host.to_string();
    let found = placed.iter().find(|it| it.is_healthy && it.service == service && it.host == host);
    found.map(|it| it.address).with_context(|| format!("{service} has no healthy instance on {host}"))
}

/// Checks that whatever could be asked on a host listens.
pub(super) fn expect_listening(placed: &[Placed], host: Host) -> Result<()> {
    let host = host.to_string();
    for it in placed.iter().filter(|it| it.is_healthy && it.host == host) {
        Connection::open(it.address, TIMEOUT)
            .with_context(|| format!("{} does not listen at {}", it.id, it.address))?;
    }
    Ok(())
}
