//! The manifests of the services of a compose file.

mod given;
pub(super) mod nginx;
mod values;
mod volumes;

use std::collections::BTreeMap;

use lockstep_domain::job::{Job, USUAL_JOB_TIMEOUT_MS, When};
use lockstep_domain::resource::ResourceNeed;
use lockstep_domain::routes::RouteRule;
use lockstep_domain::run::{Kind, Probe};

use super::file::{Condition, Service};
use super::places::{Named, Place};
use super::roles::{Built, Role, Roles, command, name_of, ports};
use super::{Configured, Import, ImportedResource, ImportedService, Remarks, beside, images};
use crate::init::dockerfile::Image;
use crate::init::draft::Draft;
use crate::init::{self, RepositoryView, launchers, way};
use crate::model::{Manifest, Requirement};

/// Where manifests are that are kept, because services share a folder.
const KEPT: &str = "lockstep";
/// Makes everything that is written and asked for.
pub(super) fn manifests(
    services: &[Service],
    roles: &Roles,
    file: &str,
    view: &RepositoryView,
    remarks: &mut Remarks,
) -> Import {
    let mut maker = Maker { services, roles, file, view, remarks, import: Import::default() };
    for service in services {
        maker.remarks.of(&service.name);
        match roles.of.get(&service.name) {
            Some(Role::Built(built)) => {
                match &built.given {
                    Some(image) => maker.given(service, built, image),
                    None => maker.built(service, built),
                }
                maker.called_otherwise(service);
            }
            Some(Role::Front(image)) => maker.front(service, image),
            Some(Role::Resource(name, kind, _)) => {
                let image = service.image.clone().unwrap_or_default();
                maker.import.resources.push(ImportedResource { name: name.clone(), kind: *kind, image });
                maker.of_resource(service);
            }
            Some(Role::JobOf(..) | Role::Left) | None => {}
        }
    }
    maker.remarks.of("");
    maker.import.resources.sort_by(|one, other| one.name.cmp(&other.name));
    maker.import
}

struct Maker<'m> {
    services: &'m [Service],
    roles: &'m Roles,
    file: &'m str,
    view: &'m RepositoryView,
    remarks: &'m mut Remarks,
    import: Import,
}

