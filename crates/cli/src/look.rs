//! Looks at a folder that others wrote, for what proposes manifests: names of files, and the texts that help.
//!
//! Invariant: bounded in files, depth and bytes; links are not followed.

use std::fs;
use std::io;
use std::path::Path;

use lockstep_files::foreign;
use lockstep_manifest::init::{ABOVE, RepositoryView, worth_reading};

/// Most files that are looked at: what is nearest to the root says most.
const MAX_FILES: usize = 20_000;
/// How far below the folder files are looked for: Java has a folder for each part of a package's name.
const MAX_DEPTH: usize = 16;
/// How many folders above are looked into.
const MAX_ABOVE: usize = 8;
/// Largest file whose text is read.
const MAX_TEXT_BYTES: u64 = 256 * 1024;
/// Most bytes of texts together: far more than a person wrote.
const MAX_ALL_BYTES: usize = 64 * 1024 * 1024;
/// Folders that hold what others wrote or what a build makes.
const SKIPPED: [&str; 10] = [
    ".git",
    "node_modules",
    "target",
    "__pycache__",
    ".venv",
    "venv",
    "site-packages",
    ".gradle",
    "bower_components",
    ".next",
];

/// Reads what is worth reading, breadth first. Links are not followed.
pub(crate) fn look_at(folder: &Path) -> io::Result<RepositoryView> {
    let root = folder.canonicalize()?;
    let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut view = RepositoryView { folder: name, ..RepositoryView::default() };
    look_above(&root, &mut view);
    let mut level = vec![String::new()];
    let mut read = 0;
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for below in level {
            look_into(&root, &below, &mut view, &mut next, &mut read)?;
        }
        level = next;
    }
    Ok(view)
}

/// Notes where the folder is in its repository, and what the folders above say of it.
fn look_above(root: &Path, view: &mut RepositoryView) {
    let Some(repository) = root.ancestors().find(|folder| folder.join(".git").exists()) else { return };
    let Some(place) = root.strip_prefix(repository).ok().and_then(Path::to_str) else { return };
    view.place = place.to_owned();
    let above = root.ancestors().skip(1).take_while(|folder| folder.starts_with(repository));
    for folder in above.take(MAX_ABOVE) {
        for name in ABOVE {
            let path = folder.join(name);
            let inner = path.strip_prefix(repository).ok().and_then(Path::to_str);
            if let (Some(inner), Some(text)) = (inner, read_text(&path)) {
                view.above.insert(inner.to_owned(), text);
            }
        }
    }
}

fn look_into(
    root: &Path,
    below: &str,
    view: &mut RepositoryView,
    folders: &mut Vec<String>,
    read: &mut usize,
) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(below)) {
        // What others may not read says nothing; the folder itself must be there.
        Err(_) if !below.is_empty() => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            folders.push(path);
        } else if kind.is_file() && view.files.len() < MAX_FILES {
            let wanted = worth_reading(&path) && *read < MAX_ALL_BYTES;
            let text = if wanted { read_text(&entry.path()) } else { None };
            *read += text.as_ref().map_or(0, String::len);
            view.files.insert(path, text);
        }
    }
    Ok(())
}

/// Reads a text file that is not too large; what cannot be read is only left out of the proposal.
fn read_text(path: &Path) -> Option<String> {
    foreign::read_text(foreign::open_no_link(path).ok()?, MAX_TEXT_BYTES).ok()
}
