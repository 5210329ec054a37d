//! Takes an image in place of a build: checked, put into one root, packaged, and joined with what the manifest says of how it runs.
//!
//! Invariant: nothing of it is run, and the manifest wins wherever it says something.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep_archive::layers::{Node, read_text};
use lockstep_archive::{Begins, Compression, UnpackError, UnpackLimits};
use lockstep_domain::image_run::{ImageRun, verbatim};
use lockstep_domain::process::Processes;
use lockstep_domain::reference::Scope;
use lockstep_domain::run::{MAX_FILLED_BYTES, Port, RunSpec, StopSignal};
use lockstep_domain::service::GivenImage;
use lockstep_files::foreign;
use lockstep_image::{Facts, Flat, ImageError, Platform, Wanted, flatten};
use lockstep_manifest::Manifest;

use crate::failure::{BuildFault, io_fault};
use crate::given::Cancellable;
use crate::package::{PackageError, PackageManifest, PackagedArtifact, package_image, problems_of_image};
use crate::request::{Given, OfImage};
use crate::run::Build;

/// Longest variable that Linux gives to a program, with the name, `=` and the end.
const MAX_VARIABLE_BYTES: usize = 128 * 1024 - 2;
/// Most of all variables: Linux gives 2 MiB with the arguments and what Lockstep adds.
const MAX_VARIABLES_BYTES: usize = 1024 * 1024;

/// An image that was taken.
#[derive(Debug, Clone)]
pub struct TakenImage {
    /// How a version runs that is this image.
    pub run: RunSpec,
    /// And how its other processes are run.
    pub processes: Processes,
    /// What was taken.
    pub given: GivenImage,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Takes an image apart and packages it.
pub(crate) fn repackaged(
    build: &Build<'_>,
    given: &Given,
    of: &OfImage,
    manifest: &Manifest,
) -> Result<(PackagedArtifact, TakenImage), BuildFault> {
    let taking = Taking { build, given, of };
    let folder = taking.unpacked()?;
    let found = lockstep_image::open(&folder, of.name.as_deref(), &Platform::here());
    let found = found.map_err(|error| taking.refused(&error))?;
    let contents = build.place.unpacked().join("contents");
    fs::create_dir_all(&contents).map_err(|source| io_fault(&contents, "created", source))?;
    let cancel = build.place.cancel;
    let flat = flatten(&found, &contents, UnpackLimits::USUAL, |file| Cancellable { file, cancel });
    let flat = match flat {
        _ if cancel.is_cancelled() => return Err(BuildFault::Cancelled),
        Err(ImageError::Layer { source: UnpackError::Write { path, source }, .. }) => {
            return Err(io_fault(&path, "written", source));
        }
        flat => flat.map_err(|error| taking.refused(&error))?,
    };
    let run = joined(&manifest.run, &flat.facts);
    let others = manifest.processes.others.iter();
    let others = others.map(|(name, run)| (name.clone(), joined(run, &flat.facts))).collect();
    let processes = Processes { others, ..manifest.processes.clone() };
    taking.must_start(&flat, &run, &processes, manifest)?;
    let (digest, bytes) =
        package_image(&flat, &build.place.artifact(), cancel).map_err(|error| match error {
            PackageError::Cancelled => BuildFault::Cancelled,
            error => error.into(),
        })?;
    let contents = PackageManifest {
        format: crate::package::PACKAGE_FORMAT,
        service: manifest.name.clone(),
        commit: None,
        builder: "an image".to_owned(),
        tools: std::collections::BTreeMap::new(),
        files: Vec::new(),
    };
    let notes = notes(&flat, &manifest.run, &run);
    let given = GivenImage {
        reference: of.reference.clone(),
        digest: found.digest,
        id: found.id,
        platform: found.platform().to_string(),
    };
    let artifact = PackagedArtifact { path: build.place.artifact(), digest, bytes, contents };
    Ok((artifact, TakenImage { run, processes, given, notes }))
}

struct Taking<'a> {
    build: &'a Build<'a>,
    given: &'a Given,
    of: &'a OfImage,
}

