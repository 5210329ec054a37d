//! The life of one instance as a pure state machine: what happened goes in, what to do comes out.
//!
//! It starts nothing and asks no clock; times are durations since the supervisor's own start on a monotonic clock, so
//! that a wall clock that jumps changes nothing. Invariant: there is never more than one process at a time, and after
//! [`InstanceState::Stopped`] or [`InstanceState::Failed`] no action follows.

use std::time::Duration;

use lockstep_domain::InstanceState;
use lockstep_domain::fault::Fault;
use lockstep_domain::run::{Kind, Probe, RunSpec};

use crate::status::Status;

/// Pause before the first health check, and the shortest between any two: a small program listens after a few
/// milliseconds.
const FIRST_CHECK: Duration = Duration::from_millis(10);
/// Longest pause between two checks before the instance is healthy: what it may be known later than it is.
const LONGEST_QUICK_CHECK: Duration = Duration::from_millis(100);
/// The same of what somebody else runs, who need not notice.
const LONGEST_QUICK_ASK: Duration = Duration::from_secs(1);
/// Pause between two attempts to kill what does not die: it is stuck in the kernel, and asking often does not help.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Time went on.
    Time,
    /// The process runs.
    Started,
    /// The process cannot be started, and trying again would not help.
    CannotStart(Trouble),
    /// What comes before the process has ended well, and nothing that it started is left.
    Prepared,
    /// The process, or what comes before it, has ended, and nothing that it started is left.
    Ended(String),
    /// The process of a job has ended by itself, with 0.
    Completed,
    /// A health check has ended: it was answered well, or says why not.
    Checked(Result<(), String>),
    /// The instance shall end.
    StopAsked,
}

/// Why the process of an instance cannot be started, and whose doing that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) why: String,
    pub(crate) fault: Fault,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start what comes before the process, and report [`Input::Prepared`], [`Input::Ended`] or [`Input::CannotStart`].
    Prepare,
    /// Start the process, and report [`Input::Started`] or [`Input::CannotStart`].
    Spawn,
    /// Check the health, and report [`Input::Checked`].
    Check,
    /// Ask the main process to end, with the signal of its specification.
    Signal,
    /// Kill the process and all that it started.
    Kill,
}

/// The life of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    run: RunSpec,
    phase: Phase,
    restarts: u32,
    ends_in_a_row: u32,
    was_healthy: bool,
    /// What is wrong: the last failed check, or the last end.
    trouble: String,
}

#[derive(Debug, Clone)]
enum Phase {
    Pausing {
        until: Duration,
    },
    /// What comes before the process runs, and is ended then.
    Preparing {
        until: Duration,
    },
    Spawning,
    Running(Running),
    Ending {
        kill_at: Duration,
        after: InstanceState,
    },
    Over(InstanceState),
}

#[derive(Debug, Clone)]
struct Running {
    started: Duration,
    /// Whether this process has been healthy, or is left to run although it was not.
    ready: bool,
    healthy_since: Option<Duration>,
    failures: u32,
    /// When the next check is due; `None` while one runs.
    check_at: Option<Duration>,
    /// The pause before the next check as long as the process is not ready.
    quick: Duration,
}

impl Machine {
    /// Makes the machine of an instance that has never been started.
    #[must_use]
    pub(crate) const fn new(run: RunSpec) -> Self {
        let phase = Phase::Pausing { until: Duration::ZERO };
        Self { run, phase, restarts: 0, ends_in_a_row: 0, was_healthy: false, trouble: String::new() }
    }

    /// Makes the machine of an instance that another supervisor has left with a status. A process named there is taken
    /// to be running; when it is not, [`Input::Ended`] must come next.
    #[must_use]
    pub(crate) fn resume(run: RunSpec, status: &Status, now: Duration) -> Self {
        let mut machine = Self::new(run);
        machine.restarts = status.restarts;
        machine.ends_in_a_row = status.ends_in_a_row;
        machine.was_healthy = status.was_ready || matches!(status.state, InstanceState::Unhealthy { .. });
        if let InstanceState::Unhealthy { reason } = &status.state {
            machine.trouble.clone_from(reason);
        }
        if status.state.is_over() {
            machine.phase = Phase::Over(status.state.clone());
        // One that may have begun is not begun again.
        } else if status.process.is_some() || machine.run.kind == Kind::Job {
            let healthy_since = status.state.is_healthy().then_some(now);
            machine.phase = Phase::Running(Running {
                ready: status.was_ready,
                healthy_since,
                ..Running::new(&machine.run, now)
            });
        }
        machine
    }

