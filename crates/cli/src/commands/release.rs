//! `lockstep release`: from a commit to a version.

mod changed;
mod elsewhere;

use std::fmt::Write as _;
use std::path::PathBuf;

use lockstep_api::types::{
    BuildState, BuildView, BumpChoice, DocumentUpload, ReleaseRequest, TagChoice, VersionView,
};
use lockstep_domain::service::{GivenImage, MadeElsewhere};
use lockstep_domain::{ServiceName, VersionNumber, VersionRef};

use self::elsewhere::ElsewhereArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::follow::build::{Narrator, state_word, status, until_over};
use crate::output::Format;
use crate::output::style::{Style, printable};
use crate::output::times::took;
use crate::parse::assignment::DocumentFile;
use crate::progress::Progress;
use crate::{input, interrupt};

/// Cuts a version.
///
/// Checks the configuration, builds a clean checkout, runs the test suites, packages the files reproducibly, and
/// records the version with its evidence and changelog. The number follows from the commits since the last version
/// unless --bump says otherwise. The same content, manifest and tools reuse an earlier build. With --artifact nothing is built
/// and tested: a build system has made it, and its reports are recorded as given.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep release orders
  lockstep release orders --ref release/1.5 --tag
  lockstep release orders --bump minor --notes notes.md --document design=docs/design.md
  lockstep release orders --ref v3.4.1 --version 3.4.1 --manifest lockstep.toml     an old tag as what it was
  lockstep release orders --artifact dist.tar.gz --commit 0d9a3f1 --evidence junit.xml    made by a build system
  lockstep release orders --image registry.example/team/orders:1.4                        an image, of the manifest on the main branch
  lockstep release --changed                            all services of the repository you are in that have changed")]
pub(crate) struct Args {
    /// The service.
    #[arg(value_name = "SERVICE", required_unless_present = "changed")]
    service: Option<ServiceName>,
    /// Release every service of the repository you are in whose content has changed.
    #[arg(long, conflicts_with_all = ["service", "bump", "version", "manifest", "notes", "documents", "unrelated", "no_wait", "elsewhere", "commit"])]
    changed: bool,
    /// Branch, tag or commit; the main branch when left out.
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// The commit; with --ref the branch that it is of, where that is not clear.
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    #[command(flatten)]
    elsewhere: ElsewhereArgs,
    /// Which number it gets.
    #[arg(long, value_name = "BUMP", default_value = "auto")]
    bump: Bump,
    /// The number itself, where it may follow what is there: 3.4.2.
    ///
    /// On a branch of candidates, 1.1.1 is the release that a candidate of the same content becomes. The number of an earlier
    /// release with its tag as --ref releases it as what it was.
    #[arg(long, value_name = "NUMBER", conflicts_with = "bump")]
    version: Option<VersionNumber>,
    /// A manifest for a commit that has none.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A file with what a person says about it.
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// A document to attach: requirements, design, database, api, test-plan, deployment-plan, or a kind of your own.
    #[arg(long = "document", value_name = "KIND=FILE")]
    documents: Vec<DocumentFile>,
    /// Tag the commit in the repository as SERVICE-VERSION.
    #[arg(long)]
    tag: bool,
    /// Release although the commit does not contain the version before it; the reason is recorded.
    ///
    /// For a history that was rewritten on purpose.
    #[arg(long, value_name = "REASON")]
    unrelated: Option<String>,
    /// Return as soon as the build has begun.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bump {
    /// What the commits owe.
    Auto,
    /// The next major number.
    Major,
    /// The next minor number.
    Minor,
    /// The next patch number.
    Patch,
}

impl From<Bump> for BumpChoice {
    fn from(bump: Bump) -> Self {
        match bump {
            Bump::Auto => Self::Auto,
            Bump::Major => Self::Major,
            Bump::Minor => Self::Minor,
            Bump::Patch => Self::Patch,
        }
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let mut request = self.request()?;
        let Some(service) = &self.service else { return changed::release(ctx, &request) };
        if self.elsewhere.is_given() {
            // Whether there is such a service, and whether we may ask, is found out before anything is sent.
            ctx.client.service(service)?;
            request.made_elsewhere = self.elsewhere.send(ctx)?;
        }
        let build = ctx.client.release(service, &request)?;
        if self.no_wait {
            return ctx.out.show(&build, |build, _| begun_text(build));
        }
        let build = wait(ctx, &build)?;
        if build.state != BuildState::Succeeded {
            if ctx.out.format == Format::Json {
                ctx.out.document(&build)?;
            }
            return Err(ended_badly(&build));
        }
        let version = made(ctx, &build)?;
        ctx.out.show(&build, |build, style| released_text(build, version.as_ref(), style))
    }

