//! The steps of an order. Each may be repeated: whoever was killed after one asks for it again, and the authority answers what is so.

use std::time::Duration;

use instant_acme::{
    AuthorizationState, AuthorizationStatus, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus,
};
use lockstep_domain::acme::hosts::MAX_HOSTS;
use lockstep_domain::acme::{ChallengeAnswer, ChallengeKind, said};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::http::{Http, words};
use crate::{AcmeError, Authority};

/// Longest chain that is taken, as PEM: as long as a certificate that a person gives may be.
const MAX_CHAIN: usize = 48 * 1_024;

/// How far an order came that was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The authority is at it.
    UnderWay {
        /// How long it asked to wait before it is asked again.
        after: Option<Duration>,
    },
    /// It gave a certificate.
    Issued {
        /// The chain as PEM, which nobody has looked at yet.
        chain: String,
    },
}

/// Makes a key for a certificate, as PEM.
///
/// # Errors
/// When the machine has no randomness.
pub fn new_key() -> Result<String, AcmeError> {
    let made =
        KeyPair::generate().map_err(|error| AcmeError::odd(&format!("no key can be made: {error}")))?;
    Ok(made.serialize_pem())
}

impl Authority {
    /// Places an order for hosts, and returns where it is.
    ///
    /// # Errors
    /// When the authority does not take it.
    pub async fn place(&self, account: &str, hosts: &[String]) -> Result<String, AcmeError> {
        let http = self.http();
        let account = self.account(account, &http).await?;
        let identifiers: Vec<Identifier> = hosts.iter().map(|host| Identifier::Dns(host.clone())).collect();
        let placed = account.new_order(&NewOrder::new(&identifiers)).await;
        Ok(placed.map_err(|error| http.told(error))?.url().to_owned())
    }

