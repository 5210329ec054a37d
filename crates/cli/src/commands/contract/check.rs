//! What keeps a contract on disk from being used: for `lockstep check`, before a release says it.

use std::path::Path;

use lockstep_api::problem::ProblemPart;
use lockstep_contract::{Kind, Parsed, detect, unknown_operations};
use lockstep_manifest::{ContractOrigin, Manifest};

use super::budget::Budget;
use super::files;
use super::location::Loaded;

/// Finds what is wrong with the contracts that a manifest names. What a build makes, or a command prints, is left to the release.
pub(crate) fn problems(folder: &Path, manifest: &Manifest) -> Vec<ProblemPart> {
    let is_made = |path: &Path| !path.exists() && !manifest.build.steps.is_empty();
    let mut problems = Vec::new();
    for contract in &manifest.contracts {
        let ContractOrigin::Path(path) = &contract.origin else { continue };
        let path = folder.join(path.as_str());
        // A folder of message schemas is a contract a file.
        let is_many = contract.kind == Kind::JsonSchema && path.is_dir();
        if !is_many && !is_made(&path) {
            let field = format!("contract.{}", contract.kind);
            problems
                .extend(of_one(&path, Some(contract.kind), &[]).into_iter().map(|part| named(&field, part)));
        }
    }
    for (provider, needed) in &manifest.requires {
        let Some(path) = &needed.contract else { continue };
        let path = folder.join(path.as_str());
        if !is_made(&path) {
            let field = format!("requires.{provider}.contract");
            let found = of_one(&path, None, &needed.operations);
            problems.extend(found.into_iter().map(|part| named(&field, part)));
        }
    }
    problems
}

fn named(field: &str, part: ProblemPart) -> ProblemPart {
    ProblemPart { field: Some(field.to_owned()), ..part }
}

fn of_one(path: &Path, kind: Option<Kind>, operations: &[String]) -> Vec<ProblemPart> {
    let Loaded { source, origin, .. } = match files::load(path, kind, Budget::usual()) {
        Ok(loaded) => loaded,
        Err(problem) => return vec![problem],
    };
    let shown = Some(path.display().to_string());
    let Some(kind) = kind.or_else(|| detect(&source)) else {
        let detail = "the format of the contract cannot be told".to_owned();
        return vec![ProblemPart { detail, file: shown, ..ProblemPart::default() }];
    };
    match Parsed::read(&source, kind) {
        Err(errors) => errors.into_iter().map(|error| origin.part(error)).collect(),
        Ok(parsed) => unknown_operations(&parsed, operations)
            .into_iter()
            .map(|unknown| ProblemPart {
                detail: format!("there is no operation `{}` in this contract", unknown.name),
                file: shown.clone(),
                hint: unknown.hint(),
                ..ProblemPart::default()
            })
            .collect(),
    }
}
