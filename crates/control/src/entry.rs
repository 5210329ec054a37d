//! How clients come into an environment: its settings, its certificates, and the gateway inside the server that keeps to them.
//!
//! Keys of certificates are kept as secrets are: in files of their own, of which the journal knows the names. Invariant: a
//! certificate that cannot be used is refused before it is recorded, and one that cannot be read leaves what is shown as it is.

mod changes;
mod losing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use lockstep_api::types::{AddCertificate, CertificateBundle, CertificateList, CertificateView, EntryView};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::acme::Automatic;
use lockstep_domain::certificate::{Certificate, MAX_CERTIFICATES, covers};
use lockstep_domain::routes::{FORMAT_WITH_ENTRY, FORMAT_WITH_TCP, RouteTable};
use lockstep_domain::tcp_port::TcpPort;
use lockstep_domain::{Actor, CertificateName, Digest, Environment, EnvironmentName, Event, GatewayName};
use lockstep_gateway::Clients;
use lockstep_gateway::certificate::{CertificateFault, Checked, ServerCertificate, bundle};

use crate::clock::wall;
use crate::environments::find;
use crate::{Control, internal, lock, not_found};

pub(crate) use changes::{changed_entry, check_change, check_entry, ports_of};
pub(crate) use losing::check as check_losing;

/// Most names of a certificate that are warned of one by one.
const MAX_WARNED: usize = 10;

/// What the gateway inside the server could not do for environments.
#[derive(Debug, Default)]
pub(crate) struct Entrances {
    /// Why it does not listen for https.
    deaf: Mutex<BTreeMap<EnvironmentName, String>>,
    /// Why it does not show all certificates.
    unusable: Mutex<BTreeMap<EnvironmentName, String>>,
}

impl Entrances {
    /// Notes how it stands; tells whether that is news.
    fn note(
        place: &Mutex<BTreeMap<EnvironmentName, String>>,
        name: &EnvironmentName,
        why: Option<String>,
    ) -> bool {
        let mut known = lock(place);
        match why {
            Some(why) => known.insert(name.clone(), why.clone()) != Some(why),
            None => known.remove(name).is_some(),
        }
    }

    /// Forgets an environment that was removed.
    pub(crate) fn forget(&self, name: &EnvironmentName) {
        lock(&self.deaf).remove(name);
        lock(&self.unusable).remove(name);
    }
}

/// Whether a certificate is to take the place of one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// There must be none.
    Add,
    /// There must be one.
    Replace,
}

impl Control {
    /// Shows a certificate to clients of an environment from now on.
    ///
    /// # Errors
    /// Everything that is wrong with it at once; then nothing has changed.
    pub fn add_certificate(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &AddCertificate,
        taking: Taking,
    ) -> Result<CertificateList, Problem> {
        self.check_environment(name)?;
        self.check_knows_entry(name)?;
        let ocsp = request.ocsp.as_deref().map(read_hex).transpose()?;
        let (chain, key) = (request.chain.as_bytes(), request.key.as_bytes());
        let read = ServerCertificate::read(chain, key, ocsp.as_deref(), wall());
        let Checked { certificate, warnings } = read.map_err(|faults| refused(&faults))?;
        let facts = certificate.facts().clone();
        let certificate_name = match &request.name {
            Some(name) => name.clone(),
            None => name_for(facts.names.first().map_or("", String::as_str))?,
        };
        check_taking(find(&self.ledger.world(), name)?, &certificate_name, taking)?;
        if !request.lose_hosts {
            let world = self.ledger.world();
            losing::check(find(&world, name)?, &certificate_name, &facts.names)?;
            losing::check_automatic(find(&world, name)?, &certificate_name)?;
        }
        let text = bundle(&request.chain, &request.key, ocsp.as_deref());
        // What is kept is what will be shown, after a restart too.
        let kept = ServerCertificate::from_bundle(text.as_bytes()).map_err(|faults| refused(&faults))?;
        if kept.facts() != &facts {
            let detail = "something beside the certificates and the key in the file changes what they are";
            return Err(Problem::new(ErrorCode::Refused, detail));
        }
        tokio::task::block_in_place(|| {
            let secret = self.secrets.put(&text).map_err(internal)?;
            self.ledger.commit(actor, |world, _| {
                let found = find(world, name)?;
                check_taking(found, &certificate_name, taking)?;
                if !request.lose_hosts {
                    losing::check(found, &certificate_name, &facts.names)?;
                    losing::check_automatic(found, &certificate_name)?;
                }
                let renewed = found.automatic.contains_key(&certificate_name);
                let (environment, certificate) = (name.clone(), certificate_name.clone());
                let ends = Event::CertificateRequestEnded {
                    environment: environment.clone(),
                    certificate: certificate.clone(),
                };
                let (facts, secret) = (Box::new(facts.clone()), secret.clone());
                let added = Event::CertificateAdded { environment, certificate, facts, secret };
                Ok((Some(ends).filter(|_| renewed).into_iter().chain([added]).collect(), ()))
            })
        })?;
        self.wake(name);
        let mut list = self.certificates(name)?;
        let of_it = |view: &&mut CertificateView| view.name == certificate_name;
        let said = warnings.iter().map(CertificateFault::to_string);
        list.certificates
            .iter_mut()
            .find(of_it)
            .into_iter()
            .for_each(|view| view.warnings.extend(said.clone()));
        Ok(list)
    }

