//! Why a gateway refuses a table or cannot listen.

use std::io;
use std::net::SocketAddr;

use lockstep_domain::EnvironmentName;
use lockstep_domain::routes::ROUTE_TABLE_FORMAT;
use thiserror::Error;

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The access log cannot be written.
    #[error("the access log cannot be opened")]
    AccessLog(#[source] io::Error),
    /// The thread that sends spans did not start.
    #[error("spans cannot be exported")]
    Spans(#[source] io::Error),
    /// The runtime of a worker could not be made.
    #[error("cannot start worker {worker} of the gateway")]
    Worker {
        /// Its number.
        worker: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a gateway does not listen on an address.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another program, or another environment of this one, listens there.
    #[error("{address} for environment `{environment}` is in use by another listener")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The environment it was meant for.
        environment: EnvironmentName,
    },
    /// The system refused.
    #[error("cannot listen on {address} for environment `{environment}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The environment it was meant for.
        environment: EnvironmentName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Listeners of instances take too many files already.
    #[error("{address} cannot be listened on: this gateway has {most} listeners of instances already")]
    TooMany {
        /// The address.
        address: SocketAddr,
        /// As many as it may have.
        most: usize,
    },
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl ListenError {
    /// Says what went wrong, and why.
    pub(crate) fn with_source(&self) -> String {
        let source = std::error::Error::source(self).map(|source| format!(": {source}"));
        format!("{self}{}", source.unwrap_or_default())
    }
}

/// Why a gateway refuses a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The table was written by a newer program.
    #[error(
        "route table of `{environment}` has format {format}; this gateway reads up to {ROUTE_TABLE_FORMAT}, upgrade it first"
    )]
    NewerFormat {
        /// The environment.
        environment: EnvironmentName,
        /// The table's format.
        format: u32,
    },
    /// The table contradicts itself.
    #[error("route table {revision} of `{environment}` is not valid: {}", problems.join("; "))]
    Invalid {
        /// The environment.
        environment: EnvironmentName,
        /// The table's revision.
        revision: u64,
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
    /// Certificates cannot be used together.
    #[error("the certificates of `{environment}` cannot be used: {why}")]
    Tls {
        /// The environment.
        environment: EnvironmentName,
        /// Why.
        why: String,
    },
}
