//! A Lockstep of our own in a temporary folder: the built program, a server, and commands as a person types them.
//!
//! Invariant: after `remove` no process and no file of it is left.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::workspace::{self, cargo};
use crate::{http, processes, shell};

/// How long a server may take to answer after its start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long one question to the server may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// How long a folder may refuse to be emptied.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// Lines of the server's log that are shown when something fails.
const LOG_TAIL: usize = 25;
/// The first port that is tried: below the ports of instances and of outgoing connections.
const FIRST_PORT: u16 = 18_470;
/// Ports that one installation takes: the server, its three gateways, those for https, and the spare ones.
const PORTS: u16 = 4 + HTTPS_PORTS + SPARE_PORTS;
/// Ports for https: of an environment, and of a gateway of its own.
const HTTPS_PORTS: u16 = 2;
/// Ports for gateways of their own.
const SPARE_PORTS: u16 = 2;
/// How many blocks of ports are tried.
const BLOCKS: u16 = 100;
/// Lines that wait to be shown; a command is slowed down rather than remembered.
const WAITING_LINES: usize = 1_000;

/// Which program is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build: what tests use too.
    Development,
    /// Quick to run.
    Release,
}

/// Names the development program where it was built already: tests that build it beside each other wait for minutes, and
/// put another program into its place while others run it.
pub(crate) const BUILT: &str = "LOCKSTEP_BUILT";

/// Builds `lockstep` and returns its path.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    if let Some(built) = std::env::var_os(BUILT).filter(|_| profile == Profile::Development) {
        return Ok(built.into());
    }
    let flags: &[&str] = match profile {
        Profile::Development => &[],
        Profile::Release => &["--release"],
    };
    let (status, elapsed) =
        shell::run(cargo(&["build", "--quiet", "--package", "lockstep-cli"]).args(flags))?;
    ensure!(status.success(), "lockstep does not build");
    println!("built in {:.1} s", elapsed.as_secs_f64());
    program(profile)
}

/// Returns where cargo puts `lockstep`.
pub(crate) fn program(profile: Profile) -> Result<PathBuf> {
    let folder = match profile {
        Profile::Development => "debug",
        Profile::Release => "release",
    };
    Ok(target_folder()?.join(folder).join("lockstep"))
}

/// Returns where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into())
}

/// Whether an installation says what it starts and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// As commands that can be typed.
    Aloud,
    /// Not at all.
    Silent,
}

/// A Lockstep in a temporary folder.
pub(crate) struct Installation {
    folder: PathBuf,
    program: PathBuf,
    server: Option<Child>,
    first_port: u16,
    talk: Talk,
    server_options: Vec<String>,
    /// Where programs are looked for first.
    programs: Option<PathBuf>,
}

/// What a command wrote.
#[derive(Debug)]
pub(crate) struct Written {
    /// On standard output and standard error, line by line as it came.
    pub(crate) lines: Vec<String>,
}

impl Written {
    /// Tells whether a text was written.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

/// What of a command's words is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Everything.
    All,
    /// So many lines of the result, and none of the progress.
    Result(usize),
}

impl Installation {
    /// Makes the folder. Nothing runs yet.
    pub(crate) fn new(program: PathBuf, folder: PathBuf, talk: Talk) -> Result<Self> {
        ensure!(program.is_file(), "there is no program {}", program.display());
        Ok(Self {
            folder,
            program,
            server: None,
            first_port: free_ports()?,
            talk,
            server_options: Vec::new(),
            programs: None,
        })
    }

    /// Looks for programs in a folder first from now on.
    pub(crate) fn with_programs(mut self, folder: PathBuf) -> Self {
        self.programs = Some(folder);
        self
    }

    /// Starts its server with further options from now on.
    pub(crate) fn with_server_options(mut self, options: &[&str]) -> Self {
        self.server_options.extend(options.iter().map(ToString::to_string));
        self
    }

    fn say(&self, words: &str) {
        if self.talk == Talk::Aloud {
            println!("{words}");
        }
    }

    /// Returns the folder that everything is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the address of the server.
    pub(crate) fn server(&self) -> SocketAddr {
        local(self.first_port)
    }

    /// Returns the addresses that are left for gateways of their own.
    pub(crate) fn spare(&self) -> [SocketAddr; SPARE_PORTS as usize] {
        std::array::from_fn(|index| local(self.first_port + PORTS - 1 - index as u16))
    }

    /// Returns the addresses that are left for https.
    pub(crate) fn https(&self) -> [SocketAddr; HTTPS_PORTS as usize] {
        std::array::from_fn(|index| local(self.first_port + 4 + index as u16))
    }

