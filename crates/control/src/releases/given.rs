//! Releases of what was made elsewhere: what is given in place of a build, and what is recorded and said of it.

use std::sync::Arc;

use lockstep_api::types::{MadeElsewhereRequest, ReleaseRequest, ReportUpload};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::Digest;
use lockstep_domain::service::{GivenFile, GivenImage, GivenReport, MadeElsewhere, Service, Source, Version};
use lockstep_manifest::Manifest;
use lockstep_pipeline::{Given, OfImage, TestReport, kind_of_report};
use sha2::{Digest as _, Sha256};

use super::number::{Wish, nothing};
use crate::Control;
use crate::uploads::Received;

/// Most reports of one release: each is named in its record.
const MAX_REPORTS: usize = 1_000;
/// Longest name of a file, as file systems have it.
const MAX_NAME_BYTES: usize = 255;

/// Longest name of an image with registry, tag and digest, or path of a file that holds one.
const MAX_REFERENCE_BYTES: usize = 1_024;

/// What was given for a release; the archive is removed with this.
#[derive(Debug)]
pub(super) struct Taken {
    archive: Received,
    given: Given,
}

/// Takes what a request names. Whatever becomes of the request, the file that was sent is used.
pub(super) fn take(control: &Control, request: &mut ReleaseRequest) -> Result<Option<Taken>, Problem> {
    let Some(elsewhere) = request.made_elsewhere.take() else { return Ok(None) };
    let archive = control.uploads.take(&elsewhere.upload)?;
    check(&elsewhere)?;
    let facts = GivenFile { name: elsewhere.name, digest: archive.digest, bytes: archive.bytes };
    let reports = elsewhere.reports.into_iter().map(report).collect();
    let image = elsewhere.image.map(|image| OfImage { reference: image.reference, name: image.name });
    let given = Given { archive: archive.path().to_owned(), facts, reports, image };
    Ok(Some(Taken { archive, given }))
}

/// An archive says nothing of what it was made of; an image is of what its manifest says, and no repository has no commits.
pub(super) fn must_have_a_commit(
    taken: Option<&Taken>,
    source: &Source,
    request: &ReleaseRequest,
) -> Result<(), Problem> {
    let bad = |detail, hint| Err(Problem::new(ErrorCode::BadRequest, detail).with_hint(hint));
    let ReleaseRequest { commit, reference, .. } = request;
    match source.has_repository() {
        false if commit.is_some() => {
            bad("the service has no repository that a commit could be of", "leave --commit out")
        }
        false if reference.is_some() => {
            bad("the service has no repository with branches and tags", "leave --ref out")
        }
        true if commit.is_none() && taken.is_some_and(|taken| !taken.is_image()) => bad(
            "an artifact that was made elsewhere needs its commit",
            "lockstep release NAME --artifact FILE --commit SHA",
        ),
        _ => Ok(()),
    }
}

/// Finds a version of the same files and manifest, where nothing else tells versions apart.
pub(super) fn must_be_other_files(
    service: &Service,
    kept: Option<&Digest>,
    artifact: &Digest,
    wish: &Wish,
) -> Result<(), Problem> {
    let manifest = |version: &Version| version.documents.get("manifest").map(|document| document.digest);
    let is_same =
        |version: &&Arc<Version>| version.artifact.digest == *artifact && manifest(version).as_ref() == kept;
    let same = service.versions.values().rev().find(is_same);
    match same.filter(|_| *wish == Wish::Owed && !service.source.has_repository()) {
        None => Ok(()),
        Some(version) => {
            let detail = format!("its files are those of `{}@{}`", service.name, version.number);
            Err(nothing(service, &version.number, &detail))
        }
    }
}

fn report(upload: ReportUpload) -> TestReport {
    TestReport { kind: upload.kind, name: upload.name, content: upload.content.into_bytes() }
}

fn check(elsewhere: &MadeElsewhereRequest) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::new(ErrorCode::BadRequest, detail));
    let of_image =
        elsewhere.image.iter().flat_map(|image| [Some(&image.reference), image.name.as_ref()]).flatten();
    if let Some(text) = of_image.into_iter().find(|text| !is_reference(text)) {
        return bad(format!("{text:?} is not the name of an image"));
    }
    let names = std::iter::once(&elsewhere.name).chain(elsewhere.reports.iter().map(|report| &report.name));
    if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
        return bad(format!("{name:?} is not the name of a file"));
    }
    if elsewhere.reports.len() > MAX_REPORTS {
        return bad(format!("more than {MAX_REPORTS} reports; let the test runner write them into one file"));
    }
    let kinds = elsewhere.reports.iter().filter_map(|report| report.kind.as_ref());
    match kinds.into_iter().find(|kind| kind.is_of_lockstep()) {
        Some(kind) => bad(format!("evidence `{kind}` is recorded by Lockstep itself, and cannot be given")),
        None => Ok(()),
    }
}

fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_REFERENCE_BYTES && !text.chars().any(char::is_control)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}

impl Taken {
    pub(super) fn given(&self) -> Given {
        self.given.clone()
    }

    fn is_image(&self) -> bool {
        self.given.image.is_some()
    }

