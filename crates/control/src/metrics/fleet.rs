//! The server itself, environments, services, and what operations and builds are doing.

use std::collections::BTreeMap;

use lockstep_domain::environment::Environment;
use lockstep_domain::metrics_text::{ENVIRONMENT, HOST, Kind, MetricsText, SERVICE, VERSION};
use lockstep_domain::operation::{Operation, Phase};
use lockstep_domain::readiness::Standing;
use lockstep_files::whole::room_of;

use super::{Look, seconds};

impl Look<'_> {
    pub(super) fn server(&self, text: &mut MetricsText) {
        text.family("lockstep_info", Kind::Gauge, "The release of the server; always 1.");
        text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family("lockstep_journal_records_total", Kind::Counter, "Records of the journal.");
        text.sample(&[], self.world.seq);
        if let Ok(free) = room_of(&self.control.config.folder) {
            let help = "Bytes that can still be written to the disk of the data folder.";
            text.family("lockstep_data_free_bytes", Kind::Gauge, help);
            text.sample(&[], free);
        }
        if let Some(bytes) = self.control.charts.bytes() {
            text.family(
                "lockstep_history_bytes",
                Kind::Gauge,
                "Bytes on disk of the history that charts are drawn from.",
            );
            text.sample(&[], bytes);
        }
        if !self.control.config.exported.logs.is_empty() {
            let help = "Lines of logs that collectors took, or did not take.";
            text.family("lockstep_exported_log_lines_total", Kind::Counter, help);
            for (result, count) in self.control.exported_lines.read() {
                text.sample(&[("result", result)], count);
            }
        }
        text.family("lockstep_builds", Kind::Gauge, "Builds that wait for another one or run.");
        for (state, count) in self.builds() {
            text.sample(&[("state", state)], count);
        }
        self.hosts(text);
    }

    fn builds(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::from([("queued", 0), ("running", 0)]);
        for state in self.control.builds.not_over() {
            *counts.entry(state).or_default() += 1;
        }
        counts
    }

    fn hosts(&self, text: &mut MetricsText) {
        if self.world.hosts.is_empty() {
            return;
        }
        let (reached, rooms) = (self.control.hosts.reached(), self.control.hosts.rooms());
        text.family("lockstep_host_reached", Kind::Gauge, "1 while the server is connected to a host.");
        for name in self.world.hosts.keys() {
            text.sample(&[(HOST, name.as_str())], u8::from(reached.contains(name)));
        }
        let help = "Bytes that can still be written to the disk of a host.";
        text.family("lockstep_host_free_bytes", Kind::Gauge, help);
        for (name, room) in &rooms {
            text.sample(&[(HOST, name.as_str())], room.free);
        }
        text.family("lockstep_host_size_bytes", Kind::Gauge, "Bytes of the disk of a host.");
        for (name, room) in &rooms {
            text.sample(&[(HOST, name.as_str())], room.size);
        }
        let help = "1 where a host said just now what its instances use; without it they have no samples of memory and processors.";
        text.family("lockstep_host_usage_known", Kind::Gauge, help);
        for (name, said) in &self.said {
            text.sample(&[(HOST, name.as_str())], u8::from(*said));
        }
    }

    pub(super) fn fleet(&self, text: &mut MetricsText) {
        self.baselines(text);
        self.wanted(text);
        self.operations(text);
        self.ways_back(text);
        self.gateways(text);
        self.certificates(text);
    }

    fn baselines(&self, text: &mut MetricsText) {
        text.family("lockstep_baseline", Kind::Gauge, "The number of the current baseline.");
        for (name, environment) in self.environments() {
            text.sample(&[(ENVIRONMENT, name)], environment.baselines.current().number);
        }
        text.family(
            "lockstep_service_version_info",
            Kind::Gauge,
            "The version that a baseline has; always 1.",
        );
        for (name, environment) in self.environments() {
            for (service, entry) in environment.entries() {
                let (version, config) = (entry.version.to_string(), entry.config.0.to_string());
                let labels = [
                    (ENVIRONMENT, name),
                    (SERVICE, service.as_str()),
                    (VERSION, &version),
                    ("config", &config),
                ];
                text.sample(&labels, 1);
            }
        }
        text.family(
            "lockstep_holds",
            Kind::Gauge,
            "Versions that nothing brings back until somebody releases them.",
        );
        for (name, environment) in self.environments() {
            text.sample(&[(ENVIRONMENT, name)], environment.holds.len());
        }
    }

    fn wanted(&self, text: &mut MetricsText) {
        let help = "Instances of the main process of a service that are wanted.";
        text.family("lockstep_service_replicas_wanted", Kind::Gauge, help);
        for (name, environment) in self.environments() {
            for service in environment.entries().keys() {
                let labels = [(ENVIRONMENT, name), (SERVICE, service.as_str())];
                text.sample(&labels, environment.replicas_of(service));
            }
        }
    }

    fn operations(&self, text: &mut MetricsText) {
        text.family("lockstep_operations", Kind::Gauge, "Operations under way, by how far they are.");
        for (name, environment) in self.environments() {
            let mut counts = BTreeMap::from([("preparing", 0_u64), ("reverting", 0), ("shifted", 0)]);
            for operation in environment.under_way() {
                *counts.entry(phase(&operation.phase)).or_default() += 1;
            }
            for (phase, count) in counts {
                text.sample(&[(ENVIRONMENT, name), ("phase", phase)], count);
            }
        }
        let help = "How long the oldest operation under way has been there; 0 without one.";
        text.family("lockstep_operation_age_seconds", Kind::Gauge, help);
        for (name, environment) in self.environments() {
            let ages = environment.under_way().map(|operation| self.now.since_ms(operation.begun));
            text.sample(&[(ENVIRONMENT, name)], seconds(ages.max().unwrap_or(0)));
        }
        let help = "Operations that are over: done, or taken back.";
        text.family("lockstep_operations_ended_total", Kind::Counter, help);
        for (name, environment) in self.environments() {
            let (done, reverted): (Vec<&Operation>, Vec<_>) =
                environment.operations.iter().map(AsRef::as_ref).partition(|it| it.phase.is_done());
            text.sample(&[(ENVIRONMENT, name), ("outcome", "done")], done.len());
            text.sample(&[(ENVIRONMENT, name), ("outcome", "reverted")], reverted.len());
        }
    }

    /// As it was looked at last: looking anew makes plans, and whoever measures asks often.
    fn ways_back(&self, text: &mut MetricsText) {
        let help = "1 while a service can go back to its version before at once, 0 while it cannot; none for a first version.";
        text.family("lockstep_service_way_back", Kind::Gauge, help);
        for (name, environment) in self.environments() {
            let seen = self.control.follow_readiness(&environment.name);
            let seen = seen.borrow();
            let services = seen.iter().flat_map(|view| &view.readiness.services);
            for it in services.filter(|it| !it.standing.is_beginning()) {
                let is_open = it.standing.is_open() || it.standing == Standing::NotProved;
                let labels = [(ENVIRONMENT, name), (SERVICE, it.service.as_str())];
                text.sample(&labels, u8::from(is_open));
            }
        }
    }

    fn gateways(&self, text: &mut MetricsText) {
        text.family("lockstep_gateways", Kind::Gauge, "Gateways that serve an environment.");
        for (name, environment) in self.environments() {
            let gateways = self.control.registry.gateways(&environment.name, self.now);
            text.sample(&[(ENVIRONMENT, name)], gateways.len());
        }
        let help = "Gateways that are waited for and do not serve the newest table yet.";
        text.family("lockstep_gateways_behind", Kind::Gauge, help);
        for (name, environment) in self.environments() {
            let behind = self.control.registry.behind(&environment.name, self.now);
            text.sample(&[(ENVIRONMENT, name)], behind.len());
        }
    }

    fn certificates(&self, text: &mut MetricsText) {
        if self.environments().all(|(_, environment)| environment.certificates.is_empty()) {
            return;
        }
        let help = "When a certificate of an environment ends, in seconds since 1970.";
        text.family("lockstep_certificate_not_after_seconds", Kind::Gauge, help);
        for (name, environment) in self.environments() {
            for (certificate, it) in &environment.certificates {
                let labels = [(ENVIRONMENT, name), ("certificate", certificate.as_str())];
                text.sample(&labels, seconds(it.facts.valid_until.0));
            }
        }
    }

    fn environments(&self) -> impl Iterator<Item = (&str, &Environment)> {
        self.world.environments.iter().map(|(name, environment)| (name.as_str(), environment.as_ref()))
    }
}

const fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Preparing { .. } => "preparing",
        Phase::Shifted { .. } => "shifted",
        Phase::Reverting { .. } => "reverting",
        Phase::Done { .. } => "done",
        Phase::Reverted { .. } => "reverted",
    }
}
