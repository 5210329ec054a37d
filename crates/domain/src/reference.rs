//! References in values, as `${self.port}`, `${service.payments.host}` or `${resource.db.url}`: what a text says that is known only where it runs.
//!
//! `$${` means `${` itself. Everything else is text, also a `$` that stands alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::name::{ResourceName, ServiceName};
use crate::resource::Detail;

/// What begins a reference.
const BEGIN: &str = "${";
/// Most characters of a reference that are shown.
const SHOWN: usize = 80;

/// What an instance knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {
    /// The address that it listens on.
    Host,
    /// The port that it listens on.
    Port,
    /// Its service.
    Service,
    /// Its version.
    Version,
    /// Its environment.
    Environment,
    /// Its id.
    Instance,
}

impl Own {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Host, Self::Port, Self::Service, Self::Version, Self::Environment, Self::Instance];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Port => "port",
            Self::Service => "service",
            Self::Version => "version",
            Self::Environment => "environment",
            Self::Instance => "instance",
        }
    }
}

/// What an instance is told of where a service that it requires is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Called {
    /// The address, with a token that tells the instance from strangers.
    Url,
    /// The host of the listener that the gateway has for this instance.
    Host,
    /// The port of that listener.
    Port,
}

impl Called {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Url, Self::Host, Self::Port];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Host => "host",
            Self::Port => "port",
        }
    }

    /// Tells whether the gateway must listen for the instance alone, so that it can be told.
    #[must_use]
    pub const fn needs_listener(self) -> bool {
        matches!(self, Self::Host | Self::Port)
    }
}

/// What stands between `${` and `}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// Something of the instance itself.
    Own(Own),
    /// Where a service that is required is called.
    Service(ServiceName, Called),
    /// Something of a resource that is needed.
    Resource(ResourceName, Detail),
    /// A variable of the instance.
    Variable(String),
}

impl Reference {
    /// Tells whether it says where the instance itself listens.
    #[must_use]
    pub fn names_its_port(&self) -> bool {
        matches!(self, Self::Own(Own::Port | Own::Host))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(own) => write!(f, "self.{}", own.as_str()),
            Self::Service(service, called) => write!(f, "service.{service}.{}", called.as_str()),
            Self::Resource(resource, detail) => write!(f, "resource.{resource}.{}", detail.as_str()),
            Self::Variable(name) => write!(f, "env.{name}"),
        }
    }
}

impl FromStr for Reference {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(name) = text.strip_prefix("self.") {
            return Own::ALL.into_iter().find(|own| own.as_str() == name).map(Self::Own).ok_or(());
        }
        if let Some(name) = text.strip_prefix("env.") {
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            return if is_name { Ok(Self::Variable(name.to_owned())) } else { Err(()) };
        }
        if let Some((name, word)) = text.strip_prefix("resource.").and_then(|rest| rest.rsplit_once('.')) {
            let detail = Detail::ALL.into_iter().find(|detail| detail.as_str() == word).ok_or(())?;
            return name.parse().map(|resource| Self::Resource(resource, detail)).map_err(|_| ());
        }
        let (name, word) = text.strip_prefix("service.").and_then(|rest| rest.rsplit_once('.')).ok_or(())?;
        let called = Called::ALL.into_iter().find(|called| called.as_str() == word).ok_or(())?;
        name.parse().map(|service| Self::Service(service, called)).map_err(|_| ())
    }
}

impl Reference {
    /// Returns the service for which the gateway must listen for the instance alone.
    #[must_use]
    pub fn listened_for(&self) -> Option<&ServiceName> {
        match self {
            Self::Service(service, called) if called.needs_listener() => Some(service),
            Self::Own(_) | Self::Service(..) | Self::Resource(..) | Self::Variable(_) => None,
        }
    }

    /// Tells whether what it means may hold a secret, a token or a password.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        match self {
            Self::Service(_, called) => matches!(called, Called::Url),
            Self::Resource(_, detail) => detail.is_secret(),
            Self::Own(_) | Self::Variable(_) => false,
        }
    }
}

/// What the texts of a service may refer to besides itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The services that it requires.
    pub services: BTreeSet<&'a ServiceName>,
    /// The resources that it needs.
    pub resources: BTreeSet<&'a ResourceName>,
}

impl<'a> Scope<'a> {
    /// Makes one of what a manifest or a version says.
    #[must_use]
    pub fn of<R, N>(
        services: &'a BTreeMap<ServiceName, R>,
        resources: &'a BTreeMap<ResourceName, N>,
    ) -> Self {
        Self { services: services.keys().collect(), resources: resources.keys().collect() }
    }
}

