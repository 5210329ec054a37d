//! What is asked of hosts to be measured.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::{HostName, InstanceId};
use lockstep_files::whole::Room;
use lockstep_hosts::{HostState, RemoteDriver};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Hosts;
use crate::{Control, lock};

/// How long a host has to say what it was asked: who asks waits ten seconds for everything.
const SAID_WITHIN: Duration = Duration::from_secs(2);
/// How often hosts are asked how much there is of their disks.
const ROOM_EVERY: Duration = Duration::from_secs(10);

impl Control {
    /// Measures hosts again and again.
    pub(crate) async fn look_after_rooms(self: Arc<Self>) {
        self.hosts.keep_measuring(&self.stop).await;
    }
}

impl Hosts {
    /// Returns the drivers of the hosts that are reached now.
    pub(crate) fn drivers(&self) -> Vec<(HostName, Arc<RemoteDriver>)> {
        let reached = self.links().into_iter().filter(|link| link.is_here());
        reached.map(|link| (link.name.clone(), link.driver())).collect()
    }

    /// Asks all hosts that are reached at once; what a host did not say in time is missing.
    pub(crate) async fn ask_all<T: Send + 'static, F>(
        &self,
        ask: impl Fn(Arc<RemoteDriver>) -> F,
    ) -> Vec<(HostName, Option<T>)>
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let asked = self.drivers().into_iter().map(|(name, driver)| {
            let asked = ask(driver);
            (name, tokio::spawn(timeout(SAID_WITHIN, asked)))
        });
        let asked: Vec<_> = asked.collect();
        let mut said = Vec::with_capacity(asked.len());
        for (name, asked) in asked {
            said.push((name, asked.await.ok().and_then(Result::ok).and_then(Result::ok)));
        }
        said
    }

    /// Returns how much there is of the disk of each host that said so lately.
    pub(crate) fn rooms(&self) -> BTreeMap<HostName, Room> {
        let rooms = lock(&self.rooms);
        let lately = rooms.iter().filter(|(_, (_, at))| at.elapsed() < 3 * ROOM_EVERY);
        lately.map(|(name, (room, _))| (name.clone(), *room)).collect()
    }

    /// Asks again and again how much there is of the disks of hosts.
    pub(super) async fn keep_measuring(&self, stop: &CancellationToken) {
        loop {
            let said = self.ask_all(|driver| async move { driver.room().await }).await;
            let at = Instant::now();
            {
                let mut rooms = lock(&self.rooms);
                rooms.retain(|name, _| self.link(name).is_some());
                rooms.extend(said.into_iter().filter_map(|(name, room)| Some((name, (room?, at)))));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROOM_EVERY) => {}
            }
        }
    }

    /// Says for how many milliseconds a host has been away, and why; `None` while it is there or was not tried yet.
    pub(crate) fn away(&self, name: &HostName) -> Option<(u64, String)> {
        match self.link(name)?.state() {
            HostState::Away { since, error } => {
                let for_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                Some((for_ms, error.to_string()))
            }
            _ => None,
        }
    }

    /// Tells whether this server knows that an instance is on a host.
    pub(crate) fn runs(&self, host: &HostName, id: &InstanceId) -> bool {
        self.link(host).is_some_and(|link| link.has(id))
    }

    /// Tells whether others reach what listens on a host: where its network is not trusted only its own gateway does.
    pub(crate) fn is_open(&self, host: &HostName) -> bool {
        self.link(host).is_some_and(|link| !link.listens().is_loopback())
    }
}
