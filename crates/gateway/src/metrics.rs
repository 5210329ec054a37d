//! What can be measured of a gateway, in the text format of Prometheus.
//!
//! Cardinality is bounded: an arm that has left is forgotten with its counters, and no label is taken from a request.

mod checks;
mod lanes;

use std::time::Duration;

use lockstep_domain::breaker::Phase;
use lockstep_domain::metrics_text::{Kind, MetricsText, escaped};
use lockstep_domain::priority::Priority;

use crate::breaker::BreakerSeen;
use crate::calls::{Call, classes as classes_of_calls};
use crate::counts::{BOUNDS_MS, CLASSES, Sums, TURNED_AWAY};
use crate::environment::{Ejections, Observation};
use crate::injection::Met;
use crate::limiter::LimiterSeen;
use crate::names::NameSeen;
use crate::policy::{CAUSES, HEDGES};

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) gateway: String,
    pub(crate) connections: usize,
    pub(crate) ready: bool,
    /// What became of spans, where they are exported.
    pub(crate) spans: Option<[(&'static str, u64); 3]>,
    /// By name.
    pub(crate) environments: Vec<(String, Observation)>,
}

/// Writes how long requests took, as the samples of a histogram.
fn histogram(text: &mut MetricsText, name: &str, labels: &str, sums: &Sums) {
    let mut below = 0;
    for (bound, count) in BOUNDS_MS.iter().zip(sums.durations) {
        below += count;
        let seconds = Duration::from_millis(*bound).as_secs_f64();
        text.line(format_args!("{name}_bucket{{{labels},le=\"{seconds}\"}} {below}"));
    }
    let count: u64 = sums.durations.iter().sum();
    text.line(format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}"));
    let (seconds, us) = (sums.total_us / 1_000_000, sums.total_us % 1_000_000);
    text.line(format_args!("{name}_sum{{{labels}}} {seconds}.{us:06}"));
    text.line(format_args!("{name}_count{{{labels}}} {count}"));
}

impl Everything {
    /// Writes it in the text format, version 0.0.4.
    pub(crate) fn text(&self) -> String {
        let mut text = MetricsText::default();
        self.process(&mut text);
        self.tables(&mut text);
        self.ejections(&mut text);
        self.held(&mut text);
        self.requests(&mut text);
        self.grpc(&mut text);
        self.durations(&mut text);
        self.routes(&mut text);
        self.repeats(&mut text);
        self.breakers(&mut text);
        self.turned_away(&mut text);
        self.limiters(&mut text);
        self.failures(&mut text);
        self.calls(&mut text);
        self.tls(&mut text);
        self.tcp(&mut text);
        self.mirrors(&mut text);
        self.faults(&mut text);
        self.zones(&mut text);
        self.names(&mut text);
        self.faulted(&mut text);
        self.lanes(&mut text);
        self.checks(&mut text);
        text.text()
    }

    fn faults(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_injected_faults_total";
        text.family(name, Kind::Counter, "Requests that met a fault on purpose, by what that was.");
        for (environment, seen) in &self.environments {
            for (fault, count) in seen.faults.iter().filter(|(_, count)| *count > 0) {
                text.line(format_args!(
                    "{name}{{deployment_environment_name=\"{environment}\",fault=\"{fault}\"}} {count}"
                ));
            }
        }
    }

    /// Says nothing where no version has instances in the zone of the gateway and elsewhere.
    fn zones(&self, text: &mut MetricsText) {
        if self.environments.iter().all(|(_, seen)| seen.zones.is_empty()) {
            return;
        }
        let name = "lockstep_gateway_zone_requests_total";
        let help = "Times an instance was picked where a version has some in the zone of the gateway and some elsewhere, by where it stands.";
        text.family(name, Kind::Counter, help);
        for (environment, seen) in &self.environments {
            for (arm, counts) in &seen.zones {
                let (service, version, config) = (&arm.service, &arm.version, arm.config.0);
                for (zone, count) in ["own", "other"].iter().zip(counts) {
                    text.line(format_args!("{name}{{deployment_environment_name=\"{environment}\",service_name=\"{service}\",service_version=\"{version}\",config=\"{config}\",zone=\"{zone}\"}} {count}"));
                }
            }
        }
    }

    /// Says nothing where no instance is named by host.
    fn names(&self, text: &mut MetricsText) {
        if self.environments.iter().all(|(_, seen)| seen.names.is_empty()) {
            return;
        }
        let name = "lockstep_gateway_name_addresses";
        text.family(name, Kind::Gauge, "Addresses that are asked of a name of instances.");
        self.each_name(|labels, seen| text.line(format_args!("{name}{{{labels}}} {}", seen.addresses)));
        let name = "lockstep_gateway_name_stale_seconds";
        let help = "For how long a name could not be looked up, so that the addresses are those from before; 0 while it can.";
        text.family(name, Kind::Gauge, help);
        self.each_name(|labels, seen| {
            let seconds = seen.trouble.as_ref().map_or(0, |(_, seconds)| *seconds);
            text.line(format_args!("{name}{{{labels}}} {seconds}"));
        });
        let name = "lockstep_gateway_name_stale";
        text.family(name, Kind::Gauge, "1 while a name cannot be looked up.");
        self.each_name(|labels, seen| {
            text.line(format_args!("{name}{{{labels}}} {}", u8::from(seen.trouble.is_some())));
        });
        let name = "lockstep_gateway_name_lookups_total";
        text.family(name, Kind::Counter, "Lookups of a name of instances, by what they brought.");
        self.each_name(|labels, seen| {
            for (result, count) in ["addresses", "missing", "failed"].iter().zip(seen.lookups) {
                text.line(format_args!("{name}{{{labels},result=\"{result}\"}} {count}"));
            }
        });
    }

    fn each_name(&self, mut write: impl FnMut(&str, &NameSeen)) {
        for (environment, seen) in &self.environments {
            for name in &seen.names {
                write(&format!("deployment_environment_name=\"{environment}\",name=\"{}\"", name.name), name);
            }
        }
    }

    fn faulted(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_faulted_requests_total";
        let help = "Requests that met a fault on purpose, by what that was and what their clients got; they are in no other counter of requests.";
        text.family(name, Kind::Counter, help);
        self.each(|labels, sums| {
            for (fault, classes) in Met::KINDS.iter().zip(sums.faulted) {
                for (class, count) in CLASSES.iter().zip(classes).filter(|(_, count)| *count > 0) {
                    text.line(format_args!("{name}{{{labels},fault=\"{fault}\",class=\"{class}\"}} {count}"));
                }
            }
        });
    }

    fn mirrors(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_mirrored_requests_total";
        text.family(
            name,
            Kind::Counter,
            "Requests that were to be copied to a version that is tried, by what became of the copy.",
        );
        for (environment, seen) in &self.environments {
            for (version, found) in &seen.mirrored {
                let results = [
                    ("same", found.same),
                    ("different", found.different),
                    ("unanswered", found.unanswered),
                    ("dropped", found.dropped),
                    ("uncopied", found.uncopied),
                ];
                for (result, count) in results {
                    text.line(format_args!(
                        "{name}{{deployment_environment_name=\"{environment}\",service_version=\"{version}\",result=\"{result}\"}} {count}"
                    ));
                }
            }
        }
    }

    fn between(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_between_handshakes_total";
        let help =
            "Connections that came in where gateways of other hosts do, by how that ended; full is carried.";
        text.family(name, Kind::Counter, help);
        for (environment, seen) in &self.environments {
            for (result, count) in seen.between.0.iter().filter(|(_, count)| *count > 0) {
                text.line(format_args!(
                    "{name}{{deployment_environment_name=\"{environment}\",result=\"{result}\"}} {count}"
                ));
            }
        }
        let name = "lockstep_gateway_between_connections";
        text.family(
            name,
            Kind::Gauge,
            "Connections that are carried to instances of this host for gateways of others.",
        );
        for (environment, seen) in &self.environments {
            text.line(format_args!(
                "{name}{{deployment_environment_name=\"{environment}\"}} {}",
                seen.between.1
            ));
        }
        let name = "lockstep_gateway_between_refused_total";
        text.family(
            name,
            Kind::Counter,
            "Connections of gateways of other hosts that the instance here did not take.",
        );
        for (environment, seen) in &self.environments {
            text.line(format_args!(
                "{name}{{deployment_environment_name=\"{environment}\"}} {}",
                seen.between.2
            ));
        }
    }

    fn tls(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_handshakes_total";
        text.family(
            name,
            Kind::Counter,
            "Connections that were to be within TLS, or to begin with a PROXY header, by how that ended.",
        );
        for (environment, seen) in &self.environments {
            for (result, count) in seen.handshakes.iter().filter(|(_, count)| *count > 0) {
                text.line(format_args!(
                    "{name}{{deployment_environment_name=\"{environment}\",result=\"{result}\"}} {count}"
                ));
            }
        }
        self.between(text);
        let name = "lockstep_gateway_certificate_not_after_seconds";
        text.family(name, Kind::Gauge, "When a certificate that is shown ends, in seconds since 1970.");
        for (environment, seen) in &self.environments {
            for (certificate, facts) in &seen.certificates {
                let (certificate, until) = (escaped(certificate), facts.valid_until.0 / 1_000);
                text.line(format_args!(
                    "{name}{{deployment_environment_name=\"{environment}\",certificate=\"{certificate}\"}} {until}"
                ));
            }
        }
    }

    /// Says nothing where no service speaks TCP.
    fn tcp(&self, text: &mut MetricsText) {
        let is_used = |seen: &Observation| {
            let mut all = seen.arms.iter().map(|(_, sums)| sums).chain([&seen.own]);
            all.any(|sums| !sums.tcp.is_empty()) || !seen.closed_ports.is_empty()
        };
        if !self.environments.iter().any(|(_, seen)| is_used(seen)) {
            return;
        }
        let name = "lockstep_gateway_tcp_connections_total";
        text.family(
            name,
            Kind::Counter,
            "Connections to services that speak TCP which are over, by who ended them.",
        );
        self.each(|labels, sums| {
            for (end, count) in sums.tcp.ends() {
                text.line(format_args!("{name}{{{labels},end=\"{}\"}} {count}", end.word()));
            }
        });
        let name = "lockstep_gateway_tcp_bytes_total";
        text.family(name, Kind::Counter, "Bytes that were passed to instances (up) and to clients (down).");
        self.each(|labels, sums| {
            for (way, bytes) in [("up", sums.tcp.to_instance), ("down", sums.tcp.to_client)] {
                if bytes > 0 {
                    text.line(format_args!("{name}{{{labels},direction=\"{way}\"}} {bytes}"));
                }
            }
        });
        let name = "lockstep_gateway_tcp_connect_failures_total";
        text.family(
            name,
            Kind::Counter,
            "Connections that instances did not take; others may have taken them.",
        );
        self.each(|labels, sums| {
            if sums.tcp.refused > 0 {
                text.line(format_args!("{name}{{{labels}}} {}", sums.tcp.refused));
            }
        });
        let name = "lockstep_gateway_tcp_ports_closed";
        text.family(
            name,
            Kind::Gauge,
            "Ports of services that speak TCP which are not open, although the table names them.",
        );
        for (environment, seen) in &self.environments {
            text.line(format_args!(
                "{name}{{deployment_environment_name=\"{environment}\"}} {}",
                seen.closed_ports.len()
            ));
        }
    }

    fn process(&self, text: &mut MetricsText) {
        text.family(
            "lockstep_gateway_info",
            Kind::Gauge,
            "The gateway; its id is another one after each start.",
        );
        let (id, version) = (&self.gateway, env!("CARGO_PKG_VERSION"));
        text.line(format_args!(
            "lockstep_gateway_info{{gateway=\"{}\",service_version=\"{version}\"}} 1",
            escaped(id)
        ));
        text.family("lockstep_gateway_ready", Kind::Gauge, "1 when new clients should be sent here.");
        text.line(format_args!("lockstep_gateway_ready {}", u8::from(self.ready)));
        text.family("lockstep_gateway_connections", Kind::Gauge, "Connections of clients.");
        text.line(format_args!("lockstep_gateway_connections {}", self.connections));
        if let Some(spans) = self.spans {
            let name = "lockstep_gateway_spans_total";
            let help = "Spans by what became of them: taken by the collector, dropped because too many waited, or not taken.";
            text.family(name, Kind::Counter, help);
            for (result, count) in spans {
                text.line(format_args!("{name}{{result=\"{result}\"}} {count}"));
            }
        }
    }

    fn tables(&self, text: &mut MetricsText) {
        text.family(
            "lockstep_gateway_table_revision",
            Kind::Gauge,
            "Revision of the route table; 0 for none.",
        );
        for (name, seen) in &self.environments {
            let revision = seen.revision;
            text.line(format_args!(
                "lockstep_gateway_table_revision{{deployment_environment_name=\"{name}\"}} {revision}"
            ));
        }
        text.family(
            "lockstep_gateway_table_refused",
            Kind::Gauge,
            "1 when the table that was given last was not taken.",
        );
        for (name, seen) in &self.environments {
            let refuses = u8::from(seen.refuses);
            text.line(format_args!(
                "lockstep_gateway_table_refused{{deployment_environment_name=\"{name}\"}} {refuses}"
            ));
        }
        text.family("lockstep_gateway_in_flight", Kind::Gauge, "Requests under way at an instance.");
        for (name, seen) in &self.environments {
            for (instance, count) in &seen.in_flight {
                let labels =
                    format_args!("deployment_environment_name=\"{name}\",service_instance_id=\"{instance}\"");
                text.line(format_args!("lockstep_gateway_in_flight{{{labels}}} {count}"));
            }
        }
    }

    fn ejections(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_ejections_total";
        text.family(
            name,
            Kind::Counter,
            "How often an instance was left alone for a while because it failed.",
        );
        self.each_instance(|labels, seen| text.line(format_args!("{name}{{{labels}}} {}", seen.count)));
        let name = "lockstep_gateway_instance_out";
        text.family(name, Kind::Gauge, "1 while an instance is left alone because it failed.");
        self.each_instance(|labels, seen| {
            text.line(format_args!("{name}{{{labels}}} {}", u8::from(seen.is_out)));
        });
    }

    /// Says nothing where no version has a floor.
    fn held(&self, text: &mut MetricsText) {
        if self.environments.iter().all(|(_, seen)| seen.held.is_empty()) {
            return;
        }
        let name = "lockstep_gateway_ejections_held_total";
        let help = "How often an instance was asked on although it failed, or again, because fewer than the floor of its version would have been asked.";
        text.family(name, Kind::Counter, help);
        for (environment, seen) in &self.environments {
            for (arm, count) in &seen.held {
                let (service, version, config) = (&arm.service, &arm.version, arm.config.0);
                text.line(format_args!("{name}{{deployment_environment_name=\"{environment}\",service_name=\"{service}\",service_version=\"{version}\",config=\"{config}\"}} {count}"));
            }
        }
    }

    fn each_instance(&self, mut write: impl FnMut(&str, &Ejections)) {
        for (environment, seen) in &self.environments {
            for ejections in &seen.ejections {
                write(
                    &format!(
                        "deployment_environment_name=\"{environment}\",service_instance_id=\"{}\"",
                        ejections.instance
                    ),
                    ejections,
                );
            }
        }
    }

    fn requests(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_requests_total";
        text.family(
            name,
            Kind::Counter,
            "Requests by what their clients got; without a service for answers of the gateway.",
        );
        self.each(|labels, sums| {
            for (class, count) in CLASSES.iter().zip(sums.classes).filter(|(_, count)| *count > 0) {
                text.line(format_args!("{name}{{{labels},class=\"{class}\"}} {count}"));
            }
        });
    }

    fn grpc(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_grpc_calls_total";
        text.family(name, Kind::Counter, "Calls of gRPC by the status that their clients got.");
        self.each(|labels, sums| {
            for (status, count) in sums.calls.iter().enumerate().filter(|(_, count)| **count > 0) {
                text.line(format_args!("{name}{{{labels},grpc_status=\"{status}\"}} {count}"));
            }
        });
    }

    fn durations(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_request_duration_seconds";
        text.family(name, Kind::Histogram, "From the head of a request to the end of its answer.");
        self.each(|labels, sums| histogram(text, name, labels, sums));
    }

    fn routes(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_route_requests_total";
        let help = "Requests that a route took, by what their clients got; an empty route is all that are not counted for themselves.";
        text.family(name, Kind::Counter, help);
        self.each_route(|labels, sums| {
            for (class, count) in CLASSES.iter().zip(sums.classes).filter(|(_, count)| *count > 0) {
                text.line(format_args!("{name}{{{labels},class=\"{class}\"}} {count}"));
            }
        });
        let name = "lockstep_gateway_route_duration_seconds";
        text.family(
            name,
            Kind::Histogram,
            "From the head of a request that a route took to the end of its answer.",
        );
        self.each_route(|labels, sums| histogram(text, name, labels, sums));
    }

    /// Calls `write` for each route, with the labels.
    fn each_route(&self, mut write: impl FnMut(&str, &Sums)) {
        for (environment, seen) in &self.environments {
            for ((route, service), sums) in &seen.routes {
                let route = escaped(route);
                write(
                    &format!(
                        "deployment_environment_name=\"{environment}\",route=\"{route}\",service_name=\"{service}\""
                    ),
                    sums,
                );
            }
        }
    }

    fn repeats(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_retries_total";
        text.family(
            name,
            Kind::Counter,
            "Further instances that were asked, by the arm that was asked last.",
        );
        self.each(|labels, sums| text.line(format_args!("{name}{{{labels}}} {}", sums.retries)));
        let name = "lockstep_gateway_retried_requests_total";
        text.family(
            name,
            Kind::Counter,
            "Requests for which further instances were asked, by the last cause.",
        );
        self.each(|labels, sums| {
            for (cause, count) in CAUSES.iter().zip(sums.retried).filter(|(_, count)| *count > 0) {
                text.line(format_args!("{name}{{{labels},cause=\"{cause}\"}} {count}"));
            }
        });
        let name = "lockstep_gateway_hedged_requests_total";
        let means = "Reads of which another instance was to be asked as well, by what came of it: its answer came first (won), that of the first one did (lost), too many were asked again already (no_budget), no other one served well and had room (no_instance), or their client left before either answered (left).";
        text.family(name, Kind::Counter, means);
        self.each(|labels, sums| {
            for (result, count) in HEDGES.iter().zip(sums.hedged).filter(|(_, count)| *count > 0) {
                text.line(format_args!("{name}{{{labels},result=\"{result}\"}} {count}"));
            }
        });
        let name = "lockstep_gateway_retries_refused_total";
        text.family(name, Kind::Counter, "Requests that were not asked again because too many others were.");
        for (environment, seen) in &self.environments {
            text.line(format_args!(
                "{name}{{deployment_environment_name=\"{environment}\"}} {}",
                seen.retries_refused
            ));
        }
        let name = "lockstep_gateway_stragglers_total";
        text.family(
            name,
            Kind::Counter,
            "Requests whose side of a switch had ended, which got what all others get.",
        );
        for (environment, seen) in &self.environments {
            text.line(format_args!(
                "{name}{{deployment_environment_name=\"{environment}\"}} {}",
                seen.stragglers
            ));
        }
        let name = "lockstep_gateway_shielded_total";
        text.family(name, Kind::Counter, "Requests that this arm answered for one on trial that failed.");
        self.each(|labels, sums| text.line(format_args!("{name}{{{labels}}} {}", sums.shielded)));
    }

    /// Says nothing of what never happened.
    fn turned_away(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_turned_away_total";
        let help = "Requests that a version had no room for or could not serve, by the code of the answer and their priority.";
        text.family(name, Kind::Counter, help);
        self.each(|labels, sums| {
            for (code, counts) in TURNED_AWAY.iter().zip(&sums.turned_away) {
                for (priority, count) in Priority::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
                    let priority = priority.word();
                    let labels = format!("{labels},code=\"{code}\",priority=\"{priority}\"");
                    text.line(format_args!("{name}{{{labels}}} {count}"));
                }
            }
        });
    }

    fn breakers(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_degraded_total";
        text.family(name, Kind::Counter, "Requests that this arm answered for one that is left alone.");
        self.each(|labels, sums| text.line(format_args!("{name}{{{labels}}} {}", sums.degraded)));
        let name = "lockstep_gateway_breaker_state";
        let help = "0 while a version gets its requests, 1 while it is tried again, 2 while it is left alone; of all callers, or of one that is known.";
        text.family(name, Kind::Gauge, help);
        self.each_breaker(|labels, seen| {
            let state = match seen.phase {
                Phase::Closed => 0,
                Phase::HalfOpen => 1,
                Phase::Open => 2,
            };
            text.line(format_args!("{name}{{{labels}}} {state}"));
        });
        let name = "lockstep_gateway_breaker_opened_total";
        text.family(
            name,
            Kind::Counter,
            "How often a version was left alone because it failed its requests.",
        );
        self.each_breaker(|labels, seen| text.line(format_args!("{name}{{{labels}}} {}", seen.openings)));
        let name = "lockstep_gateway_breaker_requests_total";
        text.family(name, Kind::Counter, "Requests that a version was kept from, by what was done instead.");
        self.each_breaker(|labels, seen| {
            for (instead, count) in [("degraded", seen.degraded), ("answered", seen.answered)] {
                text.line(format_args!("{name}{{{labels},instead=\"{instead}\"}} {count}"));
            }
        });
    }

    /// Says nothing where no limit adapts.
    fn limiters(&self, text: &mut MetricsText) {
        if self.environments.iter().all(|(_, seen)| seen.limiters.is_empty()) {
            return;
        }
        let name = "lockstep_gateway_adaptive_limit";
        text.family(name, Kind::Gauge, "Requests that may wait for an answer of a version at once.");
        self.each_limiter(|labels, seen| text.line(format_args!("{name}{{{labels}}} {}", seen.limit)));
        let name = "lockstep_gateway_waiting";
        text.family(name, Kind::Gauge, "Requests that wait for an answer of a version whose limit adapts.");
        self.each_limiter(|labels, seen| text.line(format_args!("{name}{{{labels}}} {}", seen.waiting)));
        let name = "lockstep_gateway_shed_total";
        text.family(
            name,
            Kind::Counter,
            "Requests that were refused because too many others waited for the version.",
        );
        self.each_limiter(|labels, seen| text.line(format_args!("{name}{{{labels}}} {}", seen.refused)));
    }

    fn each_limiter(&self, mut write: impl FnMut(&str, &LimiterSeen)) {
        for (environment, seen) in &self.environments {
            for limiter in &seen.limiters {
                let (service, version, config) =
                    (&limiter.arm.service, &limiter.arm.version, limiter.arm.config.0);
                let labels = format!(
                    "deployment_environment_name=\"{environment}\",service_name=\"{service}\",service_version=\"{version}\",config=\"{config}\""
                );
                write(&labels, limiter);
            }
        }
    }

    fn each_breaker(&self, mut write: impl FnMut(&str, &BreakerSeen)) {
        for (environment, seen) in &self.environments {
            for breaker in &seen.breakers {
                let BreakerSeen { arm, caller, .. } = breaker;
                let (service, version, config) = (&arm.service, &arm.version, arm.config.0);
                let caller = caller.as_ref().map(|arm| arm.version_ref().to_string()).unwrap_or_default();
                let labels = format!(
                    "deployment_environment_name=\"{environment}\",service_name=\"{service}\",service_version=\"{version}\",config=\"{config}\",caller=\"{caller}\""
                );
                write(&labels, breaker);
            }
        }
    }

    fn failures(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_upstream_failures_total";
        text.family(name, Kind::Counter, "Requests that instances failed, by cause.");
        for (environment, seen) in &self.environments {
            for ((version, cause), count) in &seen.failures {
                let (service, version) = version.split_once('@').unwrap_or((version, ""));
                let cause = cause.word();
                text.line(format_args!(
                    "{name}{{deployment_environment_name=\"{environment}\",service_name=\"{service}\",service_version=\"{version}\",cause=\"{cause}\"}} {count}"
                ));
            }
        }
    }

    fn calls(&self, text: &mut MetricsText) {
        let name = "lockstep_gateway_calls_total";
        let help = "Requests of instances at listeners of their own, by who called and who answered; without a version for answers of the gateway.";
        text.family(name, Kind::Counter, help);
        for (environment, seen) in &self.environments {
            for (call, classes) in &seen.calls {
                let labels = labels_of(environment, call);
                for (class, count) in classes_of_calls().zip(classes).filter(|(_, count)| **count > 0) {
                    text.line(format_args!("{name}{{{labels},class=\"{class}\"}} {count}"));
                }
            }
        }
    }

    /// Calls `write` for each arm, and for what has none, with the labels.
    fn each(&self, mut write: impl FnMut(&str, &Sums)) {
        for (environment, seen) in &self.environments {
            for (arm, sums) in &seen.arms {
                let (service, version, config) = (&arm.service, &arm.version, arm.config.0);
                let labels = format!(
                    "deployment_environment_name=\"{environment}\",service_name=\"{service}\",service_version=\"{version}\",config=\"{config}\""
                );
                write(&labels, sums);
            }
            let labels = format!(
                "deployment_environment_name=\"{environment}\",service_name=\"\",service_version=\"\",config=\"\""
            );
            write(&labels, &seen.own);
        }
    }
}

fn labels_of(environment: &str, Call { caller, service, callee }: &Call) -> String {
    let (version, config) = match callee {
        Some(arm) => (arm.version.to_string(), arm.config.0.to_string()),
        None => (String::new(), String::new()),
    };
    let caller = format!(
        "caller=\"{}\",caller_version=\"{}\",caller_config=\"{}\"",
        caller.service, caller.version, caller.config.0
    );
    format!(
        "deployment_environment_name=\"{environment}\",{caller},service_name=\"{service}\",service_version=\"{version}\",config=\"{config}\""
    )
}