    /// Takes what happened and returns what to do, in this order.
    pub(crate) fn step(&mut self, input: Input, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Time => {}
            Input::Started => self.started(now),
            Input::CannotStart(Trouble { why, fault }) => {
                self.phase = Phase::Over(InstanceState::failed(why, fault));
            }
            Input::Prepared => actions.extend(self.prepared()),
            Input::Ended(how) => self.ended(&how, now),
            Input::Completed => self.completed(),
            Input::Checked(result) => self.checked(result, now),
            Input::StopAsked => actions.extend(self.stop_asked(now)),
        }
        actions.extend(self.due(now));
        actions
    }

    /// Returns when [`Input::Time`] is needed at the latest.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Pausing { until } | Phase::Preparing { until } => Some(*until),
            Phase::Running(running) => {
                let start_deadline = (!running.ready).then(|| running.started + self.start_timeout());
                running.check_at.into_iter().chain(start_deadline).min()
            }
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Spawning | Phase::Over(_) => None,
        }
    }

    /// Tells whether the process was asked to end.
    #[must_use]
    pub(crate) const fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// Returns how the instance is.
    #[must_use]
    pub(crate) fn state(&self) -> InstanceState {
        match &self.phase {
            Phase::Over(state) => state.clone(),
            // One that is ended because it failed was not told to end, and nobody should think so.
            Phase::Ending { after: InstanceState::Stopped, .. } => InstanceState::Stopping,
            Phase::Running(running) if running.healthy_since.is_some() => InstanceState::Healthy,
            _ if self.was_healthy => InstanceState::Unhealthy { reason: self.trouble.clone() },
            _ => InstanceState::Starting,
        }
    }

    /// Writes what a later supervisor needs into a status.
    pub(crate) fn save(&self, status: &mut Status) {
        status.restarts = self.restarts;
        status.ends_in_a_row = self.ends_in_a_row;
        status.was_ready = matches!(&self.phase, Phase::Running(running) if running.ready);
    }

    fn due(&mut self, now: Duration) -> Option<Action> {
        if self.next_due().is_none_or(|at| at > now) {
            return None;
        }
        match &mut self.phase {
            Phase::Pausing { .. } => Some(self.begin(now)),
            Phase::Preparing { .. } => Some(self.preparation_timed_out(now)),
            Phase::Ending { kill_at, .. } => {
                *kill_at = now + KILL_AGAIN;
                Some(Action::Kill)
            }
            Phase::Running(running) if running.ready || now < running.started + start_timeout(&self.run) => {
                running.check_at = None;
                Some(Action::Check)
            }
            Phase::Running(running) if self.run.external.is_some() => {
                running.go_on_without();
                self.was_healthy = true;
                Some(Action::Check)
            }
            Phase::Running(_) => Some(self.start_timed_out(now)),
            Phase::Spawning | Phase::Over(_) => None,
        }
    }

    fn begin(&mut self, now: Duration) -> Action {
        let Some(preparation) = &self.run.prepare else { return self.spawn() };
        self.phase = Phase::Preparing { until: now + Duration::from_millis(preparation.timeout_ms) };
        Action::Prepare
    }

    fn spawn(&mut self) -> Action {
        self.phase = Phase::Spawning;
        Action::Spawn
    }

    fn prepared(&mut self) -> Option<Action> {
        match &self.phase {
            Phase::Preparing { .. } => return Some(self.spawn()),
            Phase::Ending { after, .. } => self.phase = Phase::Over(after.clone()),
            Phase::Pausing { .. } | Phase::Spawning | Phase::Running(_) | Phase::Over(_) => {}
        }
        None
    }

    fn preparation_timed_out(&mut self, now: Duration) -> Action {
        let limit = self.run.prepare.as_ref().map_or(0, |preparation| preparation.timeout_ms);
        let reason = format!("its `prepare` command had not ended after {limit} ms");
        self.end(InstanceState::failed(reason, Fault::Start), now)
    }

    fn started(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Spawning) {
            self.phase = Phase::Running(Running::new(&self.run, now));
        }
    }

    fn start_timed_out(&mut self, now: Duration) -> Action {
        let (limit, trouble) = (self.run.health.start_timeout_ms, &self.trouble);
        let reason = match self.run.kind {
            Kind::Job => format!("it had not ended after {limit} ms"),
            Kind::Web | Kind::Worker => format!("not healthy within {limit} ms: {trouble}"),
        };
        self.end(InstanceState::failed(reason, Fault::Start), now)
    }

    fn end(&mut self, after: InstanceState, now: Duration) -> Action {
        self.phase = Phase::Ending { kill_at: now + Duration::from_millis(self.run.stop.timeout_ms), after };
        Action::Signal
    }

    fn stop_asked(&mut self, now: Duration) -> Option<Action> {
        match &mut self.phase {
            Phase::Pausing { .. } => {
                self.phase = Phase::Over(InstanceState::Stopped);
                None
            }
            Phase::Running(_) | Phase::Preparing { .. } | Phase::Spawning => {
                Some(self.end(InstanceState::Stopped, now))
            }
            Phase::Ending { after, .. } => {
                *after = InstanceState::Stopped;
                None
            }
            Phase::Over(_) => None,
        }
    }

    fn completed(&mut self) {
        self.phase = match &self.phase {
            Phase::Ending { after, .. } => Phase::Over(after.clone()),
            _ => Phase::Over(InstanceState::Completed),
        };
    }

    fn ended(&mut self, how: &str, now: Duration) {
        match &self.phase {
            Phase::Ending { after, .. } => self.phase = Phase::Over(after.clone()),
            Phase::Preparing { .. } => {
                self.ends_in_a_row = self.ends_in_a_row.saturating_add(1);
                self.restart(how, now);
            }
            Phase::Running(running) => {
                let reset_after = Duration::from_millis(self.run.restart.reset_after_ms);
                let was_stable = running.healthy_since.is_some_and(|since| now >= since + reset_after);
                let before = if was_stable { 0 } else { self.ends_in_a_row };
                self.ends_in_a_row = before.saturating_add(1);
                self.restart(how, now);
            }
            Phase::Pausing { .. } | Phase::Spawning | Phase::Over(_) => {}
        }
    }

    fn restart(&mut self, how: &str, now: Duration) {
        let (ends, most) = (self.ends_in_a_row, self.run.restart.max_restarts);
        if ends > most {
            let reason = match ends {
                _ if self.run.kind == Kind::Job => format!("ended with {how}"),
                1 => format!("ended with {how}, and is not to be started again"),
                _ => format!("ended {ends} times in a row, the last time with {how}"),
            };
            self.phase = Phase::Over(InstanceState::failed(reason, Fault::Crash));
            return;
        }
        let pause = backoff(&self.run, ends);
        self.restarts = self.restarts.saturating_add(1);
        self.trouble = format!("ended with {how}; restart {ends} of {most} after {} ms", pause.as_millis());
        self.phase = Phase::Pausing { until: now + pause };
    }

    fn checked(&mut self, result: Result<(), String>, now: Duration) {
        let interval = Duration::from_millis(self.run.health.interval_ms).max(FIRST_CHECK);
        let Phase::Running(running) = &mut self.phase else { return };
        match result {
            Ok(()) => {
                running.healthy(now);
                self.was_healthy = true;
                running.check_at = Some(now + interval);
            }
            Err(why) => {
                running.failures = running.failures.saturating_add(1);
                if running.failures >= self.run.health.unhealthy_after {
                    running.healthy_since = None;
                }
                self.trouble = why;
                let longest =
                    if self.run.external.is_some() { LONGEST_QUICK_ASK } else { LONGEST_QUICK_CHECK };
                running.check_at = Some(now + running.pause(interval, longest));
            }
        }
    }

    fn start_timeout(&self) -> Duration {
        start_timeout(&self.run)
    }
}

