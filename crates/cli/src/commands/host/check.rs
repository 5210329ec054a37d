//! `lockstep host check`: could instances run on this host?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::ssh_target::SshTarget;
use lockstep_hosts::{ConnectError, ConnectFault, HostLook, Program, Ssh, fingerprint, pinned};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::sizes::size;
use crate::output::style::{Style, printable};
use crate::progress::Progress;

/// Under which name the key of the host stands in a file that is thrown away.
const ALIAS: &str = "lockstep-host-check";
/// Clocks that differ by more make logs and certificates hard to follow.
const MAX_CLOCK_DIFFERENCE_MS: u64 = 5_000;
/// A disk with less room is full after the first artifacts.
const MIN_FREE_BYTES: u64 = 1024 * 1024 * 1024;

/// Looks whether instances could run on a server that is reached over SSH, and says what to do about each thing that is missing.
///
/// Connects with the `ssh` of this machine and its configuration, so aliases, jump hosts, agents and keys of ~/.ssh/config hold. Brings the program of
/// Lockstep to a folder of the user there, by default ~/.local/share/lockstep/host, unless this very program is there already; it looks around and ends. Nothing else is
/// changed there, nothing is started, and no key of the host is remembered: compare the fingerprint with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the host.
///
/// Ends with code 0 when instances could run there, with 3 when something keeps them from it, with 5 when the host is not reached, and with 7 when it does not let us in.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host check deploy@10.0.0.5
  lockstep host check web1 --key ~/.ssh/deploy
  lockstep host check 'deploy@[fd00::5]:2222' --json")]
pub(super) struct CheckArgs {
    /// Where `ssh` connects to: [USER@]HOST[:PORT].
    #[arg(value_name = "TARGET")]
    target: SshTarget,
    /// Log in with this key alone; what the configuration and the agent of ssh have when left out.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The folder on the host; one in the home folder of the user when left out.
    #[arg(long, value_name = "FOLDER", value_parser = folder)]
    folder: Option<String>,
    /// The program for the host, where it has another architecture; this program when left out.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The ports that instances would get.
    #[arg(long, value_name = "FIRST-LAST", default_value_t = PortRange::USUAL)]
    ports: PortRange,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    target: String,
    /// Whether instances could run there.
    usable: bool,
    /// The key that the host has shown: its kind and its fingerprint.
    key: Option<String>,
    round_trip_ms: u64,
    /// By how much the clock there is ahead; negative when it is behind.
    clock_ahead_ms: i64,
    name: String,
    kernel: String,
    architecture: String,
    processors: u32,
    memory_bytes: u64,
    folder: String,
    free_bytes: u64,
    free_ports: u32,
    /// The address at which the connection came in.
    address: Option<std::net::IpAddr>,
    /// The server that has the host, where one has.
    owner: Option<String>,
    /// What keeps instances from running there.
    problems: Vec<String>,
    /// What is worth knowing.
    notes: Vec<String>,
}

