//! `lockstep judge forecast`: before a rollout, how long which regression would stay unseen.

use std::fmt::Write as _;

use lockstep_api::types::ServiceTraffic;
use lockstep_domain::intent::Step;
use lockstep_domain::routes::FULL_WEIGHT;
use lockstep_domain::verdict::rules;
use lockstep_domain::{EnvironmentName, ServiceName, Strategy};
use lockstep_judge::{Forecast, Plan, Rules, Scope, Share, Traffic, Weight, forecast, usual_regressions};
use serde::Serialize;

use super::rules::{RulesOptions, check, millionths};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operate::plan_text::NOT_COMPARED;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times::{exact, took};
use crate::parse::share::{self, percent};

/// How long somebody would look at most.
const HORIZON_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// How long one look covers, and less than this says nothing of how many requests there are.
const LOOK_MS: u64 = 10_000;
/// What a service has that nobody asks.
const NOTHING_SEEN: &str = "without traffic nothing can be seen";

/// Forecasts how long a version that fails more often would stay unseen.
///
/// How many requests there are and how many of them fail is what the gateways counted of the service in the last hour; the steps and
/// the rules are those of the environment's strategy, each step by itself. --rps, --failures and --weight take
/// their place, all three together without a server. Forecast are failures in all requests together: one route
/// of many is found by its own requests, and what ends or never becomes ready is found without any.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep judge forecast orders --env production
  lockstep judge forecast orders --env production --weight 20%
  lockstep judge forecast --rps 100 --failures 0.1% --weight 5%")]
pub(super) struct Args {
    /// The service.
    #[arg(value_name = "SERVICE", required_unless_present_all = ["rps", "failures", "weight"])]
    service: Option<ServiceName>,
    /// The environment.
    #[arg(long = "env", value_name = "ENV", required_unless_present_all = ["rps", "failures", "weight"])]
    environment: Option<EnvironmentName>,
    /// Requests a second, of both versions together, instead of those that were counted.
    #[arg(long, value_name = "NUMBER", value_parser = an_hour)]
    rps: Option<u64>,
    /// The share of its requests that the running version fails, instead of what was counted.
    #[arg(long, value_name = "SHARE", value_parser = share::in_10000)]
    failures: Option<u32>,
    /// The share of the new version, instead of that of the first step.
    #[arg(long, value_name = "SHARE", value_parser = share::in_10000)]
    weight: Option<u32>,
    #[command(flatten)]
    rules: RulesOptions,
}

/// What is forecast, and of what.
#[derive(Debug, Serialize)]
struct Report {
    /// What was counted, where a server was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<ServiceTraffic>,
    traffic: Traffic,
    forecasts: Vec<Forecast>,
    /// The same for each step of the environment's strategy by itself, unless a share was typed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepForecast>,
}

/// What one step of a rollout would find by itself; what was seen in the steps before comes on top.
#[derive(Debug, Serialize)]
struct StepForecast {
    step: Step,
    forecasts: Vec<Forecast>,
}

impl StepForecast {
    fn of(plan: &Plan, traffic: &Traffic, step: Step) -> Self {
        let traffic = Traffic { weight: Weight(step.weight), ..*traffic };
        let one = |new| forecast(plan, &Scope::Total, &traffic, new);
        Self { step, forecasts: usual_regressions(traffic.usual).into_iter().map(one).collect() }
    }

    /// Tells whether the old version serves beside the new one.
    fn compares(&self) -> bool {
        self.step.weight < FULL_WEIGHT
    }
}