    /// Asks how the authority will look, and returns what is to be answered then: for each host that it has not looked at lately, by the
    /// first of the kinds that it offers.
    ///
    /// # Errors
    /// When it offers none of them, or asks for what nobody can answer.
    pub async fn ask(
        &self,
        account: &str,
        url: &str,
        hosts: &[String],
        kinds: &[ChallengeKind],
    ) -> Result<Vec<ChallengeAnswer>, AcmeError> {
        let http = self.http();
        let mut order = self.order(account, url, &http).await?;
        let (mut answers, mut looks) = (Vec::new(), order.authorizations());
        while let Some(look) = looks.next().await {
            let mut look = look.map_err(|error| http.told(error))?;
            let host = host_of(&look, hosts)?;
            if look.status == AuthorizationStatus::Valid {
                continue;
            }
            let kind = offered(&look, &host, kinds)?;
            let Some(challenge) = look.challenge(type_of(kind)) else { continue };
            let (token, proof) = (challenge.token.clone(), challenge.key_authorization());
            let key_authorization = proof.as_str().to_owned();
            let answer = ChallengeAnswer { kind, host, token, key_authorization };
            if !answer.is_sound() {
                let token = said(&answer.token);
                return Err(AcmeError::refused(&format!("its token `{token}` is none that RFC 8555 allows")));
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Tells the authority to look at what is answered. What it has been told already it is not told again.
    ///
    /// # Errors
    /// When it does not take that.
    pub async fn tell(&self, account: &str, url: &str, answers: &[ChallengeAnswer]) -> Result<(), AcmeError> {
        let http = self.http();
        let mut order = self.order(account, url, &http).await?;
        let mut looks = order.authorizations();
        while let Some(look) = looks.next().await {
            let mut look = look.map_err(|error| http.told(error))?;
            let wanted =
                look.challenges.iter().find_map(|it| answers.iter().find(|answer| answer.token == it.token));
            let Some((kind, host)) = wanted.map(|answer| (answer.kind, &answer.host)) else { continue };
            let Some(mut challenge) = look.challenge(type_of(kind)) else { continue };
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await.map_err(|error| http.told(error).of(host))?;
            }
        }
        Ok(())
    }

    /// Follows an order on: once the authority has looked it is asked for the certificate with the key, and once that is there it is
    /// returned.
    ///
    /// # Errors
    /// When the authority found something else than what was to be answered, or gives no certificate.
    pub async fn follow(
        &self,
        account: &str,
        url: &str,
        hosts: &[String],
        key: &str,
    ) -> Result<Followed, AcmeError> {
        let http = self.http();
        let mut order = self.order(account, url, &http).await?;
        if order.state().status == OrderStatus::Ready {
            order.finalize_csr(&request(hosts, key)?).await.map_err(|error| http.told(error))?;
        }
        match order.state().status {
            OrderStatus::Pending | OrderStatus::Ready => Ok(Followed::UnderWay { after: http.after() }),
            OrderStatus::Invalid => Err(why_invalid(&mut order, &http).await),
            OrderStatus::Processing | OrderStatus::Valid => {
                match order.certificate().await.map_err(|error| http.told(error))? {
                    None => Ok(Followed::UnderWay { after: http.after() }),
                    Some(chain) if chain.len() > MAX_CHAIN => {
                        let detail = format!("its certificate is longer than {MAX_CHAIN} bytes");
                        Err(AcmeError::refused(&detail))
                    }
                    Some(chain) => Ok(Followed::Issued { chain }),
                }
            }
        }
    }

    async fn order(&self, account: &str, url: &str, http: &Http) -> Result<Order, AcmeError> {
        let account = self.account(account, http).await?;
        let mut order = account.order(url.to_owned()).await.map_err(|error| http.told(error))?;
        if order.state().authorizations.len() > MAX_HOSTS {
            return Err(AcmeError::refused("it wants to look at more hosts than were ordered"));
        }
        Ok(order)
    }
}

/// Finds the host that the authority wants to look at among those that were ordered.
fn host_of(look: &AuthorizationState, hosts: &[String]) -> Result<String, AcmeError> {
    let asked = look.identifier();
    let name = asked.to_string();
    let known = hosts.iter().find(|host| host.eq_ignore_ascii_case(&name));
    known
        .cloned()
        .ok_or_else(|| AcmeError::refused(&format!("it wants to look at `{name}`, which was not ordered")))
}

/// Finds the first of the kinds that is offered for a host.
fn offered(
    look: &AuthorizationState,
    host: &str,
    kinds: &[ChallengeKind],
) -> Result<ChallengeKind, AcmeError> {
    if look.status != AuthorizationStatus::Pending {
        return Err(AcmeError::refused(
            &why_not(look).unwrap_or_else(|| format!("it does not look at {host} again")),
        ));
    }
    let is_offered = |kind: &&ChallengeKind| look.challenges.iter().any(|it| it.r#type == type_of(**kind));
    kinds.iter().find(is_offered).copied().ok_or_else(|| {
        let words: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        AcmeError::refused(&format!("it does not look at {host} by {}", words.join(" or ")))
    })
}

const fn type_of(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

/// Says what the authority found instead of what was to be answered.
async fn why_invalid(order: &mut Order, http: &Http) -> AcmeError {
    let whole = order.state().error.as_ref().map(words);
    let (mut found, mut looks) = (Vec::new(), order.authorizations());
    while let Some(look) = looks.next().await {
        match look {
            Ok(look) => found.extend(why_not(&look)),
            Err(error) => return http.told(error),
        }
    }
    found.extend(whole.filter(|_| found.is_empty()));
    let text = if found.is_empty() {
        "it gives no certificate, and does not say why".to_owned()
    } else {
        found.join("; ")
    };
    AcmeError::refused(&text)
}

fn why_not(look: &AuthorizationState) -> Option<String> {
    let problem = look.challenges.iter().find_map(|challenge| challenge.error.as_ref())?;
    Some(format!("{}: {}", look.identifier(), words(problem)))
}

/// Writes what is to be signed, as DER.
fn request(hosts: &[String], key: &str) -> Result<Vec<u8>, AcmeError> {
    let odd =
        |error: rcgen::Error| AcmeError::odd(&format!("no request for a certificate can be made: {error}"));
    let key = KeyPair::from_pem(key).map_err(odd)?;
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(odd)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(odd)?.der().to_vec())
}
