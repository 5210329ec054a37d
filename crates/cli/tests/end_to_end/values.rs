//! Values and files that say what is known only where an instance runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};

#[test]
fn values_say_what_is_known_only_where_an_instance_runs() {
    let place = Place::begin();
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service("the store"));
    let front = place.repository("front");
    let variables = "env = { LISTEN = \"${self.host}:${self.port}\", STORE = \"${service.store.url}/v1\", LITERAL = \"$${x}\" }";
    let run = manifest("front", variables, "[requires]\nstore = \"*\"");
    front.write(
        "lockstep.toml",
        &run.replace("service.py\"", "service.py --at ${self.port} ${self.environment}\""),
    );
    let answer = "
        import sys
        names = ['LISTEN', 'STORE', 'LITERAL', 'FROM_CONFIG']
        answer = '\\n'.join(sys.argv[1:] + [os.environ.get(name, '') for name in names]).encode()";
    front.write("service.py", &misbehaving("TEXT", "pass", answer).replace("b'TEXT'", "answer"));
    let versions = [place.first_release(&store, "store"), place.first_release(&front, "front")];
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
    let set = ["config", "set", "front", "FROM_CONFIG=${self.version} at ${service.store.url}"];
    place.run(&[&set[..], &["--env", ENVIRONMENT]].concat());

    let answer = place.ask("/front").1;
    let lines: Vec<&str> = answer.lines().collect();
    let [_, port, environment, listen, store, literal, config] = lines[..] else { panic!("{answer}") };
    assert_eq!((environment, listen, literal), (ENVIRONMENT, format!("127.0.0.1:{port}").as_str(), "${x}"));
    let url = store.strip_suffix("/v1").unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/@store"), "{url}");
    assert_eq!(config, format!("{} at {url}", versions[1].split_once('@').unwrap().1));

    for (value, words) in [
        ("A=${service.stroe.url}", "`stroe` is not in [requires]"),
        ("A=${HOME}", "`$${` means `${` itself"),
        ("A=${self.prot}", "there are ${self.host}"),
    ] {
        let refused = place.fail(&["config", "set", "front", value, "--env", ENVIRONMENT], 3);
        assert!(refused.contains(words), "{refused}");
    }
    let shown = place.run(&["config", "show", "front", "--env", ENVIRONMENT]);
    assert!(shown.contains("${self.version} at ${service.store.url}"), "{shown}");

    front.write("lockstep.toml", &manifest("front", "", ""));
    front.commit("feat: do without the store");
    let without = place.release("front");
    let refused = place.fail(&["deploy", &without, "--env", ENVIRONMENT], 3);
    assert!(
        refused.contains("variable `FROM_CONFIG` of `front`") && refused.contains("`store` is not in"),
        "{refused}"
    );
    place.run(&["config", "set", "front", "--unset", "FROM_CONFIG", "--env", ENVIRONMENT]);
    place.run(&["deploy", &without, "--env", ENVIRONMENT]);
    let again = place.run(&[
        "rollback",
        "front",
        "--to",
        versions[1].split_once('@').unwrap().1,
        "--env",
        ENVIRONMENT,
    ]);
    assert!(again.contains("done"), "{again}");
    assert!(place.ask("/front").1.ends_with("/@store/v1\n${x}\n"), "{}", place.ask("/front").1);
}

/// Answers with the file that it was configured by, and with its own folder.
const CONFIGURED: &str = "
        path = os.path.abspath('conf/app.conf')
        answer = path.encode() + b'\\n' + open(path, 'rb').read()";

fn configured(repository: &Repository, conf: &str) {
    repository.write(
        "lockstep.toml",
        &manifest("front", "files = [\"conf/app.conf\"]\nenv = { MODE = \"quiet\" }", ""),
    );
    repository.write("service.py", &misbehaving("TEXT", "pass", CONFIGURED).replace("b'TEXT'", "answer"));
    repository.write("conf/app.conf", conf);
}

