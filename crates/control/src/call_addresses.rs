//! Where instances call others by host and port: giving them addresses, and having a gateway listen there before they start.
//!
//! An instance keeps what it was given; its `spec.json` has it, so the next server finds it there. Invariant: what an instance is
//! told is listened at when it is told, and nobody else of this server has it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use lockstep_domain::contract::Requirement;
use lockstep_domain::listeners::{
    self, CallAddresses, CallerListeners, Listeners, MAX_CALLED, MAX_TRIES, OpenedBy, Opener,
};
use lockstep_domain::routes::FORMAT_WITH_LISTENERS;
use lockstep_domain::service::Version;
use lockstep_domain::{CallAddress, Environment, EnvironmentName, Instance, InstanceId, ServiceName};
use lockstep_gateway::this_host;
use lockstep_runtime::InstanceSpec;

use crate::{Control, lock};

/// How long a gateway may take to listen for an instance: a gateway of its own has the table at once, and says so within a second.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
const LISTENING_PAUSE: Duration = Duration::from_millis(5);

/// What instances were given.
#[derive(Debug)]
pub(crate) struct Given {
    given: Mutex<GivenSoFar>,
}

#[derive(Debug)]
struct GivenSoFar {
    /// The address that was given last.
    last: Ipv4Addr,
    /// Of each instance that was asked about; most call nobody by host and port.
    of: BTreeMap<InstanceId, Option<CallAddresses>>,
    /// Whom instances run as that have addresses, where that is not the user of the server.
    users: BTreeMap<InstanceId, Option<u32>>,
}

impl Given {
    /// Begins to give addresses somewhere that depends on the data folder, so that two servers on one host seldom want the same.
    pub(crate) fn beginning_for(folder: &Path) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let somewhere = BuildHasherDefault::<DefaultHasher>::new().hash_one(folder);
        let given =
            GivenSoFar { last: listeners::nth(somewhere), of: BTreeMap::new(), users: BTreeMap::new() };
        Self { given: Mutex::new(given) }
    }

    /// Gives an instance an address, or another one than it had; `None` when it would need too many ports.
    fn give(
        &self,
        id: &InstanceId,
        opener: Opener,
        attempt: usize,
        required: &BTreeMap<ServiceName, Requirement>,
        called: &BTreeSet<ServiceName>,
    ) -> Option<CallAddresses> {
        let mut given = lock(&self.given);
        let taken: BTreeSet<IpAddr> =
            given.of.values().flatten().filter_map(CallAddresses::address).collect();
        let address = listeners::next_free(given.last, &taken)?;
        let services = listeners::listeners(address, attempt, required, called)?;
        let addresses = CallAddresses { opener, services };
        given.last = address;
        given.of.insert(id.clone(), Some(addresses.clone()));
        Some(addresses)
    }

    /// Returns what an instance was given; `recorded` tells what stands in its folder, where there is one.
    fn of(
        &self,
        id: &InstanceId,
        recorded: impl FnOnce(&InstanceId) -> Option<Option<CallAddresses>>,
    ) -> Option<CallAddresses> {
        let mut given = lock(&self.given);
        if let Some(known) = given.of.get(id) {
            return known.clone();
        }
        // One that is on its way has no folder yet, and is looked at again.
        let recorded = recorded(id)?;
        given.of.insert(id.clone(), recorded.clone());
        recorded
    }

    /// Forgets an instance that is over: what it had may be given again.
    pub(crate) fn forget(&self, id: &InstanceId) {
        let mut given = lock(&self.given);
        given.of.remove(id);
        given.users.remove(id);
    }

    /// Returns whom an instance runs as, where that is not the user of the server; `recorded` tells what stands in its folder, where there is one.
    fn user_of(
        &self,
        id: &InstanceId,
        recorded: impl FnOnce(&InstanceId) -> Option<Option<u32>>,
    ) -> Option<u32> {
        let mut given = lock(&self.given);
        if let Some(known) = given.users.get(id) {
            return *known;
        }
        let user = recorded(id)?;
        given.users.insert(id.clone(), user);
        user
    }
}

