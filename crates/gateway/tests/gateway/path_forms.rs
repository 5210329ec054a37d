//! How an environment has paths sent on: routes see one form of them, whatever the spelling, and the service what was said.

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::request_path::{EscapedSlashes, PathForm, PathParameters};
use lockstep_domain::routes::{FORMAT_WITH_PATH_FORMS, Route, RouteTable};
use lockstep_gateway::Applied;
use serde_json::{Value, json};

use crate::support::{Instance, Message, Running, answer, as_instance, stable, table};

/// What attacks on rules about paths look like, after public lists of them.
const SPELLINGS: [&str; 44] = [
    "/admin",
    "/admin/",
    "/admin/x",
    "//admin",
    "///admin//",
    "/./admin",
    "/.//./admin",
    "/public/../admin",
    "/public//../admin",
    "/public/..//admin",
    "/public/./../admin/x",
    "/%61dmin",
    "/%61%64%6d%69%6e/x",
    "/%2e/admin",
    "/%2e%2e/admin",
    "/public/%2e%2e/admin",
    "/public/.%2e/admin",
    "/public/..;/admin",
    "/public/..;a=1/admin",
    "/public/..%3b/admin",
    "/public/..%2fadmin",
    "/public%2f..%2fadmin",
    "/public%2F..%2Fadmin/x",
    "/public/..%5cadmin",
    "/public%5c..%5cadmin",
    "/..\\admin",
    "/public\\..\\admin",
    "/%2fadmin",
    "/%5cadmin",
    "/admin%2fx",
    "/admin%5cx",
    "/admin%00",
    "/admin%00.png",
    "/admin;x",
    "/;/admin",
    "/;x/admin",
    "/admin%20",
    "/admin%09",
    "/admin/.",
    "/admin/x/..",
    "/%252e%252e/admin",
    "/public/%252e%252e%252fadmin",
    "/public/..%c0%afadmin",
    "/public/%c0%ae%c0%ae/admin",
];

/// Says the route that took it and the target that it saw.
fn echo() -> Instance {
    Instance::start(|request, stream| {
        let route = request.header("x-route").unwrap_or("none");
        answer(stream, 200, format!("{route} {}", request.target()).as_bytes())
    })
}

fn named(name: &str, mut rule: Value) -> Value {
    rule["service"] = json!("shop");
    rule["then"]["request_headers"] = json!({ "set": { "x-route": name } });
    rule
}

fn routes() -> Vec<Route> {
    let all = [
        named("admin", json!({ "path": "/admin" })),
        named("strip", json!({ "path": "/files", "prefix": "strip" })),
        named("rewrite", json!({ "path": "/old", "then": { "rewrite": { "path": "/new" } } })),
        named(
            "template",
            json!({ "path": "/t/{id}/{rest...}", "path_type": "template", "then": { "rewrite": { "path": "/v2/{id}/{rest...}" } } }),
        ),
        named("moved", json!({ "path": "/moved", "then": { "redirect": { "host": "new.test" } } })),
        named("rest", json!({})),
    ];
    all.map(|it| serde_json::from_value(it).unwrap()).into()
}

struct Shop {
    running: Running,
    echo: Instance,
    revision: u64,
}

impl Shop {
    fn open(path_form: PathForm, escaped_slashes: EscapedSlashes) -> Self {
        let mut shop = Self { running: Running::start(&[]), echo: echo(), revision: 1 };
        shop.says(path_form, escaped_slashes);
        shop
    }

    fn says(&mut self, path_form: PathForm, escaped_slashes: EscapedSlashes) {
        self.says_all(path_form, escaped_slashes, PathParameters::Keep);
    }

    fn says_all(
        &mut self,
        path_form: PathForm,
        escaped_slashes: EscapedSlashes,
        path_parameters: PathParameters,
    ) {
        self.revision += 1;
        let rules =
            Some(GatewayRules { path_form, escaped_slashes, path_parameters, ..GatewayRules::default() });
        let table = table(self.revision, &[stable(0, &[("one", self.echo.address)])]);
        let table = RouteTable { routes: routes(), rules, ..table }.in_its_format();
        let is_usual = path_form.is_normalized() && escaped_slashes.is_keep() && path_parameters.is_keep();
        assert_eq!(table.format < FORMAT_WITH_PATH_FORMS, is_usual);
        assert_eq!(self.running.gateway.apply(table).unwrap(), Applied::Now);
    }

