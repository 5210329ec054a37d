//! Services of several processes.

use lockstep_domain::name::ProcessName;
use lockstep_domain::run::{Kind, Replace};

use super::problems;
use crate::parse::parse;

const PROCESSES: &str = r#"
name = "shop"

[run]
env = { LOG = "info" }
data = ["var"]
stop = { timeout = "20s" }

[process.web]
command = "./shop serve"
health = { http = "/health" }

[process.worker]
command = "./shop work"
env = { LOG = "debug", QUEUE = "mail" }
stop = { timeout = "60s" }

[process.clock]
command = "./shop tick"
"#;

#[test]
fn processes_share_what_stands_in_run() {
    let manifest = parse(PROCESSES, "lockstep.toml").unwrap();
    let (run, others) = (&manifest.run, &manifest.processes.others);
    assert_eq!(manifest.processes.main.as_ref().unwrap().as_str(), "web");
    assert_eq!((run.kind, &run.command[..]), (Kind::Web, &["./shop".to_owned(), "serve".to_owned()][..]));
    let names: Vec<_> = others.keys().map(ProcessName::as_str).collect();
    assert_eq!(names, ["clock", "worker"]);
    let (worker, clock) = (&others[&"worker".parse().unwrap()], &others[&"clock".parse().unwrap()]);
    assert!(others.values().all(|run| run.kind == Kind::Worker && run.replace == Replace::OldFirst));
    assert_eq!((worker.variables["LOG"].as_str(), worker.variables["QUEUE"].as_str()), ("debug", "mail"));
    assert_eq!(
        (worker.stop.timeout_ms, clock.stop.timeout_ms, run.stop.timeout_ms),
        (60_000, 20_000, 20_000)
    );
    assert!([run, worker, clock].iter().all(|run| run.data.len() == 1));
}

#[test]
fn processes_without_one_for_requests_are_workers_alone() {
    let text =
        PROCESSES.replace("[process.web]", "[process.mail]").replace("health = { http = \"/health\" }", "");
    let manifest = parse(&text, "lockstep.toml").unwrap();
    assert_eq!((manifest.run.kind, manifest.processes.main.clone()), (Kind::Job, None));
    assert_eq!(manifest.processes.others.len(), 3);
    assert_eq!(parse(&crate::render(&manifest), "lockstep.toml").unwrap(), manifest);
}

#[test]
fn what_cannot_be_of_processes_is_told() {
    let wrong = |from: &str, to: &str| problems(&PROCESSES.replace(from, to)).join("\n");
    let told = wrong("[process.clock]", "[process.admin]\nkind = \"web\"");
    assert!(
        told.contains("process.admin: `admin` takes the requests") || told.contains("only one process can"),
        "{told}"
    );
    let told = wrong("env = { LOG = \"info\" }", "command = \"./shop\"\nport = 8080");
    assert!(told.contains("run.command: each [process] has its own"), "{told}");
    assert!(told.contains("run.port: each [process] has its own"), "{told}");
    let told = wrong("[process.clock]", "[process.clock]\nkind = \"job\"");
    assert!(told.contains("process.clock.kind: a process runs all the time"), "{told}");
    let told = wrong("[process.clock]", "[process.clock]\ndata = [\"tmp\"]");
    assert!(told.contains("process.clock.data: all processes share it"), "{told}");
    let told = wrong("[process.clock]", "[process.Clock]");
    assert!(told.contains("process.Clock"), "{told}");
    let both = PROCESSES
        .replace("health = { http = \"/health\" }", "port = 80")
        .replace("[process.clock]", "[process.clock]\nport = 80\nhealth = { tcp = true }");
    assert!(problems(&both).join("\n").contains("listens on port 80"), "{:?}", problems(&both));
    let told = problems("name = \"shop\"\n[process]\n").join("\n");
    assert!(told.contains("a service has from 1 to 10 processes"), "{told}");
    let told =
        problems(&(PROCESSES.replace("[process.web]", "[process.mail]") + "[[route]]\npath = \"/\"\n"))
            .join("\n");
    assert!(told.contains("none of its processes is of kind `web`"), "{told}");
}
