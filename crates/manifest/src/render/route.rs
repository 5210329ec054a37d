//! Writes `[[route]]`, one for each host.

use std::collections::BTreeMap;

use lockstep_domain::routes::actions::{Actions, FieldChanges, Redirect, Respond, Rewrite, plain_text};
use lockstep_domain::routes::compress::Compress;
use lockstep_domain::routes::conditions::{Conditions, Wanted, WantedValue};
use lockstep_domain::routes::cors::Cors;
use lockstep_domain::routes::hedge::{Hedge, LEAST_MS, Percentile};
use lockstep_domain::routes::limits::{RateLimit, RouteLimits};
use lockstep_domain::routes::policy::Policy;
use lockstep_domain::routes::retries::Retries;
use lockstep_domain::routes::{Affinity, PathType, Patience, PrefixHandling, RouteRule};
use lockstep_domain::visit::{USUAL_COOKIE, Visit};

use super::{Writer, duration, inline, list, quoted, strings};
use crate::value::write_size;

impl Writer<'_> {
    pub(super) fn route(&mut self, route: &RouteRule) {
        self.table("route", "[[route]]");
        if let Some(host) = &route.host {
            self.field("host", quoted(host));
        }
        self.field("path", quoted(&route.path));
        match route.path_type {
            PathType::Prefix => {}
            PathType::Exact => self.field("path_type", quoted("exact")),
            PathType::Template => self.field("path_type", quoted("template")),
        }
        self.conditions(&route.when);
        if route.prefix == PrefixHandling::Strip {
            self.field("strip_prefix", true);
        }
        match route.patience {
            None => {}
            Some(Patience::LimitMs(limit)) => self.field("timeout", duration(limit)),
            Some(Patience::Stream) => self.field("stream", true),
        }
        if let Some(Affinity::Client) = route.affinity {
            self.field("affinity", quoted("client"));
        }
        route.then.iter().for_each(|then| self.actions(then));
        route.policy.iter().for_each(|policy| self.policy(policy));
    }

    fn policy(&mut self, policy: &Policy) {
        let Policy { timeouts, retries, limits, fallback, priority, hedge, upgrades } = policy;
        if !timeouts.is_none() {
            self.field("timeouts", table(timeouts.named().map(|(name, ms)| (name, ms.map(duration)))));
        }
        if let Some(retries) = retries {
            self.field("retries", self::retries(retries));
        }
        if !limits.is_none() {
            self.field("limits", self::limits(limits));
        }
        if let Some(fallback) = fallback {
            self.field("fallback", respond(fallback));
        }
        if let Some(priority) = priority {
            self.field("priority", quoted(priority.word()));
        }
        if let Some(hedge) = hedge {
            self.field("hedge", self::hedge(*hedge));
        }
        if !upgrades.is_empty() {
            self.field("upgrades", list(upgrades.iter().map(|name| quoted(name.as_str()))));
        }
    }

    fn conditions(&mut self, Conditions { methods, headers, query, cookies, clients }: &Conditions) {
        if !methods.is_empty() {
            self.field("methods", list(methods.iter().map(|method| quoted(method))));
        }
        for (name, wanted) in [("headers", headers), ("query", query), ("cookies", cookies)] {
            if !wanted.is_empty() {
                self.field(name, inline(wanted.iter().map(pair)));
            }
        }
        if !clients.is_empty() {
            self.field("clients", list(clients.iter().map(|network| quoted(&network.to_string()))));
        }
    }

    fn actions(&mut self, then: &Actions) {
        let Actions {
            redirect,
            respond,
            rewrite,
            request_headers,
            response_headers,
            cors,
            sticky_s,
            visit,
            compress,
        } = then;
        let fields = [
            ("redirect", redirect.as_ref().map(self::redirect)),
            ("respond", respond.as_ref().map(self::respond)),
            ("rewrite", rewrite.as_ref().map(self::rewrite)),
            ("request_headers", changes(request_headers)),
            ("response_headers", changes(response_headers)),
            ("cors", cors.as_ref().map(self::cors)),
            ("sticky", sticky_s.map(|seconds| duration(seconds * 1_000)).or(visit.as_ref().map(self::visit))),
            ("compress", compress.as_ref().map(self::compress)),
        ];
        for (name, value) in fields {
            value.into_iter().for_each(|value| self.field(name, value));
        }
    }
}

fn visit(all: &Visit) -> String {
    let cookie = (all.cookie != USUAL_COOKIE).then(|| quoted(&all.cookie));
    table([("for", Some(duration(all.for_s * 1_000))), ("cookie", cookie)])
}

