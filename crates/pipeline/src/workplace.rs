//! The folder of one build, its log, and the running of guarded commands in it.
//!
//! ```text
//! BUILD/log                the live log, kept
//! BUILD/source/            the checkout, removed at the end
//! BUILD/tmp/               TMPDIR of all commands, removed at the end
//! BUILD/unpacked/          what was made elsewhere, removed at the end
//! BUILD/artifact.tar.zst   the package, only when all went well
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lockstep_confine::Policy;
use lockstep_files::{foreign, tree};

use crate::cancel::CancelToken;
use crate::failure::{BuildFault, io_fault};
use crate::guard::{End, GuardCommand, GuardReport, GuardSpec};
use crate::request::BuildRequest;

/// Room in every log for our own words and git's, beside what the manifest allows to steps and tests.
pub(crate) const OWN_LOG_BYTES: u64 = 1024 * 1024;
/// How much of the end of a log is read to show its last lines.
const TAIL_BYTES: u64 = 16 * 1024;
/// How many last lines a failure shows.
const TAIL_LINES: usize = 20;
/// Longest line that a failure shows.
const TAIL_LINE_CHARACTERS: usize = 500;

/// Bounds of one guarded command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandBounds {
    pub(crate) time_ms: u64,
    pub(crate) log_bytes: u64,
    pub(crate) disk_bytes: u64,
}

/// One command to run under the guard.
#[derive(Debug)]
pub(crate) struct GuardedCommand {
    pub(crate) command: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) secrets: Vec<String>,
    /// The file that takes the standard output in place of the log.
    pub(crate) output: Option<PathBuf>,
    /// The folder whose size is bounded; `None` is the build's.
    pub(crate) disk: Option<PathBuf>,
    /// What it may touch; `None` is everything.
    pub(crate) confine: Option<Policy>,
    pub(crate) bounds: CommandBounds,
}

/// The folder of one build.
#[derive(Debug)]
pub(crate) struct Workplace<'a> {
    root: &'a str,
    guard: &'a GuardCommand,
    pub(crate) cancel: &'a CancelToken,
}

impl<'a> Workplace<'a> {
    /// Makes the folder of a build; what an earlier try left of its sources is removed, its log is continued.
    pub(crate) fn open(request: &'a BuildRequest, cancel: &'a CancelToken) -> Result<Self, BuildFault> {
        let root = &request.work_folder;
        let Some(text) = root.to_str().filter(|_| root.is_absolute()) else {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "it must be an absolute UTF-8 path");
            return Err(io_fault(root, "used as a build folder", why));
        };
        let place = Self { root: text, guard: &request.guard, cancel };
        place.remove_sources();
        let temporary = place.temporary();
        fs::create_dir_all(&temporary).map_err(|source| io_fault(&temporary, "created", source))?;
        let log = place.log();
        foreign::open_to_append(&log).map_err(|source| io_fault(&log, "created", source))?;
        Ok(place)
    }

    pub(crate) fn root(&self) -> &Path {
        Path::new(self.root)
    }

    /// The value of the mark that all processes of the build carry.
    pub(crate) const fn mark(&self) -> &str {
        self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root().join("log")
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.root().join("source")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root().join("tmp")
    }

    pub(crate) fn unpacked(&self) -> PathBuf {
        self.root().join("unpacked")
    }

    pub(crate) fn artifact(&self) -> PathBuf {
        self.root().join("artifact.tar.zst")
    }

    /// Removes the checkout and the temporary files. What cannot be removed is left to whoever removes the build.
    pub(crate) fn remove_sources(&self) {
        tree::remove(&self.source()).ok();
        tree::remove(&self.temporary()).ok();
        tree::remove(&self.unpacked()).ok();
    }

    /// Writes a line of ours into the log. A log that cannot be written fails the next command, which says so.
    pub(crate) fn say(&self, line: &str) {
        if let Ok(mut log) = foreign::open_to_append(&self.log()) {
            writeln!(log, "==> {line}").ok();
        }
    }

    /// Returns how many bytes the log still takes until `limit`.
    pub(crate) fn log_room(&self, limit: u64) -> u64 {
        let written = fs::metadata(self.log()).map_or(0, |metadata| metadata.len());
        limit.saturating_sub(written)
    }

    /// The program that guards commands, which is all of Lockstep.
    pub(crate) fn guard_program(&self) -> Option<&str> {
        self.guard.program()
    }

    /// Runs a command to its end and says in the log what a reader would otherwise not understand.
    pub(crate) fn run(&self, command: GuardedCommand) -> Result<GuardReport, BuildFault> {
        let bounds = command.bounds;
        let spec = GuardSpec {
            command: command.command,
            folder: command.folder,
            env: command.env,
            log: self.log(),
            log_limit_bytes: bounds.log_bytes,
            disk: command.disk.unwrap_or_else(|| self.root().to_owned()),
            disk_limit_bytes: bounds.disk_bytes,
            time_limit_ms: bounds.time_ms,
            output: command.output,
            confine: command.confine,
            secrets: command.secrets,
        };
        let report = self.guard.run(&spec, self.cancel)?;
        self.explain(&report, bounds);
        if report.end == End::Abandoned { Err(BuildFault::Cancelled) } else { Ok(report) }
    }

    fn explain(&self, report: &GuardReport, bounds: CommandBounds) {
        for leftover in &report.leftovers {
            self.say(&format!("{leftover} was still running and has been killed"));
        }
        if !report.clean {
            self.say("some of its processes could not be killed: the kernel holds them, see `ps`");
        }
        match &report.end {
            End::Exited { .. } => {}
            end => self.say(&crate::failure::describe_end(end, bounds)),
        }
    }

    /// Returns the last lines of the log.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let tail = read_tail(&self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
        shown.map(|line| line.chars().take(TAIL_LINE_CHARACTERS).collect()).collect()
    }
}

fn read_tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = foreign::open_no_link(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail)
}
