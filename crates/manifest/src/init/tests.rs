//! A repository of each kind, and any repository at all.

use proptest::prelude::*;

use super::*;
use crate::parse::parse;

fn view(folder: &str, files: &[(&str, &str)]) -> RepositoryView {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
    RepositoryView { folder: folder.into(), files: files.collect(), ..RepositoryView::default() }
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
            "requests to /orders-api go to the service, without that prefix",
            "it listens on the port in PORT, which its files mention",
            "GET /healthz says whether an instance is healthy",
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
fn npm_starts_nothing_that_is_not_there() {
    let json = r#"{"main":"index.js","scripts":{"start":"node gone.js"}}"#;
    let (manifest, _) = proposed("x", &[("package.json", json)]);
    assert_eq!(commands(&manifest), ["npm start"]);
    let vite = r#"{"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#;
    let (manifest, _) = proposed("x", &[("package.json", vite), ("index.html", "")]);
    assert_eq!(pages(&manifest), (Some("dist"), Some("index.html")));
    assert_eq!(manifest.routes[0].host.as_deref(), Some("x.localhost"));
}

#[test]
fn python() {
    let (manifest, assumptions) = proposed("pay", &[("server.py", "os.environ['PORT'], '/health'")]);
    assert_eq!(commands(&manifest), ["python3 -u server.py"]);
    assert_eq!(manifest.run.health.probe, Probe::Http { path: "/health".into() });
    assert!(assumptions.iter().any(|text| text.starts_with("no tests")));

    let files = [
        ("requirements.txt", "FastAPI\npytest\n"),
        ("shop/api.py", "api = FastAPI(title='x')"),
        ("app.py", ""),
        ("tests/test_app.py", ""),
    ];
    let (manifest, _) = proposed("pay", &files);
    assert_eq!(
        commands(&manifest),
        [
            "python3 -m pip install --target vendor -r requirements.txt",
            "python3 -m pytest --junit-xml=junit.xml",
            "python3 -m uvicorn shop.api:api --host ${self.host} --port ${self.port}",
        ]
    );
    assert_eq!(manifest.run.variables["PYTHONPATH"], "vendor");
}

#[test]
fn python_is_started_by_what_its_files_say() {
    let main = "if __name__ == '__main__':\n    run()\n";
    for (files, command) in [
        (
            vec![("web/app.py", "app = Flask(__name__)")],
            "python3 -m flask --app web.app:app run --host ${self.host} --port ${self.port}",
        ),
        (
            vec![
                ("a.py", "def create_app():\n    app = flask.Flask('x')\n    return app\n"),
                ("requirements.txt", "gunicorn"),
            ],
            "python3 -m gunicorn --bind ${self.host}:${self.port} a:create_app()",
        ),
        (
            vec![(
                "app.py",
                "app = Flask(__name__)\nif __name__ == '__main__':\n  app.run(port=os.environ['PORT'])",
            )],
            "python3 -u app.py",
        ),
        (vec![("jobs/worker.py", main), ("util.py", "")], "python3 -u jobs/worker.py"),
        (vec![("shop/__main__.py", "run()")], "python3 -u -m shop"),
        (
            vec![("manage.py", main), ("site/wsgi.py", ""), ("requirements.txt", "gunicorn")],
            "python3 -m gunicorn --bind ${self.host}:${self.port} site.wsgi:application",
        ),
        (vec![("manage.py", main)], "python3 manage.py runserver --noreload ${self.host}:${self.port}"),
        (
            vec![("pyproject.toml", "[project]\nname='x'\n[project.scripts]\nserve-x = 'x:main'\n")],
            "python3 vendor/bin/serve-x",
        ),
        (
            vec![("src/shop.py", "app = FastAPI()"), ("requirements.txt", "fastapi")],
            "python3 -m uvicorn shop:app --host ${self.host} --port ${self.port}",
        ),
    ] {
        assert_eq!(proposed("x", &files).0.run.command.join(" "), command);
    }
}

#[test]
fn a_file_that_is_not_there_is_never_named() {
    for sign in ["requirements.txt", "setup.py", "Gemfile", "composer.json", "Makefile"] {
        let proposal = propose(&view("x", &[(sign, "build:\n")]));
        assert!(
            proposal.questions[0].starts_with("run.command: Which command"),
            "{sign} {:?}",
            proposal.questions
        );
        assert!(proposal.text.contains("# QUESTION: Which command runs the service?"), "{}", proposal.text);
    }
}

#[test]
fn go() {
    let files = [
        ("go.mod", "module example.org/team/mailer\n\ngo 1.22\n"),
        (
            "cmd/mailer/main.go",
            "package main\n t := template.ParseGlob(\"templates/*.html\")\n http.Dir(\"./static\")\nos.Open(\"gone.txt\")",
        ),
        ("templates/a.html", ""),
        ("static/a.css", ""),
    ];
    let (manifest, _) = proposed("x", &files);
    let expected = ["go build -trimpath -o bin/mailer ./cmd/mailer", "go test ./...", "./bin/mailer"];
    assert_eq!(commands(&manifest), expected);
    assert_eq!(manifest.build.tools["go"].to_string(), ">=1.22");
    let include: Vec<_> = manifest.package.include.iter().map(Pattern::as_str).collect();
    assert_eq!(include, ["bin/mailer", "static/**", "templates/**"]);
    assert_eq!(manifest.routes[0].host.as_deref(), Some("mailer.localhost"));
}

const POM: &str = "<project><parent><artifactId>spring-boot-starter-parent</artifactId><version>3.3.0</version></parent>\
    <artifactId>ledger</artifactId><version>2.1</version><properties><java.version>17</java.version></properties>\
    <dependencies><artifactId>spring-boot-starter-actuator</artifactId></dependencies></project>";

#[test]
fn maven() {
    let (manifest, _) = proposed("x", &[("pom.xml", POM), ("mvnw", "")]);
    assert_eq!(
        commands(&manifest),
        [
            "./mvnw -B -DskipTests package",
            "./mvnw -B test",
            "java -jar target/ledger-2.1.jar --server.port=${self.port} --server.address=${self.host}",
        ]
    );
    assert_eq!(manifest.run.health.probe, Probe::Http { path: "/actuator/health".into() });
    assert_eq!(manifest.build.tools["java"].to_string(), ">=17");
}

/// An aggregator with a service, a library, and a service whose version is a property.
fn modules() -> RepositoryView {
    let module = |name: &str, version: &str| {
        format!(
            "<project><parent><artifactId>all</artifactId><version>{version}</version></parent><artifactId>{name}</artifactId></project>"
        )
    };
    let root = "<project><artifactId>all</artifactId><version>1.4</version><packaging>pom</packaging><modules><module>web</module></modules>\
        <properties><revision>1.4</revision></properties><plugin>spring-boot-maven-plugin</plugin></project>";
    view(
        "all",
        &[
            ("pom.xml", root),
            ("web/pom.xml", &module("web", "1.4")),
            ("web/src/main/java/App.java", "@SpringBootApplication"),
            ("common/pom.xml", &module("common", "1.4")),
            ("common/src/main/java/Util.java", "class Util {}"),
            ("jobs/pom.xml", &module("jobs", "${revision}")),
            ("jobs/src/main/java/App.java", "public static void main(String[] a)"),
        ],
    )
}

#[test]
fn an_aggregator_is_no_service_and_lists_those_below() {
    let proposal = propose(&modules());
    let folders: Vec<_> = proposal.services.iter().map(|nested| nested.folder.as_str()).collect();
    assert_eq!(folders, ["jobs", "web"]);
}

#[test]
fn a_module_has_the_version_of_its_parent() {
    let command = |folder: &str| {
        let proposal = propose(&modules().below(folder));
        let manifest = parse(&proposal.text, "lockstep.toml").unwrap();
        (
            manifest.build.steps[0].command.join(" "),
            manifest.run.command[2].clone(),
            manifest.build.sources.len(),
        )
    };
    let build = |name: &str| format!("mvn -B -DskipTests -f ../pom.xml -pl :{name} -am package");
    assert_eq!(command("web"), (build("web"), "target/web-1.4.jar".into(), 1));
    assert_eq!(command("jobs"), (build("jobs"), "target/jobs-1.4.jar".into(), 1));
}

#[test]
fn other_languages() {
    let main = ("src/main/java/App.java", "@SpringBootApplication process PORT");
    for (files, command) in [
        (
            vec![("build.gradle.kts", "id(\"org.springframework.boot\")"), main],
            "java -jar app.jar --server.port=${self.port} --server.address=${self.host}",
        ),
        (
            vec![
                ("build.gradle", "plugins { id 'application' }"),
                ("src/main/java/A.java", "static void main("),
            ],
            "./build/install/x/bin/x",
        ),
        (
            vec![("Gemfile", "gem 'rails'"), ("config/application.rb", "")],
            "bundle exec rails server --binding ${self.host} --port ${self.port}",
        ),
        (
            vec![("Gemfile", "gem 'sinatra'"), ("app.rb", "")],
            "bundle exec ruby app.rb -o ${self.host} -p ${self.port}",
        ),
        (
            vec![("Gemfile", "gem 'rack'"), ("config.ru", "")],
            "bundle exec rackup --host ${self.host} --port ${self.port}",
        ),
        (
            vec![("composer.json", "{}"), ("public/index.php", "")],
            "php -S ${self.host}:${self.port} -t public",
        ),
        (
            vec![("Shop.sln", ""), ("Shop/Shop.csproj", "<Project Sdk=\"Microsoft.NET.Sdk.Web\">")],
            "dotnet out/Shop.dll",
        ),
    ] {
        let (manifest, _) = proposed("x", &files);
        assert_eq!(manifest.run.command.join(" "), command);
    }
}

fn pages(manifest: &Manifest) -> (Option<&str>, Option<&str>) {
    let files = manifest.run.static_files.as_ref().unwrap();
    (
        files.root.as_ref().map(lockstep_domain::work_path::WorkPath::as_str),
        files.fallback.as_ref().map(lockstep_domain::work_path::WorkPath::as_str),
    )
}

#[test]
fn pages_are_served_by_lockstep() {
    let (manifest, _) = proposed("x", &[("public/index.html", "")]);
    assert_eq!(pages(&manifest), (Some("public"), None));
    let docker = "FROM node AS b\nRUN npm run build\nFROM nginx\nCOPY --from=b dist /usr/share/nginx/html\nEXPOSE 80\nCMD [\"nginx\", \"-g\", \"daemon off;\"]";
    let vite = r#"{"scripts":{"build":"vite build","dev":"vite"},"devDependencies":{"vite":"5"}}"#;
    let (manifest, _) = proposed("x", &[("package.json", vite), ("index.html", ""), ("Dockerfile", docker)]);
    assert_eq!(pages(&manifest), (Some("dist"), Some("index.html")));
}

#[test]
fn a_dockerfile_says_how_it_is_started() {
    let docker = "FROM python:3.12\nWORKDIR /srv\nRUN apt-get install -y libpq-dev curl\nCOPY src/ .\nENV MODE=fast DATA=/srv/data\nVOLUME /srv/data\nEXPOSE 8000\n\
        HEALTHCHECK --interval=5s CMD curl -f http://localhost:8000/up\nSTOPSIGNAL SIGINT\nCMD [\"gunicorn\", \"-b\", \"0.0.0.0:8000\", \"web:app\"]";
    let files =
        [("Dockerfile", docker), ("requirements.txt", "gunicorn"), ("src/web.py", "app = Flask('x')")];
    let proposal = propose(&view("x", &files));
    let manifest = parse(&proposal.text, "lockstep.toml").unwrap();
    assert_eq!(manifest.run.command.join(" "), "python3 -m gunicorn -b ${self.host}:${self.port} web:app");
    assert_eq!(manifest.run.variables["MODE"], "fast");
    assert_eq!(manifest.run.variables["DATA"], "data");
    assert_eq!(manifest.run.variables["PYTHONPATH"], "vendor:src");
    assert_eq!(manifest.run.data[0].as_str(), "data");
    assert_eq!(manifest.run.health.probe, Probe::Http { path: "/up".into() });
    assert_eq!(manifest.run.health.interval_ms, 5_000);
    assert!(
        proposal.questions.iter().any(|text| text.contains("libpq-dev, curl")),
        "{:?}",
        proposal.questions
    );
}

#[test]
fn what_a_dockerfile_builds_is_what_the_language_builds() {
    let go = "FROM golang AS b\nRUN go build -o /server .\nFROM scratch\nCOPY --from=b /server /server\nENTRYPOINT [\"/server\", \"--port\", \"80\"]";
    let files = [("Dockerfile", go), ("go.mod", "module a/b\n"), ("main.go", "package main")];
    let (manifest, _) = proposed("x", &files);
    assert_eq!(manifest.run.command.join(" "), "./bin/b --port ${self.port}");
    let java = "FROM maven AS b\nFROM jre\nCOPY --from=b target/*.jar /app.jar\nENTRYPOINT [\"java\", \"-jar\", \"/app.jar\"]";
    let (manifest, _) = proposed("x", &[("Dockerfile", java), ("pom.xml", POM)]);
    assert_eq!(manifest.run.command[2], "target/ledger-2.1.jar");
    assert_eq!(manifest.build.steps.len(), 1);
}

#[test]
fn a_port_that_cannot_be_told_is_asked_for() {
    let docker = "FROM node\nEXPOSE 3000\nCMD node server.js";
    let proposal =
        propose(&view("x", &[("Dockerfile", docker), ("package.json", "{}"), ("server.js", "listen(3000)")]));
    assert!(proposal.text.contains("# QUESTION: Can it be told to listen on $PORT?"), "{}", proposal.text);
    assert!(proposal.text.contains("port = 3000"), "{}", proposal.text);
}

#[test]
fn procfiles_and_units() {
    let files = [
        (
            "Procfile",
            "release: python migrate.py\nweb: gunicorn app:app --bind 0.0.0.0:$PORT\nworker: celery -A app worker\n",
        ),
        ("requirements.txt", "gunicorn"),
        ("app.py", "app = Flask('x')"),
    ];
    let proposal = propose(&view("x", &files));
    let manifest = parse(&proposal.text, "lockstep.toml").unwrap();
    assert_eq!(manifest.run.command, ["sh", "-c", "python3 -m gunicorn app:app --bind 0.0.0.0:$PORT"]);
    assert_eq!(manifest.jobs[0].command.join(" "), "python3 migrate.py");
    assert_eq!(manifest.processes.main.as_ref().unwrap().as_str(), "web");
    let worker = &manifest.processes.others[&"worker".parse().unwrap()];
    assert_eq!(worker.command.join(" "), "python3 -m celery -A app worker");
    assert!(
        proposal.text.contains("# PORT and HOST say where to listen.\n[process.web]"),
        "{}",
        proposal.text
    );

    let (manifest, _) = proposed(
        "x",
        &[("Procfile", "mail: ./mail\nclock: ./tick\nadmin: ./admin --port $PORT\n"), ("mail", "")],
    );
    let names: Vec<_> = manifest.processes.names().map(ToString::to_string).collect();
    assert_eq!((manifest.run.kind, names.join(" ").as_str()), (Kind::Job, "clock mail"));
    assert!(manifest.routes.is_empty(), "nothing of it takes requests");
    let (manifest, _) = proposed("x", &[("Procfile", "mail: ./mail\n"), ("mail", "")]);
    assert_eq!((manifest.run.kind, manifest.processes.is_empty()), (Kind::Worker, true));

    let unit = "[Service]\nWorkingDirectory=/opt/x\nExecStart=/usr/bin/python3 /opt/x/serve.py --port 8000\nEnvironment=MODE=fast\nKillSignal=SIGINT\nTimeoutStopSec=30\nEnvironmentFile=/etc/x.env\n";
    let (manifest, _) = proposed("x", &[("x.service", unit), ("serve.py", "")]);
    assert_eq!(manifest.run.command.join(" "), "python3 ./serve.py --port ${self.port}");
    assert_eq!((manifest.run.stop.timeout_ms, manifest.run.variables["MODE"].as_str()), (30_000, "fast"));
}

#[test]
fn make() {
    let (manifest, _) = proposed("cache", &[("Makefile", "build: x\n\nrun:\ncheck:\ntest :\n\t./t\n")]);
    assert_eq!(commands(&manifest), ["make build", "make test", "make run"]);
}

#[test]
fn an_unknown_repository_gets_something_to_fill_in() {
    let proposal = propose(&view("日本", &[("README", "")]));
    let manifest = parse(&proposal.text, "lockstep.toml").unwrap();
    assert_eq!(manifest.name.as_str(), "service");
    assert!(proposal.questions[0].contains("Which command"));
}

#[test]
fn only_files_that_help_are_worth_reading() {
    for path in ["pom.xml", "src/main.rs", "src/main/java/App.java"] {
        assert!(worth_reading(path), "{path}");
    }
    for path in ["logo.png", "a/b/c/d/e/f/g/h.rs", "README"] {
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
        "Dockerfile",
        "Procfile",
        "Gemfile",
        "app.rb",
        "composer.json",
        "index.php",
        "build.gradle",
        "x.csproj",
        "x.service",
        "manage.py",
        "index.html",
    ]);
    let path = prop_oneof![known.prop_map(str::to_owned), "[a-z/]{1,9}\\.(py|js|go)", any::<String>()];
    let text = prop_oneof![
        any::<String>(),
        any::<String>().prop_map(|name| format!("[package]\nname = {name:?}\n[project]\nname = {name:?}")),
        any::<String>()
            .prop_map(|text| serde_json::json!({"name": text, "main": text, "scripts": {"start": text}})
                .to_string()),
        "module .{0,20}\ngo .{0,9}",
        "(FROM|CMD|ENV|COPY|EXPOSE|WORKDIR|VOLUME|HEALTHCHECK CMD|STOPSIGNAL|ENTRYPOINT) .{0,30}(\n(FROM|CMD|ENV|COPY|WORKDIR|VOLUME) .{0,30}){0,6}",
        "(web|worker|release): .{0,30}\nrelease: .{0,30}",
        "ExecStart=.{0,30}\nEnvironment=.{0,20}\nWorkingDirectory=/.{0,9}",
        "[a-z]{1,3} = (Flask|FastAPI)\\(.{0,9}\nif __name__ == '__main__'",
        "gem 'rails'.{0,9}",
        "Microsoft.NET.Sdk.Web<AssemblyName>.{0,9}</AssemblyName>",
        "<parent>.{0,9}</parent><artifactId>.{0,9}</artifactId></dependencies><dependencies>",
    ];
    (path, prop::option::of(text))
}

