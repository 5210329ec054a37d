//! Asks git. Every call has a bound in time and output, no terminal, no hooks, and no transport that runs commands.
//!
//! Nothing here changes a repository of the user's; fetching is the mirror's affair.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use lockstep_domain::earlier::Tag;
use thiserror::Error;

use crate::cancel::CancelToken;
use crate::process::{Bounds, CaptureError, Captured, capture, capture_fed};
use crate::repository::{Credential, RepositoryLocation};

/// Longest time of one question to a local repository.
const QUERY_TIME: Duration = Duration::from_secs(120);
/// Longest answer: the history of a very long-lived service.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
const BOUNDS: Bounds = Bounds { time: QUERY_TIME, output_bytes: MAX_ANSWER_BYTES };
/// Longest part of git's own words that an error repeats.
const MAX_COMPLAINT: usize = 600;

/// What may be fetched for a repository of this machine.
pub(crate) const PROTOCOLS: &str = "https:ssh:file";
/// What may be fetched for a repository elsewhere.
pub(crate) const REMOTE_PROTOCOLS: &str = "https:ssh";

/// Variables of the server that git needs to reach a repository and to prove who it is.
const PASSED_ON: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "GIT_ASKPASS",
    "GIT_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "TMPDIR",
];
/// The variable with the password, and a helper that hands it on.
const PASSWORD: &str = "LOCKSTEP_GIT_PASSWORD";
const HELPER: &str = r#"!f() { test "$1" = get && printf 'password=%s\n' "$LOCKSTEP_GIT_PASSWORD"; }; f"#;
/// Settings that every call gets before its own arguments. Housekeeping stays in the foreground, so that nothing is left.
const SETTINGS: [&str; 16] = [
    "-c",
    // Mirrors are bare, whatever the user wants of other repositories.
    "safe.bareRepository=all",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "gc.autoDetach=false",
    "-c",
    "maintenance.autoDetach=false",
    "-c",
    "advice.detachedHead=false",
    "-c",
    "core.quotePath=false",
];

/// The id of a commit or tree: 40 or 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

