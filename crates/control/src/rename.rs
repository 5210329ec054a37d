//! Renaming a service: what goes along is said first, and done in one record.

use lockstep_api::types::{Mode, RenameRequest, RenamedIn, Renaming};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::rename::{RenameError, check, consumers, taken_along};
use lockstep_domain::routes::FORMAT_WITH_ALIASES;
use lockstep_domain::{Actor, EnvironmentName, Event, ServiceName, World};

use crate::services::{find, shown};
use crate::{Control, operations};

impl Control {
    /// Gives a service another name, or says what that would take along. What runs goes on, and former names go on meaning it.
    ///
    /// # Errors
    /// When it does not exist, the name stands for something else, or something is under way with it.
    pub fn rename_service(
        &self,
        actor: &Actor,
        name: &ServiceName,
        request: &RenameRequest,
    ) -> Result<Renaming, Problem> {
        operations::check_reason(&request.reason)?;
        tokio::task::block_in_place(|| match request.mode {
            Mode::DryRun => self.renaming(&self.ledger.world(), name, &request.to),
            Mode::Execute => self.ledger.commit(actor, |world, _| {
                let renaming = self.renaming(world, name, &request.to)?;
                let (service, to, reason) =
                    (renaming.from.clone(), request.to.clone(), request.reason.clone());
                Ok((vec![Event::ServiceRenamed { service, to, reason }], renaming))
            }),
        })
    }

    fn renaming(&self, world: &World, name: &ServiceName, to: &ServiceName) -> Result<Renaming, Problem> {
        let service = find(world, name)?;
        let from = &service.name;
        check(world, from, to).map_err(|error| refused(&error))?;
        if let Some(build) = self.builds.under_way(from) {
            let detail = format!("build {build} of `{from}` is under way, with a manifest of that name");
            let hint = format!(
                "wait for it with `lockstep build show {build}`, or end it: lockstep build cancel {build}"
            );
            return Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint));
        }
        let along = taken_along(world, from);
        along.keys().try_for_each(|environment| self.check_gateways(environment))?;
        let along = along.into_iter().map(|(environment, along)| RenamedIn {
            instances: self.running(world, &environment, from),
            environment,
            runs: along.runs,
            baselines: along.baselines,
            configurations: along.configurations,
            holds: along.holds,
        });
        Ok(Renaming {
            from: from.clone(),
            to: to.clone(),
            former_names: world.former_names(from).filter(|former| *former != to).cloned().collect(),
            versions: service.versions.len(),
            environments: along.collect(),
            consumers: consumers(world, from),
            source: shown(&service.source),
        })
    }

    /// A gateway that does not take tables with former names would go on with its last one, whatever ends after that.
    fn check_gateways(&self, environment: &EnvironmentName) -> Result<(), Problem> {
        self.check_takes_format(environment, FORMAT_WITH_ALIASES, |gateway| {
            format!(
                "gateway `{gateway}` of `{environment}` is of a release that knows no former names: it would refuse every table from then on"
            )
        })
    }

    fn running(&self, world: &World, environment: &EnvironmentName, service: &ServiceName) -> usize {
        let all = self.instances_of(world, environment);
        all.iter().filter(|it| it.arm.service == *service && !it.state.is_over()).count()
    }
}

fn refused(error: &RenameError) -> Problem {
    let code = match error {
        RenameError::NoService(_) => ErrorCode::NotFound,
        RenameError::UnderWay { .. } => ErrorCode::Conflict,
        _ => ErrorCode::Refused,
    };
    Problem::new(code, error.to_string()).with_hint(error.hint())
}
