//! What keeps the migrations of a manifest from being applied, and what of them is not: for `lockstep check`, before a release says it.

use std::path::Path;

use lockstep_api::problem::ProblemPart;
use lockstep_domain::database::{Database, Lines, MigrationFile};
use lockstep_manifest::Manifest;
use lockstep_migrate::Wrong;

use crate::output::style::printable;

/// What is to be said of the migrations of a work tree.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    pub(super) problems: Vec<ProblemPart>,
    /// What is left out, a line each.
    pub(super) notes: Vec<String>,
}

impl Migrations {
    /// Looks at all of them. A folder that a build makes is left to the release.
    pub(super) fn of(folder: &Path, manifest: &Manifest) -> Self {
        let mut all = Self::default();
        let is_made = |it: &&Database| {
            !manifest.build.steps.is_empty() && !folder.join(it.migrations.as_str()).exists()
        };
        for database in manifest.databases.iter().filter(|it| !is_made(it)) {
            let field = format!("database.{}.variable", database.name);
            let lost = lockstep_migrate::lost(database, &manifest.run);
            let lost = lost.map(|Wrong { detail, hint, .. }| ProblemPart {
                detail,
                hint,
                field: Some(field),
                ..ProblemPart::default()
            });
            all.problems.extend(lost);
            match lockstep_migrate::files(folder, database) {
                Ok(files) => all.notes.extend(left_out(database, &files)),
                Err(wrong) => all.problems.extend(wrong.into_iter().map(|it| part(folder, database, it))),
            }
        }
        all
    }
}

fn part(folder: &Path, database: &Database, wrong: Wrong) -> ProblemPart {
    let Wrong { detail, file, line, hint } = wrong;
    let place = |file: String| folder.join(database.migrations.as_str()).join(file).display().to_string();
    let field = Some(format!("database.{}.migrations", database.name));
    ProblemPart { detail, file: file.map(place), line, field, hint }
}

fn left_out(database: &Database, files: &[MigrationFile]) -> Vec<String> {
    if !database.applied.is_by_lockstep() {
        return Vec::new();
    }
    let cut = files.iter().filter(|file| !file.left_out.is_empty());
    let said = cut.map(|file| {
        let (name, lines) = (printable(&file.name), Lines::all(&file.left_out));
        format!(
            "  `{name}` of database {} is applied without {lines}, which is its way down\n",
            database.name
        )
    });
    said.collect()
}
