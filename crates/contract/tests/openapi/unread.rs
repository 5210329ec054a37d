//! What once passed as compatible because nobody read it, and what once alarmed without a reason.

use lockstep_contract::{Level, Report, Verdict};
use serde_json::{Value, json};

use super::support::{assert_found, diff, ids, with_answer, with_body, with_operation};

fn swagger(operation: Value, root: Value) -> Value {
    let mut document = json!({"swagger": "2.0", "info": {"title": "t", "version": "1"}, "paths": {"/pets": {"post": operation}}});
    document.as_object_mut().expect("object").extend(root.as_object().expect("object").clone());
    document
}

fn form(fields: Value) -> Value {
    swagger(json!({"parameters": fields, "responses": {"200": {"description": "ok"}}}), json!({}))
}

fn warnings(report: &Report) -> Vec<&'static str> {
    let told = report.changes.iter().filter(|change| change.level == Level::Warning);
    told.map(|change| change.rule.id).collect()
}

#[test]
fn fields_of_a_form_are_compared_like_the_properties_of_a_body() {
    let field = |required: bool, kind: &str| json!([{"name": "note", "in": "formData", "type": kind, "required": required}]);
    let old = form(field(false, "string"));
    let required = diff(&old, &form(field(true, "string")));
    assert_eq!(required.verdict, Verdict::Breaking, "{required:#?}");
    let narrowed = diff(&old, &form(field(false, "integer")));
    assert_found(&narrowed, Verdict::Breaking, "request-type-narrowed");
    assert!(narrowed.changes[0].witness.is_some(), "{narrowed:#?}");
    assert!(diff(&form(field(false, "integer")), &old).may_deploy, "every number is a text in a form");
    let another = form(json!([
        {"name": "note", "in": "formData", "type": "string"},
        {"name": "kind", "in": "formData", "type": "string", "required": true},
    ]));
    assert_eq!(diff(&old, &another).verdict, Verdict::Breaking);
    let file = form(json!([{"name": "note", "in": "formData", "type": "file"}]));
    assert_found(&diff(&old, &file), Verdict::Breaking, "request-media-type-removed");
}

#[test]
fn a_form_of_swagger_is_the_same_in_a_later_version() {
    let old = form(json!([{"name": "note", "in": "formData", "type": "string", "required": true}]));
    let new = |kind: &str| {
        let schema = json!({"type": "object", "required": ["note"], "properties": {"note": {"type": kind}}});
        with_operation(&json!({
            "requestBody": {"required": true, "content": {"application/x-www-form-urlencoded": {"schema": schema}}},
            "responses": {"200": {"description": "ok"}},
        }))
    };
    assert_eq!(ids(&diff(&old, &new("string"))), Vec::<&str>::new());
    assert_eq!(diff(&old, &new("integer")).verdict, Verdict::Breaking);
}

#[test]
fn media_types_that_operations_inherit_are_compared() {
    let of = |produces: &str| {
        swagger(
            json!({"responses": {"200": {"description": "ok", "schema": {"type": "string"}}}}),
            json!({"produces": [produces]}),
        )
    };
    let report = diff(&of("application/json"), &of("application/xml"));
    assert_found(&report, Verdict::Breaking, "response-media-type-removed");
    let body =
        json!({"parameters": [{"name": "b", "in": "body", "schema": {"type": "string"}}], "responses": {}});
    let of = |consumes: &str| swagger(body.clone(), json!({"consumes": [consumes]}));
    let report = diff(&of("application/json"), &of("application/xml"));
    assert_found(&report, Verdict::Breaking, "request-media-type-removed");
}

#[test]
fn a_body_that_a_path_gives_to_its_operations_is_compared() {
    let of = |kind: &str| {
        let mut document = swagger(json!({"responses": {}}), json!({}));
        document["paths"]["/pets"]["parameters"] =
            json!([{"name": "b", "in": "body", "schema": {"type": kind}}]);
        document
    };
    assert_found(&diff(&of("string"), &of("integer")), Verdict::Breaking, "request-type-narrowed");
}

