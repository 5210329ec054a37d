//! Releases: from a commit to a recorded version, through the pipeline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lockstep_api::types::{
    BuildState, BuildView, BumpChoice, DocumentUpload, RegisterService, ReleaseRequest, ServiceView,
    TagChoice,
};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::branch::{Cut, NextNumber, newest_release, next_number};
use lockstep_domain::changelog::Changelog;
use lockstep_domain::commits::{Bump, Commit, bump_owed};
use lockstep_domain::evidence::Evidence;
use lockstep_domain::service::{Artifact, Document, Service, Source, Version};
use lockstep_domain::{Actor, Event, ServiceName, StageName, Timestamp, VersionNumber, World};
use lockstep_manifest::Manifest;
use lockstep_pipeline::guard::GuardCommand;
use lockstep_pipeline::{
    BuildEvent, BuildFailure, BuildFault, BuildRequest, CheckProblem, Checked, HostEnvironment, Mirror,
    Prepared, SourceFolder,
};

use crate::builds::Build;
use crate::instances::with_sources;
use crate::{Control, internal, not_found, services};

/// Most documents of one version.
const MAX_DOCUMENTS: usize = 50;
/// Longest notes of a version.
const MAX_NOTES_BYTES: usize = 256 * 1024;
/// Lines of the log that an error shows.
const SHOWN_LINES: usize = 12;
/// Failed tests that an error shows.
const SHOWN_FAILURES: usize = 10;
/// What the manifest is called.
const MANIFEST: &str = "lockstep.toml";

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
            let source = located(request.source)?;
            let manifest = control.manifest_of(&source)?;
            control.record_service(
                &actor,
                &manifest.name,
                manifest.owner.as_deref(),
                &source,
                request.lifecycle.as_ref(),
            )?;
            control.service(&manifest.name)
        };
        tokio::task::spawn_blocking(work).await.map_err(internal)?
    }

    /// Reads the manifest of a source: from the work tree where there is one, else from the repository's main branch.
    fn manifest_of(&self, source: &Source) -> Result<Manifest, Problem> {
        let folder = Path::new(&source.repository).join(&source.folder);
        if !folder.is_dir() {
            return self.fetched_manifest(source);
        }
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            not_found(format!("`{}` cannot be read: {error}", path.display()), "write one: lockstep init")
        })?;
        lockstep_manifest::parse(&text, MANIFEST).map_err(|problems| {
            let parts = problems.into_iter().map(manifest_part).collect();
            Problem::new(ErrorCode::BadRequest, format!("`{}` is not valid", path.display()))
                .with_problems(parts)
                .with_hint(format!("lockstep check {}", folder.display()))
        })
    }

    fn fetched_manifest(&self, source: &Source) -> Result<Manifest, Problem> {
        let work = tempfile::tempdir_in(&self.config.folder).map_err(internal)?;
        let request = self.build_request("register", source, None, work.path())?;
        let quiet = |_: &BuildEvent| {};
        match lockstep_pipeline::prepare(&request, &quiet, &lockstep_pipeline::CancelToken::new()) {
            Ok(prepared) => Ok(prepared.checked.manifest),
            Err(failure) => Err(failure_problem(&failure)),
        }
    }

    /// Begins a release. It goes on in the background; follow its build.
    ///
    /// # Errors
    /// When the service does not exist, or the request is not usable.
    pub fn release(
        self: &Arc<Self>,
        actor: &Actor,
        name: &ServiceName,
        request: ReleaseRequest,
    ) -> Result<BuildView, Problem> {
        services::find(&self.ledger.world(), name)?;
        check_request(&request)?;
        let reference = request.reference.clone().unwrap_or_else(|| "(default branch)".into());
        let build = self.builds.begin(actor, name, &reference, self.ledger.now()).map_err(internal)?;
        let view = build.view();
        let (control, actor, name) = (Arc::clone(self), actor.clone(), name.clone());
        let turn = self.builds.turn(&name);
        self.spawn(async move {
            let _turn = turn.lock().await;
            let run = move || control.run_release(&build, &actor, &name, &request);
            if let Err(error) = tokio::task::spawn_blocking(run).await {
                tracing::error!(%error, "a release ended by a panic");
            }
        });
        Ok(view)
    }

    fn run_release(&self, build: &Arc<Build>, actor: &Actor, name: &ServiceName, request: &ReleaseRequest) {
        build.change(|view| view.state = BuildState::Running);
        let result = self.make_version(build, actor, name, request);
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
    }

    fn make_version(
        &self,
        build: &Arc<Build>,
        actor: &Actor,
        name: &ServiceName,
        request: &ReleaseRequest,
    ) -> Result<VersionNumber, Problem> {
        let world = self.ledger.world();
        let service = services::find(&world, name)?;
        let asked =
            self.build_request(&build.id, &service.source, request.reference.as_deref(), &build.folder)?;
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
            return Err(Problem::new(ErrorCode::Refused, detail)
                .with_hint("register it anew: lockstep service add PATH"));
        }
        let numbered = number(&world, service, checked, &prepared.mirror, &asked.folder, request.bump)?;
        note_shortfall(build, &numbered.next);
        let built = match self.reusable(service, checked) {
            Some(earlier) => {
                build.change(|view| view.reused = Some(earlier.build.clone()));
                Built { artifact: earlier.artifact.clone(), evidence: test_evidence(&earlier) }
            }
            None => self.build_artifact(build, &asked, &prepared)?,
        };
        build.begin_phase("record", self.ledger.now());
        let documents = self.keep_documents(&request.documents)?;
        let version = Version {
            number: numbered.next.number.clone(),
            commit: checked.commit.to_string(),
            branch: numbered.cut.branch.clone(),
            reach: numbered.cut.reach.clone(),
            artifact: built.artifact,
            build: build.id.clone(),
            build_key: checked.key,
            tools: checked.tools.clone(),
            run: checked.manifest.run.clone(),
            requires: checked.manifest.requires.clone(),
            routes: checked.manifest.routes.clone(),
            changelog: numbered.changelog,
            notes: request.notes.clone(),
            documents,
            recorded_by: actor.clone(),
            recorded: Timestamp::default(),
            stage: first_stage(&world, name)?,
            stage_since: Timestamp::default(),
            evidence: built.evidence,
            approvals: Vec::new(),
        };
        self.record_version(actor, name, &version)?;
        if request.tag == TagChoice::Tag {
            tag(build, service, &version);
        }
        Ok(version.number)
    }

    fn observe_build(&self, build: &Build, event: &BuildEvent) {
        match event {
            BuildEvent::PhaseStarted { phase } => build.begin_phase(&phase.to_string(), self.ledger.now()),
            BuildEvent::Note { text } => build.change(|view| view.warnings.push(text.clone())),
            _ => {}
        }
    }

    /// Finds a version of the same commit, manifest and tools whose artifact is still there.
    fn reusable(&self, service: &Service, checked: &Checked) -> Option<Arc<Version>> {
        let same = |version: &&Arc<Version>| {
            version.build_key == checked.key && self.blobs.contains(&version.artifact.digest)
        };
        service.versions.values().find(same).cloned()
    }

    fn build_artifact(
        &self,
        build: &Build,
        asked: &BuildRequest,
        prepared: &Prepared,
    ) -> Result<Built, Problem> {
        let observer = |event: &BuildEvent| self.observe_build(build, event);
        let output = lockstep_pipeline::make(asked, prepared, &observer, &build.cancel)
            .map_err(|f| failure_problem(&f))?;
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
        Ok(Built { artifact: Artifact { digest: stored.digest, bytes: output.artifact.bytes }, evidence })
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

    fn record_version(&self, actor: &Actor, name: &ServiceName, version: &Version) -> Result<(), Problem> {
        self.ledger.commit(actor, |world, now| {
            let service = services::find(world, name)?;
            if service.versions.contains_key(&version.number) {
                let detail = format!("`{name}@{}` was released meanwhile", version.number);
                return Err(Problem::new(ErrorCode::Conflict, detail).with_hint("release again"));
            }
            let mut version = version.clone();
            (version.recorded, version.stage_since) = (now, now);
            Ok((vec![Event::VersionRecorded { service: name.clone(), version: Box::new(version) }], ()))
        })
    }

    fn build_request(
        &self,
        build: &str,
        source: &Source,
        reference: Option<&str>,
        work: &Path,
    ) -> Result<BuildRequest, Problem> {
        let bad =
            |error: lockstep_pipeline::SourceError| Problem::new(ErrorCode::BadRequest, error.to_string());
        let folder: SourceFolder = source.folder.parse().map_err(bad)?;
        Ok(BuildRequest {
            build: build.to_owned(),
            repository: source.repository.parse().map_err(bad)?,
            folder,
            reference: reference.map(str::parse).transpose().map_err(bad)?,
            work_folder: work.canonicalize().map_err(internal)?,
            mirror_folder: self.config.folder.canonicalize().map_err(internal)?.join("mirrors"),
            guard: GuardCommand(self.config.guard.clone()),
            host: HostEnvironment::of_this_process(),
        })
    }
}

