//! The whole format, each kind of mistake with its message, and any text at all.

use lockstep_domain::contract::{SqlDialect, UnknownFields};
use lockstep_domain::image_run::ImageRun;
use lockstep_domain::job::When;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::routes::{Affinity, Patience, RouteRule};
use lockstep_domain::run::{HealthCheck, Kind, Port, Probe, Replace, Values};
use lockstep_domain::schedule::{Missed, Overlap, Schedule};
use lockstep_domain::static_files::StaticFiles;
use proptest::prelude::*;

use super::*;
use crate::MAX_PROBLEMS;
use crate::model::ContractOrigin;

mod prepare;
mod processes;

const WHOLE: &str = r#"
name = "orders"
owner = "team-orders"

[build]
tools = { cargo = ">=1.80", node = "^20" }
variables = ["NPM_TOKEN"]
optional_variables = ["HTTP_PROXY"]
env = { CI = "true" }
steps = ["cargo build --release", ["sh", "-c", "a && b"], { run = "npm ci", folder = "web/" }]
timeout = "10m"
log_limit = "1MiB"
disk_limit = "2GiB"

[[test]]
kind = "unit"
run = "cargo test"
report = "target/junit.xml"

[[test]]
kind = "load-24h"
run = ["./load", "--hard"]
folder = "bench"
timeout = "1h"

[package]
root = "out"
include = ["target/release/orders", "config/**"]
exclude = ["**/*.map"]

[run]
command = "./target/release/orders"
port = 8080
env = { LOG = "info" }
health = { http = "/health", interval = "5s", timeout = "500ms", start_timeout = "1m", unhealthy_after = 2 }
stop = { signal = "SIGINT", timeout = "3s" }
restart = { max = 7, backoff = "1s", max_backoff = "10s", reset_after = "2m" }

[requires]
payments = "^2.1"
catalog = { version = ">=1, <3" }
ledger = { contract = "clients/ledger.yaml", operations = ["POST /entries"] }

[contract]
openapi = ["api/public.yaml", { path = "api/admin.yaml", unknown_fields = "forbidden" }]
sql = { path = "migrations", dialect = "sqlite" }
graphql = { command = "./print-schema" }

[[contract.accept]]
rule = "request-body-removed"
place = "/paths/~1old/post"
reason = "nobody calls it"
until = 2027-01-31

[[route]]
host = "Shop.example"
path = "/orders/"
strip_prefix = true

[[route]]
"#;

fn problems(text: &str) -> Vec<String> {
    let problems = parse(text, "lockstep.toml").expect_err("it has problems");
    problems.iter().map(ToString::to_string).collect()
}

/// Returns the only problem of a sound manifest in which `from` is replaced.
fn problem(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    let problems = problems(&WHOLE.replacen(from, to, 1));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems[0].clone()
}

#[test]
fn the_whole_format_is_read() {
    let manifest = parse(WHOLE, "lockstep.toml").unwrap();
    assert_eq!(manifest.owner.as_deref(), Some("team-orders"));
    assert_eq!(manifest.build.steps[1].command, ["sh", "-c", "a && b"]);
    assert_eq!(manifest.build.steps[2].folder.as_ref().unwrap().as_str(), "web");
    assert_eq!((manifest.build.timeout_ms, manifest.build.disk_limit_bytes), (600_000, 2 << 30));
    assert_eq!(manifest.tests[0].report.as_ref().unwrap().as_str(), "target/junit.xml");
    assert_eq!(manifest.tests[1].timeout_ms, 3_600_000);
    assert_eq!(manifest.run.port, Port::Fixed(8080));
    assert_eq!(manifest.run.health.probe, Probe::Http { path: "/health".into() });
    assert_eq!((manifest.run.stop.timeout_ms, manifest.run.restart.max_restarts), (3_000, 7));
    assert_eq!(manifest.requires[&"catalog".parse().unwrap()].range, ">=1, <3".parse().ok());
    let ledger = &manifest.requires[&"ledger".parse().unwrap()];
    assert_eq!(ledger.contract.as_ref().unwrap().as_str(), "clients/ledger.yaml");
    assert_eq!((ledger.range.is_none(), ledger.operations.as_slice()), (true, &["POST /entries".into()][..]));
    let words: Vec<_> = manifest.contracts.iter().map(|contract| contract.kind.as_str()).collect();
    assert_eq!(words, ["openapi", "openapi", "graphql", "sql"]);
    assert_eq!(manifest.contracts[1].settings.unknown_fields, Some(UnknownFields::Forbidden));
    assert_eq!(manifest.contracts[2].origin, ContractOrigin::Command(vec!["./print-schema".into()]));
    assert_eq!(manifest.contracts[3].settings.dialect, Some(SqlDialect::Sqlite));
    assert_eq!(manifest.accepts[0].until.as_deref(), Some("2027-01-31"));
    let route = |n: usize| (manifest.routes[n].host.as_deref(), manifest.routes[n].path.as_str());
    assert_eq!([route(0), route(1)], [(Some("shop.example"), "/orders"), (None, "/")]);
}

#[test]
fn a_contract_may_be_a_subject_of_a_registry() {
    let read = |line: &str| {
        parse(
            &format!("name = \"orders\"\n[run]\ncommand = \"./serve\"\n[contract]\n{line}\n"),
            "lockstep.toml",
        )
    };
    let good = read(
        "avro = { registry = \"https://registry.example.org/api\", subject = \"orders/a value\", user = \"REGISTRY_USER\", role = \"writer\" }",
    );
    let ContractOrigin::Registry(subject) = &good.unwrap().contracts[0].origin else { panic!("a registry") };
    assert_eq!(subject.address, "https://registry.example.org/api");
    assert_eq!(
        (subject.subject.as_str(), subject.user.as_deref()),
        ("orders/a value", Some("REGISTRY_USER"))
    );
    let address = "registry = \"http://127.0.0.1:8081\"";
    for (line, words) in [
        (format!("avro = {{ {address} }}"), "`subject` of the registry is missing"),
        (format!("avro = {{ {address}, subject = \"a\", path = \"a.avsc\" }}"), "keep one of them"),
        (format!("avro = {{ {address}, subject = \"a\", command = \"x\" }}"), "keep one of them"),
        (format!("avro = {{ {address}, subject = \"--version\" }}"), "does not begin with a hyphen"),
        (format!("avro = {{ {address}, subject = \"\" }}"), "from 1 to 255"),
        (format!("avro = {{ {address}, subject = \"a\", user = \"me:secret\" }}"), "the name of a variable"),
        (
            "avro = { registry = \"https://me:secret@r.example\", subject = \"a\" }".into(),
            "holds no password",
        ),
        ("avro = { registry = \"r.example\", subject = \"a\" }".into(), "http:// or https://"),
        ("avro = { registry = \"https://\", subject = \"a\" }".into(), "http:// or https://"),
        (format!("openapi = {{ {address}, subject = \"a\" }}"), "registry"),
        ("avro = { path = \"a.avsc\", subject = \"a\" }".into(), "subject"),
    ] {
        let problems = read(&line).expect_err(&line);
        let told = format!("{problems:?}");
        assert!(told.contains(words), "{line}: {told}");
        assert!(!told.contains("secret"), "a password is not shown: {told}");
    }
}

