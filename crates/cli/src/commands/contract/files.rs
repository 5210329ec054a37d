//! Contracts on disk: a file with those it refers to, or a folder.
//!
//! A contract may come from somebody who is not trusted, so a reference is followed only inside the repository (or the
//! folder of the file, where there is none), links included.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lockstep_api::problem::ProblemPart;
use lockstep_contract::{Files, Kind, Source, assemble, is_wanted};
use lockstep_domain::contract::ContractSettings;
use lockstep_files::foreign;

use super::budget::{Budget, problem};
use super::location::{Loaded, Origin};

/// How far below a folder files are looked for.
const MAX_DEPTH: usize = 16;
/// Folders that hold what others wrote or what a build makes.
const SKIPPED: [&str; 4] = ["node_modules", "target", "__pycache__", "venv"];

/// Reads what a path names.
pub(super) fn load(path: &Path, kind: Option<Kind>, mut budget: Budget) -> Result<Loaded, ProblemPart> {
    let failed = |error: io::Error| problem(path.display().to_string(), reason(&error));
    // What is neither file nor folder, nor given by the shell, is refused when it is opened.
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        let files = walk(path, &mut budget)?;
        let source = assemble(files, kind).map_err(|detail| problem(path.display().to_string(), detail))?;
        return Ok(Loaded {
            source,
            settings: ContractSettings::default(),
            origin: Origin::Folder(path.to_owned()),
        });
    }
    if metadata.is_file() { file(path, budget) } else { stream(path, budget) }
}

/// What another program writes, as in `lockstep contract diff <(one) <(other)`: it refers to no file.
fn stream(path: &Path, mut budget: Budget) -> Result<Loaded, ProblemPart> {
    let shown = path.display().to_string();
    let bytes = read(path, &shown, &mut budget)?;
    Ok(Loaded {
        source: Source::file(shown, bytes),
        settings: ContractSettings::default(),
        origin: Origin::AsNamed,
    })
}

fn file(path: &Path, mut budget: Budget) -> Result<Loaded, ProblemPart> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| problem(shown.as_str(), reason(&error));
    let entry = path.canonicalize().map_err(failed)?;
    let root = root_of(&entry);
    let (Some(entry_text), Some(root_text)) = (entry.to_str(), root.to_str()) else {
        return Err(problem(shown, "the path is not valid UTF-8"));
    };
    let bytes = read(&entry, &shown, &mut budget)?;
    let source = Source::gather(entry_text, bytes, |path| {
        let inside =
            Path::new(path).canonicalize().is_ok_and(|real| real.starts_with(&root) && real.is_file());
        if inside { read(Path::new(path), path, &mut budget).map(Some) } else { Ok(None) }
    })?;
    Ok(Loaded {
        source: source.told_from(root_text),
        settings: ContractSettings::default(),
        origin: Origin::Folder(root),
    })
}

/// The folder that references may not leave: the repository, or else the folder of the file.
fn root_of(entry: &Path) -> PathBuf {
    let folder = entry.parent().unwrap_or(entry);
    let repository = folder.ancestors().find(|folder| folder.join(".git").exists());
    repository.unwrap_or(folder).to_owned()
}

/// Reads a file as far as the budget goes.
fn read(path: &Path, shown: &str, budget: &mut Budget) -> Result<Vec<u8>, ProblemPart> {
    let mut bytes = Vec::new();
    let file = foreign::open_named(path).map_err(|error| problem(shown, reason(&error)))?;
    let read = file.take(budget.room().saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| problem(shown, reason(&error)))?;
    budget.spend(shown, bytes.len() as u64)?;
    Ok(bytes)
}

/// Reads the files of a folder that may be part of a contract. Links are not followed.
fn walk(folder: &Path, budget: &mut Budget) -> Result<Files, ProblemPart> {
    let mut files = Files::new();
    let mut level = vec![String::new()];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for below in level {
            look_into(folder, &below, (&mut files, &mut next), budget)?;
        }
        level = next;
    }
    match level.first() {
        None => Ok(files),
        Some(deep) => {
            Err(problem(deep.as_str(), format!("folders are nested deeper than {MAX_DEPTH} levels")))
        }
    }
}

fn look_into(
    root: &Path,
    below: &str,
    (files, folders): (&mut Files, &mut Vec<String>),
    budget: &mut Budget,
) -> Result<(), ProblemPart> {
    let folder = root.join(below);
    let failed = |error: io::Error| problem(folder.display().to_string(), reason(&error));
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            folders.push(path);
        } else if kind.is_file() && is_wanted(&path) {
            let shown = entry.path().display().to_string();
            files.insert(path, read(&entry.path(), &shown, budget)?);
        }
    }
    Ok(())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
