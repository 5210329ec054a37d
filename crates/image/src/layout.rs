//! An image in a folder: an OCI layout, or what `docker save` writes, unpacked. Finds the one that is wanted and checks its documents.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use lockstep_files::foreign;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::config::Facts;
use crate::oci::{self, ConfigFile, Descriptor, Index, MAX_DOCUMENT_BYTES, MAX_LAYERS, Manifest, Saved};
use crate::platform::Platform;
use crate::user::User;
use crate::{ImageError, reading};

/// How deep indexes may lie in each other.
const MAX_DEPTH: usize = 4;

/// An image that was found. Its layers have not been read.
#[derive(Debug)]
pub struct Found {
    pub(crate) folder: PathBuf,
    pub(crate) config: ConfigFile,
    pub(crate) layers: Vec<LayerFile>,
    pub(crate) documents: Option<Documents>,
    /// The digest of its manifest; missing where `docker save` has left none.
    pub digest: Option<Digest>,
    /// The digest of its configuration, which Docker calls the id of the image.
    pub id: Digest,
}

impl Found {
    /// What it runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// Returns what it says of how it is run. Whose user it runs as only its files say: here it is root.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let config = self.config.config.clone().unwrap_or_default();
        Facts::of(config, &User { id: 0, group: 0, home: None })
    }

    pub(crate) fn open(&self, below: &Path) -> Result<File, ImageError> {
        open_part(&self.folder, below)
    }
}

/// Where its documents lie, to copy them.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) manifest: Descriptor,
    pub(crate) config: Descriptor,
}

/// A layer as a file.
#[derive(Debug)]
pub(crate) struct LayerFile {
    pub(crate) path: PathBuf,
    /// Digest and size, where they are known.
    pub(crate) blob: Option<(Digest, u64)>,
    /// Its digest without compression.
    pub(crate) diff: Digest,
}

/// Finds an image in a folder. Of several `wanted` chooses one by name, and the platform one of an index.
///
/// # Errors
/// When there is none, or none that can be run.
pub fn open(folder: &Path, wanted: Option<&str>, platform: &Platform) -> Result<Found, ImageError> {
    let has = |name: &str| folder.join(name).is_file();
    if has("oci-layout") && has("index.json") {
        let index: Index = document(folder, Path::new("index.json"), None, "index.json")?;
        return Layout { folder, platform }.find(&index, wanted);
    }
    if has("manifest.json") {
        return saved(folder, wanted, platform);
    }
    Err(ImageError::NoImage)
}

struct Layout<'a> {
    folder: &'a Path,
    platform: &'a Platform,
}

impl Layout<'_> {
    fn find(&self, index: &Index, wanted: Option<&str>) -> Result<Found, ImageError> {
        let images: Vec<_> = index.manifests.iter().filter(|one| is_image(one)).collect();
        let chosen = match wanted {
            Some(wanted) => choose_by_name(&images, wanted)?,
            None => images,
        };
        let mut there = Vec::new();
        let candidates = self.fitting(&chosen, 0, &mut there)?;
        let different: BTreeSet<_> = candidates.iter().map(|one| one.digest.as_str()).collect();
        match candidates.first() {
            Some(only) if different.len() == 1 => self.image(only),
            Some(_) => Err(ImageError::Several { names: names(&candidates) }),
            None => Err(ImageError::Platform { wanted: self.platform.clone(), there }),
        }
    }

    /// Goes through indexes in indexes for what fits the platform; the others are noted.
    fn fitting(
        &self,
        descriptors: &[&Descriptor],
        depth: usize,
        there: &mut Vec<Platform>,
    ) -> Result<Vec<Descriptor>, ImageError> {
        if depth > MAX_DEPTH {
            return Err(bad("index", "indexes lie in each other without an end"));
        }
        let mut found = Vec::new();
        for descriptor in descriptors {
            if descriptor.is_index() {
                let index: Index = self.blob(descriptor, "index")?;
                let inner: Vec<_> = index.manifests.iter().filter(|one| is_image(one)).collect();
                found.extend(self.fitting(&inner, depth + 1, there)?);
                continue;
            }
            let platform = match &descriptor.platform {
                Some(platform) => platform.clone(),
                None => self.platform_of(descriptor)?,
            };
            if self.platform.takes(&platform) {
                found.push((*descriptor).clone());
            } else {
                there.push(platform);
            }
        }
        Ok(found)
    }

    fn platform_of(&self, descriptor: &Descriptor) -> Result<Platform, ImageError> {
        let manifest: Manifest = self.blob(descriptor, "manifest")?;
        manifest.check()?;
        let config: ConfigFile = self.blob(&manifest.config, "configuration")?;
        Ok(config.platform())
    }

    fn image(&self, descriptor: &Descriptor) -> Result<Found, ImageError> {
        let manifest: Manifest = self.blob(descriptor, "manifest")?;
        manifest.check()?;
        let config: ConfigFile = self.blob(&manifest.config, "configuration")?;
        must_run_on(&config, self.platform)?;
        let diffs = diffs(&config, manifest.layers.len())?;
        let layer = |(layer, diff): (&Descriptor, Digest)| {
            let digest = layer.sha256("manifest")?;
            Ok(LayerFile { path: blob_path(&digest), blob: Some((digest, layer.size)), diff })
        };
        Ok(Found {
            folder: self.folder.to_owned(),
            layers: manifest.layers.iter().zip(diffs).map(layer).collect::<Result<_, ImageError>>()?,
            digest: Some(descriptor.sha256("index.json")?),
            id: manifest.config.sha256("manifest")?,
            config,
            documents: Some(Documents { manifest: descriptor.clone(), config: manifest.config }),
        })
    }

    fn blob<T: DeserializeOwned>(&self, descriptor: &Descriptor, part: &str) -> Result<T, ImageError> {
        let digest = descriptor.sha256(part)?;
        document(self.folder, &blob_path(&digest), Some(&digest), part)
    }
}

