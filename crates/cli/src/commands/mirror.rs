//! `lockstep mirror`: copies of requests for a version that is tried.

use std::fmt::Write as _;

use lockstep_api::types::{AddVersionRule, EndedMirror, Force, MirrorList, MirrorView, RemoveVersionRules};
use lockstep_domain::mirror::{Difference, Mirror, MirrorCounts};
use lockstep_domain::version_rules::{Takes, VersionRule};
use lockstep_domain::watch::latency_bound_ms;
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber};

use super::route;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::parse::share::in_10000;
use crate::select::EnvironmentOption;

/// Longest cell of a table.
const LONGEST_CELL: usize = 60;

/// Tries a version on copies of requests: its answers go to nobody, and are compared with those that clients got.
///
/// A copy is sent after the client has its answer, at most 64 at a time for each gateway; what is more is counted and not sent. It has the header
/// lockstep-mirrored: 1 and no idempotency-key. Kept are counts, statuses, names of fields and types, and no value. What the version does with a
/// copy is real: it may write, and call other services.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep mirror add orders --to 1.5.0 --share 5% --env staging
  lockstep mirror show orders --env staging
  lockstep mirror remove orders --env staging")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: MirrorCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum MirrorCommand {
    Show(ShowArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Shows what was found by copies, of each mirror of an environment or of those of one service.
///
/// Those that are over come last, with what was recorded of them when somebody removed them.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep mirror show --env staging\n  lockstep mirror show orders --json"
)]
struct ShowArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Begins to send copies of a service's requests to a version.
///
/// The version is checked as if it were deployed, started where it does not run, and stays up as long as the mirror is there. A service has one
/// mirror at a time. It ends with `lockstep mirror remove`, with its version being held or gone back from, and with the service.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep mirror add orders --to 1.5.0 --share 5% --env staging
  lockstep mirror add orders --to 1.5.0 --share 100% --unsafe-methods --reason 'it has a database of its own'")]
struct AddArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The version that gets copies.
    #[arg(long, value_name = "VERSION")]
    to: VersionNumber,
    /// Of how many of its requests.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    share: u32,
    /// Copy also what may change something: other methods than GET, HEAD and OPTIONS, and calls of gRPC.
    #[arg(long)]
    unsafe_methods: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
}

/// Ends the mirror of a service; what it found is recorded in the journal, and becomes evidence of the version.
///
/// The evidence is called mirrored:ENV. It is green when at least 100 answers were the same and none was different or missing, red when one was, and
/// there is none otherwise. A gate of a lifecycle can ask for it (see lockstep lifecycle); no other gate looks at it.
/// Its version ends once its copies have finished, where nothing else keeps it running.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep mirror remove orders --env staging")]
struct RemoveArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            MirrorCommand::Show(args) => args.run(ctx),
            MirrorCommand::Add(args) => args.run(ctx),
            MirrorCommand::Remove(args) => args.run(ctx),
        }
    }
}

impl ShowArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let mut list = ctx.client.mirrors(&environment)?;
        let is_meant = |rule: &VersionRule| self.service.as_ref().is_none_or(|it| *it == rule.service);
        list.mirrors.retain(|view| is_meant(&view.rule.rule));
        list.ended.retain(|view| is_meant(&view.ended.rule));
        ctx.out.show(&list, |list, style| shown(list, &environment, style))
    }
}

impl AddArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { service, to: version, share, unsafe_methods, reason, no_wait, .. } = self;
        let environment = self.environment.resolve(ctx)?;
        let takes = Takes::Mirror(Mirror { share, unsafe_methods });
        route::add(ctx, &environment, &AddVersionRule { service, version, takes, reason }, no_wait)
    }
}

impl RemoveArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let list = ctx.client.mirrors(&environment)?;
        let meant = list.mirrors.iter().find(|view| view.rule.rule.service == self.service);
        let Some(rule) = meant.map(|view| view.rule.rule.number) else {
            let why = format!("`{}` has no mirror in `{environment}`", self.service);
            return Err(Failure::usage(why).hint(format!("lockstep mirror show --env {environment}")));
        };
        let request = RemoveVersionRules { rules: vec![rule], reason: self.reason };
        ctx.client.remove_version_rules(&environment, &request)?;
        let mut list = ctx.client.mirrors(&environment)?;
        list.mirrors.clear();
        list.ended.retain(|view| view.ended.rule.number == rule);
        ctx.out.show(&list, |list, style| shown(list, &environment, style))
    }
}

fn share(text: &str) -> Result<u32, String> {
    let share = in_10000(text)?;
    let checked = Takes::Mirror(Mirror { share, unsafe_methods: false }).checked();
    checked.map(|_| share).map_err(|error| error.to_string())
}