/// What is wrong with a text that has references.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// There is nothing of that name.
    #[error("`${{{0}}}` is not known; `$${{` means `${{` itself")]
    Unknown(String),
    /// It has not the form of a reference.
    #[error("`{0}` is no reference; `$${{` means `${{` itself")]
    Malformed(String),
    /// Variables are not put together from each other.
    #[error("`${{env.{0}}}` is known in `[run] files` only")]
    OnlyInFiles(String),
    /// The service is not one that is required.
    #[error("`${{service.{0}.{word}}}` is not known: `{0}` is not in [requires]", word = .1.as_str())]
    NotRequired(ServiceName, Called),
    /// The resource is not one that is needed.
    #[error("`${{resource.{0}.{word}}}` is not known: there is no [resource.{0}]", word = .1.as_str())]
    NotNeeded(ResourceName, Detail),
}

/// Who reads a text after references are filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A program that takes it as it is: a `${` that begins no reference is a mistake.
    Program,
    /// A shell, which has `${NAME}` of its own; its names have no dots.
    Shell,
    /// Whoever reads a file, as [`Self::Program`]; what the variables of the instance are is known by then.
    File,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    /// A `${` that begins no reference, with what follows.
    Foreign(&'a str),
    Reference(Reference),
}

/// Takes a text apart.
fn parts(text: &str) -> Result<Vec<Part<'_>>, ReferenceError> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(BEGIN) {
        let (before, from) = rest.split_at(at);
        rest = &from[BEGIN.len()..];
        if let Some(before) = before.strip_suffix('$') {
            parts.extend([Part::Text(before), Part::Text(BEGIN)]);
            continue;
        }
        parts.push(Part::Text(before));
        match name_at(rest) {
            Some(name) => {
                let known = name.parse().map_err(|()| ReferenceError::Unknown(shown(name)));
                parts.push(Part::Reference(known?));
                rest = &rest[name.len() + 1..];
            }
            None => parts.push(Part::Foreign(from)),
        }
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// Returns what stands before the next `}` when it has the form of a name: a shell has no names with dots.
fn name_at(text: &str) -> Option<&str> {
    let (name, _) = text.split_once('}')?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.contains('.');
    (is_name && name.bytes().all(allowed)).then_some(name)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Tells whether a text has anything that is filled in, or stands for `${`.
#[must_use]
pub fn has_references(text: &str) -> bool {
    text.contains(BEGIN)
}

/// Returns what a text refers to.
///
/// # Errors
/// The first reference that is wrong.
pub fn references(text: &str, reader: Reader) -> Result<Vec<Reference>, ReferenceError> {
    let mut references = Vec::new();
    for part in parts(text)? {
        match part {
            Part::Reference(reference) => references.push(reference),
            Part::Foreign(from) if reader != Reader::Shell => {
                let end = from.find('}').map_or(from.len(), |at| at + 1);
                return Err(ReferenceError::Malformed(shown(&from[..end])));
            }
            Part::Foreign(_) | Part::Text(_) => {}
        }
    }
    Ok(references)
}

/// Checks that everything a text refers to is known to a service with this scope, and returns it.
///
/// # Errors
/// The first reference that is wrong.
pub fn check(text: &str, reader: Reader, scope: &Scope<'_>) -> Result<Vec<Reference>, ReferenceError> {
    let references = references(text, reader)?;
    let wrong = references.iter().find_map(|reference| match reference {
        Reference::Service(service, called) if !scope.services.contains(service) => {
            Some(ReferenceError::NotRequired(service.clone(), *called))
        }
        Reference::Resource(resource, detail) if !scope.resources.contains(resource) => {
            Some(ReferenceError::NotNeeded(resource.clone(), *detail))
        }
        Reference::Variable(name) if reader != Reader::File => {
            Some(ReferenceError::OnlyInFiles(name.clone()))
        }
        Reference::Own(_) | Reference::Service(..) | Reference::Resource(..) | Reference::Variable(_) => None,
    });
    wrong.map_or(Ok(references), Err)
}

/// Puts what is known in the places of references. What is put in is not looked through again.
///
/// # Errors
/// The first reference that is wrong, or of which nothing is known.
pub fn fill(text: &str, known: impl Fn(&Reference) -> Option<String>) -> Result<String, ReferenceError> {
    let mut filled = String::new();
    for part in parts(text)? {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Foreign(_) => filled.push_str(BEGIN),
            Part::Reference(reference) => {
                let unknown = || ReferenceError::Unknown(reference.to_string());
                filled += &known(&reference).ok_or_else(unknown)?;
            }
        }
    }
    Ok(filled)
}

