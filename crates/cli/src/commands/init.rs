//! `lockstep init`: a first manifest, by looking at the folder.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lockstep_files::foreign;
use lockstep_manifest::MANIFEST_FILE;
use lockstep_manifest::init::{Proposal, RepositoryView, propose, worth_reading};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};

/// Most files that are looked at: what is nearest to the root says most.
const MAX_FILES: usize = 20_000;
/// How far below the folder files are looked for.
const MAX_DEPTH: usize = 8;
/// Largest file whose text is read.
const MAX_TEXT_BYTES: u64 = 256 * 1024;
/// Folders that hold what others wrote or what a build makes.
const SKIPPED: [&str; 6] = [".git", "node_modules", "target", "__pycache__", ".venv", "venv"];

/// Writes a first lockstep.toml.
///
/// Looks at the folder (Cargo, npm, Python, Go, Maven, Make), writes a manifest with comments, and says what it assumed.
/// An existing manifest is left as it is unless --force is given.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep init\n  lockstep init services/orders\n  lockstep init --print"
)]
pub(crate) struct Args {
    /// The folder of the service.
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Write to standard output instead of the file.
    #[arg(long, conflicts_with = "force")]
    print: bool,
    /// Replace an existing manifest.
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let view = look_at(&self.folder).map_err(|error| Failure::file("look at", &self.folder, &error))?;
        let proposal = propose(&view);
        let file = self.folder.join(MANIFEST_FILE);
        let written = if self.print { None } else { Some(self.write(&file, &proposal.text)?) };
        let assumptions = &proposal.assumptions;
        let value = serde_json::json!({ "file": written, "text": proposal.text, "assumptions": assumptions });
        ctx.out.show(&value, |_, style| text(&proposal, written, style))
    }

    fn write<'f>(&self, file: &'f Path, text: &str) -> Result<&'f Path, Failure> {
        let opened = if self.force {
            foreign::open_to_replace(file)
        } else {
            fs::OpenOptions::new().write(true).create_new(true).open(file)
        };
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::usage(format!("`{}` is there already", file.display()))
                    .hint("`lockstep check` reads it; `lockstep init --force` replaces it"))
            }
            Err(error) => Err(Failure::file("write", file, &error)),
        }
    }
}

fn text(proposal: &Proposal, written: Option<&Path>, style: &Style) -> String {
    let Some(file) = written else { return proposal.text.clone() };
    let mut text = format!("{}: wrote {}\nassumed:\n", style.good("done"), file.display());
    for assumption in &proposal.assumptions {
        let _ = writeln!(text, "  - {}", printable(assumption));
    }
    text.push_str("next: look at it, commit it, then lockstep service add\n");
    text
}

/// Reads what is worth reading, breadth first. Links are not followed.
fn look_at(folder: &Path) -> io::Result<RepositoryView> {
    let root = folder.canonicalize()?;
    let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut view = RepositoryView { folder: name, ..RepositoryView::default() };
    let mut level = vec![String::new()];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for below in level {
            look_into(&root, &below, &mut view, &mut next)?;
        }
        level = next;
    }
    Ok(view)
}

fn look_into(
    root: &Path,
    below: &str,
    view: &mut RepositoryView,
    folders: &mut Vec<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            folders.push(path);
        } else if kind.is_file() && view.files.len() < MAX_FILES {
            let text = if worth_reading(&path) { read(&entry.path()) } else { None };
            view.files.insert(path, text);
        }
    }
    Ok(())
}

/// Reads a text file that is not too large; what cannot be read is only left out of the proposal.
fn read(path: &Path) -> Option<String> {
    foreign::read_text(foreign::open_no_link(path).ok()?, MAX_TEXT_BYTES).ok()
}
