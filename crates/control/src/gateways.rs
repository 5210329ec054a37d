//! Gateways of their own: their keys, taking in their receipts, and remembering who they are over a restart of the server.
//!
//! Invariant: a server that was started anew ends no instance to which a gateway may still send requests, because it
//! waits for the gateways that its predecessor knew as for those that it has heard of itself. Who reports is no decision
//! and is not in the journal; when what is remembered is lost, a gateway is known again with its next receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lockstep_api::types::{AddGateway, GatewayAdded, GatewayIdentityView, GatewayView};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::edition::TableHistory;
use lockstep_domain::gateway::{GATEWAY_KEY_PREFIX, MAX_GATEWAY_IDENTITIES};
use lockstep_domain::routes::GatewayReceipt;
use lockstep_domain::{Actor, Arm, Digest, EnvironmentName, Event, GatewayIdentity, GatewayName, World};
use lockstep_files::{foreign, whole};
use lockstep_hosts::gateway::host_of;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::between::Run;
use crate::random::random_hex;
use crate::{Control, environments, internal, lock, not_found};

/// Largest file that is read: some thousand gateways.
const MAX_BYTES: u64 = 1024 * 1024;

/// The ids of the gateways of each environment.
type Known = BTreeMap<EnvironmentName, BTreeSet<String>>;

/// The gateways of their own that reported last, kept in a file.
#[derive(Debug)]
pub(crate) struct KnownGateways {
    path: PathBuf,
    known: Mutex<Known>,
}

impl KnownGateways {
    /// Reads what is remembered. A file that cannot be understood is as good as none.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let text = foreign::open(&path).and_then(|file| foreign::read(file, MAX_BYTES));
        let known = match text {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the gateways that were known are forgotten");
                Known::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Known::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, known: Mutex::new(known) })
    }

    /// Returns the gateways that are to be waited for, each with its environment.
    pub(crate) fn expected(&self) -> Vec<(EnvironmentName, String)> {
        let known = lock(&self.known);
        let all = known.iter().flat_map(|(environment, ids)| ids.iter().map(move |id| (environment, id)));
        all.map(|(environment, id)| (environment.clone(), id.clone())).collect()
    }

    /// Remembers the gateways of an environment. A disk that is full costs only that the next server does not wait.
    pub(crate) fn remember(&self, environment: &EnvironmentName, gateways: BTreeSet<String>) {
        let mut known = lock(&self.known);
        if known.get(environment) == Some(&gateways) {
            return;
        }
        known.insert(environment.clone(), gateways);
        if let Err(error) = self.keep(&known) {
            tracing::warn!(path = %self.path.display(), %error, "the known gateways could not be kept");
        }
    }

    fn keep(&self, known: &Known) -> io::Result<()> {
        whole::put(&self.path, &serde_json::to_vec(known).map_err(io::Error::other)?, 0o644)
    }
}

/// Bytes of a key: nobody guesses them.
const KEY_BYTES: usize = 32;

impl Control {
    /// Lists the gateways that have a key.
    #[must_use]
    pub fn gateways(&self) -> Vec<GatewayIdentityView> {
        let world = self.ledger.world();
        let view = |(name, identity): (&GatewayName, &Arc<GatewayIdentity>)| GatewayIdentityView {
            name: name.clone(),
            environments: identity.serves(&world).cloned().collect(),
            added: identity.added,
            by: identity.by.clone(),
        };
        world.gateways.iter().map(view).collect()
    }

