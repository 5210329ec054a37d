//! `lockstep explain`: what would happen to a request, and why?

mod planned;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use lockstep_domain::routes::RouteTable;
use lockstep_domain::{EnvironmentName, VersionRef, ZoneName};
use lockstep_gateway::check::check_file;
use lockstep_gateway::explain::{
    ConnectionQuestion, ExplainError, Explanation, Outcome, Question, QuestionError, Seen, Share, explain,
    explain_connection,
};

use planned::{Comparison, deployment, told};

use crate::commands::gateway::table_file;
use crate::context::{Context, Globals};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::style::{Style, printable};
use crate::parse::share::percent;
use crate::select::EnvironmentOption;

/// An address that is nobody's (RFC 5737).
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Says step by step what a gateway would do with a request, and why. Nothing is sent to a service.
///
/// The request is decided by the code that gateways run, on the table in force or on one in a file. Instances that are unhealthy are not known here: all count as
/// healthy. Ends with code 0 when an instance, a route or a redirect would answer, and 3 when the gateway would answer with an error.
///
/// With a planned change, by --with or --after, it says what happens now, what would happen after the change, and what of that differs. The code is that
/// of after it. Nothing is changed; where the versions would not be deployed it says why.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep explain GET https://shop.test/orders/7 --header 'x-lane: login' --env production
  lockstep explain GET https://shop.test/orders/7 --env production --with orders@1.5.0
  lockstep explain GET https://shop.test/orders/7 --env production --after table.toml
  lockstep explain tcp://mqtt.shop.test:8883 --env production
  lockstep explain GET http://shop.test/ --header 'cookie: lockstep_key=ann' --client 10.0.0.7 --table routes.json")]
pub(crate) struct Args {
    /// The method; or, of a connection to a service that speaks TCP, tcp://ADDRESS:PORT, or tcp://NAME:PORT for a client that gives the name in its handshake of TLS.
    #[arg(value_name = "METHOD|TCP")]
    method: String,
    /// The address of a request, with http or https.
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// A header field of the request.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Who is at the other end of the gateway's connection; somebody outside of all networks when left out.
    #[arg(long, value_name = "IP", default_value_t = ANYBODY)]
    client: IpAddr,
    /// The zone of the gateway that is asked: instances of the same one come first.
    #[arg(long, value_name = "ZONE")]
    zone: Option<ZoneName>,
    /// A file with the table, as `gateway run --table` reads it: no server is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "environment")]
    table: Option<PathBuf>,
    /// Say also what would happen when this version was deployed; may be repeated, for versions that are deployed together.
    #[arg(long = "with", value_name = "SERVICE@VERSION", conflicts_with_all = ["table", "after"])]
    with: Vec<VersionRef>,
    /// Say also what would happen by the table in this file.
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// What is asked about.
enum Asked {
    Request(Question),
    Connection(ConnectionQuestion),
}

impl Asked {
    fn explain(&self, table: RouteTable) -> Result<Explanation, Failure> {
        let explained = match self {
            Self::Request(question) => explain(table, question),
            Self::Connection(question) => explain_connection(table, question),
        };
        explained.map_err(|error| match error {
            ExplainError::Table(error) => {
                Failure::usage(error.to_string()).hint("lockstep gateway check FILE names each place")
            }
            ExplainError::Start(_) => Failure::new(Exit::Internal, error.to_string()),
        })
    }
}

impl Args {
    pub(crate) fn run(self, globals: &Globals, out: &Output) -> Result<(), Failure> {
        let asked = self.asked()?;
        let now = asked.explain(self.table(globals)?)?;
        let Some((table, what)) = self.planned(globals)? else {
            out.show(&now, render)?;
            return answered(&now.outcome);
        };
        let compared = Comparison::of(now, asked.explain(table)?);
        out.show(&compared, |compared, style| compared.shown(&what, style))?;
        answered(&compared.planned.outcome)
    }

    fn asked(&self) -> Result<Asked, Failure> {
        let usage = |error: QuestionError| Failure::usage(error.to_string());
        match &self.url {
            Some(url) => {
                let question = Question::new(&self.method, url, &self.headers, self.client);
                Ok(Asked::Request(question.map_err(usage)?.in_zone(self.zone.clone())))
            }
            None if !self.method.contains("://") => {
                Err(Failure::usage("a request has a method and an address")
                    .hint("lockstep explain GET https://shop.test/orders/7"))
            }
            None if !self.headers.is_empty() => Err(Failure::usage("a TCP connection has no header fields")),
            None => Ok(Asked::Connection(ConnectionQuestion::new(&self.method).map_err(usage)?)),
        }
    }

