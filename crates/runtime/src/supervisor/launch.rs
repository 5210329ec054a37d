//! Starts the process of an instance and the commands that check its health: which program, where, with what.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, PipeReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lockstep_confine::policy::Reached;
use lockstep_confine::{Confinement, Handshake, Launch, NotStarted, Policy};
use lockstep_domain::fault::Fault;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::run::{Probe, StopSignal};
use rustix::io::Errno;
use rustix::process::Signal;

use super::children::{Child, Children, Exit};
use super::hold::Hold;
use super::output::open_for_process;
use crate::fault;
use crate::folder::InstanceFolder;
use crate::health;
use crate::health_h2;
use crate::image::{self, In};
use crate::life;
use crate::machine::Trouble;
use crate::process::{MARKER, ProcessIdentity, handed_on, wait_for};
use crate::relayed;
use crate::releases::check_release;
use crate::resource::{self, greet};
use crate::rooms::{self, Rooms};
use crate::spec::SpecFile;

/// The variable that names the file by which an instance knows whether requests are routed to it.
pub(crate) const ROUTED_FILE: &str = "LOCKSTEP_ROUTED_FILE";
/// How long a killed command may take to end: more only when it is stuck in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How often a program is started that cannot be started for a reason that passes.
const MAX_STARTS: u32 = 3;
/// Pause before it is started again.
const START_PAUSE: Duration = Duration::from_millis(20);
/// How long a resource that does not answer yet is left in peace.
const NOT_YET_PAUSE: Duration = Duration::from_millis(400);
/// Most characters of the output of a health command that are shown.
const SHOWN_BYTES: u64 = 500;

/// Makes sure that the process finds its folders and its code as they should be. Returns what had to be set right.
///
/// # Errors
///
/// Says why the process must not be started.
pub(super) fn furnish(folder: &InstanceFolder, spec: &SpecFile) -> Result<Vec<PathBuf>, Trouble> {
    if let Some(run) = &spec.resource {
        return resource::furnish(folder, spec, run).map(|()| Vec::new());
    }
    let Some(rooms) = &spec.rooms else { return Ok(Vec::new()) };
    if spec.own.is_none() {
        check_release(&spec.release_folder).map_err(|why| Trouble {
            why: format!("the unpacked artifact `{}` must not be run: {why}", spec.release),
            fault: Fault::Host,
        })?;
    }
    rooms::furnish(folder, spec, rooms)
        .map_err(|error| Trouble::of_place(format!("its folders cannot be made: {error}"), &error))
}

/// Starts the process of an instance, or what comes before it, and tells how far it is confined; `None` is one of the first format.
///
/// # Errors
///
/// Says what could not be started, and why.
pub(super) fn start(
    folder: &InstanceFolder,
    spec: &SpecFile,
    line: &[String],
    children: &Children,
    hold: &Hold,
) -> Result<(Child, Option<Confinement>), Trouble> {
    let words = |error: &io::Error| {
        let hint = hint(spec, error);
        format!("`{}` cannot be started: {error}{hint}", line.join(" "))
    };
    let of_place = |error: io::Error| Trouble::of_place(words(&error), &error);
    let stdout = open_for_process(&folder.stdout()).map_err(of_place)?;
    let stderr = open_for_process(&folder.stderr()).map_err(of_place)?;
    let begin = || {
        let outputs = (stdout.try_clone()?.into(), stderr.try_clone()?.into());
        spawn(folder, spec, (line, In::Own), (children, hold), outputs)
    };
    unless_passing(begin).map_err(|error| match error {
        NotStarted::Refused(error) => Trouble { why: words(&error), fault: fault_of(spec, &error) },
        NotStarted::Lost | NotStarted::NotHeld(_) => {
            Trouble { why: words(&error.into()), fault: Fault::Host }
        }
    })
}

/// What the step says in words, and not the system, is of the root that it could not make: the program is not to blame.
fn fault_of(spec: &SpecFile, error: &io::Error) -> Fault {
    match error.raw_os_error() {
        None if spec.run.image.is_some() => Fault::Host,
        _ => fault::of_program(error),
    }
}

