//! Where a contract is: a file, a folder, a git revision, or a released version.

use std::fmt;
use std::path::{Path, PathBuf};

use lockstep_api::Client;
use lockstep_api::client::ClientError;
use lockstep_api::problem::ProblemPart;
use lockstep_contract::{InputError, Kind, Report, Snapshot, Source};
use lockstep_domain::VersionRef;
use lockstep_domain::contract::{ContractSettings, OfferedContract};

use super::budget::Budget;
use super::{files, revision};
use crate::failure::Failure;

/// Where a contract is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A file or folder.
    Path(PathBuf),
    /// A file or folder of a git revision, as in `main:api/openapi.yaml`.
    Revision { revision: String, path: String },
    /// The contract of a released version, as in `orders@1.4.0`.
    Version(VersionRef),
}

impl Location {
    /// Understands what was typed. What exists as a file is a file, whatever else it looks like.
    pub(super) fn of(text: &str) -> Self {
        if Path::new(text).exists() {
            return Self::Path(text.into());
        }
        match (text.split_once(':'), text.parse()) {
            (Some((revision, path)), _) if !revision.is_empty() => {
                Self::Revision { revision: revision.to_owned(), path: path.to_owned() }
            }
            (None, Ok(version)) => Self::Version(version),
            _ => Self::Path(text.into()),
        }
    }

    /// Reads the contract.
    pub(super) fn load(
        &self,
        client: &Client,
        kind: Option<Kind>,
        name: Option<&str>,
        budget: &Budget,
    ) -> Result<Loaded, ProblemPart> {
        match self {
            Self::Path(path) => files::load(path, kind, budget.clone()),
            Self::Revision { revision, path } => revision::load(revision, path, kind, budget.clone()),
            Self::Version(version) => released(client, version, kind, name),
        }
    }
}

/// Reads the contract of a released version from the server.
fn released(
    client: &Client,
    version: &VersionRef,
    kind: Option<Kind>,
    name: Option<&str>,
) -> Result<Loaded, ProblemPart> {
    let said = |error: ClientError| Failure::from(error).into_part();
    let kind = match kind {
        Some(kind) => kind,
        None => only_kind(version, &client.version(version).map_err(said)?.version.contracts)?,
    };
    let bytes = client.contract(version, kind, name).map_err(said)?;
    let snapshot = Snapshot::from_bytes(&bytes).map_err(|error| part(format!("{version}: {error}"), None))?;
    let origin = Origin::Revision(format!("{version}:"));
    Ok(Loaded { source: snapshot.source, settings: snapshot.settings, origin })
}

fn only_kind(version: &VersionRef, contracts: &[OfferedContract]) -> Result<Kind, ProblemPart> {
    let mut kinds: Vec<_> = contracts.iter().map(|contract| contract.kind).collect();
    kinds.dedup();
    match kinds.as_slice() {
        [only] => Ok(*only),
        [] => Err(part(format!("{version} has no contract"), Some(format!("lockstep show {version}")))),
        several => {
            let words: Vec<_> = several.iter().map(|kind| kind.as_str()).collect();
            let detail = format!("{version} has contracts of several formats: {}", words.join(", "));
            Err(part(detail, Some("name one with --kind".into())))
        }
    }
}

fn part(detail: String, hint: Option<String>) -> ProblemPart {
    ProblemPart { detail, hint, ..ProblemPart::default() }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(formatter, "{}", path.display()),
            Self::Revision { revision, path } => write!(formatter, "{revision}:{path}"),
            Self::Version(version) => write!(formatter, "{version}"),
        }
    }
}

/// A contract that was read, and where its files are.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) source: Source,
    /// How the version that it was released with has it compared.
    pub(super) settings: ContractSettings,
    pub(super) origin: Origin,
}

/// What makes a path inside a contract one that a person can open.
#[derive(Debug)]
pub(super) enum Origin {
    /// Paths are seen from this folder.
    Folder(PathBuf),
    /// Paths follow this text, as in `main:`.
    Revision(String),
    /// Paths are as they were named.
    AsNamed,
}

impl Origin {
    /// Tells a path as it can be opened from here.
    pub(super) fn show(&self, path: &str) -> String {
        match self {
            Self::Folder(folder) => {
                let full = folder.join(path);
                let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
                full.strip_prefix(&here).unwrap_or(&full).display().to_string()
            }
            Self::Revision(prefix) => format!("{prefix}{path}"),
            Self::AsNamed => path.to_owned(),
        }
    }

    /// Tells an error of reading with a path that can be opened from here.
    pub(super) fn part(&self, error: InputError) -> ProblemPart {
        let InputError { file, line, message, hint } = error;
        let file = (!file.is_empty()).then(|| self.show(&file));
        let line = line.and_then(|line| usize::try_from(line).ok());
        ProblemPart { detail: message, file, line, field: None, hint }
    }
}

/// Tells all places of a report with paths that can be opened from here.
pub(super) fn show_places(report: &mut Report, old: &Origin, new: &Origin) {
    let changes = report.changes.iter_mut().chain(&mut report.roll_back.changes);
    let changes = changes.map(|change| (&mut change.old, &mut change.new));
    let open = report.not_checked.iter_mut().chain(&mut report.roll_back.not_checked);
    for (before, after) in changes.chain(open.map(|open| (&mut open.old, &mut open.new))) {
        before.iter_mut().for_each(|location| location.file = old.show(&location.file));
        after.iter_mut().for_each(|location| location.file = new.show(&location.file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_told_apart() {
        let revision = |revision: &str, path: &str| Location::Revision {
            revision: revision.to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(Location::of("Cargo.toml"), Location::Path("Cargo.toml".into()));
        assert_eq!(Location::of("main:api/openapi.yaml"), revision("main", "api/openapi.yaml"));
        assert_eq!(Location::of("main@{1}:a:b.yaml"), revision("main@{1}", "a:b.yaml"));
        assert_eq!(Location::of("HEAD~2:"), revision("HEAD~2", ""));
        assert!(matches!(Location::of("orders@1.4.0"), Location::Version(_)));
        for path in ["no-such-file.yaml", ":index.yaml", "orders@latest", "a@b@1.0.0"] {
            assert_eq!(Location::of(path), Location::Path(path.into()));
        }
    }

    #[test]
    fn paths_are_told_as_they_can_be_opened() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(Origin::Folder(here).show("api/a.yaml"), "api/a.yaml");
        assert_eq!(Origin::Folder("old".into()).show("a.yaml"), "old/a.yaml");
        assert_eq!(Origin::Folder("/srv".into()).show("a.yaml"), "/srv/a.yaml");
        assert_eq!(Origin::Revision("main:".into()).show("a.yaml"), "main:a.yaml");
    }
}
