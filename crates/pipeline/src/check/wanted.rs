//! What of a manifest has to be there: all of it for a build, and little where an artifact was made elsewhere.

use std::borrow::Cow;

use lockstep_manifest::{Build, ContractOrigin, Elsewhere, Manifest};

use super::CheckProblem;
use crate::command::command_text;
use crate::request::Given;

/// What is wanted of a manifest.
pub(super) struct Wanted<'a> {
    pub(super) given: Option<&'a Given>,
    pub(super) manifest: &'a Manifest,
}

impl<'a> Wanted<'a> {
    /// Whether a variable has to be set: without a build only registries of contracts ask for one.
    pub(super) fn needs(&self, variable: &str) -> bool {
        let of_registry = |origin: &ContractOrigin| match origin {
            ContractOrigin::Registry(subject) => subject.user.as_deref() == Some(variable),
            ContractOrigin::Path(_) | ContractOrigin::Command(_) => false,
        };
        self.given.is_none() || self.manifest.contracts.iter().any(|contract| of_registry(&contract.origin))
    }

    /// How files are treated that are not in the repository itself: nothing is built from them.
    pub(super) fn build(&self) -> Cow<'a, Build> {
        let build = &self.manifest.build;
        if self.given.is_none() {
            return Cow::Borrowed(build);
        }
        let lfs = if build.lfs == Elsewhere::Refused { Elsewhere::Left } else { build.lfs };
        let submodules =
            if build.submodules == Elsewhere::Refused { Elsewhere::Left } else { build.submodules };
        Cow::Owned(Build { lfs, submodules, ..build.clone() })
    }

    /// The contracts that only a build could print.
    pub(super) fn contracts_of_a_build(&self) -> Vec<CheckProblem> {
        let printed = self.manifest.contracts.iter().filter_map(|contract| match &contract.origin {
            ContractOrigin::Command(command) => Some(CheckProblem::ContractOfABuild {
                field: format!("contract.{}", contract.kind),
                command: command_text(command),
            }),
            ContractOrigin::Path(_) | ContractOrigin::Registry(_) => None,
        });
        if self.given.is_some() { printed.collect() } else { Vec::new() }
    }
}
