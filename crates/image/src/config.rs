//! What an image says of how it is run, and what of that a manifest still leaves to it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oci::Config;
use crate::user::User;

/// Where programs are looked for when an image does not say, as Docker does.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How an image is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What comes before the arguments.
    pub entrypoint: Vec<String>,
    /// The arguments, or all of it.
    pub arguments: Vec<String>,
    /// Its variables, with `PATH` and `HOME`.
    pub variables: BTreeMap<String, String>,
    /// The user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Where it runs, from the root on.
    pub folder: String,
    /// On which ports it says that it listens, as `8080/tcp`.
    pub ports: Vec<String>,
    /// Which folders it says that it writes to.
    pub volumes: Vec<String>,
    /// By which signal it wants to be ended, as `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// How it says that its health is asked.
    pub health: Option<Health>,
    /// The commit that it was made of, as a label says.
    pub revision: Option<String>,
    config: Config,
}

/// A health check of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Program and arguments.
    pub command: Vec<String>,
}

/// What of an image is wanted beside what a manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Its command and its arguments.
    Everything,
    /// Its command, with these arguments.
    WithArguments(&'a [String]),
}

impl Facts {
    pub(crate) fn of(config: Config, user: &User) -> Self {
        let mut variables: BTreeMap<_, _> = config
            .env
            .iter()
            .flatten()
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        variables.entry("PATH".to_owned()).or_insert_with(|| USUAL_PATH.to_owned());
        let home = user.home.clone().unwrap_or_else(|| if user.id == 0 { "/root" } else { "/" }.to_owned());
        variables.entry("HOME".to_owned()).or_insert(home);
        let folder = config.working_dir.clone().unwrap_or_default();
        Self {
            entrypoint: config.entrypoint.clone().unwrap_or_default(),
            arguments: config.cmd.clone().unwrap_or_default(),
            variables,
            user: user.id,
            group: user.group,
            folder: format!("/{}", folder.trim_start_matches('/')),
            ports: config.exposed_ports.iter().flatten().map(|(port, _)| port.clone()).collect(),
            volumes: config.volumes.iter().flatten().map(|(path, _)| path.clone()).collect(),
            stop_signal: config.stop_signal.clone().filter(|signal| !signal.is_empty()),
            health: config.healthcheck.as_ref().and_then(|health| health_of(health.test.as_deref()?)),
            revision: config.labels.as_ref().and_then(|labels| {
                labels.get("org.opencontainers.image.revision").cloned().filter(|text| !text.is_empty())
            }),
            config,
        }
    }

    /// The command that it is run by.
    #[must_use]
    pub fn command(&self, wanted: Wanted<'_>) -> Vec<String> {
        let arguments = match wanted {
            Wanted::Everything => &self.arguments,
            Wanted::WithArguments(arguments) => arguments,
        };
        self.entrypoint.iter().chain(arguments).cloned().collect()
    }

    /// What stands first in the artifact: what was read of the configuration. The same image gives the same bytes.
    ///
    /// # Panics
    /// Never: texts and lists of them can be written as JSON.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct First<'a> {
            format: u32,
            user: u32,
            group: u32,
            config: &'a Config,
        }
        let first = First { format: 1, user: self.user, group: self.group, config: &self.config };
        let mut bytes = serde_json::to_vec_pretty(&first).expect("texts can be written as JSON");
        bytes.push(b'\n');
        bytes
    }
}

fn health_of(test: &[String]) -> Option<Health> {
    let command = match test.split_first()? {
        (kind, rest) if kind == "CMD" => rest.to_vec(),
        (kind, [line]) if kind == "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        _ => return None,
    };
    (!command.is_empty()).then_some(Health { command })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        Facts::of(serde_json::from_str(json).unwrap(), &User { id: 7, group: 8, home: None })
    }

    #[test]
    fn what_docker_writes_is_read() {
        let facts = facts(
            r#"{"Entrypoint":["/entry"],"Cmd":["a","b"],"Env":["A=1=2","PATH=/bin","bad","=x"],"WorkingDir":"srv",
                "ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGQUIT","User":"app",
                "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5},"Labels":{"org.opencontainers.image.revision":"abc"}}"#,
        );
        assert_eq!(facts.command(Wanted::Everything), ["/entry", "a", "b"]);
        assert_eq!(facts.command(Wanted::WithArguments(&["c".to_owned()])), ["/entry", "c"]);
        assert_eq!(facts.variables["A"], "1=2");
        assert_eq!((facts.variables["HOME"].as_str(), facts.variables.len()), ("/", 3));
        assert_eq!((facts.folder.as_str(), facts.ports.as_slice()), ("/srv", &["80/tcp".to_owned()][..]));
        assert_eq!(facts.health.unwrap().command, ["/bin/sh", "-c", "true"]);
        assert_eq!(facts.revision.as_deref(), Some("abc"));
    }

    #[test]
    fn what_is_null_or_missing_says_nothing() {
        let facts = facts(r#"{"Entrypoint":null,"Cmd":null,"Env":null,"ExposedPorts":null,"WorkingDir":""}"#);
        assert!(facts.command(Wanted::Everything).is_empty());
        assert_eq!((facts.folder.as_str(), facts.variables["PATH"].as_str()), ("/", USUAL_PATH));
    }
}
