//! `lockstep import`: what a team has, as manifests and as an environment.

mod register;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::EnvironmentName;
use lockstep_files::foreign;
use lockstep_files::whole;
use lockstep_manifest::compose::{self, Import, Remark};
use lockstep_manifest::init::COMPOSE_FILES;

use self::register::Registered;
use super::init::FILE_MODE;
use crate::context::Context;
use crate::failure::Failure;
use crate::look::look_at;

/// Largest compose file.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Takes over what a team has: a compose file.
///
/// Makes manifests of it, and with an environment all that is needed before a first release.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep import compose
  lockstep import compose docker-compose.yml --env development")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ImportCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum ImportCommand {
    Compose(ComposeArgs),
}

/// Makes manifests of a compose file.
///
/// Writes a lockstep.toml for every service that is built, in its folder; services that share a folder get theirs in `lockstep/`, to be kept
/// with them. Databases become resources, nginx becomes a service with its configuration, addresses become references. What could not be
/// taken is said with its line and what to do. Nothing that is there is overwritten, and doing it again is harmless.
///
/// With --env it goes on when the files are committed: it creates the environment where it is missing, registers the services, lets Lockstep
/// run PostgreSQL and Redis where the environment has none of that name, and sets what belongs to the environment. What is set there already stays.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep import compose --dry-run
  lockstep import compose && git add . && git commit --message 'feat: run with Lockstep'
  lockstep import compose --env development")]
struct ComposeArgs {
    /// The compose file; the one in the current folder when left out.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also register the services, and set up this environment.
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<EnvironmentName>,
    /// Take the services of this profile as well.
    #[arg(long = "profile", value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Show what would be written, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// It was written.
    Written,
    /// It would be written.
    WouldBeWritten,
    /// It is there, as it would be written.
    Unchanged,
    /// It is there and says something else, which stays.
    Kept,
}

/// All that was done.
struct Done {
    folder: PathBuf,
    file: String,
    import: Import,
    files: BTreeMap<String, Fate>,
    registered: Option<Registered>,
    dry_run: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let ImportCommand::Compose(args) = self.command;
        args.run(ctx)
    }
}

impl ComposeArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let folder = self.folder();
        let mut view = look_at(&folder).map_err(|error| Failure::file("look at", &folder, &error))?;
        let file = self.name(&folder)?;
        if !view.files.get(&file).is_some_and(Option::is_some) {
            // It may be called anything, and be a link: somebody named it.
            let path = folder.join(&file);
            let text = foreign::read_text(
                fs::File::open(&path).map_err(|error| Failure::file("read", &path, &error))?,
                MAX_FILE_BYTES,
            );
            view.files
                .insert(file.clone(), Some(text.map_err(|error| Failure::file("read", &path, &error))?));
        }
        let import = compose::import(&file, &view, &self.profiles);
        if import.services.is_empty() {
            return Err(nothing(&file, &import));
        }
        let mut files = BTreeMap::new();
        for (path, text) in &import.files {
            check_no_link(&folder, path)?;
            files.insert(path.clone(), self.write(&folder.join(path), text)?);
        }
        let mut done = Done { folder, file, import, files, registered: None, dry_run: self.dry_run };
        if let Some(environment) = self.environment.filter(|_| !self.dry_run) {
            done.registered = Some(register::register(ctx, &done, environment)?);
        }
        ctx.out.show(&done.json(), |_, style| done.text(style))
    }

    fn folder(&self) -> PathBuf {
        let parent =
            self.file.as_deref().map(|file| if file.is_dir() { file } else { file.parent().unwrap_or(file) });
        match parent {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    fn name(&self, folder: &Path) -> Result<String, Failure> {
        let named = self.file.as_deref().filter(|file| !file.is_dir()).and_then(Path::file_name);
        let found = named.map(|name| name.to_string_lossy().into_owned()).or_else(|| {
            COMPOSE_FILES.into_iter().find(|name| folder.join(name).is_file()).map(str::to_owned)
        });
        let missing = || {
            Failure::usage("there is no compose file here")
                .hint("name it: lockstep import compose ../shop/docker-compose.yml")
        };
        found.ok_or_else(missing)
    }

    /// Writes a file that is not there, and never over one that is.
    fn write(&self, path: &Path, text: &str) -> Result<Fate, Failure> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() => return Ok(Fate::Kept),
            Ok(_) => {
                let there = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
                return Ok(if there == text.as_bytes() { Fate::Unchanged } else { Fate::Kept });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("read", path, &error)),
        }
        if self.dry_run {
            return Ok(Fate::WouldBeWritten);
        }
        let fail = |error: io::Error| Failure::file("write", path, &error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        match whole::put_new(path, text.as_bytes(), FILE_MODE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Fate::Kept),
            put => put.map_err(fail)?,
        }
        Ok(Fate::Written)
    }
}

/// Makes sure that no folder on the way to a file is a link, which may lead anywhere.
fn check_no_link(folder: &Path, path: &str) -> Result<(), Failure> {
    let parts: Vec<&str> = path.split('/').collect();
    let above = (1..parts.len()).map(|many| folder.join(parts[..many].join("/")));
    let is_link = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    match above.into_iter().find(is_link) {
        None => Ok(()),
        Some(link) => {
            Err(Failure::usage(format!("`{}` is a link, and nothing is written through one", link.display()))
                .hint("put the folder itself there"))
        }
    }
}

/// A file of which nothing can be taken is no success.
fn nothing(file: &str, import: &Import) -> Failure {
    let why = import.remarks.iter().filter(|said| said.kind == Remark::NotTaken);
    let parts = why.map(|said| lockstep_api::problem::ProblemPart {
        detail: said.text.clone(),
        file: Some(file.to_owned()),
        line: Some(said.line).filter(|line| *line > 0),
        field: Some(said.service.clone()).filter(|service| !service.is_empty()),
        hint: said.hint.clone(),
    });
    Failure::usage(format!("`{file}` has no service that can be taken")).problems(parts.collect())
}
