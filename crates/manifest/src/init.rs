//! Proposes a manifest for a repository that has none, says what it assumed, and asks what nobody but a person knows.
//!
//! It looks only at what it is given: the caller reads the files. To add a kind of repository: write a function from a
//! [`RepositoryView`] to a [`Draft`] in a file of `init/`, and name it in [`KINDS`].
//!
//! Invariant: every proposal can be parsed, and names no file that is neither there nor made by the build.

pub(crate) mod call;
mod cargo;
pub(crate) mod dockerfile;
mod dotnet;
pub(crate) mod draft;
mod go;
mod gradle;
mod grpc;
mod image;
pub(crate) mod launchers;
pub(crate) mod listen;
mod make;
mod maven;
mod nested;
mod npm;
mod php;
mod python;
mod ruby;
mod site;
mod view;
pub(crate) mod way;

use std::collections::BTreeMap;

use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::process::Processes;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{PrefixHandling, RouteRule};
use lockstep_domain::run::{HealthCheck, Kind, Port, Probe, ReplaceAfter, Restart, RunSpec, Values};
use lockstep_domain::work::WorkSigns;
use lockstep_domain::{ServiceName, VersionNumber, VersionRange};

pub(crate) use self::draft::{Draft, Worker};
pub use self::image::{ImageSays, propose_of_image};
use self::listen::Told;
pub use self::nested::Nested;
pub use self::view::{ABOVE, COMPOSE_FILES, RepositoryView, worth_reading};
use crate::model::{DEFAULT_TEST_TIMEOUT_MS, Manifest, Package, Step, TestSuite};
use crate::parse::parse;
use crate::path::Pattern;
use crate::render::{Notes, render_with_notes};

/// A manifest to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The text of `lockstep.toml`, with comments. It can be parsed.
    pub text: String,
    /// What was assumed, and what a person should look at.
    pub assumptions: Vec<String>,
    /// What nobody but a person knows; each stands in the text as well, at the field that it is about.
    pub questions: Vec<String>,
    /// Services in folders below, where the folder itself is none: then nothing should be written for it.
    pub services: Vec<Nested>,
}

/// Reads the number that a file of a repository says: `VERSION`, or the description of a package.
#[must_use]
pub fn version_in(file: &str, text: &str) -> Option<VersionNumber> {
    let plain = |text: &str| text.trim().trim_start_matches('v').parse().ok();
    let table = || text.parse::<toml::Table>().ok();
    match file {
        "VERSION" => plain(text),
        "package.json" => {
            plain(serde_json::from_str::<serde_json::Value>(text).ok()?.get("version")?.as_str()?)
        }
        "Cargo.toml" => plain(table()?.get("package")?.get("version")?.as_str()?),
        "pyproject.toml" => plain(table()?.get("project")?.get("version")?.as_str()?),
        _ => None,
    }
}

type Reader = fn(&RepositoryView) -> Option<Draft>;

/// All kinds, the surest sign first.
const KINDS: [(&str, Reader); 11] = [
    ("Cargo.toml", cargo::read),
    ("go.mod", go::read),
    ("pom.xml", maven::read),
    ("a Gradle build", gradle::read),
    ("a .NET project", dotnet::read),
    ("a Gemfile", ruby::read),
    ("PHP files", php::read),
    ("package.json", npm::read),
    ("Python files", python::read),
    ("a static site", site::read),
    ("a Makefile", make::read),
];

const HEALTH_PATHS: [&str; 5] = ["/healthz", "/health", "/livez", "/ready", "/ping"];
/// Stands for a command that nobody knows: it says so, and ends.
const NO_COMMAND: &str = "echo 'lockstep.toml: [run] command has to be written' >&2; exit 1";

/// Proposes a manifest.
#[must_use]
pub fn propose(view: &RepositoryView) -> Proposal {
    let (sign, draft) = look(view);
    let is_service = draft.as_ref().is_some_and(Draft::is_started);
    let services = if is_service { Vec::new() } else { nested::services(view) };
    let mut draft = draft.unwrap_or_default();
    draft.assumptions.insert(0, format!("found {sign} and went by it"));
    let name = service_name(draft.name.as_deref().unwrap_or(&view.folder));
    let routes = route(view, &name, &mut draft);
    let manifest = manifest(view, name, routes, &mut draft);
    Proposal { services, ..written(&manifest, draft, &sign) }
}

