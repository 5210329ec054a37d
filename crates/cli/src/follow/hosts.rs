//! Waiting until nothing is left on a host that is being drained.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockstep_api::client::ClientError;
use lockstep_api::types::{EnvironmentView, HostConnection, HostView, ServiceStatus};
use lockstep_domain::host::Stance;
use lockstep_domain::{EnvironmentName, Instance, InstanceId, InstanceState};

use super::Patience;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::counted::counted;
use crate::output::hosts::running;
use crate::output::times::exact;
use crate::progress::Progress;

/// Names of instances that are shown while they are waited for.
const NAMED: usize = 3;

/// How a host was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// Nothing runs there.
    Empty,
    /// It is away, and all that served there is replaced elsewhere.
    Replaced,
}

/// What is left there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Left {
    /// What runs there, or did when it was last seen.
    there: BTreeSet<InstanceId>,
    /// What of it serves and has no other in its place yet, where the host is away.
    unreplaced: BTreeSet<InstanceId>,
}

/// Waits until nothing is left on a host, or all that served on one that is away is replaced; fails when somebody turns it to something else, and when
/// nothing happens for so long.
pub(crate) fn until_empty(
    ctx: &Context,
    first: HostView,
    give_up_after: Duration,
) -> Result<(HostView, Emptied), Failure> {
    let progress = Progress::begin(&ctx.out);
    let (mut view, mut patience) = (first, Patience::new());
    let (mut told, mut before, mut since, mut waits) = (None, None, Instant::now(), Vec::new());
    loop {
        if view.stance != Stance::Draining {
            return Err(turned(&view));
        }
        if running(&view) == 0 && !view.unknown {
            return Ok((view, Emptied::Empty));
        }
        match environments(ctx, &view) {
            Ok(environments) => {
                let left = left(&view, &environments);
                if is_away(&view) && left.unreplaced.is_empty() {
                    return Ok((view, Emptied::Replaced));
                }
                let words = said(&view, &left);
                if told.as_ref() != Some(&words) {
                    progress.says(&words);
                    told = Some(words);
                }
                if before.as_ref() != Some(&left) {
                    (before, since) = (Some(left), Instant::now());
                }
                waits = environments.iter().flat_map(in_the_way).collect();
                patience.renew();
            }
            Err(error) => patience.bear(error).map_err(|error| broken_off(error, &view))?,
        }
        if since.elapsed() >= give_up_after {
            return Err(stuck(&view, give_up_after, waits));
        }
        match ctx.client.host(&view.name) {
            Ok(next) => view = next,
            Err(error) => patience.bear(error).map_err(|error| broken_off(error, &view))?,
        }
    }
}

/// Waits until a host is here; the last view of it where that takes longer than `limit`.
pub(crate) fn until_here(ctx: &Context, first: HostView, limit: Duration) -> Result<HostView, Failure> {
    let (mut view, begun, mut patience) = (first, Instant::now(), Patience::new());
    while view.connection != HostConnection::Here && begun.elapsed() < limit {
        match ctx.client.host(&view.name) {
            Ok(next) => {
                view = next;
                patience.renew();
            }
            Err(error) => patience.bear(error)?,
        }
    }
    Ok(view)
}

fn is_away(view: &HostView) -> bool {
    matches!(view.connection, HostConnection::Away { .. })
}

fn lives<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> impl Iterator<Item = &'a Instance> {
    instances.into_iter().filter(|instance| !instance.state.is_over())
}

/// Asks for the environments that have something there.
fn environments(ctx: &Context, view: &HostView) -> Result<Vec<EnvironmentView>, ClientError> {
    let names: BTreeSet<&EnvironmentName> = lives(&view.instances).map(|it| &it.environment).collect();
    names.into_iter().map(|name| ctx.client.environment(name)).collect()
}

fn left(view: &HostView, environments: &[EnvironmentView]) -> Left {
    let ids = |instances: Vec<&Instance>| instances.into_iter().map(|it| it.id.clone()).collect();
    let unreplaced = lives(&view.instances).filter(|instance| is_waited_for(environments, &instance.id));
    Left { there: ids(lives(&view.instances).collect()), unreplaced: ids(unreplaced.collect()) }
}

/// Tells whether an instance serves, and was not told to end, as it is as soon as another one is healthy in its place. What is kept warm gets no requests, and
/// a run of a job has no place that another one could take.
fn is_waited_for(environments: &[EnvironmentView], id: &InstanceId) -> bool {
    let of_service = |service: &ServiceStatus| {
        let found = service.instances.iter().find(|it| it.id == *id);
        let serves = |it: &Instance| it.job.is_none() && !service.warm.iter().any(|warm| warm.arm == it.arm);
        found.is_some_and(|it| serves(it) && !it.state.is_over() && it.state != InstanceState::Stopping)
    };
    environments.iter().flat_map(|environment| &environment.services).any(of_service)
}

/// What keeps others from taking the places: what verdicts miss, and why the last ones could not be started.
fn in_the_way(environment: &EnvironmentView) -> BTreeSet<String> {
    let instances = environment.services.iter().flat_map(|service| &service.instances);
    let nowhere = instances.filter(|it| it.host.is_none() && it.address.is_none());
    let why = nowhere.filter_map(|it| it.state.what_happened()).map(str::to_owned);
    environment.waits_for.iter().cloned().chain(why).collect()
}

fn said(view: &HostView, left: &Left) -> String {
    let waited_for = if is_away(view) { &left.unreplaced } else { &left.there };
    let named: Vec<_> = waited_for.iter().take(NAMED).map(ToString::to_string).collect();
    let more = waited_for.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let count = counted(waited_for.len(), "instance");
    let what = if is_away(view) { "not replaced yet" } else { "left" };
    let is = if waited_for.len() == 1 { "is" } else { "are" };
    let is_there = if is_away(view) { "is away" } else { "is being drained" };
    format!("{} {is_there}: {count} {is} {what}: {}{more}", view.name, named.join(", "))
}

fn turned(view: &HostView) -> Failure {
    let by = view.turned.as_ref().map(|it| format!(" by {}: {}", it.by, it.reason)).unwrap_or_default();
    let by = by.trim_end_matches([' ', ':']);
    let left = counted(running(view), "instance");
    let detail =
        format!("{} was turned to {}{by}; {left} there are not moved any more", view.name, view.stance);
    Failure::ended_badly(detail, None).hint(format!("lockstep host show {}", view.name))
}

fn stuck(view: &HostView, after: Duration, waits: Vec<String>) -> Failure {
    let (name, count) = (&view.name, running(view));
    let (left, is) = (counted(count, "instance"), if count == 1 { "is" } else { "are" });
    let after = exact(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let detail = format!("nothing has happened on {name} for {after}, and {left} {is} left there");
    let failure = Failure::ended_badly(detail, None);
    let failure = waits.into_iter().fold(failure, Failure::because);
    failure.hint(format!(
        "{name} goes on being drained; is there another host that can take them? lockstep hosts; stop it: lockstep host open {name}"
    ))
}

fn broken_off(error: ClientError, view: &HostView) -> Failure {
    let name = &view.name;
    let goes_on = format!("{name} goes on being drained; look: lockstep host show {name}");
    let failure = Failure::from(error);
    if failure.exit == Exit::NotFound { failure } else { failure.or_hint(goes_on) }
}