/// Says what may be the reason why a user may not start a program.
fn hint(spec: &SpecFile, error: &io::Error) -> String {
    match &spec.user {
        Some(user) if error.kind() == io::ErrorKind::PermissionDenied => format!(
            "; it runs as user {}, who must be able to reach the program: install it for all users, or say `user = \"root\"` in \
             [run]",
            user.id
        ),
        _ => String::new(),
    }
}

/// Starts again what says nothing about the program: a step that was ended from outside before the program began, and a
/// program whose file a process that is just being started holds open for a moment.
fn unless_passing<T>(mut start: impl FnMut() -> Result<T, NotStarted>) -> Result<T, NotStarted> {
    for _ in 1..MAX_STARTS {
        match start() {
            Err(error) if is_passing(&error) => thread::sleep(START_PAUSE),
            other => return other,
        }
    }
    start()
}

fn is_passing(error: &NotStarted) -> bool {
    match error {
        NotStarted::Lost => true,
        NotStarted::NotHeld(_) => false,
        NotStarted::Refused(error) => error.kind() == io::ErrorKind::ExecutableFileBusy,
    }
}

/// Starts a command of an instance, confined.
fn spawn(
    folder: &InstanceFolder,
    spec: &SpecFile,
    (line, place): (&[String], In<'_>),
    (children, hold): (&Children, &Hold),
    (stdout, stderr): (Stdio, Stdio),
) -> Result<(Child, Option<Confinement>), NotStarted> {
    let Some(rooms) = &spec.rooms else {
        let mut command = prepare(folder, spec, line)?;
        let child = children.spawn(command.stdout(stdout).stderr(stderr))?;
        return Ok((child, None));
    };
    let launch = match (&spec.resource, &spec.run.image) {
        (Some(run), _) => resource::launch(folder, spec, run)?,
        (None, Some(image)) => image::launch(folder, spec, rooms, image, line, place)?,
        (None, None) => launch(folder, spec, rooms, line)?,
    };
    let (mut command, handshake) = Handshake::prepare(&launch)?;
    command.env(MARKER, folder.path()).process_group(0).stdout(stdout).stderr(stderr);
    let child = children.spawn(&mut command)?;
    // With the command goes its end of the channel: the step is the only one that holds it then.
    drop(command);
    let begun = hold.take_in(child.pid).map_err(not_held).and_then(|()| handshake.finish());
    match begun {
        Ok(confinement) => Ok((child, Some(confinement))),
        Err(error) => {
            let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
            let _ = children.wait(&child, Some(KILL_PATIENCE));
            Err(error)
        }
    }
}

/// A step that has ended meanwhile cannot be held, and that is not why.
fn not_held(error: io::Error) -> NotStarted {
    let has_ended = error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
    if has_ended { NotStarted::Lost } else { NotStarted::NotHeld(error) }
}

fn launch(folder: &InstanceFolder, spec: &SpecFile, rooms: &Rooms, line: &[String]) -> io::Result<Launch> {
    let (program, arguments) = split(line)?;
    let mut own = vec![folder.work(), folder.scratch(), folder.stdout(), folder.stderr()];
    own.extend(rooms.data_folders(spec));
    let mut policy = Policy::of_service(&rooms.hidden, &spec.release_folder, own);
    policy.readable.push(folder.told());
    if spec.own.is_some() || spec.is_served() {
        // It may lie in what is hidden.
        policy.readable.push(std::env::current_exe()?);
    }
    if spec.own.is_some() {
        // The gateway that it takes over from is no child of it.
        policy.reached = Reached::Everybody;
    }
    Ok(Launch {
        program: program_of(folder, spec, program),
        arguments: arguments.to_vec(),
        folder: folder.work(),
        variables: variables(folder, spec),
        policy,
        user: spec.user(),
        root: None,
    })
}

/// Everything that the process gets as its environment.
fn variables(folder: &InstanceFolder, spec: &SpecFile) -> BTreeMap<String, String> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let handed = handed_on().filter_map(|(name, value)| Some((name.to_owned(), value.into_string().ok()?)));
    let mut all: BTreeMap<String, String> = handed.collect();
    all.insert("TMPDIR".to_owned(), text(folder.scratch()));
    // The home folder is not writable, and this is where programs look for another place.
    all.insert("XDG_CACHE_HOME".to_owned(), text(folder.scratch().join("cache")));
    all.insert("HOME".to_owned(), text(folder.home()));
    if let Some(user) = &spec.user {
        // Those of the server say nothing of it. Programs that look up their user's name find one here.
        let name = user.name.clone().unwrap_or_else(|| format!("lockstep-{}", spec.arm.service));
        all.extend(["USER", "LOGNAME"].map(|variable| (variable.to_owned(), name.clone())));
        all.remove("SHELL");
    }
    all.extend(spec.process_variables());
    all.insert(MARKER.to_owned(), text(folder.path().to_owned()));
    all.insert(ROUTED_FILE.to_owned(), text(folder.routed()));
    all
}

