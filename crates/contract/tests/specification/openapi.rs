//! The objects of Swagger and OpenAPI.

use lockstep_contract::Kind;
use lockstep_contract::specification::{Field, Treatment, all};
use serde_json::{Value, json};

use super::walk::{assert_open, assert_treated, both_ways};

/// A document of OpenAPI with one of everything.
fn openapi() -> Value {
    let text = json!({"type": "string"});
    json!({
        "openapi": "3.2.0",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": "https://{place}.example.com", "variables": {"place": {"default": "a"}}}],
        "security": [{"key": []}],
        "paths": {"/pets": {"post": {
            "parameters": [{"name": "limit", "in": "query", "schema": {"$ref": "#/components/schemas/Limit"}}],
            "requestBody": {"content": {
                "application/json": {"schema": text},
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"file": text}},
                    "encoding": {"file": {}},
                },
            }},
            "responses": {"200": {
                "description": "ok",
                "headers": {"X-Rate": {"schema": text}},
                "content": {"application/json": {"schema": text}},
                "links": {"next": {}},
            }},
        }}},
        "components": {
            "schemas": {"Limit": {"type": "array", "items": {"type": "string"}}},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "Key"},
                "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "https://a", "scopes": {}}}},
            },
        },
    })
}

/// A document of Swagger with one of everything.
fn swagger() -> Value {
    json!({
        "swagger": "2.0",
        "info": {"title": "t", "version": "1"},
        "host": "example.com",
        "basePath": "/v1",
        "schemes": ["https"],
        "security": [{"key": []}],
        "securityDefinitions": {"key": {"type": "oauth2", "flow": "implicit", "authorizationUrl": "https://a", "scopes": {}}},
        "definitions": {"Pet": {"type": "string"}},
        "paths": {"/pets": {"post": {
            "parameters": [
                {"name": "limit", "in": "query", "type": "array", "items": {"type": "string"}},
                {"name": "pet", "in": "body", "schema": {"$ref": "#/definitions/Pet"}},
            ],
            "responses": {"200": {
                "description": "ok",
                "schema": {"type": "string"},
                "headers": {"X-Rate": {"type": "array", "items": {"type": "string"}}},
            }},
        }}},
    })
}

/// Where an object stands in the documents.
fn place(object: &str) -> &'static str {
    match object {
        "OpenAPI" => "",
        "Path Item" => "/paths/~1pets",
        "Operation" => "/paths/~1pets/post",
        "Parameter" => "/paths/~1pets/post/parameters/0",
        "Request Body" => "/paths/~1pets/post/requestBody",
        "Media Type" => "/paths/~1pets/post/requestBody/content/application~1json",
        "Encoding" => "/paths/~1pets/post/requestBody/content/multipart~1form-data/encoding/file",
        "Response" => "/paths/~1pets/post/responses/200",
        "Header" => "/paths/~1pets/post/responses/200/headers/X-Rate",
        "Link" => "/paths/~1pets/post/responses/200/links/next",
        "Security Scheme" => "/components/securitySchemes/key",
        "OAuth Flows" => "/components/securitySchemes/oauth/flows",
        "OAuth Flow" => "/components/securitySchemes/oauth/flows/clientCredentials",
        "Server" => "/servers/0",
        "Server Variable" => "/servers/0/variables/place",
        other => panic!("`{other}` stands nowhere"),
    }
}

/// The document for a field, and where its object is.
fn document(field: &Field) -> (Value, String) {
    let is_old = field.versions == "2.0";
    let place = match field.name {
        "encoding" if field.object == "Media Type" => {
            "/paths/~1pets/post/requestBody/content/multipart~1form-data"
        }
        _ => place(field.object),
    };
    match is_old {
        true => (swagger(), place.replace("/components/securitySchemes", "/securityDefinitions")),
        false => (openapi(), place.to_owned()),
    }
}

fn with(document: &Value, place: &str, name: &str, value: Option<Value>) -> Value {
    let mut document = document.clone();
    let object =
        document.pointer_mut(place).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("{place}"));
    match value {
        Some(value) => drop(object.insert(name.to_owned(), value)),
        None => drop(object.remove(name)),
    }
    document
}

