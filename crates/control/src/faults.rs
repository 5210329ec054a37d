//! Faults that are injected on purpose. They are recorded by an event of their own, and are otherwise settings of their environment with an end: gateways look at the end themselves, so
//! nothing has to happen when it comes.

use lockstep_api::types::{AddFault, FaultList, RemoveFaults};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::injection::{Fault, MAX_MS};
use lockstep_domain::routes::FORMAT_WITH_FAULTS;
use lockstep_domain::version_rules::Takes;
use lockstep_domain::{Actor, Environment, EnvironmentName, Event, Timestamp, World};

use crate::environments::find;
use crate::version_rules::check_header;
use crate::{Control, not_found};

impl Control {
    /// Lists the faults of an environment that are in force.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn faults(&self, name: &EnvironmentName) -> Result<FaultList, Problem> {
        let (now, world) = self.ledger.look();
        let rules = find(&world, name)?.settings.gateway_rules.at(now);
        let is_applied = self.registry.is_applied(name, now);
        Ok(FaultList { fault_injection: rules.fault_injection, faults: rules.faults, is_applied })
    }

    /// Injects a fault for some time.
    ///
    /// # Errors
    /// When the environment does not allow it, the service does not run there, or the fault cannot be.
    pub fn add_fault(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &AddFault,
    ) -> Result<FaultList, Problem> {
        self.check_knows_faults(name)?;
        self.change_faults(actor, name, |world, environment, now| {
            with_fault(world, environment, request, now)
        })
    }

    /// Ends faults: all that are named, or none.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn remove_faults(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &RemoveFaults,
    ) -> Result<FaultList, Problem> {
        self.change_faults(actor, name, |_, environment, now| {
            without_faults(environment, &request.faults, now)
        })
    }

    fn change_faults(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        changed: impl Fn(&World, &Environment, Timestamp) -> Result<Vec<Fault>, Problem>,
    ) -> Result<FaultList, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, now| {
                let faults = changed(world, find(world, name)?, now)?;
                Ok((vec![Event::FaultsChanged { environment: name.clone(), faults }], ()))
            })
        })?;
        self.wake(name);
        self.faults(name)
    }

    /// Checks that every gateway would inject what is asked for.
    ///
    /// # Errors
    /// When an older one reports.
    pub(crate) fn check_knows_faults(&self, name: &EnvironmentName) -> Result<(), Problem> {
        self.check_takes_format(name, FORMAT_WITH_FAULTS, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that injects no faults")
        })
    }
}

fn with_fault(
    world: &World,
    environment: &Environment,
    request: &AddFault,
    now: Timestamp,
) -> Result<Vec<Fault>, Problem> {
    let name = &environment.name;
    let mut rules = environment.settings.gateway_rules.at(now);
    if rules.fault_injection.is_refused() {
        return Err(Problem::new(
            ErrorCode::Refused,
            format!("`{name}` does not allow that faults are injected"),
        )
        .with_hint(format!("lockstep environment set {name} --fault-injection allow")));
    }
    let service = world.current_name(&request.service).clone();
    if !environment.entries().contains_key(&service) {
        let detail = format!("`{service}` does not run in `{name}`");
        return Err(not_found(detail, &format!("lockstep status {name}")));
    }
    if !(1..=MAX_MS).contains(&request.for_ms) {
        return Err(Problem::new(ErrorCode::BadRequest, "a fault is in force for up to a day"));
    }
    let header = request.header.clone().map(|pattern| {
        let takes = Takes::Header(pattern).checked().map_err(|error| error.to_string());
        let takes = takes.map_err(|why| Problem::new(ErrorCode::BadRequest, why))?;
        check_header(&takes)?;
        Ok::<_, Problem>(takes)
    });
    let header = match header.transpose()? {
        Some(Takes::Header(pattern)) => Some(pattern),
        _ => None,
    };
    let known = environment.settings.gateway_rules.faults.iter().map(|fault| fault.number);
    let number = known.max().unwrap_or(0).saturating_add(1);
    let until = now.plus_ms(request.for_ms);
    let fault = Fault { number, service, does: request.does, share: request.share, header, until };
    rules.faults.push(fault);
    rules.check().map_err(|error| Problem::new(ErrorCode::BadRequest, error.to_string()))?;
    Ok(rules.faults)
}

fn without_faults(environment: &Environment, numbers: &[u32], now: Timestamp) -> Result<Vec<Fault>, Problem> {
    let mut faults = environment.settings.gateway_rules.at(now).faults;
    let is_missing = |number: &&u32| !faults.iter().any(|fault| fault.number == **number);
    let hint = format!("lockstep fault list --env {}", environment.name);
    if numbers.is_empty() {
        return Err(Problem::new(ErrorCode::BadRequest, "no fault is named").with_hint(hint));
    }
    if let Some(missing) = numbers.iter().find(is_missing) {
        let detail =
            format!("`{}` has no fault {missing}, or it is over; none was removed", environment.name);
        return Err(not_found(detail, &hint));
    }
    faults.retain(|fault| !numbers.contains(&fault.number));
    Ok(faults)
}