    /// Shows a certificate to clients of an environment no more.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove_certificate(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        certificate: &CertificateName,
    ) -> Result<CertificateList, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let found = find(world, name)?;
                let (environment, certificate) = (name.clone(), certificate.clone());
                // One that was never got is only asked for.
                if found.automatic.contains_key(&certificate)
                    && !found.certificates.contains_key(&certificate)
                {
                    return Ok((vec![Event::CertificateRequestEnded { environment, certificate }], ()));
                }
                check_taking(found, &certificate, Taking::Replace)?;
                Ok((vec![Event::CertificateRemoved { environment, certificate }], ()))
            })
        })?;
        self.wake(name);
        self.certificates(name)
    }

    /// Lists the certificates of an environment.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn certificates(&self, name: &EnvironmentName) -> Result<CertificateList, Problem> {
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        let table = self.registry.tables(name).borrow().clone();
        let staples = self.staple_warnings(name);
        let view = |(name, it): (&CertificateName, &Certificate)| {
            let mut warnings: Vec<String> = it.facts.warning(wall()).into_iter().collect();
            warnings
                .extend(staples.iter().filter(|(of, _)| of == name.as_str()).map(|(_, says)| says.clone()));
            warnings.extend(table.iter().flat_map(|table| not_routed(table, &it.facts.names)));
            CertificateView {
                name: name.clone(),
                facts: it.facts.clone(),
                at: it.at,
                by: it.by.clone(),
                warnings,
            }
        };
        let certificates = environment.certificates.iter().map(view).collect();
        Ok(CertificateList { certificates, automatic: crate::acme::views(environment) })
    }

    /// Says what is to be known of what issuers say of the revocation of certificates that are shown here, by their names.
    fn staple_warnings(&self, name: &EnvironmentName) -> Vec<(String, String)> {
        let shown = self.gateway.shown(name);
        shown.into_iter().filter_map(|(name, it)| Some((name, it.staple_warning(wall())?))).collect()
    }

    /// Gives a gateway of its own a certificate that the table of its environment names, with the key.
    ///
    /// # Errors
    /// When the gateway does not serve the environment, or that has no such certificate.
    pub fn certificate_for(
        &self,
        gateway: &GatewayName,
        name: &EnvironmentName,
        digest: &Digest,
    ) -> Result<CertificateBundle, Problem> {
        self.check_serves(gateway, name)?;
        let world = self.ledger.world();
        let environment = find(&world, name)?;
        let found = environment.certificates.values().find(|it| it.facts.digest == *digest);
        let missing = || not_found(format!("`{name}` has no such certificate"), "lockstep certificate list");
        let secret = &found.ok_or_else(missing)?.secret;
        let bundle = tokio::task::block_in_place(|| self.secrets.get(secret)).map_err(internal)?;
        Ok(CertificateBundle { bundle })
    }

    /// Tells where clients of an environment come in by https, and what is wrong there.
    pub(crate) fn entry_view(&self, environment: &Environment) -> EntryView {
        let name = &environment.name;
        let https = self.https_socket(environment).map(|address| format!("https://{address}"));
        let deaf = lock(&self.entrances.deaf).get(name).map(|why| format!("https does not listen: {why}"));
        let unusable = lock(&self.entrances.unusable).get(name).cloned();
        let fails = environment.automatic.values().filter_map(Automatic::warning);
        let is_awaited = !environment.automatic.is_empty();
        let none = (https.is_some() && environment.certificates.is_empty() && !is_awaited).then(|| {
            format!(
                "https has no certificate, so nobody is served there: lockstep certificate add --env {name}"
            )
        });
        let world = self.ledger.world();
        let hosts = lockstep_domain::clients_at::entrances(&world, environment);
        let edges = self.notes_on_edges(&world, environment);
        let ends = environment.certificates.values().filter_map(|it| it.facts.warning(wall()));
        let open = environment.settings.entry.warning().map(str::to_owned);
        let warnings = deaf
            .into_iter()
            .chain(self.closed_ports(environment))
            .chain(unusable)
            .chain(none)
            .chain(open)
            .chain(fails)
            .chain(ends)
            .chain(self.staple_warnings(name).into_iter().map(|(_, says)| says))
            .chain(edges)
            .collect();
        EntryView { https, hosts, warnings }
    }

    /// Says which ports of services that speak TCP lead nowhere.
    fn closed_ports(&self, environment: &Environment) -> Vec<String> {
        let closed = self.gateway.closed_ports(&environment.name).into_iter();
        let closed = closed.map(|(port, why)| format!("{port} is not open for TCP: {why}"));
        let world = self.ledger.world();
        let leads_nowhere = |port: &TcpPort| {
            let name = world.current_name(&port.service);
            let entry = environment.entries().get(name);
            let Some(version) = entry.and_then(|entry| world.find_version(name, &entry.version)) else {
                return Some(format!("port {} leads to `{name}`, which does not run here", port.place()));
            };
            let speaks = version.run.protocol;
            speaks.is_http().then(|| {
                format!(
                    "port {} leads to {name}@{}, which speaks {} and not TCP",
                    port.place(),
                    version.number,
                    speaks.as_str()
                )
            })
        };
        closed.chain(environment.settings.entry.tcp.iter().filter_map(leads_nowhere)).collect()
    }

    fn https_socket(&self, environment: &Environment) -> Option<SocketAddr> {
        let port = environment.settings.entry.https_port?;
        Some(SocketAddr::new(self.config.gateway_address, port))
    }

    /// Makes the gateway inside the server show the certificates of an environment, and listen for https where its settings say,
    /// and nowhere else.
    pub(crate) fn keep_entry(&self, environment: &Environment) {
        self.keep_certificates(environment);
        let (name, wanted) = (&environment.name, self.https_socket(environment));
        let listening = self.gateway.listening_to().into_iter();
        let open: Vec<SocketAddr> = listening
            .filter_map(|(of, address, clients)| {
                let is_main = Some(address) == wanted || !self.gateway.is_outside(&of, address);
                (of == *name && clients == Clients::Secure && is_main).then_some(address)
            })
            .collect();
        let opened = match wanted.filter(|wanted| !open.contains(wanted)) {
            Some(address) => self.gateway.listen_tls(name, address).map(|_| ()),
            None => Ok(()),
        };
        if opened.is_ok() {
            open.iter().filter(|address| Some(**address) != wanted).for_each(|address| {
                self.gateway.unlisten(name, *address);
            });
        }
        let why = opened.err().map(|error| crate::instances::with_sources(&error));
        if Entrances::note(&self.entrances.deaf, name, why.clone())
            && let Some(why) = why
        {
            tracing::error!(environment = %name, why, "the gateway does not listen for https");
        }
    }

    /// Gives the gateway the certificates of the environment, when it has others. One that cannot be read leaves the one from
    /// before.
    fn keep_certificates(&self, environment: &Environment) {
        let name = &environment.name;
        let shown = self.gateway.shown(name);
        let digests = |all: &[(String, ServerCertificate)]| {
            all.iter().map(|(name, it)| (name.clone(), it.facts().digest)).collect::<Vec<_>>()
        };
        let named = environment.certificates.iter();
        let wanted: Vec<(String, Digest)> =
            named.map(|(name, it)| (name.to_string(), it.facts.digest)).collect();
        if digests(&shown) == wanted {
            if lock(&self.entrances.unusable).contains_key(name) {
                Entrances::note(&self.entrances.unusable, name, None);
            }
            return;
        }
        let (mut next, mut faults) = (Vec::new(), Vec::new());
        for (certificate, it) in &environment.certificates {
            let known = shown.iter().find(|(_, known)| known.facts().digest == it.facts.digest);
            let before = || shown.iter().find(|(known, _)| known == certificate.as_str());
            let read = known.map_or_else(|| self.read_certificate(it), |(_, known)| Ok(known.clone()));
            let usable = read.inspect_err(|why| faults.push(unusable(name, certificate, why))).ok();
            let usable = usable.or_else(|| before().map(|(_, before)| before.clone()));
            next.extend(usable.map(|usable| (certificate.to_string(), usable)));
        }
        if digests(&next) != digests(&shown)
            && let Err(error) = self.gateway.certify(name, next)
        {
            faults.push(error.to_string());
        }
        let why = Some(faults.join("; ")).filter(|why| !why.is_empty());
        if Entrances::note(&self.entrances.unusable, name, why.clone())
            && let Some(why) = why
        {
            tracing::error!(environment = %name, why, "not all certificates are shown");
        }
    }

    fn read_certificate(&self, certificate: &Certificate) -> Result<ServerCertificate, String> {
        let text = tokio::task::block_in_place(|| self.secrets.get(&certificate.secret));
        let text = text.map_err(|error| format!("cannot be read: {error}"))?;
        let read = ServerCertificate::from_bundle(text.as_bytes());
        read.map_err(|faults| format!("cannot be used: {}", words(&faults)))
    }

    /// A gateway that does not take tables which say how clients come in would go on with its last one, whatever ends after that.
    pub(crate) fn check_knows_entry(&self, name: &EnvironmentName) -> Result<(), Problem> {
        self.check_takes_format(name, FORMAT_WITH_ENTRY, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that does not end TLS")
        })
    }
}

