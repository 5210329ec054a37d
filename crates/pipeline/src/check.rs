//! The first phase: is everything there that a build needs? All problems are reported at once, as data.

mod sources;
mod tools;
mod wanted;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use lockstep_domain::{Digest, ServiceName, Timestamp, VersionRange};
use lockstep_manifest::{MANIFEST_FILE, Manifest};
use sha2::{Digest as _, Sha256};

pub use self::tools::ToolProblem;
use self::wanted::Wanted;
use crate::failure::BuildFault;
use crate::git::{Answer, CommitId, Git, GitError};
use crate::history::{ResolvedReference, parse_status};
use crate::key::{BuildInputs, build_key};
use crate::mirror::{AtCommit, Mirror};
use crate::package::counted;
use crate::request::{BuildRequest, HostEnvironment};
use crate::scope::Scope;
use crate::workplace::Workplace;

/// Most uncommitted files that are named.
const MAX_NAMED_FILES: usize = 20;

/// A commit that can be built.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The commit.
    pub commit: CommitId,
    /// Its branch: the one that was asked for, or the one a tag or commit clearly belongs to.
    pub branch: Option<String>,
    /// What of the repository it is built from.
    pub scope: Scope,
    /// The commit that last changed that.
    pub changed_by: CommitId,
    /// When that was made.
    pub changed: Timestamp,
    /// What the service says about itself at this commit.
    pub manifest: Manifest,
    /// The tools that were found, with their versions.
    pub tools: BTreeMap<String, String>,
    /// What the artifact depends on; equal keys give equal artifacts.
    pub key: Digest,
    /// What a person should know although it stops nothing.
    pub notes: Vec<String>,
}

