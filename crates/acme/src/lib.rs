//! Asks an authority for certificates by ACME (RFC 8555): one step of an order at a time, so that whoever calls can record what came of
//! each before the next.
//!
//! `instant-acme` signs and reads what is said; connections, bounds and whom to believe are ours ([`http`]). It decides nothing: which
//! step comes next, when something is tried again and what gateways answer is the caller's. Nothing that an authority says is believed
//! further than it must be: answers are bounded in size and time, redirects lead nowhere, texts are cut, tokens are looked at.

mod error;
mod http;
mod order;

use std::sync::Arc;

use instant_acme::{Account, ExternalAccountKey, NewAccount};
use lockstep_domain::acme::said;
use lockstep_reach::Trust;
use serde::Deserialize;

pub use error::AcmeError;
pub use order::{Followed, new_key};

use http::Http;

/// An authority as it is reached.
#[derive(Debug, Clone)]
pub struct Authority {
    directory: String,
    trust: Arc<Trust>,
}

/// What an authority says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Where its terms of service are, when it has any.
    pub of_service: Option<String>,
    /// Whether an account must be bound to one that was made elsewhere.
    pub wants_external_account: bool,
}

/// An account that was made elsewhere, to which ours is bound.
pub struct ExternalAccount {
    /// The authority's name of it.
    pub name: String,
    /// The key that the authority gave with it.
    pub key: Vec<u8>,
}

/// Without its key.
impl std::fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalAccount").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is read of a directory here; the rest is the library's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    /// Every authority has it, and hardly anything else does.
    #[serde(rename = "newOrder")]
    _new_order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    terms_of_service: Option<String>,
    external_account_required: bool,
}

impl Authority {
    /// Makes the way to an authority by its directory. Nothing is sent yet.
    ///
    /// # Errors
    /// When the directory is no address that an account can be entrusted to: https, or plain HTTP on loopback.
    pub fn at(directory: &str, trust: Trust) -> Result<Self, AcmeError> {
        http::target(directory)?;
        Ok(Self { directory: directory.to_owned(), trust: Arc::new(trust) })
    }

    /// Asks what the authority says of itself.
    ///
    /// # Errors
    /// When it is not reached, or answers what is no directory.
    pub async fn terms(&self) -> Result<Terms, AcmeError> {
        let body = self.http().get(&self.directory).await?;
        let read: Result<Directory, _> = serde_json::from_slice(&body);
        let Directory { meta, .. } =
            read.map_err(|error| AcmeError::odd(&format!("its directory cannot be read: {error}")))?;
        Ok(Terms {
            of_service: meta.terms_of_service.map(|text| said(&text)),
            wants_external_account: meta.external_account_required,
        })
    }

    /// Makes an account, whose terms of service were accepted, and returns it with its key: a text that is a secret.
    ///
    /// # Errors
    /// When the authority makes none.
    pub async fn register(
        &self,
        email: Option<&str>,
        external: Option<&ExternalAccount>,
    ) -> Result<String, AcmeError> {
        let http = self.http();
        let external = external.map(|it| ExternalAccountKey::new(it.name.clone(), &it.key));
        let contact = email.map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let account =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(http.clone()));
        let made = builder.create(&account, self.directory.clone(), external.as_ref()).await;
        let (_, credentials) = made.map_err(|error| http.told(error))?;
        serde_json::to_string(&credentials).map_err(|error| AcmeError::odd(&error.to_string()))
    }

    /// Opens an account for a step.
    async fn account(&self, credentials: &str, http: &Http) -> Result<Account, AcmeError> {
        let credentials = serde_json::from_str(credentials)
            .map_err(|_| AcmeError::odd("the account that is kept cannot be read"))?;
        let builder = Account::builder_with_http(Box::new(http.clone()));
        builder.from_credentials(credentials).await.map_err(|error| http.told(error))
    }

    fn http(&self) -> Http {
        Http::new(Arc::clone(&self.trust), self.directory.starts_with("https://"))
    }
}
