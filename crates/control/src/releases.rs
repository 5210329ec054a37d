//! Releases: from a commit to a recorded version, through the pipeline.

mod chosen;
mod databases;
mod earlier;
mod gate;
mod given;
mod needs;
mod number;
mod problems;
mod promised;
mod refusal;
mod register;
mod relation;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_api::types::{
    BuildState, BuildView, DocumentUpload, Mode, RegisterService, ReleaseRequest, ServiceView, TagChoice,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::NextNumber;
use lockstep_domain::evidence::Evidence;
use lockstep_domain::service::{Artifact, Document, ManifestOrigin, Service, Source, Version};
use lockstep_domain::{Actor, Event, ServiceName, StageName, Timestamp, VersionNumber, World};
use lockstep_pipeline::guard::GuardCommand;
use lockstep_pipeline::local;
use lockstep_pipeline::{
    BuildEvent, BuildRequest, Checked, Contracts, HostEnvironment, Prepared, SourceFolder, TakenContract,
    TakenImage,
};

use gate::Decided;
use given::Taken;
use number::{Beside, Standing, Wish};
use problems::failure_problem;
pub(crate) use problems::manifest_part;
pub(crate) use register::Place;
use register::Registering;
use relation::Relation;

use crate::builds::Build;
use crate::instances::with_sources;
use crate::{Control, internal, services, storage_problem};

/// Most documents of one version.
const MAX_DOCUMENTS: usize = 50;
/// Longest notes of a version.
const MAX_NOTES_BYTES: usize = 256 * 1024;

impl Control {
    /// Registers a service under the name its manifest gives.
    ///
    /// # Errors
    /// When the repository or its manifest cannot be read.
    pub async fn register(
        self: &Arc<Self>,
        actor: &Actor,
        request: RegisterService,
    ) -> Result<ServiceView, Problem> {
        let control = Arc::clone(self);
        let actor = actor.clone();
        let work = move || {
            let mode = request.mode;
            let registering = Registering::begin(&control, request)?;
            match mode {
                Mode::DryRun => Ok(registering.preview()),
                Mode::Execute => registering.record(&actor),
            }
        };
        tokio::task::spawn_blocking(work).await.map_err(internal)?
    }

    /// Begins a release. It goes on in the background; follow its build.
    ///
    /// # Errors
    /// When the service does not exist, or the request is not usable.
    pub fn release(
        self: &Arc<Self>,
        actor: &Actor,
        name: &ServiceName,
        mut request: ReleaseRequest,
    ) -> Result<BuildView, Problem> {
        let taken = given::take(self, &mut request)?;
        let world = self.ledger.world();
        let source = &services::find(&world, name)?.source;
        given::must_have_a_commit(taken.as_ref(), source, &request)?;
        check_request(&request)?;
        let reference = request.commit.as_ref().or(request.reference.as_ref());
        let unnamed = if source.has_repository() { "(default branch)" } else { "(no repository)" };
        let reference = reference.map_or(unnamed, String::as_str).to_owned();
        let build = self.builds.begin(actor, name, &reference, self.ledger.now());
        let build = build.map_err(|error| storage_problem("the build could not be begun", &error))?;
        let view = build.view();
        if self.stop.is_cancelled() {
            // It came after all others were cancelled.
            build.cancel.cancel();
        }
        let (control, actor, name) = (Arc::clone(self), actor.clone(), name.clone());
        self.spawn(async move {
            let _turn = control.builds.turns.take(&name).await;
            let run = move || control.run_release(&build, &actor, &name, &request, taken);
            if let Err(error) = tokio::task::spawn_blocking(run).await {
                tracing::error!(%error, "a release ended by a panic");
            }
        });
        Ok(view)
    }

    fn run_release(
        &self,
        build: &Arc<Build>,
        actor: &Actor,
        name: &ServiceName,
        request: &ReleaseRequest,
        taken: Option<Taken>,
    ) {
        build.change(|view| view.state = BuildState::Running);
        let result = self.make_version(build, actor, name, request, taken.as_ref());
        drop(taken);
        // Whatever the build wrote beside its sources; it may be what fills the disk.
        build.clear();
        let now = self.ledger.now();
        match result {
            Ok(number) => {
                build.change(|view| view.version = Some(number));
                build.end(BuildState::Succeeded, None, now);
            }
            Err(problem) if build.cancel.is_cancelled() => {
                build.end(BuildState::Cancelled, Some(problem), now);
            }
            Err(problem) => build.end(BuildState::Failed, Some(problem), now),
        }
        self.builds.tidy(&self.ledger.world());
    }