impl Maker<'_> {
    /// Names what others call here and cannot.
    fn called_otherwise(&mut self, service: &Service) {
        let ports = self.roles.called.get(&name_of(service)).into_iter().flatten();
        for (port, what) in ports.filter_map(|port| Some((port, images::spoken_at(*port)?))) {
            self.remarks.not_taken(
                service.line,
                format!("others call it at {port}, the port of {what}, and only HTTP/1.1 is spoken between services"),
                "let it run elsewhere, and say where with `lockstep resource add NAME --kind other`",
            );
        }
    }

    fn of_resource(&mut self, service: &Service) {
        for mount in service.mounts.iter().filter(|mount| mount.is_bind()) {
            let (source, target) = (&mount.source, &mount.target);
            if target.contains("initdb") {
                self.remarks.not_taken(
                    mount.line,
                    format!("what is in {source} does not run in a new database"),
                    "let a [[job]] with when = \"before-switch\" do it",
                );
            } else {
                self.remarks.not_taken(
                    mount.line,
                    format!("{source} is not put at {target}"),
                    "its data begins empty, and its settings are those that it comes with",
                );
            }
        }
    }

    fn built(&mut self, service: &Service, built: &Built) {
        let inner = self.view.below(&built.folder);
        let (sign, language) = init::language(&inner);
        let words = command(service, &built.image).filter(|words| !launchers::serves_pages(words));
        let mut draft = match &words {
            Some(_) => init::started_elsewhere(language),
            None => language.unwrap_or_default(),
        };
        let ports = ports(service, &built.image, &self.roles.called);
        draft.kind = if built.is_web { Kind::Web } else { Kind::Worker };
        let image = Image { ports: ports.clone(), ..built.image.clone() };
        let from = if service.command.is_some() || service.entrypoint.is_some() {
            self.file
        } else {
            built.file.as_str()
        };
        launchers::as_image(&mut draft, &inner, &image, words.as_deref(), from);
        draft.ports = ports;
        let mut named = Named::default();
        let moved = self.volumes(service, &image, &inner, &mut draft);
        let configuration = self.settings(service, &image, &moved, &mut draft, &mut named);
        self.addresses_in_command(&mut draft, &mut named);
        beside::in_command(&mut draft.command);
        self.health_and_stop(service, &image, &inner, &mut draft);
        let mut configuration = configuration;
        self.jobs(service, &image, &mut draft, &mut named, &mut configuration);
        if draft.kind == Kind::Worker {
            draft
                .variables
                .retain(|_, value| !value.contains("${self.port}") && !value.contains("${self.host}"));
            draft.health = draft.health.take().filter(|health| !health.probe.needs_a_port());
        }
        self.names_in_code(service, &inner, &named);
        let routes = self.routes(service);
        let mut manifest = init::manifest(&inner, name_of(service), routes, &mut draft);
        self.requirements(service, &named, &mut manifest);
        let sign = match sign {
            Some(sign) => format!("{} of {} and {sign}", service.name, self.file),
            None => format!("{} of {}", service.name, self.file),
        };
        let shares = self.sharing(&built.folder) > 1;
        let place = if shares {
            format!("{KEPT}/{}.toml", manifest.name)
        } else {
            below(&built.folder, crate::MANIFEST_FILE)
        };
        let what = if built.is_web { "web" } else { "worker" };
        self.write(
            service,
            built.folder.clone(),
            place,
            shares,
            &manifest,
            draft,
            &sign,
            what,
            configuration,
        );
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "it is where all that is known of a service comes together"
    )]
    fn write(
        &mut self,
        service: &Service,
        folder: String,
        place: String,
        is_kept: bool,
        manifest: &Manifest,
        draft: Draft,
        sign: &str,
        what: &str,
        configuration: BTreeMap<String, Configured>,
    ) {
        let proposal = init::written(manifest, draft, sign);
        for text in proposal.assumptions {
            self.remarks.assume(service.line, beside::shown(&text));
        }
        for text in proposal.questions {
            self.remarks.ask(service.line, beside::shown(&text));
        }
        self.import.files.insert(place.clone(), beside::shown(&proposal.text));
        self.import.services.push(ImportedService {
            name: manifest.name.clone(),
            folder,
            manifest: place,
            is_kept,
            replicas: service.replicas,
            configuration,
            what: what.to_owned(),
            image: None,
        });
    }

    /// How many services are built from a folder.
    fn sharing(&self, folder: &str) -> usize {
        let is_same = |role: &&Role| matches!(role, Role::Built(built) if built.folder == folder && built.given.is_none());
        self.roles.of.values().filter(is_same).count()
    }

    fn health_and_stop(
        &mut self,
        service: &Service,
        image: &Image,
        inner: &RepositoryView,
        draft: &mut Draft,
    ) {
        draft.limits = service.limits;
        if let Some((options, call)) = &service.health {
            let mut health = way::health(call, options, inner, image);
            if let Some(Probe::Command { command }) = health.as_mut().map(|health| &mut health.probe) {
                beside::in_command(command);
            }
            if health.is_none() {
                self.remarks.not_taken(
                    service.line,
                    "its health check asks in a way that only a container has",
                    "say it as [run] health",
                );
            }
            draft.health = health.or(draft.health.take());
        }
        if let Some(signal) = &service.stop_signal {
            match way::signal(signal) {
                Some(signal) => draft.stop.signal = signal,
                None => self.remarks.ask(
                    service.line,
                    format!("It is ended with {signal}: which of TERM, INT, QUIT and HUP ends it well?"),
                ),
            }
        }
        match service.stop_grace.as_deref().map(|text| (text, way::go_duration_ms(text))) {
            Some((_, Some(ms))) => draft.stop.timeout_ms = ms,
            Some((text, None)) => {
                self.remarks
                    .ask(service.line, format!("How long may it take to end? `{text}` is no duration."));
            }
            None => {}
        }
    }

    /// Services that are jobs of this one.
    fn jobs(
        &mut self,
        owner: &Service,
        image: &Image,
        draft: &mut Draft,
        named: &mut Named,
        configuration: &mut BTreeMap<String, Configured>,
    ) {
        for job in self.services {
            let Some(Role::JobOf(of, built)) = self.roles.of.get(&job.name) else { continue };
            if *of != owner.name {
                continue;
            }
            self.remarks.of(&job.name);
            let words = command(job, &built.image).unwrap_or_default();
            let mut own = Draft::default();
            let inner = self.view.below(&built.folder);
            let mut command = Draft { command: draft.command.clone(), ..Draft::default() };
            match &built.given {
                Some(_) => {
                    command.command.clone_from(&words);
                    if job.entrypoint.is_none() {
                        let text = "Has its image an ENTRYPOINT that comes before this? The command of a [[job]] is all that is run.";
                        self.remarks.ask(job.line, text);
                    }
                }
                None => way::start(&mut command, &inner, image, &words, &[]),
            }
            self.addresses_in_command(&mut command, named);
            beside::in_command(&mut command.command);
            own.variables.append(&mut command.variables);
            let settings = self.settings(job, image, &BTreeMap::new(), &mut own, named);
            for (name, value) in settings {
                configuration.entry(name).or_insert(value);
            }
            own.variables.retain(|name, value| draft.variables.get(name) != Some(value));
            let (Ok(name), false) = (name_of(job).as_str().parse(), words.is_empty()) else {
                self.remarks.not_taken(job.line, "nothing says what it runs", "write it as a [[job]]");
                continue;
            };
            let is_before = self
                .services
                .iter()
                .any(|service| service.needs.get(&job.name) == Some(&Condition::Completed));
            let when = if is_before { When::BeforeSwitch } else { When::ByHand };
            self.remarks.assume(job.line, format!("it is the job `{name}` of {}, run {when}", owner.name));
            draft.jobs.push(Job {
                limits: job.limits,
                name,
                when,
                command: command.command,
                variables: own.variables,
                timeout_ms: USUAL_JOB_TIMEOUT_MS,
                schedule: None,
            });
        }
        self.remarks.of(&owner.name);
    }

    /// Requests from outside: the one that is reached there, or each by a host name of its own.
    fn routes(&mut self, service: &Service) -> Vec<RouteRule> {
        let is_published = |service: &&Service| {
            let is_web = matches!(self.roles.of.get(&service.name), Some(Role::Front(_)))
                || matches!(self.roles.of.get(&service.name), Some(Role::Built(built)) if built.is_web);
            is_web && service.ports.iter().any(|(_, outside)| *outside)
        };
        let published: Vec<&Service> = self.services.iter().filter(is_published).collect();
        if !published.iter().any(|one| one.name == service.name) {
            return Vec::new();
        }
        let is_front = |service: &&&Service| matches!(self.roles.of.get(&service.name), Some(Role::Front(_)));
        let has_80 = |service: &&&Service| service.ports.iter().any(|(port, _)| *port == 80);
        let root =
            published.iter().find(is_front).or_else(|| published.iter().find(has_80)).or(published.first());
        let rule = |host| RouteRule { host, path: "/".into(), ..RouteRule::default() };
        if root.is_some_and(|root| root.name == service.name) {
            return vec![rule(None)];
        }
        let host = format!("{}.localhost", name_of(service));
        self.remarks.assume(
            service.line,
            format!("its published port becomes a host of its own: requests to {host} go to it"),
        );
        vec![rule(Some(host))]
    }

    /// What it refers to, and what it waits for.
    fn requirements(&self, service: &Service, named: &Named, manifest: &mut Manifest) {
        let mut services = named.services.clone();
        let mut resources = named.resources.clone();
        for name in service.needs.keys() {
            match self.roles.places.0.get(name) {
                Some(Place::Service { name, .. }) => drop(services.insert(name.clone())),
                Some(Place::Resource { name, kind, .. }) => drop(resources.insert(name.clone(), *kind)),
                None => {}
            }
        }
        services.remove(&manifest.name);
        let any = || Requirement { range: "*".parse().ok(), ..Requirement::default() };
        manifest.requires = services.into_iter().map(|service| (service, any())).collect();
        manifest.resources =
            resources.into_iter().map(|(name, kind)| (name, ResourceNeed { kind })).collect();
    }

    /// A name that stands in the code itself is one that nothing here can take the place of.
    fn names_in_code(&mut self, service: &Service, inner: &RepositoryView, named: &Named) {
        for (name, place) in &self.roles.places.0 {
            let is_known = match place {
                Place::Service { name, .. } => named.services.contains(name) || *name == name_of(service),
                Place::Resource { name, .. } => named.resources.contains_key(name),
            };
            if is_known || *name == service.name {
                continue;
            }
            let Some((path, line)) = in_code(inner, name) else { continue };
            let text = format!("{path}:{line} names `{name}` itself, and no host of that name is here");
            let hint = match place {
                Place::Service { .. } => {
                    "let it read the address from a variable, and set that to \"http://${service.NAME.host}:${service.NAME.port}\""
                }
                Place::Resource { .. } => {
                    "let it read the address from a variable, and set that to \"${resource.NAME.url}\""
                }
            };
            self.remarks.not_taken(service.line, text, hint.replace("NAME", name));
        }
    }
}

