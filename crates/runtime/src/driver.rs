//! Runs instances on this host: each under a supervisor process that outlives the server.
//!
//! The driver keeps nothing of its own: folders below its root say what exists, supervisors say how it is. Opened anew
//! after a crash it knows everything again, and replaces supervisors that have died. Invariant: what
//! [`LocalDriver::watch`] shows of an instance was said by its supervisor, or is the beginning.

mod errors;
mod exposed;
mod follow;
mod limits;
mod open;
mod ports;
mod put_away;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_confine::Confinement;
use lockstep_domain::database::TOLD_FILE;
use lockstep_domain::instance_ports::{InstancePorts, PortRange};
use lockstep_domain::listeners::CallAddresses;
use lockstep_domain::run::Port;
use lockstep_domain::work::Told;
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{Digest, EnvironmentName, Instance, InstanceId, ServiceName};
use rustix::process::{Pid, geteuid};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

pub use self::errors::{BringError, Elsewhere, OpenError, RemoveError, StartError, StopError};
pub use self::limits::HeldAs;
pub use self::open::listened_addresses;
use crate::control_group::{ControlGroups, GroupChoice};
use crate::data::DataFolders;
use crate::ended::{Ended, EndedLimits, SAID, said_in};
use crate::folder::InstanceFolder;
use crate::logs::reader::{Follow, LogReader};
use crate::logs::{self, LogLimits};
use crate::own::{Ours, is_gateway};
use crate::process::ProcessIdentity;
use crate::releases::{Releases, Unpacked, Writers};
use crate::rooms::{Rooms, made};
use crate::spec::{InstanceSpec, SpecFile};
use crate::status::{Request, Status};
use crate::users::{UserChoice, Users};
use lockstep_archive::{Compression, UnpackError, UnpackLimits};

/// How long supervisors are waited for where nothing is said.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// What starts a supervisor: a program with its first arguments. The folder of the instance is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorCommand(pub Vec<OsString>);

/// How a driver works.
#[derive(Debug, Clone)]
pub struct LocalDriverOptions {
    /// What starts a supervisor.
    pub supervisor: SupervisorCommand,
    /// Where ports are taken from, unless an instance says otherwise.
    pub ports: PortRange,
    /// How much log of an instance is kept.
    pub log: LogLimits,
    /// How much is kept of ended instances.
    pub ended: EndedLimits,
    /// How large an artifact may be.
    pub unpack: UnpackLimits,
    /// What no instance may see: the data folder of Lockstep; `None` is the folder of the driver.
    pub hidden: Option<PathBuf>,
    /// In which control groups instances are.
    pub groups: GroupChoice,
    /// Whom services run as.
    pub users: UserChoice,
    /// How long the supervisors of all instances together are waited for when the driver opens. One that says nothing in this time is
    /// followed like the others; until then its instance is shown as its file says.
    pub known_within: Duration,
}

impl LocalDriverOptions {
    /// Makes options with the defaults for everything but the supervisor.
    #[must_use]
    pub fn new(supervisor: SupervisorCommand) -> Self {
        let (log, ended, unpack) = (LogLimits::default(), EndedLimits::default(), UnpackLimits::default());
        Self {
            supervisor,
            ports: PortRange::USUAL,
            log,
            ended,
            unpack,
            hidden: None,
            groups: GroupChoice::Found,
            users: UserChoice::OfServer,
            known_within: KNOWN_WITHIN,
        }
    }
}

/// All instances of a driver by id, as they were last seen.
pub type Instances = Arc<BTreeMap<InstanceId, Instance>>;

/// Runs instances on this host.
#[derive(Debug)]
pub struct LocalDriver {
    shared: Arc<Shared>,
    /// Follows the supervisors; ends with the driver.
    followers: Mutex<JoinSet<()>>,
    /// Start one instance at a time: a port is free until it is written down.
    starting: tokio::sync::Mutex<()>,
    /// Held against another driver in the same folder.
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    options: LocalDriverOptions,
    instances: watch::Sender<Instances>,
    /// What workers have said of their work.
    told: Mutex<BTreeMap<InstanceId, Told>>,
    ended: Ended,
    /// Instances are put away one at a time: each may have much to remove.
    putting_away: tokio::sync::Mutex<()>,
    /// Ports that no instance is given, because resources have them.
    reserved: Mutex<BTreeSet<u16>>,
    /// The port that was given last of each range.
    given: Mutex<BTreeMap<PortRange, u16>>,
    exposed: exposed::Exposed,
    groups: ControlGroups,
    users: Users,
}

