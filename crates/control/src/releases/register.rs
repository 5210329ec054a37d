//! Registering a service: where its manifest lies, and that a service does not change its repository by accident.
//!
//! Invariant: a place that is recorded holds no secret, and a service that is known comes from elsewhere only when that was
//! asked for, and from a repository without its versions only with a reason.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_api::types::{EarlierSummary, KnownService, RegisterService, ServiceView};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::earlier::Tag;
use lockstep_domain::repository_address::NO_COMMIT;
use lockstep_domain::service::{Service, Source, Version};
use lockstep_domain::{Actor, StageName, World, repository_address};
use lockstep_files::foreign;
use lockstep_manifest::{MAX_MANIFEST_BYTES, Manifest};
use lockstep_pipeline::local::{self, InRepository};
use lockstep_pipeline::{BuildEvent, CancelToken, CommitId, Mirror, Prepared, RepositoryLocation};

use super::earlier::{TakenUp, offers, take_up};
use super::problems::{failure_problem, manifest_part};
use super::relation;
use crate::instances::with_sources;
use crate::manifests::Kept;
use crate::{Control, internal, manifests, not_found, services};

/// What the manifest is called.
const MANIFEST: &str = "lockstep.toml";

/// Where a service is to come from, decided against where it comes from so far.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) source: Source,
    pub(crate) unrelated: Option<String>,
    /// The manifest that is to be kept outside of there.
    pub(crate) kept: Option<Kept>,
    decided_against: Option<Source>,
}

impl Place {
    /// Makes sure that nobody else has registered the service since this was decided.
    pub(crate) fn is_still_decided(&self, known: Option<&Service>) -> Result<(), Problem> {
        if known.map(|known| &known.source) == self.decided_against.as_ref() {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Conflict, "the service was registered by somebody else meanwhile")
            .with_hint("look at it with `lockstep services`, then run the command again"))
    }
}

/// A service that is being registered.
pub(super) struct Registering<'a> {
    control: &'a Control,
    manifest: Manifest,
    /// The text of the manifest, when it is kept outside of the repository.
    given: Option<String>,
    place: Place,
    lifecycle: Option<StageName>,
    taken_up: TakenUp,
}

/// What was seen at a place.
struct Seen {
    manifest: Manifest,
    history: History,
    notes: Vec<String>,
}

/// The history of a repository, wherever it is.
enum History {
    Local(PathBuf),
    Mirror(Mirror),
}

impl History {
    /// Tells whether it has the commit of a version.
    fn has(&self, version: &Version) -> Result<bool, Problem> {
        let Ok(commit) = version.commit.parse::<CommitId>() else { return Ok(false) };
        let found = match self {
            Self::Local(folder) => local::leads_to(folder, &commit),
            Self::Mirror(mirror) => mirror.leads_to(&commit),
        };
        found.map_err(|error| internal(with_sources(&error)))
    }

    fn tags(&self) -> Result<Vec<Tag>, Problem> {
        let tags = match self {
            Self::Local(folder) => local::tags(folder),
            Self::Mirror(mirror) => mirror.tags(),
        };
        tags.map_err(|error| internal(with_sources(&error)))
    }
}

impl<'a> Registering<'a> {
    pub(super) fn begin(control: &'a Control, request: RegisterService) -> Result<Self, Problem> {
        let RegisterService { source, lifecycle, known, unrelated, from_tags, manifest: given, mode: _ } =
            request;
        relation::check_reason(unrelated.as_deref())?;
        without_secret(&source)?;
        let source = located(source)?;
        must_have_a_manifest(&source, given.as_deref())?;
        let world = control.ledger.world();
        let given = match given {
            Some(text) => Some(text),
            None => control.kept_at(&world, &source)?,
        };
        let Seen { manifest, history, notes } = control.look_at(&source, given.as_deref())?;
        manifests::must_fit(&manifest, &source)?;
        services::check_not_former(&world, &manifest.name)?;
        let service = world.services.get(&manifest.name).map(AsRef::as_ref);
        let place = match service {
            None => Place { source, unrelated: None, kept: None, decided_against: None },
            Some(service) => place_of_known(service, source, &history, known, unrelated)?,
        };
        let mut taken_up = match from_tags {
            Some(pattern) => take_up(&pattern, &history.tags()?, service)?,
            None if service.is_none_or(|service| service.numbers().is_empty()) => {
                let folder = place.source.folder_here().filter(|folder| folder.is_dir());
                let notes = offers(&manifest.name, &history.tags()?, folder.as_deref());
                TakenUp { notes, ..TakenUp::default() }
            }
            None => TakenUp::default(),
        };
        taken_up.notes.extend(notes);
        Ok(Self { control, manifest, given, place, lifecycle, taken_up })
    }

