//! The claim of a server on a host, in a file: the token of the last connection, and one that is written down before it is shown.

use std::fs;
use std::io;
use std::path::PathBuf;

use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};

use crate::lease::{Claim, Lease, Token};

const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Bytes of randomness in a token.
const RANDOM_BYTES: usize = 16;

/// The file with the claim of a server on one host.
#[derive(Debug, Clone)]
pub struct ClaimFile {
    path: PathBuf,
    /// What the server is called, for people.
    server: String,
    run: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    last: Option<Token>,
    next: Option<Token>,
    #[serde(default)]
    take_over: bool,
}

impl ClaimFile {
    /// Names the file; it need not exist. `server` is what the server is called, `run` differs for each of its processes.
    #[must_use]
    pub fn at(path: PathBuf, server: impl Into<String>, run: impl Into<String>) -> Self {
        Self { path, server: server.into(), run: run.into() }
    }

    /// Takes the host from whoever has it, with the next connection: a person said so.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn take_over(&self) -> io::Result<()> {
        self.write(&Kept { take_over: true, ..self.read()? })
    }

    /// Returns the claim of the next connection. One that was begun and not answered is made again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn begin(&self) -> io::Result<Claim> {
        let mut kept = self.read()?;
        let next = match kept.next.take() {
            Some(next) => next,
            None => Token(random()?),
        };
        kept.next = Some(next.clone());
        self.write(&kept)?;
        Ok(Claim {
            server: self.server.clone(),
            last: kept.last,
            next,
            run: self.run.clone(),
            take_over: kept.take_over,
        })
    }

    /// Notes that the host has taken the claim.
    ///
    /// # Errors
    /// When the file cannot be written; the same claim is made again then, which harms nobody.
    pub(crate) fn granted(&self, lease: &Lease) -> io::Result<()> {
        self.write(&Kept { last: Some(lease.token.clone()), ..Kept::default() })
    }

    fn read(&self) -> io::Result<Kept> {
        if !fs::exists(&self.path)? {
            return Ok(Kept::default());
        }
        let bytes = foreign::read(foreign::open_no_link(&self.path)?, MAX_FILE_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        whole::put(&self.path, &serde_json::to_vec_pretty(kept).map_err(io::Error::other)?, 0o600)
    }
}

/// Makes 32 hexadecimal digits that nobody can guess.
pub(crate) fn random() -> io::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    match read == bytes.len() {
        true => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        false => Err(io::Error::other("the system gave too little randomness")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_was_not_answered_is_made_again_and_one_that_was_makes_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let file = ClaimFile::at(folder.path().join("web1.json"), "here", "1");
        let first = file.begin().unwrap();
        assert_eq!((first.last.clone(), first.next.0.len()), (None, 32));
        assert_eq!(file.begin().unwrap(), first);
        file.granted(&Lease { server: "here".into(), number: 1, token: first.next.clone() }).unwrap();
        let second = file.begin().unwrap();
        assert_eq!(second.last, Some(first.next.clone()));
        assert_ne!(second.next, first.next);
        file.take_over().unwrap();
        assert!(file.begin().unwrap().take_over);
    }
}
