//! A set of hosts that is there for one test.

use std::net::TcpStream;
use std::process::{Command, Output};

use serde_json::Value;

use super::PATIENCE;

/// What `hosts` ends with on a machine that cannot.
const SKIPPED: i32 = 77;

/// A set that is taken down when the test ends, however it does.
pub(crate) struct Set {
    name: String,
}

impl Set {
    pub(crate) fn of(test: &str) -> Self {
        Self { name: format!("{test}{}", std::process::id()) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["hosts", "--set", &self.name]).args(words);
        command
    }

    pub(crate) fn try_to(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub(crate) fn run(&self, words: &[&str]) -> String {
        let output = self.try_to(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Brings hosts up; `false` where this machine cannot.
    pub(crate) fn is_up(&self, words: &[&str]) -> bool {
        let output = self.try_to(&[&["up"], words].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(SKIPPED) {
            eprintln!("{said}");
            return false;
        }
        assert!(output.status.success(), "{said}");
        true
    }

    pub(crate) fn host(&self, name: &str) -> Value {
        let description: Value = serde_json::from_str(&self.run(&["list", "--json"])).unwrap();
        let hosts = description["hosts"].as_array().unwrap();
        hosts.iter().find(|host| host["name"] == name).unwrap().clone()
    }

    pub(crate) fn connect(&self, name: &str) -> std::io::Result<TcpStream> {
        let address = format!("{}:22", self.host(name)["address"].as_str().unwrap());
        TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE)
    }

    /// Everything on the machine that has the name of this set.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let mine = format!("lockstep-hosts-{}", self.name);
        let listed =
            ["/run/netns", "/var/cache/lockstep-hosts/sets", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let entries = listed.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut left: Vec<String> =
            names.filter(|name| *name == self.name || name.starts_with(&mine)).collect();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&mine)).map(str::to_owned));
        left.extend(processes_with(&mine));
        left
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = self.try_to(&["down"]);
    }
}

fn processes_with(word: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(word)).collect()
}
