//! Certificates that are got and renewed by ACME (RFC 8555): what was asked for, and how far an order is.
//!
//! Pure: the step that comes next is in [`steps`], when something is tried again in [`timing`]. All of it is recorded, so a server
//! that was killed goes on with the order that it has, and keeps the pauses that it owes to the authority. Keys are secrets: here are
//! only their names.

pub mod hosts;
pub mod steps;
pub mod timing;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::Actor;
use crate::time::Timestamp;

/// The directory of the authority that is asked when none is named.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The format of route tables that a gateway must take where it answers authorities that give certificates.
pub const FORMAT_WITH_CHALLENGES: u32 = 11;
/// Longest text of an authority that is kept and shown.
pub const MAX_PROBLEM: usize = 300;
/// Longest token of a challenge: authorities send 43 characters.
const MAX_TOKEN: usize = 256;

/// How an authority looks whether a host is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ChallengeKind {
    /// It asks for a path by plain HTTP at port 80 (RFC 8555, 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// It shakes hands by TLS at port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// A word is none of those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write `http-01`, or `tls-alpn-01`")]
pub struct ChallengeKindError;

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        })
    }
}

impl FromStr for ChallengeKind {
    type Err = ChallengeKindError;

    fn from_str(text: &str) -> Result<Self, ChallengeKindError> {
        match text {
            "http-01" => Ok(Self::Http01),
            "tls-alpn-01" => Ok(Self::TlsAlpn01),
            _ => Err(ChallengeKindError),
        }
    }
}

/// What a gateway answers to an authority that looks whether a host is served here. It is no secret: anybody may ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChallengeAnswer {
    /// How the authority asks.
    pub kind: ChallengeKind,
    /// The host, in its one form.
    pub host: String,
    /// What the authority chose.
    pub token: String,
    /// The token and what tells the key of the account: the answer.
    pub key_authorization: String,
}

impl ChallengeAnswer {
    /// Tells whether it can be given to gateways: a token is of the letters of base64url, so it is one part of a path.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_plain = |text: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(known)
        };
        let proof = self.key_authorization.strip_prefix(&self.token).and_then(|rest| rest.strip_prefix('.'));
        is_plain(&self.token) && proof.is_some_and(is_plain)
    }
}

/// What a person asked for: a certificate that is got, and renewed before it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcmeRequest {
    /// The directory of the authority.
    pub directory: String,
    /// The hosts that it is to be for, in their one form, the first of them first.
    pub hosts: Vec<String>,
    /// How the authority is to look; by what listens when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeKind>,
    /// Where the authority writes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The authority's name of the account that ours was bound to (external account binding).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account: Option<String>,
    /// By which certificates of authorities the directory is believed, as PEM; by those of the host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name of the secret with the account and its key.
    pub account: String,
}

impl AcmeRequest {
    /// Tells whether an account that was made for another request is the one for this.
    #[must_use]
    pub fn has_account_of(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.directory.clone(), it.email.clone(), it.external_account.clone());
        of(self) == of(other)
    }
}

/// A certificate that renews itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Automatic {
    /// What was asked for.
    pub request: AcmeRequest,
    /// Since when.
    pub at: Timestamp,
    /// Who asked.
    pub by: Actor,
    /// How it stands.
    #[serde(default)]
    pub progress: Progress,
}

/// How a certificate that renews itself stands. Times are those of the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The certificate that was got last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<Digest>,
    /// The order that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// How often it failed since it last came about.
    #[serde(default)]
    pub failures: u32,
    /// Before this no order is begun.
    #[serde(default)]
    pub not_before: Timestamp,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An order that an authority has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// Where it is at the authority.
    pub url: String,
    /// The name of the secret with the key of the certificate.
    pub key: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// How far it is.
    pub stage: OrderStage,
}

/// How far an order is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum OrderStage {
    /// The authority has it; how it will look is not known yet.
    Placed,
    /// Gateways are to answer, and the authority does not know it yet.
    Answering {
        /// What they answer.
        answers: Vec<ChallengeAnswer>,
    },
    /// The authority was told to look. It looks, then it makes the certificate.
    Told {
        /// What gateways answer until it has looked.
        answers: Vec<ChallengeAnswer>,
    },
}

impl Automatic {
    /// Begins with what was asked for.
    #[must_use]
    pub fn begin(request: AcmeRequest, at: Timestamp, by: Actor) -> Self {
        Self { request, at, by, progress: Progress::default() }
    }

    /// Returns what gateways answer to the authority now.
    #[must_use]
    pub fn answers(&self) -> &[ChallengeAnswer] {
        match self.progress.order.as_ref().map(|order| &order.stage) {
            Some(OrderStage::Answering { answers } | OrderStage::Told { answers }) => answers,
            Some(OrderStage::Placed) | None => &[],
        }
    }

    /// Says for people what is to be known of it: that it fails.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Progress { failures, problem, not_before, .. } = &self.progress;
        let problem = problem.as_ref().filter(|_| *failures > 0)?;
        let host = self.request.hosts.first().map_or("?", String::as_str);
        let times = if *failures == 1 { "once".to_owned() } else { format!("{failures} times") };
        let next = not_before.day();
        Some(format!("no certificate of {host} was got, {times}: {problem}; tried again on {next} UTC"))
    }
}

/// Makes a text of an authority fit to be kept and shown: one line, and not longer than a sentence or two.
#[must_use]
pub fn said(text: &str) -> String {
    let plain = text.chars().map(|it| if it.is_control() { ' ' } else { it });
    plain.take(MAX_PROBLEM).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(token: &str, proof: &str) -> ChallengeAnswer {
        let (kind, host) = (ChallengeKind::Http01, "shop.test".to_owned());
        ChallengeAnswer { kind, host, token: token.into(), key_authorization: proof.into() }
    }

    #[test]
    fn a_token_with_characters_of_a_path_goes_to_no_gateway() {
        assert!(answer("abc-_9", "abc-_9.def").is_sound());
        for (token, proof) in [
            ("../x", "../x.def"),
            ("a/b", "a/b.def"),
            ("a%2fb", "a%2fb.def"),
            ("a b", "a b.def"),
            ("", ".def"),
            ("abc", "abd.def"),
            ("abc", "abc"),
            ("abc", "abc."),
            ("abc", "abc.d\r\nx"),
        ] {
            assert!(!answer(token, proof).is_sound(), "{token} {proof}");
        }
        let long = "a".repeat(MAX_TOKEN + 1);
        assert!(!answer(&long, &format!("{long}.d")).is_sound());
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("dns-01".parse::<ChallengeKind>().is_err());
    }

    #[test]
    fn what_an_authority_says_is_one_short_line() {
        let text = said(&format!("a\r\nb\u{1b}[31m{}", "x".repeat(1_000)));
        assert!(text.starts_with("a  b [31mx") && text.chars().count() == MAX_PROBLEM, "{text}");
    }
}
