//! Which requests a route takes, and which of two routes that both take one comes first.
//!
//! The order is that of the Kubernetes Gateway API: the more exact host, an exact path, more literal characters of a path, a
//! method, more header fields and cookies, more query parameters, then a smaller network of clients. What is equal in all of
//! these keeps the order of the table: by the name of the service, then as the manifest has it.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request_host::{WILDCARD, normalize_route_host};
use crate::request_path::normalize_path;
use crate::routes::actions::Actions;
use crate::routes::conditions::Conditions;
use crate::routes::policy::Policy;
use crate::routes::template;
use crate::routes::{FORMAT_WITH_AFFINITY, FORMAT_WITH_CONDITIONS, FORMAT_WITH_POLICIES};

/// Which requests an entry point takes, as a version's manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// The host name without port, lower case, or `*.shop.test` for all below `shop.test`; every host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path, read as `path_type` says. As a prefix it ends at a segment: `/orders` takes `/orders` and `/orders/7`, not `/orders2`.
    #[serde(default = "root_path")]
    pub path: String,
    /// How the path is read.
    #[serde(default, skip_serializing_if = "PathType::is_prefix")]
    #[schemars(extend("x-since" = FORMAT_WITH_CONDITIONS, "default" = PathType::default()))]
    pub path_type: PathType,
    /// What else has to hold of a request.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    #[schemars(extend("x-since" = FORMAT_WITH_CONDITIONS, "default" = Conditions::default()))]
    pub when: Conditions,
    /// What is done with it beside sending it to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_CONDITIONS))]
    pub then: Option<Arc<Actions>>,
    /// Whether the prefix is taken off before the request goes on.
    #[serde(default)]
    pub prefix: PrefixHandling,
    /// How long the service may say nothing; as the environment has it when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Patience>,
    /// Whether the requests of one client go to one instance; to any when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_AFFINITY))]
    pub affinity: Option<Affinity>,
    /// What it asks for so that a request does not wait for too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = FORMAT_WITH_POLICIES))]
    pub policy: Option<Arc<Policy>>,
}

/// What is kept at one instance of a version, as long as that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// All requests of one client: by a cookie of the gateway, else by its key.
    Client,
}

/// How long a service may say nothing: before its answer begins, and within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// So many milliseconds.
    LimitMs(u64),
    /// As long as its client stays: for event streams and long polls.
    Stream,
}

fn root_path() -> String {
    "/".into()
}

/// What happens to the matched path prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrefixHandling {
    /// The service sees the path as the client sent it.
    #[default]
    Keep,
    /// The service sees the path without the prefix.
    Strip,
}

/// How the path of a route is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathType {
    /// It and everything below it.
    #[default]
    Prefix,
    /// `/orders/{id}` takes one segment for `{id}`, and `/files/{rest...}` everything below `/files/`.
    Template,
    /// Nothing but itself.
    Exact,
}

impl PathType {
    /// Tells whether it is how routes were always read.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        *self == Self::Prefix
    }
}

/// How specific a rule is: the greater comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    /// None, a name with all below it (the longer first), exact.
    host: (u8, usize),
    is_exact: bool,
    literal: usize,
    /// Of paths with as many literal characters: a template before one with an open end before a prefix.
    kind: u8,
    has_methods: bool,
    fields: usize,
    query: usize,
    network: u16,
}

impl Default for RouteRule {
    fn default() -> Self {
        Self {
            host: None,
            path: root_path(),
            path_type: PathType::Prefix,
            when: Conditions::default(),
            then: None,
            prefix: PrefixHandling::Keep,
            patience: None,
            affinity: None,
            policy: None,
        }
    }
}

impl RouteRule {
    /// Tells whether host (without port) and path of a request, both in their one form, are those of this rule.
    #[must_use]
    pub fn matches(&self, host: Option<&str>, path: &str) -> bool {
        self.takes_host(host) && self.takes_path(path)
    }

    /// Tells whether it takes requests to a host.
    #[must_use]
    pub fn takes_host(&self, host: Option<&str>) -> bool {
        self.host.as_deref().is_none_or(|wanted| host.is_some_and(|it| takes(wanted, it)))
    }

    /// Tells whether it takes requests to a path.
    #[must_use]
    pub fn takes_path(&self, path: &str) -> bool {
        match self.path_type {
            PathType::Prefix => under(path, self.path.trim_end_matches('/')),
            PathType::Exact => path == self.path,
            PathType::Template => template::takes(&self.path, path),
        }
    }

    /// Returns how many bytes of a path that it takes are taken off.
    #[must_use]
    pub fn strip(&self) -> usize {
        match self.prefix {
            PrefixHandling::Keep => 0,
            PrefixHandling::Strip => self.path.trim_end_matches('/').len(),
        }
    }