#[test]
fn how_long_an_instance_may_be_unhealthy_is_a_time_or_never() {
    use lockstep_domain::run::ReplaceAfter;
    let read = |line: &str| {
        let text = format!("name = \"orders\"\n[run]\ncommand = \"./serve\"\n{line}\n");
        parse(&text, "lockstep.toml").map(|manifest| manifest.run.replace_after)
    };
    assert_eq!(read(""), Ok(ReplaceAfter::Ms(60_000)));
    assert_eq!(read("replace_after = \"90s\""), Ok(ReplaceAfter::Ms(90_000)));
    assert_eq!(read("replace_after = \"never\""), Ok(ReplaceAfter::Never));
    assert!(read("replace_after = \"soon\"").is_err());
}

#[test]
fn references_must_be_known_and_stay_where_nobody_else_reads_them() {
    use lockstep_domain::run::Values;
    let read = |run: &str| {
        let text = format!("name = \"orders\"\n[requires]\npay = \"*\"\n[run]\n{run}\n");
        parse(&text, "lockstep.toml").map(|manifest| manifest.run)
    };
    let run =
        read("command = \"./serve --port ${self.port}\"\nenv = { PAY = \"${service.pay.url}\" }").unwrap();
    assert_eq!((run.command[2].as_str(), run.values), ("${self.port}", Values::Filled));
    assert_eq!(read("command = \"./serve\"\nenv = { A = \"$b {c}\" }").unwrap().values, Values::Verbatim);
    assert!(read("command = [\"sh\", \"-c\", \"exec ./serve ${PORT:-1}\"]").is_ok());
    let wrong =
        |run: &str| read(run).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for (run, words) in [
        ("command = [\"./serve\", \"${self.prot}\"]", "`${self.prot}` is not known"),
        (
            "command = \"./serve\"\nenv = { A = \"${HOME}\" }",
            "`${HOME}` is no reference; `$${` means `${` itself",
        ),
        ("command = \"./serve\"\nenv = { A = \"${service.cart.url}\" }", "hint: there are ${self.host}, "),
        ("command = \"./serve\"\nenv = { A = \"${service.cart.url}\" }", "${service.pay.url}"),
        ("command = \"./serve ${service.pay.url}\"", "every user of the machine sees arguments"),
        ("command = \"./serve $PORT\"", "means something to a shell only"),
        ("command = \"./serve ${self.prot}\"", "`${self.prot}` is not known"),
        (
            "command = \"./serve\"\nhealth = { command = \"./check ${self.x}\" }",
            "run.health.command: `${self.x}`",
        ),
    ] {
        assert!(wrong(run).contains(words), "{run}: {}", wrong(run));
    }
}

#[test]
fn routes_are_read_in_the_form_that_gateways_match() {
    let text = "name = \"a\"\nrun.command = \"./a\"\n[[route]]\nhost = \"*.Shop.example.\"\npath = \"//%6frders/\"\ntimeout = \"90s\"\n\
                [[route]]\npath = \"/events\"\nstream = true\naffinity = \"client\"\n";
    let routes = parse(text, "f").unwrap().routes;
    assert_eq!((routes[0].host.as_deref(), routes[0].path.as_str()), (Some("*.shop.example"), "/orders"));
    assert_eq!(routes[0].patience, Some(Patience::LimitMs(90_000)));
    assert_eq!(routes[1].patience, Some(Patience::Stream));
    assert_eq!((routes[0].affinity, routes[1].affinity), (None, Some(Affinity::Client)));
}

#[test]
fn a_route_asks_how_long_is_waited_for_it() {
    let of = |route: &str| format!("name = \"a\"\nrun.command = \"./a\"\n[[route]]\n{route}\n");
    let text = of(
        "host = [\"a.test\", \"b.test\"]\ntimeouts = { connect = \"500ms\", head = \"2s\", request = \"10s\" }\nretries = { attempts = 1, on = [\"503\", \"timeout\"] }",
    );
    let routes = parse(&text, "f").unwrap().routes;
    let told: Vec<_> = routes.iter().map(RouteRule::told).collect();
    let retried = "retries 1 on timeout, 503; idempotent methods";
    let expected = ["timeouts.connect 500 ms", "timeouts.head 2000 ms", "timeouts.request 10000 ms", retried];
    assert_eq!(told, [expected, expected]);
    for (route, words) in [
        ("retries = { on = [\"reset\"] }", "route[0].retries.attempts"),
        ("retries = { attempts = 4 }", "retries.attempts"),
        ("retries = { attempts = 1, on = [\"5xx\"] }", "`5xx` is none of `reset`"),
        ("retries = { attempts = 0, idempotency_key = true }", "nothing is asked again"),
        ("limits = {}", "it says none of body, concurrency and rate"),
        ("limits = { concurrency = 0 }", "limits.concurrency"),
        ("limits = { rate = { requests = 5 } }", "limits.rate.per"),
        ("limits = { rate = { requests = 5, per = \"0s\" } }", "rate.per"),
        (
            "limits = { rate = { requests = 5, per = \"1s\", by = \"client\" } }",
            "by `network`, `key` or `route`",
        ),
        ("timeouts = {}", "it says none of connect, head, idle and request"),
        ("timeouts = { total = \"1s\" }", "route[0].timeouts.total: unknown field"),
        ("timeouts = { head = \"2s\", request = \"1s\" }", "longer than `timeouts.request`"),
        ("timeouts = { idle = \"8d\" }", "idle"),
        ("stream = true\ntimeouts = { request = \"1s\" }", "`stream` says `timeouts.request` already"),
        ("respond = { status = 503 }\ntimeouts = { head = \"1s\" }", "the gateway answers by itself"),
    ] {
        let problems = parse(&of(route), "f").unwrap_err();
        let shown = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(shown.contains(words), "{route}: {shown}");
    }
}