    /// Returns the data folder of the server.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Returns the process of the server, while one runs.
    pub(crate) fn server_process(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Returns what the server is started with.
    pub(crate) fn server_arguments(&self) -> Vec<String> {
        let (listen, port) = (self.server().to_string(), (self.first_port + 1).to_string());
        let first = ["server", "--listen", &listen, "--first-gateway-port", &port, "--no-token"];
        let data = self.data().display().to_string();
        let first = first.into_iter().map(str::to_owned);
        first.chain(self.server_options.iter().cloned()).chain(["--data".to_owned(), data]).collect()
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start_server(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let arguments = self.server_arguments();
        let mut command = self.command();
        command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let data = self.data().display().to_string();
        self.say(&format!(
            "$ lockstep {}",
            arguments.join(" ").replace(&data, "DATA").replace("--no-token ", "")
        ));
        self.server = Some(command.spawn().context("cannot start the server")?);
        self.wait_for_server()
    }

    fn wait_for_server(&mut self) -> Result<()> {
        let begin = Instant::now();
        while http::ask(self.server(), "GET", "/api/v1/health", "", ANSWER_PATIENCE).is_err() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            if let Some(status) = ended {
                bail!("the server ended with {status}\n{}", self.log_tail());
            }
            if begin.elapsed() > START_PATIENCE {
                bail!("the server does not answer\n{}", self.log_tail());
            }
            thread::sleep(ASK_EVERY);
        }
        self.say(&format!("  it answers after {} ms", begin.elapsed().as_millis()));
        Ok(())
    }

    /// Ends the server as a crash would: at once, and without a chance to do anything.
    pub(crate) fn kill_server(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no server runs")?;
        self.say(&format!("$ kill -9 {}", server.id()));
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    /// Starts another process of the program, which goes on until it is ended; it writes to the log as the server does.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        self.say(&format!("$ lockstep {}", typed(arguments)));
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().context("cannot start lockstep")
    }

    /// Runs a command that must succeed, and shows it as it is typed, with what it says.
    pub(crate) fn run(&self, arguments: &[&str], show: Show) -> Result<Written> {
        self.run_given(arguments, "", show)
    }

    /// Runs a command that must succeed and reads `input` from its standard input, and shows it.
    pub(crate) fn run_given(&self, arguments: &[&str], input: &str, show: Show) -> Result<Written> {
        let (status, written) = self.run_shown(arguments, input, show)?;
        self.expect(arguments, status, &written, &[0])?;
        Ok(written)
    }

    /// Runs a command that must end with one of these exit codes, and shows it.
    pub(crate) fn run_refused(&self, arguments: &[&str], codes: &[i32]) -> Result<Written> {
        let (status, written) = self.run_shown(arguments, "", Show::All)?;
        self.expect(arguments, status, &written, codes)?;
        println!("  (exit code {})", status.code().unwrap_or_default());
        Ok(written)
    }

    /// Runs a command that must succeed, without showing it.
    pub(crate) fn run_quietly(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command().args(arguments).output().context("cannot run lockstep")?;
        let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        self.expect(arguments, output.status, &Written { lines }, &[0])
    }

    fn expect(&self, arguments: &[&str], status: ExitStatus, written: &Written, codes: &[i32]) -> Result<()> {
        if status.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(());
        }
        let words = written.lines.join("\n");
        let tail = self.log_tail();
        bail!("`lockstep {}` ended with {status} instead of {codes:?}\n{words}\n{tail}", typed(arguments))
    }

