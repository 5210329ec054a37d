//! Files that Lockstep serves by itself: what a version of a static service is made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::work_path::WorkPath;

/// Which files of the artifact are served, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticFiles {
    /// The folder of the artifact that is served; all of it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<WorkPath>,
    /// What is answered, below the root, where a browser asks for a page that is no file: for programs that find their own way in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<WorkPath>,
    /// Folders below the root whose files get another name whenever their content changes: they may be kept for ever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub immutable: Vec<WorkPath>,
}