/// Prepares a command of an instance of the first format: in the release, and not confined.
fn prepare(folder: &InstanceFolder, spec: &SpecFile, line: &[String]) -> io::Result<Command> {
    let (program, arguments) = split(line)?;
    let mut command = Command::new(resolve(&spec.release_folder, program));
    command.args(arguments).current_dir(&spec.release_folder).env_clear();
    command.envs(handed_on()).envs(spec.process_variables()).env(MARKER, folder.path());
    command.env(ROUTED_FILE, folder.routed());
    command.stdin(Stdio::null()).process_group(0);
    Ok(command)
}

fn split(line: &[String]) -> io::Result<(&String, &[String])> {
    line.split_first().ok_or_else(|| io::Error::other("the command is empty"))
}

/// A program of the artifact that is filled in stands in the working folder.
fn program_of(folder: &InstanceFolder, spec: &SpecFile, program: &str) -> PathBuf {
    let below = program.strip_prefix("./").unwrap_or(program);
    let is_filled = program.contains('/') && spec.files.keys().any(|path| path.as_str() == below);
    if is_filled { folder.work().join(below) } else { resolve(&spec.release_folder, program) }
}

/// A program with a slash is one of the artifact; any other is looked up in `PATH`.
fn resolve(release: &Path, program: &str) -> PathBuf {
    if program.contains('/') { release.join(program) } else { OsStr::new(program).into() }
}

/// Checks the health of an instance once.
///
/// # Errors
///
/// Says what is wrong.
pub(super) fn check(
    folder: &InstanceFolder,
    spec: &SpecFile,
    (children, hold): (&Children, &Hold),
    process: Option<&ProcessIdentity>,
) -> Result<(), String> {
    let timeout = Duration::from_millis(spec.run.health.timeout_ms);
    if let Some(run) = &spec.resource {
        let answer = greet::here(run.kind, port_of(spec)?, timeout);
        if answer.is_err() {
            // A database that recovers writes a line to its log for each question, and takes minutes when it is large.
            thread::sleep(NOT_YET_PAUSE);
        }
        return answer;
    }
    if spec.run.external.is_some() {
        return relayed::healthy(place_of(spec)?, &spec.run.health.probe, timeout);
    }
    match &spec.run.health.probe {
        Probe::Http { path } if spec.run.protocol == Protocol::H2c => {
            health_h2::http(place_of(spec)?, path, timeout, &spec.run.approach)
        }
        Probe::Http { path } => health::http(place_of(spec)?, path, timeout, &spec.run.approach),
        Probe::Grpc { service } => health_h2::grpc(place_of(spec)?, service, timeout, &spec.run.approach),
        Probe::Tcp => health::tcp(place_of(spec)?, timeout, &spec.run.approach),
        Probe::Ends => Err("it has not ended yet".to_owned()),
        Probe::Command { command } => {
            let place = process.map_or(In::Own, In::That);
            check_by_command(folder, spec, (command, place), (children, hold), timeout)
        }
        Probe::Lives { for_ms } => life::lives(age_of(process)?, Duration::from_millis(*for_ms)),
        Probe::File { path, fresh_ms } => {
            life::touches(&folder.work(), path, Duration::from_millis(*fresh_ms), age_of(process)?)
        }
    }
}

fn place_of(spec: &SpecFile) -> Result<SocketAddr, String> {
    spec.address().ok_or_else(|| "a worker listens on no port that could be asked".to_owned())
}

