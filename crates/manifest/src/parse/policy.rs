//! Reads what a `[[route]]` asks for so that a request does not wait for too long, is asked again where that is safe, and asks for no more than is there.

use std::sync::Arc;

use lockstep_domain::routes::RouteRule;
use lockstep_domain::routes::hedge::{Hedge, LEAST_MS, Percentile};
use lockstep_domain::routes::limits::{MAX_REQUESTS, RateBy, RateLimit, RouteLimits};
use lockstep_domain::routes::policy::{Policy, PolicyError, RouteTimeouts};
use lockstep_domain::routes::retries::{MAX_ATTEMPTS, Retries};

use super::field::{duration, size};
use super::route::{methods, respond};
use crate::reader::{Field, Table};
use crate::value;

/// Reads it; what is wrong with it beside the rest of the rule is told where it stands.
pub(super) fn policy(table: &Table<'_>, rule: &RouteRule) -> Option<Arc<Policy>> {
    let mut all = Policy::default();
    let mut add = |field: &Field<'_>, one: Policy, set: &dyn Fn(&mut Policy, Policy)| {
        one.problems(rule).iter().for_each(|problem| wrong(field, problem));
        set(&mut all, one);
    };
    if let Some(field) = table.get("timeouts", "timeouts = { head = \"2s\", request = \"10s\" }") {
        let timeouts = timeouts(&field).unwrap_or_default();
        add(&field, Policy { timeouts, ..Policy::default() }, &|all, one| all.timeouts = one.timeouts);
    }
    if let Some(field) = table.get("retries", "retries = { attempts = 1, on = [\"reset\", \"503\"] }") {
        let retries = retries(&field);
        add(&field, Policy { retries, ..Policy::default() }, &|all, one| all.retries = one.retries);
    }
    if let Some(field) = table.get("limits", "limits = { body = \"1MiB\", concurrency = 100 }") {
        let limits = limits(&field).unwrap_or_default();
        add(&field, Policy { limits, ..Policy::default() }, &|all, one| all.limits = one.limits);
    }
    if let Some(field) = table.get("fallback", "fallback = { status = 503, body = \"back soon\" }") {
        let fallback = respond(&field);
        add(&field, Policy { fallback, ..Policy::default() }, &|all, one| all.fallback = one.fallback);
    }
    if let Some(field) = table.get("priority", "priority = \"low\"") {
        let priority = field.parse();
        add(&field, Policy { priority, ..Policy::default() }, &|all, one| all.priority = one.priority);
    }
    if let Some(field) = table.get("upgrades", "upgrades = [\"tcp\"]") {
        let names = field.list().unwrap_or_default();
        let upgrades = names.iter().filter_map(Field::parse).collect();
        add(&field, Policy { upgrades, ..Policy::default() }, &|all, one| all.upgrades = one.upgrades);
    }
    if let Some(field) = table.get("hedge", "hedge = \"p95\"") {
        let hedge = hedge(&field);
        add(&field, Policy { hedge, ..Policy::default() }, &|all, one| all.hedge = one.hedge);
        all.hedge_problems().iter().for_each(|problem| wrong(&field, problem));
    }
    (!all.is_none()).then(|| Arc::new(all))
}

fn wrong(field: &Field<'_>, problem: &PolicyError) {
    match problem.hint() {
        Some(hint) => field.wrong_because(problem, hint),
        None => field.wrong(problem),
    }
}

fn timeouts(field: &Field<'_>) -> Option<RouteTimeouts> {
    let table = field.table()?;
    let timeouts = RouteTimeouts {
        connect_ms: duration(&table, "connect", "connect = \"500ms\""),
        head_ms: duration(&table, "head", "head = \"2s\""),
        idle_ms: duration(&table, "idle", "idle = \"1m\""),
        request_ms: duration(&table, "request", "request = \"10s\""),
    };
    let says_any = ["connect", "head", "idle", "request"].iter().any(|name| table.get(name, "").is_some());
    table.finish();
    if !says_any {
        field.wrong("it says none of connect, head, idle and request");
    }
    Some(timeouts)
}

