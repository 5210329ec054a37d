//! A version for people.

use std::fmt::Write as _;

use lockstep_api::types::VersionView;
use lockstep_domain::commits::Bump;
use lockstep_domain::evidence::{Evidence, Outcome};
use lockstep_domain::limits::Limits;
use lockstep_domain::repository_address::NO_COMMIT;
use lockstep_domain::run::RunUser;
use lockstep_domain::service::{GivenFile, GivenImage, ManifestOrigin, Version};

use super::{join, short};
use crate::commands::mirror;
use crate::commands::release::told_by;
use crate::output::runs;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::took;

/// Failures of one test suite that are shown; the build's log has all.
const SHOWN_FAILURES: usize = 5;

/// Writes everything known of a version.
pub(super) fn render(view: &VersionView, style: &Style) -> String {
    let version = &view.version;
    let title = format!("{}@{}", view.service, version.number);
    let mut text = format!("{}\n{}", style.strong(&title), facts(view, style));
    section(&mut text, style, "evidence", &evidence(version, style));
    section(&mut text, style, "approvals", &approvals(version, style));
    section(&mut text, style, "requires", &requires(version, style));
    section(&mut text, style, "contracts", &contracts(version));
    section(&mut text, style, "documents", &documents(version, style));
    section(&mut text, style, "notes", &indented(&version.notes));
    section(&mut text, style, "changes", &indented(&version.changelog.to_markdown()));
    text
}

fn section(text: &mut String, style: &Style, heading: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n{}\n{body}", style.strong(heading));
    }
}

fn indented(body: &str) -> String {
    let lines = printable(body);
    lines.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("  {line}\n") }).collect()
}

fn facts(view: &VersionView, style: &Style) -> String {
    let version = &view.version;
    let mut table = Table::new(["", ""]).indented(2);
    let stage = format!("{} (since {})", version.stage, style.ago(version.stage_since));
    table.row(["stage".into(), stage]);
    if let Some(next) = &view.next_stage {
        let closed: Vec<_> = next.closed.iter().map(ToString::to_string).collect();
        let closed = if closed.is_empty() { "nothing in the way".to_owned() } else { closed.join("; ") };
        table.row(["next stage".into(), format!("{}: {closed}", next.stage)]);
    }
    table.row([
        "runs in".into(),
        if view.runs_in.is_empty() { "nothing".into() } else { join(&view.runs_in) },
    ]);
    let commit = match version.commit.as_str() {
        NO_COMMIT => "none: there was no repository".to_owned(),
        commit => format!("{} on {}", short(commit), version.branch),
    };
    table.row(["commit".into(), commit]);
    table.row(["cut".into(), format!("{} by {}", style.ago(version.recorded), version.recorded_by)]);
    if let Some(reason) = &version.unrelated {
        table.row(["unrelated".into(), format!("without the version before it: {}", printable(reason))]);
    }
    if let Some(manifest) = manifest(version) {
        table.row(["manifest".into(), manifest]);
    }
    table.row(["build".into(), version.build.clone()]);
    if let Some(elsewhere) = &version.made_elsewhere {
        let GivenFile { name, digest, bytes } = &elsewhere.archive;
        let given = format!("{} {digest} ({bytes} bytes), given by {}", printable(name), version.recorded_by);
        table.row(["made elsewhere".into(), given]);
        if let Some(image) = &elsewhere.image {
            let GivenImage { reference, platform, .. } = image;
            let from = format!("{} {} for {platform}", printable(reference), told_by(image));
            table.row(["image".into(), from]);
        }
    }
    table.row(["artifact".into(), format!("{} ({} bytes)", version.artifact.digest, version.artifact.bytes)]);
    let tools: Vec<_> = version.tools.iter().map(|(tool, number)| format!("{tool} {number}")).collect();
    if !tools.is_empty() {
        table.row(["tools".into(), tools.join(", ")]);
    }
    if !version.run.data.is_empty() {
        let folders: Vec<_> = version.run.data.iter().map(ToString::to_string).collect();
        table.row(["keeps data in".into(), format!("{} (lockstep data list)", folders.join(", "))]);
    }
    if !version.processes.is_empty() {
        let names: Vec<_> = version.processes.names().map(ToString::to_string).collect();
        table.row(["processes".into(), names.join(", ")]);
    }
    if let RunUser::Named(name) = &version.run.user {
        table.row(["runs as".into(), name.clone()]);
    }
    if !version.run.limits.is_none() {
        table.row(["limits".into(), limits(&version.run.limits)]);
    }
    if !version.resources.is_empty() {
        let needs = version.resources.iter().map(|(name, need)| format!("{name} ({})", need.kind));
        table.row(["needs".into(), needs.collect::<Vec<_>>().join(", ")]);
    }
    for of in &version.databases {
        let last = of.files.last().map_or("none", |file| file.name.as_str());
        let told = format!("{}: {} migrations, the last one is {last}", of.database.name, of.files.len());
        table.row(["database".into(), printable(&told).into_owned()]);
    }
    if !version.jobs.is_empty() {
        let jobs: Vec<_> =
            version.jobs.iter().map(|job| format!("{} ({})", job.name, runs::when(job))).collect();
        table.row(["jobs".into(), jobs.join(", ")]);
    }
    table.render(style)
}

