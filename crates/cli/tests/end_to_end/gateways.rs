//! Receipts: who may send them, and what a receipt that cannot be true does. With the real server and forged receipts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::callers::Callers;
use crate::support::eventually;
use crate::support::gateway::StandaloneGateway;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::{Repository, manifest, misbehaving, service};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Sends a request with a bearer token or key; returns the status and the answer.
fn send(address: &str, method: &str, path: &str, bearer: Option<&str>, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let (body, bearer) =
        (body.to_string(), bearer.map(|bearer| format!("authorization: Bearer {bearer}\r\n")));
    let bearer = bearer.unwrap_or_default();
    write!(
        stream,
        "{method} /api/v1{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{bearer}\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn receipt(environment: &str, run: &str, revision: u64, traffic: &Value) -> Value {
    json!({ "gateway": run, "environment": environment, "revision": revision, "in_flight": {}, "traffic": traffic })
}

fn report(place: &Place, bearer: Option<&str>, receipt: &Value) -> u16 {
    let path = format!("/environments/{}/gateway-receipts", receipt["environment"].as_str().unwrap());
    send(place.address(), "POST", &path, bearer, receipt).0
}

fn key_of(place: &Place, name: &str, environment: &str) -> String {
    let added = place.json(&["gateway", "add", name, "--env", environment]);
    added["key"].as_str().unwrap().to_owned()
}

fn problems(place: &Place) -> Vec<String> {
    let status = place.status();
    let gateways = status["gateways"].as_array().unwrap().iter();
    gateways.filter_map(|gateway| gateway["problem"].as_str().map(str::to_owned)).collect()
}

#[test]
fn only_the_key_of_a_gateway_reports_and_it_does_nothing_else() {
    for token in [None, Some(TOKEN)] {
        let place = token.map_or_else(Place::begin, Place::begin_with_token);
        let key = key_of(&place, "edge", ENVIRONMENT);
        let good = receipt(ENVIRONMENT, "run", 0, &json!([]));
        assert_eq!(report(&place, token, &good), 401, "the operator's token, or nothing");
        assert!(problems(&place)[0].contains("lockstep gateway add"));
        assert_eq!(report(&place, Some(&key), &good), 200);
        assert_eq!(report(&place, Some(&format!("{key}0")), &good), 401);
        assert_eq!(report(&place, Some(&key), &receipt("staging", "run", 0, &json!([]))), 403);
        let (address, none) = (place.address(), json!({}));
        let table = |environment: &str| {
            send(address, "GET", &format!("/environments/{environment}/routes"), Some(&key), &none).0
        };
        assert!([200, 204].contains(&table(ENVIRONMENT)));
        assert_eq!(table("production"), 403);
        for (method, path) in [
            ("GET", "/services"),
            ("GET", "/journal/export"),
            ("POST", "/services"),
            ("POST", "/gateways"),
            ("POST", "/gateways/edge/remove"),
            ("POST", "/environments/development/operations"),
            ("POST", "/store/collect"),
            ("GET", "/nothing"),
        ] {
            assert_eq!(send(address, method, path, Some(&key), &none).0, 403, "{method} {path}");
        }
        place.run(&["gateway", "remove", "edge"]);
        assert_eq!(report(&place, Some(&key), &good), 401);
        assert_eq!(table(ENVIRONMENT), 401);
        // Both decisions are recorded with who made them, and neither holds the key.
        let journal = place.run(&["journal", "export"]);
        let of = |event: &str| journal.lines().find(|line| line.contains(event)).unwrap().to_owned();
        assert!(
            of("gateway_added").contains("ann@example.org")
                && of("gateway_removed").contains("ann@example.org")
        );
        assert!(!journal.contains(&key));
    }
}

#[test]
fn a_key_is_written_once_for_its_owner_alone() {
    let place = Place::begin();
    let file = place.path("edge.key");
    place.run(&["gateway", "add", "edge", "--env", ENVIRONMENT, "--key-file", &file]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let said = place.fail(&["gateway", "add", "edge", "--env", ENVIRONMENT], 6);
    assert!(said.contains("lockstep gateway remove edge"), "{said}");
    // What exists is not overwritten, and what was not added leaves no file.
    place.fail(&["gateway", "add", "other", "--env", ENVIRONMENT, "--key-file", &file], 2);
    place.fail(&["gateway", "add", "other", "--env", "nowhere", "--key-file", &place.path("other.key")], 4);
    assert!(!std::path::Path::new(&place.path("other.key")).exists());
    let said = place.fail(&["gateway", "run", "--env", ENVIRONMENT, "--data", &place.path("tables")], 2);
    assert!(said.contains("lockstep gateway add edge-1 --env development"), "{said}");
}

#[test]
fn forged_receipts_stall_nothing_take_nothing_back_and_pass_nothing() {
    let place = Place::begin();
    let repository = place.deployed("store");
    let mut gateway = StandaloneGateway::follow(&place);
    eventually("the gateway reports", || {
        let status = place.status();
        let seen = status["gateways"].as_array().unwrap().clone();
        seen.iter().any(|seen| seen["gateway"].as_str().unwrap().starts_with("edge/")).then_some(())
    });
    repository.write("service.py", &service("two"));
    repository.commit("feat: two");
    let two = place.release("store");
    // Nobody sends a request, so nothing can be judged; whoever forges receipts cannot change that.
    let strategy = ["--strategy", "canary", "--steps", "50,100", "--bake", "1s"];
    let operation = place.begin_operation(&[&["deploy", &two, "--env", ENVIRONMENT][..], &strategy].concat());
    let arm = json!({ "service": "store", "version": two.split('@').nth(1).unwrap(), "config": 0 });
    let counts =
        |requests: u64, failures: u64| json!([[arm, { "requests": requests, "failures": failures }]]);
    let key = key_of(&place, "thief", "production");
    for (requests, failures) in [(1_000, 0), (1_000, 1_000), (u64::MAX, 0)] {
        let forged = receipt(ENVIRONMENT, "forged", 0, &counts(requests, failures));
        assert_eq!(report(&place, None, &forged), 401);
        assert_eq!(report(&place, Some(&key), &forged), 403);
    }
    // Even with a key of the environment: what cannot be is refused and shown, and stalls nothing.
    let key = key_of(&place, "hostile", ENVIRONMENT);
    let mut beyond = receipt(ENVIRONMENT, "forged", u64::MAX, &json!([]));
    beyond["history"] = place.status()["gateways"][0]["history"].clone();
    for impossible in [
        beyond,
        receipt(ENVIRONMENT, "forged", 0, &counts(10, 11)),
        receipt(ENVIRONMENT, "forged", 0, &counts(u64::MAX, 0)),
        receipt(
            ENVIRONMENT,
            "forged",
            0,
            &json!([[{ "service": "store", "version": "9.9.9", "config": 0 }, { "requests": 1, "failures": 0 }]]),
        ),
    ] {
        assert_eq!(report(&place, Some(&key), &impossible), 422, "{impossible}");
    }
    assert_eq!(problems(&place).len(), 2, "{:?}", problems(&place));
    let phase = || {
        let all = place.json(&["operations"]);
        all.as_array().unwrap().iter().find(|one| one["id"] == operation).unwrap()["phase"]["phase"].clone()
    };
    eventually("the first step is reached", || (phase() == "shifted").then_some(()));
    for key in 0..200 {
        let (status, _) = crate::support::get(gateway.address(), "/store", key).unwrap();
        assert_eq!(status, 200);
    }
    assert_eq!(place.settled(operation)["phase"], "done");
    gateway.kill();
}

/// The requests that were counted of all versions of a service.
fn counted(place: &Place) -> u64 {
    let status = place.status();
    let services = status["services"].as_array().unwrap().iter();
    let arms = services.flat_map(|service| service["arms"].as_array().unwrap().clone());
    arms.map(|arm| arm["traffic"]["requests"].as_u64().unwrap()).sum()
}

#[test]
fn a_gateway_that_is_started_anew_in_the_middle_of_a_canary_loses_and_repeats_nothing_of_what_it_counted() {
    let place = Place::begin();
    let repository = place.deployed("store");
    let mut gateway = StandaloneGateway::follow(&place);
    eventually("it serves", || {
        (crate::support::get(gateway.address(), "/store", 0).ok()?.0 == 200).then_some(())
    });
    repository.write("service.py", &service("two"));
    repository.commit("feat: two");
    let two = place.release("store");
    let canary = ["deploy", &two, "--env", ENVIRONMENT, "--steps", "50,100", "--bake", "1h"];
    let operation = place.begin_operation(&canary);
    let shares = || place.status()["services"][0]["arms"].as_array().unwrap().len();
    eventually("both versions have a share", || (shares() == 2).then_some(()));
    eventually("all before is counted", || (counted(&place) > 0).then_some(()));
    let before = counted(&place);
    let ask = |gateway: &StandaloneGateway, many: u64| {
        (0..many).for_each(|key| {
            assert_eq!(crate::support::get(gateway.address(), "/store", key).unwrap().0, 200);
        });
    };
    // Right before it leaves, and right after it is there again.
    for round in 1..=3 {
        ask(&gateway, 40);
        gateway.stop();
        gateway.start_again();
        ask(&gateway, 20);
        let expected = before + round * 60;
        eventually("all of it is counted", || (counted(&place) == expected).then_some(()));
    }
    // Killed, it loses what it had not said, at most a second of it, and what it says while the one before might be there; never more.
    ask(&gateway, 30);
    gateway.kill();
    gateway.start_again();
    ask(&gateway, 30);
    eventually("what comes later is counted", || {
        ask(&gateway, 1);
        (counted(&place) > before + 3 * 60 + 10).then_some(())
    });
    assert!(problems(&place).is_empty(), "{:?}", problems(&place));
    place.run(&["undo", ENVIRONMENT, "--operation", &operation.to_string()]);
}

#[test]
fn a_service_is_not_renamed_under_a_gateway_that_takes_no_table_with_former_names() {
    let place = Place::begin();
    place.deployed("store");
    let key = key_of(&place, "edge", ENVIRONMENT);
    let rename = ["service", "rename", "store", "shop-store", "--yes"];
    // As a gateway of an older release reports. It is waited for as long as it does.
    let older = receipt(ENVIRONMENT, "run", 0, &json!([]));
    let said = eventually("the rename is refused", || {
        assert_eq!(report(&place, Some(&key), &older), 200);
        let output = place.command(&[&rename[..], &["--dry-run"]].concat()).output().unwrap();
        (output.status.code() == Some(6)).then(|| String::from_utf8(output.stderr).unwrap())
    });
    assert!(
        said.contains("knows no former names") && said.contains("lockstep gateway remove edge"),
        "{said}"
    );
    let mut upgraded = receipt(ENVIRONMENT, "run", 0, &json!([]));
    upgraded["takes_format"] = json!(3);
    assert_eq!(report(&place, Some(&key), &upgraded), 200);
    place.run(&rename);
    assert_eq!(place.ask("/store").1, "one");
}

const CONTRACT: &str = r#"
openapi: 3.0.3
info: {title: store, version: "1"}
paths:
  /store/{id}: {get: {responses: {"200": {description: d, content: {application/json: {schema: {type: object, required: [id, total], properties: {id: {type: integer}, total: {type: number}}}}}}}}}
"#;

/// A service that answers with this body.
fn write_answering(repository: &Repository, body: &str) {
    repository.write("lockstep.toml", &manifest("store", "", "[contract]\nopenapi = \"openapi.yaml\""));
    repository.write("openapi.yaml", CONTRACT);
    let typed =
        "self.send_header('Content-Type', 'application/json')\n        self.send_header('Content-Length'";
    let text = misbehaving("TEXT", "pass", "pass").replace("b'TEXT'", &format!("b'{body}'"));
    repository.write("service.py", &text.replace("self.send_header('Content-Length'", typed));
}

#[test]
fn answers_that_a_gateway_took_right_before_it_was_started_anew_are_compared_with_the_contract() {
    let place = Place::begin();
    let repository = place.repository("store");
    write_answering(&repository, r#"{"id": 1, "total": 2}"#);
    let first = place.first_release(&repository, "store");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    let mut gateway = StandaloneGateway::follow(&place);
    let asks = |gateway: &StandaloneGateway, key| crate::support::get(gateway.address(), "/store/7", key);
    eventually("it serves", || (asks(&gateway, 0).ok()?.0 == 200).then_some(()));
    write_answering(&repository, r#"{"id": 1}"#);
    repository.commit("fix: forget the total");
    let second = place.release("store");
    let canary = ["--steps", "50,100", "--bake", "1h", "--min-requests", "20"];
    let operation =
        place.begin_operation(&[&["deploy", &second, "--env", ENVIRONMENT][..], &canary].concat());
    let phase = || {
        let all = place.json(&["operations"]);
        let all = all.as_array().unwrap().clone();
        all.iter().find(|one| one["id"] == operation).unwrap()["phase"].clone()
    };
    eventually("both versions have a share", || {
        let status = place.status();
        let arms = status["services"][0]["arms"].as_array()?.len();
        let seen = status["gateways"]
            .as_array()?
            .iter()
            .any(|one| one["gateway"].as_str().is_some_and(|id| id.starts_with("edge/")));
        (arms == 2 && seen).then_some(())
    });
    // All that is asked is asked right before it leaves: what it took comes with its last report, or not at all.
    let mut keys = 0..;
    let stopped = eventually("the version is taken back", || {
        for key in keys.by_ref().take(40) {
            assert_eq!(asks(&gateway, key).unwrap().0, 200);
        }
        gateway.stop();
        gateway.start_again();
        let phase = phase();
        (phase["phase"] == "reverted").then_some(phase)
    });
    assert!(keys.start < 40 * 12, "too few of the answers were compared: {} requests", keys.start);
    let cause = stopped["cause"].as_str().unwrap();
    assert!(cause.contains("`total` is missing; required by the contract"), "{cause}");
}

#[test]
fn the_keys_of_an_environment_end_with_it_and_one_of_its_name_begins_with_nothing_counted() {
    let place = Place::begin();
    let repository = place.deployed("store");
    let mut gateway = StandaloneGateway::follow(&place);
    let shared = place.path("shared.key");
    place.run(&["gateway", "add", "shared", "--env", ENVIRONMENT, "--env", "staging", "--key-file", &shared]);
    let key = |file: &str| std::fs::read_to_string(file).unwrap().trim().to_owned();
    let (edge, shared) = (key(&place.path("gateway.key")), key(&shared));
    let address = gateway.address().to_owned();
    let asked = || crate::support::get(&address, "/store", 0).ok();
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    eventually("it serves", || (asked()?.0 == 200).then_some(()));
    eventually("both gateways have counted", || {
        (place.ask("/store").0 == 200 && counted(&place) > 4).then_some(())
    });
    place.run(&["rollback", ENVIRONMENT, "--to", "0", "--yes"]);
    let said = place.fail(&["environment", "remove", ENVIRONMENT], 3);
    assert!(said.contains("ends the keys of the gateways edge, and the keys of shared are for"), "{said}");
    eventually("what ran has ended", || {
        let removed = place.command(&["environment", "remove", ENVIRONMENT, "--yes"]).output().unwrap();
        removed.status.success().then_some(())
    });
    assert_eq!(asked().unwrap().0, 404, "it serves its last table, which is empty");

    place.run(&["environment", "create", ENVIRONMENT]);
    let none = json!([]);
    assert_eq!(report(&place, Some(&edge), &receipt(ENVIRONMENT, "run", 0, &none)), 401);
    assert_eq!(report(&place, Some(&shared), &receipt(ENVIRONMENT, "run", 0, &none)), 403);
    assert_eq!(report(&place, Some(&shared), &receipt("staging", "run", 0, &none)), 200);
    let list = place.json(&["gateway", "list"]);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["environments"]), (1, &json!(["staging"])));
    repository.write("service.py", &service("again"));
    repository.commit("feat: say again");
    let version = place.release("store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(counted(&place), 0, "what was counted of the one before is not of this one");
    assert_eq!(asked().unwrap().0, 404, "its key is for the one before");
    let history = place.json(&["history", ENVIRONMENT]);
    assert_eq!(history["baselines"].as_array().unwrap().len(), 2, "nothing of the former one");

    gateway.stop();
    std::fs::remove_file(place.path("gateway.key")).unwrap();
    place.run(&["gateway", "add", "edge", "--env", ENVIRONMENT, "--key-file", &place.path("gateway.key")]);
    gateway.start_again();
    eventually("it is served again", || (asked()?.1 == "again").then_some(()));
    eventually("and counted from its beginning", || (counted(&place) > 0).then_some(()));
    assert_eq!(problems(&place), Vec::<String>::new());
}

/// What a gateway of its own counts of a trial is believed by the next server, which compares by what the plan says.
#[test]
fn a_server_that_is_started_anew_within_a_canary_takes_back_what_fails_afterwards() {
    let mut place = Place::begin();
    let edge = StandaloneGateway::follow(&place);
    let repository = place.deployed("store");
    let callers = Callers::begin(edge.address(), &["/store"]);
    callers.wait_for(100);
    let bad = place.path("bad");
    let fails = format!("if os.path.exists('{bad}') and self.path != '/health': status = 500");
    repository.write("service.py", &misbehaving("two", "pass", &fails));
    repository.commit("feat: two");
    let two = place.release("store");
    let canary = ["--strategy", "canary", "--steps", "50,100", "--bake", "1h"];
    let operation = place.begin_operation(&[&["deploy", &two, "--env", ENVIRONMENT][..], &canary].concat());
    let phase = |place: &Place| place.json(&["operations"])[0]["phase"]["phase"].clone();
    eventually("half of the clients get it", || (phase(&place) == "shifted").then_some(()));
    callers.wait_for(100);
    place.kill_server();
    callers.wait_for(50);
    place.start_server();
    callers.wait_for(200);
    assert_eq!(phase(&place), "shifted");
    std::fs::write(&bad, "").unwrap();
    assert_eq!(place.settled(operation)["phase"], "reverted");
    assert_eq!(problems(&place), Vec::<String>::new(), "its receipts are believed");
    drop(callers);
}
