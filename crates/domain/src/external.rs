//! Services that somebody else runs: where they are, and what is asked of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call_address;
use crate::reference::has_references;
use crate::run::{HealthCheck, Probe};
use crate::work_path::WorkPath;

/// What an instance of such a service, a relay, must know: it passes requests to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// Where it is: `http://` or `https://`, a host, perhaps a port and a path. References in it are filled in at start.
    pub address: String,
    /// The file of the artifact with the certificates of the only authorities that it is believed by; those of the host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<WorkPath>,
    /// What it is shown, so that it knows who asks: a certificate with its chain and the private key, as PEM. A manifest is no place for a key, so it
    /// is a reference, which is filled in at start; nothing is shown when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How long a connection to it may take to be open, with its TLS.
    #[serde(default = "usual_connect_ms", skip_serializing_if = "is_usual_connect")]
    pub connect_ms: u64,
    /// How long it may take to begin an answer; as long as the route of the request says when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether it learns who asked.
    #[serde(default, skip_serializing_if = "Clients::are_withheld")]
    pub clients: Clients,
    /// How it is asked for its version; the number of the release is what counts when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionQuestion>,
}

/// How the other side is asked which version it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionQuestion {
    /// The path below the address, with its leading slash.
    pub path: String,
    /// The field of the JSON object in the answer, with dots between fields that lie in each other; the answer is the version itself
    /// when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Whether the other side learns who asked: addresses of clients, hosts they asked for, and the keys that keep them at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clients {
    /// It learns nothing of that.
    #[default]
    Withheld,
    /// It is told as a service of one's own would be.
    Told,
}

impl Clients {
    fn are_withheld(&self) -> bool {
        *self == Self::Withheld
    }
}

/// The argument that makes the program of Lockstep a relay.
pub const WORD: &str = "relay";
/// The variable that says where a relay passes requests to: [`External`] as JSON. No other user of the machine sees it.
pub const VARIABLE: &str = "LOCKSTEP_RELAY";
/// The field of an answer in which a relay says why it answers in the place of the other side.
pub const REASON_FIELD: &str = "lockstep-relay";
/// The field of a request `OPTIONS *` that asks a relay whether the other side can be reached.
pub const HEALTH_FIELD: &str = "lockstep-health";

/// How long a connection may take where nothing is said: name, connection and TLS over half the world, once more after a lost packet;
/// and less than a check of its health, which so hears why.
const USUAL_CONNECT_MS: u64 = 4_000;

const fn usual_connect_ms() -> u64 {
    USUAL_CONNECT_MS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_usual_connect(ms: &u64) -> bool {
    *ms == USUAL_CONNECT_MS
}

impl External {
    /// Returns what an instance is started with.
    #[must_use]
    pub fn command(program: &str) -> Vec<String> {
        vec![program.to_owned(), WORD.to_owned()]
    }

    /// Returns what is asked where a manifest does not say: whether it can be reached, less often than what runs here, and with more
    /// time.
    #[must_use]
    pub fn usual_health() -> HealthCheck {
        HealthCheck { interval_ms: 5_000, timeout_ms: 5_000, ..HealthCheck::new(Probe::Tcp) }
    }

    /// Makes one of which nothing but the address is known.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            ca: None,
            certificate: None,
            connect_ms: USUAL_CONNECT_MS,
            timeout_ms: None,
            clients: Clients::default(),
            version: None,
        }
    }
}

/// Says what is wrong with an address. One with references is looked at as far as it is known.
///
/// # Errors
/// The rule that it breaks; never the address, which may hold a secret once it is filled in.
pub fn check_address(address: &str) -> Result<(), &'static str> {
    if has_references(address) {
        let begins = ["http://", "https://", "${"].iter().any(|begin| address.starts_with(begin));
        return if begins { Ok(()) } else { Err(FORM) };
    }
    let Some((scheme, rest)) = address.split_once("://") else { return Err(FORM) };
    if address.contains('@') {
        return Err("it has no user and no password: give them by a header that callers send");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    if !path.bytes().all(plain) || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("its path has something that does not belong there: letters, digits and -._~ do");
    }
    match call_address::problem(&format!("{scheme}://{authority}")) {
        Some(_) if !matches!(scheme, "http" | "https") => Err(FORM),
        Some(why) => Err(why),
        None => Ok(()),
    }
}

const FORM: &str =
    "write http://HOST:PORT/PATH or https://HOST/PATH, or a reference to it such as ${env.PARTNER_URL}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_of_http_without_a_user_or_a_reference_to_one() {
        for good in [
            "http://a",
            "https://api.partner.test:8443/base",
            "https://[::1]:8443/",
            "http://127.0.0.1:8080",
            "${env.PARTNER_URL}",
            "https://${resource.partner.host}/v1",
            "http://${env.HOST}:${env.PORT}",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "api.partner.test",
            "ftp://a",
            "tcp://a:1",
            "http://",
            "http://a:0",
            "http://a:x",
            "https://ann:secret@a",
            "https://a/b?c",
            "https://a/b#c",
            "https://a/../b",
            "https://a b",
            "partner/${env.X}",
        ] {
            let why = check_address(bad).unwrap_err();
            assert!(!why.contains("secret"), "{bad}: {why}");
        }
    }

    #[test]
    fn what_is_usual_is_not_written() {
        let text = serde_json::to_string(&External::at("https://a")).unwrap();
        assert_eq!(text, r#"{"address":"https://a"}"#);
        assert_eq!(serde_json::from_str::<External>(&text).unwrap(), External::at("https://a"));
    }
}