/// One thing that stands in the way of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckProblem {
    /// The work tree has changes that the build would not contain.
    Uncommitted {
        /// The first files, with git's letters.
        files: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// The folder given as repository is inside one.
    NotTheRoot {
        /// The root of the repository.
        root: String,
    },
    /// No branch, tag or commit has this name.
    UnknownReference {
        /// The name.
        reference: String,
        /// Similar names.
        nearest: Vec<String>,
    },
    /// What a build is to be made from is not there.
    NoSource {
        /// The path from the root of the repository.
        path: String,
    },
    /// Files of Git LFS are pointers.
    LfsPointers {
        /// The first of them.
        files: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// Folders are other repositories.
    Submodules {
        /// The first of them.
        folders: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// A submodule comes from a place that builds may not read.
    SubmoduleFrom {
        /// Its address.
        url: String,
    },
    /// A commit is not of the branch that was named.
    NotOfBranch {
        /// The commit.
        commit: String,
        /// The branch.
        branch: String,
    },
    /// There is no manifest at the commit.
    NoManifest {
        /// Where it was looked for.
        path: String,
        /// The commit.
        commit: String,
    },
    /// Something else than a file has the manifest's name.
    ManifestIsNoFile {
        /// Where it is.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The manifest has a problem.
    Manifest(lockstep_manifest::Problem),
    /// A contract is printed by what a build makes, and there is none.
    ContractOfABuild {
        /// The field of the manifest.
        field: String,
        /// The command.
        command: String,
    },
    /// A tool is not there, or not in a demanded version.
    Tool {
        /// The tool.
        tool: String,
        /// The demanded versions.
        demanded: VersionRange,
        /// What is wrong.
        problem: ToolProblem,
    },
    /// A variable is not set.
    MissingVariable {
        /// Its name.
        name: String,
    },
    /// A variable is set and the builds of this service may not have it.
    WithheldVariable {
        /// Its name.
        name: String,
        /// The service.
        service: ServiceName,
    },
}

impl fmt::Display for CheckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncommitted { files, count } => uncommitted_in_words(f, files, *count),
            Self::NotTheRoot { root } => write!(
                f,
                "the folder is inside the repository `{root}`; name that as repository and the folder of the service in it"
            ),
            Self::UnknownReference { reference, nearest } => {
                write!(f, "no branch, tag or commit is named `{reference}`")?;
                if nearest.is_empty() { Ok(()) } else { write!(f, "; similar: `{}`", nearest.join("`, `")) }
            }
            Self::NotOfBranch { commit, branch } => {
                write!(f, "commit {commit} is not in the history of `{branch}`")
            }
            Self::NoManifest { path, commit } => write!(
                f,
                "`{path}` does not exist at commit {commit}; write one with `lockstep init` and commit it"
            ),
            Self::ManifestIsNoFile { path, what } => {
                write!(f, "`{path}` is a {what}; commit the manifest itself in its place")
            }
            Self::NoSource { path } => {
                write!(
                    f,
                    "build.sources names `{path}`, which is not in the repository at the commit; paths begin at its root"
                )
            }
            Self::LfsPointers { files, count } => {
                let (are, shipped) = match count {
                    1 => ("is", "a pointer"),
                    _ => ("are", "pointers"),
                };
                write!(
                    f,
                    "{} {are} kept by Git LFS and would be shipped as {shipped}: {}; say build.lfs = \"fetch\", or \"pointers\" when that is meant",
                    counted(*count, "file"),
                    shown(files, *count)
                )
            }
            Self::Submodules { folders, count } => {
                write!(
                    f,
                    "{} and would be empty: {}; say build.submodules = \"fetch\", or \"empty\" when that is meant",
                    if *count == 1 {
                        "a folder is a submodule".to_owned()
                    } else {
                        format!("{count} folders are submodules")
                    },
                    shown(folders, *count)
                )
            }
            Self::SubmoduleFrom { url } => {
                write!(
                    f,
                    "a submodule comes from `{url}`; only https, ssh and, for a repository of this machine, folders outside the data folder are fetched"
                )
            }
            Self::Manifest(problem) => problem.fmt(f),
            Self::ContractOfABuild { field, command } => write!(
                f,
                "{field} is printed by `{command}` after a build, and what was made elsewhere is not built here; keep the contract as a file of the repository"
            ),
            Self::Tool { tool, demanded, problem } => problem.describe(f, tool, demanded),
            Self::MissingVariable { name } => {
                write!(f, "the variable `{name}` is not set; set it in the environment of the server")
            }
            Self::WithheldVariable { name, service } => write!(
                f,
                "builds of `{service}` may not have the variable `{name}` of the server; whoever runs the server allows it: lockstep server --build-variable {name}={service}"
            ),
        }
    }
}