    /// The digest by which it makes another version of the same commit: that of an image, and of anything where the commit says nothing.
    pub(super) fn tells_apart(&self, source: &Source) -> Option<&Digest> {
        (self.is_image() || !source.has_repository()).then_some(&self.archive.digest)
    }

    /// What is recorded with the version.
    pub(super) fn recorded(&self, manifest: &Manifest, image: Option<GivenImage>) -> MadeElsewhere {
        let recorded = |report: &TestReport| {
            let digest = Digest::from_bytes(Sha256::digest(&report.content).into());
            let file = GivenFile { name: report.name.clone(), digest, bytes: report.content.len() as u64 };
            Some(GivenReport { kind: kind_of_report(report, manifest)?, file })
        };
        let reports = self.given.reports.iter().filter_map(recorded).collect();
        MadeElsewhere { archive: self.given.facts.clone(), reports, image }
    }

    /// Says of a commit that is released already whether it was with the same artifact.
    pub(super) fn compare(&self, service: &Service, commit: &str, problem: Problem) -> Problem {
        if problem.code != ErrorCode::NothingToRelease {
            return problem;
        }
        let is_same = |version: &Version| {
            version.made_elsewhere.as_ref().is_some_and(|before| before.archive.digest == self.archive.digest)
        };
        let of_commit = service.versions.values().filter(|version| version.commit == commit);
        let nearest = of_commit.max_by_key(|version| (is_same(version), version.recorded));
        let Some(version) = nearest else { return problem };
        let name = format!("{}@{}", service.name, version.number);
        let detail = match &version.made_elsewhere {
            Some(before) if before.archive.digest == self.archive.digest => {
                format!("{name} was made of the same archive")
            }
            Some(before) => format!(
                "{name} was made of another archive: {} of it, and {} was given now; --bump patch releases this one too",
                before.archive.digest, self.archive.digest
            ),
            None => format!("{name} was built by Lockstep; --bump patch releases the archive too"),
        };
        let mut problems = problem.problems.clone();
        problems.push(ProblemPart { detail, ..ProblemPart::default() });
        problem.with_problems(problems)
    }
}

/// Tells whether nothing but what is given can be a version: an address of somebody else is all in the manifest.
fn is_to_be_given(manifest: &Manifest, source: &Source) -> bool {
    !source.has_repository() && manifest.run.external.is_none()
}

/// Refuses to make a version of something else than its manifest is for: only an image has a root of its own to run in.
pub(super) fn must_match(manifest: &Manifest, source: &Source, taken: Option<&Taken>) -> Result<(), Problem> {
    let name = &manifest.name;
    let is_given = taken.is_some_and(Taken::is_image);
    let (code, detail, hint) = match (manifest.run.image.is_some(), is_given) {
        (false, false) if taken.is_none() && is_to_be_given(manifest, source) => (
            ErrorCode::NothingToRelease,
            format!("{name} has no repository that could be built"),
            format!(
                "lockstep release {name} --artifact FILE; for images: [run] image = true in its manifest, and --image WHAT"
            ),
        ),
        (true, true) | (false, false) => return Ok(()),
        (true, false) => (
            ErrorCode::NothingToRelease,
            format!("the versions of {name} are images: its manifest says [run] image = true"),
            format!("lockstep release {name} --image WHAT, a folder, a file or a name in a registry"),
        ),
        (false, true) => (
            ErrorCode::Refused,
            format!("the versions of {name} are no images: its manifest does not say so"),
            "write image = true in [run] of its manifest; what it says beside that, the image need not"
                .to_owned(),
        ),
    };
    Err(Problem::new(code, detail).with_hint(hint))
}

/// What a person should know of a release although it stops nothing.
pub(super) fn worth_knowing(service: &Service, manifest: &Manifest, version: &Version) -> Vec<String> {
    let mut notes = Vec::new();
    let last = service.latest_recorded();
    match (&version.made_elsewhere, last) {
        (None, Some(last)) if last.made_elsewhere.is_some() => notes.push(format!(
            "{}@{} was made elsewhere, and this version was built here; where that was not meant: lockstep release {} --artifact FILE --commit SHA",
            service.name, last.number, service.name
        )),
        (Some(_), _) => {
            notes.extend(not_tested(manifest, version));
            notes.extend(same_artifact(service, version));
        }
        (None, _) => {}
    }
    notes
}

fn not_tested(manifest: &Manifest, version: &Version) -> Option<String> {
    if version.evidence.is_empty() {
        return Some("no evidence was given: the version counts as not tested".to_owned());
    }
    let missing = manifest.tests.iter().map(|suite| &suite.kind);
    let missing: Vec<_> = missing.filter(|kind| version.newest_evidence(kind).is_none()).collect();
    let missing: Vec<_> = missing.iter().map(|kind| kind.as_str()).collect();
    (!missing.is_empty())
        .then(|| format!("the manifest names tests of which no evidence was given: {}", missing.join(", ")))
}

fn same_artifact(service: &Service, version: &Version) -> Option<String> {
    let mut earlier = service.versions.values().rev();
    let same = earlier.find(|earlier| earlier.artifact.digest == version.artifact.digest)?;
    Some(format!("its files are those of {}@{}", service.name, same.number))
}
