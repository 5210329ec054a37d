//! Proxies as processes: starting, pinning, and what they use.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Outcome, local};

/// Files that the load and each proxy may open: two for each of 10,000 connections, and some.
const OPEN_FILES: u64 = 32_768;
/// How long a proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a proxy may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A proxy that is measured; it ends with this value.
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself; one with workers of its own has to end them.
        let _ = self.signal("TERM");
        let begun = Instant::now();
        while begun.elapsed() < END_LIMIT && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

impl Proxy {
    /// Starts one, pinned to core 0, and waits until it listens. What it says is shown only when it does not.
    pub(crate) fn spawn(
        name: String,
        program: &Path,
        arguments: &[OsString],
        port: u16,
        folder: tempfile::TempDir,
    ) -> Outcome<Self> {
        let said = folder.path().join("said");
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program).args(arguments).stderr(fs::File::create(&said)?);
        let process = command.spawn()?;
        let proxy = Self { name, address: local(port), process, folder };
        let begun = Instant::now();
        while TcpStream::connect(proxy.address).is_err() {
            if begun.elapsed() > START_LIMIT {
                let said = fs::read_to_string(&said).unwrap_or_default();
                return Err(format!("{} does not listen: {}", proxy.name, said.trim()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(proxy)
    }

    /// Returns the bytes of memory that are its own.
    pub(crate) fn private_bytes(&self) -> Outcome<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id()))?;
        let field = |name: &str| -> Outcome<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
        };
        Ok(field("Private_Clean:")? + field("Private_Dirty:")?)
    }

    /// Sends it a signal, as `kill` names them.
    pub(crate) fn signal(&self, signal: &str) -> Outcome<()> {
        let status = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("{} took no {signal}", self.name).into()) }
    }

    /// The folder with its configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

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

/// Lets this process, and those it starts, open as many files as the system allows.
pub(crate) fn open_more_files() -> Outcome<()> {
    let wanted = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    let limit = getrlimit(Resource::Nofile);
    // More than the system allows is for root only.
    setrlimit(Resource::Nofile, wanted)
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }))?;
    Ok(())
}

/// Pins a process, with the threads it starts from now on, to a core.
pub(crate) fn pin(process: u32, core: usize) -> Outcome<()> {
    let (core, process) = (core.to_string(), process.to_string());
    let status =
        Command::new("taskset").args(["-a", "-p", "-c", &core, &process]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err("taskset failed; the benchmark needs two cores".into()) }
}

pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
}

pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

pub(crate) fn version(name: &str, program: &Path) -> String {
    let said = Command::new(program).arg("-v").output();
    let said = said.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let number = said.split([' ', '/', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{name} {}", number.unwrap_or_default().split('-').next().unwrap_or_default())
}
