//! The proxies that are measured, each a process of its own on core 0.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_domain::routes::{
    Endpoint, FULL_WEIGHT, PrefixHandling, ROUTE_TABLE_FORMAT, Route, RouteRule, RouteTable, ServiceRoutes,
    Split, SplitRole,
};
use lockstep_domain::{ConfigRevision, VersionNumber};
use lockstep_gateway::GatewayConfig;
use lockstep_gateway::standalone::{StandaloneConfig, TableSource, run};

use crate::{Outcome, local};

/// Share of the requests that go to the first version.
const NEW_PERCENT: u32 = 10;
/// How long a proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A proxy that is measured; it ends with this value.
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

impl Proxy {
    /// Returns the CPU time the process has used, user and system.
    pub(crate) fn cpu_micros(&self) -> Outcome<f64> {
        let path = format!("/proc/{}/task", self.process.id());
        let mut nanos = 0.0;
        for task in fs::read_dir(path)? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += schedstat.split(' ').next().unwrap_or("0").parse::<f64>()?;
        }
        Ok(nanos / 1_000.0)
    }
}

/// Pins a process, with the threads it starts from now on, to a core.
pub(crate) fn pin(process: u32, core: usize) -> Outcome<()> {
    let (core, process) = (core.to_string(), process.to_string());
    let status =
        Command::new("taskset").args(["-a", "-p", "-c", &core, &process]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err("taskset failed; the benchmark needs two cores".into()) }
}

/// Starts the gateway first, then every peer that is installed.
pub(crate) fn start_all(instances: [SocketAddr; 2]) -> Outcome<Vec<Proxy>> {
    let mut proxies = vec![gateway(instances)?];
    for (name, config, arguments) in [
        ("nginx", nginx as fn(&Path, u16, [SocketAddr; 2]) -> String, &["-c"] as &[&str]),
        ("haproxy", haproxy, &["-db", "-f"]),
    ] {
        match find(name) {
            Some(program) => proxies.push(peer(name, &program, config, arguments, instances)?),
            None => println!("{name} is not installed (apt-get install {name}), so it is left out"),
        }
    }
    Ok(proxies)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

fn gateway(instances: [SocketAddr; 2]) -> Outcome<Proxy> {
    let folder = tempfile::tempdir()?;
    let (file, port) = (folder.path().join("table.json"), free_port()?);
    fs::write(&file, serde_json::to_vec(&table(instances)?)?)?;
    let program = std::env::current_exe()?;
    let arguments =
        ["--gateway".as_ref(), file.as_os_str(), port.to_string().as_ref()].map(ToOwned::to_owned);
    spawn("lockstep".into(), &program, &arguments, port, folder)
}

fn peer(
    name: &str,
    program: &Path,
    config: fn(&Path, u16, [SocketAddr; 2]) -> String,
    arguments: &[&str],
    instances: [SocketAddr; 2],
) -> Outcome<Proxy> {
    let folder = tempfile::tempdir()?;
    let (file, port) = (folder.path().join("config"), free_port()?);
    fs::write(&file, config(folder.path(), port, instances))?;
    let mut arguments: Vec<_> = arguments.iter().map(Into::into).collect();
    arguments.push(file.into_os_string());
    spawn(version(name, program), program, &arguments, port, folder)
}

fn version(name: &str, program: &Path) -> String {
    let said = Command::new(program).arg("-v").output();
    let said = said.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let number = said.split([' ', '/', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{name} {}", number.unwrap_or_default().split('-').next().unwrap_or_default())
}

fn spawn(
    name: String,
    program: &Path,
    arguments: &[std::ffi::OsString],
    port: u16,
    folder: tempfile::TempDir,
) -> Outcome<Proxy> {
    let process = Command::new("taskset").args(["-c", "0"]).arg(program).args(arguments).spawn()?;
    let proxy = Proxy { name, address: local(port), process, folder };
    let begun = Instant::now();
    while TcpStream::connect(proxy.address).is_err() {
        if begun.elapsed() > START_LIMIT {
            return Err(format!("{} does not listen", proxy.name).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(proxy)
}

fn table(instances: [SocketAddr; 2]) -> Outcome<RouteTable> {
    let split = |index: usize, weight: u32, role| -> Outcome<Split> {
        let endpoint = Endpoint { instance: format!("orders-{index}").parse()?, address: instances[index] };
        let version = VersionNumber::new(1, 1 - index as u64, 0);
        Ok(Split {
            version,
            config: ConfigRevision(0),
            weight,
            role,
            endpoints: vec![endpoint],
            leaving: Vec::new(),
            protocol: lockstep_domain::protocol::Protocol::default(),
        })
    };
    let new = NEW_PERCENT * FULL_WEIGHT / 100;
    let splits = vec![split(0, new, SplitRole::Candidate)?, split(1, FULL_WEIGHT - new, SplitRole::Stable)?];
    let rule = RouteRule {
        host: None,
        path: "/".into(),
        prefix: PrefixHandling::Keep,
        patience: None,
        affinity: None,
    };
    Ok(RouteTable {
        listeners: None,
        entry: None,
        aliases: BTreeMap::new(),
        format: ROUTE_TABLE_FORMAT,
        environment: "bench".parse()?,
        history: Default::default(),
        revision: 1,
        baseline: 1,
        routes: vec![Route { rule, service: "orders".parse()? }],
        services: BTreeMap::from([(
            "orders".parse()?,
            ServiceRoutes { salt: "orders@1.1.0".into(), splits, watch: None, version_rules: Vec::new() },
        )]),
        rules: None,
        callers: Vec::new(),
    })
}

/// Runs the gateway in this process; the driver started it with a table and a port.
pub(crate) fn run_gateway(arguments: &[String]) -> Outcome<()> {
    let [file, port] = arguments else { return Err("--gateway needs a table and a port".into()) };
    let gateway = GatewayConfig { workers: NonZeroUsize::MIN, ..GatewayConfig::new("bench") };
    let source = TableSource::File { path: file.into(), listen: local(port.parse()?) };
    run(
        StandaloneConfig {
            gateway,
            source,
            lame_duck: Duration::ZERO,
            grace: Duration::ZERO,
            admin: None,
            listen_tls: None,
            certificates: None,
        },
        |_| {},
    )?;
    Ok(())
}

fn nginx(folder: &Path, port: u16, [new, old]: [SocketAddr; 2]) -> String {
    let (folder, weight) = (folder.display(), 100 - NEW_PERCENT);
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n access_log off;\n keepalive_requests 1000000000;\n\
         client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n\
         upstream orders {{ server {new} weight={NEW_PERCENT}; server {old} weight={weight};\n\
           keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port};\n location / {{ proxy_pass http://orders; proxy_http_version 1.1;\n\
           proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n}}\n"
    )
}

fn haproxy(_folder: &Path, port: u16, [new, old]: [SocketAddr; 2]) -> String {
    let weight = 100 - NEW_PERCENT;
    format!(
        "global\n nbthread 1\n maxconn 4096\ndefaults\n mode http\n option forwardfor\n timeout client 60s\n\
         timeout server 60s\n timeout connect 3s\n\
         frontend entry\n bind 127.0.0.1:{port}\n default_backend orders\n\
         backend orders\n balance roundrobin\n http-reuse always\n\
         server new {new} weight {NEW_PERCENT}\n server old {old} weight {weight}\n"
    )
}
