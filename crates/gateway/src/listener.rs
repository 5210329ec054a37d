//! Listening: one socket for each worker on the same address, so that the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::EnvironmentName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::arrival::Arrival;
use crate::between::Visitor;
use crate::connection::Connection;
use crate::environment::Environment;
use crate::error::ListenError;
use crate::listening::Entrance;
use crate::owner::owner_of;
use crate::peer::{At, Peer};
use crate::proxy_header::Header;
use crate::tcp::{Came, Guest};
use crate::wire::Wire;
use crate::worker::Worker;

/// Connections that wait in the kernel to be accepted; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4_096;
/// How long accepting rests after an error such as too many open files: connections that end meanwhile make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Makes one socket for each worker.
///
/// Sockets that share an address never refuse each other, so another listener is found by a socket that does not share.
pub(crate) fn bind(
    environment: &EnvironmentName,
    address: SocketAddr,
    workers: usize,
) -> Result<(SocketAddr, Vec<StdListener>), ListenError> {
    let fail = failed(environment, address);
    let probe = socket(address, Sharing::Alone).map_err(&fail)?;
    let actual = probe.local_addr().and_then(|it| it.as_socket().ok_or(io::ErrorKind::InvalidData.into()));
    let actual = actual.map_err(&fail)?;
    drop(probe);
    let share = || socket(actual, Sharing::Shared).map(StdListener::from);
    let sockets = (0..workers).map(|_| share()).collect::<io::Result<Vec<_>>>().map_err(&fail)?;
    Ok((actual, sockets))
}

/// Makes as many more sockets as there are more workers here than where these were made.
pub(crate) fn complete(
    environment: &EnvironmentName,
    address: SocketAddr,
    mut inherited: Vec<StdListener>,
    workers: usize,
) -> Result<Vec<StdListener>, ListenError> {
    while inherited.len() < workers {
        let more = socket(address, Sharing::Shared).map_err(failed(environment, address))?;
        inherited.push(more.into());
    }
    Ok(inherited)
}

/// Says why an address cannot be listened on.
pub(crate) fn failed(
    environment: &EnvironmentName,
    address: SocketAddr,
) -> impl Fn(io::Error) -> ListenError {
    let environment = environment.clone();
    move |source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address, environment: environment.clone() },
        _ => ListenError::Bind { address, environment: environment.clone(), source },
    }
}

/// Whether a socket shares its address with others of this user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Alone,
    Shared,
}

pub(crate) fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // Without this an address whose listener shares it would be found free.
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Accepts connections of one worker until `stop`; those that wait in the kernel at that moment are still served.
pub(crate) async fn accept(
    listener: Arc<TcpListener>,
    environment: Arc<Environment>,
    worker: Arc<Worker>,
    stop: CancellationToken,
    entrance: Entrance,
) {
    if matches!(entrance, Entrance::Between) && !may_begin(&environment, &worker, &stop).await {
        return;
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
            // Whoever waits is accepted by the process that has the socket as well.
            () = worker.departure.handed_on() => return,
        };
        match accepted {
            Ok((stream, peer)) => serve(stream, peer, &environment, &worker, &stop, &entrance).await,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while let Some(Ok((stream, peer))) = accept_waiting(&listener).await {
        serve(stream, peer, &environment, &worker, &stop, &entrance).await;
    }
}

/// Waits until other gateways can be let in, and tells whether it came to that: before the first table nobody is known, and whoever comes
/// then waits in the kernel.
async fn may_begin(environment: &Environment, worker: &Worker, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = environment.neighbours().has_heard() => true,
        () = stop.cancelled() => false,
        () = worker.departure.handed_on() => false,
    }
}

async fn accept_waiting(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    tokio::select! {
        biased;
        accepted = listener.accept() => Some(accepted),
        () = std::future::ready(()) => None,
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    environment: &Arc<Environment>,
    worker: &Arc<Worker>,
    stop: &CancellationToken,
    entrance: &Entrance,
) {
    if matches!(entrance, Entrance::Between) {
        let (environment, worker_of) = (Arc::clone(environment), Arc::clone(worker));
        worker.carry(Visitor { socket: stream, peer, environment, worker: worker_of }.serve());
        return;
    }
    // The semaphore is never closed; without a permit nothing is served.
    let Ok(permit) = Arc::clone(&worker.connections).acquire_owned().await else { return };
    // A connection that has gone already has no address, and nobody who would hear of it.
    let local = stream.local_addr().ok();
    let owner = || local.and_then(|local| owner_of(peer, local));
    let to = local.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let call = match entrance {
        Entrance::Of(point) => Some(point),
        Entrance::Main | Entrance::Secure | Entrance::Port | Entrance::Between => None,
    };
    let secure = matches!(entrance, Entrance::Secure);
    let hands_on = !matches!(entrance, Entrance::Of(_)) && environment.hands_on(worker.index, peer.ip());
    let is_of_this_host =
        peer.ip().to_canonical().is_loopback() || local.is_some_and(|it| it.ip() == peer.ip());
    let handed_on = hands_on.then_some(if is_of_this_host { Header::Optional } else { Header::Required });
    let came = match call {
        Some(point) if environment.speaks_tcp(worker.index, &point.service) => {
            Some(Came::Call(Box::new(At::new(Arc::clone(point), owner()))))
        }
        None if matches!(entrance, Entrance::Port) => Some(Came::Outside(handed_on)),
        _ => None,
    };
    if let Some(came) = came {
        let (environment, of) = (Arc::clone(environment), Arc::clone(worker));
        worker.spawn(Guest { socket: stream, peer, to, came, environment, worker: of }.serve(permit));
        return;
    }
    if secure || handed_on.is_some() {
        let (environment, stop) = (Arc::clone(environment), stop.clone());
        let arrival = Arrival {
            socket: stream,
            peer,
            to,
            handed_on,
            secure,
            environment,
            worker: Arc::clone(worker),
            stop,
        };
        worker.spawn(arrival.serve(permit));
        return;
    }
    let at = call.map(|point| Box::new(At::new(Arc::clone(point), owner())));
    let peer = Peer::new(peer, to, at);
    let connection =
        Connection::new(Wire::new(stream), peer, Arc::clone(environment), Arc::clone(worker), stop.clone());
    worker.spawn(connection.serve(permit));
}
