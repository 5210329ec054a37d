//! What plain HTTP gets where clients are to come by https, and authorities that look whether a host is served here.

use lockstep_domain::entry::Entry;
use lockstep_domain::gateway_rules::Caller;

use super::Desk;
use crate::peer::Origin;
use crate::problem::{Own, Problem, Status};
use crate::request::Request;

/// What an answer to an authority is, as RFC 8555 (8.3) has it.
const CHALLENGE_TYPE: &str = "application/octet-stream";

/// The code of an answer that sends a client to the path where its encoded slashes are slashes.
pub(crate) const ESCAPED_SLASH: &str = "escaped_slash";

impl Desk {
    /// Tells whether a request came by https: here, or to a proxy that is believed.
    pub(super) fn is_https(&self, request: &Request<'_>, caller: Caller) -> bool {
        self.peer.secure.is_some() || request.came_by_https(caller)
    }

    /// Answers an authority that looks whether a host is served here (HTTP-01, RFC 8555), on whatever wire it comes: one that was sent
    /// to https by something before us may follow. Whoever asks for anything else goes the usual way.
    fn answer_authority(entry: &Entry, request: &Request<'_>) -> Result<(), Problem> {
        let host = request.authority.host().unwrap_or_default();
        let Some(proof) = entry.challenge(host, &request.path) else { return Ok(()) };
        let (body, content_type) = (proof.to_owned(), CHALLENGE_TYPE.to_owned());
        Err(Own { body, content_type, ..Own::empty(200, "acme_challenge") }.into_problem())
    }

    /// Sends a client to the path where its encoded slashes are slashes, where the environment says so. Instances and calls of gRPC follow nothing: for them they
    /// are decoded.
    pub(super) fn send_to_its_form(request: &Request<'_>, caller: Caller) -> Result<(), Problem> {
        if !request.path.is_moved() || caller == Caller::Instance || request.call.is_some() {
            return Ok(());
        }
        let location = ("location".to_owned(), format!("{}{}", request.path.sent(), request.query));
        // Not for good: a browser would keep to it when the environment says otherwise again.
        Err(Own::empty(307, ESCAPED_SLASH).into_problem().with_fields([location]))
    }

    /// Answers an authority, and sends a client from outside to https where the environment says so. Instances are served, and so is whoever a proxy speaks
    /// for that was asked by https.
    pub(super) fn let_in(&self, request: &Request<'_>, origin: Origin) -> Result<(), Problem> {
        let table = self.environment.table(self.worker.index).load();
        let Some(entry) = table.as_ref().and_then(|table| table.routes.entry.as_ref()) else { return Ok(()) };
        if !entry.challenges.is_empty() {
            Self::answer_authority(entry, request)?;
        }
        if origin.caller == Caller::Instance || self.is_https(request, origin.caller) {
            return Ok(());
        }
        let host = request.authority.host().unwrap_or_default();
        let Some(to) = entry.redirect(host, request.path.sent(), request.query, self.worker.https_port)
        else {
            return Ok(());
        };
        if host.is_empty() {
            let detail = "clients come by https here, and the request names no host to send it to";
            return Err(Problem::new(Status::BadRequest, "https_only", detail));
        }
        let detail = format!("clients come by https here: {to}");
        Err(Problem::new(Status::PermanentRedirect, "https_only", detail).location(to))
    }
}
