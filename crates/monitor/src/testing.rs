//! A fleet that tests look at: a storefront that calls orders, which calls payments, in production, on two hosts.

use std::collections::BTreeMap;

use crate::seen::{
    ArmSeen, CertificateSeen, Counters, DiskSeen, EnvironmentSeen, GatewaySeen, HostSeen, InstanceSeen,
    InstanceState, Observation, OperationSeen, Seen, ServiceSeen, WayBackSeen,
};

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
const FIRST_MS: u64 = 1_780_000_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) now_ms: u64,
    pub(crate) services: BTreeMap<String, ServiceSeen>,
    pub(crate) operations: Vec<OperationSeen>,
    pub(crate) gateways: Vec<GatewaySeen>,
    pub(crate) hosts: BTreeMap<String, HostSeen>,
    pub(crate) certificates: Vec<CertificateSeen>,
    pub(crate) blind: Option<String>,
}

fn instance(service: &str, number: u32, host: &str) -> InstanceSeen {
    InstanceSeen {
        id: format!("{service}-1.4.0-{number}"),
        version: "1.4.0".into(),
        host: Some(host.into()),
        state: InstanceState::Healthy,
        since_ms: FIRST_MS - HOUR,
        restarts: 0,
        reason: None,
    }
}

pub(crate) fn service(name: &str, calls: &[&str]) -> ServiceSeen {
    let arm = ArmSeen { wanted: 2, counters: Seen::Is(Counters::default()) };
    ServiceSeen {
        owners: vec![format!("team-{name}")],
        is_asked: true,
        calls: calls.iter().map(|&name| name.into()).collect(),
        arms: BTreeMap::from([("1.4.0".into(), arm)]),
        instances: Seen::Is(vec![instance(name, 1, "north"), instance(name, 2, "south")]),
        way_back: Seen::Is(WayBackSeen::Open),
        checks: BTreeMap::new(),
    }
}

impl Fleet {
    pub(crate) fn shop() -> Self {
        let services = [("storefront", &["orders"][..]), ("orders", &["payments"]), ("payments", &[])];
        let disk = DiskSeen { free_bytes: 80 << 30, size_bytes: 100 << 30 };
        let host = HostSeen { disk: Seen::Is(disk), ..HostSeen::default() };
        Self {
            now_ms: FIRST_MS,
            services: services.map(|(name, calls)| (name.into(), service(name, calls))).into(),
            operations: Vec::new(),
            gateways: vec![GatewaySeen {
                name: "edge".into(),
                host: None,
                receipt_ms: Some(FIRST_MS),
                behind_since_ms: None,
                refused: None,
            }],
            hosts: BTreeMap::from([("north".into(), host.clone()), ("south".into(), host)]),
            certificates: vec![CertificateSeen {
                environment: "production".into(),
                name: "shop.example".into(),
                not_after_ms: FIRST_MS + 60 * 24 * HOUR,
                not_renewed: None,
            }],
            blind: None,
        }
    }

    /// A fleet of many services that call nobody.
    pub(crate) fn large(count: usize) -> Self {
        let names = (0..count).map(|number| format!("service-{number:04}"));
        Self { services: names.map(|name| (name.clone(), service(&name, &[]))).collect(), ..Self::shop() }
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let now_ms = self.now_ms;
        self.gateways.iter_mut().for_each(|gateway| gateway.receipt_ms = Some(now_ms));
    }

    pub(crate) fn blind(&mut self, why: &str) {
        self.blind = Some(why.into());
    }

    pub(crate) fn see(&mut self) {
        self.blind = None;
    }

    pub(crate) fn service(&mut self, name: &str) -> &mut ServiceSeen {
        self.services.get_mut(name).unwrap()
    }

    /// Adds to what the first version of a service has counted.
    pub(crate) fn serve(&mut self, name: &str, requests: u64, failures: u64) {
        let arm = self.service(name).arms.values_mut().next().unwrap();
        let Seen::Is(counters) = &mut arm.counters else { return };
        counters.requests += requests;
        counters.failures += failures;
    }

    pub(crate) fn serve_all(&mut self, requests: u64, failures: u64) {
        let names: Vec<String> = self.services.keys().cloned().collect();
        names.iter().for_each(|name| self.serve(name, requests, failures));
    }

    /// Puts what the first version of a service has counted.
    pub(crate) fn count(&mut self, name: &str, requests: u64, failures: u64) {
        let counters = Counters { requests, failures, ..Counters::default() };
        self.service(name).arms.values_mut().next().unwrap().counters = Seen::Is(counters);
    }

    pub(crate) fn instances(&mut self, name: &str) -> &mut Vec<InstanceSeen> {
        match &mut self.service(name).instances {
            Seen::Is(instances) => instances,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn turn(&mut self, name: &str, which: usize, state: InstanceState) {
        let now_ms = self.now_ms;
        let instance = &mut self.instances(name)[which];
        (instance.state, instance.since_ms) = (state, now_ms);
    }

    pub(crate) fn host_away(&mut self, name: &str) {
        self.hosts.get_mut(name).unwrap().away_since_ms = Some(self.now_ms);
        let services: Vec<String> = self.services.keys().cloned().collect();
        for service in services {
            for which in 0..self.instances(&service).len() {
                if self.instances(&service)[which].host.as_deref() == Some(name) {
                    self.turn(&service, which, InstanceState::Unhealthy);
                }
            }
        }
    }

    pub(crate) fn look(&self) -> Observation {
        let environment = EnvironmentSeen {
            services: match &self.blind {
                None => Seen::Is(self.services.clone()),
                Some(why) => Seen::Failed(why.clone()),
            },
            operations: Seen::Is(self.operations.clone()),
            gateways: Seen::Is(self.gateways.clone()),
        };
        Observation {
            at_ms: self.now_ms,
            environments: Seen::Is(BTreeMap::from([("production".into(), environment)])),
            hosts: Seen::Is(self.hosts.clone()),
            certificates: Seen::Is(self.certificates.clone()),
            server_disk: Seen::Is(DiskSeen { free_bytes: 80 << 30, size_bytes: 100 << 30 }),
        }
    }
}
