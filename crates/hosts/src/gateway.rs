//! The gateway of an environment on a host: what its instances call each other through, with no other machine in between.
//!
//! It is run as instances are, so supervisors, adoption, logs and the start after a boot hold for it as they stand. Its program is that of
//! its supervisor; it follows the server by the socket of its host ([`FromHost`](crate::FromHost)) and serves its last table when there is
//! none. Invariant: nothing here is secret. What a gateway may ask is decided by where it asks from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use lockstep_domain::clients_at::OutsideAddresses;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::run::{HealthCheck, Kind, Probe, Restart, RunSpec, Stop, StopSignal, Values};
use lockstep_domain::{
    Arm, ConfigRevision, Digest, EnvironmentName, GatewayName, HostName, Instance, VersionNumber, ZoneName,
};
use lockstep_runtime::InstanceSpec;
pub use lockstep_runtime::own::is_gateway;
use lockstep_runtime::own::{self, Ours};
use sha2::{Digest as _, Sha256};

use crate::place::{WAY, WAY_SOCKET};
use crate::protocol::HostFacts;

/// What the names of gateways of hosts begin with; the name of the host follows.
const OF_HOST: &str = "host-";
/// What stands in the ids of those that let gateways of other hosts in.
const DOOR: &str = "door-";
/// Digits of what one is told: two that are told something else of one program on one host differ in them.
const MARK_DIGITS: usize = 8;
/// The folder of its last tables, which outlives it.
const TABLES: &str = "tables";
/// How long clients have to finish when it is told to end, or another one has taken over.
const GRACE_MS: u64 = 30_000;
/// How much longer it may take until it has ended: it ends connections one by one, and tells the server.
const ENDING_MS: u64 = 10_000;
/// How long its first answer may take: it waits for a server that says nothing, three times.
const START_TIMEOUT_MS: u64 = 60_000;

/// A gateway of an environment, as a host is to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostGateway {
    /// The environment.
    pub environment: EnvironmentName,
    /// Where instances of the host call others: the same on every host.
    pub listen: SocketAddr,
    /// Where the port is taken from at which it says how it is; [`Instance::address`] is that one.
    pub ports: InstancePorts,
    /// The zone of the host.
    pub zone: Option<ZoneName>,
    /// What the host is called.
    pub host: HostName,
    /// Where gateways of other hosts come in, where they do.
    pub between: Option<SocketAddr>,
    /// Where clients from outside come in, where they do.
    pub outside: Option<OutsideAddresses>,
}

impl HostGateway {
    /// Says what the driver of a host is to start: `program` is the one that its agent is of, and `unique` tells one start from all before.
    ///
    /// Where a gateway of the environment runs there, this one takes its sockets over and that one completes, without a request that fails:
    /// so a newer program is started beside the one before, and nothing is stopped.
    ///
    /// # Panics
    /// Where `unique` is no part of an id: letters, digits and hyphens, 100 at most.
    #[must_use]
    pub fn spec(&self, host: &HostFacts, program: &Digest, unique: &str) -> InstanceSpec {
        let id = id(&self.environment, program, &format!("{}{unique}", self.mark()));
        let socket = Path::new(&host.folder).join(WAY).join(WAY_SOCKET);
        // A variable, because nothing in it is filled in, whatever stands in the path.
        let server = ("LOCKSTEP_SERVER".to_owned(), format!("unix:{}", socket.display()));
        InstanceSpec {
            id: id.parse().expect("an environment, a digest and what the caller promises make an id"),
            environment: self.environment.clone(),
            arm: arm(),
            job: None,
            run: self.run(),
            variables: BTreeMap::from([server]),
            filled: BTreeMap::new(),
            urls: BTreeMap::new(),
            calls: None,
            ports: self.ports,
            listen: None,
            release: *program,
            resources: BTreeMap::new(),
            resource: None,
            own: Some(Ours::Gateway),
            data_of: None,
        }
    }

    /// Tells whether a gateway runs a program and was told all that this one is told: another one is to be replaced by [`HostGateway::spec`].
    #[must_use]
    pub fn is_told_to(&self, instance: &Instance, program: &Digest) -> bool {
        instance.environment == self.environment
            && instance.id.as_str().starts_with(&id(&self.environment, program, &self.mark()))
    }