struct Built {
    artifact: Artifact,
    evidence: Vec<Evidence>,
}

struct Numbered {
    cut: Cut,
    next: NextNumber,
    changelog: Changelog,
}

/// Decides the number of a version by its branch, the versions before it and the commits since.
fn number(
    world: &World,
    service: &Service,
    checked: &Checked,
    mirror: &Mirror,
    folder: &SourceFolder,
    choice: BumpChoice,
) -> Result<Numbered, Problem> {
    let refuse = |detail: String| Problem::new(ErrorCode::Refused, detail);
    let branch = checked.branch.as_deref().ok_or_else(|| {
        refuse(format!(
            "commit {} belongs to no single branch, and the branch decides the number",
            checked.commit.short()
        ))
        .with_hint("name a branch with --ref")
    })?;
    let cut = world
        .branches
        .resolve(branch)
        .map_err(|error| refuse(error.to_string()).with_hint("lockstep branches show"))?;
    let existing: Vec<_> = service.versions.keys().cloned().collect();
    let wanted = wanted(choice);
    let follows = newest_release(&existing, cut.line).and_then(|number| service.versions.get(number));
    let since = follows.map(|version| version.commit.parse()).transpose().map_err(internal)?;
    let log = mirror
        .log(&checked.commit, since.as_ref(), folder)
        .map_err(|error| internal(with_sources(&error)))?;
    let mut commits: Vec<_> = log
        .into_iter()
        .map(|raw| Commit { id: raw.id, message: format!("{}\n\n{}", raw.subject, raw.body) })
        .collect();
    commits.reverse();
    if let Some(version) = released_already(service, checked, &cut).filter(|_| wanted.is_none()) {
        let detail = format!(
            "nothing to release: commit {} is `{}@{}` already",
            checked.commit.short(),
            service.name,
            version.number
        );
        return Err(refuse(detail).with_hint(format!("lockstep show {}@{}", service.name, version.number)));
    }
    let next = next_number(&existing, &cut, bump_owed(&commits), wanted)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(Numbered { cut, next, changelog: Changelog::of(&commits) })
}