/// Finds where a source names a host: `"redis"`, `//redis:`, `@redis/`.
fn in_code(view: &RepositoryView, name: &str) -> Option<(String, usize)> {
    let ends = [
        ".py",
        ".js",
        ".ts",
        ".mjs",
        ".go",
        ".rb",
        ".php",
        ".java",
        ".kt",
        ".cs",
        ".rs",
        ".properties",
        ".yml",
        ".yaml",
    ];
    let signs = [
        format!("//{name}:"),
        format!("//{name}/"),
        format!("@{name}:"),
        format!("@{name}/"),
        format!("\"{name}:"),
        format!("'{name}:"),
    ];
    let calls = [
        "host", "Host", "HOST", "connect", "Connect", "dial", "Dial", "server", "Server", "OpenDb", "Redis(",
    ];
    let quoted =
        [format!("\"{name}\""), format!("'{name}'"), format!("Server={name};"), format!("Host={name};")];
    let is_code = |path: &str| {
        ends.iter().any(|end| path.ends_with(end))
            && !path.contains("compose")
            && !path.contains("test")
            && !path.ends_with("package-lock.json")
    };
    let names = |line: &str| {
        signs.iter().any(|sign| line.contains(sign))
            || quoted.iter().any(|word| line.contains(word)) && calls.iter().any(|call| line.contains(call))
    };
    let comments =
        |line: &str| line.trim_start().starts_with(['#', '*']) || line.trim_start().starts_with("//");
    let mut sources = view.texts().filter(|(path, text)| is_code(path) && text.contains(name));
    sources.find_map(|(path, text)| {
        let line = text.lines().position(|line| names(line) && !comments(line))?;
        Some((path.to_owned(), line + 1))
    })
}

/// Puts a path behind a folder, which may be none.
fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}