impl Taking<'_> {
    fn refused(&self, error: &ImageError) -> BuildFault {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !reason.contains(&cause_text) {
                reason = format!("{reason}: {cause_text}");
            }
            source = cause.source();
        }
        self.because(reason, &hint_for(error))
    }

    fn because(&self, reason: String, hint: &str) -> BuildFault {
        BuildFault::Given { name: self.of.reference.clone(), reason, hint: hint.to_owned() }
    }

    /// Unpacks the tar that was sent: a layout, or what `docker save` wrote.
    fn unpacked(&self) -> Result<PathBuf, BuildFault> {
        let folder = self.build.place.unpacked().join("image");
        fs::create_dir_all(&folder).map_err(|source| io_fault(&folder, "created", source))?;
        let reading = |source| io_fault(&self.given.archive, "read", source);
        let open = || foreign::open_no_link(&self.given.archive);
        let compression = Compression::of(open().map_err(reading)?).map_err(reading)?;
        let hint = "docker save IMAGE -o image.tar, or skopeo copy FROM oci-archive:image.tar";
        let compression = compression.map_err(|no_archive| self.because(no_archive.to_string(), hint))?;
        let cancel = self.build.place.cancel;
        let file = Cancellable { file: open().map_err(reading)?, cancel };
        let limits = UnpackLimits::default();
        match lockstep_archive::unpack(file, compression, Begins::Anyhow, &folder, &limits) {
            _ if cancel.is_cancelled() => Err(BuildFault::Cancelled),
            Ok(_) => Ok(folder),
            Err(UnpackError::Write { path, source }) => Err(io_fault(&path, "written", source)),
            Err(error) => Err(self.because(crate::given::with_cause(&error), hint)),
        }
    }

    /// Refuses an image whose program is not there, or whose files cannot be filled in.
    fn must_start(
        &self,
        flat: &Flat,
        run: &RunSpec,
        processes: &Processes,
        manifest: &Manifest,
    ) -> Result<(), BuildFault> {
        let all = || std::iter::once(run).chain(processes.others.values());
        if all().any(|run| run.kind.has_instances() && run.command.is_empty()) {
            let reason = "it says no command (neither ENTRYPOINT nor CMD)".to_owned();
            return Err(self.because(reason, "say it in the manifest: [run] command = \"/bin/server\""));
        }
        if let Some(reason) = cannot_be_given(flat) {
            return Err(self.because(reason, "mend the image, and make it anew"));
        }
        let jobs = manifest.jobs.iter().map(|job| job.command.first());
        for program in all().map(|run| run.command.first()).chain(jobs).flatten() {
            if !has_program(flat, program, run) {
                let reason = format!("it has no program `{program}` that can be run");
                return Err(self.because(reason, "mend the command in the manifest, or the image"));
            }
        }
        let Manifest { requires, resources, .. } = manifest;
        let read = |path: &lockstep_domain::work_path::WorkPath| {
            read_text(&flat.root, Path::new(path.as_str()), MAX_FILLED_BYTES)
        };
        let scope = Scope::of(requires, resources);
        match all().flat_map(|run| problems_of_image(run, &scope, read)).collect::<Vec<_>>() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(PackageError::Problems(problems).into()),
        }
    }
}

fn hint_for(error: &ImageError) -> String {
    match error {
        ImageError::Several { names } | ImageError::NoSuch { names, .. } => {
            let first = names.first().map_or("NAME", String::as_str);
            format!("say which one: --image-name {first}")
        }
        ImageError::Platform { wanted, .. } => {
            format!("build it for {wanted}: docker build --platform {wanted} .")
        }
        ImageError::User(_) => "USER has to be a number, or a name in its /etc/passwd".to_owned(),
        ImageError::Digest { .. } | ImageError::Read { .. } => "fetch or save it anew".to_owned(),
        _ => "docker save IMAGE -o image.tar, or skopeo copy FROM oci-archive:image.tar".to_owned(),
    }
}

/// Joins what a manifest says with what the image says.
fn joined(run: &RunSpec, facts: &Facts) -> RunSpec {
    let arguments = run.image.as_ref().and_then(|image| image.arguments.clone());
    let own = |words: Vec<String>| words.iter().map(|word| verbatim(word)).collect::<Vec<_>>();
    let command = match arguments {
        _ if !run.kind.has_instances() => Vec::new(),
        _ if !run.command.is_empty() => run.command.clone(),
        // Those of the manifest may have references.
        Some(arguments) => [own(facts.command(Wanted::WithArguments(&[]))), arguments].concat(),
        None => own(facts.command(Wanted::Everything)),
    };
    let of_image = facts.variables.iter().map(|(name, value)| (name.clone(), verbatim(value)));
    let variables = of_image.chain(run.variables.clone()).collect();
    let mut stop = run.stop.clone();
    if let (StopSignal::Term, Some(signal)) = (stop.signal, facts.stop_signal.as_deref().and_then(signal)) {
        stop.signal = signal;
    }
    let image =
        ImageRun { folder: facts.folder.clone(), user: facts.user, group: facts.group, arguments: None };
    RunSpec { command, variables, stop, image: Some(image), ..run.clone() }.with_values_noted()
}