    fn make_version(
        &self,
        build: &Arc<Build>,
        actor: &Actor,
        name: &ServiceName,
        request: &ReleaseRequest,
        taken: Option<&Taken>,
    ) -> Result<VersionNumber, Problem> {
        let world = self.ledger.world();
        let service = services::find(&world, name)?;
        let reference = request.reference.as_deref();
        let mut asked =
            self.build_request(&build.id, Some(name), &service.source, reference, &build.folder)?;
        let (manifest, origin) = self.manifest_for(service, request)?;
        asked.manifest = manifest;
        asked.commit =
            request.commit.as_deref().map(str::parse).transpose().map_err(|error| bad_source(&error))?;
        asked.given = taken.map(Taken::given);
        let observer = |event: &BuildEvent| self.observe_build(build, event);
        let prepared =
            lockstep_pipeline::prepare(&asked, &observer, &build.cancel).map_err(|f| failure_problem(&f))?;
        let checked = &prepared.checked;
        build.change(|view| view.commit = Some(checked.commit.to_string()));
        if checked.manifest.name != *name {
            let detail = format!(
                "the manifest at {} is of `{}`, not of `{name}`",
                checked.commit.short(),
                checked.manifest.name
            );
            let hint = if origin == ManifestOrigin::Service {
                format!(
                    "`{name}` was renamed: write name = \"{name}\" in its manifest, then lockstep service manifest {name} FILE"
                )
            } else if world.current_name(&checked.manifest.name) == name {
                format!(
                    "`{name}` was renamed: write name = \"{name}\" in lockstep.toml, commit, and release again"
                )
            } else {
                "register it anew: lockstep service add PATH".to_owned()
            };
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        }
        given::must_match(&checked.manifest, &service.source, taken)?;
        let kept = service.kept_manifest().filter(|_| origin == ManifestOrigin::Service);
        let kept = kept.map(|kept| &kept.digest);
        let told_apart_by =
            Beside { manifest: kept, given: taken.and_then(|taken| taken.tells_apart(&service.source)) };
        let standing = Standing::of(&world, service, &prepared, told_apart_by, Wish::of(request)?);
        let standing = standing.map_err(|problem| match taken {
            Some(taken) => taken.compare(service, checked.commit.as_str(), problem),
            None => problem,
        })?;
        let follows = standing.follows.as_ref();
        let reason = request.unrelated.as_deref();
        let Relation { unrelated, warning } = match standing.wish {
            Wish::AsItWas(_) => Relation::default(),
            _ => relation::check(service, &standing.cut, follows, &prepared, reason)?,
        };
        build.change(|view| view.warnings.extend(standing.remarks.iter().cloned().chain(warning)));
        let decide =
            |contracts: &Contracts| self.decide(&world, service, &checked.manifest, &standing, contracts);
        // What was given is cheaper to package than an earlier one is to check, and says the same.
        let reusable = if taken.is_some() { None } else { self.reusable(service, checked) };
        let (built, decided) = match reusable {
            Some(earlier) => {
                build.change(|view| view.reused = Some(earlier.build.clone()));
                let decided = decide(&self.contracts_of(&earlier)?)?;
                let (artifact, evidence) = (earlier.artifact.clone(), test_evidence(&earlier));
                (Built { artifact, evidence, image: None }, decided)
            }
            None => self.build_artifact(build, &asked, &prepared, &decide)?,
        };
        given::must_be_other_files(service, kept, &built.artifact.digest, &standing.wish)?;
        note_shortfall(build, &decided.next);
        build.change(|view| view.warnings.extend(decided.warnings.iter().cloned()));
        build.begin_phase("record", self.ledger.now());
        let given = asked.manifest.as_ref().map(|text| DocumentUpload {
            kind: "manifest".into(),
            file_name: "lockstep.toml".into(),
            content: text.clone(),
        });
        let uploads: Vec<_> = request.documents.iter().cloned().chain(given).collect();
        let documents = self.keep_documents(&uploads)?;
        // A build may take longer than what nobody names yet stays in the store.
        for blob in &decided.blobs {
            self.blobs.put(blob.as_slice()).map_err(|error| internal(with_sources(&error)))?;
        }
        let (run, processes, image) = match built.image {
            Some(image) => {
                build.change(|view| view.warnings.extend(image.notes));
                (image.run, image.processes, Some(image.given))
            }
            None => (checked.manifest.run.clone(), checked.manifest.processes.clone(), None),
        };
        let databases = self.databases_of(&checked.manifest.databases, built.artifact.digest, &run)?;
        let before: Vec<_> = service.versions.values().flat_map(|it| &it.databases).collect();
        build.change(|view| view.warnings.extend(databases::left_out(&databases, &before)));
        let version = Version {
            number: decided.next.number.clone(),
            commit: checked.commit.to_string(),
            branch: standing.cut.branch.clone(),
            reach: standing.cut.reach.clone(),
            artifact: built.artifact,
            manifest: origin,
            made_elsewhere: taken.map(|taken| taken.recorded(&checked.manifest, image)),
            build: build.id.clone(),
            build_key: checked.key,
            tools: checked.tools.clone(),
            run,
            processes,
            jobs: checked.manifest.jobs.clone(),
            criticality: checked.manifest.criticality,
            requires: decided.requires,
            resources: checked.manifest.resources.clone(),
            databases,
            contracts: decided.contracts,
            routes: checked.manifest.routes.clone(),
            checks: checked.manifest.checks.clone(),
            changelog: standing.changelog.clone(),
            notes: request.notes.clone(),
            unrelated,
            documents,
            recorded_by: actor.clone(),
            recorded: Timestamp::default(),
            stage: first_stage(&world, name)?,
            stage_since: Timestamp::default(),
            evidence: built.evidence,
            approvals: Vec::new(),
        };
        let notes = given::worth_knowing(service, &checked.manifest, &version);
        build.change(|view| view.warnings.extend(notes));
        self.record_version(actor, name, &version, &standing, &decided.compared)?;
        if request.tag == TagChoice::Tag {
            tag(build, service, &version);
        }
        Ok(version.number)
    }