/// Two values of a field that is compared; nothing stands for leaving it out.
fn values(field: &Field) -> (Option<Value>, Option<Value>) {
    let some = |one: Value, other: Value| (Some(one), Some(other));
    let added = |value: Value| (None, Some(value));
    let answer = json!({"responses": {"200": {"description": "ok"}}});
    let body = |kind: &str| json!({"application/json": {"schema": {"type": kind}}});
    match (field.object, field.name) {
        ("OpenAPI", "host") => some(json!("a"), json!("b")),
        ("OpenAPI", "basePath") => some(json!("/a"), json!("/b")),
        ("OpenAPI" | "Operation", "schemes") => some(json!(["https"]), json!(["http"])),
        ("OpenAPI" | "Operation", "consumes" | "produces") => {
            some(json!(["application/json"]), json!(["application/xml"]))
        }
        ("OpenAPI", "definitions") => {
            some(json!({"Pet": {"type": "string"}}), json!({"Pet": {"type": "integer"}}))
        }
        ("OpenAPI", "parameters" | "responses") => unreachable!("told by `shared`"),
        ("OpenAPI", "securityDefinitions") => some(
            json!({"key": {"type": "basic"}}),
            json!({"key": {"type": "apiKey", "in": "query", "name": "k"}}),
        ),
        ("OpenAPI" | "Path Item" | "Operation", "servers") => {
            some(json!([{"url": "https://a"}]), json!([{"url": "https://b"}]))
        }
        ("OpenAPI", "components") => some(
            json!({"schemas": {"Limit": {"type": ["integer", "boolean"]}}}),
            json!({"schemas": {"Limit": {"type": "boolean"}}}),
        ),
        ("OpenAPI", "webhooks") => some(json!({"paid": {"post": answer}}), json!({})),
        ("OpenAPI", "paths") => some(json!({"/a": {"get": answer}}), json!({})),
        ("OpenAPI" | "Operation", "security") => some(json!([]), json!([{"key": []}])),
        ("Path Item", "$ref") => unreachable!("told by `shared`"),
        ("Path Item" | "Operation", "parameters") => {
            let parameter =
                |name: &str| json!([{"name": name, "in": "query", "required": true, "schema": {}}]);
            some(json!([]), parameter("a"))
        }
        ("Path Item", "additionalOperations") => some(json!({"COPY": answer}), json!({})),
        ("Path Item", "post") => (Some(answer), None),
        ("Path Item", _) => (Some(answer), None),
        ("Operation", "tags") => some(json!(["a"]), json!(["b"])),
        ("Operation", "operationId") => some(json!("a"), json!("b")),
        ("Operation", "responses") => {
            some(json!({"200": {"description": "ok"}}), json!({"201": {"description": "ok"}}))
        }
        ("Operation", "deprecated") => added(json!(true)),
        ("Operation", "requestBody") => added(json!({"required": true, "content": body("string")})),
        ("Operation", "callbacks") => some(json!({"paid": {"{$url}": {"post": answer}}}), json!({})),
        ("Parameter", "name") => some(json!("limit"), json!("other")),
        ("Parameter", "in") => some(json!("query"), json!("header")),
        ("Parameter", "required") => added(json!(true)),
        ("Parameter", "schema") => some(json!({"type": "string"}), json!({"type": "integer"})),
        ("Parameter", "content") => some(body("string"), body("integer")),
        ("Parameter", "allowEmptyValue" | "allowReserved") => some(json!(true), json!(false)),
        ("Parameter" | "Encoding", "style") => some(json!("form"), json!("pipeDelimited")),
        ("Parameter" | "Encoding", "explode") => some(json!(true), json!(false)),
        ("Parameter", "collectionFormat") => added(json!("pipes")),
        ("Parameter" | "Header", "type") => some(json!("boolean"), json!("integer")),
        ("Parameter" | "Header", "items") => some(json!({"type": "boolean"}), json!({"type": "integer"})),
        ("Request Body", "required") => added(json!(true)),
        ("Request Body" | "Response", "content") => {
            some(json!({"application/json": {}}), json!({"text/csv": {}}))
        }
        ("Media Type", "schema") => some(json!({"type": "string"}), json!({"type": "integer"})),
        ("Media Type", "encoding") => added(json!({"file": {"contentType": "image/png"}})),
        ("Encoding", "contentType") => added(json!("image/png")),
        ("Encoding", "allowReserved") => added(json!(true)),
        ("Response", "schema") => some(json!({"type": "string"}), json!({"type": "integer"})),
        ("Response", "headers") => some(json!({"X-A": {"required": true, "schema": {}}}), json!({})),
        ("Response", "links") => some(json!({"next": {"operationId": "a"}}), json!({})),
        ("Header", "required") => some(json!(true), json!(false)),
        ("Header", "schema") => some(json!({"type": "string"}), json!({"type": "integer"})),
        ("Header", "content") => some(body("string"), body("integer")),
        ("Link", _) => some(json!("a"), json!("b")),
        ("Server", "url") => some(json!("https://a"), json!("https://b")),
        ("Server", "variables") => {
            some(json!({"place": {"default": "a"}}), json!({"place": {"default": "b"}}))
        }
        ("Server Variable", "default") => some(json!("a"), json!("b")),
        ("Server Variable", "enum") => some(json!(["a", "b"]), json!(["a"])),
        ("Security Scheme", "type") => some(json!("apiKey"), json!("http")),
        ("Security Scheme", "in") => some(json!("header"), json!("query")),
        ("Security Scheme" | "OAuth Flow", "scopes") => some(json!({"r": ""}), json!({"r": "", "w": ""})),
        ("Security Scheme", "flows") => some(json!({"implicit": {}}), json!({"password": {}})),
        ("OAuth Flows", _) => (Some(json!({"scopes": {}})), None),
        ("Security Scheme", _) => some(json!("a"), json!("b")),
        _ => keyword(field),
    }
}

