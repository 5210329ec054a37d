//! What is wrong with the file of a table, as a failure of a command.

use std::path::Path;

use lockstep_api::problem::ProblemPart;
use lockstep_gateway::check::TableProblem;
use lockstep_gateway::follow::StoreError;

use crate::failure::Failure;
use crate::output::counted::counted;

/// Makes a failure that names all that is wrong with a file.
pub(crate) fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Wrong { path, problems } => {
            let parts = problems.iter().map(|problem| part(path, problem)).collect();
            Failure::usage(format!("{} has {}", path.display(), counted(problems.len(), "problem")))
                .problems(parts)
        }
        other => Failure::unread(other),
    }
}

/// Returns a problem with its place in a file.
pub(super) fn part(path: &Path, TableProblem { place, line, detail, hint }: &TableProblem) -> ProblemPart {
    ProblemPart {
        detail: detail.clone(),
        file: Some(path.display().to_string()),
        line: *line,
        field: Some(place.clone()).filter(|place| !place.is_empty()),
        hint: hint.clone(),
    }
}
