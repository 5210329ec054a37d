//! A repository of each kind, and any repository at all.

use proptest::prelude::*;

use super::*;
use crate::parse::parse;

fn view(folder: &str, files: &[(&str, &str)]) -> RepositoryView {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
    RepositoryView { folder: folder.into(), files: files.collect() }
}

fn proposed(folder: &str, files: &[(&str, &str)]) -> (Manifest, Vec<String>) {
    let proposal = propose(&view(folder, files));
    let manifest = parse(&proposal.text, "lockstep.toml");
    (manifest.unwrap_or_else(|problems| panic!("{problems:#?}\n{}", proposal.text)), proposal.assumptions)
}

fn commands(manifest: &Manifest) -> Vec<String> {
    let steps = manifest.build.steps.iter().map(|step| step.command.join(" "));
    let tests = manifest.tests.iter().map(|suite| suite.command.join(" "));
    steps.chain(tests).chain([manifest.run.command.join(" ")]).collect()
}

#[test]
fn cargo() {
    let cargo = "[package]\nname = \"Orders_API\"\nrust-version = \"1.80\"\n";
    let files =
        [("Cargo.toml", cargo), ("Cargo.lock", ""), ("src/main.rs", "env::var(\"PORT\"); \"/healthz\"")];
    let proposal = propose(&view("x", &files));
    assert_eq!(
        proposal.text,
        r#"# Proposed from Cargo.toml; change what is not right. Who answers for it: owner = "team"
name = "orders-api"

# Runs in a clean checkout, without a shell and only with the variables named here.
[build]
# Programs that must be found, and in which versions.
tools = { cargo = ">=1.80" }
optional_variables = ["CARGO_HOME", "RUSTUP_HOME"]
steps = ["cargo build --release --locked"]

# Must succeed before a version is recorded; kinds are unit, integration, stress, security.
[[test]]
kind = "unit"
run = "cargo test --locked"

# The files that make up a version.
[package]
include = ["target/release/Orders_API"]

# PORT and HOST say where to listen.
[run]
command = "./target/release/Orders_API"
# When an instance can serve: { http = "/path" }, { tcp = true } or { command = "..." }.
health = { http = "/healthz" }

# Requests from outside. Services that it calls belong in [requires]: payments = "^1.2"
[[route]]
path = "/orders-api"
strip_prefix = true
"#
    );
    assert_eq!(
        proposal.assumptions,
        [
            "found Cargo.toml and went by it",
            "the binary `Orders_API` is the service",
            "GET /healthz says whether an instance is healthy",
            "requests to /orders-api go to the service, without that prefix",
        ]
    );
}

#[test]
fn npm() {
    let json = r#"{"name":"@shop/web","engines":{"node":">=20"},"dependencies":{"x":"1"},
        "scripts":{"build":"tsc","test":"node --test","start":"node dist/server.js"}}"#;
    let files = [("package.json", json), ("package-lock.json", ""), ("Makefile", "build:\n\ttsc\n")];
    let (manifest, assumptions) = proposed("x", &files);
    assert_eq!(manifest.name.as_str(), "web");
    assert_eq!(commands(&manifest), ["npm ci", "npm run build", "npm test", "node dist/server.js"]);
    assert_eq!(manifest.build.tools["node"].to_string(), ">=20");
    assert!(assumptions.iter().any(|text| text == "left a Makefile aside"), "{assumptions:?}");
}

#[test]
fn npm_without_dependencies_is_not_built() {
    let (manifest, _) = proposed("Web Shop", &[("package.json", "{}"), ("server.mjs", "process.env.PORT")]);
    assert_eq!(
        (manifest.name.as_str(), commands(&manifest)),
        ("web-shop", vec!["node server.mjs".to_owned()])
    );
}

