//! Which instances there are to be asked for metrics of their own, for the discovery of targets by HTTP of Prometheus.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/http_sd/>.

use std::collections::BTreeMap;

use lockstep_api::Problem;
use lockstep_api::types::ScrapeTarget;
use lockstep_domain::metrics_text::{ENVIRONMENT, HOST, INSTANCE, SERVICE, VERSION};
use lockstep_domain::work::MetricsPlace;
use lockstep_domain::{EnvironmentName, Instance, ServiceName, World};

use crate::{Control, environments};

/// Where Prometheus asks an instance.
const PATH: &str = "__metrics_path__";

impl Control {
    /// Lists the instances of services that can be reached from the machine of the server, in all environments or in one, of all
    /// services or of one.
    ///
    /// # Errors
    /// When the environment does not exist.
    pub fn scrape_targets(
        &self,
        environment: Option<&EnvironmentName>,
        service: Option<&ServiceName>,
    ) -> Result<Vec<ScrapeTarget>, Problem> {
        let world = self.ledger.world();
        if let Some(name) = environment {
            environments::find(&world, name)?;
        }
        let named = world.environments.keys().filter(|name| environment.is_none_or(|it| it == *name));
        let instances = named.flat_map(|name| self.instances_of(&world, name));
        let wanted =
            instances.filter(|it| service.is_none_or(|name| *world.current_name(name) == it.arm.service));
        Ok(wanted.filter_map(|instance| self.target(&world, &instance)).collect())
    }

    fn target(&self, world: &World, instance: &Instance) -> Option<ScrapeTarget> {
        let address = instance.address.filter(|_| !instance.state.is_over())?;
        if instance.host.as_ref().is_some_and(|host| !self.hosts.is_open(host)) {
            return None;
        }
        Some(ScrapeTarget { targets: vec![address.to_string()], labels: labels(world, instance) })
    }
}

fn labels(world: &World, instance: &Instance) -> BTreeMap<String, String> {
    let arm = &instance.arm;
    let said = [
        (ENVIRONMENT, Some(instance.environment.to_string())),
        (SERVICE, Some(arm.service.to_string())),
        (VERSION, Some(arm.version.to_string())),
        (INSTANCE, Some(instance.id.to_string())),
        (HOST, instance.host.as_ref().map(ToString::to_string)),
        ("process", arm.process.as_ref().map(ToString::to_string)),
        (PATH, path(world, instance)),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Where a worker says that its metrics are; of others nobody knows, and Prometheus asks at its usual path.
fn path(world: &World, instance: &Instance) -> Option<String> {
    let arm = &instance.arm;
    let version = world.find_version(&arm.service, &arm.version)?;
    let run = version.run_of(arm.process.as_ref())?;
    match &run.work.metrics.as_ref()?.place {
        MetricsPlace::Http { path } => Some(path.clone()),
        MetricsPlace::File { .. } => None,
    }
}