impl CheckArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let scratch = tempfile::tempdir().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        let known_hosts = scratch.path().join("known_hosts");
        let program = self.program()?;
        let progress = Progress::begin(out);
        let bringing = size(program.bytes());
        progress.status(&format!(
            "asking {} (the program, {bringing}, is sent where it is not there yet)",
            self.target
        ));
        let looked = self.look(program, known_hosts.clone());
        drop(progress);
        let key = pinned(&known_hosts, ALIAS).ok().flatten().and_then(|key| fingerprint(&key));
        let found = looked.map_err(|error| self.failure(&error, key.as_deref()))?;
        let found = self.found(found, key);
        out.show(&found, render)?;
        if found.usable { Ok(()) } else { Err(unusable(&found)) }
    }

    fn program(&self) -> Result<Program, Failure> {
        let path = match &self.program {
            Some(path) => path.clone(),
            None => {
                std::env::current_exe().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?
            }
        };
        Program::of(&path).map_err(|error| Failure::file("read", &path, &error))
    }

    fn look(&self, program: Program, known_hosts: PathBuf) -> Result<HostLook, ConnectError> {
        let ssh = Ssh {
            target: self.target.clone(),
            key: self.key.clone(),
            known_hosts,
            alias: ALIAS.to_owned(),
            folder: self.folder.clone(),
            program: Arc::new(program),
            configuration: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| ConnectError { fault: ConnectFault::Broken, text: error.to_string() })?;
        runtime.block_on(lockstep_hosts::look(&ssh, self.ports, now_ms))
    }

    fn found(&self, look: HostLook, key: Option<String>) -> Found {
        let (problems, notes) = (self.problems(&look), notes(&look));
        let HostLook { looked, round_trip, clock_ahead_ms } = look;
        let facts = looked.facts;
        Found {
            target: self.target.to_string(),
            usable: problems.is_empty(),
            key,
            round_trip_ms: milliseconds(round_trip),
            clock_ahead_ms,
            name: facts.name,
            kernel: facts.kernel,
            architecture: facts.architecture,
            processors: facts.processors,
            memory_bytes: facts.memory_bytes,
            folder: facts.folder,
            free_bytes: facts.free_bytes,
            free_ports: looked.free_ports,
            address: facts.address,
            owner: looked.owner,
            problems,
            notes,
        }
    }

    fn problems(&self, look: &HostLook) -> Vec<String> {
        let facts = &look.looked.facts;
        let ahead = look.clock_ahead_ms;
        let clock = (ahead.unsigned_abs() > MAX_CLOCK_DIFFERENCE_MS).then(|| {
            let which = if ahead > 0 { "ahead of" } else { "behind" };
            let by = seconds(ahead.unsigned_abs());
            format!("its clock is {by} {which} that of this machine; on the host: timedatectl set-ntp true")
        });
        let room = (facts.free_bytes < MIN_FREE_BYTES).then(|| {
            let (free, wanted) = (size(facts.free_bytes), size(MIN_FREE_BYTES));
            format!(
                "{free} are free in {}, and {wanted} are wanted; name another folder with --folder",
                facts.folder
            )
        });
        let ports = (look.looked.free_ports == 0)
            .then(|| format!("no port of {} is free there; name others with --ports FIRST-LAST", self.ports));
        [clock, room, ports, look.looked.ends_at_logout.clone()].into_iter().flatten().collect()
    }

    fn failure(&self, error: &ConnectError, key: Option<&str>) -> Failure {
        let exit = match error.fault {
            ConnectFault::Unreachable | ConnectFault::Broken => Exit::Unreachable,
            ConnectFault::Login | ConnectFault::HostKey => Exit::Unauthorized,
            ConnectFault::NoSsh => Exit::NotFound,
            _ => Exit::Refused,
        };
        let failure = Failure::new(exit, format!("{} cannot be used: {error}", self.target));
        let failure = match key {
            Some(key) => failure.because(format!("its key is {key}")),
            None => failure,
        };
        match self.next_command(error.fault) {
            Some(next) => failure.hint(next),
            None => failure,
        }
    }

    /// What to do next.
    fn next_command(&self, fault: ConnectFault) -> Option<String> {
        let key = self.key.as_ref().map(|key| format!(" -i {}", key.display())).unwrap_or_default();
        let port = self.target.port.map(|port| format!(" -p {port}")).unwrap_or_default();
        let user = self.target.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let by_hand = format!("ssh{key}{port} {user}{} true", self.target.host);
        Some(match fault {
            ConnectFault::Unreachable | ConnectFault::Broken => format!("try it by hand: {by_hand}"),
            ConnectFault::Login => {
                format!("put the public key into ~/.ssh/authorized_keys of the user there, or name a key with --key; by hand: {by_hand}")
            }
            ConnectFault::HostKey => {
                format!("where the way leads over a jump host, its key is not known yet: log in there once by hand; else find out why the key changed: {by_hand}")
            }
            ConnectFault::NoShell => "give the user a shell; as root on the host: usermod --shell /bin/sh USER".to_owned(),
            ConnectFault::Garbage => format!("nothing may be printed by: {by_hand}"),
            ConnectFault::Folder | ConnectFault::Write => "name a folder that the user may write, with room, with --folder".to_owned(),
            ConnectFault::Architecture => "give a program that is built for it, with --program FILE".to_owned(),
            ConnectFault::Program => {
                "where it says `GLIBC`, the host is older than this program: give one that is built on a system as old, with --program FILE; where it says `Permission denied`, the folder may be mounted noexec: name another with --folder".to_owned()
            }
            ConnectFault::NoSsh | ConnectFault::Refused => return None,
        })
    }
}

fn notes(look: &HostLook) -> Vec<String> {
    let facts = &look.looked.facts;
    let boot = facts.not_after_boot.iter().map(|why| format!("after a boot without a server: {why}"));
    let owner = look.looked.owner.iter().map(|owner| format!("the server `{owner}` has the host already"));
    let open = facts.unprotected.iter().map(|what| format!("on this host {what}"));
    boot.chain(owner).chain(open).collect()
}

fn render(found: &Found, style: &Style) -> String {
    let Found { target, name, kernel, architecture, processors, folder, .. } = found;
    let key = found.key.as_ref().map(|key| format!(", its key is {key}")).unwrap_or_default();
    let (round_trip, memory, room) = (found.round_trip_ms, size(found.memory_bytes), size(found.free_bytes));
    let good = [
        format!("{target} answers within {round_trip} ms{key}"),
        format!("{name}: Linux {kernel} on {architecture}, {processors} processors, {memory} of memory"),
        format!("{room} are free in {folder}"),
        format!("{} ports are free for instances", found.free_ports),
    ];
    let good = good.iter().map(|line| format!("{}  {}\n", style.good("ok"), printable(line)));
    let notes = found.notes.iter().map(|line| format!("{} {}\n", style.strong("note"), printable(line)));
    let problems = found.problems.iter().map(|line| format!("{}  {}\n", style.bad("no"), printable(line)));
    good.chain(notes).chain(problems).collect()
}

fn unusable(found: &Found) -> Failure {
    let detail = match &found.problems[..] {
        [only] => format!("instances cannot run on {}: {only}", found.target),
        several => format!("{} things keep instances from running on {}", several.len(), found.target),
    };
    Failure::new(Exit::Refused, detail)
}

fn folder(text: &str) -> Result<String, String> {
    let is_plain = text.starts_with('/') && !text.chars().any(char::is_control);
    if is_plain { Ok(text.to_owned()) } else { Err("a folder on the host is an absolute path".to_owned()) }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(milliseconds: u64) -> String {
    format!("{} s", milliseconds / 1000)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
