//! What happens in an environment, line by line: what is decided, how instances are, what can be gone back to, and how requests fare.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_api::types::{EnvironmentView, EventQuery, ReadinessView};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::{Arm, EnvironmentName, Instance, InstanceId, InstanceState, Timestamp};
use serde::Serialize;

use crate::commands::events::line as event_line;
use crate::context::Context;
use crate::failure::Failure;
use crate::follow;
use crate::output::Format;
use crate::output::style::{Style, printable};
use crate::output::times::now;

/// How often it is looked how instances are.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said how requests fared, where there were any.
const SAY_REQUESTS: Duration = Duration::from_secs(10);
/// What happened before that is shown at first.
const BEFORE: u64 = 5;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
struct News {
    at: Timestamp,
    /// `event`, `instance`, `readiness` or `requests`.
    kind: &'static str,
    what: String,
    #[serde(skip)]
    line: String,
}

impl News {
    fn new(kind: &'static str, what: String, shown: &str) -> Self {
        let at = now();
        Self { at, kind, line: format!("{at} {shown}\n"), what }
    }
}

type Told = Result<News, Failure>;

/// Writes what happens until it is interrupted.
pub(super) fn run(ctx: &Context, environment: &EnvironmentName) -> Result<(), Failure> {
    let first = ctx.client.environment(environment)?;
    let (sender, receiver) = channel();
    follow_events(ctx, environment, sender.clone());
    follow_readiness(ctx, environment, sender);
    let mut seen = Seen::of(&first);
    let mut next = Instant::now() + LOOK;
    loop {
        write_until(ctx, &receiver, next)?;
        next = Instant::now() + LOOK;
        // A server that is away for a moment is waited for by those who follow it.
        if let Ok(view) = ctx.client.environment(environment) {
            seen.news(&view, &ctx.out.style).into_iter().try_for_each(|news| write(ctx, &news))?;
        }
    }
}

fn write_until(ctx: &Context, receiver: &Receiver<Told>, until: Instant) -> Result<(), Failure> {
    loop {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(told) => write(ctx, &told?)?,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            // Both have ended, and have said why.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(until.saturating_duration_since(Instant::now()));
            }
        }
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

fn write(ctx: &Context, news: &News) -> Result<(), Failure> {
    match ctx.out.format {
        Format::Json => ctx.out.show_in_stream(news, |_, _| String::new()),
        Format::Text => ctx.out.text(&news.line),
    }
}

fn follow_events(ctx: &Context, environment: &EnvironmentName, sender: Sender<Told>) {
    let query =
        EventQuery { environment: Some(environment.clone()), newest: Some(BEFORE), ..EventQuery::default() };
    let ctx = ctx.clone();
    thread::spawn(move || {
        let failed = follow::events::on_and_on(&ctx, &query, |view| {
            let line = event_line(view, &ctx.out.style);
            let _ = sender.send(Ok(News { at: view.at, kind: "event", what: view.what.clone(), line }));
            Ok(())
        });
        let _ = failed.map_err(|failure| sender.send(Err(failure)));
    });
}

fn follow_readiness(ctx: &Context, environment: &EnvironmentName, sender: Sender<Told>) {
    let (ctx, environment) = (ctx.clone(), environment.clone());
    thread::spawn(move || {
        let mut before: Option<ReadinessView> = None;
        let failed = follow::readiness::on_and_on(&ctx, &environment, |view| {
            for (what, is_lost) in before.iter().flat_map(|before| changes(before, view)) {
                let said = printable(&what).into_owned();
                let shown = if is_lost { ctx.out.style.bad(&said) } else { ctx.out.style.good(&said) };
                let _ = sender.send(Ok(News::new("readiness", what, &shown)));
            }
            before = Some(view.clone());
            Ok(())
        });
        let _ = failed.map_err(|failure| sender.send(Err(failure)));
    });
}

/// What was lost, and what is there again, since another view.
fn changes(before: &ReadinessView, view: &ReadinessView) -> Vec<(String, bool)> {
    let lost = view.lost.iter().filter(|it| !before.lost.contains(it));
    let regained = view.regained.iter().filter(|it| !before.regained.contains(it));
    let lost = lost.map(|it| (format!("readiness is lost: {}", it.loss.what), true));
    lost.chain(regained.map(|it| (format!("readiness is there again: {}", it.what), false))).collect()
}

