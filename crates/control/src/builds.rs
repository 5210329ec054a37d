//! Builds as records on disk: one folder each with its state and its log. They are not in the journal; what comes of
//! them, the version, is.
//!
//! Invariant: a number is given once. Neither what lies in the folder nor what is missing there keeps a server from
//! starting or a release from beginning.

mod folder;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lockstep_api::types::{BuildPhase, BuildState, BuildView};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::service::Version;
use lockstep_domain::{Actor, Event, ServiceName, Timestamp, VersionNumber, World};
use lockstep_pipeline::CancelToken;
use tokio::sync::watch;

use crate::{Control, lock, not_found};
use lockstep_runtime::Turns;

/// Builds that a list shows.
const MAX_LISTED: usize = 200;
/// Builds of a service that stay although no version comes from them: enough to look back on a bad week.
const KEPT_OF_A_SERVICE: usize = 20;

/// All builds of a data folder.
#[derive(Debug)]
pub(crate) struct Builds {
    folder: PathBuf,
    kept: Mutex<Kept>,
    /// One build of a service at a time: the next number depends on the version before it.
    pub(crate) turns: Turns<ServiceName>,
}

/// What is known of the folder.
#[derive(Debug)]
struct Kept {
    builds: BTreeMap<u64, Arc<Build>>,
    /// Builds whose state cannot be understood, with the reason. They are left alone.
    unreadable: BTreeMap<u64, String>,
    /// The highest number that was ever given, as far as folder and journal tell.
    last: u64,
}

/// One build.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
    pub(crate) cancel: CancelToken,
    view: watch::Sender<BuildView>,
    /// Keeps the states in their order on disk.
    keeping: Mutex<()>,
}

impl Builds {
    /// Opens the records. Builds that were under way when the server ended are marked as interrupted, unless the journal
    /// has their version. Whatever lies in the folder, nothing keeps it from opening but a folder that cannot be used.
    pub(crate) fn open(folder: &Path, world: &World, now: Timestamp) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let found = folder::find(folder)?;
        let in_journal = versions_by_build(world);
        let last = in_journal.keys().copied().chain(found.iter().map(|one| one.number)).max().unwrap_or(0);
        let mut kept = Kept { builds: BTreeMap::new(), unreadable: BTreeMap::new(), last };
        for one in found {
            match one.state {
                Ok(view) => {
                    let build = Build::of(one.path, *view);
                    build.settle(in_journal.get(&one.number), now);
                    kept.builds.insert(one.number, Arc::new(build));
                }
                Err(why) => {
                    tracing::warn!(path = %one.path.display(), why, "the state of a build cannot be read");
                    folder::clear_sources(&one.path);
                    kept.unreadable.insert(one.number, why);
                }
            }
        }
        let builds = Self { folder: folder.to_owned(), kept: Mutex::new(kept), turns: Turns::default() };
        builds.tidy(world);
        Ok(builds)
    }

    /// Begins a build. Its number is taken by making its folder, so it is nobody else's, whatever lies there already.
    pub(crate) fn begin(
        &self,
        actor: &Actor,
        service: &ServiceName,
        reference: &str,
        now: Timestamp,
    ) -> io::Result<Arc<Build>> {
        let mut kept = lock(&self.kept);
        let (number, folder) = folder::take(&self.folder, kept.last)?;
        let view = BuildView {
            id: folder::id(number),
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
        let build = Build::of(folder, view);
        kept.last = number;
        if let Err(error) = build.keep() {
            // What cannot be removed stays, and its number is taken.
            let _ = fs::remove_dir_all(&build.folder);
            return Err(error);
        }
        let build = Arc::new(build);
        kept.builds.insert(number, Arc::clone(&build));
        Ok(build)
    }

    /// Removes the folders of builds that no version comes from and that are not among the newest of their service.
    pub(crate) fn tidy(&self, world: &World) {
        let named = versions_by_build(world);
        let mut kept = lock(&self.kept);
        let mut newer: BTreeMap<ServiceName, usize> = BTreeMap::new();
        let mut goes = Vec::new();
        for (number, build) in kept.builds.iter().rev() {
            let view = build.view();
            let newer = newer.entry(view.service).or_default();
            *newer += 1;
            if *newer > KEPT_OF_A_SERVICE && view.state.is_over() && !named.contains_key(number) {
                goes.push(*number);
            }
        }
        for number in goes {
            match folder::remove(&self.folder, number) {
                Ok(()) => drop(kept.builds.remove(&number)),
                Err(error) => tracing::warn!(number, %error, "an old build could not be removed"),
            }
        }
    }

    /// Finds a build, or says why it is not there.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Build>, Problem> {
        let missing = || not_found(format!("there is no build `{id}`"), "lockstep builds");
        let number = folder::number(id).ok_or_else(missing)?;
        let kept = lock(&self.kept);
        if let Some(why) = kept.unreadable.get(&number) {
            let log = self.folder.join(id).join(folder::LOG_FILE);
            let what = format!("the state of build `{id}` cannot be read: {why}");
            return Err(not_found(what, &format!("its log, if it has one: {}", log.display())));
        }
        kept.builds.get(&number).cloned().ok_or_else(missing)
    }

    /// Returns how each build that is not over stands: `queued` or `running`.
    pub(crate) fn not_over(&self) -> Vec<&'static str> {
        let builds: Vec<_> = lock(&self.kept).builds.values().cloned().collect();
        let states = builds.iter().map(|build| build.view.borrow().state);
        let named = states.filter_map(|state| match state {
            BuildState::Queued => Some("queued"),
            BuildState::Running => Some("running"),
            _ => None,
        });
        named.collect()
    }

    /// Finds a build of a service that is not over.
    pub(crate) fn under_way(&self, service: &ServiceName) -> Option<String> {
        let kept = lock(&self.kept);
        let views = kept.builds.values().rev().map(|build| build.view());
        views.into_iter().find(|view| view.service == *service && !view.state.is_over()).map(|view| view.id)
    }

    fn newest(&self) -> Vec<BuildView> {
        lock(&self.kept).builds.values().rev().take(MAX_LISTED).map(|build| build.view()).collect()
    }

    pub(crate) fn cancel_all(&self) {
        lock(&self.kept).builds.values().for_each(|build| build.cancel.cancel());
    }
}

