//! What each service of a compose file becomes.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::ServiceName;
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;

use super::Remarks;
use super::file::{BuildContext, Condition, Service, in_project};
use super::images;
use super::places::{Known, Named, Place, Places};
use crate::init::dockerfile::{Copied, Image};
use crate::init::listen::{self, Told};
use crate::init::{self, RepositoryView, service_name};

/// What one becomes.
#[derive(Debug, Clone)]
pub(super) enum Role {
    /// A service of its own, built from a folder.
    Built(Box<Built>),
    /// nginx before others.
    Front(Box<Image>),
    /// A job of another one.
    JobOf(String, Box<Built>),
    /// A database or the like.
    Resource(ResourceName, ResourceKind, Known),
    /// Nothing.
    Left,
}

/// Something that is built from a folder of the project.
#[derive(Debug, Clone)]
pub(super) struct Built {
    pub(super) folder: String,
    pub(super) image: Image,
    pub(super) file: String,
    pub(super) is_web: bool,
    /// The image that it is, where nothing of it is built here.
    pub(super) given: Option<String>,
}

/// All roles, and the names that stand for those that are reached.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) of: BTreeMap<String, Role>,
    pub(super) places: Places,
    /// The ports at which others call a service.
    pub(super) called: BTreeMap<ServiceName, BTreeSet<u16>>,
}

/// Finds out what each service becomes.
pub(super) fn roles(
    services: &[Service],
    view: &RepositoryView,
    profiles: &[String],
    remarks: &mut Remarks,
) -> Roles {
    let mut roles = Roles::default();
    for service in services {
        remarks.of(&service.name);
        let role = role(service, view, remarks);
        roles.of.insert(service.name.clone(), role);
    }
    jobs(services, profiles, &mut roles, remarks);
    names(services, &mut roles, remarks);
    roles.places = places(services, &roles, |_| true);
    let named = reached(services, &roles, view);
    let reached = named.services;
    roles.called = named.called;
    for service in services {
        let is_web = is_web(service, &roles, &reached);
        if let Some(Role::Built(built)) = roles.of.get_mut(&service.name) {
            built.is_web = is_web;
        }
    }
    let webs: BTreeSet<String> = roles
        .of
        .iter()
        .filter(|(_, role)| {
            matches!(role, Role::Front(_)) || matches!(role, Role::Built(built) if built.is_web)
        })
        .map(|(name, _)| name.clone())
        .collect();
    roles.places = places(services, &roles, |name| webs.contains(name));
    roles
}

/// Says which get another name here, and leaves those that would get one that is taken.
fn names(services: &[Service], roles: &mut Roles, remarks: &mut Remarks) {
    let mut taken: BTreeMap<(bool, String), String> = BTreeMap::new();
    for service in services {
        let is_resource = match roles.of.get(&service.name) {
            Some(Role::Left | Role::JobOf(..)) | None => continue,
            Some(role) => matches!(role, Role::Resource(..)),
        };
        remarks.of(&service.name);
        let name = name_of(service).to_string();
        if let Some(other) = taken.get(&(is_resource, name.clone())) {
            remarks.not_taken(
                service.line,
                format!("it would be called `{name}` here, as {other} is"),
                "give one of them another name in the compose file",
            );
            roles.of.insert(service.name.clone(), Role::Left);
            continue;
        }
        if name != service.name {
            remarks.assume(service.line, format!("it is called `{name}` here"));
        }
        taken.insert((is_resource, name), service.name.clone());
    }
}

fn role(service: &Service, view: &RepositoryView, remarks: &mut Remarks) -> Role {
    if let Some(build) = &service.build {
        return built(service, build, view, remarks);
    }
    let Some(image) = &service.image else {
        if !service.is_built_elsewhere {
            remarks.not_taken(service.line, "it has neither `build` nor `image`", "say what it is");
        }
        return Role::Left;
    };
    if let Some((kind, port)) = images::resource(image) {
        let name = service_name(&service.name);
        return match name.as_str().parse() {
            Ok(name) => Role::Resource(name, kind, images::known(service, port)),
            Err(_) => Role::Left,
        };
    }
    if images::is_nginx(image) {
        return Role::Front(Box::new(Image {
            base: "nginx".into(),
            workdir: "/".into(),
            ..Image::default()
        }));
    }
    let code = service.mounts.iter().find_map(|mount| Some((mount, mount.in_project()?)));
    match code
        .filter(|(_, folder)| images::is_language(image) && (folder.is_empty() || view.has_folder(folder)))
    {
        Some((mount, folder)) => {
            let copy = Copied {
                from_stage: false,
                sources: vec![".".into()],
                target: mount.target.clone(),
                into_folder: true,
            };
            let workdir = service.working_dir.clone().unwrap_or_else(|| mount.target.clone());
            remarks.assume(mount.line, format!("`{}` runs what is in {}", image, shown(&folder)));
            let image = Image { base: image.clone(), workdir, copies: vec![copy], ..Image::default() };
            Role::Built(Box::new(Built {
                folder,
                image,
                file: "the compose file".into(),
                is_web: true,
                given: None,
            }))
        }
        None if service.build.is_none() && service.image.is_some() => {
            remarks.assume(
                service.line,
                format!("its versions are the image `{image}`, which runs in a root of its own here"),
            );
            Role::Built(Box::new(Built {
                folder: String::new(),
                image: Image::default(),
                file: "the compose file".into(),
                is_web: true,
                given: Some(image.clone()),
            }))
        }
        None => Role::Left,
    }
}

