//! Failed builds as problems: every single reason with its place.

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_pipeline::{BuildFailure, BuildFault, CheckProblem, ContractProblem};

/// Lines of the log that an error shows.
const SHOWN_LINES: usize = 12;
/// Failed tests that an error shows.
const SHOWN_FAILURES: usize = 10;

pub(super) fn failure_problem(failure: &BuildFailure) -> Problem {
    let code = match &failure.fault {
        BuildFault::Io { .. } | BuildFault::Guard(_) => ErrorCode::Internal,
        _ => ErrorCode::Refused,
    };
    let parts = match &failure.fault {
        BuildFault::Problems(problems) => problems.iter().map(check_part).collect(),
        BuildFault::Contracts(problems) => problems.iter().map(contract_part).collect(),
        BuildFault::RedEvidence { .. } => failed_tests(failure),
        BuildFault::RedSuite { .. } => failed_tests(failure).into_iter().chain(last_lines(failure)).collect(),
        BuildFault::Cancelled | BuildFault::Given { .. } => Vec::new(),
        _ => last_lines(failure),
    };
    let detail = match &failure.fault {
        BuildFault::Problems(problems) if problems.len() == 1 => "1 problem stands in the way".to_owned(),
        BuildFault::Problems(problems) => format!("{} problems stand in the way", problems.len()),
        BuildFault::Contracts(problems) if problems.len() == 1 => "a contract cannot be used".to_owned(),
        BuildFault::Contracts(problems) => {
            format!("{} problems with contracts stand in the way", problems.len())
        }
        _ => failure.to_string(),
    };
    Problem::new(code, detail).with_problems(parts).with_hint(failure.hint())
}

fn check_part(problem: &CheckProblem) -> ProblemPart {
    match problem {
        CheckProblem::Manifest(problem) => manifest_part(problem.clone()),
        other => ProblemPart { detail: other.to_string(), ..ProblemPart::default() },
    }
}

pub(crate) fn manifest_part(problem: lockstep_manifest::Problem) -> ProblemPart {
    ProblemPart {
        detail: problem.message,
        file: Some(problem.file),
        line: Some(problem.line),
        field: Some(problem.field).filter(|field| !field.is_empty()),
        hint: problem.hint,
    }
}

fn contract_part(problem: &ContractProblem) -> ProblemPart {
    let error = &problem.error;
    ProblemPart {
        detail: error.message.clone(),
        file: Some(error.file.clone()).filter(|file| !file.is_empty()),
        line: error.line.map(|line| line as usize),
        field: Some(problem.field.clone()),
        hint: error.hint.clone(),
    }
}

fn failed_tests(failure: &BuildFailure) -> Vec<ProblemPart> {
    let failures = failure.suites.iter().flat_map(|suite| &suite.evidence.failures);
    failures
        .take(SHOWN_FAILURES)
        .map(|test| ProblemPart {
            detail: format!("{}: {}", test.name, test.message),
            ..ProblemPart::default()
        })
        .collect()
}

fn last_lines(failure: &BuildFailure) -> Vec<ProblemPart> {
    if failure.last_lines.is_empty() {
        return Vec::new();
    }
    let from = failure.last_lines.len().saturating_sub(SHOWN_LINES);
    let detail = format!("the log ends with:\n      {}", failure.last_lines[from..].join("\n      "));
    vec![ProblemPart { detail, ..ProblemPart::default() }]
}
