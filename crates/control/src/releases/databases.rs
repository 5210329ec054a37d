//! The migrations that a version brings for its databases, as they are in its artifact.

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::Digest;
use lockstep_domain::database::{Database, VersionDatabase};
use lockstep_domain::run::RunSpec;
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
                match lockstep_migrate::files(&release, database) {
                    Ok(files) => read.push(VersionDatabase { database: database.clone(), files }),
                    Err(why) => problems.push(part(database, &why)),
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

fn part(database: &Database, why: &str) -> ProblemPart {
    ProblemPart {
        detail: format!("database.{}: {why}", database.name),
        hint: Some(format!(
            "`{}` has to be among the files of the artifact: [package] include",
            database.migrations.as_str()
        )),
        ..ProblemPart::default()
    }
}
