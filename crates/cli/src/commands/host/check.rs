//! `lockstep host check`: could instances run on this host?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_api::client::ClientError;
use lockstep_api::problem::ErrorCode;
use lockstep_api::types::HostFindings;
use lockstep_domain::HostName;
use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::ssh_target::SshTarget;
use lockstep_hosts::{
    ConnectError, ConnectFault, Findings, HostLook, Looker, Program, Ssh, Way, findings, fingerprint, hint,
    pinned,
};
use serde::Serialize;

use super::options;
use crate::context::{Context, Globals};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::hosts::machine;
use crate::output::sizes::size;
use crate::output::style::{Style, printable};
use crate::progress::Progress;

/// Under which name the key of the host stands in a file that is thrown away.
const ALIAS: &str = "lockstep-host-check";

/// Looks whether instances could run on a server that is reached over SSH, and says what to do about each thing that is missing.
///
/// Of a host that was added, its name alone is enough: the server looks at it over the connection that it would make anew. Everything else is looked at from
/// this machine, before it is added: what has `@` or `:` in it, what is given with an option, and a name that the server does not know as a host, or that no
/// server is reached to be asked for; the message says which it was.
///
/// From here it connects with the `ssh` of this machine and its configuration, so aliases, jump hosts, agents and keys of ~/.ssh/config hold. Brings the program of
/// Lockstep to a folder of the user there, by default ~/.local/share/lockstep/host, unless this very program is there already; it looks around and ends. Nothing else is
/// changed there, nothing is started, and no key of the host is remembered: compare the fingerprint with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the host.
///
/// Ends with code 0 when instances could run there, with 3 when something keeps them from it, with 5 when the host is not reached, and with 7 when it does not let us in; with 3 for each of these
/// when it is the server that looks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host check web1
  lockstep host check deploy@10.0.0.5
  lockstep host check web1.example.org --key ~/.ssh/deploy
  lockstep host check 'deploy@[fd00::5]:2222' --json")]
pub(super) struct CheckArgs {
    /// The name of a host, or where `ssh` connects to: [USER@]HOST[:PORT].
    #[arg(value_name = "NAME|TARGET")]
    target: SshTarget,
    /// Log in with this key alone; what the configuration and the agent of ssh have when left out.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The folder on the host; one in the home folder of the user when left out.
    #[arg(long, value_name = "FOLDER", value_parser = options::folder)]
    folder: Option<String>,
    /// The program for the host, where it has another architecture; this program when left out.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The ports that instances would get [default: 20000-29999].
    #[arg(long, value_name = "FIRST-LAST")]
    ports: Option<PortRange>,
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
    pub(super) fn run(self, globals: &Globals, out: &Output) -> Result<(), Failure> {
        let Some(name) = self.name() else { return self.look_from_here(out) };
        match known(&name, &Context::new(globals.clone())?)? {
            Known::Host(found) => {
                out.show(&found, |found, style| render_known(&name, found, style))?;
                if found.usable { Ok(()) } else { Err(unusable(name.as_str(), &found.problems)) }
            }
            Known::No(why) => {
                out.message(&format!("{why}: it is looked at from this machine, as `ssh` knows it"));
                self.look_from_here(out)
            }
        }
    }

    /// Returns what may be the name of a host: nothing in it or beside it says how it is reached.
    fn name(&self) -> Option<HostName> {
        let SshTarget { user, host, port } = &self.target;
        let says_how = user.is_some() || port.is_some() || self.key.is_some() || self.folder.is_some();
        let is_bare = !says_how && self.program.is_none() && self.ports.is_none();
        host.parse().ok().filter(|_| is_bare)
    }

    fn ports(&self) -> PortRange {
        self.ports.unwrap_or(PortRange::USUAL)
    }

    fn look_from_here(self, out: &Output) -> Result<(), Failure> {
        let scratch = tempfile::tempdir().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        let known_hosts = scratch.path().join("known_hosts");
        let program = self.program()?;
        let progress = Progress::begin(out);
        let bringing = size(program.bytes());
        progress.says(&format!(
            "asking {} (the program, {bringing}, is sent where it is not there yet)",
            self.target
        ));
        let looked = self.look(program, known_hosts.clone());
        drop(progress);
        let key = pinned(&known_hosts, ALIAS).ok().flatten().and_then(|key| fingerprint(&key));
        let found = looked.map_err(|error| self.failure(&error, key.as_deref()))?;
        let found = self.found(found, key);
        out.show(&found, render)?;
        if found.usable { Ok(()) } else { Err(unusable(&found.target, &found.problems)) }
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
        runtime.block_on(lockstep_hosts::look(&ssh, self.ports(), None, now_ms))
    }

    fn found(&self, look: HostLook, key: Option<String>) -> Found {
        let Findings { problems, notes } = findings(&look, self.ports(), Looker::Person);
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
        let way = Way { target: &self.target, key: self.key.as_deref(), looker: Looker::Person };
        match hint(error.fault, way) {
            Some(next) => failure.hint(next),
            None => failure,
        }
    }
}

/// What a server knows of a name.
enum Known {
    /// It is a host, which was looked at.
    Host(HostFindings),
    /// It is none, or nobody could be asked.
    No(String),
}

fn known(name: &HostName, ctx: &Context) -> Result<Known, Failure> {
    let progress = Progress::begin(&ctx.out);
    progress.status(&format!("the server looks at {name}"));
    match ctx.client.check_host(name) {
        Ok(found) => Ok(Known::Host(found)),
        Err(ClientError::Problem(problem)) if problem.code == ErrorCode::NotFound => {
            Ok(Known::No(format!("no host is called {name}")))
        }
        Err(ClientError::Reach(_)) => Ok(Known::No(format!("no server is reached that could know {name}"))),
        Err(error) => Err(error.into()),
    }
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
    lines(&good, (&found.notes, &found.problems), style)
}

fn render_known(name: &HostName, found: &HostFindings, style: &Style) -> String {
    let good = [format!("{name} answers the server within {} ms", found.round_trip_ms), machine(&found.size)];
    lines(&good, (&found.notes, &found.problems), style)
}

fn lines(good: &[String], (notes, problems): (&[String], &[String]), style: &Style) -> String {
    let good = good.iter().map(|line| format!("{}  {}\n", style.good("ok"), printable(line)));
    let notes = notes.iter().map(|line| format!("{} {}\n", style.strong("note"), printable(line)));
    let problems = problems.iter().map(|line| format!("{}  {}\n", style.bad("no"), printable(line)));
    good.chain(notes).chain(problems).collect()
}

fn unusable(what: &str, problems: &[String]) -> Failure {
    let detail = match problems {
        [only] => format!("instances cannot run on {what}: {only}"),
        several => format!("{} things keep instances from running on {what}", several.len()),
    };
    Failure::new(Exit::Refused, detail)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