#[test]
fn a_route_has_slow_reads_asked_of_another_instance_as_well() {
    use lockstep_domain::routes::hedge::{Hedge, Percentile};
    let of = |route: &str| {
        let text = format!("name = \"a\"\nrun.command = \"./a\"\n[[route]]\n{route}\n");
        parse(&text, "f").map(|it| it.routes[0].policy.as_ref().and_then(|policy| policy.hedge))
    };
    let part = |percent, least_ms| Some(Hedge::Percentile(Percentile { percent, least_ms }));
    for (route, hedge) in [
        ("hedge = \"p95\"", part(95, 10)),
        ("hedge = { after = \"p99\", least = \"50ms\" }", part(99, 50)),
        ("hedge = { after = \"p50\" }", part(50, 10)),
        ("hedge = \"80ms\"", Some(Hedge::AfterMs(80))),
        ("hedge = { after = \"2s\" }", Some(Hedge::AfterMs(2_000))),
    ] {
        assert_eq!(of(route).unwrap(), hedge, "{route}");
    }
    for (route, words) in [
        ("hedge = true", "hedge"),
        ("hedge = 95", "hedge"),
        ("hedge = \"95%\"", "`95%` is neither a part of the answers, as p95, nor a time, as 50ms"),
        ("hedge = \"p100\"", "after `p50` to `p99` of the answers"),
        ("hedge = { least = \"5ms\" }", "hedge.after"),
        ("hedge = { after = \"50ms\", least = \"5ms\" }", "only a part of the answers"),
        ("hedge = { after = \"p95\", most = \"5ms\" }", "hedge.most: unknown field"),
        ("affinity = \"client\"\nhedge = \"p95\"", "which `affinity` rules out"),
        ("stream = true\nhedge = \"p95\"", "which `stream = true` rules out"),
        ("retries = { attempts = 0 }\nhedge = \"p95\"", "which `retries.attempts = 0` rules out"),
        ("timeouts = { head = \"1s\" }\nhedge = \"1s\"", "over after `timeouts.head`"),
        ("respond = { status = 204 }\nhedge = \"p95\"", "the gateway answers by itself"),
    ] {
        let problems = of(route).unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(shown.len() == 1 && shown[0].contains(words), "{route}: {shown:?}");
        let is_there = route.lines().any(|line| shown[0].contains(&format!("for example {line}")));
        assert!(!is_there, "the hint is what is there already: {}", shown[0]);
    }
}

#[test]
fn what_is_wrong_with_a_value_is_said_once() {
    for route in [
        "limits = { body = \"much\" }",
        "limits = { concurrency = 0 }",
        "limits = { rate = { requests = 0, per = \"1s\" } }",
        "timeouts = { head = \"soon\" }",
        "timeouts = { idle = 5 }",
        "limits = 5",
        "timeouts = \"1s\"",
        "retries = { attempts = 9 }",
    ] {
        let text = format!("name = \"a\"\nrun.command = \"./a\"\n[[route]]\n{route}\n");
        let problems: Vec<_> = parse(&text, "f").unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{route}: {problems:?}");
    }
}

#[test]
fn a_route_has_conditions_and_does_something() {
    let text = r#"name = "a"
run.command = "./a"
[[route]]
host = ["shop.example", "*.shop.example"]
path = "/orders/{id}"
path_type = "template"
methods = ["GET"]
headers = { X-Lane = "login", x-beta = { present = true } }
query = { v = { regex = "[0-9]+" } }
clients = ["10.1.2.3/8"]
rewrite = { path = "/v2/{id}" }
response_headers = { set = { X-A = "b" } }
sticky = "30d"
[[route]]
grpc = "shop.v1.Orders/Get"
[[route]]
grpc = "shop.v1.Stock"
"#;
    let routes = parse(text, "f").unwrap().routes;
    let shown: Vec<_> = routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "shop.example/orders/{id} GET header x-beta header x-lane=login query v~[0-9]+ client 10.0.0.0/8",
            "*.shop.example/orders/{id} GET header x-beta header x-lane=login query v~[0-9]+ client 10.0.0.0/8",
            "*/shop.v1.Orders/Get exactly POST",
            "*/shop.v1.Stock POST",
        ]
    );
    let then = routes[1].then.as_deref().unwrap();
    assert_eq!(then.response_headers.set["x-a"], "b");
    assert_eq!(then.sticky_s, Some(30 * 86_400));
}

#[test]
fn what_a_route_cannot_say_has_its_place() {
    for (line, expected) in [
        ("path_type = \"regex\"", "4:13: route[0].path_type: a path is a prefix, exact or a template"),
        ("path = \"/a/{b\"\npath_type = \"template\"", "4:8: route[0].path: `{b` is neither"),
        ("methods = [\"get\"]", "4:12: route[0].methods[0]: `get` is not a method"),
        ("methods = []", "a route has 1 to 16 methods"),
        ("headers = { \"a b\" = \"x\" }", "`a b` is not the name of a header field"),
        ("headers = { a = { regex = \"(\" } }", "the value of `a`: the expression cannot be used"),
        ("headers = { a = { presnt = true } }", "did you mean `present`?"),
        ("cookies = { a = \"x;y\" }", "has a `;`, which ends a cookie"),
        ("clients = [\"shop\"]", "`shop` is not a network"),
        ("grpc = \"a/b/c\"", "write `package.Service/Method`"),
        ("grpc = \"a.B\"\npath = \"/x\"", "`grpc` says the path already"),
        ("path_type = \"exact\"\nstrip_prefix = true", "only a prefix can be taken off"),
        ("redirect = { status = 308 }", "a redirect says at least one of"),
        (
            "redirect = { scheme = \"https\" }\nrespond = { status = 200 }",
            "`redirect` and `respond` cannot both",
        ),
        ("rewrite = { path = \"/{id}\" }", "cannot take the place of a path"),
        ("request_headers = { set = { host = \"x\" } }", "the field `host` frames, routes or vouches"),
        ("response_headers = { add = { x-a = \"b\\n\" } }", "has a value with a control character"),
        ("cors = { origins = [\"*\"], credentials = true }", "cannot have credentials"),
        ("cors = { origins = [\"*\"] }\nmethods = [\"GET\"]", "add \"OPTIONS\" to `methods`"),
        ("sticky = \"900d\"", "a visitor stays for one second to 400 days"),
        ("host = []", "a route has 1 to 64 hosts"),
    ] {
        let text = format!("name = \"a\"\nrun.command = \"./a\"\n[[route]]\n{line}\n");
        let problems = parse(&text, "f").unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|it| it.contains(expected)), "{line}: {shown:?}");
    }
}

#[test]
fn two_lines_are_enough() {
    let manifest = parse("name = \"web\"\nrun.command = \"python3 server.py\"", "lockstep.toml").unwrap();
    assert_eq!(manifest.run.command, ["python3", "server.py"]);
    assert_eq!(manifest.run.health, HealthCheck::new(Probe::Tcp));
    assert_eq!(manifest.package, Package::default());
}

