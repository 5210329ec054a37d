//! What an event says to a person, in one line, and which services it is about.
//!
//! Who adds an event says both here: the matches have no rest.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::name::ServiceName;

impl Event {
    /// Says what happened, in one line; who did it and where stand beside it. What people wrote is in it as they wrote it, on one line.
    #[must_use]
    pub fn words(&self) -> String {
        let words = self.of_operation().or_else(|| self.of_environment()).unwrap_or_else(|| self.of_all());
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn of_operation(&self) -> Option<String> {
        Some(match self {
            Self::OperationBegun { operation } => {
                because(format!("operation {}: {}", operation.id, operation.intent), &operation.reason)
            }
            Self::WavePrepared { operation, wave, .. } => {
                format!("operation {operation}: wave {} is prepared", wave + 1)
            }
            Self::WaveShifted { operation, wave, step, reason, .. } => {
                let what =
                    format!("operation {operation}: wave {} takes requests, step {}", wave + 1, step + 1);
                because(what, reason)
            }
            Self::StepWaits { operation, missing, .. } => format!("operation {operation} waits: {missing}"),
            Self::ResourceAwaited { operation, missing, .. }
            | Self::HostAwaited { operation, missing, .. } => {
                format!("operation {operation} waits for {missing}")
            }
            Self::StepAccepted { operation, step, known, reason, .. } => because(
                format!("operation {operation}: step {step} goes on without evidence ({known})"),
                reason,
            ),
            Self::JobBegun { operation, instance, .. } => {
                format!("operation {operation}: job {instance} runs")
            }
            Self::JobEnded { operation, instance, failure, .. } => {
                ended(&format!("operation {operation}: job {instance}"), failure.as_ref())
            }
            Self::OperationReverting { operation, cause, .. } => {
                format!("operation {operation} is taken back: {cause}")
            }
            Self::OperationDone { operation, baseline, .. } => {
                format!("operation {operation} is done: baseline {baseline}")
            }
            Self::OperationReverted { operation, .. } => {
                format!("operation {operation} was taken back: everything is as before it")
            }
            _ => return None,
        })
    }

    fn of_environment(&self) -> Option<String> {
        Some(match self {
            Self::EnvironmentCreated { .. } => "the environment was created".to_owned(),
            Self::EnvironmentChanged { .. } => "the settings of the environment were changed".to_owned(),
            Self::EnvironmentRemoved { reason, .. } => because("the environment was removed", reason),
            Self::FaultsChanged { faults, .. } => match faults.len() {
                0 => "no request meets a fault on purpose any more".to_owned(),
                _ => {
                    let services: BTreeSet<_> = faults.iter().map(|fault| fault.service.as_str()).collect();
                    let services: Vec<_> = services.into_iter().collect();
                    format!("requests meet faults on purpose: of {}", services.join(", "))
                }
            },
            Self::StartMeasured { arm, ms, .. } => format!("a start of {arm} took {ms} ms"),
            Self::ScheduleChanged { service, job, schedule, .. } => match schedule {
                Some(schedule) => format!("job {job} of {service} runs at {schedule}"),
                None => format!("job {job} of {service} runs by no schedule any more"),
            },
            Self::ScheduledRunBegun { planned, .. } => format!("{planned} runs by its schedule"),
            Self::ScheduledRunSkipped { planned, reason, .. } => format!("{planned} does not run: {reason}"),
            Self::ScheduledRunEnded { service, job, failure, .. } => {
                ended(&format!("job {job} of {service}"), failure.as_ref())
            }
            Self::BaselineProven { baseline, requests, failures, .. } => {
                format!("baseline {baseline} is proven: {failures} of {requests} requests failed")
            }
            Self::InstanceDismissed { instance, reason, .. } => {
                because(format!("instance {instance} is to end"), reason)
            }
            Self::HoldPlaced { version, hold, .. } => format!("{version} is held: {}", hold.reason),
            Self::HoldReleased { version, .. } => format!("{version} is held no more"),
            Self::SecretRevoked { service, key, reason, .. } => {
                because(format!("a secret value of {key} of {service} must not come back"), reason)
            }
            Self::ResourceSet { resource, kind, reason, .. } => {
                because(format!("resource {resource} ({kind}) was set"), reason)
            }
            Self::ResourceRemoved { resource, reason, .. } => {
                because(format!("resource {resource} was removed"), reason)
            }
            Self::VersionSaid { arm, said, .. } => {
                format!("{arm}, which somebody else runs, says that it is {said}")
            }
            _ => return self.of_routes().or_else(|| self.of_certificates()),
        })
    }

    fn of_routes(&self) -> Option<String> {
        Some(match self {
            Self::VersionRuleAdded { service, version, takes, reason, .. } => {
                because(format!("{service} {version} gets requests of its own: {takes}"), reason)
            }
            Self::VersionRuleRemoved { rule, reason, .. } => because(format!("rule {rule} ended"), reason),
            Self::LaneBegun { lane, .. } => {
                let services: Vec<_> = lane.services.iter().map(|it| it.service.to_string()).collect();
                because(format!("lane {} begins, with {}", lane.name, services.join(", ")), &lane.reason)
            }
            Self::LaneEnded { lane, reason, .. } => because(format!("lane {lane} ended"), reason),
            _ => return None,
        })
    }

    fn of_certificates(&self) -> Option<String> {
        Some(match self {
            Self::CertificateAdded { certificate, facts, .. } => {
                format!("certificate {certificate} is shown, for {}", facts.names.join(", "))
            }
            Self::CertificateRemoved { certificate, .. } => {
                format!("certificate {certificate} is shown no more")
            }
            Self::CertificateRequested { certificate, .. } => {
                format!("certificate {certificate} is asked for and renews itself")
            }
            Self::CertificateOrderProgressed { certificate, progress, .. } => match &progress.problem {
                Some(why) => format!("the order of certificate {certificate} failed: {why}"),
                None => format!("the order of certificate {certificate} came further"),
            },
            Self::CertificateRequestEnded { certificate, .. } => {
                format!("certificate {certificate} renews itself no more")
            }
            _ => return None,
        })
    }

    fn of_all(&self) -> String {
        match self {
            Self::ClockSkipped { ms } => format!("the clock was {ms} ms behind"),
            Self::LifecycleDefined { name, .. } => format!("lifecycle {name} was defined"),
            Self::BranchPolicyDefined { .. } => "the rules of branches were defined".to_owned(),
            Self::ServiceRegistered { service, .. } => format!("service {service} was registered"),
            Self::ManifestKept { service, reason, .. } => {
                because(format!("a manifest is kept with {service}"), reason)
            }
            Self::ManifestLeft { service, reason } => {
                because(format!("the manifest of its repository counts for {service} again"), reason)
            }
            Self::EarlierReleasesTaken { service, releases } => {
                format!("{} earlier releases of {service} were taken up", releases.len())
            }
            Self::ServiceRemoved { service, reason } => {
                because(format!("service {service} was removed"), reason)
            }
            Self::ServiceRenamed { service, to, reason } => {
                because(format!("service {service} is called {to} now"), reason)
            }
            Self::VersionRecorded { service, version } => format!("{service}@{} was cut", version.number),
            Self::EvidenceAdded { version, evidence } => format!("evidence on {version}: {}", evidence.kind),
            Self::Approved { version, approval } => {
                because(format!("{version} was approved for {}", approval.stage), &approval.note)
            }
            Self::StageChanged { version, from, to, reason } => {
                because(format!("{version} went from {from} to {to}"), reason)
            }
            Self::BuildCancelled { build, service } => format!("build {build} of {service} was ended"),
            Self::StoreCollected {} => "what nothing needs was removed from the store".to_owned(),
            Self::DataRemoved { of_environment, service, folder, reason } => {
                because(format!("data `{folder}` of {service} in {of_environment} was removed"), reason)
            }
            Self::ResourceDataRemoved { of_environment, resource, reason } => {
                because(format!("the data of resource {resource} in {of_environment} was removed"), reason)
            }
            Self::CallersKeyRotated { reason } => because("the key of callers was exchanged", reason),
            Self::JournalAccepted { records, reason, .. } => {
                because(format!("the journal was accepted with {records} records"), reason)
            }
            other => other.of_places(),
        }
    }

    fn of_places(&self) -> String {
        match self {
            Self::WatchingSet { what, name, reason, .. } => {
                because(format!("{} {name} was set", what.word()), reason)
            }
            Self::WatchingRemoved { what, name, reason } => {
                because(format!("{} {name} was removed", what.word()), reason)
            }
            Self::GatewayAdded { gateway, .. } => format!("gateway {gateway} was added"),
            Self::GatewayRemoved { gateway } => format!("gateway {gateway} was removed"),
            Self::HostAdded { host, .. } => format!("host {host} was added"),
            Self::HostChanged { host, reason, .. } => because(format!("host {host} was changed"), reason),
            Self::HostTurned { host, stance, reason } => because(format!("host {host} is {stance}"), reason),
            Self::HostRemoved { host, reason, .. } => because(format!("host {host} was removed"), reason),
            Self::CertificateSecretsRemoved { secrets } => {
                format!("{} certificates that nothing shows were removed", secrets.len())
            }
            _ => String::new(),
        }
    }

    /// Returns the services that it is about, as far as it names them itself: what else belongs to an operation is about those of that.
    #[must_use]
    pub fn services(&self) -> BTreeSet<ServiceName> {
        match self {
            Self::OperationBegun { operation } => operation.touches(),
            Self::LaneBegun { lane, .. } => lane.services.iter().map(|it| it.service.clone()).collect(),
            Self::FaultsChanged { faults, .. } => faults.iter().map(|fault| fault.service.clone()).collect(),
            Self::ServiceRenamed { service, to, .. } => [service.clone(), to.clone()].into(),
            _ => self.service().into_iter().cloned().collect(),
        }
    }

    fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::ServiceRegistered { service, .. }
            | Self::ManifestKept { service, .. }
            | Self::ManifestLeft { service, .. }
            | Self::EarlierReleasesTaken { service, .. }
            | Self::ServiceRemoved { service, .. }
            | Self::VersionRecorded { service, .. }
            | Self::ScheduleChanged { service, .. }
            | Self::ScheduledRunEnded { service, .. }
            | Self::SecretRevoked { service, .. }
            | Self::BuildCancelled { service, .. }
            | Self::DataRemoved { service, .. }
            | Self::VersionRuleAdded { service, .. } => Some(service),
            Self::EvidenceAdded { version, .. }
            | Self::Approved { version, .. }
            | Self::StageChanged { version, .. }
            | Self::HoldPlaced { version, .. }
            | Self::HoldReleased { version, .. } => Some(&version.service),
            Self::StartMeasured { arm, .. } | Self::VersionSaid { arm, .. } => Some(&arm.service),
            Self::ScheduledRunBegun { planned, .. } | Self::ScheduledRunSkipped { planned, .. } => {
                Some(&planned.arm.service)
            }
            _ => None,
        }
    }

    /// Returns the name by which the journal has this kind of event, such as `operation_begun`.
    #[must_use]
    pub fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("event").and_then(|name| name.as_str()).unwrap_or_default().to_owned()
    }
}

fn because(what: impl Into<String>, reason: &str) -> String {
    let what = what.into();
    if reason.is_empty() { what } else { format!("{what}: {reason}") }
}

fn ended(what: &str, failure: Option<&String>) -> String {
    match failure {
        Some(why) => format!("{what} failed: {why}"),
        None => format!("{what} is done"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_several_lines_is_one() {
        let event = Event::CallersKeyRotated { reason: "the folder\nwas copied".to_owned() };
        assert_eq!(event.words(), "the key of callers was exchanged: the folder was copied");
        assert_eq!(event.kind(), "callers_key_rotated");
        assert_eq!(event.services(), BTreeSet::new());
    }

    #[test]
    fn an_event_of_a_version_is_about_its_service() {
        let event = Event::StageChanged {
            version: "orders@1.4.0".parse().unwrap(),
            from: "testing".parse().unwrap(),
            to: "production".parse().unwrap(),
            reason: String::new(),
        };
        assert_eq!(event.words(), "orders@1.4.0 went from testing to production");
        assert_eq!(event.services(), BTreeSet::from(["orders".parse().unwrap()]));
    }
}
