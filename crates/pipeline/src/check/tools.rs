//! Finds out which version of a tool is installed, by asking it.
//!
//! To add a tool that is asked in its own way: add a line to [`QUESTIONS`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::process::Command;
use std::time::Duration;

use lockstep_domain::{VersionNumber, VersionRange};

use crate::process::{Bounds, CaptureError, capture};
use crate::workplace::Workplace;

/// Longest time a tool may think about its version: a Java build tool on a busy machine.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), output_bytes: 64 * 1024 };
/// What tools are asked that do not understand `--version`.
const QUESTIONS: [(&str, &[&str]); 9] = [
    ("java", &["-version"]),
    ("javac", &["-version"]),
    ("go", &["version"]),
    ("openssl", &["version"]),
    ("kubectl", &["version", "--client"]),
    ("helm", &["version", "--short"]),
    ("lua", &["-v"]),
    ("ssh", &["-V"]),
    ("unzip", &["-v"]),
];

/// What is wrong with a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolProblem {
    /// It is not on the server's `PATH`.
    Missing,
    /// It is there in another version.
    OtherVersion {
        /// The version that was found.
        found: VersionNumber,
    },
    /// It does not say its version.
    Silent {
        /// What it was asked.
        question: String,
        /// What happened.
        reason: String,
    },
}

impl ToolProblem {
    pub(crate) fn describe(
        &self,
        f: &mut fmt::Formatter<'_>,
        tool: &str,
        demanded: &VersionRange,
    ) -> fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "the tool `{tool}` ({demanded}) is not installed; install it where the server runs, on its PATH"
            ),
            Self::OtherVersion { found } => write!(
                f,
                "the tool `{tool}` has version {found}, and {demanded} is demanded; install one of these or change [build.tools]"
            ),
            Self::Silent { question, reason } => write!(
                f,
                "the version of the tool `{tool}` ({demanded}) cannot be told: `{question}` {reason}; run it where the server runs"
            ),
        }
    }
}

/// Asks a tool for its version and compares it with the demanded ones.
pub(crate) fn find(
    tool: &str,
    demanded: &VersionRange,
    env: &BTreeMap<String, String>,
    place: &Workplace<'_>,
) -> Result<VersionNumber, ToolProblem> {
    let asked = QUESTIONS.iter().find(|(name, _)| *name == tool);
    let words = asked.map_or(&["--version"][..], |(_, words)| words);
    let silent =
        |reason: String| ToolProblem::Silent { question: format!("{tool} {}", words.join(" ")), reason };
    let mut command = Command::new(tool);
    command.args(words).current_dir(place.root()).env_clear().envs(env);
    let captured = match capture(command, BOUNDS, place.cancel) {
        Err(CaptureError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ToolProblem::Missing);
        }
        Err(CaptureError::Io(error)) => return Err(silent(format!("cannot be run: {error}"))),
        Err(error) => return Err(silent(error.to_string())),
        Ok(captured) => captured,
    };
    let text = [captured.stdout, captured.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !captured.status.success() {
        let said: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        return Err(silent(format!("ended with {}: {said}", captured.status)));
    }
    match version_in(&text) {
        None => Err(silent("does not print a version".into())),
        Some(found) if demanded.contains(&found) => Ok(found),
        Some(found) => Err(ToolProblem::OtherVersion { found }),
    }
}

/// Finds the first version-like number: with a dot, or else the first number at all. Missing parts count as 0.
fn version_in(text: &str) -> Option<VersionNumber> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut numbers =
        text.split(|c| !is_number(c)).map(|number| number.trim_matches('.')).filter(|n| !n.is_empty());
    let dotted = numbers.clone().find(|number| number.contains('.'));
    let mut parts = dotted.or_else(|| numbers.next())?.split('.').map(str::parse);
    let mut part = || parts.next().unwrap_or(Ok(0)).ok();
    Some(VersionNumber::new(part()?, part()?, part()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_really_print() {
        let cases = [
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", "1.95.0"),
            ("Python 3.11.7", "3.11.7"),
            ("v20.20.2", "20.20.2"),
            ("11.19.1", "11.19.1"),
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3.0"),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
            ("\u{1b}[1mApache Maven 3.8.7\u{1b}[m\nMaven home: /usr/share/maven", "3.8.7"),
            ("openjdk version \"17.0.15\" 2025-04-15", "17.0.15"),
            ("openjdk version \"21\" 2023-09-19", "21.0.0"),
            ("java version \"1.8.0_292\"", "1.8.0"),
            ("go version go1.22 linux/amd64", "1.22.0"),
            ("This is perl 5, version 36, subversion 0 (v5.36.0)", "5.36.0"),
            ("GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)", "5.2.15"),
            ("ruby 3.1.2p20 (2022-04-12 revision 4491bb740a)", "3.1.2"),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text).unwrap().to_string(), version, "{text}");
        }
        for text in ["", "no number", "99999999999999999999999.1"] {
            assert_eq!(version_in(text), None, "{text}");
        }
    }
}