#[test]
fn a_base_path_that_is_another_breaks_unless_it_moved_into_the_paths() {
    let answer = || json!({"responses": {"200": {"description": "ok"}}});
    let of = |base: &str, path: &str| {
        let server = json!([{"url": format!("https://a.example{base}")}]);
        json!({"openapi": "3.1.0", "info": {}, "servers": server, "paths": {path: {"get": answer()}}})
    };
    assert_found(&diff(&of("/v1", "/pets"), &of("/v2", "/pets")), Verdict::Breaking, "base-path-changed");
    let moved = diff(&of("/v1", "/pets"), &of("", "/v1/pets"));
    assert_eq!((ids(&moved), moved.may_roll_back), (Vec::new(), true));
    let moved_back = diff(&of("", "/v1/pets"), &of("/v1", "/pets"));
    assert_eq!(ids(&moved_back), Vec::<&str>::new());
    let one_is_lost = json!({"openapi": "3.1.0", "info": {}, "servers": [{"url": "https://a.example/v1"}], "paths": {"/pets": {"get": answer()}, "/cats": {"get": answer()}}});
    let report = diff(&one_is_lost, &of("", "/v1/pets"));
    assert_found(&report, Verdict::Breaking, "operation-removed");
    let swagger = |base: &str| json!({"swagger": "2.0", "info": {}, "host": "a.example", "basePath": base, "schemes": ["https"], "paths": {"/pets": {"get": answer()}}});
    assert_found(&diff(&swagger("/v1"), &swagger("/v2")), Verdict::Breaking, "base-path-changed");
    assert_eq!(
        ids(&diff(&swagger("/v1"), &of("/v1", "/pets"))),
        Vec::<&str>::new(),
        "the same address in a later version"
    );
}

#[test]
fn a_query_that_becomes_one_exploded_object_is_compared_by_what_is_sent() {
    let with = |parameters: Value| with_operation(&json!({"parameters": parameters, "responses": {}}));
    let old = with(json!([
        {"name": "page", "in": "query", "schema": {"type": "integer"}},
        {"name": "size", "in": "query", "schema": {"type": "integer"}},
    ]));
    let object = |size: Value| {
        let properties = json!({"page": {"type": "integer"}, "size": size});
        with(
            json!([{"name": "paging", "in": "query", "schema": {"type": "object", "properties": properties}}]),
        )
    };
    let same = diff(&old, &object(json!({"type": "integer"})));
    assert_eq!((same.verdict, ids(&same)), (Verdict::Compatible, Vec::new()));
    let narrowed = diff(&old, &object(json!({"type": "integer", "maximum": 10})));
    assert_found(&narrowed, Verdict::Breaking, "request-maximum-lowered");
    assert_eq!(narrowed.changes[0].witness.as_ref().expect("shown")["name"], "size");
    let parts = json!([{"type": "object", "properties": {"size": {"type": "integer", "maximum": 10}}}]);
    let made_of_others = with(json!([{"name": "paging", "in": "query", "schema": {"allOf": parts}}]));
    assert_eq!(diff(&old, &made_of_others).verdict, Verdict::NotChecked);
    assert_eq!(diff(&made_of_others, &old).verdict, Verdict::NotChecked);
}

#[test]
fn a_property_that_readers_are_sure_of_and_that_becomes_write_only_breaks() {
    let of = |property: Value| {
        with_answer(&json!({"type": "object", "required": ["a"], "properties": {"a": property}}))
    };
    let (plain, hidden) = (of(json!({"type": "string"})), of(json!({"type": "string", "writeOnly": true})));
    let report = diff(&plain, &hidden);
    assert_eq!(report.verdict, Verdict::Breaking, "{report:#?}");
    assert!(diff(&hidden, &plain).may_deploy);
    let body = |property: Value| {
        with_body(&json!({"type": "object", "required": ["a"], "properties": {"a": property}}))
    };
    let lifted = diff(&body(json!({"readOnly": true})), &body(json!({})));
    assert_eq!(lifted.verdict, Verdict::Breaking, "consumers never sent it: {lifted:#?}");
}

