//! `lockstep alerts`: what is wrong now, and what fired and recovered.

mod rules;

use lockstep_api::types::{AlertList, AlertTurn, AlertView};
use lockstep_domain::EnvironmentName;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::style::{Style, printable};

/// Shows what is wrong, the worst first: failing requests, instances that are down, ways back that are lost, hosts that are away.
///
/// The rules are there without configuration. What follows from something else says so, and needs no message of its own. Each says which
/// change came before it, where one is likely, and the command that takes that back.
///
/// Ends with code 0 when nothing fires and 3 when something does.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  lockstep alerts\n  lockstep alerts --env production --history\n  lockstep alerts rules"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<AlertsCommand>,
    /// Only of this environment, and what is of none, such as hosts.
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<EnvironmentName>,
    /// Show what fired and recovered lately as well.
    #[arg(long)]
    history: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum AlertsCommand {
    Rules(rules::Args),
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        if let Some(AlertsCommand::Rules(args)) = self.command {
            return args.run(ctx);
        }
        let list = ctx.client.alerts(self.environment.as_ref())?;
        ctx.out.show(&list, |list, style| render(list, self.history, style))?;
        match list.alerts.iter().filter(|alert| alert.stage != "pending").count() {
            0 => Ok(()),
            1 => Err(Failure::new(Exit::Refused, "one alert fires")),
            count => Err(Failure::new(Exit::Refused, format!("{count} alerts fire"))),
        }
    }
}

fn render(list: &AlertList, history: bool, style: &Style) -> String {
    let mut text: String = list.alerts.iter().map(|alert| of_alert(alert, style)).collect();
    match list.looked {
        _ if !text.is_empty() => {}
        Some(looked) => text = format!("nothing is wrong; looked {}\n", style.ago(looked)),
        None => text = "nobody has looked yet: the server has just begun\n".to_owned(),
    }
    if history {
        text.extend(list.turns.iter().map(|turn| of_turn(turn, style)));
    }
    text
}

fn of_alert(alert: &AlertView, style: &Style) -> String {
    let severity = match alert.severity.as_str() {
        "critical" => style.bad("critical"),
        "warning" => style.warn("warning"),
        other => other.to_owned(),
    };
    let stage = match alert.stage.as_str() {
        "pending" => " (not for long enough yet)",
        "keep_firing" => " (not seen any more)",
        _ => "",
    };
    let mut text = format!("{severity} {}: {}{stage}\n", alert.rule, printable(&alert.summary));
    let since = format!("since {}", style.ago(alert.since));
    let change = alert.change.as_ref().map(|change| {
        let who = change.who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
        format!("before it{who}, {}: {}", style.ago(change.at), change.what)
    });
    let undo = alert.change.as_ref().and_then(|change| change.undo.as_ref());
    let said = [
        Some(since),
        alert.detail.clone(),
        alert.unknown.as_ref().map(|why| format!("nothing is known of it now: {why}")),
        alert.follows_from.as_ref().map(|from| format!("follows from {from}")),
        change,
        undo.map(|undo| format!("take it back: {undo}")),
        alert.hint.as_ref().map(|hint| format!("next: {hint}")),
    ];
    text.extend(said.into_iter().flatten().map(|line| format!("  {}\n", printable(&line))));
    text
}

fn of_turn(turn: &AlertTurn, style: &Style) -> String {
    let what = if turn.fired { style.bad("fired") } else { style.good("recovered") };
    format!("{} {what} {}\n", turn.at, printable(&turn.alert))
}
