//! What gateways would serve once an intent were carried out.

use lockstep_api::types::OperationRequest;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::observed::Observed;
use lockstep_domain::plan::Decision;
use lockstep_domain::planned::{routes_of, world_after};
use lockstep_domain::routes::RouteTable;
use lockstep_domain::{Actor, EnvironmentName, Event, Operation, Timestamp, World};

use super::{begin, check_request, note_secrets};
use crate::Control;
use crate::environments::find;

impl Control {
    /// Returns the table of an environment as it would be once an intent were carried out, or the operation were over that does so already. Nothing
    /// is changed.
    ///
    /// # Errors
    /// All that the intent is refused for.
    pub fn routes_after(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        mut request: OperationRequest,
    ) -> Result<RouteTable, Problem> {
        check_request(&request)?;
        let secrets = std::mem::take(&mut request.secrets);
        note_secrets(&mut request.intent, &secrets, |_| Ok("not kept in a dry run".into()))?;
        let (now, world) = self.ledger.look();
        let (events, operation) = self.planned(actor, &world, name, &request, now)?;
        let after = world_after(&world, &events, &operation, now)
            .map_err(|error| Problem::new(ErrorCode::Refused, error.why))?;
        let environment = find(&after, name)?;
        let instances = self.instances_of(&after, name);
        let carried = self.carried(&after, &instances);
        let observed = Observed { instances, ..Observed::default() };
        let callers = self.known_callers(name, &observed);
        let table = routes_of(&after, environment, &observed, &callers, now);
        let table = table.with_listeners(self.listeners(observed.everything()));
        let table = self.with_visit_keys(self.with_fallbacks(table, &after, environment, &observed, now));
        let table = self.with_between(table, &after, &carried, now);
        let served = self.registry.tables(name).borrow().as_ref().map_or(0, |table| table.revision);
        Ok(RouteTable { revision: served + 1, ..table })
    }

    /// Decides on an intent, and returns what would be recorded before its operation, and that.
    fn planned(
        &self,
        actor: &Actor,
        world: &World,
        name: &EnvironmentName,
        request: &OperationRequest,
        now: Timestamp,
    ) -> Result<(Vec<Event>, Operation), Problem> {
        let searched = self.searched(world, name, request, now)?;
        let request = searched.as_ref().map_or(request, |it| &it.request);
        let decided = self
            .decided(actor, world, name, request, now)
            .map_err(|problem| self.with_needs(problem, world, name, request, (actor, now)))?;
        let gone = || Problem::new(ErrorCode::Refused, "the operation that does so already is over");
        match decided.decision {
            Decision::Begins { ended, plan } => {
                let released = decided.released.into_iter();
                let released =
                    released.map(|version| Event::HoldReleased { environment: name.clone(), version });
                let events = released.chain(ended).collect();
                Ok((events, begin(world, actor, name, request, *plan, now)))
            }
            Decision::GoesThere(id) => {
                let operation = world.find_operation(id).ok_or_else(gone)?;
                Ok((Vec::new(), Operation::clone(operation)))
            }
            Decision::TakesBack(_) => {
                let detail =
                    "an operation would be taken back, and what is served then is known when it has been";
                Err(Problem::new(ErrorCode::Refused, detail).with_hint("lockstep undo --dry-run"))
            }
        }
    }
}