#[test]
fn the_name_of_a_schema_is_what_a_discriminator_without_a_mapping_sends() {
    let of = |name: &str, mapping: Value| {
        let cat = json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}});
        let variants =
            json!([{"$ref": format!("#/components/schemas/{name}")}, {"$ref": "#/components/schemas/Dog"}]);
        let mut document = with_answer(
            &json!({"oneOf": variants, "discriminator": {"propertyName": "k", "mapping": mapping}}),
        );
        document["components"] = json!({"schemas": {name: cat, "Dog": cat}});
        document
    };
    let none = json!({});
    assert_eq!(diff(&of("Cat", none.clone()), &of("Kitty", none)).verdict, Verdict::Breaking);
    let mapped = |name: &str| of(name, json!({"cat": format!("#/components/schemas/{name}")}));
    assert!(diff(&mapped("Cat"), &mapped("Kitty")).may_deploy, "the mapping says what is sent");
}

#[test]
fn names_of_elements_count_where_a_body_is_xml() {
    let of = |media_type: &str, name: &str| {
        with_operation(&json!({
            "requestBody": {"content": {media_type: {"schema": {"type": "object", "xml": {"name": name}, "properties": {"x": {"xml": {"attribute": false}}}}}}},
            "responses": {},
        }))
    };
    let report = diff(&of("application/xml", "a"), &of("application/xml", "b"));
    assert_found(&report, Verdict::Breaking, "request-xml-changed");
    assert_eq!(ids(&diff(&of("application/json", "a"), &of("application/json", "b"))), Vec::<&str>::new());
}

