//! Where notices go, in a form that a person may write: `{ kind = "dingtalk", url = "https://…", secret = "SEC…" }`. Pure.
//!
//! What is wrong with one, all at once: [`check`]. Addresses of chats hold their token, so they are secrets like keys.

mod check;
mod mention;
mod place;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Secret;

pub use check::{Check, Problem, check};
pub(crate) use mention::{FeishuWho, SlackWho, feishu_who, slack_who};
pub(crate) use place::Place;

/// Where notices go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    /// A channel of Slack.
    Slack(Slack),
    /// A group of DingTalk.
    Dingtalk(Dingtalk),
    /// A group of Feishu or Lark.
    Feishu(Feishu),
    /// A group of WeCom.
    Wecom(Wecom),
    /// A channel or chat of Microsoft Teams.
    Teams(Teams),
    /// People by mail.
    Mail(Mail),
    /// Who is on call, by PagerDuty.
    Pagerduty(Pagerduty),
    /// An Alertmanager of Prometheus.
    Alertmanager(Alertmanager),
    /// A program.
    Webhook(Webhook),
}

/// Which kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they are those of `Target`")]
pub enum Kind {
    Slack,
    Dingtalk,
    Feishu,
    Wecom,
    Teams,
    Mail,
    Pagerduty,
    Alertmanager,
    Webhook,
}

/// How a target is reached, where that is not by TLS with the authorities of the system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Way {
    /// Whether it may be reached without TLS beyond this machine: whoever wrote that knows the network.
    pub plain: bool,
    /// The authority that it is believed by, as PEM, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// An incoming webhook of Slack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// `https://hooks.slack.com/services/…`.
    pub url: Secret,
    /// Whom a fault calls: ids of users (`U…`), of groups (`S…`), `here`, `channel` or `everyone`.
    #[serde(default)]
    pub mention: Vec<String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// A custom robot of DingTalk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dingtalk {
    /// `https://oapi.dingtalk.com/robot/send?access_token=…`.
    pub url: Secret,
    /// What requests are signed with (`SEC…`), where the robot wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Whom a fault calls: numbers of mobile phones, or `all`.
    #[serde(default)]
    pub mention: Vec<String>,
    /// A word that every message must have, where the robot wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyword: Option<String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// A custom bot of Feishu or Lark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feishu {
    /// `https://open.feishu.cn/open-apis/bot/v2/hook/…`, or of `open.larksuite.com`.
    pub url: Secret,
    /// What requests are signed with, where the bot wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Whom a fault calls: open ids (`ou_…`), ids of users, or `all`.
    #[serde(default)]
    pub mention: Vec<String>,
    /// A word that every message must have, where the bot wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyword: Option<String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// A robot of a WeCom group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wecom {
    /// `https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…`.
    pub url: Secret,
    /// Whom a fault calls: ids of users; a message in Markdown calls nobody by telephone number.
    #[serde(default)]
    pub mention: Vec<String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// A workflow of Microsoft Teams that posts what it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teams {
    /// The address that "Send webhook alerts to a channel" gave.
    pub url: Secret,
    /// Whom a fault calls: user principal names, as `ann@example.org`.
    #[serde(default)]
    pub mention: Vec<String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// Plain at first, then TLS, on port 587.
    #[default]
    Starttls,
    /// TLS from the first byte, on port 465.
    Implicit,
    /// No TLS, on port 25: on this machine, or where `way = { plain = true }` says so.
    None,
}

/// People by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Name of the server that takes mail from us.
    pub host: String,
    /// Its port; that of `tls` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How it is spoken to.
    #[serde(default)]
    pub tls: MailTls,
    /// Who we are there, where it wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// And its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Who it is from: `lockstep@example.org` or `Lockstep <lockstep@example.org>`.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// A service of PagerDuty (Events API v2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pagerduty {
    /// The integration key, 32 characters.
    pub routing_key: Secret,
    /// Where events go; that of the European region is `https://events.eu.pagerduty.com/v2/enqueue`.
    #[serde(default = "events_of_pagerduty")]
    pub url: String,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// An Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// Where it is, as `http://127.0.0.1:9093`; `/api/v2/alerts` is added.
    pub url: Secret,
    /// A token that it, or what stands before it, wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Secret>,
    /// Labels that each alert gets, as `cluster`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

/// A program that takes events (CloudEvents 1.0 in JSON, signed as Standard Webhooks says).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it listens.
    pub url: Secret,
    /// What events are signed with: `whsec_` and 24 to 64 bytes in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// The one before it, while both hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Secret>,
    /// How it is reached.
    #[serde(default)]
    pub way: Way,
}

fn events_of_pagerduty() -> String {
    "https://events.pagerduty.com/v2/enqueue".to_owned()
}

