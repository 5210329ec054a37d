//! Gateways on a host over SSH: they follow the server through the connection of the host, and need neither of the two to serve.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::{Instance, InstanceId, InstanceState};
use lockstep_hosts::gateway::{HostGateway, is_of_program};
use lockstep_hosts::{
    ClaimFile, Duplex, FromHost, HostFacts, HostOptions, HostState, Program, RemoteDriver, Ssh,
};
use lockstep_runtime::{Driver as _, InstanceSpec};
use lockstep_server::{ApiToken, ServerConfig, UserChoice};
use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::host_check::server::SshServer;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::service;
use crate::support::{eventually, get, processes};

/// This program without what only debuggers read, and another one that does the same: a byte behind its end makes another digest.
static PROGRAMS: LazyLock<[Arc<Program>; 2]> = LazyLock::new(|| {
    let built = env!("CARGO_BIN_EXE_lockstep");
    let modified = fs::metadata(built).unwrap().modified().unwrap();
    let stamp = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    ["", "other"].map(|end| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lockstep-{stamp}{end}"));
        if !path.exists() {
            let new = path.with_extension(std::process::id().to_string());
            let stripped = Command::new("strip").arg("-o").arg(&new).arg(built).status();
            assert!(stripped.expect("strip is needed; on Debian: apt-get install binutils").success());
            fs::OpenOptions::new().append(true).open(&new).unwrap().write_all(end.as_bytes()).unwrap();
            fs::rename(&new, &path).unwrap();
        }
        Arc::new(Program::of(&path).unwrap())
    })
});

/// Takes gateways of the host to the API of the server.
#[derive(Debug)]
struct ToServer {
    address: String,
    came: AtomicUsize,
}

impl FromHost for ToServer {
    fn serve(&self, _: &str, mut stream: Box<dyn Duplex>) {
        self.came.fetch_add(1, Ordering::SeqCst);
        let address = self.address.clone();
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(address).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            }
        });
    }
}

/// A server, and a host with a gateway that follows it.
struct Bench {
    place: Place,
    sshd: SshServer,
    driver: Option<RemoteDriver>,
    from_host: Arc<dyn FromHost>,
    runtime: Runtime,
    port: u16,
}

impl Bench {
    fn begin(port: u16) -> (Self, Arc<ToServer>) {
        let place = Place::begin();
        place.run(&[
            "gateway",
            "add",
            "host-web1",
            "--env",
            ENVIRONMENT,
            "--key-file",
            &place.path("host.key"),
        ]);
        let to_server = Arc::new(ToServer { address: place.address().to_owned(), came: AtomicUsize::new(0) });
        let bench =
            Self::of(place, port, Arc::clone(&to_server) as Arc<dyn FromHost>, Runtime::new().unwrap());
        (bench, to_server)
    }

    fn of(place: Place, port: u16, from_host: Arc<dyn FromHost>, runtime: Runtime) -> Self {
        let sshd = SshServer::begin("");
        let port = (port..port + 100).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
        let mut bench = Self { place, sshd, driver: None, from_host, runtime, port };
        bench.connect(0);
        bench
    }

    /// A folder whose sockets have paths that are longer than an address of one.
    fn host(&self) -> PathBuf {
        PathBuf::from(self.place.path(&format!("{}/host", "a-folder-with-a-long-name".repeat(6))))
    }

