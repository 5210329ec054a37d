//! Operations, parameters, bodies, responses, security and calls to consumers.

use lockstep_contract::{Acceptance, Bump, Level, Options, Verdict};
use serde_json::{Value, json};

use super::support::{assert_found, diff, diff_with, ids, with_operation};

fn operation(parts: Value) -> Value {
    let mut operation = json!({"responses": {"200": {"description": "ok"}}});
    operation.as_object_mut().expect("object").extend(parts.as_object().expect("object").clone());
    with_operation(&operation)
}

fn with_parameter(parameter: Value) -> Value {
    operation(json!({"parameters": [parameter]}))
}

#[test]
fn removing_an_operation_breaks_and_adding_one_cannot_be_rolled_back() {
    let (with, without) = (operation(json!({})), json!({"openapi": "3.1.0", "info": {}, "paths": {}}));
    let removed = diff(&with, &without);
    assert_found(&removed, Verdict::Breaking, "operation-removed");
    assert!(!removed.may_deploy && removed.may_roll_back);
    assert_eq!(removed.bump, Bump::Major);
    let added = diff(&without, &with);
    assert_found(&added, Verdict::Compatible, "operation-added");
    assert!(added.may_deploy && !added.may_roll_back);
    assert_eq!(added.bump, Bump::Minor);
}

#[test]
fn a_deprecated_operation_may_go_after_its_sunset() {
    let old = operation(json!({"deprecated": true, "x-sunset": "2025-06-30"}));
    let new = json!({"openapi": "3.1.0", "info": {}, "paths": {}});
    let on = |day: &str| Options { today: Some(day.parse().expect("date")), ..Options::default() };
    assert_found(&diff_with(&old, &new, &on("2025-06-29")), Verdict::Breaking, "operation-removed");
    assert_found(
        &diff_with(&old, &new, &on("2025-07-01")),
        Verdict::Compatible,
        "operation-removed-after-sunset",
    );
}

#[test]
fn an_accepted_break_stays_listed_and_no_longer_counts() {
    let (old, new) = (operation(json!({})), json!({"openapi": "3.1.0", "info": {}, "paths": {}}));
    let accept = |until: &str| Options {
        today: Some("2025-01-10".parse().expect("date")),
        acceptances: vec![Acceptance {
            rule: "operation-removed".into(),
            place: "/paths/~1pets/post".into(),
            reason: "nobody calls it".into(),
            until: Some(until.parse().expect("date")),
        }],
        ..Options::default()
    };
    let report = diff_with(&old, &new, &accept("2025-01-10"));
    assert_found(&report, Verdict::Compatible, "operation-removed");
    assert_eq!(report.bump, Bump::Minor);
    assert_eq!(
        report.changes[0].accepted.as_ref().map(|accepted| accepted.reason.as_str()),
        Some("nobody calls it")
    );
    assert_eq!(diff_with(&old, &new, &accept("2025-01-09")).verdict, Verdict::Breaking);
}

#[test]
fn a_renamed_path_parameter_is_the_same_path() {
    let path = |path: &str, name: &str| {
        json!({"openapi": "3.0.0", "info": {}, "paths": {path: {"get": {
        "parameters": [{"name": name, "in": "path", "required": true, "schema": {"type": "string"}}],
        "responses": {"200": {"description": "ok"}}}}}})
    };
    let report = diff(&path("/pets/{id}", "id"), &path("/pets/{petId}", "petId"));
    assert_eq!(ids(&report), ["path-parameter-renamed"]);
}

#[test]
fn parameters_break_when_they_demand_more() {
    let limit = |required: bool, schema: Value| {
        with_parameter(json!({"name": "limit", "in": "query", "required": required, "schema": schema}))
    };
    let integer = || json!({"type": "integer"});
    let none = operation(json!({}));
    assert_found(
        &diff(&none, &limit(true, integer())),
        Verdict::Breaking,
        "required-request-parameter-added",
    );
    assert_found(&diff(&none, &limit(false, integer())), Verdict::Compatible, "request-parameter-added");
    assert_found(
        &diff(&limit(false, integer()), &limit(true, integer())),
        Verdict::Breaking,
        "request-parameter-became-required",
    );
    assert_found(&diff(&limit(false, integer()), &none), Verdict::Compatible, "request-parameter-removed");
    let bounded = limit(false, json!({"type": "integer", "maximum": 10}));
    let report = diff(&limit(false, integer()), &bounded);
    assert_found(&report, Verdict::Breaking, "request-maximum-lowered");
    let witness = report.changes[0].witness.as_ref().expect("witness");
    assert_eq!(witness["name"], "limit");
    assert!(witness["value"].as_f64().is_some_and(|value| value > 10.0), "{witness}");
}