    fn request(&self) -> Result<ReleaseRequest, Failure> {
        let notes = self.notes.as_deref().map(input::text).transpose()?;
        let documents = self.documents.iter().map(upload).collect::<Result<_, _>>()?;
        Ok(ReleaseRequest {
            reference: self.reference.clone(),
            bump: self.bump.into(),
            notes: notes.unwrap_or_default(),
            documents,
            tag: if self.tag { TagChoice::Tag } else { TagChoice::None },
            unrelated: self.unrelated.clone(),
            version: self.version.clone(),
            manifest: self.manifest.as_deref().map(input::text).transpose()?,
            commit: self.commit.clone(),
            made_elsewhere: None,
        })
    }
}

fn upload(document: &DocumentFile) -> Result<DocumentUpload, Failure> {
    let file_name = document.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(DocumentUpload { kind: document.kind.clone(), file_name, content: input::text(&document.path)? })
}

fn begun_text(build: &BuildView) -> String {
    let BuildView { id, service, reference, .. } = build;
    format!("build {id} of {service} from {reference} began\nfollow it: lockstep logs {id} --follow\n")
}

fn wait(ctx: &Context, build: &BuildView) -> Result<BuildView, Failure> {
    let (out, id) = (ctx.out.clone(), &build.id);
    let text = format!(
        "\nbuild {id} goes on without this command\n  look at it: lockstep build show {id}\n  end it:     lockstep build cancel {id}"
    );
    interrupt::on_ctrl_c(move || out.message(&text))?;
    let progress = Progress::begin(&ctx.out);
    progress.line(&format!("build {id} of {} from {}", build.service, build.reference));
    let mut narrator = Narrator::new();
    until_over(ctx, id, |view| {
        narrator.news(view).iter().for_each(|line| progress.line(line));
        progress.status(&status(view));
    })
}

/// Makes the failure of a build that is over without a version.
pub(crate) fn ended_badly(build: &BuildView) -> Failure {
    let BuildView { id, service, problem, .. } = build;
    let how = state_word(build.state);
    Failure::ended_badly(format!("build {id} of {service} {how}"), problem.as_ref())
        .or_hint(format!("lockstep logs {id}"))
}

fn made(ctx: &Context, build: &BuildView) -> Result<Option<VersionView>, Failure> {
    let Some(number) = &build.version else { return Ok(None) };
    let version = VersionRef { service: build.service.clone(), version: number.clone() };
    Ok(Some(ctx.client.version(&version)?))
}

/// The digest by which an image is found again.
pub(crate) fn told_by(image: &GivenImage) -> String {
    match &image.digest {
        Some(digest) => format!("sha256:{digest}"),
        None => format!("id sha256:{}", image.id),
    }
}

fn released_text(build: &BuildView, version: Option<&VersionView>, style: &Style) -> String {
    let took = build
        .ended
        .map_or_else(String::new, |ended| format!(" after {}", took(ended.since_ms(build.requested))));
    let Some(view) = version else {
        return format!("{}: build {}{took}\n", style.good("done"), build.id);
    };
    let name = format!("{}@{}", view.service, view.version.number);
    let mut text = format!("{}: {name}{took}\n", style.good("done"));
    match &view.version.made_elsewhere {
        Some(MadeElsewhere { image: Some(image), .. }) => {
            let _ = writeln!(text, "  image: {} ({})", printable(&image.reference), told_by(image));
        }
        Some(elsewhere) => {
            let _ = writeln!(text, "  made elsewhere: {}", printable(&elsewhere.archive.name));
        }
        None => {}
    }
    if let Some(earlier) = &build.reused {
        let _ = writeln!(text, "  same content, manifest and tools as build {earlier}: its artifact is used");
    }
    for evidence in &view.version.evidence {
        let (passed, skipped) = (evidence.tests.passed, evidence.tests.skipped);
        let given = if evidence.origin.is_here() { "" } else { " (given)" };
        let _ = match passed + skipped {
            0 => writeln!(text, "  {}{given}: green", evidence.kind),
            _ => writeln!(text, "  {}{given}: green, {passed} passed, {skipped} skipped", evidence.kind),
        };
    }
    for (heading, entries) in view.version.changelog.sections() {
        for entry in entries {
            let scope = entry.scope.as_ref().map(|scope| format!("{scope}: ")).unwrap_or_default();
            let _ = writeln!(text, "  {}: {scope}{}", heading.to_lowercase(), printable(&entry.text));
        }
    }
    let _ = writeln!(text, "next: lockstep deploy {name} --env ENV");
    text
}