/// The steps of the environment's strategy; a server of an older release names the first one only.
fn steps(counted: Option<&ServiceTraffic>) -> Vec<Step> {
    let Some(counted) = counted else { return Vec::new() };
    match &counted.strategy {
        Some(Strategy::AllAtOnce) => Vec::new(),
        Some(strategy) => strategy.steps(),
        None => vec![counted.first_step],
    }
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        check(&Plan { rules: self.rules.rules(), ..Plan::default() })?;
        let counted = self.counted(ctx)?;
        let plan = self.plan(counted.as_ref());
        let traffic = self.traffic(counted.as_ref())?;
        let one = |new| forecast(&plan, &Scope::Total, &traffic, new);
        let forecasts = usual_regressions(traffic.usual).into_iter().map(one).collect();
        let steps = if self.weight.is_some() { Vec::new() } else { steps(counted.as_ref()) };
        let steps = steps.into_iter().map(|step| StepForecast::of(&plan, &traffic, step)).collect();
        ctx.out.show(&Report { counted, traffic, forecasts, steps }, render)
    }

    /// What a rollout there would be judged by: the rules of the environment's strategy, and as much beside the total as there is.
    fn plan(&self, counted: Option<&ServiceTraffic>) -> Plan {
        let Some(counted) = counted else { return Plan { rules: self.rules.rules(), ..Plan::default() } };
        let bound = counted.strategy.as_ref().and_then(Strategy::bound);
        let name = |index: usize| format!("operation {index}").parse().ok();
        Plan {
            rules: self.rules.over(bound.map_or_else(Rules::default, rules)),
            classes: (0..counted.operations).filter_map(name).collect(),
            latency_bounds_ms: counted.latency_bounds_ms.clone(),
            checks_bodies: counted.checks_answers && counted.operations > 0,
            usual: None,
        }
    }

    /// Asks the server, unless everything was typed.
    fn counted(&self, ctx: &Context) -> Result<Option<ServiceTraffic>, Failure> {
        let is_all_typed = self.rps.is_some() && self.failures.is_some() && self.weight.is_some();
        match (&self.service, &self.environment) {
            (Some(service), Some(environment)) if !is_all_typed => {
                Ok(Some(ctx.client.traffic(environment, service)?))
            }
            _ => Ok(None),
        }
    }

    fn traffic(&self, counted: Option<&ServiceTraffic>) -> Result<Traffic, Failure> {
        let rate = self.rps.or_else(|| counted.and_then(rate));
        let weight = self.weight.or_else(|| counted.map(|counted| counted.first_step.weight));
        let usual = self.failures.map(millionths).or_else(|| counted.map(usual));
        let requests_an_hour = rate.ok_or_else(|| too_short(counted))?;
        Ok(Traffic {
            requests_an_hour,
            weight: Weight(weight.unwrap_or_default()),
            usual: usual.unwrap_or_default(),
            horizon_ms: HORIZON_MS,
            look_ms: LOOK_MS,
        })
    }
}

/// How many requests there are in an hour, where it was counted for long enough to say so.
fn rate(counted: &ServiceTraffic) -> Option<u64> {
    let ms = u128::from(counted.counted_ms);
    let an_hour = || u128::from(counted.requests) * 3_600_000 / ms;
    (counted.counted_ms >= LOOK_MS).then(|| u64::try_from(an_hour()).unwrap_or(u64::MAX))
}

fn usual(counted: &ServiceTraffic) -> Share {
    Share::of(counted.of_version.failures, counted.of_version.requests)
}

fn too_short(counted: Option<&ServiceTraffic>) -> Failure {
    let ms = counted.map_or(0, |counted| counted.counted_ms);
    let detail = format!("requests have been counted for {} only since the server began", took(ms));
    Failure::new(Exit::Refused, detail)
        .hint("ask again in 10 seconds, or say how many come with --rps NUMBER")
}

/// Reads requests a second.
fn an_hour(text: &str) -> Result<u64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    let number = number.filter(|number| (0.0..=1e9).contains(number));
    // A cast rounds down what is no whole number; nothing is below 0.
    number
        .map(|number| (number * 3_600.0).round() as u64)
        .ok_or_else(|| "a number of requests a second, such as 12 or 0.5, is expected".to_owned())
}