    /// Gives a gateway a key. It is in the answer and nowhere else.
    ///
    /// # Errors
    /// When there is one of that name, or an environment does not exist.
    pub fn add_gateway(&self, actor: &Actor, request: &AddGateway) -> Result<GatewayAdded, Problem> {
        let key = format!("{GATEWAY_KEY_PREFIX}{}", random_hex(KEY_BYTES).map_err(internal)?);
        let AddGateway { name, environments } = request;
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                check_addition(world, request)?;
                let (gateway, environments) = (name.clone(), environments.clone());
                Ok((vec![Event::GatewayAdded { gateway, environments, key: digest(&key) }], ()))
            })
        })?;
        Ok(GatewayAdded { name: name.clone(), environments: environments.clone(), key })
    }

    /// Makes the key of a gateway invalid. The gateway goes on serving its last tables and is waited for no more.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove_gateway(&self, actor: &Actor, name: &GatewayName) -> Result<(), Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                find(world, name)?;
                Ok((vec![Event::GatewayRemoved { gateway: name.clone() }], ()))
            })
        })?;
        for environment in self.ledger.world().environments.keys() {
            self.registry.forget_gateway(environment, name);
            self.between.forget_gateway(environment, name);
        }
        Ok(())
    }

    /// Returns whose key it is. It takes the same time for each that is known, whatever is given.
    #[must_use]
    pub fn gateway_of_key(&self, key: &str) -> Option<GatewayName> {
        let (given, world) = (digest(key), self.ledger.world());
        let same = |identity: &GatewayIdentity| bool::from(identity.key.as_bytes().ct_eq(given.as_bytes()));
        let found =
            world.gateways.iter().filter(|(_, identity)| same(identity)).map(|(name, _)| name.clone());
        found.fold(None, |_, name| Some(name))
    }

    /// Checks that a gateway serves an environment.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_serves(&self, gateway: &GatewayName, environment: &EnvironmentName) -> Result<(), Problem> {
        check_key(&self.ledger.world(), gateway, environment)
    }

    /// Notes that somebody reported without the key of a gateway, so that it can be shown.
    pub fn note_anonymous(&self, environment: &EnvironmentName) {
        let why = "it reports without a key: nothing waits for it; lockstep gateway add NAME --env ENV";
        self.registry.refuse(environment, "a gateway without a key", why, self.ledger.now());
    }

    /// Takes in the receipt of a gateway of its own.
    ///
    /// # Errors
    /// When it is not for an environment of this gateway, or says what cannot be.
    pub fn receive(&self, gateway: &GatewayName, receipt: &GatewayReceipt) -> Result<(), Problem> {
        let (environment, now) = (&receipt.environment, self.ledger.now());
        let world = self.ledger.world();
        check_key(&world, gateway, environment)?;
        let record = environments::find(&world, environment)?.record;
        let is_arm = |arm: &Arm| was_here(&world, environment, arm);
        let taken = self.registry.receive_from(record, gateway, receipt, is_arm, now);
        taken.map_err(|fault| {
            let detail = format!("the receipt of gateway `{gateway}` is not believed: {fault}");
            Problem::new(ErrorCode::Refused, detail).with_hint(format!("lockstep status {environment}"))
        })?;
        if let Some(said) = &receipt.between {
            let (run, of) =
                (Run { id: &receipt.gateway, is_last: receipt.last }, (environment, gateway.as_str()));
            let is_same = || same_gateway(&world, &self.ledger.world(), gateway, environment);
            tokio::task::block_in_place(|| self.between.hear(of, run, said, now, is_same));
        }
        let own = self.gateway.receipt(environment).gateway;
        let seen = self.registry.gateways(environment, now).into_iter().map(|seen| seen.gateway);
        let others = seen.filter(|gateway| *gateway != own).collect();
        tokio::task::block_in_place(|| self.known_gateways.remember(environment, others));
        self.wake(environment);
        Ok(())
    }

    /// Returns the gateways that report on an environment, and what is wrong with the reports of some.
    pub(crate) fn gateway_views(&self, environment: &EnvironmentName) -> Vec<GatewayView> {
        let now = self.ledger.now();
        let contested = self.registry.contested(environment);
        let copied = |gateway: &String| {
            contested.contains(gateway).then(|| {
                "several processes have its key: all are waited for, and none of their counts are believed; give it a new one: lockstep gateway remove".to_owned()
            })
        };
        let mut deaf = self.registry.not_listening(environment);
        if let Some(why) = self.why_closed(environment) {
            deaf.entry(self.gateway.id().to_owned()).or_insert(why);
        }
        let seen = self.registry.gateways(environment, now).into_iter().map(|seen| GatewayView {
            problem: copied(&seen.gateway).or_else(|| deaf.remove(&seen.gateway)),
            gateway: seen.gateway,
            history: seen.edition.history,
            revision: seen.edition.revision,
            refused: seen.refused,
            left_alone: seen.left_alone,
            outside: seen.outside,
            seen: seen.seen,
        });
        let refused = self.registry.refused(environment, now).into_iter().map(|refused| GatewayView {
            gateway: refused.who,
            history: TableHistory::default(),
            revision: 0,
            refused: None,
            left_alone: Vec::new(),
            outside: Vec::new(),
            seen: refused.at,
            problem: Some(format!("its receipts are not believed: {}", refused.why)),
        });
        seen.chain(refused).chain(self.forgotten_gateways(environment)).collect()
    }
}

