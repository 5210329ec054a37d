//! Runs the commands of a manifest: the environment, secrets and bounds that steps and tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lockstep_confine::{Confinement, Policy};
use lockstep_manifest::Build;

use crate::check::Checked;
use crate::environment;
use crate::failure::{BuildFault, describe_end};
use crate::guard::{End, GuardReport};
use crate::request::{BuildEvent, BuildRequest, Ending, Observer, Phase};
use crate::workplace::{CommandBounds, GuardedCommand, OWN_LOG_BYTES, Workplace};

/// Longest command that is shown.
const MAX_SHOWN: usize = 200;

/// What all commands of one build have in common.
pub(crate) struct Commands<'a> {
    place: &'a Workplace<'a>,
    observer: &'a dyn Observer,
    build: &'a Build,
    env: BTreeMap<String, String>,
    secrets: Vec<String>,
    /// What no command may see.
    data_folder: Option<PathBuf>,
}

/// A command's place in its phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) phase: Phase,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) count: usize,
}

impl<'a> Commands<'a> {
    pub(crate) fn new(
        request: &BuildRequest,
        checked: &'a Checked,
        place: &'a Workplace<'a>,
        observer: &'a dyn Observer,
    ) -> Self {
        let confinement = lockstep_confine::available();
        if request.data_folder.is_some() && confinement != Confinement::Whole {
            place.say(&format!("every command is {confinement}"));
        }
        Self {
            place,
            observer,
            build: &checked.manifest.build,
            env: environment::of_steps(request, checked, place),
            secrets: environment::secrets(&checked.manifest, &request.host),
            data_folder: request.data_folder.clone(),
        }
    }

    /// The texts that nothing kept of the build may show.
    pub(crate) fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Returns the bounds of the next command: its own time, and what earlier commands left of log and disk.
    pub(crate) fn bounds(&self, time_ms: u64) -> CommandBounds {
        let log_limit = self.build.log_limit_bytes.saturating_add(OWN_LOG_BYTES);
        CommandBounds {
            time_ms,
            log_bytes: self.place.log_room(log_limit).min(self.build.log_limit_bytes),
            disk_bytes: self.build.disk_limit_bytes,
        }
    }

    /// Runs one command to its end, and tells the observer and the log of it.
    pub(crate) fn run(
        &self,
        turn: Turn,
        command: &[String],
        folder: PathBuf,
        bounds: CommandBounds,
    ) -> Result<GuardReport, BuildFault> {
        self.run_into(turn, command, folder, bounds, None)
    }

    /// Runs one command like [`Self::run`], with its standard output in a file in place of the log.
    pub(crate) fn run_into(
        &self,
        turn: Turn,
        command: &[String],
        folder: PathBuf,
        bounds: CommandBounds,
        output: Option<PathBuf>,
    ) -> Result<GuardReport, BuildFault> {
        let Turn { phase, number, count } = turn;
        let text = command_text(command);
        self.place.say(&format!("{phase} {number}/{count}: {text}"));
        self.observer.event(&BuildEvent::CommandStarted { phase, number, count, command: text });
        let report = self.place.run(GuardedCommand {
            command: command.to_vec(),
            folder,
            env: self.env.clone(),
            secrets: self.secrets.clone(),
            confine: self.policy(output.as_deref()),
            output,
            disk: None,
            bounds,
        });
        let good = report.as_ref().is_ok_and(GuardReport::is_success);
        let ending = if good { Ending::Good } else { Ending::Bad };
        let duration_ms = report.as_ref().map_or(0, |report| report.duration_ms);
        self.observer.event(&BuildEvent::CommandEnded { phase, number, ending, duration_ms });
        report
    }

    /// What a command may touch. It reads the host, and writes its checkout, its temporary files and the user's home.
    fn policy(&self, output: Option<&Path>) -> Option<Policy> {
        let data = self.data_folder.as_deref()?;
        let own = [self.place.source(), self.place.temporary()].into_iter().chain(output.map(Path::to_owned));
        Some(Policy::of_build(data, self.env.get("HOME").map(Path::new), own.collect()))
    }

    /// Runs the manifest's build steps; the first that fails ends the build.
    pub(crate) fn run_steps(&self, folder: &Path) -> Result<(), BuildFault> {
        let started = Instant::now();
        let count = self.build.steps.len();
        for (index, step) in self.build.steps.iter().enumerate() {
            let turn = Turn { phase: Phase::Build, number: index + 1, count };
            let below =
                step.folder.as_ref().map_or_else(|| folder.to_owned(), |below| folder.join(below.as_str()));
            let spent_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let bounds = self.bounds(self.build.timeout_ms.saturating_sub(spent_ms));
            let report = self.run(turn, &step.command, below, bounds)?;
            if !report.is_success() {
                return Err(self.step_fault(turn, &step.command, report.end, bounds));
            }
        }
        Ok(())
    }

    fn step_fault(&self, turn: Turn, command: &[String], end: End, bounds: CommandBounds) -> BuildFault {
        let of_all_steps = CommandBounds { time_ms: self.build.timeout_ms, ..bounds };
        let reason = describe_end(&end, of_all_steps);
        BuildFault::Step {
            number: turn.number,
            count: turn.count,
            command: command_text(command),
            end,
            reason,
        }
    }
}

/// Shows a command as a person would type it, cut to a readable length.
pub(crate) fn command_text(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = command.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    let text = quoted.collect::<Vec<_>>().join(" ").replace('\n', " ");
    if text.chars().count() <= MAX_SHOWN {
        text
    } else {
        text.chars().take(MAX_SHOWN - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_would_be_typed() {
        let show = |words: &[&str]| command_text(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(show(&["cargo", "build", "--release"]), "cargo build --release");
        assert_eq!(show(&["sh", "-c", "echo it's"]), r"sh -c 'echo it'\''s'");
        assert_eq!(show(&["x", &"y".repeat(500)]).chars().count(), MAX_SHOWN);
    }
}
