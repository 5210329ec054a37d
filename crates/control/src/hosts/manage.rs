//! Adding, changing, turning and removing hosts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_api::types::{AddHost, ChangeHost, HostFindings, HostView, RemoveHost, TurnHost};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::between::FORMAT_WITH_BETWEEN;
use lockstep_domain::host::{HostSettings, Labels, MAX_HOSTS, MAX_PATH_LENGTH, is_on_hosts};
use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::ssh_target::SshTarget;
use lockstep_domain::{Actor, EnvironmentName, Event, HostName, InstanceId, World};
use lockstep_hosts::gateway::name_of;
use lockstep_hosts::{ConnectError, HostLook, Looker, findings, fingerprint, hint, look, pinned};
use tokio::time::Instant;

use super::link::ssh;
use super::view::{findings_of, names_of, way};
use crate::clock::wall;
use crate::environments::find;
use crate::operations::check_reason;
use crate::random::random_hex;
use crate::{Control, internal, not_found};

/// How long it is waited until a host that was added is connected to: it was reached a moment ago.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// A way to a host that was looked at.
struct Seen {
    look: HostLook,
    host_key: String,
}

impl Control {
    /// Lists the hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostView> {
        let world = self.ledger.world();
        world.hosts.iter().map(|(name, host)| self.view_of_host(name, host)).collect()
    }

    /// Shows a host.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn host(&self, name: &HostName) -> Result<HostView, Problem> {
        let world = self.ledger.world();
        Ok(self.view_of_host(name, known(&world, name)?))
    }

    /// Looks at a host, and adds it when instances could run there.
    ///
    /// # Errors
    /// When it cannot be reached or used, with everything that is in the way; or there is one of that name.
    pub async fn add_host(&self, actor: &Actor, request: &AddHost) -> Result<HostView, Problem> {
        let (name, looker) = (&request.name, Looker::Adding { host: &request.name });
        let environments = self.check_addition(&self.ledger.world(), request)?;
        let way = HostSettings { environments, ..settings_of(request)? };
        let seen = self.look_first(&way, looker, request.fingerprint.as_deref()).await?;
        self.refuse_unusable(name, &seen.look, looker)?;
        let address = request.address.or(seen.look.looked.facts.address).ok_or_else(|| {
            let detail = format!("`{name}` does not say at which address the connection came in");
            refused(detail).with_hint("name the address at which instances are to listen: --address IP")
        })?;
        self.check_place(name, &seen, address)?;
        if seen.look.looked.owner.as_ref() == Some(&self.hosts.server) {
            // What is left of a host of ours that was removed.
            self.hosts.claim_of(name).take_over().map_err(internal)?;
        }
        let settings = Box::new(HostSettings { address, host_key: seen.host_key, ..way });
        self.check_carried(&settings)?;
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                self.check_addition(world, request)?;
                Ok((vec![Event::HostAdded { host: name.clone(), settings: settings.clone() }], ()))
            })
        })?;
        self.connect_to(name).await;
        self.host(name)
    }

    /// Changes what is decided about a host.
    ///
    /// # Errors
    /// When there is none of that name, or the change does not hold.
    pub async fn change_host(
        &self,
        actor: &Actor,
        name: &HostName,
        request: &ChangeHost,
    ) -> Result<HostView, Problem> {
        check_reason(&request.reason)?;
        let world = self.ledger.world();
        let before = known(&world, name)?.settings.clone();
        let mut settings = changed(&before, request)?;
        self.check_moved(name, &before, &settings)?;
        self.check_carried(&settings)?;
        if way_differs(&before, &settings) || request.fingerprint.is_some() {
            let looker = Looker::Owner { host: name, server: &self.hosts.server };
            let seen = self.look_first(&settings, looker, request.fingerprint.as_deref()).await?;
            if request.fingerprint.is_none() && seen.host_key != before.host_key {
                let shown = fingerprint(&seen.host_key).unwrap_or_default();
                return Err(refused(format!(
                    "the host there shows another key than the one that is pinned: {shown}"
                ))
                .with_hint(format!(
                    "if it is the right one: lockstep host set {name} --fingerprint SHA256:..."
                )));
            }
            settings.host_key = seen.host_key;
        }
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                if known(world, name)?.settings != before {
                    return Err(Problem::new(ErrorCode::Conflict, format!("`{name}` was changed meanwhile"))
                        .with_hint(format!("lockstep host show {name}, then try again")));
                }
                self.check_environments(world, name, &before.environments, &settings.environments)?;
                self.check_edges(world, name, Some(&settings))?;
                let (host, settings, reason) =
                    (name.clone(), Box::new(settings.clone()), request.reason.clone());
                Ok((vec![Event::HostChanged { host, settings, reason }], ()))
            })
        })?;
        self.connect_to(name).await;
        self.host(name)
    }

    /// Opens, cordons or drains a host.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn turn_host(&self, actor: &Actor, name: &HostName, request: &TurnHost) -> Result<HostView, Problem> {
        check_reason(&request.reason)?;
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                known(world, name)?;
                let (host, stance, reason) = (name.clone(), request.stance, request.reason.clone());
                Ok((vec![Event::HostTurned { host, stance, reason }], ()))
            })
        })?;
        self.host(name)
    }

    /// Looks at a host now.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be reached.
    pub async fn check_host(&self, name: &HostName) -> Result<HostFindings, Problem> {
        let settings = known(&self.ledger.world(), name)?.settings.clone();
        let looker = Looker::Owner { host: name, server: &self.hosts.server };
        let seen = self.look_with(&settings, Some(&settings.host_key), looker).await?;
        let found = findings(&seen.look, self.ports_of_instances(), looker);
        Ok(findings_of(&seen.look, found))
    }

    /// Takes a host from the server that has it: a person said so.
    ///
    /// # Errors
    /// When there is none of that name, or that cannot be written down.
    pub fn take_host_over(&self, actor: &Actor, name: &HostName) -> Result<HostView, Problem> {
        let view = self.host(name)?;
        if self.hosts.is_reached(name) {
            return Ok(view);
        }
        let link =
            self.hosts.link(name).ok_or_else(|| not_found(format!("there is no host `{name}`"), LIST))?;
        link.driver().take_over().map_err(internal)?;
        tracing::warn!(host = %name, %actor, "the host is taken from whoever has it");
        Ok(view)
    }

    /// Removes a host on which nothing runs.
    ///
    /// # Errors
    /// When there is none of that name, or something runs there, with what it is.
    pub fn remove_host(
        &self,
        actor: &Actor,
        name: &HostName,
        request: &RemoveHost,
    ) -> Result<Vec<HostView>, Problem> {
        check_reason(&request.reason)?;
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let left = self.check_removal(world, name, request)?;
                Ok((
                    vec![Event::HostRemoved { host: name.clone(), left, reason: request.reason.clone() }],
                    (),
                ))
            })
        })?;
        let world = self.ledger.world();
        if let Some(link) = self.hosts.link(name) {
            self.spawn(link.end_gateways());
        }
        self.hosts.settle(&world);
        if let Some(gateway) = name_of(name.as_str()) {
            world.environments.keys().for_each(|it| {
                self.registry.forget_gateway(it, &gateway);
                self.between.forget_gateway(it, &gateway);
            });
        }
        Ok(self.hosts())
    }

    /// Another machine takes the place of one on which nothing runs.
    fn check_moved(
        &self,
        name: &HostName,
        before: &HostSettings,
        after: &HostSettings,
    ) -> Result<(), Problem> {
        let view = self.host(name)?;
        if (&before.ssh.host, before.ssh.port) == (&after.ssh.host, after.ssh.port)
            || view.instances.is_empty()
        {
            return Ok(());
        }
        Err(refused(format!("on the machine that `{name}` is now there are {}", names_of(&view)))
            .with_hint(format!("lockstep host drain {name}; or add the other machine as a host of its own")))
    }

    /// Refuses an address that leads elsewhere, and a machine whose folder is a host already.
    fn check_place(&self, name: &HostName, seen: &Seen, address: IpAddr) -> Result<(), Problem> {
        let facts = &seen.look.looked.facts;
        if address.is_loopback() && facts.address.is_none_or(|came_in| !came_in.is_loopback()) {
            return Err(refused(format!(
                "{address} is reached from `{name}` alone, and gateways on other machines ask there"
            ))
            .with_hint("name an address of the host that the others reach, or leave --address out"));
        }
        match self.hosts.same_place(facts) {
            None => Ok(()),
            Some(other) => Err(Problem::new(
                ErrorCode::Conflict,
                format!("folder {} of this machine is that of host `{other}` already", facts.folder),
            )
            .with_hint(format!("lockstep host show {other}"))),
        }
    }

    /// Refuses a network that is not trusted where a gateway would ask instances there although nobody listens for it.
    fn check_carried(&self, settings: &HostSettings) -> Result<(), Problem> {
        if settings.network.listen(settings.address) == settings.address {
            return Ok(());
        }
        settings.environments.iter().try_for_each(|environment| {
            self.check_takes_format(environment, FORMAT_WITH_BETWEEN, |gateway| {
                format!(
                    "gateway `{gateway}` of `{environment}` is of a release that speaks to no gateway of a host: it would reach nothing there"
                )
            })
        })
    }

    fn check_removal(
        &self,
        world: &World,
        name: &HostName,
        request: &RemoveHost,
    ) -> Result<Vec<InstanceId>, Problem> {
        let host = known(world, name)?;
        self.check_environments(world, name, &host.settings.environments, &BTreeSet::new())?;
        if !request.lost {
            self.check_edges(world, name, None)?;
        }
        let view = self.view_of_host(name, host);
        let is_here = self.hosts.is_reached(name);
        if (view.instances.is_empty() && !view.unknown) || (request.lost && !is_here) {
            return Ok(view.instances.into_iter().map(|instance| instance.id).collect());
        }
        let detail = match view.unknown {
            true => format!("nobody knows what runs on `{name}` before it is reached"),
            false => format!("on `{name}` there are {}", names_of(&view)),
        };
        let hint = match is_here {
            true => format!("lockstep host drain {name}"),
            false => format!(
                "it is not reached. When others have taken their places (lockstep host evacuate {name}) and it is gone for good: \
                 lockstep host remove {name} --lost"
            ),
        };
        Err(refused(detail).with_hint(hint))
    }

    fn check_addition(&self, world: &World, request: &AddHost) -> Result<BTreeSet<EnvironmentName>, Problem> {
        let name = &request.name;
        if world.hosts.contains_key(name) {
            let detail = format!("there is a host `{name}` already");
            return Err(
                Problem::new(ErrorCode::Conflict, detail).with_hint(format!("lockstep host show {name}"))
            );
        }
        let gateway = name_of(name.as_str()).ok_or_else(|| {
            let detail = format!("`{name}` is too long for a host: its gateways are called host-{name}");
            Problem::new(ErrorCode::BadRequest, detail).with_hint("take a name of at most 58 letters")
        })?;
        if world.gateways.contains_key(&gateway) {
            let detail = format!("a gateway of its own is called `{gateway}`, as those of the host would be");
            return Err(Problem::new(ErrorCode::Conflict, detail)
                .with_hint(format!("take another name, or: lockstep gateway remove {gateway}")));
        }
        if world.hosts.len() >= MAX_HOSTS {
            return Err(refused(format!("there are {MAX_HOSTS} hosts already, and there can be no more")));
        }
        match &request.environments {
            Some(environments) => {
                self.check_environments(world, name, &BTreeSet::new(), environments)?;
                Ok(environments.clone())
            }
            None => self.environments_for_hosts(world),
        }
    }

    /// Every environment of which nothing runs on the machine of the server.
    fn environments_for_hosts(&self, world: &World) -> Result<BTreeSet<EnvironmentName>, Problem> {
        let free = world.environments.keys().filter(|name| self.runs_here(world, name).is_none());
        let free: BTreeSet<_> = free.cloned().collect();
        match free.is_empty() {
            false => Ok(free),
            true => {
                Err(refused("something of every environment runs on the machine of the server".to_owned())
                    .with_hint("create one for hosts: lockstep environment create NAME"))
            }
        }
    }

    /// Whose instances run on a host may change where that moves nothing by surprise: an environment begins to run on hosts when nothing of
    /// it runs on the machine of the server, and ceases to when nothing of it runs.
    fn check_environments(
        &self,
        world: &World,
        host: &HostName,
        before: &BTreeSet<EnvironmentName>,
        after: &BTreeSet<EnvironmentName>,
    ) -> Result<(), Problem> {
        for name in after.difference(before) {
            find(world, name)?;
            if let Some(what) = self.runs_here(world, name) {
                return Err(refused(format!("{what} of `{name}` runs on the machine of the server")).with_hint(format!(
                    "an environment moves to hosts when nothing runs in it: lockstep rollback {name} --to 0, or name others with --env"
                )));
            }
        }
        for name in before.difference(after) {
            self.check_leaving(world, host, name)?;
        }
        Ok(())
    }

    fn check_leaving(&self, world: &World, host: &HostName, name: &EnvironmentName) -> Result<(), Problem> {
        let is_other = |(other, it): (&HostName, &std::sync::Arc<lockstep_domain::host::Host>)| {
            other != host && it.serves(name)
        };
        let Some(environment) = world.environment(name) else { return Ok(()) };
        if environment.entries().is_empty() || world.hosts.iter().any(is_other) {
            return Ok(());
        }
        Err(refused(format!("`{host}` is the last host of `{name}`, in which services run")).with_hint(format!(
            "add another one: lockstep host add NAME --ssh TARGET --env {name}; or take everything out: lockstep rollback {name} --to 0"
        )))
    }

    /// Says what of an environment runs on the machine of the server, or is about to; resources apart, which always do.
    fn runs_here(&self, world: &World, name: &EnvironmentName) -> Option<String> {
        if is_on_hosts(world, name) {
            return None;
        }
        let environment = world.environment(name)?;
        if let Some(operation) = environment.under_way().next() {
            return Some(format!("operation {}", operation.id));
        }
        if let Some(service) = environment.entries().keys().next() {
            return Some(format!("`{service}`"));
        }
        let left = self.instances_of(world, name).into_iter().find(|instance| !instance.state.is_over());
        left.map(|instance| format!("instance `{}`", instance.id))
    }

    /// Connects as the world says now, and waits a moment for it.
    async fn connect_to(&self, name: &HostName) {
        self.hosts.settle(&self.ledger.world());
        if let Some(link) = self.hosts.link(name) {
            link.here_before(Instant::now() + CONNECTED_WITHIN).await;
        }
    }

    /// Looks at a host whose key is not known, or is to be another one from now on.
    async fn look_first(
        &self,
        settings: &HostSettings,
        looker: Looker<'_>,
        expected: Option<&str>,
    ) -> Result<Seen, Problem> {
        let seen = self.look_with(settings, None, looker).await?;
        let shown = fingerprint(&seen.host_key).unwrap_or_default();
        match expected {
            Some(expected) if !shown.ends_with(&format!(" {}", expected.trim())) => Err(refused(format!(
                "the host shows the key {shown}, and not {expected}: it is another host, or somebody is in between"
            ))
            .with_hint("compare with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the host")),
            _ => Ok(seen),
        }
    }

    async fn look_with(
        &self,
        settings: &HostSettings,
        key: Option<&str>,
        looker: Looker<'_>,
    ) -> Result<Seen, Problem> {
        let alias = "lockstep-look";
        let known_hosts =
            Scratch(self.hosts.folder.join(format!(".look-{}", random_hex(6).map_err(internal)?)));
        if let Some(key) = key {
            std::fs::write(&known_hosts.0, format!("{alias} {key}\n")).map_err(internal)?;
        }
        let way_there = tokio::task::block_in_place(|| {
            ssh(&self.hosts, settings, known_hosts.0.clone(), alias.to_owned())
        });
        let way_there = way_there.map_err(internal)?;
        let now_ms = || i64::try_from(wall().0).unwrap_or(i64::MAX);
        let address = Some(settings.address).filter(|address| !address.is_unspecified());
        let looked = look(&way_there, self.ports_of_instances(), address, now_ms).await;
        let looked = looked.map_err(|error| unreached(&error, settings, looker))?;
        let host_key = pinned(&known_hosts.0, alias).map_err(internal)?;
        let host_key = host_key.ok_or_else(|| internal("the host has shown no key"))?;
        Ok(Seen { look: looked, host_key })
    }

    fn refuse_unusable(&self, name: &HostName, look: &HostLook, looker: Looker<'_>) -> Result<(), Problem> {
        let found = findings(look, self.ports_of_instances(), looker);
        if found.is_usable() {
            return Ok(());
        }
        let part = |detail: String| ProblemPart { detail, ..ProblemPart::default() };
        let parts = found.problems.into_iter().map(part).collect();
        Err(refused(format!("instances cannot run on `{name}`")).with_problems(parts))
    }

    fn ports_of_instances(&self) -> PortRange {
        self.config.instance_ports
    }
}

