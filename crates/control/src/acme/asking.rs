//! What people ask for: a certificate that is got and renewed, and to renew it now.
//!
//! The account is made while the person waits, so that what is wrong with the authority, its terms or an account that ours is bound to is
//! said at once; then nothing was recorded.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockstep_acme::{AcmeError, Authority, ExternalAccount};
use lockstep_api::types::{CertificateList, RequestCertificate};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::acme::{AcmeRequest, Automatic, LETS_ENCRYPT, hosts};
use lockstep_domain::certificate::MAX_CERTIFICATES;
use lockstep_domain::routes::FORMAT_WITH_CHALLENGES;
use lockstep_domain::{Actor, CertificateName, Environment, EnvironmentName, Event, World};
use lockstep_gateway::certificate::read_authorities;

use super::trust;
use crate::entry::{check_losing, name_for};
use crate::environments::find;
use crate::{Control, internal, not_found};

/// Longest address of a directory, or of a person.
const MAX_TEXT: usize = 500;
/// Longest list of authorities by which a directory is believed.
const MAX_CA: usize = 64 * 1_024;

impl Control {
    /// Gets a certificate from an authority, and renews it from now on.
    ///
    /// # Errors
    /// Everything that is wrong with what is asked for, at once; or why the authority makes no account. Then nothing was recorded.
    pub async fn request_certificate(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: RequestCertificate,
    ) -> Result<CertificateList, Problem> {
        self.check_environment(name)?;
        self.check_answers_authorities(name)?;
        let hosts = check(&request)?;
        let certificate = match &request.name {
            Some(name) => name.clone(),
            None => name_for(&hosts[0])?,
        };
        let allowed =
            |world: &World| check_place(find(world, name)?, &certificate, &hosts, request.lose_hosts);
        allowed(&self.ledger.world())?;
        let wanted = AcmeRequest {
            directory: request.directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
            hosts: hosts.clone(),
            challenge: request.challenge,
            email: request.email.clone(),
            external_account: request.external_account.clone(),
            ca: request.ca.clone(),
            account: String::new(),
        };
        let account = match known_account(&self.ledger.world(), &wanted) {
            Some(account) => account,
            None => self.new_account(&wanted, &request).await?,
        };
        let wanted = Box::new(AcmeRequest { account, ..wanted });
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                allowed(world)?;
                let (environment, certificate) = (name.clone(), certificate.clone());
                Ok((
                    vec![Event::CertificateRequested { environment, certificate, request: wanted.clone() }],
                    (),
                ))
            })
        })?;
        self.certificates(name)
    }

    /// Orders a certificate that renews itself anew, now: it does not wait for its time, or for the pause after a failure.
    ///
    /// # Errors
    /// When none of that name renews itself, or an order is under way.
    pub fn renew_certificate(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        certificate: &CertificateName,
    ) -> Result<CertificateList, Problem> {
        self.check_answers_authorities(name)?;
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let found = find(world, name)?;
                let known = found.automatic.get(certificate).ok_or_else(|| by_hand(name, certificate))?;
                if known.progress.order.is_some()
                    || self.errands.is_under_way(&(name.clone(), certificate.clone()))
                {
                    let detail = format!("`{certificate}` of `{name}` is being ordered");
                    let hint = format!("lockstep certificate list --env {name}");
                    return Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint));
                }
                let progress = Box::new(known.progress.at_once());
                let (environment, certificate) = (name.clone(), certificate.clone());
                Ok((vec![Event::CertificateOrderProgressed { environment, certificate, progress }], ()))
            })
        })?;
        self.certificates(name)
    }

    /// A gateway that does not take tables with answers to authorities would not give them.
    pub(super) fn check_answers_authorities(&self, name: &EnvironmentName) -> Result<(), Problem> {
        self.check_takes_format(name, FORMAT_WITH_CHALLENGES, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that does not answer authorities (ACME)")
        })
    }

    async fn new_account(
        &self,
        wanted: &AcmeRequest,
        request: &RequestCertificate,
    ) -> Result<String, Problem> {
        let at = &wanted.directory;
        let authority = Authority::at(at, trust(wanted.ca.as_ref())).map_err(|error| said(at, &error))?;
        let terms = authority.terms().await.map_err(|error| said(at, &error))?;
        if let Some(of_service) = terms.of_service.filter(|_| !request.accept_terms) {
            let detail =
                format!("nothing was changed: the authority at {at} has terms of service: {of_service}");
            let hint = "read them, and accept them with --accept-terms";
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        }
        let external = external_account(request)?;
        if terms.wants_external_account && external.is_none() {
            let detail = format!("the authority at {at} serves those alone who have an account there");
            let hint = "it gives a name and a key for it: --eab-kid NAME --eab-key FILE";
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        }
        let made = authority.register(wanted.email.as_deref(), external.as_ref()).await;
        let credentials = made.map_err(|error| said(at, &error))?;
        tokio::task::block_in_place(|| self.secrets.put(&credentials)).map_err(internal)
    }
}

fn said(at: &str, error: &AcmeError) -> Problem {
    let code = if error.is_passing() { ErrorCode::Unavailable } else { ErrorCode::Refused };
    Problem::new(code, format!("nothing was changed: no account is to be had at {at}: {error}"))
}

fn by_hand(name: &EnvironmentName, certificate: &CertificateName) -> Problem {
    let detail = format!("no certificate `{certificate}` of `{name}` renews itself");
    not_found(detail, &format!("lockstep certificate list --env {name}"))
}

