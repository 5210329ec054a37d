//! What versions speak: what is not HTTP has no requests that could be split from those of HTTP, and no address that begins with `http://`.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{BaselineEntry, EntryChange};
use crate::environment::Environment;
use crate::intent::Strategy;
use crate::name::ServiceName;
use crate::plan::calls::{by_name, references_in};
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::reference::{Called, Reference};
use crate::service::Version;
use crate::version::VersionRef;
use crate::world::World;

/// Finds services that begin or cease to speak TCP in a rollout by steps: half of the clients would meet what they do not speak.
pub(super) fn not_split(world: &World, strategy: &Strategy, changes: &[EntryChange]) -> Vec<Refusal> {
    if matches!(strategy, Strategy::AllAtOnce) {
        return Vec::new();
    }
    let refusal = |change: &EntryChange| {
        let of = |entry: &BaselineEntry| world.version(&entry.arm(&change.service).version_ref());
        let (from, to) = (of(change.from.as_ref()?)?, of(change.to.as_ref()?)?);
        let (was, is) = (from.run.protocol, to.run.protocol);
        let version = change.to.as_ref()?.arm(&change.service).version_ref();
        (was.is_http() != is.is_http()).then_some(Refusal::SpeaksOtherwise { version, was, is })
    };
    changes.iter().filter_map(refusal).collect()
}

/// Finds who refers to the `url` of a service that speaks TCP, when the one or the other changes.
pub(super) fn no_url(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<Refusal> {
    let changed: BTreeSet<&ServiceName> = changes.iter().map(|change| &change.service).collect();
    let mut refusals = Vec::new();
    for (service, entry) in &resolved.target {
        let caller = entry.arm(service).version_ref();
        let Some(version) = world.version(&caller) else { continue };
        let values = resolved.values(environment, service);
        let runs: Vec<_> = version.runs().collect();
        let named = runs.iter().flat_map(|run| references_in(run, &values));
        let urls = named.filter(|it| matches!(it, Reference::Service(_, Called::Url)));
        let urls: BTreeMap<_, _> = urls.filter_map(|reference| by_name(world, reference)).collect();
        let refusal = |(name, reference): (ServiceName, Reference)| {
            let called = speaks_tcp(world, resolved, &name)?;
            let concerns = changed.contains(service) || changed.contains(&called.service);
            concerns.then(|| Refusal::NoUrl { caller: caller.clone(), reference, called })
        };
        refusals.extend(urls.into_iter().filter_map(refusal));
    }
    refusals
}

fn speaks_tcp(world: &World, resolved: &Resolved, name: &ServiceName) -> Option<VersionRef> {
    let reference = resolved.target.get(name)?.arm(name).version_ref();
    let is_http = |version: &Version| version.run.protocol.is_http() || !version.run.kind.is_web();
    (!is_http(world.version(&reference)?)).then_some(reference)
}
