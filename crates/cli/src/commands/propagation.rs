//! `lockstep propagation`: who passes on for whom it calls.

mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use lockstep_api::types::CallsView;
use lockstep_domain::called::{CallCounts, Called, Caller, Passing};
use lockstep_domain::database::list;
use lockstep_domain::routes::{Route, RouteTable};
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber, VersionRef};
use lockstep_reach::ServerAddress;
use serde::Serialize;

use super::calls::carried;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;
use probe::{Asked, Probe};

/// Paths that are asked when nobody names any.
const MAX_PATHS: usize = 20;
/// Gateways report every second, and the server takes what they saw every second.
const SETTLED_AFTER: Duration = Duration::from_millis(2_500);
/// How long calls may go on that were caused by what was asked.
const LAST_LOOK_AFTER: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Who passes on `baggage`, so that a call chain stays in one baseline.
///
/// A request that comes in is of one state of the environment, and of one lane at most. Services further down know that from what is passed on.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep propagation check staging
  lockstep propagation check staging --path /checkout?item=7")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: PropagationCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum PropagationCommand {
    Check(CheckArgs),
}

/// Finds by asking which services pass on for whom they call, and which lose it, without touching their code.
///
/// Sends GET requests to the gateway of the environment, as a client would, and looks at what instances call meanwhile, by the addresses that
/// Lockstep gives them for services that they require (LOCKSTEP_URL_NAME). A service passes it on by giving the header fields `baggage` and
/// `traceparent` of a request to the requests that it makes because of it; OpenTelemetry does. Requests of other clients are counted as well, and so are calls
/// that a service makes by itself: these carry nothing, and the service is shown as one that loses some.
///
/// Who loses it is still in one baseline where only one side of a switch has its version: that is known by its addresses. Where its version is on both sides,
/// its calls get what all get at that moment.
///
/// Ends with code 0 when every version that requires another one was seen calling and passes it on, and 3 when one loses it or was not seen. A version that
/// only a lane or a rule gives to some requests is not judged, and named, where nothing led to it: what is asked is what everybody asks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep propagation check staging
  lockstep propagation check staging --path '/checkout?item=7' --path /orders
  lockstep propagation check production --seen")]
struct CheckArgs {
    /// The environment.
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// Ask for this path; may be given several times. The paths of the environment's routes when left out.
    #[arg(long = "path", value_name = "PATH", value_parser = probe::path)]
    paths: Vec<String>,
    /// How often each path is asked for.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    requests: u32,
    /// Ask nothing: show what was seen since the present baseline is current.
    #[arg(long, conflicts_with_all = ["paths", "requests", "gateway"])]
    seen: bool,
    /// Where the gateway is asked; where the server says when left out.
    #[arg(long, value_name = "URL")]
    gateway: Option<ServerAddress>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    environment: EnvironmentName,
    /// Whether every version that requires another one was seen and passes it on.
    whole: bool,
    asked: Vec<Asked>,
    callers: Vec<Caller>,
    /// Versions that a lane or a rule gives to some requests: what was asked for led to none of them, so nothing is said of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_asked: Vec<VersionRef>,
    /// What was called meanwhile.
    calls: Vec<Called>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let PropagationCommand::Check(check) = self.command;
        check.run(ctx)
    }
}

