//! Hosts to whose gateways clients from outside come: where that is, what is to be known of it, and what would leave none.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::clients_at::{ClientsAt, edges, entrances, is_edge, loses_last_edge, outside_at};
use lockstep_domain::host::{Host, HostSettings, Stance, is_on_hosts};
use lockstep_domain::{Environment, EnvironmentName, HostName, World};
use lockstep_hosts::gateway::name_of;

use super::is_local;
use crate::Control;

impl Control {
    /// Lets the gateway in the server listen for clients from outside in the place of that of a host which is this machine.
    pub(crate) fn keep_outside(&self, world: &World, environment: &Environment) {
        let local = edges(world, environment).filter(|(_, host)| is_local(host.settings.address));
        let wanted = local.map(|(_, host)| outside_at(environment, host.settings.address));
        self.gateway.want_outside(&environment.name, wanted);
    }

    /// Says what is to be known of hosts where clients from outside come in.
    pub(crate) fn notes_on_edges(&self, world: &World, environment: &Environment) -> Vec<String> {
        let name = &environment.name;
        let ClientsAt::Hosts(labels) = &environment.settings.clients_at else { return Vec::new() };
        let notes: Vec<Vec<String>> =
            edges(world, environment).map(|it| self.notes_on_edge(environment, it)).collect();
        match notes.is_empty() {
            false => notes.into_iter().flatten().collect(),
            true => vec![format!(
                "no host of `{name}` has {labels}, so clients from outside come in at none: lockstep host set NAME --label {labels}"
            )],
        }
    }

    fn notes_on_edge(&self, environment: &Environment, (name, host): (&HostName, &Host)) -> Vec<String> {
        let (now, own) = (self.ledger.now(), self.gateway.id());
        let its = name_of(name.as_str()).map(|it| format!("{it}/"));
        let is_local = is_local(host.settings.address);
        let is_its =
            |id: &str| if is_local { id == own } else { its.as_ref().is_some_and(|it| id.starts_with(it)) };
        let seen = self.registry.gateways(&environment.name, now);
        // The newest process of it listens.
        let said: Vec<_> =
            seen.into_iter().filter(|seen| is_its(&seen.gateway)).flat_map(|seen| seen.outside).collect();
        let at = outside_at(environment, host.settings.address);
        let missing = [Some(at.http), at.https].into_iter().flatten().filter_map(|address| {
            let of_it = |it: &&lockstep_domain::clients_at::OutsideAt| it.address == address;
            if said.iter().filter(of_it).any(|it| it.problem.is_none()) {
                return None;
            }
            let why = said.iter().filter(of_it).find_map(|it| it.problem.clone());
            let why = why.unwrap_or_else(|| "its gateway has not said yet that it listens".to_owned());
            Some(format!("clients cannot come in at `{name}`, {address}: {why}"))
        });
        let missing: Vec<_> = match self.hosts.is_away(name) {
            true => vec![format!(
                "`{name}` is not reached: nobody knows whether clients can come in at {}",
                at.http
            )],
            false => missing.collect(),
        };
        let drained = (host.stance == Stance::Draining).then(|| words_of_drained(name, environment));
        missing.into_iter().chain(drained).collect()
    }

    /// Says of which environments clients come in at a host.
    pub(super) fn notes_of_entrances(&self, world: &World, name: &HostName, host: &Host) -> Vec<String> {
        let environments = world.environments.values().filter(|it| is_edge(it, host));
        let note = |environment: &std::sync::Arc<Environment>| {
            let all = entrances(world, environment);
            let urls = all.into_iter().find(|it| it.host == *name).map(|it| it.urls.join(" and "))?;
            Some(match host.stance {
                Stance::Draining => words_of_drained(name, environment),
                _ => format!("clients of `{}` come in here, at {urls}", environment.name),
            })
        };
        environments.filter_map(note).collect()
    }

    /// Refuses what leaves an environment without a host where its clients come in. `after` is nothing where the host goes.
    pub(super) fn check_edges(
        &self,
        world: &World,
        name: &HostName,
        after: Option<&HostSettings>,
    ) -> Result<(), Problem> {
        let Some(environment) = loses_last_edge(world, name, after).next() else { return Ok(()) };
        let at =
            world.environment(environment).map(|it| it.settings.clients_at.to_string()).unwrap_or_default();
        let labels = at.trim_start_matches("hosts:");
        let detail = format!(
            "`{name}` is the last host of `{environment}` with {labels}, where clients from outside come in"
        );
        Err(Problem::new(ErrorCode::Refused, detail).with_hint(format!(
            "give another one the label: lockstep host set NAME --label {labels}; or let them come to the gateway in the server alone: lockstep environment set {environment} --gateway server"
        )))
    }
}

fn words_of_drained(name: &HostName, environment: &Environment) -> String {
    format!(
        "`{name}` is drained, and clients of `{}` still come in there: they are served until it leaves the environment, so send them elsewhere before",
        environment.name
    )
}

/// Refuses to let clients come to gateways of hosts where there are none of the kind.
pub(crate) fn check_clients_at(
    world: &World,
    name: &EnvironmentName,
    clients_at: Option<&ClientsAt>,
) -> Result<(), Problem> {
    let Some(ClientsAt::Hosts(labels)) = clients_at else { return Ok(()) };
    let refuse = |detail: String, hint: String| Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
    if !is_on_hosts(world, name) {
        return refuse(
            format!("`{name}` runs on the machine of the server, where its gateway is the one in the server"),
            format!("lockstep host add NAME --ssh TARGET --env {name} --label {labels}"),
        );
    }
    let takes =
        |host: &Host| host.serves(name) && ClientsAt::Hosts(labels.clone()).takes(&host.settings.labels);
    if world.hosts.values().any(|host| takes(host)) {
        return Ok(());
    }
    refuse(
        format!("no host of `{name}` has {labels}"),
        format!("lockstep host list; then lockstep host set NAME --label {labels}"),
    )
}