    fn ask(&self, path: &str) -> Message {
        self.running.client().ask(format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap()
    }

    /// Returns what the instance saw, or the status and code of an answer of the gateway.
    fn told(&self, path: &str) -> String {
        let got = self.ask(path);
        if got.status() == 200 {
            return got.text();
        }
        let document: Value = serde_json::from_slice(&got.body).unwrap_or_default();
        let code = document["code"].as_str().or(got.header("location")).unwrap_or_default().to_owned();
        format!("{} {code}", got.status())
    }
}

#[test]
fn slashes_within_a_path_arrive_as_they_are_and_match_as_one() {
    let shop = Shop::open(PathForm::KeepSlashes, EscapedSlashes::Keep);
    for (path, told) in [
        ("/objects/a//b?x=//y", "rest /objects/a//b?x=//y"),
        ("/resize/http://a.test/b.png", "rest /resize/http://a.test/b.png"),
        ("/admin//x", "admin /admin//x"),
        ("//admin//x", "admin /admin//x"),
        ("//evil.test/x", "rest /evil.test/x"),
        ("/files//a//b", "strip /a//b"),
        ("/files///", "strip /"),
        ("/files", "strip /"),
        ("/old/a//b", "rewrite /new/a//b"),
        ("/old//a", "rewrite /new//a"),
        ("/t//7//a//b/", "template /v2/7//a//b/"),
        ("/moved/a//b?q", "302 http://new.test/moved/a//b?q"),
        ("/public//../admin", "400 bad_path"),
        ("/%61dmin//%2e/x", "admin /admin//x"),
    ] {
        assert_eq!(shop.told(path), told, "{path}");
    }
    let call = |path: &str| shop.told(&as_instance(path));
    assert_eq!(call("/@shop/a//b"), "none /a//b");
    assert_eq!(call("//@shop//a//b"), "none /a//b");
    assert_eq!(call("//files//a"), "strip /a");
}

#[test]
fn a_path_arrives_as_it_was_sent_where_a_service_looks_at_each_byte() {
    let shop = Shop::open(PathForm::AsSent, EscapedSlashes::Keep);
    for (path, told) in [
        ("/%7euser/a%2fb//c", "rest /%7euser/a%2fb//c"),
        ("/%61dmin/%78", "admin /%61dmin/%78"),
        ("/%66iles/%7e", "strip /%7e"),
        ("/old/%7e", "rewrite /new/%7e"),
        ("/a/../admin", "400 bad_path"),
        ("/%2e/admin", "400 bad_path"),
        ("/admin\\x", "400 bad_path"),
    ] {
        assert_eq!(shop.told(path), told, "{path}");
    }
    assert_eq!(shop.told(&as_instance("/@shop/%7e//x")), "none /%7e//x");
}

#[test]
fn encoded_slashes_become_what_the_environment_says() {
    let mut shop = Shop::open(PathForm::Normalized, EscapedSlashes::Refuse);
    assert_eq!(
        (shop.told("/admin%2fx").as_str(), shop.told("/a%5Cb").as_str()),
        ("400 bad_path", "400 bad_path")
    );
    assert_eq!(shop.told("/a%252fb?c=%2f"), "rest /a%252fb?c=%2f");
    shop.says(PathForm::Normalized, EscapedSlashes::Decode);
    assert_eq!(shop.told("/admin%2fx?c=%2f"), "admin /admin/x?c=%2f");
    assert_eq!(shop.told("/public%2f..%5cadmin"), "admin /admin");
    shop.says(PathForm::KeepSlashes, EscapedSlashes::Redirect);
    assert_eq!(shop.told("/admin%2f%2fx?c=%2f"), "307 /admin//x?c=%2f");
    assert_eq!(shop.told("/%2f%2fevil.test%2f"), "307 /evil.test/");
    assert_eq!(shop.told("/admin//x"), "admin /admin//x");
    let call = shop.told(&as_instance("/@shop/a%2fb"));
    assert_eq!(call, "none /a/b", "an instance follows nothing");
    shop.says(PathForm::Normalized, EscapedSlashes::Keep);
    assert_eq!(shop.told("/admin%2fx"), "rest /admin%2Fx", "as the setting says of itself");
    assert_eq!(shop.told("/admin;x"), "rest /admin;x");
    shop.says_all(PathForm::Normalized, EscapedSlashes::Keep, PathParameters::Refuse);
    assert_eq!(
        (shop.told("/admin;x").as_str(), shop.told("/a%3bx").as_str()),
        ("400 bad_path", "400 bad_path")
    );
    assert_eq!(shop.told("/a?b;c"), "rest /a?b;c");
}

/// Reads a path as the most obliging services do: decodes it once, takes backslashes for slashes and parameters off, resolves dots, with slashes merged
/// first or not.
fn obliging(path: &str, merges: bool) -> String {
    let mut decoded = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = rest.get(1..3).filter(|_| *first == b'%').and_then(|it| std::str::from_utf8(it).ok());
        let byte = escape.and_then(|it| u8::from_str_radix(it, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &rest[3..] } else { after };
    }
    let text = String::from_utf8_lossy(&decoded).replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/').skip(1).map(|part| part.split(';').next().unwrap()) {
        match part {
            "." => {}
            "" if merges => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let merged: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("/{}", merged.join("/"))
}

#[test]
fn no_spelling_that_a_service_takes_for_admin_passes_its_route_but_where_the_setting_says_so() {
    let mut shop = Shop::open(PathForm::Normalized, EscapedSlashes::Refuse);
    let forms = [PathForm::Normalized, PathForm::KeepSlashes, PathForm::AsSent];
    let slashes =
        [EscapedSlashes::Keep, EscapedSlashes::Refuse, EscapedSlashes::Decode, EscapedSlashes::Redirect];
    let all = forms.into_iter().flat_map(|form| slashes.map(|slash| (form, slash)));
    let all = all.filter(|all| *all != (PathForm::AsSent, EscapedSlashes::Decode));
    let all = all.flat_map(|all| [PathParameters::Keep, PathParameters::Refuse].map(|it| (all, it)));
    for ((form, slash), parameters) in all {
        shop.says_all(form, slash, parameters);
        for path in SPELLINGS {
            let told = shop.told(path);
            let Some((route, target)) =
                told.split_once(' ').filter(|(route, _)| route.parse::<u16>().is_err())
            else {
                continue;
            };
            for merges in [true, false] {
                let seen = obliging(target, merges);
                let is_admin = seen == "/admin" || seen.starts_with("/admin/");
                let is_said = slash == EscapedSlashes::Keep
                    && ["%2f", "%5c"].iter().any(|it| path.contains(it))
                    || parameters == PathParameters::Keep && path.contains(';');
                assert!(
                    !is_admin || route == "admin" || is_said,
                    "{form} {slash} {parameters} {path}: {told}"
                );
            }
        }
    }
}
