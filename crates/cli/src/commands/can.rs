//! `lockstep can-i-deploy` and `lockstep can-i-roll-back`: would a version work with what an environment runs?

use std::fmt::Write as _;

use lockstep_api::types::{CompatAnswer, CompatCheck, CompatRelation};
use lockstep_domain::compat::Basis;
use lockstep_domain::contract::Verdict;
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber, VersionRef};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operate::plan_text::variable_lines;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Reasons of one check that are shown; --json has all.
const MAX_REASONS: usize = 5;

/// Asks whether a version works with what an environment runs.
///
/// The version is checked with the services it calls, with the services that call it, and with the database that the
/// running version uses; and whether the running version could come back afterwards. Stages and holds are not looked
/// at: `lockstep deploy --dry-run` shows those. Ends with code 0 for yes, 1 for no, and 3 when it is not proved.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep can-i-deploy orders@1.5.0 --env production")]
pub(crate) struct DeployArgs {
    /// The version.
    #[arg(value_name = "SERVICE@VERSION")]
    version: VersionRef,
    /// The environment.
    #[arg(long = "env", value_name = "ENV")]
    environment: EnvironmentName,
}

impl DeployArgs {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        answer(ctx, &ctx.client.can_deploy(&self.environment, &self.version)?)
    }
}

/// Asks whether an earlier version of a service can come back to an environment.
///
/// The version is checked with what the environment runs now: the services it calls, the services that call it, and the
/// database as the running version leaves it. Variables that would change with it are named, with secrets that were replaced
/// since. Ends with code 0 for yes, 1 for no, and 3 when it is not proved.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep can-i-roll-back orders --env production\n  lockstep can-i-roll-back orders@1.3.2 --env production"
)]
pub(crate) struct RollBackArgs {
    /// The service, or the version to go back to; the version that ran before when none is named.
    #[arg(value_name = "SERVICE[@VERSION]")]
    target: Target,
    /// The environment.
    #[arg(long = "env", value_name = "ENV")]
    environment: EnvironmentName,
}

#[derive(Debug, Clone)]
struct Target {
    service: ServiceName,
    version: Option<VersionNumber>,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        if text.contains('@') {
            let VersionRef { service, version } = text.parse().map_err(|error| words(&error))?;
            return Ok(Self { service, version: Some(version) });
        }
        let service = text.parse().map_err(|error: lockstep_domain::name::NameError| words(&error))?;
        Ok(Self { service, version: None })
    }
}

impl RollBackArgs {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Target { service, version } = self.target;
        answer(ctx, &ctx.client.can_roll_back(&self.environment, &service, version.as_ref())?)
    }
}

fn answer(ctx: &Context, answer: &CompatAnswer) -> Result<(), Failure> {
    ctx.out.show(answer, render)?;
    let CompatAnswer { version, environment, .. } = answer;
    match answer.verdict {
        Verdict::Compatible => Ok(()),
        Verdict::Breaking => Err(Failure::new(
            Exit::EndedBadly,
            format!("`{version}` does not work with what `{environment}` runs"),
        )),
        Verdict::NotChecked => Err(Failure::new(
            Exit::Refused,
            format!("it is not proved that `{version}` works with what `{environment}` runs"),
        )),
    }
}

fn render(answer: &CompatAnswer, style: &Style) -> String {
    let CompatAnswer { version, environment, live, verdict, checks, back, variables, warnings } = answer;
    let word = match verdict {
        Verdict::Compatible => style.good("yes"),
        Verdict::Breaking => style.bad("no"),
        Verdict::NotChecked => style.bad("not checked"),
    };
    let live = live.as_ref().map_or("nothing of it".to_owned(), ToString::to_string);
    let mut text = format!("{word}: {version} in {environment}, which runs {live}\n");
    if checks.is_empty() {
        text.push_str("  nothing there requires it, it requires nothing, and no database is shared\n");
    }
    let mut table = Table::new(["", "", ""]).indented(2);
    for check in checks {
        table.row([said(check.pair.verdict).into(), relation(check), first_reason(check)]);
    }
    text.push_str(&table.render(style));
    for check in checks.iter().filter(|check| check.pair.reasons.len() > 1) {
        for reason in check.pair.reasons.iter().skip(1).take(MAX_REASONS - 1) {
            let _ = writeln!(text, "      {}: {}", check.service, printable(reason));
        }
    }
    if let Some(back) = back {
        let line =
            format!("  and back again: {}  {}", said(back.pair.verdict), printable(&first_reason(back)));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str(&variable_lines(variables));
    for warning in warnings {
        let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(warning));
    }
    text
}

const fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Compatible => "yes",
        Verdict::Breaking => "no",
        Verdict::NotChecked => "?",
    }
}

fn relation(check: &CompatCheck) -> String {
    let version = check.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let service = &check.service;
    match check.relation {
        CompatRelation::Provider => format!("calls {service}{version}"),
        CompatRelation::Consumer => format!("is called by {service}{version}"),
        CompatRelation::Messages => format!("reads what is kept of {service}{version}"),
        CompatRelation::Database => format!("shares its database with {service}{version}"),
        CompatRelation::WayBack => format!("goes back from {service}{version}"),
    }
}

fn first_reason(check: &CompatCheck) -> String {
    let first = check.pair.reasons.first().cloned().unwrap_or_default();
    match (check.pair.verdict, check.pair.basis, first.is_empty()) {
        (Verdict::Compatible, Basis::Range, true) => "by its declared range: no contract tells".into(),
        (Verdict::Compatible, Basis::Range, false) => format!("by its declared range: {first}"),
        _ => first,
    }
}