    /// What stands in the id for what it is told: where it listens, and all else.
    fn mark(&self) -> String {
        let door = if self.between.is_some() { DOOR } else { "" };
        let told: [u8; 32] = Sha256::digest(self.command().join("\0")).into();
        let told = Digest::from_bytes(told).to_string();
        format!("{door}{}-", &told[..MARK_DIGITS])
    }

    fn run(&self) -> RunSpec {
        let health = HealthCheck::new(Probe::Http { path: "/-/health".to_owned() });
        RunSpec {
            kind: Kind::Web,
            command: self.command(),
            health: HealthCheck { start_timeout_ms: START_TIMEOUT_MS, ..health },
            stop: Stop { signal: StopSignal::Term, timeout_ms: GRACE_MS + ENDING_MS },
            // Whatever keeps it from serving, such as somebody else at its port, may pass, and nobody else serves in its place.
            restart: Restart { max_restarts: u32::MAX, ..Restart::default() },
            data: vec![TABLES.parse().expect("it is a path below a folder")],
            values: Values::Filled,
            ..RunSpec::of_jobs()
        }
    }

    fn command(&self) -> Vec<String> {
        let (listen, grace, taken) =
            (self.listen.to_string(), format!("{GRACE_MS}ms"), own::TAKEN.to_string());
        let options = [
            ("--env", self.environment.as_str()),
            ("--listen", &listen),
            ("--data", TABLES),
            ("--admin-address", "${self.host}:${self.port}"),
            ("--grace", &grace),
            ("--exit-when-taken", &taken),
            ("--host", self.host.as_str()),
        ];
        let between = self.between.map(|at| at.to_string());
        let between = between.iter().map(|at| ("--between", at.as_str()));
        let http = self.outside.map(|at| at.http.to_string());
        let https = self.outside.and_then(|at| at.https).map(|at| at.to_string());
        let outside = http.iter().map(|at| ("--outside", at.as_str()));
        let outside = outside.chain(https.iter().map(|at| ("--outside-tls", at.as_str())));
        let zone = self.zone.iter().map(|zone| ("--zone", zone.as_str()));
        let words = [own::PROGRAM, "gateway", "run", "--takeover"];
        let options = options
            .into_iter()
            .chain(between)
            .chain(outside)
            .chain(zone)
            .flat_map(|(name, value)| [name, value]);
        words.into_iter().chain(options).map(str::to_owned).collect()
    }
}

/// Returns what the gateways of a host are called among those that a server knows, each of which is for some environments; `None` where the
/// host's name is no part of such a name.
#[must_use]
pub fn name_of(host: &str) -> Option<GatewayName> {
    format!("{OF_HOST}{host}").parse().ok()
}

/// Returns the host whose gateways are called so, if that is what such a name is: the other way round of [`name_of`].
#[must_use]
pub fn host_of(gateway: &GatewayName) -> Option<HostName> {
    gateway.as_str().strip_prefix(OF_HOST)?.parse().ok()
}

/// Tells whether a gateway was started with a program: one of another is to be replaced, by [`HostGateway::spec`] of the newer one.
#[must_use]
pub fn is_of_program(instance: &Instance, program: &Digest) -> bool {
    instance.id.as_str().starts_with(&id(&instance.environment, program, ""))
}

/// Tells whether a gateway was started so that gateways of other hosts come in.
#[must_use]
pub fn has_door(instance: &Instance) -> bool {
    let rest = instance.id.as_str().strip_prefix(&format!("gateway-{}-", instance.environment));
    rest.and_then(|rest| rest.split_once('-')).is_some_and(|(_, unique)| unique.starts_with(DOOR))
}

fn id(environment: &EnvironmentName, program: &Digest, unique: &str) -> String {
    format!("gateway-{environment}-{}-{unique}", program.short())
}

