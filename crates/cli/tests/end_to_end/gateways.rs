//! Receipts: who may send them, and what a receipt that cannot be true does. With the real server and forged receipts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::StandaloneGateway;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::service;

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