fn port_of(spec: &SpecFile) -> Result<u16, String> {
    spec.port.ok_or_else(|| "a worker listens on no port that could be asked".to_owned())
}

fn age_of(process: Option<&ProcessIdentity>) -> Result<Duration, String> {
    process.and_then(ProcessIdentity::age).ok_or_else(|| "the process does not run".to_owned())
}

fn check_by_command(
    folder: &InstanceFolder,
    spec: &SpecFile,
    line: (&[String], In<'_>),
    held: (&Children, &Hold),
    timeout: Duration,
) -> Result<(), String> {
    run(folder, spec, line, held, timeout).map(drop)
}

/// Runs a command to its end, and returns what is to be read of it.
fn run(
    folder: &InstanceFolder,
    spec: &SpecFile,
    line: (&[String], In<'_>),
    (children, hold): (&Children, &Hold),
    timeout: Duration,
) -> Result<PipeReader, String> {
    let shown = line.0.join(" ");
    let explain = |error: io::Error| format!("`{shown}` cannot be started: {error}");
    let (child, output) = start_check(folder, spec, line, (children, hold)).map_err(explain)?;
    let in_time = matches!(wait_for(&child.pidfd, Some(timeout)), Ok(true));
    // Whatever is left of the command has no business any more.
    let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
    match children.wait(&child, Some(KILL_PATIENCE)) {
        _ if !in_time => {
            Err(format!("`{shown}` took longer than {} ms{}", timeout.as_millis(), said(&output)))
        }
        Some(Exit::Code(0)) => Ok(output),
        exit => Err(format!("`{shown}` ended with {}{}", exit.unwrap_or(Exit::Unknown), said(&output))),
    }
}

/// Runs a command like the instance, and returns what it prints.
///
/// # Errors
///
/// Says why it says nothing.
pub(super) fn printed(
    folder: &InstanceFolder,
    spec: &SpecFile,
    (command, process): (&[String], Option<&ProcessIdentity>),
    (children, hold): (&Children, &Hold),
    timeout_ms: u64,
) -> Result<String, String> {
    let line = (command, process.map_or(In::Own, In::That));
    let output = run(folder, spec, line, (children, hold), Duration::from_millis(timeout_ms))?;
    let mut bytes = Vec::new();
    let _ = output.take(SHOWN_BYTES).read_to_end(&mut bytes);
    String::from_utf8(bytes).map_err(|_| format!("`{}` printed no text", command.join(" ")))
}

fn start_check(
    folder: &InstanceFolder,
    spec: &SpecFile,
    line: (&[String], In<'_>),
    held: (&Children, &Hold),
) -> io::Result<(Child, PipeReader)> {
    let (output, input) = io::pipe()?;
    rustix::io::ioctl_fionbio(&output, true)?;
    let begin = || {
        let inputs = (input.try_clone()?.into(), input.try_clone()?.into());
        spawn(folder, spec, line, held, inputs)
    };
    let (child, _) = unless_passing(begin)?;
    Ok((child, output))
}

fn said(output: &PipeReader) -> String {
    let mut bytes = Vec::new();
    // Stops at what the pipe holds now: it does not block.
    let _ = output.take(SHOWN_BYTES).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Returns the signal of a specification.
#[must_use]
pub(super) const fn signal_of(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(mut failure: impl FnMut(u32) -> Option<NotStarted>) -> (u32, bool) {
        let mut starts = 0;
        let end = unless_passing(|| {
            starts += 1;
            failure(starts).map_or(Ok(()), Err)
        });
        (starts, end.is_ok())
    }

    #[test]
    fn what_cannot_be_started_for_a_reason_that_passes_is_started_again_some_times() {
        let lost = |times: u32| starts(|start| (start <= times).then_some(NotStarted::Lost));
        assert_eq!([0, 2, 3].map(lost), [(1, true), (3, true), (3, false)]);
        let busy = || io::Error::from(io::ErrorKind::ExecutableFileBusy).into();
        assert_eq!(starts(|start| (start == 1).then(busy)), (2, true));
        assert_eq!(starts(|_| Some(io::Error::from(io::ErrorKind::NotFound).into())), (1, false));
    }
}
