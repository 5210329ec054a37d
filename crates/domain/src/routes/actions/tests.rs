//! What takes the place of what, and what no route may say.

use proptest::prelude::*;

use super::*;

fn rule(path_type: PathType, path: &str) -> RouteRule {
    RouteRule { path: path.into(), path_type, ..RouteRule::default() }
}

#[test]
fn a_path_takes_the_place_of_what_was_matched() {
    use PathType::{Exact, Prefix, Template};
    let table = [
        (Prefix, "/old", "/new", "/old", "/new"),
        (Prefix, "/old", "/new", "/old/", "/new/"),
        (Prefix, "/old", "/new", "/old/a/b", "/new/a/b"),
        (Prefix, "/old", "/", "/old/a", "/a"),
        (Prefix, "/old", "/", "/old", "/"),
        (Prefix, "/", "/v1", "/a%2Fb", "/v1/a%2Fb"),
        (Prefix, "/", "/v1", "/", "/v1/"),
        (Exact, "/old", "/new/page", "/old", "/new/page"),
        (Template, "/o/{id}", "/v2/{id}/x", "/o/7", "/v2/7/x"),
        (Template, "/o/{id}/{rest...}", "/{rest...}", "/o/7/a/b", "/a/b"),
        (Template, "/o/{rest...}", "/p/{rest...}", "/o/", "/p/"),
        (Template, "/{rest...}", "/closed", "/any/thing", "/closed"),
    ];
    for (path_type, path, replacement, asked, expected) in table {
        let rule = rule(path_type, path);
        assert_eq!(check_path(replacement, &rule), Ok(()), "{replacement}");
        assert_eq!(
            replaced(&rule, replacement, Spelled::alike(asked)).as_deref(),
            Some(expected),
            "{path} {asked}"
        );
    }
    // A parameter of the last folder may not come to hide one in the middle.
    assert_eq!(replaced(&rule(Template, "/o/{id}"), "/{id}/x", Spelled::alike("/o/;a")), None);
}

#[test]
fn what_is_left_behind_what_was_matched_stays_as_it_is_sent_on() {
    use PathType::{Prefix, Template};
    let table = [
        (Prefix, "/old", "/new", ("/old/a/b", "/old/a//b"), "/new/a//b"),
        (Prefix, "/old", "/new", ("/old/a", "/old//a"), "/new//a"),
        (Prefix, "/old", "/", ("/old/a", "/old//a"), "/a"),
        (Prefix, "/old", "/new", ("/old/~", "/%6fld/%7e"), "/new/%7e"),
        (Template, "/o/{id}/{rest...}", "/p/{id}/{rest...}", ("/o/7/a/b", "/o//7/a//b"), "/p/7/a//b"),
        (Template, "/o/{rest...}", "/{rest...}", ("/o/a/b", "/o//a//b"), "/a//b"),
    ];
    for (path_type, path, replacement, (matched, sent), expected) in table {
        let asked = Spelled { matched, sent };
        assert_eq!(replaced(&rule(path_type, path), replacement, asked).as_deref(), Some(expected), "{sent}");
    }
    let redirect = Redirect { scheme: Some(Scheme::Https), host: None, port: None, path: None, status: 302 };
    let asked = Spelled { matched: "/a/b", sent: "/a//b" };
    let location = redirect.location(&rule(Prefix, "/a"), (Scheme::Http, "shop.test"), (asked, ""));
    assert_eq!(location.as_deref(), Some("https://shop.test/a//b"));
}

#[test]
fn a_redirect_says_only_what_is_needed() {
    let redirect = |change: &dyn Fn(&mut Redirect)| {
        let mut redirect = Redirect { scheme: None, host: None, port: None, path: None, status: 302 };
        change(&mut redirect);
        let asked = ((Scheme::Http, "shop.test:8080"), (Spelled::alike("/old/a"), "?q=1"));
        redirect.location(&rule(PathType::Prefix, "/old"), asked.0, asked.1).unwrap()
    };
    assert_eq!(redirect(&|it| it.path = Some("/new".into())), "/new/a?q=1");
    assert_eq!(redirect(&|it| it.scheme = Some(Scheme::Https)), "https://shop.test/old/a?q=1");
    assert_eq!(redirect(&|it| it.host = Some("www.shop.test".into())), "http://www.shop.test/old/a?q=1");
    assert_eq!(redirect(&|it| it.port = Some(81)), "http://shop.test:81/old/a?q=1");
}

#[test]
fn what_contradicts_itself_or_belongs_to_the_gateway_is_told() {
    let problems = |text: &str, rule: &RouteRule| {
        let actions: Actions = serde_json::from_str(text).unwrap();
        actions.problems(rule).len()
    };
    let template = rule(PathType::Template, "/o/{id}");
    for (count, text) in [
        (0, r#"{"redirect":{"scheme":"https","status":308}}"#),
        (1, r#"{"redirect":{}}"#),
        (1, r#"{"redirect":{"scheme":"https","status":200}}"#),
        (1, r#"{"redirect":{"host":"https://a.test"}}"#),
        (1, r#"{"redirect":{"path":"/{other}"}}"#),
        (1, r#"{"redirect":{"path":"/{id...}"}}"#),
        (2, r#"{"redirect":{"scheme":"https"},"respond":{"status":200},"rewrite":{"host":"a.test"}}"#),
        (1, r#"{"respond":{"status":101}}"#),
        (1, r#"{"respond":{"status":204,"body":"x"}}"#),
        (1, r#"{"respond":{"status":200,"content_type":"a\r\nb: c"}}"#),
        (1, r#"{"rewrite":{"host":"*.test"}}"#),
        (1, r#"{"request_headers":{"set":{"Transfer-Encoding":"chunked"}}}"#),
        (1, r#"{"request_headers":{"remove":["x_forwarded_for"]}}"#),
        (1, r#"{"response_headers":{"add":{"x-a":"b\nc"}}}"#),
        (1, r#"{"response_headers":{"set":{"content-length":"1"}}}"#),
        (0, r#"{"response_headers":{"set":{"strict-transport-security":"max-age=1"},"remove":["server"]}}"#),
        (1, r#"{"sticky_s":0}"#),
        (1, r#"{"cors":{"origins":[]}}"#),
    ] {
        assert_eq!(problems(text, &template), count, "{text}");
    }
    let stripping = RouteRule { prefix: PrefixHandling::Strip, ..rule(PathType::Prefix, "/o") };
    assert_eq!(problems(r#"{"rewrite":{"path":"/p"}}"#, &stripping), 1);
}

proptest! {
    #[test]
    fn what_is_put_in_place_is_in_its_form(path in "/o(/(a|b|%2F|;c|;|\\.a)){0,4}/?", end in "(/\\{r\\.\\.\\.\\}|)") {
        let rule = rule(PathType::Template, &format!("/o/{{x}}{end}"));
        for replacement in ["/{x}", "/{x}/y", "/n/{r...}", "/{r...}"] {
            if let Some(new) = replaced(&rule, replacement, Spelled::alike(&path)) {
                prop_assert!(new.starts_with('/') && !new.starts_with("//"));
                prop_assert_eq!(normalize_path(&new), Ok(new.as_str().into()));
            }
        }
    }
}
