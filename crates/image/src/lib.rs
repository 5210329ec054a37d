//! OCI images: reads them from a layout folder, from what `docker save` writes or from a registry, checks every digest, and puts their
//! layers into one root.
//!
//! What lies in a folder or comes from a registry is anybody's. Invariant: nothing is taken whose bytes are not those that its digest
//! names, nothing is read outside of the folder that is given, and everything that is read has a bound.

mod config;
mod credentials;
mod layout;
mod name;
mod oci;
mod platform;
mod registry;
mod root;
mod tar_in;
mod tar_out;
mod user;

use std::io;

use thiserror::Error;

pub use self::config::{Facts, Health, Wanted};
pub use self::credentials::{Credentials, CredentialsError};
pub use self::layout::{Found, open};
pub use self::name::{ImageName, NameError};
pub use self::platform::Platform;
pub use self::registry::{Parts, PullError, Pulled, pull};
pub use self::root::{Flat, flatten};
pub use self::tar_in::unpack_tar;
pub use self::tar_out::write_tar;
pub use self::user::ImageUserError;

/// Why an image is not taken.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A part of it cannot be read.
    #[error("its `{part}` cannot be read")]
    Read {
        /// Which.
        part: String,
        /// Why.
        source: io::Error,
    },
    /// It is a file that is no archive, or one that is not unpacked.
    #[error("it cannot be unpacked")]
    Archive(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is no image.
    #[error("it is no image: it has neither `oci-layout` nor `manifest.json`")]
    NoImage,
    /// A document is not what it should be.
    #[error("its {part} is not readable: {why}")]
    Document {
        /// Which.
        part: String,
        /// Why.
        why: String,
    },
    /// A part is not what its digest says.
    #[error("its {part} is not what its digest says: {expected} was promised, and it is {found}")]
    Digest {
        /// Which.
        part: String,
        /// What was promised.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It is nothing that can be run.
    #[error("{what} is not taken: {why}")]
    Kind {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// There are several, and none was chosen.
    #[error("it holds several images: {}", .names.join(", "))]
    Several {
        /// What they are called.
        names: Vec<String>,
    },
    /// There is none of the name.
    #[error("it holds no image `{wanted}`, but {}", .names.join(", "))]
    NoSuch {
        /// The name.
        wanted: String,
        /// What there is.
        names: Vec<String>,
    },
    /// None is for this platform.
    #[error("it is not for {wanted}, but for {}", listed(.there))]
    Platform {
        /// What is wanted.
        wanted: Platform,
        /// What there is.
        there: Vec<Platform>,
    },
    /// A layer is refused.
    #[error("layer {number} of {of}: {source}")]
    Layer {
        /// Which one, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Why.
        source: lockstep_archive::UnpackError,
    },
    /// The user that it names is not known.
    #[error(transparent)]
    User(#[from] ImageUserError),
}

fn listed(platforms: &[Platform]) -> String {
    let mut all: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() { "nothing that is known".to_owned() } else { all.join(", ") }
}

pub(crate) fn reading(part: impl Into<String>) -> impl FnOnce(io::Error) -> ImageError {
    let part = part.into();
    move |source| ImageError::Read { part, source }
}