/// What was seen at the last look.
struct Seen {
    instances: BTreeMap<InstanceId, Instance>,
    counted: BTreeMap<Arm, ArmTraffic>,
    since: Instant,
}

impl Seen {
    fn of(view: &EnvironmentView) -> Self {
        Self { instances: instances(view), counted: counted(view), since: Instant::now() }
    }

    /// Says what is new, and remembers it.
    fn news(&mut self, view: &EnvironmentView, style: &Style) -> Vec<News> {
        let present = instances(view);
        let changed =
            present.values().filter(|it| self.instances.get(&it.id).map(|was| &was.state) != Some(&it.state));
        let mut news: Vec<_> = changed.map(|it| instance(it, style)).collect();
        let gone = self.instances.keys().filter(|id| !present.contains_key(*id));
        news.extend(gone.map(|id| News::new("instance", format!("{id} is gone"), &format!("{id} is gone"))));
        self.instances = present;
        if self.since.elapsed() >= SAY_REQUESTS {
            let after = counted(view);
            news.extend(requests(&self.counted, &after, self.since.elapsed(), style));
            (self.counted, self.since) = (after, Instant::now());
        }
        news
    }
}

fn instances(view: &EnvironmentView) -> BTreeMap<InstanceId, Instance> {
    let all = view.services.iter().flat_map(|service| &service.instances);
    all.map(|instance| (instance.id.clone(), instance.clone())).collect()
}

fn counted(view: &EnvironmentView) -> BTreeMap<Arm, ArmTraffic> {
    let arms = view.services.iter().flat_map(|service| &service.arms);
    arms.map(|arm| (arm.arm.clone(), arm.traffic)).collect()
}

fn instance(instance: &Instance, style: &Style) -> News {
    let host = instance.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let (words, paint): (String, fn(&Style, &str) -> String) = match &instance.state {
        InstanceState::Starting => ("starts".into(), |_, text| text.to_owned()),
        InstanceState::Healthy => ("is healthy".into(), Style::good),
        InstanceState::Unhealthy { reason } => (format!("is unhealthy: {reason}"), Style::bad),
        InstanceState::Stopping => ("was told to end".into(), |_, text| text.to_owned()),
        InstanceState::Stopped | InstanceState::Completed => ("has ended".into(), |_, text| text.to_owned()),
        InstanceState::Failed { reason, .. } => (format!("failed: {reason}"), Style::bad),
    };
    let what = format!("{}{host} {words}", instance.id);
    let shown = paint(style, &printable(what.lines().next().unwrap_or_default()));
    News::new("instance", what, &shown)
}

/// Says for each arm that had requests how many there were and how many of them failed. Counters that began anew say nothing once.
fn requests(
    before: &BTreeMap<Arm, ArmTraffic>,
    after: &BTreeMap<Arm, ArmTraffic>,
    elapsed: Duration,
    style: &Style,
) -> Vec<News> {
    let grown = after.iter().filter_map(|(arm, traffic)| {
        let was = before.get(arm).copied().unwrap_or_default();
        let requests = traffic.requests.checked_sub(was.requests).filter(|count| *count > 0)?;
        Some((arm, requests, traffic.failures.saturating_sub(was.failures)))
    });
    let said = grown.map(|(arm, requests, failures)| {
        let rate = requests as f64 / elapsed.as_secs_f64();
        let what = format!("{arm}: {rate:.1} requests a second, {failures} of {requests} failed");
        let shown = if failures > 0 { style.bad(&what) } else { what.clone() };
        News::new("requests", what, &shown)
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests: u64, failures: u64) -> BTreeMap<Arm, ArmTraffic> {
        let arm: Arm = serde_json::from_value(
            serde_json::json!({ "service": "orders", "version": "1.4.0", "config": 1 }),
        )
        .unwrap();
        BTreeMap::from([(arm, ArmTraffic { requests, failures })])
    }

    #[test]
    fn requests_are_said_as_a_rate_and_only_where_there_were_any() {
        let said = |before, after| requests(&before, &after, Duration::from_secs(10), &Style::plain());
        let news = said(traffic(100, 0), traffic(150, 5));
        assert!(news[0].what.ends_with(": 5.0 requests a second, 5 of 50 failed"), "{}", news[0].what);
        assert!(said(traffic(100, 0), traffic(100, 0)).is_empty());
        assert!(said(traffic(100, 0), traffic(7, 0)).is_empty(), "the gateway began to count anew");
    }
}
