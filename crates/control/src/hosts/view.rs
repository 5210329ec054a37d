//! What is shown of a host.

use std::path::Path;
use std::sync::Arc;

use lockstep_api::types::{HostConnection, HostFindings, HostSize, HostView};
use lockstep_domain::HostName;
use lockstep_domain::evacuation::evacuates_after;
use lockstep_domain::host::{Host, HostSettings};
use lockstep_domain::placement::misplaced;
use lockstep_hosts::{Findings, HostFacts, HostLook, HostState, Looker, Way, fingerprint, hint};

use super::link::Link;
use crate::Control;

impl Control {
    pub(super) fn view_of_host(&self, name: &HostName, host: &Host) -> HostView {
        let link = self.hosts.link(name);
        let facts = link.as_ref().and_then(|link| link.facts());
        let unknown = link.as_ref().is_none_or(|link| link.is_unknown());
        let all = |link: &Arc<Link>| [link.instances(true), link.instances(false)].concat();
        let instances = link.as_ref().map(all).unwrap_or_default();
        let world = self.ledger.world();
        let instances = self.as_known_now(world.as_named_now(instances));
        let edge = self.notes_of_entrances(&world, name, host);
        HostView {
            name: name.clone(),
            misplaced: misplaced(&world, &instances),
            evacuates_after_ms: evacuates_after(&world, host).map(|(ms, _)| ms),
            settings: host.settings.clone(),
            fingerprint: fingerprint(&host.settings.host_key),
            stance: host.stance,
            turned: host.turned.clone(),
            unknown,
            added: host.added,
            by: host.by.clone(),
            connection: connection(name, &host.settings, link.as_deref(), &self.hosts.server),
            notes: facts.as_deref().map(notes).into_iter().flatten().chain(edge).collect(),
            size: facts.as_deref().map(size),
            instances: instances.into_iter().filter(|instance| !instance.state.is_over()).collect(),
        }
    }
}

fn connection(name: &HostName, settings: &HostSettings, link: Option<&Link>, server: &str) -> HostConnection {
    match link.map(Link::state) {
        Some(HostState::Here(_)) => HostConnection::Here,
        Some(HostState::Away { since, error }) => HostConnection::Away {
            for_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            why: error.to_string(),
            hint: hint(error.fault, way(settings, Looker::Owner { host: name, server })),
        },
        Some(HostState::Connecting) | None => HostConnection::Connecting,
    }
}

pub(super) fn way<'a>(settings: &'a HostSettings, looker: Looker<'a>) -> Way<'a> {
    Way { target: &settings.ssh, key: settings.key.as_deref().map(Path::new), looker }
}

fn size(facts: &HostFacts) -> HostSize {
    HostSize {
        name: facts.name.clone(),
        kernel: facts.kernel.clone(),
        architecture: facts.architecture.clone(),
        processors: facts.processors,
        memory_bytes: facts.memory_bytes,
        free_bytes: facts.free_bytes,
    }
}

fn notes(facts: &HostFacts) -> Vec<String> {
    let boot = facts.not_after_boot.iter().map(|why| format!("after a boot without a server: {why}"));
    boot.chain(facts.unprotected.iter().map(|what| format!("on this host {what}"))).collect()
}

pub(super) fn findings_of(look: &HostLook, found: Findings) -> HostFindings {
    HostFindings {
        usable: found.is_usable(),
        round_trip_ms: u64::try_from(look.round_trip.as_millis()).unwrap_or(u64::MAX),
        clock_ahead_ms: look.clock_ahead_ms,
        size: size(&look.looked.facts),
        problems: found.problems,
        notes: found.notes,
    }
}

/// Says which instances these are, for people.
pub(super) fn names_of(view: &HostView) -> String {
    let names: Vec<_> = view.instances.iter().map(|instance| instance.id.as_str()).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        1..=5 => names.join(", "),
        many => format!("{} and {} more", names[..5].join(", "), many - 5),
    }
}
