//! Where operators and their tools ask.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::StandaloneError;
use crate::gateway::Gateway;

/// The admin address while it is answered.
pub(super) struct Operators {
    /// Where it is, with a socket for the process that takes over.
    pub(super) place: (SocketAddr, OwnedFd),
    pub(super) stop: CancellationToken,
}

impl Operators {
    /// Answers there, at the socket of the process before where that had the same address.
    pub(super) fn listen(
        gateway: &Gateway,
        address: SocketAddr,
        inherited: Option<(SocketAddr, StdListener)>,
    ) -> Result<Self, StandaloneError> {
        let failed = |source| StandaloneError::Admin { address, source };
        let inherited = inherited.filter(|(at, _)| *at == address).map(|(_, socket)| socket);
        let socket = inherited.map_or_else(|| StdListener::bind(address), Ok).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let place = socket.local_addr().map_err(failed)?;
        let copy = socket.as_fd().try_clone_to_owned().map_err(failed)?;
        let listener = TcpListener::from_std(socket).map_err(failed)?;
        let stop = CancellationToken::new();
        // It answers to the very end, so nothing waits for it.
        tokio::spawn(gateway.admin().serve(listener, stop.clone()));
        Ok(Self { place: (place, copy), stop })
    }
}
