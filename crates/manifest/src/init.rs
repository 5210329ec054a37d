//! Proposes a manifest for a repository that has none, and says what it assumed.
//!
//! It looks only at what it is given: the caller reads the files. To add a kind of repository: write a function from a
//! [`RepositoryView`] to a [`Draft`] in a file of `init/`, and name it in [`KINDS`].

mod cargo;
mod go;
mod make;
mod maven;
mod npm;
mod python;

use std::collections::BTreeMap;

use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::routes::{PrefixHandling, RouteRule};
use lockstep_domain::run::{
    HealthCheck, Kind, Port, Probe, Replace, ReplaceAfter, Restart, RunSpec, Stop, Values,
};
use lockstep_domain::{ServiceName, VersionNumber, VersionRange};

use crate::model::{Build, DEFAULT_TEST_TIMEOUT_MS, Manifest, Package, Step, TestSuite};
use crate::path::Pattern;
use crate::render::{Notes, render_with_notes};

/// What is known of a repository.
#[derive(Debug, Clone, Default)]
pub struct RepositoryView {
    /// The name of its folder.
    pub folder: String,
    /// Its files by path, with `/` between the parts, and their text where the caller read it. [`worth_reading`] says
    /// where that helps.
    pub files: BTreeMap<String, Option<String>>,
}

/// A manifest to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The text of `lockstep.toml`, with comments. It can be parsed.
    pub text: String,
    /// What was assumed, and what a person should look at.
    pub assumptions: Vec<String>,
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

/// What a kind of repository says about itself.
#[derive(Debug, Default)]
struct Draft {
    name: Option<String>,
    build: Build,
    tests: Vec<TestSuite>,
    package: Package,
    command: Vec<String>,
    variables: BTreeMap<String, String>,
    health_path: Option<String>,
    assumptions: Vec<String>,
}

type Reader = fn(&RepositoryView) -> Option<Draft>;

/// All kinds, the surest sign first.
const KINDS: [(&str, Reader); 6] = [
    ("Cargo.toml", cargo::read),
    ("go.mod", go::read),
    ("pom.xml", maven::read),
    ("package.json", npm::read),
    ("Python files", python::read),
    ("a Makefile", make::read),
];

const HEALTH_PATHS: [&str; 5] = ["/healthz", "/health", "/livez", "/ready", "/ping"];
const SOURCES: [&str; 12] =
    ["rs", "go", "java", "kt", "js", "mjs", "cjs", "ts", "py", "properties", "yaml", "yml"];
const DESCRIPTIONS: [&str; 7] =
    ["Cargo.toml", "go.mod", "pom.xml", "package.json", "pyproject.toml", "requirements.txt", "Makefile"];

/// Tells whether the text of a file helps to propose a manifest: build files, and source files near the root.
#[must_use]
pub fn worth_reading(path: &str) -> bool {
    let depth = path.split('/').count();
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    DESCRIPTIONS.contains(&path) || depth <= 4 && SOURCES.contains(&extension)
}

/// Proposes a manifest.
#[must_use]
pub fn propose(view: &RepositoryView) -> Proposal {
    let mut found = KINDS.iter().filter_map(|(sign, read)| Some((*sign, read(view)?)));
    let (sign, mut draft) = found.next().unwrap_or_else(|| ("nothing that is known", unknown()));
    let also: Vec<&str> = found.map(|(sign, _)| sign).collect();
    draft.assumptions.insert(0, format!("found {sign} and went by it"));
    if !also.is_empty() {
        draft.assumptions.push(format!("left {} aside", also.join(" and ")));
    }
    finish(view, sign, draft)
}

fn unknown() -> Draft {
    Draft {
        command: words("./start"),
        assumptions: vec![
            "`./start` stands for the command that runs the service: write the real one".into(),
        ],
        ..Draft::default()
    }
}

/// Fills in what does not depend on the kind of repository, and writes it down.
fn finish(view: &RepositoryView, sign: &str, draft: Draft) -> Proposal {
    let Draft { name, build, tests, package, command, variables, health_path, mut assumptions } = draft;
    let name = service_name(name.as_deref().unwrap_or(&view.folder));
    let health = health(view, health_path, &mut assumptions);
    if !view.mentions("PORT") {
        assumptions.push(
            "no file mentions PORT: the service must listen on the port given in it, or set run.port".into(),
        );
    }
    assumptions.push(format!("requests to /{name} go to the service, without that prefix"));
    let route = RouteRule {
        host: None,
        path: format!("/{name}"),
        prefix: PrefixHandling::Strip,
        patience: None,
        affinity: None,
    };
    let stop = Stop::default();
    let run = RunSpec {
        kind: Kind::Web,
        command,
        variables,
        port: Port::Assigned,
        health,
        stop,
        restart: Restart::default(),
        data: Vec::new(),
        files: Vec::new(),
        values: Values::Verbatim,
        replace: Replace::NewFirst,
        replace_after: ReplaceAfter::default(),
        static_files: None,
    };
    let (requires, routes) = (BTreeMap::new(), vec![route]);
    let manifest = Manifest {
        name,
        owner: None,
        build,
        tests,
        package,
        run,
        requires,
        resources: BTreeMap::new(),
        contracts: Vec::new(),
        accepts: Vec::new(),
        routes,
        jobs: Vec::new(),
    };
    Proposal { text: render_with_notes(&manifest, &notes(sign)), assumptions }
}

fn notes(sign: &str) -> Notes {
    let note = |path, text: &str| (path, text.to_owned());
    Notes::from([
        (
            "name",
            format!("Proposed from {sign}; change what is not right. Who answers for it: owner = \"team\""),
        ),
        note("build", "Runs in a clean checkout, without a shell and only with the variables named here."),
        note("build.tools", "Programs that must be found, and in which versions."),
        note(
            "test",
            "Must succeed before a version is recorded; kinds are unit, integration, stress, security.",
        ),
        note("package", "The files that make up a version."),
        note("run", "PORT and HOST say where to listen."),
        note(
            "run.health",
            "When an instance can serve: { http = \"/path\" }, { tcp = true } or { command = \"...\" }.",
        ),
        note(
            "route",
            "Requests from outside. Services that it calls belong in [requires]: payments = \"^1.2\"",
        ),
    ])
}

fn health(view: &RepositoryView, known: Option<String>, assumptions: &mut Vec<String>) -> HealthCheck {
    let quoted = |path: &&&str| view.mentions(&format!("\"{path}\"")) || view.mentions(&format!("'{path}'"));
    let found = known.or_else(|| HEALTH_PATHS.iter().find(quoted).map(|path| (*path).to_owned()));
    match found {
        Some(path) => {
            assumptions.push(format!("GET {path} says whether an instance is healthy"));
            HealthCheck::new(Probe::Http { path })
        }
        None => {
            assumptions.push("an instance counts as healthy when its port accepts connections".into());
            HealthCheck::new(Probe::Tcp)
        }
    }
}

/// Makes a service name of any text.
fn service_name(text: &str) -> ServiceName {
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

impl RepositoryView {
    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Tells whether any text that was read contains a word.
    fn mentions(&self, word: &str) -> bool {
        self.files.values().flatten().any(|text| text.contains(word))
    }

    /// Returns the first of some paths that there is.
    fn first<'p>(&self, paths: &[&'p str]) -> Option<&'p str> {
        paths.iter().copied().find(|path| self.has(path))
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// Makes a command that needs a shell, for the port.
fn with_port(command: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), format!("exec {command}")]
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
