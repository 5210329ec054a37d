//! Everything that keeps a program from a server, what to do next, and whether waiting helps.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::address::ServerAddress;
use crate::fault::CertificateFault;
use crate::trust::TrustError;

/// Why there was no answer of a server.
#[derive(Debug, Error)]
pub enum ReachError {
    /// Everybody on the way could read the token.
    #[error("no token or key is sent to {address}: without TLS everybody on the way could read it")]
    PlainToken {
        /// The server.
        address: ServerAddress,
    },
    /// The token does not fit into a header.
    #[error("the token or key has characters that cannot be sent in a header")]
    OddToken,
    /// The request does not fit into HTTP.
    #[error("a request to {path} cannot be written")]
    Unsendable {
        /// What was asked.
        path: String,
    },
    /// There is nobody to trust.
    #[error("nobody can say whether {address} is who it says")]
    Trust {
        /// The server.
        address: ServerAddress,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// No connection.
    #[error("no Lockstep server answers at {address}")]
    Unreachable {
        /// The server.
        address: ServerAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Certificates cannot be for such a name.
    #[error("no certificate can be for the name in {address}")]
    NoNameOfTls {
        /// The server.
        address: ServerAddress,
    },
    /// It is not who it says, or cannot prove it.
    #[error("the certificate of {address} {fault}")]
    Certificate {
        /// The server.
        address: ServerAddress,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// It speaks no TLS.
    #[error("{address} speaks {speaks} where TLS was expected")]
    NoTls {
        /// The server.
        address: ServerAddress,
        /// What it speaks.
        speaks: &'static str,
    },
    /// It speaks TLS, and was asked without.
    #[error("{address} speaks TLS where plain HTTP was expected")]
    WantsTls {
        /// The server.
        address: ServerAddress,
    },
    /// It speaks something else.
    #[error("{address} speaks something that is not HTTP")]
    NoHttp {
        /// The server.
        address: ServerAddress,
    },
    /// It said no.
    #[error("{address} refused the TLS connection: {alert}")]
    RefusedHandshake {
        /// The server.
        address: ServerAddress,
        /// Its word for it.
        alert: String,
    },
    /// It went away.
    #[error("{address} closed the connection before TLS began")]
    ClosedHandshake {
        /// The server.
        address: ServerAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It says nothing.
    #[error("{address} did not finish the TLS handshake within {} s", limit.as_secs())]
    SilentHandshake {
        /// The server.
        address: ServerAddress,
        /// The time it had.
        limit: Duration,
    },
    /// It went away instead of answering.
    #[error("{address} closed the connection without an answer")]
    NoAnswer {
        /// The server.
        address: ServerAddress,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What stands before it does not reach it.
    #[error("what stands before the server at {address} answered {status} in its place")]
    Behind {
        /// The server.
        address: ServerAddress,
        /// The status.
        status: u16,
    },
    /// It names another place.
    #[error("{address} answered {status} and leads to {}; nothing is sent there", to.location.as_deref().unwrap_or("nowhere"))]
    Redirect {
        /// The server.
        address: ServerAddress,
        /// The status.
        status: u16,
        /// Where it leads.
        to: Box<Destination>,
    },
    /// The connection ended too early.
    #[error("the connection to {address} broke off")]
    BrokeOff {
        /// The server.
        address: ServerAddress,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// As it was written.
    pub location: Option<String>,
    /// As a server, where it is one.
    pub server: Option<ServerAddress>,
}

impl ReachError {
    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::PlainToken { address } => format!(
                "--server {}, with a proxy that ends TLS there; or --plain-http, where you trust the whole network",
                address.with_other_scheme()
            ),
            Self::OddToken => "a token is one word of plain letters: openssl rand -hex 32".into(),
            Self::Unsendable { .. } => "lockstep help".into(),
            Self::Trust { source, .. } => source.hint(),
            Self::Unreachable { address, .. } if address.socket().is_some() => {
                "the server has no connection to this host at the moment, and makes one again by itself; on its machine, `lockstep host check` says what is in the way".into()
            }
            Self::Unreachable { .. } => {
                "start one with `lockstep server`, or name another one with --server URL".into()
            }
            Self::NoNameOfTls { .. } => "name it by a host name or an address: --server https://HOST".into(),
            Self::Certificate { address, fault } => of_certificate(address, fault),
            Self::NoTls { address, .. } | Self::WantsTls { address } => {
                format!("--server {}, or the port where the right one listens", address.with_other_scheme())
            }
            Self::NoHttp { .. } => "another program listens there: name the server with --server URL".into(),
            Self::RefusedHandshake { address, .. } => format!(
                "it says why in its log; openssl s_client -connect {} shows more",
                address.host_and_port()
            ),
            Self::ClosedHandshake { address, .. } | Self::SilentHandshake { address, .. } => {
                format!(
                    "is that the port of TLS? openssl s_client -connect {} shows what it says",
                    address.host_and_port()
                )
            }
            Self::Behind { .. } => {
                "is the server running there, and did it do what was asked? `lockstep status`; the log of what stands before it says more".into()
            }
            Self::Redirect { to, .. } => to.server.as_ref().map_or_else(
                || "name the server itself with --server URL".into(),
                |server| format!("if that is your server: --server {server}"),
            ),
            // HAProxy says nothing to plain HTTP on a port of TLS.
            Self::NoAnswer { address, .. } if !address.is_tls() && address.socket().is_none() => {
                format!(
                    "it may have ended: look what was done (`lockstep status`), and try again; its log says more; if TLS is spoken there: --server {}",
                    address.with_other_scheme()
                )
            }
            Self::NoAnswer { .. } | Self::BrokeOff { .. } => {
                "look what was done (`lockstep status`), and try again; the log of the server says more".into()
            }
        }
    }

    /// Tells whether it is the same however long one waits.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable { .. }
                | Self::ClosedHandshake { .. }
                | Self::SilentHandshake { .. }
                | Self::NoAnswer { .. }
                | Self::Behind { .. }
                | Self::BrokeOff { .. }
        )
    }

    /// Tells whether it lies in what was typed, and nothing was sent.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::PlainToken { .. } | Self::OddToken | Self::Trust { .. } | Self::NoNameOfTls { .. }
        )
    }
}

fn of_certificate(address: &ServerAddress, fault: &CertificateFault) -> String {
    use CertificateFault as F;
    let place = address.host_and_port();
    match fault {
        F::UnknownIssuer => "if its authority is your own: --ca FILE with the certificate of the authority; else the server must send the whole chain".to_owned(),
        F::Forged => format!("is the file of --ca older than the authority? openssl s_client -showcerts -connect {place} shows what is sent"),
        F::WrongName { .. } => format!("ask it by a name that it has (--server https://NAME), or give it a certificate with subjectAltName `{}`", address.host()),
        F::Expired(_) => "renew it where TLS ends; or set the clock of this machine, when that is wrong (timedatectl)".to_owned(),
        F::NotYetValid(_) => "set the clock of this machine (timedatectl), or wait".to_owned(),
        F::Authority => "make it with -addext basicConstraints=critical,CA:FALSE (openssl req -x509 makes authorities by itself), or sign another one with it".to_owned(),
        F::Other(_) => format!("openssl s_client -showcerts -connect {place} shows it"),
    }
}
