use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FULL: &str = r#"
environment = "production"

[rules]
named_services = "allow"
trusted_networks = ["10.0.0.0/8"]
timeout = "30s"

[entry]
https_port = 8443
http = "redirect"
tls_min = "1.3"

[service.hello]
aliases = ["hi"]
salt = "spring"

[[service.hello.version]]
number = "1.0.0"
instances = ["127.0.0.1:9000", { name = "hello-b", address = "[::1]:9002" }]
leaving = ["127.0.0.1:9009"]

[[service.hello.version]]
number = "1.1.0"
config = 2
role = "candidate"
share = "2.5%"
protocol = "h2c"
instances = ["[::1]:9001"]

[[service.hello.rule]]
version = "1.1.0"
header = { X-User = "ann" }

[[service.hello.rule]]
version = "1.1.0"
share = "10%"

[[service.hello.rule]]
version = "1.0.0"
share = "5%"

[service.stock]
instances = ["127.0.0.1:9100"]

[[route]]
host = ["shop.test", "www.shop.test"]
path = "/hello"
service = "hello"
strip_prefix = true

[[route]]
path = "/old"
redirect = { path = "/hello", status = 308 }
"#;

fn read(text: &str) -> WrittenTable {
    parse_table(text, "table.toml").unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems_of(text: &str) -> Vec<String> {
    let problems = parse_table(text, "t").unwrap_err();
    problems.iter().map(|it| format!("{}: {}: {}", it.line, it.field, it.message)).collect()
}

#[test]
fn it_is_compiled_into_the_table_that_it_says() {
    let expected: Value = json!({
        "format": 9, "environment": "production", "revision": 1, "baseline": 0,
        "rules": { "named_services": "allow", "trusted_networks": ["10.0.0.0/8"], "timeout_ms": 30_000 },
        "entry": { "https_port": 8443, "http": "redirect", "tls_min": "1.3" },
        "aliases": { "hi": "hello" },
        "routes": [
            { "host": "shop.test", "path": "/hello", "prefix": "strip", "service": "hello" },
            { "host": "www.shop.test", "path": "/hello", "prefix": "strip", "service": "hello" },
            { "path": "/old", "prefix": "keep", "service": "gateway",
              "then": { "redirect": { "path": "/hello", "status": 308 } } },
        ],
        "services": {
            "hello": { "salt": "spring",
                "splits": [
                    { "version": "1.1.0", "config": 2, "weight": 250, "role": "candidate", "protocol": "h2c",
                      "endpoints": [{ "instance": "hello---1-9001", "address": "[::1]:9001" }] },
                    { "version": "1.0.0", "config": 0, "weight": 9_750, "role": "stable",
                      "endpoints": [{ "instance": "hello-127.0.0.1-9000", "address": "127.0.0.1:9000" },
                                    { "instance": "hello-b", "address": "[::1]:9002" }],
                      "leaving": [{ "instance": "hello-127.0.0.1-9009", "address": "127.0.0.1:9009" }] }],
                "version_rules": [
                    { "id": 1, "version": "1.1.0", "config": 2, "takes": { "header": { "name": "x-user", "value": "ann" } } },
                    { "id": 2, "version": "1.1.0", "config": 2, "takes": { "places": [{ "from": 0, "to": 1_000 }] } },
                    { "id": 3, "version": "1.0.0", "config": 0, "takes": { "places": [{ "from": 1_000, "to": 1_500 }] } }] },
            "stock": { "salt": "stock", "splits": [{ "version": "0.0.0", "config": 0, "weight": 10_000, "role": "stable",
                "endpoints": [{ "instance": "stock-127.0.0.1-9100", "address": "127.0.0.1:9100" }] }] },
        },
    });
    let written = read(FULL);
    assert_eq!(serde_json::to_value(&written.table).unwrap(), expected);
    let line = |part: &str| 1 + FULL.lines().position(|line| line.contains(part)).unwrap();
    let place = |table: &str| written.places.iter().find(|(it, ..)| it == table).cloned().unwrap();
    let second = ("routes[1]".to_owned(), "route[0]".to_owned(), line("[[route]]"));
    assert_eq!(place("routes[1]"), second, "one of the hosts of the first");
    assert_eq!(place("services.stock").2, line("[service.stock]"));
}

const FAULTS: &str = r#"
environment = "staging"

[rules]
fault_injection = "allow"

[service.orders]
instances = ["127.0.0.1:9000"]

[[service.orders.fault]]
abort = 503
share = "10%"
until = 2026-12-01T10:00:00Z

[[service.orders.fault]]
delay = "2s"
header = { X-User = "jason" }
until = "2026-12-01T12:00:00+02:00"

[[route]]
path = "/"
service = "orders"
"#;

#[test]
fn faults_stand_with_their_service_and_only_where_they_are_allowed() {
    let rules = serde_json::to_value(read(FAULTS).table.rules).unwrap();
    let until = 1_796_119_200_000_u64;
    assert_eq!(
        rules["faults"],
        json!([
            { "number": 1, "service": "orders", "does": { "abort": 503 }, "share": 1_000, "until": until },
            { "number": 2, "service": "orders", "does": { "delay_ms": 2_000 }, "share": 10_000,
              "header": { "name": "x-user", "value": "jason" }, "until": until },
        ])
    );
    assert_eq!(read(FAULTS).table.format, lockstep_domain::injection::FORMAT_WITH_FAULTS);
    let refused = problems_of(&FAULTS.replace("\"allow\"", "\"refuse\""));
    assert!(
        refused[0].contains("does not allow them") && refused[0].contains("fault_injection"),
        "{refused:?}"
    );
}

#[test]
fn all_that_is_wrong_with_a_fault_is_said_with_its_place() {
    for (right, wrong, said) in [
        ("abort = 503", "abort = 200", "400"),
        ("abort = 503", "", "one of abort and delay"),
        ("delay = \"2s\"", "delay = \"2s\"\nabort = 500", "one of abort and delay"),
        ("\"2s\"", "\"31s\"", "30 s"),
        ("\"10%\"", "\"0%\"", "more than 0 %"),
        ("until = 2026-12-01T10:00:00Z", "", "until"),
        ("2026-12-01T10:00:00Z", "2026-12-01", "not a point in time"),
        ("abort = 503", "abort = 503\nevery = 2", "every"),
    ] {
        let problems = problems_of(&FAULTS.replacen(right, wrong, 1));
        assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
        assert!(
            problems[0].contains("service.orders.fault") && problems[0].contains(said),
            "{wrong}: {problems:?}"
        );
    }
}

#[test]
fn instances_have_addresses_or_names_and_zones() {
    let text = r#"environment = "e"
[service.a]
instances = ["My_db.internal:9000", { address = "10.0.0.1:9000", zone = "eu-1a" }, { name = "b", address = "b.test.:443", zone = "eu-1b" }]
tls = { accept_any_certificate = true }
[service.b]
instances = ["b.test:443"]
tls = {}
"#;
    let table = read(text).table;
    let split = |name: &str| table.services[&name.parse::<ServiceName>().unwrap()].splits[0].clone();
    let a = split("a");
    let named: Vec<_> =
        a.named.iter().map(|it| format!("{} {}:{} {:?}", it.instance, it.host, it.port, it.zone)).collect();
    assert_eq!(named, ["a-my-db.internal-9000 my_db.internal:9000 None", "b b.test.:443 Some(\"eu-1b\")"]);
    assert_eq!(a.endpoints[0].zone, Some("eu-1a".parse().unwrap()));
    assert_eq!((a.endpoints[0].instance.as_str(), table.format), ("a-10.0.0.1-9000", 21));
    assert_eq!(split("b").approach.tls.unwrap().server_name, None, "it is for the name of its host");
    let wrong = |instances: &str| {
        problems_of(&format!("environment = \"e\"\n[service.a]\ninstances = [{instances}]\ntls = {{}}\n"))
    };
    assert!(
        wrong("\"b.test:1\", \"10.0.0.1:1\"")[0]
            .contains("the name that its certificate must be for is missing")
    );
    for (instances, why) in [
        ("\"127.1:80\"", "would be taken for an address"),
        ("\"a b:80\"", "a-z, 0-9, - and _"),
        ("\"b.test:0\"", "is not an address or a host name"),
        ("\"http://b.test:80\"", "a-z, 0-9, - and _"),
        ("{ address = \"b.test:1\", zone = \"\" }", "it is empty"),
    ] {
        assert!(wrong(instances).iter().any(|it| it.contains(why)), "{instances}: {:?}", wrong(instances));
    }
    let leaving = "environment = \"e\"\n[service.a]\ninstances = []\nleaving = [\"b.test:1\"]\n";
    assert!(problems_of(leaving)[0].contains("named by its address"));
}

#[test]
fn the_smallest_table_has_a_service_and_a_route() {
    let text = "environment = \"e\"\n[service.a]\ninstances = []\n[[route]]\nservice = \"a\"\n";
    let table = read(text).table;
    assert_eq!((table.format, table.routes[0].rule.path.as_str()), (2, "/"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_line() {
    let text = r#"environment = "Production!"
servce = 1
[rules]
timeout = "soon"
[entry]
http = "redirect"
[service.a]
instances = ["db.internal", "127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:1"]
protocol = "http3"
[[service.b.version]]
number = "1.0.0"
share = "60%"
instances = []
[[service.b.version]]
number = "1.0.0"
share = "50%"
instances = []
role = "new"
[[service.b.rule]]
version = "2.0.0"
header = { a = "b" }
[[service.b.rule]]
version = "1.0.0"
header = { a = "b" }
cookie = { a = "b" }
[[route]]
path = "orders"
service = "a"
[[route]]
path = "/x"
[[route]]
path = "/y"
service = "nobody"
whn = 1
[[route]]
path = "/z"
service = "a"
[[route]]
path = "/z"
service = "b"
"#;
    let found = problems_of(text);
    let expected = [
        "1: environment: ",
        "2: servce: unknown field",
        "4: rules.timeout: ",
        "5: entry: plain HTTP can be redirected only where",
        "8: service.a.instances[0]: `db.internal` is not an address or a host name",
        "8: service.a.instances[1]: `127.0.0.1:0` has port 0, where nobody listens",
        "8: service.a.instances[3]: instance `a-127.0.0.1-1` is there twice",
        "9: service.a.protocol: ",
        "10: service.b.version: the shares add up to 110 %",
        "14: service.b.version[1]: version 1.0.0 is there twice",
        "18: service.b.version[1].role: ",
        "20: service.b.rule[0].version: the service has no version 2.0.0",
        "22: service.b.rule[1]: a rule has one of",
        "27: route[0].path: ",
        "29: route[1].service: nobody gets the requests",
        "33: route[2].service: there is no [service.nobody]",
        "34: route[2].whn: unknown field",
        "38: route[4]: route[3] takes the very same requests",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn a_version_for_rules_alone_has_no_share() {
    let table = |share: &str| {
        let pinned =
            format!("[[service.a.version]]\nnumber = \"2.0.0\"\nrole = \"pinned\"\n{share}instances = []\n");
        let stable = "[[service.a.version]]\nnumber = \"1.0.0\"\ninstances = []\n";
        parse_table(&format!("environment = \"e\"\n{pinned}{stable}"), "t").map_err(|problems| problems.len())
    };
    assert!(table("").is_ok() && table("share = \"0%\"\n").is_ok());
    assert_eq!(table("share = \"60%\"\n").unwrap_err(), 1);
}

#[test]
fn only_one_version_gets_what_is_left() {
    let version = |number: &str, share: &str| {
        format!("[[service.a.version]]\nnumber = \"{number}\"\n{share}instances = []\n")
    };
    let table =
        |versions: &[String]| problems_of_or_none(&format!("environment = \"e\"\n{}", versions.concat()));
    assert_eq!(table(&[version("1.0.0", "share = \"5%\"\n"), version("2.0.0", "")]), [""; 0]);
    let found = table(&[version("1.0.0", ""), version("2.0.0", ""), version("3.0.0", "")]);
    let expected =
        ["5: service.a.version[1]: another version gets what is left", "8: service.a.version[2]: another"];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    assert!(found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)), "{found:?}");
}

fn problems_of_or_none(text: &str) -> Vec<String> {
    if parse_table(text, "t").is_ok() { Vec::new() } else { problems_of(text) }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_every_share_adds_up(shares in prop::collection::vec(0_u32..4_000, 1..4), junk in ".{0,40}") {
        let versions = shares.iter().enumerate().map(|(number, share)| {
            let share = lockstep_domain::share::percent(*share);
            format!("[[service.a.version]]\nnumber = \"{number}.0.0\"\nshare = \"{share}\"\ninstances = []\n")
        });
        let rest = "[[service.a.version]]\nnumber = \"9.0.0\"\ninstances = []\n";
        let text = format!("environment = \"e\"\n{}{rest}", versions.collect::<String>());
        match parse_table(&text, "t") {
            Ok(written) => {
                let splits = &written.table.services.values().next().unwrap().splits;
                prop_assert_eq!(splits.iter().map(|split| split.weight).sum::<u32>(), 10_000);
            }
            Err(_) => prop_assert!(shares.iter().sum::<u32>() > 10_000),
        }
        let _ = parse_table(&format!("{text}\n{junk}"), "t");
        let _ = parse_table(&junk, "t");
    }
}

const OF_TCP: &str = r#"
environment = "production"
[entry]
tcp_idle = "10m"
tcp_drain = "5m"
drain = "2m"
[service.db]
protocol = "tcp"
instances = ["127.0.0.1:5432"]
[service.web]
instances = ["127.0.0.1:80"]
"#;

#[test]
fn ports_lead_to_services_that_speak_tcp() {
    let text = format!(
        "{OF_TCP}[[tcp]]\nport = 5433\nservice = \"db\"\n[[tcp]]\nport = 8883\nhost = \"*.Shop.test\"\nservice = \"db\"\n"
    );
    let table = read(&text).table;
    let entry = serde_json::to_value(table.entry.unwrap()).unwrap();
    let ports =
        json!([{ "port": 5433, "service": "db" }, { "port": 8883, "host": "*.shop.test", "service": "db" }]);
    assert_eq!(
        entry,
        json!({ "tcp": ports, "tcp_idle_ms": 600_000, "tcp_drain_ms": 300_000, "drain_ms": 120_000 })
    );
    assert_eq!(table.format, lockstep_domain::routes::FORMAT_WITH_TCP);
}

#[test]
fn a_port_that_leads_nowhere_and_a_route_to_tcp_are_refused_with_their_lines() {
    let text = format!(
        "{OF_TCP}[[tcp]]\nport = 0\nservice = \"db\"\n[[tcp]]\nport = 1\nservice = \"no\"\n[[tcp]]\nport = 2\nservice = \"web\"\nhost = \"a b\"\n[[route]]\npath = \"/\"\nservice = \"db\"\n"
    );
    let found = problems_of(&text);
    let expected = [
        "13: tcp[0].port: ",
        "17: tcp[1].service: there is no [service.no]",
        "20: tcp[2].service: `web` speaks HTTP",
        "21: tcp[2].host: a host is a name",
        "24: route[0].service: `db` speaks TCP",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(found.iter().zip(expected).all(|(found, begin)| found.starts_with(begin)), "{found:#?}");
    let twice = format!("{OF_TCP}[[tcp]]\nport = 1\nservice = \"db\"\n[[tcp]]\nport = 1\nservice = \"db\"\n");
    assert!(problems_of(&twice)[0].contains("1 is given twice"), "{:?}", problems_of(&twice));
}

const MIRRORED: &str = r#"
environment = "production"

[[service.hello.version]]
number = "1.0.0"
instances = ["127.0.0.1:9000"]

[[service.hello.version]]
number = "1.1.0"
role = "pinned"
instances = ["127.0.0.1:9001"]

[service.hello.mirror]
version = "1.1.0"
share = "5%"
"#;

#[test]
fn a_mirror_is_read_and_what_is_wrong_with_it_is_said_with_its_line() {
    let table = read(MIRRORED).table;
    let routes = table.services.values().next().unwrap();
    let mirror = routes.mirror.as_ref().unwrap();
    assert_eq!((mirror.version.to_string(), mirror.copies.share), ("1.1.0".to_owned(), 500));
    assert!(!mirror.copies.unsafe_methods);
    assert_eq!(table.format, lockstep_domain::mirror::FORMAT_WITH_MIRRORS);
    for (from, to, said) in [
        ("share = \"5%\"", "share = \"0\"", "at most 100 %"),
        ("share = \"5%\"", "", "share"),
        ("share = \"5%\"", "share = \"5%\"\nall = true", "all"),
        ("role = \"pinned\"\n", "share = \"1%\"\n", "requests of its own"),
        ("version = \"1.1.0\"\nshare", "version = \"1.2.0\"\nshare", "has no version 1.2.0"),
    ] {
        let problems = problems_of(&MIRRORED.replace(from, to)).join("; ");
        assert!(problems.contains(said), "{said}: {problems}");
    }
}

#[test]
fn maintenance_and_visits_are_read_and_what_is_wrong_with_a_page_is_said() {
    let text = FULL.replace(
        "salt = \"spring\"",
        "salt = \"spring\"\nrollout = { number = 3, shares = [\"1%\", \"2.5%\"] }",
    );
    let text = text.replace("timeout = \"30s\"", "timeout = \"30s\"\nvia = \"omit\"").replace(
        "[[route]]\npath = \"/old\"",
        "[[maintenance]]\nservice = \"hello\"\nversion = \"1.1.0\"\nrespond = { status = 503, body = \"soon\" }\nretry_after = \"10m\"\n\n\
         [[route]]\npath = \"/shop\"\nservice = \"hello\"\nsticky = { for = \"1h\", cookie = \"lane\" }\n\n[[route]]\npath = \"/old\"",
    );
    let table = read(&text).table;
    let growth = table.services[&"hello".parse::<ServiceName>().unwrap()].growth.clone().unwrap();
    assert_eq!((growth.rollout, growth.before, growth.weights), (3, 0, vec![100, 250]));
    let rules = table.rules.as_ref().unwrap();
    assert!(!rules.via.is_added());
    assert_eq!(rules.maintenance[0].to_string(), "hello 1.1.0: 503, retry-after 600 s");
    let visits: Vec<_> = table.routes.iter().filter_map(|it| it.rule.then.as_ref()?.visit.clone()).collect();
    assert_eq!((visits[0].for_s, visits[0].cookie.as_str()), (3_600, "lane"));
    assert_eq!(table.format, lockstep_domain::routes::FORMAT_WITH_VISITS);
    let formed = |form: &str| {
        let slashes = "escaped_slashes = \"decode\"\npath_parameters = \"refuse\"";
        let rules = format!("timeout = \"30s\"\npath_form = \"{form}\"\n{slashes}");
        text.replace("timeout = \"30s\"", &rules)
    };
    let kept = read(&formed("keep-slashes")).table;
    assert_eq!(kept.format, lockstep_domain::routes::FORMAT_WITH_PATH_FORMS);
    let reading = kept.rules().path_reading();
    assert_eq!(
        (reading.form.to_string(), reading.escaped_slashes.to_string()),
        ("keep-slashes".into(), "decode".into())
    );
    assert!(!reading.parameters.is_keep());
    for (form, part) in [("raw", "write `normalized`"), ("as-sent", "is not sent on as it came")] {
        let problems = problems_of(&formed(form));
        assert!(problems[0].contains(part), "{problems:?}");
    }
    let wrong =
        text.replace("service = \"hello\"\nversion = \"1.1.0\"\nrespond", "version = \"1.1.0\"\nrespond");
    assert!(problems_of(&wrong)[0].contains("which is not named"), "{:?}", problems_of(&wrong));
    let wrong = text.replace("cookie = \"lane\"", "cookie = \"a b\"");
    assert!(problems_of(&wrong)[0].contains("no name of a cookie"), "{:?}", problems_of(&wrong));
}
