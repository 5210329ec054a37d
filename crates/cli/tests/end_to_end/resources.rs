//! Databases: run by Lockstep or by somebody else, killed, copied, removed, and asked for by a service that works with them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::processes::{self, is_alive, kill};
use super::support::repository::{Repository, manifest, misbehaving, python};

/// Counts in both databases, and answers with the two numbers.
const COUNTS: &str = "
        answer = b'ok' if self.path == '/health' else f'{count_rows()} {count_keys()}'.encode()";
const AT_START: &str = r#"
import re, socket, subprocess, urllib.parse

def count_rows():
    statement = 'insert into visits default values; select count(*) from visits'
    return subprocess.run(['psql', os.environ['DATABASE_URL'], '-qAtc', statement], capture_output=True, check=True, text=True).stdout.strip()

def count_keys():
    host, port = os.environ['CACHE_AT'].split(':')
    password = urllib.parse.urlsplit(os.environ['CACHE_URL']).password
    with socket.create_connection((host, int(port)), 5) as cache:
        cache.sendall(f'AUTH {password}\r\nINCR visits\r\nQUIT\r\n'.encode())
        said = b''.join(iter(lambda: cache.recv(100), b'')).decode()
    return re.search(r':(\d+)', said).group(1)
"#;
const NEEDS: &str = "[resource.db]\nkind = \"postgresql\"\n[resource.cache]\nkind = \"redis\"\n";

/// A shop that works with a database and a cache, and makes its table before it takes over.
fn shop(place: &Place) -> (Repository, String) {
    let repository = place.repository("shop");
    let env = "env = { DATABASE_URL = \"${resource.db.url}\", CACHE_URL = \"${resource.cache.url}\", \
               CACHE_AT = \"${resource.cache.host}:${resource.cache.port}\" }";
    let python = python();
    let job =
        format!("[[job]]\nname = \"migrate\"\nwhen = \"before-switch\"\ncommand = \"{python} migrate.py\"\n");
    repository.write("lockstep.toml", &manifest("shop", env, &format!("{NEEDS}{job}")));
    repository.write("service.py", &misbehaving("TEXT", AT_START, COUNTS).replace("b'TEXT'", "answer"));
    repository.write(
        "migrate.py",
        "import os, subprocess\nsubprocess.run(['psql', os.environ['DATABASE_URL'], '-qc', 'create table if not exists visits \
         (id serial)'], check=True)\n",
    );
    let version = place.first_release(&repository, "shop");
    (repository, version)
}

fn run_both(place: &Place) {
    place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    place.run(&["resource", "run", "cache", "--kind", "redis", "--env", ENVIRONMENT]);
}

fn counted(place: &Place) -> Option<(u64, u64)> {
    let (status, text) = place.ask("/shop");
    let (rows, keys) = text.split_once(' ')?;
    (status == 200).then(|| Some((rows.parse().ok()?, keys.parse().ok()?)))?
}

/// The leading processes of databases that work below a folder.
fn databases(below: &Path, program: &str) -> Vec<Pid> {
    let works = |process: &Pid| {
        let file = |name: &str| PathBuf::from(format!("/proc/{}/{name}", process.as_raw_nonzero()));
        let command = fs::read_to_string(file("cmdline")).unwrap_or_default();
        let leads = rustix::process::getpgid(Some(*process)) == Ok(*process);
        leads
            && command
                .split('\0')
                .next()
                .is_some_and(|first| first.split(' ').next().unwrap().ends_with(program))
            && command.contains(if program == "postgres" { "-D" } else { "127.0.0.1" })
            && fs::read_link(file("cwd")).is_ok_and(|cwd| cwd.starts_with(below))
    };
    processes::of_folder(below.to_str().unwrap()).into_iter().filter(works).collect()
}

fn only(below: &Path, program: &str) -> Pid {
    eventually("one database runs", || match databases(below, program)[..] {
        [one] => Some(one),
        [] => None,
        ref several => panic!("{program} runs {} times", several.len()),
    })
}

fn data_of(place: &Place, name: &str, kind: &str) -> PathBuf {
    let folder = PathBuf::from(place.data()).canonicalize().unwrap();
    folder.join(format!("runtime/resources/{ENVIRONMENT}/{name}/{kind}"))
}

fn is_healthy(place: &Place, name: &str) -> bool {
    place.json(&["resource", "show", name, "--env", ENVIRONMENT])["health"]["health"] == "healthy"
}

fn wait_for(place: &Place, name: &str) {
    eventually("the resource is healthy", || is_healthy(place, name).then_some(()));
}

