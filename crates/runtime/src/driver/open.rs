//! Opens a driver: cleans up what was half-made, and takes over everything that runs.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lockstep_confine::Confinement;
use lockstep_domain::{Instance, InstanceId};
use lockstep_files::{foreign, tree};
use rustix::fs::FlockOperation;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::{Instances, LocalDriver, LocalDriverOptions, OpenError, Shared, end, instance_of};
use crate::control_group::ControlGroups;
use crate::data::DataFolders;
use crate::ended::{Ended, EndedLimits};
use crate::folder::InstanceFolder;
use crate::releases::{Readers, Releases, Writers};
use crate::status::Status;
use crate::users::{Begun, Users};

/// How many ended instances of each service are shown again: as many as the domain has shown, who takes back what is too old.
const SHOWN_AGAIN: usize = lockstep_domain::reconcile::MAX_OVER;

impl LocalDriver {
    /// Opens the driver whose folder is `root`, and takes over what runs: without a restart, whoever started it. Must be
    /// called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used, or another driver uses it.
    pub async fn open_with(root: &Path, options: LocalDriverOptions) -> Result<Self, OpenError> {
        let path = root.to_owned();
        let ended = options.ended;
        let prepared = spawn_blocking(move || prepare(&path, ended)).await;
        let Prepared { root, lock, found, ended, kept, begun } = prepared.unwrap_or_else(|error| {
            Err(OpenError::Folder { path: root.to_owned(), source: io::Error::other(error) })
        })?;
        // One that was put away while it was looked is in both.
        let all = kept.iter().chain(&found).map(|instance| (instance.id.clone(), instance.clone()));
        let instances: Instances = Arc::new(all.collect());
        let groups = ControlGroups::find(&options.groups, &root);
        groups.clean(&root.join("instances"));
        let hidden = options.hidden.clone().unwrap_or_else(|| root.clone());
        let users = Users::open(&root, &hidden, DataFolders::at(root.join("data")), (options.users, begun))
            .map_err(|source| OpenError::Folder { path: root.join("users.json"), source })?;
        let shared = Shared {
            groups,
            users,
            given: Mutex::default(),
            exposed: super::exposed::Exposed::default(),
            reserved: Mutex::default(),
            root,
            options,
            instances: watch::Sender::new(instances),
            told: Mutex::default(),
            ended,
            putting_away: tokio::sync::Mutex::new(()),
        };
        match lockstep_confine::available() {
            Confinement::Whole => tracing::info!("instances are confined"),
            confinement => tracing::warn!(%confinement, "instances are not confined wholly"),
        }
        let driver = Self {
            shared: Arc::new(shared),
            followers: Mutex::new(JoinSet::new()),
            starting: tokio::sync::Mutex::new(()),
            _lock: lock,
        };
        for instance in found.iter().filter(|instance| instance.state.is_over()) {
            driver.put_away_later(instance.id.clone());
        }
        driver.look_after_ended();
        for folders in [driver.data_folders(), driver.resource_folders()] {
            spawn_blocking(move || folders.clear_left_over());
        }
        driver.follow_all(&found).await;
        Ok(driver)
    }

    async fn follow_all(&self, found: &[Instance]) {
        let mut waiting = Vec::new();
        for instance in found.iter().filter(|instance| !instance.state.is_over()) {
            let (known, is_known) = oneshot::channel();
            self.follow(instance.id.clone(), None, Some(known));
            waiting.push(is_known);
        }
        let all_known = async {
            for is_known in waiting {
                // An error says that the sender was let go, which is what is waited for.
                let _ = is_known.await;
            }
        };
        let _ = timeout(self.shared.options.known_within, all_known).await;
    }
}

/// What is found in the folder of a driver.
struct Prepared {
    root: PathBuf,
    lock: File,
    found: Vec<Instance>,
    ended: Ended,
    /// The newest of those that have ended and are put away.
    kept: Vec<Instance>,
    /// When the folder was begun.
    begun: Begun,
}

fn prepare(root: &Path, limits: EndedLimits) -> Result<Prepared, OpenError> {
    let explain = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Folder { path, source }
    };
    make_folder(root).map_err(explain(root))?;
    let root = root.canonicalize().map_err(explain(root))?;
    let lock = foreign::open_to_append(&root.join("driver.lock")).map_err(explain(&root))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse { root }),
        Err(error) => return Err(explain(&root)(error.into())),
    }
    let (instances, releases) = (root.join("instances"), root.join("releases"));
    let begun = if instances.exists() { Begun::Before } else { Begun::Now };
    for folder in [&instances, &releases] {
        make_folder(folder).map_err(explain(folder))?;
    }
    let (found, used) = find_instances(&instances).map_err(explain(&instances))?;
    Releases::at(releases.clone(), Readers::Server, Writers::KeptElsewhere)
        .clean(&used)
        .map_err(explain(&releases))?;
    let folder = root.join("ended");
    let ended = Ended::open(folder.clone(), limits).map_err(explain(&folder))?;
    let kept = ended.newest(SHOWN_AGAIN);
    Ok(Prepared { root, lock, found, ended, kept, begun })
}

/// Lists the addresses that instances of a driver listen on which are not over, apart from loopback; `root` is the folder of the driver.
/// What cannot be read has none.
#[must_use]
pub fn listened_addresses(root: &Path) -> BTreeSet<IpAddr> {
    let instances = root.join("instances");
    let names = fs::read_dir(&instances).into_iter().flatten().flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<InstanceId>().ok());
    let listens = |id: InstanceId| {
        let folder = InstanceFolder::of(&instances, &id);
        let is_over = Status::read(&folder).is_ok_and(|status| status.is_some_and(|it| it.state.is_over()));
        if is_over { None } else { folder.read_spec().ok()?.listen }
    };
    ids.filter_map(listens).collect()
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Returns all instances, and the releases that those run which are not over.
fn find_instances(instances: &Path) -> io::Result<(Vec<Instance>, BTreeSet<PathBuf>)> {
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for entry in fs::read_dir(instances)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if InstanceFolder::is_rest(&name) {
            tree::remove(&instances.join(&name))?;
        } else if let Ok(id) = name.parse::<InstanceId>() {
            match read_instance(&InstanceFolder::of(instances, &id)) {
                Ok((instance, release)) => {
                    if !instance.state.is_over() {
                        used.insert(release);
                    }
                    found.push(instance);
                }
                Err(error) => {
                    tracing::error!(instance = %id, %error, "instance cannot be read and is left alone");
                }
            }
        }
    }
    Ok((found, used))
}

pub(super) fn read_instance(folder: &InstanceFolder) -> io::Result<(Instance, PathBuf)> {
    let spec = folder.read_spec()?;
    let status = match Status::read(folder) {
        // The supervisor makes it anew.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        other => other?,
    };
    let mut instance = instance_of(&spec, &status.unwrap_or_else(|| Status::starting(crate::logs::now())));
    if folder.is_marked_stop() {
        end(&mut instance);
    }
    Ok((instance, spec.release_folder))
}