#[test]
fn an_encoding_that_appears_counts_unless_it_writes_the_default_out() {
    let of = |encoding: Value| {
        let schema = json!({"type": "object", "properties": {"f": {"type": "array", "items": {"type": "string"}}, "i": {"type": "string", "format": "binary"}}});
        with_operation(&json!({
            "requestBody": {"content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}},
            "responses": {},
        }))
    };
    let report = diff(&of(json!({})), &of(json!({"i": {"contentType": "image/png"}})));
    assert_found(&report, Verdict::Breaking, "request-encoding-changed");
    let written_out = diff(
        &of(json!({})),
        &of(json!({"i": {"contentType": "application/octet-stream"}, "f": {"contentType": "text/plain"}})),
    );
    assert_eq!(ids(&written_out), Vec::<&str>::new());
    let of_nothing = diff(&of(json!({})), &of(json!({"other": {"contentType": "image/png"}})));
    assert_eq!(ids(&of_nothing), Vec::<&str>::new());
}

#[test]
fn a_security_scheme_under_another_key_asks_for_the_same_credentials() {
    let of = |name: &str, header: &str| {
        json!({
            "openapi": "3.1.0", "info": {}, "security": [{name: []}],
            "paths": {"/pets": {"get": {"responses": {}}}},
            "components": {"securitySchemes": {name: {"type": "apiKey", "in": "header", "name": header}}},
        })
    };
    assert_eq!(ids(&diff(&of("key", "Key"), &of("api_key", "Key"))), Vec::<&str>::new());
    assert_eq!(diff(&of("key", "Key"), &of("api_key", "Other")).verdict, Verdict::Breaking);
}

#[test]
fn a_security_scheme_that_operations_name_and_nothing_defines_is_not_checked() {
    let of = |version: &str, name: &str, defined: bool, own: Value| {
        let mut document = json!({
            "openapi": version, "info": {}, "security": [{name: []}],
            "paths": {"/pets": {"get": {"responses": {}}}},
        });
        if !own.is_null() {
            document["paths"]["/pets"]["get"]["security"] = own;
        }
        if defined {
            let schemes = json!({name: {"type": "apiKey", "in": "header", "name": "Key"}});
            match version {
                "2.0" => document["securityDefinitions"] = schemes,
                _ => document["components"] = json!({"securitySchemes": schemes}),
            }
        }
        if version == "2.0" {
            document["swagger"] =
                document.as_object_mut().and_then(|map| map.remove("openapi")).unwrap_or_default();
        }
        document
    };
    for version in ["2.0", "3.0.0", "3.1.0", "3.2.0"] {
        let (here, gone) = (of(version, "key", true, Value::Null), of(version, "key", false, Value::Null));
        for (old, new) in [(&here, &gone), (&gone, &here)] {
            let report = diff(old, new);
            assert_eq!((report.verdict, report.may_roll_back), (Verdict::NotChecked, false), "{version}");
            assert!(report.not_checked[0].reason.contains("security scheme `key`"), "{version}");
        }
        assert_eq!(diff(&gone, &gone).verdict, Verdict::Compatible);
        // Nobody needs it.
        let (here, gone) = (of(version, "key", true, json!([])), of(version, "key", false, json!([])));
        assert_eq!(diff(&here, &gone).verdict, Verdict::Compatible, "{version}");
    }
}

#[test]
fn a_format_that_demands_nothing_is_told_and_no_more() {
    let text = |format: Value| with_body(&json!({"type": "object", "properties": {"n": format}}));
    let plain = text(json!({"type": "string"}));
    for format in ["markdown", "password", "slug"] {
        let report = diff(&plain, &text(json!({"type": "string", "format": format})));
        assert_eq!(
            (report.verdict, warnings(&report)),
            (Verdict::Compatible, vec!["request-format-hint-changed"])
        );
    }
    let whole = |format: &str| text(json!({"type": "integer", "format": format}));
    let report = diff(&text(json!({"type": "integer"})), &whole("int64"));
    assert_eq!(
        (report.verdict, warnings(&report)),
        (Verdict::Compatible, vec!["request-format-hint-changed"])
    );
    assert_eq!(diff(&text(json!({"type": "integer"})), &whole("int32")).verdict, Verdict::Breaking);
    assert_eq!(diff(&whole("int64"), &whole("int32")).verdict, Verdict::Breaking);
    assert_eq!(diff(&plain, &text(json!({"type": "string", "format": "uuid"}))).verdict, Verdict::Breaking);
}

#[test]
fn words_say_what_the_document_says() {
    let integer = diff(&with_body(&json!({"type": "integer"})), &with_body(&json!({"type": "string"})));
    assert!(
        integer.changes[0].message.contains("integer before, string now"),
        "{}",
        integer.changes[0].message
    );
    let nullable = |schema: Value| {
        let mut document = with_answer(&json!({"type": "object", "properties": {"x": schema}}));
        document["openapi"] = json!("3.0.3");
        document["components"] = json!({"schemas": {"X": {"type": "object"}}});
        document
    };
    let reference = json!({"$ref": "#/components/schemas/X"});
    let report =
        diff(&nullable(reference.clone()), &nullable(json!({"nullable": true, "allOf": [reference]})));
    assert_found(&report, Verdict::Compatible, "response-nullable-without-type");
    let variants = |list: Value| with_answer(&json!({"oneOf": list}));
    let cat = json!({"type": "object", "properties": {"cat": {}}});
    let dog = json!({"type": "object", "properties": {"dog": {}}, "required": ["dog"]});
    let bird = json!({"type": "object", "properties": {"bird": {}}, "required": ["bird"]});
    let report = diff(&variants(json!([cat, dog])), &variants(json!([cat, dog, bird])));
    let added =
        report.changes.iter().find(|change| change.rule.id == "response-variant-added").expect("found");
    assert!(added.message.contains("object with `bird`"), "{}", added.message);
    assert!(!added.message.contains("object before"), "{}", added.message);
}

#[test]
fn what_consumers_may_no_longer_answer_a_call_breaks() {
    let of = |media_type: &str| {
        let call =
            json!({"post": {"responses": {"200": {"description": "ok", "content": {media_type: {}}}}}});
        with_operation(&json!({"responses": {}, "callbacks": {"paid": {"{$request.body#/url}": call}}}))
    };
    let report = diff(&of("text/csv"), &of("application/json"));
    assert_found(&report, Verdict::Breaking, "webhook-answer-removed");
    let secured = |security: Value| {
        let call = json!({"post": {"security": security, "responses": {}}});
        with_operation(&json!({"responses": {}, "callbacks": {"paid": {"{$request.body#/url}": call}}}))
    };
    assert_eq!(diff(&secured(json!([])), &secured(json!([{"key": []}]))).verdict, Verdict::NotChecked);
}

#[test]
fn what_stands_beside_the_reference_of_a_path_is_not_checked() {
    let of = |beside: Value| {
        let mut item = json!({"$ref": "#/components/pathItems/a"});
        item.as_object_mut().expect("object").extend(beside.as_object().expect("object").clone());
        json!({"openapi": "3.1.0", "info": {}, "paths": {"/a": item}, "components": {"pathItems": {"a": {"get": {"responses": {}}}}}})
    };
    assert_eq!(diff(&of(json!({})), &of(json!({"post": {"responses": {}}}))).verdict, Verdict::NotChecked);
    assert_eq!(diff(&of(json!({})), &of(json!({"summary": "a"}))).verdict, Verdict::Compatible);
}

#[test]
fn names_that_look_like_annotations_are_names() {
    let dependent = |needed: &str| {
        let mut schema = json!({"type": "object", "properties": {"title": {}, "x": {}, "y": {}}});
        schema["dependencies"] = json!({"title": [needed]});
        with_body(&schema)
    };
    // Not of 3.1, so nobody knows; the tools of 3.0 read it.
    assert_eq!(diff(&dependent("x"), &dependent("y")).verdict, Verdict::NotChecked);
    let early = |needed: &str| {
        let mut document = dependent(needed);
        document["openapi"] = json!("3.0.3");
        document
    };
    assert_eq!(diff(&early("x"), &early("y")).verdict, Verdict::Breaking);
    // Inside of what nobody knows nothing is known to be a note.
    let unheard = |text: &str| with_body(&json!({"type": "string", "unheard": {"title": text, "x-a": text}}));
    assert_eq!(diff(&unheard("a"), &unheard("b")).verdict, Verdict::NotChecked);
    let message = |text: &str| with_operation(&json!({"unheard": {"description": text}, "responses": {}}));
    assert_eq!(diff(&message("a"), &message("b")).verdict, Verdict::NotChecked);
    let secured = |name: &str| with_operation(&json!({"security": [{name: []}], "responses": {}}));
    assert_eq!(diff(&secured("title"), &secured("description")).verdict, Verdict::Breaking);
}

/// An answer of a schema that others extend, told by a discriminator without variants of its own.
fn extended(heirs: Value) -> Value {
    let base = json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}, "discriminator": {"propertyName": "k"}});
    let mut document = with_answer(&json!({"$ref": "#/components/schemas/Pet"}));
    let mut schemas = json!({"Pet": base});
    for (name, own) in heirs.as_object().expect("object") {
        schemas[name] = json!({"allOf": [{"$ref": "#/components/schemas/Pet"}, own]});
    }
    document["components"] = json!({"schemas": schemas});
    document
}