impl MailTls {
    /// Returns the port where it is usual (RFC 8314 for the first two).
    #[must_use]
    pub const fn usual_port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

impl Mail {
    /// Returns the port of the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.tls.usual_port())
    }
}

impl Target {
    /// Returns its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Slack(_) => Kind::Slack,
            Self::Dingtalk(_) => Kind::Dingtalk,
            Self::Feishu(_) => Kind::Feishu,
            Self::Wecom(_) => Kind::Wecom,
            Self::Teams(_) => Kind::Teams,
            Self::Mail(_) => Kind::Mail,
            Self::Pagerduty(_) => Kind::Pagerduty,
            Self::Alertmanager(_) => Kind::Alertmanager,
            Self::Webhook(_) => Kind::Webhook,
        }
    }

    /// Returns how it is reached.
    #[must_use]
    pub const fn way(&self) -> &Way {
        match self {
            Self::Slack(it) => &it.way,
            Self::Dingtalk(it) => &it.way,
            Self::Feishu(it) => &it.way,
            Self::Wecom(it) => &it.way,
            Self::Teams(it) => &it.way,
            Self::Mail(it) => &it.way,
            Self::Pagerduty(it) => &it.way,
            Self::Alertmanager(it) => &it.way,
            Self::Webhook(it) => &it.way,
        }
    }

    /// Returns its address, where it has one; mail has a host.
    pub(crate) fn url(&self) -> Option<Secret> {
        match self {
            Self::Slack(it) => Some(it.url.clone()),
            Self::Dingtalk(it) => Some(it.url.clone()),
            Self::Feishu(it) => Some(it.url.clone()),
            Self::Wecom(it) => Some(it.url.clone()),
            Self::Teams(it) => Some(it.url.clone()),
            Self::Alertmanager(it) => Some(it.url.clone()),
            Self::Webhook(it) => Some(it.url.clone()),
            Self::Pagerduty(it) => Some(Secret::Value(it.url.clone())),
            Self::Mail(_) => None,
        }
    }

    /// Puts each secret that is a value into a store, and its name in its place; then the target may be written out.
    ///
    /// # Errors
    /// When the store takes one not.
    pub fn keep_secrets<E>(
        &mut self,
        mut store: impl FnMut(&'static str, &str) -> Result<String, E>,
    ) -> Result<(), E> {
        for (field, secret) in self.secrets_mut() {
            if let Secret::Value(value) = &*secret {
                *secret = Secret::Stored(store(field, value)?);
            }
        }
        Ok(())
    }

    /// Returns the target with its secrets themselves.
    ///
    /// # Errors
    /// With the fields whose secrets the store does not have.
    pub fn with_secrets(mut self, find: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut missing = Vec::new();
        for (field, secret) in self.secrets_mut() {
            let Secret::Stored(name) = &*secret else { continue };
            match find(name) {
                Some(value) => *secret = Secret::Value(value),
                None => missing.push(Problem::new(field, format!("no secret is stored as `{name}`"))),
            }
        }
        if missing.is_empty() { Ok(self) } else { Err(missing) }
    }

    /// Returns what must be in no text: keys, and the parts of an address that may be a token.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut copy = self.clone();
        let all = copy.secrets_mut();
        let values = all.iter().filter_map(|(field, secret)| Some((*field, secret.reveal()?)));
        values
            .flat_map(|(field, value)| if field == "url" { tokens(value) } else { vec![value.to_owned()] })
            .collect()
    }

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        let (url, others) = match self {
            Self::Slack(it) => (Some(&mut it.url), vec![]),
            Self::Dingtalk(it) => (Some(&mut it.url), vec![("secret", it.secret.as_mut())]),
            Self::Feishu(it) => (Some(&mut it.url), vec![("secret", it.secret.as_mut())]),
            Self::Wecom(it) => (Some(&mut it.url), vec![]),
            Self::Teams(it) => (Some(&mut it.url), vec![]),
            Self::Mail(it) => (None, vec![("password", it.password.as_mut())]),
            Self::Pagerduty(it) => (None, vec![("routing_key", Some(&mut it.routing_key))]),
            Self::Alertmanager(it) => (Some(&mut it.url), vec![("bearer", it.bearer.as_mut())]),
            Self::Webhook(it) => {
                (Some(&mut it.url), vec![("secret", it.secret.as_mut()), ("previous", it.previous.as_mut())])
            }
        };
        let others = others.into_iter().filter_map(|(field, secret)| Some((field, secret?)));
        url.map(|url| ("url", url)).into_iter().chain(others).collect()
    }
}

/// Returns the parts of the path and query of an address that are long enough to be secret.
fn tokens(url: &str) -> Vec<String> {
    const SHORTEST: usize = 8;
    let path = Place::parse(url).map(|place| place.path).unwrap_or_default();
    let parts = path.split(['/', '?', '&', '=']).filter(|part| part.len() >= SHORTEST);
    parts.map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests;
