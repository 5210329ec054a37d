//! Keeping a request among the last ones, with where it goes.

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::conditions::RequestView as _;
use lockstep_domain::routes::slot;
use std::sync::Arc;

use super::{Desk, Notes, Routed};
use crate::peer::Origin;
use crate::recent::{Ring, Way};
use crate::request::Request;
use crate::request_view::View;
use crate::table::WorkerTable;

impl Desk {
    /// Keeps a request, its way as far as there is one, and what of it decides by the table of this moment.
    pub(super) fn keep(
        &self,
        ring: &Ring,
        request: &Request<'_>,
        origin: Option<&Origin>,
        notes: &mut Notes,
        routed: Option<&Routed>,
    ) {
        let table = self.environment.table(self.worker.index).load();
        let Some(table) = table.as_ref() else { return };
        let Origin { caller, token } =
            origin.copied().unwrap_or(Origin { caller: Caller::Outside, token: 0 });
        let view = View { request, peer: &self.peer, caller, rules: table.routes.rules() };
        let way = self.way(request, table, &view, notes, routed);
        let host = request.authority.as_str();
        notes.kept = ring.keep(way, |facts| facts.note(&view, (host, &request.path, token), &table.asked));
    }

    fn way(
        &self,
        request: &Request<'_>,
        table: &WorkerTable,
        view: &View<'_>,
        notes: &Notes,
        routed: Option<&Routed>,
    ) -> Way {
        // The address behind a proxy is only looked for where somebody asks for it.
        let behind = || view.client().filter(|_| table.asked.clients);
        let place = |routed: &Routed| slot(&routed.service.routes.salt, &notes.key);
        let went = routed.map(|routed| (Arc::clone(&routed.target().counts), routed.chosen));
        Way {
            environment: self.environment.name().clone(),
            client: Some(view.caller)
                .filter(|it| *it == Caller::Proxy)
                .and_then(|_| behind())
                .unwrap_or(self.peer.address()),
            caller: view.caller,
            https: self.is_https(request, view.caller),
            seat: notes.seat.clone(),
            arm: went.or_else(|| notes.rare.as_ref()?.turned_by.clone()),
            place: routed.and_then(|routed| u16::try_from(place(routed)).ok()).unwrap_or(0),
            priority: notes.priority(),
        }
    }
}
