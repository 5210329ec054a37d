//! A server of root: each service has a user of its own, and can neither read nor signal another one; its data goes with it.
//!
//! All of it needs root, and a data folder that other users can pass to. Elsewhere the tests say that they were left out.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::support::place::{ENVIRONMENT, Place};
use super::support::processes::{self, kill};
use super::support::repository::Repository;
use super::support::{eventually, get};

/// Answers with what an expression in the path means to it.
const SERVICE: &str = r#"
import http.server, os, signal, subprocess, sys, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code = urllib.parse.unquote(self.path.partition('?')[2])
        try: text = str(eval(code)) if code else 'VERSION'
        except BaseException as error: text = type(error).__name__
        self.send_response(200)
        self.send_header('Content-Length', str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()
"#;
/// An interpreter that every user can reach.
const PYTHON: &str = "/usr/bin/python3";

/// A folder that others can pass to, where this is root.
pub(super) fn open_folder() -> Option<TempDir> {
    if !rustix::process::geteuid().is_root() || !Path::new(PYTHON).exists() {
        eprintln!("left out: only root gives services users of their own, and `{PYTHON}` is needed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    Some(folder)
}

fn write(repository: &Repository, name: &str, (more, version): (&str, &str)) {
    let manifest = format!(
        "name = \"{name}\"\n[[route]]\npath = \"/{name}\"\n[run]\ncommand = \"{PYTHON} service.py\"\ndata = [\"var\"]\n\
         health = {{ http = \"/health\", interval = \"200ms\", start_timeout = \"20s\" }}\nrestart = {{ max = 1, backoff = \"10ms\" }}\n{more}\n"
    );
    repository.write("lockstep.toml", &manifest);
    repository.write("service.py", &SERVICE.replace("VERSION", version));
}

fn deployed(place: &Place, name: &str, more: &str) -> Repository {
    let repository = place.repository(name);
    write(&repository, name, (more, "one"));
    let version = place.first_release(&repository, name);
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    repository
}

fn next(place: &Place, repository: &Repository, name: &str, (more, version): (&str, &str)) -> String {
    write(repository, name, (more, version));
    repository.commit(&format!("fix: {version}"));
    place.release(name)
}

/// What an expression means to a service.
fn means(place: &Place, name: &str, expression: &str) -> String {
    let address = place.status()["gateway"].as_str().unwrap().to_owned();
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    get(address.trim_start_matches("http://"), &format!("/{name}?{encoded}"), 1).unwrap().1
}

fn user_of(place: &Place, name: &str) -> u32 {
    means(place, name, "os.getuid()").parse().unwrap()
}

fn pid_of(place: &Place, name: &str) -> String {
    means(place, name, "os.getpid()")
}

#[test]
fn two_services_can_neither_read_nor_signal_each_other_nor_lockstep() {
    let Some(folder) = open_folder() else { return };
    let place = Place::begin_with_users(folder);
    deployed(&place, "shop", "env = { SECRET = \"hidden\" }");
    deployed(&place, "spy", "");
    let (shop, spy) = (user_of(&place, "shop"), user_of(&place, "spy"));
    assert!(shop != 0 && spy != 0 && shop != spy, "{shop} {spy}");
    means(&place, "shop", "open('var/kept', 'w').write('kept')");
    let own = means(&place, "shop", "open('var/kept').read() + open('/proc/self/environ').read()");
    assert!(own.starts_with("kept") && own.contains("SECRET=hidden"), "{own}");

    let (data, pid) = (place.data(), pid_of(&place, "shop"));
    let kept = format!("{data}/runtime/data/{ENVIRONMENT}/shop/var");
    let instance = processes::of_instances(&data).into_keys().find(|id| id.starts_with("shop")).unwrap();
    let instance = format!("{data}/runtime/instances/{instance}");
    let refused = [
        format!("open('{kept}/kept').read()"),
        format!("os.listdir('{kept}')"),
        format!("os.listdir('{instance}')"),
        format!("os.listdir('{instance}/work')"),
        format!("open('{instance}/spec.json').read()"),
        format!("os.listdir('{instance}/log')"),
        format!("os.listdir('{data}')"),
        format!("os.listdir('{data}/secrets')"),
        format!("open('{data}/runtime/users.json').read()"),
        format!("open('/proc/{pid}/environ').read()"),
        format!("os.kill({pid}, 0)"),
        format!("os.kill({}, 0)", place.server_process()),
        "os.setuid(0)".to_owned(),
        "os.chown('.', 0, 0)".to_owned(),
        "open('service.py', 'a')".to_owned(),
    ];
    for expression in &refused {
        assert_eq!(means(&place, "spy", expression), "PermissionError", "{expression}");
    }
    assert_eq!(means(&place, "spy", "os.getgroups()"), "[]");
    let rights =
        means(&place, "spy", "[line for line in open('/proc/self/status') if line[:3] in ('Cap', 'NoN')]");
    assert!(
        rights.matches("0000000000000000").count() == 5 && rights.contains("NoNewPrivs:\\t1"),
        "{rights}"
    );
    let home = "os.environ['HOME'].startswith(os.environ['TMPDIR']) and open(os.environ['HOME'] + '/file', 'w').write('x')";
    assert_eq!(means(&place, "spy", home), "1");
    assert_eq!(means(&place, "spy", "open(os.environ['LOCKSTEP_ROUTED_FILE']).read().strip()"), "yes");
    assert_eq!(means(&place, "spy", "open('/dev/stdout', 'w').write('seen')"), "4");
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains(&format!("user: shop@1.0.0: {shop}, its own")), "{status}");
}

#[test]
fn a_service_keeps_its_user_and_its_data_over_versions_environments_and_whoever_is_killed() {
    let Some(folder) = open_folder() else { return };
    let mut place = Place::begin_with_users(folder);
    let repository = deployed(&place, "shop", "");
    let user = user_of(&place, "shop");
    means(&place, "shop", "open('var/kept', 'w').write('kept')");
    for supervisor in processes::of_supervisors(&place.data()).into_values() {
        kill(supervisor);
    }
    place.kill_server();
    let pid = processes::of_instances(&place.data()).into_values().next().unwrap();
    place.start_server();
    eventually("it is seen again", || {
        (pid_of(&place, "shop") == pid.as_raw_nonzero().to_string()).then_some(())
    });
    // Started again by a supervisor that has not started it.
    kill(pid);
    eventually("it runs again", || {
        let found = means(&place, "shop", "os.getpid()").parse::<i32>().ok()?;
        (found != pid.as_raw_nonzero().get()).then_some(())
    });
    assert_eq!(user_of(&place, "shop"), user);
    let version = next(&place, &repository, "shop", ("", "two"));
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(
        (user_of(&place, "shop"), means(&place, "shop", "open('var/kept').read()")),
        (user, "kept".to_owned())
    );
    place.run(&["remove", "shop", "--env", ENVIRONMENT]);
    // What was written down is lost; the data still says whose it is.
    place.stop_server();
    fs::remove_file(place.path("data/runtime/users.json")).unwrap();
    place.start_server();
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(
        (user_of(&place, "shop"), means(&place, "shop", "open('var/kept').read()")),
        (user, "kept".to_owned())
    );
}

#[test]
fn data_of_root_is_changed_over_with_what_an_old_instance_writes_until_it_ends() {
    let Some(folder) = open_folder() else { return };
    let mut place = Place::begin_in(folder);
    let repository = deployed(&place, "shop", "");
    assert_eq!(user_of(&place, "shop"), 0);
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    assert!(place.run(&["status", ENVIRONMENT]).contains("run as root"));
    means(&place, "shop", "(os.makedirs('var/deep/er'), open('var/deep/er/kept', 'w').write('kept'))");
    let foreign = PathBuf::from(place.path("foreign"));
    fs::write(&foreign, "foreign").unwrap();
    let var = PathBuf::from(place.path("data/runtime/data/development/shop/var"));
    fs::hard_link(&foreign, var.join("hard")).unwrap();
    std::os::unix::fs::symlink(&foreign, var.join("link")).unwrap();
    let pid = pid_of(&place, "shop");
    place.stop_server();
    place.start_server_asking(&["--service-users", "own"]);
    eventually("it is seen again", || (pid_of(&place, "shop") == pid).then_some(()));
    assert_eq!(user_of(&place, "shop"), 0, "what runs is left alone");

    let version = next(&place, &repository, "shop", ("", "two"));
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let user = user_of(&place, "shop");
    assert!(user != 0);
    assert_eq!(means(&place, "shop", "open('var/deep/er/kept', 'r+').read()"), "kept");
    let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
    assert_eq!([owner(&foreign), owner(&var.join("hard")), owner(&var.join("link"))], [0, 0, user]);
    let as_root = next(&place, &repository, "shop", ("user = \"root\"", "three"));
    place.run(&["deploy", &as_root, "--env", ENVIRONMENT]);
    assert_eq!(user_of(&place, "shop"), 0);
    assert_eq!(means(&place, "shop", "open('var/by-root', 'w').write('x')"), "1");
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains("user: shop@1.0.2: root, as its manifest says"), "{status}");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(user_of(&place, "shop"), user);
    eventually("what root wrote is its own", || (owner(&var.join("by-root")) == user).then_some(()));
    assert_eq!(owner(&foreign), 0);
}

#[test]
fn processes_are_limited_for_a_service_alone_where_it_has_a_user_of_its_own() {
    let Some(folder) = open_folder() else { return };
    let place = Place::begin_with_users(folder);
    deployed(&place, "bomb", "limits = { processes = 40 }");
    deployed(&place, "shop", "limits = { processes = 40 }");
    let fill = "[subprocess.Popen(['sleep', '1000']) for _ in range(100)]";
    assert_eq!(means(&place, "bomb", fill), "BlockingIOError");
    // Neighbours are not in the way of each other.
    assert_eq!(means(&place, "shop", "len([subprocess.Popen(['sleep', '1000']) for _ in range(20)])"), "20");
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains("processes 40"), "{status}");
    place.run(&["remove", "bomb", "--env", ENVIRONMENT]);
    eventually("nothing of it is left", || {
        (!processes::of_instances(&place.data()).keys().any(|id| id.starts_with("bomb"))).then_some(())
    });
}

