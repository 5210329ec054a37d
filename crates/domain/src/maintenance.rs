//! Maintenance: answers that clients get instead of a service, or instead of one version of it, until somebody ends that.
//!
//! Invariant: they say nothing about a version. No instance is asked, and nothing is counted for an arm.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::{Actor, ServiceName};
use crate::request_host::{WILDCARD, normalize_route_host};
use crate::request_path::normalize_path;
use crate::routes::actions::{ActionError, Respond};
use crate::routes::{PathType, RouteRule, host_is_of, path_is_under};
use crate::time::Timestamp;
use crate::version::VersionNumber;

/// The format that a gateway must take where there is maintenance.
pub const FORMAT_WITH_MAINTENANCE: u32 = 19;
/// Most pages of an environment: each of a service is looked at for each of its requests.
pub const MAX_PAGES: usize = 20;
/// Most turns that are remembered: of the pages of an environment, each at its beginning and its end.
pub const MAX_TURNS: usize = 100;
/// Longest time after which clients are told to come again.
pub const MAX_RETRY_AFTER_S: u64 = 30 * 24 * 60 * 60;

/// An answer that clients get while something is maintained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenancePage {
    /// Its number in the environment.
    pub number: u32,
    /// The service that is not asked; every service when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Only where a request would go to this version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionNumber>,
    /// Only requests of routes for this host, or `*.shop.test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only requests of routes for this path and everything below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What clients get.
    pub respond: Respond,
    /// After how many seconds they are told to come again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Clients get it from then on.
    Set,
    /// They get it no more.
    Lifted,
}

/// That a page was set, or lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceTurn {
    /// The number of the page.
    pub number: u32,
    /// Instead of what clients get it, and its status.
    pub page: String,
    /// What became of it.
    pub turn: Turn,
    /// When.
    pub at: Timestamp,
    /// Who said so.
    pub by: Actor,
}

/// Returns what became of pages when others are in force: those that are lifted first.
pub fn turns<'a>(
    before: &'a [MaintenancePage],
    after: &'a [MaintenancePage],
) -> impl Iterator<Item = (&'a MaintenancePage, Turn)> {
    let not_in = |others: &'a [MaintenancePage]| move |page: &&MaintenancePage| !others.contains(page);
    let lifted = before.iter().filter(not_in(after)).map(|page| (page, Turn::Lifted));
    lifted.chain(after.iter().filter(not_in(before)).map(|page| (page, Turn::Set)))
}

/// Why there can be no such page.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MaintenanceError {
    /// Which version is not said.
    #[error("a version in maintenance is one of a service, which is not named")]
    NoService,
    /// The host has no form.
    #[error("`{0}` is not a host name without scheme, port and path, such as shop.test or *.shop.test")]
    Host(String),
    /// The path is in no form that requests have.
    #[error("`{0}` is not a path in its one form: {1}")]
    Path(String, String),
    /// The answer cannot be given.
    #[error(transparent)]
    Respond(#[from] ActionError),
    /// The time is none, or too long.
    #[error("clients are told to come again after 1 s to 30 days")]
    RetryAfter,
    /// There are too many.
    #[error("an environment has at most {MAX_PAGES} pages of maintenance")]
    TooMany,
}

impl MaintenancePage {
    /// Checks that it can be given.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> Result<(), MaintenanceError> {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        if self.version.is_some() && self.service.is_none() {
            return Err(MaintenanceError::NoService);
        }
        if let Some(host) = &self.host
            && normalize_route_host(host).ok().as_deref() != Some(host)
        {
            return Err(MaintenanceError::Host(shown(host)));
        }
        if let Some(path) = &self.path {
            let wrong = |why: String| MaintenanceError::Path(shown(path), why);
            match normalize_path(path) {
                Ok(form) if form == path.as_str() => {}
                Ok(form) => return Err(wrong(format!("write it as `{form}`"))),
                Err(problem) => return Err(wrong(problem.to_string())),
            }
        }
        if !self.retry_after_s.is_none_or(|it| (1..=MAX_RETRY_AFTER_S).contains(&it)) {
            return Err(MaintenanceError::RetryAfter);
        }
        Ok(self.respond.check()?)
    }

    /// Tells whether it is about a service.
    #[must_use]
    pub fn is_of(&self, service: &ServiceName) -> bool {
        self.service.as_ref().is_none_or(|of| of == service)
    }

    /// Tells whether nothing is asked of a version of its service, wherever requests come from.
    #[must_use]
    pub fn closes(&self, version: &VersionNumber) -> bool {
        self.host.is_none() && self.path.is_none() && self.version.as_ref().is_none_or(|it| it == version)
    }

    /// Tells whether a request of its service gets it: of a route for a host (without port) and path in their one form, or of a call by
    /// name, for which there is no such place. `version` is the one that it would go to.
    #[must_use]
    pub fn takes(&self, place: Option<(Option<&str>, &str)>, version: Option<&VersionNumber>) -> bool {
        let of_version = self.version.as_ref().is_none_or(|it| Some(it) == version);
        let of_host =
            |wanted: &String| place.and_then(|(host, _)| host).is_some_and(|host| host_is_of(wanted, host));
        let of_path = |wanted: &String| {
            place.is_some_and(|(_, path)| path_is_under(path, wanted.trim_end_matches('/')))
        };
        of_version && self.host.as_ref().is_none_or(of_host) && self.path.as_ref().is_none_or(of_path)
    }
}

