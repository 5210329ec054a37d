use proptest::prelude::*;

use super::*;
use crate::table::parse_table;

/// A configuration with one cluster `a` at an address, and these routes.
fn with(routes: &str) -> String {
    let indented: String = routes.lines().map(|line| format!("              {line}\n")).collect();
    format!(
        "static_resources:\n  listeners:\n  - name: main\n    address: {{ socket_address: {{ address: 0.0.0.0, port_value: 8080 }} }}\n    filter_chains:\n    - filters:\n      - name: http\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: in\n          route_config:\n            virtual_hosts:\n            - name: all\n              domains: [\"*\"]\n              routes:\n{indented}          http_filters:\n          - name: envoy.filters.http.router\n  clusters:\n  - name: a\n    type: strict_dns\n    load_assignment:\n      cluster_name: a\n      endpoints:\n      - lb_endpoints:\n        - endpoint: {{ address: {{ socket_address: {{ address: a.test, port_value: 80 }} }} }}\n  - name: b\n    load_assignment:\n      endpoints:\n      - locality: {{ zone: eu-1a }}\n        lb_endpoints:\n        - endpoint: {{ address: {{ socket_address: {{ address: 10.0.0.1, port_value: 80 }} }} }}\n"
    )
}

fn read(routes: &str) -> Imported {
    import(&with(routes), "production", None).unwrap()
}

/// The routes of the table, in the order in which they are asked.
fn asked(imported: &Imported) -> Vec<String> {
    let table =
        parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
    table.prepared().routes.iter().map(|route| format!("{} {}", route.rule, route.service)).collect()
}

fn left(imported: &Imported) -> Vec<String> {
    imported.left.iter().map(|it| format!("{}: {}", it.place, it.why)).collect()
}

#[test]
fn the_first_route_that_takes_a_request_has_it_here_too() {
    let imported = read(
        "- { match: { prefix: \"/\", headers: [{ name: x-b, string_match: { exact: \"1\" } }] }, route: { cluster: b } }\n\
         - { match: { path_separated_prefix: /api }, route: { cluster: a } }\n\
         - { match: { prefix: \"/\" }, route: { cluster: b } }\n\
         - { match: { path: /never }, route: { cluster: a } }",
    );
    let expected = ["*/api header x-b=1 b", "*/api a", "*/ header x-b=1 b", "*/ b"];
    assert_eq!(asked(&imported), expected, "{}", imported.toml);
    assert!(
        left(&imported)
            .iter()
            .any(|it| it.contains("routes[3]: not taken over: ") && it.contains("takes all its requests")),
        "{:#?}",
        left(&imported)
    );
}

#[test]
fn what_is_said_of_slashes_is_taken_over() {
    let routes = "- { match: { prefix: \"/\" }, route: { cluster: a } }";
    let reading = |more: &str| {
        let text = with(routes).replace("stat_prefix: in\n", &format!("stat_prefix: in\n{more}"));
        let imported = import(&text, "production", None).unwrap();
        let reading = parse_table(&imported.toml, "t").unwrap().table.rules().path_reading();
        (reading.form.to_string(), reading.escaped_slashes.to_string())
    };
    let pair = |form: &str, slashes: &str| (form.to_owned(), slashes.to_owned());
    assert_eq!(reading(""), pair("normalized", "keep"));
    let both = "          merge_slashes: false\n          path_with_escaped_slashes_action: REJECT_REQUEST\n";
    assert_eq!(reading(both), pair("keep-slashes", "refuse"));
    for (action, word) in [
        ("KEEP_UNCHANGED", "keep"),
        ("UNESCAPE_AND_FORWARD", "decode"),
        ("UNESCAPE_AND_REDIRECT", "redirect"),
    ] {
        let more =
            format!("          merge_slashes: true\n          path_with_escaped_slashes_action: {action}\n");
        assert_eq!(reading(&more), pair("normalized", word));
    }
}

