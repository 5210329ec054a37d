//! What is noted of each instance that is asked, where the request has spans.

use std::sync::Arc;
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::report::Report;
use crate::spans::Hop;
use crate::table::Target;
use crate::trace::new_span;
use crate::way::{Desk, Notes};

use super::ends::Client;
use super::head::Head;
use super::state::Exchange;

impl<C: Client> Exchange<'_, C> {
    /// Returns the head for the instance that is asked.
    pub(super) fn head(&self) -> &Head {
        self.course.head.as_deref().unwrap_or(self.head)
    }

    /// Begins the span of asking an instance.
    pub(super) fn begin_hop(&mut self, target: &Target, endpoint: &Endpoint) {
        let from = (self.desk, self.notes, self.head);
        let head = begin_hop(from, self.report, target, endpoint, self.facts.asked.is_call);
        if head.is_some() {
            self.course.head = head;
        }
    }
}

/// Begins the span of asking an instance, where the request has spans. Each but the first is told its own, so that what it does hangs below it: then
/// the head for it is returned.
pub(super) fn begin_hop(
    (desk, notes, head): (&Desk, &Notes, &Head),
    report: &mut Report,
    target: &Target,
    endpoint: &Endpoint,
    is_call: bool,
) -> Option<Box<Head>> {
    let noted = notes.span.as_ref()?;
    let hops = report.hops.get_or_insert_default();
    let is_first = hops.is_empty();
    let span = if is_first { noted.first } else { new_span(&desk.worker.random) };
    hops.push(Hop {
        span,
        at: Instant::now(),
        instance: Arc::clone(&endpoint.instance),
        arm: Arc::clone(&target.counts),
        by_streams: is_call || target.speaks_h2c(),
        failed: None,
    });
    (!is_first).then(|| Box::new(head.under(noted.span.trace, noted.first, span)))
}
