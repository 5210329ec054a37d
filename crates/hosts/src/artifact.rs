//! Artifacts that come to a host: in pieces, again from where a connection broke off, and unpacked only when the whole is what was
//! announced.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use h2::RecvStream;
use lockstep_domain::Digest;
use lockstep_domain::fault::Fault;
use lockstep_files::foreign;
use lockstep_runtime::{BringError, LocalDriver, Turns, UnpackError};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_blocking;

use crate::difference::{Known, Lacking, Recipe, put_together};
use crate::newest::Newest;
use crate::protocol::Artifact;
use crate::refusal::Refusal;
use crate::wire;

/// How much of a file is read at a time.
const PIECE: usize = 256 * 1024;

/// How long the beginning of an artifact is kept whose rest does not come.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most artifacts that one is compared with.
const MOST_COMPARED: usize = 4;
/// Most artifacts of which it is kept what is here of them.
const MOST_BEGUN: usize = 4;

/// Takes artifacts in.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: PathBuf,
    taking: Turns<Digest>,
    /// What is here of artifacts whose rest was asked for.
    begun: Mutex<Newest<Digest, (Recipe, Known)>>,
}

impl Incoming {
    /// Takes them in in a folder, and removes beginnings there whose rest has not come for a week.
    pub(crate) fn at(folder: PathBuf) -> Self {
        let files = fs::read_dir(&folder).into_iter().flatten().flatten();
        let is_old = |file: &fs::DirEntry| {
            let changed = file.metadata().and_then(|metadata| metadata.modified()).ok();
            changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > KEPT)
        };
        for file in files.filter(is_old) {
            // What cannot be removed is tried with the next connection.
            let _ = fs::remove_file(file.path());
        }
        Self { folder, taking: Turns::default(), begun: Mutex::new(Newest::of(MOST_BEGUN)) }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Says how many bytes of an artifact are here. More than it has are none: they are another's.
    pub(crate) fn arrived(&self, artifact: &Artifact) -> u64 {
        let found = fs::symlink_metadata(self.path(&artifact.digest));
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
        // Nobody waits with bytes under way that nobody takes in.
        let Some(_alone) = self.taking.take_if_free(&artifact.digest) else {
            return Err(Refusal::because("the artifact is being sent already"));
        };
        let path = self.path(&artifact.digest);
        append(&path, artifact, body).await.map_err(|error| Refusal::of(&error))?;
        let unpacked = self.unpack(driver, &path, artifact).await;
        // It is unpacked, or must not be taken for a beginning of what it should be; what found no room is whole.
        if !unpacked.as_ref().is_err_and(|refusal| refusal.fault == Fault::Disk) {
            let _ = fs::remove_file(&path);
        }
        unpacked
    }

    /// Says what is lacking of an artifact beside those that are unpacked, and keeps in mind what is not.
    pub(crate) async fn lacking(
        &self,
        driver: &LocalDriver,
        artifact: Digest,
        recipe: Recipe,
        like: &[Digest],
    ) -> Result<Lacking, Refusal> {
        let folders: Vec<PathBuf> = like
            .iter()
            .map(|release| driver.release_path(release))
            .filter(|path| path.is_dir())
            .take(MOST_COMPARED)
            .collect();
        let looked = spawn_blocking(move || {
            let known = Known::of(&recipe, &folders);
            (Lacking::of(&recipe, &known), recipe, known)
        });
        let (lacking, recipe, known) = looked.await.map_err(|error| Refusal::of(&error))?;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.put(artifact, (recipe, known));
        Ok(lacking)
    }

    /// Takes in what was lacking of an artifact, puts it together and unpacks it. Where that fails it can be sent as a whole.
    pub(crate) async fn take_rest(
        &self,
        driver: &LocalDriver,
        rest: &Artifact,
        body: RecvStream,
    ) -> Result<(), Refusal> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take(&rest.digest);
        let Some((recipe, known)) = begun else {
            return Err(Refusal::because("it was not asked what is lacking of this artifact"));
        };
        let archive = self.put_together(recipe, known, rest, body).await;
        let archive = archive.map_err(|error| Refusal::of(&error))?;
        let unpacked: Result<_, UnpackError> = driver.unpack_archive(rest.digest, archive).await;
        unpacked.map(|_| ()).map_err(|error| BringError::from(error).into())
    }

    async fn put_together(
        &self,
        recipe: Recipe,
        known: Known,
        rest: &Artifact,
        body: RecvStream,
    ) -> io::Result<File> {
        // Neither has a name, so nothing is left of them whatever happens.
        let (sent, archive) = (tempfile::tempfile_in(&self.folder)?, tempfile::tempfile_in(&self.folder)?);
        receive(sent.try_clone()?, 0, rest, body).await?;
        let put = spawn_blocking(move || {
            let mut sent = sent;
            sent.rewind()?;
            put_together(&recipe, &known, sent, archive)
        });
        put.await.map_err(io::Error::other).flatten()
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
async fn append(path: &Path, artifact: &Artifact, body: RecvStream) -> io::Result<()> {
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
    receive(file, found, artifact, body).await
}

/// Writes what comes after what is there.
async fn receive(file: File, found: u64, artifact: &Artifact, mut body: RecvStream) -> io::Result<()> {
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