impl LocalDriver {
    /// Opens a driver with the default options; see [`LocalDriver::open_with`].
    ///
    /// # Errors
    ///
    /// When the folder cannot be used.
    pub async fn open(root: &Path, supervisor: SupervisorCommand) -> Result<Self, OpenError> {
        Self::open_with(root, LocalDriverOptions::new(supervisor)).await
    }

    /// Starts an instance, or does nothing when exactly this one was started before. Its process is started by its
    /// supervisor; follow [`LocalDriver::watch`] to see it become healthy.
    ///
    /// # Errors
    ///
    /// When it cannot be started; nothing of it is left then.
    pub async fn start(&self, spec: InstanceSpec) -> Result<(), StartError> {
        let _one_at_a_time = self.starting.lock().await;
        let folder = self.shared.folder(&spec.id);
        if let Ok(existing) = folder.read_spec() {
            let spec = filled(spec, existing.port)?;
            return self.start_again(&existing, &spec);
        }
        if let Some(ran) = self.shared.ran_before(&spec) {
            self.shared.change(|all| all.insert(ran.id.clone(), ran));
            return Ok(());
        }
        let file = self.shared.plan(spec)?;
        let (id, shared) = (file.id.clone(), Arc::clone(&self.shared));
        let instance = instance_of(&file, &Status::starting(logs::now()));
        let connection = spawn_blocking(move || shared.create(&file)).await.unwrap_or_else(|error| {
            Err(StartError::Supervisor { id: id.clone(), source: io::Error::other(error) })
        })?;
        self.shared.change(|all| all.insert(instance.id.clone(), instance.clone()));
        self.follow(instance.id, Some(connection), None);
        Ok(())
    }

    /// Does nothing for an instance that is followed already. One that is not was left by a start that was given up
    /// half-way.
    fn start_again(&self, existing: &SpecFile, spec: &InstanceSpec) -> Result<(), StartError> {
        if !existing.is_for(spec) {
            return Err(StartError::IdTaken { id: spec.id.clone() });
        }
        if self.instance(&spec.id).is_none() {
            let instance = instance_of(existing, &Status::starting(logs::now()));
            self.shared.change(|all| all.insert(spec.id.clone(), instance));
            self.follow(spec.id.clone(), None, None);
        }
        Ok(())
    }