impl Control {
    /// The same, for what such a gateway would not open.
    pub(crate) fn check_knows_tcp(&self, name: &EnvironmentName) -> Result<(), Problem> {
        self.check_takes_format(name, FORMAT_WITH_TCP, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that does not pass connections of TCP")
        })
    }
}

fn unusable(name: &EnvironmentName, certificate: &CertificateName, why: &str) -> String {
    let again = format!("lockstep certificate replace {certificate} --env {name}");
    format!("certificate `{certificate}` {why}; give it again: {again}")
}

pub(crate) fn words(faults: &[CertificateFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn refused(faults: &[CertificateFault]) -> Problem {
    let part = |fault: &CertificateFault| ProblemPart { detail: fault.to_string(), ..ProblemPart::default() };
    match faults {
        [only] => Problem::new(ErrorCode::Refused, only.to_string()),
        all => {
            let detail = "the certificate cannot be used, for several reasons";
            Problem::new(ErrorCode::Refused, detail).with_problems(all.iter().map(part).collect())
        }
    }
}

fn check_taking(
    environment: &Arc<Environment>,
    certificate: &CertificateName,
    taking: Taking,
) -> Result<(), Problem> {
    let name = &environment.name;
    match (environment.certificates.contains_key(certificate), taking) {
        (true, Taking::Add) => {
            let detail = format!("`{name}` has a certificate `{certificate}` already");
            let hint =
                format!("lockstep certificate replace {certificate} --env {name}, or give another --name");
            Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint))
        }
        (false, Taking::Replace) => {
            let detail = format!("`{name}` has no certificate `{certificate}`");
            Err(not_found(detail, &format!("lockstep certificate list --env {name}")))
        }
        (false, Taking::Add) if environment.certificates.len() >= MAX_CERTIFICATES => {
            let detail = format!("`{name}` has {MAX_CERTIFICATES} certificates already");
            Err(Problem::new(ErrorCode::Refused, detail))
        }
        _ => Ok(()),
    }
}

