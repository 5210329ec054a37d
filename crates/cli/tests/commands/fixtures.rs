//! Answers of a server: an operation with its plan and events, environments, problems.

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};

pub(crate) fn problem(status: u16, code: &str, detail: &str, hint: &str) -> Reply {
    let body = json!({ "status": status, "code": code, "title": code, "detail": detail, "hint": hint });
    Reply::json(status, &body)
}

pub(crate) fn summary(name: &str, services: u64) -> Value {
    json!({
        "name": name,
        "settings": {
            "accepts_from": "created",
            "strategy": { "strategy": "all_at_once" },
            "warm_ms": 1_800_000,
            "gateway_port": 8500,
        },
        "baseline": 3,
        "services": services,
        "operation": null,
    })
}

/// The environment `production` with a strategy of its own.
pub(crate) fn environment(strategy: &Value) -> Value {
    json!({
        "name": "production",
        "settings": {
            "accepts_from": "created", "strategy": strategy, "warm_ms": 1_000, "gateway_port": 8502,
        },
        "gateway": "http://127.0.0.1:8502",
        "baseline": 17,
        "baseline_since": 1_000,
        "services": [],
        "operation": null,
        "holds": [],
        "gateways": [],
    })
}

pub(crate) fn entry(version: &str) -> Value {
    json!({ "version": version, "config": 0 })
}

pub(crate) fn plan() -> Value {
    json!({
        "parent": 17,
        "target": { "orders": entry("1.4.0") },
        "strategy": { "strategy": "canary", "steps": [
            { "weight": 500, "bake_ms": 1000 }, { "weight": 10_000, "bake_ms": 1000 },
        ] },
        "waves": [[{
            "service": "orders",
            "from": entry("1.3.2"),
            "to": entry("1.4.0"),
            "readiness": "cold",
            "reasons": [{ "reason": "asked" }],
        }]],
        "warnings": ["no requests were seen yet"],
    })
}

pub(crate) fn operation(phase: &Value) -> Value {
    json!({
        "id": 12,
        "environment": "production",
        "actor": "ann@example.org",
        "intent": { "intent": "deploy", "versions": ["orders@1.4.0"] },
        "plan": plan(),
        "begun": 1_000,
        "phase": phase,
    })
}

pub(crate) fn preparing() -> Value {
    operation(&json!({ "phase": "preparing", "wave": 0, "since": 1_000 }))
}

pub(crate) fn done() -> Value {
    operation(&json!({ "phase": "done", "baseline": 18, "at": 5_200 }))
}

pub(crate) fn reverted() -> Value {
    operation(&json!({ "phase": "reverted", "cause": "5 of 100 requests failed", "at": 5_200 }))
}

pub(crate) fn events() -> Vec<Value> {
    let recorded = |seq: u64, mut event: Value| {
        event["seq"] = seq.into();
        event["at"] = (1_000 + seq).into();
        event["actor"] = "lockstep".into();
        event
    };
    vec![
        recorded(1, json!({ "event": "operation_begun", "operation": preparing() })),
        recorded(
            2,
            json!({ "event": "wave_prepared", "operation": 12, "environment": "production", "wave": 0 }),
        ),
        recorded(
            3,
            json!({
                "event": "wave_shifted", "operation": 12, "environment": "production", "wave": 0, "step": 0,
                "reason": "healthy",
            }),
        ),
    ]
}

pub(crate) const OPERATE: &str = "POST /api/v1/environments/production/operations";
pub(crate) const OPERATION: &str = "GET /api/v1/operations/12";
pub(crate) const EVENTS: &str = "GET /api/v1/operations/12/events";

/// A server on which a deployment ends as `end` says.
pub(crate) fn deploying(end: &Value) -> FakeServer {
    FakeServer::start(vec![
        (OPERATE, Reply::json(200, &json!({ "plan": plan(), "operation": preparing() }))),
        (EVENTS, Reply::events(&events())),
        (OPERATION, Reply::json(200, end)),
    ])
}

pub(crate) const DEPLOY: [&str; 4] = ["deploy", "orders@1.4.0", "--env", "production"];

pub(crate) const RELEASE: &str = "POST /api/v1/services/orders/releases";