#[test]
fn each_mistake_has_its_line_field_and_hint() {
    let cases = [
        (
            "name = \"orders\"",
            "name = \"Orders\"",
            "lockstep.toml:2:8: name: `Orders` is not a valid service name: it must start with a letter from a to z\n  \
             hint: for example name = \"orders\"",
        ),
        ("owner =", "ownr =", "lockstep.toml:3:1: ownr: unknown field\n  hint: did you mean `owner`?"),
        (
            "node = \"^20\"",
            "node = \"new\"",
            "lockstep.toml:6:36: build.tools.node: `new` is not a version range: unexpected character 'n' while parsing \
             major version number\n  hint: for example cargo = \">=1.80\"",
        ),
        (
            "[\"NPM_TOKEN\"]",
            "[\"NPM-TOKEN\"]",
            "lockstep.toml:7:14: build.variables[0]: `NPM-TOKEN` is not the name of an environment variable\n  \
             hint: for example variables = [\"NPM_TOKEN\"]",
        ),
        (
            "[\"HTTP_PROXY\"]",
            "[\"CI\"]",
            "lockstep.toml:8:23: build.optional_variables[0]: `CI` is given in more than one way\n  \
             hint: keep one of variables, optional_variables and env",
        ),
        (
            "\"cargo build --release\"",
            "\"cd web && npm ci\"",
            "lockstep.toml:10:10: build.steps[0]: `&&` means something to a shell only, and commands are run without one\n  \
             hint: write several steps, or ask for a shell: [\"sh\", \"-c\", \"...\"]; an array is taken word for word",
        ),
        (
            "\"10m\"",
            "\"10 minutes\"",
            "lockstep.toml:11:11: build.timeout: `10 minutes` is not a duration\n  hint: for example timeout = \"30m\"",
        ),
        (
            "\"2GiB\"",
            "2",
            "lockstep.toml:13:14: build.disk_limit: expected a string, found an integer\n  \
             hint: for example disk_limit = \"4GiB\"",
        ),
        (
            "kind = \"unit\"\n",
            "",
            "lockstep.toml:15:1: test[0].kind: `kind` is missing\n  hint: add kind = \"unit\"",
        ),
        (
            "\"load-24h\"",
            "\"ran:production\"",
            "lockstep.toml:21:8: test[1].kind: `ran:production` is recorded by Lockstep itself\n  \
             hint: for example kind = \"unit\"",
        ),
        (
            "\"config/**\"",
            "\"../config\"",
            "lockstep.toml:28:37: package.include[1]: `../config` is not a pattern: `..` leads out of its folder\n  \
             hint: for example include = [\"dist/**\"]",
        ),
        (
            "[\"target/release/orders\", \"config/**\"]",
            "[]",
            "lockstep.toml:28:11: package.include: an artifact without files cannot be run\n  \
             hint: for example include = [\"dist/**\"]",
        ),
        (
            "port = 8080",
            "port = 0",
            "lockstep.toml:33:8: run.port: `0` is not between 1 and 65535\n  hint: for example port = 8080; \
             without it Lockstep picks a free one for each instance and gives it as PORT",
        ),
        (
            "LOG = \"info\"",
            "PORT = \"80\"",
            "lockstep.toml:34:16: run.env.PORT: `PORT` is set by Lockstep\n  hint: remove it and read what is given",
        ),
        (
            "\"/health\"",
            "\"health\"",
            "lockstep.toml:35:19: run.health.http: `health` is not a path: it must start with /\n  \
             hint: for example health = { http = \"/health\" }",
        ),
        (
            "http = \"/health\",",
            "http = \"/health\", tcp = true,",
            "lockstep.toml:35:36: run.health.tcp: only one of http, tcp, grpc, command, lives and file can be asked\n  \
             hint: remove the others",
        ),
        (
            "http = \"/health\",",
            "",
            "lockstep.toml:35:10: run.health.http: one of http, tcp, grpc, command, lives and file says what is asked\n  \
             hint: add health = { http = \"/health\" }",
        ),
        (
            "\"SIGINT\"",
            "\"KILL\"",
            "lockstep.toml:36:19: run.stop.signal: KILL gives no chance to finish requests\n  \
             hint: after `timeout` whatever is left is killed anyway; use TERM",
        ),
        (
            "payments = \"^2.1\"",
            "orders = \"^2.1\"",
            "lockstep.toml:40:1: requires.orders: a service cannot require itself\n  \
             hint: for example payments = \"^2.1\"",
        ),
        (
            "catalog = { version",
            "catalog = { verson",
            "lockstep.toml:41:11: requires.catalog.version: `version`, `contract` or `operations` is missing\n  hint: add version = \"^2.1\"",
        ),
        (
            "<3\" }",
            "<3\", port = 17001 }",
            "lockstep.toml:41:41: requires.catalog.port: 17001 is one that Lockstep gives by itself\n  hint: name the port that the program calls, or leave it out: ${service.NAME.port} is given then",
        ),
        (
            "payments = \"^2.1\"\ncatalog = { version",
            "payments = { version = \"^2.1\", port = 80 }\ncatalog = { port = 80, version",
            "lockstep.toml:40:12: requires.payments: port 80 is that of `catalog` too\n  hint: at one port one service is called",
        ),
        (
            "[\"POST /entries\"]",
            "[]",
            "lockstep.toml:42:59: requires.ledger.operations: from 1 to 1000 operations are named; all count when there is no list\n  \
             hint: for example operations = [\"POST /charges\"]",
        ),
        (
            "dialect = \"sqlite\"",
            "dialect = \"sqlserver\"",
            "lockstep.toml:46:40: contract.sql.dialect: `sqlserver` is not a dialect: postgresql, mysql, sqlite are known\n  \
             hint: for example dialect = \"postgresql\"",
        ),
        (
            "dialect = \"sqlite\"",
            "policy = \"wire\"",
            "lockstep.toml:46:30: contract.sql.policy: unknown field\n  hint: known here: path, command, dialect, version",
        ),
        (
            "{ command = \"./print-schema\" }",
            "{ command = \"./print-schema\", path = \"a\" }",
            "lockstep.toml:47:23: contract.graphql.command: a contract is a path, or what a command prints, or a subject of a registry\n  \
             hint: keep one of them",
        ),
        (
            "api/admin.yaml\", unknown_fields = \"forbidden\"",
            "api/public.yaml\"",
            "lockstep.toml:45:31: contract.openapi[1]: the same contract is named above\n  hint: remove one of them",
        ),
        (
            "2027-01-31",
            "\"soon\"",
            "lockstep.toml:53:9: contract.accept[0].until: `soon` is not a day\n  hint: for example until = 2027-01-31",
        ),
        (
            "path = \"/orders/\"",
            "path = \"/@orders\"",
            "lockstep.toml:57:8: route[0].path: paths that begin with /@ are kept for calls between services\n  \
             hint: for example path = \"/orders\"",
        ),
        (
            "path = \"/orders/\"",
            "path = \"//@orders\"",
            "lockstep.toml:57:8: route[0].path: paths that begin with /@ are kept for calls between services\n  \
             hint: for example path = \"/orders\"",
        ),
        (
            "path = \"/orders/\"",
            "path = \"/orders/..%2f\"",
            "lockstep.toml:57:8: route[0].path: `/orders/..%2f` cannot be routed: the path hides an empty, `.` or `..` \
             part behind an encoded slash or a semicolon\n  hint: for example path = \"/orders\"",
        ),
        (
            "strip_prefix = true",
            "stream = true\ntimeout = \"1m\"",
            "lockstep.toml:59:11: route[0].timeout: a stream has no timeout\n  hint: remove one of the two",
        ),
        (
            "strip_prefix = true",
            "timeout = \"2d\"",
            "lockstep.toml:58:11: route[0].timeout: a service is given from 1 ms to a day for an answer; `stream = true` \
             has no limit\n  hint: for example timeout = \"2m\"",
        ),
        (
            "strip_prefix = true",
            "affinity = \"address\"",
            "lockstep.toml:58:12: route[0].affinity: only a client can be kept at one instance\n  hint: affinity = \"client\"",
        ),
        (
            "\n[[route]]\nhost",
            "\n[[route]]\npath=\"/\"\n[[route]]\nhost",
            "lockstep.toml:62:1: route[2]: the same host, path and conditions are already routed above\n  hint: remove one of them",
        ),
    ];
    for (from, to, expected) in cases {
        let all = problems(&WHOLE.replacen(from, to, 1));
        assert_eq!(all.first().map(String::as_str), Some(expected), "{from} -> {to}: {all:#?}");
    }
}