impl Control {
    /// Returns the listeners of the instances of an environment that are not over, where there are any.
    pub(crate) fn listeners<'a>(&self, instances: impl Iterator<Item = &'a Instance>) -> Option<Listeners> {
        let caller = |instance: &Instance| {
            let addresses = self.call_addresses_of(&instance.id)?;
            let opened_by = match addresses.opener {
                Opener::Server => OpenedBy::Run(self.gateway.id().to_owned()),
                Opener::At(address) => OpenedBy::At(address),
            };
            // Who calls is a version with its configuration, whichever of its processes does.
            let (id, arm) = (instance.id.clone(), instance.arm.main());
            let user = self.call_addresses.user_of(&id, |id| self.driver.runs_as(id));
            Some(CallerListeners { instance: id, arm, user, opened_by, services: addresses.services })
        };
        let alive = instances.filter(|instance| !instance.state.is_over());
        let mut callers: Vec<_> = alive.filter_map(caller).collect();
        callers.sort_by(|one, other| one.instance.cmp(&other.instance));
        let user = rustix::process::getuid().as_raw();
        (!callers.is_empty()).then(|| Listeners { host: this_host(), user, callers })
    }

    fn call_addresses_of(&self, id: &InstanceId) -> Option<CallAddresses> {
        self.call_addresses.of(id, |id| self.driver.call_addresses(id))
    }

    /// Gives an instance what it needs to call others by host and port, and returns when a gateway listens there; `None` when it
    /// refers to no host and no port.
    pub(crate) async fn listened_for(
        &self,
        environment: &Environment,
        version: &Version,
        spec: &InstanceSpec,
    ) -> Result<Option<CallAddresses>, String> {
        let called = tokio::task::block_in_place(|| self.driver.listened_for(spec));
        let fixed = version.requires.iter().filter(|(_, required)| required.port.is_some());
        let called = called.into_iter().chain(fixed.map(|(name, _)| name.clone()));
        // What is not required, or is a worker, is refused where it is filled in.
        let called: BTreeSet<_> = called.filter(|name| spec.urls.contains_key(name)).collect();
        if called.is_empty() {
            return Ok(None);
        }
        let opener = opener(environment)?;
        self.check_takes_listeners(&environment.name)?;
        // Those of instances that were found running are taken as well.
        self.driver.list().iter().filter(|it| !it.state.is_over()).for_each(|it| {
            self.call_addresses_of(&it.id);
        });
        let mut why = String::new();
        for attempt in 0..MAX_TRIES {
            let addresses = self.call_addresses.give(&spec.id, opener, attempt, &version.requires, &called);
            let addresses = addresses.ok_or_else(too_many)?;
            match self.listening(&environment.name, &addresses).await {
                Ok(()) => return Ok(Some(addresses)),
                Err(NotListening::Problem(problem)) => why = problem,
                Err(NotListening::Silent) => return Err(nobody_listens(environment)),
            }
        }
        Err(format!("the gateway cannot listen for its calls: {why}"))
    }

    /// Waits until a gateway listens, or says why it does not.
    async fn listening(
        &self,
        environment: &EnvironmentName,
        addresses: &CallAddresses,
    ) -> Result<(), NotListening> {
        let Some(address) = addresses.address() else { return Ok(()) };
        let deadline = tokio::time::Instant::now() + LISTENING_WITHIN;
        self.wake(environment);
        loop {
            match self.registry.listens_at(environment, address) {
                Some(Ok(())) => return Ok(()),
                Some(Err(problem)) => return Err(NotListening::Problem(problem)),
                None if self.stop.is_cancelled() || tokio::time::Instant::now() >= deadline => {
                    return Err(NotListening::Silent);
                }
                None => tokio::time::sleep(LISTENING_PAUSE).await,
            }
        }
    }

    /// A gateway that does not take tables with listeners would go on with its last one, whatever ends after that.
    fn check_takes_listeners(&self, environment: &EnvironmentName) -> Result<(), String> {
        self.older_gateway(environment, FORMAT_WITH_LISTENERS).map_or(Ok(()), |gateway| {
            Err(format!(
                "it calls others by host and port, and gateway `{gateway}` of `{environment}` is of a release that cannot listen for it: upgrade that first"
            ))
        })
    }
}

/// Why nobody listens for an instance.
enum NotListening {
    /// The gateway says so.
    Problem(String),
    /// No gateway has said anything.
    Silent,
}

fn opener(environment: &Environment) -> Result<Opener, String> {
    match &environment.settings.gateway_url {
        CallAddress::Server => Ok(Opener::Server),
        CallAddress::Elsewhere(url) => url.on_loopback().map(Opener::At).ok_or_else(|| {
            format!("it calls others by host and port, and the gateway {url} is not on this machine; refer to the `url` instead")
        }),
    }
}

fn nobody_listens(environment: &Environment) -> String {
    let at = match &environment.settings.gateway_url {
        CallAddress::Server => "inside the server".to_owned(),
        CallAddress::Elsewhere(url) => {
            format!("at {url}, which must be one of its own that listens there itself,")
        }
    };
    let within = LISTENING_WITHIN.as_secs();
    format!(
        "it calls others by host and port, and the gateway {at} has not listened for it within {within} s"
    )
}

fn too_many() -> String {
    format!(
        "it calls others by host and port, and requires more than the {MAX_CALLED} services that can have one"
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn given() -> Given {
        Given::beginning_for(Path::new("/srv/lockstep"))
    }

    fn give(given: &Given, id: &str) -> SocketAddr {
        let api: ServiceName = "api".parse().unwrap();
        let called = BTreeSet::from([api.clone()]);
        let id = id.parse().unwrap();
        let required = BTreeMap::from([(api.clone(), Requirement::default())]);
        let addresses = given.give(&id, Opener::Server, 0, &required, &called).unwrap();
        addresses.services[&api]
    }

    #[test]
    fn what_an_instance_was_given_is_its_own_until_it_is_over() {
        let given = given();
        let (one, two) = (give(&given, "web-1"), give(&given, "web-2"));
        assert_ne!(one.ip(), two.ip());
        let id = "web-1".parse().unwrap();
        assert_eq!(given.of(&id, |_| None).unwrap().services.values().next(), Some(&one));
        given.forget(&id);
        assert_eq!(given.of(&id, |_| None), None);
        assert_ne!(give(&given, "web-3").ip(), one.ip(), "what was given up is given last");
    }

    #[test]
    fn what_stands_in_the_folder_of_an_instance_is_taken_by_the_next_server() {
        let (before, after) = (given(), given());
        let address = give(&before, "web-1");
        let id = "web-1".parse().unwrap();
        let recorded = before.of(&id, |_| None);
        assert_eq!(after.of(&id, |_| None), None, "on its way");
        assert_eq!(after.of(&id, |_| Some(recorded.clone())), recorded);
        assert_ne!(give(&after, "web-2"), address, "although both begin at the same place");
        assert_eq!(after.of(&"web-9".parse().unwrap(), |_| Some(None)), None);
    }
}
