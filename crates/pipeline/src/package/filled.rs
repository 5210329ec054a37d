//! Files that are filled in where an instance starts, or served: whether they are in the package, and what they refer to is known.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use lockstep_domain::reference::{self, Reader, Reference, Scope};
use lockstep_domain::run::{MAX_FILLED_BYTES, RunSpec};
use lockstep_domain::static_files::StaticFiles;
use lockstep_domain::work_path::WorkPath;
use lockstep_files::foreign;

use super::{PackageManifest, PackageProblem};

/// Lists what would keep an instance from being started.
#[must_use]
pub fn problems_of_run(
    root: &Path,
    contents: &PackageManifest,
    run: &RunSpec,
    scope: &Scope<'_>,
) -> Vec<PackageProblem> {
    let packaged: BTreeSet<&str> = contents.files.iter().map(|entry| entry.path.as_str()).collect();
    let problem = |path: &WorkPath| {
        let path = path.as_str();
        if !packaged.contains(path) {
            return Some(PackageProblem::NotPackaged { path: path.to_owned() });
        }
        let why = match read(root, path) {
            Ok(text) => problem_of_text(&text, run, scope)?,
            Err(error) => error.to_string(),
        };
        Some(PackageProblem::NotFilled { path: path.to_owned(), why })
    };
    let served = run.static_files.iter().flat_map(|files| served(&packaged, files));
    let trusted = run.external.iter().filter_map(|external| external.ca.as_ref());
    let trusted = trusted.filter(|path| !packaged.contains(path.as_str()));
    let untrusted = trusted.map(|path| PackageProblem::NotTrusted { path: path.as_str().to_owned() });
    run.files.iter().filter_map(problem).chain(served).chain(untrusted).collect()
}

/// Lists what would keep an instance of an image from being started: files that cannot be filled in, as `read` finds them.
pub(crate) fn problems_of_image(
    run: &RunSpec,
    scope: &Scope<'_>,
    read: impl Fn(&WorkPath) -> io::Result<Option<String>>,
) -> Vec<PackageProblem> {
    let problem = |path: &WorkPath| {
        let name = path.as_str().to_owned();
        match read(path) {
            Ok(None) => Some(PackageProblem::NotPackaged { path: name }),
            Ok(Some(text)) => {
                let why = problem_of_text(&text, run, scope)?;
                Some(PackageProblem::NotFilled { path: name, why })
            }
            Err(error) => Some(PackageProblem::NotFilled { path: name, why: error.to_string() }),
        }
    };
    run.files.iter().filter_map(problem).collect()
}

/// Finds what is to be served and is not in the package.
fn served(packaged: &BTreeSet<&str>, files: &StaticFiles) -> Vec<PackageProblem> {
    let root = files.root.as_ref().map(|root| format!("{root}/")).unwrap_or_default();
    let missing = |field, path: String| PackageProblem::NotServed { field, path };
    if !packaged.iter().any(|path| path.starts_with(&root)) {
        return vec![missing("root", root)];
    }
    let fallback = files.fallback.as_ref().map(|path| format!("{root}{path}"));
    let fallback = fallback.filter(|path| !packaged.contains(path.as_str()));
    fallback.map(|path| missing("fallback", path)).into_iter().collect()
}

fn problem_of_text(text: &str, run: &RunSpec, scope: &Scope<'_>) -> Option<String> {
    match reference::check(text, Reader::File, scope) {
        Err(error) => Some(error.to_string()),
        Ok(found) if run.listens_on().is_none() && found.iter().any(Reference::names_its_port) => {
            Some("a worker whose health is not asked on a port has none, so `${self.port}` and `${self.host}` say nothing".into())
        }
        Ok(_) => None,
    }
}

fn read(root: &Path, path: &str) -> io::Result<String> {
    foreign::read_text(foreign::open_below(root, Path::new(path))?, MAX_FILLED_BYTES)
}
