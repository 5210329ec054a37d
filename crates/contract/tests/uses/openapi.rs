//! OpenAPI: operations by method and path, with what they reach.

use lockstep_contract::{Fit, InputError, Kind, Source, Verdict, operations};
use serde_json::{Value, json};

use super::found;

/// A provider with three operations that share a schema, a webhook, and two ways to authenticate.
fn payments() -> Value {
    let shared = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Charge"}}});
    json!({"openapi": "3.1.0", "info": {"title": "payments", "version": "1"},
        "paths": {
            "/charges": {
                "post": {
                    "security": [{"token": []}],
                    "requestBody": {"content": shared},
                    "responses": {"201": {"description": "made"}}},
                "get": {"responses": {"200": {"description": "all"}}}},
            "/charges/{id}": {"get": {
                "security": [{"key": []}],
                "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "one"}}}}},
        "webhooks": {"paid": {"post": {
            "requestBody": {"required": true, "content": shared},
            "responses": {"200": {"description": "ok"}}}}},
        "components": {
            "schemas": {"Charge": {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 100}}}},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "key"}}}})
}

fn fit(operations: &[&str], offered: Value) -> Fit {
    try_fit(operations, offered).expect("both sides are valid")
}

fn try_fit(operations: &[&str], offered: Value) -> Result<Fit, Vec<InputError>> {
    super::try_fit(Kind::OpenApi, "payments.json", &payments().to_string(), operations, &offered.to_string())
}

/// The provider with a change.
fn with(change: impl Fn(&mut Value)) -> Value {
    let mut document = payments();
    change(&mut document);
    document
}

#[track_caller]
fn assert_breaks_only(used: &str, unused: &str, offered: Value, rule: &str) {
    let hurt = fit(&[used], offered.clone());
    assert_eq!(hurt.verdict, Verdict::Breaking, "{used}: {:#?}", hurt.changes);
    assert!(found(&hurt).iter().any(|(id, _)| *id == rule), "{rule} in {:?}", found(&hurt));
    let unhurt = fit(&[unused], offered);
    assert_eq!(unhurt.verdict, Verdict::Compatible, "{unused}: {:#?}", unhurt.changes);
    assert!(found(&unhurt).is_empty(), "{unused}: {:#?}", unhurt.changes);
}

#[test]
fn a_removed_operation_hurts_only_those_who_call_it() {
    let without_post = with(|document| {
        document["paths"]["/charges"].as_object_mut().expect("path").remove("post");
    });
    assert_breaks_only("POST /charges", "GET /charges", without_post, "operation-removed");
    let without_path = with(|document| {
        document["paths"].as_object_mut().expect("paths").remove("/charges/{id}");
    });
    assert_breaks_only("GET /charges/{id}", "GET /charges", without_path, "operation-removed");
}

#[test]
fn a_shared_schema_counts_where_a_used_operation_reaches_it() {
    let narrowed = with(|document| {
        document["components"]["schemas"]["Charge"]["properties"]["amount"]["maximum"] = json!(50);
    });
    assert_breaks_only("POST /charges", "GET /charges", narrowed, "request-maximum-lowered");
}

#[test]
fn security_of_used_operations_counts() {
    let guarded = with(|document| {
        document["paths"]["/charges"]["get"]["security"] = json!([{"token": []}]);
    });
    assert_breaks_only("GET /charges", "POST /charges", guarded, "security-added");
    let moved = with(|document| {
        document["components"]["securitySchemes"]["key"]["in"] = json!("query");
    });
    assert_breaks_only("GET /charges/{id}", "POST /charges", moved, "security-scheme-changed");
}

#[test]
fn a_webhook_is_used_by_whoever_names_it() {
    let wider = with(|document| {
        document["components"]["schemas"]["Charge"]["properties"]["amount"]["maximum"] = json!(200);
    });
    assert_breaks_only("WEBHOOK paid", "GET /charges", wider.clone(), "response-maximum-raised");
    assert_eq!(fit(&["POST /charges"], wider.clone()).verdict, Verdict::Compatible);
    let without = with(|document| {
        document.as_object_mut().expect("document").remove("webhooks");
    });
    assert_breaks_only("WEBHOOK paid", "GET /charges", without, "webhook-removed");
    assert_eq!(fit(&[], wider).verdict, Verdict::Breaking, "without names everything is used");
}

#[test]
fn names_of_path_parameters_do_not_count() {
    let renamed = with(|document| {
        let paths = document["paths"].as_object_mut().expect("paths");
        let mut item = paths.remove("/charges/{id}").expect("path");
        item["get"]["parameters"][0]["name"] = json!("charge");
        paths.insert("/charges/{charge}".to_owned(), item);
    });
    for name in ["GET /charges/{id}", "get /charges/{anything}", " GET   /charges/{} "] {
        assert_eq!(fit(&[name], renamed.clone()).verdict, Verdict::Compatible, "{name}");
    }
    let removed = with(|document| {
        document["paths"].as_object_mut().expect("paths").remove("/charges/{id}");
    });
    assert_eq!(fit(&["get /charges/{anything}"], removed).verdict, Verdict::Breaking);
}

#[test]
fn what_is_new_does_not_concern_a_consumer_of_some_operations() {
    let more = with(|document| {
        document["paths"]["/charges"]["delete"] = json!({"responses": {"204": {"description": "gone"}}});
        document["paths"]["/refunds"] = json!({"get": {"responses": {"200": {"description": "all"}}}});
        document["webhooks"]["failed"] = json!({"post": {"responses": {"200": {"description": "ok"}}}});
    });
    assert!(found(&fit(&["POST /charges", "WEBHOOK paid"], more.clone())).is_empty());
    assert_eq!(found(&fit(&[], more)).len(), 3);
}

#[test]
fn every_operation_that_is_not_there_is_named_with_the_nearest() {
    let errors = try_fit(&["POST /charge", "GET /charges", "PATCH /a/very/other/thing"], payments())
        .expect_err("two are not there");
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "payments.json: there is no operation `POST /charge` in the contract that is used",
            "payments.json: there is no operation `PATCH /a/very/other/thing` in the contract that is used",
        ]
    );
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `POST /charges`?"));
    assert_eq!(errors[1].hint.as_deref(), Some("name an operation as the contract does"));
}

#[test]
fn all_operations_are_listed() {
    let source = Source::file("payments.json", payments().to_string().into_bytes());
    let mut listed = operations(&source).expect("valid");
    listed.sort();
    assert_eq!(listed, ["GET /charges", "GET /charges/{id}", "POST /charges", "WEBHOOK paid"]);
}
