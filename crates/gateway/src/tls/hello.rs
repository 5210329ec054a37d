//! The beginning of a connection within TLS: what a client says first is bounded, and decides which certificate it is shown.

use std::io;
use std::sync::Arc;

use rustls::server::{Accepted, Acceptor};
use rustls::{AlertDescription, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::{Challenges, HandshakeEnd, Shown};

/// Longest first message of a client: those of browsers have less than 2 KiB, with keys for quantum computers.
const MAX_HELLO: usize = 16 * 1_024;
/// What is read of it at once.
const PIECE: usize = 4 * 1_024;
/// What a client of plain HTTP is told.
const PLAIN_HTTP: &str =
    "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n";
const PLAIN_HTTP_BODY: &str = "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"https_here\",\"detail\":\"this port speaks https\"}";
/// A record of TLS with a fatal alert, without its description.
const FATAL_ALERT: [u8; 6] = [0x15, 3, 3, 0, 2, 2];

/// A connection whose handshake is over.
pub(crate) struct Entered {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) end: HandshakeEnd,
    /// `1.3`.
    pub(crate) version: &'static str,
}

/// Shakes hands with a client. Who cannot be served is told so, and how it ended is returned.
pub(crate) async fn enter(
    mut socket: TcpStream,
    shown: Option<&Shown>,
    challenges: Option<&Challenges>,
) -> Result<Entered, HandshakeEnd> {
    let accepted = match read_hello(&mut socket).await {
        Err(HandshakeEnd::PlainHttp) => return Err(answer_plain_http(&mut socket).await),
        other => other?,
    };
    if let Some(config) = challenges.and_then(|challenges| challenges.find(&accepted.client_hello())) {
        return Err(show_challenge(accepted, socket, Arc::clone(config)).await);
    }
    let Some(shown) = shown.filter(|shown| shown.names.knows(accepted.client_hello().server_name())) else {
        return Err(refuse(&mut socket, AlertDescription::UnrecognisedName, HandshakeEnd::UnknownName).await);
    };
    let stream = StartHandshake::from_parts(accepted, socket)
        .into_stream(Arc::clone(&shown.config))
        .await
        .map_err(|error| end_of(&error))?;
    let session = stream.get_ref().1;
    let end = match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => HandshakeEnd::Resumed,
        _ => HandshakeEnd::Full,
    };
    let version = if session.protocol_version() == Some(ProtocolVersion::TLSv1_3) { "1.3" } else { "1.2" };
    Ok(Entered { stream, end, version })
}

/// Reads the first message of a client, which is bounded. Who speaks no TLS is told so; who speaks plain HTTP is told nothing yet.
pub(crate) async fn read_hello(socket: &mut TcpStream) -> Result<Accepted, HandshakeEnd> {
    let mut acceptor = Acceptor::default();
    let mut taken = 0;
    loop {
        let mut piece = [0; PIECE];
        let read = socket.read(&mut piece).await.map_err(|_| HandshakeEnd::Left)?;
        if read == 0 {
            return Err(HandshakeEnd::Left);
        }
        if taken == 0 && piece[0].is_ascii_uppercase() {
            return Err(HandshakeEnd::PlainHttp);
        }
        taken += read;
        if taken > MAX_HELLO {
            return Err(refuse(socket, AlertDescription::DecodeError, HandshakeEnd::Failed).await);
        }
        match feed(&mut acceptor, &piece[..read]) {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(accepted),
            Err(alert) => {
                // Whoever speaks no TLS need not understand it.
                let _ = socket.write_all(&alert).await;
                return Err(HandshakeEnd::Failed);
            }
        }
    }
}

/// Shows an authority what it looks for; then there is nothing more to say.
async fn show_challenge(accepted: Accepted, socket: TcpStream, config: Arc<ServerConfig>) -> HandshakeEnd {
    match StartHandshake::from_parts(accepted, socket).into_stream(config).await {
        Ok(mut stream) => {
            // It is closed next, whatever becomes of this.
            let _ = stream.shutdown().await;
            HandshakeEnd::Challenge
        }
        Err(error) => end_of(&error),
    }
}

/// Gives what was read to TLS; returns the alert for a client that does not keep to it.
fn feed(acceptor: &mut Acceptor, mut piece: &[u8]) -> Result<Option<Accepted>, Vec<u8>> {
    while !piece.is_empty() {
        // A client that sends more than one message of ours before we have answered keeps to no version of TLS.
        if acceptor.read_tls(&mut piece).is_err() {
            return Err(alert(AlertDescription::UnexpectedMessage));
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) if piece.is_empty() => return Ok(Some(accepted)),
            Ok(Some(_)) => return Err(alert(AlertDescription::UnexpectedMessage)),
            Err((_, mut last)) => {
                let mut bytes = Vec::new();
                // A vector takes all that is written to it.
                let _ = last.write_all(&mut bytes);
                return Err(if bytes.is_empty() {
                    alert(AlertDescription::UnexpectedMessage)
                } else {
                    bytes
                });
            }
        }
    }
    Ok(None)
}

fn alert(description: AlertDescription) -> Vec<u8> {
    [&FATAL_ALERT[..], &[u8::from(description)]].concat()
}

/// Tells a client why it is not served.
pub(crate) async fn refuse(socket: &mut TcpStream, why: AlertDescription, end: HandshakeEnd) -> HandshakeEnd {
    // It is closed next, whatever becomes of this.
    let _ = socket.write_all(&alert(why)).await;
    let _ = socket.shutdown().await;
    end
}

async fn answer_plain_http(socket: &mut TcpStream) -> HandshakeEnd {
    let answer = format!("{PLAIN_HTTP}content-length: {}\r\n\r\n{PLAIN_HTTP_BODY}", PLAIN_HTTP_BODY.len());
    // It is closed next, whatever becomes of this.
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
    HandshakeEnd::PlainHttp
}

/// Tells how a handshake failed.
pub(crate) fn end_of(error: &io::Error) -> HandshakeEnd {
    let within = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match within {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            HandshakeEnd::ClientCertificate
        }
        Some(_) => HandshakeEnd::Failed,
        None if error.kind() == io::ErrorKind::InvalidData => HandshakeEnd::Failed,
        None => HandshakeEnd::Left,
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let of = |error: rustls::Error| end_of(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(of(rustls::Error::NoCertificatesPresented), HandshakeEnd::ClientCertificate);
        assert_eq!(of(CertificateError::Expired.into()), HandshakeEnd::ClientCertificate);
        assert_eq!(of(rustls::Error::AlertReceived(AlertDescription::CloseNotify)), HandshakeEnd::Failed);
        assert_eq!(end_of(&io::ErrorKind::UnexpectedEof.into()), HandshakeEnd::Left);
        assert_eq!(alert(AlertDescription::UnrecognisedName), [0x15, 3, 3, 0, 2, 2, 112]);
    }
}