fn limits(limits: &Limits) -> String {
    let each: Vec<_> = limits.each().map(|limit| limit.to_string()).collect();
    each.join(", ")
}

/// Says which manifest it was made with, where that is not the one of its commit.
fn manifest(version: &Version) -> Option<String> {
    let whose = match version.manifest {
        ManifestOrigin::Commit => return None,
        ManifestOrigin::Service => "kept with the service",
        ManifestOrigin::Release => "given with the release",
    };
    let digest = version.documents.get("manifest")?.digest.to_string();
    let digest: String = digest.chars().take(12).collect();
    Some(format!("{digest}, {whose} (--document manifest)"))
}

fn evidence(version: &Version, style: &Style) -> String {
    let mut text = String::new();
    for evidence in version.evidence.iter().filter(|found| is_newest(version, found)) {
        let word = match evidence.outcome {
            Outcome::Green => style.good("green"),
            Outcome::Red => style.bad("red"),
        };
        let counts = counts(evidence);
        let given = if evidence.origin.is_here() { "" } else { ", given and not run by Lockstep" };
        let _ = writeln!(text, "  {} {word}{counts}{given}, {}", evidence.kind, style.ago(evidence.at));
        if let Some(latencies) = evidence.mirrored.as_deref().and_then(mirror::latencies) {
            let _ = writeln!(text, "    {latencies}");
        }
        for failure in evidence.failures.iter().take(SHOWN_FAILURES) {
            let first = failure.message.lines().next().unwrap_or_default();
            let _ = writeln!(text, "    {}: {}", printable(&failure.name), printable(first));
        }
    }
    if version.made_elsewhere.is_some() && !version.evidence.iter().any(|found| !found.origin.is_here()) {
        text.push_str("  not tested: no report was given with the archive\n");
    }
    text
}

/// Only the newest finding of a kind counts for the gates; the JSON form has all.
fn is_newest(version: &Version, evidence: &Evidence) -> bool {
    version.newest_evidence(&evidence.kind).is_some_and(|newest| std::ptr::eq(newest, evidence))
}

fn counts(evidence: &Evidence) -> String {
    let tests = evidence.tests;
    if let Some(found) = &evidence.mirrored {
        let (same, different, unanswered) = (found.same, found.different, found.unanswered);
        return format!(
            ": of {} copies {same} were answered the same, {different} otherwise, {unanswered} not",
            found.copies()
        );
    }
    if tests.passed + tests.failed + tests.skipped == 0 {
        return String::new();
    }
    let (passed, failed, skipped) = (tests.passed, tests.failed, tests.skipped);
    // How long others took is not known.
    let time =
        if evidence.origin.is_here() { format!(" in {}", took(tests.duration_ms)) } else { String::new() };
    format!(": {passed} passed, {failed} failed, {skipped} skipped{time}")
}

fn approvals(version: &Version, style: &Style) -> String {
    let mut table = Table::new(["", "", "", ""]).indented(2);
    for approval in &version.approvals {
        let note = approval.note.clone();
        table.row([approval.stage.to_string(), approval.by.to_string(), style.ago(approval.at), note]);
    }
    table.render(style)
}

fn requires(version: &Version, style: &Style) -> String {
    let mut table = Table::new(["", "", ""]).indented(2);
    for (service, needed) in &version.requires {
        let against = needed.contract.as_ref().map(|contract| match &contract.version {
            Some(version) => format!("built against {} of {version}", contract.name),
            None => format!("built against {}", contract.name),
        });
        table.row([service.to_string(), needed.to_string(), against.unwrap_or_default()]);
    }
    table.render(style)
}

fn contracts(version: &Version) -> String {
    let mut text = String::new();
    for contract in &version.contracts {
        let _ = writeln!(text, "  {} {}", contract.kind, printable(&contract.name));
        for finding in &contract.findings {
            let may = |may: bool| if may { "yes" } else { "no" };
            let owed = match finding.bump {
                Bump::None => "nothing".to_owned(),
                bump => format!("a {bump} step"),
            };
            let _ = writeln!(
                text,
                "    since {}: {}, owes {}; may deploy: {}, may roll back: {}",
                finding.against,
                finding.verdict.as_str().replace('_', " "),
                owed,
                may(finding.may_deploy),
                may(finding.may_roll_back),
            );
            if let Some(reason) = finding.reasons.first() {
                let _ = writeln!(text, "      {}", printable(reason));
            }
            for accepted in &finding.accepted {
                let (rule, place, reason) = (&accepted.rule, &accepted.place, &accepted.reason);
                let _ =
                    writeln!(text, "      accepted: {rule} at {}: {}", printable(place), printable(reason));
            }
        }
    }
    text
}

fn documents(version: &Version, style: &Style) -> String {
    let mut table = Table::new(["", "", ""]).indented(2);
    for (kind, document) in &version.documents {
        table.row([kind.clone(), document.file_name.clone(), format!("{} bytes", document.bytes)]);
    }
    table.render(style)
}
