//! The journal, and what the store keeps.

use lockstep_domain::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operations::Mode;

/// What a check of the journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalReport {
    /// Records that were checked.
    pub records: u64,
    /// The hash of the last one.
    pub last_hash: Option<Digest>,
    /// The record after which all were appended by who has the journal's key; those up to it are older than the key, which notes
    /// the hash of the last of them. Nothing when no key was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyed_after: Option<u64>,
    /// The first record that is not as it was written.
    pub tampered: Option<TamperedRecord>,
}

/// A record that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TamperedRecord {
    /// Its sequence number.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

/// What nothing needs is to be collected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// Whether it is done.
    #[serde(default)]
    pub mode: Mode,
}

/// What a collection takes and leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectReport {
    /// Whether it was done.
    pub mode: Mode,
    /// Blobs that go.
    pub goes: Vec<CollectedBlob>,
    /// Blobs that stay, and why.
    pub stays: Vec<KeptBlob>,
    /// Unpacked artifacts, by digest. One that goes is unpacked again when an instance needs it.
    #[serde(default)]
    pub releases: FolderReport,
    /// Mirrors of repositories. One that goes is cloned again when a build needs it.
    #[serde(default)]
    pub mirrors: FolderReport,
}

/// Which folders go and which stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FolderReport {
    /// What goes.
    pub goes: Vec<CollectedFolder>,
    /// What stays, and why.
    pub stays: Vec<KeptFolder>,
}

/// A folder that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectedFolder {
    /// Its name.
    pub name: String,
    /// The size of its files.
    pub bytes: u64,
}

/// A folder that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptFolder {
    /// Its name.
    pub name: String,
    /// The size of its files.
    pub bytes: u64,
    /// Why it stays.
    pub reasons: Vec<String>,
}

/// A blob that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// A blob that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Why it stays.
    pub reasons: Vec<String>,
}
