//! Which variables of the server's environment builds may have: the list of whoever runs the server.
//!
//! A manifest can only ask. What it asks for belongs to the server, and a repository must not be able to read it by naming it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::name::ServiceName;

/// Variables with this in front are Lockstep's own, such as its token; no build has them, whatever anybody says.
pub const RESERVED_PREFIX: &str = "LOCKSTEP_";
/// Where systemd puts credentials; for no build either.
const RESERVED: &str = "CREDENTIALS_DIRECTORY";
/// Where tools are found: places and no secrets, which every build may have.
const TOOL_PLACES: [&str; 5] = ["CARGO_HOME", "RUSTUP_HOME", "GOPATH", "GOCACHE", "JAVA_HOME"];

/// Tells whether a variable can be given to a build at all.
#[must_use]
pub fn is_reserved(variable: &str) -> bool {
    variable.starts_with(RESERVED_PREFIX) || variable == RESERVED
}

/// Variables by name, each with the services whose builds may have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildVariables(BTreeMap<String, Services>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Services {
    All,
    These(BTreeSet<ServiceName>),
}

/// One entry of the list: `NPM_TOKEN=web,shop`, or `HTTP_PROXY` for every service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildVariable {
    name: String,
    services: Services,
}

/// Why a text is no entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildVariableError {
    /// The name is not one.
    #[error("`{0}` is not the name of an environment variable")]
    Name(String),
    /// The variable is Lockstep's own.
    #[error("`{0}` is Lockstep's own and never given to a build")]
    Reserved(String),
    /// A service is not one.
    #[error("`{service}` is not the name of a service")]
    Service {
        /// What was given.
        service: String,
        /// Why.
        #[source]
        source: crate::name::NameError,
    },
}

impl FromStr for BuildVariable {
    type Err = BuildVariableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, services) = match text.split_once('=') {
            Some((name, services)) => (name, Some(services)),
            None => (text, None),
        };
        if !is_name(name) {
            return Err(BuildVariableError::Name(name.to_owned()));
        }
        if is_reserved(name) {
            return Err(BuildVariableError::Reserved(name.to_owned()));
        }
        let one = |service: &str| {
            service.trim().parse().map_err(|source| {
                let service = service.to_owned();
                BuildVariableError::Service { service, source }
            })
        };
        let services = match services {
            None => Services::All,
            Some(services) => Services::These(services.split(',').map(one).collect::<Result<_, _>>()?),
        };
        Ok(Self { name: name.to_owned(), services })
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
}

impl FromIterator<BuildVariable> for BuildVariables {
    fn from_iter<I: IntoIterator<Item = BuildVariable>>(entries: I) -> Self {
        let mut list = BTreeMap::new();
        for BuildVariable { name, services } in entries {
            let together = match (list.remove(&name), services) {
                (Some(Services::These(mut these)), Services::These(more)) => {
                    these.extend(more);
                    Services::These(these)
                }
                (None, services) => services,
                _ => Services::All,
            };
            list.insert(name, together);
        }
        Self(list)
    }
}

impl BuildVariables {
    /// Tells whether the builds of a service may have a variable.
    #[must_use]
    pub fn allow(&self, service: &ServiceName, variable: &str) -> bool {
        if is_reserved(variable) {
            return false;
        }
        TOOL_PLACES.contains(&variable)
            || self.0.get(variable).is_some_and(|services| match services {
                Services::All => true,
                Services::These(these) => these.contains(service),
            })
    }
}

impl fmt::Display for BuildVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.services {
            Services::All => Ok(()),
            Services::These(these) => {
                let names: Vec<_> = these.iter().map(ServiceName::as_str).collect();
                write!(f, "={}", names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> BuildVariables {
        entries.iter().map(|entry| entry.parse::<BuildVariable>().unwrap()).collect()
    }

    fn service(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    #[test]
    fn a_build_has_what_is_allowed_to_its_service() {
        let list = list(&["NPM_TOKEN=web,shop", "NPM_TOKEN=api", "HTTP_PROXY"]);
        for name in ["web", "shop", "api"] {
            assert!(list.allow(&service(name), "NPM_TOKEN"), "{name}");
        }
        assert!(!list.allow(&service("orders"), "NPM_TOKEN"));
        assert!(list.allow(&service("orders"), "HTTP_PROXY"));
        assert!(list.allow(&service("orders"), "CARGO_HOME"));
        assert!(!BuildVariables::default().allow(&service("web"), "NPM_TOKEN"));
    }

    #[test]
    fn what_is_lockstep_s_own_cannot_be_allowed() {
        for reserved in ["LOCKSTEP_TOKEN", "LOCKSTEP_TOKEN=web", "CREDENTIALS_DIRECTORY", "LOCKSTEP_ANYTHING"]
        {
            assert!(matches!(reserved.parse::<BuildVariable>(), Err(BuildVariableError::Reserved(_))));
        }
        assert!(!list(&["A"]).allow(&service("web"), "LOCKSTEP_TOKEN"));
    }

    #[test]
    fn entries_are_read_as_they_are_written() {
        for text in ["HTTP_PROXY", "NPM_TOKEN=api,web"] {
            assert_eq!(text.parse::<BuildVariable>().unwrap().to_string(), text);
        }
        for bad in ["", "=web", "1A", "A B", "A=", "A=web,", "A=we b"] {
            assert!(bad.parse::<BuildVariable>().is_err(), "{bad:?}");
        }
    }
}