fn shown(folder: &str) -> &str {
    if folder.is_empty() { "." } else { folder }
}

fn built(service: &Service, build: &BuildContext, view: &RepositoryView, remarks: &mut Remarks) -> Role {
    if !build.context.is_empty() && !view.has_folder(&build.context) {
        remarks.not_taken(
            service.line,
            format!("the folder `{}` that it is built in is not there", build.context),
            "check it out, and import again",
        );
        return Role::Left;
    }
    let named = build.dockerfile.as_deref().and_then(|file| in_project(&format!("{}/{file}", build.context)));
    let usual = ["Dockerfile", "dockerfile", "Containerfile"].map(|name| {
        if build.context.is_empty() { name.to_owned() } else { format!("{}/{name}", build.context) }
    });
    let file = named.or_else(|| usual.iter().find(|path| view.has(path)).cloned());
    let text = build.inline.as_deref().or_else(|| view.text(file.as_deref()?));
    let image = text.and_then(|text| Image::read(text, build.target.as_deref()));
    if image.is_none() {
        let file = file.clone().unwrap_or_else(|| "Dockerfile".into());
        remarks.assume(
            service.line,
            format!("{file} is not there or says nothing, so what it is written in says how it is built"),
        );
    }
    let mut image = image.unwrap_or_else(|| Image {
        workdir: "/".into(),
        copies: vec![Copied {
            from_stage: false,
            sources: vec![".".into()],
            target: "/".into(),
            into_folder: true,
        }],
        ..Image::default()
    });
    let configures = |copied: &Copied| !copied.from_stage && copied.target.starts_with("/etc/nginx");
    if images::is_nginx(&image.base)
        && image.copies.iter().any(configures)
        && !image.copies.iter().any(|copied| copied.from_stage)
    {
        return Role::Front(Box::new(image));
    }
    if let Some(folder) = &service.working_dir {
        image.workdir.clone_from(folder);
    }
    let inner = view.below(&build.context);
    let says_nothing = || init::language(&inner).1.is_none_or(|draft| !draft.is_started());
    if command(service, &image).is_none() && says_nothing() {
        let why = format!("its program comes with the image `{}` that it begins from", image.base);
        remarks.not_taken(
            service.line,
            why,
            "name the program in `command`, or write a lockstep.toml by hand",
        );
        return Role::Left;
    }
    Role::Built(Box::new(Built {
        folder: build.context.clone(),
        image,
        file: file.unwrap_or_else(|| "the compose file".into()),
        is_web: true,
        given: None,
    }))
}

/// What others wait for until it has ended is a job of them; what only a profile starts is one that is run by hand.
fn jobs(services: &[Service], profiles: &[String], roles: &mut Roles, remarks: &mut Remarks) {
    for job in services {
        let Some(Role::Built(built)) = roles.of.get(&job.name).cloned() else { continue };
        remarks.of(&job.name);
        let waits = |service: &&Service| service.needs.get(&job.name) == Some(&Condition::Completed);
        let same = |service: &&Service| {
            matches!(roles.of.get(&service.name), Some(Role::Built(other)) if other.folder == built.folder && other.given == built.given)
                && service.name != job.name
        };
        let is_asked = job.profiles.iter().any(|profile| profiles.contains(profile));
        let is_profiled = !job.profiles.is_empty() && !is_asked;
        let waiting: Vec<&Service> = services.iter().filter(waits).collect();
        let owner = waiting
            .iter()
            .copied()
            .find(|service| same(service))
            .or_else(|| services.iter().filter(|_| is_profiled).find(same));
        let role = match (waiting.is_empty(), owner) {
            (_, Some(owner)) if is_profiled || !waiting.is_empty() => {
                if waiting.len() > 1 {
                    remarks.assume(job.line, format!("it is a job of {}, so it has run when that is switched; what is moved in the same operation waits for it as well", owner.name));
                }
                Role::JobOf(owner.name.clone(), built)
            }
            (false, None) => {
                remarks.not_taken(
                    job.line,
                    "others wait for its end, and none of them is built from the same folder",
                    "write it as a [[job]] of the service that it belongs to",
                );
                Role::Left
            }
            _ if is_profiled => {
                remarks.not_taken(
                    job.line,
                    format!("it is started by the profile {} only", job.profiles.join(", ")),
                    format!("import with --profile {} takes it", job.profiles[0]),
                );
                Role::Left
            }
            _ => continue,
        };
        roles.of.insert(job.name.clone(), role);
    }
}

