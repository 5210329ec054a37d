//! What people wrote who never saw this: values beside the file, names that become one, and what would be passed over.

use proptest::prelude::*;

use super::tests::{imported, manifest, says, view};
use super::*;

const CODE: [(&str, &str); 2] =
    [("a/main.py", "os.environ[\"PORT\"]"), ("a/Dockerfile", "FROM python\nCOPY . /\nCMD python main.py\n")];

fn with_env(compose: &str, env: &str) -> Import {
    imported(compose, &[CODE[0], CODE[1], (".env", env)])
}

#[test]
fn what_stands_in_env_is_in_no_manifest_and_no_remark() {
    let compose = "services:
  a:
    build: a
    command: python main.py --token ${TOKEN} --port ${PORT} --level $LEVEL
    environment: {OTHER: mine, LEVEL: low, UP: 'http://admin:${TOKEN}@b:80/x', VIA: 'http://b:80/${LEVEL}', DB: 'postgres://u:p@db/x?key=${TOKEN}'}
    healthcheck: {test: [CMD, probe, --as, '${TOKEN}']}
    ports: ['${PORT}']
  b:
    build: a
    ports: [80]
    command: sh -c 'python main.py \"${TOKEN}\"'
    healthcheck: {test: 'curl http://localhost:80/up?t=${TOKEN}'}
  db: {image: postgres, environment: {POSTGRES_USER: u, POSTGRES_PASSWORD: p}}
";
    let import = with_env(compose, "TOKEN=s3cr3t-of-env\nPORT=8000\nLEVEL=debug-of-env\n");
    let all = format!("{:?} {:?}", import.files, import.remarks);
    assert!(!all.contains("of-env"), "{all}");
    let a = manifest(&import, "a").run;
    assert_eq!(
        a.command.join("|"),
        "sh|-c|exec python3 main.py --token \"${TOKEN}\" --port '${self.port}' --level \"${LEVEL_BESIDE}\""
    );
    let command = "probe|--as|";
    assert!(!format!("{:?}", a.health).contains(command) && format!("{:?}", a.health).contains("${TOKEN}"));
    assert_eq!(manifest(&import, "b").run.command[2], "exec python3 main.py \"${TOKEN}\"");
    assert!(says(&import, Remark::NotTaken, "its health check asks"), "a path cannot have it");
    let a = &import.services[0].configuration;
    assert!(a["TOKEN"].is_secret && a["TOKEN"].value == "s3cr3t-of-env");
    assert!(!a["LEVEL_BESIDE"].is_secret && a["LEVEL_BESIDE"].value == "debug-of-env");
    assert_eq!(a["VIA"].value, "http://${service.b.host}:${service.b.port}/debug-of-env");
    assert!(!a.contains_key("UP") && !a.contains_key("DB"));
    assert!(says(&import, Remark::Question, "What is UP?") && says(&import, Remark::Question, "What is DB?"));
}

#[test]
fn names_that_become_one_are_not_taken_twice() {
    let compose = "services:
  my_web: {build: a, ports: [80]}
  my-web: {build: a, ports: [80]}
  my_db: {image: postgres}
  My-DB: {image: redis}
  web: {image: mysql}
";
    let import = imported(compose, &CODE);
    let names: Vec<_> = import.services.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names, import.resources.len()), (vec!["my-web"], 2));
    assert!(says(&import, Remark::Assumed, "it is called `my-web` here"));
    assert!(says(&import, Remark::NotTaken, "`my-web` here, as my_web is"));
    assert!(says(&import, Remark::NotTaken, "`my-db` here, as my_db is"));
}

#[test]
fn nothing_is_passed_over() {
    let compose = "services:
  a:
    build: {context: a, network: host}
    command: python main.py
    deploy: {replicas: 0, resources: {limits: {memory: lots, devices: []}}}
    ulimits: {core: 0}
    user: '1000'
    environment: {discovery.type: single, PATH: /opt/bin}
    env_file: [a/x.vars, ../y.env, z.env]
    expose: ['3000-3005']
    healthcheck: {test: pg_isready -h localhost}
    ports: ['8000-8002:8000-8002', '9000']
    stop_grace_period: forever
    volumes: [{type: tmpfs, target: /x}]
  db: {image: postgres, command: postgres -c max_connections=9, volumes: ['./my.conf:/etc/postgresql.conf', 'data:/var/lib/postgresql/data']}
";
    let mut view = view(&[CODE[0], CODE[1], ("compose.yaml", compose)]);
    view.files.insert("a/x.vars".into(), None);
    let import = import("compose.yaml", &view, &[]);
    for text in [
        "`build.network` is",
        "0 replicas",
        "`deploy.resources.limits.memory` of \"lots\" is",
        "`deploy.resources.limits.devices` is",
        "`ulimits.core` is",
        "`user` is",
        "`discovery.type` is",
        "a/x.vars is not read",
        "../y.env lies outside",
        "z.env is not there",
        "`expose` of 3000-3005",
        "its health check asks",
        "the port `8000-8002:8000-8002`",
        "in memory for it at /x",
        "its `command` is not taken",
        "./my.conf is not put",
    ] {
        assert!(says(&import, Remark::NotTaken, text), "{text} in {:#?}", import.remarks);
    }
    assert!(says(&import, Remark::Question, "`forever` is no duration"));
    assert!(says(&import, Remark::Assumed, "PATH is that of the host"));
    assert!(!says(&import, Remark::NotTaken, "data is not put"));
}

