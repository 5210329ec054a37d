//! `lockstep check --run`: what was seen when a service was tried out.

use std::fmt::Write as _;
use std::path::Path;

use lockstep_domain::ServiceName;
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::address::Address;
use lockstep_manifest::Manifest;
use serde::Serialize;

use super::findings::{Finding, Said, Seen, findings, text_of};
use super::trial::{Trial, World, clear, prepare};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::counted::counted;
use crate::output::style::{Style, printable};
use crate::output::times::took;
use crate::progress::Progress;

/// Lines of the log that are shown of what did not become healthy.
const SHOWN_LINES: usize = 15;

/// What is there for a service that is tried out.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WorldArgs {
    /// A variable of its configuration.
    #[arg(long, value_name = "NAME=VALUE", requires = "run", value_parser = pair::<String>)]
    set: Vec<(String, String)>,
    /// Where a service is that it requires: http://HOST:PORT.
    #[arg(long, value_name = "NAME=URL", requires = "run", value_parser = pair::<ServiceName>)]
    service: Vec<(ServiceName, String)>,
    /// Where a resource is that it needs, as `lockstep resource add` takes it.
    #[arg(long, value_name = "NAME=URL", requires = "run", value_parser = pair::<ResourceName>)]
    resource: Vec<(ResourceName, String)>,
}

fn pair<N>(text: &str) -> Result<(N, String), String>
where
    N: std::str::FromStr,
    N::Err: std::fmt::Display,
{
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no NAME=VALUE"))?;
    Ok((name.parse().map_err(|error: N::Err| error.to_string())?, value.to_owned()))
}

impl WorldArgs {
    fn world(self, manifest: &Manifest) -> Result<World, Failure> {
        let strange = self.service.iter().find(|(name, _)| !manifest.requires.contains_key(name));
        if let Some((name, _)) = strange {
            return Err(Failure::usage(format!("{} does not require `{name}`", manifest.name)));
        }
        let resource = |(name, url): (ResourceName, String)| {
            let need = manifest.resources.get(&name);
            let need =
                need.ok_or_else(|| Failure::usage(format!("{} needs no resource `{name}`", manifest.name)))?;
            let address =
                Address::of(need.kind, &url).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
            Ok((name, address))
        };
        Ok(World {
            variables: self.set.into_iter().collect(),
            services: self.service.into_iter().collect(),
            resources: self.resource.into_iter().map(resource).collect::<Result<_, Failure>>()?,
        })
    }
}

/// What a trial showed.
#[derive(Debug, Serialize)]
struct Report {
    service: ServiceName,
    processes: Vec<Seen>,
    findings: Vec<Finding>,
    not_there: Vec<String>,
    jobs_not_run: Vec<String>,
}

/// Tries a service out, and says what was seen.
pub(super) fn run(
    ctx: &Context,
    folder: &Path,
    manifest: &Manifest,
    world: WorldArgs,
) -> Result<(), Failure> {
    if manifest.run.image.is_some() {
        let detail =
            format!("the versions of {} are images, and here is none to be tried out", manifest.name);
        let hint = format!(
            "release one and deploy it to an environment for trying: lockstep release {} --image WHAT",
            manifest.name
        );
        return Err(Failure::usage(detail).hint(hint));
    }
    let world = world.world(manifest)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Internal, "the system gives no threads").caused_by(&error))?;
    let progress = Progress::begin(&ctx.out);
    runtime.block_on(clear());
    let prepared = prepare(folder, manifest, &progress)?;
    let report = runtime.block_on(async {
        let trial = prepared.begin().await?;
        let tried = tokio::select! {
            tried = tried(&trial, manifest, &world, &progress) => tried,
            () = stopped() => Err(Failure::new(Exit::Interrupted, "stopped; what was started has ended")),
        };
        trial.end().await;
        tried
    });
    drop(progress);
    let report = report?;
    ctx.out.show(&report, text)?;
    let problems = report.findings.iter().filter(|finding| finding.is_problem).count();
    match problems {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::EndedBadly,
            format!("{} has {}", manifest.name, counted(problems, "problem")),
        )),
    }
}

/// Waits until somebody wants it to end: by Ctrl-C, by a signal, or by closing the terminal.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

async fn tried(
    trial: &Trial,
    manifest: &Manifest,
    world: &World,
    progress: &Progress,
) -> Result<Report, Failure> {
    let (mut processes, mut all) = (Vec::new(), Vec::new());
    for (process, run) in manifest.processes.standing(&manifest.run) {
        let seen = trial.try_out(manifest, (process, run), world, progress).await?;
        all.extend(findings(&seen, run));
        processes.push(seen);
    }
    let services = manifest.requires.keys().filter(|name| !world.services.contains_key(*name));
    let resources = manifest.resources.keys().filter(|name| !world.resources.contains_key(*name));
    let services = services.map(|name| format!("service {name} (--service {name}=URL)"));
    let not_there = services.chain(resources.map(|name| format!("resource {name} (--resource {name}=URL)")));
    Ok(Report {
        service: manifest.name.clone(),
        processes,
        findings: all,
        not_there: not_there.collect(),
        jobs_not_run: manifest.jobs.iter().map(|job| job.name.to_string()).collect(),
    })
}

fn text(report: &Report, style: &Style) -> String {
    let mut text = String::new();
    for seen in &report.processes {
        text.push_str(&of_process(seen, &report.findings, style));
    }
    if report.processes.is_empty() {
        let _ = writeln!(text, "{}: nothing of it runs all the time; it builds", report.service);
    }
    for missing in &report.not_there {
        let _ = writeln!(text, "  was not there: {missing}");
    }
    if !report.jobs_not_run.is_empty() {
        let _ = writeln!(text, "  not run: job {}", report.jobs_not_run.join(", job "));
    }
    text
}

fn of_process(seen: &Seen, findings: &[Finding], style: &Style) -> String {
    let mut text = match seen.healthy_after_ms {
        Some(ms) => format!("{}: {} healthy after {}", style.good("ran"), seen.name, took(ms)),
        None => format!("{}: {} did not become healthy", style.bad("failed"), seen.name),
    };
    let listens: Vec<_> = seen.listens.iter().map(ToString::to_string).collect();
    if !listens.is_empty() {
        let _ = write!(text, ", listened on {}", listens.join(", "));
    }
    if let Some(Said::Version(version)) = &seen.says {
        let _ = write!(text, ", says {}", printable(version));
    }
    if let (Some(ms), Some(_)) = (seen.ended_after_ms, seen.healthy_after_ms) {
        let _ = write!(text, ", ended after {}", took(ms));
    }
    text.push('\n');
    for finding in findings.iter().filter(|finding| finding.process == seen.name) {
        let mark = if finding.is_problem { style.bad("problem:") } else { style.warn("note:") };
        let _ = writeln!(text, "  {mark} {}", printable(&finding.text));
        if !finding.hint.is_empty() {
            let _ = writeln!(text, "    hint: {}", printable(&finding.hint));
        }
    }
    if seen.healthy_after_ms.is_none() && !seen.log.is_empty() {
        let _ = writeln!(text, "  the end of its log:");
        for line in seen.log.iter().rev().take(SHOWN_LINES).rev() {
            let _ = writeln!(text, "    {}", printable(text_of(line)));
        }
    }
    text
}