#[test]
fn python() {
    let (manifest, assumptions) = proposed("pay", &[("server.py", "os.environ['PORT'], '/health'")]);
    assert_eq!(commands(&manifest), ["python3 -u server.py"]);
    assert_eq!(manifest.run.health.probe, Probe::Http { path: "/health".into() });
    assert!(assumptions.iter().any(|text| text.starts_with("no tests")));

    let files = [("requirements.txt", "FastAPI\npytest\n"), ("app.py", ""), ("tests/test_app.py", "")];
    let (manifest, _) = proposed("pay", &files);
    assert_eq!(
        commands(&manifest),
        [
            "python3 -m pip install --target vendor -r requirements.txt",
            "python3 -m pytest --junit-xml=junit.xml",
            "sh -c exec python3 -m uvicorn app:app --host 127.0.0.1 --port $PORT",
        ]
    );
    assert_eq!(manifest.run.variables["PYTHONPATH"], "vendor");
}

#[test]
fn go() {
    let files = [("go.mod", "module example.org/team/mailer\n\ngo 1.22\n"), ("cmd/mailer/main.go", "")];
    let (manifest, _) = proposed("x", &files);
    let expected = ["go build -trimpath -o bin/mailer ./cmd/mailer", "go test ./...", "./bin/mailer"];
    assert_eq!(commands(&manifest), expected);
    assert_eq!(manifest.build.tools["go"].to_string(), ">=1.22");
}

#[test]
fn maven() {
    let pom = "<project><parent><artifactId>spring-boot-starter-parent</artifactId><version>3.3.0</version></parent>\
        <artifactId>ledger</artifactId><version>2.1</version><properties><java.version>17</java.version></properties>\
        <dependencies><artifactId>spring-boot-starter-actuator</artifactId></dependencies></project>";
    let (manifest, _) = proposed("x", &[("pom.xml", pom), ("mvnw", "")]);
    assert_eq!(
        commands(&manifest),
        [
            "./mvnw -B -DskipTests package",
            "./mvnw -B test",
            "sh -c exec java -jar target/ledger-2.1.jar --server.port=$PORT",
        ]
    );
    assert_eq!(manifest.run.health.probe, Probe::Http { path: "/actuator/health".into() });
    assert_eq!(manifest.build.tools["java"].to_string(), ">=17");
}

#[test]
fn make() {
    let (manifest, _) = proposed("cache", &[("Makefile", "build: x\n\ncheck:\ntest :\n\t./t\n")]);
    assert_eq!(commands(&manifest), ["make build", "make test", "./cache"]);
}

#[test]
fn an_unknown_repository_gets_something_to_fill_in() {
    let (manifest, assumptions) = proposed("日本", &[("README", "")]);
    assert_eq!((manifest.name.as_str(), commands(&manifest)), ("service", vec!["./start".to_owned()]));
    assert!(assumptions[1].contains("write the real one"));
}

#[test]
fn only_files_that_help_are_worth_reading() {
    for path in ["pom.xml", "src/main.rs", "src/main/java/App.java"] {
        assert!(worth_reading(path), "{path}");
    }
    for path in ["logo.png", "a/b/c/d/e.rs", "README"] {
        assert!(!worth_reading(path), "{path}");
    }
}

fn file() -> impl Strategy<Value = (String, Option<String>)> {
    let known = prop::sample::select(vec![
        "Cargo.toml",
        "go.mod",
        "pom.xml",
        "package.json",
        "pyproject.toml",
        "Makefile",
    ]);
    let path = prop_oneof![known.prop_map(str::to_owned), "[a-z/]{1,9}\\.(py|js|go)", any::<String>()];
    let text = prop_oneof![
        any::<String>(),
        any::<String>().prop_map(|name| format!("[package]\nname = {name:?}\n[project]\nname = {name:?}")),
        any::<String>()
            .prop_map(|text| serde_json::json!({"name": text, "main": text, "scripts": {"start": text}})
                .to_string()),
        "module .{0,20}\ngo .{0,9}",
        "<parent>.{0,9}</parent><artifactId>.{0,9}</artifactId></dependencies><dependencies>",
    ];
    (path, prop::option::of(text))
}

proptest! {
    #[test]
    fn every_proposal_can_be_parsed(folder in any::<String>(), files in prop::collection::btree_map(any::<u8>(), file(), 0..6)) {
        let view = RepositoryView { folder, files: files.into_values().collect() };
        let proposal = propose(&view);
        let parsed = parse(&proposal.text, "lockstep.toml");
        prop_assert!(parsed.is_ok(), "{:#?}\n{}", parsed, proposal.text);
        prop_assert!(!proposal.assumptions.is_empty());
    }
}
