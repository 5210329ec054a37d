//! What is noted of each instance that is asked, where the request has spans.

use std::sync::Arc;
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::spans::Hop;
use crate::table::Target;
use crate::trace::new_span;

use super::ends::Client;
use super::head::Head;
use super::state::Exchange;

impl<C: Client> Exchange<'_, C> {
    /// Returns the head for the instance that is asked.
    pub(super) fn head(&self) -> &Head {
        self.course.head.as_deref().unwrap_or(self.head)
    }

    /// Begins the span of asking an instance. Each but the first is told its own, so that what it does hangs below it.
    pub(super) fn begin_hop(&mut self, target: &Target, endpoint: &Endpoint, at: Instant) {
        let Some(noted) = &self.notes.span else { return };
        let hops = self.report.hops.get_or_insert_default();
        let mut span = noted.first;
        if !hops.is_empty() {
            span = new_span(&self.desk.worker.random);
            self.course.head = Some(Box::new(self.head.under(noted.span.trace, noted.first, span)));
        }
        hops.push(Hop {
            span,
            at,
            instance: Arc::clone(&endpoint.instance),
            arm: Arc::clone(&target.counts),
            by_streams: self.facts.asked.is_call || target.speaks_h2c(),
            failed: None,
        });
    }
}
