//! What travels, and not how it is written down: text of parameters and forms, lists, parts of bodies, addresses in force.

use lockstep_contract::Verdict;
use serde_json::{Value, json};

use super::support::{assert_found, diff, ids, with_operation};

fn parameter(place: &str, schema: Value, more: Value) -> Value {
    let mut parameter = json!({"name": "q", "in": place, "required": true, "schema": schema});
    parameter.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    let answers = json!({"200": {"description": "ok"}});
    let item = json!({"get": {"parameters": [parameter], "responses": answers}});
    let path = if place == "path" { "/pets/{q}" } else { "/pets" };
    json!({"openapi": "3.0.3", "info": {}, "paths": {path: item}})
}

fn query(schema: Value) -> Value {
    parameter("query", schema, json!({}))
}

fn form(media_type: &str, property: Value, encoding: Option<Value>) -> Value {
    let mut content = json!({"schema": {"type": "object", "properties": {"a": property}}});
    if let Some(encoding) = encoding {
        content["encoding"] = json!({"a": encoding});
    }
    with_operation(&json!({"requestBody": {"content": {media_type: content}}, "responses": {}}))
}

#[test]
fn a_text_of_a_query_is_what_it_may_be_read_as() {
    let words = query(json!({"type": "string", "enum": ["true", "false"]}));
    let boolean = query(json!({"type": "boolean"}));
    for (old, new) in [(&words, &boolean), (&boolean, &words)] {
        assert_eq!(diff(old, new).verdict, Verdict::Compatible, "`?q=true` is the same text");
    }
    let more = query(json!({"type": "string", "enum": ["true", "false", "auto"]}));
    assert!(diff(&boolean, &more).may_deploy);
    let refused = diff(&more, &boolean);
    assert_found(&refused, Verdict::Breaking, "request-type-narrowed");
    assert_eq!(refused.changes[0].witness.as_ref().expect("shown")["value"], "auto");
}

#[test]
fn a_number_is_no_witness_against_a_reader_of_numbers() {
    let digits = query(json!({"type": "string", "pattern": "^[0-9]+$"}));
    let report = diff(&digits, &query(json!({"type": "integer"})));
    assert_eq!(report.verdict, Verdict::NotChecked, "`?q=0` is taken: {report:#?}");
    let free = diff(&query(json!({"type": "string"})), &query(json!({"type": "integer"})));
    assert_found(&free, Verdict::Breaking, "request-type-narrowed");
    assert_eq!(free.changes[0].witness.as_ref().expect("shown")["value"], "a");
}

#[test]
fn a_form_holds_text() {
    let of = |kind: &str| form("application/x-www-form-urlencoded", json!({"type": kind}), None);
    assert!(diff(&of("integer"), &of("string")).may_deploy, "every number is a text in a form");
    assert_found(&diff(&of("string"), &of("integer")), Verdict::Breaking, "request-type-narrowed");
    let json = |kind: &str| form("application/json", json!({"type": kind}), None);
    assert_found(&diff(&json("integer"), &json("string")), Verdict::Breaking, "request-type-narrowed");
    let nested = |kind: &str| {
        let inner = json!({"type": "object", "properties": {"b": {"type": kind}}});
        form("application/x-www-form-urlencoded", inner, None)
    };
    let report = diff(&nested("integer"), &nested("string"));
    assert_eq!(report.verdict, Verdict::Breaking, "an object in a form is JSON: {report:#?}");
}

#[test]
fn a_list_that_is_written_simply_is_the_same_exploded_or_not() {
    let list = json!({"type": "array", "items": {"type": "string"}});
    let of = |schema: &Value, explode: bool| parameter("path", schema.clone(), json!({"explode": explode}));
    let report = diff(&of(&list, false), &of(&list, true));
    assert_eq!((report.verdict, ids(&report)), (Verdict::Compatible, Vec::new()));
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let report = diff(&of(&object, false), &of(&object, true));
    assert_found(&report, Verdict::Breaking, "request-parameter-style-changed");
}

#[test]
fn a_part_may_have_one_more_type_where_it_is_read() {
    let text = json!({"type": "string"});
    let of = |types: &str| form("multipart/form-data", text.clone(), Some(json!({"contentType": types})));
    let (few, many) = (of("text/plain"), of("text/plain, image/png"));
    assert_eq!(diff(&few, &many).verdict, Verdict::Compatible);
    assert_found(&diff(&many, &few), Verdict::Breaking, "request-encoding-changed");
    assert_eq!(diff(&of("image/png"), &of("image/*")).verdict, Verdict::Compatible);
    assert!(!diff(&few, &many).may_roll_back);
}