const fn wanted(choice: BumpChoice) -> Option<Bump> {
    match choice {
        BumpChoice::Auto => None,
        BumpChoice::Major => Some(Bump::Major),
        BumpChoice::Minor => Some(Bump::Minor),
        BumpChoice::Patch => Some(Bump::Patch),
    }
}

/// Finds a version of the same commit that was cut in the same way.
fn released_already<'a>(service: &'a Service, checked: &Checked, cut: &Cut) -> Option<&'a Arc<Version>> {
    let label = |version: &Version| version.number.pre().split('.').next().unwrap_or_default().to_owned();
    let wanted = cut.label.as_ref().map(ToString::to_string).unwrap_or_default();
    service
        .versions
        .values()
        .find(|version| version.commit == checked.commit.as_str() && label(version) == wanted)
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

/// Finds the root of a local repository, so that any folder in it can be named.
fn located(source: Source) -> Result<Source, Problem> {
    let path = PathBuf::from(&source.repository);
    if !path.is_dir() {
        return Ok(source);
    }
    let path = path.canonicalize().map_err(internal)?;
    let output = Command::new("git")
        .arg("-C")
        .arg(&path)
        .args(["rev-parse", "--show-toplevel", "--show-prefix"])
        .output();
    let output = output.map_err(|error| {
        Problem::new(ErrorCode::Refused, format!("git cannot be run: {error}")).with_hint("install git")
    })?;
    if !output.status.success() {
        let detail = format!("`{}` is not in a git repository", path.display());
        return Err(Problem::new(ErrorCode::Refused, detail).with_hint("git init, commit, and try again"));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let (Some(root), prefix) = (lines.next(), lines.next().unwrap_or_default()) else { return Ok(source) };
    let folder = if source.folder.is_empty() {
        prefix.trim_end_matches('/').to_owned()
    } else {
        format!("{prefix}{}", source.folder)
    };
    Ok(Source { repository: root.to_owned(), folder })
}

/// Tags the commit in a local repository. A tag is a service to people: when it fails, the version still stands.
fn tag(build: &Build, service: &Service, version: &Version) {
    let name = format!("{}-{}", service.name, version.number);
    let warn =
        |why: String| build.change(|view| view.warnings.push(format!("tag {name} was not made: {why}")));
    let folder = Path::new(&service.source.repository);
    if !folder.is_dir() {
        return warn("the repository is not on this host".into());
    }
    let output =
        Command::new("git").arg("-C").arg(folder).args(["tag", "--", &name, &version.commit]).output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => warn(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => warn(error.to_string()),
    }
}

fn failure_problem(failure: &BuildFailure) -> Problem {
    let code = match &failure.fault {
        BuildFault::Io { .. } | BuildFault::Guard(_) => ErrorCode::Internal,
        _ => ErrorCode::Refused,
    };
    let parts = match &failure.fault {
        BuildFault::Problems(problems) => problems.iter().map(check_part).collect(),
        BuildFault::RedSuite { .. } => failed_tests(failure),
        BuildFault::Cancelled => Vec::new(),
        _ => last_lines(failure),
    };
    let detail = match &failure.fault {
        BuildFault::Problems(problems) => format!("{} problems stand in the way", problems.len()),
        _ => failure.to_string(),
    };
    Problem::new(code, detail).with_problems(parts).with_hint(failure.hint())
}

fn check_part(problem: &CheckProblem) -> ProblemPart {
    match problem {
        CheckProblem::Manifest(problem) => manifest_part(problem.clone()),
        other => ProblemPart { detail: other.to_string(), ..ProblemPart::default() },
    }
}

fn manifest_part(problem: lockstep_manifest::Problem) -> ProblemPart {
    ProblemPart {
        detail: problem.message,
        file: Some(problem.file),
        line: Some(problem.line),
        field: Some(problem.field).filter(|field| !field.is_empty()),
        hint: problem.hint,
    }
}

fn failed_tests(failure: &BuildFailure) -> Vec<ProblemPart> {
    let failures = failure.suites.iter().flat_map(|suite| &suite.evidence.failures);
    failures
        .take(SHOWN_FAILURES)
        .map(|test| ProblemPart {
            detail: format!("{}: {}", test.name, test.message),
            ..ProblemPart::default()
        })
        .collect()
}

fn last_lines(failure: &BuildFailure) -> Vec<ProblemPart> {
    if failure.last_lines.is_empty() {
        return Vec::new();
    }
    let from = failure.last_lines.len().saturating_sub(SHOWN_LINES);
    let detail = format!("the log ends with:\n      {}", failure.last_lines[from..].join("\n      "));
    vec![ProblemPart { detail, ..ProblemPart::default() }]
}