    /// Connects with one of the programs.
    fn connect(&mut self, program: usize) {
        self.driver = None;
        let program = Arc::clone(&PROGRAMS[program]);
        let folder = self.host().join("programs").join(program.digest().to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(self.host(), fs::Permissions::from_mode(0o700)).unwrap();
        if !folder.join("lockstep").exists() {
            fs::copy(program.path(), folder.join("lockstep")).unwrap();
        }
        let ssh = Ssh {
            target: self.sshd.target().parse().unwrap(),
            key: Some(self.sshd.key()),
            known_hosts: self.sshd.file("known_hosts"),
            alias: "lockstep-web1".to_owned(),
            folder: Some(self.host().display().to_string()),
            program,
            configuration: Some("/dev/null".into()),
        };
        let claim = ClaimFile::at(self.sshd.file("claim.json"), "testing", "run");
        let options = HostOptions { starts_at_boot: false, ..HostOptions::default() };
        let _in_runtime = self.runtime.enter();
        let from_host = Some(Arc::clone(&self.from_host));
        self.driver =
            Some(RemoteDriver::open("web1", Arc::new(ssh), claim, options, Arc::default(), from_host));
        self.facts();
    }

    fn driver(&self) -> &RemoteDriver {
        self.driver.as_ref().unwrap()
    }

    fn facts(&self) -> Arc<HostFacts> {
        let mut state = self.driver().state();
        eventually("the host is there", || match &*state.borrow_and_update() {
            HostState::Here(facts) => Some(Arc::clone(facts)),
            _ => None,
        })
    }

    /// The gateway with one of the programs, and a key: the server of the place knows no hosts.
    fn spec_with_key(&self, program: usize, unique: &str) -> InstanceSpec {
        let mut spec = self.spec(program, unique);
        spec.variables.insert("LOCKSTEP_GATEWAY_KEY_FILE".to_owned(), self.place.path("host.key"));
        spec
    }

    fn spec(&self, program: usize, unique: &str) -> InstanceSpec {
        let gateway = HostGateway {
            environment: ENVIRONMENT.parse().unwrap(),
            listen: ([127, 0, 0, 1], self.port).into(),
            ports: InstancePorts::Server,
            host: "web1".parse().unwrap(),
            between: None,
            outside: None,
            zone: None,
        };
        gateway.spec(&self.facts(), PROGRAMS[program].digest(), unique)
    }

    fn start(&self, spec: InstanceSpec) -> InstanceId {
        let id = spec.id.clone();
        self.runtime.block_on(self.driver().start(spec)).unwrap();
        self.until(&id, |instance| instance.state.is_healthy());
        id
    }

    fn until(&self, id: &InstanceId, wanted: impl Fn(&Instance) -> bool) -> Instance {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.driver().instance(id);
            if let Some(found) = now.as_ref().filter(|instance| wanted(instance)) {
                return found.clone();
            }
            let log = || fs::read_to_string(self.folder(id).join("log/current"));
            assert!(Instant::now() < deadline, "{now:?}: {}", log().unwrap_or_default());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn folder(&self, id: &InstanceId) -> PathBuf {
        self.host().join("runtime/instances").join(id.as_str())
    }

    /// Asks for a path through the gateway.
    fn ask(&self, path: &str) -> Option<(u16, String)> {
        get(&format!("127.0.0.1:{}", self.port), path, 0).ok()
    }

    fn eventually_says(&self, text: &str) {
        let says = || (self.ask("/store")? == (200, text.to_owned())).then_some(());
        eventually(&format!("the gateway says {text}"), says);
    }

    /// Deploys a version that answers otherwise.
    fn deploy(&self, repository: &crate::support::repository::Repository, text: &str) {
        repository.write("service.py", &service(text));
        repository.commit(&format!("feat: {text}"));
        let version = self.place.release("store");
        self.place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    }

    /// The main process of a gateway, once there is one that is none of these.
    fn pid_beside(&self, others: &[Pid], id: &InstanceId) -> Pid {
        eventually("the gateway has a process", || {
            let text = fs::read(self.folder(id).join("status.json")).ok()?;
            let status: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let pid = Pid::from_raw(i32::try_from(status["process"]["pid"].as_i64()?).unwrap())?;
            (!others.contains(&pid)).then_some(pid)
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.driver = None;
        self.sshd.end();
        let host = self.host().display().to_string();
        processes::of_supervisors(&host).into_values().for_each(processes::kill);
        processes::of_instances(&host).into_values().for_each(processes::kill);
    }
}

#[test]
fn a_gateway_of_a_host_follows_the_server_and_serves_without_it_and_after_a_boot() {
    let (mut bench, to_server) = Bench::begin(31_100);
    let repository = bench.place.deployed("store");
    let id = bench.start(bench.spec_with_key(0, "1"));
    bench.eventually_says("one");
    let reports = || {
        let status = bench.place.status();
        let mut all = status["gateways"].as_array().unwrap().iter();
        all.any(|it| it["gateway"].as_str().unwrap().starts_with("host-web1/")).then_some(())
    };
    eventually("it reports", reports);
    bench.deploy(&repository, "two");
    bench.eventually_says("two");
    assert!(to_server.came.load(Ordering::SeqCst) > 2, "all of it came by the host");

    // The server is gone, then the connection to the host.
    bench.place.kill_server();
    bench.eventually_says("two");
    bench.driver = None;
    bench.sshd.end();
    bench.eventually_says("two");
    // Killed, it is started again by its supervisor, with its last table.
    let before = bench.pid_beside(&[], &id);
    processes::kill(before);
    let again = bench.pid_beside(&[before], &id);
    bench.eventually_says("two");

    // A boot: everything of the host is gone at once, and nobody is there.
    let host = bench.host().display().to_string();
    processes::of_supervisors(&host).into_values().for_each(processes::kill);
    processes::kill(again);
    eventually("nothing serves", || bench.ask("/store").is_none().then_some(()));
    let program = bench.host().join("programs").join(PROGRAMS[0].digest().to_string()).join("lockstep");
    assert!(Command::new(&program).arg("host-revive").arg(&host).status().unwrap().success());
    bench.eventually_says("two");

    // Both come back.
    bench.place.start_server();
    bench.sshd.start();
    bench.connect(0);
    bench.deploy(&repository, "three");
    bench.eventually_says("three");
    bench.until(&id, |instance| instance.state.is_healthy());
    bench.runtime.block_on(bench.driver().stop(&id)).unwrap();
    bench.until(&id, |instance| instance.state == InstanceState::Stopped);
    assert_eq!(bench.ask("/store"), None);
}

#[test]
fn a_newer_program_takes_over_from_the_gateway_before_and_no_request_fails() {
    let (mut bench, _) = Bench::begin(31_300);
    bench.place.deployed("store");
    let old = bench.start(bench.spec_with_key(0, "1"));
    bench.eventually_says("one");
    let address = format!("127.0.0.1:{}", bench.port);
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|key| {
            let (address, is_over) = (address.clone(), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut answered = 0;
                while !is_over.load(Ordering::SeqCst) {
                    assert_eq!(get(&address, "/store", key), Ok((200, "one".to_owned())), "after {answered}");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    bench.connect(1);
    let new = bench.start(bench.spec_with_key(1, "2"));
    bench.until(&old, |instance| instance.state == InstanceState::Completed);
    let before = bench.pid_beside(&[], &new);
    // It is not started again, and what was started twice was started once.
    bench.start(bench.spec_with_key(1, "2"));
    assert_eq!(bench.pid_beside(&[], &new), before);
    is_over.store(true, Ordering::SeqCst);
    let answered: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(answered > 20, "{answered}");
    let instance = bench.until(&new, |instance| instance.state.is_healthy());
    assert!(
        is_of_program(&instance, PROGRAMS[1].digest()) && !is_of_program(&instance, PROGRAMS[0].digest())
    );
    bench.eventually_says("one");
    // That of another server, which has its own folder on the same host, is given nothing.
    let other = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["gateway", "run", "--takeover", "--env", ENVIRONMENT, "--listen", &address])
        .args(["--server", "unix:/of/another/server", "--data", &bench.place.path("other")])
        .output()
        .unwrap();
    let said = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(6), "{said}");
    assert!(said.contains("they are of two servers"), "{said}");
    assert_eq!(bench.pid_beside(&[], &new), before);
    // One that ends by a signal of the system is started again: a host that shuts down sends it to everybody.
    let _ = rustix::process::kill_process(before, rustix::process::Signal::TERM);
    bench.pid_beside(&[before], &new);
    bench.eventually_says("one");
    bench.runtime.block_on(bench.driver().stop(&new)).unwrap();
    bench.until(&new, |instance| instance.state == InstanceState::Stopped);
}

/// Asks a server for a document.
fn json(server: &str, arguments: &[&str]) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(arguments).args(["--json", "--server", server]).env_remove("LOCKSTEP_TOKEN");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn at_a_server_that_has_the_host_a_gateway_of_it_needs_no_key() {
    let place = Place::begin();
    let helper = |role: &str| vec![env!("CARGO_BIN_EXE_lockstep").into(), role.into()];
    let data = PathBuf::from(place.path("of-hosts"));
    let mut config =
        ServerConfig::new(data, ([127, 0, 0, 1], 0).into(), helper("supervisor"), helper("guard"));
    (config.token, config.users, config.first_gateway_port) = (ApiToken::Nobodys, UserChoice::OfServer, 0);
    let door = Arc::clone(&config.host_door);
    let (ready, listens) = std::sync::mpsc::channel();
    let (ends, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = std::thread::spawn(move || {
        let serves = lockstep_server::run(config, move |it| ready.send(it.address).unwrap());
        Runtime::new().unwrap().block_on(async {
            tokio::select! {
                end = serves => panic!("{end:?}"),
                _ = ended => {}
            }
        });
    });
    let server = format!("http://{}", listens.recv().unwrap());
    let bench = Bench::of(place, 31_500, door, Runtime::new().unwrap());
    let id = bench.start(bench.spec(0, "1"));
    let refused = |log: &str| log.contains("there is no gateway `host-web1`");
    let log = || fs::read_to_string(bench.folder(&id).join("log/current")).unwrap();
    eventually("it may nothing yet", || refused(&log()).then_some(()));

    json(&server, &["gateway", "add", "host-web1", "--env", ENVIRONMENT]);
    let admin = bench.until(&id, |instance| instance.address.is_some()).address.unwrap().to_string();
    eventually("it has its table", || (get(&admin, "/-/ready", 0).ok()?.0 == 200).then_some(()));
    let reports = || {
        let status = json(&server, &["status", ENVIRONMENT]);
        let mut all = status["gateways"].as_array().unwrap().iter();
        all.any(|it| it["gateway"].as_str().unwrap().starts_with("host-web1/")).then_some(())
    };
    eventually("it reports", reports);
    bench.runtime.block_on(bench.driver().stop(&id)).unwrap();
    bench.until(&id, |instance| instance.state == InstanceState::Stopped);
    drop((bench, ends));
    serving.join().unwrap();
}