#[test]
fn a_fixed_port_below_1024_is_listened_on_with_the_one_right_for_that() {
    let Some(folder) = open_folder() else { return };
    let place = Place::begin_with_users(folder);
    let port = (600..1023).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    deployed(&place, "shop", &format!("port = {port}"));
    assert!(user_of(&place, "shop") != 0);
    let rights = means(
        &place,
        "shop",
        "[line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')]",
    );
    assert_eq!(rights.matches("0000000000000400").count(), 5, "{rights}");
    assert_eq!(means(&place, "shop", "os.setuid(0)"), "PermissionError");
}

#[test]
fn a_version_may_ask_for_a_user_of_the_host_and_is_told_when_it_cannot_have_it() {
    let Some(folder) = open_folder() else { return };
    let place = Place::begin_with_users(folder);
    let repository = deployed(&place, "shop", "user = \"nobody\"");
    assert_eq!(
        (user_of(&place, "shop"), means(&place, "shop", "os.environ['USER']")),
        (65_534, "nobody".to_owned())
    );
    assert!(place.run(&["show", "shop@1.0.0"]).contains("nobody"));
    let version = next(&place, &repository, "shop", ("user = \"nosuchuser\"", "two"));
    let said = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 1);
    assert!(said.contains("there is no user `nosuchuser`"), "{said}");
    assert_eq!(user_of(&place, "shop"), 65_534);
    // A program that only root can reach.
    let program = place.path("mine");
    fs::copy(PYTHON, &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    write(&repository, "shop", ("", "three"));
    let manifest = fs::read_to_string(Path::new(repository.folder()).join("lockstep.toml")).unwrap();
    repository
        .write("lockstep.toml", &manifest.replace(&format!("\"{PYTHON} service.py\""), "\"sh -c './run'\""));
    repository.write("lockstep.toml", &manifest.replace(PYTHON, "mine"));
    repository.commit("fix: a program of root");
    let version = place.release("shop");
    let config = format!("PATH={}", place.path(""));
    place.run(&["config", "set", "shop", &config, "--env", ENVIRONMENT]);
    let said = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 1);
    assert!(said.contains("must be able to reach the program") && said.contains("user = \"root\""), "{said}");
    let checked = place.run(&["check", repository.folder()]);
    assert!(!checked.contains("user"), "{checked}");
}

#[test]
fn jobs_and_checks_of_health_run_as_the_user_of_the_service() {
    let Some(folder) = open_folder() else { return };
    let place = Place::begin_with_users(folder);
    let repository = place.repository("shop");
    write(&repository, "shop", ("", "one"));
    let manifest = fs::read_to_string(Path::new(repository.folder()).join("lockstep.toml")).unwrap();
    let check = "health = { command = \"sh -c 'id -u > var/check'\"";
    let manifest = manifest.replace("health = { http = \"/health\"", check);
    let job = "[[job]]\nname = \"count\"\nwhen = \"before-switch\"\ncommand = \"sh -c 'id -u > var/job'\"\n";
    repository.write("lockstep.toml", &format!("{manifest}{job}"));
    let version = place.first_release(&repository, "shop");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    // This check of health does not ask whether it listens.
    let user: u32 = eventually("it listens", || means(&place, "shop", "os.getuid()").parse().ok());
    let user = user.to_string();
    let read = |name: &str| means(&place, "shop", &format!("open('var/{name}').read().strip()"));
    assert_eq!([read("job"), read("check")], [user.clone(), user]);
}
