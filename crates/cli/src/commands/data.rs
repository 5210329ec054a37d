//! `lockstep data`: the folders in which services keep data, and removing what is left behind.

use lockstep_api::types::{DataFolderView, DataSize, OfResource, RemoveData};
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{EnvironmentName, ServiceName};

use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::sizes::size;
use crate::output::style::Style;
use crate::output::table::Table;

/// Shows the folders in which services keep data, and removes what is left behind.
///
/// A service declares them in its manifest (`[run] data = ["var"]`). Each environment has its own. They stay over versions,
/// rollbacks, and the removal of services and environments; no backup of Lockstep holds them.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep data list
  lockstep data list production
  lockstep data remove orders var --env review-17")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum DataCommand {
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Lists data folders: where they are, how large, and which versions declare them.
///
/// One that no version declares which runs in its environment, is warm or is on its way there, is left behind. It is kept all the
/// same: a version that declares it finds it again.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep data list\n  lockstep data list production --json")]
struct ListArgs {
    /// Only those of this environment; it may be removed.
    #[arg(value_name = "ENV")]
    environment: Option<EnvironmentName>,
}

/// Removes a data folder that is left behind, with everything in it, for ever.
///
/// Nothing brings it back. It is refused while a version that declares it runs in the environment, is warm or is on its way there.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep data remove orders var --env review-17 --yes")]
struct RemoveArgs {
    /// Whose it is.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Its name, as `lockstep data list` shows it.
    #[arg(value_name = "FOLDER")]
    folder: WorkPath,
    /// Where it is; the environment may be removed.
    #[arg(long = "env", value_name = "ENV")]
    environment: EnvironmentName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    confirm: ConfirmOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            DataCommand::List(args) => {
                ctx.out.show(&ctx.client.data(args.environment.as_ref())?, |all, style| render(all, style))
            }
            DataCommand::Remove(args) => args.run(ctx),
        }
    }
}

impl RemoveArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { service, folder, environment, reason, confirm } = self;
        // A former name means the service as well; one that was removed is known to nobody else.
        let service = ctx.client.service(&service).map_or(service, |view| view.name);
        let all = ctx.client.data(Some(&environment))?;
        let is_it =
            |it: &&DataFolderView| it.service == service && it.folder == folder && it.of_resource.is_none();
        let found = all.iter().filter(|it| it.is_there).find(is_it);
        let Some(found) = found else {
            let what = format!("{service} has no data folder `{folder}` in `{environment}`");
            return Err(Failure::new(Exit::NotFound, what).hint("lockstep data list"));
        };
        if found.declared_by.is_empty() {
            let holds = found.size.map_or_else(|| "nothing".to_owned(), |it| holds(&it));
            confirm.ask(&format!("this removes {} ({holds}) for ever", found.path))?;
        }
        let path = found.path.clone();
        let left = ctx.client.remove_data(&RemoveData { environment, service, folder, reason })?;
        ctx.out.show(&left, |_, style| format!("{}: {path} is removed\n", style.good("done")))
    }
}

fn holds(it: &DataSize) -> String {
    let mark = if it.at_least { "at least " } else { "" };
    format!("{mark}{} in {} entries", size(it.bytes), it.entries)
}

fn render(all: &[DataFolderView], style: &Style) -> String {
    if all.is_empty() {
        return "no service keeps data ([run] data in lockstep.toml), and Lockstep runs no resource\n"
            .to_owned();
    }
    let mut table = Table::new(["ENVIRONMENT", "SERVICE", "FOLDER", "SIZE", "DECLARED BY", "WHERE"]);
    for it in all {
        table.row([
            it.environment.to_string(),
            it.service.to_string(),
            it.folder.to_string(),
            it.size.map_or_else(|| "not made yet".to_owned(), shown_size),
            declared_by(it),
            it.path.clone(),
        ]);
    }
    let mut text = table.render(style);
    text.push_str("they stay over versions, rollbacks and removals; no backup of Lockstep holds them\n");
    text
}

fn shown_size(it: DataSize) -> String {
    let mark = if it.at_least { "more than " } else { "" };
    format!("{mark}{}", size(it.bytes))
}

/// Says who declares a folder, or that it is left behind and by whom.
pub(super) fn declared_by(it: &DataFolderView) -> String {
    if let Some(OfResource { resource, in_use }) = &it.of_resource {
        let environment = &it.environment;
        return match in_use {
            true => format!("resource {resource}"),
            false => {
                format!("left behind; lockstep resource remove {resource} --env {environment} --delete-data")
            }
        };
    }
    match (it.declared_by.as_slice(), &it.last_declared_by) {
        ([], Some(last)) => format!("left behind; {last} declares it"),
        ([], None) => "left behind; no version declares it".to_owned(),
        (versions, _) => versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::VersionNumber;

    use super::*;

    fn folder(name: &str, declared_by: &[u64], size: Option<DataSize>) -> DataFolderView {
        DataFolderView {
            environment: "production".parse().unwrap(),
            service: "orders".parse().unwrap(),
            of_resource: None,
            folder: name.parse().unwrap(),
            path: format!("/data/production/orders/{name}"),
            is_there: size.is_some(),
            declared_by: declared_by.iter().map(|minor| VersionNumber::new(1, *minor, 0)).collect(),
            last_declared_by: Some(VersionNumber::new(1, 1, 0)),
            size,
        }
    }

    #[test]
    fn who_declares_a_folder_its_size_and_its_place_are_shown() {
        let size = |at_least| Some(DataSize { bytes: 5_000, entries: 3, at_least });
        let all =
            [folder("db", &[2, 3], size(false)), folder("new", &[3], None), folder("var", &[], size(true))];
        assert_eq!(
            render(&all, &Style::plain()),
            "ENVIRONMENT  SERVICE  FOLDER  SIZE               DECLARED BY                     WHERE\n\
             production   orders   db      4.8 KiB            1.2.0, 1.3.0                    /data/production/orders/db\n\
             production   orders   new     not made yet       1.3.0                           /data/production/orders/new\n\
             production   orders   var     more than 4.8 KiB  left behind; 1.1.0 declares it  /data/production/orders/var\n\
             they stay over versions, rollbacks and removals; no backup of Lockstep holds them\n"
        );
    }
}
