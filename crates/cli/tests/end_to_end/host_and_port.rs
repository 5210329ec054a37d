//! Programs that know others by HOST and PORT, and nothing of us.

use std::net::TcpStream;

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, get};

/// Calls the store by its host and port for every answer, on a connection of its own; answers with where that was, and what it got.
const CALLING: &str = "
        import http.client
        host, port = os.environ['STORE_HOST'], int(os.environ['STORE_PORT'])
        answer = f'MARK {host}:{port} '.encode()
        if self.path != '/health':
            connection = http.client.HTTPConnection(host, port, timeout=20)
            connection.request('GET', '/', headers={name: self.headers[name] for name in ('baggage', 'traceparent') if name in self.headers})
            reply = connection.getresponse()
            status = reply.status
            answer += reply.read()";

const VARIABLES: &str =
    "env = { STORE_HOST = \"${service.store.host}\", STORE_PORT = \"${service.store.port}\" }";

fn write_front(front: &Repository, mark: &str) {
    front.write("lockstep.toml", &manifest("front", VARIABLES, "[requires]\nstore = \"*\""));
    let text = misbehaving("TEXT", "pass", &CALLING.replace("MARK", mark));
    front.write("service.py", &text.replace("b'TEXT'", "answer"));
}

/// A store and a front that calls it, both released.
fn store_and_front(place: &Place) -> (Repository, Repository, [String; 2]) {
    let (store, front) = (place.repository("store"), place.repository("front"));
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service("one"));
    write_front(&front, "first");
    let versions = [place.first_release(&store, "store"), place.first_release(&front, "front")];
    (store, front, versions)
}

/// What the front says: which of its versions, where it called, and what it got.
fn said(text: &str) -> (&str, &str, &str) {
    let mut words = text.splitn(3, ' ');
    let mut next = || words.next().unwrap_or_else(|| panic!("{text}"));
    (next(), next(), next())
}

fn number(version: &str) -> &str {
    version.split_once('@').unwrap().1
}

#[test]
fn a_program_that_knows_host_and_port_is_served_through_updates_rollbacks_and_the_death_of_the_server() {
    let mut place = Place::begin();
    let gateway = StandaloneGateway::follow(&place);
    let url = format!("http://{}", gateway.address());
    place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
    let (store, front, first) = store_and_front(&place);
    place.run(&["deploy", &first[0], &first[1], "--env", ENVIRONMENT]);
    let answer = || get(gateway.address(), "/front", 0).unwrap().1;
    let text = answer();
    let (mark, address, got) = said(&text);
    assert_eq!((mark, got), ("first", "one"));
    assert!(address.starts_with("127.") && !address.starts_with("127.0."), "{address}");

    let callers = Callers::begin(gateway.address(), &["/front"]);
    callers.wait_for(10);
    store.write("service.py", &service("two"));
    store.commit("feat: answer otherwise");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(said(&answer()), ("first", address, "two"), "the same address, another version");
    place.kill_server();
    callers.wait_for(30);
    place.start_server();
    place.run(&["rollback", "store", "--to", number(&first[0]), "--env", ENVIRONMENT]);
    assert_eq!(said(&answer()), ("first", address, "one"), "also for the server that found it running");

    write_front(&front, "second");
    front.commit("feat: another mark");
    let newer = place.release("front");
    place.run(&["deploy", &newer, "--env", ENVIRONMENT]);
    let text = answer();
    let (mark, other, got) = said(&text);
    assert_eq!((mark, got), ("second", "one"));
    assert_ne!(other, address, "each instance has its own");
    place.run(&["rollback", "front", "--to", number(&first[1]), "--env", ENVIRONMENT]);
    assert_eq!(said(&answer()), ("first", address, "one"), "it was warm, and kept its address");
    eventually("nobody listens for the instance that is over", || TcpStream::connect(other).err());
    callers.wait_for(10);
    assert!(callers.end() > 50);
}

#[test]
fn the_gateway_in_the_server_listens_again_for_what_it_finds_running() {
    let mut place = Place::begin();
    let (_store, _front, first) = store_and_front(&place);
    place.run(&["deploy", &first[0], &first[1], "--env", ENVIRONMENT]);
    let text = place.ask("/front").1;
    let (_, address, got) = said(&text);
    assert_eq!(got, "one");
    // A stranger on the machine reaches no more by it than this service.
    assert_eq!(get(address, "/@front", 0).unwrap(), (200, "one".to_owned()));
    place.kill_server();
    assert!(TcpStream::connect(address).is_err());
    place.start_server();
    eventually("it calls again, at the same address", || {
        (place.ask("/front") == (200, text.clone())).then_some(())
    });
    place.run(&["config", "set", "front", "STORE_PORT=${service.store.port}", "--env", ENVIRONMENT]);
    let configured = place.ask("/front").1;
    assert_eq!(said(&configured).2, "one");
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    place.run(&["remove", "front", "--env", ENVIRONMENT]);
    let both = [address, said(&configured).1];
    eventually("nobody listens for it any more", || {
        both.iter().all(|address| TcpStream::connect(address).is_err()).then_some(())
    });
}

/// Says that it is alive as long as its calls are answered.
const WORKING: &str = "\
import http.client, os, time
while True:
    connection = http.client.HTTPConnection(os.environ['STORE_HOST'], int(os.environ['STORE_PORT']), timeout=20)
    connection.request('GET', '/')
    if connection.getresponse().read() == b'one':
        open('alive', 'w').close()
    time.sleep(0.1)
";

#[test]
fn a_worker_calls_by_host_and_port_too() {
    let place = Place::begin();
    let (_store, _front, first) = store_and_front(&place);
    let worker = place.repository("clock");
    let toml = manifest("clock", &format!("kind = \"worker\"\n{VARIABLES}"), "[requires]\nstore = \"*\"");
    let toml =
        toml.replace("[[route]]\npath = \"/clock\"\n", "").replace("http = \"/health\"", "file = \"alive\"");
    worker.write("lockstep.toml", &toml);
    worker.write("service.py", WORKING);
    let version = place.first_release(&worker, "clock");
    place.run(&["deploy", &first[0], &version, "--env", ENVIRONMENT]);
}

#[test]
fn a_host_and_a_port_are_refused_where_no_gateway_can_listen() {
    let place = Place::begin();
    let (store, front, first) = store_and_front(&place);
    place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", "http://edge.internal:8080"]);
    let refused = place.fail(&["deploy", &first[0], &first[1], "--env", ENVIRONMENT], 3);
    assert!(
        refused.contains("refers to `${service.store.") && refused.contains("http://edge.internal:8080"),
        "{refused}"
    );
    assert!(refused.contains("--gateway-url server"), "{refused}");
    place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", "server"]);
    place.run(&["deploy", &first[0], &first[1], "--env", ENVIRONMENT]);
    let away = ["environment", "set", ENVIRONMENT, "--gateway-url", "http://edge.internal:8080"];
    let refused = place.fail(&away, 3);
    assert!(refused.contains(&first[1]) && refused.contains("not on their machine"), "{refused}");

    let toml = manifest("front", "env = { STORE = \"${service.stroe.host}\" }", "[requires]\nstore = \"*\"");
    front.write("lockstep.toml", &toml);
    let wrong = place.fail(&["check", front.folder()], 2);
    assert!(
        wrong.contains("`stroe` is not in [requires]") && wrong.contains("${service.store.port}"),
        "{wrong}"
    );
    drop(store);
}