/// Looks for all that says something: what it is written in, and how something else starts it.
pub(crate) fn look(view: &RepositoryView) -> (String, Option<Draft>) {
    let (sign, written) = language(view);
    let mut signs: Vec<String> = sign.map(str::to_owned).into_iter().collect();
    let draft = match launchers::start(view, started_elsewhere(written.clone())) {
        Some((file, started)) => {
            signs.push(file);
            Some(started)
        }
        None => written,
    };
    let sign = if signs.is_empty() { "nothing that is known".to_owned() } else { signs.join(" and ") };
    (sign, draft)
}

/// Looks for what it is written in.
pub(crate) fn language(view: &RepositoryView) -> (Option<&'static str>, Option<Draft>) {
    let mut found = KINDS.iter().filter_map(|(sign, read)| Some((*sign, read(view)?)));
    let Some((sign, mut draft)) = found.next() else { return (None, None) };
    let also: Vec<&str> = found.map(|(sign, _)| sign).collect();
    if !also.is_empty() {
        draft.assume(format!("left {} aside", also.join(" and ")));
    }
    (Some(sign), Some(draft))
}

/// Which command it is, is no question where something else says it.
pub(crate) fn started_elsewhere(draft: Option<Draft>) -> Draft {
    let mut draft = draft.unwrap_or_default();
    draft.questions.retain(|(field, _)| *field != "run.command");
    draft.assumptions.retain(|text| !text.ends_with("runs the service"));
    draft
}

/// Makes a manifest of what is known. What cannot be written is left out and asked for.
pub(crate) fn manifest(
    view: &RepositoryView,
    name: ServiceName,
    routes: Vec<RouteRule>,
    draft: &mut Draft,
) -> Manifest {
    if !draft.is_started() {
        draft.ask("run.command", "Which command runs the service? Nothing that was found says it.");
        draft.command = vec!["sh".into(), "-c".into(), NO_COMMAND.into()];
    }
    let port = port(view, draft);
    let health = health(view, draft);
    let is_grpc = draft.kind == Kind::Web && draft.pages.is_none() && grpc::serves(view);
    let protocol = if is_grpc { Protocol::H2c } else { Protocol::Http1 };
    let run = RunSpec {
        work: WorkSigns::default(),
        protocol,
        gateway: None,
        prepare: None,
        approach: Default::default(),
        kind: draft.kind,
        command: draft.command.clone(),
        variables: draft.variables.clone(),
        port,
        health,
        stop: draft.stop.clone(),
        restart: Restart::default(),
        data: draft.data.clone(),
        files: draft.files.clone(),
        values: Values::Verbatim,
        replace: draft.kind.usual_replace(),
        replace_after: ReplaceAfter::default(),
        static_files: draft.pages.clone(),
        external: None,
        limits: draft.limits,
        image: draft.image.clone(),
        user: lockstep_domain::run::RunUser::Own,
        hosts: Default::default(),
    };
    let (run, processes) = processes(run.with_values_noted(), draft);
    Manifest {
        name,
        owner: None,
        criticality: Default::default(),
        build: draft.build.clone(),
        tests: draft.tests.clone(),
        package: draft.package.clone(),
        run,
        processes,
        requires: BTreeMap::new(),
        resources: BTreeMap::new(),
        databases: Vec::new(),
        contracts: Vec::new(),
        accepts: Vec::new(),
        routes,
        checks: Vec::new(),
        jobs: draft.jobs.clone(),
    }
}

/// Puts what works beside it where it belongs; without something that takes requests, it is one of several workers itself.
fn processes(run: RunSpec, draft: &Draft) -> (RunSpec, Processes) {
    if draft.workers.is_empty() {
        return (run, Processes::default());
    }
    let worker = |worker: &Worker| {
        let variables = run.variables.clone().into_iter().chain(worker.variables.clone()).collect();
        let own = RunSpec { command: worker.command.clone(), variables, ..as_worker(&run) };
        (worker.name.clone(), own.with_values_noted())
    };
    let mut others: BTreeMap<_, _> = draft.workers.iter().map(worker).collect();
    if run.kind.is_web() {
        return (run, Processes { main: draft.process.clone(), others });
    }
    others.extend(draft.process.clone().map(|name| (name, run.clone())));
    let shared = RunSpec {
        stop: run.stop,
        restart: run.restart,
        data: run.data,
        files: run.files,
        limits: run.limits,
        image: run.image,
        user: run.user,
        hosts: run.hosts,
        ..RunSpec::of_jobs()
    };
    (shared.with_values_noted(), Processes { main: None, others })
}

