//! Takes what was made elsewhere in place of a build: unpacked by the rules for packages of ours, packaged anew as ours.
//!
//! Invariant: nothing that was given is run. The commit still says what the service promises: its contracts are read from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use lockstep_archive::{Begins, Compression, UnpackError, UnpackLimits};
use lockstep_domain::evidence::{EvidenceKind, Outcome};
use lockstep_domain::reference::Scope;
use lockstep_files::foreign;
use lockstep_manifest::{Manifest, Package};

use crate::cancel::CancelToken;
use crate::check::Checked;
use crate::checkout;
use crate::command::Commands;
use crate::contract::{Contracts, Taking};
use crate::failure::{BuildFailure, BuildFault, io_fault};
use crate::image;
use crate::nearest::nearest;
use crate::package::{
    EntryKind, Mode, PackageError, PackageFacts, PackagedArtifact, package, problems_of_run,
};
use crate::request::{BuildRequest, Given, Observer, Phase, TestReport};
use crate::run::{Build, BuildOutput, Prepared, in_workplace};
use crate::suite;

/// Takes what was made elsewhere: reads contracts, unpacks, reads reports, packages. `accept` is asked as in [`make`](crate::make).
///
/// # Errors
/// The first phase that fails; no artifact is left then.
pub fn take(
    request: &BuildRequest,
    given: &Given,
    prepared: &Prepared,
    accept: &dyn Fn(&Contracts) -> Result<(), String>,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> Result<BuildOutput, Box<BuildFailure>> {
    in_workplace(request, observer, cancel, Phase::Contract, |build| {
        let checked = &prepared.checked;
        let contracts = contracts(build, prepared, accept)?;
        if !given.reports.is_empty() {
            build.phase(Phase::Evidence, |build| evidence(build, given, &checked.manifest))?;
        }
        let (artifact, image) = build.phase(Phase::Unpack, |build| match &given.image {
            Some(of) => image::repackaged(build, given, of, &checked.manifest)
                .map(|(artifact, image)| (artifact, Some(image))),
            None => repackaged(build, given, checked).map(|artifact| (artifact, None)),
        })?;
        Ok(BuildOutput { image, ..build.finished(artifact, contracts) })
    })
}

/// Reads the contracts at the commit; nothing else is checked out for it.
fn contracts(
    build: &mut Build<'_>,
    prepared: &Prepared,
    accept: &dyn Fn(&Contracts) -> Result<(), String>,
) -> Result<Contracts, BuildFault> {
    let checked = &prepared.checked;
    if names_contracts(&checked.manifest) {
        build.phase(Phase::Checkout, |build| checkout::check_out(build.place, prepared))?;
    }
    let folder = build.place.source().join(build.request.folder.as_str());
    let commands = Commands::new(build.request, checked, build.place, build.observer);
    let taking = Taking {
        checked,
        folder: &folder,
        commands: &commands,
        place: build.place,
        largest: build.request.largest_contract,
    };
    build.phase(Phase::Contract, |_| taking.take(accept))
}

fn names_contracts(manifest: &Manifest) -> bool {
    !manifest.contracts.is_empty() || manifest.requires.values().any(|needed| needed.contract.is_some())
}

/// Makes evidence of the reports, by kind; the first kind that is red ends it.
fn evidence(build: &mut Build<'_>, given: &Given, manifest: &Manifest) -> Result<(), BuildFault> {
    for (kind, reports) in by_kind(given, manifest)? {
        let outcome = suite::given(&kind, &reports);
        let evidence = outcome.evidence.clone();
        build.suites.push(outcome);
        if evidence.outcome == Outcome::Red {
            return Err(BuildFault::RedEvidence { kind: kind.to_string(), reason: suite::reason(&evidence) });
        }
    }
    Ok(())
}

fn by_kind<'a>(
    given: &'a Given,
    manifest: &Manifest,
) -> Result<BTreeMap<EvidenceKind, Vec<&'a TestReport>>, BuildFault> {
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for report in &given.reports {
        let kind = kind_of_report(report, manifest).ok_or_else(|| several_kinds(report, manifest))?;
        kinds.entry(kind).or_default().push(report);
    }
    Ok(kinds)
}