fn signal(text: &str) -> Option<StopSignal> {
    match text.strip_prefix("SIG").unwrap_or(text) {
        "TERM" | "15" => Some(StopSignal::Term),
        "INT" | "2" => Some(StopSignal::Int),
        "QUIT" | "3" => Some(StopSignal::Quit),
        "HUP" | "1" => Some(StopSignal::Hup),
        _ => None,
    }
}

/// Says what the system would not take of an image when its program is started.
fn cannot_be_given(flat: &Flat) -> Option<String> {
    let Facts { variables, folder, .. } = &flat.facts;
    let too_long = |(name, value): &(&String, &String)| name.len() + value.len() > MAX_VARIABLE_BYTES;
    let all: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let is_file =
        |path: &&Path| flat.root.find(path).is_some_and(|named| matches!(named.node, Node::File { .. }));
    if let Some((name, _)) =
        variables.iter().find(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        return Some(format!("its variable {name:?} has a NUL character in it"));
    }
    if let Some((name, _)) = variables.iter().find(too_long) {
        return Some(format!("its variable `{name}` has more than {MAX_VARIABLE_BYTES} bytes"));
    }
    if all > MAX_VARIABLES_BYTES {
        return Some(format!(
            "its variables have {all} bytes, and a program is given {MAX_VARIABLES_BYTES} at most"
        ));
    }
    let file = Path::new(folder).ancestors().find(is_file)?;
    Some(format!("its WORKDIR is `{folder}`, and `{}` is a file", file.display()))
}

/// Looks for a program as the system will: by its path, or in `PATH`. What has a reference in it only the start can say.
fn has_program(flat: &Flat, program: &str, run: &RunSpec) -> bool {
    if program.contains("${") {
        return true;
    }
    let is_program = |path: &Path| {
        flat.root.find(path).is_some_and(|named| named.executable && matches!(named.node, Node::File { .. }))
    };
    if program.contains('/') {
        return is_program(&Path::new(&flat.facts.folder).join(program));
    }
    let path = run.variables.get("PATH").map_or("", String::as_str);
    path.contains("${") || path.split(':').any(|folder| is_program(&Path::new(folder).join(program)))
}

/// What a person should know of an image although it stops nothing.
fn notes(flat: &Flat, manifest: &RunSpec, run: &RunSpec) -> Vec<String> {
    let facts = &flat.facts;
    let mut notes = Vec::new();
    if flat.root.left_out() > 0 {
        notes.push(format!("{} devices and pipes of the image were left out", flat.root.left_out()));
    }
    let is_told = facts.variables.contains_key("PORT");
    if run.port == Port::Assigned && run.listens_on().is_some() && !facts.ports.is_empty() && !is_told {
        let port = facts.ports.first().and_then(|port| port.split('/').next()).unwrap_or_default();
        notes.push(format!(
            "the image says that it listens on {}; where it does not listen on $PORT, say so in the manifest: [run] port = {port}",
            facts.ports.join(", ")
        ));
    }
    let kept = |volume: &&String| {
        let volume = volume.trim_matches('/');
        !run.data.iter().any(|data| volume == data.as_str() || volume.starts_with(&format!("{data}/")))
    };
    let lost: Vec<_> = facts.volumes.iter().filter(kept).map(|volume| format!("\"{volume}\"")).collect();
    if !lost.is_empty() {
        let lost = lost.join(", ");
        notes.push(format!(
            "what it writes to its volumes goes with each instance; to keep it over all versions: [run] data = [{lost}]"
        ));
    }
    if let Some(health) = facts
        .health
        .as_ref()
        .filter(|_| manifest.health == lockstep_domain::run::HealthCheck::new(manifest.kind.usual_probe()))
    {
        notes.push(format!(
            "the image has a HEALTHCHECK, which is not used; to use it: [run] health = {{ command = {} }}",
            lockstep_manifest::strings(&health.command)
        ));
    }
    if let Some(signal_of_image) = facts.stop_signal.as_deref().filter(|text| signal(text).is_none()) {
        notes.push(format!(
            "the image wants {signal_of_image} to be ended by, which is not sent; it gets SIG{}",
            format!("{:?}", run.stop.signal).to_uppercase()
        ));
    }
    notes
}