fn retries(field: &Field<'_>) -> Option<Retries> {
    let table = field.table()?;
    let attempts =
        table.require("attempts", "attempts = 1").and_then(|field| field.integer(0..=MAX_ATTEMPTS));
    let on = table.get("on", "on = [\"reset\", \"timeout\", \"503\"]").map(|field| field.parse_all());
    let methods = table.get("methods", "methods = [\"GET\", \"POST\"]").map(|field| methods(&field));
    let key = table.get("idempotency_key", "idempotency_key = true").and_then(|field| field.boolean());
    table.finish();
    Some(Retries {
        attempts: attempts?,
        on: on.unwrap_or_default().into_iter().collect(),
        methods: methods.unwrap_or_default(),
        idempotency_key: key.unwrap_or(false),
    })
}

/// Reads after what another instance is asked as well: a text, or a table of it and of the least time.
fn hedge(field: &Field<'_>) -> Option<Hedge> {
    if field.as_text().is_some() {
        return hedge_after(field, None);
    }
    let table = field.table()?;
    let least = table.get("least", "least = \"20ms\"");
    let least_ms = duration(&table, "least", "least = \"20ms\"");
    let after = table.require("after", "after = \"p95\"").and_then(|after| hedge_after(&after, least_ms));
    table.finish();
    if let (Some(Hedge::AfterMs(_)), Some(least)) = (after, least) {
        least.wrong("only a part of the answers, as `after = \"p95\"`, has a least time");
    }
    after
}

fn hedge_after(field: &Field<'_>, least_ms: Option<u64>) -> Option<Hedge> {
    let text = field.text()?;
    if let Some(percent) = text.strip_prefix('p').and_then(|percent| percent.parse().ok()) {
        return Some(Hedge::Percentile(Percentile { percent, least_ms: least_ms.unwrap_or(LEAST_MS) }));
    }
    let after = value::duration_ms(text).ok().map(Hedge::AfterMs);
    if after.is_none() {
        let what = format!("`{text}` is neither a part of the answers, as p95, nor a time, as 50ms");
        field.wrong_because(what, "hedge = \"p95\"");
    }
    after
}

fn limits(field: &Field<'_>) -> Option<RouteLimits> {
    let table = field.table()?;
    let concurrency = table.get("concurrency", "concurrency = 100");
    let rate = table.get("rate", "rate = { requests = 100, per = \"1m\" }");
    let limits = RouteLimits {
        body_bytes: size(&table, "body", "body = \"1MiB\""),
        concurrency: concurrency.and_then(|field| field.integer(1..=MAX_REQUESTS)),
        rate: rate.and_then(|field| self::rate(&field)),
    };
    let says_any = ["body", "concurrency", "rate"].iter().any(|name| table.get(name, "").is_some());
    table.finish();
    if !says_any {
        field.wrong("it says none of body, concurrency and rate");
    }
    Some(limits)
}

fn rate(field: &Field<'_>) -> Option<RateLimit> {
    let table = field.table()?;
    let requests =
        table.require("requests", "requests = 100").and_then(|field| field.integer(1..=MAX_REQUESTS));
    let per = table
        .require("per", "per = \"1m\"")
        .and_then(|field| value::duration_ms(field.text()?).map_err(|error| field.wrong(error)).ok());
    let burst = table.get("burst", "burst = 20").and_then(|field| field.integer(1..=MAX_REQUESTS));
    let by = table.get("by", "by = \"network\"").map_or(Some(RateBy::Network), |field| rate_by(&field));
    table.finish();
    Some(RateLimit { requests: requests?, per_ms: per?, burst, by: by? })
}

fn rate_by(field: &Field<'_>) -> Option<RateBy> {
    let text = field.text()?;
    let known = [RateBy::Network, RateBy::Key, RateBy::Route].into_iter().find(|by| by.word() == text);
    if known.is_none() {
        field.wrong_because("a rate is by `network`, `key` or `route`", "by = \"network\"");
    }
    known
}