    /// The service as it would be.
    pub(super) fn preview(&self) -> ServiceView {
        let known = self.control.service(&self.manifest.name).ok();
        let earlier = self.taken_up.releases.iter().rev();
        let taken = earlier
            .map(|(number, release)| EarlierSummary { number: number.clone(), release: release.clone() });
        let already = known.iter().flat_map(|known| known.earlier.clone());
        let mut earlier: Vec<_> = taken.chain(already).collect();
        earlier.sort_by(|one, other| other.number.cmp(&one.number));
        let known_names = known.as_ref().map(|known| known.former_names.clone()).unwrap_or_default();
        ServiceView {
            name: self.manifest.name.clone(),
            source: self.place.source.clone(),
            owner: self.manifest.owner.clone(),
            lifecycle: self.control.lifecycle_wanted(&self.manifest.name, self.lifecycle.as_ref()),
            registered: known.as_ref().map_or_else(|| self.control.ledger.now(), |known| known.registered),
            versions: known.map(|known| known.versions).unwrap_or_default(),
            earlier,
            former_names: known_names,
            manifests: Vec::new(),
            notes: self.taken_up.notes.clone(),
        }
    }

    pub(super) fn record(self, actor: &Actor) -> Result<ServiceView, Problem> {
        let Self { control, manifest, given, mut place, lifecycle, taken_up } = self;
        let (name, owner) = (&manifest.name, manifest.owner.as_deref());
        place.kept = given.as_deref().map(|text| control.store_manifest(text)).transpose()?;
        control.record_service(actor, name, owner, &place, lifecycle.as_ref(), &taken_up.releases)?;
        Ok(ServiceView { notes: taken_up.notes, ..control.service(name)? })
    }
}

fn without_secret(source: &Source) -> Result<(), Problem> {
    let Err(error) = RepositoryLocation::to_record(&source.repository) else { return Ok(()) };
    let hint = match repository_address::secret_in(&source.repository) {
        Some(_) => {
            "an address is recorded for ever: name it without user, password and query. Git asks a credential helper, \
             GIT_ASKPASS or ssh for them, as the user that the server runs as: \
             docs/guides/configuration-and-secrets.md#repositories. A password that was typed here is best changed"
        }
        None => "a folder of the server's host, or a URL with https:// or ssh://",
    };
    Err(Problem::new(ErrorCode::BadRequest, error.to_string()).with_hint(hint))
}

/// Without a repository, nothing else says what the service is.
fn must_have_a_manifest(source: &Source, given: Option<&str>) -> Result<(), Problem> {
    if source.has_repository() || given.is_some() {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::BadRequest, "a service without a repository needs its manifest")
        .with_hint("lockstep service add --no-repository --manifest FILE"))
}

/// Decides where a known service comes from now.
fn place_of_known(
    service: &Service,
    source: Source,
    history: &History,
    wish: KnownService,
    reason: Option<String>,
) -> Result<Place, Problem> {
    let before = &service.source;
    let decided_against = Some(before.clone());
    if is_same_place(before, &source) {
        // The same address in other words is no change, unless it gets rid of a password.
        let keeps = repository_address::secret_in(&before.repository).is_none();
        let source = if keeps { before.clone() } else { source };
        return Ok(Place { source, unrelated: None, kept: None, decided_against });
    }
    let missing = missing_there(service, history)?;
    match (wish, missing, reason) {
        (KnownService::Moves, None, _) => Ok(Place { source, unrelated: None, kept: None, decided_against }),
        (KnownService::Moves, Some(_), Some(reason)) => {
            Ok(Place { source, unrelated: Some(reason), kept: None, decided_against })
        }
        (_, missing, _) => Err(elsewhere(service, &source, missing)),
    }
}

fn is_same_place(one: &Source, other: &Source) -> bool {
    let location = |source: &Source| source.repository.parse::<RepositoryLocation>().ok();
    let same_address = match (location(one), location(other)) {
        (Some(one), Some(other)) => one.is_same_place(&other),
        _ => one.repository == other.repository,
    };
    same_address && one.folder == other.folder
}

/// Returns the last version of a service when a repository has neither its commit nor that of the newest release.
fn missing_there<'a>(service: &'a Service, history: &History) -> Result<Option<&'a Version>, Problem> {
    let Some(last) = service.latest_recorded() else { return Ok(None) };
    let mut releases = service.versions.values().filter(|version| !version.number.is_pre_release());
    for version in [Some(last), releases.next_back()].into_iter().flatten() {
        if history.has(version)? {
            return Ok(None);
        }
    }
    Ok(Some(last))
}