#[test]
fn a_number_in_a_query_may_become_free_text_but_not_the_other_way() {
    let of = |kind: &str| with_parameter(json!({"name": "q", "in": "query", "schema": {"type": kind}}));
    assert_eq!(diff(&of("integer"), &of("string")).verdict, Verdict::Compatible);
    assert_found(&diff(&of("string"), &of("integer")), Verdict::Breaking, "request-type-narrowed");
}

#[test]
fn numbers_are_text_at_any_depth_of_a_parameter_and_in_headers() {
    let list = |kind: &str| {
        with_parameter(
            json!({"name": "q", "in": "query", "schema": {"type": "array", "items": {"type": kind}}}),
        )
    };
    assert_eq!(diff(&list("integer"), &list("string")).verdict, Verdict::Compatible);
    let filter = |kind: &str| {
        let schema = json!({"type": "object", "properties": {"id": {"type": kind}}});
        with_parameter(json!({"name": "q", "in": "query", "style": "deepObject", "schema": schema}))
    };
    assert_eq!(diff(&filter("number"), &filter("string")).verdict, Verdict::Compatible);
    assert_found(&diff(&filter("string"), &filter("number")), Verdict::Breaking, "request-type-narrowed");
    let encoded = |kind: &str| {
        with_parameter(
            json!({"name": "q", "in": "query", "content": {"application/json": {"schema": {"type": kind}}}}),
        )
    };
    assert_found(&diff(&encoded("integer"), &encoded("string")), Verdict::Breaking, "request-type-narrowed");
    let header = |kind: &str| {
        with_operation(
            &json!({"responses": {"200": {"description": "d", "headers": {"X-Count": {"schema": {"type": kind}}}}}}),
        )
    };
    assert_eq!(diff(&header("string"), &header("integer")).verdict, Verdict::Compatible);
    assert_found(&diff(&header("integer"), &header("string")), Verdict::Breaking, "response-type-widened");
}

#[test]
fn a_default_counts_where_a_parameter_may_be_left_out() {
    let limit = |required: bool, default: Option<u64>| {
        let mut schema = json!({"type": "integer"});
        if let Some(default) = default {
            schema["default"] = json!(default);
        }
        with_parameter(json!({"name": "limit", "in": "query", "required": required, "schema": schema}))
    };
    for (old, new) in [(Some(20), Some(100)), (None, Some(20)), (Some(20), None)] {
        let report = diff(&limit(false, old), &limit(false, new));
        assert_found(&report, Verdict::Breaking, "request-parameter-default-changed");
        assert_eq!(diff(&limit(true, old), &limit(true, new)).verdict, Verdict::Compatible);
    }
}

#[test]
fn a_promised_end_may_move_back_but_not_forward_or_away() {
    let with = |sunset: Value| operation(json!({"deprecated": true, "x-sunset": sunset}));
    let (early, late) = (with(json!("2029-01-01")), with(json!("2030-01-01")));
    assert_eq!(diff(&early, &late).verdict, Verdict::Compatible);
    assert_found(&diff(&late, &early), Verdict::Breaking, "sunset-moved-forward");
    let unnamed = operation(json!({"deprecated": true}));
    assert_found(&diff(&late, &unnamed), Verdict::Breaking, "sunset-removed");
    assert_eq!(diff(&late, &operation(json!({}))).verdict, Verdict::Compatible);
    assert_eq!(diff(&unnamed, &with(json!("soon"))).verdict, Verdict::NotChecked);
}

#[test]
fn the_way_a_list_is_written_matters_and_a_single_value_does_not() {
    let of = |kind: &str, explode: bool| {
        with_parameter(json!({"name": "q", "in": "query", "explode": explode, "schema": {"type": kind}}))
    };
    assert_found(
        &diff(&of("array", true), &of("array", false)),
        Verdict::Breaking,
        "request-parameter-style-changed",
    );
    assert_eq!(diff(&of("string", true), &of("string", false)).verdict, Verdict::Compatible);
}