#[test]
fn a_service_works_with_databases_that_lockstep_runs_and_whatever_is_killed_comes_back_with_its_data() {
    let mut place = Place::begin();
    let (_, version) = shop(&place);
    let refused = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 3);
    assert!(
        refused.contains("needs the resource `db` (postgresql), and `development` has none"),
        "{refused}"
    );
    assert!(refused.contains("lockstep resource run cache --kind redis --env development"), "{refused}");
    let asked = place.told(&["can-i-deploy", &version, "--env", ENVIRONMENT]);
    assert!(asked.contains("needs the resource `cache` (redis)"), "{asked}");
    assert_eq!(place.fail(&["deploy", &version, "--env", ENVIRONMENT, "--dry-run"], 3), refused);

    run_both(&place);
    // Not waited for: the operation does.
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(counted(&place), Some((1, 1)));
    let (postgres, redis) = (data_of(&place, "db", "postgresql"), data_of(&place, "cache", "redis"));
    let before = [only(&postgres, "postgres"), only(&redis, "redis-server")];
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains("db        postgresql  healthy") && status.contains(&version), "{status}");

    before.into_iter().for_each(kill);
    eventually("both work again", || counted(&place).filter(|(rows, keys)| *rows >= 2 && *keys >= 2));
    let restarted = [only(&postgres, "postgres"), only(&redis, "redis-server")];
    assert!(restarted.iter().all(|process| !before.contains(process)));

    place.kill_server();
    assert!(restarted.iter().all(|process| is_alive(*process)), "they outlive the server");
    place.start_server();
    wait_for(&place, "db");
    assert_eq!([only(&postgres, "postgres"), only(&redis, "redis-server")], restarted);
    let supervisors = processes::of_supervisors(&place.data());
    supervisors.values().copied().for_each(kill);
    eventually("other supervisors have taken over", || {
        let new = processes::of_supervisors(&place.data());
        (new.len() == supervisors.len() && new.values().all(|it| !supervisors.values().any(|old| old == it)))
            .then_some(())
    });
    assert_eq!([only(&postgres, "postgres"), only(&redis, "redis-server")], restarted);

    // As after a start of the host: nothing runs any more.
    place.kill_server();
    processes::end_all(&place.data());
    place.start_server();
    let (rows, keys) = eventually("everything works again", || counted(&place));
    assert!(rows >= 3 && keys >= 3, "{rows} {keys}");
    only(&postgres, "postgres");
}

#[test]
fn what_is_needed_is_not_removed_and_data_is_kept_until_somebody_says_otherwise() {
    let place = Place::begin();
    let (_, version) = shop(&place);
    run_both(&place);
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(counted(&place), Some((1, 1)));
    let refused = place.fail(&["resource", "remove", "db", "--env", ENVIRONMENT], 3);
    assert!(
        refused.contains(&version) && refused.contains("lockstep remove shop --env development"),
        "{refused}"
    );
    let twice = place.fail(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT], 6);
    assert!(twice.contains("has a resource `db` already"), "{twice}");

    place.run(&["remove", "shop", "--env", ENVIRONMENT]);
    let postgres = data_of(&place, "db", "postgresql");
    let process = only(&postgres, "postgres");
    let removed = place.run(&["resource", "remove", "db", "--env", ENVIRONMENT]);
    assert!(removed.contains("its data is kept"), "{removed}");
    eventually("it ends", || (!is_alive(process)).then_some(()));
    let list = place.run(&["data", "list"]);
    assert!(list.contains("left behind; lockstep resource remove db"), "{list}");

    // Another password, the same data.
    let again = place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    assert!(again.contains("it goes on with the data that it left there"), "{again}");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(counted(&place), Some((2, 2)));

    place.run(&["remove", "shop", "--env", ENVIRONMENT]);
    let asked = ["resource", "remove", "db", "--delete-data", "--env", ENVIRONMENT];
    let unsure = place.fail(&asked, 3);
    assert!(unsure.contains("for ever") && unsure.contains("--yes"), "{unsure}");
    place.run(&[&asked[..], &["--yes"]].concat());
    assert!(!postgres.exists() && databases(&postgres, "postgres").is_empty());
    place.run(&["resource", "remove", "cache", "--env", ENVIRONMENT]);
    place.run(&["resource", "remove", "cache", "--delete-data", "--yes", "--env", ENVIRONMENT]);
    assert!(!data_of(&place, "cache", "redis").exists());
    assert!(place.fail(&["resource", "remove", "cache", "--env", ENVIRONMENT], 4).contains("no resource"));
}