/// Makes a name of a host: `shop-test` of `shop.test`.
pub(crate) fn name_for(host: &str) -> Result<CertificateName, Problem> {
    let spelled = host.replace("*.", "all-").replace(['.', ':', '_'], "-");
    spelled.parse().map_err(|error: lockstep_domain::name::NameError| {
        Problem::new(ErrorCode::BadRequest, format!("no name can be made of `{host}`: {error}"))
            .with_hint("give it one: --name shop")
    })
}

/// Warns of names that no route of the environment is for. A route without a host is for all of them.
fn not_routed(table: &RouteTable, names: &[String]) -> Vec<String> {
    let hosts: Option<Vec<&str>> = table.routes.iter().map(|route| route.rule.host.as_deref()).collect();
    let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty()) else { return Vec::new() };
    let is_below = |host: &str, name: &str| {
        host.strip_prefix("*.")
            .is_some_and(|parent| name.strip_suffix(parent).is_some_and(|it| it.ends_with('.')))
    };
    let is_routed = |name: &String| hosts.iter().any(|host| covers(name, host) || is_below(host, name));
    let unrouted = names.iter().filter(|name| !is_routed(name)).take(MAX_WARNED);
    unrouted.map(|name| format!("no route is for {name}")).collect()
}

fn read_hex(text: &str) -> Result<Vec<u8>, Problem> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(pair).collect();
    bytes.ok_or_else(|| Problem::new(ErrorCode::BadRequest, "`ocsp` is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_certificates_are_made_of_hosts() {
        let of = |host: &str| name_for(host).map(|name| name.to_string()).ok();
        assert_eq!(of("shop.test").as_deref(), Some("shop-test"));
        assert_eq!(of("*.shop.test").as_deref(), Some("all-shop-test"));
        assert_eq!(of("10.0.0.1"), None, "a name begins with a letter");
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(read_hex("30030a").unwrap(), [0x30, 3, 10]);
        for bad in ["3", "3x", "30030"] {
            assert!(read_hex(bad).is_err(), "{bad}");
        }
    }
}