    /// Asks an instance to end, and returns when that is recorded: it will end even when this process dies now.
    /// Asking again changes nothing.
    ///
    /// # Errors
    ///
    /// When there is no such instance, or the request cannot be recorded.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), StopError> {
        match self.instance(id) {
            None => return Err(StopError::Unknown { id: id.clone() }),
            Some(instance) if instance.state.is_over() => return Ok(()),
            Some(_) => {}
        }
        let folder = self.shared.folder(id);
        let marked = spawn_blocking(move || folder.mark_stop().map(|()| ask_to_stop(&folder))).await;
        marked
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| StopError::Mark { id: id.clone(), source })?;
        self.shared.change(|all| all.get_mut(id).map(end));
        Ok(())
    }

    /// Tells an instance, by a file that it can read, whether requests are routed to it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; it says what it said before.
    pub fn tell_routed(&self, id: &InstanceId, routed: bool) -> io::Result<()> {
        self.shared.folder(id).tell_routed(routed)
    }

    /// Forgets an instance that is over. Its log stays as long as [`EndedLimits`] let it. An instance that is not known
    /// counts as removed.
    ///
    /// # Errors
    ///
    /// When it still runs.
    pub async fn remove(&self, id: &InstanceId) -> Result<(), RemoveError> {
        let _no_start_meanwhile = self.starting.lock().await;
        let folder = self.shared.folder(id);
        let known = self.instance(id);
        let is_over = match &known {
            Some(instance) => instance.state.is_over(),
            // A start that was given up half-way may have left something that runs.
            None => !folder.path().exists() || folder.is_over(),
        };
        if !is_over {
            return Err(RemoveError::Runs { id: id.clone() });
        }
        if known.is_none() && folder.path().exists() {
            self.put_away_later(id.clone());
        }
        self.shared.change(|all| all.remove(id));
        self.shared.told().remove(id);
        Ok(())
    }

    /// Returns all instances as they were last seen, also those that are over.
    #[must_use]
    pub fn list(&self) -> Vec<Instance> {
        self.shared.instances.borrow().values().cloned().collect()
    }

    /// Returns one instance as it was last seen.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<Instance> {
        self.shared.instances.borrow().get(id).cloned()
    }

    /// Returns what an instance has said of its work; `None` when that is nothing.
    #[must_use]
    pub fn told(&self, id: &InstanceId) -> Option<Told> {
        self.shared.told().get(id).cloned()
    }

    /// Reads what a step at a database has said; `None` where that is nothing that can be read, or too much.
    #[must_use]
    pub fn said_of_database(&self, environment: &EnvironmentName, id: &InstanceId) -> Option<Vec<u8>> {
        let folder = self.shared.folder(id);
        // What is put away in this moment is found at one of the places, in the order in which it goes through them.
        let here = said_in(&folder.work(), TOLD_FILE).or_else(|| said_in(folder.path(), SAID));
        here.or_else(|| said_in(self.shared.ended.find(environment, id)?.path(), SAID))
    }

    /// Follows all instances. Changes that come faster than they are looked at are seen as one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Instances> {
        self.shared.instances.subscribe()
    }

    /// Reads the log of an instance of an environment from its beginning, also of one that has ended; `None` when there is none,
    /// or none any more.
    #[must_use]
    pub fn log(&self, environment: &EnvironmentName, id: &InstanceId, follow: Follow) -> Option<LogReader> {
        let is_here = self.instance(id).is_some_and(|instance| instance.environment == *environment);
        let of_instance = || LogReader::open(&self.shared.folder(id), follow).ok();
        // What is put away in this moment is found in the one place or in the other.
        let here = if is_here { of_instance() } else { None };
        here.or_else(|| LogReader::open(&self.shared.ended.find(environment, id)?, Follow::No).ok())
    }

    /// Returns the gateway whose main process has an id; what a process says of itself counts nothing.
    #[must_use]
    pub fn gateway_of_process(&self, process: i32) -> Option<InstanceId> {
        let process = ProcessIdentity::of(Pid::from_raw(process)?)?;
        let is_its = |instance: &&Instance| {
            let status = Status::read(&self.shared.folder(&instance.id));
            is_gateway(instance)
                && status.is_ok_and(|it| it.is_some_and(|it| it.process == Some(process.clone())))
        };
        self.shared.instances.borrow().values().find(is_its).map(|instance| instance.id.clone())
    }

    /// Returns the folder that holds the log of an instance that has not ended.
    #[must_use]
    pub fn log_path(&self, id: &InstanceId) -> PathBuf {
        self.shared.folder(id).log()
    }

    /// Unpacks an artifact, unless it is there and unchanged. Its bytes have been checked against the digest by the caller.
    ///
    /// # Errors
    ///
    /// When it is not what an artifact may be; nothing of it is left then.
    pub async fn unpack(
        &self,
        release: Digest,
        artifact: impl Read + Send + 'static,
    ) -> Result<PathBuf, UnpackError> {
        self.unpack_as(release, Compression::Zstd, artifact).await
    }

    /// Unpacks the archive within an artifact, a `tar`, as [`unpack`](Self::unpack) does the artifact.
    ///
    /// # Errors
    ///
    /// When it is not what an artifact may be; nothing of it is left then.
    pub async fn unpack_archive(
        &self,
        release: Digest,
        archive: impl Read + Send + 'static,
    ) -> Result<PathBuf, UnpackError> {
        self.unpack_as(release, Compression::Plain, archive).await
    }

    async fn unpack_as(
        &self,
        release: Digest,
        compression: Compression,
        archive: impl Read + Send + 'static,
    ) -> Result<PathBuf, UnpackError> {
        let (releases, limits) = (self.shared.releases(), self.shared.options.unpack);
        let unpacked = spawn_blocking(move || releases.unpack(archive, compression, &release, &limits)).await;
        unpacked.unwrap_or_else(|error| Err(UnpackError::Read { source: io::Error::other(error) }))
    }

    /// Returns the artifacts that are unpacked on this host.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub async fn releases(&self) -> io::Result<Vec<Digest>> {
        let releases = self.shared.releases();
        let listed = spawn_blocking(move || releases.list());
        Ok(listed.await.map_err(io::Error::other).flatten()?.into_iter().collect())
    }

    /// Returns the folder of an unpacked artifact, whether it is there or not.
    #[must_use]
    pub fn release_path(&self, release: &Digest) -> PathBuf {
        self.shared.releases().current(release)
    }

    /// Removes an unpacked artifact. One that is not there counts as removed.
    ///
    /// # Errors
    ///
    /// When an instance that is not over runs it, or its folder cannot be removed.
    pub async fn remove_release(&self, release: &Digest) -> Result<(), RemoveError> {
        let _no_start_meanwhile = self.starting.lock().await;
        let uses = |instance: &Instance| {
            let spec = self.shared.folder(&instance.id).read_spec();
            !instance.state.is_over() && spec.is_ok_and(|spec| spec.release == *release)
        };
        if let Some(instance) = self.list().into_iter().find(uses) {
            return Err(RemoveError::ReleaseRuns { id: instance.id, release: *release });
        }
        let (path, releases, digest) = (self.release_path(release), self.shared.releases(), *release);
        let removed = spawn_blocking(move || releases.remove(&digest)).await;
        removed.map_err(io::Error::other).flatten().map_err(|source| RemoveError::Folder { path, source })
    }

    /// Says why no instance of an image can start on this host, when that is so.
    #[must_use]
    pub fn missing_for_images(&self) -> Option<&'static str> {
        lockstep_confine::root::missing_for_roots()
    }

    /// Says what this host does not keep instances from, nor builds.
    #[must_use]
    pub fn unprotected(&self) -> Vec<String> {
        let kernel = lockstep_confine::available().unprotected().iter().map(|open| (*open).to_owned());
        kernel.chain(self.shared.users.unprotected()).collect()
    }

    /// Returns a variable that an instance was started with; `None` when there is no such instance yet, or not any more. One that
    /// it does not have is empty.
    #[must_use]
    pub fn variable(&self, id: &InstanceId, name: &str) -> Option<String> {
        let mut spec = self.shared.folder(id).read_spec().ok()?;
        Some(spec.variables.remove(name).unwrap_or_default())
    }

    /// Lists what an instance has made in its working folder, by the paths in it; nothing where it cannot be read.
    #[must_use]
    pub fn made(&self, id: &InstanceId) -> Vec<PathBuf> {
        let folder = self.shared.folder(id);
        let Ok(spec) = folder.read_spec() else { return Vec::new() };
        let rooms = spec.rooms.clone();
        rooms.and_then(|rooms| made(&folder, &spec, &rooms).ok()).unwrap_or_default()
    }

    /// Returns where an instance calls others by host and port; `None` when there is no such instance yet, or not any more.
    #[must_use]
    pub fn call_addresses(&self, id: &InstanceId) -> Option<Option<CallAddresses>> {
        Some(self.shared.folder(id).read_spec().ok()?.calls)
    }

    /// Returns the user that an instance runs as, by its number, where that is not the user of this process; `None` when there is no such instance yet, or not any more.
    #[must_use]
    pub fn runs_as(&self, id: &InstanceId) -> Option<Option<u32>> {
        Some(self.shared.folder(id).read_spec().ok()?.user.map(|user| user.id))
    }

    /// Lists the services that an instance is to call by host and port; its artifact is unpacked.
    #[must_use]
    pub fn listened_for(&self, spec: &InstanceSpec) -> BTreeSet<ServiceName> {
        spec.listened_for(&self.shared.releases().current(&spec.release))
    }

    /// Returns the data folders of services on this host.
    #[must_use]
    pub fn data_folders(&self) -> DataFolders {
        self.shared.data_folders()
    }

    /// Returns the folders with the data of resources on this host.
    #[must_use]
    pub fn resource_folders(&self) -> DataFolders {
        self.shared.resource_folders()
    }

    /// Keeps ports from being given to instances.
    pub fn reserve_ports(&self, ports: BTreeSet<u16>) {
        *self.shared.reserved.lock().unwrap_or_else(PoisonError::into_inner) = ports;
    }

    /// Finds a port of a range that nobody has.
    ///
    /// # Errors
    /// When there is none.
    pub fn free_port(&self, ports: InstancePorts) -> Result<u16, StartError> {
        self.shared.choose(ports, Port::Assigned, Ipv4Addr::LOCALHOST.into())
    }

    /// Looks whether an artifact is unpacked on this host, and is still what was unpacked.
    pub async fn unpacked(&self, release: &Digest) -> Unpacked {
        let (releases, release) = (self.shared.releases(), *release);
        let looked = spawn_blocking(move || releases.look(&release)).await;
        looked.unwrap_or_else(|error| Unpacked::Changed(error.to_string()))
    }
}

