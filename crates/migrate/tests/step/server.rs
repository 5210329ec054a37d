//! A PostgreSQL with a password, for all tests of the process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

pub(crate) const PASSWORD: &str = "s3cret-of-the-test";

/// How a server is reached by TLS alone: its chain and key as PEM.
pub(crate) struct Secure {
    pub(crate) chain: String,
    pub(crate) key: String,
}

pub(crate) struct Server {
    folder: tempfile::TempDir,
    /// Where it listens beside its socket, for TLS alone.
    port: Option<u16>,
    programs: PathBuf,
    process: Child,
}

/// Returns the server. It ends with the process of the tests.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    // It is ended with the thread that started it, which therefore is none of a single test.
    SERVER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            sender.send(Server::start(None)).unwrap();
            loop {
                std::thread::park();
            }
        });
        receiver.recv().unwrap()
    })
}

impl Server {
    /// Starts one. It ends with the thread that starts it, which has to outlive its use.
    pub(crate) fn start(secure: Option<&Secure>) -> Self {
        let folder = tempfile::Builder::new().prefix("lsm").tempdir_in("/tmp").unwrap();
        let programs = newest();
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some(secure) = secure {
            for (name, text) in [("server.crt", &secure.chain), ("server.key", &secure.key)] {
                let file = folder.path().join(name);
                fs::write(&file, text).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        if is_root() {
            let owned = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().unwrap();
            assert!(owned.success());
        }
        let data = folder.path().join("data");
        let mut make = as_user(&programs.join("initdb"), folder.path());
        make.args(["--no-sync", "-A", "scram-sha-256", "-U", "postgres", "-D"]).arg(&data);
        make.arg("--pwfile").arg(&password);
        assert!(make.status().unwrap().success(), "initdb");
        let mut start = as_user(&programs.join("postgres"), folder.path());
        start.arg("-D").arg(&data).args(["-c", "fsync=off", "-k"]).arg(folder.path());
        let port = secure.map(|_| free_port());
        match port {
            None => start.args(["-c", "listen_addresses="]),
            Some(port) => {
                let rules = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
                fs::write(data.join("pg_hba.conf"), rules).unwrap();
                let at = |name: &str| folder.path().join(name).display().to_string();
                start.args([
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "ssl=on",
                    "-c",
                    &format!("port={port}"),
                ]);
                let (chain, key) = (at("server.crt"), at("server.key"));
                start.args(["-c", &format!("ssl_cert_file={chain}"), "-c", &format!("ssl_key_file={key}")])
            }
        };
        let process = start.process_group(0).spawn().unwrap();
        let server = Self { folder, port, programs, process };
        let end = Instant::now() + Duration::from_secs(60);
        while !server.psql("postgres", "SELECT 1").starts_with('1') {
            assert!(Instant::now() < end, "PostgreSQL {} does not answer", server.process.id());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Makes an empty database, and returns its name.
    pub(crate) fn make(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("d{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    pub(crate) fn url(&self, database: &str, password: &str) -> String {
        let host = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgresql://postgres:{password}@{host}/{database}")
    }

    /// The address by TCP.
    pub(crate) fn url_by_tcp(&self, host: &str, database: &str) -> String {
        format!("postgresql://postgres:{PASSWORD}@{host}:{}/{database}", self.port.unwrap())
    }

    /// Runs statements; errors are part of the answer.
    pub(crate) fn psql(&self, database: &str, text: &str) -> String {
        let mut client = Command::new(self.programs.join("psql"));
        client.args(["-X", "-q", "-A", "-t", "-U", "postgres", "-d", database, "-c", text, "-h"]);
        client.arg(self.folder.path()).args(self.port.map(|port| format!("--port={port}")));
        let output = client.env("PGPASSWORD", PASSWORD).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    id.starts_with(b"0")
}

/// PostgreSQL refuses to run as root, and ends with the tests.
fn as_user(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).current_dir(folder);
    if is_root() {
        command.args(["--reuid", "postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn newest() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed").flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).max();
    newest.expect("a version of PostgreSQL").1.join("bin")
}
