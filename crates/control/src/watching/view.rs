//! What is shown of watching.

use lockstep_api::Problem;
use lockstep_api::types::{AlertList, AlertTurn, AlertView, BlameView, BlamedChange, ChangeView};
use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};
use lockstep_monitor::{Alert, Calls, Change, Fault, NoticeChange, Ranked, Stage, rank};
use serde::Serialize;

use super::Known;
use crate::{Control, environments, lock, not_found, services};

/// Turns that are shown.
const MAX_SHOWN: usize = 100;
/// Changes that are shown.
const MAX_BLAMED: usize = 20;

impl Control {
    /// Shows what is wrong, in all environments or in one.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn alerts(&self, environment: Option<&EnvironmentName>) -> Result<AlertList, Problem> {
        if let Some(name) = environment {
            environments::find(&self.ledger.world(), name)?;
        }
        let known = lock(&self.watching.known);
        let is_of = |alert: &Alert| match (environment, alert.subject.environment()) {
            (Some(wanted), Some(of)) => wanted.as_str() == of,
            _ => true,
        };
        let open = known
            .state
            .watch
            .alerts()
            .iter()
            .filter(|(_, alert)| alert.stage != Stage::Recovered && is_of(alert));
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(name, alert)| {
            (alert.stage == Stage::Pending, std::cmp::Reverse(alert.severity), alert.since_ms, *name)
        });
        let turns = known.turns.iter().rev().filter(|turn| match (environment, &turn.environment) {
            (Some(wanted), Some(of)) => wanted.as_str() == of,
            _ => true,
        });
        Ok(AlertList {
            looked: known.looked.map(Timestamp),
            alerts: open.into_iter().map(|(name, alert)| view(name, alert)).collect(),
            turns: turns
                .take(MAX_SHOWN)
                .map(|turn| AlertTurn {
                    at: Timestamp(turn.at_ms),
                    alert: turn.alert.clone(),
                    fired: turn.fired,
                })
                .collect(),
        })
    }

    /// Ranks what changed before a fault of a service. Where an alert of it fires, that is the fault; else it is now.
    ///
    /// # Errors
    /// When there is no such environment, or the service does not run there.
    pub fn blame(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        within_ms: Option<u64>,
    ) -> Result<BlameView, Problem> {
        let (now, world) = self.ledger.look();
        let found = environments::find(&world, environment)?;
        let service = services::find(&world, service)?.name.clone();
        if !found.entries().contains_key(&service) {
            let detail = format!("`{service}` does not run in `{environment}`");
            return Err(not_found(detail, &format!("lockstep status {environment}")));
        }
        let graph = self.call_book.graph(found);
        let mut calls = Calls::default();
        for (caller, callees) in &graph {
            callees.iter().for_each(|callee| calls.add(caller.as_str(), callee.as_str()));
        }
        let firing = {
            let known = lock(&self.watching.known);
            firing(&known, environment, &service).map(|alert| {
                let first = origin(&known, alert);
                let follows = (first.fingerprint() != alert.fingerprint())
                    .then(|| format!("; it follows from: {}", first.finding.summary));
                (first.clone(), format!("{}{}", alert.finding.summary, follows.unwrap_or_default()))
            })
        };
        let changes = self.read_changes();
        let before = firing.as_ref().map_or(now.0, |(first, _)| first.since_ms);
        let fault = fault(environment, &service, before, firing.as_ref().map(|(first, _)| first));
        let ranked = rank(&changes, &fault, &calls);
        let ranked = ranked
            .into_iter()
            .map(|it| without_dead_end(it, now))
            .filter(|it| within_ms.is_none_or(|ms| before.saturating_sub(it.change.at_ms) <= ms));
        Ok(BlameView {
            service,
            environment: environment.clone(),
            since: Timestamp(before),
            alert: firing.map(|(_, said)| said),
            changes: ranked.take(MAX_BLAMED).map(blamed).collect(),
        })
    }
}

/// The worst alert of a service that fires, or did a moment ago: of what is so now before what was so over hours.
fn firing<'a>(known: &'a Known, environment: &EnvironmentName, service: &ServiceName) -> Option<&'a Alert> {
    let of_service = known.state.watch.alerts().values().filter(|alert| {
        alert.is_firing()
            && !alert.lingers()
            && alert.subject.environment() == Some(environment.as_str())
            && alert.subject.service() == Some(service.as_str())
    });
    of_service.max_by_key(|alert| {
        let is_now = (alert.stage == Stage::Firing, alert.finding.calm_ms.is_none());
        (is_now, alert.severity, std::cmp::Reverse(alert.since_ms))
    })
}

/// The alert that one follows from in the end; itself where it follows from none.
fn origin<'a>(known: &'a Known, alert: &'a Alert) -> &'a Alert {
    let alerts = known.state.watch.alerts();
    let cause = |alert: &&'a Alert| alerts.get(&alert.muted.as_ref()?.by).filter(|cause| cause.is_firing());
    let chain = std::iter::successors(Some(alert), cause);
    chain.take(alerts.len()).last().unwrap_or(alert)
}

/// What ended by itself needs not be taken back.
fn without_dead_end(mut ranked: Ranked, now: Timestamp) -> Ranked {
    let is_over = ranked.change.until_ms.is_some_and(|until_ms| until_ms <= now.0);
    ranked.change.undo = ranked.change.undo.filter(|_| !is_over);
    ranked
}

fn fault(environment: &EnvironmentName, service: &ServiceName, at_ms: u64, alert: Option<&Alert>) -> Fault {
    let own_service = alert.and_then(|alert| alert.subject.service());
    Fault {
        at_ms,
        over_ms: 0,
        family: alert.map_or(lockstep_monitor::Family::Traffic, |alert| alert.family),
        environment: Some(environment.to_string()),
        service: Some(own_service.map_or_else(|| service.to_string(), str::to_owned)),
        version: alert.and_then(|alert| alert.subject.get("version")).map(str::to_owned),
        hosts: alert.and_then(|alert| alert.subject.get("host")).map(str::to_owned).into_iter().collect(),
    }
}

fn view(name: &str, alert: &Alert) -> AlertView {
    AlertView {
        alert: name.to_owned(),
        rule: alert.rule.clone(),
        severity: alert.severity.to_string(),
        stage: word(&alert.stage),
        subject: alert.subject.0.clone(),
        summary: alert.finding.summary.clone(),
        detail: alert.finding.detail.clone(),
        hint: alert.finding.hint.clone(),
        since: Timestamp(alert.since_ms),
        follows_from: alert.muted.as_ref().map(|muted| muted.by.clone()),
        unknown: alert.blind.as_ref().map(|blind| blind.why().to_owned()),
        change: alert.change.clone().map(change),
    }
}

fn change(change: NoticeChange) -> ChangeView {
    ChangeView { at: Timestamp(change.at_ms), what: change.what, who: change.who, undo: change.undo }
}

fn blamed(ranked: Ranked) -> BlamedChange {
    let Ranked { change: Change { kind, .. }, .. } = ranked;
    BlamedChange {
        kind: word(&kind),
        score: ranked.score,
        why: ranked.why,
        change: change(ranked.change.into()),
    }
}

/// The word by which something is stored.
fn word(of: &impl Serialize) -> String {
    let value = serde_json::to_value(of).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
