//! Files that are filled in where an instance starts: whether they are in the package, and what they refer to is known.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use lockstep_domain::reference::{self, Reader, Reference, Scope};
use lockstep_domain::run::{MAX_FILLED_BYTES, RunSpec};
use lockstep_domain::work_path::WorkPath;
use lockstep_files::foreign;

use super::{PackageManifest, PackageProblem};

/// Lists what would keep an instance from being started.
#[must_use]
pub fn problems_of_filled(
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
    run.files.iter().filter_map(problem).collect()
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
