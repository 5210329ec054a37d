//! The documents of images, as far as they are read here.

use std::collections::BTreeMap;

use lockstep_domain::Digest;
use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::platform::Platform;

/// Largest index, manifest or configuration: registries take no larger ones.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Most layers of an image: file systems that put layers on each other take no more than 500.
pub(crate) const MAX_LAYERS: usize = 500;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const INDEX_OF_DOCKER: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const MANIFEST_OF_DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// What the media type of a layer begins with; what follows says how it is compressed, which its bytes say too.
const LAYERS: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"];
/// Where an index of a layout keeps the name of an image.
const NAME: &str = "org.opencontainers.image.ref.name";
/// Where Docker and others keep the whole of it.
const WHOLE_NAME: &str = "io.containerd.image.name";

/// A reference to bytes by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn sha256(&self, part: &str) -> Result<Digest, ImageError> {
        digest(&self.digest, part)
    }

    pub(crate) fn is_index(&self) -> bool {
        [INDEX, INDEX_OF_DOCKER].contains(&self.media_type.as_str())
    }

    /// The names by which it can be chosen.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        [WHOLE_NAME, NAME].into_iter().filter_map(|key| self.annotations.get(key)).map(String::as_str)
    }
}

/// Reads a digest; those of other kinds than SHA-256 are rare, and not computed here.
pub(crate) fn digest(text: &str, part: &str) -> Result<Digest, ImageError> {
    let read = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    read.ok_or_else(|| ImageError::Document {
        part: part.to_owned(),
        why: format!("`{}` is no sha256 digest", text.chars().take(100).collect::<String>()),
    })
}

/// An index: images, as a rule for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Manifest {
    /// Makes sure that it is of an image that can be run: other things are kept in registries too.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        let refused = |what: String, why: &str| Err(ImageError::Kind { what, why: why.to_owned() });
        if !CONFIGS.contains(&self.config.media_type.as_str()) {
            return refused(
                format!("`{}`", self.config.media_type),
                "it is not the configuration of an image",
            );
        }
        let other =
            self.layers.iter().find(|layer| !LAYERS.iter().any(|kind| layer.media_type.starts_with(kind)));
        if let Some(other) = other {
            let why = "layers are tars, as they are or compressed by gzip or zstd, and lie with the image";
            return refused(format!("a layer of kind `{}`", other.media_type), why);
        }
        if let Some(secret) = self.layers.iter().find(|layer| layer.media_type.contains("encrypted")) {
            return refused(format!("a layer of kind `{}`", secret.media_type), "it is encrypted");
        }
        if self.layers.len() > MAX_LAYERS {
            return refused(format!("an image of {} layers", self.layers.len()), "500 are the most");
        }
        Ok(())
    }
}

/// What `docker save` writes of an image, in `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Saved {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Vec<String>,
}

/// The configuration of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ConfigFile {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
    #[serde(default)]
    pub(crate) config: Option<Config>,
    pub(crate) rootfs: RootFs,
}

impl ConfigFile {
    pub(crate) fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
        }
    }
}

/// The digests of the layers, as they are without compression.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub(crate) diff_ids: Vec<String>,
}

/// How it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volumes: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<HealthConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// Docker's extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) test: Option<Vec<String>>,
}