impl MaintenancePage {
    /// Tells whether some request of a route for its service may get it, where the service has these versions. A route that answers itself
    /// asks no service.
    #[must_use]
    pub fn may_take<'a>(
        &self,
        rule: &RouteRule,
        mut versions: impl Iterator<Item = &'a VersionNumber>,
    ) -> bool {
        let answers = rule.then.as_ref().is_some_and(|then| then.answers());
        let of_version = self.version.as_ref().is_none_or(|wanted| versions.any(|it| it == wanted));
        let of_host = match (&self.host, &rule.host) {
            (Some(wanted), Some(host)) => hosts_meet(wanted, host),
            _ => true,
        };
        !answers && of_version && of_host && self.path.as_ref().is_none_or(|path| paths_meet(path, rule))
    }
}

/// Tells whether some host is meant by both.
fn hosts_meet(one: &str, other: &str) -> bool {
    let plain = |host: &str| host.strip_prefix(WILDCARD).map(|name| format!("x.{name}"));
    let of = |wanted: &str, host: &str| {
        wanted == host || host_is_of(wanted, plain(host).as_deref().unwrap_or(host))
    };
    of(one, other) || of(other, one)
}

/// Tells whether some path is taken by a rule and lies at a path or below it. Of a template the parts before its first variable are looked at.
fn paths_meet(path: &str, rule: &RouteRule) -> bool {
    let path = path.trim_end_matches('/');
    let literal = match rule.path_type {
        PathType::Exact => return path_is_under(&rule.path, path),
        PathType::Prefix => rule.path.as_str(),
        PathType::Template => rule.path.split("/{").next().unwrap_or_default(),
    };
    let literal = literal.trim_end_matches('/');
    path_is_under(literal, path) || path_is_under(path, literal)
}

/// Says which pages clients get instead of services, of which nothing is counted meanwhile. Nothing where there are none.
#[must_use]
pub fn in_place_of<'a>(pages: &[MaintenancePage], services: impl Iterator<Item = &'a ServiceName>) -> String {
    let services: BTreeSet<&ServiceName> = services.collect();
    let is_met = |page: &&MaintenancePage| services.iter().any(|service| page.is_of(service));
    let said = pages.iter().filter(is_met).map(|page| {
        let number = page.number;
        format!("; page {number} of maintenance, {page}, is given instead and counts for no version (lockstep maintenance off {number})")
    });
    said.collect()
}

impl fmt::Display for MaintenancePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{service}")?,
            None => f.write_str("all services")?,
        }
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        if self.host.is_some() || self.path.is_some() {
            let (host, path) = (self.host.as_deref().unwrap_or("*"), self.path.as_deref().unwrap_or("/"));
            write!(f, " at {host}{path}")?;
        }
        write!(f, ": {}", self.respond.status)?;
        match self.retry_after_s {
            Some(seconds) => write!(f, ", retry-after {seconds} s"),
            None => Ok(()),
        }
    }
}