/// What it is shown as: it is no copy of a version, and has the place of one.
fn arm() -> Arm {
    let service = own::GATEWAY.parse().expect("the name keeps the rule of names");
    Arm { service, version: VersionNumber::new(0, 0, 0), config: ConfigRevision(0), process: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(folder: &str) -> HostFacts {
        HostFacts {
            name: "web1".to_owned(),
            kernel: String::new(),
            architecture: String::new(),
            boot: String::new(),
            clock_ms: 0,
            user: 0,
            folder: folder.to_owned(),
            free_bytes: 0,
            processors: 0,
            memory_bytes: 0,
            address: None,
            not_after_boot: None,
            unprotected: Vec::new(),
            means: lockstep_domain::limits::Means::default(),
        }
    }

    #[test]
    fn a_gateway_follows_by_the_socket_of_its_host_whatever_its_folder_is_called() {
        let gateway = HostGateway {
            environment: "production".parse().unwrap(),
            listen: "127.0.0.1:8500".parse().unwrap(),
            ports: InstancePorts::Server,
            zone: Some("eu-1".parse().unwrap()),
            host: "web1".parse().unwrap(),
            between: None,
            outside: None,
        };
        let program = Digest::from_bytes([7; 32]);
        let spec = gateway.spec(&facts("/home/${self.port}/$x"), &program, "1");
        assert_eq!(spec.variables["LOCKSTEP_SERVER"], "unix:/home/${self.port}/$x/way/socket");
        let id = spec.id.as_str().to_owned();
        assert!(
            id.starts_with(&format!("gateway-production-{}-", program.short())) && id.ends_with("-1"),
            "{id}"
        );
        assert_eq!(spec.own, Some(Ours::Gateway));
        let line = spec.run.command.join(" ");
        assert!(line.starts_with("/proc/self/exe gateway run --takeover --env production"), "{line}");
        assert!(line.contains("--listen 127.0.0.1:8500") && line.ends_with("--zone eu-1"), "{line}");
        assert!(line.contains("--host web1") && !line.contains("--between"), "{line}");
        let with_door = HostGateway { between: "10.0.0.5:18500".parse().ok(), ..gateway.clone() };
        let spec_with_door = with_door.spec(&facts("/home"), &program, "1");
        assert!(spec_with_door.run.command.join(" ").contains("--between 10.0.0.5:18500"));
        let started = |spec: &InstanceSpec| Instance {
            id: spec.id.clone(),
            environment: spec.environment.clone(),
            arm: spec.arm.clone(),
            state: lockstep_domain::InstanceState::Healthy,
            address: None,
            since: lockstep_domain::Timestamp(0),
            restarts: 0,
            job: None,
            resource: None,
            host: None,
        };
        assert!(has_door(&started(&spec_with_door)) && !has_door(&started(&spec)));
        assert!(is_of_program(&started(&spec_with_door), &program));
        assert!(with_door.is_told_to(&started(&spec_with_door), &program));
        assert!(!with_door.is_told_to(&started(&spec_with_door), &Digest::from_bytes([8; 32])));
        // Whatever it is told else, where its host has another address for example, makes it another one.
        let moved = HostGateway { between: "10.0.0.9:18500".parse().ok(), ..with_door.clone() };
        let in_zone = HostGateway { zone: "eu-2".parse().ok(), ..with_door.clone() };
        let at_port = HostGateway { listen: "127.0.0.1:8600".parse().unwrap(), ..with_door.clone() };
        let http = "10.0.0.5:8500".parse().unwrap();
        let outside = Some(OutsideAddresses { http, https: "10.0.0.5:8443".parse().ok() });
        let edge = HostGateway { outside, ..with_door };
        let line = edge.spec(&facts("/home"), &program, "1").run.command.join(" ");
        assert!(line.contains("--outside 10.0.0.5:8500 --outside-tls 10.0.0.5:8443"), "{line}");
        for other in [&gateway, &moved, &in_zone, &at_port, &edge] {
            assert!(!other.is_told_to(&started(&spec_with_door), &program), "{other:?}");
            assert!(other.is_told_to(&started(&other.spec(&facts("/home"), &program, "1")), &program));
        }
        assert_eq!(name_of("web1"), "host-web1".parse().ok());
        assert_eq!(name_of("web1").and_then(|name| host_of(&name)), "web1".parse().ok());
        assert_eq!(host_of(&"edge".parse().unwrap()), None);
        assert_eq!(name_of("Web 1"), None);
        // Sent to the agent and back it is the same: what is started twice is started once.
        let again: InstanceSpec = serde_json::from_slice(&serde_json::to_vec(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }
}