/// The first of many names, and how many more there are.
fn shown(names: &[String], count: usize) -> String {
    let more = count - names.len().min(count);
    let names = names.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

fn uncommitted_in_words(f: &mut fmt::Formatter<'_>, files: &[String], count: usize) -> fmt::Result {
    write!(f, "the work tree has changes that the version would not contain: {}", shown(files, count))?;
    f.write_str("; commit or stash them, or list files that do not matter in .gitignore")
}

/// Looks at a local work tree before anything is fetched from it.
pub(crate) fn work_tree(
    request: &BuildRequest,
    place: &Workplace<'_>,
) -> Result<Vec<CheckProblem>, BuildFault> {
    let Some(folder) = request.repository.local() else { return Ok(Vec::new()) };
    let git = Git { folder, cancel: place.cancel };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    match git.try_ask(&["rev-parse", "--show-toplevel"])? {
        Answer::No { .. } => Ok(Vec::new()),
        Answer::Yes(root) => {
            let root = String::from_utf8_lossy(&root).trim_end().to_owned();
            let mut problems = Vec::new();
            if folder.canonicalize().ok() != Path::new(&root).canonicalize().ok() {
                problems.push(CheckProblem::NotTheRoot { root });
            }
            Ok(problems)
        }
    }
}

/// Looks for changes in a local work tree that a version would not contain. What is not of the service is of no concern.
fn uncommitted(
    request: &BuildRequest,
    paths: &[&str],
    place: &Workplace<'_>,
) -> Result<Vec<CheckProblem>, GitError> {
    let local = request.repository.local().filter(|folder| folder.is_dir());
    // What was made elsewhere was not made of this work tree.
    let Some(folder) = local.filter(|_| request.given.is_none()) else {
        return Ok(Vec::new());
    };
    let git = Git { folder, cancel: place.cancel };
    if matches!(git.try_ask(&["rev-parse", "--show-toplevel"])?, Answer::No { .. }) {
        return Ok(Vec::new());
    }
    let words = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--"];
    let files = parse_status(&git.ask(&[&words[..], paths].concat())?);
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let named =
        files.iter().map(|(path, letters)| format!("{letters} {path}")).take(MAX_NAMED_FILES).collect();
    Ok(vec![CheckProblem::Uncommitted { files: named, count: files.len() }])
}

/// Checks what the commit demands; `problems` are those found before.
pub(crate) fn check(
    request: &BuildRequest,
    mirror: &Mirror,
    place: &Workplace<'_>,
    mut problems: Vec<CheckProblem>,
) -> Result<Checked, BuildFault> {
    let folder = [request.folder.as_str()];
    let uncommitted_in = |paths: &[&str]| uncommitted(request, paths, place);
    let own = uncommitted_in(if folder[0].is_empty() { &[] } else { &folder })?;
    let resolved = match resolved(request, mirror)? {
        Ok(resolved) => resolved,
        Err(problem) => {
            problems.extend(own);
            problems.push(problem);
            return Err(BuildFault::Problems(problems));
        }
    };
    let Some((manifest, manifest_digest)) = manifest(request, mirror, &resolved.commit, &mut problems)?
    else {
        problems.splice(0..0, own);
        return Err(BuildFault::Problems(problems));
    };
    let scope = Scope::of(&manifest, &request.folder);
    problems.extend(if manifest.build.sources.is_empty() { own } else { uncommitted_in(&scope.paths())? });
    let wanted = Wanted { given: request.given.as_ref(), manifest: &manifest };
    problems.extend(sources::check(
        mirror,
        &resolved.commit,
        &scope,
        &wanted.build(),
        request.data_folder.as_deref(),
    )?);
    problems.extend(missing_variables(&manifest, &wanted, &request.host));
    problems.extend(wanted.contracts_of_a_build());
    let tools = match request.given {
        Some(_) => BTreeMap::new(),
        None => found_tools(&manifest, request, place, &mut problems),
    };
    if place.cancel.is_cancelled() {
        return Err(BuildFault::Cancelled);
    }
    if !problems.is_empty() {
        return Err(BuildFault::Problems(problems));
    }
    checked(request, mirror, resolved, scope, manifest, manifest_digest, tools)
}

/// Finds the commit, and its branch.
fn resolved(
    request: &BuildRequest,
    mirror: &Mirror,
) -> Result<Result<ResolvedReference, CheckProblem>, GitError> {
    let resolve = |reference| {
        let found = mirror.resolve(reference)?;
        Ok::<_, GitError>(found.map_err(|unknown| CheckProblem::UnknownReference {
            reference: unknown.reference,
            nearest: unknown.nearest,
        }))
    };
    let Some(commit) = &request.commit else { return resolve(request.reference.as_ref()) };
    let found = match resolve(Some(commit))? {
        Ok(found) => found,
        Err(unknown) => return Ok(Err(unknown)),
    };
    if request.reference.is_none() {
        return Ok(Ok(found));
    }
    let of = match resolve(request.reference.as_ref())? {
        Ok(of) => of,
        Err(unknown) => return Ok(Err(unknown)),
    };
    if !mirror.contains(&of.commit, &found.commit)? {
        let branch = request.reference.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(Err(CheckProblem::NotOfBranch { commit: found.commit.short().to_owned(), branch }));
    }
    Ok(Ok(ResolvedReference { commit: found.commit, branch: of.branch }))
}

fn manifest(
    request: &BuildRequest,
    mirror: &Mirror,
    commit: &CommitId,
    problems: &mut Vec<CheckProblem>,
) -> Result<Option<(Manifest, Digest)>, GitError> {
    let path = request.folder.file(MANIFEST_FILE);
    let at_commit = match &request.manifest {
        Some(given) => AtCommit::File(given.clone().into_bytes()),
        None => mirror.at(commit, &path)?,
    };
    let bytes = match at_commit {
        AtCommit::File(bytes) => bytes,
        AtCommit::Other(what) => {
            problems.push(CheckProblem::ManifestIsNoFile { path, what });
            return Ok(None);
        }
        AtCommit::Nothing => {
            problems.push(CheckProblem::NoManifest { path, commit: commit.short().to_owned() });
            return Ok(None);
        }
    };
    let digest = Digest::from_bytes(Sha256::digest(&bytes).into());
    match lockstep_manifest::parse(&String::from_utf8_lossy(&bytes), &path) {
        Ok(manifest) => Ok(Some((manifest, digest))),
        Err(found) => {
            problems.extend(found.into_iter().map(CheckProblem::Manifest));
            Ok(None)
        }
    }
}

fn missing_variables(manifest: &Manifest, wanted: &Wanted<'_>, host: &HostEnvironment) -> Vec<CheckProblem> {
    let missing = manifest.build.variables.iter().filter(|name| wanted.needs(name) && host.lacks(name));
    let problem = |name: &String| match host.withholds(name) {
        true => CheckProblem::WithheldVariable { name: name.clone(), service: manifest.name.clone() },
        false => CheckProblem::MissingVariable { name: name.clone() },
    };
    missing.map(problem).collect()
}

fn found_tools(
    manifest: &Manifest,
    request: &BuildRequest,
    place: &Workplace<'_>,
    problems: &mut Vec<CheckProblem>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let env = crate::environment::basic(&request.host, place);
    for (tool, demanded) in &manifest.build.tools {
        match tools::find(tool, demanded, &env, place) {
            Ok(version) => {
                found.insert(tool.clone(), version.to_string());
            }
            Err(problem) => {
                problems.push(CheckProblem::Tool { tool: tool.clone(), demanded: demanded.clone(), problem });
            }
        }
    }
    found
}

fn checked(
    request: &BuildRequest,
    mirror: &Mirror,
    resolved: ResolvedReference,
    scope: Scope,
    manifest: Manifest,
    manifest_digest: Digest,
    tools: BTreeMap<String, String>,
) -> Result<Checked, BuildFault> {
    let commit = resolved.commit;
    let variables = crate::environment::named(&manifest, &request.host);
    let key = build_key(&BuildInputs {
        parts: &mirror.parts(&commit, &scope)?,
        folder: &request.folder,
        manifest: manifest_digest,
        tools: &tools,
        variables: &variables,
        given: request.given.as_ref().map(|given| given.facts.digest),
    });
    let (changed_by, seconds) = mirror.last_change(&commit, &scope)?;
    Ok(Checked {
        notes: notes(request, mirror, &commit, &manifest)?,
        branch: resolved.branch,
        changed_by,
        changed: Timestamp(seconds.saturating_mul(1_000)),
        commit,
        scope,
        manifest,
        tools,
        key,
    })
}

fn notes(
    request: &BuildRequest,
    mirror: &Mirror,
    commit: &CommitId,
    manifest: &Manifest,
) -> Result<Vec<String>, GitError> {
    let withheld = manifest.build.optional_variables.iter().filter(|name| request.host.withholds(name));
    let mut notes: Vec<_> = withheld
        .map(|name| {
            let service = &manifest.name;
            format!("the variable `{name}` is set and not given to this build; allow it: lockstep server --build-variable {name}={service}")
        })
        .collect();
    if request.repository.local().is_some_and(|folder| folder.join(".git/shallow").exists()) {
        notes.push("the repository is a shallow clone: the changelog may be incomplete".to_owned());
    }
    let path = request.folder.file(MANIFEST_FILE);
    if request.manifest.is_some() && !matches!(mirror.at(commit, &path)?, AtCommit::Nothing) {
        notes.push(format!(
            "the commit has a `{path}` of its own, which does not count: another manifest was given or is kept with the service"
        ));
    }
    Ok(notes)
}