#[test]
fn a_mistake_is_reported_once() {
    assert!(problem("\"cargo test\"", "\"\"").contains("test[0].run: the command is empty"));
    assert!(problem("\"./load\", ", "7, ").contains("test[1].run[0]: expected a string, found an integer"));
    assert!(problem("exclude =", "excludes =").contains("package.excludes: unknown field"));
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text =
        "nam = \"x\"\n[build]\ntimeout = \"1y\"\n[run]\nport = 70000\n[[route]]\nhost = \"http://x\"\n";
    let fields: Vec<_> = parse(text, "f").unwrap_err().into_iter().map(|p| (p.line, p.field)).collect();
    let expected = [
        (1, "name"),
        (1, "nam"),
        (3, "build.timeout"),
        (4, "run.command"),
        (5, "run.port"),
        (7, "route[0].host"),
    ];
    assert_eq!(fields, expected.map(|(line, field)| (line, field.to_owned())));
}

#[test]
fn a_service_that_is_built_must_say_what_it_packages() {
    let text = "name = \"a\"\nbuild.steps = [\"make\"]\nrun.command = \"./a\"";
    assert!(
        problems(text)[0].contains("package: a service that is built must say which files are its artifact")
    );
}

#[test]
fn broken_syntax_is_reported_with_its_line_and_without_what_follows_from_it() {
    let text = "name = orders\n[run\ncommand = \"./a\"\nport = 0\n[build]\ntimeout = \"x\"\n";
    assert_eq!(
        problems(text),
        [
            "lockstep.toml:1:8: string values must be quoted, expected literal string\n  hint: write text as \"text\"",
            "lockstep.toml:2:5: unclosed table, expected `]`",
            "lockstep.toml:6:11: build.timeout: `x` is not a duration\n  hint: for example timeout = \"30m\"",
        ]
    );
}

#[test]
fn reports_and_input_are_bounded() {
    let many = "x = 1\n".repeat(1_000);
    assert_eq!(problems(&many).len(), MAX_PROBLEMS);
    let large = "#".repeat(MAX_MANIFEST_BYTES + 1);
    assert!(problems(&large)[0].contains("at most 1048576 are read"));
    let hostile =
        ["a.".repeat(400_000) + "a = 1", "a = ".to_owned() + &"[".repeat(900_000), "=\n".repeat(500_000)];
    for text in hostile {
        assert!((1..=MAX_PROBLEMS).contains(&problems(&text).len()));
    }
}

/// Lines of a sound manifest in any order, some of them damaged: closer to real mistakes than random text.
fn shuffled() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = WHOLE.lines().collect();
    let line = (prop::sample::select(lines), option_of_damage());
    prop::collection::vec(line, 0..40).prop_map(|lines| {
        let damaged = lines.into_iter().map(|(line, damage)| match damage {
            Some((at, with)) => line.chars().take(at).chain(with.chars()).collect(),
            None => line.to_owned(),
        });
        damaged.collect::<Vec<String>>().join("\n")
    })
}

fn option_of_damage() -> impl Strategy<Value = Option<(usize, String)>> {
    proptest::option::weighted(0.2, (0_usize..30, any::<String>()))
}

proptest! {
    #[test]
    fn any_text_gives_a_manifest_or_problems_with_places(text in prop_oneof![any::<String>(), shuffled()]) {
        if let Err(problems) = parse(&text, "f") {
            prop_assert!(!problems.is_empty());
            let lines = text.matches('\n').count() + 1;
            prop_assert!(problems.iter().all(|p| (1..=lines).contains(&p.line) && p.column >= 1));
        }
    }
}

#[test]
fn jobs_are_read_and_what_cannot_be_is_refused_in_its_place() {
    let with = |job: &str| format!("name = \"a\"\nrun.command = \"./a\"\n[[job]]\n{job}");
    let migrate = with(
        "name = \"migrate\"\nwhen = \"before-switch\"\ncommand = \"./m up\"\ntimeout = \"90s\"\nenv = { A = \"b\" }",
    );
    let job = parse(&migrate, "f").unwrap().jobs.remove(0);
    assert_eq!((job.name.as_str(), job.when, job.timeout_ms), ("migrate", When::BeforeSwitch, 90_000));
    assert_eq!((job.command, job.variables["A"].as_str()), (vec!["./m".to_owned(), "up".to_owned()], "b"));
    let usual = parse(&with("name = \"m\"\nwhen = \"by-hand\"\ncommand = \"./m\""), "f").unwrap();
    assert_eq!(usual.jobs[0].timeout_ms, 600_000);
    let twice = "name = \"m\"\nwhen = \"by-hand\"\ncommand = \"./m\"\n";
    let refused = [
        ("when = \"by-hand\"\ncommand = \"./m\"".to_owned(), "job[0].name", ""),
        ("name = \"m\"\nwhen = \"now\"\ncommand = \"./m\"".to_owned(), "job[0].when", "`by-hand`"),
        ("name = \"m\"\nwhen = \"by-hand\"".to_owned(), "job[0].command", ""),
        (format!("{twice}[[job]]\n{twice}"), "job[1]", "above"),
        (format!("{twice}env = {{ A = \"${{self.port}}\" }}"), "job[0].env.A", "listens on no port"),
        (format!("{twice}port = 1"), "job[0].port", ""),
    ];
    for (more, field, words) in refused {
        let problems = problems(&with(&more));
        assert_eq!(problems.len(), 1, "{more}: {problems:#?}");
        assert!(problems[0].contains(field) && problems[0].contains(words), "{more}: {}", problems[0]);
    }
}

