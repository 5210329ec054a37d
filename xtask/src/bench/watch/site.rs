//! What has faults: services of three kinds, an environment for each, since of many services of one environment people are told together.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::chat::Chat;
use crate::http::{Connection, request};
use crate::installation::{Installation, Show};
use crate::load::Kind;
use crate::processes;

use super::super::repository;
use super::{PATIENCE, ROUNDS};

/// Services that have the same fault, one a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// What their names begin with.
    prefix: &'static str,
    environment: &'static str,
    /// How many instances each has, and how many of them are killed.
    instances: usize,
    killed: usize,
}

pub(super) const ALL_DOWN: Group = Group { prefix: "dead", environment: "staging", instances: 2, killed: 2 };
pub(super) const ONE_DOWN: Group =
    Group { prefix: "half", environment: "production", instances: 2, killed: 1 };
pub(super) const FAILING: Group =
    Group { prefix: "failing", environment: "development", instances: 1, killed: 0 };

/// What the services are asked that will fail.
pub(super) const KINDS: &[Kind] =
    &[ask("/failing-0"), ask("/failing-1"), ask("/failing-2"), ask("/failing-3"), ask("/failing-4")];
const _: () = assert!(KINDS.len() == ROUNDS);

const fn ask(path: &'static str) -> Kind {
    Kind { weight: 1, method: "GET", path, body: "", expected: 200 }
}

impl Group {
    /// Returns the name of the service of a round.
    pub(super) fn service(self, round: usize) -> String {
        format!("{}-{round}", self.prefix)
    }

    fn services(self) -> impl Iterator<Item = String> {
        (0..ROUNDS).map(move |round| self.service(round))
    }
}

/// The services in their environments.
pub(super) struct Site<'a> {
    installation: &'a Installation,
}

impl<'a> Site<'a> {
    /// Builds and deploys all of them, and has the chat told of what is wrong.
    pub(super) fn prepare(installation: &'a Installation, chat: &Chat) -> Result<Self> {
        let site = Self { installation };
        chat.write_target(&installation.folder().join("chat.toml"))?;
        installation.run(&["notify", "add", "chat", "chat.toml"], Show::Result(1))?;
        for group in [ALL_DOWN, ONE_DOWN, FAILING] {
            group.services().try_for_each(|service| site.release(&service))?;
            site.deploy(group)?;
        }
        Ok(site)
    }

    fn release(&self, service: &str) -> Result<()> {
        repository::create(&self.installation.folder().join(service), &manifest(service), SOURCE)?;
        self.installation.run_quietly(&["service", "add", service])?;
        self.installation.run_quietly(&["release", service])
    }

    fn deploy(&self, group: Group) -> Result<()> {
        let accepts = ["environment", "set", group.environment, "--accepts-from", "created"];
        self.installation.run_quietly(&accepts)?;
        let versions: Vec<String> = group.services().map(|service| format!("{service}@1.0.0")).collect();
        let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        let how = ["--env", group.environment, "--strategy", "all-at-once"];
        self.installation.run(&[&["deploy"], &versions[..], &how].concat(), Show::Result(1))?;
        group.services().filter(|_| group.instances > 1).try_for_each(|service| {
            let scale = ["scale", &service, &group.instances.to_string(), "--env", group.environment];
            self.installation.run_quietly(&scale)
        })
    }

    /// Returns the processes that are to be killed: those of as many healthy instances of a service as its group says.
    pub(super) fn processes(&self, service: &str, group: Group) -> Result<Vec<u32>> {
        let status = self.installation.json(&["status", group.environment])?;
        let all = status["services"].as_array().into_iter().flatten();
        let own = all.filter(|it| it["service"] == service);
        let instances = own.flat_map(|it| it["instances"].as_array().into_iter().flatten());
        let healthy: Vec<&Value> = instances.filter(|it| it["state"]["state"] == "healthy").collect();
        let count = healthy.len();
        ensure!(count == group.instances, "`{service}` has {count} healthy instances: {status:#}");
        let ids = healthy.iter().take(group.killed).filter_map(|it| it["id"].as_str());
        let data = self.installation.data();
        let processes = ids.map(|id| processes::of_instance(&data, id)).collect::<Result<Vec<_>>>()?;
        Ok(processes.concat())
    }

    /// Returns where the services of a group are reached.
    pub(super) fn gateway(&self, group: Group) -> Result<SocketAddr> {
        let status = self.installation.json(&["status", group.environment])?;
        let gateway = status["gateway"].as_str().context("the status names no gateway")?;
        Ok(gateway.trim_start_matches("http://").parse()?)
    }

    /// Lets a service fail every second request from its answer to this one on.
    pub(super) fn fail_from_now_on(&self, service: &str, gateway: SocketAddr) -> Result<()> {
        let request = request("GET", &format!("/{service}/break"), gateway, &[], "");
        let answer = Connection::open(gateway, PATIENCE)?.exchange(&request)?;
        ensure!(answer.status == 200, "`{service}` was asked to fail and answered {}", answer.status);
        Ok(())
    }
}

/// The manifest of a service. What is killed stays dead for a minute, because what is started again at once is back before anybody looks.
fn manifest(service: &str) -> String {
    format!(
        r#"name = "{service}"
owner = "bench"

[build]
tools = {{ rustc = ">=1.85" }}
optional_variables = ["CARGO_HOME", "RUSTUP_HOME"]
steps = ["rustc --edition 2024 -O main.rs -o service"]

[package]
include = ["service"]

[run]
command = "./service"
health = {{ http = "/health" }}
restart = {{ backoff = "1m", max_backoff = "1m" }}

[[route]]
path = "/{service}"
"#
    )
}

/// The program of a service: HTTP/1.1 with keep-alive, a thread a connection. Once it was asked for `/break`, every second answer is a failure.
const SOURCE: &str = r#"use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static BREAKS: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicU64 = AtomicU64::new(0);

fn main() {
    let variable = |name| std::env::var(name).expect("Lockstep sets HOST and PORT");
    let listener = TcpListener::bind(format!("{}:{}", variable("HOST"), variable("PORT"))).expect("a free port");
    for stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || serve(stream));
    }
}

fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        writer.write_all(answer(&first)).ok()?;
    }
}

fn answer(first: &str) -> &'static [u8] {
    if first.contains("/break ") {
        BREAKS.store(true, Ordering::Relaxed);
    } else if !first.contains("/health ")
        && BREAKS.load(Ordering::Relaxed)
        && ASKED.fetch_add(1, Ordering::Relaxed) % 2 == 1
    {
        return b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    }
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
}
"#;