    /// Runs a command with `--json`, without showing it, and returns its document.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["--json"]].concat();
        let output = self.command().args(&arguments).output().context("cannot run lockstep")?;
        let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        self.expect(&arguments, output.status, &Written { lines }, &[0])?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`lockstep {}` did not write JSON", typed(&arguments)))
    }

    /// Asks the API of the server itself, where a command would add the time of its own start.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        http::ask(self.server(), method, &format!("/api/v1{path}"), body, ANSWER_PATIENCE)
    }

    /// Ends everything and removes the folder.
    pub(crate) fn remove(mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            processes::signal(&[server.id()], processes::Signal::Terminate)?;
            server.wait()?;
        }
        remove_folder(&self.folder)
    }

    fn run_shown(&self, arguments: &[&str], input: &str, show: Show) -> Result<(ExitStatus, Written)> {
        println!("$ lockstep {}{}", typed(arguments), if input.is_empty() { "" } else { " < FILE" });
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run lockstep")?;
        give(child.stdin.take(), input)?;
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut lines = Vec::new();
        thread::scope(|scope| {
            let of_stderr = sender.clone();
            scope.spawn(move || pass_lines(stderr, Stream::Messages, &of_stderr));
            scope.spawn(move || pass_lines(stdout, Stream::Result, &sender));
            let mut shown = 0;
            for (stream, line) in receiver {
                if is_shown(show, stream, shown) {
                    shown += 1;
                    println!("  {line}");
                }
                lines.push(line);
            }
        });
        Ok((child.wait()?, Written { lines }))
    }

    /// Begins a command of the program, as everybody who uses this installation runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env("NO_COLOR", "1").env("LOCKSTEP_ACTOR", "demo@shop.example");
        command.env("LOCKSTEP_SERVER", format!("http://{}", self.server())).env_remove("LOCKSTEP_TOKEN");
        if let Some(folder) = &self.programs {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(folder.clone()).chain(std::env::split_paths(&paths));
            // A folder of ours has no colon in its name.
            command.env("PATH", std::env::join_paths(all).unwrap_or(paths));
        }
        command
    }

    /// Returns the log of the server.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
        format!("the log of the server ends with:\n  {}", tail.join("\n  "))
    }
}

/// Writes what a command reads, and ends it. A command that ends without reading it is no mistake here.
fn give(stdin: Option<ChildStdin>, input: &str) -> Result<()> {
    match stdin.map(|mut stdin| stdin.write_all(input.as_bytes())) {
        Some(Err(error)) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write its input")
        }
        _ => Ok(()),
    }
}

/// Makes a new folder for an installation.
pub(crate) fn temporary_folder(purpose: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().canonicalize().context("there is no folder for temporary files")?;
    let folder = folder.join(format!("lockstep-{purpose}-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Removes the folder of an installation, which ends its instances, and waits until all its processes are gone.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    empty(folder)?;
    processes::end_all_of(folder, Duration::ZERO)?;
    // A server that was still there may have made a folder anew.
    empty(folder)
}

fn empty(folder: &Path) -> Result<()> {
    let begin = Instant::now();
    // What still runs may write a file while the folder is being emptied.
    while let Err(error) = fs::remove_dir_all(folder) {
        if !folder.exists() {
            return Ok(());
        }
        if begin.elapsed() > END_PATIENCE {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        thread::sleep(ASK_EVERY);
    }
    Ok(())
}

/// Writes arguments as they would be typed.
pub(crate) fn typed(arguments: &[&str]) -> String {
    let quoted = |word: &&str| {
        let is_plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=@./,:^".contains(&b));
        if is_plain && !word.is_empty() { (*word).to_owned() } else { format!("'{word}'") }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Result,
    Messages,
}

fn is_shown(show: Show, stream: Stream, shown: usize) -> bool {
    match show {
        Show::All => true,
        Show::Result(most) => stream == Stream::Result && shown < most,
    }
}

fn pass_lines(from: Option<impl Read>, stream: Stream, to: &SyncSender<(Stream, String)>) {
    let Some(from) = from else { return };
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if to.send((stream, line)).is_err() {
            return;
        }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Finds a block of ports that nobody uses, away from those that the system gives to outgoing connections.
fn free_ports() -> Result<u16> {
    // Two that begin at the same moment look at different blocks first.
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id() + BEGUN.fetch_add(7, Ordering::Relaxed);
    let begin = u16::try_from(begin % u32::from(BLOCKS)).unwrap_or(0);
    let mut blocks = (0..BLOCKS).map(|block| FIRST_PORT + (begin + block) % BLOCKS * PORTS);
    let is_free = |first: &u16| (*first..*first + PORTS).all(|port| TcpListener::bind(local(port)).is_ok());
    blocks.find(is_free).with_context(|| format!("no {PORTS} ports in a row are free from {FIRST_PORT} on"))
}

/// Returns the folder of the samples.
pub(crate) fn shop() -> PathBuf {
    workspace::root().join("examples/shop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_so_that_they_can_be_typed_again() {
        assert_eq!(typed(&["config", "set", "GREETING=Good morning"]), "config set 'GREETING=Good morning'");
        assert_eq!(typed(&["deploy", "a@1.0.0", "--steps", "10,50"]), "deploy a@1.0.0 --steps 10,50");
    }

    #[test]
    fn of_a_quiet_command_only_the_beginning_of_its_result_is_shown() {
        assert!(is_shown(Show::All, Stream::Messages, 500));
        assert!(is_shown(Show::Result(2), Stream::Result, 1));
        assert!(!is_shown(Show::Result(2), Stream::Result, 2));
        assert!(!is_shown(Show::Result(2), Stream::Messages, 0));
    }
}
