//! What becomes of variables when an environment goes from one configuration to another: which change, whether a secret comes
//! back that was replaced since, and what stands in the place of one that was revoked.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::baseline::{BaselineEntry, EntryChange};
use crate::environment::Environment;
use crate::instance::ConfigRevision;
use crate::intent::{ConfigValue, Configuration};
use crate::name::{Actor, ServiceName};
use crate::operation::NewConfiguration;
use crate::plan::Refusal;
use crate::time::Timestamp;
use crate::version::VersionRef;

/// A variable that a plan changes. The value of a secret is in none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VariableChange {
    /// Whose.
    pub service: ServiceName,
    /// Which.
    pub key: String,
    /// What it is now; missing where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<VariableValue>,
    /// What it would be; missing where it would not be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<VariableValue>,
}

/// What may be said of the value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VariableValue {
    /// The value itself.
    Plain(String),
    /// A secret, by its times alone.
    Secret(SecretAge),
}

/// How old a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretAge {
    /// When it was set; missing where the very change sets it, or nobody knows any more.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When another value was set in its place; missing for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A secret that does not change although a configuration comes back that has an older value of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptSecret {
    /// Whose.
    pub service: ServiceName,
    /// Which variable.
    pub key: String,
    /// How old the value is that it ran with.
    pub ran_with: SecretAge,
    /// The revision that has that value.
    pub revision: ConfigRevision,
    /// Whether instances with that value are kept warm, so that new ones are started because of this.
    #[serde(default)]
    pub is_warm: bool,
    /// Whether the value that it ran with was revoked, so that nothing brings it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_revoked: bool,
}

impl fmt::Display for KeptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, key, ran_with, is_warm, is_revoked, .. } = self;
        write!(f, "secret {key} of {service}: the newer value stays")?;
        if let Some(until) = ran_with.until {
            write!(f, ", set on {}", until.day())?;
        }
        if *is_revoked {
            return f.write_str("; the one it ran with was revoked, and nothing brings it back");
        }
        match ran_with.since {
            Some(since) => write!(f, "; --old-secrets brings back the one of {}", since.day())?,
            None => f.write_str("; --old-secrets brings back the one it ran with")?,
        }
        if *is_warm { f.write_str(", with which it is warm") } else { Ok(()) }
    }
}

/// Reads a time that may not be known. An older release wrote 0 for that.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<Timestamp>::deserialize(deserializer)?.filter(|at| *at != Timestamp::default()))
}

/// Why a secret must not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocation {
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub by: Actor,
    /// Why.
    pub reason: String,
}

/// Lists the variables that differ between what runs and what would run. Where nothing runs, it is compared with what was
/// set last.
#[must_use]
pub fn changes(environment: &Environment, change: &EntryChange, to: &Configuration) -> Vec<VariableChange> {
    let newest = || environment.newest_configuration(&change.service);
    let from = change.from.as_ref().map_or_else(newest, |entry| entry.config);
    let from = environment.configuration(&change.service, from).unwrap_or_default();
    let keys: std::collections::BTreeSet<_> = from.keys().chain(to.keys()).collect();
    let history = History { environment, service: &change.service };
    keys.into_iter()
        .filter(|key| from.get(*key) != to.get(*key))
        .map(|key| VariableChange {
            service: change.service.clone(),
            key: key.clone(),
            from: from.get(key).map(|value| history.shown(key, value)),
            to: to.get(key).map(|value| history.shown(key, value)),
        })
        .collect()
}

/// Lists the variables that would change if a version came back as it last ran here, and what a person should know of it.
#[must_use]
pub fn of_way_back(environment: &Environment, to: &VersionRef) -> (Vec<VariableChange>, Vec<String>) {
    let VersionRef { service, version } = to;
    let baseline = environment.baselines.last_with(service, version);
    let Some(entry) = baseline.and_then(|baseline| baseline.entries.get(service)) else {
        return (Vec::new(), Vec::new());
    };
    let values = environment.configuration(service, entry.config).unwrap_or_default();
    let (values, kept) = with_newer_secrets(environment, service, entry.config, &values);
    let mut warnings: Vec<_> = kept.iter().map(ToString::to_string).collect();
    let values = match without_revoked(environment, service, &values) {
        Ok(None) => values,
        Ok(Some(cleaned)) => {
            warnings.extend(cleaned.warnings);
            cleaned.values
        }
        Err(refusals) => {
            warnings.extend(refusals.iter().map(ToString::to_string));
            values
        }
    };
    let from = environment.entries().get(service).cloned();
    let change = EntryChange { service: service.clone(), from, to: Some(entry.clone()) };
    (changes(environment, &change, &values), warnings)
}

