//! `lockstep service rename`: another name for a service, with all that is known of it.

use std::fmt::Write as _;

use lockstep_api::types::{Mode, RenameRequest, RenamedIn, Renaming};
use lockstep_domain::ServiceName;

use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;

/// Gives a service another name.
///
/// Its versions, history, configurations, holds, routes and data folders go along, and what runs goes on running. Its former name goes
/// on meaning it for ever: in requirements of other services, in commands, at gateways (`/@orders`) and in `LOCKSTEP_URL_ORDERS`. The
/// manifest of its next release must carry the new name. It says first what goes along, and asks. It is refused while an operation or
/// a build of the service is under way, and for a name that another service has or had.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep service rename orders shop-orders --dry-run
  lockstep service rename orders shop-orders --yes")]
pub(super) struct RenameArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Its name from then on.
    #[arg(value_name = "NAME")]
    to: ServiceName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Show what would go along, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: ConfirmOption,
}

impl RenameArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let request = |mode| RenameRequest { to: self.to.clone(), reason: self.reason.clone(), mode };
        let shown = ctx.client.rename_service(&self.service, &request(Mode::DryRun))?;
        if self.dry_run {
            return ctx
                .out
                .show(&shown, |shown, _| along_text(shown) + "nothing was changed: this is a dry run\n");
        }
        self.confirm.ask(along_text(&shown).trim_end())?;
        let done = ctx.client.rename_service(&self.service, &request(Mode::Execute))?;
        ctx.out.show(&done, done_text)
    }
}

fn along_text(renaming: &Renaming) -> String {
    let Renaming { from, to, versions, former_names, environments, consumers, .. } = renaming;
    let mut text = format!("service {from} would be called {to}, with its {}\n", count(*versions, "version"));
    environments.iter().for_each(|one| environment_line(&mut text, one));
    if !consumers.is_empty() {
        let all = consumers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  required under its name of today: {all}; that goes on working");
    }
    let names = former_names.iter().chain([from]).map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "  {names} would go on meaning it, for ever, and be the name of no other service");
    text
}

fn environment_line(text: &mut String, one: &RenamedIn) {
    let runs = one.runs.as_ref().map(|entry| format!("runs {entry}"));
    let goes_on = (one.instances > 0).then(|| {
        let verb = if one.instances == 1 { "goes" } else { "go" };
        format!("{} {verb} on, warm ones included", count(one.instances, "instance"))
    });
    let mut parts: Vec<_> = runs.into_iter().chain(goes_on).collect();
    let others =
        [(one.baselines, "baseline"), (one.configurations, "configuration"), (one.holds, "held version")];
    parts.extend(others.into_iter().filter(|(many, _)| *many > 0).map(|(many, what)| count(many, what)));
    let _ = writeln!(text, "  {}: {}", one.environment, parts.join(", "));
}

fn count(many: usize, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}

fn done_text(renaming: &Renaming, style: &Style) -> String {
    let Renaming { from, to, .. } = renaming;
    format!(
        "{}: service {from} is called {to}; {from} goes on meaning it\n\
         next: write name = \"{to}\" in its lockstep.toml and commit it, then lockstep release {to}\n\
         go back: lockstep service rename {to} {from}\n",
        style.good("done")
    )
}