#[test]
fn schemas_that_extend_one_with_a_discriminator_are_what_is_sent() {
    let cat = |kind: &str| json!({"Cat": {"type": "object", "required": ["m"], "properties": {"m": {"type": kind}}}});
    let report = diff(&extended(cat("integer")), &extended(cat("string")));
    assert_found(&report, Verdict::Breaking, "response-type-widened");
    assert_eq!(ids(&diff(&extended(cat("integer")), &extended(cat("integer")))), Vec::<&str>::new());
    let renamed = diff(&extended(json!({"Cat": {}})), &extended(json!({"Kitty": {}})));
    assert_found(&renamed, Verdict::Breaking, "response-variant-added");
    let mut base_changed = extended(cat("integer"));
    base_changed["components"]["schemas"]["Pet"]["properties"]["name"] = json!({"type": "string"});
    let report = diff(&extended(cat("integer")), &base_changed);
    assert_eq!((report.verdict, report.changes.len()), (Verdict::Compatible, 1), "told once: {report:#?}");
}

#[test]
fn what_is_refused_beside_schemas_is_shown() {
    let body = |required: bool| json!({"requestBody": {"required": required, "content": {"application/json": {}}}, "responses": {"200": {"description": "ok"}}});
    let with = |operation: Value| with_operation(&operation);
    let parameter = |required: bool| json!({"parameters": [{"name": "a", "in": "query", "required": required, "schema": {}}], "responses": {}});
    let typed = |media_type: &str| json!({"requestBody": {"content": {media_type: {}}}, "responses": {"200": {"description": "ok", "content": {media_type: {}}}}});
    let answer = |status: &str| json!({"responses": {status: {"description": "ok"}}});
    let pairs = [
        (body(false), body(true)),
        (json!({"responses": {"200": {"description": "ok"}}}), body(true)),
        (body(false), json!({"responses": {"200": {"description": "ok"}}})),
        (parameter(false), parameter(true)),
        (typed("text/csv"), typed("application/json")),
        (answer("200"), answer("201")),
    ];
    for (old, new) in pairs {
        let report = diff(&with(old.clone()), &with(new));
        assert_eq!(report.verdict, Verdict::Breaking);
        for change in report.changes.iter().filter(|change| change.level == Level::Error) {
            let shown = change.witness.as_ref().unwrap_or_else(|| panic!("{} of {old}", change.rule.id));
            assert_eq!((&shown["method"], &shown["path"]), (&json!("POST"), &json!("/pets")));
        }
    }
}

