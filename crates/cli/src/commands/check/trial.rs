//! Tries a service out: builds what its work tree holds, starts each of its processes once, looks at it, and ends it.
//!
//! Everything lies in a folder of its own below that of temporary files. Invariant: what a trial that was killed left behind is ended
//! and removed by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockstep_domain::external::External;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::listeners::{CallAddresses, Opener};
use lockstep_domain::name::{ProcessName, ResourceName};
use lockstep_domain::resource::address::Address;
use lockstep_domain::run::{Restart, RunSpec};
use lockstep_domain::said_version;
use lockstep_domain::{
    Arm, BuildVariables, ConfigRevision, Digest, Instance, InstanceId, InstanceState, ServiceName,
    VersionNumber,
};
use lockstep_manifest::{MANIFEST_FILE, Manifest, render};
use lockstep_pipeline::guard::GuardCommand;
use lockstep_pipeline::{
    BuildEvent, BuildFailure, BuildOutput, BuildRequest, CancelToken, HostEnvironment, LargestContract,
    Observer, local, snapshot,
};
use lockstep_runtime::{Follow, InstanceSpec, LocalDriver, SupervisorCommand, relayed};
use lockstep_site::Site;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::findings::{Said, Seen};
use crate::exit::Exit;
use crate::failure::{Failure, with_sources};
use crate::progress::Progress;

/// How the folders of trials begin.
const PREFIX: &str = "lockstep-check-";
/// What nobody listens on: where what a service requires is said to be, unless somebody names a real one.
const NOBODY: &str = "127.0.0.1:9";
/// Its port.
const NOBODY_PORT: u16 = 9;
/// What the environment of a trial is called.
const ENVIRONMENT: &str = "check";
/// How long an instance may take on top of its start timeout, and to be gone after its stop timeout.
const GRACE: Duration = Duration::from_secs(15);
/// How long after it was healthy a service may begin to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether something has happened.
const PAUSE: Duration = Duration::from_millis(50);
/// How many lines of a log are looked at.
const LINES: usize = 200;

/// What is known of the world of a service that is tried.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// Configuration.
    pub(super) variables: BTreeMap<String, String>,
    /// Where services are that it requires.
    pub(super) services: BTreeMap<ServiceName, String>,
    /// Where its resources are.
    pub(super) resources: BTreeMap<ResourceName, Address>,
}

/// A folder with what a trial needs, and what runs in it.
pub(super) struct Trial {
    driver: LocalDriver,
    release: Digest,
    folder: TempDir,
    _lock: File,
}

/// What a work tree holds now, built, in a folder of its own.
pub(super) struct Prepared {
    /// Held as long as it goes on.
    lock: File,
    folder: TempDir,
    output: BuildOutput,
}

/// Builds what a work tree holds now. Its tests are not run.
pub(super) fn prepare(folder: &Path, manifest: &Manifest, progress: &Progress) -> Result<Prepared, Failure> {
    let scratch = tempfile::Builder::new().prefix(PREFIX).tempdir();
    let scratch = scratch.map_err(|error| Failure::file("write to", &std::env::temp_dir(), &error))?;
    let lock = hold(scratch.path()).map_err(|error| Failure::file("hold", scratch.path(), &error))?;
    let output = build(folder, manifest, scratch.path(), &program()?, &Events(progress))?;
    Ok(Prepared { lock, folder: scratch, output })
}

impl Prepared {
    /// Unpacks it where it can be run.
    pub(super) async fn begin(self) -> Result<Trial, Failure> {
        let Self { lock, folder, output } = self;
        let driver = LocalDriver::open(&folder.path().join("runtime"), supervisor()?).await;
        let driver = driver.map_err(|error| internal("nothing can be run", &error))?;
        let (release, path) = (output.artifact.digest, &output.artifact.path);
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let failed =
            |error| Failure::new(Exit::EndedBadly, "the artifact cannot be unpacked").caused_by(&error);
        driver.unpack(release, file).await.map_err(failed)?;
        Ok(Trial { driver, release, folder, _lock: lock })
    }
}

/// Holds the folder of a trial, as the only one.
fn hold(folder: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(folder.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn supervisor() -> Result<SupervisorCommand, Failure> {
    Ok(SupervisorCommand(vec![program()?.into_os_string(), "supervisor".into()]))
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| internal("the path of this program cannot be found", &error))
}

fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Internal, what).caused_by(error)
}

struct Events<'a>(&'a Progress);

impl Observer for Events<'_> {
    fn event(&self, event: &BuildEvent) {
        match event {
            BuildEvent::PhaseStarted { phase } => self.0.status(&phase.to_string()),
            BuildEvent::Note { text } => self.0.line(&format!("note: {text}")),
            _ => {}
        }
    }
}