#[test]
fn resources_are_read_and_what_they_are_called_is_known_where_it_may_stand() {
    let with = |more: &str| {
        format!("name = \"a\"\nrun.command = \"./a\"\n[resource.db]\nkind = \"postgresql\"\n{more}")
    };
    let known = with(
        "[[job]]\nname = \"m\"\nwhen = \"by-hand\"\ncommand = \"./m ${resource.db.host}\"\nenv = { A = \"${resource.db.password}\" }",
    );
    let manifest = parse(&known, "f").unwrap();
    assert_eq!(manifest.resources[&"db".parse().unwrap()].kind, ResourceKind::Postgresql);
    let run = |run: &str| format!("name = \"a\"\n[resource.db]\nkind = \"redis\"\n[run]\n{run}");
    let url = run("command = \"./a\"\nenv = { U = \"${resource.db.url}\", N = \"${resource.db.name}\" }");
    assert!(parse(&url, "f").unwrap().run.values == Values::Filled);
    let refused = [
        (with("port = 1"), "resource.db.port", ""),
        (with("[resource.Cache]\nkind = \"redis\""), "resource.Cache", "start with a letter"),
        (with("[resource.cache]"), "resource.cache.kind", "redis"),
        (with("[resource.cache]\nkind = \"postgres\""), "resource.cache.kind", "`postgresql`"),
        (with("[resource]\ncache = \"redis\""), "", ""),
        (run("command = \"./a ${resource.db.url}\""), "run.command", "may hold a password"),
        (run("command = \"sh -c 'a ${resource.db.password}'\""), "run.command", "may hold a password"),
        (run("command = \"./a\"\nenv.A = \"${resource.cache.url}\""), "run.env.A", "no [resource.cache]"),
        (run("command = \"./a\"\nenv.A = \"${resource.db.uri}\""), "run.env.A", "${resource.db.port}"),
    ];
    for (text, field, words) in refused {
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
        assert!(problems[0].contains(field) && problems[0].contains(words), "{text}: {}", problems[0]);
    }
}

fn worker(more: &str) -> String {
    format!("name = \"mailer\"\n[run]\nkind = \"worker\"\ncommand = \"./work\"\n{more}")
}

#[test]
fn a_worker_lives_and_its_old_version_ends_first_where_nothing_is_said() {
    let run = parse(&worker(""), "lockstep.toml").unwrap().run;
    assert_eq!((run.kind, run.replace), (Kind::Worker, Replace::OldFirst));
    assert_eq!((run.listens_on(), run.health.probe), (None, Probe::Lives { for_ms: 5_000 }));
    let run = parse(&worker("health = { lives = \"1s\" }"), "lockstep.toml").unwrap().run;
    assert_eq!(run.health.probe, Probe::Lives { for_ms: 1_000 });
    let run =
        parse(&worker("health = { file = \"tmp/alive\", fresh = \"9s\" }"), "lockstep.toml").unwrap().run;
    assert_eq!(run.health.probe, Probe::File { path: "tmp/alive".parse().unwrap(), fresh_ms: 9_000 });
}

#[test]
fn a_worker_has_a_port_where_its_health_is_asked_there() {
    let asked = "health = { http = \"/\" }\nenv = { L = \"${self.port}\" }";
    assert_eq!(parse(&worker(asked), "lockstep.toml").unwrap().run.listens_on(), Some(Port::Assigned));
    let asked = parse(&worker("health = { tcp = true }\nport = 8080"), "lockstep.toml").unwrap();
    assert_eq!(asked.run.listens_on(), Some(Port::Fixed(8_080)));
}

#[test]
fn what_a_worker_cannot_have_is_refused_in_its_place() {
    let refused = [
        ("port = 8080", "run.port", "is not asked on a port"),
        ("[[route]]\npath = \"/\"", "route", "no request can reach it"),
        ("replace = \"both\"", "run.replace", "`new-first`, `old-first`, or of a worker `side-by-side`"),
        ("[contract]\nopenapi = \"api.yaml\"", "contract.openapi", "nobody can call a worker"),
        ("[contract]\ngraphql = \"api.graphql\"", "contract.graphql", "nobody can call a worker"),
        ("health = { lives = \"40s\" }", "run.health.lives", "given up before"),
        ("health = { command = \"./ok ${self.port}\" }", "run.health", "`${self.port}` says nothing"),
        ("data = [\"var\"]\nhealth = { file = \"var/alive\" }", "run.health", "lies in a data folder"),
        ("health = { file = \"../alive\" }", "run.health.file", ""),
        ("health = { fresh = \"1s\" , lives = \"1s\" }", "run.health.fresh", "only a file"),
        ("env = { A = \"${self.port}\" }", "run.env.A", "is not asked on a port"),
    ];
    for (more, field, words) in refused {
        let problems = problems(&worker(more));
        assert_eq!(problems.len(), 1, "{more}: {problems:#?}");
        assert!(problems[0].contains(field) && problems[0].contains(words), "{more}: {}", problems[0]);
    }
    let web =
        problem("health = { http = \"/health\"", "replace = \"side-by-side\"\nhealth = { http = \"/health\"");
    assert!(web.contains("only workers share their work"), "{web}");
    let web = problem("health = { http = \"/health\"", "health = { lives = \"5s\"");
    assert!(web.contains("does not say that it can answer"), "{web}");
}

#[test]
fn a_worker_is_written_as_it_was_read() {
    for more in ["", "health = { file = \"tmp/alive\", fresh = \"9s\" }", "health = { lives = \"1s\" }"] {
        let manifest = parse(&worker(more), "lockstep.toml").unwrap();
        let written = crate::render::render(&manifest);
        assert_eq!(parse(&written, "lockstep.toml").unwrap(), manifest, "{written}");
    }
}

fn scheduled(more: &str) -> String {
    format!(
        "name = \"shop\"\n[run]\ncommand = \"./shop\"\n[[job]]\nname = \"tidy\"\ncommand = \"./tidy\"\n{more}"
    )
}

#[test]
fn a_job_with_a_schedule_runs_by_it() {
    let all =
        "schedule = \"30 2 * * 1-5\"\ntimezone = \"Europe/Berlin\"\nmissed = \"skip\"\noverlap = \"wait\"";
    let job = parse(&scheduled(all), "lockstep.toml").unwrap().jobs.remove(0);
    let schedule = job.schedule.unwrap();
    assert_eq!((job.when, schedule.zone.as_str()), (When::OnSchedule, "Europe/Berlin"));
    assert_eq!((schedule.missed, schedule.overlap), (Missed::Skip, Overlap::Wait));
    let least = parse(&scheduled("schedule = \"@hourly\""), "lockstep.toml").unwrap().jobs.remove(0);
    assert_eq!(least.schedule.unwrap(), Schedule::new("@hourly", "UTC").unwrap());
}

