//! A build from start to end: the order of the phases, and what is left when one fails.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lockstep_domain::evidence::Outcome;
use lockstep_domain::reference::Scope;
use lockstep_manifest::{Manifest, Package};

use crate::cache::Caches;
use crate::cancel::CancelToken;
use crate::check::{self, CheckProblem, Checked};
use crate::checkout;
use crate::command::{Commands, Turn};
use crate::contract::{Contracts, Taking};
use crate::failure::{BuildFailure, BuildFault, io_fault};
use crate::image::TakenImage;
use crate::mirror::{self, Mirror};
use crate::package::{PackageError, PackageFacts, PackagedArtifact, package, problems_of_run};
use crate::repository::RepositoryLocation;
use crate::request::{BuildEvent, BuildRequest, Ending, Observer, Phase};
use crate::suite::{self, SuiteOutcome};
use crate::workplace::Workplace;

/// A commit that was fetched and checked, ready to be built.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What was checked.
    pub checked: Checked,
    /// The mirror it lies in, for questions about its history.
    pub mirror: Mirror,
}

/// A build that went well. Of its folder, the log and the artifact remain.
#[derive(Debug)]
pub struct BuildOutput {
    /// The artifact, a file in the build's folder.
    pub artifact: PackagedArtifact,
    /// The contracts as they are at the commit.
    pub contracts: Contracts,
    /// The test suites in the order they ran, all green.
    pub suites: Vec<SuiteOutcome>,
    /// The log, a file in the build's folder.
    pub log: PathBuf,
    /// The image, where one was given in place of a build.
    pub image: Option<TakenImage>,
}

