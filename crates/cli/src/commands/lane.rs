//! `lockstep lane`: overlays on what is deployed, for certain requests.

use std::fmt::Write as _;
use std::time::Duration;

use lockstep_api::types::{CreateLane, EndLane, Force, LaneList, LaneView, Mode};
use lockstep_domain::lane::{EndedLane, Lane, LaneWhen};
use lockstep_domain::{EnvironmentName, LaneName, ServiceName, Timestamp, VersionNumber, VersionRef};

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::lanes::{applied, awaited};
use crate::output::counted::counted;
use crate::output::style::{Style, one_line, printable};
use crate::output::table::Table;
use crate::output::times::{ahead, now};
use crate::parse::duration;
use crate::select::{EnvironmentArgument, EnvironmentOption};

/// How long a lane is waited for: versions that have to be unpacked and started first take seconds, slow ones a minute.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(180);
/// Longest cell of a table.
const LONGEST_CELL: usize = 50;
/// Lanes that are over and listed.
const ENDED_LISTED: usize = 5;

/// Gives certain requests other versions of a few services, wherever in a chain of calls these are asked.
///
/// A lane is an overlay on what is deployed: of all other services its requests get what everybody gets. It has an owner and an end, changes no baseline, and
/// whoever goes back from one of its versions, or to something that does not work with them, ends it. A lane is no access control: every client can
/// send a header.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep lane create login-test --env production --service orders=1.6.0-login.2 --when header:x-lane=login
  lockstep lane list production
  lockstep lane end login-test --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: LaneCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum LaneCommand {
    Create(CreateArgs),
    List(ListArgs),
    Show(ShowArgs),
    End(EndArgs),
}

/// Begins a lane.
///
/// It is checked as a deployment of its versions would be, beside what is deployed, and returns when every gateway has it, or when one of its versions fails
/// to start: then requests of the lane get what is deployed in its place, and their answers say so in `lockstep-lane`. Which requests are in it is decided
/// where they come in, at whatever service; deeper in a chain of calls it is carried in `baggage` and `tracestate`. Of two lanes that a request matches the
/// older one takes it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep lane create login-test --env production --service orders=1.6.0-login.2 --when header:x-lane=login
  lockstep lane create login-test --service orders=1.6.0-login.2 --service web=2.1.0-login.1 --when cookie:lane=login --when user:ann --for 3d
  lockstep lane create tenth --service orders=1.6.0 --when share:10% --until 2026-12-24T18:00:00Z --replicas 2 --dry-run")]
struct CreateArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: LaneName,
    /// A service, and the version that requests of the lane get of it; may be repeated.
    #[arg(long = "service", value_name = "SERVICE=VERSION", required = true, value_parser = version)]
    services: Vec<VersionRef>,
    /// Which requests are in it: `header:NAME=VALUE`, `cookie:NAME=VALUE`, `user:KEY` (the client's key) or `share:PERCENT`; may be repeated, and
    /// one that holds is enough.
    #[arg(long, value_name = "CONDITION", required = true)]
    when: Vec<LaneWhen>,
    /// How long it is there, at most 90 days; a week when it is left out.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::milliseconds, conflicts_with = "until")]
    for_ms: Option<u64>,
    /// The moment at which it ends, such as 2026-12-24T18:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Who answers for it; who begins it when it is left out.
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// How many instances of each of its versions run for it alone.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    replicas: u32,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Show what it would be, and begin nothing.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
}

/// Lists the lanes of an environment, and how far each is in force.
///
/// A request is in the first lane that it matches. Below them stand those that ended last, with what ended them.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep lane list production\n  lockstep lane list --json")]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentArgument,
}

/// Shows a lane: its versions, how far they are in force, and what was asked of them lately.
///
/// Of each version it says since when it serves, or why it does not: while it does not, requests of the lane get what is deployed, and their answers say so.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep lane show login-test --env production")]
struct ShowArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: LaneName,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Ends a lane before its time: its requests get what all others get.
///
/// It returns when every gateway knows. Versions that nothing else keeps running end once their requests have finished; what is deployed is not touched.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep lane end login-test --env production --reason 'merged'")]
struct EndArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: LaneName,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Show what would end, and end nothing.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            LaneCommand::Create(args) => args.run(ctx),
            LaneCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.lanes(&environment)?;
                ctx.out.show(&list, |list, style| listed(list, &environment, style))
            }
            LaneCommand::Show(args) => {
                let environment = args.environment.resolve(ctx)?;
                let view = ctx.client.lane(&environment, &args.name)?;
                ctx.out.show(&view, shown)
            }
            LaneCommand::End(args) => args.run(ctx),
        }
    }
}

