//! `lockstep readiness`: where each service and the environment can go back to, and what forbids it.

use std::fmt::Write as _;

use lockstep_api::types::{ChainBack, ReadinessView};
use lockstep_domain::operation::Readiness;
use lockstep_domain::readiness::{BaselineReadiness, Reason, ServiceReadiness, Standing};
use lockstep_domain::{EnvironmentName, ServiceName};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::readiness::on_and_on;
use crate::output::Format;
use crate::output::counted::counted;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::exact;

/// Longest line of what is in the way.
const LONGEST_CELL: usize = 60;
/// Losses that are shown; --json has more.
const MAX_LOST: usize = 3;

/// Shows where every service of an environment can go back to now, and what forbids it.
///
/// For each service it is the version that ran before: whether going back to it can be planned, whether that still runs (warm), has only to
/// be started (prepared) or unpacked first (cold), how long the last going back of the service took, and what is in the way: a migration that
/// the older version does not work with, an artifact that is lost, another service that needs more. A hold warns and forbids nothing. For the
/// environment it is the nearest baseline that can be gone back to, the last one, and why it ends there.
///
/// Where a service cannot go back alone and can together with others, it says which, and the command (--chain).
///
/// Ends with code 0 when every service can go back that ran in another version before, alone or together with others, and 3 when one cannot or
/// it is not proved.
/// With --watch it goes on and writes what changes, what is lost and what is there again, until it is interrupted.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep readiness production
  lockstep readiness production orders
  lockstep readiness production --watch
  lockstep readiness production orders --watch
  lockstep readiness production --watch --json")]
pub(crate) struct Args {
    /// The environment.
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// Only this service.
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// Go on, and write every change; with --json each is one line.
    #[arg(long)]
    watch: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        if self.watch {
            return watch(ctx, &self.environment, self.service.as_ref());
        }
        let view = ctx.client.readiness(&self.environment, self.service.as_ref())?;
        ctx.out.show(&view, render)?;
        let kept = |it: &&ServiceReadiness| is_kept(it) && !view.chains.contains_key(&it.service);
        let names: Vec<_> =
            view.readiness.services.iter().filter(kept).map(|it| it.service.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let of = counted(view.readiness.services.len(), "service");
        let detail = format!("{} of {of} cannot go back, or not surely: {}", names.len(), names.join(", "));
        Err(Failure::new(Exit::Refused, detail))
    }
}

fn is_kept(service: &ServiceReadiness) -> bool {
    !service.standing.is_open() && !service.standing.is_beginning()
}

fn watch(ctx: &Context, environment: &EnvironmentName, service: Option<&ServiceName>) -> Result<(), Failure> {
    // A service that does not run there would be waited for in vain, and one that was renamed is asked for by its name of now.
    let asked = service.map(|service| ctx.client.readiness(environment, Some(service))).transpose()?;
    let only = asked.and_then(|view| Some(view.readiness.services.first()?.service.clone()));
    let mut before: Option<ReadinessView> = None;
    on_and_on(ctx, environment, |view| {
        let view = &of_service(view, only.as_ref());
        if only.is_some() && before.as_ref().is_some_and(|before| is_same(before, view)) {
            return Ok(());
        }
        match (&before, ctx.out.format) {
            (_, Format::Json) => ctx.out.show_in_stream(view, |_, _| String::new())?,
            (None, Format::Text) => ctx.out.text(&render(view, &ctx.out.style))?,
            (Some(before), Format::Text) => ctx.out.text(&news(before, view, &ctx.out.style))?,
        }
        before = Some(view.clone());
        Ok(())
    })
}

/// Leaves of a view what is about one service.
fn of_service(view: &ReadinessView, only: Option<&ServiceName>) -> ReadinessView {
    let mut view = view.clone();
    if let Some(only) = only {
        view.readiness.services.retain(|it| it.service == *only);
        view.lost.retain(|it| it.loss.service.as_ref() == Some(only));
    }
    view
}

fn is_same(one: &ReadinessView, other: &ReadinessView) -> bool {
    one.readiness.services == other.readiness.services
        && one.readiness.baseline == other.readiness.baseline
        && one.lost == other.lost
}

/// What is new in a view, a line each.
fn news(before: &ReadinessView, view: &ReadinessView, style: &Style) -> String {
    let mut text = String::new();
    if before.readiness.baseline != view.readiness.baseline {
        let _ = writeln!(text, "{} is at baseline {}", view.environment, view.readiness.baseline);
    }
    for lost in view.lost.iter().filter(|lost| !before.lost.contains(lost)) {
        let _ = writeln!(text, "{} {}", style.bad("lost:"), printable(&lost.loss.what));
    }
    for back in view.regained.iter().filter(|back| !before.regained.contains(back)) {
        let _ = writeln!(text, "{} {}", style.good("again:"), printable(&back.what));
    }
    for now in &view.readiness.services {
        let then = before.readiness.services.iter().find(|it| it.service == now.service);
        if then.map(|then| (&then.to, word(then))) != Some((&now.to, word(now))) {
            let to = now.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
            let _ = writeln!(text, "{} {}: back{to}: {}", now.service, now.runs, word(now));
        }
    }
    text
}

