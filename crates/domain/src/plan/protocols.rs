//! What versions speak: what is not HTTP has no requests that could be split from those of HTTP, and no address that begins with `http://`.

use crate::baseline::{BaselineEntry, EntryChange};
use crate::environment::Environment;
use crate::intent::{Configuration, Strategy};
use crate::plan::calls::{by_name, in_vain, references_in};
use crate::plan::reach::Reach;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::reference::{Called, Reference};
use crate::service::Version;
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
    (world, environment, resolved): (&World, &Environment, &Resolved),
    (changes, reach): (&[EntryChange], &Reach<'_>),
) -> Vec<Refusal> {
    let urls = |version: &Version, values: &Configuration| {
        let runs: Vec<_> = version.runs().collect();
        let named = runs.iter().flat_map(|run| references_in(run, values));
        let urls = named.filter(|it| matches!(it, Reference::Service(_, Called::Url)));
        urls.filter_map(|reference| by_name(world, reference)).collect()
    };
    let speaks_tcp = |version: &Version| !version.run.protocol.is_http() && version.run.kind.is_web();
    let refusal = |caller, reference, called| Refusal::NoUrl { caller, reference, called };
    in_vain((world, environment, resolved), (changes, reach), urls, speaks_tcp, refusal)
}
