//! The services that are soaked: one program that answers with the caller's own words, so that each answer can be checked
//! whole, and with who it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Their names. The first one calls the second.
pub(super) const NAMES: [&str; 3] = ["front", "back", "mail"];

/// Answers with the id that it was given, what was sent, and who it is; every third answer comes in chunks, and
/// every seventh takes its time, so that drains and kills meet requests under way. `MARK` is the
/// number of the commit, so that a version that runs another one's code is found.
const PROGRAM: &str = r#"import http.client, json, os, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARK = 0
CALLED = os.environ.get("LOCKSTEP_URL_BACK")

def call(key):
    url = urllib.parse.urlsplit(CALLED)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=15)
    try:
        connection.request("GET", url.path + "/back", headers={"x-soak-id": key})
        answer = connection.getresponse()
        body = answer.read().decode()
        return json.loads(body) if answer.status == 200 else {"failed": f"status {answer.status}: {body[:300]}"}
    except Exception as error:
        return {"failed": repr(error)}
    finally:
        connection.close()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        sent = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        key = self.headers.get("x-soak-id") or "0"
        if int(key) % 7 == 0:
            time.sleep(0.2)
        called = call(key) if CALLED and self.path != "/health" else None
        status = 502 if called and "failed" in called else 200
        answer = {"id": key, "service": os.environ["LOCKSTEP_SERVICE"], "version": os.environ["LOCKSTEP_VERSION"],
                  "mark": MARK, "colour": os.environ.get("COLOUR", ""), "sent": sent,
                  "fill": key * (int(key) % 400), "called": called}
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n"
        if int(key) % 3 == 0:
            half = len(body) // 2
            parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
            self.wfile.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")
        else:
            self.wfile.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 256

Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn manifest(name: &str) -> String {
    let requires = if name == NAMES[0] { "\n[requires.back]\nversion = \">=1\"\n" } else { "" };
    format!(
        r#"name = "{name}"
package.include = ["service.py"]
[build]
steps = ["sleep 0.4"]
[run]
command = "python3 -u service.py"
health = {{ http = "/health" }}
[[route]]
path = "/{name}"
{requires}"#
    )
}

/// What `fill` must be in the answer to a request.
pub(super) fn fill(id: u64) -> String {
    id.to_string().repeat(usize::try_from(id % 400).unwrap_or(0))
}

/// The repository of a service, which grows by commits that differ in their mark alone.
pub(super) struct Repository {
    /// The service.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) folder: PathBuf,
    mark: u64,
    marks: BTreeMap<String, u64>,
}

impl Repository {
    /// Makes a repository with its first commit.
    pub(super) fn begin(name: &'static str, below: &Path) -> Result<Self> {
        let folder = below.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("lockstep.toml"), manifest(name))?;
        let mut repository = Self { name, folder, mark: 0, marks: BTreeMap::new() };
        repository.git(&["init", "--quiet", "--initial-branch", "main"])?;
        repository.commit()?;
        Ok(repository)
    }

    /// Adds a commit with the next mark.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.mark += 1;
        let program = PROGRAM.replace("MARK = 0", &format!("MARK = {}", self.mark));
        fs::write(self.folder.join("service.py"), program)?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", &format!("feat: mark {}", self.mark)])?;
        let commit = self.git(&["rev-parse", "HEAD"])?;
        self.marks.insert(commit.trim().to_owned(), self.mark);
        Ok(())
    }

    /// Returns the mark of a commit.
    pub(super) fn mark_of(&self, commit: &str) -> Option<u64> {
        self.marks.get(commit).copied()
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder);
        command
            .args(["-c", "user.name=soak", "-c", "user.email=soak@shop.example", "-c", "gc.auto=0"])
            .args(arguments);
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
            command.env_remove(variable);
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command:?} failed: {words}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
