//! A connection to a server: opened within bounds, plain or with TLS, and used for one request.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::ServerAddress;
use crate::error::ReachError;
use crate::fault::CertificateFault;
use crate::first::{First, Listening, Spoken};

/// How long a name may take to be found and a connection to be opened: the server is near.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// How long the handshake may take: a few round trips and some arithmetic of a machine that is busy.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// After this silence the system asks whether the other machine is still there, and again as often.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What a request brings along: bytes that are there, or that come from somewhere as they are sent.
pub type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// An open connection that nothing was asked on.
pub(crate) struct Connection {
    sender: SendRequest<Outgoing>,
    witness: Witness,
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open way to a server on which nothing was said yet.
pub struct Dialled {
    /// Bytes both ways, over TLS that was checked where the address says so.
    pub stream: Box<dyn Stream>,
    /// Knows what was heard on it.
    pub witness: Witness,
}

/// Knows what was heard first from a server, and so can say what an error means.
#[derive(Debug, Clone)]
pub struct Witness {
    address: ServerAddress,
    first: First,
}

impl Witness {
    /// Says why there was no answer.
    #[must_use]
    pub fn explain(&self, error: hyper::Error) -> ReachError {
        no_answer(&self.address, error, self.first.spoken())
    }
}

/// Opens a way without TLS.
pub(crate) async fn plain(address: &ServerAddress) -> Result<Dialled, ReachError> {
    if let Some(path) = address.socket() {
        let unreachable = |source| ReachError::Unreachable { address: address.clone(), source };
        let (stream, first) = Listening::new(open_socket(path).await.map_err(unreachable)?);
        return Ok(dialled(address, stream, first));
    }
    let (stream, first) = Listening::new(open(address).await?);
    Ok(dialled(address, stream, first))
}

fn dialled(address: &ServerAddress, stream: impl Stream + 'static, first: First) -> Dialled {
    Dialled { stream: Box::new(stream), witness: Witness { address: address.clone(), first } }
}

/// Opens a way, and checks who is at its other end.
pub(crate) async fn tls(address: &ServerAddress, config: Arc<ClientConfig>) -> Result<Dialled, ReachError> {
    let (stream, first) = Listening::new(open(address).await?);
    let name = ServerName::try_from(address.host().to_owned());
    let name = name.map_err(|_| ReachError::NoNameOfTls { address: address.clone() })?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    match timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(Ok(stream)) => Ok(dialled(address, stream, first)),
        Ok(Err(error)) => Err(no_handshake(address, error, &first)),
        Err(_) => Err(ReachError::SilentHandshake { address: address.clone(), limit: HANDSHAKE_LIMIT }),
    }
}

async fn open(address: &ServerAddress) -> Result<TcpStream, ReachError> {
    let unreachable = |source| ReachError::Unreachable { address: address.clone(), source };
    let found = timeout(CONNECT_LIMIT, addresses(address)).await;
    let addresses = found.map_err(|_| silent("the name was not found")).flatten().map_err(unreachable)?;
    let stream = first_that_connects(&addresses).await.map_err(unreachable)?;
    // Both only make it better; a system that knows neither serves as well.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    Ok(stream)
}

/// Connects to a socket whatever the length of its path: an address of one holds only 108 bytes.
async fn open_socket(path: &Path) -> io::Result<UnixStream> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = rustix::fs::open(folder, flags, Mode::empty())?;
    let connecting =
        UnixStream::connect(Path::new("/proc/self/fd").join(held.as_raw_fd().to_string()).join(name));
    timeout(CONNECT_LIMIT, connecting).await.map_err(|_| silent("no answer"))?
}

fn silent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {} s", CONNECT_LIMIT.as_secs()))
}

async fn addresses(address: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    let port = address.port();
    match address.known_ips() {
        Some(ips) => Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        None => Ok(lookup_host((address.host(), port)).await?.take(MAX_ADDRESSES).collect()),
    }
}

