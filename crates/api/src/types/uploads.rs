//! Files that are sent ahead of the request that uses them, and what is made elsewhere.

use lockstep_domain::Digest;
use lockstep_domain::evidence::EvidenceKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest file that is taken: no artifact may be larger when it is unpacked.
pub const MAX_UPLOAD_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// A file that was sent. It is kept for an hour, until a request uses it, or until the server ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upload {
    /// What the request that uses it names.
    pub upload: String,
    /// Digest of what arrived.
    pub digest: Digest,
    /// How many bytes that is.
    pub bytes: u64,
}

/// An artifact that was made elsewhere, in place of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MadeElsewhereRequest {
    /// The archive, a file that was sent: `.tar`, `.tar.gz` or `.tar.zst`.
    pub upload: String,
    /// The name of the archive where it comes from.
    pub name: String,
    /// Reports of tests.
    #[serde(default)]
    pub reports: Vec<ReportUpload>,
    /// Where the archive is an image: a tar of an OCI layout, or one that `docker save` has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageUpload>,
}

/// An image that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageUpload {
    /// What it was asked for by: a name in a registry, or of a file or folder.
    pub reference: String,
    /// Which one, where the tar has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A report of tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportUpload {
    /// Of which tests; the one kind that the manifest names when it is missing, or `unit` when it names none.
    #[serde(default)]
    pub kind: Option<EvidenceKind>,
    /// The name of the file.
    pub name: String,
    /// JUnit XML.
    pub content: String,
}
