//! How many files may be open: a server takes as many as it may, and what it starts gets what the server was given.
//!
//! Programs that wait with `select` break when they have a file above 1,024, and others close every file up to the limit
//! when they start; so an instance or a build does not get more because the server needs more.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The first word of a process that lowers its limit to the second word and becomes the role of the third.
pub(crate) const WORD: &str = "with-open-files";

/// The limit that this process was given, where it was raised since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given(Option<u64>);

/// Raises the limit as far as the system allows.
pub(crate) fn raise() -> Given {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Given(None);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => Given(limit.current),
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "the limit of open files stays low");
            Given(None)
        }
    }
}

impl Given {
    /// Returns what starts this program in a role that starts programs of others.
    pub(crate) fn start(self, program: OsString, role: &str) -> Vec<OsString> {
        let limit = self.0.map(|files| [OsString::from(WORD), files.to_string().into()]);
        let words = limit.into_iter().flatten().chain([role.into()]);
        [program].into_iter().chain(words).collect()
    }
}

/// Lowers the limit and becomes the role, so that its arguments look as if nothing had been before it.
pub(crate) fn lower(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // The path that the server gave: by it the process is known afterwards, and `/proc/self/exe` has no name.
    let program = std::env::args_os().next().unwrap_or_default();
    let files = arguments.next().and_then(|files| files.to_str()?.parse().ok());
    let limit = getrlimit(Resource::Nofile);
    let lowered = Rlimit { current: files.or(limit.current), ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, lowered) {
        eprintln!("the limit of open files stays high: {error}");
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("`{}` cannot be started: {error}", program.display());
    ExitCode::FAILURE
}
