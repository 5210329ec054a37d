//! `lockstep history`: the states an environment really ran.

use std::cmp::Reverse;

use lockstep_api::types::{BaselineView, History, ProvingView, SaidChange};
use lockstep_domain::baseline::EntryChange;
use lockstep_domain::database::list;
use lockstep_domain::lane::{EndedLane, Lane};
use lockstep_domain::maintenance::{MaintenanceTurn, Turn};
use lockstep_domain::operation::Phase;
use lockstep_domain::version_rules::{EndedRule, VersionRule};
use lockstep_domain::{Operation, Timestamp, VersionRef};

use super::route::takes;
use crate::context::Context;
use crate::failure::Failure;
use crate::operate::plan_text::entry;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::select::EnvironmentArgument;

/// Longest line of a change or reason.
const LONGEST_CELL: usize = 50;
/// Counting begins within a moment of the baseline, unless what was counted was lost.
const NOTICED_MS: u64 = 60_000;

/// Shows the history of an environment, newest first.
///
/// Every baseline is a state that really ran, with who wanted it, why, and what changed. Operations that were taken
/// back made no baseline and stand between them with their cause, and so do contractions and whatever else was done at databases (`lockstep database`), rules (`lockstep route`): those in force, and the
/// hundred that ended last, and lanes (`lockstep lane`). Pages of maintenance that were set and lifted (`lockstep maintenance`), the hundred last of these turns, are among them, and
/// a service that somebody else runs and that came to say another version. A baseline that is proven says by what, and the current one what it
/// lacks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep history production\n  lockstep history production --limit 10")]
pub(crate) struct Args {
    #[command(flatten)]
    environment: EnvironmentArgument,
    /// Show only the newest.
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<usize>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let mut history = ctx.client.history(&environment)?;
        let limit = self.limit.unwrap_or(usize::MAX);
        history.baselines.truncate(limit);
        ctx.out.show(&history, |history, style| render(history, limit, style))
    }
}

fn render(history: &History, limit: usize, style: &Style) -> String {
    let baselines = history.baselines.iter().map(|baseline| (baseline.at, baseline_row(baseline, style)));
    let oldest = history.baselines.last().map_or(Timestamp(0), |baseline| baseline.at);
    let reverted = history.reverted.iter().map(|operation| (operation.begun, reverted_row(operation, style)));
    let databases = history.databases.iter().map(|operation| {
        let at = operation.phase.settled_at().unwrap_or(operation.begun);
        (at, database_row(operation, at, style))
    });
    let rules = history.rules.iter().map(|rule| (rule.at, rule_row(rule, style)));
    let ended = history.rules_ended.iter().map(|ended| (ended.ended, ended_row(ended, style)));
    let lanes = history.lanes.iter().chain(history.lanes_ended.iter().map(|ended| &ended.lane));
    let lanes = lanes.map(|lane| (lane.at, lane_row(lane, style)));
    let lanes_ended = history.lanes_ended.iter().map(|ended| (ended.ended, lane_ended_row(ended, style)));
    let said = history.said.iter().map(|change| (change.at, said_row(change, style)));
    let maintained = history.maintenance.iter().map(|turn| (turn.at, maintained_row(turn, style)));
    let beside = reverted
        .chain(databases)
        .chain(rules)
        .chain(ended)
        .chain(lanes)
        .chain(lanes_ended)
        .chain(said)
        .chain(maintained);
    let beside = beside.filter(|(at, _)| *at >= oldest);
    let mut rows: Vec<_> = baselines.chain(beside).collect();
    rows.sort_by_key(|(at, _)| Reverse(*at));
    let mut table = Table::new(["BASELINE", "WHEN", "BY", "WHAT", "CHANGES", "REASON"]).wrapped(LONGEST_CELL);
    rows.into_iter().take(limit).for_each(|(_, row)| table.row(row));
    format!(
        "{}{}",
        table.render(style),
        history.proving.as_ref().map_or_else(String::new, |it| proving(it, history))
    )
}

/// Says how far the current baseline is.
fn proving(proving: &ProvingView, history: &History) -> String {
    let ProvingView { baseline, since, missing, alarm, .. } = proving;
    let came = history.baselines.first().map_or(*since, |baseline| baseline.at);
    let alarm = match alarm {
        Some(alarm) => Some(format!("; counted since {}: {}", since.day(), printable(&alarm.what))),
        None if since.since_ms(came) > NOTICED_MS => {
            Some(format!("; counted since {}: what the server had counted before is lost", since.day()))
        }
        None => None,
    };
    let missing = missing.join(", ");
    format!("baseline {baseline} is not proven yet: {missing}{}\n", alarm.unwrap_or_default())
}

fn baseline_row(baseline: &BaselineView, style: &Style) -> [String; 6] {
    let changes: Vec<_> = baseline.changes.iter().map(change).collect();
    [
        baseline.number.to_string(),
        style.ago(baseline.at),
        baseline.actor.clone().unwrap_or_default(),
        baseline.intent.clone().unwrap_or_else(|| "the empty beginning".into()),
        changes.join(", "),
        reason(baseline),
    ]
}