/// Tries one after the other, each with its share of the time: one that is silent, as IPv6 is in some networks, must not
/// keep from the next.
async fn first_that_connects(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut first_error = None;
    for address in addresses {
        let share = CONNECT_LIMIT / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            // That of the first one says most: it is the one that was meant.
            Ok(Err(error)) => _ = first_error.get_or_insert(error),
            Err(_) => _ = first_error.get_or_insert_with(|| silent("no answer")),
        }
    }
    Err(first_error.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

/// Makes a way one of HTTP.
pub(crate) async fn over(address: &ServerAddress, way: Dialled) -> Result<Connection, ReachError> {
    let opened = http1::handshake(TokioIo::new(way.stream)).await;
    let (sender, connection) = opened
        .map_err(|source| ReachError::BrokeOff { address: address.clone(), source: Box::new(source) })?;
    // Ends by itself with the answer; an error of it reaches the sender or the body too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Connection { sender, witness: way.witness })
}

impl Connection {
    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn send(mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, ReachError> {
        let sent = self.sender.send_request(request).await;
        sent.map_err(|source| self.witness.explain(source))
    }
}

/// Says why there was no handshake.
fn no_handshake(address: &ServerAddress, error: io::Error, first: &First) -> ReachError {
    let address = address.clone();
    match (tls_error(&error), first.spoken()) {
        (Some(rustls::Error::InvalidCertificate(why)), _) => {
            ReachError::Certificate { address, fault: CertificateFault::from(why) }
        }
        (_, Spoken::Http) => ReachError::NoTls { address, speaks: "plain HTTP" },
        (_, Spoken::Other) => ReachError::NoTls { address, speaks: "something that is neither TLS nor HTTP" },
        (Some(rustls::Error::AlertReceived(alert)), _) => {
            ReachError::RefusedHandshake { address, alert: format!("{alert:?}") }
        }
        (None, Spoken::Nothing) => ReachError::ClosedHandshake { address, source: error },
        _ => ReachError::BrokeOff { address, source: Box::new(error) },
    }
}

/// Says why there was no answer.
fn no_answer(address: &ServerAddress, error: hyper::Error, spoken: Spoken) -> ReachError {
    let address_is_tls = address.is_tls();
    let address = address.clone();
    if let Some(rustls::Error::AlertReceived(alert)) = tls_error(&error) {
        return ReachError::RefusedHandshake { address, alert: format!("{alert:?}") };
    }
    match spoken {
        Spoken::Tls if !address_is_tls => ReachError::WantsTls { address },
        Spoken::Other if error.is_parse() => ReachError::NoHttp { address },
        Spoken::Nothing => ReachError::NoAnswer { address, source: Box::new(error) },
        _ => ReachError::BrokeOff { address, source: Box::new(error) },
    }
}

/// Finds the error of TLS that lies behind another.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An error of the system shows the source of what it wraps, and not that itself.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

/// Says in words for a person why there was no handshake of TLS.
#[must_use]
pub fn words_of_handshake(error: &io::Error) -> String {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("its certificate {}", CertificateFault::from(why))
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("it ended the handshake of TLS: {alert:?}"),
        Some(rustls::Error::InvalidMessage(_)) => "it speaks no TLS".to_owned(),
        Some(other) => format!("no handshake of TLS: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection in the handshake of TLS".to_owned()
        }
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_silent_does_not_keep_from_the_next() {
        // One whose queue is full: the system drops whoever comes.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        full.bind(&any.into()).unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let waiting: Vec<_> = (0..4).map(|_| knock(silent)).collect();
        let open = std::net::TcpListener::bind(any).unwrap();
        let addresses = [silent, open.local_addr().unwrap()];
        let error = first_that_connects(&addresses[..1]).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 5 s");
        assert_eq!(first_that_connects(&addresses).await.unwrap().peer_addr().unwrap(), addresses[1]);
        drop(waiting);
    }

    fn knock(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        socket
    }
}