/// Keywords that parameters and headers of Swagger have themselves.
fn keyword(field: &Field) -> (Option<Value>, Option<Value>) {
    let value = match field.name {
        "format" => json!("date"),
        "default" => json!("a"),
        "maximum" | "minimum" | "maxLength" | "minLength" | "maxItems" | "minItems" | "multipleOf" => {
            json!(3)
        }
        "exclusiveMaximum" | "exclusiveMinimum" | "uniqueItems" => json!(true),
        "pattern" => json!("^a"),
        "enum" => return (Some(json!(["a", "b"])), Some(json!(["a"]))),
        other => panic!("no pair for `{other}` of {}", field.object),
    };
    (None, Some(value))
}

/// The document in which a keyword of a parameter or header of Swagger demands something.
fn fitting(field: &Field, document: Value, place: &str) -> Value {
    if field.name == "content" && matches!(field.object, "Parameter" | "Header") {
        return with(&document, place, "schema", None);
    }
    let kind = match field.name {
        "maximum" | "minimum" | "exclusiveMaximum" | "exclusiveMinimum" | "multipleOf" => "integer",
        "format" | "maxLength" | "minLength" | "pattern" | "enum" | "default" => "string",
        _ => return document,
    };
    if field.versions != "2.0" || !matches!(field.object, "Parameter" | "Header") {
        return document;
    }
    let document = with(&document, place, "type", Some(json!(kind)));
    let document = with(&document, place, "items", None);
    match field.name.strip_prefix("exclusive") {
        Some("Maximum") => with(&document, place, "maximum", Some(json!(9))),
        Some(_) => with(&document, place, "minimum", Some(json!(1))),
        None => document,
    }
}

#[test]
fn every_field_ends_as_its_list_says() {
    for field in all().filter(|field| !matches!(field.object, "Schema")) {
        let is_reference = field.name == "$ref" && field.object != "Path Item";
        let shared = matches!(
            (field.object, field.name),
            ("OpenAPI", "parameters" | "responses") | ("Path Item", "$ref")
        );
        if is_reference || shared || !is_openapi(field) {
            continue;
        }
        let (document, place) = document(field);
        let document = fitting(field, document, &place);
        let (old, new) = match field.treatment {
            Treatment::Compared(_) => values(field),
            _ => (None, Some(json!("other"))),
        };
        let is_version = matches!(field.name, "openapi" | "swagger");
        if !is_version {
            let [old, new] = [old, new].map(|value| with(&document, &place, field.name, value));
            assert_treated(Kind::OpenApi, field, &old, &new);
        }
    }
}