#[test]
fn prefixes_with_a_slash_take_what_is_below_and_templates_are_made_of_expressions() {
    let imported = read(
        "- { match: { prefix: /v1/ }, route: { cluster: a, prefix_rewrite: /v2/ } }\n\
         - { match: { safe_regex: { regex: \"/orders/[^/]+/items\" } }, route: { cluster: b } }\n\
         - { match: { safe_regex: { regex: \"/files/.*\" } }, route: { cluster: b } }\n\
         - { match: { safe_regex: { regex: \"/(a|b)\" } }, route: { cluster: b } }\n\
         - { match: { prefix: /x }, route: { cluster: b } }",
    );
    let found = asked(&imported);
    for expected in ["*/v1/{rest...} a", "*/orders/{part1}/items b", "*/files/{rest...} b"] {
        assert!(found.iter().any(|it| it == expected), "{expected}: {found:#?}");
    }
    assert!(imported.toml.contains("path = \"/v2/{rest...}\""), "{}", imported.toml);
    let left = left(&imported);
    assert!(
        left.iter().any(|it| it.contains("routes[3].match.safe_regex") && it.contains("is not taken over")),
        "{left:#?}"
    );
    assert!(left.iter().any(|it| it.contains("/xx is not taken")), "{left:#?}");
}

#[test]
fn clusters_become_services_with_what_envoy_does_where_nothing_is_said() {
    let imported = read(
        "- { match: { prefix: \"/\" }, route: { weighted_clusters: { clusters: [{ name: a, weight: 2 }, { name: b, weight: 1 }] }, retry_policy: { retry_on: \"5xx,reset\", num_retries: 7 } } }",
    );
    let table =
        parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
    let splits = &table.services.values().next().unwrap().splits;
    assert_eq!(splits.iter().map(|it| it.weight).collect::<Vec<_>>(), [6_667, 3_333]);
    assert_eq!(
        (splits[0].named[0].host.as_str(), splits[1].endpoints[0].zone.as_ref().unwrap().as_str()),
        ("a.test", "eu-1a")
    );
    assert_eq!(
        splits[0].policy.as_ref().unwrap().ejection.as_ref().unwrap().consecutive,
        0,
        "nobody is left alone"
    );
    let policy = table.routes[0].rule.policy.clone().unwrap();
    assert_eq!((policy.timeouts.request_ms, policy.timeouts.connect_ms), (Some(15_000), Some(5_000)));
    let retries = policy.retries.clone().unwrap();
    assert_eq!((retries.attempts, retries.on.len()), (3, 6));
}

#[test]
fn what_is_not_taken_over_is_named_by_its_place() {
    let text = with("- { match: { prefix: \"/\" }, route: { cluster: b, hash_policy: [{ cookie: { name: x } }] }, typed_per_filter_config: { x: {} } }\n- { match: { prefix: /y/, headers: [{ name: x, string_match: { exact: a }, invert_match: true }] }, route: { cluster: a } }\n- { match: { prefix: /z/ }, route: { cluster: nobody } }")
        .replace("          - name: envoy.filters.http.router\n", "          - name: envoy.filters.http.jwt_authn\n          - name: envoy.filters.http.router\n")
        + "    circuit_breakers: { thresholds: [{ max_connections: 1, max_requests: 5 }] }\n    upstream_bind_config: {}\nadmin: {}\n";
    let imported = import(&text, "production", None).unwrap();
    let left = left(&imported);
    for (place, why) in [
        ("http_filters[0]", "NOT taken over: requests pass without `envoy.filters.http.jwt_authn`"),
        ("routes[0].route.hash_policy", "affinity"),
        ("routes[0].typed_per_filter_config", "nothing like it"),
        ("routes[1].match.headers[0].invert_match", "cannot be asked for"),
        ("routes[2].route", "no cluster `nobody`"),
        ("clusters[1].circuit_breakers.thresholds[0].max_connections", "bound"),
        ("clusters[1].upstream_bind_config", "nothing like it"),
        ("admin", "--admin-address"),
    ] {
        assert!(
            left.iter().any(|it| it.split(": ").next().unwrap().ends_with(place) && it.contains(why)),
            "{place} {why}: {left:#?}"
        );
    }
    assert!(imported.toml.contains("max_requests = 5"), "{}", imported.toml);
}

