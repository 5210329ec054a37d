//! `lockstep key`: which keys there are, and exchanging one without a gap.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lockstep_api::types::{KeysView, RotateRequest};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;

/// Says which keys there are, and exchanges the one of callers.
///
/// The key of callers is what the tokens in `LOCKSTEP_GATEWAY` and `LOCKSTEP_URL_NAME` come from, by which gateways tell the
/// instances of an environment from everybody else, and what they sign visits with (`sticky = { for = "1h" }`).
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep key list\n  lockstep key rotate --reason \"the data folder was copied\""
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum KeyCommand {
    List(ListArgs),
    Rotate(RotateArgs),
}

/// Lists keys: where they are, what they do, and how each is exchanged.
///
/// Also says which instances have a token of a former key of callers.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep key list")]
struct ListArgs {}

/// Exchanges the key of callers, without a gap.
///
/// Gateways know the new one before an instance is given a token of it. Instances that run keep theirs, and are recognised until
/// they end: restart them, and no token of the former key is valid any more. Visits that it signed are accepted until the next exchange.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep key rotate --reason \"the data folder was copied\"")]
struct RotateArgs {
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            KeyCommand::List(_) => ctx.out.show(&ctx.client.keys()?, render),
            KeyCommand::Rotate(args) => {
                let keys = ctx.client.rotate_callers(&RotateRequest { reason: args.reason })?;
                ctx.out.show(&keys, |keys, style| {
                    format!("{}: the key of callers is exchanged\n{}", style.good("done"), stale(keys, style))
                })
            }
        }
    }
}

fn render(keys: &KeysView, style: &Style) -> String {
    let mut table = Table::new(["KEY", "WHERE", "EXCHANGED BY"]);
    let rotate = if keys.callers.is_being_exchanged {
        "lockstep key rotate (it was begun)"
    } else {
        "lockstep key rotate"
    };
    table.row(["callers".into(), keys.callers.file.clone(), rotate.into()]);
    let accept = "lockstep journal accept, while the server is down";
    table.row(["journal".into(), keys.journal.clone(), accept.into()]);
    if let Some(token) = &keys.token {
        let remove = "remove the file, and start the server again";
        table.row(["token".into(), token.clone(), remove.into()]);
    }
    for gateway in &keys.gateways {
        let name = &gateway.name;
        let add = format!("lockstep gateway add with another name, then lockstep gateway remove {name}");
        table.row([format!("gateway {name}"), "with the gateway; here a digest".into(), add]);
    }
    table.render(style) + &stale(keys, style)
}

/// Says who has a token of a former key, and what ends that.
fn stale(keys: &KeysView, style: &Style) -> String {
    let stale = &keys.callers.stale;
    if stale.is_empty() {
        return "no instance has a token of a former key\n".to_owned();
    }
    let mut text = format!(
        "{} {} instances have a token of a former key, which is valid until they end\n",
        style.warn("not over:"),
        stale.len()
    );
    let services: BTreeSet<_> = stale.iter().map(|one| (&one.environment, &one.service)).collect();
    for (environment, service) in services {
        let _ = writeln!(text, "  lockstep restart {service} --env {environment}");
    }
    text.push_str("  warm ones end with their warm time\n");
    text
}

#[cfg(test)]
mod tests {
    use lockstep_api::types::{CallersKeyView, StaleInstance};

    use super::*;

    #[test]
    fn keys_are_shown_with_their_places_and_what_a_former_one_still_does() {
        let stale = |id: &str| StaleInstance {
            environment: "production".parse().unwrap(),
            service: "orders".parse().unwrap(),
            instance: id.parse().unwrap(),
        };
        let callers = CallersKeyView {
            file: "/data/secrets/callers.key".into(),
            is_being_exchanged: false,
            stale: vec![stale("a"), stale("b")],
        };
        let keys = KeysView {
            callers,
            journal: "/data/journal.key".into(),
            gateways: Vec::new(),
            token: Some("/data/secrets/api.token".into()),
        };
        assert_eq!(
            render(&keys, &Style::plain()),
            "KEY      WHERE                      EXCHANGED BY\n\
             callers  /data/secrets/callers.key  lockstep key rotate\n\
             journal  /data/journal.key          lockstep journal accept, while the server is down\n\
             token    /data/secrets/api.token    remove the file, and start the server again\n\
             not over: 2 instances have a token of a former key, which is valid until they end\n  \
             lockstep restart orders --env production\n  \
             warm ones end with their warm time\n"
        );
    }
}
