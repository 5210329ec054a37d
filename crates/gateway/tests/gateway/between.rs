//! The same gateway where everything that it asks is on another host: each connection is carried by the gateway there, and nothing that is
//! promised of requests, streams and connections is less.
//!
//! The tests are those that there are: with `LOCKSTEP_TEST_CARRIED` set, every table of theirs leads through a second gateway.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::process::Command;

use lockstep_domain::HostName;
use lockstep_domain::between::{Between, BetweenGateway, BetweenHost};
use lockstep_domain::routes::RouteTable;
use lockstep_gateway::follow::TableStore;
use lockstep_gateway::{Applied, ApplyError, Gateway, GatewayConfig, KEY_LIFE};

use crate::support::environment;

/// What is set where tables lead through a second gateway.
const CARRIED: &str = "LOCKSTEP_TEST_CARRIED";

/// A gateway of a test, and that of the other host.
pub(crate) struct TestGateway {
    near: Gateway,
    far: Option<Far>,
}

struct Far {
    gateway: Gateway,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Deref for TestGateway {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.near
    }
}

impl From<Gateway> for TestGateway {
    fn from(near: Gateway) -> Self {
        Self { near, far: None }
    }
}

impl TestGateway {
    pub(crate) fn start(config: GatewayConfig) -> Self {
        let near = Gateway::start(config).unwrap();
        let far = std::env::var_os(CARRIED).map(|_| Far::beside(&near));
        Self { near, far }
    }

    pub(crate) fn apply(&self, table: RouteTable) -> Result<Applied, ApplyError> {
        let Some(far) = &self.far else { return self.near.apply(table) };
        let table = far.leads(table, &self.near);
        // What is wrong with it is said by the one that is tested.
        let _ = far.gateway.apply(table.clone());
        self.near.apply(table)
    }
}

impl Far {
    fn host() -> HostName {
        "far".parse().unwrap()
    }

    fn beside(near: &Gateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = |name: &str| TableStore::new(folder.path().join(name));
        let config = GatewayConfig { workers: NonZeroUsize::new(2).unwrap(), ..GatewayConfig::new("far") };
        let gateway = Gateway::start(config).unwrap();
        gateway.stand_on(&environment(), [Self::host()]);
        near.keep_identity(&environment(), &store("near"), KEY_LIFE);
        gateway.keep_identity(&environment(), &store("far"), KEY_LIFE);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let at = gateway.listen_between(&environment(), free, &store("far")).unwrap();
        Self { gateway, at, _folder: folder }
    }

    fn leads(&self, mut table: RouteTable, near: &Gateway) -> RouteTable {
        let keys = |gateway: &Gateway| gateway.receipt(&environment()).between.unwrap().keys;
        let mut instances = BTreeMap::new();
        let splits = table.services.values_mut().flat_map(|routes| &mut routes.splits);
        for endpoint in splits.flat_map(|split| split.endpoints.iter_mut().chain(&mut split.leaving)) {
            endpoint.through = Some(Self::host());
            instances.insert(endpoint.instance.clone(), endpoint.address);
        }
        let far = BetweenHost { at: self.at, keys: keys(&self.gateway), instances };
        let callers = BTreeMap::from([("near".to_owned(), BetweenGateway { keys: keys(near) })]);
        let hosts = BTreeMap::from([(Self::host(), far)]);
        table.between = Some(Between { callers, known: Vec::new(), hosts });
        table
    }
}

#[test]
fn whatever_passes_to_an_instance_passes_through_the_gateway_of_its_host() {
    if std::env::var_os(CARRIED).is_some() {
        return;
    }
    let suites = [
        "bodies::",
        "half_closed::",
        "ordinary::",
        "retries::",
        "streams::",
        "tcp::",
        "upgrades::",
        "approach::",
    ];
    let mut run = Command::new(std::env::current_exe().unwrap());
    // What a machine that has much else to do takes for itself is not looked at twice.
    run.args(["--skip", "timeouts::"]);
    run.args(suites).env(CARRIED, "1").args(["--test-threads", "2"]);
    let output = run.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("streams::tonic_calls"), "{said}");
}
