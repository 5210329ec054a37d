//! `lockstep init`: a first manifest, by looking at the folder.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_files::whole;
use lockstep_image::{Facts, Wanted};
use lockstep_manifest::MANIFEST_FILE;
use lockstep_manifest::init::{ImageSays, Nested, Proposal, propose, propose_of_image};

use crate::context::Context;
use crate::failure::Failure;
use crate::given_image::ImageArgs;
use crate::look::look_at;
use crate::output::counted::counted;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Files of a repository are readable for everybody.
pub(super) const FILE_MODE: u32 = 0o644;

/// Writes a first lockstep.toml.
///
/// Looks at the folder (Rust, Go, Java, .NET, Ruby, PHP, JavaScript, Python, pages; Dockerfile, Procfile, a unit of systemd), writes a
/// manifest with comments, says what it assumed and asks what nobody but a person knows. In a folder that holds several services it
/// lists them. With --image it looks at an image instead, which needs no repository. An existing manifest is left as it is unless
/// --force is given. A compose file: lockstep import compose.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep init\n  lockstep init services/orders\n  lockstep init --image registry.example/team/orders:1.4\n  lockstep init --print"
)]
pub(crate) struct Args {
    /// The folder of the service.
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    image: ImageArgs,
    /// Write to standard output instead of the file.
    #[arg(long, conflicts_with = "force")]
    print: bool,
    /// Replace an existing manifest.
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        if let Some(what) = self.image.what() {
            let proposal = propose_of_image(&says(what, self.image.facts(ctx, what)?));
            return self.proposed(ctx, &proposal);
        }
        let view = look_at(&self.folder).map_err(|error| Failure::file("look at", &self.folder, &error))?;
        let proposal = propose(&view);
        if !proposal.services.is_empty() {
            let compose = view.compose_file();
            let show = |_: &_, style: &Style| self.several(&proposal.services, compose, style);
            return ctx.out.show(&json(&proposal, None), show);
        }
        self.proposed(ctx, &proposal)
    }

    /// Writes what is proposed, or shows it.
    fn proposed(&self, ctx: &Context, proposal: &Proposal) -> Result<(), Failure> {
        let file = self.folder.join(MANIFEST_FILE);
        let written = if self.print { None } else { Some(self.write(&file, &proposal.text)?) };
        let next = self.next(&file);
        ctx.out.show(&json(proposal, written), |_, style| text(proposal, written, &next, style))
    }

    /// What is to be done with a manifest that was written.
    fn next(&self, file: &Path) -> String {
        match self.image.what() {
            None => "look at it, commit it, then lockstep service add".to_owned(),
            Some(_) => {
                format!("look at it, then lockstep service add --manifest {} --no-repository", file.display())
            }
        }
    }

    /// Says which services lie below, and how each gets its manifest.
    fn several(&self, services: &[Nested], compose: Option<&str>, style: &Style) -> String {
        let mut text = format!(
            "{} holds {}; nothing was written\n",
            self.folder.display(),
            counted(services.len(), "service")
        );
        let mut table = Table::new(["", ""]).indented(2);
        for Nested { folder, sign } in services {
            let command = format!("lockstep init {}", self.below(folder).display());
            table.row([printable(&command).into_owned(), format!("found {}", printable(sign))]);
        }
        text += &table.render(style);
        if let Some(file) = compose {
            let file = self.below(file);
            let _ = writeln!(
                text,
                "or all of them by the compose file: lockstep import compose {}",
                file.display()
            );
        }
        text
    }

    fn below(&self, path: &str) -> PathBuf {
        if self.folder == Path::new(".") { PathBuf::from(path) } else { self.folder.join(path) }
    }

    fn write<'f>(&self, file: &'f Path, text: &str) -> Result<&'f Path, Failure> {
        // Whole or not at all, and in the place of a link, never through it: it comes with a repository, and may lead anywhere.
        let put = if self.force { whole::put } else { whole::put_new };
        match put(file, text.as_bytes(), FILE_MODE) {
            Ok(()) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::usage(format!("`{}` is there already", file.display()))
                    .hint("`lockstep check` reads it; `lockstep init --force` replaces it"))
            }
            Err(error) => Err(Failure::file("write", file, &error)),
        }
    }
}

fn text(proposal: &Proposal, written: Option<&Path>, next: &str, style: &Style) -> String {
    let Some(file) = written else { return proposal.text.clone() };
    let mut text = format!("{}: wrote {}\nassumed:\n", style.good("done"), file.display());
    for assumption in &proposal.assumptions {
        let _ = writeln!(text, "  - {}", printable(assumption));
    }
    if !proposal.questions.is_empty() {
        let _ = writeln!(text, "{}", style.warn("to be answered in the file:"));
    }
    for question in &proposal.questions {
        let _ = writeln!(text, "  ? {}", printable(question));
    }
    let _ = writeln!(text, "next: {next}");
    text
}

/// What an image says, as far as a manifest is concerned.
fn says(what: &str, facts: Facts) -> ImageSays {
    ImageSays {
        reference: what.to_owned(),
        has_command: !facts.command(Wanted::Everything).is_empty(),
        variables: facts.variables.into_keys().collect(),
        ports: facts.ports,
        volumes: facts.volumes,
        health: facts.health.map(|health| health.command).unwrap_or_default(),
    }
}

fn json(proposal: &Proposal, file: Option<&Path>) -> serde_json::Value {
    let Proposal { text, assumptions, questions, services } = proposal;
    serde_json::json!({ "file": file, "text": text, "assumptions": assumptions, "questions": questions, "services": services })
}
