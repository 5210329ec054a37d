//! Calls from service to service: which gateway they go through.

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, misbehaving, service};
use super::support::{eventually, get};

/// Answers with the address of the store, and what the store says there.
const ASKING: &str = "
        import urllib.request
        url = os.environ['LOCKSTEP_URL_STORE']
        answer = url.encode() + b' ' + os.environ['LOCKSTEP_GATEWAY'].encode()
        if self.path != '/health': answer += b' ' + urllib.request.urlopen(url + '/').read()";

/// A store and a front that asks it for every answer, both deployed.
fn store_and_front(place: &Place) {
    let versions = released_store_and_front(place);
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
}

/// The same, released and not deployed; returns what to deploy.
fn released_store_and_front(place: &Place) -> [String; 2] {
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service("the store"));
    let front = place.repository("front");
    front.write("lockstep.toml", &manifest("front", "", "[requires]\nstore = \"*\""));
    front.write("service.py", &misbehaving("TEXT", "pass", ASKING).replace("b'TEXT'", "answer"));
    [place.first_release(&store, "store"), place.first_release(&front, "front")]
}

#[test]
fn the_key_of_callers_is_exchanged_under_calls_and_may_be_lost_without_one_that_fails() {
    let mut place = Place::begin();
    let gateway = StandaloneGateway::follow(&place);
    let url = format!("http://{}", gateway.address());
    place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
    store_and_front(&place);
    let token = || token_in(&get(gateway.address(), "/front", 0).unwrap().1).unwrap().1.to_owned();
    let named = |token: &str| get(gateway.address(), &format!("/@~{token}/@store"), 0).unwrap().0;
    let stale = || place.json(&["key", "list"])["callers"]["stale"].as_array().unwrap().len();
    let callers = Callers::begin(gateway.address(), &["/front"]);
    let first = token();
    assert_eq!(stale(), 0);
    let rotated = place.run(&["key", "rotate", "--reason", "the folder was copied"]);
    assert!(rotated.contains("2 instances") && rotated.contains("lockstep restart front"), "{rotated}");
    assert_eq!((named(&first), stale()), (200, 2));
    place.run(&["restart", "store", "--env", ENVIRONMENT]);
    place.run(&["restart", "front", "--env", ENVIRONMENT]);
    let second = token();
    assert_ne!(first, second);
    eventually("no instance has the former token", || (stale() == 0).then_some(()));
    eventually("the former token is nobody's", || (named(&first) == 403).then_some(()));
    assert_eq!(named(&second), 200);
    assert!(place.run(&["journal", "export"]).contains("\"callers_key_rotated\""));

    place.kill_server();
    std::fs::remove_file(place.path("data/secrets/callers.key")).unwrap();
    place.start_server();
    eventually("instances with the lost key are known", || {
        (place.json(&["key", "list"])["callers"]["stale"].as_array().unwrap().len() == 2).then_some(())
    });
    place.run(&["restart", "front", "--env", ENVIRONMENT]);
    assert_eq!(named(&second), 200, "the store has it still");
    assert_ne!(token(), second);
    callers.wait_for(20);
    assert_eq!(callers.failures(), Vec::<String>::new());
    assert!(callers.end() > 0);
}

#[test]
fn services_call_each_other_through_the_gateway_that_was_named_even_when_the_server_is_dead() {
    let mut place = Place::begin();
    let versions = released_store_and_front(&place);
    let gateway = StandaloneGateway::follow(&place);
    let url = format!("http://{}", gateway.address());

    let wrong = place.fail(&["environment", "set", ENVIRONMENT, "--gateway-url", "edge:8080"], 2);
    assert!(wrong.contains("http://HOST:PORT"), "{wrong}");
    let set = place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
    assert!(set.contains(&url), "{set}");
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
    let said = get(gateway.address(), "/front", 0).unwrap();
    assert_called(&said, &url);
    place.kill_server();
    assert_eq!(get(gateway.address(), "/front", 0), Ok(said));
    place.start_server();

    let set = place.json(&["environment", "set", ENVIRONMENT, "--gateway-url", "server"]);
    let own = set["gateway"].as_str().unwrap().to_owned();
    place.run(&["config", "set", "front", "ANY=thing", "--env", ENVIRONMENT]);
    let said = place.ask("/front");
    assert_called(&said, &own);
    let (_, token) = token_in(&said.1).unwrap();

    assert_eq!(place.ask("/@store").0, 404, "a stranger asked for a service by its name");
    assert_eq!(place.ask(&format!("/@~{token}/@store")), (200, "the store".to_owned()));
    assert_eq!(place.ask("/@~0123456789abcdef0123456789abcdef/@store").0, 403);
    let set = place.run(&["environment", "set", ENVIRONMENT, "--named-services", "allow"]);
    assert!(set.contains("named services   allow"), "{set}");
    eventually("the name is open", || (place.ask("/@store") == (200, "the store".to_owned())).then_some(()));
}

#[test]
fn a_version_that_there_is_not_calls_nobody_whatever_an_instance_says_of_itself() {
    let place = Place::begin();
    store_and_front(&place);
    let said = place.ask("/front").1;
    let (_, token) = token_in(&said).unwrap();
    let (secret, of) = token.split_once(".front.c0.").unwrap();
    assert_eq!(of, "1.0.0", "{token}");
    for made_up in ["front.c0.77.0.0", "front.c9.1.0.0", "nobody.c0.1.0.0"] {
        place.ask(&format!("/@~{secret}.{made_up}/@store"));
    }
    // What is called after that is told after that.
    place.ask(&format!("/@~{token}/@store/last"));
    let calls = eventually("the last call is known", || {
        let calls = place.json(&["calls", ENVIRONMENT]).to_string();
        calls.contains("GET /last").then_some(calls)
    });
    for made_up in ["77.0.0", "nobody", "\"config\":9"] {
        assert!(!calls.contains(made_up), "{made_up}: {calls}");
    }
}

/// The service was told a gateway with a token behind its address, and reached the other one there.
fn assert_called((status, text): &(u16, String), gateway: &str) {
    let (address, token) = token_in(text).unwrap();
    assert_eq!((*status, address), (200, gateway), "{text}");
    assert_eq!(*text, format!("{gateway}/@~{token}/@store {gateway}/@~{token} the store"));
}

fn token_in(text: &str) -> Option<(&str, &str)> {
    let (address, rest) = text.split_once("/@~")?;
    Some((address, rest.split_once('/')?.0))
}