#[test]
fn what_is_no_schedule_is_refused_in_its_place() {
    let refused = [
        ("schedule = \"every day\"", "job[0].schedule", "five fields of a crontab"),
        ("schedule = \"0 0 30 2 *\"", "job[0].schedule", "never comes"),
        ("schedule = \"0 0 * * *\"\ntimezone = \"Berlin\"", "job[0].timezone", "no time zone `Berlin`"),
        ("schedule = \"0 0 * * *\"\nmissed = \"all\"", "job[0].missed", "`once`, `skip`"),
        ("schedule = \"0 0 * * *\"\noverlap = \"allow\"", "job[0].overlap", "`skip`, `wait`, `replace`"),
        ("schedule = \"0 0 * * *\"\nwhen = \"by-hand\"", "job[0].when", "runs by the clock"),
        ("when = \"on-schedule\"", "job[0].when", "it has no schedule"),
        ("when = \"by-hand\"\ntimezone = \"UTC\"", "job[0].timezone", "there is none"),
        ("", "job[0].when", ""),
    ];
    for (more, field, words) in refused {
        let problems = problems(&scheduled(more));
        assert_eq!(problems.len(), 1, "{more}: {problems:#?}");
        assert!(problems[0].contains(field) && problems[0].contains(words), "{more}: {}", problems[0]);
    }
}

#[test]
fn a_service_may_be_nothing_but_jobs() {
    let cron = "name = \"reports\"\n[run]\nkind = \"cron\"\nschedule = \"0 2 * * *\"\ncommand = \"./report\"\ntimeout = \"1h\"";
    let manifest = parse(cron, "lockstep.toml").unwrap();
    assert_eq!((manifest.run.kind, manifest.run.listens_on()), (Kind::Job, None));
    let [job] = manifest.jobs.as_slice() else { panic!("{:?}", manifest.jobs) };
    assert_eq!((job.name.as_str(), job.when, job.timeout_ms), ("reports", When::OnSchedule, 3_600_000));
    let written = crate::render::render(&manifest);
    assert_eq!(parse(&written, "lockstep.toml").unwrap(), manifest, "{written}");
    let once = "name = \"seed\"\n[run]\nkind = \"job\"\nwhen = \"after-deploy\"\ncommand = \"./seed\"";
    assert_eq!(parse(once, "lockstep.toml").unwrap().jobs[0].when, When::AfterDeploy);
    let several = "name = \"n\"\n[run]\nkind = \"cron\"\n[[job]]\nname = \"a\"\nschedule = \"@daily\"\ncommand = \"./a\"";
    assert_eq!(parse(several, "lockstep.toml").unwrap().jobs.len(), 1);
}

#[test]
fn what_a_service_of_jobs_cannot_have_is_refused_in_its_place() {
    let refused = [
        ("port = 1\nschedule = \"@daily\"\ncommand = \"./a\"", "run.port", ""),
        ("health = { tcp = true }\nschedule = \"@daily\"\ncommand = \"./a\"", "run.health", ""),
        ("schedule = \"@daily\"\ncommand = \"./a\"\n[[route]]", "route", "nobody can call a job"),
        ("command = \"./a\"", "run.command", "and not when"),
        (
            "schedule = \"@daily\"\n[[job]]\nname = \"b\"\nwhen = \"by-hand\"\ncommand = \"./b\"",
            "run.schedule",
            "and not what",
        ),
        ("", "run", "it runs nothing"),
        ("schedule = \"@daily\"\ncommand = \"./a ${self.port}\"", "run.command", "a job listens on no port"),
        (
            "schedule = \"@daily\"\ncommand = \"./a\"\n[[job]]\nname = \"n\"\nwhen = \"by-hand\"\ncommand = \"./b\"",
            "run",
            "of the name of the service",
        ),
    ];
    for (more, field, words) in refused {
        let problems = problems(&format!("name = \"n\"\n[run]\nkind = \"cron\"\n{more}"));
        assert_eq!(problems.len(), 1, "{more}: {problems:#?}");
        assert!(problems[0].contains(field) && problems[0].contains(words), "{more}: {}", problems[0]);
    }
}

#[test]
fn files_of_a_static_service_are_served_without_a_command() {
    let all = "name = \"web\"\n[run]\nkind = \"static\"\nroot = \"dist\"\nfallback = \"index.html\"\nimmutable = [\"assets\"]\n[[route]]\nhost = \"shop.example\"";
    let manifest = parse(all, "lockstep.toml").unwrap();
    assert_eq!((manifest.run.kind, manifest.run.command.len()), (Kind::Web, 0));
    let files = manifest.run.static_files.clone().unwrap();
    assert_eq!(files.root.unwrap().as_str(), "dist");
    let written = crate::render::render(&manifest);
    assert_eq!(parse(&written, "lockstep.toml").unwrap(), manifest, "{written}");
    let least = parse("name = \"web\"\n[run]\nkind = \"static\"", "lockstep.toml").unwrap();
    assert_eq!(least.run.static_files, Some(StaticFiles::default()));
    let refused = [
        ("kind = \"static\"\ncommand = \"./serve\"", "run.command", "served by Lockstep"),
        ("kind = \"static\"\nroot = \"../dist\"", "run.root", ""),
        ("command = \"./serve\"\nroot = \"dist\"", "run.root", "only a `static` service"),
    ];
    for (more, field, words) in refused {
        let problems = problems(&format!("name = \"web\"\n[run]\n{more}"));
        assert_eq!(problems.len(), 1, "{more}: {problems:#?}");
        assert!(problems[0].contains(field) && problems[0].contains(words), "{more}: {}", problems[0]);
    }
}

#[test]
fn processes_are_of_one_image() {
    let read = |text: &str| parse(&format!("name = \"orders\"\n{text}"), "m");
    let manifest = read(
        "[run]\nimage = true\ndata = [\"/data\"]\n[process.web]\n[process.worker]\narguments = \"work\"",
    )
    .unwrap();
    assert_eq!((manifest.run.command.len(), manifest.run.image), (0, Some(ImageRun::default())));
    let worker = &manifest.processes.others[&"worker".parse().unwrap()];
    assert_eq!(worker.image.as_ref().unwrap().arguments.as_deref(), Some(&["work".to_owned()][..]));
    let problems = read("[process.web]\nimage = true").unwrap_err();
    assert!(
        problems.iter().any(|problem| problem.to_string().contains("all processes are of one image")),
        "{problems:?}"
    );
}