fn shown(list: &MirrorList, environment: &EnvironmentName, style: &Style) -> String {
    if list.mirrors.is_empty() && list.ended.is_empty() {
        return format!("{environment} has no mirrors: no requests are copied\n");
    }
    let there = list.mirrors.iter().map(|view| present(view, style));
    let ended = list.ended.iter().map(|view| past(view, style));
    there.chain(ended).collect::<Vec<_>>().join("\n")
}

fn present(view: &MirrorView, style: &Style) -> String {
    let state = match (&view.rule.force, view.is_paused) {
        (_, true) => "paused: this version has requests of its own".to_owned(),
        (Force::InForce, false) => "copies are sent".to_owned(),
        _ => route::state(&view.rule),
    };
    let rule = &view.rule.rule;
    format!("{}: {}\n{}", title(rule, style), state, found(&view.found, style))
}

fn past(view: &EndedMirror, style: &Style) -> String {
    let ended = &view.ended;
    let because = if ended.because.is_empty() { "removed" } else { &ended.because };
    let (by, when, because) = (&ended.by, style.ago(ended.ended), printable(because));
    format!("{}: ended {when} by {by}: {because}\n{}", title(&ended.rule, style), found(&view.found, style))
}

fn title(rule: &VersionRule, style: &Style) -> String {
    let takes = route::takes(&rule.takes);
    let all = rule.takes.mirror().is_some_and(|mirror| mirror.unsafe_methods);
    let methods = if all { ", of all methods" } else { "" };
    let (service, version, since) = (&rule.service, &rule.version, style.ago(rule.at));
    format!("{service}@{version} gets {takes}{methods} since {since} (rule {})", rule.number)
}

fn found(found: &MirrorCounts, style: &Style) -> String {
    if found.is_empty() {
        return "  nothing was copied yet\n".to_owned();
    }
    let mut table =
        Table::new(["COPIES", "SAME", "DIFFERENT", "NO ANSWER", "NOT SENT", "NOT COPIED"]).indented(2);
    let counts =
        [found.copies(), found.same, found.different, found.unanswered, found.dropped, found.uncopied];
    table.row(counts.map(|count| count.to_string()));
    let mut text = table.render(style);
    if let Some(latencies) = latencies(found) {
        let _ = writeln!(text, "  {latencies}");
    }
    text.push_str(&differences(found, style));
    text
}

/// Says how long answers took to begin; nothing where none did.
pub(super) fn latencies(found: &MirrorCounts) -> Option<String> {
    let (before, after) = (&found.before_ms, &found.after_ms);
    let [half, nearly] = [50, 99].map(|part| (quantile(before, part), quantile(after, part)));
    (found.same + found.different > 0).then(|| {
        format!(
            "answers began within {} for clients and {} here (half of them), {} and {} (99 %)",
            half.0, half.1, nearly.0, nearly.1
        )
    })
}

fn differences(found: &MirrorCounts, style: &Style) -> String {
    if found.differences.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&Difference> = found.differences.iter().collect();
    sorted.sort_by_key(|it| std::cmp::Reverse(it.count));
    let mut table = Table::new(["TIMES", "OPERATION", "DIFFERENCE"]).indented(2).wrapped(LONGEST_CELL);
    for Difference { operation, what, count } in sorted {
        table.row([
            count.to_string(),
            printable(operation).into_owned(),
            printable(&what.to_string()).into_owned(),
        ]);
    }
    let mut text = table.render(style);
    if found.other_differences > 0 {
        let _ = writeln!(text, "  {} more of other kinds", found.other_differences);
    }
    text
}

/// Returns the bound of the class in which a part of what was counted lies.
fn quantile(classes: &[u64], percent: u64) -> String {
    let all: u64 = classes.iter().sum();
    let wanted = (u128::from(all) * u128::from(percent)).div_ceil(100);
    let mut below = 0;
    let class = classes.iter().position(|&count| {
        below += u128::from(count);
        below >= wanted
    });
    match class.and_then(latency_bound_ms) {
        Some(bound) => format!("{bound} ms"),
        None => "more than a minute".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_something_and_at_most_of_everything() {
        assert_eq!((share("5%"), share("100%"), share("0.01")), (Ok(500), Ok(10_000), Ok(1)));
        for bad in ["0", "101%", "x", "0.001"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quantiles_are_the_bounds_of_their_classes() {
        assert_eq!((quantile(&[98, 1, 1], 50), quantile(&[98, 1, 1], 99)), ("1 ms".into(), "2 ms".into()));
        assert_eq!(quantile(&[0; 18], 50), "1 ms");
    }
}
