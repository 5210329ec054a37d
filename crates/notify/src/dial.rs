//! A connection to a target: to an address that may be asked, within bounds, by TLS that was checked.
//!
//! `reach` resolves and connects in one; here the addresses must be looked at in between, so that no name leads where no target may
//! ([`address`]). Whom to believe and what a refused certificate means is `reach`'s.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lockstep_reach::words_of_handshake;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address;
use crate::outcome::Outcome;

/// How long a name may take to be found, and how long all connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a handshake of TLS may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens a connection. Nothing was sent when there is none.
pub(crate) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Outcome> {
    let found = timeout(CONNECT_LIMIT, ips(host, port)).await;
    let found = found
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no name server answered in time")));
    let found = found.map_err(|error| Outcome::later(format!("the name {host} was not found: {error}")))?;
    let allowed = allowed(host, &found)?;
    let stream = first_that_connects(&allowed, port).await;
    let stream =
        stream.map_err(|error| Outcome::later(format!("nobody answers at {host}, port {port}: {error}")))?;
    // It only makes it better.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Speaks TLS on a connection.
pub(crate) async fn tls(
    host: &str,
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<Box<dyn Stream>, Outcome> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| {
        Outcome::never(
            format!("no certificate can be for {host}"),
            "name the target by a host name or an address",
        )
    })?;
    match timeout(HANDSHAKE_LIMIT, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Outcome::later(format!("no TLS with {host}: {}", words_of_handshake(&error)))),
        Err(_) => Err(Outcome::later(format!("no TLS with {host} within {} s", HANDSHAKE_LIMIT.as_secs()))),
    }
}

/// Finds the addresses of a host. `localhost` is this machine whatever a resolver says.
async fn ips(host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    Ok(lookup_host((host, port)).await?.take(MAX_ADDRESSES).map(|it| it.ip()).collect())
}

/// Leaves out what no target leads to.
fn allowed(host: &str, found: &[IpAddr]) -> Result<Vec<IpAddr>, Outcome> {
    let is_written = address::is_loopback(host);
    let allowed: Vec<IpAddr> =
        found.iter().copied().filter(|ip| address::refusal(*ip, is_written).is_none()).collect();
    let refused = found.iter().find_map(|ip| Some((ip, address::refusal(*ip, is_written)?)));
    match refused {
        Some((ip, why)) if allowed.is_empty() => {
            Err(Outcome::never(format!("{host} is at {ip}, which {why}"), "name a target at another address"))
        }
        _ => Ok(allowed),
    }
}

/// Tries one after the other, each with its share of the time.
async fn first_that_connects(ips: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let share = CONNECT_LIMIT / u32::try_from(ips.len().max(1)).unwrap_or(1);
    let mut first = None;
    for ip in ips {
        let tried = timeout(share, TcpStream::connect(SocketAddr::new(*ip, port))).await;
        match tried.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))) {
            Ok(stream) => return Ok(stream),
            Err(error) => _ = first.get_or_insert(error),
        }
    }
    Err(first.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips_of(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_that_leads_to_metadata_or_to_this_machine_is_not_asked() {
        for bad in ["169.254.169.254", "127.0.0.1", "::1", "fe80::1"] {
            let refused = allowed("hooks.evil.test", &ips_of(&[bad])).unwrap_err();
            assert!(matches!(refused, Outcome::Never { .. }), "{bad}: {refused}");
        }
        let mixed = allowed("hooks.evil.test", &ips_of(&["127.0.0.1", "10.0.0.5"])).unwrap();
        assert_eq!(mixed, ips_of(&["10.0.0.5"]));
        assert_eq!(allowed("localhost", &ips_of(&["127.0.0.1"])).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn where_nobody_listens_it_is_tried_again() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let failed = tcp("127.0.0.1", port).await.unwrap_err();
        assert!(matches!(&failed, Outcome::Later { why, .. } if why.contains("nobody answers")), "{failed}");
        // The system reads an address in other forms than ours.
        for disguised in
            ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "127.1", "2130706433"]
        {
            let refused = tcp(disguised, 80).await.unwrap_err();
            assert!(matches!(refused, Outcome::Never { .. }), "{disguised}: {refused}");
        }
    }
}
