//! Trying a version on copies of requests: which requests are copied, and what was found by comparing the answers.
//!
//! A mirror is a rule that gives nobody anything: it keeps its version running, as every rule does, and ends with the same things.
//! Invariant: nothing of what is compared is a value of an answer. Of JSON only names of fields and types are kept, and of names only
//! those that look like names.

mod counts;
mod finding;
mod shape;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::ConfigRevision;
use crate::version::VersionNumber;

pub use counts::{Compared, Difference, MAX_COUNT, MAX_DIFFERENCES, MirrorCounts, Mirrored, Seen};
pub use finding::LEAST_COPIES;
pub use shape::{Shape, What, is_name, told_path};

/// The format that a gateway must take where requests are copied to a version.
pub const FORMAT_WITH_MIRRORS: u32 = 14;

/// Which requests of a service are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// How many of 10,000, drawn anew for each request.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub share: u32,
    /// Whether also those are copied that may change something: every method but GET, HEAD and OPTIONS, and calls of gRPC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub unsafe_methods: bool,
}

impl Mirror {
    /// Tells whether a request of a method may be copied; `is_call` where it is one of gRPC, whose method says nothing.
    #[must_use]
    pub fn takes(&self, method: &str, is_call: bool) -> bool {
        self.unsafe_methods || (!is_call && matches!(method, "GET" | "HEAD" | "OPTIONS"))
    }
}

/// The version that gets copies of a service's requests, in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitMirror {
    /// What it is known by to every gateway; no rule of the server has it.
    pub id: u64,
    /// The version of the split that gets them. It is a pinned one: what takes requests of its own is compared by those.
    pub version: VersionNumber,
    /// Its configuration.
    pub config: ConfigRevision,
    /// Which requests are copied.
    pub copies: Mirror,
}

impl SplitMirror {
    /// Tells whether a version with a configuration gets the copies.
    #[must_use]
    pub fn leads_to(&self, version: &VersionNumber, config: ConfigRevision) -> bool {
        (&self.version, self.config) == (version, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_something_is_copied_only_when_it_is_said() {
        let mirror = |unsafe_methods| Mirror { share: 1, unsafe_methods };
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(mirror(false).takes(method, false), "{method}");
            assert!(!mirror(false).takes(method, true), "{method}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "PURGE"] {
            assert!(!mirror(false).takes(method, false), "{method}");
            assert!(mirror(true).takes(method, false), "{method}");
        }
    }
}