/// Why it was wanted, who answers for what was not proven, and what it was judged by.
fn reason(baseline: &BaselineView) -> String {
    let accepted = baseline.accepted.iter().map(|accepted| {
        let why = if accepted.reason.is_empty() { "" } else { ": " };
        format!(
            "step {} accepted by {}{why}{} ({})",
            accepted.step, accepted.by, accepted.reason, accepted.known
        )
    });
    let judged = Some(&baseline.proof).filter(|proof| !proof.is_empty());
    let judged = judged.map(|proof| format!("judged: {}", printable(proof)));
    let proven = baseline.proven.iter().map(|proof| format!("proven: {proof}"));
    baseline.reason.iter().cloned().chain(accepted).chain(judged).chain(proven).collect::<Vec<_>>().join("; ")
}

fn reverted_row(operation: &Operation, style: &Style) -> [String; 6] {
    let cause = match &operation.phase {
        Phase::Reverted { cause, .. } | Phase::Reverting { cause, .. } => cause.as_str(),
        _ => "",
    };
    [
        "-".into(),
        style.ago(operation.begun),
        operation.actor.to_string(),
        operation.intent.to_string(),
        format!("taken back: {cause}"),
        operation.reason.clone(),
    ]
}

/// What was done at a database, and what it took.
fn database_row(operation: &Operation, at: Timestamp, style: &Style) -> [String; 6] {
    let plan = &operation.plan;
    let taken = match (&plan.contraction, &plan.reversal) {
        (Some(it), _) => point_of_no_return(&it.migrations, "applied", &it.lost),
        (_, Some(it)) => {
            let names: Vec<_> = it.migrations.iter().map(|reverted| reverted.migration.clone()).collect();
            point_of_no_return(&names, "taken back", &it.lost)
        }
        _ => "-".to_owned(),
    };
    [
        "-".into(),
        style.ago(at),
        operation.actor.to_string(),
        operation.intent.to_string(),
        printable(&taken).into_owned(),
        operation.reason.clone(),
    ]
}

fn point_of_no_return(migrations: &[String], what: &str, lost: &[VersionRef]) -> String {
    let lost = match lost {
        [] => String::new(),
        lost => format!("; {} cannot come back", list(lost)),
    };
    format!("{} {what}{lost}", migrations.join(", "))
}

fn rule_row(rule: &VersionRule, style: &Style) -> [String; 6] {
    [
        "-".into(),
        style.ago(rule.at),
        rule.by.to_string(),
        format!("rule {} added", rule.number),
        format!("{} -> {} {}", takes(&rule.takes), rule.service, rule.version),
        rule.reason.clone(),
    ]
}

fn ended_row(ended: &EndedRule, style: &Style) -> [String; 6] {
    let EndedRule { rule, by, ended, because, found: _ } = ended;
    let instead = match rule.takes.mirror() {
        Some(_) => format!("{}: no copies any more", rule.service),
        None => format!("{} -> what all others get of {}", takes(&rule.takes), rule.service),
    };
    [
        "-".into(),
        style.ago(*ended),
        by.to_string(),
        format!("rule {} ended", rule.number),
        instead,
        because.clone(),
    ]
}

fn lane_row(lane: &Lane, style: &Style) -> [String; 6] {
    let when = printable(&lane.condition()).into_owned();
    [
        "-".into(),
        style.ago(lane.at),
        lane.by.to_string(),
        format!("lane {} began", lane.new.name),
        format!("{when} -> {}", super::lane::services(lane)),
        lane.new.reason.clone(),
    ]
}

fn lane_ended_row(ended: &EndedLane, style: &Style) -> [String; 6] {
    let EndedLane { lane, by, ended, because } = ended;
    let services: Vec<_> = lane.new.services.iter().map(|it| it.service.to_string()).collect();
    [
        "-".into(),
        style.ago(*ended),
        by.to_string(),
        format!("lane {} ended", lane.new.name),
        format!("its requests -> what all others get of {}", services.join(", ")),
        because.clone(),
    ]
}

fn maintained_row(turn: &MaintenanceTurn, style: &Style) -> [String; 6] {
    let MaintenanceTurn { number, page, turn, at, by } = turn;
    let what = match turn {
        Turn::Set => "set",
        Turn::Lifted => "lifted",
    };
    let what = format!("page {number} of maintenance {what}");
    ["-".into(), style.ago(*at), by.to_string(), what, printable(page).into_owned(), String::new()]
}

/// Somebody else changed what they run.
fn said_row(change: &SaidChange, style: &Style) -> [String; 6] {
    let SaidChange { service, runs, before, says, at } = change;
    [
        "-".into(),
        style.ago(*at),
        String::new(),
        format!("{service} changed by itself"),
        printable(&format!("{service} says {before} -> {says}, {runs} runs here")).into_owned(),
        String::new(),
    ]
}

fn change(change: &EntryChange) -> String {
    let EntryChange { service, from, to } = change;
    format!("{service} {} -> {}", entry(from.as_ref()), entry(to.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_says_what_it_was_judged_by_beside_why_it_was_wanted() {
        let baseline = |reason: Option<&str>, proof: &str| BaselineView {
            number: 2,
            parent: Some(1),
            at: Timestamp(0),
            operation: None,
            actor: None,
            intent: None,
            reason: reason.map(str::to_owned),
            entries: std::collections::BTreeMap::new(),
            changes: Vec::new(),
            proof: proof.to_owned(),
            proven: None,
            accepted: Vec::new(),
        };
        let proof = "mailer@1.1.0: passed, not proven: 3 jobs";
        assert_eq!(reason(&baseline(None, proof)), format!("judged: {proof}"));
        assert_eq!(reason(&baseline(Some("sale"), proof)), format!("sale; judged: {proof}"));
        assert_eq!(reason(&baseline(None, "")), "");
    }
}