fn build(
    folder: &Path,
    manifest: &Manifest,
    scratch: &Path,
    program: &Path,
    observer: &dyn Observer,
) -> Result<BuildOutput, Failure> {
    let found = local::find(folder).map_err(|error| internal("git cannot be asked", &error))?;
    let Some(found) = found else {
        let failure = Failure::usage(format!("`{}` lies in no git repository", folder.display()));
        return Err(failure.hint("git init, then git add what belongs to the service"));
    };
    let (source, work) = (scratch.join("source"), scratch.join("build"));
    for made in [&source, &work, &scratch.join("mirrors")] {
        fs::create_dir(made).map_err(|error| Failure::file("make", made, &error))?;
    }
    let text = render(&Manifest { tests: Vec::new(), ..manifest.clone() });
    let path = Path::new(&found.below).join(MANIFEST_FILE);
    let copied = snapshot(&found.root, &source, &[(&path, &text)]);
    copied.map_err(|error| {
        Failure::new(Exit::EndedBadly, "the work tree cannot be copied").caused_by(&error)
    })?;
    let request = BuildRequest {
        build: "check".to_owned(),
        repository: parsed(&source.display().to_string())?,
        folder: parsed(if found.below.is_empty() { "." } else { &found.below })?,
        reference: None,
        commit: None,
        manifest: None,
        given: None,
        work_folder: real(&work)?,
        mirror_folder: real(&scratch.join("mirrors"))?,
        cache_folder: None,
        data_folder: None,
        largest_contract: LargestContract::default(),
        guard: GuardCommand(vec![program.as_os_str().to_owned(), "guard".into()]),
        host: HostEnvironment::of_this_process(&manifest.name, &allowed(manifest)),
    };
    lockstep_pipeline::run(&request, observer, &CancelToken::new())
        .map(|(_, output)| output)
        .map_err(|failure| failed(&failure))
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure>
where
    T::Err: std::error::Error + 'static,
{
    text.parse().map_err(|error| internal("the copy of the work tree cannot be named", &error))
}

fn real(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::file("find", path, &error))
}

/// Who tries a service out gives its build what its manifest asks for.
fn allowed(manifest: &Manifest) -> BuildVariables {
    let names = manifest.build.variables.iter().chain(&manifest.build.optional_variables);
    names.filter_map(|name| name.parse().ok()).collect()
}

fn failed(failure: &BuildFailure) -> Failure {
    let mut told = Failure::new(Exit::EndedBadly, failure.to_string());
    for line in &failure.last_lines {
        told = told.because(line.clone());
    }
    told
}

impl Trial {
    /// Starts a process of the service, waits until it is healthy or has failed, looks at it, and ends it.
    pub(super) async fn try_out(
        &self,
        manifest: &Manifest,
        (process, run): (Option<&ProcessName>, &RunSpec),
        world: &World,
        progress: &Progress,
    ) -> Result<Seen, Failure> {
        let spec = self.spec(manifest, (process, run), world)?;
        let (id, name) = (spec.id.clone(), name_of(manifest, process));
        let variables = spec.run.variables.keys().chain(spec.variables.keys()).chain(spec.filled.keys());
        let variables = variables.cloned().collect();
        progress.status(&format!("starting {name}"));
        let begun = Instant::now();
        if let Err(error) = self.driver.start(spec).await {
            let failure = Some(format!("it cannot be started: {}", with_sources(&error)));
            return Ok(Seen { name, failure, variables, ended_after_ms: Some(0), ..Seen::default() });
        }
        let limit = Duration::from_millis(run.start_limit_ms()) + GRACE;
        // What has failed listens nowhere any more, so it is looked while it starts.
        let mut listens = BTreeSet::new();
        let settled = |it: &Instance| {
            listens.extend(self.driver.listening().remove(&id).unwrap_or_default());
            // A relay runs on, whatever becomes of the other side.
            let is_away = run.external.is_some() && matches!(it.state, InstanceState::Unhealthy { .. });
            it.state.is_healthy() || it.state.is_over() || is_away
        };
        let instance = self.until(&id, limit, settled).await;
        let instance = instance.ok_or_else(|| Failure::new(Exit::Internal, format!("{id} was lost")))?;
        // A command that asks for its health may be content before it listens.
        let port = instance.address.map(|address| address.port());
        let late = Instant::now() + LISTENS_WITHIN;
        while instance.state.is_healthy()
            && run.kind.is_web()
            && !listens.iter().any(|it: &SocketAddr| Some(it.port()) == port)
            && Instant::now() < late
        {
            tokio::time::sleep(PAUSE).await;
            listens.extend(self.driver.listening().remove(&id).unwrap_or_default());
        }
        let took = ms(begun.elapsed());
        let mut seen = Seen {
            healthy_after_ms: instance.state.is_healthy().then_some(took),
            failure: failure_of(&instance),
            port: instance.address.map(|address| address.port()),
            listens,
            made: self.driver.made(&id),
            restarts: instance.restarts,
            ended_after_ms: None,
            says: says(&instance, run).await,
            log: self.log(&id).await,
            name,
            variables,
        };
        seen.variables.extend(["PORT", "HOST"].map(str::to_owned));
        progress.status(&format!("ending {}", seen.name));
        seen.ended_after_ms = self.end_one(&id, run).await?;
        Ok(seen)
    }

