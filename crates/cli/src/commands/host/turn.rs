//! `lockstep host cordon`, `open`, `drain` and `evacuate`: what may run on a host.

use std::time::Duration;

use lockstep_api::types::{HostView, TurnHost};
use lockstep_domain::HostName;
use lockstep_domain::host::Stance;

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::hosts::{Emptied, until_empty};
use crate::interrupt;
use crate::output::counted::counted;
use crate::output::hosts::running;
use crate::output::style::Style;
use crate::parse::duration;

/// A host that is turned, and why.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Turned {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: HostName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// How long it is waited until nothing is left.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Waiting {
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
    /// Wait no longer than this for something to happen; each instance that is replaced or ends begins it anew.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::milliseconds, conflicts_with = "no_wait")]
    give_up_after: u64,
}

impl Turned {
    /// Turns the host, and returns at once.
    pub(super) fn run(self, ctx: &Context, stance: Stance) -> Result<(), Failure> {
        let name = self.name.clone();
        let view = self.turn(ctx, stance)?;
        ctx.out.show(&view, |view, style| format!("{}: {name} is {}\n", style.good("done"), is_now(view)))
    }

    fn turn(self, ctx: &Context, stance: Stance) -> Result<HostView, Failure> {
        Ok(ctx.client.turn_host(&self.name, &TurnHost { stance, reason: self.reason })?)
    }
}

impl Waiting {
    /// Drains the host, and waits until nothing is left.
    pub(super) fn drain(self, ctx: &Context, turned: Turned) -> Result<(), Failure> {
        if self.no_wait {
            return turned.run(ctx, Stance::Draining);
        }
        let name = turned.name.clone();
        let view = turned.turn(ctx, Stance::Draining)?;
        let (words, out) =
            (format!("{name} goes on being drained; look: lockstep host show {name}"), ctx.out.clone());
        interrupt::on_ctrl_c(move || out.message(&words))?;
        let (view, emptied) = until_empty(ctx, view, Duration::from_millis(self.give_up_after))?;
        ctx.out.show(&view, |view, style| ended(view, emptied, style))
    }
}

fn is_now(view: &HostView) -> String {
    let count = running(view);
    match view.stance {
        Stance::Open => "open: new instances start there".to_owned(),
        Stance::Cordoned => "cordoned: no new instance starts there, and what runs there goes on".to_owned(),
        Stance::Draining if count == 0 => "draining, and nothing runs there".to_owned(),
        Stance::Draining => {
            let has = counted(count, "instance");
            format!(
                "draining: {has} there {} replaced elsewhere and end",
                if count == 1 { "is" } else { "are" }
            )
        }
    }
}

fn ended(view: &HostView, emptied: Emptied, style: &Style) -> String {
    let (name, done) = (&view.name, style.good("done"));
    match emptied {
        Emptied::Empty => format!(
            "{done}: nothing runs on {name} any more\n  next: lockstep host open {name}, or lockstep host remove {name}\n"
        ),
        Emptied::Replaced => {
            let left = counted(running(view), "instance");
            format!(
                "{done}: what served on {name} is replaced; it is away, and {left} there may go on until it comes back\n  \
                 next: lockstep host open {name} when it is back, or lockstep host remove {name} --lost\n"
            )
        }
    }
}
