//! What became of requests of lanes.

use lockstep_domain::metrics_text::{Kind, MetricsText};

use super::Everything;

impl Everything {
    /// Says nothing where there is no lane.
    pub(super) fn lanes(&self, text: &mut MetricsText) {
        if self.environments.iter().all(|(_, seen)| seen.lanes.is_empty()) {
            return;
        }
        let name = "lockstep_gateway_lane_requests_total";
        let help = "Requests of lanes, by what served them: what the lane gives of the service, something else because none of that serves, or a service that is not in the lane.";
        text.family(name, Kind::Counter, help);
        for (environment, seen) in &self.environments {
            for lane in &seen.lanes {
                let labels = format!("deployment_environment_name=\"{environment}\",lane=\"{}\"", lane.name);
                for (service, counts) in &lane.services {
                    for (served, count) in ["lane", "not_served"].iter().zip(counts) {
                        text.line(format_args!(
                            "{name}{{{labels},service_name=\"{service}\",served=\"{served}\"}} {count}"
                        ));
                    }
                }
                let others = lane.others;
                text.line(format_args!("{name}{{{labels},service_name=\"\",served=\"baseline\"}} {others}"));
            }
        }
    }
}