    fn spec(
        &self,
        manifest: &Manifest,
        (process, run): (Option<&ProcessName>, &RunSpec),
        world: &World,
    ) -> Result<InstanceSpec, Failure> {
        let service = manifest.name.clone();
        let arm = Arm {
            service: service.clone(),
            version: VersionNumber::new(0, 0, 0),
            config: ConfigRevision(0),
            process: process.cloned(),
        };
        let id: InstanceId =
            parsed(&format!("{}-0.0.0-c0-{}", service, process.map_or("main", ProcessName::as_str)))?;
        let url = |name: &ServiceName| {
            world.services.get(name).cloned().unwrap_or_else(|| format!("http://{NOBODY}/@{name}"))
        };
        let urls: BTreeMap<_, _> = manifest.requires.keys().map(|name| (name.clone(), url(name))).collect();
        let resources = manifest.resources.iter().map(|(name, need)| {
            let nobody = || Address::here(need.kind, ("nobody", "nobody"), NOBODY_PORT, "none");
            (name.clone(), world.resources.get(name).cloned().unwrap_or_else(nobody))
        });
        let mut variables = facts(&arm, manifest, &id);
        variables.extend(urls.iter().map(|(name, url)| {
            (format!("LOCKSTEP_URL_{}", name.as_str().to_uppercase().replace('-', "_")), url.clone())
        }));
        let (filled, plain): (BTreeMap<_, _>, BTreeMap<_, _>) =
            world.variables.clone().into_iter().partition(|(_, value)| value.contains("${"));
        variables.extend(plain);
        let calls = Some(CallAddresses { opener: Opener::Server, services: listeners(&urls) });
        Ok(InstanceSpec {
            id,
            environment: parsed(ENVIRONMENT)?,
            arm,
            run: once(served(run.clone())?),
            job: None,
            variables,
            filled,
            urls,
            calls: calls.filter(|calls| !calls.services.is_empty()),
            ports: InstancePorts::Server,
            release: self.release,
            resources: resources.collect(),
            resource: None,
            own: None,
            data_of: None,
            listen: None,
        })
    }