/// The configurations of a service in the order in which they were set.
struct History<'a> {
    environment: &'a Environment,
    service: &'a ServiceName,
}

impl History<'_> {
    fn values<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = (usize, &'a ConfigValue)> {
        let revisions = self.environment.configurations.get(self.service);
        let revisions = revisions.into_iter().flat_map(|revisions| revisions.iter().enumerate());
        let revisions: Vec<_> = revisions.collect();
        revisions.into_iter().filter_map(move |(index, revision)| Some((index, revision.get(key)?)))
    }

    fn shown(&self, key: &str, value: &ConfigValue) -> VariableValue {
        match value {
            ConfigValue::Plain(text) | ConfigValue::Filled(text) => VariableValue::Plain(text.clone()),
            ConfigValue::Secret(_) => VariableValue::Secret(self.age(key, value)),
        }
    }

    fn age(&self, key: &str, value: &ConfigValue) -> SecretAge {
        let first = |wanted: &ConfigValue| self.values(key).find(|(_, value)| *value == wanted);
        let Some((set, _)) = first(value) else {
            return SecretAge { since: None, until: None };
        };
        let later = self
            .values(key)
            .find(|(index, other)| *index > set && first(other).is_some_and(|(i, _)| i > set));
        let since = Some(self.set_at(set)).filter(|at| *at != Timestamp::default());
        SecretAge { since, until: later.map(|(index, _)| self.set_at(index)) }
    }

    /// The place of the first revision that has a value of a variable.
    fn first(&self, key: &str, value: &ConfigValue) -> Option<usize> {
        self.values(key).find(|(_, other)| *other == value).map(|(index, _)| index)
    }

    /// The value that was set in place of a secret since: what is in force, or else what was set last.
    fn newer(&self, key: &str, value: &ConfigValue) -> Option<ConfigValue> {
        let ConfigValue::Secret(_) = value else { return None };
        let newer = self.stand_in(key).filter(|other| other != value)?;
        (self.first(key, &newer)? > self.first(key, value)?).then_some(newer)
    }

    fn set_at(&self, index: usize) -> Timestamp {
        let times = self.environment.configured.get(self.service);
        times.and_then(|times| times.get(index)).copied().unwrap_or_default()
    }

    /// The value that stands in the place of a revoked one: what is in force, or else what was set last.
    fn stand_in(&self, key: &str) -> Option<ConfigValue> {
        let usable = |value: &ConfigValue| self.revoked(value).is_none();
        let in_force = self.environment.entries().get(self.service).map(|entry| entry.config);
        let in_force = in_force.and_then(|revision| self.environment.configuration(self.service, revision));
        let in_force = in_force.and_then(|values| values.get(key).cloned()).filter(usable);
        in_force
            .or_else(|| self.values(key).rev().map(|(_, value)| value).find(|value| usable(value)).cloned())
    }

    fn revoked(&self, value: &ConfigValue) -> Option<&Revocation> {
        match value {
            ConfigValue::Secret(name) => self.environment.revoked.get(name),
            ConfigValue::Plain(_) | ConfigValue::Filled(_) => None,
        }
    }
}

/// Puts the newer values in the place of secrets that were set since, and says which.
pub(crate) fn with_newer_secrets(
    environment: &Environment,
    service: &ServiceName,
    revision: ConfigRevision,
    values: &Configuration,
) -> (Configuration, Vec<KeptSecret>) {
    let history = History { environment, service };
    let mut newer = values.clone();
    let mut kept = Vec::new();
    for (key, value) in values {
        let Some(other) = history.newer(key, value) else { continue };
        let (service, ran_with) = (service.clone(), history.age(key, value));
        let (key, is_revoked) = (key.clone(), history.revoked(value).is_some());
        kept.push(KeptSecret { service, key: key.clone(), ran_with, revision, is_warm: false, is_revoked });
        newer.insert(key, other);
    }
    (newer, kept)
}

/// A configuration without what was revoked, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cleaned {
    pub(crate) values: Configuration,
    pub(crate) warnings: Vec<String>,
}

