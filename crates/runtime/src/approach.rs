//! Opening a connection to an instance for a check of its health, as gateways open them: the PROXY header that it wants, and TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use lockstep_domain::approach::{Approach, Believes, InstanceTls, ProxyVersion};
use lockstep_reach::{Trust, believing_everybody, words_of_handshake};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::talk::{Line, connect, remaining, send};

/// A connection that is opened for nobody, in both versions.
const FOR_NOBODY: [&[u8]; 2] = [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"];

impl Line for StreamOwned<ClientConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref()
    }
}

/// Returns what a connection begins with.
pub(crate) fn header(approach: &Approach) -> &'static [u8] {
    approach.proxy_protocol.map_or(&[], |version| FOR_NOBODY[usize::from(version == ProxyVersion::V2)])
}

/// Opens a connection.
pub(crate) fn open(at: SocketAddr, approach: &Approach, deadline: Instant) -> io::Result<Box<dyn Line>> {
    let mut socket = connect(at, deadline)?;
    send(&mut socket, header(approach), deadline)?;
    match &approach.tls {
        None => Ok(Box::new(socket)),
        Some(tls) => Ok(Box::new(shake_hands(socket, tls, deadline)?)),
    }
}

fn shake_hands(
    socket: TcpStream,
    tls: &InstanceTls,
    deadline: Instant,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = name(tls, socket.peer_addr()?)?;
    let session = ClientConnection::new(config(tls)?, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, socket);
    match finish(&mut stream, deadline) {
        // It wants to see a certificate, which a check has not; its own was good.
        Err(error) if tls.certificate.is_some() && is_alert(&error) => Ok(stream),
        Err(error) if error.get_ref().is_some() => Err(io::Error::other(words_of_handshake(&error))),
        Err(error) => Err(error),
        Ok(()) => Ok(stream),
    }
}

/// Shakes hands for HTTP/2.
pub(crate) async fn shake_hands_for_http2(
    socket: tokio::net::TcpStream,
    tls: &InstanceTls,
) -> io::Result<TlsStream<tokio::net::TcpStream>> {
    let name = name(tls, socket.peer_addr()?)?;
    let mut config = (*config(tls)?).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connected = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    connected.map_err(|error| io::Error::other(words_of_handshake(&error)))
}

/// Returns what its certificate has to be for.
fn name(tls: &InstanceTls, address: SocketAddr) -> io::Result<ServerName<'static>> {
    match &tls.server_name {
        Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other),
        None => Ok(ServerName::from(address.ip())),
    }
}

fn config(tls: &InstanceTls) -> io::Result<Arc<ClientConfig>> {
    if tls.believes == Believes::Everybody {
        return Ok(Arc::new(believing_everybody()));
    }
    let trust = tls.ca_pem.clone().map_or(Trust::in_system(), Trust::in_text);
    trust.config().map_err(|error| io::Error::other(format!("its authorities: {error}")))
}

fn finish(stream: &mut StreamOwned<ClientConnection, TcpStream>, deadline: Instant) -> io::Result<()> {
    let StreamOwned { conn, sock } = stream;
    while conn.is_handshaking() || conn.wants_write() {
        if conn.wants_write() {
            sock.set_write_timeout(Some(remaining(deadline)?))?;
            conn.write_tls(sock)?;
        } else {
            sock.set_read_timeout(Some(remaining(deadline)?))?;
            if conn.read_tls(sock)? == 0 {
                return Err(io::Error::other("it closed the connection in the handshake of TLS"));
            }
            conn.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
    Ok(())
}

fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;
    use std::time::Duration;

    use rustls::ServerConfig;
    use rustls::ServerConnection;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::health;
    use crate::talk::instance;

    /// Serves one request within TLS after the PROXY header of nobody; returns the port, and the certificate as PEM.
    fn instance_of(name: &str, header: &'static [u8]) -> (u16, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let config = Arc::new(config);
            for mut socket in listener.incoming().map_while(Result::ok) {
                let mut begin = vec![0; header.len()];
                socket.read_exact(&mut begin).unwrap();
                assert_eq!(begin, header);
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, socket);
                if stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                }
            }
        });
        (port, made.cert.pem())
    }

    fn approach(name: Option<&str>, ca: Option<&str>, proxy_protocol: Option<ProxyVersion>) -> Approach {
        let believes = if name.is_some() { Believes::Checked } else { Believes::Everybody };
        let (server_name, ca_pem) = (name.map(str::to_owned), ca.map(str::to_owned));
        let tls = InstanceTls { server_name, ca_pem, certificate: None, believes };
        Approach { proxy_protocol, tls: Some(Box::new(tls)) }
    }

    #[test]
    fn an_instance_is_healthy_within_tls_when_its_certificate_is_the_right_one() {
        let limit = Duration::from_secs(5);
        for (header, version) in [
            (&b""[..], None),
            (FOR_NOBODY[0], Some(ProxyVersion::V1)),
            (FOR_NOBODY[1], Some(ProxyVersion::V2)),
        ] {
            let (port, pem) = instance_of("db.internal", header);
            let good = approach(Some("db.internal"), Some(&pem), version);
            assert_eq!(health::http(instance(port), "/", limit, &good), Ok(()));
            assert_eq!(health::tcp(instance(port), limit, &good), Ok(()));
            assert_eq!(health::tcp(instance(port), limit, &approach(None, None, version)), Ok(()));
            let named =
                health::tcp(instance(port), limit, &approach(Some("other.internal"), Some(&pem), version))
                    .unwrap_err();
            assert!(named.contains("its certificate is for `db.internal` only"), "{named}");
            let (_, stranger) = instance_of("db.internal", b"");
            let unknown = health::http(
                instance(port),
                "/",
                limit,
                &approach(Some("db.internal"), Some(&stranger), version),
            )
            .unwrap_err();
            assert!(unknown.contains("its certificate"), "{unknown}");
        }
    }

    #[test]
    fn who_speaks_no_tls_or_says_nothing_is_told_as_that() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent =
            health::tcp(instance(port), Duration::from_millis(30), &approach(None, None, None)).unwrap_err();
        assert!(silent.contains("within 30 ms"), "{silent}");
        thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let _ = socket.write_all(b"220 hello\r\n");
            }
        });
        let plain =
            health::tcp(instance(port), Duration::from_secs(5), &approach(None, None, None)).unwrap_err();
        assert!(plain.contains("it speaks no TLS"), "{plain}");
    }
}
