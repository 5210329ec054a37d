//! The supervisor of one instance: a small process of its own that starts the process, watches it, and outlives the server.
//!
//! It decides nothing: a pure state machine does. It can be killed at any moment: the process goes on, and the next supervisor
//! takes it over from `status.json`. Invariant: at most one supervisor of an instance works at a time, the holder of
//! its lock.

mod children;
mod control;
mod hold;
mod launch;
mod left;
mod output;
mod starting;
mod telling;
mod wording;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::discriminant;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::run::Kind;
use lockstep_files::{foreign, tree};
use rustix::fs::FlockOperation;
use rustix::process::Pid;

use self::children::{Child, Children, Exit};
use self::control::Watchers;
use self::hold::Hold;
pub(crate) use self::launch::ROUTED_FILE;
use self::output::{Log, Output};
use self::telling::{Said, Telling};
use crate::control_group::ControlGroup;
use crate::fault;
use crate::folder::InstanceFolder;
use crate::logs;
use crate::logs::disk::LogFolder;
use crate::logs::writer::LogWriter;
use crate::machine::{Action, Input, Machine};
use crate::own;
use crate::process::{Belongings, wait_for};
use crate::spec::SpecFile;
use crate::status::Status;

/// Exit code when another supervisor already works for the instance.
pub const EXIT_ALREADY_SUPERVISED: u8 = 3;
/// Events that wait for the main thread; who reports more waits too.
const MAX_EVENTS: usize = 64;
/// How often something is looked at when nothing is due: orphans are reaped, and a status that could not be written
/// is written again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What the other threads report. A number says which start of the process it is about.
enum Event {
    Ended(u64),
    Checked(u64, Result<(), String>),
    Said(u64, Said),
    StopAsked,
    Connected(UnixStream),
}

