//! The runs before and after this one, and what it has of the one before.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a gateway knows of the process that it took over, and of the one that took it over.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Sockets of the run before at which this one does not listen yet.
    inherited: BTreeMap<SocketAddr, Vec<TcpListener>>,
    taken_from: Option<String>,
    handed_to: Option<String>,
}

impl Handover {
    /// Keeps the sockets of the run before until they are listened at.
    pub(crate) fn inherit(&self, run: &str, sockets: BTreeMap<SocketAddr, Vec<TcpListener>>) {
        let mut known = self.known();
        known.taken_from = Some(run.to_owned());
        known.inherited = sockets;
    }

    /// Returns the sockets of the run before for an address, once.
    pub(crate) fn inherited(&self, address: SocketAddr) -> Option<Vec<TcpListener>> {
        self.known().inherited.remove(&address)
    }

    /// Closes what is left of the run before: this one is not to listen there. Returns where that was.
    pub(crate) fn close_inherited(&self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.known().inherited).into_keys().collect()
    }

    /// Says which run has the same sockets, if any.
    pub(crate) fn say_heir(&self, run: Option<&str>) {
        self.known().handed_to = run.map(str::to_owned);
    }

    /// Returns the run before and the one after this one, as receipts say them.
    pub(crate) fn kin(&self) -> (Option<String>, Option<String>) {
        let known = self.known();
        (known.taken_from.clone(), known.handed_to.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