/// How something is run that works unasked and is of the same artifact.
fn as_worker(run: &RunSpec) -> RunSpec {
    RunSpec {
        kind: Kind::Worker,
        port: Port::Assigned,
        health: HealthCheck::new(Kind::Worker.usual_probe()),
        replace: Kind::Worker.usual_replace(),
        files: Vec::new(),
        static_files: None,
        external: None,
        gateway: None,
        ..run.clone()
    }
}

/// Writes a manifest with what was assumed and asked. Where it could not be parsed, only its name is left.
pub(crate) fn written(manifest: &Manifest, mut draft: Draft, sign: &str) -> Proposal {
    let text = render_with_notes(manifest, &notes(sign, manifest, &draft.questions));
    let text = match parse(&text, crate::MANIFEST_FILE) {
        Ok(_) => text,
        Err(problems) => {
            let first = problems.first().map(|problem| format!("{}: {}", problem.field, problem.message));
            let why = format!("What was found cannot be written: {}", first.unwrap_or_default());
            draft.ask("run.command", why.lines().next().unwrap_or_default());
            render_with_notes(&bare(&manifest.name), &notes(sign, manifest, &draft.questions))
        }
    };
    let questions = draft.questions.into_iter().map(|(field, text)| format!("{field}: {text}")).collect();
    Proposal { text, assumptions: draft.assumptions, questions, services: Vec::new() }
}

/// A manifest that says nothing but a name.
fn bare(name: &ServiceName) -> Manifest {
    let text = format!("name = \"{name}\"\n[run]\ncommand = [\"sh\", \"-c\", \"{NO_COMMAND}\"]\n");
    parse(&text, crate::MANIFEST_FILE).expect("a name and a command are a manifest")
}

/// Finds out how it knows its port: it is told, or it always listens on the same.
fn port(view: &RepositoryView, draft: &mut Draft) -> Port {
    let refers = |text: &String| text.contains("${self.port}");
    if draft.is_told
        || draft.pages.is_some()
        || draft.kind != Kind::Web
        || way::told(&draft.command) == Told::Port
        || draft.variables.values().any(refers)
    {
        return Port::Assigned;
    }
    if view.mentions_variable("PORT") {
        draft.assume("it listens on the port in PORT, which its files mention");
        return Port::Assigned;
    }
    match draft.ports.first() {
        Some(&port) if port > 0 => {
            draft.ask("run.port", format!("Can it be told to listen on $PORT? No file mentions PORT, so it is taken to listen always on {port}{}: only one instance runs at a time, and nobody answers while one takes over from another.", if port < 1024 { ", which only root may" } else { "" }));
            Port::Fixed(port)
        }
        _ => {
            draft.ask("run.command", "How is it told its port? No file mentions PORT: it must listen on $HOST:$PORT, or be told by ${self.host} and ${self.port} in command or env; else set port.");
            Port::Assigned
        }
    }
}

fn health(view: &RepositoryView, draft: &mut Draft) -> HealthCheck {
    if draft.kind != Kind::Web {
        let known = draft.health.clone().filter(|health| !health.probe.needs_a_port());
        return known.unwrap_or(HealthCheck::new(draft.kind.usual_probe()));
    }
    if let Some(health) = draft.health.clone() {
        return health;
    }
    if grpc::serves(view) {
        return grpc::health(view, draft);
    }
    let quoted = |path: &&&str| view.mentions(&format!("\"{path}\"")) || view.mentions(&format!("'{path}'"));
    let found =
        draft.health_path.clone().or_else(|| HEALTH_PATHS.iter().find(quoted).map(|path| (*path).to_owned()));
    match found {
        Some(path) => {
            draft.assume(format!("GET {path} says whether an instance is healthy"));
            HealthCheck::new(Probe::Http { path })
        }
        None => {
            draft.assume("an instance counts as healthy when its port accepts connections");
            HealthCheck::new(Probe::Tcp)
        }
    }
}

