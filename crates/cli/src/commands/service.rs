//! `lockstep service`: which services there are and where they come from.

mod manifest;
mod rename;

use std::path::{Path, PathBuf};

use lockstep_api::types::{EarlierSummary, KnownService, Mode, RegisterService, RemoveRequest, ServiceView};
use lockstep_domain::branch::BranchPattern;
use lockstep_domain::service::Source;
use lockstep_domain::{ServiceName, StageName, repository_address};
use lockstep_manifest::Manifest;

use crate::commands::check;
use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Registers services.
///
/// A service is registered once, from the git repository that holds its lockstep.toml. Its name and owner come from
/// that file. Where the repository is not yours, the manifest is kept outside of it.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep service add\n  lockstep service add ../orders\n  lockstep service rename orders shop-orders"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum ServiceCommand {
    Add(AddArgs),
    Remove(RemoveArgs),
    Rename(rename::RenameArgs),
    Manifest(manifest::ManifestArgs),
}

/// Registers a service from its git repository.
///
/// The repository must hold a lockstep.toml at its root, or in the folder that is named. A path below a repository
/// means that folder of it. A service that comes from elsewhere stays where it is, unless --move says that it has moved.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep service add                                  the current folder
  lockstep service add ../shop --folder services/orders one service of a monorepo
  lockstep service add https://git.example.org/orders.git
  lockstep service add orders --manifest orders.toml --repository https://git.example.org/orders.git
  lockstep service add --manifest hello.toml --no-repository   versions are images, or archives that are made elsewhere
  lockstep service add --from-tags 'v*' --yes           goes on from the newest tag such as v3.4.1")]
struct AddArgs {
    /// The repository: a path on the server's host, or a URL. With --repository or --no-repository, the name of the service.
    #[arg(value_name = "PATH|URL|NAME")]
    what: Option<String>,
    /// A manifest that is kept outside of the repository, for one that is not yours. It counts in place of one there.
    ///
    /// Another one: lockstep service manifest NAME FILE.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The repository, where the name of the service is given.
    #[arg(long, value_name = "PATH|URL", requires = "manifest")]
    repository: Option<String>,
    /// There is no repository: what is released are images, or archives that are made elsewhere.
    ///
    /// It goes without saying where --manifest is given, no repository is named, and the folder that the command runs in is in none.
    #[arg(long, requires = "manifest", conflicts_with_all = ["repository", "folder", "from_tags"])]
    no_repository: bool,
    /// The folder of the service in the repository.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,
    /// The lifecycle of its versions; the standard one when left out.
    #[arg(long, value_name = "NAME")]
    lifecycle: Option<StageName>,
    /// Let a service that is registered come from here from now on. Its versions must be in the history of the repository.
    #[arg(long = "move")]
    moves: bool,
    /// Move it although its versions are not in the history of the repository; the reason is recorded.
    #[arg(long, value_name = "REASON", requires = "moves")]
    unrelated: Option<String>,
    /// Which tags are releases from before, as 'v*': what * stands for is the number. Shows what it finds; --yes takes it up.
    ///
    /// Numbers of these releases are not given again, and the next release goes on from the newest.
    #[arg(long, value_name = "PATTERN")]
    from_tags: Option<BranchPattern>,
    /// Take up what --from-tags finds.
    #[arg(long, requires = "from_tags")]
    yes: bool,
}

impl AddArgs {
    /// Finds out where the service comes from.
    fn source(&self) -> Result<Source, Failure> {
        let place = self.repository.as_deref().or(self.what.as_deref().filter(|_| !self.no_repository));
        if self.no_repository || (self.manifest.is_some() && place.is_none() && !is_in_a_repository()) {
            return Ok(Source::nowhere());
        }
        source(place.unwrap_or("."), self.folder.clone())
    }

    /// Tells whether the first word is the name of the service, and not a place.
    const fn names_the_service(&self) -> bool {
        self.repository.is_some() || self.no_repository
    }

