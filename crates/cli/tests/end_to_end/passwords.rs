//! Passwords of repositories: never recorded, never shown, in no list of processes; and how a server proves who it is.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lockstep_domain::Event;
use lockstep_domain::service::Source;
use lockstep_store::Journal;
use lockstep_store::journal::NewRecord;

use super::support::eventually;
use super::support::place::{Env, Place};
use super::support::repository::{Repository, manifest, service};

/// A git server with HTTPS that asks for a password, as any of them does.
const GIT_SERVER: &str = r#"
import base64, http.server, os, ssl, subprocess, sys
root, certificate, port_file = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = 'Basic ' + base64.b64encode(b'ann:s3cr@t').decode()
        if self.headers.get('Authorization') != wanted:
            self.send_response(401)
            self.send_header('WWW-Authenticate', 'Basic realm="git"')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        path, _, query = self.path.partition('?')
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        env = dict(os.environ, GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL='1', PATH_INFO=path, QUERY_STRING=query,
            REQUEST_METHOD=self.command, CONTENT_TYPE=self.headers.get('Content-Type', ''),
            CONTENT_LENGTH=str(len(body)), REMOTE_USER='ann',
            HTTP_CONTENT_ENCODING=self.headers.get('Content-Encoding', ''))
        answer = subprocess.run(['git', 'http-backend'], input=body, env=env, capture_output=True).stdout
        head, _, body = answer.partition(b'\r\n\r\n')
        fields = dict(line.split(': ', 1) for line in head.decode().split('\r\n'))
        self.send_response(int(fields.pop('Status', '200').split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + '.new', 'w') as file:
    file.write(str(server.server_port))
os.rename(port_file + '.new', port_file)
server.serve_forever()
"#;

struct GitServer {
    process: Child,
    port: String,
}

impl GitServer {
    /// Serves the repositories of a folder; `None` where a certificate cannot be made.
    fn start(folder: &Path) -> Option<Self> {
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                &at("key.pem"),
                "-out",
                &at("ca.pem"),
            ])
            .output();
        made.is_ok_and(|output| output.status.success()).then_some(())?;
        let both = fs::read_to_string(at("key.pem")).unwrap() + &fs::read_to_string(at("ca.pem")).unwrap();
        fs::write(at("server.pem"), both).unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", GIT_SERVER, &at("git"), &at("server.pem"), &at("port")]);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let port = eventually("the git server listens", || fs::read_to_string(at("port")).ok());
        Some(Self { process, port })
    }

    fn url(&self, before_host: &str) -> String {
        format!("https://{before_host}localhost:{}/store.git", self.port)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder with a bare repository of a service in `git/`, and variables for a server that trusts the git server's
/// certificate and has a home of its own.
fn prepared() -> (tempfile::TempDir, Env) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let repository = Repository::begin(at("work").into());
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    repository.commit("feat: begin");
    fs::create_dir(at("git")).unwrap();
    repository.git(&["clone", "--quiet", "--bare", ".", &at("git/store.git")]);
    fs::create_dir(at("home")).unwrap();
    // A wrapper notes every call of git with its arguments.
    let real = String::from_utf8(Command::new("sh").args(["-c", "command -v git"]).output().unwrap().stdout)
        .unwrap();
    fs::create_dir(at("bin")).unwrap();
    let wrapper = format!("#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n", at("calls"), real.trim());
    fs::write(at("bin/git"), wrapper).unwrap();
    fs::set_permissions(at("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", at("bin"), std::env::var("PATH").unwrap());
    let env = vec![("GIT_SSL_CAINFO", at("ca.pem")), ("HOME", at("home")), ("PATH", path)];
    (folder, env)
}

/// Every file below a folder that holds a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn a_server_proves_who_it_is_with_the_credential_helper_of_its_user() {
    let (folder, env) = prepared();
    let Some(git) = GitServer::start(folder.path()) else {
        eprintln!("skipped: openssl makes no certificate here");
        return;
    };
    let home = folder.path().join("home");
    let place = Place::begin_with(folder, env);
    let without = place.fail(&["service", "add", &git.url("")], 3);
    assert!(without.contains("could not read Username"), "{without}");
    // As docs/guides/configuration-and-secrets.md says it.
    let store = home.join("git-credentials");
    fs::write(&store, format!("https://ann:s3cr%40t@localhost:{}\n", git.port)).unwrap();
    let settings = format!(
        "[credential \"https://localhost:{}\"]\n\thelper = store --file {}\n",
        git.port,
        store.display()
    );
    fs::write(home.join(".gitconfig"), settings).unwrap();
    place.run(&["service", "add", &git.url("")]);
    assert_eq!(place.release("store"), "store@1.0.0");
    for secret in ["s3cr@t", "s3cr%40t"] {
        assert_eq!(files_with(Path::new(&place.data()), secret), Vec::<String>::new());
    }
}

#[test]
fn an_address_with_a_password_is_recorded_nowhere() {
    let place = Place::begin();
    for address in [
        "https://ann:s3cr@t@localhost:1/store.git",
        "https://s3cr@t@localhost:1/x",
        "ssh://git:s3cr@t@localhost/x",
    ] {
        let said = place.fail(&["service", "add", address], 2);
        assert!(said.contains("credential helper") && !said.contains("s3cr"), "{said}");
    }
    // A client that sends it all the same is refused by the server.
    let body = r#"{"repository": "https://ann:s3cr@t@localhost:1/store.git"}"#;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--header", "Content-Type: application/json", "--data", body]);
    let output = curl.arg(format!("{}/api/v1/services", place.url())).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains("it holds a password") && !answer.contains("s3cr@t"), "{answer}");
    assert_eq!(files_with(Path::new(&place.data()), "s3cr@t"), Vec::<String>::new());
}

#[test]
fn a_password_that_an_older_release_recorded_works_and_is_shown_nowhere() {
    let (folder, env) = prepared();
    let Some(git) = GitServer::start(folder.path()) else {
        eprintln!("skipped: openssl makes no certificate here");
        return;
    };
    let calls = folder.path().join("calls");
    let mut place = Place::begin_with(folder, env);
    place.stop_server();
    let event = Event::ServiceRegistered {
        service: "store".parse().unwrap(),
        source: Source { repository: git.url("ann:s3cr%40t@"), folder: String::new() },
        owner: None,
        lifecycle: "default".parse().unwrap(),
        unrelated: None,
    };
    let mut journal = Journal::open(Path::new(&place.data())).unwrap();
    let (last, at) = (journal.last().seq, journal.reader().read(journal.last().seq - 1, 1).unwrap()[0].at);
    let record = NewRecord {
        at,
        actor: "ann@example.org".parse().unwrap(),
        event: serde_json::to_string(&event).unwrap(),
    };
    journal.append(last, &[record]).unwrap();
    drop(journal);
    place.start_server();
    assert_eq!(place.release("store"), "store@1.0.0");
    // A git that fails repeats the address it was given.
    drop(git);
    let mut said = place.fail(&["release", "store", "--bump", "patch"], 1);
    for command in [
        &["services", "--json"][..],
        &["show", "store"],
        &["show", "store", "--json"],
        &["logs", "b1"],
        &["logs", "b2"],
    ] {
        said += &place.run(command);
    }
    said += &fs::read_to_string(&calls).unwrap();
    for secret in ["s3cr@t", "s3cr%40t"] {
        assert!(!said.contains(secret), "{said}");
        let files = files_with(Path::new(&place.data()), secret);
        assert!(files.iter().all(|file| file.contains("/journal.db")), "{files:#?}");
    }
    assert!(said.contains("https://localhost:"), "{said}");
}