/// Tells whether a gateway that reports on an environment is the same one in a later world, and not another one of its name.
fn same_gateway(before: &World, after: &World, gateway: &GatewayName, environment: &EnvironmentName) -> bool {
    let host = |world: &World| world.hosts.get(&host_of(gateway)?).map(|host| host.record);
    let key = |world: &World| world.gateways.get(gateway).map(|it| it.key);
    let of = |world: &World| Some((world.environment(environment)?.record, host(world), key(world)));
    of(before) == of(after) && check_key(after, gateway, environment).is_ok()
}

fn find<'a>(world: &'a World, name: &GatewayName) -> Result<&'a Arc<GatewayIdentity>, Problem> {
    let missing = || not_found(format!("there is no gateway `{name}`"), "lockstep gateway list");
    world.gateways.get(name).ok_or_else(missing)
}

/// The name of the gateways of a host: they have no key, and are known by the way that they come.
fn is_of_host(world: &World, gateway: &GatewayName, environment: &EnvironmentName) -> bool {
    host_of(gateway).is_some_and(|host| world.hosts.get(&host).is_some_and(|host| host.serves(environment)))
}

pub(crate) fn check_key(
    world: &World,
    gateway: &GatewayName,
    environment: &EnvironmentName,
) -> Result<(), Problem> {
    if is_of_host(world, gateway, environment) {
        return Ok(());
    }
    if find(world, gateway)?.serves(world).any(|served| served == environment) {
        return Ok(());
    }
    let detail = format!("the key of gateway `{gateway}` is not for `{environment}`");
    let hint = format!(
        "lockstep gateway add NAME --env {environment} --key-file FILE; what there is: lockstep gateway list"
    );
    Err(Problem::new(ErrorCode::Forbidden, detail).with_hint(hint))
}

/// Ends the keys that are for an environment alone. Others go on with their other environments.
pub(crate) fn keys_taken_along(world: &World, environment: &EnvironmentName) -> Vec<Event> {
    let alone = world.gateways_of(environment).filter(|(_, is_alone)| *is_alone);
    alone.map(|(gateway, _)| Event::GatewayRemoved { gateway: gateway.clone() }).collect()
}

fn check_addition(world: &World, request: &AddGateway) -> Result<(), Problem> {
    let AddGateway { name, environments } = request;
    if let Some(host) = host_of(name).filter(|host| world.hosts.contains_key(host)) {
        let detail = format!("`{name}` is what the gateways of host `{host}` are called");
        return Err(Problem::new(ErrorCode::Conflict, detail).with_hint("take another name"));
    }
    if world.gateways.contains_key(name) {
        let detail = format!("there is a gateway `{name}` already, and its key is kept nowhere");
        return Err(Problem::new(ErrorCode::Conflict, detail)
            .with_hint(format!("lockstep gateway remove {name}, then add it again for a new key")));
    }
    if world.gateways.len() >= MAX_GATEWAY_IDENTITIES {
        let detail = format!("there are {MAX_GATEWAY_IDENTITIES} gateways already");
        return Err(Problem::new(ErrorCode::Refused, detail).with_hint("lockstep gateway list"));
    }
    if environments.is_empty() {
        return Err(Problem::new(ErrorCode::BadRequest, "a gateway serves at least one environment"));
    }
    environments.iter().try_for_each(|name| environments::find(world, name).map(|_| ()))
}

/// Tells whether an arm can have been in the environment at all, before a restart of the server too, and under whichever name of its
/// service.
fn was_here(world: &World, environment: &EnvironmentName, arm: &Arm) -> bool {
    let service = world.current_name(&arm.service);
    let newest = world.environment(environment).map(|environment| environment.newest_configuration(service));
    world.version(&arm.version_ref()).is_some() && newest.is_some_and(|newest| arm.config <= newest)
}

fn digest(key: &str) -> Digest {
    Digest::from_bytes(Sha256::digest(key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_expected_again_by_the_next_server_until_they_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KnownGateways::open(folder.path().join("gateways.json")).unwrap();
        let production: EnvironmentName = "production".parse().unwrap();
        let expected = || open().expected();
        assert_eq!(expected(), []);
        open().remember(&production, BTreeSet::from(["edge-1".to_owned()]));
        assert_eq!(expected(), [(production.clone(), "edge-1".to_owned())]);
        open().remember(&production, BTreeSet::new());
        assert_eq!(expected(), []);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateways.json");
        std::fs::write(&path, "{\"production\": [").unwrap();
        assert_eq!(KnownGateways::open(path).unwrap().expected(), []);
    }
}