/// Returns of which tests a report is: as who gave it said, else those that the manifest names when they are of one kind, else
/// `unit` when it names none.
#[must_use]
pub fn kind_of_report(report: &TestReport, manifest: &Manifest) -> Option<EvidenceKind> {
    if let Some(kind) = &report.kind {
        return Some(kind.clone());
    }
    let mut kinds = manifest.tests.iter().map(|suite| &suite.kind);
    match kinds.next() {
        None => Some(EvidenceKind::unit()),
        Some(first) => kinds.all(|kind| kind == first).then(|| first.clone()),
    }
}

fn several_kinds(report: &TestReport, manifest: &Manifest) -> BuildFault {
    let kinds: BTreeSet<_> = manifest.tests.iter().map(|suite| suite.kind.as_str()).collect();
    let kinds: Vec<_> = kinds.into_iter().collect();
    let name = &report.name;
    BuildFault::Given {
        name: name.clone(),
        reason: format!("the manifest names tests of several kinds: {}", kinds.join(", ")),
        hint: format!("say of which it is: --evidence {}={name}", kinds.first().unwrap_or(&"unit")),
    }
}

/// Unpacks the archive, and packages what was in it.
fn repackaged(build: &Build<'_>, given: &Given, checked: &Checked) -> Result<PackagedArtifact, BuildFault> {
    let folder = build.place.unpacked();
    unpack(given, &folder, build.place.cancel)?;
    let facts = PackageFacts {
        service: checked.manifest.name.clone(),
        changed_seconds: checked.changed.0 / 1_000,
        builder: "made elsewhere".to_owned(),
        tools: BTreeMap::new(),
    };
    let packaged = package(&folder, &Package::default(), &facts, &build.place.artifact(), build.place.cancel);
    let packaged = packaged.map_err(|error| match error {
        PackageError::Cancelled => BuildFault::Cancelled,
        error => error.into(),
    })?;
    must_start(&given.facts.name, &packaged, &checked.manifest)?;
    let Manifest { run, requires, resources, .. } = &checked.manifest;
    match problems_of_run(&folder, &packaged.contents, run, &Scope::of(requires, resources)) {
        problems if problems.is_empty() => Ok(packaged),
        problems => Err(PackageError::Problems(problems).into()),
    }
}

fn unpack(given: &Given, folder: &Path, cancel: &CancelToken) -> Result<(), BuildFault> {
    let name = &given.facts.name;
    let refused = |reason: String| BuildFault::Given {
        name: name.clone(),
        reason,
        hint: format!("make it anew, for example: tar -czf {name} -C dist ."),
    };
    fs::create_dir_all(folder).map_err(|source| io_fault(folder, "created", source))?;
    let reading = |source| io_fault(&given.archive, "read", source);
    let open = || foreign::open_no_link(&given.archive);
    let compression = Compression::of(open().map_err(reading)?).map_err(reading)?;
    let compression = compression.map_err(|no_archive| refused(no_archive.to_string()))?;
    let file = Cancellable { file: open().map_err(reading)?, cancel };
    let unpacked =
        lockstep_archive::unpack(file, compression, Begins::Anyhow, folder, &UnpackLimits::default());
    match unpacked {
        _ if cancel.is_cancelled() => Err(BuildFault::Cancelled),
        Ok(tree) if tree.files_and_folders().next().is_none() => Err(refused("it holds no file".to_owned())),
        Ok(_) => Ok(()),
        Err(UnpackError::Write { path, source }) => Err(io_fault(&path, "written", source)),
        Err(error) => Err(refused(with_cause(&error))),
    }
}