fn compress(all: &Compress) -> String {
    let (Compress { encodings, types, min_bytes }, usual) = (all, Compress::default());
    if *all == usual {
        return "true".to_owned();
    }
    let names: Vec<String> = encodings.iter().map(|it| it.as_str().to_owned()).collect();
    table([
        ("encodings", (*encodings != usual.encodings).then(|| strings(&names))),
        ("types", (*types != usual.types).then(|| strings(types))),
        ("min", (*min_bytes != usual.min_bytes).then(|| quoted(&write_size(*min_bytes)))),
    ])
}

fn retries(Retries { attempts, on, methods, idempotency_key }: &Retries) -> String {
    let texts = |all: Vec<String>| (!all.is_empty()).then(|| strings(&all));
    table([
        ("attempts", Some(attempts.to_string())),
        ("on", texts(on.iter().map(ToString::to_string).collect())),
        ("methods", texts(methods.iter().cloned().collect())),
        ("idempotency_key", idempotency_key.then(|| "true".to_owned())),
    ])
}

fn hedge(hedge: Hedge) -> String {
    match hedge {
        Hedge::AfterMs(ms) => duration(ms),
        Hedge::Percentile(Percentile { percent, least_ms: LEAST_MS }) => quoted(&format!("p{percent}")),
        Hedge::Percentile(Percentile { percent, least_ms }) => {
            table([("after", Some(quoted(&format!("p{percent}")))), ("least", Some(duration(least_ms)))])
        }
    }
}

fn limits(RouteLimits { body_bytes, concurrency, rate }: &RouteLimits) -> String {
    table([
        ("body", body_bytes.map(|bytes| quoted(&write_size(bytes)))),
        ("concurrency", concurrency.map(|count| count.to_string())),
        ("rate", rate.as_ref().map(self::rate)),
    ])
}

fn rate(RateLimit { requests, per_ms, burst, by }: &RateLimit) -> String {
    table([
        ("requests", Some(requests.to_string())),
        ("per", Some(duration(*per_ms))),
        ("burst", burst.map(|burst| burst.to_string())),
        ("by", (!by.is_network()).then(|| quoted(by.word()))),
    ])
}

fn pair(Wanted { name, value }: &Wanted) -> (&str, String) {
    let value = match value {
        WantedValue::Present => "{ present = true }".to_owned(),
        WantedValue::Exact(text) => quoted(text),
        WantedValue::Regex(text) => format!("{{ regex = {} }}", quoted(text)),
    };
    (name, value)
}

fn table<'n>(fields: impl IntoIterator<Item = (&'n str, Option<String>)>) -> String {
    inline(fields.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn redirect(Redirect { scheme, host, port, path, status }: &Redirect) -> String {
    table([
        ("scheme", scheme.map(|scheme| quoted(scheme.as_str()))),
        ("host", host.as_deref().map(quoted)),
        ("port", port.map(|port| port.to_string())),
        ("path", path.as_deref().map(quoted)),
        ("status", Some(status.to_string())),
    ])
}

fn respond(Respond { status, body, content_type }: &Respond) -> String {
    table([
        ("status", Some(status.to_string())),
        ("body", (!body.is_empty()).then(|| quoted(body))),
        ("content_type", (*content_type != plain_text()).then(|| quoted(content_type))),
    ])
}

fn rewrite(Rewrite { path, host }: &Rewrite) -> String {
    table([("path", path.as_deref().map(quoted)), ("host", host.as_deref().map(quoted))])
}

fn changes(changes: &FieldChanges) -> Option<String> {
    let pairs = |pairs: &BTreeMap<String, String>| {
        (!pairs.is_empty()).then(|| inline(pairs.iter().map(|(name, value)| (name, quoted(value)))))
    };
    let remove: Vec<String> = changes.remove.iter().cloned().collect();
    let fields = [
        ("set", pairs(&changes.set)),
        ("add", pairs(&changes.add)),
        ("remove", (!remove.is_empty()).then(|| strings(&remove))),
    ];
    (!changes.is_empty()).then(|| table(fields))
}

fn cors(Cors { origins, methods, headers, expose, credentials, max_age_s }: &Cors) -> String {
    let some = |list: &[String]| (!list.is_empty()).then(|| strings(list));
    table([
        ("origins", Some(strings(origins))),
        ("methods", some(methods)),
        ("headers", some(headers)),
        ("expose", some(expose)),
        ("credentials", credentials.then(|| "true".to_owned())),
        ("max_age", max_age_s.map(|seconds| duration(seconds * 1_000))),
    ])
}