#[test]
fn a_file_of_the_artifact_is_filled_in_for_each_instance_and_with_each_configuration() {
    let place = Place::begin();
    let front = place.repository("front");
    configured(
        &front,
        "listen ${self.host}:${self.port};\nmode ${env.MODE};\nkey ${env.API_KEY};\nhost $host $${x};\n",
    );
    let version = place.first_release(&front, "front");
    let missing = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 1);
    assert!(
        missing.contains("`conf/app.conf`") && missing.contains("`${env.API_KEY}` is not known"),
        "{missing}"
    );

    fs::write(place.path("key"), "hunter2").unwrap();
    let key = fs::File::open(place.path("key")).unwrap();
    let mut set = place.command(&["config", "set", "front", "--secret", "API_KEY", "--env", ENVIRONMENT]);
    assert!(set.stdin(key).status().unwrap().success());
    place.run(&["deploy", &version, "--env", ENVIRONMENT, "--release-holds"]);
    let read = || {
        let answer = place.ask("/front").1;
        let (path, text) = answer.split_once('\n').unwrap();
        (path.to_owned(), text.to_owned())
    };
    let (path, text) = read();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("listen 127.0.0.1:2"), "{text}");
    assert_eq!(lines[1..], ["mode quiet;", "key hunter2;", "host $host ${x};"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    place.run(&["config", "set", "front", "MODE=loud", "--env", ENVIRONMENT]);
    assert!(read().1.contains("mode loud;\nkey hunter2;"));
    place.run(&["undo", ENVIRONMENT]);
    assert!(read().1.contains("mode quiet;"));
}

#[test]
fn a_program_of_the_artifact_may_be_what_is_filled_in() {
    let place = Place::begin();
    let front = place.repository("front");
    let run = manifest("front", "files = [\"bin/start\"]", "");
    let (before, after) = run.split_once("command = \"").unwrap();
    let (command, after) = after.split_once('"').unwrap();
    front.write("lockstep.toml", &format!("{before}command = \"./bin/start\"{after}"));
    let script =
        format!("#!/bin/sh\nPORT=${{self.port}} NAME=${{self.service}} exec {command} $${{NOTHING}}\n");
    front.write("bin/start", &script);
    let start = std::path::Path::new(front.folder()).join("bin/start");
    fs::set_permissions(start, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = "
        answer = os.environ['NAME'].encode()";
    front.write("service.py", &misbehaving("TEXT", "pass", answer).replace("b'TEXT'", "answer"));
    let version = place.first_release(&front, "front");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/front"), (200, "front".to_owned()));
}

#[test]
fn a_release_names_what_cannot_be_filled_in() {
    let place = Place::begin();
    let front = place.repository("front");
    configured(&front, "uri ${request_uri};");
    front.commit("feat: begin");
    place.run(&["service", "add", front.folder()]);
    let refused = |words: &str| {
        let refused = place.fail(&["release", "front"], 1);
        assert!(refused.contains(words), "{refused}");
    };
    refused("`conf/app.conf` of `[run] files` cannot be filled in: `${request_uri}` is no reference");
    configured(&front, "at ${service.store.url}");
    front.commit("fix: another");
    refused("`store` is not in [requires]");
    front.git(&["rm", "--quiet", "conf/app.conf"]);
    front.commit("fix: none");
    refused("`conf/app.conf` of `[run] files` is not in the package; include it");
}

/// The service answers with its port.
const PORT: &str = "
        answer = os.environ['PORT'].encode()";

#[test]
fn ports_come_from_the_range_of_the_environment_or_else_of_the_server() {
    let place = Place::begin_asking(&["--instance-ports", "30100-30199"], Vec::new());
    let front = place.repository("front");
    front.write("lockstep.toml", &manifest("front", "", ""));
    front.write("service.py", &misbehaving("TEXT", "pass", PORT).replace("b'TEXT'", "answer"));
    let version = place.first_release(&front, "front");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let port = || place.ask("/front").1.parse::<u16>().unwrap();
    assert!((30_100..=30_199).contains(&port()), "{}", port());

    let set = place.run(&["environment", "set", ENVIRONMENT, "--instance-ports", "30200-30299"]);
    assert!(set.contains("30200-30299"), "{set}");
    place.run(&["restart", "front", "--env", ENVIRONMENT]);
    assert!((30_200..=30_299).contains(&port()), "{}", port());

    place.run(&["environment", "set", ENVIRONMENT, "--instance-ports", "server"]);
    place.run(&["restart", "front", "--env", ENVIRONMENT]);
    assert!((30_100..=30_199).contains(&port()), "{}", port());
    let wrong = place.fail(&["environment", "set", ENVIRONMENT, "--instance-ports", "30299-30200"], 2);
    assert!(wrong.contains("the first port is above the last"), "{wrong}");
}