#[test]
fn a_host_ends_where_its_routes_end() {
    let text = with("- { match: { prefix: \"/\" }, route: { cluster: a } }").replace(
        "            - name: all\n",
        "            - { name: one, domains: [shop.test, \"shop.test:80\"], routes: [{ match: { prefix: /api/ }, route: { cluster: b } }] }\n            - name: all\n",
    );
    let imported = import(&text, "production", None).unwrap();
    let expected = ["shop.test/api/{rest...}", "shop.test/ gateway", "*/ a"];
    for (found, expected) in asked(&imported).iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn what_is_no_configuration_is_said() {
    for (text, what) in [
        ("a: [", "not valid YAML"),
        ("dynamic_resources: {}", "no static_resources"),
        ("", "no static_resources"),
    ] {
        assert!(import(text, "e", None).unwrap_err().what.contains(what), "{text}");
    }
    let error = import(&with(""), "e", Some("other")).unwrap_err();
    assert!(error.what.contains("there are: main"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z{}\\[\\]\"\n :,/*%0-9-]{0,200}") {
        let _ = import(&text, "e", None);
        let _ = import(&with(&text), "e", None);
        let _ = import(&with(&format!("- {{ match: {{ prefix: \"{}\" }}, route: {{ cluster: a }} }}", text.replace(['"', '\n'], ""))), "e", None);
    }

    /// Whatever routes there are, the one that is asked here is the first that takes the request, or the pair is named.
    #[test]
    fn the_order_holds_for_any_routes(
        routes in prop::collection::vec((prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/", "/c"]), any::<bool>(), 0_u8..4, 0_u8..3, any::<bool>()), 1..7),
        asks in prop::collection::vec((prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/x", "/c", "/c/d", "/e"]), prop::option::of(0_u8..3), prop::option::of(0_u8..3), prop::sample::select(vec!["GET", "POST"])), 1..20),
    ) {
        let route = |(at, (path, exact, header, query, post)): (usize, &(&str, bool, u8, u8, bool))| {
            let kind = if *exact { "path" } else if path.ends_with('/') { "prefix" } else { "path_separated_prefix" };
            let mut headers = Vec::new();
            if *header < 3 { headers.push(format!("{{ name: x-a, string_match: {{ exact: \"{header}\" }} }}")); }
            if *post { headers.push("{ name: \":method\", string_match: { exact: POST } }".to_owned()); }
            let query = if *query < 2 { format!("query_parameters: [{{ name: q, string_match: {{ exact: \"{query}\" }} }}],") } else { String::new() };
            format!("- {{ match: {{ {query} headers: [{}], {kind}: \"{path}\" }}, direct_response: {{ status: {} }} }}", headers.join(", "), 200 + at)
        };
        let lines: Vec<String> = routes.iter().enumerate().map(route).collect();
        let imported = read(&lines.join("\n"));
        let table = parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table.prepared();
        for (path, header, query, method) in asks {
            let takes = |(route_path, exact, wants, wants_query, post): &(&str, bool, u8, u8, bool)| {
                let path_fits = if *exact { path == *route_path }
                    else if route_path.ends_with('/') { path.starts_with(route_path) }
                    else { path.strip_prefix(route_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) };
                path_fits && (*wants == 3 || header == Some(*wants)) && (*wants_query == 2 || query == Some(*wants_query)) && (!post || method == "POST")
            };
            let first = routes.iter().position(takes).map(|at| 200 + at);
            let matches = |rule: &lockstep_domain::routes::RouteRule| {
                let path_fits = match rule.path_type {
                    lockstep_domain::routes::PathType::Exact => rule.path == path,
                    lockstep_domain::routes::PathType::Prefix => rule.path == "/" || path.strip_prefix(rule.path.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                    lockstep_domain::routes::PathType::Template => path.starts_with(rule.path.strip_suffix("{rest...}").unwrap()),
                };
                let text = rule.to_string();
                let asks_for = |name: &str, value: Option<u8>| (0..3_u8).all(|it| !text.contains(&format!("{name}={it}")) || value == Some(it));
                path_fits && asks_for("x-a", header) && asks_for("q", query) && (rule.when.methods.is_empty() || rule.when.methods.contains(method))
            };
            let here = table.routes.iter().find(|it| matches(&it.rule));
            let here = here.map(|it| usize::from(it.rule.then.as_ref().unwrap().respond.as_ref().unwrap().status));
            let is_named = left(&imported).iter().any(|it| it.contains("take both"));
            prop_assert!(here == first || is_named, "{method} {path} {header:?} {query:?}: {here:?} and not {first:?}\n{}", imported.toml);
            prop_assert!(!is_named, "these can all be brought in order: {:#?}", left(&imported));
        }
    }
}

#[test]
fn what_envoy_writes_itself_before_it_looks_cannot_be_asked_for() {
    for name in ["x-forwarded-proto", "X-Request-Id", "x-envoy-internal", "x-forwarded-for", "forwarded"] {
        let imported = read(&format!(
            "- {{ match: {{ prefix: /a/, headers: [{{ name: {name}, string_match: {{ exact: https }} }}] }}, route: {{ cluster: b }} }}"
        ));
        let left = left(&imported);
        assert!(
            left.iter()
                .any(|it| it.contains("match.headers[0]") && it.contains("Envoy writes this field itself")),
            "{name}: {left:#?}"
        );
        assert!(!imported.toml.contains("/a/"), "{}", imported.toml);
    }
}

#[test]
fn a_redirect_keeps_the_port_that_it_names() {
    let imported = read(
        "- { match: { path: /a }, redirect: { https_redirect: true } }\n\
         - { match: { path: /b }, redirect: { host_redirect: \"Other.test:8443\" } }\n\
         - { match: { path: /c }, redirect: { port_redirect: 8443, https_redirect: true } }\n\
         - { match: { path: /d }, redirect: { host_redirect: \"other.test:x\" } }\n\
         - { match: { path: /e }, redirect: { scheme_redirect: ftp } }\n\
         - { match: { path: /f }, redirect: { port_redirect: many } }\n\
         - { match: { path: /g }, redirect: { host_redirect: \"[fd00::1]:81\" } }",
    );
    let found =
        parse_table(&imported.toml, "t").unwrap_or_else(|it| panic!("{it:#?}\n{}", imported.toml)).table;
    let to = |path: &str| {
        let route = found.routes.iter().find(|route| route.rule.path == path)?;
        let redirect = route.rule.then.clone()?.redirect.clone()?;
        redirect.location(
            &route.rule,
            (lockstep_domain::routes::actions::Scheme::Http, "s.test:8080"),
            (lockstep_domain::request_path::Spelled::alike(path), ""),
        )
    };
    assert_eq!(to("/b").as_deref(), Some("http://other.test:8443/b"));
    assert_eq!(to("/c").as_deref(), Some("https://s.test:8443/c"));
    assert!(["/d", "/e", "/f", "/g"].into_iter().all(|path| to(path).is_none()));
    let left = left(&imported);
    for (place, why) in [
        ("routes[0].redirect", "Envoy keeps another one"),
        ("routes[3].redirect.host_redirect", "is no host name"),
        ("routes[6].redirect.host_redirect", "is no host name"),
        ("routes[4].redirect.scheme_redirect", "http or https"),
        ("routes[5].redirect.port_redirect", "a number"),
    ] {
        assert!(left.iter().any(|it| it.contains(place) && it.contains(why)), "{place}: {left:#?}");
    }
}

#[test]
fn a_query_is_taken_over_where_it_means_the_same_decoded() {
    let query = |matcher: &str| {
        let imported = read(&format!(
            "- {{ match: {{ path: /a, query_parameters: [{{ name: v, string_match: {{ {matcher} }} }}] }}, route: {{ cluster: b }} }}"
        ));
        asked(&imported).len() == 1
    };
    for same in ["exact: one-1", "prefix: a.b", "safe_regex: { regex: \"[a-z]+\" }"] {
        assert!(query(same), "{same}");
    }
    for other in ["exact: a%20b", "exact: \"a b\"", "contains: a+b", "safe_regex: { regex: \"a%2[0]b\" }"] {
        assert!(!query(other), "{other}");
    }
}

#[test]
fn all_conditions_on_the_method_hold() {
    let methods = |conditions: &str| {
        let imported =
            read(&format!("- {{ match: {{ path: /a, headers: [{conditions}] }}, route: {{ cluster: b }} }}"));
        asked(&imported)
    };
    let of = |text: &str| format!("{{ name: \":method\", string_match: {{ {text} }} }}");
    let both =
        [of("safe_regex: { regex: \"GET|POST\" }"), of("safe_regex: { regex: \"POST|PUT\" }")].join(", ");
    assert_eq!(methods(&both), ["*/a exactly POST b".to_owned()]);
    let none = [of("exact: GET"), of("exact: POST")].join(", ");
    assert!(methods(&none).is_empty(), "it takes no request");
}

#[test]
fn what_has_another_shape_is_named_with_its_place() {
    let imported = read(
        "- { match: \"/a\", route: { cluster: b } }\n\
         - { match: { prefix: \"/\" }, route: { cluster: b, timeout: -1s, idle_timeout: soon, retry_policy: { num_retries: many, retry_on: reset } }, request_headers_to_add: x }\n\
         - { match: { prefix: [a] }, route: b }",
    );
    let left = left(&imported);
    for (place, why) in [
        ("routes[0].match", "a message with fields"),
        ("routes[1].route.timeout", "a time of 0 or more seconds"),
        ("routes[1].route.idle_timeout", "a time of 0 or more seconds"),
        ("routes[1].route.retry_policy.num_retries", "a number"),
        ("routes[1].request_headers_to_add", "a list"),
        ("routes[2].match.prefix", "a text"),
    ] {
        assert!(left.iter().any(|it| it.contains(place) && it.contains(why)), "{place}: {left:#?}");
    }
    let text = with("- { match: { prefix: \"/\" }, route: { cluster: b } }").replace(
        "load_assignment:\n      cluster_name: a",
        "connect_timeout: 5\n    load_assignment:\n      cluster_name: a",
    );
    let imported = import(&text, "production", None).unwrap();
    assert!(
        self::left(&imported).iter().any(|it| it.contains("connect_timeout") && it.contains("0.25s")),
        "{:#?}",
        imported.left
    );
    let no_map = import("static_resources: hello\n", "production", None);
    assert!(
        no_map.is_err_and(|it| !it.what.is_empty())
            || !import("static_resources: hello\n", "p", None).unwrap().left.is_empty()
    );
}

/// Lists of routes as those of large configurations: paths of their own, one prefix with many fields, and a condition before everything.
fn large(count: usize) -> [String; 3] {
    let list = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().join("\n");
    let own = list(&|at| format!("- {{ match: {{ prefix: \"/s{at}/\" }}, route: {{ cluster: b }} }}"));
    let fields = list(&|at| {
        format!(
            "- {{ match: {{ prefix: \"/\", headers: [{{ name: x-t, string_match: {{ exact: t{at} }} }}] }}, route: {{ cluster: b }} }}"
        )
    });
    let first = format!(
        "- {{ match: {{ prefix: \"/\", headers: [{{ name: x-t, string_match: {{ exact: a }} }}] }}, route: {{ cluster: a }} }}\n{own}"
    );
    [own, fields, first]
}

#[test]
fn twice_as_many_routes_are_looked_at_about_twice_as_often() {
    // Counted are pairs that are compared, not time.
    let compared = |count: usize| {
        large(count).map(|routes| {
            let before = order::compared();
            let _ = read(&routes);
            order::compared() - before
        })
    };
    let (small, twice) = (compared(300), compared(600));
    // What all have one path for is compared with each other.
    assert!(twice[0] <= 3 * small[0].max(600), "{small:?} {twice:?}");
    assert!(twice[2] <= 5 * small[2].max(600), "{small:?} {twice:?}");
}