#[test]
fn text_that_is_encoded_is_other_text() {
    let body = |schema: Value| with_body(&json!({"type": "object", "properties": {"n": schema}}));
    let (plain, byte) = (body(json!({"type": "string"})), body(json!({"type": "string", "format": "byte"})));
    let binary = body(json!({"type": "string", "format": "binary"}));
    for (old, new) in [(&plain, &byte), (&byte, &plain), (&byte, &binary), (&binary, &byte)] {
        assert_eq!(diff(old, new).verdict, Verdict::Breaking);
    }
    let later = body(json!({"type": "string", "contentEncoding": "base64"}));
    assert_eq!(diff(&byte, &later).verdict, Verdict::Compatible, "the same in the words of a later version");
}

#[test]
fn a_keyword_of_another_version_is_not_checked() {
    let body = |schema: Value| with_body(&json!({"type": "object", "properties": {"n": schema}}));
    let nullable = body(json!({"type": "string", "nullable": true}));
    let report = diff(&body(json!({"type": "string"})), &nullable);
    assert_eq!(report.verdict, Verdict::NotChecked, "3.1 has no `nullable`: {report:#?}");
    assert!(diff(&nullable, &nullable).may_deploy);
}

#[test]
fn basic_authentication_is_the_same_in_a_later_version() {
    let answers = || json!({"/pets": {"get": {"responses": {"200": {"description": "ok"}}}}});
    let old = json!({"swagger": "2.0", "info": {}, "paths": answers(), "security": [{"k": []}],
        "securityDefinitions": {"k": {"type": "basic"}}});
    let of = |scheme: &str| {
        json!({"openapi": "3.0.3", "info": {}, "paths": answers(), "security": [{"k": []}],
            "components": {"securitySchemes": {"k": {"type": "http", "scheme": scheme}}}})
    };
    for (one, other) in [(&old, &of("basic")), (&of("basic"), &old)] {
        assert_eq!(diff(one, other).verdict, Verdict::Compatible);
    }
    assert_found(&diff(&old, &of("bearer")), Verdict::Breaking, "security-scheme-changed");
}
