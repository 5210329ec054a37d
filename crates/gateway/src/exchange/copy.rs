//! What is done to a request on purpose: a pause before it, and a copy once its answer has passed.

use std::time::{Duration, Instant};

use crate::report::End;

use super::ends::Client;
use super::state::Exchange;

impl<C: Client> Exchange<'_, C> {
    /// Waits as long as the fault says that the request met on purpose, but no longer than somebody gave it.
    pub(super) async fn pause(&mut self, delay: Duration) {
        self.report.delayed = true;
        let left = self.facts.until.map_or(delay, |until| until.saturating_duration_since(Instant::now()));
        tokio::time::sleep(delay.min(left)).await;
    }

    /// Sends the copy, where there is one to be sent. An answer that did not come at the first try says nothing of how long it takes.
    pub(super) fn send_copy(&mut self) {
        let Some(mut copy) = self.facts.copy.take() else { return };
        if self.report.end != End::Whole || self.report.tries != 1 {
            return;
        }
        let rest = Some(()).filter(|()| self.facts.body.is_done()).and_then(|()| self.client.kept());
        if copy.end_body(rest) {
            self.report.mirrored = copy.send(self.desk);
        } else {
            copy.give_up();
        }
    }
}
