//! The part of an import that a server does: environment, services, configuration. What is there stays.

use std::collections::BTreeMap;

use lockstep_api::client::ClientError;
use lockstep_api::types::{
    CreateEnvironment, KnownService, ManifestRequest, Mode, RegisterService, RunResource, ServiceView,
    SettingsChange,
};
use lockstep_domain::intent::ConfigValue;
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::service::Source;
use lockstep_domain::{EnvironmentName, Intent, ServiceName};
use lockstep_manifest::compose::{ImportedResource, ImportedService};
use lockstep_pipeline::{git::GitError, local};

use super::Done;
use crate::commands::check;
use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;

/// What a server was told.
pub(super) struct Registered {
    pub(super) environment: EnvironmentName,
    /// Files that are to be committed first; then nothing was done.
    pub(super) uncommitted: bool,
    /// What was done, for people.
    pub(super) done: Vec<String>,
    /// What the server did not do, and why.
    pub(super) refused: Vec<String>,
    /// Resources that the environment lacks and that Lockstep does not run.
    pub(super) missing: Vec<(ResourceName, ResourceKind)>,
    /// The services as the server knows them.
    pub(super) services: Vec<ServiceView>,
}

/// Tells a server all that it needs before a first release.
pub(super) fn register(
    ctx: &Context,
    done: &Done,
    environment: EnvironmentName,
) -> Result<Registered, Failure> {
    let mut registered = Registered {
        environment,
        uncommitted: false,
        done: Vec::new(),
        refused: Vec::new(),
        missing: Vec::new(),
        services: Vec::new(),
    };
    let asked = |error: GitError| Failure::usage("git cannot be asked").caused_by(&error);
    let Some(repository) = local::find(&done.folder).map_err(asked)? else {
        return Err(Failure::usage(format!("`{}` is in no git repository", done.folder.display()))
            .hint("a version is a commit: git init, git add . and git commit first"));
    };
    let files: Vec<&str> = done.files.keys().map(String::as_str).collect();
    if local::differs(&done.folder, &files).map_err(asked)? {
        registered.uncommitted = true;
        return Ok(registered);
    }
    registered.environment(ctx)?;
    for service in &done.import.services {
        let folder = [repository.below.as_str(), &service.folder]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        let source = Source { repository: repository.root.to_string_lossy().into_owned(), folder };
        registered.service(ctx, done, service, source)?;
    }
    registered.resources(ctx, done)?;
    for service in &done.import.services {
        registered.configure(ctx, service)?;
    }
    Ok(registered)
}

impl Registered {
    fn environment(&mut self, ctx: &Context) -> Result<(), Failure> {
        if ctx.client.environments()?.iter().any(|one| one.name == self.environment) {
            return Ok(());
        }
        ctx.client.create_environment(&CreateEnvironment {
            name: self.environment.clone(),
            settings: SettingsChange::default(),
        })?;
        self.done.push(format!("environment {} is created", self.environment));
        Ok(())
    }

    /// Runs what is missing and can be run here; the rest is somebody else's.
    fn resources(&mut self, ctx: &Context, done: &Done) -> Result<(), Failure> {
        let there = ctx.client.resources(&self.environment)?;
        for ImportedResource { name, kind, .. } in &done.import.resources {
            if there.iter().any(|view| view.resource == *name) {
                continue;
            }
            if !matches!(kind, ResourceKind::Postgresql | ResourceKind::Redis) {
                self.missing.push((name.clone(), *kind));
                continue;
            }
            let request = RunResource { resource: name.clone(), kind: *kind, reason: "imported".into() };
            match ctx.client.run_resource(&self.environment, &request) {
                Ok(_) => self.done.push(format!("resource {name} ({kind}) runs in {}", self.environment)),
                // It is not installed, or somebody else is to run it: that is said, and everything else goes on.
                Err(ClientError::Problem(problem)) => {
                    self.refused.push(format!("resource {name} is not run: {}", problem.detail));
                    self.missing.push((name.clone(), *kind));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// Registers a service; one that is known keeps where it comes from, and gets the manifest that is in the file now.
    fn service(
        &mut self,
        ctx: &Context,
        done: &Done,
        service: &ImportedService,
        source: Source,
    ) -> Result<(), Failure> {
        let manifest =
            if service.is_kept { Some(check::read(&done.folder.join(&service.manifest))?) } else { None };
        let known = ctx.client.services()?.into_iter().find(|view| view.name == service.name);
        let view = match (known, manifest) {
            (Some(view), _) if view.source != source => {
                let text =
                    format!("{} comes from {} already, and stays so", service.name, view.source.repository);
                self.done.push(text);
                view
            }
            (Some(view), Some(manifest)) => self.keep(ctx, service, view, manifest)?,
            (Some(view), None) => view,
            (None, manifest) => {
                let request = RegisterService {
                    source,
                    lifecycle: None,
                    known: KnownService::Stays,
                    unrelated: None,
                    from_tags: None,
                    manifest,
                    mode: Mode::Execute,
                };
                self.done.push(format!("service {} is registered", service.name));
                ctx.client.register(&request)?
            }
        };
        self.services.push(view);
        Ok(())
    }

    fn keep(
        &mut self,
        ctx: &Context,
        service: &ImportedService,
        view: ServiceView,
        manifest: String,
    ) -> Result<ServiceView, Failure> {
        if ctx.client.manifest(&service.name).is_ok_and(|kept| kept == manifest.as_bytes()) {
            return Ok(view);
        }
        self.done.push(format!("{} is kept with service {}", service.manifest, service.name));
        let request = ManifestRequest {
            manifest: Some(manifest),
            reason: format!("imported again from {}", service.manifest),
        };
        Ok(ctx.client.keep_manifest(&service.name, &request)?)
    }

    /// Sets what is not set yet: what somebody has set since stays.
    fn configure(&mut self, ctx: &Context, service: &ImportedService) -> Result<(), Failure> {
        let there = self.variables(ctx, &service.name)?;
        let missing = service.configuration.iter().filter(|(name, _)| !there.contains_key(*name));
        let (secrets, plain): (Vec<_>, Vec<_>) = missing.partition(|(_, value)| value.is_secret);
        if secrets.is_empty() && plain.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = secrets.iter().chain(&plain).map(|(name, _)| name.as_str()).collect();
        let set = plain
            .iter()
            .map(|(name, value)| ((*name).clone(), ConfigValue::Plain(value.value.clone())))
            .collect();
        let secrets: BTreeMap<_, _> =
            secrets.iter().map(|(name, value)| ((*name).clone(), value.value.clone())).collect();
        let intent = Intent::Configure { service: service.name.clone(), set, unset: Vec::new() };
        let change = ChangeOptions::because("imported").change(self.environment.clone(), intent);
        change.secrets(secrets).complete(ctx)?;
        self.done.push(format!("{} of {} in {} set", names.join(", "), service.name, self.environment));
        Ok(())
    }

    fn variables(
        &self,
        ctx: &Context,
        service: &ServiceName,
    ) -> Result<BTreeMap<String, ConfigValue>, Failure> {
        let view = ctx.client.configuration(&self.environment, service)?;
        let number = usize::try_from(view.current.0).unwrap_or_default();
        Ok(number
            .checked_sub(1)
            .and_then(|at| view.revisions.into_iter().nth(at))
            .unwrap_or_default()
            .into_iter()
            .collect())
    }
}
