//! Artifacts that come to a host: in pieces, again from where a connection broke off, and unpacked only when the whole is what was
//! announced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use h2::RecvStream;
use lockstep_domain::Digest;
use lockstep_files::foreign;
use lockstep_runtime::{BringError, LocalDriver, UnpackError};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_blocking;

use crate::protocol::Artifact;
use crate::refusal::Refusal;
use crate::wire;

/// How much of a file is read at a time.
const PIECE: usize = 256 * 1024;

/// Takes artifacts in.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: PathBuf,
    /// One of each at a time.
    taking: Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Incoming {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder, taking: Mutex::default() }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    fn turn(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        taking.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(taking.entry(*digest).or_default())
    }

    /// Says how many bytes of an artifact are here. More than it has are none: they are another's.
    pub(crate) fn arrived(&self, artifact: &Artifact) -> u64 {
        let found = std::fs::symlink_metadata(self.path(&artifact.digest));
        found.map_or(0, |found| found.len()).min(artifact.bytes)
    }

    /// Takes in the rest of an artifact, and unpacks it when it is whole.
    ///
    /// # Errors
    /// When it does not begin where the last one ended, is not what was announced, or cannot be written or unpacked.
    pub(crate) async fn take(
        &self,
        driver: &LocalDriver,
        artifact: &Artifact,
        body: RecvStream,
    ) -> Result<(), Refusal> {
        let turn = self.turn(&artifact.digest);
        let _one_at_a_time = turn.lock().await;
        let path = self.path(&artifact.digest);
        append(&path, artifact, body).await.map_err(|error| Refusal::of(&error))?;
        let unpacked = self.unpack(driver, &path, artifact).await;
        // It is unpacked, or must not be taken for a beginning of what it should be.
        let _ = std::fs::remove_file(&path);
        unpacked
    }

    async fn unpack(&self, driver: &LocalDriver, path: &Path, artifact: &Artifact) -> Result<(), Refusal> {
        let (owned, wanted) = (path.to_owned(), artifact.digest);
        let checked = spawn_blocking(move || checked(&owned, &wanted)).await;
        let file = checked.map_err(io::Error::other).flatten().map_err(|error| Refusal::of(&error))?;
        let unpacked: Result<_, UnpackError> = driver.unpack(artifact.digest, file).await;
        unpacked.map(|_| ()).map_err(|error| BringError::from(error).into())
    }
}

/// Appends what comes to what is there.
async fn append(path: &Path, artifact: &Artifact, mut body: RecvStream) -> io::Result<()> {
    let file = foreign::open_to_append(path)?;
    let found = file.metadata()?.len();
    if found != artifact.offset {
        let text =
            format!("{found} bytes of the artifact are here, and what comes begins at {}", artifact.offset);
        // What is too long, or not a beginning, is begun anew.
        if found > artifact.bytes {
            file.set_len(0)?;
        }
        return Err(io::Error::other(text));
    }
    let mut file = tokio::fs::File::from_std(file);
    let mut here = found;
    while let Some(piece) = wire::next(&mut body).await? {
        here += piece.len() as u64;
        if here > artifact.bytes {
            return Err(io::Error::other(format!(
                "more than the {} bytes of the artifact came",
                artifact.bytes
            )));
        }
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    match here == artifact.bytes {
        true => Ok(()),
        false => {
            Err(io::Error::other(format!("{here} of the {} bytes of the artifact came", artifact.bytes)))
        }
    }
}

/// Opens a file whose bytes have a digest.
fn checked(path: &Path, wanted: &Digest) -> io::Result<File> {
    use std::io::Seek as _;
    let mut file = foreign::open_no_link(path)?;
    let found = digest_of(&mut file)?;
    if found != *wanted {
        return Err(io::Error::other(format!(
            "what came has the digest {}, and the artifact has {}; it was changed on the way or is damaged, and is sent anew",
            found.short(),
            wanted.short()
        )));
    }
    file.rewind()?;
    Ok(file)
}

/// Returns the digest of what is left of a file.
pub(crate) fn digest_of(file: &mut File) -> io::Result<Digest> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            read => hash.update(&piece[..read]),
        }
    }
}
