//! Starts the process of an instance and the commands that check its health: which program, where, with what.

use std::ffi::OsStr;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lockstep_domain::run::{Probe, StopSignal};
use rustix::process::Signal;

use super::children::{Child, Children, Exit};
use super::output::open_for_process;
use crate::folder::InstanceFolder;
use crate::health;
use crate::process::{MARKER, handed_on, wait_for};
use crate::spec::SpecFile;

/// How long a killed command may take to end: more only when it is stuck in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// Most characters of the output of a health command that are shown.
const SHOWN_BYTES: u64 = 500;

/// Starts the process of an instance.
///
/// # Errors
///
/// Says what could not be started, and why.
pub(super) fn start(folder: &InstanceFolder, spec: &SpecFile, children: &Children) -> Result<Child, String> {
    let explain = |error: io::Error| format!("`{}` cannot be started: {error}", spec.run.command.join(" "));
    let mut command = prepare(folder, spec, &spec.run.command).map_err(explain)?;
    command.stdout(open_for_process(&folder.stdout()).map_err(explain)?);
    command.stderr(open_for_process(&folder.stderr()).map_err(explain)?);
    children.spawn(&mut command).map_err(explain)
}

fn prepare(folder: &InstanceFolder, spec: &SpecFile, line: &[String]) -> io::Result<Command> {
    let (program, arguments) = line.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(resolve(&spec.release_folder, program));
    command.args(arguments).current_dir(&spec.release_folder).env_clear();
    command.envs(handed_on()).envs(spec.process_variables()).env(MARKER, folder.path());
    command.stdin(Stdio::null()).process_group(0);
    Ok(command)
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
pub(super) fn check(folder: &InstanceFolder, spec: &SpecFile, children: &Children) -> Result<(), String> {
    let timeout = Duration::from_millis(spec.run.health.timeout_ms);
    match &spec.run.health.probe {
        Probe::Http { path } => health::http(spec.port, path, timeout),
        Probe::Tcp => health::tcp(spec.port, timeout),
        Probe::Command { command } => check_by_command(folder, spec, command, children, timeout),
    }
}

fn check_by_command(
    folder: &InstanceFolder,
    spec: &SpecFile,
    line: &[String],
    children: &Children,
    timeout: Duration,
) -> Result<(), String> {
    let shown = line.join(" ");
    let explain = |error: io::Error| format!("`{shown}` cannot be started: {error}");
    let (child, output) = start_check(folder, spec, line, children).map_err(explain)?;
    let in_time = matches!(wait_for(&child.pidfd, Some(timeout)), Ok(true));
    // Whatever is left of the command has no business any more.
    let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
    match children.wait(&child, Some(KILL_PATIENCE)) {
        _ if !in_time => {
            Err(format!("`{shown}` took longer than {} ms{}", timeout.as_millis(), said(&output)))
        }
        Some(Exit::Code(0)) => Ok(()),
        exit => Err(format!("`{shown}` ended with {}{}", exit.unwrap_or(Exit::Unknown), said(&output))),
    }
}

fn start_check(
    folder: &InstanceFolder,
    spec: &SpecFile,
    line: &[String],
    children: &Children,
) -> io::Result<(Child, PipeReader)> {
    let (output, input) = io::pipe()?;
    rustix::io::ioctl_fionbio(&output, true)?;
    let mut command = prepare(folder, spec, line)?;
    command.stdout(input.try_clone()?).stderr(input);
    Ok((children.spawn(&mut command)?, output))
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
