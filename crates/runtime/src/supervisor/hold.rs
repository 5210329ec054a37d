//! Holds an instance to its limits: by its control group, and where there is none each of its processes by itself.
//!
//! A process is taken in after it was made and before it begins: the step between waits for what it is told. Invariant: what
//! [`Hold::held`] says is what was really done.

use std::io;

use lockstep_domain::limits::{Held, Limit, Limits, Means};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::children::Exit;
use crate::control_group::{ControlGroup, Happened, may_take_in, most_open_files};
use crate::spec::{GroupOf, SpecFile};
use crate::users::SpecUser;

/// Why a supervisor cannot use a group that is there for its instance.
const OUTSIDE: &str = "its supervisor was started outside of the part of the control groups that it may use";

/// What holds an instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Hold {
    limits: Limits,
    means: Means,
    group: Option<ControlGroup>,
}

impl Hold {
    /// Begins anew, before a process is started: whatever was in the group is ended.
    pub(super) fn begin(spec: &SpecFile) -> Self {
        let limits = spec.run.limits;
        let means = |why: String| Means {
            counts_processes: spec.user.as_ref().is_some_and(SpecUser::is_own),
            most_open_files: most_open_files(),
            why,
            ..Means::default()
        };
        let (group, means) = match &spec.group {
            None => (None, means(String::new())),
            Some(GroupOf::Nothing(why)) => (None, means(why.clone())),
            Some(GroupOf::At(path)) if !may_take_in(path) => (None, means(OUTSIDE.to_owned())),
            Some(GroupOf::At(path)) => match ControlGroup::begin(path, &limits, &means(String::new())) {
                Ok((group, means)) => (Some(group), means),
                Err(error) => (None, means(format!("its control group cannot be made: {error}"))),
            },
        };
        Self { limits, means, group }
    }

    /// Goes on with what an earlier supervisor began.
    pub(super) fn resume(spec: &SpecFile, held: &Held) -> Self {
        let group = match &spec.group {
            Some(GroupOf::At(path)) => ControlGroup::begun(path),
            Some(GroupOf::Nothing(_)) | None => None,
        };
        let by_group = |name: &str| held.held.iter().any(|it| it.starts_with(name) && it.contains("group"));
        let means = Means {
            group_memory: by_group("memory"),
            group_cpu: by_group("cpu"),
            group_processes: by_group("processes"),
            counts_processes: held.held.iter().any(|it| it.ends_with("by user")),
            most_open_files: most_open_files(),
            why: String::new(),
        };
        Self { limits: spec.run.limits, means, group }
    }

    /// Says how the limits are held.
    pub(super) fn held(&self) -> Held {
        self.limits.held(&self.means)
    }

    /// The group, where there is one.
    pub(super) const fn group(&self) -> Option<&ControlGroup> {
        self.group.as_ref()
    }

    /// Takes in a process that has not begun yet.
    ///
    /// # Errors
    /// When it cannot be held.
    pub(super) fn take_in(&self, pid: Pid) -> io::Result<()> {
        if let Some(group) = &self.group {
            group.take_in(pid)?;
        }
        for limit in self.limits.each() {
            if let Some((resource, most)) = self.of_process(limit) {
                let both = Rlimit { current: Some(most), maximum: Some(most) };
                prlimit(Some(pid), resource, both).map_err(|error| because(limit, error))?;
            }
        }
        Ok(())
    }

    /// The limit of a single process; `None` where a group holds it, or nothing does.
    fn of_process(&self, limit: Limit) -> Option<(Resource, u64)> {
        let means = &self.means;
        match limit {
            // Not of the address space: what is reserved and never used would count, gigabytes in Node, Go and Java.
            Limit::Memory(bytes) => (!means.group_memory).then_some((Resource::Data, bytes)),
            Limit::Processes(most) => {
                let is_held = !means.group_processes && means.counts_processes;
                is_held.then_some((Resource::Nproc, most.into()))
            }
            Limit::OpenFiles(most) => {
                let most = u64::from(most);
                Some((Resource::Nofile, means.most_open_files.map_or(most, |limit| limit.min(most))))
            }
            Limit::Processors(_) => None,
        }
    }

    /// Says how the process ended, and whether that was for a limit.
    pub(super) fn words(&self, exit: Exit) -> String {
        let happened = self.group.as_ref().map(ControlGroup::happened).unwrap_or_default();
        words(exit, &self.limits, &self.means, happened)
    }
}

fn because(limit: Limit, error: Errno) -> io::Error {
    io::Error::other(format!("{limit} cannot be set: {}", io::Error::from(error)))
}

fn words(exit: Exit, limits: &Limits, means: &Means, happened: Happened) -> String {
    let mut text = exit.to_string();
    let memory = limits.memory_bytes.map(Limit::Memory);
    match memory {
        Some(limit) if happened.killed_for_memory > 0 && happened.short_of_memory > 0 => {
            text = format!("{text}: it needed more than its limit, {limit}");
        }
        _ if happened.killed_for_memory > 0 => text.push_str(": the host was short of memory"),
        // The kernel refuses memory and tells nobody but the program.
        Some(limit) if !means.group_memory && exit != Exit::Code(0) => {
            text = format!("{text} (each of its processes is refused more than {limit}; did it say so?)");
        }
        _ => {}
    }
    if let (Some(most), 1..) = (limits.processes, happened.refused_processes) {
        let refused = happened.refused_processes;
        text = format!("{text} (it was refused another process {refused} times: its limit is {most})");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(short: u64, killed: u64, refused: u64) -> Happened {
        Happened { short_of_memory: short, killed_for_memory: killed, refused_processes: refused }
    }

    #[test]
    fn an_end_for_a_limit_says_so_and_one_for_the_host_says_that() {
        let limits = Limits { memory_bytes: Some(64_000_000), processes: Some(5), ..Limits::default() };
        let group = Means { group_memory: true, ..Means::default() };
        let said = |exit, means: &Means, happened| words(exit, &limits, means, happened);
        let killed = Exit::Signal(9);
        assert_eq!(
            said(killed, &group, happened(1, 2, 0)),
            "signal 9 (KILL): it needed more than its limit, memory 64 MB"
        );
        assert_eq!(said(killed, &group, happened(0, 1, 0)), "signal 9 (KILL): the host was short of memory");
        assert_eq!(said(Exit::Code(1), &group, happened(0, 0, 0)), "exit code 1");
        assert_eq!(
            said(Exit::Code(1), &group, happened(0, 0, 3)),
            "exit code 1 (it was refused another process 3 times: its limit is 5)"
        );
        let by_process = said(Exit::Code(1), &Means::default(), happened(0, 0, 0));
        assert_eq!(
            by_process,
            "exit code 1 (each of its processes is refused more than memory 64 MB; did it say so?)"
        );
        assert_eq!(said(Exit::Code(0), &Means::default(), happened(0, 0, 0)), "exit code 0");
    }
}