impl CreateArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let Self { name, services, when, for_ms, until, owner, replicas, reason, dry_run, no_wait, .. } =
            self;
        let mode = if dry_run { Mode::DryRun } else { Mode::Execute };
        let (versions, request_name) = (services, name.clone());
        let request =
            CreateLane { name: request_name, versions, when, owner, for_ms, until, replicas, reason, mode };
        let first = ctx.client.create_lane(&environment, &request)?;
        if dry_run {
            return ctx.out.show(&first, |view, style| format!("would begin: {}", began(view, style)));
        }
        let limit = if no_wait { Duration::ZERO } else { IN_FORCE_WITHIN };
        let view = awaited(ctx, &environment, first, limit)?;
        ctx.out.show(&view, |view, style| {
            let word = if is_in_force(view) { style.good("done") } else { style.warn("recorded") };
            format!("{word}: {}", began(view, style))
        })?;
        let open = view.in_force.iter().find(|it| it.force != Force::InForce);
        match open.filter(|_| !no_wait) {
            None => Ok(()),
            Some(service) => {
                let why = format!(
                    "lane {name} is recorded, and not in force yet: {} {}",
                    service.gives.version_ref(),
                    state(&service.force)
                );
                let hint = format!(
                    "wait for it with `lockstep lane show {name} --env {environment}`, or `lockstep lane end {name} --env {environment}`"
                );
                Err(Failure::ended_badly(why, None).hint(hint))
            }
        }
    }
}

impl EndArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let Self { name, reason, dry_run, no_wait, .. } = self;
        let mode = if dry_run { Mode::DryRun } else { Mode::Execute };
        let list = ctx.client.end_lane(&environment, &name, &EndLane { reason, mode })?;
        if dry_run {
            return ctx.out.show(&list, |list, _| {
                let ending = list.lanes.iter().map(|view| format!("would end: {}\n", view.lane));
                ending.collect()
            });
        }
        let limit = if no_wait { Duration::ZERO } else { IN_FORCE_WITHIN };
        let list = applied(ctx, &environment, list, limit)?;
        ctx.out.show(&list, |_, style| {
            format!("{}: lane {name} of {environment} has ended\n", style.good("done"))
        })?;
        if no_wait || list.is_applied {
            return Ok(());
        }
        let why = "the lane has ended, and not every gateway has confirmed it";
        Err(Failure::ended_badly(why, None).hint(format!("lockstep status {environment}")))
    }
}

fn is_in_force(view: &LaneView) -> bool {
    view.in_force.iter().all(|it| it.force == Force::InForce)
}

/// Reads `orders=1.6.0-login.2`.
fn version(text: &str) -> Result<VersionRef, String> {
    let (service, version) = text.split_once(['=', '@']).ok_or("expected SERVICE=VERSION")?;
    let service: ServiceName = service.parse().map_err(|error| format!("{error}"))?;
    let version: VersionNumber = version.parse().map_err(|error| format!("{error}"))?;
    Ok(VersionRef { service, version })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || Timestamp::read(&format!("{text}T00:00:00Z"));
    Timestamp::read(text)
        .or_else(day)
        .ok_or_else(|| "expected a day or a moment such as 2026-12-24T18:00:00Z".to_owned())
}

/// The versions of a lane, for people.
pub(super) fn services(lane: &Lane) -> String {
    let each = lane.new.services.iter().map(|it| format!("{} {}", it.service, it.version));
    each.collect::<Vec<_>>().join(", ")
}

fn state(force: &Force) -> String {
    match force {
        Force::InForce => "in force".to_owned(),
        Force::Changing { behind } if behind.is_empty() => "being published".to_owned(),
        Force::Changing { behind } => format!("not confirmed by {}", behind.join(", ")),
        Force::NotServed { why, .. } => {
            format!("does not serve, its requests get what is deployed: {}", printable(why))
        }
    }
}