/// Lists what there is for a service with this scope, as it is written.
#[must_use]
pub fn known_names(scope: &Scope<'_>) -> Vec<String> {
    let own = Own::ALL.into_iter().map(Reference::Own);
    let each = |service: &ServiceName| Called::ALL.map(|called| Reference::Service(service.clone(), called));
    let services = scope.services.iter().flat_map(|service| each(service));
    let every = |name: &ResourceName| Detail::ALL.map(|detail| Reference::Resource(name.clone(), detail));
    let resources = scope.resources.iter().flat_map(|name| every(name));
    own.chain(services).chain(resources).map(|reference| format!("${{{reference}}}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        text.replace(BEGIN, "$${")
    }

    fn known(reference: &Reference) -> Option<String> {
        match reference {
            Reference::Own(Own::Port) => Some("20001".to_owned()),
            Reference::Service(service, called) if service.as_str() == "pay" => Some(match called {
                Called::Url => "http://gateway/@pay".to_owned(),
                Called::Host => "127.64.0.1".to_owned(),
                Called::Port => "17000".to_owned(),
            }),
            Reference::Resource(name, Detail::Host) if name.as_str() == "db" => Some("db.example".to_owned()),
            Reference::Resource(..) | Reference::Own(_) | Reference::Service(..) | Reference::Variable(_) => {
                None
            }
        }
    }

    #[test]
    fn references_are_filled_and_everything_else_stays() {
        for (text, filled) in [
            ("", ""),
            ("--port=${self.port}", "--port=20001"),
            ("${service.pay.url}/v1?at=${self.port}", "http://gateway/@pay/v1?at=20001"),
            ("${service.pay.host}:${service.pay.port}", "127.64.0.1:17000"),
            ("${resource.db.host}", "db.example"),
            ("$HOME $ { } $$ $x", "$HOME $ { } $$ $x"),
            ("$${self.port}", "${self.port}"),
            ("$$${self.port}", "$${self.port}"),
            ("${self.port}$${x}${self.port}", "20001${x}20001"),
            ("ü${self.port}ü", "ü20001ü"),
            ("exec serve -p ${PORT:-${self.port}} ${x%.*} ${", "exec serve -p ${PORT:-20001} ${x%.*} ${"),
        ] {
            assert_eq!(fill(text, known).unwrap(), filled, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let pay: ServiceName = "pay".parse().unwrap();
        let db: ResourceName = "db".parse().unwrap();
        let required = Scope { services: BTreeSet::from([&pay]), resources: BTreeSet::from([&db]) };
        for (text, error) in [
            ("${self.prot}", "`${self.prot}` is not known; `$${` means `${` itself"),
            ("${HOME}", "`${HOME}` is no reference; `$${` means `${` itself"),
            ("a ${self.port", "`${self.port` is no reference; `$${` means `${` itself"),
            ("${}", "`${}` is no reference; `$${` means `${` itself"),
            ("${service.cart.url}", "`${service.cart.url}` is not known: `cart` is not in [requires]"),
            ("${service.cart.port}", "`${service.cart.port}` is not known: `cart` is not in [requires]"),
            ("${service.Pay.url}", "`${service.Pay.url}` is not known; `$${` means `${` itself"),
            ("${resource.cache.url}", "`${resource.cache.url}` is not known: there is no [resource.cache]"),
            ("${resource.db.uri}", "`${resource.db.uri}` is not known; `$${` means `${` itself"),
            ("${env.DSN}", "`${env.DSN}` is known in `[run] files` only"),
            ("${service.pay.uri}", "`${service.pay.uri}` is not known; `$${` means `${` itself"),
        ] {
            assert_eq!(check(text, Reader::Program, &required).unwrap_err().to_string(), error, "{text}");
        }
        assert_eq!(
            check("${HOME} ${self.port}", Reader::Shell, &required),
            Ok(vec![Reference::Own(Own::Port)])
        );
        assert!(check("${self.prot}", Reader::Shell, &required).is_err());
        assert!(check("${env.DSN}", Reader::File, &required).is_ok());
    }

    #[test]
    fn every_name_that_is_listed_is_known() {
        let pay: ServiceName = "pay".parse().unwrap();
        let db: ResourceName = "db".parse().unwrap();
        let scope = Scope { services: BTreeSet::from([&pay]), resources: BTreeSet::from([&db]) };
        let names = known_names(&scope);
        assert!(names.contains(&"${resource.db.password}".to_owned()), "{names:?}");
        for name in names {
            assert!(check(&name, Reader::Program, &scope).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_text_means_itself(text in "[${}a-z.ü]*") {
            prop_assert_eq!(fill(&escaped(&text), known), Ok(text.clone()));
            prop_assert_eq!(references(&escaped(&text), Reader::Program), Ok(Vec::new()));
        }

        #[test]
        fn what_is_filled_in_is_never_looked_through_again(value in ".*") {
            let filled = fill("<${self.port}>", |_| Some(value.clone()));
            prop_assert_eq!(filled, Ok(format!("<{value}>")));
        }

        #[test]
        fn what_is_checked_can_be_filled(text in "([${}a-z.ü]|\\$\\{self\\.port\\})*") {
            if check(&text, Reader::Shell, &Scope::default()).is_ok() {
                prop_assert!(fill(&text, |_| Some(String::new())).is_ok());
            }
        }
    }
}