fn render(report: &Report, style: &Style) -> String {
    let Report { counted, traffic, forecasts, steps } = report;
    let mut text = counted.as_ref().map(counted_text).unwrap_or_default();
    let _ = writeln!(
        text,
        "forecast for {} requests a second, {} of which fail usually, and {} of the clients on the new version",
        a_second(traffic.requests_an_hour),
        traffic.usual,
        percent(traffic.weight.0)
    );
    if traffic.weight.fraction().is_none() {
        let _ = writeln!(text, "nothing is beside the new version then to compare it with: {NOT_COMPARED}");
    } else if traffic.requests_an_hour > 0 {
        text.push_str(&table(forecasts, steps).render(style));
        if steps.iter().any(|step| !step.compares()) {
            let _ = writeln!(text, "with 100 % nothing is beside it to compare it with: {NOT_COMPARED}");
        }
    }
    if counted.as_ref().is_some_and(|counted| counted.strategy == Some(Strategy::AllAtOnce)) {
        text.push_str("the environment's strategy is all at once: nothing is watched after the switch\n");
    }
    let _ = writeln!(text, "{NOTHING_SEEN}: {}", condition(traffic));
    text
}

fn counted_text(counted: &ServiceTraffic) -> String {
    let ServiceTraffic {
        service, environment, version, counted_ms, requests, of_version, first_step, ..
    } = counted;
    format!(
        "{service} {version} in {environment}: {requests} requests in the last {}, {} of the {} of {version} failed; the first step is {} for {}\n",
        took(*counted_ms),
        of_version.failures,
        of_version.requests,
        percent(first_step.weight),
        exact(first_step.bake_ms)
    )
}

fn table(forecasts: &[Forecast], steps: &[StepForecast]) -> Table {
    let mut table =
        Table::new(["FAILS", "HALF FOUND WITHIN", "9 OF 10 WITHIN", "EACH STEP BY ITSELF FINDS"]).indented(2);
    let within = |ms: Option<u64>| ms.map_or_else(|| format!("not in {}", exact(HORIZON_MS)), exact);
    for (index, it) in forecasts.iter().enumerate() {
        let in_step = |step: &&StepForecast| {
            let Step { weight, bake_ms } = step.step;
            format!("{}: {}", percent(weight), found_in(&step.forecasts[index], bake_ms))
        };
        let in_steps: Vec<_> =
            steps.iter().filter(|step| step.compares()).map(|step| in_step(&step)).collect();
        let in_steps = if in_steps.is_empty() { "-".to_owned() } else { in_steps.join(", ") };
        table.row([it.new.to_string(), within(it.median_ms), within(it.most_ms), in_steps]);
    }
    table
}

fn found_in(forecast: &Forecast, bake_ms: u64) -> &'static str {
    let within = |ms: Option<u64>| ms.is_some_and(|ms| ms <= bake_ms);
    match (within(forecast.median_ms), within(forecast.most_ms)) {
        (_, true) => "most",
        (true, false) => "half",
        (false, false) => "fewer than half",
    }
}

fn condition(traffic: &Traffic) -> String {
    match traffic.requests_an_hour {
        0 => "a version that fails everything would stay unseen for ever".to_owned(),
        _ => "these times hold while requests come as they did".to_owned(),
    }
}

fn a_second(an_hour: u64) -> String {
    let rate = an_hour as f64 / 3_600.0;
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 10.0 => format!("{rate:.2}"),
        rate => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_a_second_are_numbers() {
        assert_eq!(an_hour("12"), Ok(43_200));
        assert_eq!(an_hour(" 0.5"), Ok(1_800));
        for bad in ["", "-1", "NaN", "inf", "1e300", "a"] {
            assert!(an_hour(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_found_in_a_step_is_told_by_its_length() {
        let it = Forecast { new: Share::ALL, median_ms: Some(10_000), most_ms: Some(20_000) };
        assert_eq!([9_999, 10_000, 20_000].map(|ms| found_in(&it, ms)), ["fewer than half", "half", "most"]);
        let never = Forecast { median_ms: None, most_ms: None, ..it };
        assert_eq!(found_in(&never, u64::MAX), "fewer than half");
    }
}