    fn table(&self, globals: &Globals) -> Result<RouteTable, Failure> {
        if let Some(file) = &self.table {
            return in_file(file);
        }
        let ctx = Context::new(globals.clone())?;
        Ok(ctx.client.routes(&self.environment.resolve(&ctx)?)?)
    }

    /// Returns the table as it would be, and what change that is; nothing where none is asked about.
    fn planned(&self, globals: &Globals) -> Result<Option<(RouteTable, String)>, Failure> {
        if let Some(file) = &self.after {
            return Ok(Some((in_file(file)?, format!("the table in {}", file.display()))));
        }
        if self.with.is_empty() {
            return Ok(None);
        }
        let ctx = Context::new(globals.clone())?;
        let environment: EnvironmentName = self.environment.resolve(&ctx)?;
        let table = ctx.client.routes_after(&environment, &deployment(self.with.clone()))?;
        Ok(Some((table, told(&self.with, &environment))))
    }
}

fn in_file(file: &Path) -> Result<RouteTable, Failure> {
    Ok(check_file(file).map_err(|error| table_file::failure(&error))?.table)
}

/// Tells by a failure that a request would get none of what is asked for.
fn answered(outcome: &Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Served { .. } | Outcome::Connected { .. } | Outcome::Answered { .. } => Ok(()),
        Outcome::Refused { status: 0, code, detail } => {
            Err(Failure::new(Exit::Refused, format!("the connection would be closed, {code}: {detail}")))
        }
        Outcome::Refused { status, code, detail } => {
            let why = format!("the request would get {status} {code}: {detail}");
            Err(Failure::new(Exit::Refused, why))
        }
    }
}

fn render(explained: &Explanation, style: &Style) -> String {
    let Explanation { environment, revision, steps, routes, outcome } = explained;
    let mut text = format!("table {revision} of {environment}\n");
    for step in steps {
        if step.about == "route" {
            text.push_str(&passed(routes));
        }
        let _ = writeln!(text, "  {:<9} {}", step.about, printable(&step.says));
    }
    text.push_str(&ends(outcome, style));
    text
}

/// The routes that came before the one that takes it.
fn passed(routes: &[Seen]) -> String {
    let before = routes.iter().take_while(|seen| !seen.takes);
    let line = |seen: &Seen| {
        let (route, why) = (printable(&seen.route), seen.why.as_deref().unwrap_or_default());
        format!("  {:<9} not {route} ({}): it {}\n", "", seen.service, printable(why))
    };
    before.map(line).collect()
}

fn ends(outcome: &Outcome, style: &Style) -> String {
    match outcome {
        Outcome::Served { service, version, versions, path, host } => {
            let version = version.as_deref().map(|it| format!("@{it}")).unwrap_or_default();
            let head = style.good("served:");
            let lines: String = versions.iter().map(share).collect();
            format!("{head} {service}{version} sees {} on host {}\n{lines}", printable(path), printable(host))
        }
        Outcome::Connected { service, version, versions, port } => {
            let version = version.as_deref().map(|it| format!("@{it}")).unwrap_or_default();
            let head = style.good("connected:");
            let lines: String = versions.iter().map(share).collect();
            format!("{head} {service}{version} has the connections to port {port}\n{lines}")
        }
        Outcome::Answered { status, code, location } => {
            let to = location.as_deref().map(|it| format!(" to {}", printable(it))).unwrap_or_default();
            format!("{} the gateway answers {status} {code}{to}\n", style.good("answered:"))
        }
        Outcome::Refused { status: 0, code, .. } => {
            format!("{} the gateway closes the connection, {code}\n", style.bad("refused:"))
        }
        Outcome::Refused { status, code, .. } => {
            format!("{} the gateway answers {status} {code}\n", style.bad("refused:"))
        }
    }
}

fn share(share: &Share) -> String {
    let Share { version, weight, protocol, instances } = share;
    let at = if instances.is_empty() { "no instance".to_owned() } else { instances.join(", ") };
    format!("  {version:<9} {} of the clients that no rule takes; {at}; {protocol}\n", percent(*weight))
}