/// The versions of all services by the number of the build that made them.
fn versions_by_build(world: &World) -> BTreeMap<u64, (ServiceName, VersionNumber)> {
    let versions = world.services.values().flat_map(|service| {
        service.versions.values().map(|version| (service.name.clone(), Arc::clone(version)))
    });
    let by_build = |(service, version): (ServiceName, Arc<Version>)| {
        Some((folder::number(&version.build)?, (service, version.number.clone())))
    };
    versions.filter_map(by_build).collect()
}

impl Build {
    fn of(folder: PathBuf, view: BuildView) -> Self {
        let (id, cancel) = (view.id.clone(), CancelToken::new());
        Self { id, folder, cancel, view: watch::Sender::new(view), keeping: Mutex::default() }
    }

    pub(crate) fn view(&self) -> BuildView {
        self.view.borrow().clone()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(folder::LOG_FILE)
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
        let _one_at_a_time = lock(&self.keeping);
        folder::keep(&self.folder, &self.view())
    }

    /// Removes whatever is in its folder beside its state and its log.
    pub(crate) fn clear(&self) {
        folder::clear(&self.folder);
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

    /// Ends a build that the server left in the middle; the journal knows whether it made its version before.
    fn settle(&self, in_journal: Option<&(ServiceName, VersionNumber)>, now: Timestamp) {
        let view = self.view();
        if view.state.is_over() {
            return;
        }
        // The sources and temporary files of a build; its guard has ended every process of it.
        self.clear();
        if let Some((_, number)) = in_journal.filter(|(service, _)| *service == view.service) {
            self.change(|view| view.version = Some(number.clone()));
            return self.end(BuildState::Succeeded, None, now);
        }
        let problem =
            Problem::new(ErrorCode::Internal, "the server ended while the build ran; nothing was released")
                .with_hint(format!("lockstep release {}", view.service));
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

    /// Shows a build.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn build(&self, id: &str) -> Result<BuildView, Problem> {
        Ok(self.builds.find(id)?.view())
    }

    /// Follows a build.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn follow_build(&self, id: &str) -> Result<watch::Receiver<BuildView>, Problem> {
        Ok(self.builds.find(id)?.view.subscribe())
    }

    /// Returns what is needed to follow a build's log.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn build_log(&self, id: &str) -> Result<LogFollow, Problem> {
        let build = self.builds.find(id)?;
        Ok(LogFollow { path: build.log(), view: build.view.subscribe() })
    }

    /// Ends a build. It leaves no process behind; when it is over already nothing happens.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn cancel_build(&self, actor: &Actor, id: &str) -> Result<BuildView, Problem> {
        let build = self.builds.find(id)?;
        let view = build.view();
        if !view.state.is_over() {
            let cancelled = Event::BuildCancelled { build: view.id, service: view.service };
            tokio::task::block_in_place(|| self.ledger.note(actor, &cancelled));
        }
        build.cancel.cancel();
        Ok(build.view())
    }
}

#[cfg(test)]
mod tests;
