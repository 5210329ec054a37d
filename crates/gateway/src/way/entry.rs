//! What plain HTTP gets where clients are to come by https.

use lockstep_domain::gateway_rules::Caller;

use super::Desk;
use crate::peer::Origin;
use crate::problem::{Problem, Status};
use crate::request::Request;

impl Desk {
    /// Tells whether a request came by https: here, or to a proxy that is believed.
    pub(super) fn is_https(&self, request: &Request<'_>, caller: Caller) -> bool {
        self.peer.secure.is_some() || request.came_by_https(caller)
    }

    /// Sends a client from outside to https where the environment says so. Instances are served, and so is whoever a proxy speaks
    /// for that was asked by https.
    pub(super) fn send_to_https(&self, request: &Request<'_>, origin: Origin) -> Result<(), Problem> {
        let table = self.environment.table(self.worker.index).load();
        let Some(entry) = table.as_ref().and_then(|table| table.routes.entry.as_ref()) else { return Ok(()) };
        if origin.caller == Caller::Instance || self.is_https(request, origin.caller) {
            return Ok(());
        }
        let host = request.authority.host().unwrap_or_default();
        let Some(to) = entry.redirect(host, &request.path, request.query) else { return Ok(()) };
        if host.is_empty() {
            let detail = "clients come by https here, and the request names no host to send it to";
            return Err(Problem::new(Status::BadRequest, "https_only", detail));
        }
        let detail = format!("clients come by https here: {to}");
        Err(Problem::new(Status::PermanentRedirect, "https_only", detail).location(to))
    }
}
