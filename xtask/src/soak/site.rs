//! What is soaked: a server, two gateways of their own with keys, and services in two environments.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::processes::{self, Process};
use super::report::Report;
use super::service::{NAMES, Repository};
use crate::http::{Connection, request};
use crate::installation::{Installation, Talk};

/// The environment that is called.
pub(super) const PRODUCTION: &str = "production";
/// The environment before it.
pub(super) const STAGING: &str = "staging";
/// The names of the gateways.
pub(super) const EDGES: [&str; 2] = ["edge-1", "edge-2"];
/// How long something that was started may take to answer.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer to such a question may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

struct Edge {
    address: SocketAddr,
    process: Option<Child>,
}

/// Everything that runs.
pub(super) struct Site {
    pub(super) installation: Installation,
    pub(super) repositories: Vec<Repository>,
    edges: Vec<Edge>,
    program: PathBuf,
}

impl Site {
    /// Makes everything and waits until it serves. The program is taken into the folder, so that its processes can be told
    /// from those of others by their path.
    pub(super) fn begin(program: &Path, folder: &Path) -> Result<Self> {
        let own = folder.join("lockstep");
        fs::hard_link(program, &own).or_else(|_| fs::copy(program, &own).map(|_| ()))?;
        let mut installation = Installation::new(own.clone(), folder.to_owned(), Talk::Silent)?;
        installation.start_server()?;
        let repositories = NAMES.iter().map(|name| Repository::begin(name, &folder.join("repositories")));
        let repositories = repositories.collect::<Result<_>>()?;
        let edges = installation.spare().map(|address| Edge { address, process: None }).into();
        let mut site = Self { installation, repositories, edges, program: own };
        site.open()?;
        Ok(site)
    }

    fn open(&mut self) -> Result<()> {
        let url = format!("http://{}", self.edges[0].address);
        let set = |environment, more: &[&str]| {
            let usual = ["environment", "set", environment, "--accepts-from", "created", "--warm", "6s"];
            self.installation.run_quietly(&[&usual[..], more].concat())
        };
        set(STAGING, &["--stay", "1s"])?;
        set(PRODUCTION, &["--strategy", "all-at-once", "--gateway-url", &url])?;
        for name in EDGES {
            let key = self.key(name);
            self.installation.run_quietly(&[
                "gateway",
                "add",
                name,
                "--env",
                PRODUCTION,
                "--key-file",
                &key,
            ])?;
        }
        (0..EDGES.len()).try_for_each(|index| self.start_edge(index))?;
        for repository in &mut self.repositories {
            let folder = repository.folder.display().to_string();
            self.installation.run_quietly(&["service", "add", &folder])?;
            self.installation.run_quietly(&["release", repository.name])?;
            repository.commit()?;
            self.installation.run_quietly(&["release", repository.name])?;
        }
        for environment in [STAGING, PRODUCTION] {
            let versions = NAMES.map(|name| format!("{name}@1.0.0"));
            let versions = versions.each_ref().map(String::as_str);
            self.installation.run_quietly(&[&["deploy", "--env", environment], &versions[..]].concat())?;
        }
        for name in NAMES {
            self.installation.run_quietly(&["scale", name, "2", "--env", PRODUCTION])?;
        }
        (0..EDGES.len()).try_for_each(|index| self.wait_for_edge(index))
    }

    fn key(&self, edge: &str) -> String {
        self.installation.folder().join(format!("{edge}.key")).display().to_string()
    }

    /// Returns the addresses of the gateways.
    pub(super) fn gateways(&self) -> Vec<SocketAddr> {
        self.edges.iter().map(|edge| edge.address).collect()
    }

    /// Returns the process of a gateway, while one runs.
    pub(super) fn edge_process(&self, index: usize) -> Option<u32> {
        self.edges[index].process.as_ref().map(Child::id)
    }

    /// Starts a gateway.
    pub(super) fn start_edge(&mut self, index: usize) -> Result<()> {
        let data = self.installation.folder().join(format!("{}.tables", EDGES[index])).display().to_string();
        let (key, listen) = (self.key(EDGES[index]), self.edges[index].address.to_string());
        let log = self.installation.folder().join(format!("{}.log", EDGES[index]));
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = self.installation.command();
        command.args([
            "gateway",
            "run",
            "--env",
            PRODUCTION,
            "--listen",
            &listen,
            "--data",
            &data,
            "--key-file",
            &key,
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.edges[index].process = Some(command.spawn().context("cannot start a gateway")?);
        Ok(())
    }

    /// Waits until a gateway gives an answer of a service.
    pub(super) fn wait_for_edge(&self, index: usize) -> Result<()> {
        let (begin, address) = (Instant::now(), self.edges[index].address);
        let bytes = request("GET", "/mail", address, &["connection: close"], "");
        let answers = || {
            let exchanged =
                Connection::open(address, ANSWER_PATIENCE).and_then(|mut open| open.exchange(&bytes));
            exchanged.is_ok_and(|answer| answer.status == 200)
        };
        while !answers() {
            ensure!(
                begin.elapsed() < START_PATIENCE,
                "{} serves nothing after {START_PATIENCE:?}",
                EDGES[index]
            );
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for a gateway that was killed.
    pub(super) fn reap_edge(&mut self, index: usize) -> Result<()> {
        if let Some(mut process) = self.edges[index].process.take() {
            process.wait()?;
        }
        Ok(())
    }

    /// Finds the processes of instances and builds.
    pub(super) fn processes(&self) -> Vec<Process> {
        processes::of(&self.installation.data(), &self.program)
    }

    /// Returns what an environment says of itself.
    pub(super) fn status(&self, environment: &str) -> Result<Value> {
        self.installation.ask("GET", &format!("/environments/{environment}"), "")
    }

    /// Returns the versions of a service with the mark of each, the oldest first.
    pub(super) fn versions(&self, service: usize) -> Result<Vec<(String, u64)>> {
        let view = self.installation.ask("GET", &format!("/services/{}", NAMES[service]), "")?;
        let versions = view["versions"].as_array().context("a service without versions")?;
        let mut marked = versions.iter().map(|version| {
            let mark = self.repositories[service].mark_of(version["commit"].as_str()?)?;
            Some((version["number"].as_str()?.to_owned(), mark))
        });
        let mut marked: Vec<_> = marked.by_ref().flatten().collect();
        marked.sort_by_key(|(_, mark)| *mark);
        Ok(marked)
    }

    /// Ends everything; nothing of it is left, not even the folder.
    fn remove(mut self) -> Result<()> {
        self.end_edges();
        self.installation.remove()
    }

    /// Ends the site of a part: without a fault nothing of it is left, with one its folder says what happened.
    pub(super) fn close(self, report: &mut Report, seed: u64) -> Result<()> {
        if report.fault_count() == 0 {
            return self.remove();
        }
        let folder = self.installation.folder().to_owned();
        self.leave()?;
        report.keep_in(&folder, seed)
    }

    /// Ends everything and leaves the folder for whoever looks for a cause.
    fn leave(mut self) -> Result<()> {
        self.end_edges();
        let folder = self.installation.folder().to_owned();
        crate::processes::end_all_of(&folder, Duration::ZERO)
    }

    fn end_edges(&mut self) {
        for edge in &mut self.edges {
            if let Some(mut process) = edge.process.take() {
                // It may have ended by itself, which is looked at where it matters.
                let _ = process.kill().and_then(|()| process.wait());
            }
        }
    }
}
