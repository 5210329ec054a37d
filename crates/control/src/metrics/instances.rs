//! Instances, what they use, and the requests of the versions that they are copies of.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::metrics_text::{
    ENVIRONMENT, HOST, INSTANCE, Kind, Label, MetricsText, SERVICE, VERSION,
};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::watch::latency_bound_ms;
use lockstep_domain::{Arm, EnvironmentName, Instance, InstanceState, ServiceName, VersionNumber};
use lockstep_registry::LatencyCounts;
use lockstep_runtime::Usage;

use super::{Look, seconds};

/// How long answers took to begin.
const RESPONSES: &str = "lockstep_service_response_begin_seconds";

impl Look<'_> {
    pub(super) fn instances(&self, text: &mut MetricsText) {
        self.counts(text);
        let help = "Times that the process of an instance was started again.";
        self.each(text, "lockstep_instance_restarts_total", Kind::Counter, help, |it| {
            Some(it.restarts.into())
        });
        let used = |read: fn(&Usage) -> f64| move |it: &Instance| self.used.get(&it.id).map(read);
        let help = "Memory that an instance has: of its control group, or else the sum over its processes.";
        self.each(
            text,
            "lockstep_instance_memory_bytes",
            Kind::Gauge,
            help,
            used(|it| it.memory_bytes as f64),
        );
        let help = "Time of processors that an instance has used.";
        let cpu = used(|it| it.cpu_us as f64 / 1e6);
        self.each(text, "lockstep_instance_cpu_seconds_total", Kind::Counter, help, cpu);
        let help = "Processes of an instance.";
        self.each(text, "lockstep_instance_processes", Kind::Gauge, help, used(|it| it.processes as f64));
        self.requests(text);
    }

    fn counts(&self, text: &mut MetricsText) {
        text.family("lockstep_instances", Kind::Gauge, "Instances of services, by how they are.");
        for (environment, instances) in &self.instances {
            let mut counts: BTreeMap<(&str, String, &str), u64> = BTreeMap::new();
            for it in instances.iter().filter(|it| is_of_service(it)) {
                let key = (it.arm.service.as_str(), it.arm.version.to_string(), state(&it.state));
                *counts.entry(key).or_default() += 1;
            }
            for ((service, version, state), count) in counts {
                let labels = [
                    (ENVIRONMENT, environment.as_str()),
                    (SERVICE, service),
                    (VERSION, &version),
                    ("state", state),
                ];
                text.sample(&labels, count);
            }
        }
    }

    /// Writes a family with a sample for each instance that has not ended.
    fn each(
        &self,
        text: &mut MetricsText,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: impl Fn(&Instance) -> Option<f64>,
    ) {
        text.family(name, kind, help);
        for instance in self.instances.values().flatten().filter(|it| !it.state.is_over()) {
            let Some(value) = value(instance) else { continue };
            let version = instance.arm.version.to_string();
            let mut labels = labels_of(instance, &version);
            labels.extend(instance.host.as_ref().map(|host| (HOST, host.as_str())));
            text.sample(&labels, value);
        }
    }

    fn requests(&self, text: &mut MetricsText) {
        let totals: Vec<_> =
            self.world.environments.keys().map(|name| (name, self.control.registry.counted(name))).collect();
        let help = "Requests to a version, as its gateways counted them while this server listened.";
        text.family("lockstep_service_requests_total", Kind::Counter, help);
        totals.iter().for_each(|(name, totals)| arms(text, name, totals, |it| it.requests));
        let help = "Those of them that failed: a status of 500 or more, or no valid answer.";
        text.family("lockstep_service_failures_total", Kind::Counter, help);
        totals.iter().for_each(|(name, totals)| arms(text, name, totals, |it| it.failures));
        let help = "How long answers of a version took to begin, of versions that have instances or serve.";
        text.family(RESPONSES, Kind::Histogram, help);
        totals.iter().for_each(|(name, totals)| self.responses(text, name, totals.keys()));
    }

    /// Versions that are gone are left out: their classes would be there for as long as the server runs.
    fn responses<'b>(
        &self,
        text: &mut MetricsText,
        environment: &EnvironmentName,
        arms: impl Iterator<Item = &'b Arm>,
    ) {
        let counted = self.control.registry.counted_latencies(environment);
        let there = self.versions_of(environment);
        for arm in arms.filter(|arm| there.contains(&(&arm.service, &arm.version))) {
            classes(text, environment, arm, &counted.get(arm).copied().unwrap_or_default());
        }
    }

    /// Returns the versions that have instances or are in the baseline.
    fn versions_of(&self, environment: &EnvironmentName) -> BTreeSet<(&ServiceName, &VersionNumber)> {
        let instances = self.instances.get(environment).into_iter().flatten();
        let run = instances.filter(|it| !it.state.is_over()).map(|it| (&it.arm.service, &it.arm.version));
        let known = self.world.environments.get(environment);
        let serve = known.into_iter().flat_map(|it| it.entries().iter());
        run.chain(serve.map(|(service, entry)| (service, &entry.version))).collect()
    }
}

