//! Watches one command from start to end, in one thread: output, time, disk, and the server's pipe.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_confine::{Handshake, Launch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitStatus, getpid, pidfd_open, setrlimit, setsid};

use super::MARK;
use super::log::{BoundedLog, Room};
use super::meter::Meter;
use super::spec::{End, GuardReport, GuardSpec};
use super::tree::{self, Children};

/// Longest wait for an event, so that orphans are reaped now and then.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Output read at once.
const READ_BYTES: usize = 64 * 1024;
/// Most output still read after the end: what a pipe can hold when its writers are gone.
const MAX_DRAIN_BYTES: usize = 2 * 1024 * 1024;
/// Room for what the guard itself writes into the log beside its limit, when a file's size is limited.
const LOG_SLACK_BYTES: u64 = 1024 * 1024;

/// Runs one command to its end.
pub(crate) fn run(spec: &GuardSpec) -> GuardReport {
    let started = Instant::now();
    match Watch::start(spec, started) {
        Ok(watch) => watch.finish(),
        Err(reason) => {
            tree::end_all(|_, _| {});
            GuardReport::not_started(reason)
        }
    }
}

struct Watch {
    main: Pid,
    main_fd: OwnedFd,
    main_status: Option<WaitStatus>,
    output: Option<PipeReader>,
    log: BoundedLog,
    meter: Meter,
    disk_limit_bytes: u64,
    started: Instant,
    deadline: Instant,
}

impl Watch {
    fn start(spec: &GuardSpec, started: Instant) -> Result<Self, String> {
        isolate(spec).map_err(|error| format!("the guard could not prepare itself: {error}"))?;
        let log = BoundedLog::open(spec).map_err(|error| format!("the log cannot be written: {error}"))?;
        let (output, main) = start_command(spec)?;
        let main_fd = pidfd_open(main, PidfdFlags::empty())
            .map_err(|error| format!("the started process cannot be watched: {error}"))?;
        Ok(Self {
            main,
            main_fd,
            main_status: None,
            output: Some(output),
            log,
            meter: Meter::new(&spec.disk),
            disk_limit_bytes: spec.disk_limit_bytes,
            started,
            deadline: started + Duration::from_millis(spec.time_limit_ms),
        })
    }

    fn finish(mut self) -> GuardReport {
        let cut = self.watch();
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let leftovers = if cut.is_none() { tree::leftovers() } else { Vec::new() };
        let (main, main_status) = (self.main, &mut self.main_status);
        let children = tree::end_all(|pid, status| note(main, main_status, pid, status));
        let drained = self.drain();
        let end = cut.or(drained).unwrap_or_else(|| self.ended());
        GuardReport { end, duration_ms, leftovers, clean: children == Children::None }
    }

    /// Serves events until the command has ended by itself (`None`) or must be ended.
    fn watch(&mut self) -> Option<End> {
        loop {
            let events = match self.wait() {
                Ok(events) => events,
                Err(error) => {
                    return Some(End::NotStarted { reason: format!("the guard cannot wait: {error}") });
                }
            };
            if events.server && server_is_gone() {
                return Some(End::Abandoned);
            }
            if let Some(end) = events.output.then(|| self.read_output()).flatten() {
                return Some(end);
            }
            self.reap();
            if self.main_status.is_some() {
                return None;
            }
            if Instant::now() >= self.deadline {
                return Some(End::TimedOut);
            }
            if let Some(bytes) = self.meter.advance().filter(|bytes| *bytes > self.disk_limit_bytes) {
                return Some(End::DiskLimit { bytes });
            }
        }
    }

    fn wait(&self) -> io::Result<Events> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.main_fd, PollFlags::IN)];
        if let Some(output) = &self.output {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        let until_deadline = self.deadline.saturating_duration_since(Instant::now());
        let timeout = MAX_WAIT.min(until_deadline).min(self.meter.rest());
        let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Events { server: ready(&fds[0]), output: fds.get(2).is_some_and(ready) })
    }

    /// Copies some output into the log; tells why the command must be ended when the log takes no more.
    fn read_output(&mut self) -> Option<End> {
        let output = self.output.as_mut()?;
        let mut buffer = [0; READ_BYTES];
        match output.read(&mut buffer) {
            Ok(0) => self.output = None,
            Ok(length) => return refused(self.log.append(&buffer[..length])),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.output = None,
        }
        None
    }

    fn reap(&mut self) {
        let (main, main_status) = (self.main, &mut self.main_status);
        tree::reap(|pid, status| note(main, main_status, pid, status));
    }

    /// Reads what the dead have left in the pipe, without waiting for one who took its end to another place.
    fn drain(&mut self) -> Option<End> {
        for _ in 0..MAX_DRAIN_BYTES / READ_BYTES {
            if !self.output.as_ref().is_some_and(has_input) {
                break;
            }
            if let Some(end) = self.read_output() {
                return Some(end);
            }
        }
        refused(self.log.finish())
    }

    fn ended(&self) -> End {
        let status = self.main_status;
        match status.and_then(WaitStatus::terminating_signal) {
            Some(signal) => End::Signalled { signal },
            None => End::Exited { code: status.and_then(WaitStatus::exit_status).unwrap_or(-1) },
        }
    }
}

