//! What an image runs on: an operating system and an architecture, as images name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The architecture, as Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Which kind of it, as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The one that this program runs on.
    #[must_use]
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Tells whether an image for another platform runs on this one.
    #[must_use]
    pub fn takes(&self, other: &Self) -> bool {
        let same = self.os == other.os && self.architecture == other.architecture;
        same && (self.variant.is_none() || self.variant == other.variant)
    }

    /// Tells whether it is one at all: what stands beside images, as attestations, has none.
    pub(crate) fn is_known(&self) -> bool {
        self.os != "unknown" && !self.os.is_empty()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
                let (os, architecture) = (os.to_owned(), architecture.to_owned());
                Ok(Self { os, architecture, variant: variant.map(str::to_owned) })
            }
            _ => Err("a platform is an operating system and an architecture, as linux/amd64".to_owned()),
        }
    }
}
