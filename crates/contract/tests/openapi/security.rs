//! How consumers get and send their credentials.

use lockstep_contract::{Report, Verdict};

use super::support::diff;

fn report(old: &str, new: &str) -> Report {
    let read = |text: &str| serde_json::from_str(text).expect("JSON");
    diff(&read(old), &read(new))
}

fn with_schemes(security: &str, schemes: &str) -> String {
    format!(
        r#"{{"openapi": "3.0.3", "info": {{}}, "paths": {{"/a": {{"get": {{"security": {security}, "responses": {{}}}}}}}}, "components": {{"securitySchemes": {schemes}}}}}"#
    )
}

/// An OAuth scheme with one flow.
fn oauth(flow: &str, more: &str) -> String {
    format!(
        r#"{{"o": {{"type": "oauth2", "flows": {{"{flow}": {{"tokenUrl": "https://a/t", "scopes": {{"read": "", "write": ""}}{more}}}}}}}}}"#
    )
}

#[test]
fn a_flow_that_goes_breaks_and_an_address_that_moves_is_not_checked() {
    let needs = r#"[{"o": ["read"]}]"#;
    let old = with_schemes(needs, &oauth("password", ""));
    let verdict = |schemes: &str| report(&old, &with_schemes(needs, schemes));
    let other = verdict(&oauth("clientCredentials", ""));
    assert!(other.changes.iter().any(|change| change.rule.id == "security-flow-removed" && change.breaks()));
    for (from, to) in [
        ("https://a/t", "https://b/t"),
        (r#""tokenUrl""#, r#""refreshUrl": "https://a/r", "tokenUrl""#),
        (r#""tokenUrl""#, r#""unheard": 1, "tokenUrl""#),
    ] {
        let moved = verdict(&oauth("password", "").replace(from, to));
        assert_eq!(moved.verdict, Verdict::NotChecked, "{to}: {moved:#?}");
        assert!(moved.not_checked[0].place.contains("securitySchemes"), "{moved:#?}");
    }
    let lost = verdict(&oauth("password", "").replace(r#""read": "", "#, ""));
    assert!(lost.changes.iter().any(|change| change.rule.id == "security-scope-removed" && change.breaks()));
    let unused = verdict(&oauth("password", "").replace(r#", "write": """#, ""));
    assert!(unused.may_deploy, "no operation needed it: {unused:#?}");
    let told = verdict(&oauth("password", "").replace(r#""read": """#, r#""read": "you may read""#));
    assert!(told.changes.is_empty() && told.may_deploy, "{told:#?}");
    let both = r#"{"o": {"type": "oauth2", "flows": {"implicit": {"authorizationUrl": "https://a", "scopes": {}}, "password": {"tokenUrl": "https://a/t", "scopes": {"read": "", "write": ""}}}}}"#;
    let more = verdict(both);
    assert!(more.may_deploy && !more.may_roll_back, "{more:#?}");
    let connect = |url: &str| {
        with_schemes(
            r#"[{"c": []}]"#,
            &format!(r#"{{"c": {{"type": "openIdConnect", "openIdConnectUrl": "{url}"}}}}"#),
        )
    };
    assert_eq!(report(&connect("https://a"), &connect("https://b")).verdict, Verdict::NotChecked);
}

#[test]
fn swagger_and_openapi_write_one_flow_in_two_ways() {
    let swagger = |url: &str| {
        format!(
            r#"{{"swagger": "2.0", "info": {{}}, "paths": {{"/a": {{"get": {{"security": [{{"o": ["read"]}}], "responses": {{}}}}}}}}, "securityDefinitions": {{"o": {{"type": "oauth2", "flow": "application", "tokenUrl": "{url}", "scopes": {{"read": "", "write": ""}}}}}}}}"#
        )
    };
    let new = with_schemes(r#"[{"o": ["read"]}]"#, &oauth("clientCredentials", ""));
    let same = report(&swagger("https://a/t"), &new);
    assert!(same.may_deploy && same.may_roll_back, "{same:#?}");
    assert_eq!(report(&swagger("https://b/t"), &new).verdict, Verdict::NotChecked);
    assert_eq!(report(&swagger("https://a/t"), &swagger("https://b/t")).verdict, Verdict::NotChecked);
}

#[test]
fn a_scheme_that_is_gone_and_still_named_is_not_checked_whatever_took_its_place() {
    let key = |name: &str| format!(r#"{{"{name}": {{"type": "apiKey", "in": "header", "name": "K"}}}}"#);
    let old = with_schemes(r#"[{"a": []}]"#, &key("a"));
    for schemes in ["{}", &key("b")] {
        let gone = report(&old, &with_schemes(r#"[{"a": []}]"#, schemes));
        assert_eq!(gone.verdict, Verdict::NotChecked, "{schemes}: {gone:#?}");
    }
    let renamed = report(&old, &with_schemes(r#"[{"b": []}]"#, &key("b")));
    assert!(renamed.may_deploy && renamed.may_roll_back, "{renamed:#?}");
}
