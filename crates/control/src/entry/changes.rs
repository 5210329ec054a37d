//! Changing how clients come in: what is asked for, and whether it can be.

use lockstep_api::types::EntryChange;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::entry::{ClientCertificates, EntryError, EntrySettings};
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::{EnvironmentName, World};
use lockstep_gateway::certificate::read_authorities;

use super::refused;

/// Returns the settings with a change.
pub(crate) fn changed_entry(settings: &EntrySettings, change: &EntryChange) -> EntrySettings {
    let client_ca = change.client_ca.clone().map_or_else(|| settings.client_ca.clone(), Some);
    let client_ca = client_ca.filter(|pem| !pem.is_empty());
    // Who gives authorities and says nothing more wants everybody to show a certificate, whatever was before.
    let stays = client_ca.is_some() && change.client_ca.is_none();
    let wanted = if stays { settings.client_certificates } else { ClientCertificates::default() };
    EntrySettings {
        https_port: change
            .https_port
            .map_or(settings.https_port, |port| Some(port).filter(|port| *port != 0)),
        http: change.http.unwrap_or(settings.http),
        tls_min: change.tls_min.unwrap_or(settings.tls_min),
        client_ca,
        client_certificates: change.client_certificates.unwrap_or(wanted),
        proxy_networks: change.proxy_networks.clone().unwrap_or_else(|| settings.proxy_networks.clone()),
        tcp: change.tcp.clone().unwrap_or_else(|| settings.tcp.clone()),
        tcp_idle_ms: change
            .tcp_idle_ms
            .map_or(settings.tcp_idle_ms, |idle| Some(idle).filter(|idle| *idle != 0)),
    }
}

/// Checks that a change does what it says: whether clients must show certificates means nothing without authorities.
pub(crate) fn check_change(settings: &EntrySettings, change: &EntryChange) -> Result<(), Problem> {
    let means_nothing =
        change.client_certificates.is_some() && changed_entry(settings, change).client_ca.is_none();
    let refused = || Problem::new(ErrorCode::Refused, EntryError::NoClientCa.to_string());
    if means_nothing { Err(refused()) } else { Ok(()) }
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
    let mut own = ports_of(settings).filter(|port| *port != settings.gateway_port);
    own.try_for_each(|port| check_port(world, name, port))?;
    if ports_beside(settings).any(|port| port == settings.gateway_port) {
        let detail =
            format!("port {} is that of plain HTTP; what else comes in needs another", settings.gateway_port);
        return Err(Problem::new(ErrorCode::Refused, detail));
    }
    check_services(world, settings)
}

/// The ports that the gateway of an environment has on this host.
pub(crate) fn ports_of(settings: &EnvironmentSettings) -> impl Iterator<Item = u16> + use<'_> {
    std::iter::once(settings.gateway_port).chain(ports_beside(settings))
}

fn ports_beside(settings: &EnvironmentSettings) -> impl Iterator<Item = u16> + use<'_> {
    settings.entry.https_port.into_iter().chain(settings.entry.tcp.iter().map(|port| port.port))
}

fn check_port(world: &World, name: &EnvironmentName, port: u16) -> Result<(), Problem> {
    let mut others = world.environments.values().filter(|other| other.name != *name);
    let taken = others.find(|other| ports_of(&other.settings).any(|it| it == port));
    taken.map_or(Ok(()), |other| {
        let detail = format!("port {port} belongs to the gateway of `{}`", other.name);
        Err(Problem::new(ErrorCode::Refused, detail))
    })
}

/// A port leads to a service that there is, also where it does not run here yet.
fn check_services(world: &World, settings: &EnvironmentSettings) -> Result<(), Problem> {
    let is_known = |service| world.service(world.current_name(service)).is_some();
    let unknown = settings.entry.tcp.iter().find(|port| !is_known(&port.service));
    unknown.map_or(Ok(()), |port| {
        let detail =
            format!("there is no service `{}`, to which port {} is to lead", port.service, port.place());
        Err(Problem::new(ErrorCode::Refused, detail).with_hint("lockstep service list"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_alone_mean_that_everybody_shows_a_certificate_whatever_was_before() {
        let before = |client_ca: Option<&str>, client_certificates| EntrySettings {
            client_ca: client_ca.map(str::to_owned),
            client_certificates,
            ..EntrySettings::default()
        };
        let optional = ClientCertificates::Optional;
        let given = |pem: &str| EntryChange { client_ca: Some(pem.into()), ..EntryChange::default() };
        let asked =
            EntryChange { client_certificates: Some(ClientCertificates::Required), ..EntryChange::default() };
        for settings in [before(None, optional), before(Some("old"), optional), EntrySettings::default()] {
            assert_eq!(
                changed_entry(&settings, &given("new")).client_certificates,
                ClientCertificates::Required
            );
            assert_eq!(
                changed_entry(&settings, &given("")),
                EntrySettings::default(),
                "nothing is left behind"
            );
            assert_eq!(check_change(&settings, &given("new")), Ok(()));
            assert_eq!(check_change(&settings, &asked).is_ok(), settings.client_ca.is_some());
        }
        let both = EntryChange { client_certificates: Some(optional), ..given("new") };
        assert_eq!(changed_entry(&EntrySettings::default(), &both).client_certificates, optional);
        let kept = changed_entry(
            &before(Some("old"), optional),
            &EntryChange { https_port: Some(1), ..EntryChange::default() },
        );
        assert_eq!(kept.client_certificates, optional, "what is not given stays");
    }
}
