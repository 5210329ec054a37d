//! `lockstep judge replay`: recorded counters, run through the code that decides rollouts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lockstep_api::problem::ProblemPart;
use lockstep_judge::replay::{Looked, Mistake, Recording, read};
use lockstep_judge::{Judgement, Names, Plan, Reading, StatusClass, Unit, Verdict};
use serde::Serialize;

use super::rules::{RulesOptions, check};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::exact;
use crate::parse::duration;

/// Runs recorded counters through the judge, as if they came from gateways during a rollout.
///
/// It looks after each interval, knowing nothing of what came later, and stops where a rollout would
/// have been taken back. The end of the recording is the end of the bake. Works without a server.
///
/// FILE is CSV: the names of the columns in the first line, in any order, then one line an interval,
/// arm and route class. Fields hold no commas or quotes. The columns:
///
/// - `interval`: its number; numbers that are left out are intervals without counters
/// - `arm`: `new` or `old`
/// - `requests`: how many the arm was asked
/// - `class` (may be missing): a route class; empty for the total, which is the sum of the classes
///   where it has no line
/// - `weight` (may be missing): the percentage of the keys (clients, else traces) that were given to
///   the new arm by chance, or `changed` when it changed meanwhile; empty when only counters are known
/// - `5xx`, `404`, `none` or another class of answers: how many answers were of it; `none` is no valid
///   answer
/// - `slower 250`: how many answers took more than 250 ms; as many such columns as bounds are known
/// - `5xx keys`, `slower 250 keys`: how many keys got such an answer for the first time; each answer is
///   a key of its own where it is missing
///
/// Ends with code 0 for pass, 1 for fail, 2 when the file cannot be read (all mistakes with line and
/// column), and 3 when it ends undecided.
#[derive(Debug, Clone, clap::Args)]
#[command(
    verbatim_doc_comment,
    about = "Runs recorded counters through the judge, as if they came from gateways during a rollout"
)]
#[command(after_help = "Examples:
  lockstep judge replay examples/recordings/pay-fails.csv
  lockstep judge replay counters.csv --interval 1m --tolerated 1 --json
  lockstep judge replay counters.csv --failing 5xx,none,404")]
pub(super) struct Args {
    /// The recording.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How long an interval is.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "10s")]
    interval: u64,
    /// Classes of answers that are failures [default: 5xx,none].
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    failing: Option<Vec<StatusClass>>,
    /// Fewer requests of the new version than this in a step pass nothing by time [default: 100].
    #[arg(long, value_name = "COUNT")]
    min_requests: Option<u64>,
    #[command(flatten)]
    rules: RulesOptions,
}

/// What came of a recording.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    intervals: usize,
    without_counters: usize,
    interval_ms: u64,
    plan: Plan,
    /// Where the verdict became another one.
    changes: Vec<Change>,
    /// The last word: the first fail, or what stands at the end.
    last: Change,
}

#[derive(Debug, Clone, Serialize)]
struct Change {
    interval: u64,
    after_ms: u64,
    verdict: &'static str,
    sentence: String,
    notes: Vec<String>,
    judgement: Judgement,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let text = input::text(&self.file)?;
        let recording = read(&text, self.interval).map_err(|mistakes| self.unreadable(mistakes))?;
        let plan = self.plan(&recording);
        check(&plan)?;
        let report = replay(&self.file, &recording, plan)?;
        ctx.out.show(&report, render)?;
        judge(&report)
    }

    fn unreadable(&self, mistakes: Vec<Mistake>) -> Failure {
        let file = self.file.display().to_string();
        let part = |mistake: Mistake| ProblemPart {
            detail: mistake.why,
            file: Some(file.clone()),
            line: Some(mistake.line),
            field: Some(mistake.column),
            hint: None,
        };
        Failure::usage("the recording cannot be read")
            .problems(mistakes.into_iter().map(part).collect())
            .hint("lockstep judge replay --help describes the columns")
    }

    fn plan(&self, recording: &Recording) -> Plan {
        let mut rules = self.rules.rules();
        if let Some(failing) = &self.failing {
            // What is a failure is not watched beside that.
            rules.failing = failing.iter().cloned().collect();
            rules.watched.retain(|class| !failing.contains(class));
        }
        rules.min_requests = self.min_requests.unwrap_or(rules.min_requests);
        recording.plan(rules)
    }
}

fn replay(file: &Path, recording: &Recording, plan: Plan) -> Result<Report, Failure> {
    let service = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut changes: Vec<Change> = Vec::new();
    let mut last = None;
    for look in recording.looks(&plan) {
        let change = Change::new(look, &service);
        if changes.last().is_none_or(|before| before.verdict != change.verdict) {
            changes.push(change.clone());
        }
        let failed = matches!(change.judgement.verdict, Verdict::Fail(_));
        last = Some(change);
        if failed {
            break;
        }
    }
    let last = last.ok_or_else(|| Failure::usage("the recording has no interval"))?;
    let missing = recording.readings.iter().filter(|reading| **reading == Reading::Missing);
    Ok(Report {
        file: file.display().to_string(),
        intervals: recording.readings.len(),
        without_counters: missing.count(),
        interval_ms: recording.interval_ms,
        plan,
        changes,
        last,
    })
}

impl Change {
    fn new(look: Looked, service: &str) -> Self {
        let Looked { interval, after_ms, judgement } = look;
        let names = Names { service, new: "new", old: "old", of: Unit::Requests };
        Self {
            interval,
            after_ms,
            verdict: judgement.verdict.name(),
            sentence: judgement.sentence(&names),
            notes: judgement.notes.iter().map(|note| note.sentence(&names)).collect(),
            judgement,
        }
    }
}

fn render(report: &Report, style: &Style) -> String {
    let Report { file, intervals, without_counters, interval_ms, plan, changes, last } = report;
    let (classes, bounds) = (plan.classes.len(), plan.latency_bounds_ms.len());
    let mut text = format!(
        "{}: {intervals} intervals of {}, {without_counters} without counters; {classes} route classes and {bounds} bounds of latency are judged\n",
        printable(file),
        exact(*interval_ms)
    );
    let mut table = Table::new(["AFTER", "INTERVAL", "VERDICT", "WHY"]).indented(2);
    for change in changes {
        let after = exact(change.after_ms);
        table.row([after, change.interval.to_string(), change.verdict.into(), change.sentence.clone()]);
    }
    text.push_str(&table.render(style));
    for note in &last.notes {
        let _ = writeln!(text, "  note: {}", printable(note));
    }
    let verdict = match last.judgement.verdict {
        Verdict::Pass(_) => style.good(last.verdict),
        Verdict::Fail(_) => style.bad(last.verdict),
        Verdict::None(_) => style.warn(last.verdict),
    };
    let _ = writeln!(text, "{verdict} after {}: {}", exact(last.after_ms), printable(&last.sentence));
    text
}

/// What a script is told by the exit code.
fn judge(report: &Report) -> Result<(), Failure> {
    let file = &report.file;
    match report.last.judgement.verdict {
        Verdict::Pass(_) => Ok(()),
        Verdict::Fail(_) => {
            Err(Failure::new(Exit::EndedBadly, format!("the new version in `{file}` is taken back")))
        }
        Verdict::None(_) => {
            Err(Failure::new(Exit::Refused, format!("`{file}` ends before anything is decided")))
        }
    }
}
