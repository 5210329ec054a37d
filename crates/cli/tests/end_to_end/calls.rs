//! Calls from service to service: which gateway they go through.

use super::support::gateway::StandaloneGateway;
use super::support::get;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, misbehaving, service};

/// Answers with the address of the store, and what the store says there.
const ASKING: &str = "
        import urllib.request
        url = os.environ['LOCKSTEP_URL_STORE']
        answer = url.encode() + b' ' + os.environ['LOCKSTEP_GATEWAY'].encode()
        if self.path != '/health': answer += b' ' + urllib.request.urlopen(url + '/').read()";

#[test]
fn services_call_each_other_through_the_gateway_that_was_named_even_when_the_server_is_dead() {
    let mut place = Place::begin();
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service("the store"));
    let front = place.repository("front");
    front.write("lockstep.toml", &manifest("front", "", "[requires]\nstore = \"*\""));
    front.write("service.py", &misbehaving("TEXT", "pass", ASKING).replace("b'TEXT'", "answer"));
    let versions = [place.first_release(&store, "store"), place.first_release(&front, "front")];
    let gateway = StandaloneGateway::follow(&place);
    let url = format!("http://{}", gateway.address());

    let wrong = place.fail(&["environment", "set", ENVIRONMENT, "--gateway-url", "edge:8080"], 2);
    assert!(wrong.contains("http://HOST:PORT"), "{wrong}");
    let set = place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
    assert!(set.contains(&url), "{set}");
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
    let expected = format!("{url}/@store {url} the store");
    assert_eq!(get(gateway.address(), "/front", 0), Ok((200, expected.clone())));
    place.kill_server();
    assert_eq!(get(gateway.address(), "/front", 0), Ok((200, expected)));
    place.start_server();

    let set = place.json(&["environment", "set", ENVIRONMENT, "--gateway-url", "server"]);
    let own = set["gateway"].as_str().unwrap().to_owned();
    place.run(&["config", "set", "front", "ANY=thing", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/front"), (200, format!("{own}/@store {own} the store")));
}