/// Where a layout keeps what has a digest.
pub(crate) fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.to_string())
}

fn is_image(descriptor: &Descriptor) -> bool {
    descriptor.platform.as_ref().is_none_or(Platform::is_known)
}

fn choose_by_name<'a>(images: &[&'a Descriptor], wanted: &str) -> Result<Vec<&'a Descriptor>, ImageError> {
    let is_wanted =
        |name: &str| name == wanted || name.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted);
    let chosen: Vec<_> = images.iter().copied().filter(|one| one.names().any(is_wanted)).collect();
    if chosen.is_empty() {
        let all: Vec<Descriptor> = images.iter().map(|one| (*one).clone()).collect();
        return Err(ImageError::NoSuch { wanted: wanted.to_owned(), names: names(&all) });
    }
    Ok(chosen)
}

fn names(descriptors: &[Descriptor]) -> Vec<String> {
    let name = |one: &Descriptor| one.names().last().map_or_else(|| one.digest.clone(), str::to_owned);
    descriptors.iter().map(name).collect()
}

fn saved(folder: &Path, wanted: Option<&str>, platform: &Platform) -> Result<Found, ImageError> {
    let all: Vec<Saved> = document(folder, Path::new("manifest.json"), None, "manifest.json")?;
    let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    let is_wanted = |saved: &&Saved| wanted.is_none_or(|wanted| tags(saved).iter().any(|tag| tag == wanted));
    let names = || all.iter().map(|one| tags(one).first().cloned().unwrap_or(one.config.clone())).collect();
    let mut chosen = all.iter().filter(is_wanted);
    let saved = match (chosen.next(), chosen.next(), wanted) {
        (Some(only), None, _) => only,
        (None, _, Some(wanted)) => {
            return Err(ImageError::NoSuch { wanted: wanted.to_owned(), names: names() });
        }
        (None, _, None) => return Err(ImageError::NoImage),
        (Some(_), Some(_), _) => return Err(ImageError::Several { names: names() }),
    };
    let (config, id) = config_of_saved(folder, &saved.config)?;
    must_run_on(&config, platform)?;
    let diffs = diffs(&config, saved.layers.len())?;
    let layer = |(path, diff): (&String, Digest)| LayerFile { path: path.into(), blob: None, diff };
    let layers = saved.layers.iter().zip(diffs).map(layer).collect();
    Ok(Found { folder: folder.to_owned(), config, layers, documents: None, digest: None, id })
}

/// The configuration of a saved image has its digest for a name.
fn config_of_saved(folder: &Path, name: &str) -> Result<(ConfigFile, Digest), ImageError> {
    let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".json");
    let digest = oci::digest(&format!("sha256:{stem}"), "manifest.json")?;
    Ok((document(folder, Path::new(name), Some(&digest), "configuration")?, digest))
}

fn must_run_on(config: &ConfigFile, platform: &Platform) -> Result<(), ImageError> {
    let there = config.platform();
    if platform.takes(&there) {
        return Ok(());
    }
    Err(ImageError::Platform { wanted: platform.clone(), there: vec![there] })
}

fn diffs(config: &ConfigFile, layers: usize) -> Result<Vec<Digest>, ImageError> {
    let diffs = &config.rootfs.diff_ids;
    if diffs.len() != layers || layers > MAX_LAYERS {
        let why = format!("it names {} layers, and the manifest {layers}", diffs.len());
        return Err(bad("configuration", &why));
    }
    diffs.iter().map(|diff| oci::digest(diff, "configuration")).collect()
}

fn bad(part: &str, why: &str) -> ImageError {
    ImageError::Document { part: part.to_owned(), why: why.to_owned() }
}

fn open_part(folder: &Path, below: &Path) -> Result<File, ImageError> {
    foreign::open_below(folder, below).map_err(reading(below.display().to_string()))
}

/// Reads a document, which is what its digest says, where it has one.
fn document<T: DeserializeOwned>(
    folder: &Path,
    below: &Path,
    digest: Option<&Digest>,
    part: &str,
) -> Result<T, ImageError> {
    let bytes = foreign::read(open_part(folder, below)?, MAX_DOCUMENT_BYTES)
        .map_err(reading(below.display().to_string()))?;
    if let Some(expected) = digest {
        must_be(&bytes, expected, part)?;
    }
    read(&bytes, part)
}

pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], part: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| bad(part, &error.to_string()))
}

pub(crate) fn must_be(bytes: &[u8], expected: &Digest, part: &str) -> Result<(), ImageError> {
    let found = Digest::from_bytes(Sha256::digest(bytes).into());
    if found == *expected { Ok(()) } else { Err(other(part, expected, &found)) }
}

pub(crate) fn other(part: &str, expected: &Digest, found: &Digest) -> ImageError {
    let (expected, found) = (expected.to_string(), found.to_string());
    ImageError::Digest { part: part.to_owned(), expected, found }
}

/// Computes the digest and the size of what a file still has.
pub(crate) fn digest_of(mut file: impl io::Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Digest::from_bytes(hasher.finalize().into()), bytes)),
            length => {
                hasher.update(buffer.get(..length).unwrap_or_default());
                bytes += length as u64;
            }
        }
    }
}