#[test]
fn an_encoding_says_nothing_of_a_body_without_parts() {
    let of = |encoding: Option<Value>| form("application/json", json!({"type": "string"}), encoding);
    let report = diff(&of(None), &of(Some(json!({"contentType": "image/png"}))));
    assert_eq!((report.verdict, ids(&report)), (Verdict::Compatible, Vec::new()));
}

#[test]
fn a_header_that_shall_be_ignored_is() {
    let of = |headers: Value| {
        with_operation(&json!({"responses": {"200": {"description": "ok", "headers": headers}}}))
    };
    let header = json!({"required": true, "schema": {"type": "string"}});
    let report = diff(&of(json!({"Content-Type": header})), &of(json!({})));
    assert_eq!((report.verdict, ids(&report)), (Verdict::Compatible, Vec::new()));
    let report = diff(&of(json!({"Content-Language": header})), &of(json!({})));
    assert_found(&report, Verdict::Breaking, "required-response-header-removed");
}

/// A contract whose whole, path and operation may name a server each.
fn served(whole: Option<&str>, path: Option<&str>, operation: Option<&str>) -> Value {
    let list = |url: &str| json!([{"url": format!("https://a.example{url}")}]);
    let mut document =
        json!({"openapi": "3.1.0", "info": {}, "paths": {"/pets": {"get": {"responses": {}}}}});
    for (pointer, url) in [("", whole), ("/paths/~1pets", path), ("/paths/~1pets/get", operation)] {
        if let (Some(url), Some(owner)) = (url, document.pointer_mut(pointer)) {
            owner["servers"] = list(url);
        }
    }
    document
}

#[test]
fn the_server_in_force_is_the_nearest_one_and_its_path_counts() {
    let moved = [
        (served(Some("/v1"), None, Some("/up")), served(Some("/v1"), None, None)),
        (served(Some("/v1"), Some("/up"), None), served(Some("/v1"), None, None)),
        (served(Some("/v1"), Some("/v1"), Some("/up")), served(Some("/v1"), Some("/v1"), None)),
    ];
    for (old, new) in moved {
        assert_found(&diff(&old, &new), Verdict::Breaking, "base-path-changed");
        assert_found(&diff(&new, &old), Verdict::Breaking, "base-path-changed");
    }
    let written_out = diff(&served(Some("/v1"), None, None), &served(Some("/v1"), None, Some("/v1")));
    assert_eq!((written_out.verdict, ids(&written_out)), (Verdict::Compatible, Vec::new()));
}

#[test]
fn a_default_that_comes_counts_on_the_way_back_too() {
    let of = |schema: Value| {
        let limit = json!({"name": "limit", "in": "query", "schema": schema});
        with_operation(&json!({"parameters": [limit], "responses": {}}))
    };
    let (free, limited) = (of(json!({"type": "integer"})), of(json!({"type": "integer", "default": 20})));
    for (old, new) in [(&free, &limited), (&limited, &free)] {
        let report = diff(old, new);
        assert_found(&report, Verdict::Breaking, "request-parameter-default-changed");
        assert!(!report.may_roll_back, "those who leave it out are surprised again");
    }
    let values = |values: Value| {
        let list =
            json!({"name": "kind", "in": "query", "schema": {"type": "string", "x-extensible-enum": values}});
        with_operation(&json!({"parameters": [list], "responses": {}}))
    };
    let grown = diff(&values(json!(["a"])), &values(json!(["a", "b"])));
    assert_eq!((grown.may_deploy, grown.may_roll_back), (true, false));
}

fn answers(responses: Value) -> Value {
    json!({"openapi": "3.1.0", "info": {}, "paths": {"/pets": {"get": {"responses": responses}}}})
}

fn answer(kind: &str) -> Value {
    json!({"description": "d", "content": {"application/json": {"schema": {"type": kind}}}})
}

#[test]
fn an_answer_that_a_range_or_the_default_speaks_of_now_is_compared_with_it() {
    let own = answers(json!({"200": answer("string"), "404": answer("integer")}));
    for range in ["4XX", "default"] {
        let of = |kind: &str| answers(json!({"200": answer("string"), range: answer(kind)}));
        assert_found(&diff(&own, &of("string")), Verdict::Breaking, "response-type-widened");
        assert!(diff(&own, &of("integer")).may_deploy, "{range}");
        assert!(!diff(&of("string"), &own).may_roll_back, "{range}");
    }
}

#[test]
fn a_header_that_becomes_a_document_is_not_checked() {
    let of = |header: Value| answers(json!({"200": {"description": "d", "headers": {"X-Page": header}}}));
    let plain = of(json!({"schema": {"type": "string"}}));
    let document = of(json!({"content": {"application/json": {"schema": {"type": "string"}}}}));
    for report in [diff(&plain, &document), diff(&document, &plain)] {
        assert_eq!(report.verdict, Verdict::NotChecked, "a and \"a\" are not the same text: {report:#?}");
    }
}