fn places(services: &[Service], roles: &Roles, is_reached: impl Fn(&str) -> bool) -> Places {
    let mut all = BTreeMap::new();
    for service in services {
        let place = match roles.of.get(&service.name) {
            Some(Role::Resource(name, kind, known)) => {
                Place::Resource { name: name.clone(), kind: *kind, known: known.clone() }
            }
            Some(Role::Built(built)) if is_reached(&service.name) => {
                Place::Service { name: name_of(service), ports: ports(service, &built.image, &roles.called) }
            }
            Some(Role::Front(_)) if is_reached(&service.name) => {
                Place::Service { name: name_of(service), ports: Vec::new() }
            }
            _ => continue,
        };
        for name in service.aliases.iter().chain([&service.name]) {
            all.insert(name.clone(), place.clone());
        }
    }
    Places(all)
}

/// The name of a service of Lockstep.
pub(super) fn name_of(service: &Service) -> ServiceName {
    service_name(&service.name)
}

/// The ports that it listens on in its container: as it says, or as others call it.
pub(super) fn ports(
    service: &Service,
    image: &Image,
    called: &BTreeMap<ServiceName, BTreeSet<u16>>,
) -> Vec<u16> {
    let own: Vec<u16> = service.ports.iter().map(|(port, _)| *port).collect();
    if !own.is_empty() {
        return own;
    }
    let told = service.environment.iter().find(|setting| setting.name == "PORT");
    let said: Vec<u16> =
        image.ports.iter().copied().chain(told.and_then(|setting| setting.value.parse().ok())).collect();
    let called = called.get(&name_of(service)).into_iter().flatten().copied();
    if said.is_empty() { called.collect() } else { said }
}

/// Names of services that others have in their addresses.
fn reached(services: &[Service], roles: &Roles, view: &RepositoryView) -> Named {
    let mut named = Named::default();
    for service in services {
        let all: BTreeMap<&str, &str> = service
            .environment
            .iter()
            .map(|setting| (setting.name.as_str(), setting.value.as_str()))
            .collect();
        for (name, value) in &all {
            roles.places.in_variable(name, value, &all, &mut named);
        }
        if let Some(Role::Built(built)) = roles.of.get(&service.name) {
            for word in command(service, &built.image).unwrap_or_default() {
                roles.places.in_text(&word, &mut named);
            }
        }
        if let Some(Role::Front(image)) = roles.of.get(&service.name) {
            for (text, _) in super::services::nginx::configurations(service, image, view) {
                text.lines().for_each(|line| {
                    drop(roles.places.in_text(&line.replace("server ", "http://"), &mut named));
                });
                roles.places.in_text(&text, &mut named);
            }
        }
    }
    named
}

/// The words that it is started with.
pub(super) fn command(service: &Service, image: &Image) -> Option<Vec<String>> {
    use crate::init::call::Call;
    match (&service.entrypoint, &service.command) {
        (Some(entrypoint), command) => Call::with(entrypoint.as_ref(), command.as_ref()),
        (None, Some(command)) => Call::with(image.entrypoint.as_ref(), Some(command)),
        (None, None) => Call::with(image.entrypoint.as_ref(), image.command.as_ref()),
    }
}

/// Tells whether anybody could call it: it says a port, or others have it in their addresses.
fn is_web(service: &Service, roles: &Roles, reached: &BTreeSet<ServiceName>) -> bool {
    let Some(Role::Built(built)) = roles.of.get(&service.name) else { return false };
    if !service.ports.is_empty() || reached.contains(&name_of(service)) {
        return true;
    }
    let mut words = command(service, &built.image).unwrap_or_default();
    if listen::in_command(&mut words, &built.image.ports) == Told::Port {
        return true;
    }
    // An image that several share says a port for one of them.
    service.command.is_none() && service.entrypoint.is_none() && !built.image.ports.is_empty()
}
