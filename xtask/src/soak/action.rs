//! What people do meanwhile: one action at a time, chosen by the seed, as commands that are typed.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::random::Random;
use super::service::NAMES;
use super::site::{PRODUCTION, STAGING, Site};
use crate::installation::typed;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Deploy,
    Canary,
    Promote,
    Rollback,
    RollbackEnvironment,
    Undo,
    UndoUnderWay,
    Scale,
    Restart,
    RestartInstance,
    Configure,
    Release,
    Gateways,
    Backup,
    Collect,
}

/// All of them; what moves versions comes more often than what does not.
const ALL: [Action; 20] = [
    Action::Deploy,
    Action::Deploy,
    Action::Canary,
    Action::Canary,
    Action::Promote,
    Action::Promote,
    Action::Rollback,
    Action::Rollback,
    Action::RollbackEnvironment,
    Action::Undo,
    Action::UndoUnderWay,
    Action::Scale,
    Action::Scale,
    Action::Restart,
    Action::RestartInstance,
    Action::Configure,
    Action::Release,
    Action::Release,
    Action::Gateways,
    Action::Backup,
];

/// How long an action may take before it counts as one that does not end.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Action {
    /// Chooses one.
    pub(super) fn choose(random: &mut Random) -> Self {
        // Collecting is rare, as it is with people.
        if random.percent(4) { Self::Collect } else { *random.choose(&ALL).unwrap_or(&Self::Deploy) }
    }

    /// Returns the time, in milliseconds, within which something interesting is under way.
    pub(super) const fn span_ms(self) -> u64 {
        match self {
            Self::Canary | Self::Promote | Self::UndoUnderWay => 3_500,
            Self::Release | Self::Restart => 1_500,
            _ => 700,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Done,
    /// It was carried out and taken back, or the build failed.
    TakenBack,
    /// A rule refused it, or there was nothing to do it on.
    Refused,
    /// The server could not be reached for longer than commands wait, or something else was under way.
    Unavailable,
    /// Anything else: a fault.
    Odd,
}

impl End {
    const fn of(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Done,
            Some(1) => Self::TakenBack,
            Some(3 | 4) => Self::Refused,
            Some(5 | 6) => Self::Unavailable,
            _ => Self::Odd,
        }
    }

    /// Says it in words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TakenBack => "taken back",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Odd => "odd",
        }
    }
}

/// An action that is under way.
pub(super) struct UnderWay {
    thread: JoinHandle<Result<(End, String)>>,
}

impl UnderWay {
    /// Waits for its end: how, and the last words of a command that did not succeed.
    pub(super) fn join(self) -> Result<(End, String)> {
        self.thread.join().unwrap_or_else(|_| Ok((End::Odd, "the thread of the action panicked".into())))
    }

    /// Tells whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Chooses what an action is done to, and begins it. The commands and their words go to `actions.log`.
pub(super) fn begin(site: &mut Site, action: Action, round: u64, random: &mut Random) -> Result<UnderWay> {
    let commands = commands(site, action, round, random)?;
    let log = site.installation.folder().join("actions.log");
    let mut prepared = Vec::new();
    for arguments in commands {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = site.installation.command();
        command.args(&words);
        prepared.push((typed(&words), command));
    }
    let thread = thread::spawn(move || run_all(prepared, &log));
    Ok(UnderWay { thread })
}

fn run_all(commands: Vec<(String, Command)>, log: &PathBuf) -> Result<(End, String)> {
    for (words, mut command) in commands {
        let end = run(&words, &mut command, log)?;
        if end.0 != End::Done {
            return Ok(end);
        }
    }
    Ok((End::Done, String::new()))
}

fn run(words: &str, command: &mut Command, log: &PathBuf) -> Result<(End, String)> {
    use std::io::Write as _;
    let mut file = File::options().create(true).append(true).open(log)?;
    writeln!(file, "{} $ lockstep {words}", super::caller::now_ms())?;
    let begin = file.metadata()?.len();
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);
    let mut child = command.spawn().context("cannot run lockstep")?;
    let started = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait()? {
            break status.code();
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok((End::Odd, format!("`lockstep {words}` did not end within {PATIENCE:?}")));
        }
        thread::sleep(LOOK_EVERY);
    };
    writeln!(file, "{} (exit code {code:?})", super::caller::now_ms())?;
    Ok((End::of(code), format!("`lockstep {words}` ended with {code:?}: {}", said(log, begin))))
}

/// Returns the end of what a command wrote.
fn said(log: &PathBuf, begin: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = usize::try_from(begin).unwrap_or(0).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines[lines.len().saturating_sub(6)..].join(" | ")
}

/// What is there to choose from.
struct Known {
    /// The index of the service.
    service: usize,
    versions: Vec<String>,
    /// Those that have run in production.
    ran: Vec<String>,
    /// The version that production runs.
    current: String,
    replicas: u64,
    baseline: u64,
    instances: Vec<String>,
}