fn began(view: &LaneView, style: &Style) -> String {
    let lane = &view.lane;
    let (name, when) = (&lane.new.name, one_line(&lane.condition()));
    let mut text = format!(
        "lane {name}: {when} -> {}, until {} ({})\n",
        services(lane),
        lane.new.until.at().day(),
        ahead(now(), lane.new.until.at())
    );
    for service in view.in_force.iter().filter(|it| it.force != Force::InForce) {
        let _ = writeln!(text, "  {}: {}", service.gives.version_ref(), state(&service.force));
    }
    for warning in &view.warnings {
        let _ = writeln!(text, "  {} {}", style.warn("warning:"), printable(warning));
    }
    text
}

fn shown(view: &LaneView, style: &Style) -> String {
    let Lane { new, by, at, .. } = &view.lane;
    let mut about = Table::new(["", ""]).indented(2);
    about.row(["when".into(), printable(&view.lane.condition()).into_owned()]);
    about.row(["owner".into(), printable(&new.owner).into_owned()]);
    about.row(["began".into(), format!("{} by {by}", style.ago(*at))]);
    about.row(["ends".into(), format!("{} ({})", new.until.at().day(), ahead(now(), new.until.at()))]);
    if !new.reason.is_empty() {
        about.row(["reason".into(), printable(&new.reason).into_owned()]);
    }
    let mut table = Table::new(["SERVICE", "VERSION", "HEALTHY", "LATELY, OF ALL REQUESTS", "STATE"])
        .wrapped(LONGEST_CELL);
    for service in &view.in_force {
        let gives = &service.gives;
        let config = if gives.config.0 > 0 { format!(" ({})", gives.config) } else { String::new() };
        let requests = usize::try_from(service.requests).unwrap_or(usize::MAX);
        table.row([
            gives.service.to_string(),
            format!("{}{config}", gives.version),
            format!("{} of {}", service.healthy, service.replicas),
            format!("{}, {} failed", counted(requests, "request"), service.failures),
            state(&service.force),
        ]);
    }
    format!("lane {}\n{}{}", new.name, about.render(style), table.render(style))
}

fn listed(list: &LaneList, environment: &EnvironmentName, style: &Style) -> String {
    let mut text = String::new();
    if list.lanes.is_empty() {
        let _ = writeln!(text, "{environment} has no lanes: all requests get what is deployed");
    } else {
        let mut table =
            Table::new(["LANE", "REQUESTS", "GET", "STATE", "OWNER", "ENDS"]).wrapped(LONGEST_CELL);
        for view in &list.lanes {
            let Lane { new, .. } = &view.lane;
            let open = view.in_force.iter().find(|it| it.force != Force::InForce);
            let said = open.map_or_else(
                || "in force".to_owned(),
                |it| format!("{} {}", it.gives.service, state(&it.force)),
            );
            table.row([
                new.name.to_string(),
                printable(&view.lane.condition()).into_owned(),
                services(&view.lane),
                said,
                printable(&new.owner).into_owned(),
                ahead(now(), new.until.at()),
            ]);
        }
        text.push_str(&table.render(style));
    }
    for EndedLane { lane, by, ended, because } in list.ended.iter().take(ENDED_LISTED) {
        let why = if because.is_empty() { "ended" } else { because };
        let (name, ago) = (&lane.new.name, style.ago(*ended));
        let _ = writeln!(text, "  over: {name} ({}), {ago}: {}, by {by}", services(lane), one_line(why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_moments_are_read_strictly() {
        assert_eq!(version("orders=1.6.0-login.2").unwrap().to_string(), "orders@1.6.0-login.2");
        assert_eq!(version("orders@1.6.0").unwrap().to_string(), "orders@1.6.0");
        for bad in ["orders", "=1.0.0", "orders=", "orders=x", "Orders=1.0.0"] {
            assert!(version(bad).is_err(), "{bad}");
        }
        assert_eq!(moment("1970-01-02"), Ok(Timestamp(86_400_000)));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Timestamp(1_000)));
        assert!(moment("tomorrow").is_err());
    }
}