    /// The text of the manifest that counts in place of the one of the commit, and where it comes from.
    fn manifest_for(
        &self,
        service: &Service,
        request: &ReleaseRequest,
    ) -> Result<(Option<String>, ManifestOrigin), Problem> {
        if let Some(given) = &request.manifest {
            return Ok((Some(given.clone()), ManifestOrigin::Release));
        }
        Ok(match self.kept_text(service)? {
            Some(kept) => (Some(kept), ManifestOrigin::Service),
            None => (None, ManifestOrigin::Commit),
        })
    }

    fn observe_build(&self, build: &Build, event: &BuildEvent) {
        match event {
            BuildEvent::PhaseStarted { phase } => build.begin_phase(&phase.to_string(), self.ledger.now()),
            BuildEvent::Note { text } => build.change(|view| view.warnings.push(text.clone())),
            _ => {}
        }
    }

    /// Finds a version of the same commit, manifest and tools whose files are still there and whole.
    fn reusable(&self, service: &Service, checked: &Checked) -> Option<Arc<Version>> {
        let same = |version: &&Arc<Version>| {
            version.build_key == checked.key
                && version.blobs().iter().all(|(digest, _)| self.blobs.verify(digest).is_ok())
        };
        service.versions.values().find(same).cloned()
    }

    fn build_artifact(
        &self,
        build: &Build,
        asked: &BuildRequest,
        prepared: &Prepared,
        decide: &dyn Fn(&Contracts) -> Result<Decided, Problem>,
    ) -> Result<(Built, Decided), Problem> {
        let observer = |event: &BuildEvent| self.observe_build(build, event);
        let decision = RefCell::new(None);
        let accept = |contracts: &Contracts| {
            let decided = decide(contracts);
            let answer = decided.as_ref().map(|_| ()).map_err(|problem| problem.detail.clone());
            decision.replace(Some(decided));
            answer
        };
        let made = match &asked.given {
            Some(given) => lockstep_pipeline::take(asked, given, prepared, &accept, &observer, &build.cancel),
            None => lockstep_pipeline::make(asked, prepared, &accept, &observer, &build.cancel),
        };
        let decided = decision.into_inner().transpose()?;
        let output = made.map_err(|failure| failure_problem(&failure))?;
        let decided = decided.ok_or_else(|| internal("the contracts were not read"))?;
        let stored =
            self.blobs.put_file(&output.artifact.path).map_err(|error| internal(with_sources(&error)))?;
        if stored.digest != output.artifact.digest {
            return Err(internal("the artifact was changed while it was stored"));
        }
        // The blob is the artifact from now on; a second copy in the build's folder would only take space.
        let _ = std::fs::remove_file(&output.artifact.path);
        for suite in &output.suites {
            if let Some(report) = &suite.report {
                self.blobs.put(report.as_slice()).map_err(|error| internal(with_sources(&error)))?;
            }
        }
        let evidence = output.suites.into_iter().map(|suite| suite.evidence).collect();
        let artifact = Artifact { digest: stored.digest, bytes: output.artifact.bytes };
        Ok((Built { artifact, evidence, image: output.image }, decided))
    }