/// Finds an account that was made for the same authority and person.
fn known_account(world: &World, wanted: &AcmeRequest) -> Option<String> {
    let all = world.environments.values().flat_map(|it| it.automatic.values());
    let mut known = all.map(|it: &Automatic| &it.request);
    known.find(|request| request.has_account_of(wanted)).map(|request| request.account.clone())
}

/// Checks what was asked for, and returns the hosts in their one form.
fn check(request: &RequestCertificate) -> Result<Vec<String>, Problem> {
    let mut faults: Vec<String> = Vec::new();
    let hosts = hosts::checked(&request.hosts);
    let hosts =
        hosts.map_err(|errors| faults.extend(errors.iter().map(ToString::to_string))).unwrap_or_default();
    if let Some(directory) = &request.directory {
        let known = Authority::at(directory, trust(None));
        faults.extend(known.err().map(|error| error.to_string()));
        faults.extend((directory.len() > MAX_TEXT).then(|| "the directory is too long".to_owned()));
    }
    if request.email.as_ref().is_some_and(|email| !is_email(email)) {
        faults.push("the address is not one of a mailbox: --email ann@example.org".into());
    }
    if request.external_account.is_some() != request.external_key.is_some() {
        faults.push(
            "an account that was made at the authority has a name and a key: --eab-kid and --eab-key".into(),
        );
    }
    if let Some(ca) = &request.ca {
        let read = read_authorities(ca.as_bytes());
        faults.extend(
            read.err()
                .into_iter()
                .flatten()
                .map(|fault| format!("the authorities of the directory: {fault}")),
        );
        faults.extend(
            (ca.len() > MAX_CA)
                .then(|| format!("the authorities of the directory have more than {MAX_CA} bytes")),
        );
    }
    let part = |detail: String| ProblemPart { detail, ..ProblemPart::default() };
    match faults.as_slice() {
        [] => Ok(hosts),
        [only] => Err(Problem::new(ErrorCode::Refused, only.clone())),
        _ => {
            let detail = "the certificate cannot be asked for, for several reasons";
            Err(Problem::new(ErrorCode::Refused, detail)
                .with_problems(faults.into_iter().map(part).collect()))
        }
    }
}

/// Tells whether something may be a mailbox: the authority knows better, but it must be one word of a URI.
fn is_email(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@.!#$&'*+-/=^_`{|}~".contains(&b);
    let parts = text
        .split_once('@')
        .filter(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    text.len() <= MAX_TEXT && parts.is_some() && text.bytes().all(plain)
}

fn external_account(request: &RequestCertificate) -> Result<Option<ExternalAccount>, Problem> {
    let (Some(name), Some(key)) = (&request.external_account, &request.external_key) else { return Ok(None) };
    let key = URL_SAFE_NO_PAD.decode(key.trim().trim_end_matches('=')).ok().filter(|key| !key.is_empty());
    let odd = || {
        Problem::new(
            ErrorCode::Refused,
            "the key of the account that was made at the authority is not base64url",
        )
    };
    Ok(Some(ExternalAccount { name: name.clone(), key: key.ok_or_else(odd)? }))
}

/// Checks that a certificate for hosts may take its place.
fn check_place(
    environment: &Arc<Environment>,
    certificate: &CertificateName,
    hosts: &[String],
    loses: bool,
) -> Result<(), Problem> {
    let all = environment.certificates.keys().chain(environment.automatic.keys());
    let others = all.filter(|name| *name != certificate).collect::<std::collections::BTreeSet<_>>().len();
    if others >= MAX_CERTIFICATES {
        let detail = format!("`{}` has {MAX_CERTIFICATES} certificates already", environment.name);
        return Err(Problem::new(ErrorCode::Refused, detail));
    }
    if environment.automatic.get(certificate).is_some_and(|it| it.progress.order.is_some()) {
        let detail = format!("`{certificate}` of `{}` is being ordered", environment.name);
        let hint = format!("lockstep certificate list --env {}", environment.name);
        return Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint));
    }
    if loses { Ok(()) } else { check_losing(environment, certificate, hosts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_with_a_request_is_said_at_once() {
        let request = RequestCertificate {
            hosts: vec!["*.shop.test".into(), "10.0.0.1".into()],
            directory: Some("http://ca.test/dir".into()),
            email: Some("ann\r\n@example.org".into()),
            external_account: Some("kid".into()),
            ca: Some("no certificate".into()),
            ..RequestCertificate::default()
        };
        assert_eq!(check(&request).unwrap_err().problems.len(), 6);
        let good = RequestCertificate {
            hosts: vec!["Shop.Test".into()],
            directory: Some("https://ca.test/dir".into()),
            email: Some("ann@example.org".into()),
            ..RequestCertificate::default()
        };
        assert_eq!(check(&good).unwrap(), ["shop.test"]);
    }

    #[test]
    fn the_key_of_an_account_is_read_with_and_without_padding() {
        let with = |key: &str| RequestCertificate {
            external_account: Some("kid".into()),
            external_key: Some(key.into()),
            ..RequestCertificate::default()
        };
        for key in ["aGVsbG8", "aGVsbG8=", " aGVsbG8\n"] {
            assert_eq!(external_account(&with(key)).unwrap().unwrap().key, b"hello");
        }
        assert!(external_account(&with("a+b/")).is_err() && external_account(&with("")).is_err());
    }
}
