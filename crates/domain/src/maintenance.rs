//! Maintenance: answers that clients get instead of a service, or instead of one version of it, until somebody ends that.
//!
//! Invariant: they say nothing about a version. No instance is asked, and nothing is counted for an arm.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::ServiceName;
use crate::request_host::normalize_route_host;
use crate::request_path::normalize_path;
use crate::routes::actions::{ActionError, Respond};
use crate::routes::{host_is_of, path_is_under};
use crate::version::VersionNumber;

/// The format that a gateway must take where there is maintenance.
pub const FORMAT_WITH_MAINTENANCE: u32 = 19;
/// Most pages of an environment: each of a service is looked at for each of its requests.
pub const MAX_PAGES: usize = 20;
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
