//! A new process takes over the listening sockets of the gateway before it, which lets its clients finish: an upgrade that
//! no client notices.
//!
//! Both are of one user and in one network namespace. Whoever listens waits at a name that only this namespace has (an abstract
//! socket, named after the first address that is listened at) and gives its sockets to who asks there. Invariant: from the first
//! word to the last at least one of the two accepts, and both have the same sockets, so nobody who waits in one is lost. Until the
//! new process says that it serves, the old one goes on as if nobody had asked.

mod descriptors;
mod giving;
mod taking;
mod words;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::time::Duration;

use lockstep_domain::EnvironmentName;

pub(crate) use giving::{Offer, Successor};
pub use taking::TakeoverError;
pub(crate) use taking::take;
pub(crate) use words::Ask;

use crate::gateway::{Gateway, lock};

/// How long clients that are left, and those that are idle, have to leave when
/// the time of a process that was taken over is up.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long connections that are carried for gateways of other hosts may last on in a process that was taken over: WebSockets, streams, and
/// whatever else lasts would otherwise end with each new program.
const CARRIED: Duration = Duration::from_secs(60 * 60);

impl Gateway {
    /// Returns all sockets that are listened at.
    fn sockets(&self) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let state = lock(&self.state);
        let open = state.listeners.iter().flat_map(|((_, address), listening)| {
            listening.sockets.iter().filter_map(|socket| Some((*address, socket.upgrade()?)))
        });
        open.map(|(address, socket)| Ok((address, socket.as_fd().try_clone_to_owned()?))).collect()
    }

    /// Returns the environments that are listened for.
    fn listened_for(&self) -> Vec<EnvironmentName> {
        let mut names: Vec<_> = self.listening().into_iter().map(|(name, _)| name).collect();
        names.dedup();
        names
    }

    /// Takes no more clients, because another process does, and lets those that are here finish for at most `grace`: requests, the
    /// next request of a kept connection, tunnels. Then it ends as [`Gateway::shutdown`] does. Final.
    pub(crate) async fn hand_on(&self, grace: Duration) {
        self.begin_to_leave();
        self.workers.iter().for_each(|worker| worker.departure.hand_on());
        // Gateways of other hosts come to the other one from now on, wherever that listens.
        let environments: Vec<_> = lock(&self.state).environments.values().cloned().collect();
        for environment in environments {
            environment.neighbours().give_up_door();
            self.give_up_outside(environment.name());
        }
        let farewell = FAREWELL.min(grace / 2);
        let half = (grace - farewell) / 2;
        let _ = tokio::time::timeout(half, self.finished()).await;
        // The other one has room for all of them, but not for all of them at once.
        self.end_tunnels(half);
        let _ = tokio::time::timeout(half, self.finished()).await;
        // Whoever is left then is told to leave.
        self.let_go(farewell, grace).await;
        // Nobody here knows where a request of what is carried ends: those who had it carried come no more, and what lasts has its time.
        let _ = tokio::time::timeout(CARRIED, self.carried_all()).await;
        self.end_all().await;
    }
}

/// Where the gateway that listens at an address waits for the one after it. Nothing of it is in a folder, so nothing is left over.
fn name(address: SocketAddr) -> io::Result<UnixAddress> {
    UnixAddress::from_abstract_name(format!("lockstep-gateway/{address}"))
}

/// Tells whether a process of this user may be given sockets, or give them: one of the same user, or of root.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}
