//! The compose file of `examples/compose`, taken over with a few commands: it runs with one deploy, and goes forward and back under load.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::Repository;

/// How many clients order at the same time.
const CLIENTS: usize = 2;

/// A repository with the files of the example, as a team has them.
fn example(place: &Place) -> Repository {
    let repository = place.repository("team");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/compose/.");
    let copied = Command::new("cp").arg("-R").arg(from).arg(repository.folder()).status().unwrap();
    assert!(copied.success());
    fs::copy(format!("{}/.env.example", repository.folder()), format!("{}/.env", repository.folder()))
        .unwrap();
    repository.write(".gitignore", ".env\n__pycache__\n");
    repository.commit("feat: begin");
    repository
}

fn compose_file(repository: &Repository) -> String {
    format!("{}/docker-compose.yml", repository.folder())
}

fn import(place: &Place, repository: &Repository, more: &[&str]) -> Value {
    place.json(&[&["import", "compose", &compose_file(repository)], more].concat())
}

fn release_all(place: &Place, repository: &Repository) -> Value {
    let mut command = place.command(&["release", "--changed", "--json"]);
    let output = command.current_dir(repository.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The versions of a release, as a deploy names them.
fn versions(builds: &Value) -> Vec<String> {
    let all = builds.as_array().unwrap().iter().filter(|build| build["state"] == "succeeded");
    all.map(|build| format!("{}@{}", build["service"].as_str().unwrap(), build["version"].as_str().unwrap()))
        .collect()
}

/// Sends an order, and returns who took it; anything but 202 is an error.
fn order(address: &str, id: u64) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(
            stream,
            "POST /orders/{id} HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let words = answer.rsplit("\"words\": \"").next().and_then(|rest| rest.split('"').next());
    match words.filter(|_| answer.starts_with("HTTP/1.1 202")) {
        Some(words) => Ok(words.to_owned()),
        None => Err(format!("order {id}: {answer:?}")),
    }
}

/// Clients that order all the time.
#[derive(Default)]
struct Load {
    ordered: AtomicU64,
    over: AtomicBool,
}

impl Load {
    fn run(&self, address: &str) -> Vec<String> {
        let mut failed = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let id = self.ordered.fetch_add(1, Ordering::Relaxed);
            failed.extend(order(address, id).err());
            thread::sleep(Duration::from_millis(60));
        }
        failed
    }

    fn next(&self, address: &str) -> String {
        order(address, self.ordered.fetch_add(1, Ordering::Relaxed)).unwrap()
    }
}

struct Ends<'l>(&'l Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

fn counted(place: &Place) -> (u64, u64) {
    let (status, body) = place.ask("/counted");
    assert_eq!(status, 200, "{body}");
    let numbers: Value = serde_json::from_str(&body).unwrap();
    (numbers["orders_booked"].as_u64().unwrap(), numbers["rows_written"].as_u64().unwrap())
}

#[test]
fn a_compose_file_runs_with_one_deploy_and_goes_forward_and_back_under_load() {
    let place = Place::begin();
    let repository = example(&place);
    import(&place, &repository, &[]);
    let waits = import(&place, &repository, &["--env", ENVIRONMENT]);
    assert!(waits["next"][0].as_str().unwrap().starts_with("git add"), "{waits}");
    assert_eq!(place.json(&["services"]), serde_json::json!([]), "nothing is registered before the commit");
    repository.commit("feat: run with Lockstep");
    let registered = import(&place, &repository, &["--env", ENVIRONMENT]);
    assert_eq!(registered["done"].as_array().unwrap().len(), 7, "{registered:#}");
    let again = import(&place, &repository, &["--env", ENVIRONMENT]);
    assert_eq!(again["done"], serde_json::json!([]), "once more does nothing");
    assert!(!registered.to_string().contains("change-me"), "a secret is shown");
    // What is left to type is what is printed.
    release_all(&place, &repository);
    let deploy = again["next"].as_array().unwrap().last().unwrap().as_str().unwrap();
    place.run(&deploy.split(' ').skip(1).collect::<Vec<_>>());
    let address = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    assert_eq!(place.ask("/ping"), (200, "pong".to_owned()));

    let load = Load::default();
    let failed: Vec<String> = thread::scope(|scope| {
        let _ends = Ends(&load);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| load.run(&address))).collect();
        assert_eq!(load.next(&address), "one");
        for file in ["web/app.py", "jobs/worker.py"] {
            let text = fs::read_to_string(format!("{}/{file}", repository.folder())).unwrap();
            repository.write(file, &text.replace("WORDS = \"one\"", "WORDS = \"two\""));
        }
        repository.commit("feat: two");
        let newer = versions(&release_all(&place, &repository));
        assert_eq!(newer, ["scheduler@1.1.0", "web@1.1.0", "worker@1.1.0"], "nginx has not changed");
        let words: Vec<&str> = newer.iter().map(String::as_str).collect();
        place.run(&[&["deploy"], &words[..], &["--env", ENVIRONMENT]].concat());
        assert_eq!(load.next(&address), "two");
        place.run(&["undo", ENVIRONMENT]);
        assert_eq!(load.next(&address), "one");
        load.over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{failed:#?}");
    let ordered = load.ordered.load(Ordering::Relaxed);
    eventually("every order is booked, once", || (counted(&place) == (ordered, ordered)).then_some(()));
}

#[test]
fn an_import_overwrites_nothing() {
    let place = Place::begin();
    let repository = example(&place);
    repository.write("web/lockstep.toml", "name = \"theirs\"\n");
    repository.commit("feat: a manifest of their own");
    let shown = import(&place, &repository, &["--dry-run"]);
    assert_eq!(repository.git(&["status", "--porcelain"]), "", "a dry run writes nothing");
    assert_eq!(shown["files"]["web/lockstep.toml"], "kept");
    let done = import(&place, &repository, &[]);
    assert_eq!(done["files"]["nginx/lockstep.toml"], "written");
    assert_eq!(
        fs::read_to_string(format!("{}/web/lockstep.toml", repository.folder())).unwrap(),
        "name = \"theirs\"\n"
    );
    let empty = place.path("empty.yml");
    fs::write(&empty, "services: {}\n").unwrap();
    place.fail(&["import", "compose", &empty], 2);
    fs::write(&empty, "services: [\n").unwrap();
    assert!(place.fail(&["import", "compose", &empty], 2).contains("not valid YAML"));
}

#[test]
fn imports_at_the_same_moment_write_each_file_once_and_none_through_a_link() {
    let place = Place::begin();
    let repository = place.repository("shop");
    repository.write("app/Dockerfile", "FROM python\nCOPY . /\nCMD [\"python\", \"main.py\"]\n");
    repository.write("app/main.py", "import os\nos.environ['PORT']\n");
    // Whatever it is called, somebody named it.
    repository.write("two services", "services:\n  a: {build: ./app}\n  b: {build: ./app}\n");
    let file = format!("{}/two services", repository.folder());
    let imports: Vec<_> = (0..6)
        .map(|_| {
            place.command(&["import", "compose", &file]).stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut texts = imports.into_iter().map(|import| {
        let output = import.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    });
    let quoted = format!("lockstep import compose '{file}'");
    assert!(texts.all(|text| text.contains(&quoted)));
    let folder = format!("{}/lockstep", repository.folder());
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a.toml", "b.toml"]);

    fs::remove_dir_all(&folder).unwrap();
    let elsewhere = place.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
    let refused = place.fail(&["import", "compose", &file], 2);
    assert!(refused.contains("is a link, and nothing is written through one"), "{refused}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}