/// Runs all phases.
///
/// # Errors
/// The first phase that fails, with its log kept.
pub fn run(
    request: &BuildRequest,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> Result<(Prepared, BuildOutput), Box<BuildFailure>> {
    let prepared = prepare(request, observer, cancel)?;
    let output = make(request, &prepared, &|_| Ok(()), observer, cancel)?;
    Ok((prepared, output))
}

/// Fetches and checks. The result's [`key`](Checked::key) tells whether an earlier build can be used again.
///
/// # Errors
/// When the source cannot be fetched, or with all problems that the check found.
pub fn prepare(
    request: &BuildRequest,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> Result<Prepared, Box<BuildFailure>> {
    in_workplace(request, observer, cancel, Phase::Fetch, |build| {
        let (mirror, problems) = build.phase(Phase::Fetch, |build| build.fetch())?;
        let checked =
            build.phase(Phase::Check, |build| check::check(request, &mirror, build.place, problems));
        let checked = checked.inspect_err(|fault| {
            if matches!(fault, BuildFault::Git(_)) {
                mirror.doubt();
            }
        })?;
        checked.notes.iter().for_each(|note| build.note(note));
        Ok(Prepared { checked, mirror })
    })
}

/// Checks out, builds, reads contracts, tests and packages.
///
/// `accept` is asked as soon as the contracts are known, before anything that takes long: before the build when all of
/// them are files of the commit. What it says against them ends the build.
///
/// # Errors
/// The first phase that fails; neither a process nor an artifact is left then.
pub fn make(
    request: &BuildRequest,
    prepared: &Prepared,
    accept: &dyn Fn(&Contracts) -> Result<(), String>,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> Result<BuildOutput, Box<BuildFailure>> {
    in_workplace(request, observer, cancel, Phase::Checkout, |build| {
        let checked = &prepared.checked;
        build.phase(Phase::Checkout, |build| checkout::check_out(build.place, prepared))?;
        let folder = build.place.source().join(request.folder.as_str());
        let commands = Commands::new(request, checked, build.place, observer);
        let taking = Taking {
            checked,
            folder: &folder,
            commands: &commands,
            place: build.place,
            largest: request.largest_contract,
        };
        let mut contracts = None;
        if taking.needs_no_build() {
            contracts = Some(build.phase(Phase::Contract, |_| taking.take(accept))?);
        }
        let caches =
            Caches::of(build.place, (checked, &prepared.mirror), &folder, request.cache_folder.as_deref());
        build.phase(Phase::Build, |_| {
            caches.iter().for_each(Caches::restore);
            let steps = commands.run_steps(&folder);
            if matches!(steps, Err(BuildFault::Step { .. })) {
                caches.iter().for_each(Caches::doubt);
            }
            steps
        })?;
        let contracts = match contracts {
            Some(contracts) => contracts,
            None => build.phase(Phase::Contract, |_| taking.take(accept))?,
        };
        build.phase(Phase::Test, |build| build.test(checked, &folder, &commands))?;
        let artifact = build.phase(Phase::Package, |build| build.package(checked, &folder))?;
        caches.iter().for_each(Caches::keep);
        Ok(build.finished(artifact, contracts))
    })
}

/// A build under way.
pub(crate) struct Build<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) place: &'a Workplace<'a>,
    phase: Phase,
    pub(crate) suites: Vec<SuiteOutcome>,
}

/// Opens the build's folder, works in it, and leaves nothing there but what is kept.
pub(crate) fn in_workplace<T>(
    request: &BuildRequest,
    observer: &dyn Observer,
    cancel: &CancelToken,
    first: Phase,
    work: impl FnOnce(&mut Build<'_>) -> Result<T, BuildFault>,
) -> Result<T, Box<BuildFailure>> {
    let fail = |phase, fault, last_lines, suites| {
        let log = request.work_folder.join("log");
        let (build, folder) = (request.build.clone(), request.folder.as_str().to_owned());
        Box::new(BuildFailure { build, phase, fault, folder, log, last_lines, suites })
    };
    let place = match Workplace::open(request, cancel) {
        Ok(place) => place,
        Err(fault) => return Err(fail(first, fault, Vec::new(), Vec::new())),
    };
    let mut build = Build { request, observer, place: &place, phase: first, suites: Vec::new() };
    let result = work(&mut build).map_err(|fault| {
        let failure = fail(build.phase, fault, place.last_lines(), std::mem::take(&mut build.suites));
        place.say(&failure.to_string());
        failure
    });
    place.remove_sources();
    result
}

impl Build<'_> {
    /// What is left of it when all went well.
    pub(crate) fn finished(&mut self, artifact: PackagedArtifact, contracts: Contracts) -> BuildOutput {
        let suites = std::mem::take(&mut self.suites);
        BuildOutput { artifact, contracts, suites, log: self.place.log(), image: None }
    }

    pub(crate) fn phase<T>(
        &mut self,
        phase: Phase,
        work: impl FnOnce(&mut Self) -> Result<T, BuildFault>,
    ) -> Result<T, BuildFault> {
        self.phase = phase;
        let started = Instant::now();
        self.observer.event(&BuildEvent::PhaseStarted { phase });
        let result = if self.place.cancel.is_cancelled() { Err(BuildFault::Cancelled) } else { work(self) };
        let ending = if result.is_ok() { Ending::Good } else { Ending::Bad };
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.observer.event(&BuildEvent::PhaseEnded { phase, ending, duration_ms });
        result
    }

    fn note(&self, text: &str) {
        self.place.say(&format!("note: {text}"));
        self.observer.event(&BuildEvent::Note { text: text.to_owned() });
    }

    /// Fetches, unless the given folder cannot be fetched from at all.
    fn fetch(&self) -> Result<(Mirror, Vec<CheckProblem>), BuildFault> {
        self.place.say(&format!("fetch {}", self.request.repository));
        let problems = check::work_tree(self.request, self.place)?;
        if problems.iter().any(|problem| matches!(problem, CheckProblem::NotTheRoot { .. })) {
            return Err(BuildFault::Problems(problems));
        }
        let mirror = mirror::update(&self.request.repository, &self.request.mirror_folder, self.place)?;
        Ok((mirror, problems))
    }

    /// Runs the suites in their order until one is red.
    fn test(&mut self, checked: &Checked, folder: &Path, commands: &Commands<'_>) -> Result<(), BuildFault> {
        let suites = &checked.manifest.tests;
        for (index, suite) in suites.iter().enumerate() {
            let turn = Turn { phase: Phase::Test, number: index + 1, count: suites.len() };
            let outcome = suite::run(turn, suite, folder, commands)?;
            let evidence = outcome.evidence.clone();
            self.suites.push(outcome);
            if evidence.outcome == Outcome::Red {
                return Err(BuildFault::RedSuite {
                    kind: suite.kind.to_string(),
                    reason: suite::reason(&evidence),
                });
            }
        }
        Ok(())
    }

    fn package(&self, checked: &Checked, folder: &Path) -> Result<PackagedArtifact, BuildFault> {
        let root = match &checked.manifest.package.root {
            Some(below) => folder.join(below.as_str()),
            None => folder.to_owned(),
        };
        self.must_be_inside(&root)?;
        let facts = PackageFacts {
            service: checked.manifest.name.clone(),
            changed_seconds: checked.changed.0 / 1_000,
            builder: builder(),
            tools: checked.tools.clone(),
        };
        let packaged =
            package(&root, &self.wanted(checked), &facts, &self.place.artifact(), self.place.cancel);
        let packaged = packaged.map_err(|error| match error {
            PackageError::Cancelled => BuildFault::Cancelled,
            error => error.into(),
        })?;
        let Manifest { run, requires, resources, .. } = &checked.manifest;
        let scope = Scope::of(requires, resources);
        match problems_of_run(&root, &packaged.contents, run, &scope) {
            problems if problems.is_empty() => Ok(packaged),
            problems => Err(PackageError::Problems(problems).into()),
        }
    }

    /// What belongs to the package; without a repository there is nothing that a pattern could miss.
    fn wanted(&self, checked: &Checked) -> Package {
        let mut wanted = checked.manifest.package.clone();
        if self.request.repository == RepositoryLocation::Nowhere {
            wanted.include.clear();
        }
        wanted
    }

    /// A build step could have put a link in the place of the folder.
    fn must_be_inside(&self, root: &Path) -> Result<(), BuildFault> {
        let real = |path: &Path| path.canonicalize().map_err(|error| io_fault(path, "packaged", error));
        if real(root)?.starts_with(real(&self.place.source())?) {
            return Ok(());
        }
        Err(io_fault(root, "packaged", io::Error::other("it leads out of the checkout")))
    }
}

/// The program that builds, as it stands in packages: what it runs on decides what compilers make.
fn builder() -> String {
    format!("lockstep {} ({}-{})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS)
}
