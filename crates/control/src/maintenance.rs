//! Maintenance: answers that clients get instead of a service or a version, as settings of the environment.

use lockstep_api::types::{AddMaintenance, MaintenanceList, RemoveMaintenance};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::maintenance::MaintenancePage;
use lockstep_domain::routes::FORMAT_WITH_MAINTENANCE;
use lockstep_domain::{Actor, Environment, EnvironmentName, Event, World};

use crate::environments::find;
use crate::{Control, not_found};

impl Control {
    /// Lists what is maintained in an environment.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn maintenance(&self, name: &EnvironmentName) -> Result<MaintenanceList, Problem> {
        let (now, world) = self.ledger.look();
        let pages = find(&world, name)?.settings.gateway_rules.maintenance.clone();
        Ok(MaintenanceList { pages, is_applied: self.registry.is_applied(name, now) })
    }

    /// Gives clients an answer instead of a service or a version, until that is ended.
    ///
    /// # Errors
    /// When the service or version is not known, the answer cannot be given, or an older gateway reports.
    pub fn add_maintenance(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &AddMaintenance,
    ) -> Result<MaintenanceList, Problem> {
        self.check_takes_format(name, FORMAT_WITH_MAINTENANCE, |gateway| {
            format!("gateway `{gateway}` of `{name}` is of a release that knows no maintenance")
        })?;
        self.change_maintenance(actor, name, |world, environment| with_page(world, environment, request))
    }

    /// Ends maintenance: all that is named, or none.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn remove_maintenance(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        request: &RemoveMaintenance,
    ) -> Result<MaintenanceList, Problem> {
        self.change_maintenance(actor, name, |_, environment| without_pages(environment, &request.pages))
    }

    fn change_maintenance(
        &self,
        actor: &Actor,
        name: &EnvironmentName,
        changed: impl Fn(&World, &Environment) -> Result<EnvironmentSettings, Problem>,
    ) -> Result<MaintenanceList, Problem> {
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let settings = changed(world, find(world, name)?)?;
                Ok((vec![Event::EnvironmentChanged { environment: name.clone(), settings }], ()))
            })
        })?;
        self.wake(name);
        self.maintenance(name)
    }
}

fn with_page(
    world: &World,
    environment: &Environment,
    request: &AddMaintenance,
) -> Result<EnvironmentSettings, Problem> {
    let mut settings = environment.settings.clone();
    let service = request.service.as_ref().map(|service| world.current_name(service).clone());
    if let Some(service) = &service {
        let is_known = match &request.version {
            Some(version) => world.find_version(service, version).is_some(),
            None => environment.entries().contains_key(service),
        };
        if !is_known {
            let what = match &request.version {
                Some(version) => format!("there is no version {version} of `{service}`"),
                None => format!("`{service}` does not run in `{}`", environment.name),
            };
            return Err(not_found(what, &format!("lockstep status {}", environment.name)));
        }
    }
    let pages = &mut settings.gateway_rules.maintenance;
    let number = pages.iter().map(|page| page.number).max().unwrap_or(0).saturating_add(1);
    let AddMaintenance { version, host, path, respond, retry_after_s, .. } = request.clone();
    pages.push(MaintenancePage { number, service, version, host, path, respond, retry_after_s });
    let checked = settings.gateway_rules.check();
    checked.map_err(|error| Problem::new(ErrorCode::BadRequest, error.to_string()))?;
    Ok(settings)
}

fn without_pages(environment: &Environment, numbers: &[u32]) -> Result<EnvironmentSettings, Problem> {
    let mut settings = environment.settings.clone();
    let pages = &mut settings.gateway_rules.maintenance;
    let hint = format!("lockstep maintenance list --env {}", environment.name);
    if numbers.is_empty() {
        return Err(Problem::new(ErrorCode::BadRequest, "no page is named").with_hint(hint));
    }
    if let Some(missing) = numbers.iter().find(|number| !pages.iter().any(|page| page.number == **number)) {
        let detail = format!("`{}` has no page {missing} of maintenance; none was ended", environment.name);
        return Err(not_found(detail, &hint));
    }
    pages.retain(|page| !numbers.contains(&page.number));
    Ok(settings)
}