impl Running {
    fn new(run: &RunSpec, now: Duration) -> Self {
        Self {
            started: now,
            ready: false,
            healthy_since: None,
            failures: 0,
            check_at: (run.health.probe != Probe::Ends).then(|| now + FIRST_CHECK),
            quick: FIRST_CHECK,
        }
    }

    fn healthy(&mut self, now: Duration) {
        self.ready = true;
        self.failures = 0;
        self.healthy_since.get_or_insert(now);
    }

    /// A relay runs on: starting it again makes nobody answer at the other side, and checks go on in case somebody does.
    fn go_on_without(&mut self) {
        self.ready = true;
        self.check_at = None;
    }

    fn pause(&mut self, interval: Duration, longest_quick: Duration) -> Duration {
        if self.ready {
            return interval;
        }
        self.quick = (self.quick * 3 / 2).min(longest_quick).min(interval);
        self.quick
    }
}

fn start_timeout(run: &RunSpec) -> Duration {
    Duration::from_millis(run.health.start_timeout_ms)
}

fn backoff(run: &RunSpec, ends: u32) -> Duration {
    let doubled = 1_u64.checked_shl(ends.saturating_sub(1)).unwrap_or(u64::MAX);
    let pause_ms = run.restart.backoff_ms.saturating_mul(doubled).min(run.restart.max_backoff_ms);
    Duration::from_millis(pause_ms)
}

#[cfg(test)]
mod tests;