#[test]
fn what_is_extended_is_merged_as_compose_does_and_its_paths_lead_from_its_file() {
    let base = "services:
  base:
    build: ./svc
    env_file: ./base.env
    environment: [A=1, B=2]
    ports: ['8001']
    volumes: ['one:/svc/one', './conf:/svc/conf', 'two:/svc/two']
";
    let compose = "services:
  a:
    extends: {file: common/base.yml, service: base}
    environment: {B: '3', C: '4'}
    ports: ['8002']
    volumes: ['other:/svc/two']
    command: python main.py
";
    let files = [
        ("common/base.yml", base),
        ("common/base.env", "OF_BASE=1"),
        ("common/svc/main.py", ""),
        ("common/svc/Dockerfile", "FROM python\nWORKDIR /svc\nCOPY . .\n"),
    ];
    let import = imported(compose, &files);
    assert_eq!(import.services[0].manifest, "common/svc/lockstep.toml");
    let run = manifest(&import, "a").run;
    let of = |name: &str| run.variables.get(name).map(String::as_str);
    assert_eq!((of("A"), of("B"), of("C")), (Some("1"), Some("3"), Some("4")));
    assert_eq!(import.services[0].configuration["OF_BASE"].value, "1");
    let data: Vec<_> = run.data.iter().map(lockstep_domain::work_path::WorkPath::as_str).collect();
    assert_eq!(data, ["one", "conf", "two"]);
}

#[test]
fn other_names_and_texts_in_the_file_itself_count() {
    let compose = "services:
  a: {build: {context: a, dockerfile_inline: \"FROM python\\nCOPY . /\\nEXPOSE 7000\\nCMD [\\\"python\\\", \\\"main.py\\\"]\"}, links: ['db:database'], environment: {DB_HOST: database}}
  db: {image: postgres}
";
    let import = imported(compose, &[CODE[0]]);
    assert_eq!(manifest(&import, "a").run.variables["DB_HOST"], "${resource.db.host}");
    assert_eq!(import.services[0].what, "web");
}

#[test]
fn a_program_that_a_stage_makes_and_nothing_here_is_asked_for() {
    let docker = "FROM golang AS build\nRUN go build -o /x\nFROM scratch\nCOPY --from=build /x /usr/local/bin/backend\nCMD [\"/usr/local/bin/backend\"]\n";
    let import =
        imported("services: {a: {build: a, ports: [80]}}", &[("a/Dockerfile", docker), ("a/main.go", "")]);
    assert!(says(&import, Remark::Question, "Which step makes `/usr/local/bin/backend`"));
}

#[test]
fn what_a_server_of_the_image_runs_is_not_served_by_lockstep() {
    let files = [
        (
            "a/package.json",
            "{\"scripts\":{\"build\":\"ng build\"},\"devDependencies\":{\"@angular/cli\":\"1\"}}",
        ),
        (
            "a/Dockerfile",
            "FROM node\nWORKDIR /p\nCOPY . .\nCMD [\"ng\", \"serve\", \"--host\", \"0.0.0.0\"]\n",
        ),
    ];
    let import = imported("services: {a: {build: a, ports: [4200]}}", &files);
    assert!(!says(&import, Remark::Assumed, "Lockstep serves"), "{:#?}", import.remarks);
    let package = manifest(&import, "a").package;
    assert_eq!(package.include.iter().map(crate::path::Pattern::as_str).collect::<Vec<_>>(), ["**"]);
}

proptest! {
    #[test]
    fn no_secret_of_env_is_ever_written(
        command in "(python |main.py |--x=|\\$T |\\$\\{T\\}|\\$\\{T:-x\\} |\\$\\{N:-\\$T\\} |sh -c |'|http://b:80/|\"|db:5432 |[|;&] ){0,8}",
        value in "(\\$\\{T\\}|http://|b:80|u:|@|db|/|[?]k=|postgres://){0,7}",
    ) {
        let text = |text: &str| serde_json::to_string(text).unwrap();
        let compose = format!(
            "services:\n  a:\n    build: a\n    command: {}\n    environment: {{V_TOKEN: {}, V: {}}}\n    healthcheck: {{test: {}}}\n  b: {{build: a, ports: [80], entrypoint: {}}}\n  db: {{image: postgres}}\n",
            text(&command), text(&value), text(&value), text(&command), text(&command)
        );
        let import = with_env(&compose, "T=s3cr3t-of-env\n");
        let all = format!("{:?} {:?}", import.files, import.remarks);
        prop_assert!(!all.contains("s3cr3t-of-env"), "{compose}\n{all}");
        prop_assert!(!all.contains('\u{e0f0}') && !all.contains("e0f0"), "{compose}\n{all}");
    }
}

#[test]
fn limits_of_a_container_are_those_of_the_service() {
    let compose = "services:
  a:
    build: a
    command: python main.py
    mem_limit: 64m
    cpus: 0.5
    pids_limit: -1
    ulimits: {nofile: {soft: 2000, hard: 4000}}
  b:
    build: b
    command: python main.py
    deploy: {resources: {limits: {memory: 1gb, cpus: '1.50', pids: 100}, reservations: {memory: 20M}}}
";
    let import = imported(compose, &[CODE[0], ("b/main.py", CODE[0].1)]);
    let text = |name: &str| {
        let service = import.services.iter().find(|service| service.name.as_str() == name).unwrap();
        import.files[&service.manifest].clone()
    };
    for part in ["memory = \"64MiB\"", "cpu = 0.5", "open_files = 2000"] {
        assert!(text("a").contains(part), "{part}: {}", text("a"));
    }
    assert!(!text("a").contains("processes"));
    for part in ["memory", "cpu = 1.5", "processes = 100"] {
        assert!(text("b").contains(part), "{part}: {}", text("b"));
    }
    assert!(!says(&import, Remark::NotTaken, "limit"), "{:#?}", import.remarks);
}