#[test]
fn newly_required_authentication_breaks_everybody() {
    let with = |security: Value| operation(json!({"security": security}));
    let open = with(json!([]));
    let token = with(json!([{"token": []}]));
    let either = with(json!([{"token": []}, {"key": []}]));
    let scoped = with(json!([{"token": ["read"]}]));
    assert_found(&diff(&open, &token), Verdict::Breaking, "security-added");
    assert_found(&diff(&token, &either), Verdict::Compatible, "security-widened");
    assert_found(&diff(&either, &token), Verdict::Breaking, "security-added");
    assert_found(&diff(&token, &scoped), Verdict::Breaking, "security-scope-added");
    assert_eq!(diff(&scoped, &token).verdict, Verdict::Compatible);
}

#[test]
fn security_of_the_whole_contract_counts_for_operations_without_their_own() {
    let mut old = operation(json!({}));
    let mut new = old.clone();
    new["security"] = json!([{"token": []}]);
    assert_found(&diff(&old, &new), Verdict::Breaking, "security-added");
    old["paths"]["/pets"]["post"]["security"] = json!([]);
    let mut own = new.clone();
    own["paths"]["/pets"]["post"]["security"] = json!([]);
    assert_eq!(diff(&old, &own).verdict, Verdict::Compatible);
}

#[test]
fn statuses_are_matched_by_number_range_and_default() {
    let answers = |statuses: &[&str]| {
        let responses: Value =
            statuses.iter().map(|status| ((*status).to_owned(), json!({"description": "d"}))).collect();
        with_operation(&json!({"responses": responses}))
    };
    assert_found(
        &diff(&answers(&["200", "404"]), &answers(&["404"])),
        Verdict::Breaking,
        "response-success-status-removed",
    );
    assert_found(
        &diff(&answers(&["200", "404"]), &answers(&["200"])),
        Verdict::Compatible,
        "response-status-removed",
    );
    assert!(
        diff(&answers(&["200", "4XX"]), &answers(&["200", "404"]))
            .changes
            .iter()
            .all(|change| change.level != Level::Error)
    );
    assert!(diff(&answers(&["200", "default"]), &answers(&["200", "503", "default"])).changes.is_empty());
}

#[test]
fn a_header_that_was_sure_may_not_go() {
    let with = |headers: Value| {
        with_operation(&json!({"responses": {"200": {"description": "d", "headers": headers}}}))
    };
    let sure = with(json!({"Location": {"required": true, "schema": {"type": "string"}}}));
    assert_found(&diff(&sure, &with(json!({}))), Verdict::Breaking, "required-response-header-removed");
    assert_found(
        &diff(&sure, &with(json!({"location": {"schema": {"type": "string"}}}))),
        Verdict::Breaking,
        "response-header-became-optional",
    );
}

#[test]
fn webhooks_are_judged_the_other_way_round() {
    let hook = |schema: Value, required: bool| {
        json!({"openapi": "3.1.0", "info": {}, "webhooks": {"paid": {"post": {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "ok"}}}}}})
    };
    let (narrow, wide) = (json!({"enum": ["a"]}), json!({"enum": ["a", "b"]}));
    assert_found(
        &diff(&hook(narrow.clone(), true), &hook(wide.clone(), true)),
        Verdict::Breaking,
        "response-enum-value-added",
    );
    assert_eq!(diff(&hook(wide, true), &hook(narrow.clone(), true)).verdict, Verdict::Compatible);
    assert_found(
        &diff(&hook(narrow.clone(), true), &hook(narrow, false)),
        Verdict::Breaking,
        "webhook-input-reduced",
    );
}

#[test]
fn swagger_2_bodies_and_responses_are_read() {
    let document = |maximum: u64| {
        json!({"swagger": "2.0", "info": {}, "paths": {"/a": {"post": {
        "parameters": [{"in": "body", "name": "body", "schema": {"$ref": "#/definitions/A"}}],
        "responses": {"200": {"description": "ok", "schema": {"$ref": "#/definitions/A"}}}}}},
        "definitions": {"A": {"type": "object", "properties": {"n": {"type": "integer", "maximum": maximum}}}}})
    };
    assert_found(&diff(&document(10), &document(5)), Verdict::Breaking, "request-maximum-lowered");
    assert_found(&diff(&document(5), &document(10)), Verdict::Breaking, "response-maximum-raised");
}

#[test]
fn rules_have_unique_ids_and_say_why() {
    let rules: Vec<_> = lockstep_contract::rules().collect();
    let mut ids: Vec<_> = rules.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len());
    assert!(
        rules
            .iter()
            .all(|rule| !rule.summary.is_empty() && !rule.explanation.is_empty() && !rule.example.is_empty())
    );
}