impl Shared {
    fn instances_folder(&self) -> PathBuf {
        self.root.join("instances")
    }

    fn folder(&self, id: &InstanceId) -> InstanceFolder {
        InstanceFolder::of(&self.instances_folder(), id)
    }

    fn releases(&self) -> Releases {
        let is_open = lockstep_confine::available() == Confinement::Nothing && !geteuid().is_root();
        let writers = if is_open { Writers::ByMode } else { Writers::KeptElsewhere };
        Releases::at(self.root.join("releases"), self.users.readers(), writers)
    }

    fn data_folders(&self) -> DataFolders {
        DataFolders::at(self.root.join("data"))
    }

    fn resource_folders(&self) -> DataFolders {
        DataFolders::at(self.root.join("resources"))
    }

    /// Finds how a job ended that has run already: it runs once.
    fn ran_before(&self, spec: &InstanceSpec) -> Option<Instance> {
        spec.job.as_ref()?;
        self.ended.seen(&spec.environment, &spec.id)
    }

    /// Where the instances of a service in an environment work, beside their own folders.
    fn rooms(&self, spec: &InstanceSpec) -> Rooms {
        let service = spec.data_of.as_ref().unwrap_or(&spec.arm.service);
        let of_service = || self.data_folders().of(&spec.environment, service);
        let data = spec.own.map_or_else(of_service, |own| own.data(&self.root, &spec.environment));
        Rooms { hidden: self.options.hidden.clone().unwrap_or_else(|| self.root.clone()), data }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<InstanceId, Instance>) -> T) {
        self.instances.send_modify(|all| {
            change(Arc::make_mut(all));
        });
    }

    /// Chooses what the request leaves open.
    fn plan(&self, spec: InstanceSpec) -> Result<SpecFile, StartError> {
        if spec.run.command.is_empty() {
            return Err(StartError::EmptyCommand { id: spec.id });
        }
        let release_folder = self.releases().current(&spec.release);
        let has_release = spec.resource.is_none() && spec.own.is_none();
        if has_release && !release_folder.is_dir() {
            return Err(StartError::ReleaseMissing { id: spec.id, release: spec.release });
        }
        let port = self.choose_port(&spec)?;
        let spec = filled(spec, port)?;
        let files = filled_files(&spec, &release_folder, port)?;
        let rooms = self.rooms(&spec);
        let (group, user) = (self.group_of(&spec), self.user_of(&spec)?);
        let file = SpecFile::new(spec, release_folder, port, self.options.log, rooms, files, user);
        Ok(SpecFile { group, ..file })
    }

    fn create(&self, file: &SpecFile) -> Result<follow::Connection, StartError> {
        let folder = InstanceFolder::create(&self.instances_folder(), file)
            .map_err(|source| StartError::Folder { id: file.id.clone(), source })?;
        follow::launch(&folder, &self.options.supervisor).map_err(|source| {
            let _ = folder.remove();
            StartError::Supervisor { id: file.id.clone(), source }
        })
    }
}

