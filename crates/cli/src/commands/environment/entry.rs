//! Options of an environment that say how clients come in.

use std::path::PathBuf;
use std::str::FromStr;

use lockstep_api::types::EntryChange;
use lockstep_domain::entry::{ClientCertificates, EntrySettings, MAX_CLIENT_CA_BYTES, PlainHttp, TlsVersion};
use lockstep_domain::gateway_rules::{Network, NetworkError};
use lockstep_domain::tcp_port::{TcpPort, TcpPortError};

use crate::failure::Failure;
use crate::given_file;
use crate::output::times::exact;
use crate::parse::duration::milliseconds;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct EntryOptions {
    /// The port on which its gateway serves https, with the certificates of the environment; `none` for no port.
    #[arg(long, value_name = "PORT", value_parser = https_port)]
    https_port: Option<u16>,
    /// What plain HTTP gets: the same as https (`serve`), or a `redirect` to it for clients from outside.
    #[arg(long, value_name = "WHAT")]
    http: Option<PlainHttp>,
    /// The lowest version of TLS that is spoken: `1.2` or `1.3`.
    #[arg(long, value_name = "VERSION")]
    tls_min: Option<TlsVersion>,
    /// Ask clients for certificates of the authorities in this PEM file; `none` for no more.
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate then: `required`, as when nothing is said, or `optional`.
    #[arg(long, value_name = "WHAT")]
    client_certificates: Option<ClientCertificates>,
    /// Connections from this network begin with a PROXY header (version 1 or 2), and must; may be repeated, `none` for none.
    #[arg(long = "proxy-protocol", value_name = "NETWORK")]
    proxy_networks: Vec<ProxyNetwork>,
    /// Open a port for a service that speaks TCP: `5433=pgbouncer`, or `8883/mqtt.shop.test=mqtt` for clients that ask for this host within TLS; may be
    /// repeated and replaces those there were, `none` for none.
    #[arg(long, value_name = "PORT[/HOST]=SERVICE")]
    tcp: Vec<GivenPort>,
    /// Close a connection to a service that speaks TCP when it is silent for so long, like `10m`; `none` for never.
    #[arg(long, value_name = "TIME", value_parser = idle_ms)]
    tcp_idle: Option<u64>,
}

fn https_port(text: &str) -> Result<u16, String> {
    match text {
        "none" => Ok(0),
        "0" => Err("port 0 is not a port; `none` for no port".to_owned()),
        port => port.parse().map_err(|_| "expected a port, or `none`".to_owned()),
    }
}

fn idle_ms(text: &str) -> Result<u64, String> {
    if text == "none" { Ok(0) } else { milliseconds(text) }
}

/// One value of `--tcp`.
#[derive(Debug, Clone)]
enum GivenPort {
    None,
    One(TcpPort),
}

impl FromStr for GivenPort {
    type Err = TcpPortError;

    fn from_str(text: &str) -> Result<Self, TcpPortError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::One) }
    }
}

/// One value of `--proxy-protocol`.
#[derive(Debug, Clone, Copy)]
enum ProxyNetwork {
    None,
    One(Network),
}

impl FromStr for ProxyNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::One) }
    }
}

impl EntryOptions {
    /// Returns what is to change.
    pub(super) fn change(&self) -> Result<EntryChange, Failure> {
        let read = |path: &PathBuf| {
            if path.as_os_str() == "none" {
                return Ok(String::new());
            }
            given_file::text(path, MAX_CLIENT_CA_BYTES as u64)
        };
        let one = |network: &ProxyNetwork| match network {
            ProxyNetwork::None => None,
            ProxyNetwork::One(network) => Some(*network),
        };
        let given = !self.proxy_networks.is_empty();
        let port = |port: &GivenPort| match port {
            GivenPort::None => None,
            GivenPort::One(port) => Some(port.clone()),
        };
        Ok(EntryChange {
            https_port: self.https_port,
            http: self.http,
            tls_min: self.tls_min,
            client_ca: self.client_ca.as_ref().map(read).transpose()?,
            client_certificates: self.client_certificates,
            proxy_networks: given.then(|| self.proxy_networks.iter().filter_map(one).collect()),
            tcp: (!self.tcp.is_empty()).then(|| self.tcp.iter().filter_map(port).collect()),
            tcp_idle_ms: self.tcp_idle,
        })
    }
}

/// Shows what differs from what every environment begins with.
pub(super) fn rows(entry: &EntrySettings) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| rows.push([name.to_owned(), text]);
    if let Some(port) = entry.https_port {
        row("https port", port.to_string());
    }
    if entry.http != PlainHttp::default() {
        row("plain http", entry.http.to_string());
    }
    if entry.tls_min != TlsVersion::default() {
        row("tls", format!("{} and newer", entry.tls_min));
    }
    if entry.client_ca.is_some() {
        row("client certificates", entry.client_certificates.to_string());
    }
    if !entry.proxy_networks.is_empty() {
        let networks: Vec<String> = entry.proxy_networks.iter().map(Network::to_string).collect();
        row("proxy protocol", networks.join(", "));
    }
    if !entry.tcp.is_empty() {
        let ports: Vec<String> = entry.tcp.iter().map(TcpPort::to_string).collect();
        row("tcp", ports.join(", "));
    }
    if let Some(idle) = entry.tcp_idle_ms {
        row("tcp idle", exact(idle));
    }
    rows
}
