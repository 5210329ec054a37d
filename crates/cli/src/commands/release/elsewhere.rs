//! `lockstep release --artifact`: what a build system made is sent to the server, with the reports of its tests.

use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lockstep_api::types::{ImageUpload, MAX_UPLOAD_BYTES, MadeElsewhereRequest, ReportUpload};
use lockstep_domain::Digest;
use lockstep_domain::evidence::EvidenceKind;
use lockstep_files::foreign;
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::failure::Failure;
use crate::given_image::ImageArgs;
use crate::input;
use crate::output::sizes::size;
use crate::progress::Progress;

/// Read at once from a file: large enough that system calls do not count.
const CHUNK_BYTES: usize = 256 * 1024;

/// What was made elsewhere.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ElsewhereArgs {
    /// Release this archive, which was made of the commit elsewhere: .tar, .tar.gz or .tar.zst. Nothing is built or tested.
    ///
    /// Only a service without a repository needs no --commit.
    #[arg(long, value_name = "FILE", group = "elsewhere")]
    artifact: Option<PathBuf>,
    /// A report of tests in JUnit form, or a folder of them, that goes with --artifact or --image.
    ///
    /// Without KIND it is of the one kind of tests that the manifest names, or `unit` when it names none. It is recorded as given.
    #[arg(long = "evidence", value_name = "[KIND=]FILE", requires = "elsewhere")]
    evidence: Vec<ReportFile>,
    #[command(flatten)]
    image: ImageArgs,
}

/// A report, and of which tests it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReportFile {
    kind: Option<EvidenceKind>,
    path: PathBuf,
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("write FILE or KIND=FILE, for example unit=target/junit.xml".to_owned());
        }
        let named = text.split_once('=').and_then(|(kind, path)| Some((kind.parse().ok()?, path)));
        Ok(match named {
            Some((kind, path)) if !path.is_empty() => Self { kind: Some(kind), path: path.into() },
            _ => Self { kind: None, path: text.into() },
        })
    }
}

impl ElsewhereArgs {
    pub(super) fn is_given(&self) -> bool {
        self.artifact.is_some() || self.image.what().is_some()
    }

    /// Sends the archive or the image, when there is one.
    pub(super) fn send(&self, ctx: &Context) -> Result<Option<MadeElsewhereRequest>, Failure> {
        // What is wrong here is said before anything is sent.
        let named = |path| Ok::<_, Failure>((path, file_name(path)?));
        let artifact = self.artifact.as_deref().map(named).transpose()?;
        let reports = self.evidence.iter().map(ReportFile::reports).collect::<Result<Vec<_>, _>>()?;
        let reports = reports.concat();
        if let Some((path, name)) = artifact {
            let upload = sent(ctx, path, &name)?;
            return Ok(Some(MadeElsewhereRequest { upload, name, reports, image: None }));
        }
        let Some(file) = self.image.find(ctx)? else { return Ok(None) };
        let upload = sent(ctx, &file.path, &file.name)?;
        let image = Some(ImageUpload { reference: file.reference, name: file.chosen });
        Ok(Some(MadeElsewhereRequest { upload, name: file.name, reports, image }))
    }
}

fn file_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("`{}` is not the name of a file", path.display())))
}

/// Sends a file, and makes sure that what arrived is what was there.
fn sent(ctx: &Context, path: &Path, name: &str) -> Result<String, Failure> {
    let reading = |error: io::Error| Failure::file("read", path, &error);
    let mut file = foreign::open(path).map_err(reading)?;
    let (digest, bytes) = digest_of(&mut file).map_err(reading)?;
    if bytes > MAX_UPLOAD_BYTES {
        let detail = format!(
            "`{}` has {}, and at most {} are taken",
            path.display(),
            size(bytes),
            size(MAX_UPLOAD_BYTES)
        );
        return Err(Failure::usage(detail).hint("leave out what is not needed where it runs"));
    }
    file.rewind().map_err(reading)?;
    let progress = Progress::begin(&ctx.out);
    progress.line(&format!("send {name}, {}", size(bytes)));
    let upload = ctx.client.upload(file, bytes)?;
    if upload.digest != digest {
        return Err(Failure::usage(format!(
            "`{}` changed while it was sent; nothing was released",
            path.display()
        ))
        .hint("wait until it is made, and run the command again"));
    }
    Ok(upload.upload)
}

fn digest_of(file: &mut fs::File) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((Digest::from_bytes(hasher.finalize().into()), bytes)),
            length => {
                hasher.update(&chunk[..length]);
                bytes += length as u64;
            }
        }
    }
}

impl ReportFile {
    /// Reads the report, or all of a folder.
    fn reports(&self) -> Result<Vec<ReportUpload>, Failure> {
        if !self.path.is_dir() {
            return Ok(vec![self.report(&self.path)?]);
        }
        let reading = |error: io::Error| Failure::file("read", &self.path, &error);
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let paths = entries.map_err(reading)?.into_iter().map(|entry| entry.path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|end| end == "xml")).collect();
        paths.sort_unstable();
        if paths.is_empty() {
            return Err(Failure::usage(format!("`{}` has no .xml file in it", self.path.display()))
                .hint("name the reports, or the folder that the test runner writes them to"));
        }
        paths.iter().map(|path| self.report(path)).collect()
    }

    fn report(&self, path: &Path) -> Result<ReportUpload, Failure> {
        Ok(ReportUpload { kind: self.kind.clone(), name: file_name(path)?, content: input::text(path)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<String>, String) {
        let file: ReportFile = text.parse().unwrap();
        (file.kind.map(|kind| kind.to_string()), file.path.display().to_string())
    }

    #[test]
    fn a_kind_stands_before_the_file_or_is_left_out() {
        assert_eq!(parsed("unit=a/junit.xml"), (Some("unit".into()), "a/junit.xml".into()));
        assert_eq!(parsed("a/junit.xml"), (None, "a/junit.xml".into()));
        assert_eq!(parsed("out/run=7/junit.xml"), (None, "out/run=7/junit.xml".into()));
        assert!("".parse::<ReportFile>().is_err());
    }

    #[test]
    fn a_folder_means_the_reports_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = ReportFile { kind: None, path: folder.path().to_owned() };
        assert!(file.reports().is_err());
        for name in ["b.xml", "a.xml", "a.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let names: Vec<_> = file.reports().unwrap().into_iter().map(|report| report.name).collect();
        assert_eq!(names, ["a.xml", "b.xml"]);
    }
}
