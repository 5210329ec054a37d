//! Sending the copy of a request once its answer has passed.

use crate::report::End;

use super::ends::Client;
use super::state::Exchange;

impl<C: Client> Exchange<'_, C> {
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