/// Checks all pages of an environment together.
///
/// # Errors
/// When one cannot be given, or there are too many.
pub fn check(pages: &[MaintenancePage]) -> Result<(), MaintenanceError> {
    if pages.len() > MAX_PAGES {
        return Err(MaintenanceError::TooMany);
    }
    pages.iter().try_for_each(MaintenancePage::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> MaintenancePage {
        let respond = Respond { status: 503, body: "soon".into(), content_type: "text/plain".into() };
        MaintenancePage {
            number: 1,
            service: Some("orders".parse().unwrap()),
            version: None,
            host: None,
            path: None,
            respond,
            retry_after_s: None,
        }
    }

    #[test]
    fn a_page_is_for_what_it_names() {
        let (one, two) = (VersionNumber::new(1, 0, 0), VersionNumber::new(2, 0, 0));
        let route = |path| Some((Some("a.shop.test"), path));
        assert!(page().takes(None, Some(&one)) && page().closes(&two));
        let of_version = MaintenancePage { version: Some(two.clone()), ..page() };
        assert!(of_version.takes(route("/"), Some(&two)) && !of_version.takes(route("/"), Some(&one)));
        assert!(of_version.closes(&two) && !of_version.closes(&one));
        let placed =
            MaintenancePage { host: Some("*.shop.test".into()), path: Some("/pay/".into()), ..page() };
        assert!(placed.takes(route("/pay"), Some(&one)) && placed.takes(route("/pay/1"), None));
        assert!(!placed.takes(route("/payments"), None) && !placed.takes(None, None) && !placed.closes(&one));
        assert!(!placed.takes(Some((Some("shop.test"), "/pay")), None));
        let all = MaintenancePage { service: None, ..page() };
        assert!(all.is_of(&"web".parse().unwrap()) && !page().is_of(&"web".parse().unwrap()));
    }

    #[test]
    fn a_page_is_told_beside_the_routes_whose_requests_may_get_it_alone() {
        let (one, two) = (VersionNumber::new(1, 0, 0), VersionNumber::new(2, 0, 0));
        let rule = |host: Option<&str>, path: &str| RouteRule {
            host: host.map(Into::into),
            path: path.into(),
            path_type: if path.contains('{') { PathType::Template } else { PathType::Prefix },
            ..RouteRule::default()
        };
        let at = |host: Option<&str>, path: Option<&str>| MaintenancePage {
            host: host.map(Into::into),
            path: path.map(Into::into),
            ..page()
        };
        for (page, rule, meets) in [
            (at(None, None), rule(Some("a.test"), "/x"), true),
            (at(Some("a.test"), None), rule(None, "/x"), true),
            (at(Some("a.test"), None), rule(Some("b.test"), "/"), false),
            (at(Some("*.test"), None), rule(Some("a.test"), "/"), true),
            (at(Some("a.test"), None), rule(Some("*.test"), "/"), true),
            (at(Some("*.a.test"), None), rule(Some("*.test"), "/"), true),
            (at(Some("*.a.test"), None), rule(Some("*.b.test"), "/"), false),
            (at(None, Some("/pay")), rule(None, "/"), true),
            (at(None, Some("/pay")), rule(None, "/pay/card"), true),
            (at(None, Some("/pay/card")), rule(None, "/pay"), true),
            (at(None, Some("/pay")), rule(None, "/payments"), false),
            (at(None, Some("/pay")), rule(None, "/pay/{id}"), true),
            (at(None, Some("/pay")), rule(None, "/orders/{id}"), false),
            (at(None, Some("/")), rule(None, "/orders"), true),
        ] {
            assert_eq!(page.may_take(&rule, [&one].into_iter()), meets, "{page} {rule}");
        }
        let exact = RouteRule { path_type: PathType::Exact, ..rule(None, "/pay") };
        assert!(!at(None, Some("/pay/card")).may_take(&exact, [&one].into_iter()));
        let of_version = MaintenancePage { version: Some(two.clone()), ..page() };
        assert!(!of_version.may_take(&rule(None, "/"), [&one].into_iter()));
        assert!(of_version.may_take(&rule(None, "/"), [&one, &two].into_iter()));
        let then = crate::routes::actions::Actions { respond: Some(page().respond), ..Default::default() };
        let answers = RouteRule { then: Some(then.into()), ..rule(None, "/") };
        assert!(!page().may_take(&answers, [&one].into_iter()));
    }

    #[test]
    fn a_step_that_waits_is_told_by_which_page() {
        let (orders, web) = ("orders".parse().unwrap(), "web".parse().unwrap());
        assert_eq!(in_place_of(&[page()], [&web].into_iter()), "");
        let said = in_place_of(&[page()], [&orders, &web].into_iter());
        assert!(
            said.contains("page 1 of maintenance") && said.contains("lockstep maintenance off 1"),
            "{said}"
        );
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        let two = Some(VersionNumber::new(2, 0, 0));
        let bad = |it: MaintenancePage| it.check().is_err();
        assert!(page().check().is_ok());
        assert!(bad(MaintenancePage { version: two, service: None, ..page() }));
        for host in ["shop.test:80", "https://a", "A.test", ""] {
            assert!(bad(MaintenancePage { host: Some(host.into()), ..page() }), "{host}");
        }
        for path in ["pay", "/a/../b", "/a//b", ""] {
            assert!(bad(MaintenancePage { path: Some(path.into()), ..page() }), "{path}");
        }
        assert!(bad(MaintenancePage { retry_after_s: Some(0), ..page() }));
        assert!(bad(MaintenancePage { respond: Respond { status: 100, ..page().respond }, ..page() }));
        assert_eq!(check(&vec![page(); MAX_PAGES + 1]), Err(MaintenanceError::TooMany));
    }
}
