//! Folders that a build finds as an earlier one left them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::path::{PathError, RelativePath};

/// How a path in the home folder begins.
const HOME: &str = "~/";

/// A folder that a build finds as an earlier one left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFolder {
    /// Below the folder of the manifest.
    Own(RelativePath),
    /// Below the home folder of the user who builds, which stays as it is between builds.
    Home(RelativePath),
}

impl CacheFolder {
    /// Tells whether one of two is the other, or lies in it.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let below = |one: &RelativePath, other: &RelativePath| {
            one == other || one.as_str().starts_with(&format!("{other}/"))
        };
        match (self, other) {
            (Self::Own(one), Self::Own(other)) | (Self::Home(one), Self::Home(other)) => {
                below(one, other) || below(other, one)
            }
            _ => false,
        }
    }
}

impl FromStr for CacheFolder {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let (path, kind): (_, fn(RelativePath) -> Self) = match text.strip_prefix(HOME) {
            Some(below) => (below, Self::Home),
            None => (text, Self::Own),
        };
        let path: RelativePath = path.parse()?;
        if path.as_str() == "." {
            return Err(PathError::whole(text));
        }
        Ok(kind(path))
    }
}

impl fmt::Display for CacheFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(path) => write!(f, "{path}"),
            Self::Home(path) => write!(f, "{HOME}{path}"),
        }
    }
}

impl Serialize for CacheFolder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
