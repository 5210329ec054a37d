//! The lease of a host: who may work on it. A number that grows with each connection, and a secret of the last one.
//!
//! A server that comes says the tokens that may be the host's by what it knows, and a new one that it has written down before. The host
//! takes the new one only if its own is among the others: so a server that did not hear the answer comes again without harm, and of two
//! that own the host, be it two servers or a copied data folder, one is refused until a person decides. No clock has a say.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lockstep_files::{foreign, whole};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const FILE: &str = "lease.json";
const LOCK: &str = "lease.lock";
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What only a server and its host know: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// By what right a server works on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What the server is called, for people.
    pub server: String,
    /// The tokens of which one is the host's, when nobody else has been there; none when it has never been here.
    pub known: Vec<Token>,
    /// The token of this connection, which it has written down before.
    pub next: Token,
    /// Differs for each process of a server: what tells a server that comes again from a copy of it.
    pub run: String,
    /// Whether it takes the host from whoever has it: a person said so.
    pub take_over: bool,
}

/// Who has a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What the server is called, for people.
    pub server: String,
    /// Grows with each connection.
    pub number: u64,
    /// The token of the last connection.
    pub token: Token,
}

/// Why a server may not work on a host.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error(
        "the host belongs to the server `{server}` (its connection {number}); two servers would end each other's instances"
    )]
    Taken {
        /// What that server is called.
        server: String,
        /// The number of its connection.
        number: u64,
    },
    /// Somebody else works with it at this moment.
    #[error(
        "another server works with the host at this moment, or did until its connection broke off less than 20 s ago"
    )]
    InUse,
    /// The lease cannot be read or written.
    #[error("the lease `{}` cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Decides about a claim: pure.
///
/// # Errors
/// When somebody else has the host.
pub(crate) fn decide(lease: Option<&Lease>, claim: &Claim) -> Result<Lease, LeaseError> {
    let taken = |lease: &Lease| LeaseError::Taken { server: lease.server.clone(), number: lease.number };
    let next = |number| Lease { server: claim.server.clone(), number, token: claim.next.clone() };
    match lease {
        None => Ok(next(1)),
        Some(lease) if claim.take_over || claim.known.contains(&lease.token) => {
            Ok(next(lease.number.saturating_add(1)))
        }
        Some(lease) => Err(taken(lease)),
    }
}

/// Looks whether a claim would be granted.
///
/// # Errors
/// When somebody else has the host, or the lease cannot be read.
pub(crate) fn look(folder: &Path, claim: &Claim) -> Result<(), LeaseError> {
    let path = folder.join(FILE);
    let lease = read(&path).map_err(|source| LeaseError::File { path, source })?;
    decide(lease.as_ref(), claim).map(|_| ())
}

/// Says what the server is called that has a host.
///
/// # Errors
/// When the lease cannot be read.
pub(crate) fn owner(folder: &Path) -> io::Result<Option<String>> {
    Ok(read(&folder.join(FILE))?.map(|lease| lease.server))
}

/// Takes the lease of a folder for a claim, while nobody else does.
///
/// # Errors
/// When somebody else has it, or it cannot be read or written.
pub(crate) fn take(folder: &Path, claim: &Claim) -> Result<Lease, LeaseError> {
    let path = folder.join(FILE);
    let explain = |source| LeaseError::File { path: path.clone(), source };
    let _alone = lock(folder).map_err(explain)?;
    let lease = read(&path).map_err(explain)?;
    let taken = decide(lease.as_ref(), claim)?;
    let text = serde_json::to_vec_pretty(&taken).map_err(|error| explain(io::Error::other(error)))?;
    match (whole::put(&path, &text, 0o600), lease) {
        (Ok(()), _) => Ok(taken),
        // What is full can only be helped by who has it: nothing changes, and it works.
        (Err(error), Some(lease)) if is_full(&error) && claim.known.contains(&lease.token) => Ok(lease),
        (Err(error), _) => Err(explain(error)),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn lock(folder: &Path) -> io::Result<File> {
    let file = foreign::open_to_append(&folder.join(LOCK))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// One that cannot be read is an error, and not a host that nobody has.
fn read(path: &Path) -> io::Result<Option<Lease>> {
    if !fs::exists(path)? {
        return Ok(None);
    }
    let bytes = foreign::read(foreign::open_no_link(path)?, MAX_FILE_BYTES)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(server: &str, known: &[&str], next: &str) -> Claim {
        let token = |text: &&str| Token((*text).to_owned());
        let known = known.iter().map(token).collect();
        Claim { server: server.to_owned(), known, next: token(&next), run: String::new(), take_over: false }
    }

    #[test]
    fn of_two_copies_of_a_server_the_second_is_refused_and_an_answer_that_was_lost_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let take = |claim: &Claim| take(folder.path(), claim).map(|lease| lease.number);
        assert_eq!(take(&claim("a", &[], "1")).unwrap(), 1);
        // The answer was lost, and it comes again.
        assert_eq!(take(&claim("a", &["1"], "2")).unwrap(), 2);
        // The copy of its folder knows 1 as the last.
        let refused = take(&claim("a", &["1"], "x")).unwrap_err().to_string();
        assert!(refused.contains("belongs to the server `a` (its connection 2)"), "{refused}");
        assert!(take(&claim("b", &[], "y")).is_err());
        let by_a_person = Claim { take_over: true, ..claim("b", &[], "y") };
        assert_eq!(take(&by_a_person).unwrap(), 3);
        assert!(take(&claim("a", &["1", "2"], "3")).is_err());
    }

    #[test]
    fn a_lease_that_cannot_be_read_is_no_host_that_nobody_has() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(matches!(take(folder.path(), &claim("a", &[], "1")), Err(LeaseError::File { .. })));
    }
}