/// A page has links that begin at the root, so it has a host of its own; anything else a path that is taken off.
fn route(view: &RepositoryView, name: &ServiceName, draft: &mut Draft) -> Vec<RouteRule> {
    if draft.kind != Kind::Web {
        return Vec::new();
    }
    if grpc::serves(view) {
        draft.assume(
            "it answers calls of gRPC of other services; those from outside need a [[route]] with grpc = \"package.Service\"",
        );
        return Vec::new();
    }
    let rule = if draft.is_page || view.has_pages() {
        let host = format!("{name}.localhost");
        draft.assume(format!(
            "it answers with pages, so it has a host of its own: requests to {host} go to it"
        ));
        RouteRule { host: Some(host), path: "/".into(), ..RouteRule::default() }
    } else {
        draft.assume(format!("requests to /{name} go to the service, without that prefix"));
        RouteRule {
            host: None,
            path: format!("/{name}"),
            prefix: PrefixHandling::Strip,
            ..RouteRule::default()
        }
    };
    vec![rule]
}

fn notes(sign: &str, manifest: &Manifest, questions: &[(&'static str, String)]) -> Notes {
    let (kind, is_static) = (manifest.run.kind, manifest.run.static_files.is_some());
    let mut notes = Notes::from([
        (
            "name",
            format!("Proposed from {sign}; change what is not right. Who answers for it: owner = \"team\""),
        ),
        ("build", "Runs in a clean checkout, without a shell and only with the variables named here.".into()),
        ("build.tools", "Programs that must be found, and in which versions.".into()),
        (
            "test",
            "Must succeed before a version is recorded; kinds are unit, integration, stress, security."
                .into(),
        ),
        ("package", "The files that make up a version.".into()),
        ("run", "PORT and HOST say where to listen.".into()),
        (
            "run.health",
            "When an instance can serve: { http = \"/path\" }, { tcp = true } or { command = \"...\" }."
                .into(),
        ),
        (
            "route",
            "Requests from outside. Services that it calls belong in [requires]: payments = \"^1.2\"".into(),
        ),
    ]);
    if kind != Kind::Web || is_static {
        notes.remove("run");
    }
    for (field, text) in questions {
        let note = notes.entry(field).or_default();
        if !note.is_empty() {
            note.push('\n');
        }
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        note.push_str(&format!("QUESTION: {line}"));
    }
    notes
}

/// Makes a service name of any text.
pub(crate) fn service_name(text: &str) -> ServiceName {
    let last = text.rsplit('/').next().unwrap_or_default();
    let mut name = String::new();
    for c in last.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name: String = name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(63).collect();
    let name = if name.is_empty() { "service" } else { name.trim_end_matches('-') };
    name.parse().expect("letters, digits and single hyphens that begin with a letter are a name")
}

/// Tells whether a word is a program of that name, wherever it lies.
pub(crate) fn is_program(word: &str, name: &str) -> bool {
    word.rsplit('/').next() == Some(name)
}

pub(crate) fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

fn steps(commands: &[String]) -> Vec<Step> {
    commands.iter().map(|command| Step { command: words(command), folder: None }).collect()
}

fn unit_tests(command: &str, report: Option<&str>) -> Vec<TestSuite> {
    let kind: EvidenceKind = "unit".parse().expect("`unit` is a kind of evidence");
    let report = report.map(|report| report.parse().expect("the reports named here are patterns"));
    let (command, timeout_ms) = (words(command), DEFAULT_TEST_TIMEOUT_MS);
    vec![TestSuite { kind, command, folder: None, report, timeout_ms }]
}

/// Packages the patterns that can be read as such; a name with odd characters falls back to everything.
fn package(include: &[&str]) -> Package {
    let include: Vec<Pattern> = include.iter().filter_map(|pattern| pattern.parse().ok()).collect();
    if include.is_empty() { Package::default() } else { Package { include, ..Package::default() } }
}

/// Demands a tool, in the versions that `floor` allows when it can be read.
fn tool(name: &str, range: Option<&str>) -> BTreeMap<String, VersionRange> {
    let any = || "*".parse().expect("`*` is a range");
    let range = range.and_then(|range| range.trim().parse().ok()).unwrap_or_else(any);
    BTreeMap::from([(name.to_owned(), range)])
}

fn at_least(version: Option<&str>) -> Option<String> {
    version.map(|version| format!(">={version}"))
}

#[cfg(test)]
mod tests;