/// Writes the classes of one arm. Nobody counts the sum of how long answers took, so there is none.
fn classes(text: &mut MetricsText, environment: &EnvironmentName, arm: &Arm, counts: &LatencyCounts) {
    let (version, config) = (arm.version.to_string(), arm.config.0.to_string());
    let process = arm.process.as_ref().map(|process| format!(",process=\"{process}\"")).unwrap_or_default();
    let labels = format!(
        "{ENVIRONMENT}=\"{environment}\",{SERVICE}=\"{}\",{VERSION}=\"{version}\",config=\"{config}\"{process}",
        arm.service
    );
    let mut below = 0_u64;
    for (class, count) in counts.iter().enumerate() {
        below = below.saturating_add(*count);
        let bound = latency_bound_ms(class).map_or_else(|| "+Inf".to_owned(), |ms| seconds(ms).to_string());
        text.line(format_args!("{RESPONSES}_bucket{{{labels},le=\"{bound}\"}} {below}"));
    }
    text.line(format_args!("{RESPONSES}_count{{{labels}}} {below}"));
}

fn arms(
    text: &mut MetricsText,
    environment: &EnvironmentName,
    totals: &BTreeMap<Arm, ArmTraffic>,
    value: impl Fn(&ArmTraffic) -> u64,
) {
    for (arm, traffic) in totals {
        let (version, config) = (arm.version.to_string(), arm.config.0.to_string());
        let process = arm.process.as_ref().map(|process| ("process", process.as_str()));
        let mut labels = vec![
            (ENVIRONMENT, environment.as_str()),
            (SERVICE, arm.service.as_str()),
            (VERSION, &version),
            ("config", &config),
        ];
        labels.extend(process);
        text.sample(&labels, value(traffic));
    }
}

/// A resource is named as the service that it is for others; it has no version.
fn labels_of<'a>(instance: &'a Instance, version: &'a str) -> Vec<Label<'a>> {
    let mut labels = vec![(ENVIRONMENT, instance.environment.as_str())];
    match &instance.resource {
        Some(resource) => labels.push(("resource", resource.as_str())),
        None => labels.extend([(SERVICE, instance.arm.service.as_str()), (VERSION, version)]),
    }
    labels.extend(instance.job.as_ref().map(|job| ("job_name", job.as_str())));
    labels.push((INSTANCE, instance.id.as_str()));
    labels
}

fn is_of_service(instance: &Instance) -> bool {
    instance.resource.is_none() && instance.job.is_none()
}

const fn state(state: &InstanceState) -> &'static str {
    match state {
        InstanceState::Starting => "starting",
        InstanceState::Healthy => "healthy",
        InstanceState::Unhealthy { .. } => "unhealthy",
        InstanceState::Stopping => "stopping",
        InstanceState::Stopped => "stopped",
        InstanceState::Completed => "completed",
        InstanceState::Failed { .. } => "failed",
    }
}