proptest! {
    #[test]
    fn every_proposal_can_be_parsed(folder in any::<String>(), files in prop::collection::btree_map(any::<u8>(), file(), 0..6)) {
        let view = RepositoryView { folder, files: files.into_values().collect(), ..RepositoryView::default() };
        let proposal = propose(&view);
        let parsed = parse(&proposal.text, "lockstep.toml");
        prop_assert!(parsed.is_ok(), "{:#?}\n{}", parsed, proposal.text);
        prop_assert!(!proposal.assumptions.is_empty());
        let manifest = parsed.unwrap();
        let file = |word: &&String| [".py", ".rb", ".php", ".mjs"].iter().any(|ending| word.ends_with(ending)) && !word.contains('=');
        if !view.has("Dockerfile") && !view.has("Procfile") && !view.has("x.service") && !view.has("package.json") {
            for word in manifest.run.command.iter().filter(file) {
                prop_assert!(view.has(word) || manifest.run.command[0] == "sh", "{word} is not there");
            }
        }
    }
}

#[test]
fn a_server_of_grpc_is_asked_in_grpc_and_has_no_route_of_its_name() {
    let server = "import os, grpc\nfrom grpc_health.v1 import health\nserver = grpc.server(pool)\n\
                  server.add_insecure_port('[::]:' + os.environ['PORT'])\nif __name__ == '__main__':\n    server.start()\n";
    let (manifest, assumptions) =
        proposed("catalog", &[("server.py", server), ("requirements.txt", "grpcio\n")]);
    assert_eq!(manifest.run.health.probe, Probe::Grpc { service: String::new() });
    assert_eq!((manifest.run.protocol, manifest.routes), (Protocol::H2c, Vec::new()));
    assert!(assumptions.iter().any(|it| it.contains("grpc = \"package.Service\"")), "{assumptions:#?}");

    let source = "const server = new grpc.Server();\nserver.bindAsync(`[::]:${process.env.PORT}`, c, f);\n";
    let package =
        "{\"scripts\": {\"start\": \"node server.js\"}, \"dependencies\": {\"@grpc/grpc-js\": \"1\"}}";
    let (manifest, _) = proposed("pay", &[("server.js", source), ("package.json", package)]);
    assert_eq!((manifest.run.health.probe, manifest.run.protocol), (Probe::Tcp, Protocol::H2c));
}
