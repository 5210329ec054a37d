//! What can be measured of everything that a server knows, in the text format of Prometheus; the gateways inside it say theirs at the end.
//!
//! Everything is read when somebody asks and nothing is kept for it. Cardinality is bounded by what runs and by what the journal has: no
//! label is taken from a request.

mod fleet;
mod instances;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::metrics_text::MetricsText;
use lockstep_domain::{EnvironmentName, HostName, Instance, InstanceId, Timestamp, World};
use lockstep_runtime::{Driver as _, Usage};

use crate::Control;

/// What is looked at once for all families.
struct Look<'a> {
    control: &'a Control,
    world: &'a World,
    now: Timestamp,
    /// What runs in each environment, resources and runs of jobs included.
    instances: BTreeMap<&'a EnvironmentName, Vec<Instance>>,
    used: BTreeMap<InstanceId, Usage>,
    /// Whether each host said what its instances use.
    said: BTreeMap<HostName, bool>,
}

impl Control {
    /// Writes what is measured, in the text format of Prometheus.
    pub async fn metrics(self: &Arc<Self>) -> String {
        let (used, said) = self.usage().await;
        let (now, world) = self.ledger.look();
        let write = || {
            let instances = world.environments.keys();
            let instances = instances.map(|name| (name, self.everything_of(&world, name))).collect();
            Look { control: self, world: &world, now, instances, used, said }.text()
        };
        let mut text = tokio::task::block_in_place(write);
        text.push_str(&self.gateway.admin().metrics());
        text
    }

    /// Asks the drivers what their instances use, all at the same time. A host that does not say it in time is left out.
    pub(crate) async fn usage(&self) -> (BTreeMap<InstanceId, Usage>, BTreeMap<HostName, bool>) {
        let mut used = self.driver.usage().await.unwrap_or_default();
        let asked = self.hosts.ask_all(|driver| async move { driver.usage().await }).await;
        let mut said = BTreeMap::new();
        for (name, of_host) in asked {
            said.insert(name.clone(), of_host.is_some());
            // A host is believed of what runs there, and of nothing else.
            let of_host = of_host.into_iter().flatten();
            used.extend(of_host.filter(|(id, _)| self.hosts.runs(&name, id)));
        }
        (used, said)
    }
}

impl Look<'_> {
    fn text(&self) -> String {
        let mut text = MetricsText::default();
        process::write(&mut text);
        self.server(&mut text);
        self.fleet(&mut text);
        self.instances(&mut text);
        text.text()
    }
}

/// Returns seconds as they are written: of milliseconds, without what rounding adds.
fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