#[test]
fn an_image_says_what_the_manifest_does_not() {
    let run =
        |text: &str| parse(&format!("name = \"orders\"\n[run]\n{text}"), "m").map(|manifest| manifest.run);
    let least = run("image = true").unwrap();
    assert_eq!((least.command.len(), least.image), (0, Some(ImageRun::default())));
    let more = run("image = true\narguments = \"--port ${self.port}\"\ndata = [\"/var/lib/db\", \"spool\"]")
        .unwrap();
    let data: Vec<_> = more.data.iter().map(lockstep_domain::work_path::WorkPath::as_str).collect();
    assert_eq!(data, ["var/lib/db", "spool"]);
    assert_eq!(more.image.unwrap().arguments.unwrap(), ["--port", "${self.port}"]);
    assert_eq!(run("image = true\ncommand = \"/srv --x\"").unwrap().command, ["/srv", "--x"]);
    for (text, said) in [
        ("command = \"x\"\narguments = \"y\"", "only an image has arguments"),
        ("image = true\ncommand = \"x\"\narguments = \"y\"", "takes the place of all"),
        ("image = true\nkind = \"static\"", "served by Lockstep"),
        ("image = true\ndata = [\"/var/../etc\"]", "run.data"),
        ("image = true\nkind = \"worker\"\nhealth = { file = \"alive\" }", "looked at from outside"),
        ("image = false", "run.command"),
    ] {
        let problems = run(text).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.to_string().contains(said) || problem.field.contains(said)),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn a_service_that_somebody_else_runs_is_read_with_all_that_is_said_of_it() {
    let text = "name = \"partner\"\n[run]\nkind = \"external\"\naddress = \"https://api.partner.test:8443/base\"\nca = \"ca.pem\"\n\
                connect_timeout = \"2s\"\ntimeout = \"20s\"\nclients = \"told\"\nversion = { path = \"/version\", field = \"build.version\" }\n";
    let run = parse(text, "lockstep.toml").unwrap().run;
    let external = run.external.clone().unwrap();
    assert_eq!(external.address, "https://api.partner.test:8443/base");
    assert_eq!((external.connect_ms, external.timeout_ms), (2_000, Some(20_000)));
    let version = external.version.unwrap();
    assert_eq!((version.path.as_str(), version.field.as_deref()), ("/version", Some("build.version")));
    assert_eq!(run.health, lockstep_domain::external::External::usual_health());
    assert!(run.kind.is_web() && run.command.is_empty());
    assert_eq!(external.certificate, None);
    let with = |more: &str| {
        let text = format!("name = \"partner\"\n[run]\nkind = \"external\"\n{more}\n");
        parse(&text, "lockstep.toml").map(|it| it.run.external.unwrap().certificate)
    };
    let shown = "address = \"https://api.partner.test\"\ncertificate = \"${env.PARTNER_IDENTITY}\"";
    assert_eq!(with(shown).unwrap().as_deref(), Some("${env.PARTNER_IDENTITY}"));
    for (more, words) in [
        ("address = \"https://a\"\ncertificate = \"-----BEGIN\"", "a manifest is no place for a key"),
        ("address = \"https://a\"\ncertificate = \"x${env.A}\"", "a manifest is no place for a key"),
        ("address = \"http://a\"\ncertificate = \"${env.A}\"", "nothing is shown without TLS"),
    ] {
        let problems: Vec<_> = with(more).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems[0].contains(words), "{problems:?}");
    }
    let table = "name = \"partner\"\n[run]\nkind = \"external\"\naddress = \"${env.PARTNER_URL}\"\n[run.version]\npath = \"/version\"\n";
    assert_eq!(parse(table, "lockstep.toml").unwrap().run.external.unwrap().version.unwrap().field, None);
}

#[test]
fn what_makes_no_sense_of_what_somebody_else_runs_is_named() {
    for (run, field, message) in [
        ("", "run.address", "`address` is missing"),
        ("address = \"api.partner.test\"", "run.address", "write http://HOST:PORT/PATH"),
        ("address = \"https://ann:pw@a\"", "run.address", "no user and no password"),
        ("address = \"http://${self.host}:${self.port}\"", "run.address", "go back to where they come from"),
        ("address = \"${resource.api.url}\"", "run.address", "there is no [resource.api]"),
        ("address = \"https://a\"\ncommand = \"./serve\"", "run.command", "somebody else runs it"),
        ("address = \"https://a\"\nimage = true", "run.image", "somebody else runs it"),
        ("address = \"https://a\"\nport = 80", "run.port", "somebody else runs it"),
        ("address = \"https://a\"\ndata = [\"var\"]", "run.data", "somebody else runs it"),
        ("address = \"https://a\"\nlimits = { memory = \"1 GB\" }", "run.limits", "somebody else runs it"),
        ("address = \"https://a\"\nuser = \"root\"", "run.user", "somebody else runs it"),
        ("address = \"https://a\"\nreplace = \"old-first\"", "run.replace", "somebody else runs it"),
        ("address = \"https://a\"\nroot = \"dist\"", "run.root", "somebody else runs it"),
        ("address = \"https://a\"\nschedule = \"* * * * *\"", "run.schedule", "somebody else runs it"),
        ("address = \"https://a\"\nhealth = { command = \"./ok\" }", "run.health", "somebody else runs it"),
        (
            "address = \"https://a\"\nhealth = { lives = \"5s\" }",
            "run.health.lives",
            "does not say that it can answer",
        ),
        ("address = \"https://a\"\nclients = \"all\"", "run.clients", "`withheld`"),
        ("address = \"https://a\"\nconnect_timeout = \"2m\"", "run.connect_timeout", "from 1 ms to 60 s"),
        ("address = \"https://a\"\nversion = { field = \"x\" }", "run.version.path", "is missing"),
        (
            "address = \"https://a\"\nversion = { path = \"/v\", field = \"a..b\" }",
            "run.version.field",
            "no name of a field",
        ),
        (
            "address = \"https://a\"\n[[job]]\nname = \"x\"\nwhen = \"by-hand\"\ncommand = \"./x\"",
            "job",
            "nothing of it can be run here",
        ),
        (
            "address = \"https://a\"\n[build]\nsteps = [\"make\"]\n[package]\ninclude = [\"a\"]",
            "build.steps",
            "nothing of it can be run here",
        ),
    ] {
        let text = format!("name = \"partner\"\n[run]\nkind = \"external\"\n{run}\n");
        let problems = parse(&text, "lockstep.toml").unwrap_err();
        let found = problems.iter().any(|it| it.field == field && it.message.contains(message));
        assert!(found && problems.len() == 1, "{run}: {problems:#?}");
    }
    for (more, field) in
        [("address = \"https://a\"", "run.address"), ("version = { path = \"/v\" }", "run.version")]
    {
        let problems =
            parse(&format!("name = \"a\"\n[run]\ncommand = \"./a\"\n{more}\n"), "lockstep.toml").unwrap_err();
        assert!(
            problems[0].field == field && problems[0].message.contains("somebody else runs"),
            "{problems:#?}"
        );
    }
    let process = "name = \"a\"\n[process.api]\nkind = \"external\"\n";
    assert_eq!(parse(process, "lockstep.toml").unwrap_err()[0].field, "process.api.kind");
}