impl CheckArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let before = ctx.client.calls(&self.environment, None)?;
        let (asked, (view, not_asked)) =
            if self.seen { (Vec::new(), (before, Vec::new())) } else { self.probe(ctx, &before)? };
        let found = Found {
            environment: self.environment,
            whole: view.callers.iter().all(|caller| passes(caller.passes)),
            asked,
            callers: view.callers,
            not_asked,
            calls: view.calls,
        };
        ctx.out.show(&found, render)?;
        if found.whole { Ok(()) } else { Err(failure(&found)) }
    }

    /// Asks, and returns what was called meanwhile.
    fn probe(&self, ctx: &Context, before: &CallsView) -> Result<(Vec<Asked>, Judged), Failure> {
        let paths = self.paths(ctx)?;
        let address = match &self.gateway {
            Some(address) => address.clone(),
            None => self.gateway_of(ctx)?,
        };
        let probe = Probe::new(address, ctx)?;
        let mut asked = Vec::new();
        for path in &paths {
            ctx.out.message(&format!("asking for {}{path}, {} times", probe.address(), self.requests));
            asked.push(probe.ask(path, self.requests));
        }
        ctx.out.message("waiting for what gateways saw");
        let view = settled(ctx, &self.environment, before)?;
        let services = ctx.client.environment(&self.environment)?.services;
        let deployed = services.into_iter().filter_map(|it| Some((it.service, it.entry?.version)));
        Ok((asked, judged(view, &deployed.collect())))
    }

    fn gateway_of(&self, ctx: &Context) -> Result<ServerAddress, Failure> {
        let said = ctx.client.environment(&self.environment)?.gateway;
        let url = said.split_whitespace().next().unwrap_or_default();
        url.parse().map_err(|error| {
            Failure::new(
                Exit::Refused,
                format!("the gateway of `{}` is at `{said}`: {error}", self.environment),
            )
            .hint("say where it is asked: --gateway http://HOST:PORT")
        })
    }

    fn paths(&self, ctx: &Context) -> Result<Vec<String>, Failure> {
        if !self.paths.is_empty() {
            return Ok(self.paths.clone());
        }
        let paths = paths_of(&ctx.client.routes(&self.environment)?.prepared());
        if paths.is_empty() {
            let detail = format!("`{}` has no route for every host that takes GET", self.environment);
            return Err(Failure::new(Exit::Refused, detail).hint(
                "name a path that makes services call each other: --path /checkout --gateway https://shop.example.org",
            ));
        }
        Ok(paths)
    }
}

/// The paths of routes that a client can ask for who knows nothing else.
fn paths_of(table: &RouteTable) -> Vec<String> {
    let takes = |route: &&Route| {
        let methods = &route.rule.when.methods;
        let answers =
            route.rule.then.as_ref().is_some_and(|then| then.redirect.is_some() || then.respond.is_some());
        route.rule.host.is_none() && !answers && (methods.is_empty() || methods.contains("GET"))
    };
    let mut paths: Vec<_> = table.routes.iter().filter(takes).map(|route| route.rule.path.clone()).collect();
    paths.retain(|path| !path.contains('{'));
    paths.dedup();
    paths.truncate(MAX_PATHS);
    paths
}

/// Waits until no more calls come to be known, and returns those since `before`.
fn settled(ctx: &Context, environment: &EnvironmentName, before: &CallsView) -> Result<CallsView, Failure> {
    let began = Instant::now();
    let mut last = ctx.client.calls(environment, None)?;
    let mut changed = began;
    while changed.elapsed() < SETTLED_AFTER && began.elapsed() < LAST_LOOK_AFTER {
        thread::sleep(LOOK_EVERY);
        let now = ctx.client.calls(environment, None)?;
        if now.calls != last.calls {
            (last, changed) = (now, Instant::now());
        }
    }
    Ok(if last.baseline == before.baseline { since(last, before) } else { last })
}

/// What was called, and the versions of which nothing can be said because nothing led to them.
type Judged = (CallsView, Vec<VersionRef>);

/// Leaves out versions that some requests get alone, where none of these were asked: what all clients ask for leads to none of them.
fn judged(mut view: CallsView, deployed: &BTreeSet<(ServiceName, VersionNumber)>) -> Judged {
    let is_asked =
        |it: &Caller| it.counts.requests > 0 || deployed.contains(&(it.service.clone(), it.version.clone()));
    let (asked, others): (Vec<_>, Vec<_>) = view.callers.into_iter().partition(is_asked);
    view.callers = asked;
    let reference = |it: Caller| VersionRef { service: it.service, version: it.version };
    (view, others.into_iter().map(reference).collect())
}

/// Takes off what was seen before.
fn since(mut view: CallsView, before: &CallsView) -> CallsView {
    let known: BTreeMap<_, _> = before.calls.iter().map(|it| (&it.call, it.counts)).collect();
    for called in &mut view.calls {
        called.counts = less(called.counts, known.get(&called.call).copied().unwrap_or_default());
    }
    view.calls.retain(|called| called.counts.requests > 0);
    let mut sums: BTreeMap<(&ServiceName, &VersionNumber), CallCounts> = BTreeMap::new();
    for Called { call, counts } in &view.calls {
        sums.entry((&call.caller.service, &call.caller.version)).or_default().add(*counts);
    }
    for caller in &mut view.callers {
        caller.counts = sums.get(&(&caller.service, &caller.version)).copied().unwrap_or_default();
        caller.passes = caller.counts.passing();
    }
    view
}