impl Known {
    fn look(site: &Site, service: usize) -> Result<Self> {
        let status = site.status(PRODUCTION)?;
        let services: Vec<&Value> = status["services"].as_array().into_iter().flatten().collect();
        let own = services.iter().find(|view| view["service"] == NAMES[service]);
        let current = own.and_then(|view| view["entry"]["version"].as_str()).unwrap_or_default().to_owned();
        let replicas = own.and_then(|view| view["replicas"].as_u64()).unwrap_or(0);
        let all = services.iter().flat_map(|view| view["instances"].as_array().into_iter().flatten());
        let all = all.filter(|instance| instance["state"]["state"] == "healthy");
        let instances = all.filter_map(|instance| instance["id"].as_str().map(str::to_owned)).collect();
        let versions = site.versions(service)?.into_iter().map(|(version, _)| version).collect();
        let history = site.installation.ask("GET", &format!("/environments/{PRODUCTION}/history"), "")?;
        let entries = history["baselines"].as_array().into_iter().flatten();
        let ran = entries.filter_map(|baseline| baseline["entries"][NAMES[service]]["version"].as_str());
        let ran: BTreeSet<_> = ran.map(str::to_owned).filter(|version| *version != current).collect();
        let (ran, baseline) = (ran.into_iter().collect(), status["baseline"].as_u64().unwrap_or(0));
        Ok(Self { service, versions, ran, current, replicas, baseline, instances })
    }

    /// Chooses a version that does not run, the newest as often as any other.
    fn other(&self, random: &mut Random) -> String {
        let others: Vec<_> = self.versions.iter().filter(|version| **version != self.current).collect();
        let newest = random.percent(50);
        let chosen = random.choose(&others).copied();
        let chosen = if newest { others.last().copied() } else { chosen };
        chosen.cloned().unwrap_or_else(|| self.current.clone())
    }
}

fn commands(site: &mut Site, action: Action, round: u64, random: &mut Random) -> Result<Vec<Vec<String>>> {
    let index = usize::try_from(random.below(NAMES.len() as u64)).unwrap_or(0);
    if action == Action::Release {
        site.repositories[index].commit()?;
    }
    let known = Known::look(site, index)?;
    let name = NAMES[known.service];
    let label = format!("{name}@{}", known.other(random));
    let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let to_production = |words: &[&str]| line(&[words, &["--env", PRODUCTION]].concat());
    let canary = ["--strategy", "canary", "--steps", "30,100", "--bake", "1s", "--min-requests", "0"];
    let path = |name: &str| site.installation.folder().join(name).display().to_string();
    Ok(match action {
        Action::Deploy => vec![to_production(&["deploy", &label, "--release-holds"])],
        Action::Canary => {
            vec![to_production(&[&["deploy", &label, "--release-holds"], &canary[..]].concat())]
        }
        Action::Promote => vec![
            line(&["deploy", &label, "--env", STAGING, "--release-holds"]),
            line(&["promote", STAGING, PRODUCTION, name, "--release-holds"]),
        ],
        Action::Rollback => {
            let to = random.choose(&known.ran).unwrap_or(&known.current);
            vec![to_production(&["rollback", name, "--to", to])]
        }
        Action::RollbackEnvironment => {
            let to = known.baseline.saturating_sub(1 + random.below(3)).max(1).to_string();
            vec![line(&["rollback", PRODUCTION, "--to", &to])]
        }
        Action::Undo => vec![line(&["undo", PRODUCTION])],
        Action::UndoUnderWay => vec![
            to_production(&[&["deploy", &label, "--release-holds", "--no-wait"], &canary[..]].concat()),
            line(&["undo", PRODUCTION]),
        ],
        Action::Scale => {
            // Two, three or four, and not what it is.
            let count = 2 + (known.replicas.saturating_sub(2) + 1 + random.below(2)) % 3;
            let count = count.to_string();
            vec![to_production(&["scale", name, &count])]
        }
        Action::Restart => vec![to_production(&["restart", name])],
        Action::RestartInstance => {
            let id = random.choose(&known.instances).cloned().unwrap_or_default();
            vec![to_production(&["instance", "restart", &id])]
        }
        Action::Configure => {
            let colour = format!("COLOUR=c{}", random.below(1_000));
            vec![to_production(&["config", "set", name, &colour])]
        }
        Action::Release => vec![line(&["release", name])],
        Action::Gateways => {
            let (gateway, key) = (format!("guest-{round}"), path(&format!("guest-{round}.key")));
            vec![
                to_production(&["gateway", "add", &gateway, "--key-file", &key]),
                line(&["gateway", "remove", &gateway]),
            ]
        }
        Action::Backup => {
            let (file, data) = (path("soak.backup"), site.installation.data().display().to_string());
            vec![
                line(&["backup", "create", &file, "--data", &data, "--force"]),
                line(&["backup", "verify", &file]),
            ]
        }
        Action::Collect => vec![line(&["store", "gc"])],
    })
}
