//! Git repositories of small services in Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A git repository.
pub(crate) struct Repository {
    folder: PathBuf,
}

impl Repository {
    pub(crate) fn begin(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let repository = Self { folder };
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        repository
    }

    pub(crate) fn folder(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Runs git in it; returns what it says.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir::<&Path>(&self.folder)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "git {}: {}", arguments.join(" "), text(output.stderr));
        text(output.stdout).trim().to_owned()
    }

    /// A repository that is there already.
    pub(crate) fn at(folder: &str) -> Self {
        Self { folder: folder.into() }
    }
}

/// Writes the manifest of a service that runs `service.py` and takes requests for its own name; `more` comes first in
/// `[run]`, `after` follows all of it.
pub(crate) fn manifest(name: &str, more: &str, after: &str) -> String {
    let python = python();
    format!(
        "name = \"{name}\"\n\n[[route]]\npath = \"/{name}\"\n\n[run]\ncommand = \"{python} service.py\"\n\
         health = {{ http = \"/health\", interval = \"100ms\", start_timeout = \"20s\" }}\n{more}\n{after}\n"
    )
}

/// Returns the interpreter itself: what is found in the path can be a script of a version manager, and those are slow.
pub(crate) fn python() -> String {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes a service that answers every request with a text.
pub(crate) fn service(text: &str) -> String {
    misbehaving(text, "pass", "pass")
}

/// Writes a service that does something of its own at its start and before each answer.
pub(crate) fn misbehaving(text: &str, at_start: &str, at_request: &str) -> String {
    SERVICE.replace("TEXT", text).replace("AT_START", at_start).replace("AT_REQUEST", at_request)
}

const SERVICE: &str = "\
import http.server, os, signal, socketserver, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        status = 200
        AT_REQUEST
        body = b'TEXT'
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
AT_START
Server((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()
";
