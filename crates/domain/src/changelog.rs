//! What changed from one version to the next. (The owner of this file is about to replace it.)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What changed from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Changelog {}