    /// Reads the manifest that is given, and makes sure that it is of the service that is named.
    fn manifest(&self) -> Result<Option<(String, Manifest)>, Failure> {
        let Some(path) = &self.manifest else { return Ok(None) };
        let (text, manifest) = read_manifest(path)?;
        match (self.names_the_service(), &self.what) {
            (true, Some(name)) if *name != manifest.name.as_str() => Err(Failure::usage(format!(
                "`{}` is the manifest of `{}`, not of `{name}`",
                path.display(),
                manifest.name
            ))),
            _ => Ok(Some((text, manifest))),
        }
    }
}

/// Removes a service that runs nowhere.
///
/// Its name stands for nothing after that: nothing of it is released or deployed, and baselines with it cannot be gone back to. Its
/// versions stay, because a number is never given twice: `lockstep service add` brings them back with it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep service remove orders --yes")]
struct RemoveArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    confirm: ConfirmOption,
}

impl RemoveArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let view = ctx.client.service(&self.service)?;
        let name = self.service;
        self.confirm.ask(&format!(
            "this removes service {name} from {}: its {} versions cannot be deployed any more, and baselines that have it cannot be \
             gone back to, until it is added again; its data folders stay (lockstep data list)",
            view.source.repository,
            view.versions.len()
        ))?;
        let left = ctx.client.remove_service(&name, &RemoveRequest { reason: self.reason })?;
        ctx.out.show(&left, |_, style| format!("{}: service {name} is removed\n", style.good("done")))
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let args = match self.command {
            ServiceCommand::Add(args) => args,
            ServiceCommand::Remove(args) => return args.run(ctx),
            ServiceCommand::Rename(args) => return args.run(ctx),
            ServiceCommand::Manifest(args) => return args.run(ctx),
        };
        let manifest = args.manifest()?;
        let given = manifest.as_ref().map(|(_, manifest)| given(manifest)).unwrap_or_default();
        let manifest = manifest.map(|(text, _)| text);
        let source = args.source()?;
        let known = if args.moves { KnownService::Moves } else { KnownService::Stays };
        let mode = if args.from_tags.is_some() && !args.yes { Mode::DryRun } else { Mode::Execute };
        let (lifecycle, unrelated, from_tags) = (args.lifecycle, args.unrelated, args.from_tags);
        let request = RegisterService { source, lifecycle, known, unrelated, from_tags, manifest, mode };
        let view = ctx.client.register(&request)?;
        match mode {
            Mode::Execute => ctx.out.show(&view, |view, style| registered_text(view, given, style)),
            Mode::DryRun => ctx.out.show(&view, shown_text),
        }
    }
}

/// Reads and checks a manifest, wherever it lies.
fn read_manifest(path: &Path) -> Result<(String, Manifest), Failure> {
    let text = check::read(path)?;
    let shown = path.display().to_string();
    let manifest = check::parsed(&text, &shown)?;
    Ok((text, manifest))
}

/// What a release of a service without a repository is given.
const fn given(manifest: &Manifest) -> &'static str {
    match (&manifest.run.external, &manifest.run.image) {
        (Some(_), _) => "",
        (None, Some(_)) => " --image WHAT",
        (None, None) => " --artifact FILE",
    }
}

fn registered_text(view: &ServiceView, given: &str, style: &Style) -> String {
    let name = &view.name;
    let notes = notes_text(view);
    let given = if view.source.has_repository() { "" } else { given };
    format!(
        "{}: service {name} is registered\n{notes}next: lockstep release {name}{given}\n",
        style.good("done")
    )
}

/// Earlier releases that are shown before they are taken up.
const SHOWN_EARLIER: usize = 20;

fn shown_text(view: &ServiceView, style: &Style) -> String {
    let mut table = Table::new(["NUMBER", "TAG", "COMMIT"]).indented(2);
    for EarlierSummary { number, release } in view.earlier.iter().take(SHOWN_EARLIER) {
        let commit: String = release.commit.chars().take(12).collect();
        table.row([number.to_string(), release.tag.clone(), commit]);
    }
    let more = view.earlier.len().saturating_sub(SHOWN_EARLIER);
    let more = if more > 0 { format!("  and {more} more\n") } else { String::new() };
    let table = table.render(style);
    format!("{}{table}{more}nothing was changed; the same with --yes takes them up\n", notes_text(view))
}