/// Runs the supervisor of the instance whose folder is the only argument, until the instance is over.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // What a service makes has the modes it always had; the server's own files are for its user alone.
    let _ = rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("a supervisor takes the folder of an instance, and nothing else");
        return ExitCode::from(2);
    };
    match supervise(InstanceFolder::at(PathBuf::from(folder))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the supervisor cannot work: {error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(folder: InstanceFolder) -> io::Result<ExitCode> {
    // Fails only for the leader of a process group, which a shell makes of it: then it is not started by a driver.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    std::env::set_current_dir("/")?;
    let lock = foreign::open_to_append(&folder.lock())?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(ExitCode::from(EXIT_ALREADY_SUPERVISED)),
        Err(error) => return Err(error.into()),
    }
    let (sender, events) = sync_channel(MAX_EVENTS);
    control::listen(&folder, sender.clone())?;
    control::serve_standard_input(&sender)?;
    Supervisor::open(folder, sender)?.run(&events)?;
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

struct Supervisor {
    folder: Arc<InstanceFolder>,
    /// The folder itself, whatever its name is now.
    held: File,
    spec: Arc<SpecFile>,
    children: Arc<Children>,
    events: SyncSender<Event>,
    log: Log,
    output: Output,
    machine: Machine,
    status: Status,
    /// Whether `status.json` says what `status` says.
    is_saved: bool,
    watchers: Watchers,
    process: Option<Process>,
    /// Whether that is what comes before the main process.
    is_preparing: bool,
    /// Whether what the main process has left was asked to end.
    is_left_asked: bool,
    /// What holds it to its limits.
    hold: Arc<Hold>,
    /// What it says of its work.
    telling: Telling,
    /// Counts the starts of the process.
    start: u64,
    /// When what comes before the process was started last.
    begun: Instant,
    origin: Instant,
}

/// The main process of the instance.
#[derive(Clone)]
enum Process {
    Child(Arc<Child>),
    /// Started by an earlier supervisor.
    Adopted(Pid, Arc<OwnedFd>),
}

impl Process {
    fn pid(&self) -> Pid {
        match self {
            Self::Child(child) => child.pid,
            Self::Adopted(pid, _) => *pid,
        }
    }

    fn pidfd(&self) -> &OwnedFd {
        match self {
            Self::Child(child) => &child.pidfd,
            Self::Adopted(_, pidfd) => pidfd,
        }
    }

    /// Returns the process group to signal, while its id cannot belong to another one.
    fn group(&self) -> Option<Pid> {
        match self {
            Self::Child(child) => Some(child.pid),
            Self::Adopted(pid, _) => self.runs().then_some(*pid),
        }
    }

    fn runs(&self) -> bool {
        !matches!(wait_for(self.pidfd(), Some(Duration::ZERO)), Ok(true))
    }
}

impl Supervisor {
    fn open(folder: InstanceFolder, events: SyncSender<Event>) -> io::Result<Self> {
        let spec = folder.read_spec()?;
        let log = Log::new(LogWriter::new(LogFolder::at(folder.log()), spec.log));
        let stored = read_status(&folder, &log)?;
        let was_preparing = stored.as_ref().is_some_and(|status| status.preparing.is_some());
        let output = Output::start(&folder, log.clone(), was_preparing)?;
        let is_saved = stored.is_some();
        let machine = match &stored {
            Some(status) => Machine::resume(spec.run.clone(), status, Duration::ZERO),
            None => Machine::new(spec.run.clone()),
        };
        let status = stored.unwrap_or_else(|| Status::starting(logs::now()));
        let hold = Arc::new(Hold::resume(&spec, &status.limits));
        let telling = Telling::of(&spec.run.work);
        Ok(Self {
            machine,
            held: File::open(folder.path())?,
            folder: Arc::new(folder),
            spec: Arc::new(spec),
            children: Arc::default(),
            events,
            log,
            output,
            status,
            is_saved,
            watchers: Watchers::default(),
            process: None,
            is_preparing: false,
            is_left_asked: false,
            hold,
            telling,
            start: 0,
            begun: Instant::now(),
            origin: Instant::now(),
        })
    }

    fn run(mut self, events: &Receiver<Event>) -> io::Result<()> {
        self.take_over()?;
        if self.folder.is_marked_stop() {
            self.step(Input::StopAsked);
        }
        while !self.status.state.is_over() {
            self.ask_of_work();
            self.step(Input::Time);
            match events.recv_timeout(self.pause()) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.children.reap();
            if self.is_removed() {
                // Nobody could ever find this instance again.
                self.step(Input::StopAsked);
            }
        }
        self.let_go();
        // Who connected in the last moment learns the end from the file.
        while !self.is_saved && self.folder.path().exists() {
            self.make_room();
            thread::sleep(LONGEST_PAUSE);
            self.save();
        }
        Ok(())
    }

    /// Nothing is left in the group of an instance that is over; what is, goes with it.
    fn let_go(&self) {
        if let Some(Err(error)) = self.hold.group().map(ControlGroup::empty) {
            self.log.note(&format!("its control group cannot be removed: {error}"));
        }
    }

    /// Removes what the process has written: it may be what fills the disk, and nobody else does as long as this lives.
    fn make_room(&self) {
        for path in [self.folder.work(), self.folder.scratch()] {
            // Tried again with the next look.
            let _ = tree::remove(&path);
        }
    }

    /// Tells whether the folder was removed, not just renamed or out of reach.
    fn is_removed(&self) -> bool {
        self.held.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Goes on with what an earlier supervisor has left, or writes the first status.
    fn take_over(&mut self) -> io::Result<()> {
        if !self.is_saved {
            self.save();
            return Ok(());
        }
        let Some(identity) = self.status.process.clone() else {
            // Killed between a start and the note of it, an earlier supervisor may have left a process.
            self.end_what_prepared();
            if self.spec.run.kind == Kind::Job && !self.status.state.is_over() {
                self.ended(Exit::Unknown);
            }
            return Ok(());
        };
        let adopted = Pid::from_raw(identity.pid).zip(identity.open());
        if let Some((pid, pidfd)) = adopted {
            self.log.note(&format!("a new supervisor has taken over process {pid}"));
            self.watch(Process::Adopted(pid, Arc::new(pidfd)))?;
        } else if !self.status.state.is_over() {
            self.clear(None);
            self.ended(Exit::Unknown);
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn pause(&self) -> Duration {
        let due = self.machine.next_due().into_iter().chain(self.next_question()).min();
        due.map_or(LONGEST_PAUSE, |due| due.saturating_sub(self.now()).min(LONGEST_PAUSE))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(stream) => self.watchers.add(stream, &self.status),
            // The socket is open to every process of the user, but the mark is not: only who may write it may stop.
            Event::StopAsked if self.folder.is_marked_stop() => self.step(Input::StopAsked),
            Event::StopAsked => {}
            Event::Checked(start, result) if start == self.start => self.step(Input::Checked(result)),
            Event::Ended(start) if start == self.start => self.reap_process(),
            Event::Said(start, said) => self.hear_of_work(start, said),
            Event::Checked(..) | Event::Ended(_) => {}
        }
    }

    /// Gives the machine what happened, does what it says, and tells the result.
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.machine.step(input, self.now()) {
                inputs.extend(self.act(action));
            }
        }
        self.publish();
    }

    fn act(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Prepare => return self.prepare(),
            Action::Spawn => return Some(self.spawn()),
            Action::Check => return self.check(),
            Action::Signal => self.signal(),
            Action::Kill => self.clear(self.process.as_ref().and_then(Process::group)),
        }
        None
    }

    fn check(&self) -> Option<Input> {
        let (folder, spec, children) = (self.folder.clone(), self.spec.clone(), self.children.clone());
        let (events, start) = (self.events.clone(), self.start);
        let (process, hold) = (self.status.process.clone(), self.hold.clone());
        let check = move || {
            let result = launch::check(&folder, &spec, (&children, &hold), process.as_ref());
            let _ = events.send(Event::Checked(start, result));
        };
        let started = thread::Builder::new().name("check".to_owned()).spawn(check);
        started.err().map(|error| Input::Checked(Err(format!("the check cannot be started: {error}"))))
    }

    fn signal(&self) {
        let Some(process) = self.process.as_ref().filter(|process| process.runs()) else { return };
        let signal = launch::signal_of(self.spec.run.stop.signal);
        let name = format!("{:?}", self.spec.run.stop.signal).to_uppercase();
        self.log.note(&format!("asked process {} to end with SIG{name}", process.pid()));
        let _ = rustix::process::pidfd_send_signal(process.pidfd(), signal);
    }

    /// Asks what the main process has left to end; tells whether that is waited for.
    fn asks_what_is_left(&mut self, process: &Process) -> bool {
        let (group, control) = (process.group(), self.hold.group());
        let left = match self.is_left_asked {
            true => Vec::new(),
            false => Belongings { folder: self.folder.path(), group, control }.find(),
        };
        if left.is_empty() {
            return false;
        }
        self.is_left_asked = true;
        let stop = &self.spec.run.stop;
        let what = match left.len() {
            1 => "a process, which is".to_owned(),
            count => format!("{count} processes, which are"),
        };
        self.log.note(&format!("it has left {what} asked to end as well"));
        let (events, start) = (self.events.clone(), self.start);
        let ended = move || drop(events.send(Event::Ended(start)));
        left::ask(&left, launch::signal_of(stop.signal), Duration::from_millis(stop.timeout_ms), ended)
            .is_ok()
    }

    /// Kills whatever belongs to the instance.
    fn clear(&self, group: Option<Pid>) {
        let control = self.hold.group();
        if let Err(error) = (Belongings { folder: self.folder.path(), group, control }).kill() {
            self.log.note(&error.to_string());
        }
        self.children.reap();
    }

    fn reap_process(&mut self) {
        let Some(process) = self.process.clone() else { return };
        if self.machine.is_ending() && self.asks_what_is_left(&process) {
            return;
        }
        self.process = None;
        self.clear(process.group());
        let exit = match &process {
            Process::Child(child) => self.children.wait(child, Some(Duration::ZERO)),
            Process::Adopted(..) => None,
        };
        self.ended(exit.unwrap_or(Exit::Unknown));
    }

    fn ended(&mut self, exit: Exit) {
        if self.is_preparing {
            return self.preparation_ended(exit);
        }
        self.output.settle();
        self.hear_the_last();
        let how = self.hold.words(exit);
        self.log.note(&format!("the process ended with {how}"));
        self.status.process = None;
        self.is_saved = false;
        let was_taken = self.spec.own.is_some() && exit == Exit::Code(own::TAKEN.into());
        let is_completed = was_taken || self.spec.run.kind == Kind::Job && exit == Exit::Code(0);
        self.step(if is_completed { Input::Completed } else { Input::Ended(how) });
    }

    /// Stores and tells the status when it has changed.
    fn publish(&mut self) {
        let mut next = self.status.clone();
        self.machine.save(&mut next);
        let state = self.machine.state();
        if !self.status.state.is_over() && state != self.status.state {
            if discriminant(&state) != discriminant(&self.status.state) {
                next.since = logs::now();
            }
            self.log.note(&wording::note_of(&state));
            next.state = wording::with_log(fault::excused(state, self.folder.path()), &self.folder.log());
        }
        if next != self.status || !self.is_saved {
            self.status = next;
            self.save();
            self.watchers.tell(&self.status);
        }
    }

    fn save(&mut self) {
        self.is_saved = self.status.write(&self.folder).is_ok();
    }
}

fn read_status(folder: &InstanceFolder, log: &Log) -> io::Result<Option<Status>> {
    match Status::read(folder) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            // A power cut may have left half a file. What still runs is not known, so it has to go.
            log.note(&format!("the stored status is unreadable and is made anew: {error}"));
            Belongings { folder: folder.path(), group: None, control: None }.kill()?;
            Ok(None)
        }
        other => other,
    }
}