    /// Waits until an instance is as wanted, or for the time; `None` where it is not known any more.
    async fn until(
        &self,
        id: &InstanceId,
        limit: Duration,
        mut wanted: impl FnMut(&Instance) -> bool,
    ) -> Option<Instance> {
        let deadline = Instant::now() + limit;
        loop {
            let instance = self.driver.list().into_iter().find(|instance| instance.id == *id)?;
            if wanted(&instance) || Instant::now() >= deadline {
                return Some(instance);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends an instance; says how long that took, where it ended by itself.
    async fn end_one(&self, id: &InstanceId, run: &RunSpec) -> Result<Option<u64>, Failure> {
        let begun = Instant::now();
        self.driver.stop(id).await.map_err(|error| internal("it cannot be told to end", &error))?;
        let limit = Duration::from_millis(run.stop.timeout_ms);
        self.until(id, limit + GRACE, |instance| instance.state.is_over()).await;
        let took = begun.elapsed();
        Ok((took < limit).then(|| ms(took)))
    }

    async fn log(&self, id: &InstanceId) -> Vec<String> {
        let mut lines = Vec::new();
        let Ok(environment) = ENVIRONMENT.parse() else { return lines };
        let Some(mut reader) = self.driver.log(&environment, id, Follow::No) else { return lines };
        while let Ok(Some(line)) = reader.next_line().await {
            lines.push(line);
        }
        lines.split_off(lines.len().saturating_sub(LINES))
    }

    /// Ends everything that runs, and removes what lies in its folder. What could not be removed is removed by the next trial.
    pub(super) async fn end(self) {
        let Self { driver, folder, .. } = self;
        end_all(&driver).await;
        drop(driver);
        remove(folder.path()).await;
    }
}

async fn end_all(driver: &LocalDriver) {
    for instance in driver.list().into_iter().filter(|instance| !instance.state.is_over()) {
        let _ = driver.stop(&instance.id).await;
    }
    let mut watch = driver.watch();
    let all_over = watch.wait_for(|all| all.values().all(|instance| instance.state.is_over()));
    let _ = tokio::time::timeout(GRACE, all_over).await;
}

/// Ends and removes what trials left behind that were killed. One that still goes on holds its folder.
pub(super) async fn clear() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten().filter(|it| it.file_name().to_string_lossy().starts_with(PREFIX)) {
        clear_one(&entry.path()).await;
    }
}

async fn clear_one(folder: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let is_ours = |found: &fs::Metadata| found.is_dir() && found.uid() == rustix::process::getuid().as_raw();
    let (Ok(supervisor), true) = (supervisor(), fs::symlink_metadata(folder).is_ok_and(|it| is_ours(&it)))
    else {
        return;
    };
    // Between the folder and its lock there is a moment.
    let is_new = || {
        fs::metadata(folder)
            .and_then(|it| it.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|it| it < GRACE))
    };
    if !folder.join("lock").exists() && is_new() {
        return;
    }
    let Ok(_nobody_else) = hold(folder) else { return };
    let runtime = folder.join("runtime");
    if runtime.is_dir() {
        let Ok(driver) = LocalDriver::open(&runtime, supervisor).await else { return };
        end_all(&driver).await;
    }
    remove(folder).await;
}

/// Removes a folder. Who still writes a last line there has some time for it.
async fn remove(folder: &Path) {
    let deadline = Instant::now() + GRACE;
    while lockstep_files::tree::remove(folder).is_err() && folder.exists() && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a process is called: by its name where it has one, else by the service.
pub(super) fn name_of(manifest: &Manifest, process: Option<&ProcessName>) -> String {
    let named = process.or(manifest.processes.main.as_ref()).map(ProcessName::as_str);
    named.unwrap_or(manifest.name.as_str()).to_owned()
}

fn facts(arm: &Arm, manifest: &Manifest, id: &InstanceId) -> BTreeMap<String, String> {
    let process = arm.process.as_ref().or(manifest.processes.main.as_ref());
    let mut all = BTreeMap::from([
        ("LOCKSTEP_SERVICE".to_owned(), arm.service.to_string()),
        ("LOCKSTEP_VERSION".to_owned(), arm.version.to_string()),
        ("LOCKSTEP_ENVIRONMENT".to_owned(), ENVIRONMENT.to_owned()),
        ("LOCKSTEP_INSTANCE".to_owned(), id.to_string()),
        ("LOCKSTEP_GATEWAY".to_owned(), format!("http://{NOBODY}")),
    ]);
    all.extend(process.map(|process| ("LOCKSTEP_PROCESS".to_owned(), process.to_string())));
    all
}

/// Where services are called by host and port: as their addresses say.
fn listeners(urls: &BTreeMap<ServiceName, String>) -> BTreeMap<ServiceName, SocketAddr> {
    let address = |url: &String| {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.split('/').next()?.parse().ok()
    };
    let nobody: SocketAddr = NOBODY.parse().expect("it is an address");
    urls.iter().map(|(name, url)| (name.clone(), address(url).unwrap_or(nobody))).collect()
}

/// Fills in the command of what Lockstep serves or passes on by itself.
fn served(run: RunSpec) -> Result<RunSpec, Failure> {
    if run.static_files.is_none() && run.external.is_none() {
        return Ok(run);
    }
    let program = program()?.display().to_string();
    let command = match &run.static_files {
        None => External::command(&program),
        Some(files) => Site::new(files.clone(), "check".to_owned())
            .command(&program)
            .map_err(|error| internal("what is served cannot be written", &error))?,
    };
    Ok(RunSpec { command, ..run })
}

/// What ends by itself is not started again: the first time says enough.
fn once(run: RunSpec) -> RunSpec {
    let restart = Restart { max_restarts: 0, ..run.restart };
    RunSpec { restart, ..run }
}

/// Asks what somebody else runs for its version, where that is wanted.
async fn says(instance: &Instance, run: &RunSpec) -> Option<Said> {
    let question = run.external.as_ref()?.version.clone()?;
    let port = instance.address.filter(|_| instance.state.is_healthy())?.port();
    let timeout = Duration::from_millis(run.health.timeout_ms);
    let asked = tokio::task::spawn_blocking(move || {
        let answer = relayed::text(port, &question.path, timeout)?;
        said_version::read(&answer, question.field.as_deref())
    });
    Some(match asked.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(version) => Said::Version(version),
        Err(why) => Said::Nothing(why),
    })
}

fn failure_of(instance: &Instance) -> Option<String> {
    match &instance.state {
        InstanceState::Healthy => None,
        state => Some(state.what_happened().unwrap_or("it was not healthy in time").to_owned()),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
