//! The example of this repository, files as others write them, and any file at all.

use lockstep_domain::run::{Kind, Port, StopSignal};
use proptest::prelude::*;

use super::*;
use crate::model::Manifest;
use crate::parse::parse;

pub(super) fn view(files: &[(&str, &str)]) -> RepositoryView {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
    RepositoryView { folder: "shop".into(), files: files.collect(), ..RepositoryView::default() }
}

/// Imports a compose file beside some others.
pub(super) fn imported(compose: &str, files: &[(&str, &str)]) -> Import {
    import("compose.yaml", &view(&[files, &[("compose.yaml", compose)]].concat()), &[])
}

pub(super) fn manifest(import: &Import, name: &str) -> Manifest {
    let service = import.services.iter().find(|service| service.name.as_str() == name);
    let service = service.unwrap_or_else(|| panic!("no {name} in {import:#?}"));
    let text = &import.files[&service.manifest];
    parse(text, &service.manifest).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

pub(super) fn says(import: &Import, kind: Remark, text: &str) -> bool {
    import.remarks.iter().any(|said| said.kind == kind && said.text.contains(text))
}

fn example() -> Import {
    let files = [
        ("docker-compose.yml", include_str!("../../../../examples/compose/docker-compose.yml")),
        (".env", include_str!("../../../../examples/compose/.env.example")),
        ("nginx/default.conf", include_str!("../../../../examples/compose/nginx/default.conf")),
        ("web/Dockerfile", include_str!("../../../../examples/compose/web/Dockerfile")),
        ("web/app.py", include_str!("../../../../examples/compose/web/app.py")),
        ("jobs/Dockerfile", include_str!("../../../../examples/compose/jobs/Dockerfile")),
        ("jobs/worker.py", include_str!("../../../../examples/compose/jobs/worker.py")),
        ("jobs/migrate.py", include_str!("../../../../examples/compose/jobs/migrate.py")),
        ("jobs/scheduler.py", include_str!("../../../../examples/compose/jobs/scheduler.py")),
    ];
    import("docker-compose.yml", &view(&files), &[])
}

#[test]
fn the_example_becomes_services_resources_and_a_job() {
    let import = example();
    let kinds: Vec<_> =
        import.services.iter().map(|it| format!("{} {} {}", it.name, it.what, it.manifest)).collect();
    assert_eq!(
        kinds,
        [
            "nginx nginx nginx/lockstep.toml",
            "web web web/lockstep.toml",
            "worker worker lockstep/worker.toml",
            "scheduler worker lockstep/scheduler.toml"
        ]
    );
    let resources: Vec<_> = import.resources.iter().map(|it| format!("{} {}", it.name, it.kind)).collect();
    assert_eq!(resources, ["db postgresql", "redis redis"]);
    let web = manifest(&import, "web");
    assert_eq!(web.run.command.join(" "), "python3 -u app.py --host ${self.host} --port ${self.port}");
    assert_eq!(web.run.variables["REDIS_URL"], "${resource.redis.url}");
    assert_eq!(web.run.variables["GREETING"], "hello");
    assert!(web.routes.is_empty() && web.resources.len() == 1);
    let configured = &import.services[1].configuration["SESSION_SECRET"];
    assert!(configured.is_secret && configured.value == "change-me");
    assert!(!format!("{import:?}").contains("change-me"), "secrets are not shown");
    let worker = manifest(&import, "worker");
    let url = "postgres://${resource.db.user}:${resource.db.password}@${resource.db.host}:${resource.db.port}/${resource.db.name}";
    assert_eq!(worker.run.variables["DATABASE_URL"], url);
    assert_eq!((worker.jobs[0].name.as_str(), worker.jobs[0].when.as_str()), ("migrate", "before-switch"));
    assert_eq!(worker.jobs[0].command.join(" "), "python3 migrate.py");
    assert_eq!(worker.run.stop.timeout_ms, 20_000);
    let nginx = manifest(&import, "nginx");
    assert_eq!((nginx.routes[0].path.as_str(), nginx.requires.len()), ("/", 1));
    let template = &import.files["nginx/nginx.lockstep.conf"];
    for line in [
        "listen ${self.host}:${self.port};",
        "server ${service.web.host}:${service.web.port};",
        "proxy_pass http://shop;",
        "$${request_uri}",
    ] {
        assert!(template.contains(line), "{line} is not in\n{template}");
    }
    assert!(!template.contains("[::]") && !template.contains("/var/log"), "{template}");
    assert!(import.remarks.iter().all(|said| said.kind != Remark::NotTaken), "{:#?}", import.remarks);
}

#[test]
fn a_whole_configuration_of_nginx_keeps_what_it_says_of_its_own() {
    let conf = "user nginx;\nworker_processes 2;\npid /var/run/nginx.pid;\nhttp {\n  include /etc/nginx/mime.types;\n  resolver 127.0.0.11;\n  server {\n    listen 443 ssl;\n    ssl_certificate x;\n    root /usr/share/nginx/html;\n    location /api/ { proxy_pass http://api:5000/; }\n    location /old/ { uwsgi_pass api:5000; }\n  }\n}\n";
    let compose = "services:\n  front:\n    image: nginx\n    ports: ['443:443']\n    volumes: ['./nginx.conf:/etc/nginx/nginx.conf', './site:/usr/share/nginx/html:ro']\n  api:\n    build: api\n";
    let files = [
        ("nginx.conf", conf),
        ("site/index.html", ""),
        ("api/app.py", "app = Flask('x')"),
        ("api/Dockerfile", "FROM python\nCOPY . .\nCMD python app.py"),
    ];
    let import = imported(compose, &files);
    let template = &import.files["lockstep/front/nginx.lockstep.conf"];
    for line in [
        "worker_processes 2;",
        "proxy_temp_path proxy;",
        "root html;",
        "proxy_pass http://${service.api.host}:${service.api.port}/;",
        "listen ${self.host}:${self.port};",
    ] {
        assert!(template.contains(line), "{line} is not in\n{template}");
    }
    for line in ["ssl_", "resolver", "/var/run", "user nginx"] {
        assert!(!template.contains(line), "{line} is in\n{template}");
    }
    assert!(
        says(&import, Remark::NotTaken, "TLS ends before the gateway")
            && says(&import, Remark::NotTaken, "uwsgi_pass")
    );
    let front = manifest(&import, "front");
    assert_eq!(front.build.steps[0].command.join(" "), "cp -R ../../site html");
    assert_eq!(front.build.sources[0].as_str(), "site");
    // Nothing but nginx says where it listens.
    let api = import.services.iter().find(|service| service.name.as_str() == "api").unwrap();
    assert_eq!((api.what.as_str(), manifest(&import, "api").run.port), ("web", Port::Fixed(5000)));
}

#[test]
fn templates_of_nginx_get_the_variables_of_the_instance() {
    let compose = "services:\n  proxy:\n    build: proxy\n    ports: ['80']\n    environment: {API_HOST: 'api', API_PORT: '80'}\n  api:\n    build: api\n    environment: {PORT: 80}\n";
    let files = [
        ("proxy/Dockerfile", "FROM nginx:alpine\nCOPY default.conf.template /etc/nginx/templates/\n"),
        (
            "proxy/default.conf.template",
            "server {\n  listen 80;\n  location / { proxy_pass http://${API_HOST}:${API_PORT}; proxy_set_header X $host; }\n}\n",
        ),
        ("api/server.js", "listen(process.env.PORT)"),
        ("api/package.json", "{}"),
    ];
    let import = imported(compose, &files);
    assert!(
        import.files["proxy/nginx.lockstep.conf"]
            .contains("proxy_pass http://${env.API_HOST}:${env.API_PORT}; proxy_set_header X $host;")
    );
    let proxy = manifest(&import, "proxy");
    assert_eq!(proxy.run.variables["API_HOST"], "${service.api.host}");
    assert_eq!(proxy.run.variables["API_PORT"], "${service.api.port}");
}

#[test]
fn passwords_never_stand_in_a_command() {
    let compose = "services:\n  w:\n    build: .\n    command: celery -A app --broker=redis://redis:6379/0 worker\n    environment: {RESULTS_HOST: redis}\n  redis: {image: 'redis'}\n";
    let import = imported(compose, &[("app.py", ""), ("requirements.txt", "celery")]);
    let worker = manifest(&import, "w");
    assert_eq!(worker.run.command, ["sh", "-c", "exec python3 -m celery -A app \"$ARGUMENT_1\" worker"]);
    assert_eq!(worker.run.variables["ARGUMENT_1"], "--broker=${resource.redis.url}");
    assert_eq!(worker.run.variables["RESULTS_HOST"], "${resource.redis.host}");
}

#[test]
fn a_redis_without_a_password_is_asked_about() {
    let compose = "services:\n  w:\n    build: .\n    environment: {REDIS_HOST: redis, REDIS_PORT: 6379}\n  redis: {image: 'redis'}\n";
    let import = imported(compose, &[("app.py", "")]);
    assert!(says(&import, Remark::Question, "the password of `redis`"), "{:#?}", import.remarks);
}

#[test]
fn what_extends_another_and_what_anchors_bring_counts() {
    let compose = "x-common: &common\n  restart: always\n  environment: {A: '1'}\nservices:\n  base:\n    <<: *common\n    build: app\n    ports: ['8000']\n  other:\n    extends: {service: base}\n    environment: {B: '2'}\n    command: ./run --port 8000\n  third:\n    extends: {file: common.yml, service: theirs}\n";
    let files = [
        ("app/run", ""),
        ("app/Dockerfile", "FROM x\nWORKDIR /a\nCOPY . .\nCMD [\"./run\", \"--port\", \"8000\"]"),
        ("common.yml", "services: {theirs: {build: app, command: ./run}}"),
    ];
    let import = imported(compose, &files);
    let other = manifest(&import, "other");
    assert_eq!((other.run.variables["A"].as_str(), other.run.variables["B"].as_str()), ("1", "2"));
    assert_eq!(other.run.command.join(" "), "./run --port ${self.port}");
    assert_eq!(manifest(&import, "third").run.command.join(" "), "./run");
    assert!(import.services.iter().all(|service| service.is_kept));
}

#[test]
fn what_belongs_to_the_environment_is_not_in_the_manifest() {
    let compose = "services:\n  a:\n    build: a\n    env_file: [a.env]\n    environment: [\"TAG=${TAG:-none}\", 'API_TOKEN=abc', 'LOG=info', 'MISSING=${GONE}', SHELL_ONLY]\n";
    let files = [("a/main.py", ""), ("a.env", "LEVEL=3\nDB_PASSWORD=pw\n"), (".env", "TAG=blue\n")];
    let import = imported(compose, &files);
    let configuration = &import.services[0].configuration;
    let keys: Vec<_> = configuration.iter().map(|(name, value)| (name.as_str(), value.is_secret)).collect();
    assert_eq!(keys, [("API_TOKEN", true), ("DB_PASSWORD", true), ("LEVEL", false), ("TAG", false)]);
    let variables = manifest(&import, "a").run.variables;
    assert_eq!(variables.keys().collect::<Vec<_>>(), ["LOG", "MISSING"]);
    assert!(says(&import, Remark::Question, "${GONE}") && says(&import, Remark::Question, "SHELL_ONLY"));
}

#[test]
fn volumes_become_folders_that_are_kept() {
    let compose = "services:\n  a:\n    build: a\n    ports: ['80']\n    command: ./a --data /var/lib/a\n    environment: {CACHE: /var/cache/a}\n    volumes: ['data:/srv/up', 'x:/var/lib/a', 'y:/var/cache/a', '/srv/node_modules', '/etc/hosts:/h', './conf.d:/srv/conf.d']\nvolumes: {data: {}}\n";
    let files = [("a/a", ""), ("a/Dockerfile", "FROM x\nWORKDIR /srv\nCOPY . .\n"), ("conf.d/x.yml", "")];
    let import = imported(compose, &files);
    let run = manifest(&import, "a").run;
    let data: Vec<_> = run.data.iter().map(lockstep_domain::work_path::WorkPath::as_str).collect();
    assert_eq!(data, ["up", "var/lib/a", "var/cache/a"]);
    assert_eq!(
        (run.command.join(" "), run.variables["CACHE"].as_str()),
        ("./a --data var/lib/a".into(), "var/cache/a")
    );
    assert!(
        says(&import, Remark::NotTaken, "/etc/hosts of the host")
            && says(&import, Remark::NotTaken, "conf.d is not put at /srv/conf.d")
    );
}

#[test]
fn what_is_not_taken_is_said_with_its_line() {
    let compose = "services:\n  a:\n    image: example/unknown:1\n    privileged: true\n  b:\n    build: ../outside\n  c:\n    build: gone\n  d:\n    build: d\n    profiles: [tools]\n    ports: ['53:53/udp']\nsecrets:\n  s: {file: x}\n";
    let import = imported(compose, &[("d/main.py", "redis.Redis(host=\"a\")")]);
    assert_eq!(import.services.len(), 1, "the image");
    let lines: Vec<_> = import
        .remarks
        .iter()
        .filter(|said| said.kind == Remark::NotTaken)
        .map(|said| (said.line, said.service.as_str()))
        .collect();
    assert_eq!(
        lines,
        [(4, "a"), (6, "b"), (7, "c"), (9, "d"), (12, "d"), (14, "")]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    let with = super::import(
        "compose.yaml",
        &view(&[("compose.yaml", compose), ("d/main.py", "")]),
        &["tools".into()],
    );
    assert_eq!(with.services.len(), 2);
}

#[test]
fn an_image_that_is_not_built_here_becomes_a_service_of_that_image() {
    let compose = "services:\n  web:\n    image: ghcr.io/team/web:1.4\n    ports: ['8080:3000']\n    command: --api http://api:9000 --verbose\n    environment: {LEVEL: info}\n    volumes: ['up:/srv/up', './conf:/etc/web']\n    depends_on: [api]\n  api:\n    image: ghcr.io/team/api\n    entrypoint: /bin/api serve\n    expose: ['9000']\n    stop_signal: SIGQUIT\n  send:\n    image: ghcr.io/team/api\n    command: send\n  migrate:\n    image: ghcr.io/team/web:1.4\n    command: /bin/migrate\nvolumes: {up: {}}\n";
    let compose = compose.replace("depends_on: [api]", "depends_on: {api: {condition: service_started}, migrate: {condition: service_completed_successfully}}");
    let import = imported(&compose, &[("main.go", "os.Getenv(\"PORT\")")]);
    let given: Vec<_> = import
        .services
        .iter()
        .map(|one| {
            (one.name.as_str(), one.image.as_deref().unwrap_or_default(), one.manifest.as_str(), one.is_kept)
        })
        .collect();
    assert_eq!(
        given,
        [
            ("web", "ghcr.io/team/web:1.4", "lockstep/web.toml", true),
            ("api", "ghcr.io/team/api", "lockstep/api.toml", true),
            ("send", "ghcr.io/team/api", "lockstep/send.toml", true),
        ]
    );
    let web = manifest(&import, "web");
    let arguments = web.run.image.as_ref().unwrap().arguments.clone().unwrap();
    assert_eq!(
        arguments[1..],
        ["http://${service.api.host}:${service.api.port}", "--verbose"].map(str::to_owned)
    );
    assert_eq!(web.requires[&"api".parse().unwrap()].port, Some(9000));
    assert!(says(&import, Remark::Assumed, "it calls http://api:9000"));
    assert!(web.run.command.is_empty() && web.run.variables["LEVEL"] == "info");
    assert_eq!((web.run.port, web.run.data[0].as_str()), (Port::Fixed(3000), "srv/up"));
    assert_eq!(web.jobs[0].command, ["/bin/migrate"]);
    assert!(says(&import, Remark::NotTaken, "is not put at /etc/web"));
    let api = manifest(&import, "api");
    assert_eq!((api.run.command.join(" "), api.run.stop.signal), ("/bin/api serve".into(), StopSignal::Quit));
    assert_eq!(manifest(&import, "send").run.kind, Kind::Worker);
}

#[test]
fn an_image_of_which_the_file_says_no_port_is_asked_about_and_what_cannot_be_called_is_named() {
    let compose = "services:\n  front-end: {image: 'team/front-end:1'}\n  worker: {image: 'team/app', command: celery worker}\n  user:\n    image: team/user\n    ports: ['80']\n    environment: ['MONGO_HOST=user-db:27017']\n  user-db: {image: 'team/user-db'}\n";
    let import = imported(compose, &[]);
    let asked: Vec<_> =
        import.remarks.iter().filter(|remark| remark.text.contains("Does it take requests?")).collect();
    assert_eq!(asked.len(), 1, "{:#?}", import.remarks);
    assert_eq!((asked[0].service.as_str(), &asked[0].kind), ("front-end", &Remark::Question));
    assert!(says(&import, Remark::NotTaken, "27017, the port of MongoDB"), "{:#?}", import.remarks);
}

#[test]
fn names_in_the_code_itself_are_found() {
    let compose = "services:\n  a:\n    build: a\n    ports: ['80']\n    depends_on: [redis, b]\n  b:\n    build: b\n    expose: ['9000']\n  redis: {image: redis}\n";
    let import = imported(
        compose,
        &[("a/app.py", "x = 1\nr = Redis(host=\"redis\")\nfetch('http://b:9000/')"), ("b/app.py", "")],
    );
    assert!(
        says(&import, Remark::NotTaken, "app.py:2 names `redis` itself")
            && says(&import, Remark::NotTaken, "app.py:3 names `b` itself"),
        "{:#?}",
        import.remarks
    );
    let a = manifest(&import, "a");
    assert_eq!((a.requires.len(), a.resources.len()), (1, 1), "what it waits for is required all the same");
}

#[test]
fn several_published_services_have_hosts_of_their_own() {
    let compose = "services:\n  a:\n    build: a\n    ports: ['8001:80']\n  b:\n    build: b\n    ports: [{target: 9000, published: 8002}]\n";
    let import = imported(compose, &[("a/app.py", ""), ("b/app.py", "")]);
    let host = |name: &str| manifest(&import, name).routes[0].host.clone();
    assert_eq!((host("a"), host("b").as_deref()), (None, Some("b.localhost")));
}

fn word() -> impl Strategy<Value = String> {
    let known = [
        "a",
        "b",
        "db",
        "redis",
        "nginx",
        "postgres",
        "services",
        "image",
        "build",
        "command",
        "environment",
        "ports",
        "volumes",
        "depends_on",
        "healthcheck",
        "test",
        "CMD",
        "extends",
        "service",
        "file",
        "http://a:80/x",
        "postgres://u:p@db:5432/x",
        "${X:-y}",
        "${",
        "./a:/app",
        "x:/data",
        "8000:80",
        ".",
        "context",
        "/etc/nginx/nginx.conf",
        "./n.conf:/etc/nginx/conf.d/a.conf",
        "celery --broker redis://redis",
        "sh -c 'x && y $PORT'",
        "entrypoint",
        "profiles",
        "<<",
        "&a",
        "*a",
    ];
    prop_oneof![6 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// A tree of YAML in its flow form.
fn tree() -> impl Strategy<Value = String> {
    let leaf = word().prop_map(|text| format!("{text:?}"));
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map(word(), inner, 0..4).prop_map(|map| {
                let entries: Vec<_> =
                    map.into_iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

fn fields() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "image",
        "build",
        "command",
        "entrypoint",
        "environment",
        "ports",
        "expose",
        "volumes",
        "depends_on",
        "healthcheck",
        "deploy",
        "profiles",
        "extends",
        "working_dir",
        "env_file",
        "stop_signal",
    ]);
    prop::collection::btree_map(field, tree(), 0..6).prop_map(|map| {
        map.into_iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ")
    })
}

proptest! {
    #[test]
    fn whatever_a_file_says_every_manifest_can_be_parsed(services in prop::collection::btree_map("[a-d]|db|redis", fields(), 0..5), conf in "(server|listen|proxy_pass|http|upstream|[{};$ \\n]|//a:80|a:80|.){0,30}", docker in "((FROM|CMD|ENV|COPY|WORKDIR|EXPOSE|VOLUME) [a-z/.\" =$:0-9-]{0,20}\n){0,6}") {
        let services: Vec<_> = services.into_iter().map(|(name, fields)| format!("  {name}: {{{fields}}}")).collect();
        let compose = format!("services:\n{}\n", services.join("\n"));
        let files = [("a/app.py", "app = Flask('x')"), ("a/Dockerfile", docker.as_str()), ("n.conf", conf.as_str()), ("app.py", ""), ("Dockerfile", docker.as_str())];
        let import = imported(&compose, &files);
        for (path, text) in import.files.iter().filter(|(path, _)| path.ends_with(".toml")) {
            let parsed = parse(text, path);
            prop_assert!(parsed.is_ok(), "{:#?}\n{}", parsed, text);
        }
        prop_assert!(import.files.keys().all(|path| !files.iter().any(|(there, _)| there == path)));
    }

    #[test]
    fn any_text_is_read(text in ".*", env in ".*") {
        let _ = imported(&text, &[(".env", &env)]);
    }
}
