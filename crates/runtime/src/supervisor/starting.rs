//! Starts the process of an instance, and before it what the version has to prepare.
//!
//! Invariant: what prepares has ended, with all that it started, before the process begins; and whoever takes over from a
//! supervisor that was killed meanwhile ends it and begins anew.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use lockstep_confine::Confinement;
use lockstep_domain::fault::Fault;
use rustix::process::Pid;

use super::children::{Child, Exit};
use super::hold::Hold;
use super::{Event, Process, Supervisor, launch};
use crate::machine::{Input, Trouble};
use crate::process::{ProcessIdentity, ports, wait_for};

impl Supervisor {
    /// Begins with what comes before the process; says so where it cannot.
    pub(super) fn prepare(&mut self) -> Option<Input> {
        self.try_prepare().err().map(|trouble| self.cannot_start(trouble))
    }

    fn try_prepare(&mut self) -> Result<(), Trouble> {
        let spec = Arc::clone(&self.spec);
        let line = spec.run.prepare.as_ref().map_or(&[][..], |preparation| &preparation.command);
        self.make_ready()?;
        self.output.is_of_preparation(true);
        self.is_preparing = true;
        let (child, how) = self.launch(line)?;
        self.log.note(&format!("preparing: started `{}` as process {}, {how}", line.join(" "), child.pid));
        self.begun = Instant::now();
        self.status.preparing = ProcessIdentity::of(child.pid);
        // Known to the next supervisor before it can do anything: it may leave what carries no mark.
        self.save();
        self.watch_child(child)
    }

    /// What came before the process has ended: well, or as a start that failed.
    pub(super) fn preparation_ended(&mut self, exit: Exit) {
        let how = self.hold.words(exit);
        self.not_preparing();
        self.log
            .note(&format!("the preparation ended with {how} after {} ms", self.begun.elapsed().as_millis()));
        let input = match exit {
            Exit::Code(0) => Input::Prepared,
            _ => Input::Ended(format!("{how} of its `prepare` command")),
        };
        self.step(input);
    }

    fn not_preparing(&mut self) {
        self.output.settle();
        self.output.is_of_preparation(false);
        self.is_preparing = false;
        self.status.preparing = None;
        self.is_saved = false;
    }

    /// Ends whatever an earlier supervisor has left without a process, and first what it prepared with.
    pub(super) fn end_what_prepared(&mut self) {
        let Some(left) = self.status.preparing.clone() else { return self.clear(None) };
        // Its group, as long as it is surely the same process; what it started carries the mark.
        let runs = left.open().is_some();
        self.clear(Pid::from_raw(left.pid).filter(|_| runs));
        self.not_preparing();
        self.log.note("a new supervisor has ended what prepared the start, and begins it anew");
    }

    /// Starts the process.
    pub(super) fn spawn(&mut self) -> Input {
        match self.try_spawn() {
            Ok(()) => Input::Started,
            Err(trouble) => self.cannot_start(trouble),
        }
    }

    fn cannot_start(&mut self, trouble: Trouble) -> Input {
        self.log.note(&trouble.why);
        self.clear(None);
        if self.is_preparing {
            self.not_preparing();
        }
        (self.process, self.status.process) = (None, None);
        Input::CannotStart(trouble)
    }

    fn try_spawn(&mut self) -> Result<(), Trouble> {
        let spec = Arc::clone(&self.spec);
        match spec.run.prepare {
            // What was prepared stays as it is.
            Some(_) => self.wait_for_port()?,
            None => self.make_ready()?,
        }
        let (child, how) = self.launch(&spec.run.command)?;
        let at = self.spec.port.map_or_else(String::new, |port| format!(" on port {port}"));
        let held =
            if self.status.limits.is_empty() { String::new() } else { format!("; {}", self.status.limits) };
        self.log.note(&format!("started process {}{at}, {how}{held}", child.pid));
        self.status.process = ProcessIdentity::of(child.pid);
        self.is_saved = false;
        self.watch_child(child)
    }

    fn wait_for_port(&self) -> Result<(), Trouble> {
        let Some(address) = self.spec.address() else { return Ok(()) };
        ports::wait_free(address).map_err(|why| Trouble { why, fault: Fault::Port })
    }

    fn make_ready(&self) -> Result<(), Trouble> {
        self.wait_for_port()?;
        for path in launch::furnish(&self.folder, &self.spec)? {
            self.log.note(&format!(
                "`{}` was replaced by the process before, and is as released again",
                path.display()
            ));
        }
        Ok(())
    }

    /// Starts a command within the limits of the instance, and says how far it is confined.
    fn launch(&mut self, line: &[String]) -> Result<(Child, String), Trouble> {
        self.hold = Arc::new(Hold::begin(&self.spec));
        self.status.limits = self.hold.held();
        let (child, confinement) = launch::start(&self.folder, &self.spec, line, &self.children, &self.hold)?;
        Ok((child, confinement.as_ref().map_or_else(not_confined, Confinement::to_string)))
    }

    fn watch_child(&mut self, child: Child) -> Result<(), Trouble> {
        let watched = self.watch(Process::Child(Arc::new(child)));
        watched.map_err(|error| Trouble::of_place(format!("the process cannot be watched: {error}"), &error))
    }

    /// Reports the end of the process as an event.
    pub(super) fn watch(&mut self, process: Process) -> io::Result<()> {
        self.start += 1;
        let (watched, events, start) = (process.clone(), self.events.clone(), self.start);
        let wait = move || {
            let _ = wait_for(watched.pidfd(), None);
            let _ = events.send(Event::Ended(start));
        };
        thread::Builder::new().name("watch".to_owned()).spawn(wait)?;
        self.process = Some(process);
        self.is_left_asked = false;
        Ok(())
    }
}

fn not_confined() -> String {
    "not confined, because an older Lockstep has made its folders".to_owned()
}
