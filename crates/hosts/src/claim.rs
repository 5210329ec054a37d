//! The claim of a server on a host, in a file: the token of the last connection, and those that were shown since and not answered.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};

use crate::lease::{Claim, Lease, Token};

const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Bytes of randomness in a token.
const RANDOM_BYTES: usize = 16;
/// Most tokens that were shown and not answered: each needs a connection that broke off within its greeting.
const MAX_SHOWN: usize = 64;

/// The file with the claim of a server on one host. Its clones are the same one.
#[derive(Debug, Clone)]
pub struct ClaimFile {
    path: PathBuf,
    /// What the server is called, for people.
    server: String,
    run: String,
    /// Held by whoever reads and writes the file.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The token of the last connection.
    last: Option<Token>,
    /// Tokens that were shown since, and may be the host's by now.
    #[serde(default)]
    shown: Vec<Token>,
    #[serde(default)]
    take_over: bool,
}

impl ClaimFile {
    /// Names the file; it need not exist. `server` is what the server is called, `run` differs for each of its processes.
    #[must_use]
    pub fn at(path: PathBuf, server: impl Into<String>, run: impl Into<String>) -> Self {
        Self { path, server: server.into(), run: run.into(), turn: Arc::default() }
    }

    /// Takes the host from whoever has it, with the next connection: a person said so.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn take_over(&self) -> io::Result<()> {
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be understood is what a person takes the host over for.
        let kept = match self.read() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Kept::default(),
            read => read?,
        };
        self.write(&Kept { take_over: true, ..kept })
    }

    /// Returns the claim of the next connection, and writes its token down before anybody sees it. Where that cannot be done, the last
    /// one is shown again, so that a full disk loses no host.
    ///
    /// # Errors
    /// When the file cannot be read, or not be written and there was no connection yet.
    pub(crate) fn begin(&self) -> io::Result<Claim> {
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.read()?;
        let known: Vec<_> = kept.last.iter().chain(&kept.shown).cloned().collect();
        let new = Token(random()?);
        kept.shown.push(new.clone());
        let surplus = kept.shown.len().saturating_sub(MAX_SHOWN);
        kept.shown.drain(..surplus);
        let next = match (self.write(&kept), &kept.last) {
            (Ok(()), _) => new,
            (Err(error), Some(last)) => {
                tracing::warn!(%error, path = %self.path.display(), "the claim on a host cannot be written");
                last.clone()
            }
            (Err(error), None) => return Err(error),
        };
        let (server, run) = (self.server.clone(), self.run.clone());
        Ok(Claim { server, known, next, run, take_over: kept.take_over })
    }

    /// Notes that the host has taken a claim. Where that cannot be written, the next claim shows all that may be the host's.
    pub(crate) fn granted(&self, lease: &Lease) {
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = Kept { last: Some(lease.token.clone()), ..Kept::default() };
        if let Err(error) = self.write(&kept) {
            tracing::warn!(%error, path = %self.path.display(), "the claim on a host cannot be written");
        }
    }

    fn read(&self) -> io::Result<Kept> {
        if !fs::exists(&self.path)? {
            return Ok(Kept::default());
        }
        let bytes = foreign::read(foreign::open_no_link(&self.path)?, MAX_FILE_BYTES)?;
        let wrong = |error| format!("{} is not understood: {error}", self.path.display());
        serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, wrong(error)))
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
    use crate::lease::decide;

    fn file(folder: &tempfile::TempDir, name: &str) -> ClaimFile {
        ClaimFile::at(folder.path().join(name), "here", "1")
    }

    #[test]
    fn a_server_whose_answers_are_lost_comes_again_and_a_copy_of_its_folder_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let ours = file(&folder, "ours.json");
        let mut lease = decide(None, &ours.begin().unwrap()).unwrap();
        for _ in 0..5 {
            // Each is taken, and no answer comes back.
            lease = decide(Some(&lease), &ours.begin().unwrap()).unwrap();
        }
        // A copy of the folder in this moment, of which one was shown and not answered.
        fs::copy(folder.path().join("ours.json"), folder.path().join("copy.json")).unwrap();
        lease = decide(Some(&lease), &ours.begin().unwrap()).unwrap();
        ours.granted(&lease);
        let copy = file(&folder, "copy.json");
        assert!(decide(Some(&lease), &copy.begin().unwrap()).is_err());
        lease = decide(Some(&lease), &ours.begin().unwrap()).unwrap();
        assert_eq!(lease.number, 8);
        copy.take_over().unwrap();
        assert!(decide(Some(&lease), &copy.begin().unwrap()).is_ok());
    }

    #[test]
    fn a_claim_that_is_not_understood_is_said_and_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let ours = file(&folder, "ours.json");
        fs::write(folder.path().join("ours.json"), "{\"last\"").unwrap();
        let said = ours.begin().unwrap_err().to_string();
        assert!(said.contains("ours.json is not understood"), "{said}");
        ours.take_over().unwrap();
        assert!(ours.begin().unwrap().take_over);
    }

    #[test]
    fn a_claim_that_cannot_be_written_down_shows_the_last_one_again() {
        let folder = tempfile::tempdir().unwrap();
        let ours = file(&folder, "ours.json");
        let lease = decide(None, &ours.begin().unwrap()).unwrap();
        ours.granted(&lease);
        // What is written beside the file and renamed cannot be.
        fs::create_dir_all(folder.path().join("ours.json.new/in-the-way")).unwrap();
        let claim = ours.begin().unwrap();
        assert_eq!(claim.next, lease.token);
        let again = decide(Some(&lease), &claim).unwrap();
        assert_eq!((again.number, again.token), (2, lease.token));
    }
}
