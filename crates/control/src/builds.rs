//! Builds as records on disk: one folder each with its state and its log. They are not in the journal; what comes of
//! them, the version, is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lockstep_api::types::{BuildPhase, BuildState, BuildView};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::{Actor, ServiceName, Timestamp};
use lockstep_pipeline::CancelToken;
use tokio::sync::watch;

use crate::{Control, lock, not_found};

/// Builds that a list shows.
const MAX_LISTED: usize = 200;
/// Name of the file with a build's state.
const STATE_FILE: &str = "build.json";
/// Name of the file with a build's log, as the pipeline writes it.
const LOG_FILE: &str = "log";

/// All builds of a data folder.
#[derive(Debug)]
pub(crate) struct Builds {
    folder: PathBuf,
    builds: Mutex<BTreeMap<u64, Arc<Build>>>,
    /// One build of a service at a time: the next number depends on the version before it.
    turns: Mutex<BTreeMap<ServiceName, Arc<tokio::sync::Mutex<()>>>>,
}

/// One build.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
    pub(crate) cancel: CancelToken,
    view: watch::Sender<BuildView>,
}

impl Builds {
    /// Opens the records. Builds that were under way when the server ended are marked as interrupted.
    pub(crate) fn open(folder: &Path, now: Timestamp) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut builds = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let number =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix('b'));
            let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else { continue };
            let view =
                fs::read(path.join(STATE_FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let Some(view) = view else { continue };
            let build = Build::of(path, view);
            build.interrupt(now);
            builds.insert(number, Arc::new(build));
        }
        Ok(Self { folder: folder.to_owned(), builds: Mutex::new(builds), turns: Mutex::default() })
    }

    /// Begins a build.
    pub(crate) fn begin(
        &self,
        actor: &Actor,
        service: &ServiceName,
        reference: &str,
        now: Timestamp,
    ) -> io::Result<Arc<Build>> {
        let mut builds = lock(&self.builds);
        let number = builds.last_key_value().map_or(1, |(number, _)| number + 1);
        let id = format!("b{number}");
        let folder = self.folder.join(&id);
        fs::create_dir(&folder)?;
        let view = BuildView {
            id,
            service: service.clone(),
            state: BuildState::Queued,
            reference: reference.to_owned(),
            commit: None,
            version: None,
            reused: None,
            phases: Vec::new(),
            warnings: Vec::new(),
            problem: None,
            actor: actor.to_string(),
            requested: now,
            ended: None,
            revision: 0,
        };
        let build = Arc::new(Build::of(folder, view));
        build.change(|_| {});
        builds.insert(number, Arc::clone(&build));
        Ok(build)
    }

    /// Returns the lock that lets one build of a service go at a time.
    pub(crate) fn turn(&self, service: &ServiceName) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.turns).entry(service.clone()).or_default())
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Build>> {
        let number = id.strip_prefix('b')?.parse().ok()?;
        lock(&self.builds).get(&number).cloned()
    }

    fn newest(&self) -> Vec<BuildView> {
        lock(&self.builds).values().rev().take(MAX_LISTED).map(|build| build.view()).collect()
    }

    pub(crate) fn cancel_all(&self) {
        lock(&self.builds).values().for_each(|build| build.cancel.cancel());
    }
}

impl Build {
    fn of(folder: PathBuf, view: BuildView) -> Self {
        Self { id: view.id.clone(), folder, cancel: CancelToken::new(), view: watch::Sender::new(view) }
    }

    pub(crate) fn view(&self) -> BuildView {
        self.view.borrow().clone()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(LOG_FILE)
    }

    /// Changes the state, and keeps it on disk as far as the disk allows.
    pub(crate) fn change(&self, change: impl FnOnce(&mut BuildView)) {
        self.view.send_modify(|view| {
            change(view);
            view.revision += 1;
        });
        if let Err(error) = self.keep() {
            tracing::warn!(build = self.id, %error, "the state of a build could not be kept");
        }
    }

    fn keep(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.view()).map_err(io::Error::other)?;
        let temporary = self.folder.join("build.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(temporary, self.folder.join(STATE_FILE))
    }

    /// Notes the beginning of a part; the one before it ends.
    pub(crate) fn begin_phase(&self, name: &str, now: Timestamp) {
        self.change(|view| {
            end_phase(view, now);
            view.phases.push(BuildPhase { name: name.to_owned(), began: now, duration_ms: None });
        });
    }

    /// Notes the end.
    pub(crate) fn end(&self, state: BuildState, problem: Option<Problem>, now: Timestamp) {
        self.change(|view| {
            end_phase(view, now);
            view.state = state;
            view.problem = problem;
            view.ended = Some(now);
        });
    }

    fn interrupt(&self, now: Timestamp) {
        if self.view.borrow().state.is_over() {
            return;
        }
        // The sources and temporary files of a build; its guard has ended every process of it.
        for rest in ["source", "tmp"] {
            let _ = fs::remove_dir_all(self.folder.join(rest));
        }
        let problem =
            Problem::new(ErrorCode::Internal, "the server ended while the build ran; nothing was released")
                .with_hint(format!("lockstep release {}", self.view.borrow().service));
        self.end(BuildState::Interrupted, Some(problem), now);
    }
}

fn end_phase(view: &mut BuildView, now: Timestamp) {
    if let Some(phase) = view.phases.last_mut().filter(|phase| phase.duration_ms.is_none()) {
        phase.duration_ms = Some(now.since_ms(phase.began));
    }
}

/// A build's log file, and how to know that nothing more comes.
#[derive(Debug)]
pub struct LogFollow {
    /// The file. It may not be there yet.
    pub path: PathBuf,
    /// The build's state.
    pub view: watch::Receiver<BuildView>,
}

impl Control {
    /// Lists builds, the newest first.
    #[must_use]
    pub fn builds(&self) -> Vec<BuildView> {
        self.builds.newest()
    }

    fn find_build(&self, id: &str) -> Result<Arc<Build>, Problem> {
        let missing = || not_found(format!("there is no build `{id}`"), "lockstep builds");
        self.builds.find(id).ok_or_else(missing)
    }

    /// Shows a build.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn build(&self, id: &str) -> Result<BuildView, Problem> {
        Ok(self.find_build(id)?.view())
    }

    /// Follows a build.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn follow_build(&self, id: &str) -> Result<watch::Receiver<BuildView>, Problem> {
        Ok(self.find_build(id)?.view.subscribe())
    }

    /// Returns what is needed to follow a build's log.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn build_log(&self, id: &str) -> Result<LogFollow, Problem> {
        let build = self.find_build(id)?;
        Ok(LogFollow { path: build.log(), view: build.view.subscribe() })
    }

    /// Ends a build. It leaves no process behind; when it is over already nothing happens.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn cancel_build(&self, id: &str) -> Result<BuildView, Problem> {
        let build = self.find_build(id)?;
        build.cancel.cancel();
        Ok(build.view())
    }
}
