//! Where tables come from, as far as it is read before anything is listened on.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockstep_domain::EnvironmentName;
use lockstep_domain::routes::RouteTable;

use super::TableSource;
use crate::follow::{Server, StoreError, TableStore, read_written};

/// What tells one state of a file from the next. The time alone does not: two changes can fall into one tick of it.
pub(super) type Stamp = (SystemTime, u64, u64);

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// A source of tables; a file has been read once.
pub(super) enum Source {
    Server { server: Server, store: TableStore, environments: Vec<(EnvironmentName, SocketAddr)> },
    File { path: PathBuf, listen: SocketAddr, seen: Option<Stamp>, table: Box<RouteTable> },
}

impl Source {
    pub(super) fn read(source: TableSource) -> Result<Self, StoreError> {
        match source {
            TableSource::Server { server, store, environments } => {
                Ok(Self::Server { server, store, environments })
            }
            TableSource::File { path, listen } => {
                let seen = stamp(&path);
                let table = Box::new(read_written(&path)?.table);
                Ok(Self::File { path, listen, seen, table })
            }
        }
    }

    /// Returns the first address at which clients are to be listened for.
    pub(super) fn first(&self) -> Option<SocketAddr> {
        match self {
            Self::Server { environments, .. } => environments.iter().map(|(_, address)| *address).min(),
            Self::File { listen, .. } => Some(*listen),
        }
    }

    /// Returns the socket by which a server is followed, where it is one.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Server { server, .. } => server.socket().map(Path::to_owned),
            Self::File { .. } => None,
        }
    }

    /// Returns the environments that are to be served.
    pub(super) fn environments(&self) -> Vec<EnvironmentName> {
        let mut names: Vec<EnvironmentName> = match self {
            Self::Server { environments, .. } => environments.iter().map(|(name, _)| name.clone()).collect(),
            Self::File { table, .. } => vec![table.environment.clone()],
        };
        names.sort();
        names.dedup();
        names
    }
}