fn render(view: &ReadinessView, style: &Style) -> String {
    let readiness = &view.readiness;
    let mut text = format!("{} is at baseline {}; {}\n", view.environment, readiness.baseline, reach(view));
    // Where no other can be reached it was named above.
    if let Some(open) = readiness.not_proved() {
        let why = first(&open.reasons).map(|why| format!(": {why}")).unwrap_or_default();
        let line = format!("whether what runs works once {} is back is not proved{why}", open.baseline);
        let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(&line));
    }
    if let Some(beyond) = readiness.beyond() {
        let why = first(&beyond.reasons).map(|why| format!(": {why}")).unwrap_or_default();
        let line = format!("{} cannot be reached{why}", beyond.baseline);
        let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(&line));
    }
    text.push_str(&good(view));
    for lost in view.lost.iter().rev().take(MAX_LOST).rev() {
        let _ =
            writeln!(text, "{} {} ({})", style.bad("lost:"), printable(&lost.loss.what), style.ago(lost.at));
    }
    let mut table =
        Table::new(["SERVICE", "RUNS", "BACK TO", "READY", "LAST TIME", "IN THE WAY"]).wrapped(LONGEST_CELL);
    readiness.services.iter().for_each(|service| table.row(row(service, view.chains.get(&service.service))));
    text += &table.render(style);
    for chain in view.chains.values() {
        let _ = writeln!(text, "{} {}: {}", style.strong("hint:"), together(chain), chain.command);
    }
    text
}

/// Names the last good baseline, and whether it can be reached.
fn good(view: &ReadinessView) -> String {
    let Some(good) = view.readiness.last_good else { return String::new() };
    let found = view.readiness.baselines.iter().find(|it| it.baseline == good);
    match found.map(|it| it.standing) {
        Some(Standing::Closed) => format!("the last good one is {good}, which cannot be reached\n"),
        _ => format!("the last good one is {good}: lockstep rollback {} --to-last-good\n", view.environment),
    }
}

fn reach(view: &ReadinessView) -> String {
    match (view.readiness.nearest(), view.readiness.last()) {
        (Some(nearest), Some(last)) if nearest.baseline == last.baseline => {
            format!("{} can be gone back to ({})", nearest.baseline, speed(nearest))
        }
        (Some(nearest), Some(last)) => {
            format!(
                "it can go back to {} ({}), and as far as {}",
                nearest.baseline,
                speed(nearest),
                last.baseline
            )
        }
        _ if let Some(open) = view.readiness.not_proved() => {
            format!("{} can be gone back to ({}, not proved)", open.baseline, speed(open))
        }
        _ if view.readiness.baselines.is_empty() => "nothing ran before it".to_owned(),
        _ => "no baseline before it can be reached".to_owned(),
    }
}

fn speed(baseline: &BaselineReadiness) -> &'static str {
    match baseline.standing {
        Standing::UnderWay => "with --interrupt",
        _ => warmth(baseline.readiness),
    }
}

const fn warmth(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Warm => "warm",
        Readiness::Prepared => "prepared",
        Readiness::Cold => "cold",
    }
}

/// How a service stands, in a word.
const fn word(service: &ServiceReadiness) -> &'static str {
    match service.standing {
        Standing::First | Standing::Oldest => "-",
        Standing::Open => warmth(service.readiness),
        Standing::UnderWay => "with --interrupt",
        Standing::NotProved => "not proved",
        Standing::Closed => "no",
    }
}

/// Names what goes back together.
fn together(chain: &ChainBack) -> String {
    let names: Vec<_> = chain.versions.iter().map(|version| version.service.as_str()).collect();
    match &names[..] {
        [] | [_] => format!("{} alone", names.concat()),
        [others @ .., last] => format!("{} and {last} together", others.join(", ")),
    }
}

fn first(reasons: &[Reason]) -> Option<&str> {
    reasons.first().map(|reason| reason.what.as_str())
}

fn row(service: &ServiceReadiness, chain: Option<&ChainBack>) -> [String; 6] {
    let together = chain.map(|chain| format!("with --chain: {}", together(chain)));
    let told = service.reasons.iter().map(|reason| reason.what.as_str());
    let told = told.chain(service.warnings.iter().map(String::as_str));
    let told: Vec<_> = together.as_deref().into_iter().chain(told).collect();
    [
        service.service.to_string(),
        service.runs.to_string(),
        service.to.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        chain.map_or_else(|| word(service), |_| "with --chain").to_owned(),
        service.took.map_or_else(|| "-".to_owned(), |took| exact(took.ms)),
        printable(&told.join("; ")).into_owned(),
    ]
}
