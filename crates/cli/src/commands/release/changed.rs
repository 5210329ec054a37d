//! `lockstep release --changed`: every service of a repository whose content has changed, a few at a time.

use std::collections::VecDeque;
use std::path::Path;

use lockstep_api::types::{BuildState, BuildView, ReleaseRequest};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::ServiceName;
use lockstep_domain::service::Source;
use lockstep_pipeline::{RepositoryLocation, local};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::build::until_over;
use crate::output::style::Style;
use crate::progress::Progress;

/// Builds under way at once: a server has other things to do as well.
const AT_ONCE: usize = 4;

/// How the release of one service ended.
enum End {
    Released,
    Unchanged,
    Failed,
}

/// Releases all that changed. Nothing that changed is no success: a script is told so.
pub(super) fn release(ctx: &Context, request: &ReleaseRequest) -> Result<(), Failure> {
    let mut waiting = services_here(ctx)?;
    let progress = Progress::begin(&ctx.out);
    let mut begun: VecDeque<BuildView> = VecDeque::new();
    let mut builds = Vec::new();
    while !waiting.is_empty() || !begun.is_empty() {
        while begun.len() < AT_ONCE
            && let Some(service) = waiting.pop_front()
        {
            begun.push_back(ctx.client.release(&service, request)?);
        }
        let Some(build) = begun.pop_front() else { break };
        let build = until_over(ctx, &build.id, |_| {})?;
        progress.line(&line(&build));
        builds.push(build);
    }
    drop(progress);
    ctx.out.show(&builds, |builds, style| text(builds, style))?;
    verdict(&builds)
}

/// The services whose repository is the one that the command runs in, or that it is a clone of.
fn services_here(ctx: &Context) -> Result<VecDeque<ServiceName>, Failure> {
    let here = Path::new(".");
    let asked =
        |error: lockstep_pipeline::git::GitError| Failure::usage("git cannot be asked").caused_by(&error);
    let found = local::find(here).map_err(asked)?;
    let Some(found) = found else {
        return Err(Failure::usage("this folder is in no git repository")
            .hint("go to the repository of the services"));
    };
    let origin = local::origin(here).map_err(asked)?;
    let root = found.root.to_string_lossy().into_owned();
    let places: Vec<RepositoryLocation> =
        std::iter::once(root.clone()).chain(origin).filter_map(|text| text.parse().ok()).collect();
    let is_here = |source: &Source| {
        let location = source.repository.parse::<RepositoryLocation>();
        location.is_ok_and(|location| places.iter().any(|place| place.is_same_place(&location)))
    };
    let services = ctx.client.services()?;
    let names: VecDeque<_> =
        services.into_iter().filter(|service| is_here(&service.source)).map(|service| service.name).collect();
    if names.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no service comes from the repository `{root}`"))
            .hint("register one: lockstep service add PATH"));
    }
    Ok(names)
}

fn end(build: &BuildView) -> End {
    let nothing = |build: &BuildView| {
        build.problem.as_ref().is_some_and(|problem| problem.code == ErrorCode::NothingToRelease)
    };
    match build.state {
        BuildState::Succeeded => End::Released,
        _ if nothing(build) => End::Unchanged,
        _ => End::Failed,
    }
}

fn line(build: &BuildView) -> String {
    let service = &build.service;
    match (end(build), &build.version) {
        (End::Released, Some(version)) => format!("{service}@{version}"),
        (End::Released, None) => format!("{service}: build {}", build.id),
        (End::Unchanged, _) => format!("{service}: unchanged"),
        (End::Failed, _) => {
            let why = build.problem.as_ref().map_or("it was ended", |problem| problem.detail.as_str());
            format!("{service}: failed: {why} (lockstep logs {})", build.id)
        }
    }
}

fn text(builds: &[BuildView], style: &Style) -> String {
    let count = |is: fn(&End) -> bool| builds.iter().map(end).filter(is).count();
    let released = count(|end| matches!(end, End::Released));
    let unchanged = count(|end| matches!(end, End::Unchanged));
    let failed = count(|end| matches!(end, End::Failed));
    let versions = builds
        .iter()
        .filter(|build| matches!(end(build), End::Released))
        .map(|build| format!("  {}\n", line(build)));
    let word = if failed == 0 { style.good("done") } else { style.bad("failed") };
    format!(
        "{word}: {released} released, {unchanged} unchanged, {failed} failed\n{}",
        versions.collect::<String>()
    )
}

fn verdict(builds: &[BuildView]) -> Result<(), Failure> {
    if let Some(failed) = builds.iter().find(|build| matches!(end(build), End::Failed)) {
        return Err(super::ended_badly(failed));
    }
    if builds.iter().any(|build| matches!(end(build), End::Released)) {
        return Ok(());
    }
    let detail = "nothing to release: no service of this repository has changed";
    Err(Failure::from(Problem::new(ErrorCode::NothingToRelease, detail)))
}