fn notes_text(view: &ServiceView) -> String {
    view.notes.iter().map(|note| format!("  {}\n", printable(note))).collect()
}

/// Tells whether the folder that the command runs in is in a repository.
fn is_in_a_repository() -> bool {
    std::env::current_dir().is_ok_and(|here| repository_around(&here).is_some())
}

/// Returns the root of the repository that a folder is in.
fn repository_around(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| folder.join(".git").exists())
}

/// Returns the repository as the server will find it.
fn source(repository: &str, folder: Option<String>) -> Result<Source, Failure> {
    if is_url(repository) {
        if let Some(why) = repository_address::secret_in(repository) {
            return Err(secret(repository, why));
        }
        return Ok(Source { repository: repository.to_owned(), folder: folder.unwrap_or_default() });
    }
    let path = match std::fs::canonicalize(repository) {
        Ok(path) => path,
        // The server may run on another host, where the path exists.
        Err(_) if Path::new(repository).is_absolute() => PathBuf::from(repository),
        Err(error) => return Err(Failure::file("find the repository", Path::new(repository), &error)),
    };
    let root = match folder {
        Some(_) => None,
        None => repository_around(&path),
    };
    let below = root.and_then(|root| path.strip_prefix(root).ok());
    let folder = folder.or_else(|| below?.to_str().map(str::to_owned)).unwrap_or_default();
    let repository = text(root.unwrap_or(&path))?;
    Ok(Source { repository, folder })
}

/// It is not even sent.
fn secret(repository: &str, why: &str) -> Failure {
    let shown = repository_address::shown(repository);
    Failure::usage(format!("`{shown}` cannot be recorded as it was named: {why}")).hint(
        "name it without user, password and query: git asks a credential helper, GIT_ASKPASS or ssh for them, as the user \
         that the server runs as. A password that was typed here is best changed: shells and lists of processes keep it",
    )
}

fn text(path: &Path) -> Result<String, Failure> {
    let not_text = || Failure::usage(format!("the path `{}` is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(not_text)
}

/// Tells a URL or `user@host:path` from a path.
fn is_url(text: &str) -> bool {
    text.contains("://")
        || text
            .split_once('/')
            .map_or(text, |(host, _)| host)
            .split_once('@')
            .is_some_and(|(_, rest)| rest.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_left_as_they_are() {
        for url in ["https://git.example.org/a.git", "ssh://a/b", "git@example.org:team/a.git"] {
            let found = source(url, None).unwrap();
            assert_eq!((found.repository.as_str(), found.folder.as_str()), (url, ""));
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_before_it_is_sent() {
        for held in ["https://ann:s3cret@git.example.org/a.git", "ann:s3cret@example.org:a.git"] {
            let shown = source(held, None).unwrap_err().render(&Style::plain());
            assert!(!shown.contains("s3cret") && shown.contains("credential helper"), "{shown}");
        }
    }

    #[test]
    fn a_folder_below_a_repository_means_that_folder_of_it() {
        let repository = tempfile::tempdir().unwrap();
        let root = repository.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join("services/orders")).unwrap();
        let found = source(root.join("services/orders").to_str().unwrap(), None).unwrap();
        assert_eq!(found.repository, root.to_str().unwrap());
        assert_eq!(found.folder, "services/orders");
        assert_eq!(source(root.to_str().unwrap(), None).unwrap().folder, "");
        let named = source(root.to_str().unwrap(), Some("x".into())).unwrap();
        assert_eq!((named.repository.as_str(), named.folder.as_str()), (root.to_str().unwrap(), "x"));
    }

    #[test]
    fn a_relative_path_that_does_not_exist_is_an_error_here() {
        assert!(source("does/not/exist", None).is_err());
        assert_eq!(source("/srv/on-the-server", None).unwrap().repository, "/srv/on-the-server");
    }
}