fn filled(spec: InstanceSpec, port: Option<u16>) -> Result<InstanceSpec, StartError> {
    let id = spec.id.clone();
    spec.with_port(port).map_err(|source| StartError::Reference { id, source })
}

fn filled_files(
    spec: &InstanceSpec,
    release: &Path,
    port: Option<u16>,
) -> Result<BTreeMap<WorkPath, String>, StartError> {
    let fill = |path: &WorkPath| match spec.fill_file(release, path, port) {
        Ok(text) => Ok((path.clone(), text)),
        Err(source) => Err(StartError::File { id: spec.id.clone(), path: path.clone(), source }),
    };
    spec.run.files.iter().map(fill).collect()
}

/// Tells the supervisor to look at the stop mark. One that does not answer is dead or being started, and looks anyway.
fn ask_to_stop(folder: &InstanceFolder) {
    let request = serde_json::to_vec(&Request::Stop).unwrap_or_default();
    let _ = folder.connect().and_then(|mut stream| stream.write_all(&[&request[..], b"\n"].concat()));
}

/// Shows an instance as told to end. Whatever its supervisor has said before it heard so does not change that.
fn end(instance: &mut Instance) {
    instance.state = instance.state.clone().once_told();
}

fn instance_of(spec: &SpecFile, status: &Status) -> Instance {
    Instance {
        id: spec.id.clone(),
        environment: spec.environment.clone(),
        arm: spec.arm.clone(),
        job: spec.job.clone(),
        resource: spec.resource.as_ref().map(|run| run.name.clone()).or(spec.own.map(Ours::name)),
        host: None,
        state: status.state.clone(),
        address: spec.address(),
        since: status.since,
        restarts: status.restarts,
    }
}
