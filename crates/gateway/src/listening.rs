//! Where a gateway listens: for the requests of clients, and for the calls of single instances.
//!
//! The listeners of instances follow the table: what it names is open, what it does not name is closed, and what cannot be
//! opened is tried again and said in the receipt. Invariant: a listener of one instance never becomes that of another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use lockstep_domain::EnvironmentName;
use lockstep_domain::listeners::{CallerListeners, Listeners, ListensAt, OpenedBy};
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::calls::CallPoint;
use crate::environment::Environment;
use crate::error::ListenError;
use crate::gateway::{Gateway, State, lock};
use crate::host::this_host;
use crate::listener::{self, Sharing};

/// Listeners of instances that one gateway has at most; each takes a file.
const MAX_CALL_POINTS: usize = 4_096;
/// Of the files that the process may have open, the part that listeners of instances may take.
const PART_OF_FILES: u64 = 4;

/// Who is listened for.
#[derive(Debug, Clone)]
pub(crate) enum Entrance {
    /// Everybody: the table says where requests go.
    Main,
    /// Everybody, within TLS.
    Secure,
    /// Everybody, to a service that speaks TCP: the table says to which.
    Port,
    /// Gateways of other hosts, which have connections to instances carried.
    Between,
    /// One instance, which calls one service.
    Of(Arc<CallPoint>),
}

/// How clients come to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clients {
    /// By plain HTTP.
    Plain,
    /// Within TLS, which the gateway ends.
    Secure,
    /// To services that speak TCP.
    Tcp,
}

/// A listener that is open.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) stop: CancellationToken,
    pub(crate) entrance: Entrance,
    /// Its sockets while they are open.
    pub(crate) sockets: Vec<Weak<TcpListener>>,
}

impl Listening {
    pub(crate) fn is_main(&self) -> bool {
        matches!(self.entrance, Entrance::Main)
    }

    /// Tells how clients come here; `None` where one instance does.
    pub(crate) fn clients(&self) -> Option<Clients> {
        match self.entrance {
            Entrance::Main => Some(Clients::Plain),
            Entrance::Secure => Some(Clients::Secure),
            Entrance::Port => Some(Clients::Tcp),
            Entrance::Of(_) | Entrance::Between => None,
        }
    }
}

/// A listener that the table names.
struct Wanted<'a> {
    caller: &'a CallerListeners,
    point: CallPoint,
}

impl Gateway {
    /// Opens and closes listeners of instances, and ports of services that speak TCP, so that they are those of the table; also tries those again
    /// that could not be opened, and the door for other gateways. Whether the former are open is in the next receipt.
    pub fn keep_listeners(&self, name: &EnvironmentName) {
        self.keep_call_points(name);
        self.keep_outside(name);
        self.keep_ports(name);
        self.keep_door(name);
        if let Some(names) = &self.place.names {
            names.disown(&self.state);
        }
    }

    fn keep_call_points(&self, name: &EnvironmentName) {
        let mut state = lock(&self.state);
        let Some(environment) = state.environments.get(name).cloned() else { return };
        let table = environment.routes();
        let listeners = table.as_ref().and_then(|table| table.listeners.as_ref());
        let asked: Vec<_> = listeners.into_iter().flat_map(|it| self.asked_of(it, name, &state)).collect();
        let wanted = wanted(listeners, &asked);
        close_others(&mut state, name, &wanted);
        let mut problems = BTreeMap::new();
        for (address, Wanted { caller, point }) in wanted {
            if let Err(error) = self.keep_open(&mut state, &environment, address, point) {
                problems.entry(&caller.instance).or_insert_with(|| error.to_string());
            }
        }
        let said = |caller: &&CallerListeners| {
            let address = caller.services.values().next()?.ip();
            Some(ListensAt { address, problem: problems.get(&caller.instance).cloned() })
        };
        environment.note_listening(asked.iter().filter_map(said).collect());
    }

