//! A server of SSH on loopback with keys of its own, for the user that runs the tests.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of SSH, which ends with the value.
pub(crate) struct SshServer {
    folder: TempDir,
    address: String,
    port: u16,
    /// What it is started by, such as `ip netns exec web1`; nothing where it is started as it is.
    within: Vec<String>,
    running: Option<Child>,
}

impl SshServer {
    /// Starts one. `extra` are lines of its configuration.
    pub(crate) fn begin(extra: &str) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        Self::begin_at(extra, ("127.0.0.1", port), &[])
    }

    /// Starts one at an address, by a command that has that.
    pub(crate) fn begin_at(extra: &str, (address, port): (&str, u16), within: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        for name in ["host", "client"] {
            make_key(&folder.path().join(name));
        }
        let place = folder.path().display();
        let text = format!(
            "ListenAddress {address}\nPort {port}\nHostKey {place}/host\nAuthorizedKeysFile {place}/client.pub\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PidFile none\nPermitRootLogin yes\nLogLevel ERROR\n{extra}\n"
        );
        fs::write(folder.path().join("sshd_config"), text).unwrap();
        let within = within.iter().map(|word| (*word).to_owned()).collect();
        let mut server = Self { folder, address: address.to_owned(), port, within, running: None };
        server.start();
        server
    }

    /// Starts it again, at its port.
    pub(crate) fn start(&mut self) {
        if rustix::process::geteuid().is_root() {
            // Where it gives its rights up, and wants an empty folder that root owns.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut words = self.within.iter().map(String::as_str).chain(["/usr/sbin/sshd"]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["-D", "-e", "-f"]).arg(self.file("sshd_config"));
        let log = fs::File::create(self.file("log")).unwrap();
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.running = Some(started.expect("sshd is needed; on Debian: apt-get install openssh-server"));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((self.address.as_str(), self.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd: {}", fs::read_to_string(self.file("log")).unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it, with all of its sessions, and nothing that these have started.
    pub(crate) fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let sessions = children_of(i32::try_from(running.id()).unwrap());
        let _ = running.kill();
        let _ = running.wait();
        sessions.into_iter().for_each(kill);
    }

    /// Where `ssh` connects to.
    pub(crate) fn target(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// The key that it lets in.
    pub(crate) fn key(&self) -> PathBuf {
        self.file("client")
    }

    /// A file beside its own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes a key and its public part.
pub(crate) fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// The processes below one, for each session of a server two.
fn children_of(parent: i32) -> Vec<i32> {
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().to_owned();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let names = fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_sshd = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("sshd")
    };
    let children: Vec<i32> = pids.filter(|pid| is_child(pid) && is_sshd(pid)).collect();
    let below = children.iter().flat_map(|child| children_of(*child)).collect::<Vec<_>>();
    children.into_iter().chain(below).collect()
}

fn kill(process: i32) {
    let process = rustix::process::Pid::from_raw(process).unwrap();
    let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
}