    /// The contracts of a version of the same content.
    fn contracts_of(&self, version: &Version) -> Result<Contracts, Problem> {
        let taken = |name: &str, digest| {
            let snapshot = self.stored_contracts().snapshot(&digest).map_err(internal)?;
            Ok(TakenContract { name: name.to_owned(), snapshot })
        };
        let offered = version.contracts.iter().map(|contract| taken(&contract.name, contract.digest));
        let used = version.requires.iter().filter_map(|(provider, needed)| {
            let contract = needed.contract.as_ref()?;
            Some(taken(&contract.name, contract.digest).map(|taken| (provider.clone(), taken)))
        });
        Ok(Contracts {
            offered: offered.collect::<Result<_, Problem>>()?,
            used: used.collect::<Result<_, Problem>>()?,
        })
    }

    fn keep_documents(&self, uploads: &[DocumentUpload]) -> Result<BTreeMap<String, Document>, Problem> {
        let keep = |upload: &DocumentUpload| {
            let stored =
                self.blobs.put(upload.content.as_bytes()).map_err(|error| internal(with_sources(&error)))?;
            let bytes = upload.content.len() as u64;
            let document = Document { file_name: upload.file_name.clone(), digest: stored.digest, bytes };
            Ok((upload.kind.clone(), document))
        };
        uploads.iter().map(keep).collect()
    }

    fn record_version(
        &self,
        actor: &Actor,
        name: &ServiceName,
        version: &Version,
        standing: &Standing,
        compared: &BTreeSet<VersionNumber>,
    ) -> Result<(), Problem> {
        self.ledger.commit(actor, |world, now| {
            let service = services::find(world, name)?;
            if service.name != *name {
                let detail = format!("`{name}` was renamed to `{}` meanwhile", service.name);
                let hint = format!("release it again: lockstep release {}", service.name);
                return Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint));
            }
            let earlier = gate::earlier(world, service, standing.follows.as_ref(), now);
            let missed =
                |other: &&Arc<Version>| other.number < version.number && !compared.contains(&other.number);
            if let Some(other) = earlier.iter().find(missed) {
                let detail = format!(
                    "`{name}@{}` went live meanwhile, and {} was not compared with it",
                    other.number, version.number
                );
                return Err(Problem::new(ErrorCode::Conflict, detail).with_hint("release again"));
            }
            if service.versions.contains_key(&version.number) {
                let detail = format!("`{name}@{}` was released meanwhile", version.number);
                return Err(Problem::new(ErrorCode::Conflict, detail).with_hint("release again"));
            }
            let mut version = version.clone();
            (version.recorded, version.stage_since) = (now, now);
            Ok((vec![Event::VersionRecorded { service: name.clone(), version: Box::new(version) }], ()))
        })
    }

    /// Returns the folder of all mirrors.
    pub(crate) fn mirrors(&self) -> std::io::Result<PathBuf> {
        Ok(self.config.folder.canonicalize()?.join("mirrors"))
    }

    fn build_request(
        &self,
        build: &str,
        service: Option<&ServiceName>,
        source: &Source,
        reference: Option<&str>,
        work: &Path,
    ) -> Result<BuildRequest, Problem> {
        let bad = |error| bad_source(&error);
        let folder: SourceFolder = source.folder.parse().map_err(bad)?;
        Ok(BuildRequest {
            build: build.to_owned(),
            repository: source.repository.parse().map_err(bad)?,
            folder,
            commit: None,
            manifest: None,
            given: None,
            reference: reference.map(str::parse).transpose().map_err(bad)?,
            work_folder: work.canonicalize().map_err(internal)?,
            mirror_folder: self.mirrors().map_err(internal)?,
            cache_folder: Some(self.config.folder.canonicalize().map_err(internal)?.join("caches")),
            data_folder: Some(self.config.folder.canonicalize().map_err(internal)?),
            largest_contract: self.config.largest_contract,
            guard: GuardCommand(self.config.guard.clone()),
            host: service.map_or_else(HostEnvironment::to_read_a_manifest, |service| {
                HostEnvironment::of_this_process(service, &self.config.build_variables)
            }),
        })
    }
}

