//! Ending TLS for the clients of an environment: its certificates, who may show what, and how handshakes ended.
//!
//! Invariant: what is shown to a client was checked before, and is swapped behind an atomic pointer: a connection that lives
//! keeps what it began with. A set that cannot be used changes nothing.

mod challenge;
mod counters;
mod hello;
mod names;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use lockstep_domain::acme::ChallengeAnswer;
use lockstep_domain::certificate::CertificateFacts;
use lockstep_domain::entry::{ClientCertificates, EntrySettings, TlsVersion};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use crate::certificate::{ServerCertificate, read_authorities};

pub(crate) use challenge::Challenges;
pub(crate) use counters::{HandshakeEnd, Handshakes};
pub(crate) use hello::{Entered, end_of, enter, read_hello, refuse};
use names::Names;

/// The protocols that are offered, the preferred one first.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// What is shown to clients of an environment who come by TLS.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    shown: ArcSwapOption<Shown>,
    given: Mutex<Given>,
    /// What authorities are shown that only look, while orders of certificates are under way.
    challenges: ArcSwapOption<Challenges>,
    pub(crate) handshakes: Handshakes,
}

/// What a handshake needs.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) names: Arc<Names>,
}

/// What it is made of.
#[derive(Debug, Default, Clone)]
struct Given {
    /// With their names, for people.
    certificates: Vec<(String, ServerCertificate)>,
    terms: Terms,
    /// All workers take each other's tickets; its keys change every few hours.
    tickets: Option<Arc<dyn ProducesTickets>>,
}

/// What clients have to keep to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Terms {
    min: TlsVersion,
    /// The authorities of clients, and whether a client must show a certificate.
    clients: Option<(String, ClientCertificates)>,
}

impl Terms {
    fn of(settings: Option<&EntrySettings>) -> Self {
        let Some(settings) = settings else { return Self::default() };
        let clients = settings.client_ca.clone().map(|pem| (pem, settings.client_certificates));
        Self { min: settings.tls_min, clients }
    }
}

impl Tls {
    /// Returns what a handshake needs; nothing while there is no certificate.
    pub(crate) fn shown(&self) -> Option<Arc<Shown>> {
        self.shown.load_full()
    }

    /// Returns what authorities are shown that only look; nothing while no order is under way.
    pub(crate) fn challenges(&self) -> Option<Arc<Challenges>> {
        self.challenges.load_full()
    }

    /// Answers authorities from now on, and nobody else.
    pub(crate) fn answer(&self, answers: &[ChallengeAnswer]) {
        let answers = challenge::by_tls(answers);
        let before = self.challenges.load();
        if answers.is_empty() {
            self.challenges.store(None);
        } else if !before.as_ref().is_some_and(|before| before.is_of(&answers)) {
            self.challenges.store(Some(Arc::new(Challenges::of(&answers))));
        }
    }

    /// Shows these certificates from the next handshake on, the first to clients that name no host.
    ///
    /// # Errors
    /// When they cannot be used together with what else is said; what was shown before stays.
    pub(crate) fn give(&self, certificates: Vec<(String, ServerCertificate)>) -> Result<(), rustls::Error> {
        let mut given = self.given();
        let next = Given { certificates, ..given.clone() };
        self.show(&mut given, next)
    }

    /// Keeps to these settings from the next handshake on.
    ///
    /// # Errors
    /// When they cannot be used; what held before stays.
    pub(crate) fn keep_to(&self, settings: Option<&EntrySettings>) -> Result<(), rustls::Error> {
        let mut given = self.given();
        let terms = Terms::of(settings);
        if given.terms == terms {
            return Ok(());
        }
        // A ticket says that its client was asked for its certificate, by the terms of then.
        let tickets = if given.terms.clients == terms.clients { given.tickets.clone() } else { None };
        let next = Given { terms, tickets, ..given.clone() };
        self.show(&mut given, next)
    }

    /// Returns what is known of the certificates that are shown, by name.
    pub(crate) fn certificates(&self) -> Vec<(String, CertificateFacts)> {
        let given = self.given();
        given.certificates.iter().map(|(name, it)| (name.clone(), it.facts().clone())).collect()
    }

    /// Returns the certificates that are shown, by name.
    pub(crate) fn all(&self) -> Vec<(String, ServerCertificate)> {
        self.given().certificates.clone()
    }

    fn show(&self, given: &mut Given, mut next: Given) -> Result<(), rustls::Error> {
        let tickets = match &next.tickets {
            Some(tickets) => Arc::clone(tickets),
            None => Ticketer::new()?,
        };
        next.tickets = Some(Arc::clone(&tickets));
        let names = Arc::new(Names::of(next.certificates.iter().map(|(_, certificate)| certificate)));
        let shown = if next.certificates.is_empty() {
            None
        } else {
            let config = Arc::new(config(&next.terms, &names, tickets)?);
            Some(Arc::new(Shown { config, names }))
        };
        self.shown.store(shown);
        *given = next;
        Ok(())
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the authorities of clients.
fn roots(pem: &str) -> Result<RootCertStore, String> {
    let authorities = read_authorities(pem.as_bytes())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// Says why the authorities of clients cannot be used, also while there is no certificate to be shown.
pub(crate) fn client_ca_problem(settings: &EntrySettings) -> Option<String> {
    roots(settings.client_ca.as_ref()?).err()
}

fn config(
    terms: &Terms,
    names: &Arc<Names>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let versions: &[&SupportedProtocolVersion] = match terms.min {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match &terms.clients {
        None => builder.with_no_client_auth(),
        Some((pem, wanted)) => {
            let unusable = |why: String| rustls::Error::General(format!("the authorities of clients: {why}"));
            let roots = roots(pem).map_err(unusable)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match wanted {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(names) as _);
    if terms.clients.is_none() {
        config.ticketer = tickets;
    } else {
        // A session that goes on would not look at the certificate again, which may have ended meanwhile.
        config.send_tls13_tickets = 0;
    }
    // Tickets hold what a session needs, so nothing of clients is kept here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = PROTOCOLS.iter().map(|it| it.to_vec()).collect();
    Ok(config)
}
