//! `lockstep check`: is the manifest right, and does the service run as it says?

mod databases;
mod findings;
mod run;
mod trial;

use std::path::{Path, PathBuf};

use lockstep_api::problem::ProblemPart;
use lockstep_domain::run::RunUser;
use lockstep_files::foreign;
use lockstep_manifest::{MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, parse};

use databases::Migrations;

use crate::commands::contract;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::counted::counted;
use crate::output::style::Style;

/// Checks a manifest without a server.
///
/// Reads lockstep.toml and names every problem at once, with its line, field and what to write instead; and the contracts
/// and migrations that it names, unless a build makes them.
///
/// With --run it also builds what the work tree holds now, committed or not, starts each process of the service once on this machine, and says what
/// it saw: the port that it listens on, what it was kept from, variables that its log misses, files that it would lose, how it ends. Nothing is released,
/// tests and jobs are not run, and what it requires is not there unless it is named.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep check\n  lockstep check --run --set LOG=debug --resource db=postgres://me:secret@localhost/shop\n  lockstep check services/orders\n  lockstep check orders.toml --folder ../orders"
)]
pub(crate) struct Args {
    /// The manifest, or the folder it is in.
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// The folder of the service in a checkout, for a manifest that is kept outside of its repository: contracts are looked up there.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Build it and start it once.
    #[arg(long, conflicts_with = "folder")]
    run: bool,
    #[command(flatten)]
    world: run::WorldArgs,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let file = if self.path.is_dir() { self.path.join(MANIFEST_FILE) } else { self.path };
        let file = file.strip_prefix(".").unwrap_or(&file);
        let text = read(file)?;
        let shown = file.display().to_string();
        let manifest = parsed(&text, &shown)?;
        let folder = self.folder.as_deref().or(file.parent()).unwrap_or(Path::new(""));
        let mut wrong = contract::check::problems(folder, &manifest);
        let migrations = Migrations::of(folder, &manifest);
        wrong.extend(migrations.problems);
        if !wrong.is_empty() {
            return Err(failure(&shown, wrong));
        }
        if self.run {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            return run::run(ctx, folder, &manifest, self.world);
        }
        ctx.out.show(&manifest, |manifest, style| {
            format!("{}{}", good_text(&shown, manifest, style), migrations.notes.concat())
        })
    }
}

fn failure(file: &str, problems: Vec<ProblemPart>) -> Failure {
    Failure::usage(format!("{file} has {}", counted(problems.len(), "problem"))).problems(problems)
}

/// Parses the text of a manifest.
pub(crate) fn parsed(text: &str, shown: &str) -> Result<Manifest, Failure> {
    parse(text, shown).map_err(|problems| failure(shown, problems.into_iter().map(part).collect()))
}

/// Reads the text of a manifest.
pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let fail = |error: std::io::Error| {
        let failure = Failure::file("read", file, &error);
        if error.kind() == std::io::ErrorKind::NotFound {
            failure.hint("`lockstep init` writes a manifest by looking at the folder")
        } else {
            failure
        }
    };
    match foreign::open(file).and_then(|file| foreign::read_text(file, MAX_MANIFEST_BYTES as u64)) {
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Err(Failure::usage(format!(
            "`{}` has more than {MAX_MANIFEST_BYTES} bytes; a manifest has a few lines",
            file.display()
        ))),
        read => read.map_err(fail),
    }
}

fn part(problem: lockstep_manifest::Problem) -> ProblemPart {
    let lockstep_manifest::Problem { file, line, field, message, hint, .. } = problem;
    let field = Some(field).filter(|field| !field.is_empty());
    ProblemPart { detail: message, file: Some(file), line: Some(line), field, hint }
}

fn good_text(file: &str, manifest: &Manifest, style: &Style) -> String {
    let steps = counted(manifest.build.steps.len(), "build step");
    let suites = counted(manifest.tests.len(), "test suite");
    let contracts = match manifest.contracts.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "contract")),
    };
    let name = &manifest.name;
    let held = held(manifest);
    format!("{}: {file} describes service {name}: {steps}, {suites}{contracts}\n{held}", style.good("done"))
}

/// Says what each process is limited to, and whom it runs as where the manifest says it.
fn held(manifest: &Manifest) -> String {
    let main = manifest.processes.main.as_ref();
    let main = manifest.run.kind.has_instances().then_some((main, &manifest.run));
    let all = main.into_iter().chain(manifest.processes.others.iter().map(|(name, run)| (Some(name), run)));
    all.map(|(name, run)| {
        let of = name.map_or_else(String::new, |name| format!(" of {name}"));
        let limits: Vec<_> = run.limits.each().map(|limit| limit.to_string()).collect();
        let limits = (!limits.is_empty()).then(|| {
            format!("  limits{of}: {}; a plan and `status` say how the host holds them\n", limits.join(", "))
        });
        let user = match &run.user {
            RunUser::Own => None,
            RunUser::Named(user) => Some(format!("  user{of}: {user}, where the server is root\n")),
        };
        limits.into_iter().chain(user).collect::<String>()
    })
    .collect()
}