    /// Orders rules so that the more specific one is greater.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        let host = match self.host.as_deref() {
            None => (0, 0),
            Some(host) if host.starts_with(WILDCARD) => (1, host.len()),
            Some(_) => (2, 0),
        };
        let (literal, kind) = match self.path_type {
            PathType::Prefix => (self.path.trim_end_matches('/').len(), 0),
            PathType::Template => {
                (template::literal(&self.path), if template::is_open(&self.path) { 1 } else { 2 })
            }
            PathType::Exact => (self.path.len(), 3),
        };
        Precedence {
            host,
            is_exact: self.path_type == PathType::Exact,
            literal,
            kind,
            has_methods: !self.when.methods.is_empty(),
            fields: self.when.headers.len() + self.when.cookies.len(),
            query: self.when.query.len(),
            network: self.when.narrowest_network(),
        }
    }

    /// Returns the same text for two rules that take the very same requests by what they say.
    #[must_use]
    pub fn key(&self) -> String {
        let path = match self.path_type {
            PathType::Template => template::nameless(&self.path),
            _ => self.path.clone(),
        };
        let mark = match self.path_type {
            PathType::Prefix => "",
            PathType::Template => "~",
            PathType::Exact => "=",
        };
        format!("{}{mark}{path}{}", self.host.as_deref().unwrap_or("*"), self.when.sorted())
    }

    /// Returns the path below which everything lies that it takes, for a cookie.
    #[must_use]
    pub fn base_path(&self) -> &str {
        match self.path_type {
            PathType::Template => template::base(&self.path),
            PathType::Prefix | PathType::Exact => &self.path,
        }
    }

    /// Tells whether a gateway before [`super::FORMAT_WITH_CONDITIONS`] would do something else.
    #[must_use]
    pub fn needs_conditions(&self) -> bool {
        !self.path_type.is_prefix() || !self.when.is_empty() || self.then.is_some()
    }

    /// Tells whether its requests have a priority.
    #[must_use]
    pub fn has_priority(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.priority.is_some())
    }

    /// Tells whether reads are asked of another instance as well.
    #[must_use]
    pub fn hedges(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.hedge.is_some())
    }

    /// Tells whether connections may switch to another protocol than WebSocket.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| !policy.upgrades.is_empty())
    }

    /// Tells whether it says what clients get while a version is left alone.
    #[must_use]
    pub fn has_fallback(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.fallback.is_some())
    }

    /// Tells whether it keeps visitors on one side of rollouts.
    #[must_use]
    pub fn keeps_visitors(&self) -> bool {
        self.then.as_ref().is_some_and(|then| then.visit.is_some())
    }

    /// Tells whether answers are compressed.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.then.as_ref().is_some_and(|then| then.compress.is_some())
    }

    /// Returns the longest time for which it lets an instance be busy with a request that is no stream, where it says so.
    #[must_use]
    pub fn longest_ms(&self) -> Option<u64> {
        let timeouts = self.policy.as_ref().map(|policy| policy.timeouts).unwrap_or_default();
        let silence = match self.patience {
            Some(Patience::LimitMs(limit)) => Some(limit),
            Some(Patience::Stream) | None => None,
        };
        timeouts.request_ms.or(silence.max(timeouts.head_ms).max(timeouts.idle_ms))
    }

    /// Says what it does and asks for, a line for each.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let done = self.then.iter().flat_map(|then| then.told());
        done.chain(self.policy.iter().flat_map(|policy| policy.told())).collect()
    }

    /// Returns it with host and path in their one form; `None` when no request can match it.
    #[must_use]
    pub fn in_one_form(&self) -> Option<Self> {
        let mut rule = self.clone();
        rule.normalize().map(|()| rule)
    }

    /// Brings host and path into their one form; `None` when they have none.
    pub(super) fn normalize(&mut self) -> Option<()> {
        if let Some(host) = &mut self.host {
            *host = normalize_route_host(host).ok()?;
        }
        match self.path_type {
            PathType::Template => template::check(&self.path).ok()?,
            PathType::Prefix | PathType::Exact => self.path = normalize_path(&self.path).ok()?.into_owned(),
        }
        Some(())
    }
}

impl fmt::Display for RouteRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = if self.path_type == PathType::Exact { " exactly" } else { "" };
        write!(f, "{}{}{exact}{}", self.host.as_deref().unwrap_or("*"), self.path, self.when)
    }
}

/// Tells whether a host is the one that a rule wants.
pub(crate) fn takes(wanted: &str, host: &str) -> bool {
    match wanted.strip_prefix(WILDCARD) {
        // The dot before the name belongs to what is compared: `*.shop.test` takes neither `shop.test` nor `myshop.test`.
        Some(name) => host.strip_suffix(name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => wanted == host,
    }
}

/// Tells whether a path is a prefix, which has no slash at its end, or lies below it.
pub(crate) fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