/// Puts other values in the place of revoked ones; `None` where there is none.
pub(crate) fn without_revoked(
    environment: &Environment,
    service: &ServiceName,
    values: &Configuration,
) -> Result<Option<Cleaned>, Vec<Refusal>> {
    let history = History { environment, service };
    let mut cleaned = Cleaned { values: values.clone(), warnings: Vec::new() };
    let mut refusals = Vec::new();
    for (key, value) in values {
        let Some(revocation) = history.revoked(value) else { continue };
        match history.stand_in(key) {
            Some(other) => {
                let what = match &other {
                    ConfigValue::Secret(_) => {
                        let age = history.age(key, &other);
                        age.since.map_or_else(
                            || "another value".to_owned(),
                            |since| format!("the value that was set on {}", since.day()),
                        )
                    }
                    ConfigValue::Plain(text) | ConfigValue::Filled(text) => format!("`{text}`"),
                };
                let at = revocation.at.day();
                cleaned
                    .warnings
                    .push(format!("`{key}` of `{service}` was revoked on {at}: {what} stands in its place"));
                cleaned.values.insert(key.clone(), other);
            }
            None => refusals.push(Refusal::Revoked {
                service: service.clone(),
                environment: environment.name.clone(),
                key: key.clone(),
                at: revocation.at,
            }),
        }
    }
    let changed = !cleaned.warnings.is_empty();
    if refusals.is_empty() { Ok(changed.then_some(cleaned)) } else { Err(refusals) }
}

/// Returns the revision that has exactly these values, as a new one where there is none.
pub(crate) fn revision_of(
    environment: &Environment,
    service: &ServiceName,
    values: Configuration,
) -> Result<ConfigRevision, NewConfiguration> {
    let revisions = environment.configurations.get(service);
    let same = revisions.and_then(|revisions| revisions.iter().rposition(|revision| *revision == values));
    match same.and_then(|index| u32::try_from(index + 1).ok()) {
        Some(number) => Ok(ConfigRevision(number)),
        None => {
            let revision = ConfigRevision(environment.newest_configuration(service).0 + 1);
            Err(NewConfiguration { service: service.clone(), revision, values })
        }
    }
}

/// Says that there is a newer configuration than the one that a service goes on with.
pub(crate) fn newer_revision(
    environment: &Environment,
    service: &ServiceName,
    entry: &BaselineEntry,
) -> Option<String> {
    let newest = environment.newest_configuration(service);
    let history = History { environment, service };
    let index = usize::try_from(newest.0).ok()?.checked_sub(1)?;
    (newest > entry.config).then(|| {
        let (in_force, at, name) = (entry.config, history.set_at(index).day(), &environment.name);
        format!(
            "`{service}` goes on with configuration {in_force}, and {newest} of {at} is newer: \
             lockstep config use {service} --revision {} --env {name}",
            newest.0
        )
    })
}

/// Returns every value of a variable that may be revoked: all secrets but the one that was set last, or that of one revision.
///
/// # Errors
/// Says why there is none.
pub fn revocable(
    environment: &Environment,
    service: &ServiceName,
    key: &str,
    revision: Option<ConfigRevision>,
) -> Result<Vec<String>, String> {
    let history = History { environment, service };
    let name = |value: &ConfigValue| match value {
        ConfigValue::Secret(name) if !environment.revoked.contains_key(name) => Some(name.clone()),
        _ => None,
    };
    let mut names: Vec<_> = match revision {
        Some(ConfigRevision(number)) => {
            let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            history
                .values(key)
                .filter(|(at, _)| Some(*at) == index)
                .filter_map(|(_, value)| name(value))
                .collect()
        }
        None => {
            let last = history.values(key).next_back().map(|(_, value)| value.clone());
            let earlier =
                history.values(key).map(|(_, value)| value).filter(|value| Some(*value) != last.as_ref());
            earlier.filter_map(name).collect()
        }
    };
    names.sort();
    names.dedup();
    match (names.is_empty(), revision) {
        (false, _) => Ok(names),
        (true, Some(revision)) => {
            Err(format!("`{key}` of `{service}` has no secret in {revision} that is not revoked"))
        }
        (true, None) => {
            Err(format!("`{key}` of `{service}` has no secret before the newest one that is not revoked"))
        }
    }
}