fn is_openapi(field: &Field) -> bool {
    let versions = ["2.0", "3.0", "3.1", "3.2"];
    field.object != "Schema" && field.versions.split(' ').any(|version| versions.contains(&version))
}

#[test]
fn what_many_share_is_compared_where_it_is_used() {
    let mut document = swagger();
    document["parameters"] = json!({"limit": {"name": "limit", "in": "query", "type": "string"}});
    document["responses"] = json!({"ok": {"description": "ok", "schema": {"type": "string"}}});
    document["paths"]["/pets"]["post"]["parameters"][0] = json!({"$ref": "#/parameters/limit"});
    document["paths"]["/pets"]["post"]["responses"]["200"] = json!({"$ref": "#/responses/ok"});
    let parameter = with(&document, "/parameters/limit", "required", Some(json!(true)));
    assert!(!both_ways(Kind::OpenApi, &document, &parameter)[0].may_deploy);
    let response = with(&document, "/responses/ok/schema", "type", Some(json!("integer")));
    assert!(!both_ways(Kind::OpenApi, &document, &response)[0].may_deploy);
}

#[test]
fn a_field_that_stands_in_no_list_is_not_checked() {
    let objects: std::collections::BTreeSet<&str> =
        all().filter(|field| is_openapi(field)).map(|field| field.object).collect();
    for object in objects.into_iter().filter(|object| *object != "Link") {
        let place = place(object);
        let old = openapi();
        let new = with(&old, place, "unheard", Some(json!({"of": 1})));
        assert_open(&both_ways(Kind::OpenApi, &old, &new), "unheard");
        let other = with(&old, place, "unheard", Some(json!({"of": 2})));
        assert_open(&both_ways(Kind::OpenApi, &new, &other), "unheard");
        let extension = with(&old, place, "x-unheard", Some(json!({"of": 1})));
        assert!(
            both_ways(Kind::OpenApi, &old, &extension).iter().all(|report| report.may_deploy),
            "{object}"
        );
        assert!(
            both_ways(Kind::OpenApi, &new, &new)[0].may_deploy,
            "the same on both sides differs in nothing"
        );
    }
}

#[test]
fn a_reference_to_what_was_not_given_is_not_checked() {
    let referring = |place: &str, to: &str| {
        let mut document = openapi();
        *document.pointer_mut(place).expect("there") = json!({"$ref": to});
        document
    };
    for object in ["Path Item", "Parameter", "Request Body", "Media Type", "Response", "Header"] {
        let (old, new) = (referring(place(object), "a.yaml#/x"), referring(place(object), "b.yaml#/x"));
        for report in both_ways(Kind::OpenApi, &old, &new) {
            assert!(!report.may_deploy && !report.not_checked.is_empty(), "{object}: {report:#?}");
        }
        let same = both_ways(Kind::OpenApi, &old, &with(&old, "/info", "title", Some(json!("other"))));
        assert!(!same[0].may_deploy, "{object}: nobody knows whether `a.yaml` is the same");
        let of_the_world = referring(place(object), "https://example.com/x.yaml");
        let same = both_ways(
            Kind::OpenApi,
            &of_the_world,
            &with(&of_the_world, "/info", "title", Some(json!("other"))),
        );
        assert!(same[0].may_deploy, "{object}: {:#?}", same[0]);
    }
}

#[test]
fn a_version_that_is_not_known_is_not_checked() {
    let of = |version: &str| with(&openapi(), "", "openapi", Some(json!(version)));
    let changed = |version: &str| with(&of(version), "/info", "title", Some(json!("other")));
    assert_open(&both_ways(Kind::OpenApi, &of("3.3.0"), &changed("3.3.0")), "3.3.0");
    assert_open(&both_ways(Kind::OpenApi, &of("3.2.0"), &of("3.30.0")), "3.30.0");
    assert!(both_ways(Kind::OpenApi, &of("3.2.1"), &changed("3.2.0"))[0].may_deploy);
    assert!(both_ways(Kind::OpenApi, &of("3.3.0"), &of("3.3.0"))[0].may_deploy, "the same is the same");
}