const LIST: &str = "lockstep host list";

/// A file that goes with its owner.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn known<'a>(world: &'a World, name: &HostName) -> Result<&'a lockstep_domain::host::Host, Problem> {
    let host = world.hosts.get(name);
    host.map(AsRef::as_ref).ok_or_else(|| not_found(format!("there is no host `{name}`"), LIST))
}

fn refused(detail: String) -> Problem {
    Problem::new(ErrorCode::Refused, detail)
}

fn unreached(error: &ConnectError, settings: &HostSettings, looker: Looker<'_>) -> Problem {
    let problem = refused(format!("{} cannot be used: {error}", settings.ssh));
    match hint(error.fault, way(settings, looker)) {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

/// The settings that a request asks for, without what only a look can tell.
fn settings_of(request: &AddHost) -> Result<HostSettings, Problem> {
    Ok(HostSettings {
        ssh: request.ssh.clone(),
        key: checked_key(request.key.as_deref())?,
        folder: checked_path(request.folder.as_deref(), "the folder")?,
        address: request.address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
        network: request.network,
        labels: request.labels.clone(),
        environments: BTreeSet::new(),
        host_key: String::new(),
    })
}

fn changed(before: &HostSettings, request: &ChangeHost) -> Result<HostSettings, Problem> {
    let ssh = |ssh: &Option<SshTarget>| ssh.clone().unwrap_or_else(|| before.ssh.clone());
    let key = match request.key.as_deref() {
        None => before.key.clone(),
        Some("") => None,
        Some(key) => checked_key(Some(key))?,
    };
    let labels: Labels = request.labels.clone().unwrap_or_else(|| before.labels.clone());
    let environments = request.environments.clone().unwrap_or_else(|| before.environments.clone());
    let network = request.network.unwrap_or(before.network);
    Ok(HostSettings { ssh: ssh(&request.ssh), key, network, labels, environments, ..before.clone() })
}

fn way_differs(one: &HostSettings, other: &HostSettings) -> bool {
    (&one.ssh, &one.key, &one.folder) != (&other.ssh, &other.key, &other.folder)
}

/// A key is read by `ssh` of the server, which says of a file that is not there only that nobody is let in.
fn checked_key(path: Option<&str>) -> Result<Option<String>, Problem> {
    let path = checked_path(path, "the key")?;
    match path.as_deref().map(std::fs::File::open) {
        Some(Err(error)) => {
            let path = path.unwrap_or_default();
            Err(refused(format!("the key `{path}` cannot be read by the server: {error}"))
                .with_hint("it is a file on the machine of the server, and of its user"))
        }
        _ => Ok(path),
    }
}

/// A path that a person gave: absolute, so that it means the same wherever the server was started.
fn checked_path(path: Option<&str>, what: &str) -> Result<Option<String>, Problem> {
    let Some(path) = path else { return Ok(None) };
    let is_usable =
        Path::new(path).is_absolute() && path.len() <= MAX_PATH_LENGTH && !path.contains(['\0', '\n']);
    match is_usable {
        true => Ok(Some(path.to_owned())),
        false => Err(Problem::new(ErrorCode::BadRequest, format!("{what} is no absolute path: `{path}`"))),
    }
}
