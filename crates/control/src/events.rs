//! What happened and happens, in words, for whoever looks at an environment or a service.

use std::collections::VecDeque;

use lockstep_api::Problem;
use lockstep_api::types::EventView;
use lockstep_domain::{EnvironmentName, Recorded, ServiceName, Timestamp, World};

use crate::{Control, environments, internal, services};

/// Most events that are shown of what was before.
const MAX_SHOWN: usize = 1_000;
/// How many records are looked at in one go, so that a long journal is not held in memory.
const AT_ONCE: usize = 500;

/// Which events somebody wants.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    environment: Option<EnvironmentName>,
    service: Option<ServiceName>,
}

impl EventFilter {
    /// Looks at events of an environment or a service, by its present name; at all where neither is named.
    fn takes(&self, view: &EventView) -> bool {
        let of_environment = self.environment.is_none() || view.environment == self.environment;
        of_environment && self.service.as_ref().is_none_or(|service| view.services.contains(service))
    }
}

impl Control {
    /// Makes a filter of what was asked for.
    ///
    /// # Errors
    /// When there is no such environment or service.
    pub fn event_filter(
        &self,
        environment: Option<EnvironmentName>,
        service: Option<&ServiceName>,
    ) -> Result<EventFilter, Problem> {
        let world = self.ledger.world();
        if let Some(name) = &environment {
            environments::find(&world, name)?;
        }
        let service = service.map(|name| services::find(&world, name)).transpose()?;
        Ok(EventFilter { environment, service: service.map(|it| it.name.clone()) })
    }

    /// Returns the newest events that somebody wants, from a time on, so many at most; the oldest first. Also says up to which record it was
    /// looked.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn past_events(
        &self,
        filter: &EventFilter,
        since: Timestamp,
        newest: usize,
    ) -> Result<(Vec<EventView>, u64), Problem> {
        let mut found = VecDeque::new();
        let mut seq = self.ledger.last_before(since).map_err(internal)?;
        loop {
            let (views, last) = self.events_after(filter, seq)?;
            if last == seq {
                return Ok((found.into(), seq));
            }
            seq = last;
            found.extend(views.into_iter().filter(|view| view.at >= since));
            found.drain(..found.len().saturating_sub(newest.min(MAX_SHOWN)));
        }
    }

    /// Returns the next events after a record that somebody wants, and up to which record it was looked: the same one where there are no
    /// more.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn events_after(&self, filter: &EventFilter, seq: u64) -> Result<(Vec<EventView>, u64), Problem> {
        let recorded = self.ledger.events_after(seq, AT_ONCE).map_err(internal)?;
        let last = recorded.last().map_or(seq, |last| last.seq);
        let world = self.ledger.world();
        let views = recorded.iter().map(|recorded| view(&world, recorded)).filter(|view| filter.takes(view));
        Ok((views.collect(), last))
    }
}

fn view(world: &World, recorded: &Recorded) -> EventView {
    let event = &recorded.event;
    let operation = event.operation();
    let of_operation = operation.and_then(|id| world.find_operation(id)).map(|it| it.touches());
    let named = event.services().into_iter().chain(of_operation.into_iter().flatten());
    EventView {
        seq: recorded.seq,
        at: recorded.at,
        actor: recorded.actor.clone(),
        event: event.kind(),
        environment: event.environment().cloned(),
        services: named.map(|name| world.current_name(&name).clone()).collect(),
        operation,
        what: event.words(),
    }
}
