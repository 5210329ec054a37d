//! `lockstep host check`: a host over SSH is looked at, and nothing of it is changed but the program that was brought.

#[path = "../../../hosts/tests/ssh/server.rs"]
pub(crate) mod server;

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use self::server::SshServer;

/// A server of SSH on this machine, and the folder of its host.
struct Bench {
    server: SshServer,
    folder: TempDir,
}

impl Bench {
    fn begin(extra: &str) -> Self {
        Self { server: SshServer::begin(extra), folder: tempfile::tempdir().unwrap() }
    }

    fn host(&self) -> String {
        self.folder.path().join("host").display().to_string()
    }

    /// Checks the host, and returns what was said.
    fn check(&self, arguments: &[&str], expected: i32) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(["host", "check", &self.server.target(), "--folder", &self.host(), "--key"]);
        command.arg(self.server.key()).args(arguments).env_remove("LOCKSTEP_TOKEN");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{text}");
        text
    }
}

#[test]
fn a_host_is_looked_at_and_everything_that_is_missing_is_told_at_once() {
    let bench = Bench::begin("");
    let text = bench.check(&[], 0);
    let key = Command::new("ssh-keygen").arg("-lf").arg(bench.server.file("host.pub")).output().unwrap();
    let key = String::from_utf8(key.stdout).unwrap();
    let fingerprint = key.split_whitespace().nth(1).unwrap();
    for wanted in [fingerprint, "processors", "are free in", "ports are free for instances"] {
        assert!(text.contains(wanted), "`{wanted}` is missing in {text}");
    }
    let found: Value = serde_json::from_str(&bench.check(&["--json"], 0)).unwrap();
    assert_eq!((found["usable"].as_bool(), found["owner"].is_null()), (Some(true), true), "{found}");
    assert_eq!(found["address"], "127.0.0.1");
    assert!(found["clock_ahead_ms"].as_i64().unwrap().abs() < 5_000, "{found}");
    let made: Vec<_> = fs::read_dir(bench.host()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(made.len(), 2, "{made:?}");

    // The only port that instances would get is in use.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = bench.check(&["--ports", &format!("{port}-{port}")], 3);
    assert!(text.contains("no port of") && text.contains("--ports FIRST-LAST"), "{text}");
}

#[test]
fn what_keeps_a_host_from_being_used_has_its_words_and_its_next_command() {
    for (command, code, wanted) in [
        ("/usr/sbin/nologin", 3, "usermod --shell"),
        ("yes", 3, "nothing may be printed by: ssh -i"),
        ("true", 5, "try it by hand: ssh -i"),
    ] {
        let text = Bench::begin(&format!("ForceCommand {command}")).check(&[], code);
        assert!(text.contains(wanted), "{command}: {text}");
    }
    let mut bench = Bench::begin("");
    fs::write(bench.server.file("client.pub"), "").unwrap();
    let text = bench.check(&[], 7);
    assert!(text.contains("authorized_keys") && text.contains("its key is ssh-ed25519 SHA256:"), "{text}");
    bench.server.end();
    let text = bench.check(&[], 5);
    assert!(text.contains("Connection refused"), "{text}");
    let text = bench.check(&["--program", "/no/such/program"], 2);
    assert!(text.contains("/no/such/program"), "{text}");
}
