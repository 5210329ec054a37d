//! Tokens and keys: where they come from, and that a program that runs for long shows them to nobody.
//!
//! Invariant: a server or gateway that serves has no token in its environment, which every process of the same user could
//! read in `/proc/PID/environ`, and cannot be looked into by such a process at all.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_api::Token;
use lockstep_store::journal::KeyPlace;
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The variable that gives a token outright.
const TOKEN_VARIABLE: &str = "LOCKSTEP_TOKEN";
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Stands for standard input in the place of a file.
const STANDARD_INPUT: &str = "-";
/// Longest token or key: what is larger is another file. It fits into a pipe that nobody reads yet.
const MAX_BYTES: u64 = 4_096;

/// Returns the token of a server: from a file, the environment, or a credential of systemd; the first there is.
pub(crate) fn token(file: Option<&Path>, out: &Output) -> Result<Option<Token>, Failure> {
    if let Some(file) = file {
        return from_file(file, "token", out).map(Some);
    }
    match std::env::var_os(TOKEN_VARIABLE).filter(|value| !value.is_empty()) {
        Some(value) => from_bytes(value.as_encoded_bytes(), TOKEN_VARIABLE, "token").map(Some),
        None => credential("lockstep-token").map(|file| from_file(&file, "token", out)).transpose(),
    }
}

/// Returns the path of a credential that systemd gave to this service.
pub(crate) fn credential(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(CREDENTIALS).filter(|folder| !folder.is_empty())?;
    Some(Path::new(&folder).join(name)).filter(|file| file.exists())
}

/// Returns where the key of the journal is: a file, a credential of systemd, or the data folder; the first there is.
pub(crate) fn journal_key(file: Option<PathBuf>) -> KeyPlace {
    file.or_else(|| credential("lockstep-journal-key")).into()
}

/// Reads a token or key from a file, or from standard input where the file is `-`.
pub(crate) fn from_file(file: &Path, what: &str, out: &Output) -> Result<Token, Failure> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == OsStr::new(STANDARD_INPUT) {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        lockstep_files::foreign::open_named(file).and_then(|open| {
            warn_of_readers(file, &open.metadata()?, what, out);
            open.take(MAX_BYTES + 1).read_to_end(&mut bytes)
        })
    };
    read.map_err(|error| Failure::file(&format!("read the {what}"), file, &error))?;
    from_bytes(&bytes, &file.display().to_string(), what)
}

fn warn_of_readers(file: &Path, metadata: &std::fs::Metadata, what: &str, out: &Output) {
    let is_credential = std::env::var_os(CREDENTIALS).is_some_and(|folder| file.starts_with(folder));
    if metadata.is_file() && metadata.mode() & 0o077 != 0 && !is_credential {
        let path = file.display();
        out.message(&format!("warning: other users may read the {what} in `{path}`; run chmod 600 {path}"));
    }
}

fn from_bytes(bytes: &[u8], source: &str, what: &str) -> Result<Token, Failure> {
    let wrong = |why: &str| Err(Failure::usage(format!("`{source}` holds no {what}: {why}")));
    let text = std::str::from_utf8(bytes).map(str::trim);
    match text {
        Err(_) => wrong("it is not text"),
        Ok("") => wrong("it is empty"),
        Ok(text) if bytes.len() as u64 > MAX_BYTES => wrong(&format!("it has {} bytes or more", text.len())),
        Ok(text) => Token::of_word(text)
            .map_or_else(|| wrong("it has spaces or characters that cannot be sent in a header"), Ok),
    }
}

/// Makes this process one that no other process of the same user can look into, and whose environment holds no token.
///
/// A variable cannot be erased from where the system shows it. So the program starts itself again without it, once, and
/// hands the token over through a pipe. Called before there are threads or files that anybody needs.
pub(crate) fn keep_to_ourselves(token_file: Option<&Path>) -> Result<(), Failure> {
    // Where the system refuses it, as some sandboxes do, nothing is lost that was there before.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Whatever is made from here on is for this user alone; supervisors and guards set it back for what they run.
    let _ = umask(Mode::RWXG | Mode::RWXO);
    match std::env::var_os(TOKEN_VARIABLE).filter(|value| !value.is_empty()) {
        Some(token) => Err(start_again_without(&token, token_file)),
        None => Ok(()),
    }
}

/// Returns only when it failed.
fn start_again_without(token: &OsStr, token_file: Option<&Path>) -> Failure {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Internal, "the token could not be taken out of the environment")
            .caused_by(&error)
            .hint("lockstep server --token-file FILE")
    };
    if token.len() as u64 > MAX_BYTES {
        return Failure::usage(format!("{TOKEN_VARIABLE} is longer than {MAX_BYTES} bytes"));
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(error),
    };
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env_remove(TOKEN_VARIABLE);
    if token_file.is_none() {
        let pipe = std::io::pipe().and_then(|(reader, mut writer)| {
            writer.write_all(token.as_encoded_bytes())?;
            Ok(reader)
        });
        match pipe {
            Ok(reader) => command.args(["--token-file", STANDARD_INPUT]).stdin(reader),
            Err(error) => return failed(error),
        };
    }
    failed(command.exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        let read = |bytes: &[u8]| from_bytes(bytes, "x", "token").ok().map(|token| token.reveal().to_owned());
        assert_eq!(read(b"abc\n"), Some("abc".to_owned()));
        for bad in [&b""[..], b" \n", b"a b", b"a\nb", b"\xff", "\u{e4}".as_bytes(), &[b'a'; 5_000]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
