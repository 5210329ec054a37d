//! Changing how clients come in: what is asked for, and whether it can be.

use lockstep_api::types::EntryChange;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::entry::EntrySettings;
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::{EnvironmentName, World};
use lockstep_gateway::certificate::read_authorities;

use super::refused;

/// Returns the settings with a change.
pub(crate) fn changed_entry(settings: &EntrySettings, change: &EntryChange) -> EntrySettings {
    let client_ca = change.client_ca.clone().map_or_else(|| settings.client_ca.clone(), Some);
    EntrySettings {
        https_port: change
            .https_port
            .map_or(settings.https_port, |port| Some(port).filter(|port| *port != 0)),
        http: change.http.unwrap_or(settings.http),
        tls_min: change.tls_min.unwrap_or(settings.tls_min),
        client_ca: client_ca.filter(|pem| !pem.is_empty()),
        client_certificates: change.client_certificates.unwrap_or(settings.client_certificates),
        proxy_networks: change.proxy_networks.clone().unwrap_or_else(|| settings.proxy_networks.clone()),
    }
}

/// Checks how clients are to come into an environment.
pub(crate) fn check_entry(
    world: &World,
    name: &EnvironmentName,
    settings: &EnvironmentSettings,
) -> Result<(), Problem> {
    let entry = &settings.entry;
    entry.check().map_err(|error| Problem::new(ErrorCode::Refused, error.to_string()))?;
    if let Some(pem) = &entry.client_ca {
        read_authorities(pem.as_bytes()).map_err(|faults| refused(&faults))?;
    }
    let Some(port) = entry.https_port else { return Ok(()) };
    if port == settings.gateway_port {
        let detail = format!("port {port} is that of plain HTTP; https needs another");
        return Err(Problem::new(ErrorCode::Refused, detail));
    }
    let others = world.environments.values().filter(|other| other.name != *name);
    let taken = others
        .filter(|it| it.settings.gateway_port == port || it.settings.entry.https_port == Some(port))
        .map(|it| it.name.clone())
        .next();
    taken.map_or(Ok(()), |other| {
        let detail = format!("port {port} belongs to the gateway of `{other}`");
        Err(Problem::new(ErrorCode::Refused, detail))
    })
}