fn elsewhere(service: &Service, source: &Source, missing: Option<&Version>) -> Problem {
    let name = &service.name;
    let (before, after) = (&service.source, source);
    let shown = |repository: &str| repository_address::shown(repository).into_owned();
    let add = match after.has_repository() {
        true => format!("lockstep service add {} --move", after.repository),
        false => "lockstep service add --no-repository --manifest FILE --move".to_owned(),
    };
    let mut differences = Vec::new();
    if before.repository != after.repository {
        differences.push(format!("repository: {} -> {}", shown(&before.repository), after.repository));
    }
    if before.folder != after.folder {
        differences.push(format!("folder: `{}` -> `{}`", before.folder, after.folder));
    }
    let (history, hint) = match missing {
        Some(version) => (
            match version.commit.as_str() {
                NO_COMMIT => format!("{name}@{} was made without a repository", version.number),
                commit => format!(
                    "no branch or tag there leads to commit {commit}, which {name}@{} was cut from",
                    version.number
                ),
            },
            format!(
                "is it another service? Give it a name of its own in its lockstep.toml. \
                 Is it meant? {add} --unrelated \"REASON\""
            ),
        ),
        None if service.versions.is_empty() => (format!("{name} has no version yet"), add),
        None => {
            ("the versions of the service are in its history".to_owned(), format!("when it has moved: {add}"))
        }
    };
    differences.push(history);
    let part = |detail: String| ProblemPart { detail, ..ProblemPart::default() };
    Problem::new(
        ErrorCode::Refused,
        format!("service `{name}` is registered already, and comes from elsewhere"),
    )
    .with_problems(differences.into_iter().map(part).collect())
    .with_hint(hint)
}

impl Control {
    /// Reads the manifest of a source: from the work tree where there is one, else from the repository's main branch.
    fn look_at(&self, source: &Source, given: Option<&str>) -> Result<Seen, Problem> {
        let here = source.repository_here().zip(source.folder_here().filter(|folder| folder.is_dir()));
        let Some((root, folder)) = here else { return self.fetch(source, given) };
        let path = folder.join(MANIFEST);
        if let Some(given) = given {
            let manifest = manifests::parse(given)?;
            let another =
                format!("`{}` does not count: another manifest is kept with the service", path.display());
            let notes = path.exists().then_some(another).into_iter().collect();
            return Ok(Seen { manifest, history: History::Local(root.to_owned()), notes });
        }
        let text = foreign::open_below(root, &Path::new(&source.folder).join(MANIFEST));
        let text =
            text.and_then(|file| foreign::read_text(file, MAX_MANIFEST_BYTES as u64)).map_err(|error| {
                not_found(format!("`{}` cannot be read: {error}", path.display()), "write one: lockstep init; for a repository that is not yours: lockstep service add NAME --manifest FILE --repository URL")
            })?;
        let manifest = lockstep_manifest::parse(&text, MANIFEST).map_err(|problems| {
            let parts = problems.into_iter().map(manifest_part).collect();
            Problem::new(ErrorCode::BadRequest, format!("`{}` is not valid", path.display()))
                .with_problems(parts)
                .with_hint(format!("lockstep check {}", folder.display()))
        })?;
        Ok(Seen { manifest, history: History::Local(root.to_owned()), notes: Vec::new() })
    }

    /// Finds the manifest that is kept with a service from a place that has none of its own.
    fn kept_at(&self, world: &World, source: &Source) -> Result<Option<String>, Problem> {
        let has_its_own = source.folder_here().is_some_and(|folder| folder.join(MANIFEST).exists());
        if has_its_own || !source.has_repository() {
            return Ok(None);
        }
        let from_there = |service: &&Arc<Service>| {
            service.removed.is_none()
                && service.kept_manifest().is_some()
                && is_same_place(&service.source, source)
        };
        let mut services = world.services.values().filter(from_there);
        match (services.next(), services.next()) {
            (Some(only), None) => self.kept_text(only),
            _ => Ok(None),
        }
    }

    fn fetch(&self, source: &Source, given: Option<&str>) -> Result<Seen, Problem> {
        given.map(manifests::parse).transpose()?;
        let scratch = self.config.folder.join(crate::instances::SCRATCH);
        std::fs::create_dir_all(&scratch).map_err(internal)?;
        let work = tempfile::tempdir_in(scratch).map_err(internal)?;
        let mut request = self.build_request("register", None, source, None, work.path())?;
        request.manifest = given.map(str::to_owned);
        let quiet = |_: &BuildEvent| {};
        match lockstep_pipeline::prepare(&request, &quiet, &CancelToken::new()) {
            Ok(Prepared { checked, mirror }) => {
                let notes = if given.is_some() { checked.notes } else { Vec::new() };
                Ok(Seen { manifest: checked.manifest, history: History::Mirror(mirror), notes })
            }
            Err(failure) => Err(failure_problem(&failure)),
        }
    }
}

/// Finds the root of a local repository, so that any folder in it can be named.
fn located(source: Source) -> Result<Source, Problem> {
    let Some(path) = source.repository_here().filter(|path| path.is_dir()) else { return Ok(source) };
    let path = path.canonicalize().map_err(internal)?;
    let found = local::find(&path)
        .map_err(|error| Problem::new(ErrorCode::Refused, with_sources(&error)).with_hint("install git"))?;
    let Some(InRepository { root, below }) = found else {
        let detail = format!("`{}` is not in a git repository", path.display());
        return Err(Problem::new(ErrorCode::Refused, detail).with_hint("git init, commit, and try again"));
    };
    let Some(repository) = root.to_str().map(str::to_owned) else { return Ok(source) };
    let folder = match (below.as_str(), source.folder.as_str()) {
        (_, "") => below,
        ("", folder) => folder.to_owned(),
        (below, folder) => format!("{below}/{folder}"),
    };
    Ok(Source { repository, folder })
}