/// Runs a command that reads a secret.
fn giving(place: &Place, arguments: &[&str], secret: &str) -> (i32, String) {
    let mut command = place.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

#[test]
fn an_address_elsewhere_is_told_anew_by_a_restart_and_never_shown() {
    let place = Place::begin();
    let add = ["resource", "add", "queue", "--kind", "other", "--env", ENVIRONMENT];
    let (code, said) = giving(&place, &add, "queue.example with hunter2\n");
    assert!(code == 2 && said.contains("a space") && !said.contains("hunter2"), "{code} {said}");
    let (code, said) = giving(
        &place,
        &["resource", "add", "q", "--kind", "redis", "--env", ENVIRONMENT],
        "amqp://u:hunter2@q/x",
    );
    assert!(
        code == 2 && said.contains("does not begin with `amqp://`") && !said.contains("hunter2"),
        "{said}"
    );
    let (code, said) = giving(&place, &add, "");
    assert!(code == 2 && said.contains("is empty"), "{said}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, said) = giving(&place, &add, &format!("amqp://u:hunter2@127.0.0.1:{nobody}/x\n"));
    assert!(code == 0 && said.contains("warning: it does not answer"), "{code} {said}");
    assert!(said.contains("nothing listens there") && !said.contains("hunter2"), "{said}");

    let repository = place.repository("mailer");
    let env = "env = { QUEUE = \"${resource.queue.url} ${resource.queue.user} ${resource.queue.password}\" }";
    repository.write("lockstep.toml", &manifest("mailer", env, "[resource.queue]\nkind = \"other\"\n"));
    let text =
        misbehaving("TEXT", "pass", "answer = os.environ['QUEUE'].encode()").replace("b'TEXT'", "answer");
    repository.write("service.py", &text);
    let version = place.first_release(&repository, "mailer");
    // Lockstep does not know what the service does without it.
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/mailer").1, format!("amqp://u:hunter2@127.0.0.1:{nobody}/x u hunter2"));

    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = somebody.local_addr().unwrap().port();
    let url = format!("amqp://u:s%40same@127.0.0.1:{port}/x");
    let (code, said) = giving(&place, &["resource", "set", "queue", "--env", ENVIRONMENT], &url);
    assert!(code == 0 && said.contains("lockstep restart mailer --env development"), "{said}");
    assert!(place.ask("/mailer").1.contains("hunter2"));
    place.run(&["restart", "mailer", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/mailer").1, format!("{url} u s@same"));
    assert!(is_healthy(&place, "queue"));

    let everything = [
        place.run(&["status", ENVIRONMENT, "--json"]),
        place.run(&["resource", "list", "--env", ENVIRONMENT, "--json"]),
        place.run(&["journal", "export"]),
        place.run(&["show", &version, "--json"]),
    ];
    for text in everything {
        assert!(
            !text.contains("hunter2") && !text.contains("s%40same") && !text.contains("s@same"),
            "{text}"
        );
    }
    repository.write("lockstep.toml", &manifest("mailer", "", "[resource.queue]\nkind = \"redis\"\n"));
    repository.commit("feat: another queue");
    let other = place.release("mailer");
    let refused = place.fail(&["deploy", &other, "--env", ENVIRONMENT], 3);
    assert!(
        refused.contains("needs the resource `queue` (redis), and `development` has one of the kind other"),
        "{refused}"
    );
}

#[test]
fn a_copy_of_the_data_folder_has_a_database_of_its_own_and_leaves_the_original_alone() {
    let place = Place::begin();
    place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    wait_for(&place, "db");
    let original = only(&data_of(&place, "db", "postgresql"), "postgres");
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-a", &place.data()]).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    let address = |place: &Place| {
        place.json(&["resource", "show", "db", "--env", ENVIRONMENT])["address"].as_str().unwrap().to_owned()
    };
    let adopted = Place::begin_in_asking(folder, &["--adopt"]);
    wait_for(&adopted, "db");
    assert_ne!(address(&adopted), address(&place));
    assert_ne!(only(&data_of(&adopted, "db", "postgresql"), "postgres"), original);
    assert!(is_alive(original) && is_healthy(&place, "db"));
}

#[test]
fn a_database_ends_with_its_environment_and_its_data_stays() {
    let place = Place::begin();
    place.run(&["environment", "create", "review"]);
    place.run(&["resource", "run", "cache", "--kind", "redis", "--env", "review"]);
    let data =
        PathBuf::from(place.data()).canonicalize().unwrap().join("runtime/resources/review/cache/redis");
    let process = only(&data, "redis-server");
    place.run(&["environment", "remove", "review", "--yes"]);
    eventually("it ends", || (!is_alive(process)).then_some(()));
    assert!(data.join("data").is_dir());
    let list = place.run(&["data", "list"]);
    assert!(list.contains("review") && list.contains("left behind"), "{list}");
    place.run(&["resource", "remove", "cache", "--delete-data", "--yes", "--env", "review"]);
    assert!(!data.exists());
}

#[test]
fn data_that_is_gone_and_programs_that_are_missing_are_said_in_words() {
    let mut place = Place::begin_asking(&[], vec![("PATH", "/nonexistent".to_owned())]);
    let missing = place.fail(&["resource", "run", "cache", "--kind", "redis", "--env", ENVIRONMENT], 3);
    assert!(missing.contains("the package is `redis-server`"), "{missing}");
    let mysql = place.fail(&["resource", "run", "db", "--kind", "mysql", "--env", ENVIRONMENT], 3);
    assert!(mysql.contains("none of `mysql`") && mysql.contains("lockstep resource add db"), "{mysql}");
    assert!(place.run(&["resource", "list", "--env", ENVIRONMENT]).contains("has no resource"));

    place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    wait_for(&place, "db");
    place.kill_server();
    processes::end_all(&place.data());
    let data = data_of(&place, "db", "postgresql");
    fs::remove_dir_all(data.join("data")).unwrap();
    place.start_server();
    let show = eventually("it says so", || {
        let show = place.run(&["resource", "show", "db", "--env", ENVIRONMENT]);
        show.contains("unhealthy: the data of the resource is gone").then_some(show)
    });
    assert!(show.contains("unhealthy") && !data.join("data").exists(), "{show}");
    fs::remove_dir_all(&data).unwrap();
    eventually("it says so of the folder", || {
        let show = place.run(&["resource", "show", "db", "--env", ENVIRONMENT]);
        show.contains("is not there").then_some(())
    });
    assert!(!data.exists());
}

#[test]
fn nobody_gets_in_without_the_password_and_no_database_runs_as_root() {
    let place = Place::begin();
    run_both(&place);
    ["db", "cache"].into_iter().for_each(|name| wait_for(&place, name));
    let address = |name: &str| {
        let show = place.json(&["resource", "show", name, "--env", ENVIRONMENT]);
        let address = show["address"].as_str().unwrap().to_owned();
        address.split_once("://").unwrap().1.split_once('/').unwrap().0.to_owned()
    };
    let asked = |user: &str| {
        let url = format!("postgresql://{user}@{}/db", address("db"));
        let output = Command::new("psql").args([&url, "-qAtc", "select 1"]).output().unwrap();
        assert!(!output.status.success(), "{user} got in");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(asked("app:app").contains("password authentication failed"), "{}", asked("app:app"));
    for other in ["lockstep:lockstep", "postgres:postgres"] {
        assert!(asked(other).contains("no pg_hba.conf entry"), "{}", asked(other));
    }
    let mut cache = std::net::TcpStream::connect(address("cache")).unwrap();
    cache.write_all(b"GET visits\r\nQUIT\r\n").unwrap();
    let mut said = String::new();
    cache.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("-NOAUTH"), "{said}");
    for (data, program) in [
        (data_of(&place, "db", "postgresql"), "postgres"),
        (data_of(&place, "cache", "redis"), "redis-server"),
    ] {
        let process = only(&data, program).as_raw_nonzero();
        assert_ne!(fs::metadata(format!("/proc/{process}")).unwrap().uid(), 0);
        let sockets = fs::read_dir(&data).unwrap().chain(fs::read_dir(data.join("data")).unwrap());
        let is_socket = |entry: fs::DirEntry| entry.file_type().unwrap().is_socket();
        assert!(!sockets.flatten().any(is_socket));
    }
}

#[test]
fn a_port_that_somebody_else_has_is_named_and_taken_again_when_it_is_free() {
    let mut place = Place::begin();
    place.run(&["resource", "run", "cache", "--kind", "redis", "--env", ENVIRONMENT]);
    wait_for(&place, "cache");
    let show = place.json(&["resource", "show", "cache", "--env", ENVIRONMENT]);
    let address =
        show["address"].as_str().unwrap().trim_start_matches("redis://").trim_end_matches("/0").to_owned();
    place.kill_server();
    processes::end_all(&place.data());
    let somebody = eventually("the port is free", || TcpListener::bind(&address).ok());
    place.start_server();
    let port = address.split_once(':').unwrap().1;
    eventually("it says who has its port", || {
        let show = place.run(&["resource", "show", "cache", "--env", ENVIRONMENT]);
        (show.contains("unhealthy") && show.contains(&format!("port {port}"))).then_some(())
    });
    drop(somebody);
    wait_for(&place, "cache");
}