    /// The callers whose listeners this gateway opens: it is on their machine, and it is the one that they call.
    fn asked_of<'a>(
        &self,
        listeners: &'a Listeners,
        name: &EnvironmentName,
        state: &State,
    ) -> impl Iterator<Item = &'a CallerListeners> {
        let mains: Vec<_> = state.mains(name).collect();
        let (is_here, id) = (listeners.host == this_host(), self.id().to_owned());
        let listens = move |at: &SocketAddr| {
            mains
                .iter()
                .any(|main| main.port() == at.port() && (main.ip() == at.ip() || main.ip().is_unspecified()))
        };
        let is_us = move |by: &OpenedBy| match by {
            OpenedBy::Run(run) => *run == id,
            OpenedBy::At(address) => listens(address),
        };
        listeners.callers.iter().filter(move |caller| is_here && is_us(&caller.opened_by))
    }

    fn keep_open(
        &self,
        state: &mut State,
        environment: &Arc<Environment>,
        address: SocketAddr,
        point: CallPoint,
    ) -> Result<(), ListenError> {
        let key = (environment.name().clone(), address);
        if let Some(Listening { entrance: Entrance::Of(open), .. }) = state.listeners.get(&key) {
            open.caller.store(point.caller.load_full());
            open.user.store(point.user.load(Ordering::Relaxed), Ordering::Relaxed);
            return Ok(());
        }
        let open = state.listeners.values().filter(|it| matches!(it.entrance, Entrance::Of(_))).count();
        if open >= room() {
            return Err(ListenError::TooMany { address, most: room() });
        }
        let entrance = Entrance::Of(Arc::new(point));
        let listening = self.open_at(environment, address, entrance)?;
        state.listeners.insert(key, listening);
        Ok(())
    }

    /// One worker is enough for one instance; others serve other instances.
    fn open_at(
        &self,
        environment: &Arc<Environment>,
        address: SocketAddr,
        entrance: Entrance,
    ) -> Result<Listening, ListenError> {
        let (stop, served) = (self.child_of_stop()?, Arc::clone(environment));
        let fail = listener::failed(environment.name(), address);
        let inherited = self.handover.inherited(address).and_then(|sockets| sockets.into_iter().next());
        let socket = match inherited {
            Some(inherited) => inherited,
            None => listener::socket(address, Sharing::Alone).map_err(&fail)?.into(),
        };
        let last = if let IpAddr::V4(ip) = address.ip() { ip.octets()[3] } else { 0 };
        let chosen = usize::from(address.port()) + usize::from(last);
        let worker = &self.workers[chosen % self.workers.len()];
        let registered = {
            let _runtime = worker.runtime().enter();
            TcpListener::from_std(socket)
        };
        let socket = registered.map(Arc::new).map_err(&fail)?;
        let sockets = vec![Arc::downgrade(&socket)];
        worker.spawn(listener::accept(socket, served, Arc::clone(worker), stop.clone(), entrance.clone()));
        Ok(Listening { stop, entrance, sockets })
    }
}

fn wanted<'a>(
    listeners: Option<&Listeners>,
    asked: &[&'a CallerListeners],
) -> BTreeMap<SocketAddr, Wanted<'a>> {
    let user = listeners.map(|listeners| listeners.user).unwrap_or_default();
    let points = asked.iter().flat_map(|&caller| {
        caller.services.iter().map(move |(service, address)| {
            let point = CallPoint {
                instance: caller.instance.clone(),
                service: service.clone(),
                caller: ArcSwap::from_pointee(caller.arm.clone()),
                user: AtomicU32::new(caller.user.unwrap_or(user)),
            };
            (*address, Wanted { caller, point })
        })
    });
    points.collect()
}

/// Closes the listeners of instances that are not wanted, or not for whom they are open.
fn close_others(state: &mut State, name: &EnvironmentName, wanted: &BTreeMap<SocketAddr, Wanted<'_>>) {
    state.listeners.retain(|(of, address), listening| {
        let Entrance::Of(open) = &listening.entrance else { return true };
        let same = wanted.get(address).is_some_and(|Wanted { point, .. }| {
            point.instance == open.instance && point.service == open.service
        });
        let stays = of != name || same;
        if !stays {
            listening.stop.cancel();
        }
        stays
    });
}

/// How many listeners of instances this process may have: connections need files as well.
fn room() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / PART_OF_FILES;
    usize::try_from(files).unwrap_or(usize::MAX).min(MAX_CALL_POINTS)
}

/// Finds what is wrong with listeners that a table names: none may be anywhere but on loopback, and none twice.
pub(crate) fn problems(listeners: &Listeners) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let all =
        listeners.callers.iter().flat_map(|caller| caller.services.values().map(move |at| (caller, at)));
    let problem = |(caller, at): (&CallerListeners, &SocketAddr)| {
        let instance = &caller.instance;
        if !lockstep_domain::listeners::is_given(at.ip()) {
            return Some(format!("`{instance}` is to call at {at}, which is not an address for callers"));
        }
        (!seen.insert(*at)).then(|| format!("two are to call at {at}, and one of them is `{instance}`"))
    };
    all.filter_map(problem).collect()
}
