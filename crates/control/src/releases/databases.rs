//! The migrations that a version brings for its databases, as they are in its artifact.

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::Digest;
use lockstep_domain::database::{Database, Lines, MigrationFile, VersionDatabase};
use lockstep_domain::run::RunSpec;
use lockstep_migrate::Wrong;
use tokio::runtime::Handle;

use crate::instances::NotStarted;
use crate::{Control, internal};

impl Control {
    /// Reads them, and says what each does.
    pub(super) fn databases_of(
        &self,
        databases: &[Database],
        artifact: Digest,
        run: &RunSpec,
    ) -> Result<Vec<VersionDatabase>, Problem> {
        if databases.is_empty() {
            return Ok(Vec::new());
        }
        if run.image.is_some() {
            let detail = "migrations of an image are not applied by Lockstep";
            let hint = "say `external = true`, or run them by a [[job]] with when = \"before-switch\"";
            return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint));
        }
        Handle::current().block_on(async {
            let _not_removed_meanwhile = self.unpacked.read().await;
            self.unpack(artifact).await.map_err(|error: NotStarted| internal(error.reason()))?;
            let release = self.driver.release_path(&artifact);
            let (mut read, mut problems) = (Vec::new(), Vec::new());
            for database in databases {
                problems.extend(lockstep_migrate::lost(database, run).map(|wrong| part(database, wrong)));
                match lockstep_migrate::files(&release, database) {
                    Ok(files) => read.push(VersionDatabase { database: database.clone(), files }),
                    Err(wrong) => problems.extend(wrong.into_iter().map(|wrong| part(database, wrong))),
                }
            }
            match problems.is_empty() {
                true => Ok(read),
                false => {
                    Err(Problem::new(ErrorCode::Refused, "migrations cannot be used").with_problems(problems))
                }
            }
        })
    }
}

fn part(database: &Database, wrong: Wrong) -> ProblemPart {
    let Wrong { detail, file, line, hint } = wrong;
    let file = file.map(|file| format!("{}/{file}", database.migrations.as_str()));
    ProblemPart {
        detail: format!("database.{}: {detail}", database.name),
        file,
        line,
        hint,
        ..ProblemPart::default()
    }
}

/// Says which lines of migrations do not run, because they are a way down.
pub(super) fn left_out(databases: &[VersionDatabase], before: &[&VersionDatabase]) -> Vec<String> {
    let is_new = |of: &VersionDatabase, file: &MigrationFile| {
        let same = before.iter().filter(|it| it.database.name == of.database.name);
        !same.filter_map(|it| it.file(&file.name)).any(|it| it.left_out == file.left_out)
    };
    let by_lockstep = databases.iter().filter(|of| of.database.applied.is_by_lockstep());
    let cut = by_lockstep.flat_map(|of| of.files.iter().map(move |file| (of, file)));
    let cut = cut.filter(|(of, file)| !file.left_out.is_empty() && is_new(of, file));
    let said = cut.map(|(of, file)| {
        let (lines, database) = (Lines::all(&file.left_out), &of.database.name);
        format!("`{}` of database `{database}` is applied without {lines}, which is its way down", file.name)
    });
    said.collect()
}