/// What it means when the log did not take everything.
fn refused(written: io::Result<Room>) -> Option<End> {
    match written {
        Ok(Room::Left) => None,
        Ok(Room::Full) => Some(End::LogLimit),
        Err(error) => Some(End::LogBroken { reason: error.to_string() }),
    }
}

struct Events {
    server: bool,
    output: bool,
}

fn note(main: Pid, main_status: &mut Option<WaitStatus>, pid: Pid, status: WaitStatus) {
    if pid == main && (status.exited() || status.signaled()) {
        *main_status = Some(status);
    }
}

/// A session of its own, so that no terminal's signals arrive; parent of all orphans; bounds that children inherit.
fn isolate(spec: &GuardSpec) -> io::Result<()> {
    setsid()?;
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let largest_file = spec.disk_limit_bytes.max(spec.log_limit_bytes.saturating_add(LOG_SLACK_BYTES));
    limit(Resource::Fsize, largest_file)?;
    limit(Resource::Core, 0)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let allowed = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(value.min(allowed));
    Ok(setrlimit(resource, Rlimit { current: value, maximum: value })?)
}

fn start_command(spec: &GuardSpec) -> Result<(PipeReader, Pid), String> {
    let Some((program, arguments)) = spec.command.split_first() else {
        return Err("the command is empty".into());
    };
    let fail = |error: io::Error| start_problem(program, &spec.folder, &error);
    let (reader, writer) = io::pipe().map_err(fail)?;
    let stdout = match &spec.output {
        // Whatever an earlier command has put there is not written to.
        Some(path) => Stdio::from(File::create_new(path).map_err(fail)?),
        None => Stdio::from(writer.try_clone().map_err(fail)?),
    };
    let (mut command, handshake) = prepare(spec, program, arguments).map_err(fail)?;
    let child = command.stdout(stdout).stderr(writer).process_group(0).spawn().map_err(fail)?;
    // With the command go its ends of the pipes.
    drop(command);
    if let Some(handshake) = handshake {
        handshake.finish().map_err(io::Error::from).map_err(fail)?;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((reader, pid.ok_or("the kernel gave an impossible process id")?))
}

/// Prepares the command itself, or the step that confines it first.
fn prepare(
    spec: &GuardSpec,
    program: &str,
    arguments: &[String],
) -> io::Result<(Command, Option<Handshake>)> {
    let Some(policy) = spec.confine.clone() else {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&spec.folder).env_clear().envs(&spec.env).stdin(Stdio::null());
        return Ok((command, None));
    };
    let launch = Launch {
        user: None,
        root: None,
        program: program.into(),
        arguments: arguments.to_vec(),
        folder: spec.folder.clone(),
        variables: spec.env.clone(),
        policy,
    };
    let (mut command, handshake) = Handshake::prepare(&launch)?;
    command.envs(spec.env.get_key_value(MARK));
    Ok((command, Some(handshake)))
}

fn start_problem(program: &str, folder: &std::path::Path, error: &io::Error) -> String {
    if !folder.is_dir() {
        return format!("its folder `{}` does not exist", folder.display());
    }
    match error.kind() {
        io::ErrorKind::NotFound => format!("the program `{program}` was not found"),
        io::ErrorKind::PermissionDenied => format!("the program `{program}` is not executable"),
        _ => format!("the program `{program}` cannot be started: {error}"),
    }
}

/// The server says nothing more after its first line, so anything but data means that it is gone.
fn server_is_gone() -> bool {
    let Ok(stdin) = io::stdin().as_fd().try_clone_to_owned() else { return true };
    !matches!(File::from(stdin).read(&mut [0; 512]), Ok(1..))
}

fn has_input(output: &PipeReader) -> bool {
    let mut fds = [PollFd::new(output, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
