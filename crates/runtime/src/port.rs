//! What a driver promises: the port between those who decide what runs, and the places where it runs.
//!
//! [`LocalDriver`](crate::LocalDriver) is one for this host; others run instances elsewhere. `tests/local/suite.rs` asks what every
//! driver must do. Every call may be made twice: the second changes nothing.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;

use lockstep_archive::UnpackError;
use lockstep_domain::work::Told;
use lockstep_domain::{Digest, EnvironmentName, Instance, InstanceId};
use tokio::sync::watch;

use crate::driver::{BringError, Instances, LocalDriver, RemoveError, StartError, StopError};
use crate::logs::reader::{Follow, LogReader};
use crate::releases::Unpacked;
use crate::spec::InstanceSpec;
use crate::usage::Usage;

/// What a driver answers, when it has.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs instances in one place, and shows how they are.
pub trait Driver: Debug + Send + Sync {
    /// Starts an instance, or does nothing when exactly this one was started before. Its process is started by its supervisor;
    /// follow [`Driver::watch`] to see it become healthy.
    ///
    /// Fails when it cannot be started, and nothing of it is left; or when nobody knows whether it was ([`StartError::Elsewhere`]).
    fn start(&self, spec: InstanceSpec) -> Answer<'_, Result<(), StartError>>;

    /// Asks an instance to end. Answers when that is recorded where the instance is, so that it ends even when everybody else is gone.
    fn stop<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Result<(), StopError>>;

    /// Tells an instance, by a file that it can read, whether requests are routed to it.
    fn tell_routed<'a>(&'a self, id: &'a InstanceId, routed: bool) -> Answer<'a, io::Result<()>>;

    /// Forgets an instance that is over. One that is not known counts as removed.
    fn remove<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Result<(), RemoveError>>;

    /// Follows all instances as they were last seen, also those that are over. Changes that come faster than they are looked at are
    /// seen as one.
    fn watch(&self) -> watch::Receiver<Instances>;

    /// Returns what an instance has said of its work; `None` when that is nothing.
    fn told(&self, id: &InstanceId) -> Option<Told>;

    /// Reads the log of an instance of an environment from its beginning, also of one that has ended; `None` when there is none.
    fn log<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        id: &'a InstanceId,
        follow: Follow,
    ) -> Answer<'a, io::Result<Option<Box<dyn LogLines>>>>;

    /// Brings an artifact, a file of this machine, to where instances run, and unpacks it there, unless it is there and unchanged. Where some of
    /// those that it may be `like` are there, the most similar one first, only what differs may have to be brought.
    fn unpack<'a>(
        &'a self,
        release: Digest,
        artifact: &'a Path,
        like: &'a [Digest],
    ) -> Answer<'a, Result<(), BringError>>;

    /// Looks whether an artifact is unpacked there, and is still what was unpacked.
    fn unpacked<'a>(&'a self, release: &'a Digest) -> Answer<'a, io::Result<Unpacked>>;

    /// Lists the artifacts that are unpacked there.
    fn releases(&self) -> Answer<'_, io::Result<Vec<Digest>>>;

    /// Removes an unpacked artifact that nothing runs. One that is not there counts as removed.
    fn remove_release<'a>(&'a self, release: &'a Digest) -> Answer<'a, Result<(), RemoveError>>;

    /// Returns instances that have ended and whose logs are kept, also those that [`Driver::watch`] shows no more.
    fn ended(&self) -> Answer<'_, io::Result<Vec<Instance>>>;

    /// Looks what the instances use that run there now; one whose process is not there is left out.
    fn usage(&self) -> Answer<'_, io::Result<BTreeMap<InstanceId, Usage>>>;

    /// Returns one instance as it was last seen.
    fn instance(&self, id: &InstanceId) -> Option<Instance> {
        self.watch().borrow().get(id).cloned()
    }

    /// Returns all instances as they were last seen, also those that are over.
    fn list(&self) -> Vec<Instance> {
        self.watch().borrow().values().cloned().collect()
    }
}

/// Reads a log line by line.
pub trait LogLines: Debug + Send {
    /// Reads the next line, such as `2026-01-31T12:00:00.000Z out listening`, without its end; `None` after the last.
    fn next_line(&mut self) -> Answer<'_, io::Result<Option<String>>>;
}

impl LogLines for LogReader {
    fn next_line(&mut self) -> Answer<'_, io::Result<Option<String>>> {
        Box::pin(Self::next_line(self))
    }
}

impl Driver for LocalDriver {
    fn start(&self, spec: InstanceSpec) -> Answer<'_, Result<(), StartError>> {
        Box::pin(Self::start(self, spec))
    }

    fn stop<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Result<(), StopError>> {
        Box::pin(Self::stop(self, id))
    }

    fn tell_routed<'a>(&'a self, id: &'a InstanceId, routed: bool) -> Answer<'a, io::Result<()>> {
        Box::pin(async move { Self::tell_routed(self, id, routed) })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Result<(), RemoveError>> {
        Box::pin(Self::remove(self, id))
    }

    fn watch(&self) -> watch::Receiver<Instances> {
        Self::watch(self)
    }

    fn told(&self, id: &InstanceId) -> Option<Told> {
        Self::told(self, id)
    }

    fn log<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        id: &'a InstanceId,
        follow: Follow,
    ) -> Answer<'a, io::Result<Option<Box<dyn LogLines>>>> {
        let boxed = |reader| Box::new(reader) as Box<dyn LogLines>;
        Box::pin(async move { Ok(Self::log(self, environment, id, follow).map(boxed)) })
    }

    fn unpack<'a>(
        &'a self,
        release: Digest,
        artifact: &'a Path,
        _like: &'a [Digest],
    ) -> Answer<'a, Result<(), BringError>> {
        Box::pin(async move {
            let file = std::fs::File::open(artifact).map_err(|source| UnpackError::Read { source })?;
            Self::unpack(self, release, file).await.map(|_| ()).map_err(BringError::from)
        })
    }

    fn unpacked<'a>(&'a self, release: &'a Digest) -> Answer<'a, io::Result<Unpacked>> {
        Box::pin(async move { Ok(Self::unpacked(self, release).await) })
    }

    fn releases(&self) -> Answer<'_, io::Result<Vec<Digest>>> {
        Box::pin(Self::releases(self))
    }

    fn remove_release<'a>(&'a self, release: &'a Digest) -> Answer<'a, Result<(), RemoveError>> {
        Box::pin(Self::remove_release(self, release))
    }

    fn ended(&self) -> Answer<'_, io::Result<Vec<Instance>>> {
        Box::pin(Self::ended(self))
    }

    fn usage(&self) -> Answer<'_, io::Result<BTreeMap<InstanceId, Usage>>> {
        Box::pin(Self::usage(self))
    }
}