fn less(now: CallCounts, before: CallCounts) -> CallCounts {
    CallCounts {
        requests: now.requests.saturating_sub(before.requests),
        failures: now.failures.saturating_sub(before.failures),
        in_baggage: now.in_baggage.saturating_sub(before.in_baggage),
        in_tracestate: now.in_tracestate.saturating_sub(before.in_tracestate),
        in_trace: now.in_trace.saturating_sub(before.in_trace),
    }
}

const fn passes(passing: Passing) -> bool {
    matches!(passing, Passing::Baggage | Passing::Tracestate)
}

fn failure(found: &Found) -> Failure {
    let of = |is: fn(Passing) -> bool| -> Vec<String> {
        let these = found.callers.iter().filter(|caller| is(caller.passes));
        these.map(|caller| format!("{}@{}", caller.service, caller.version)).collect()
    };
    let losing = of(|it| matches!(it, Passing::Partly | Passing::Nothing));
    let traced = of(|it| it == Passing::Trace);
    let unseen = of(|it| it == Passing::Unknown);
    let lose = (!losing.is_empty()).then(|| format!("not passed on by {}", losing.join(", ")));
    let not_seen = (!unseen.is_empty()).then(|| format!("not seen calling: {}", unseen.join(", ")));
    let by_trace =
        (!traced.is_empty()).then(|| format!("called after the key was lost: {}", traced.join(", ")));
    let detail = [lose, by_trace, not_seen].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let failure = Failure::new(Exit::Refused, detail);
    if unseen.is_empty() && traced.is_empty() {
        failure.hint("give `baggage` and `traceparent` of a request to the requests made because of it, as OpenTelemetry does")
    } else {
        failure.hint("name paths by which they are asked first: --path PATH")
    }
}

fn render(found: &Found, style: &Style) -> String {
    let mut text = String::new();
    if !found.asked.is_empty() {
        let mut table = Table::new(["ASKED FOR", "ANSWERS"]);
        found.asked.iter().for_each(|asked| table.row([asked.path.clone(), asked.words()]));
        text.push_str(&table.render(style));
        text.push('\n');
    }
    if found.callers.is_empty() {
        text.push_str("no version here requires another one\n");
        return text;
    }
    let mut table = Table::new(["SERVICE", "VERSION", "CALLS", "CARRIED", "PASSES IT ON"]);
    for caller in &found.callers {
        let (calls, carried) = match caller.counts.requests {
            0 => ("-".to_owned(), "-".to_owned()),
            requests => (requests.to_string(), carried(&caller.counts)),
        };
        let row =
            [caller.service.to_string(), caller.version.to_string(), calls, carried, words(caller.passes)];
        table.row(row);
    }
    text.push_str(&table.render(style));
    if !found.not_asked.is_empty() {
        let names = list(&found.not_asked);
        let _ = writeln!(
            text,
            "not judged, because a lane or a rule gives them to some requests, and none of these were asked: {names}"
        );
    }
    text
}

fn words(passing: Passing) -> String {
    match passing {
        Passing::Baggage => "yes",
        Passing::Tracestate => "while something is switched (tracestate)",
        Passing::Trace => "its trace; not to be seen whether `tracestate` too",
        Passing::Partly => "not always",
        Passing::Nothing => "no",
        Passing::Unknown => "not seen",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_lane_gives_is_judged_where_it_was_asked_and_else_named() {
        let caller = |version: u64, requests: u64| Caller {
            service: "web".parse().unwrap(),
            version: VersionNumber::new(1, version, 0),
            passes: Passing::Unknown,
            counts: CallCounts { requests, ..CallCounts::default() },
        };
        let view = CallsView {
            environment: "staging".parse().unwrap(),
            baseline: 3,
            since: None,
            until: None,
            callers: vec![caller(0, 0), caller(1, 0), caller(2, 4)],
            calls: Vec::new(),
            clients: Vec::new(),
            known: Vec::new(),
        };
        let deployed = BTreeSet::from([("web".parse().unwrap(), VersionNumber::new(1, 0, 0))]);
        let (view, others) = judged(view, &deployed);
        let left: Vec<_> = view.callers.iter().map(|it| it.version.to_string()).collect();
        assert_eq!(
            (left, list(&others)),
            (vec!["1.0.0".to_owned(), "1.2.0".to_owned()], "web@1.1.0".to_owned())
        );
    }
}
