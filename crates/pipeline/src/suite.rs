//! Runs the manifest's test suites and makes evidence of what they say.
//!
//! The exit code and the report must both be green. A declared report that is missing, cannot be believed or lists no test
//! that ran is red: tests that did not run prove nothing.

mod report;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::evidence::{
    Evidence, EvidenceKind, MAX_FAILURE_MESSAGE, MAX_KEPT_FAILURES, Origin, Outcome, TestCounts, TestFailure,
};
use lockstep_domain::{Digest, Timestamp};
use lockstep_manifest::TestSuite;
use sha2::{Digest as _, Sha256};

use self::report::Report;
use crate::command::{Commands, Turn, command_text};
use crate::failure::{BuildFault, describe_end};
use crate::guard::GuardReport;
use crate::junit::JunitResult;
use crate::request::TestReport;
use crate::workplace::CommandBounds;

/// What a suite said about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteOutcome {
    /// The evidence.
    pub evidence: Evidence,
    /// The report files as they were read, for the blob store: their digest is [`Evidence::report`].
    pub report: Option<Vec<u8>>,
}

/// Runs one suite in the checked-out folder of the service.
pub(crate) fn run(
    turn: Turn,
    suite: &TestSuite,
    folder: &Path,
    commands: &Commands<'_>,
) -> Result<SuiteOutcome, BuildFault> {
    report::remove_old(folder, suite.report.as_ref())?;
    let place = suite.folder.as_ref().map_or_else(|| folder.to_owned(), |below| folder.join(below.as_str()));
    let bounds = commands.bounds(suite.timeout_ms);
    let guarded = commands.run(turn, &suite.command, place, bounds)?;
    let report = report::read(folder, suite.report.as_ref(), commands.secrets())?;
    Ok(judge(suite, &guarded, report, bounds, now()))
}

fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

/// Makes evidence of reports that were given, all of one kind.
pub(crate) fn given(kind: &EvidenceKind, reports: &[&TestReport]) -> SuiteOutcome {
    let judged = Judged::of(report::read_given(reports));
    judged.outcome(kind, Origin::Elsewhere, 0, now())
}

fn judge(
    suite: &TestSuite,
    guarded: &GuardReport,
    report: Report,
    bounds: CommandBounds,
    at: Timestamp,
) -> SuiteOutcome {
    let mut judged = Judged::of(report);
    if !guarded.is_success() {
        let message = format!("`{}` {}", command_text(&suite.command), describe_end(&guarded.end, bounds));
        judged.problems.push(TestFailure { name: "the test command".into(), message });
    }
    judged.outcome(&suite.kind, Origin::Here, guarded.duration_ms, at)
}

/// What reports say, and what speaks against believing it.
struct Judged {
    problems: Vec<TestFailure>,
    result: JunitResult,
    bytes: Option<Vec<u8>>,
}

impl Judged {
    fn of(report: Report) -> Self {
        let bad = |reason| TestFailure { name: "the test report".into(), message: reason };
        let (problems, result, bytes) = match report {
            Report::NotDeclared => (Vec::new(), JunitResult::default(), None),
            Report::Read { result, bytes } => {
                (nothing_ran(&result).into_iter().collect(), result, Some(bytes))
            }
            Report::Bad { reason, bytes } => (vec![bad(reason)], JunitResult::default(), bytes),
        };
        Self { problems, result, bytes }
    }

    fn outcome(self, kind: &EvidenceKind, origin: Origin, duration_ms: u64, at: Timestamp) -> SuiteOutcome {
        let Self { problems, result, bytes } = self;
        let green = problems.is_empty() && result.failed == 0;
        let failures = problems.into_iter().map(bounded).chain(result.failures).take(MAX_KEPT_FAILURES);
        let evidence = Evidence {
            kind: kind.clone(),
            outcome: if green { Outcome::Green } else { Outcome::Red },
            at,
            tests: TestCounts {
                passed: result.passed,
                failed: result.failed,
                skipped: result.skipped,
                duration_ms,
            },
            failures: failures.collect(),
            report: bytes.as_ref().map(|bytes| Digest::from_bytes(Sha256::digest(bytes).into())),
            origin,
            mirrored: None,
        };
        SuiteOutcome { evidence, report: bytes }
    }
}

/// A report without a test that ran shows as little as none.
fn nothing_ran(result: &JunitResult) -> Option<TestFailure> {
    let message = match (result.passed + result.failed, result.skipped) {
        (0, 0) => "it lists no test".to_owned(),
        (0, skipped) => format!("it lists no test that ran: all {skipped} were skipped"),
        _ => return None,
    };
    Some(TestFailure { name: "the test report".into(), message })
}

fn bounded(failure: TestFailure) -> TestFailure {
    TestFailure { message: failure.message.chars().take(MAX_FAILURE_MESSAGE).collect(), ..failure }
}

/// Puts a red suite into words.
pub(crate) fn reason(evidence: &Evidence) -> String {
    let counts = evidence.tests;
    let of = counts.passed + counts.failed;
    let first = evidence.failures.first();
    let first = first.map(|failure| {
        let line: String = failure.message.lines().next().unwrap_or_default().chars().take(200).collect();
        format!("{}: {line}", failure.name)
    });
    match (counts.failed, first) {
        (0, first) => first.unwrap_or_default(),
        (failed, first) => format!("{failed} of {of} tests failed, first {}", first.unwrap_or_default()),
    }
}