fn bad_source(error: &lockstep_pipeline::SourceError) -> Problem {
    Problem::new(ErrorCode::BadRequest, error.to_string())
}

struct Built {
    artifact: Artifact,
    evidence: Vec<Evidence>,
    image: Option<TakenImage>,
}

/// The evidence that belongs to the artifact, not to what happened to the earlier version.
fn test_evidence(version: &Version) -> Vec<Evidence> {
    version.evidence.iter().filter(|evidence| !evidence.kind.as_str().starts_with("ran:")).cloned().collect()
}

fn first_stage(world: &World, service: &ServiceName) -> Result<StageName, Problem> {
    let lifecycle = world.lifecycle_of(service);
    let first = lifecycle.stages.first().map(|stage| stage.name.clone());
    first.ok_or_else(|| internal("the lifecycle has no stage"))
}

fn check_request(request: &ReleaseRequest) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::new(ErrorCode::BadRequest, detail));
    if request.notes.len() > MAX_NOTES_BYTES {
        return bad(format!("the notes are longer than {MAX_NOTES_BYTES} bytes; attach them as a document"));
    }
    Wish::of(request)?;
    if request.manifest.as_ref().is_some_and(|text| text.len() > lockstep_manifest::MAX_MANIFEST_BYTES) {
        return bad("the manifest that is given is too large".into());
    }
    relation::check_reason(request.unrelated.as_deref())?;
    if request.documents.len() > MAX_DOCUMENTS {
        return bad(format!("more than {MAX_DOCUMENTS} documents"));
    }
    let valid = |kind: &str| {
        !kind.is_empty()
            && kind.len() <= 63
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match request.documents.iter().find(|document| !valid(&document.kind)) {
        Some(document) => {
            bad(format!("`{}` is not a kind of document: a-z, 0-9 and - are allowed", document.kind))
        }
        None => Ok(()),
    }
}

/// Tags the commit in a local repository. A tag is a service to people: when it fails, the version still stands.
fn tag(build: &Build, service: &Service, version: &Version) {
    let name = format!("{}-{}", service.name, version.number);
    let warn =
        |why: String| build.change(|view| view.warnings.push(format!("tag {name} was not made: {why}")));
    let Some(folder) = service.source.repository_here().filter(|folder| folder.is_dir()) else {
        let is_elsewhere = service.source.has_repository();
        let why = if is_elsewhere { "the repository is not on this host" } else { "there is no repository" };
        return warn(why.into());
    };
    if let Err(error) = local::tag(folder, &name, &version.commit) {
        warn(with_sources(&error));
    }
}

fn note_shortfall(build: &Build, next: &NextNumber) {
    if let Some(shortfall) = next.shortfall {
        let text = format!(
            "{} is a {} step, but its commits owe a {} one: consumers may break",
            next.number, shortfall.given, shortfall.owed
        );
        build.change(|view| view.warnings.push(text));
    }
}