pub(crate) fn with_cause(error: &UnpackError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A file that cannot be read any more when somebody cancelled.
pub(crate) struct Cancellable<'a> {
    pub(crate) file: File,
    pub(crate) cancel: &'a CancelToken,
}

impl Read for Cancellable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        self.file.read(buffer)
    }
}

/// Refuses an archive whose program would not start, for the two most usual reasons: everything lies one folder too deep, or what
/// carried the files from one step of a build system to the next lost their modes.
fn must_start(name: &str, packaged: &PackagedArtifact, manifest: &Manifest) -> Result<(), BuildFault> {
    let jobs = manifest.jobs.iter().map(|job| (format!("command of the job `{}`", job.name), &job.command));
    let commands = std::iter::once(("[run] command".to_owned(), &manifest.run.command)).chain(jobs);
    let mut wanted = commands.filter_map(|(what, command)| Some((what, in_artifact(command.first()?)?)));
    wanted.try_for_each(|(what, wanted)| must_be_there(name, packaged, &what, &wanted))
}

fn must_be_there(
    name: &str,
    packaged: &PackagedArtifact,
    what: &str,
    wanted: &str,
) -> Result<(), BuildFault> {
    let files = &packaged.contents.files;
    let refused = |reason, hint| Err(BuildFault::Given { name: name.to_owned(), reason, hint });
    match files.iter().find(|entry| entry.path == wanted).map(|entry| &entry.kind) {
        Some(EntryKind::File { mode: Mode::Plain, .. }) => refused(
            format!("`{wanted}`, which {what} of the manifest starts, is not executable in it"),
            format!("chmod +x {wanted} before the archive is made"),
        ),
        Some(_) => Ok(()),
        None if below_a_link(packaged, wanted) => Ok(()),
        None => refused(
            format!("it has no `{wanted}`, which {what} of the manifest starts"),
            where_it_is(name, packaged, wanted),
        ),
    }
}

fn where_it_is(name: &str, packaged: &PackagedArtifact, wanted: &str) -> String {
    let paths: Vec<&str> = packaged.contents.files.iter().map(|entry| entry.path.as_str()).collect();
    let deeper = paths.iter().find_map(|path| path.strip_suffix(wanted)?.strip_suffix('/'));
    if let Some(folder) = deeper {
        return format!(
            "it lies below `{folder}`: make the archive of what is in there, tar -czf {name} -C {folder} ."
        );
    }
    match nearest(wanted, paths.iter().copied()).first() {
        Some(similar) => format!("it has `{similar}`; mend [run] command, or the archive"),
        None => "mend [run] command, or the archive".to_owned(),
    }
}

/// Returns the path of a program that is one of the artifact: one with a `/`. With a reference in it, or `..`, only the start can say
/// where it is.
fn in_artifact(program: &str) -> Option<String> {
    if !program.contains('/') || program.contains("${") {
        return None;
    }
    let parts = Path::new(program).components().filter(|part| *part != Component::CurDir);
    let parts: Option<Vec<&str>> = parts
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    parts.map(|parts| parts.join("/"))
}

/// Whether a folder above is a link: then only the file system could say what is there.
fn below_a_link(packaged: &PackagedArtifact, path: &str) -> bool {
    let links = packaged.contents.files.iter().filter(|entry| entry.is_link());
    let mut links = links.map(|entry| PathBuf::from(&entry.path));
    links.any(|link| Path::new(path).starts_with(&link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_artifact_has_a_slash_and_a_path_that_is_known() {
        for (program, expected) in [
            ("./bin/serve", Some("bin/serve")),
            ("bin/./serve", Some("bin/serve")),
            ("./serve", Some("serve")),
            ("python3", None),
            ("/usr/bin/python3", None),
            ("./bin/../serve", None),
            ("./${self.service}", None),
        ] {
            assert_eq!(in_artifact(program).as_deref(), expected, "{program}");
        }
    }
}