impl CommitId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// A text that is not the id of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not the id of a commit: 40 or 64 hexadecimal digits are expected")]
pub struct CommitIdError {
    /// The text, cut to a printable length.
    pub text: String,
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, CommitIdError> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match text.len() {
            40 | 64 if digits => Ok(Self(text.to_owned())),
            _ => Err(CommitIdError { text: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why git gave no answer.
#[derive(Debug, Error)]
pub enum GitError {
    /// Git could not be run.
    #[error("`git {command}` failed")]
    Run {
        /// Its subcommand.
        command: String,
        /// The cause.
        #[source]
        source: CaptureError,
    },
    /// Git said no.
    #[error("`git {command}` in `{}` failed: {complaint}", .folder.display())]
    Refused {
        /// Its subcommand.
        command: String,
        /// Where it was asked.
        folder: PathBuf,
        /// What it said.
        complaint: String,
    },
    /// Git's answer cannot be understood.
    #[error("the answer of `git {command}` cannot be understood")]
    Answer {
        /// Its subcommand.
        command: String,
    },
}

impl GitError {
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Run { source: CaptureError::Cancelled, .. })
    }
}

/// The environment of every call.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let passed_on = PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
        ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        // Whether files of Git LFS are fetched is said in the manifest.
        ("GIT_LFS_SKIP_SMUDGE", "1"),
    ];
    passed_on.chain(fixed.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// The variables that tell git who it is, of an address that was recorded with a user or password: they stand in no list of
/// processes and in no file.
pub(crate) fn credential(location: &RepositoryLocation) -> BTreeMap<String, String> {
    let Some(Credential { host, user, password }) = location.credential() else { return BTreeMap::new() };
    let mut settings = vec![(format!("credential.{host}.username"), user.clone())];
    if password.is_some() {
        // An empty one first: no helper of the user may keep what comes from the address.
        settings.push((format!("credential.{host}.helper"), String::new()));
        settings.push((format!("credential.{host}.helper"), HELPER.to_owned()));
    }
    let mut env = BTreeMap::from([("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string())]);
    for (index, (name, value)) in settings.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{index}"), name);
        env.insert(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    env.extend(password.clone().map(|password| (PASSWORD.to_owned(), password)));
    env
}

/// The words of a call after `git`.
pub(crate) fn arguments(folder: &Path, words: &[&OsStr]) -> Vec<std::ffi::OsString> {
    let fixed = SETTINGS.iter().map(|word| OsStr::new(*word).to_owned());
    let place = ["-C".into(), folder.as_os_str().to_owned()];
    fixed.chain(place).chain(words.iter().map(|word| (*word).to_owned())).collect()
}

/// A repository that is asked.
#[derive(Debug, Clone)]
pub(crate) struct Git<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) cancel: &'a CancelToken,
}

/// What git answered.
pub(crate) enum Answer {
    Yes(Vec<u8>),
    No { complaint: String },
}

impl Git<'_> {
    /// Asks a question that may be answered with no.
    pub(crate) fn try_ask(&self, words: &[&str]) -> Result<Answer, GitError> {
        self.try_ask_with(words, BTreeMap::new())
    }

    /// Asks a question about the `HEAD` of a repository elsewhere.
    pub(crate) fn ask_head_of(
        &self,
        words: &[&str],
        location: &RepositoryLocation,
    ) -> Result<Vec<u8>, GitError> {
        let address = location.as_argument().to_string_lossy();
        let answer = self.try_ask_with(&[words, &[&address, "HEAD"]].concat(), credential(location))?;
        self.demanded(words, answer)
    }

    /// Asks with variables of its own, to which no is an error.
    pub(crate) fn ask_as(
        &self,
        words: &[&str],
        variables: BTreeMap<String, String>,
    ) -> Result<Vec<u8>, GitError> {
        let answer = self.try_ask_with(words, variables)?;
        self.demanded(words, answer)
    }

    fn try_ask_with(&self, words: &[&str], more: BTreeMap<String, String>) -> Result<Answer, GitError> {
        answer_of(words, capture(self.command(words, more), BOUNDS, self.cancel))
    }

    fn command(&self, words: &[&str], more: BTreeMap<String, String>) -> Command {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let mut command = Command::new("git");
        command.args(arguments(self.folder, &words)).env_clear().envs(environment()).envs(more);
        command
    }

    /// Asks a question about many things at once, to which no is an error.
    pub(crate) fn ask_fed(&self, words: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let command = self.command(words, BTreeMap::new());
        let captured = capture_fed(command, input, BOUNDS, self.cancel);
        self.demanded(words, answer_of(words, captured)?)
    }

    /// Asks a question to which no is an error.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Vec<u8>, GitError> {
        let answer = self.try_ask(words)?;
        self.demanded(words, answer)
    }

    fn demanded(&self, words: &[&str], answer: Answer) -> Result<Vec<u8>, GitError> {
        match answer {
            Answer::Yes(output) => Ok(output),
            Answer::No { complaint } => Err(GitError::Refused {
                command: subcommand(words),
                folder: self.folder.to_owned(),
                complaint,
            }),
        }
    }

    /// Tells whether one commit is another, or comes before it. A commit that is not there comes before none.
    pub(crate) fn is_ancestor(&self, earlier: &CommitId, later: &CommitId) -> Result<bool, GitError> {
        let words = ["merge-base", "--is-ancestor", earlier.as_str(), later.as_str()];
        Ok(matches!(self.try_ask(&words)?, Answer::Yes(_)))
    }

    /// Tells whether two commits have a history in common. A commit that is not there has none.
    pub(crate) fn have_common_ancestor(&self, one: &CommitId, other: &CommitId) -> Result<bool, GitError> {
        Ok(matches!(self.try_ask(&["merge-base", one.as_str(), other.as_str()])?, Answer::Yes(_)))
    }

    /// Tells whether a branch or tag leads to a commit.
    pub(crate) fn leads_to(&self, commit: &CommitId) -> Result<bool, GitError> {
        let contains = format!("--contains={commit}");
        match self.try_ask(&["for-each-ref", "--count=1", &contains])? {
            Answer::Yes(names) => Ok(!names.is_empty()),
            // A commit that is not there.
            Answer::No { .. } => Ok(false),
        }
    }

    /// Lists tags, with the commits that they lead to.
    pub(crate) fn tags(&self) -> Result<Vec<Tag>, GitError> {
        let format = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname) %(refname:lstrip=2)";
        let output = self.ask(&["for-each-ref", format, "refs/tags"])?;
        let tag = |line: &str| {
            let fields: Vec<_> = line.splitn(5, ' ').collect();
            let [kind, id, inner_kind, inner_id, name] = fields[..] else { return None };
            let commit =
                if kind == "commit" { id } else { Some(inner_id).filter(|_| inner_kind == "commit")? };
            Some(Tag { name: name.to_owned(), commit: commit.to_owned() })
        };
        Ok(String::from_utf8_lossy(&output).lines().filter_map(tag).collect())
    }

    /// Asks for one line of text.
    pub(crate) fn ask_line(&self, words: &[&str]) -> Result<String, GitError> {
        let text = String::from_utf8(self.ask(words)?);
        text.map(|text| text.trim_end().to_owned()).map_err(|_| unintelligible(words))
    }
}

fn answer_of(words: &[&str], captured: Result<Captured, CaptureError>) -> Result<Answer, GitError> {
    let Captured { status, stdout, stderr } =
        captured.map_err(|source| GitError::Run { command: subcommand(words), source })?;
    Ok(if status.success() { Answer::Yes(stdout) } else { Answer::No { complaint: complaint(&stderr) } })
}

pub(crate) fn unintelligible(words: &[&str]) -> GitError {
    GitError::Answer { command: subcommand(words) }
}

fn subcommand(words: &[&str]) -> String {
    words.first().copied().unwrap_or_default().to_owned()
}

fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.trim().replace('\n', "; ");
    if line.is_empty() { "it gave no reason".into() } else { line.chars().take(MAX_COMPLAINT).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_ids_are_hexadecimal() {
        assert_eq!("0123456789ab".repeat(4)[..40].parse::<CommitId>().unwrap().short(), "0123456789ab");
        for bad in ["", "main", &"g".repeat(40), &"a".repeat(41), "--output=x"] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }
}
