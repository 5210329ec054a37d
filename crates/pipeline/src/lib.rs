//! From a commit to an artifact: check, build, read contracts, test, package.
//!
//! This crate runs other people's commands, so each of them runs under a [`guard`] with bounds and leaves no process behind.
//! It does not number versions, record anything, or decide what may be released. Everything is blocking; the caller
//! brings a thread. Invariant: a build either gives a whole [`BuildOutput`] or a [`BuildFailure`] with its log kept.

mod cache;
mod cancel;
pub mod check;
mod checkout;
mod command;
mod contract;
mod environment;
mod failure;
pub mod git;
mod given;
pub mod guard;
pub mod history;
mod image;
pub mod junit;
pub mod key;
pub mod local;
mod mirror;
mod nearest;
pub mod package;
mod process;
mod repository;
mod request;
mod run;
mod scope;
mod snapshot;
mod suite;
mod workplace;

pub use cancel::CancelToken;
pub use check::{CheckProblem, Checked};
pub use contract::{ContractProblem, Contracts, TakenContract};
pub use failure::{BuildFailure, BuildFault};
pub use git::CommitId;
pub use given::{kind_of_report, take};
pub use image::TakenImage;
pub use key::build_key;
pub use mirror::{Mirror, collect as mirrors};
pub use package::{PackageManifest, PackagedArtifact, read_package_manifest};
pub use process::CaptureError;
pub use repository::{Reference, RepositoryLocation, SourceError, SourceFolder};
pub use request::{
    BuildEvent, BuildRequest, Ending, Given, HostEnvironment, LargestContract, Observer, OfImage, Phase,
    TestReport,
};
pub use run::{BuildOutput, Prepared, make, prepare, run};
pub use scope::Scope;
pub use snapshot::{SnapshotError, snapshot};
pub use suite::SuiteOutcome;
